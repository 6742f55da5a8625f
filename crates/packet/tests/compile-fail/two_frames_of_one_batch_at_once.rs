//! `frame` borrows the batch; who wants several asks for `frames`.

fn two(batch: &mut ringway_packet::Batch) -> Option<usize> {
    let first = batch.frame(0)?;
    let second = batch.frame(0)?;
    Some(first.len() + second.len())
}

fn main() {}
