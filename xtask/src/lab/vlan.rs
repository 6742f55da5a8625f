//! A VLAN on a wire, for a kernel stack: an interface whose frames go over the wire with a tag.
//!
//! The host's kernel need not know VLANs (not every one is built with them): the interface is a TAP in the wire's namespace,
//! and two threads carry its frames over, the tag put in on the way out and taken out on the way in. Checksums are
//! the kernel's own, made and checked by the stack behind the interface.
//!
//! Not here: filters, and several VLANs on one wire.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::packet_socket::PacketSocket;
use super::wire::{INTERFACE, Wire, open_tap};
use crate::tool;

/// The interface's name.
const NAME: &str = "vlan0";
/// Bytes of both addresses, behind which the tag stands.
const ADDRESSES: usize = 12;
/// IEEE 802.1Q.
const KIND: [u8; 2] = [0x81, 0x00];
const LARGEST_FRAME: usize = 65_536;
/// How soon the threads see that they shall end.
const LOOK: Duration = Duration::from_millis(50);

/// The interface. It goes when this is dropped.
#[derive(Debug)]
pub struct Vlan {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Vlan {
    /// Makes the interface, with an Internet address (and its prefix length).
    pub fn on(wire: &Wire, id: u8, address: &str) -> Result<Self> {
        let (tap, out, socket) = wire.namespace.within(|| {
            let tap = File::from(open_tap(NAME, 0)?);
            let socket = PacketSocket::open(INTERFACE)?;
            for arguments in [&["addr", "add", address, "dev", NAME][..], &["link", "set", NAME, "up"]] {
                tool::output_of(wire.busybox("ip").args(arguments))?;
            }
            Ok((tap, PacketSocket::open(INTERFACE)?, socket))
        })?;
        let (stop, tag) = (Arc::new(AtomicBool::new(false)), [KIND[0], KIND[1], 0, id]);
        let from_tap = tap.try_clone().context("cannot duplicate a TAP's descriptor")?;
        let (ended, other) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            std::thread::spawn(move || carry_out(from_tap, &out, tag, &ended)),
            std::thread::spawn(move || carry_in(tap, &socket, tag, &other)),
        ];
        Ok(Self { stop, threads })
    }
}

impl Drop for Vlan {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What it had to say, it has said.
            let _ = thread.join();
        }
    }
}

/// From the interface to the wire. What the wire has no room for is lost, as on any wire.
fn carry_out(mut tap: File, wire: &PacketSocket, tag: [u8; 4], stop: &AtomicBool) {
    let mut frame = vec![0; LARGEST_FRAME];
    while !stop.load(Ordering::Relaxed) {
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        let mut waiting = [PollFd::from_borrowed_fd(tap.as_fd(), PollFlags::IN)];
        if !matches!(poll(&mut waiting, Some(&look)), Ok(1..)) {
            continue;
        }
        let Ok(length) = tap.read(&mut frame) else { continue };
        let (Some(addresses), Some(rest)) = (frame.get(..ADDRESSES), frame.get(ADDRESSES..length)) else {
            continue;
        };
        let _ = wire.send(&[addresses, &tag, rest].concat());
    }
}

/// From the wire to the interface: frames with this tag, without it.
fn carry_in(mut tap: File, wire: &PacketSocket, tag: [u8; 4], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(Some(mut frame)) = wire.receive(LOOK) else { continue };
        if frame.get(ADDRESSES..ADDRESSES + tag.len()) == Some(&tag) {
            frame.drain(ADDRESSES..ADDRESSES + tag.len());
            let _ = tap.write_all(&frame);
        }
    }
}
