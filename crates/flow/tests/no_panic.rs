//! The optimised parser has no panic in it: what it is compiled to names no panicking function.
//!
//! The parser is compiled as another program would do it, generic functions made concrete for each layout, with overflow
//! checks on; then the object is searched for the names of the functions that every panic goes through.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on should stop"
)]

use std::path::Path;
use std::process::Command;

const SOURCE: &str = r#"
#![no_std]
use ringway_flow::{Crc32c, Extraction, Layout, Metadata, Miniflow, Murmur, PacketType, VlanLimit};

macro_rules! concrete {
    ($($layout:ident $extract:ident $batch:ident $hash:ident;)*) => {$(
        #[inline(never)]
        pub fn $extract(packet: &[u8], kind: PacketType, metadata: &Metadata, limit: VlanLimit,
                        flow: &mut Miniflow<ringway_flow::$layout>) -> Extraction {
            ringway_flow::extract(packet, kind, metadata, limit, flow)
        }
        #[inline(never)]
        pub fn $batch(packets: &[&[u8]], metadata: &Metadata, limit: VlanLimit,
                      flows: &mut [Miniflow<ringway_flow::$layout>], found: &mut [Extraction]) -> usize {
            ringway_flow::extract_batch(packets.iter().copied(), metadata, limit, flows, found)
        }
        #[inline(never)]
        pub fn $hash(flow: &Miniflow<ringway_flow::$layout>, found: &Extraction, packet: &[u8]) -> u32 {
            let _ = ringway_flow::$layout::SEQUENCE;
            flow.hash_five_tuple::<Murmur>(0) ^ flow.hash_five_tuple::<Crc32c>(0)
                ^ found.rss_hash::<Murmur>(packet).unwrap_or(0) ^ found.rss_hash::<Crc32c>(packet).unwrap_or(0)
        }
    )*};
}
concrete! {
    V3_1 extract_3_1 batch_3_1 hash_3_1;
    V3_5 extract_3_5 batch_3_5 hash_3_5;
    V3_7 extract_3_7 batch_3_7 hash_3_7;
}
EXTRA
"#;

const MANIFEST: &str = r#"
[package]
name = "concrete"
edition = "2024"
[dependencies]
ringway-flow.path = "PARSER"
[profile.release]
codegen-units = 1
overflow-checks = true
[workspace]
"#;

/// Compiles `SOURCE` and what is extra, with the parser in it, and gives the object's bytes.
fn object(name: &str, extra: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("no-panic-{name}"));
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let parser = Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
    write("src/lib.rs", &SOURCE.replace("EXTRA", extra));
    write("Cargo.toml", &MANIFEST.replace("PARSER", &parser.display().to_string()));
    // The versions of the workspace, which are at hand already.
    std::fs::copy(parser.join("../../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let out = folder.join("concrete.o");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(&folder).args(["rustc", "--offline", "--quiet", "--release"]);
    // Both are built here, one after the other, so that zerocopy is built once.
    command.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-panic-target"));
    command.arg("--").arg(format!("--emit=obj={}", out.display())).env_remove("RUSTFLAGS");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(out).unwrap()
}

/// Whether the object names something of `core::panicking` or of the slice and option failures.
fn names_a_panic(object: &[u8]) -> bool {
    [
        &b"9panicking"[..],
        b"slice_index_fail",
        b"unwrap_failed",
        b"expect_failed",
        b"slice_start_index",
        b"slice_end_index",
    ]
    .iter()
    .any(|name| object.windows(name.len()).any(|window| window == *name))
}

#[test]
#[cfg_attr(miri, ignore = "it runs the compiler")]
fn the_optimised_parser_names_no_panicking_function() {
    assert!(!names_a_panic(&object("parser", "")));
}

#[test]
#[cfg_attr(miri, ignore = "it runs the compiler")]
fn the_search_finds_a_panic_where_there_is_one() {
    let extra = "#[inline(never)] pub fn guilty(packet: &[u8], at: usize) -> u8 { packet[at] }";
    assert!(names_a_panic(&object("guilty", extra)));
}
