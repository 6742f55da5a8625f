//! Capture files: Ethernet frames with their time, as tcpdump, Wireshark and tshark read and write them.
//!
//! The formats themselves are the affair of the crate `pcap-file`; this module says what Ringway takes and makes of
//! them. Read: pcap in both byte orders and both resolutions, and pcapng. Written: pcapng (draft-ietf-opsawg-pcapng).
//! Frames are Ethernet without FCS; files with another link type are refused.

mod reader;
mod rotation;
mod writer;

pub use reader::{Captured, Reader};
pub use rotation::{RotatingWriter, Rotation};
pub use writer::{Counts, Writer};

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with a capture file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be opened or made.
    #[error("{}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The errno.
        source: io::Error,
    },
    /// It is no capture file, or it is damaged.
    #[error("{} is no capture file that can be read on from frame {frame}: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How many frames were read before.
        frame: u64,
        /// What the format's reader says.
        reason: String,
    },
    /// It is no file that can be read from its start, and again.
    #[error(
        "{} is no regular file (a pipe, a device, a folder): write what comes out of it into a file, and name that",
        .path.display()
    )]
    NotRegular {
        /// What it is called.
        path: PathBuf,
    },
    /// Files can't be numbered after it.
    #[error("{}: several files are numbered after a file's name, as in web.pcapng; this is a folder's", .path.display())]
    NoName {
        /// What was given.
        path: PathBuf,
    },
    /// Its frames are no Ethernet.
    #[error(
        "{} holds packets of link type {link}, not Ethernet: capture on an Ethernet interface (`tcpdump -y EN10MB`)",
        .path.display()
    )]
    LinkType {
        /// The file.
        path: PathBuf,
        /// Its link type.
        link: String,
    },
    /// A frame was cut when it was captured.
    #[error(
        "{}: frame {frame} has {captured} of its {length} bytes: capture whole frames (`tcpdump -s 0`)",
        .path.display()
    )]
    Cut {
        /// The file.
        path: PathBuf,
        /// The frame's number, from 1.
        frame: u64,
        /// The bytes that are there.
        captured: usize,
        /// The bytes that the frame had.
        length: u32,
    },
    /// It can't be written: the disk is full, say.
    #[error("{} can't be written: {reason}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

impl Error {
    fn open(path: &Path, source: io::Error) -> Self {
        Self::Open { path: path.to_owned(), source }
    }
}

/// What an error says, and what caused it.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
