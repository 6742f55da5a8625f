//! What became of marked packets: lost, late, doubled, damaged.

use crate::mark::Mark;
use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Numbers back from a flow's highest that are remembered one by one. What comes later than that can't be told from a
/// duplicate and counts as out of order.
pub const WINDOW: u64 = 512;
const WORDS: usize = (WINDOW / 64) as usize;

/// The flows that a checker follows, unless told otherwise.
pub const FLOWS: u32 = 1 << 20;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Packets that arrived whole, each counted once.
    pub received: u64,
    /// Their bytes, without FCS.
    pub bytes: u64,
    /// Numbers that were skipped and have not arrived since.
    pub lost: u64,
    /// Packets that arrived after one with a higher number of their flow.
    pub out_of_order: u64,
    /// Packets that arrived before.
    pub duplicates: u64,
    /// Packets that carry a mark and are damaged: a checksum is wrong.
    pub damaged: u64,
    /// Packets without a mark, and those of flows beyond the limit.
    pub foreign: u64,
}

impl Totals {
    /// Whether every packet that arrived was right and in its place, and none is missing from between them.
    pub fn is_clean(&self) -> bool {
        [self.lost, self.out_of_order, self.duplicates, self.damaged] == [0; 4]
    }
}

/// What one packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It carries this mark and arrived for the first time.
    Fresh(Mark),
    /// It carries this mark and had arrived before.
    Duplicate(Mark),
    /// It carries a mark, and a checksum is wrong.
    Damaged,
    /// It carries no mark.
    Foreign,
}

/// Follows flows.
#[derive(Debug)]
pub struct Checker {
    flows: Vec<Flow>,
    limit: u32,
    totals: Totals,
}

/// What has arrived of one flow.
#[derive(Clone, Debug, Default)]
struct Flow {
    totals: Totals,
    /// The highest number so far, plus one.
    next: u64,
    /// Bit n modulo the window: number n has arrived.
    seen: [u64; WORDS],
}

impl Default for Checker {
    fn default() -> Self {
        Self::new(FLOWS)
    }
}

impl Checker {
    /// A checker of flows below `limit`; it takes about 130 bytes for each up to the highest that is seen.
    pub fn new(limit: u32) -> Self {
        Self { flows: Vec::new(), limit, totals: Totals::default() }
    }

    /// Takes a frame, without FCS.
    pub fn take(&mut self, frame: &[u8]) -> Verdict {
        let mark = match read(frame) {
            Read::Marked(mark) if mark.flow < self.limit => mark,
            Read::Damaged => {
                self.totals.damaged = self.totals.damaged.saturating_add(1);
                return Verdict::Damaged;
            }
            _ => {
                self.totals.foreign = self.totals.foreign.saturating_add(1);
                return Verdict::Foreign;
            }
        };
        let index = mark.flow as usize;
        if index >= self.flows.len() {
            self.flows.resize_with(index.saturating_add(1), Flow::default);
        }
        let Some(flow) = self.flows.get_mut(index) else { return Verdict::Foreign };
        let arrival = flow.arrival(mark.number);
        for totals in [&mut flow.totals, &mut self.totals] {
            totals.count(arrival, frame.len() as u64);
        }
        if arrival == Arrival::Again { Verdict::Duplicate(mark) } else { Verdict::Fresh(mark) }
    }

    /// What was seen, all flows together.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What was seen of each flow; damaged packets belong to none.
    pub fn flows(&self) -> impl Iterator<Item = (u32, Totals)> + '_ {
        (0u32..).zip(&self.flows).map(|(number, flow)| (number, flow.totals))
    }
}

/// How a number comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// As the next one, or after so many that are missing.
    After(u64),
    /// After one with a higher number.
    Late,
    /// As it has come before.
    Again,
}

impl Totals {
    fn count(&mut self, arrival: Arrival, bytes: u64) {
        match arrival {
            Arrival::After(skipped) => self.lost = self.lost.saturating_add(skipped),
            Arrival::Late => {
                self.out_of_order = self.out_of_order.saturating_add(1);
                self.lost = self.lost.saturating_sub(1);
            }
            Arrival::Again => {
                self.duplicates = self.duplicates.saturating_add(1);
                return;
            }
        }
        self.received = self.received.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Flow {
    fn arrival(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            let skipped = number.wrapping_sub(self.next);
            for lost in number.saturating_sub(skipped.min(WINDOW))..number {
                self.mark(lost, false);
            }
            self.next = number.saturating_add(1);
            self.mark(number, true);
            return Arrival::After(skipped);
        }
        if self.next.wrapping_sub(number) > WINDOW {
            return Arrival::Late;
        }
        if self.has(number) {
            return Arrival::Again;
        }
        self.mark(number, true);
        Arrival::Late
    }

    fn has(&self, number: u64) -> bool {
        let place = number % WINDOW;
        self.seen.get((place / 64) as usize).is_some_and(|word| word >> (place % 64) & 1 != 0)
    }

    fn mark(&mut self, number: u64, seen: bool) {
        let place = number % WINDOW;
        if let Some(word) = self.seen.get_mut((place / 64) as usize) {
            *word = *word & !(1 << (place % 64)) | u64::from(seen) << (place % 64);
        }
    }
}

/// What a frame is.
enum Read {
    Marked(Mark),
    Damaged,
    Foreign,
}

fn read(frame: &[u8]) -> Read {
    if let Some(read) = read_plain(frame) {
        return read;
    }
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return Read::Foreign };
    let payload = match &packet.transport {
        Some(TransportSlice::Udp(udp)) => udp.payload(),
        Some(TransportSlice::Tcp(tcp)) => tcp.payload(),
        Some(TransportSlice::Icmpv4(icmp)) => icmp.payload(),
        Some(TransportSlice::Icmpv6(icmp)) => icmp.payload(),
        _ => return Read::Foreign,
    };
    match Mark::read(payload) {
        None => Read::Foreign,
        Some(mark) if checksums_are_right(&packet) => Read::Marked(mark),
        Some(_) => Read::Damaged,
    }
}

/// The usual packet without the general parser: UDP over IPv4 without options, fragments or a tag.
fn read_plain(frame: &[u8]) -> Option<Read> {
    const IPV4: [u8; 2] = [0x08, 0x00];
    let (ethernet, rest) = frame.split_first_chunk::<14>()?;
    let (header, _) = rest.split_first_chunk::<20>()?;
    let &[version, _, l0, l1, _, _, f0, f1, _, protocol, ..] = header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if !ethernet.ends_with(&IPV4) || version != 0x45 || protocol != 17 || (f0 & 0x3f, f1) != (0, 0) {
        return None;
    }
    let segment = rest.get(20..length)?;
    let &[_, _, _, _, u0, u1, c0, c1] = segment.first_chunk::<8>()?;
    if usize::from(u16::from_be_bytes([u0, u1])) != segment.len() || [c0, c1] == [0, 0] {
        return None;
    }
    let mark = Mark::read(segment.get(8..)?)?;
    let pseudo =
        Sum16BitWords::new().add_slice(header.get(12..20)?).add_2bytes([0, protocol]).add_2bytes([u0, u1]);
    let whole = pseudo.add_slice(segment).ones_complement() == 0
        && Sum16BitWords::new().add_slice(header).ones_complement() == 0;
    Some(if whole { Read::Marked(mark) } else { Read::Damaged })
}

fn checksums_are_right(packet: &SlicedPacket<'_>) -> bool {
    let (addresses, header_is_right) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().slice();
            let sum = Sum16BitWords::new().add_slice(header);
            let addresses = header.get(12..20).unwrap_or_default();
            (addresses, sum.ones_complement() == 0)
        }
        // Nothing covers the version, and not every reader looks at it.
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header().slice();
            (header.get(8..40).unwrap_or_default(), header.first().is_some_and(|byte| byte >> 4 == 6))
        }
        _ => return false,
    };
    let (segment, protocol, has_pseudo_header) = match &packet.transport {
        // Without a checksum (RFC 768) it says nothing.
        Some(TransportSlice::Udp(udp)) if udp.checksum() == 0 => return header_is_right,
        Some(TransportSlice::Udp(udp)) => (udp.slice(), 17, true),
        Some(TransportSlice::Tcp(tcp)) => (tcp.slice(), 6, true),
        Some(TransportSlice::Icmpv4(icmp)) => (icmp.slice(), 1, false),
        Some(TransportSlice::Icmpv6(icmp)) => (icmp.slice(), 58, true),
        _ => return false,
    };
    let mut sum = Sum16BitWords::new().add_slice(segment);
    if has_pseudo_header {
        sum = sum.add_slice(addresses).add_2bytes([0, protocol]);
        sum = sum.add_4bytes((segment.len() as u32).to_be_bytes());
    }
    header_is_right && sum.ones_complement() == 0
}
