//! Time of the flow parser, kind by kind and shuffled, through its Rust interface.
//!
//! Throughput is in packets. All kinds together come in a fixed order, one after the other, and shuffled, over 32, 256 and
//! 16,384 packets: a short or a fixed order is one that the branch predictor learns. Beside Open vSwitch's C: `cargo xtask ovs --speed`.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_flow::samples::Kind;
use ringway_flow::{
    Extraction, Metadata, Miniflow, Murmur, PacketType, V3_7, VlanLimit, extract, extract_batch,
};

fn pass(packets: &[Vec<u8>], metadata: &Metadata, flow: &mut Miniflow<V3_7>) {
    for packet in packets {
        black_box(extract(black_box(packet), PacketType::ETHERNET, metadata, VlanLimit::TWO, flow));
        black_box(&flow);
    }
}

/// The same, 32 packets a call.
fn batches(packets: &[Vec<u8>], metadata: &Metadata, flows: &mut [Miniflow<V3_7>; 32]) {
    let mut found = [Extraction::default(); 32];
    for batch in packets.chunks(32) {
        let packets = black_box(batch).iter().map(Vec::as_slice);
        extract_batch(packets, metadata, VlanLimit::TWO, flows, &mut found);
        black_box((&flows, &found));
    }
}

/// All measured kinds, one after the other.
fn in_turn(count: usize) -> Vec<Vec<u8>> {
    let kinds = Kind::MEASURED.iter().cycle();
    kinds.zip(0..count as u32).map(|(kind, variant)| kind.packet(variant)).collect()
}

/// All measured kinds in an order without a pattern.
fn shuffled(count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count as u32)
        .map(|variant| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            Kind::MEASURED[(state % Kind::MEASURED.len() as u64) as usize].packet(variant)
        })
        .collect()
}

fn extraction(criterion: &mut Criterion) {
    let metadata = Metadata::new(1);
    let mut flow = Miniflow::<V3_7>::new();
    let mut group = criterion.benchmark_group("flow/extract");
    for kind in Kind::MEASURED {
        let packets: Vec<Vec<u8>> = (0..32).map(|variant| kind.packet(variant * 77)).collect();
        group.throughput(Throughput::Elements(32));
        group.bench_function(kind.name(), |bencher| bencher.iter(|| pass(&packets, &metadata, &mut flow)));
    }
    for count in [32, 256, 16_384] {
        for (order, packets) in [("in-turn", in_turn(count)), ("shuffled", shuffled(count))] {
            group.throughput(Throughput::Elements(count as u64));
            group.bench_with_input(BenchmarkId::new(order, count), &packets, |bencher, packets| {
                bencher.iter(|| pass(packets, &metadata, &mut flow));
            });
        }
    }
    group.finish();
    let mut flows = [const { Miniflow::new() }; 32];
    let mut group = criterion.benchmark_group("flow/extract-batch");
    for (order, count) in [("in-turn", 16_384), ("shuffled", 16_384), ("udp-ipv4", 32)] {
        let packets = match order {
            "in-turn" => in_turn(count),
            "shuffled" => shuffled(count),
            _ => (0..count as u32).map(|variant| Kind::UdpIpv4.packet(variant * 77)).collect(),
        };
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new(order, count), &packets, |bencher, packets| {
            bencher.iter(|| batches(packets, &metadata, &mut flows));
        });
    }
    group.finish();
}

fn hashes(criterion: &mut Criterion) {
    let metadata = Metadata::new(1);
    let mut flow = Miniflow::<V3_7>::new();
    let mut group = criterion.benchmark_group("flow/hash");
    for kind in [Kind::UdpIpv4, Kind::UdpIpv6] {
        let packet = kind.packet(7);
        let found = extract(&packet, PacketType::ETHERNET, &metadata, VlanLimit::TWO, &mut flow);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("five-tuple", kind.name()), |bencher| {
            bencher.iter(|| black_box(&flow).hash_five_tuple::<Murmur>(0));
        });
        group.bench_function(BenchmarkId::new("rss", kind.name()), |bencher| {
            bencher.iter(|| found.rss_hash::<Murmur>(black_box(&packet)));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = common::brief(); targets = extraction, hashes }
criterion_main!(benches);
