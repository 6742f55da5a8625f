//! Wires that a thread can sleep on: anything with a file that keeps frames apart.
//!
//! A TAP interface does (one frame a read), and so do UNIX sockets of the kinds SEQPACKET and DGRAM.

use crate::wire::Wire;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A wire with a file that becomes readable when a frame arrives.
pub trait Link: Wire {
    /// The file, if there is one.
    fn readable(&self) -> Option<BorrowedFd<'_>>;

    /// Whether frames wait until the receiver is on. If not, what arrives before is lost, as on a real wire.
    fn keeps(&self) -> bool {
        false
    }
}

/// Frames through an open file, one a read and one a write: a TAP interface without a header before its frames
/// (`IFF_TAP | IFF_NO_PI`), a connected SEQPACKET or DGRAM socket.
///
/// What the file doesn't take at once is lost and counted, as on a wire whose other end is overrun. Frames that find
/// no room in the guest's ring wait in the file's own queue.
#[derive(Debug)]
pub struct FrameLink {
    file: OwnedFd,
    lost: u64,
    closed: bool,
}

impl FrameLink {
    /// Takes the file over.
    ///
    /// # Errors
    /// When it can't be set not to block.
    pub fn new(file: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
        Ok(Self { file, lost: 0, closed: false })
    }

    /// Frames that the file did not take.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl Wire for FrameLink {
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        loop {
            match rustix::io::read(&self.file, &mut *frame) {
                Ok(0) | Err(Errno::CONNRESET) => {
                    // The other end is gone for good.
                    self.closed = true;
                    return None;
                }
                Ok(length) => return Some(length),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    fn send(&mut self, frame: &[u8]) {
        loop {
            match rustix::io::write(&self.file, frame) {
                Ok(_) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.lost = self.lost.saturating_add(1);
                    return;
                }
            }
        }
    }
}

impl Link for FrameLink {
    fn readable(&self) -> Option<BorrowedFd<'_>> {
        (!self.closed).then(|| self.file.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn frames_keep_their_borders_and_nothing_blocks() {
        let (near, far) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let mut link = FrameLink::new(near).unwrap();
        let mut frame = [0; 2000];
        assert_eq!(link.receive(&mut frame), None);
        rustix::io::write(&far, &[1; 60]).unwrap();
        rustix::io::write(&far, &[2; 100]).unwrap();
        assert_eq!((link.receive(&mut frame), link.receive(&mut frame)), (Some(60), Some(100)));
        link.send(&[3; 77]);
        assert_eq!(rustix::io::read(&far, &mut frame).unwrap(), 77);
        while link.lost() == 0 {
            link.send(&[0; 1500]);
        }
        drop(far);
        while link.receive(&mut frame).is_some() {}
        assert!(link.readable().is_none());
    }
}
