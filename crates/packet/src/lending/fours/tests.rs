//! Four at a time comes to what four times one does.

use super::*;
use crate::lending::NONE;
use crate::pool::HEADROOM;

const WHOLE: Whole = Whole { mask: 0x2000_0003, value: 3 };
const PLAIN: Plain = Plain { flags: 0x2330_0000, again: 46, shortest: 17 };

/// Numbers that repeat, spread over all bits.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state ^ (*state >> 29)
}

fn rarely(state: &mut u64) -> bool {
    random(state) % 16 < 1
}

#[test]
fn four_received_slots_are_four_times_one() {
    let mut state = 1;
    for (shift, capacity) in [(11, 1792), (12, 3840)] {
        let receiver = Receiver::new(capacity, 0x12_3456_7000, shift);
        let mut taken = 0;
        for _ in 0..100_000 {
            let said: [u64; 4] = std::array::from_fn(|_| {
                let noise = random(&mut state) & !(0xffff << 32 | 0x2000_0003);
                let length = random(&mut state) % if state % 16 == 0 { 0x1_0000 } else { 1700 };
                noise | length << 32 | if rarely(&mut state) { random(&mut state) & 0x2000_0003 } else { 3 }
            });
            let owners: [u32; 4] = std::array::from_fn(|_| random(&mut state) as u32 % NONE);
            let numbers: [u32; 4] = std::array::from_fn(|_| random(&mut state) as u32 % NONE);
            let lengths = said.map(|word| (word >> 32) as u32 & 0xffff);
            let fits = said.iter().all(|word| *word as u32 & WHOLE.mask == WHOLE.value)
                && lengths.iter().all(|length| *length <= capacity);
            let mut bytes = Bytes::none();
            let result = receiver.take(WHOLE, said.into(), &owners, &numbers, &mut bytes);
            assert_eq!(result.is_some(), fits, "{said:x?}");
            let Some(received) = result else {
                assert_eq!(bytes.sum(), 0);
                continue;
            };
            taken += 1;
            assert_eq!(bytes.sum(), lengths.iter().map(|length| u64::from(*length)).sum::<u64>());
            for index in 0..4 {
                let word = Word::new(owners[index], 1 << shift, HEADROOM, lengths[index]);
                assert_eq!(received.words[index], word);
                let address = 0x12_3456_7000 + (u64::from(numbers[index]) << shift);
                assert_eq!(<[u64; 4]>::from(received.addresses)[index], address);
            }
        }
        assert!(taken > 10_000);
    }
}

#[test]
fn four_packets_that_are_sent_are_four_times_one() {
    let mut state = 2;
    for shift in [11, 12] {
        let sender = Senders::new(0x7_0000_0000, shift, 0).sender(PLAIN, None);
        let mut given = 0;
        for _ in 0..100_000 {
            let words: [Word; 4] = std::array::from_fn(|_| {
                let length = if rarely(&mut state) { random(&mut state) as u16 % 20 } else { 60 };
                let flags = if rarely(&mut state) { random(&mut state) & 0xfff_0000 } else { 0 };
                let offset = random(&mut state) as u32 % 1000;
                Word(Word::new(random(&mut state) as u32 % NONE, 1 << shift, offset, length.into()).0 | flags)
            });
            let free = !rarely(&mut state);
            let owners: [u32; 4] =
                std::array::from_fn(
                    |index| {
                        if free || index != 2 { NONE } else { random(&mut state) as u32 % NONE }
                    },
                );
            let fits = free && words.iter().all(|word| word.is_plain() && word.length() >= PLAIN.shortest);
            let mut bytes = Bytes::none();
            let result = sender.give::<0>(&words, &owners, &mut bytes);
            assert_eq!(result.is_some(), fits, "{words:x?}");
            let Some(sent) = result else { continue };
            given += 1;
            assert_eq!(bytes.sum(), words.iter().map(|word| u64::from(word.length())).sum::<u64>());
            let (addresses, commands) = (<[u64; 4]>::from(sent.addresses), <[u64; 4]>::from(sent.commands));
            for (index, word) in words.iter().enumerate() {
                let length = u64::from(word.length());
                assert_eq!(sent.owners[index], word.number(shift));
                assert_eq!(addresses[index], 0x7_0000_0000 + word.position());
                assert_eq!(commands[index], PLAIN.flags | length | length << 46);
            }
        }
        assert!(given > 10_000);
    }
}

#[test]
fn four_named_slots_are_four_times_one() {
    let mut state = 3;
    let (prefix, longest) = (12, 1779);
    let receiver = Receiver::new(1792, 0x12_3456_7000, 11);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..100_000 {
        let slot = random(&mut state) as u32 % 500;
        let said: [(u32, u32); 4] = std::array::from_fn(|index| {
            let id = slot + index as u32;
            let id = if rarely(&mut state) { id ^ 1 << (random(&mut state) % 32) } else { id };
            let written = if rarely(&mut state) {
                [0, 11, 12, longest + prefix, longest + prefix + 1, u32::MAX, 1 << 31, 0x1_000c]
                    [random(&mut state) as usize % 8]
            } else {
                random(&mut state) as u32 % 1700 + prefix
            };
            (id, written)
        });
        let owners: [u32; 4] = std::array::from_fn(|_| random(&mut state) as u32 % NONE);
        let numbers: [u32; 4] = std::array::from_fn(|_| random(&mut state) as u32 % NONE);
        let fits = (slot..)
            .zip(said)
            .all(|(slot, (id, written))| id == slot && (prefix..=prefix + longest).contains(&written));
        let words = said.map(|(id, written)| u64::from(id) | u64::from(written) << 32).into();
        let mut bytes = Bytes::none();
        let result = receiver.take_named(words, slot, (prefix, longest), &owners, &numbers, &mut bytes);
        assert_eq!(result.is_some(), fits, "{said:x?} from {slot}");
        let Some(received) = result else {
            refused += 1;
            continue;
        };
        taken += 1;
        assert_eq!(bytes.sum(), said.iter().map(|(_, written)| u64::from(written - prefix)).sum::<u64>());
        let addresses = <[u64; 4]>::from(received.addresses);
        for index in 0..4 {
            let word = Word::new(owners[index], 1 << 11, HEADROOM, said[index].1 - prefix);
            assert_eq!(received.words[index], word);
            assert_eq!(addresses[index], 0x12_3456_7000 + (u64::from(numbers[index]) << 11));
        }
    }
    assert!(taken > 10_000 && refused > 10_000);
}

#[test]
fn four_packets_behind_a_prefix_are_four_times_one() {
    const PREFIX: usize = 12;
    let (mut state, longest) = (4, 1514);
    let plain = Plain { flags: PREFIX as u64, again: 64, shortest: 14 };
    let sender = Senders::new(0x7_0000_0000, 11, 0).sender(plain, Some(longest));
    let (mut given, mut refused) = (0, 0);
    for _ in 0..100_000 {
        let words: [Word; 4] = std::array::from_fn(|_| {
            let length = if rarely(&mut state) {
                [13, 14, 1514, 1515][random(&mut state) as usize % 4]
            } else {
                random(&mut state) as u32 % 1500 + 14
            };
            let offset = if rarely(&mut state) { random(&mut state) as u32 % 24 } else { 256 };
            Word::new(random(&mut state) as u32 % NONE, 1 << 11, offset, length)
        });
        let fits = words
            .iter()
            .all(|word| (14..=longest).contains(&word.length()) && word.offset(11) >= PREFIX as u32);
        let mut bytes = Bytes::none();
        let result = sender.give::<PREFIX>(&words, &[NONE; 4], &mut bytes);
        assert_eq!(result.is_some(), fits, "{words:x?}");
        let Some(sent) = result else {
            refused += 1;
            continue;
        };
        given += 1;
        let (addresses, commands) = (<[u64; 4]>::from(sent.addresses), <[u64; 4]>::from(sent.commands));
        for (index, word) in words.iter().enumerate() {
            assert_eq!(sent.owners[index], word.number(11));
            assert_eq!(addresses[index], 0x7_0000_0000 + word.position() - PREFIX as u64);
            assert_eq!(commands[index], u64::from(word.length()) + PREFIX as u64);
        }
    }
    assert!(given > 10_000 && refused > 1_000);
}
