//! Bob Jenkins's lookup3, which the symmetric hashes that OpenFlow shows to the outside use.

/// The hash of `bytes`, starting from `basis`.
pub(super) fn hash(bytes: &[u8], basis: u32) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32).wrapping_add(basis);
    let (mut a, mut b, mut c) = (start, start, start);
    let (chunks, rest) = bytes.as_chunks::<12>();
    for chunk in chunks {
        add(&mut a, &mut b, &mut c, chunk);
        mix(&mut a, b, &mut c, 4);
        mix(&mut b, c, &mut a, 6);
        mix(&mut c, a, &mut b, 8);
        mix(&mut a, b, &mut c, 16);
        mix(&mut b, c, &mut a, 19);
        mix(&mut c, a, &mut b, 4);
    }
    if !rest.is_empty() {
        let mut last = [0u8; 12];
        for (byte, &given) in last.iter_mut().zip(rest) {
            *byte = given;
        }
        add(&mut a, &mut b, &mut c, &last);
        finish(&mut a, &mut b, &mut c);
    }
    c
}

fn add(a: &mut u32, b: &mut u32, c: &mut u32, chunk: &[u8; 12]) {
    let [p, q, r, s, t, u, v, w, x, y, z, end] = *chunk;
    *a = a.wrapping_add(u32::from_ne_bytes([p, q, r, s]));
    *b = b.wrapping_add(u32::from_ne_bytes([t, u, v, w]));
    *c = c.wrapping_add(u32::from_ne_bytes([x, y, z, end]));
}

/// One of the six steps of mixing.
fn mix(a: &mut u32, b: u32, c: &mut u32, by: u32) {
    *a = a.wrapping_sub(*c) ^ c.rotate_left(by);
    *c = c.wrapping_add(b);
}

fn finish(a: &mut u32, b: &mut u32, c: &mut u32) {
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(14));
    *a = (*a ^ *c).wrapping_sub(c.rotate_left(11));
    *b = (*b ^ *a).wrapping_sub(a.rotate_left(25));
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(16));
    *a = (*a ^ *c).wrapping_sub(c.rotate_left(4));
    *b = (*b ^ *a).wrapping_sub(a.rotate_left(14));
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(24));
}

#[cfg(test)]
mod tests {
    /// The value that lookup3's author gives for `hashlittle("Four score and seven years ago", 30, 0)`.
    #[test]
    fn the_authors_sentence_has_the_authors_hash() {
        if cfg!(target_endian = "little") {
            assert_eq!(super::hash(b"Four score and seven years ago", 0), 0x1777_0551);
            assert_eq!(super::hash(b"Four score and seven years ago", 1), 0xcd62_8161);
        }
    }

    #[test]
    fn nothing_hashes_to_the_start_value() {
        assert_eq!(super::hash(b"", 0), 0xdead_beef);
    }
}
