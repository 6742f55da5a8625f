//! The program under test, as the lab runs it: NICs given to the ordinary user, `ringway` started as that user,
//! signalled, and its words and summary taken.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::machine::Machine;
use crate::tool;

/// Seconds in which the forwarder has both ports up; generous, for an emulated processor on a busy machine.
const START: u32 = 60;
/// Seconds in which it ends when it is asked to.
const END: u32 = 30;

/// For the guest's answer, beyond any of these even where its clock is slow.
const ANSWER: Duration = Duration::from_secs(300);

/// What a run of the program left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit status; 128 and the signal's number if a signal ended it.
    pub status: i32,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

/// The summary that `--json` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// The ports, in the order of the command line.
    pub ports: Vec<PortSummary>,
    /// Times that workers slept until a packet came.
    #[serde(default)]
    pub slept: u64,
}

/// One port's totals.
#[derive(Clone, Debug, Deserialize)]
pub struct PortSummary {
    /// Its name: the address.
    pub name: String,
    /// Packets taken from the wire.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets put on the wire.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// What the device counts itself.
    #[serde(default)]
    pub device: BTreeMap<String, u64>,
}

/// Gives NICs to the ordinary user, as root, by `ringway bind`.
pub fn bind(machine: &mut Machine, addresses: &[&str]) -> Result<()> {
    machine.check(&format!("bind_for_user {}", addresses.join(" "))).map(|_| ())
}

/// Gives NICs back to the kernel's drivers by `ringway unbind`, and waits for their interfaces.
pub fn unbind(machine: &mut Machine, addresses: &[&str]) -> Result<()> {
    machine.check(&format!("unbind {}", addresses.join(" ")))?;
    for address in addresses {
        machine.check(&format!("await 20 has_interface {address}"))?;
    }
    Ok(())
}

/// Gives devices to the ordinary user by the kernel's bare files: those that `ringway bind` refuses, to see what opening
/// them says.
pub fn bind_by_hand(machine: &mut Machine, addresses: &[&str]) -> Result<()> {
    machine.check(&format!("bind_by_hand {}", addresses.join(" "))).map(|_| ())
}

/// Takes back what [`bind_by_hand`] gave; the kernel chooses the driver, if it has one.
pub fn unbind_by_hand(machine: &mut Machine, addresses: &[&str]) -> Result<()> {
    machine.check(&format!("unbind_by_hand {}", addresses.join(" "))).map(|_| ())
}

/// Starts a forwarder and waits until it says that it forwards.
pub fn start(machine: &mut Machine, command: &str) -> Result<()> {
    start_saying(machine, command, "forwarding")
}

/// Starts another command of the program, and waits for the line that starts with this word once its ports are up.
pub fn start_saying(machine: &mut Machine, command: &str, word: &str) -> Result<()> {
    launch(machine, command, word)?;
    let said = machine.run(&format!("grep -q '^{word}' /run/lab/forward.err"))?;
    if said.status != 0 {
        let ended = collect(machine)?;
        bail!(
            "expected {command:?} to say \"{word}\", saw it end with status {} and say:\n{}{}",
            ended.status,
            ended.output,
            ended.errors
        );
    }
    Ok(())
}

fn launch(machine: &mut Machine, command: &str, word: &str) -> Result<()> {
    let script = format!("background forward {command}\nawait {START} said_or_ended forward '^{word}'");
    machine
        .check_within(&script, ANSWER)
        .map(|_| ())
        .with_context(|| format!("{command:?} neither said \"{word}\" nor ended in {START} s"))
}

/// Sends a signal and takes what the forwarder leaves.
pub fn end(machine: &mut Machine, signal: &str) -> Result<Ended> {
    machine.check(&format!("signal forward {signal}"))?;
    ended_by_itself(machine).with_context(|| format!("after the signal {signal}"))
}

/// Waits until the forwarder has ended, and takes what it leaves.
pub fn ended_by_itself(machine: &mut Machine) -> Result<Ended> {
    let answer = machine.run_within(&format!("await {END} test -e /run/lab/forward.status"), ANSWER)?;
    if answer.status != 0 {
        let said = machine.check("tail -n 20 /run/lab/forward.err")?;
        bail!("expected the forwarder to end within {END} s; it still runs, and said last:\n{said}");
    }
    collect(machine)
}

fn collect(machine: &mut Machine) -> Result<Ended> {
    let status = machine.check("cat /run/lab/forward.status")?;
    Ok(Ended {
        status: status.trim().parse().with_context(|| format!("the exit status {status:?}"))?,
        output: machine.check("cat /run/lab/forward.out")?,
        errors: machine.check("cat /run/lab/forward.err")?,
    })
}

/// Runs a command of the program to its end, as the ordinary user.
pub fn run(machine: &mut Machine, command: &str) -> Result<Ended> {
    let script = format!(
        "background forward {command}\nawait {START} test -e /run/lab/forward.status || signal forward KILL"
    );
    machine.check_within(&script, ANSWER)?;
    ended_by_itself(machine)
}

impl Ended {
    /// Demands the exit status 0 and no panic.
    pub fn cleanly(&self) -> Result<&Self> {
        if self.status != 0 || self.errors.contains("panicked") {
            bail!("expected a clean end with status 0, saw {} and:\n{}", self.status, self.last_words());
        }
        Ok(self)
    }

    /// Reads the summary from standard output, which must hold it and nothing else.
    pub fn summary(&self) -> Result<Summary> {
        serde_json::from_str(&self.output)
            .with_context(|| format!("expected one JSON object on standard output, saw:\n{}", self.output))
    }

    /// Demands that it was refused with an exit status of its own (no panic, no signal), and that the text holds
    /// one of each group of alternatives: the thing's name, then the way out.
    pub fn refused_with(&self, groups: &[&[&str]]) -> Result<()> {
        if !(1..=100).contains(&self.status) || self.errors.contains("panicked") {
            bail!(
                "expected an error with a status of its own, saw {} and:\n{}",
                self.status,
                self.last_words()
            );
        }
        for group in groups {
            if !group.iter().any(|word| self.errors.contains(word)) {
                bail!("expected {} in the error, saw:\n{}", group.join(" or "), self.last_words());
            }
        }
        Ok(())
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        tool::last_lines(&format!("{}{}", self.output, self.errors), 30)
    }
}

impl Summary {
    /// The totals of the port with that name.
    pub fn port(&self, name: &str) -> Result<&PortSummary> {
        self.ports
            .iter()
            .find(|port| port.name == name)
            .ok_or_else(|| anyhow!("expected a port {name} in the summary, saw {:?}", self.ports))
    }

    /// Demands that each of two ports took in at least so many packets, and that neither put out more than the
    /// other took in.
    pub fn plausible(&self, first: &str, second: &str, least: u64) -> Result<()> {
        for (from, to) in [(first, second), (second, first)] {
            let (received, sent) = (self.port(from)?, self.port(to)?);
            let bytes = least * 60;
            if received.received_packets < least
                || received.received_bytes < bytes
                || sent.sent_packets < least
                || sent.sent_bytes < bytes
                || sent.sent_packets > received.received_packets
                || sent.sent_bytes > received.received_bytes
            {
                bail!(
                    "expected at least {least} packets from {from} to {to}, and no more sent than received, saw {self:?}"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: i32, errors: &str) -> Ended {
        Ended { status, output: String::new(), errors: errors.to_owned() }
    }

    #[test]
    fn a_refusal_needs_every_group_and_a_status_of_its_own() {
        let said = "0000:01:00.0 is bound to virtio-pci: ringway bind 0000:01:00.0";
        let groups: &[&[&str]] = &[&["0000:01:00.0"], &["ringway bind", "cargo xtask bind"]];
        ended(1, said).refused_with(groups).unwrap();
        assert!(ended(1, "0000:01:00.0 is bound").refused_with(groups).is_err());
        assert!(ended(0, said).refused_with(groups).is_err());
        assert!(ended(101, said).refused_with(groups).is_err());
        assert!(ended(139, said).refused_with(groups).is_err());
    }

    #[test]
    fn a_summary_where_more_went_out_than_came_in_is_not_plausible() {
        let port = |name: &str, received, sent| PortSummary {
            name: name.to_owned(),
            received_packets: received,
            received_bytes: received * 64,
            sent_packets: sent,
            sent_bytes: sent * 64,
            device: BTreeMap::new(),
        };
        let summary = |sent| Summary { ports: vec![port("a", 100, 90), port("b", 90, sent)], slept: 0 };
        summary(100).plausible("a", "b", 80).unwrap();
        assert!(summary(101).plausible("a", "b", 80).is_err());
        assert!(summary(100).plausible("a", "b", 95).is_err());
        assert!(summary(100).plausible("a", "c", 1).is_err());
    }
}
