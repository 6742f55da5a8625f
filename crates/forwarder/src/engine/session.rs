//! A run from the main thread's side: looks after ports and workers until something ends it, then ends everything
//! in order.
//!
//! The order of the end, on whatever cause: sources are quietened (emulated ports only), workers stopped and joined,
//! counters read, receive modes restored, queues dropped, ports dropped. A panic of the main thread takes the same
//! way by the order of the fields.

use super::hang::Hangs;
use super::moderation::{Adaptive, Moderation};
use super::shared::Event;
use super::worker::Failure;
use super::workers::{Ended, Workers};
use ringway_port::{Error, Information, Link, Port, Statistics};
use serde::Serialize;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the ports are looked after.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A port whose link interrupts is asked for it without that once in so many looks.
const LINK_CHECKS: u32 = 10;
/// How long packets that are under way at the end may take to arrive.
const SETTLING_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether they have.
const SETTLING_STEP: Duration = Duration::from_millis(2);

/// A port at work: in the receive mode that its task needs, until it is dropped.
#[derive(Debug)]
pub struct Active {
    control: Box<dyn Port>,
    /// The mode that goes off again.
    restore: Option<Reception>,
    /// The last reading that there was: a port that is gone still counts.
    last: Statistics,
    /// The link, as it was when somebody was last told of it.
    link: Link,
    /// How often the port was looked after since the device was asked for its link.
    unasked: u32,
}

/// Which frames a port receives beside those for itself and for everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// Those for any address: promiscuous mode.
    Everything,
    /// Those for all groups: all-multicast mode; promiscuous mode where the device has no such mode.
    Groups,
}

/// What became of a wish for a receive mode.
#[derive(Debug)]
pub enum Promiscuity {
    /// The port was promiscuous already, and stays so.
    WasOn,
    /// The mode that receives so much is on now, and goes off again at the end.
    SwitchedOn(Reception),
    /// The device can't, or doesn't want to.
    Refused(Error),
}

impl Active {
    /// Switches promiscuous mode on.
    ///
    /// # Errors
    /// When the device is gone or failed. That it has no such mode is no error.
    pub fn new(control: Box<dyn Port>) -> Result<(Self, Promiscuity), Error> {
        Self::receiving(control, Reception::Everything)
    }

    /// Switches the mode on that receives what `reception` says.
    ///
    /// # Errors
    /// When the device is gone or failed. That it has no such mode is no error.
    pub fn receiving(mut control: Box<dyn Port>, reception: Reception) -> Result<(Self, Promiscuity), Error> {
        if control.is_promiscuous() {
            return Ok((Self::with(control, None)?, Promiscuity::WasOn));
        }
        match reception.set(&mut *control, true) {
            Ok(()) => Ok((Self::with(control, Some(reception))?, Promiscuity::SwitchedOn(reception))),
            Err(error @ (Error::Lost { .. } | Error::Failed { .. })) => Err(error),
            Err(_) if reception == Reception::Groups => Self::receiving(control, Reception::Everything),
            Err(error) => Ok((Self::with(control, None)?, Promiscuity::Refused(error))),
        }
    }

    fn with(mut control: Box<dyn Port>, restore: Option<Reception>) -> Result<Self, Error> {
        let link = control.link()?;
        Ok(Self { control, restore, last: Statistics::default(), link, unasked: 0 })
    }

    /// What doesn't change while the port is open.
    pub fn information(&self) -> &Information {
        self.control.information()
    }

    /// The link, as it was when it was last looked at.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Looks after the device. The link, if it is another than before.
    fn check(&mut self) -> Result<Option<&Link>, Error> {
        self.control.check()?;
        if !self.asks_for_link() {
            return Ok(None);
        }
        let link = self.control.link()?;
        if link == self.link {
            return Ok(None);
        }
        self.link = link;
        Ok(Some(&self.link))
    }

    /// Whether it is time to ask for the link: where its changes interrupt, after one, and now and then for what doesn't
    /// interrupt, such as a module that is put into its cage.
    fn asks_for_link(&mut self) -> bool {
        self.unasked = self.unasked.saturating_add(1);
        let Some(counter) = self.control.link_interrupt() else { return true };
        // Set back to zero; one that was not readable says so.
        let interrupted = rustix::io::read(counter, &mut [0; 8]).is_ok();
        if !interrupted && self.unasked < LINK_CHECKS {
            return false;
        }
        self.unasked = 0;
        true
    }

    /// The least time between two interrupts of each receive queue.
    ///
    /// # Errors
    /// When the device can't, or doesn't answer.
    pub fn set_moderation(&mut self, interval: Duration) -> Result<(), Error> {
        let queues = self.statistics().receive.len();
        (0..queues).try_for_each(|queue| {
            self.control.set_moderation(u16::try_from(queue).unwrap_or(u16::MAX), interval)
        })
    }

    /// The counters as they are, or as they were when the device last answered.
    fn statistics(&mut self) -> Statistics {
        if let Ok(statistics) = self.control.statistics() {
            self.last = statistics;
        }
        self.last.clone()
    }

    /// Puts the receive mode back as it was, and says which one was switched off, or not.
    fn restore(&mut self) -> Option<(Reception, Result<(), Error>)> {
        let mode = self.restore.take()?;
        Some((mode, mode.set(&mut *self.control, false)))
    }
}

impl fmt::Display for Reception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "promiscuous mode",
            Self::Groups => "all-multicast mode",
        })
    }
}

impl Reception {
    fn set(self, control: &mut dyn Port, on: bool) -> Result<(), Error> {
        match self {
            Self::Everything => control.set_promiscuous(on),
            Self::Groups => control.set_all_multicast(on),
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // A device that doesn't answer any more is reset with its last handle, which ends the mode too.
        let _ = self.restore();
    }
}

/// When a run ends by itself, and how often it reports.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After how long the run ends.
    pub duration: Option<Duration>,
    /// How long from one sample to the next.
    pub interval: Duration,
}

/// What one port has counted so far.
#[derive(Clone, Debug)]
pub struct PortTotals {
    /// Its name.
    pub name: String,
    /// Its own counters.
    pub statistics: Statistics,
    /// Packets for this port that its ring had no room for.
    pub dropped: u64,
    /// Packets that it was given and had not sent at the end.
    pub unsent: u64,
}

/// All counters at one time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Port by port.
    pub ports: Vec<PortTotals>,
    /// Packets handed from one port to another.
    pub forwarded: u64,
    /// Times that workers slept until a packet came.
    pub slept: u64,
}

/// What a run tells while it goes on, and is told at its end.
pub trait Watch {
    /// A first packet has come.
    fn first_packet(&mut self, _at: Instant) {}

    /// An interval is over.
    fn sample(&mut self, _sample: &Sample) {}

    /// A port is lost or failed, and everything is ended: the kernel may take a minute to give up a device that is gone.
    fn failed(&mut self, _failure: &Failure) {}

    /// The run is about to end: sources that can be stopped should stop now.
    fn quieten(&mut self) {}

    /// Whether every packet that was sent before has arrived, as far as can be known.
    fn is_quiet(&mut self) -> bool {
        true
    }

    /// The link of a port has changed.
    fn link(&mut self, _port: &str, _link: &Link) {}

    /// The transmit queue of a port stood still with so many packets in it, and is started anew.
    fn stood_still(&mut self, _port: &str, _packets: u64) {}

    /// The receive mode of a port was put back, or should have been.
    fn restored(&mut self, _port: &str, _mode: Reception, _result: Result<(), Error>) {}
}

/// What ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoppedBy {
    /// One that asks for the end: SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// The time was over.
    Duration,
    /// As many packets as asked for were forwarded.
    Packets,
    /// A port is lost or failed.
    Error,
    /// A worker panicked.
    Panic,
}

impl fmt::Display for StoppedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "a signal",
            Self::Duration => "the time limit",
            Self::Packets => "the limit on packets",
            Self::Error => "an error",
            Self::Panic => "a panic",
        })
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What ended it.
    pub stopped_by: StoppedBy,
    /// How long packets were forwarded, in seconds.
    pub seconds: f64,
    /// The counters at the end.
    pub last: Sample,
    /// What went wrong.
    pub failures: Vec<Failure>,
}

/// Ports and workers at work. Dropped, it ends everything in order.
#[derive(Debug)]
pub struct Session {
    workers: Workers,
    ports: Vec<Active>,
    /// The port that task n sends on.
    targets: Vec<usize>,
    events: Receiver<Event>,
    started: Instant,
    /// With interrupts whose distance follows the load.
    adaptive: Option<Adaptive>,
    hangs: Hangs,
}

impl Session {
    /// `workers` forward between `ports`; task n sends on port `targets[n]`. `events` is the other end of what
    /// workers and signals send to.
    pub fn new(workers: Workers, ports: Vec<Active>, targets: Vec<usize>, events: Receiver<Event>) -> Self {
        Self {
            workers,
            ports,
            targets,
            events,
            started: Instant::now(),
            adaptive: None,
            hangs: Hangs::default(),
        }
    }

    /// With interrupts: how often they may come. Says of which ports that can't be set.
    ///
    /// # Errors
    /// When a port is gone or failed, or can't hold interrupts back for the time that is wished.
    pub fn moderate(&mut self, moderation: Moderation) -> Result<Vec<String>, Error> {
        let interval = match moderation {
            Moderation::Fixed(interval) => interval,
            Moderation::Adaptive => Adaptive::FIRST,
        };
        let mut cannot = Vec::new();
        for port in &mut self.ports {
            match port.set_moderation(interval) {
                Err(Error::Unsupported { port, .. }) if moderation == Moderation::Adaptive => {
                    cannot.push(port)
                }
                other => other?,
            }
        }
        self.adaptive =
            (moderation == Moderation::Adaptive && cannot.len() < self.ports.len()).then(Adaptive::default);
        Ok(cannot)
    }

    /// Goes on until a limit, a signal or a failure ends it, and ends it in order.
    pub fn run(mut self, limits: Limits, watch: &mut dyn Watch) -> Outcome {
        let mut failures = Vec::new();
        let reason = match self.watch(limits, watch) {
            Ok(reason) => reason,
            Err(error) => {
                let failure = Failure::Port(error);
                watch.failed(&failure);
                failures.push(failure);
                StoppedBy::Error
            }
        };
        let seconds = self.started.elapsed().as_secs_f64();
        if failures.is_empty() && reason != StoppedBy::Packets {
            self.settle(watch);
        }
        let Self { workers, mut ports, targets, .. } = self;
        let counters = workers.counters();
        let Ended { tasks, failures: of_workers } = workers.join();
        of_workers.iter().for_each(|failure| watch.failed(failure));
        failures.extend(of_workers);
        let counts: Vec<_> = counters.iter().map(|counters| counters.read()).collect();
        let last = totals(&mut ports, &targets, &counts);
        for port in &mut ports {
            if let Some((mode, result)) = port.restore() {
                watch.restored(&port.information().name, mode, result);
            }
        }
        drop(tasks);
        drop(ports);
        let panicked = failures.iter().any(|failure| matches!(failure, Failure::Panicked { .. }));
        let stopped_by = match reason {
            _ if panicked => StoppedBy::Panic,
            _ if !failures.is_empty() => StoppedBy::Error,
            reason => reason,
        };
        Outcome { stopped_by, seconds, last, failures }
    }

    fn watch(&mut self, limits: Limits, watch: &mut dyn Watch) -> Result<StoppedBy, Error> {
        let mut next_check = self.started + CHECK_INTERVAL;
        // A time beyond what the clock holds never comes.
        let mut next_sample = self.started.checked_add(limits.interval);
        let end = limits.duration.and_then(|duration| self.started.checked_add(duration));
        loop {
            let now = Instant::now();
            if end.is_some_and(|end| now >= end) {
                return Ok(StoppedBy::Duration);
            }
            if now >= next_check {
                for port in &mut self.ports {
                    if let Some(link) = port.check()?.cloned() {
                        watch.link(&port.information().name, &link);
                    }
                }
                self.adapt()?;
                self.look_for_hangs(watch)?;
                next_check = now + CHECK_INTERVAL;
            }
            if let Some(due) = next_sample.filter(|&due| now >= due) {
                watch.sample(&totals(&mut self.ports, &self.targets, &self.workers.counts()));
                next_sample = due.checked_add(limits.interval).map(|next| next.max(now));
            }
            let wake = [end, next_sample].into_iter().flatten().fold(next_check, Instant::min);
            match self.events.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(Event::Signal(_)) => return Ok(StoppedBy::Signal),
                Ok(Event::FirstPacket(at)) => watch.first_packet(at),
                // Without a failure, it was the limit on packets.
                Ok(Event::WorkerEnded) | Err(RecvTimeoutError::Disconnected) => {
                    return Ok(StoppedBy::Packets);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Sets the distance of interrupts by how often workers slept.
    fn adapt(&mut self) -> Result<(), Error> {
        let Some(adaptive) = &mut self.adaptive else { return Ok(()) };
        let slept = self.workers.counts().iter().map(|counts| counts.slept).fold(0, u64::wrapping_add);
        let Some(interval) = adaptive.look(slept, CHECK_INTERVAL) else { return Ok(()) };
        self.ports.iter_mut().try_for_each(|port| match port.set_moderation(interval) {
            Err(Error::Unsupported { .. }) => Ok(()),
            other => other,
        })
    }

    /// Transmit queues that stand still are started anew, or end the run.
    fn look_for_hangs(&mut self, watch: &mut dyn Watch) -> Result<(), Error> {
        let counts = self.workers.counts();
        let port = |task: usize| self.targets.get(task).and_then(|&port| self.ports.get(port));
        let hanging = self.hangs.look(&counts, |task| port(task).is_some_and(|port| port.link.is_up()));
        for task in hanging {
            let port = self.targets.get(task).and_then(|&port| self.ports.get_mut(port));
            let (Some(port), Some(counts)) = (port, counts.get(task)) else { continue };
            if port.control.pause().is_ok_and(|pause| pause.obey) {
                continue; // The other end may hold it up for as long as it likes.
            }
            let name = &port.information().name;
            if !port.control.capabilities().queue_reset {
                let reason = format!(
                    "it stopped sending, with {} packets in its ring and the link up",
                    counts.pending
                );
                return Err(Error::Failed { port: name.clone(), reason });
            }
            watch.stood_still(name, counts.pending);
            if let Some(counters) = self.workers.counters().get(task) {
                counters.want_restart(counts.moved());
            }
        }
        Ok(())
    }

    /// Stops the sources and waits for what is under way, while the workers still run.
    fn settle(&mut self, watch: &mut dyn Watch) {
        watch.quieten();
        let deadline = Instant::now() + SETTLING_LIMIT;
        while !watch.is_quiet() && Instant::now() < deadline {
            match self.events.recv_timeout(SETTLING_STEP) {
                Ok(Event::FirstPacket(at)) => watch.first_packet(at),
                Err(RecvTimeoutError::Timeout) => {}
                // Asked again, or nobody is left to forward what is under way: no more waiting.
                Ok(_) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Reads all counters.
fn totals(ports: &mut [Active], targets: &[usize], counts: &[super::counters::TaskCounts]) -> Sample {
    let to_port = |port: usize| targets.iter().zip(counts).filter(move |(target, _)| **target == port);
    let totals = ports.iter_mut().enumerate().map(|(index, port)| PortTotals {
        name: port.information().name.clone(),
        statistics: port.statistics(),
        dropped: to_port(index).map(|(_, counts)| counts.dropped).sum(),
        unsent: to_port(index).map(|(_, counts)| counts.unsent).sum(),
    });
    let ports = totals.collect();
    let forwarded = counts.iter().map(|counts| counts.forwarded).sum();
    let slept = counts.iter().map(|counts| counts.slept).sum();
    Sample { at: Instant::now(), ports, forwarded, slept }
}
