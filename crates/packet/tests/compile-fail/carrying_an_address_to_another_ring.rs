//! An address is of one space, and gets into a ring's word only as a buffer is lent there: it can't be carried from word to
//! word, nor read as a number and written elsewhere.

use ringway_dma::{AddressWord, Descriptor, Iova};
use std::sync::atomic::Ordering;

fn by_number(from: &Descriptor, to: &Descriptor) {
    to.address.lend(from.address.load(Ordering::Relaxed));
}

fn by_word(from: &Descriptor) -> AddressWord {
    from.address
}

fn by_address(to: &Descriptor, address: Iova) {
    to.address.point_at(address, 0);
}

fn main() {}
