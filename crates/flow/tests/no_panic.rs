//! The optimised parser has no panic in it: what it is compiled to names no panicking function.
//!
//! The parser is compiled as a C library would be, generic functions made concrete for each layout, with overflow checks
//! on; then the object is searched for the names of the functions that every panic goes through.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on should stop"
)]
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = r#"
#![no_std]
use ringway_flow::{Crc32c, Extraction, Layout, Metadata, Miniflow, Murmur, PacketType, VlanLimit};

macro_rules! concrete {
    ($($layout:ident $extract:ident $hash:ident;)*) => {$(
        #[inline(never)]
        pub fn $extract(packet: &[u8], kind: PacketType, metadata: &Metadata, limit: VlanLimit,
                        flow: &mut Miniflow<ringway_flow::$layout>) -> Extraction {
            ringway_flow::extract(packet, kind, metadata, limit, flow)
        }
        #[inline(never)]
        pub fn $hash(flow: &Miniflow<ringway_flow::$layout>, found: &Extraction, packet: &[u8]) -> u32 {
            let _ = ringway_flow::$layout::SEQUENCE;
            flow.hash_five_tuple::<Murmur>(0) ^ flow.hash_five_tuple::<Crc32c>(0)
                ^ found.rss_hash::<Murmur>(packet).unwrap_or(0) ^ found.rss_hash::<Crc32c>(packet).unwrap_or(0)
        }
    )*};
}
concrete! { V3_1 extract_3_1 hash_3_1; V3_5 extract_3_5 hash_3_5; V3_7 extract_3_7 hash_3_7; }
EXTRA
"#;

/// Compiles the parser and `source` with it, and gives the object's bytes.
fn object(name: &str, extra: &str) -> Vec<u8> {
    let folder = std::env::temp_dir().join(format!("ringway-no-panic-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = rustc(&folder, &manifest.join("src/lib.rs"), "ringway_flow", "link", None);
    let source = folder.join("concrete.rs");
    std::fs::write(&source, SOURCE.replace("EXTRA", extra)).unwrap();
    let object = rustc(&folder, &source, "concrete", "obj", Some(&library));
    let bytes = std::fs::read(object).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    bytes
}

fn rustc(folder: &Path, source: &Path, name: &str, emit: &str, library: Option<&Path>) -> PathBuf {
    let out = folder.join(if emit == "link" { format!("lib{name}.rlib") } else { format!("{name}.o") });
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    // Intermediate files go to the current folder, and the tests run side by side.
    command.current_dir(folder).args([
        "--edition=2024",
        "--crate-type=rlib",
        "-Copt-level=3",
        "-Coverflow-checks=on",
    ]);
    command.args(["-Ccodegen-units=1", "-Cdebuginfo=0", "--crate-name", name, "--cap-lints=allow"]);
    command.arg(format!("--emit={emit}={}", out.display())).arg(source);
    if let Some(library) = library {
        command.arg("--extern").arg(format!("ringway_flow={}", library.display()));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
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
fn the_optimised_parser_names_no_panicking_function() {
    assert!(!names_a_panic(&object("parser", "")));
}

#[test]
fn the_search_finds_a_panic_where_there_is_one() {
    let extra = "#[inline(never)] pub fn guilty(packet: &[u8], at: usize) -> u8 { packet[at] }";
    assert!(names_a_panic(&object("guilty", extra)));
}
