//! ICMP echo from one end to the other.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::lab::wire::Wire;
use crate::tool;

/// Pings until one answer comes, or fails when time is up: waits for the path to be there.
pub fn until_answered(from: &Wire, to: &Wire, limit: Duration) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        let said = ping(from, to, &["-c", "1", "-W", "1"])?;
        if said.contains(" 0% packet loss") {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("expected an answer to ping within {}, saw:\n{said}", tool::seconds(limit));
        }
    }
}

/// Sends that many requests of that many data bytes, one after the other's answer; all must be answered.
pub fn without_loss(from: &Wire, to: &Wire, count: u32, size: u32) -> Result<()> {
    // "-A" sends the next request as soon as the answer to the last has come.
    let said = ping(from, to, &["-A", "-c", &count.to_string(), "-s", &size.to_string(), "-W", "10"])?;
    let wanted = format!("{count} packets transmitted, {count} packets received, 0% packet loss");
    if !said.contains(&wanted) {
        bail!("expected \"{wanted}\" from ping, saw:\n{}", tool::last_lines(&said, 5));
    }
    Ok(())
}

fn ping(from: &Wire, to: &Wire, arguments: &[&str]) -> Result<String> {
    let target = to.host_address();
    from.namespace.within(|| {
        let output = tool::run(from.busybox("ping").args(arguments).arg(target))
            .map_err(|error| anyhow!("cannot ping {target}: {error}"))?;
        Ok(tool::both_streams(&output))
    })
}
