//! Without vectors: no four ever fits, and everything goes one by one.

use super::{Four, Plain, Received, Sent, Whole};
use crate::word::Word;

#[derive(Clone, Copy)]
pub(in super::super) struct Bytes;

impl Bytes {
    pub(in super::super) fn none() -> Self {
        Self
    }

    pub(in super::super) fn sum(self) -> u64 {
        0
    }
}

#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Receiver;

impl Receiver {
    pub(in super::super) fn new(_capacity: u32, _base: u64, _shift: u32) -> Self {
        Self
    }

    pub(in super::super) fn take(
        &self,
        _whole: Whole,
        _said: Four,
        _owners: &[u32; 4],
        _numbers: &[u32; 4],
        _bytes: &mut Bytes,
    ) -> Option<Received> {
        None
    }

    pub(in super::super) fn take_named(
        &self,
        _said: Four,
        _slot: u32,
        _lengths: (u32, u32),
        _owners: &[u32; 4],
        _numbers: &[u32; 4],
        _bytes: &mut Bytes,
    ) -> Option<Received> {
        None
    }
}

#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Senders;

impl Senders {
    pub(in super::super) fn new(_base: u64, _shift: u32, _tag: u32) -> Self {
        Self
    }

    pub(in super::super) fn sender(&self, _plain: Plain, _longest: Option<u32>) -> Sender {
        Sender
    }
}

#[derive(Clone, Copy)]
pub(in super::super) struct Sender;

impl Sender {
    pub(in super::super) fn give<const PREFIX: usize>(
        &self,
        _words: &[Word; 4],
        _owners: &[u32; 4],
        _bytes: &mut Bytes,
    ) -> Option<Sent> {
        None
    }
}
