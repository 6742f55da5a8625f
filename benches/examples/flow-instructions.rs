//! Extracts packets of one kind a given number of times, for an instruction counter.
//!
//! What is inside the functions `pass_…` counts; the difference between one with `extract` and one with `nothing`, divided by
//! 32 times the number of passes, is the number of instructions per packet.
//!
//! ```text
//! valgrind --tool=callgrind --collect-atstart=no '--toggle-collect=*pass_*' flow-instructions udp-ipv4 1000 extract
//! ```

use std::hint::black_box;
use std::process::ExitCode;

use ringway_flow::samples::Kind;
use ringway_flow::{Metadata, Miniflow, PacketType, V3_7, VlanLimit, extract};

#[inline(never)]
fn pass_extract(packets: &[Vec<u8>], metadata: &Metadata, flow: &mut Miniflow<V3_7>) {
    for packet in packets {
        let packet = black_box(packet.as_slice());
        black_box(extract(packet, PacketType::ETHERNET, metadata, VlanLimit::TWO, flow));
        black_box(&*flow);
    }
}

#[inline(never)]
fn pass_nothing(packets: &[Vec<u8>], flow: &mut Miniflow<V3_7>) {
    for packet in packets {
        black_box(packet.as_slice());
        black_box(&*flow);
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let passes = arguments.next().and_then(|text| text.parse::<usize>().ok());
    let does = match arguments.next().as_deref() {
        None | Some("extract") => Some(true),
        Some("nothing") => Some(false),
        Some(_) => None,
    };
    if name == "kinds" {
        Kind::MEASURED.into_iter().for_each(|kind| println!("{}", kind.name()));
        return ExitCode::SUCCESS;
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    let (Some(kind), Some(passes), Some(does)) = (kind, passes, does) else {
        eprintln!("usage: flow-instructions KIND PASSES [extract | nothing]; flow-instructions kinds");
        for kind in Kind::ALL {
            eprintln!("  {}", kind.name());
        }
        return ExitCode::FAILURE;
    };
    let packets: Vec<Vec<u8>> = (0..32).map(|variant| kind.packet(variant * 77)).collect();
    let metadata = Metadata::new(1);
    let mut flow = Miniflow::<V3_7>::new();
    for _ in 0..passes {
        if does {
            pass_extract(&packets, &metadata, &mut flow);
        } else {
            pass_nothing(&packets, &mut flow);
        }
    }
    ExitCode::SUCCESS
}
