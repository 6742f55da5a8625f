//! Where the target that compares with Open vSwitch finds its libraries, at link time and when it runs.
//!
//! The library crate can't say so for the programs of another package.

use std::env;

fn main() {
    println!("cargo::rerun-if-env-changed=RINGWAY_OVS_BUILD");
    println!("cargo::rerun-if-env-changed=RINGWAY_OVS_LIBRARIES");
    // The old kind of run path is searched for the libraries of libraries too.
    println!("cargo::rustc-link-arg-bins=-Wl,--disable-new-dtags");
    let build = env::var("RINGWAY_OVS_BUILD").map(|folder| format!("{folder}/lib/.libs"));
    let libraries = env::var("RINGWAY_OVS_LIBRARIES");
    for folder in [build, libraries].into_iter().flatten().flat_map(|folders| {
        env::split_paths(&folders).map(|folder| folder.display().to_string()).collect::<Vec<_>>()
    }) {
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath,{folder}");
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath-link,{folder}");
    }
}
