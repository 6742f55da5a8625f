//! What the source at one emulated port sent to the sink at another.

use super::card::Card;
use ringway_traffic::check::Totals;
use ringway_traffic::end::Arrivals;
use serde::Serialize;

/// Packets from the source at one emulated port to the sink at another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// The port whose source sent them.
    pub from: String,
    /// The port whose sink should have got them.
    pub to: String,
    /// Packets that the source put on the wire.
    pub sent: u64,
    /// Packets of this stream that the sink got, each counted once.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that were still on their way when the run ended, if it ended in the midst of them.
    pub under_way: u64,
    /// Packets that came after a later one.
    pub out_of_order: u64,
    /// Packets that came again.
    pub doubled: u64,
    /// Packets that came with other bytes than they were sent with.
    pub damaged: u64,
}

impl Stream {
    /// Of what the source at `from` sent and the sink at `to` got. `settled`: what has not arrived never will.
    pub(super) fn between(
        (from, source): (&Card, Arrivals),
        (to, sink): (&Card, Arrivals),
        settled: bool,
    ) -> Self {
        let sent = source.made;
        let Totals { received, lost, out_of_order, duplicates, damaged, .. } = sink.totals;
        let missing = sent.saturating_sub(received).saturating_sub(damaged);
        // A damaged packet leaves a gap in the numbers too, and is not counted twice.
        let gaps = lost.saturating_sub(damaged).min(missing);
        Self {
            from: from.name.clone(),
            to: to.name.clone(),
            sent,
            received,
            lost: if settled { missing } else { gaps },
            under_way: if settled { 0 } else { missing.saturating_sub(gaps) },
            out_of_order,
            doubled: duplicates,
            damaged,
        }
    }

    /// Whether every packet that is not on its way still came once, in order and as it was sent.
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.is_sound()
    }

    /// Whether every packet that came, came once, in order and as it was sent.
    pub fn is_sound(&self) -> bool {
        [self.out_of_order, self.doubled, self.damaged] == [0; 3]
    }
}
