//! The options on queues, threads, interrupts and offloads.

use super::SteeringOptions;
use super::values::{self, OffloadLists};
use crate::engine::{Interrupts, Moderation};
use clap::Args;
use std::time::Duration;

/// How the work is spread, and what the devices do of it.
#[derive(Args, Clone, Debug)]
pub struct QueueOptions {
    /// Receive and transmit queues of each port. Flows are spread over them; each stays in order [default: so many that
    /// every thread has one direction of one queue]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=128), conflicts_with = "latency")]
    pub queues: Option<u16>,
    /// Threads to forward on, where the system puts them; --cores has one a processor instead [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256), conflicts_with = "cores")]
    pub workers: Option<u16>,
    /// Sleep while nothing comes, and let the devices interrupt: under load the threads poll as they do without
    #[arg(long)]
    pub interrupts: bool,
    /// With --interrupts: how long a thread polls on without packets before it sleeps. Longer saves interrupts, shorter
    /// saves processor time
    #[arg(long, value_name = "TIME", default_value = "100us", value_parser = values::short_time, requires = "interrupts")]
    pub idle: Duration,
    /// With --interrupts: the least time between two interrupts of a queue (20us), or `adaptive`: none while they are few,
    /// up to 200us when they are many
    #[arg(long, value_name = "TIME", default_value = "adaptive", value_parser = values::moderation, requires = "interrupts")]
    pub moderation: Moderation,
    /// What the devices shall do to packets: names from `ringway ports --features`, such as
    /// vlan-strip,vlan-insert,receive-checksum. One list for both ports, or one for each with a slash between them:
    /// large-receive,tcp4-segmentation/tcp4-segmentation
    #[arg(long, value_name = "NAMES[/NAMES]", value_parser = values::offloads, default_value = "none")]
    pub offload: OffloadLists,
    /// Receive frames of these VLANs and untagged ones only: both devices filter (vlan-filter)
    #[arg(long, value_name = "ID[,ID]", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(0..=4095))]
    pub vlan: Vec<u16>,
    /// Which packet goes to which queue.
    #[command(flatten)]
    pub steering: SteeringOptions,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            queues: None,
            workers: None,
            interrupts: false,
            idle: Duration::from_micros(100),
            moderation: Moderation::Adaptive,
            offload: OffloadLists::default(),
            vlan: Vec::new(),
            steering: SteeringOptions::default(),
        }
    }
}

impl QueueOptions {
    /// Threads, with these processors given.
    pub fn threads(&self, cores: &[usize]) -> usize {
        match self.workers {
            Some(workers) => workers.into(),
            None => cores.len().max(1),
        }
    }

    /// Queues of each port: two ports have two directions a queue.
    pub fn queues(&self, cores: &[usize]) -> u16 {
        let needed = self.threads(cores).div_ceil(2);
        self.queues.unwrap_or(u16::try_from(needed).unwrap_or(u16::MAX))
    }

    /// How threads sleep, if they do.
    pub fn interrupts(&self) -> Option<Interrupts> {
        self.interrupts.then_some(Interrupts { idle: self.idle, moderation: self.moderation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_wish_there_are_as_many_queues_as_threads_need() {
        let options = |workers, queues| QueueOptions { workers, queues, ..QueueOptions::default() };
        for (workers, cores, queues) in [
            (None, &[][..], 1),
            (None, &[2], 1),
            (None, &[2, 3], 1),
            (None, &[0, 1, 2], 2),
            (Some(8), &[], 4),
        ] {
            assert_eq!(options(workers, None).queues(cores), queues, "{workers:?} {cores:?}");
        }
        assert_eq!(options(Some(2), Some(4)).queues(&[]), 4);
    }
}
