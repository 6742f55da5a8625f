//! Instructions per forwarded packet: what is run, what of it counts, and what it may take.
//!
//! The programs `ixgbe-forward` and `virtio-forward` forward a number of batches on the model, stepped by hand. Under
//! callgrind only what is inside their functions `measured…` is counted, and of that not the marking of lent buffers: that
//! stands for the IOMMU, and hardware has none of it. Run without arguments each prints a table of its own.

use crate::callgrind::{Profile, Valgrind, event};
use std::error::Error;
use std::io;
use std::path::Path;

/// Batch sizes that are counted.
pub const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Packets that are counted, at each size: several laps of a ring.
pub const PACKETS: usize = 16_384;
/// The functions that mark and unmark buffers as lent, in `ringway-dma` and `ringway-packet`.
const IOMMU: [&str; 5] = ["LentTable", "::mark", "::unmark_each", "::shut", "Views"];

/// One driver's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The driver, for tables.
    pub driver: &'static str,
    /// The example.
    pub example: &'static str,
    /// Limits: instructions per packet at a batch size.
    pub budgets: &'static [(usize, u64)],
}

/// The driver of the 82599 family.
pub const IXGBE: Subject =
    Subject { driver: "ixgbe", example: "ixgbe-forward", budgets: &[(1, 320), (8, 75), (32, 60)] };
/// The virtio driver, on split rings.
pub const VIRTIO: Subject =
    Subject { driver: "virtio", example: "virtio-forward", budgets: &[(1, 435), (8, 110), (32, 90)] };

/// Which part of a packet's way a function belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Receiving, and getting buffers for it.
    Receive,
    /// The loop, and touching a byte.
    Touch,
    /// The flow parser.
    Flow,
    /// Sending.
    Transmit,
    /// Taking sent buffers back to the pool.
    Reclaim,
}

/// Whether a function gets buffers from the pool for a queue, a magazine at a time.
pub fn gets(function: &str) -> bool {
    function.contains("Stock::get") || function.contains("::pop")
}

/// Whether a function puts buffers back into the pool for a queue, a magazine at a time.
pub fn puts(function: &str) -> bool {
    function.contains("take_back_slots") || function.contains("::push")
}

impl Part {
    /// All of them, in a packet's order.
    pub const ALL: [Self; 5] = [Self::Receive, Self::Touch, Self::Flow, Self::Transmit, Self::Reclaim];

    /// The name for a person.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Touch => "touch and loop",
            Self::Flow => "flow",
            Self::Transmit => "transmit",
            Self::Reclaim => "reclaim",
        }
    }

    /// By a function's name. What the compiler made part of another function counts there.
    pub fn of(function: &str) -> Self {
        let is_about = |words: &[&str]| words.iter().any(|word| function.contains(word));
        if is_about(&["::measured"]) {
            Self::Touch
        } else if is_about(&["ringway_flow::"]) {
            Self::Flow
        } else if is_about(&["take_back", "reclaim", "push", "Returns"]) {
            Self::Reclaim
        } else if is_about(&["receive", "Stock", "::pop"]) {
            Self::Receive
        } else {
            Self::Transmit
        }
    }
}

impl Subject {
    /// Runs the program under callgrind; returns the profile and the number of packets that were counted.
    ///
    /// # Errors
    /// When valgrind is not there, or the program fails under it.
    pub fn profile(
        &self,
        valgrind: &Valgrind,
        program: &Path,
        size: usize,
        with_flow: bool,
        simulated: bool,
    ) -> io::Result<(Profile, u64)> {
        let batches = PACKETS / size;
        let mut arguments = vec![size.to_string(), batches.to_string()];
        if with_flow {
            arguments.push("flow".to_owned());
        }
        let profile = valgrind.profile(program, &arguments, "*forward::measured*", simulated)?;
        Ok((profile, (batches * size) as u64))
    }

    /// What a packet may take at a batch size, if there is a limit.
    pub fn budget(&self, size: usize) -> Option<u64> {
        self.budgets.iter().find(|(batch, _)| *batch == size).map(|(_, budget)| *budget)
    }

    /// The whole program: forwards, or runs itself under callgrind and prints what it took.
    ///
    /// # Errors
    /// When arguments make no sense, forwarding fails, or a budget is broken.
    pub fn main(
        &self,
        forward: impl Fn(usize, usize, bool) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments.as_slice() {
            [] => self.table(),
            ["functions", size] => self.list(size.parse()?),
            [size, batches] => forward(size.parse()?, batches.parse()?, false),
            [size, batches, "flow"] => forward(size.parse()?, batches.parse()?, true),
            _ => Err(format!("usage: {} [SIZE BATCHES [flow] | functions SIZE]", self.example).into()),
        }
    }

    fn table(&self) -> Result<(), Box<dyn Error>> {
        let mut broken = Vec::new();
        println!("{:>6} {:>24} {:>8}", "batch", "instructions per packet", "budget");
        for size in SIZES {
            let (profile, packets) =
                self.profile(&Valgrind::default(), &std::env::current_exe()?, size, false, false)?;
            let count = profile.sum(event::INSTRUCTIONS, counts);
            let budget = self.budget(size);
            let named = budget.map_or_else(String::new, |budget| budget.to_string());
            println!("{size:>6} {:>24} {named:>8}", per(count, packets));
            if budget.is_some_and(|budget| count > budget * packets) {
                broken.push(size);
            }
        }
        if broken.is_empty() { Ok(()) } else { Err(format!("over budget at batch {broken:?}").into()) }
    }

    fn list(&self, size: usize) -> Result<(), Box<dyn Error>> {
        let (profile, packets) =
            self.profile(&Valgrind::default(), &std::env::current_exe()?, size, false, false)?;
        for (name, count) in profile.functions() {
            let mark = if counts(name) { "" } else { "(not counted) " };
            println!("{:>8} {mark}{name}", per(count, packets));
        }
        Ok(())
    }
}

/// Whether a function is the driver's, and not the marking of lent buffers.
pub fn counts(function: &str) -> bool {
    !IOMMU.iter().any(|part| function.contains(part))
}

/// One decimal, rounded.
pub fn per(count: u64, packets: u64) -> String {
    let tenths = (count * 10 + packets / 2) / packets.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_belongs_to_the_part_that_its_name_says() {
        for (name, part) in [
            ("<ringway_ixgbe::receive::ReceiveQueue as ringway_port::ReceiveQueue>::receive", Part::Receive),
            ("crossbeam_queue::array_queue::ArrayQueue<T>::pop", Part::Receive),
            ("ringway_packet::cache::Stock::get", Part::Receive),
            ("ixgbe_forward::measured_with_flow", Part::Touch),
            ("ringway_flow::extract::shapes::udp", Part::Flow),
            (
                "<ringway_ixgbe::transmit::TransmitQueue as ringway_port::TransmitQueue>::transmit",
                Part::Transmit,
            ),
            ("ringway_packet::lending::transmit::take_back_slots", Part::Reclaim),
            ("ringway_virtio::net::transmit::State::reclaim", Part::Reclaim),
        ] {
            assert_eq!(Part::of(name), part, "{name}");
        }
    }

    #[test]
    fn the_marks_of_lent_buffers_do_not_count() {
        assert!(!counts("ringway_dma::lent::LentTable::lend"));
        assert!(!counts("ringway_packet::lending::transmit::mark_round"));
        assert!(counts("ixgbe_forward::measured"));
        assert_eq!([per(595, 10), per(0, 3), per(1, 32)], ["59.5", "0.0", "0.0"]);
    }
}
