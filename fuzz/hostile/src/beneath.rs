//! The memory of a pool, reached past everybody: through the file that backs it, as another process that was handed the file
//! would reach it.
//!
//! Contract: written between steps only, while no reference to any byte of the pool is alive, so that the writes are a kernel's,
//! and nobody's aliased. What no view of a device lets through goes this way: bytes of buffers that are free, that the
//! driver has at hand, and that the program holds. Not here: rings, which a device writes anyway.

use crate::memory::Violation;
use std::fs::{File, read_dir, read_link, read_to_string};
use std::os::unix::fs::{FileExt, MetadataExt};

/// What the links of memory files for packets begin with (`memfd_create(2)`).
const LINK: &str = "/memfd:ringway";

/// The open file behind a mapping.
#[derive(Debug)]
pub struct Beneath {
    file: File,
    /// Where in the file what was asked for begins.
    start: u64,
}

impl Beneath {
    /// The file behind the mapping that has `address` in it. Places are counted from there.
    pub fn of(address: usize) -> Result<Self, Violation> {
        let maps =
            read_to_string("/proc/self/maps").map_err(|error| format!("no list of mappings: {error}"))?;
        let (inode, start) = maps
            .lines()
            .find_map(|line| place_in_file(line, address))
            .ok_or("the pool is in no mapping of a file")?;
        let descriptors =
            read_dir("/proc/self/fd").map_err(|error| format!("no list of descriptors: {error}"))?;
        for entry in descriptors.flatten() {
            // Other cases open and close theirs meanwhile: what was opened is looked at again.
            let is_ours = read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with(LINK));
            if !is_ours {
                continue;
            }
            let Ok(file) = File::options().read(true).write(true).open(entry.path()) else { continue };
            if file.metadata().is_ok_and(|found| found.ino() == inode) {
                return Ok(Self { file, start });
            }
        }
        Err("the pool's memory file is not among the open ones".to_owned())
    }

    /// Writes bytes from `place` on.
    pub fn write(&self, place: u64, bytes: &[u8]) -> Result<(), Violation> {
        let at = self.start.saturating_add(place);
        self.file
            .write_all_at(bytes, at)
            .map_err(|error| format!("{} bytes at {at} of the pool's file: {error}", bytes.len()))
    }
}

/// From a line of `/proc/self/maps` with this address in it: the file's inode, and the address's place in the file.
fn place_in_file(line: &str, address: usize) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (first, end) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (first, end, address) = (number(first)?, number(end)?, address as u64);
    if !(first..end).contains(&address) {
        return None;
    }
    let offset = number(words.nth(1)?)?;
    let inode = words.nth(1)?.parse().ok().filter(|&inode| inode != 0)?;
    Some((inode, offset + (address - first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_dma::AddressSpace;
    use ringway_packet::{Pool, PoolOptions};

    #[test]
    fn what_is_written_beneath_is_in_that_packet_and_no_other() {
        let space = AddressSpace::emulated();
        let pools: Vec<Pool> = (0..3)
            .map(|_| Pool::new(&space, PoolOptions { buffers: 8, ..PoolOptions::default() }).unwrap())
            .collect();
        let mut packets: Vec<_> = pools.iter().map(|pool| pool.packet_from(&[7; 60]).unwrap()).collect();
        let beneath = Beneath::of(packets[1].data().as_ptr() as usize).unwrap();
        beneath.write(2, &[1, 2, 3]).unwrap();
        assert_eq!(packets[1].data()[..6], [7, 7, 1, 2, 3, 7]);
        assert_eq!((packets[1].data().len(), packets[1].frame_mut().total_len()), (60, 60));
        assert!([0, 2].iter().all(|&other| packets[other].data() == [7; 60]));
        assert!(beneath.write(1 << 40, &[0]).is_err(), "the file can't be made longer");
    }

    #[test]
    fn a_mappings_line_tells_where_in_which_file_an_address_is() {
        let line = "7f0000002000-7f0000006000 rw-s 00001000 00:01 4711    /memfd:ringway (deleted)";
        assert_eq!(place_in_file(line, 0x7f00_0000_3010), Some((4711, 0x2010)));
        assert_eq!(place_in_file(line, 0x7f00_0000_6000), None);
        assert_eq!(place_in_file("7f0000002000-7f0000006000 rw-p 00000000 00:00 0", 0x7f00_0000_3010), None);
    }
}
