//! Port forwarding over the AF_XDP datapath, with the C and with ours in turn.
//!
//! ```text
//!       bridge br0
//!  ┌── loop0   loop1 ──┐     what comes in at one port goes out at the other,
//!  └────── cable ──────┘     and so comes in again
//! ```
//! A few hundred UDP packets of 64 bytes go round for as long as it takes, through one thread of the switch, which has
//! nothing else to do: no generator is there that could be the slower one. The rules look at a UDP port, since a switch
//! that forwards by port alone doesn't extract. The kernel's half of AF_XDP (its generic mode, on veth) takes by far
//! the most of the time, so that the ratio says how much of the whole extraction is.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::build;
use super::live::stage::{self, Stage};
use super::source::Switch;
use crate::cache::Cache;
use crate::tool;

/// Rounds of each side, of which the median counts.
const ROUNDS: usize = 10;
/// How long packets go round in each.
const TIME: Duration = Duration::from_secs(2);
/// Copies that one packet sent by hand is made to, and how many such packets.
const COPIES: usize = 32;
const SENT: usize = 8;
/// A frame of 64 bytes with its check sequence, which a socket doesn't see: UDP from port 4096 to 53.
const FRAME: &str = "020000000001020000000002080045000\
                     02e00000000401166bd0a0000010a00000210000035001a0000000000000000000000000000000000000000";

/// Prints packets per second with the C and with ours, and the ratio. It isn't judged: on a machine that does something
/// else besides, it would say more about that.
pub(super) fn run(cache: &Cache, switch: &Switch) -> Result<()> {
    let counting = build::library(switch)?;
    let plain = build::plain_library(switch)?;
    // Once with the counter, which costs time, to see that it is ours that extracts.
    let (seen, calls) = round(cache, switch, Some(&counting))?;
    if calls < seen.packets {
        bail!("{} packets went round, but only {calls} calls came to ours", seen.packets);
    }
    println!("      AF_XDP: {} packets went round, {calls} calls came to ours", seen.packets);
    let mut rounds = Vec::with_capacity(ROUNDS);
    tool::timed("forwarded over AF_XDP with the C and with ours in turn", || {
        for number in 0..ROUNDS {
            // Neither is always the first.
            let mut both = [None, Some(plain.as_path())];
            both.rotate_left(number % 2);
            let mut seen = [round(cache, switch, both[0])?.0, round(cache, switch, both[1])?.0];
            seen.rotate_left(number % 2);
            rounds.push(seen);
        }
        Ok(())
    })?;
    for (name, figure) in [
        ("packets/s", (|seen| seen.rate) as fn(&Round) -> f64),
        ("packets/s of processor time", |seen| seen.rate_of_processor),
    ] {
        let [theirs, ours] = [0, 1].map(|side| median(rounds.iter().map(|seen| figure(&seen[side]))));
        let pairs: Vec<f64> = rounds.iter().map(|[theirs, ours]| figure(ours) / figure(theirs)).collect();
        let least = pairs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = pairs.iter().copied().fold(0.0, f64::max);
        println!("      {name}: {theirs:.0} with the C, {ours:.0} with ours (medians of {ROUNDS})");
        println!(
            "        ratio {:.3}; of the pairs {:.3}, from {least:.3} to {most:.3}",
            ours / theirs,
            median(pairs.into_iter())
        );
    }
    Ok(())
}

/// What one round gave.
struct Round {
    packets: u64,
    /// Packets per second of time.
    rate: f64,
    /// Packets per second that the forwarding thread had a processor: the same on a machine that is left alone.
    rate_of_processor: f64,
}

/// One switch from start to end; also the calls that came to ours, if it counts them.
fn round(cache: &Cache, switch: &Switch, library: Option<&Path>) -> Result<(Round, u64)> {
    let mut stage = Stage::open(cache, switch, library)?;
    let outcome = forward(&mut stage);
    let log = stage.last_words();
    stage.close()?;
    let round = outcome.map_err(|error| error.context(format!("the switch's last words:\n{log}")))?;
    Ok((round, stage::calls(&stage).unwrap_or(0)))
}

fn forward(stage: &mut Stage) -> Result<Round> {
    stage.lay_cable()?;
    stage.database()?;
    // The forwarding thread has the last processor for itself, as far as the system lets it.
    let last = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) - 1;
    stage.vsctl(&format!(
        "--no-wait set open_vswitch . other_config:pmd-cpu-mask={:#x}",
        1u64 << (last % 64)
    ))?;
    stage.vswitchd()?;
    stage.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev fail_mode=secure")?;
    for port in ["loop0", "loop1"] {
        let add = format!("add-port br0 {port} -- set interface {port} type=afxdp options:xdp-mode=generic");
        stage.vsctl(&add).with_context(|| format!("{port} can't be added"))?;
        let error = stage.vsctl(&format!("get interface {port} error"))?;
        if error.trim() != "[]" {
            bail!("AF_XDP isn't to be had on this kernel (CONFIG_XDP_SOCKETS, BPF): {}", error.trim());
        }
    }
    for (from, to) in [("loop0", "loop1"), ("loop1", "loop0")] {
        stage.rule("br0", &format!("in_port={from},udp,tp_dst=53,actions=output:{to}"))?;
    }
    let actions = vec!["output:loop1"; COPIES].join(",");
    for _ in 0..SENT {
        stage.packet_out("br0", &format!("in_port=loop0,packet={FRAME},actions={actions}"))?;
    }
    // The first packets find no flow yet.
    std::thread::sleep(TIME / 4);
    let count = || -> Result<(u64, u64, Instant)> {
        let said = stage.appctl(&["dpif-netdev/pmd-perf-show"])?;
        let packets = received(&said).with_context(|| format!("no number of packets in\n{said}"))?;
        Ok((packets, stage.processor_time("pmd-")?, Instant::now()))
    };
    let (packets, processor, start) = count()?;
    std::thread::sleep(TIME);
    let (more, spent, end) = count()?;
    let packets = more.saturating_sub(packets);
    if packets < 1000 {
        bail!("only {packets} packets went round");
    }
    let per_second = |duration: Duration| packets as f64 / duration.as_secs_f64();
    Ok(Round {
        packets,
        rate: per_second(end - start),
        rate_of_processor: per_second(Duration::from_nanos(spent.saturating_sub(processor))),
    })
}

/// Packets that the forwarding thread received, in a line such as `Rx packets:   1234567  (617 Kpps, 4200 cycles/pkt)`.
/// It comes before the main thread, which receives none.
fn received(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Rx packets:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_forwarding_threads_packets_are_read() {
        let text = "pmd thread numa_id 0 core_id 1:\n  - Used TSC cycles:  406  ( 99.9 % of total cycles)\n\
                    \x20 Rx packets:            1234567  (617 Kpps, 4200 cycles/pkt)\nmain thread:\n\
                    \x20 Rx packets:                  0\n";
        assert_eq!(super::received(text), Some(1_234_567));
        assert_eq!(super::received("main thread:\n"), None);
    }
}
