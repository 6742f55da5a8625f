//! ICMP echo from one end to the other.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::lab::wire::Wire;
use crate::tool;

/// Pings until one answer comes, or fails when time is up: waits for the path to be there.
pub fn until_answered(from: &Wire, to: &Wire, limit: Duration) -> Result<()> {
    address_until_answered(from, to.host_address(), limit)
}

/// The same, to any Internet address.
pub fn address_until_answered(from: &Wire, to: &str, limit: Duration) -> Result<()> {
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
    address_without_loss(from, to.host_address(), count, size)
}

/// The same, to any Internet address.
pub fn address_without_loss(from: &Wire, to: &str, count: u32, size: u32) -> Result<()> {
    // "-A" sends the next request as soon as the answer to the last has come.
    let said = ping(from, to, &["-A", "-c", &count.to_string(), "-s", &size.to_string(), "-W", "10"])?;
    let wanted = format!("{count} packets transmitted, {count} packets received, 0% packet loss");
    if !said.contains(&wanted) {
        bail!("expected \"{wanted}\" from ping, saw:\n{}", tool::last_lines(&said, 5));
    }
    Ok(())
}

/// Sends that many requests twenty a second, and doesn't ask how many were answered.
pub fn flood(from: &Wire, to: &Wire, count: u32) -> Result<()> {
    ping(from, to.host_address(), &["-i", "0.05", "-c", &count.to_string(), "-s", "200", "-W", "1"])
        .map(|_| ())
}

/// Requests that go on in the background until this is dropped.
#[derive(Debug)]
pub struct Flood {
    child: Child,
}

impl Drop for Flood {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a flood of requests.
pub fn background_flood(from: &Wire, to: &Wire) -> Result<Flood> {
    let target = to.host_address();
    let child = from.namespace.within(|| {
        from.busybox("ping")
            .args(["-i", "0.002", "-s", "200", target])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| anyhow!("cannot ping {target}: {error}"))
    })?;
    Ok(Flood { child })
}

fn ping(from: &Wire, target: &str, arguments: &[&str]) -> Result<String> {
    from.namespace.within(|| {
        let output = tool::run(from.busybox("ping").args(arguments).arg(target))
            .map_err(|error| anyhow!("cannot ping {target}: {error}"))?;
        Ok(tool::both_streams(&output))
    })
}
