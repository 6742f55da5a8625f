//! Frames that must come out at the other end byte for byte the same and in order.
//!
//! They are sent in a closed loop, a window at a time, so that no queue overflows and nothing may be lost.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::transfer::Numbers;
use crate::lab::packet_socket::PacketSocket;
use crate::lab::wire::{INTERFACE, Wire};

/// Where test frames come from: never an address of the ends or of the guest.
const SOURCE: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0x0f, 0x01];
/// Where they go to: an address that nobody has, so that only a promiscuous port passes them on.
const DESTINATION: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0x0f, 0x02];
/// For local experiments (IEEE 802).
const TYPE: [u8; 2] = [0x88, 0xb5];
/// Between sender and receiver at most so many, well below the smallest ring and the TAP's queue.
const WINDOW: usize = 32;
const LIMIT: Duration = Duration::from_secs(30);

/// Frames of every length from 60 to 1514 bytes; then with one and with two VLAN tags, to odd and multicast
/// addresses, with contents of zeros, ones and noise.
pub fn assorted() -> Vec<Vec<u8>> {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let mut frames: Vec<Vec<u8>> =
        (60..=1514).map(|length| frame(&DESTINATION, &[], length, &mut numbers)).collect();
    let customer = [0x81, 0x00, 0x61, 0x23];
    let service = [0x88, 0xa8, 0x0f, 0xfe];
    let priority_only = [0x81, 0x00, 0xe0, 0x00];
    for length in [60, 61, 63, 64, 65, 127, 255, 511, 777, 1023, 1499, 1513, 1514, 1517, 1518] {
        frames.push(frame(&DESTINATION, &[customer], length, &mut numbers));
        frames.push(frame(&DESTINATION, &[priority_only], length, &mut numbers));
    }
    // The ends' own kernels allow four bytes beyond 1514 for one tag only.
    for length in [60, 61, 64, 129, 1001, 1514] {
        frames.push(frame(&DESTINATION, &[service, customer], length, &mut numbers));
        frames.push(frame(&DESTINATION, &[customer, customer], length, &mut numbers));
    }
    for destination in [[0xff; 6], [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]] {
        frames.push(frame(&destination, &[], 61, &mut numbers));
    }
    for filling in [0x00, 0xff] {
        let mut plain = frame(&DESTINATION, &[], 97, &mut numbers);
        plain.iter_mut().skip(14).for_each(|byte| *byte = filling);
        frames.push(plain);
    }
    frames
}

/// Frames of every length from 60 to 1514 bytes, three times, to one address; other contents for another `seed`.
pub fn addressed_to(destination: [u8; 6], seed: u64) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(seed);
    let lengths = (60..=1514).chain(60..=1514).chain(60..=1514);
    lengths.map(|length| frame(&destination, &[], length, &mut numbers)).collect()
}

/// Whether a frame of these has a tag.
pub fn is_tagged(frame: &[u8]) -> bool {
    frame.get(12..14).is_some_and(|kind| kind != TYPE)
}

/// One frame to an address, tagged for a VLAN or not.
pub fn in_vlan(destination: [u8; 6], vlan: Option<u8>, length: usize) -> Vec<u8> {
    let mut numbers = Numbers(length as u64 | 1 << 40);
    let tag = vlan.map(|vlan| [0x81, 0x00, 0x00, vlan]);
    frame(&destination, tag.as_slice(), length, &mut numbers)
}

/// A capture file as tcpdump writes it (pcap 2.4, microseconds, Ethernet), laid out here by hand: what reads it is
/// under test.
pub fn as_pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    for value in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 262_144, 1] {
        word(&mut file, value);
    }
    for (number, frame) in (0u32..).zip(frames) {
        for value in [1_700_000_000, number, frame.len() as u32, frame.len() as u32] {
            word(&mut file, value);
        }
        file.extend(frame);
    }
    file
}

fn frame(destination: &[u8; 6], tags: &[[u8; 4]], length: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut frame = Vec::with_capacity(length);
    frame.extend(destination);
    frame.extend(SOURCE);
    tags.iter().for_each(|tag| frame.extend(tag));
    frame.extend(TYPE);
    let header = frame.len();
    frame.resize(length, 0);
    numbers.fill(frame.get_mut(header..).unwrap_or_default());
    frame
}

/// Sends the frames from one end and compares what comes out at the other.
pub fn pass_unchanged(from: &Wire, to: &Wire, frames: &[Vec<u8>]) -> Result<()> {
    let sender = from.namespace.within(|| PacketSocket::open(INTERFACE))?;
    let receiver = Receiver::open(to)?;
    let mut sent = 0;
    receiver.expect(frames, |received| {
        while sent < frames.len() && sent < received + WINDOW {
            let Some(frame) = frames.get(sent) else { break };
            send(&sender, frame)?;
            sent += 1;
        }
        Ok(())
    })
}

/// Sends frames from one end, as many at once as are given.
pub fn send_all(from: &Wire, frames: &[Vec<u8>]) -> Result<()> {
    let sender = from.namespace.within(|| PacketSocket::open(INTERFACE))?;
    frames.iter().try_for_each(|frame| send(&sender, frame))
}

fn send(sender: &PacketSocket, frame: &[u8]) -> Result<()> {
    sender
        .send(frame)
        .map_err(|error| anyhow::anyhow!("cannot send a frame of {} bytes: {error}", frame.len()))
}

/// An end that waits for frames from now on.
#[derive(Debug)]
pub struct Receiver(PacketSocket);

impl Receiver {
    /// At that end.
    pub fn open(wire: &Wire) -> Result<Self> {
        Ok(Self(wire.namespace.within(|| PacketSocket::open(INTERFACE))?))
    }

    /// Receives exactly these frames, in their order. Before each, `go_on` is told how many have come.
    pub fn expect(&self, frames: &[Vec<u8>], mut go_on: impl FnMut(usize) -> Result<()>) -> Result<()> {
        expect(&self.0, frames, &mut go_on)
    }
}

fn expect(
    receiver: &PacketSocket,
    frames: &[Vec<u8>],
    go_on: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<()> {
    let mut received = 0;
    while received < frames.len() {
        go_on(received)?;
        let Some(seen) = next_of_ours(receiver)? else {
            bail!(
                "expected frame {received} of {} (the window before it came through), saw nothing for {} s",
                frames.len(),
                LIMIT.as_secs()
            );
        };
        let expected = frames.get(received).map(Vec::as_slice).unwrap_or_default();
        if seen != expected {
            bail!("frame {received} of {}: {}", frames.len(), difference(expected, &seen));
        }
        received += 1;
    }
    // One more would be a duplicate.
    if let Some(extra) = receiver.receive(Duration::from_millis(200))?.filter(|frame| is_ours(frame)) {
        bail!("expected no frame after the last, saw {}", shown(&extra));
    }
    Ok(())
}

/// The next test frame. What the ends' own stacks say (ARP) is passed over; what has neither our source address
/// nor an end's is returned: it is a frame of ours that was spoilt, or one that nobody sent.
fn next_of_ours(receiver: &PacketSocket) -> Result<Option<Vec<u8>>> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Some(frame) = receiver.receive(Duration::from_secs(1))?
            && is_ours(&frame)
        {
            return Ok(Some(frame));
        }
    }
    Ok(None)
}

fn is_ours(frame: &[u8]) -> bool {
    // The ends have 02:00:00:00:00:xx, the guest's NICs 02:00:00:00:01:xx.
    !frame.get(6..11).is_some_and(|start| start == [2, 0, 0, 0, 0] || start == [2, 0, 0, 0, 1])
}

fn difference(expected: &[u8], seen: &[u8]) -> String {
    let at = expected.iter().zip(seen).position(|(a, b)| a != b);
    format!(
        "expected {}\n      saw {}\n      the first difference is {}",
        shown(expected),
        shown(seen),
        at.map_or_else(|| "in length".to_owned(), |at| format!("at byte {at}"))
    )
}

fn shown(frame: &[u8]) -> String {
    let start: String = frame.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes, {start}…", frame.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_lengths_and_tags_that_are_asked_for() {
        let frames = assorted();
        assert_eq!(frames.iter().map(Vec::len).min(), Some(60));
        assert!((60..=1514).all(|length| frames.iter().any(|frame| frame.len() == length)));
        assert!(frames.iter().any(|frame| frame[12..14] == [0x88, 0xa8] && frame[16..18] == [0x81, 0x00]));
        assert!(frames.iter().filter(|frame| frame.len() % 2 == 1).count() > 700);
        assert!(frames.iter().all(|frame| is_ours(frame)));
    }

    #[test]
    fn a_difference_is_told_with_its_place() {
        let expected = frame(&DESTINATION, &[], 60, &mut Numbers(1));
        let mut seen = expected.clone();
        seen[40] ^= 1;
        assert!(difference(&expected, &seen).contains("at byte 40"));
        assert!(difference(&expected, &expected[..59]).contains("in length"));
    }
}
