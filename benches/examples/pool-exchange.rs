//! Gets buffers from the pool in bulk and gives them back, for an instruction counter.
//!
//! What is inside `exchange` counts; divided by the number of buffers it is what getting and putting back one takes.
//!
//! ```text
//! valgrind --tool=callgrind --collect-atstart=no '--toggle-collect=*exchange' pool-exchange 32 1000
//! ```

use ringway_dma::AddressSpace;
use ringway_packet::{Batch, Pool, PoolOptions, Supply};
use std::error::Error;

#[inline(never)]
fn exchange(supply: &mut Supply, batch: &mut Batch, size: usize) -> usize {
    let got = supply.fill(batch, size).unwrap_or(0);
    batch.clear();
    got
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [size, rounds] = arguments.as_slice() else {
        return Err("usage: pool-exchange SIZE ROUNDS".into());
    };
    let (size, rounds): (usize, usize) = (size.parse()?, rounds.parse()?);
    let pool = Pool::new(&AddressSpace::emulated(), PoolOptions { buffers: 4096, ..PoolOptions::default() })?;
    let mut supply = Supply::new(&pool);
    let mut batch = Batch::new(&pool, size);
    let got: usize = (0..rounds).map(|_| exchange(&mut supply, &mut batch, size)).sum();
    if got == size * rounds { Ok(()) } else { Err(format!("{got} of {} buffers", size * rounds).into()) }
}
