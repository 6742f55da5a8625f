//! Time of the pool: getting buffers and giving them back, in bulk and one by one.
#![allow(clippy::expect_used, reason = "a measurement that can't go on has failed")]

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_benches::forwarding::SIZES;
use ringway_dma::AddressSpace;
use ringway_packet::{Batch, Pool, PoolOptions, Supply};
use std::hint::black_box;

fn pool(criterion: &mut Criterion) {
    let options = PoolOptions { buffers: 4096, ..PoolOptions::default() };
    let pool = Pool::new(&AddressSpace::emulated(), options).expect("there is memory");
    let mut group = criterion.benchmark_group("pool/bulk");
    for size in SIZES {
        let (mut supply, mut batch) = (Supply::new(&pool), Batch::new(&pool, size));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                black_box(supply.fill(&mut batch, size).unwrap_or(0));
                batch.clear()
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("pool/single");
    group.throughput(Throughput::Elements(1));
    group.bench_function("packet", |bencher| bencher.iter(|| drop(black_box(pool.packet()))));
    group.finish();
}

criterion_group! { name = benches; config = common::brief(); targets = pool }
criterion_main!(benches);
