//! Compiles the C half against the headers of an Open vSwitch build, if one is given.
//!
//! `RINGWAY_OVS_SOURCE` is its source folder, `RINGWAY_OVS_BUILD` the folder it was built in (the same if not
//! set), `RINGWAY_OVS_CFLAGS` further flags that it was compiled with (`-msse4.2`: they decide its hash), and
//! `RINGWAY_OVS_LIBRARIES` where libraries lie that it needs and the system hasn't (for the comparison). The
//! constants that the Rust half relies on go into a header, which the C half compares with those of the target.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use ringway_flow::{At, Layout, METADATA_OFFSETS, TUNNEL_OFFSETS, V3_1, V3_5, V3_6, V3_7};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(ringway_ovs)");
    println!("cargo::rustc-check-cfg=cfg(ringway_layout, values(\"V3_1\", \"V3_5\", \"V3_6\", \"V3_7\"))");
    for variable in ["RINGWAY_OVS_SOURCE", "RINGWAY_OVS_BUILD", "RINGWAY_OVS_CFLAGS", "RINGWAY_OVS_LIBRARIES"]
    {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    for file in ["c/boundary.c", "c/oracle.c", "c/oracle_flow.c", "build.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let Some(source) = env::var_os("RINGWAY_OVS_SOURCE").map(PathBuf::from) else {
        println!("cargo::rustc-cfg=ringway_layout=\"V3_7\"");
        return Ok(());
    };
    let build = env::var_os("RINGWAY_OVS_BUILD").map_or_else(|| source.clone(), PathBuf::from);
    let version = version(&build.join("config.h"))?;
    let (name, constants) = match version {
        (3, 1) => ("V3_1", constants::<V3_1>()),
        (3, 5) => ("V3_5", constants::<V3_5>()),
        (3, 6) => ("V3_6", constants::<V3_6>()),
        (3, 7..) | (4, 0) => ("V3_7", constants::<V3_7>()),
        (major, minor) => {
            return Err(format!(
                "{}: Open vSwitch {major}.{minor} isn't known; 3.1 and 3.5 to 4.0 are",
                build.join("config.h").display()
            )
            .into());
        }
    };
    println!("cargo::rustc-cfg=ringway_ovs");
    println!("cargo::rustc-cfg=ringway_layout=\"{name}\"");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("ringway_constants.h"), constants?)?;
    compile(&source, &build, &out, version)
}

/// Major and minor version in `config.h`.
fn version(config: &Path) -> Result<(u32, u32), Box<dyn Error>> {
    let text = fs::read_to_string(config).map_err(|error| {
        format!("{}: {error}; RINGWAY_OVS_BUILD must name a configured Open vSwitch", config.display())
    })?;
    let line = text.lines().find_map(|line| line.strip_prefix("#define PACKAGE_VERSION \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    let mut parts = version.unwrap_or_default().split('.');
    let mut next = || parts.next().and_then(|part| part.parse::<u32>().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => Err(format!("{}: no PACKAGE_VERSION", config.display()).into()),
    }
}

/// What the Rust half believes, for the C half to check.
fn constants<L: Layout>() -> Result<String, std::fmt::Error> {
    let mut header = String::new();
    let words = [
        ("TUNNEL", At::<L>::TUNNEL),
        ("TUNNEL_OPTIONS", At::<L>::TUNNEL_OPTIONS),
        ("METADATA", At::<L>::METADATA),
        ("REGISTERS", At::<L>::REGISTERS),
        ("PRIORITY", At::<L>::PRIORITY),
        ("INPUT", At::<L>::INPUT),
        ("RECIRCULATION", At::<L>::RECIRCULATION),
        ("PACKET_TYPE", At::<L>::PACKET_TYPE),
        ("CT_LABEL", At::<L>::CT_LABEL),
        ("CONJUNCTION", At::<L>::CONJUNCTION),
        ("ETHERNET", At::<L>::ETHERNET),
        ("ETHERNET_TYPE", At::<L>::ETHERNET_TYPE),
        ("VLANS", At::<L>::VLANS),
        ("MPLS", At::<L>::MPLS),
        ("IPV4", At::<L>::IPV4),
        ("CT_IPV4", At::<L>::CT_IPV4),
        ("IPV6", At::<L>::IPV6),
        ("CT_IPV6", At::<L>::CT_IPV6),
        ("NETWORK", At::<L>::NETWORK),
        ("ND_TARGET", At::<L>::ND_TARGET),
        ("ARP", At::<L>::ARP),
        ("TCP_FLAGS", At::<L>::TCP_FLAGS),
        ("NSH", At::<L>::NSH),
        ("TRANSPORT", At::<L>::TRANSPORT),
        ("IGMP", At::<L>::IGMP),
        ("END", At::<L>::END),
    ];
    for (name, index) in words {
        writeln!(header, "#define RINGWAY_AT_{name} {index}")?;
    }
    let metadata = [
        "RECIRC_ID",
        "DP_HASH",
        "SKB_PRIORITY",
        "PKT_MARK",
        "CT_STATE",
        "CT_TUPLE_IPV6",
        "CT_ZONE",
        "CT_MARK",
        "CT_LABEL",
        "IN_PORT",
        "CT_TUPLE",
        "TUNNEL",
        "SIZE",
    ];
    for (name, offset) in metadata.iter().zip(METADATA_OFFSETS) {
        writeln!(header, "#define RINGWAY_METADATA_{name} {offset}")?;
    }
    for (name, offset) in ["PRESENT", "OPTIONS", "SIZE"].iter().zip(TUNNEL_OFFSETS) {
        writeln!(header, "#define RINGWAY_TUNNEL_{name} {offset}")?;
    }
    writeln!(header, "#define RINGWAY_SEQUENCE {}", L::SEQUENCE)?;
    writeln!(header, "#define RINGWAY_REGISTERS {}", L::REGISTERS)?;
    writeln!(header, "#define RINGWAY_MAX_PACKET_WORDS {}", ringway_flow::MAX_PACKET_WORDS)?;
    Ok(header)
}

fn compile(source: &Path, build: &Path, out: &Path, version: (u32, u32)) -> Result<(), Box<dyn Error>> {
    let mut compiler = cc::Build::new();
    compiler.std("gnu11").opt_level(2).pic(true).force_frame_pointer(false).define("HAVE_CONFIG_H", None);
    compiler.define("RINGWAY_OVS_VERSION", Some((version.0 * 100 + version.1).to_string().as_str()));
    for folder in [build, &build.join("include"), &build.join("lib"), source, &source.join("include")] {
        compiler.include(folder);
    }
    compiler.include(source.join("lib")).include(out);
    // The target's headers aren't ours to warn about.
    for warning in ["unused-parameter", "sign-compare", "missing-field-initializers", "cast-function-type"] {
        compiler.flag_if_supported(format!("-Wno-{warning}"));
    }
    let mut boundary = compiler.clone();
    boundary.file("c/boundary.c");
    for flag in env::var("RINGWAY_OVS_CFLAGS").unwrap_or_default().split_whitespace() {
        boundary.flag(flag);
    }
    if env::var_os("CARGO_FEATURE_COUNT_CALLS").is_some() {
        boundary.define("RINGWAY_COUNT_CALLS", None);
    }
    if env::var_os("CARGO_FEATURE_DIFFERENTIAL").is_none() {
        boundary.try_compile("ringway_boundary")?;
        return Ok(());
    }
    let mut oracles = Vec::new();
    for (prefix, flag) in [("plain", None), ("crc", Some("-msse4.2"))] {
        let mut flow = compiler.clone();
        flow.file("c/oracle_flow.c").flag("-w");
        flow.out_dir(out.join(prefix));
        fs::create_dir_all(out.join(prefix))?;
        if let Some(flag) = flag {
            flow.flag(flag);
        }
        let path = format!("\"{}\"", source.join("lib/flow.c").display());
        flow.define("RINGWAY_FLOW_C", Some(path.as_str()));
        for name in RENAMED {
            flow.define(name, Some(format!("{prefix}_{name}").as_str()));
        }
        // All but those names becomes local to the object: two of it are linked, and the library besides.
        let objects = flow.try_compile_intermediates()?;
        let mut hide = Command::new("objcopy");
        hide.args(RENAMED.map(|name| format!("--keep-global-symbol={prefix}_{name}"))).args(&objects);
        let status = hide.status().map_err(|error| format!("objcopy (of binutils): {error}"))?;
        if !status.success() {
            return Err(format!("objcopy: {status}").into());
        }
        oracles.extend(objects);
    }
    boundary.file("c/oracle.c").objects(oracles).try_compile("ringway_boundary")?;
    // The old kind of run path is searched for the libraries of libraries too.
    println!("cargo::rustc-link-arg-bins=-Wl,--disable-new-dtags");
    let libraries = build.join("lib/.libs");
    println!("cargo::rustc-link-search=native={}", libraries.display());
    println!("cargo::rustc-link-lib=dylib=openvswitch");
    println!("cargo::rustc-link-arg-bins=-Wl,-rpath,{}", libraries.display());
    for path in env::split_paths(&env::var_os("RINGWAY_OVS_LIBRARIES").unwrap_or_default()) {
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath,{}", path.display());
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath-link,{}", path.display());
    }
    Ok(())
}

/// What the comparison calls in Open vSwitch's `flow.c`, compiled under names of its own.
const RENAMED: [&str; 6] = [
    "miniflow_extract",
    "miniflow_hash_5tuple",
    "flow_hash_5tuple",
    "flow_hash_symmetric_l3l4",
    "flow_hash_symmetric_l2",
    "flow_vlan_limit",
];
