//! New packets in bulk, for those who make them.

use crate::cache::Stock;
use crate::pool::HEADROOM;
use crate::word::Word;
use crate::{Batch, Error, Pool};

/// A stock of free buffers of one pool, from which packets are made. It keeps at most 320 of them from others; they go back
/// when it is dropped. One a thread: it takes whole magazines, with no atomic operation a packet.
///
/// ```
/// use ringway_dma::AddressSpace;
/// use ringway_packet::{Batch, Pool, PoolOptions, Supply};
///
/// let pool = Pool::new(&AddressSpace::emulated(), PoolOptions::default())?;
/// let mut supply = Supply::new(&pool);
/// let mut batch = Batch::new(&pool, 32);
/// assert_eq!(supply.fill(&mut batch, 8)?, 8);
/// for mut frame in batch.frames() {
///     frame.append(60)?.fill(0xff);
/// }
/// # Ok::<(), ringway_packet::Error>(())
/// ```
#[derive(Debug)]
pub struct Supply {
    stock: Stock,
}

impl Supply {
    /// A supply of packets of `pool`.
    pub fn new(pool: &Pool) -> Self {
        Self { stock: Stock::new(pool.clone()) }
    }

    /// Adds up to `count` empty packets, with the headroom before them, to the batch's end. Returns how many: fewer where the
    /// batch has no more room, or the pool no more buffers.
    ///
    /// # Errors
    /// When the batch is of another pool.
    #[inline]
    pub fn fill(&mut self, batch: &mut Batch, count: usize) -> Result<usize, Error> {
        let Stock { pool, .. } = &self.stock;
        if !pool.is_same(&batch.pool) {
            return Err(Error::WrongPool);
        }
        let shift = pool.inner.shift();
        let wanted = self.stock.most(count.min(batch.room()));
        let Stock { numbers, head, end, .. } = &mut self.stock;
        let free = numbers.get(*head..*end).and_then(|free| free.get(..wanted)).unwrap_or_default();
        let places = batch.words.get_mut(batch.length..).unwrap_or_default();
        for (place, &number) in places.iter_mut().zip(free) {
            *place = Word::empty(number, shift, HEADROOM);
        }
        let filled = free.len();
        *head = head.wrapping_add(filled);
        batch.length = batch.length.wrapping_add(filled);
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PoolOptions;
    use ringway_dma::AddressSpace;

    fn pool(buffers: u32) -> Pool {
        Pool::new(&AddressSpace::emulated(), PoolOptions { buffers, ..PoolOptions::default() }).unwrap()
    }

    #[test]
    fn packets_are_empty_and_each_has_a_buffer_of_its_own() {
        let pool = pool(1000);
        let mut supply = Supply::new(&pool);
        let mut batches: Vec<Batch> = Vec::new();
        let mut made = 0;
        loop {
            let mut batch = Batch::new(&pool, 100);
            let filled = supply.fill(&mut batch, 37).unwrap() + supply.fill(&mut batch, 200).unwrap();
            made += filled;
            assert_eq!(batch.len(), filled);
            for mut frame in batch.frames() {
                assert_eq!((frame.len(), frame.headroom()), (0, 256));
                frame.append(8).unwrap();
            }
            batches.push(batch);
            if filled < 100 {
                break;
            }
        }
        assert_eq!((made, pool.available()), (1000, 0));
        let mut places: Vec<usize> = batches
            .iter_mut()
            .flat_map(|batch| batch.frames().map(|frame| frame.data().as_ptr().addr()).collect::<Vec<_>>())
            .collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 1000);
        drop((batches, supply));
        assert_eq!(pool.available(), 1000);
    }

    #[test]
    fn a_batch_of_another_pool_is_refused() {
        let mut supply = Supply::new(&pool(64));
        assert!(matches!(supply.fill(&mut Batch::new(&pool(64), 8), 1), Err(Error::WrongPool)));
    }
}
