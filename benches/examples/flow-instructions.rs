//! Extracts packets of one kind a given number of times, for an instruction counter.
//!
//! The difference between two counts, of N and of 2 N passes, divided by 32 N, is the number of instructions per packet
//! with the loop around it; "nothing" as the third argument does the loop alone.
//!
//! ```text
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null flow-instructions udp-ipv4 1000
//! ```

use std::hint::black_box;
use std::process::ExitCode;

use ringway_flow::samples::Kind;
use ringway_flow::{Metadata, Miniflow, PacketType, V3_7, VlanLimit, extract};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let passes = arguments.next().and_then(|text| text.parse::<usize>().ok());
    let nothing = arguments.next().is_some_and(|word| word == "nothing");
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    let (Some(kind), Some(passes)) = (kind, passes) else {
        eprintln!("usage: flow-instructions KIND PASSES [nothing]");
        for kind in Kind::ALL {
            eprintln!("  {}", kind.name());
        }
        return ExitCode::FAILURE;
    };
    let packets: Vec<Vec<u8>> = (0..32).map(|variant| kind.packet(variant * 77)).collect();
    let metadata = Metadata::new(1);
    let mut flow = Miniflow::<V3_7>::new();
    for _ in 0..passes {
        for packet in &packets {
            let packet = black_box(packet.as_slice());
            if !nothing {
                black_box(extract(packet, PacketType::ETHERNET, &metadata, VlanLimit::TWO, &mut flow));
            }
            black_box(&flow);
        }
    }
    ExitCode::SUCCESS
}
