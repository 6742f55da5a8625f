//! Compares the flow parser with Open vSwitch's C, and gives both something to do while they are measured.

#[cfg(ringway_ovs)]
mod command;

#[cfg(ringway_ovs)]
use command::main as run;

fn main() -> std::process::ExitCode {
    run()
}

/// Without Open vSwitch's headers there is nothing to compare with.
#[cfg(not(ringway_ovs))]
fn run() -> std::process::ExitCode {
    eprintln!("built without Open vSwitch: set RINGWAY_OVS_SOURCE, or use `cargo xtask ovs`");
    std::process::ExitCode::FAILURE
}
