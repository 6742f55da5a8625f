//! Time of capture files: writing packets of three lengths, and reading them, in the system's page cache.
#![allow(clippy::expect_used, reason = "a measurement that can't go on has failed")]

mod common;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_traffic::capture::{Reader, Writer};
use std::hint::black_box;
use std::time::Duration;

/// Packets of one file.
const PACKETS: usize = 1000;
const LENGTHS: [usize; 3] = [60, 590, 1514];

fn capture(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join("benchmark.pcapng");
    let frame = vec![7; 1514];
    let write = |length: usize, writer: &mut Writer| {
        for number in 0..PACKETS {
            let time = Duration::from_nanos(number as u64);
            let bytes = frame.get(..length).unwrap_or_default();
            writer.write(0, time, black_box(bytes)).expect("there is room on the disk");
        }
        writer.flush().expect("there is room on the disk");
    };
    let mut group = criterion.benchmark_group("capture/write");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for length in LENGTHS {
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter_batched_ref(
                || Writer::create(&path, &["benchmark"]).expect("the file can be made"),
                |writer| write(length, writer),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("capture/read");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for length in LENGTHS {
        write(length, &mut Writer::create(&path, &["benchmark"]).expect("the file can be made"));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter_batched_ref(
                || Reader::open(&path).expect("the file is there"),
                |reader| {
                    let mut count = 0;
                    while let Ok(Some(frame)) = reader.next_frame() {
                        black_box(&frame);
                        count += 1;
                    }
                    assert_eq!(count, PACKETS);
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = common::brief(); targets = capture }
criterion_main!(benches);
