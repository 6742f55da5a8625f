//! A live switch with ours in place: a userspace bridge between network namespaces.
//!
//! ```text
//!  namespace a          this test's own namespace             namespace b
//!  10.1.0.1  ── pa ── bridge br0 ── loop0 ═ loop1 ── bridge br1 ── pb ── 10.1.0.2
//! ```
//! Plain traffic crosses both bridges; VLAN 5 and, on the way from a to b, an MPLS label that br0 pushes and br1
//! matches and pops, have rules of their own whose packet counters are read at the end. Everything lies in
//! namespaces that this test makes, and goes with them. Making them needs root.

mod stage;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::source::Switch;
use crate::cache::Cache;
use crate::tool;
use stage::Stage;

/// Bytes that go through the TCP connection.
const TRANSFER: usize = 4 << 20;
/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the switch and passes traffic through it.
pub(super) fn run(switch: &Switch, library: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a live switch needs root, for its network namespaces: run `sudo cargo xtask ovs --live`");
    }
    let cache = Cache::open()?;
    let mut stage = Stage::open(&cache, switch, library)?;
    let passed = tool::timed("traffic through a live switch", || traffic(&mut stage));
    let log = stage.last_words();
    stage.close()?;
    match passed {
        Ok(()) => {}
        Err(error) => return Err(error.context(format!("the switch's last words:\n{log}"))),
    }
    let calls = stage::calls(&stage)?;
    if calls == 0 {
        bail!("no call came to {}", library.display());
    }
    println!("      ping, TCP, VLAN and MPLS passed; {calls} calls came to ours");
    Ok(())
}

fn traffic(stage: &mut Stage) -> Result<()> {
    stage.start()?;
    // ARP and everything else crosses as it is; the two rules that are looked at win over that.
    for bridge in ["br0", "br1"] {
        stage.rule(bridge, "priority=0,actions=normal")?;
    }
    stage.rule("br0", "priority=9,in_port=pa,dl_vlan=5,actions=output:loop0")?;
    stage.rule("br1", "priority=9,in_port=loop1,dl_vlan=5,actions=output:pb")?;
    let push = "actions=push_mpls:0x8847,set_field:77->mpls_label,output:loop0";
    stage.rule("br0", &format!("priority=9,in_port=pa,ip,nw_dst=10.1.0.3,{push}"))?;
    stage.rule("br1", "priority=9,in_port=loop1,mpls,mpls_label=77,actions=pop_mpls:0x0800,output:pb")?;

    ping(stage, "10.1.0.2")?;
    ping(stage, "10.5.0.2")?;
    // 10.1.0.3 is b's second address: there and only there the way through MPLS leads.
    ping(stage, "10.1.0.3")?;
    transfer(stage)?;
    for (bridge, rule) in [("br0", "dl_vlan=5"), ("br1", "dl_vlan=5"), ("br1", "mpls_label=77")] {
        if stage.packets(bridge, rule)? == 0 {
            bail!("no packet matched {rule} on {bridge}");
        }
    }
    Ok(())
}

/// Pings until an answer comes: the first packets may find the switch still learning.
fn ping(stage: &Stage, address: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let mut command = stage.inside('a', &["ping", "-c", "3", "-W", "2", address]);
        let output = tool::run(&mut command)?;
        if output.status.success() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("no answer from {address}\n{}", tool::both_streams(&output));
        }
    }
}

/// Sends bytes through TCP and compares what arrives.
fn transfer(stage: &Stage) -> Result<()> {
    let sent = stage.file("sent");
    let arrived = stage.file("arrived");
    let bytes: Vec<u8> = (0..TRANSFER).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&sent, &bytes)?;
    let receive = format!("nc -l -p 5001 > {}", arrived.display());
    let mut listener = stage.inside('b', &["sh", "-c", &receive]).spawn()?;
    let start = Instant::now();
    loop {
        let send = format!("nc -w 20 10.1.0.2 5001 < {}", sent.display());
        let mut command: Command = stage.inside('a', &["sh", "-c", &send]);
        // Refused as long as nobody listens yet.
        if tool::run(&mut command)?.status.success() {
            break;
        }
        if start.elapsed() > PATIENCE {
            let _ = listener.kill();
            let _ = listener.wait();
            bail!("no TCP connection to 10.1.0.2 within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    listener.wait()?;
    let came = std::fs::read(&arrived)?;
    if came != bytes {
        bail!("TCP: {} bytes were sent, {} arrived, and they differ", bytes.len(), came.len());
    }
    Ok(())
}
