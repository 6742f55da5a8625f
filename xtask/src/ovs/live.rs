//! A live switch with ours in place: a userspace bridge between network namespaces.
//!
//! ```text
//!  namespace a          this test's own namespace             namespace b
//!  10.1.0.1  ── pa ── bridge br0 ── loop0 ═ loop1 ── bridge br1 ── pb ── 10.1.0.2
//! ```
//! Plain traffic crosses both bridges. To two more addresses of b it goes through a VLAN tag and through an MPLS label
//! that br0 pushes and br1 matches and pops, by rules whose packet counters are read at the end. Everything lies in
//! namespaces that this test makes, and goes with them. Making them needs root.

pub(super) mod stage;

use std::path::Path;
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
    let cache = Cache::open()?;
    let mut stage = Stage::open(&cache, switch, Some(library))?;
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
    for (address, push, match_and_pop) in [
        (
            "10.1.0.3",
            "push_mpls:0x8847,set_field:77->mpls_label",
            "mpls,mpls_label=77,actions=pop_mpls:0x0800",
        ),
        // Bit 12 says that there is a tag.
        ("10.1.0.4", "push_vlan:0x8100,set_field:4101->vlan_vid", "dl_vlan=5,actions=pop_vlan"),
    ] {
        stage
            .rule("br0", &format!("priority=9,in_port=pa,ip,nw_dst={address},actions={push},output:loop0"))?;
        stage.rule("br1", &format!("priority=9,in_port=loop1,{match_and_pop},output:pb"))?;
    }

    for address in ["10.1.0.2", "10.1.0.3", "10.1.0.4"] {
        ping(stage, address)?;
    }
    transfer(stage)?;
    for rule in ["dl_vlan=5", "mpls_label=77"] {
        if stage.packets("br1", rule)? == 0 {
            bail!("no packet matched {rule}");
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

/// Has a fetch a file from b over TCP, and compares what arrives.
fn transfer(stage: &Stage) -> Result<()> {
    let (sent, arrived) = (stage.file("sent"), stage.file("arrived"));
    let bytes: Vec<u8> = (0..TRANSFER).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&sent, &bytes)?;
    let folder = stage.file("").display().to_string();
    let mut server = stage.inside('b', &["httpd", "-f", "-p", "5001", "-h", &folder]).spawn()?;
    let fetched = fetch(stage, &arrived);
    // The server never ends by itself.
    let _ = server.kill();
    server.wait()?;
    fetched?;
    let came = std::fs::read(&arrived)?;
    if came != bytes {
        bail!("TCP: {} bytes were sent, {} arrived, and they differ", bytes.len(), came.len());
    }
    Ok(())
}

fn fetch(stage: &Stage, arrived: &Path) -> Result<()> {
    let start = Instant::now();
    let to = arrived.display().to_string();
    loop {
        let mut command =
            stage.inside('a', &["wget", "-q", "-T", "30", "-O", &to, "http://10.1.0.2:5001/sent"]);
        // Refused as long as nobody listens yet.
        let output = tool::run(&mut command)?;
        if output.status.success() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("no file from 10.1.0.2 within {PATIENCE:?}\n{}", tool::both_streams(&output));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
