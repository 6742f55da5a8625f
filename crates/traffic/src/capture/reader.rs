//! Reading.

use super::{Error, reason};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first bytes of a pcapng file: the type of its section header block.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// A frame of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured<'a> {
    /// When it was captured, since 1970; zero where the file doesn't say.
    pub time: Duration,
    /// The interface, by its place in the file; 0 in files of one.
    pub interface: u32,
    /// The length that it had, in bytes, without FCS.
    pub length: u32,
    /// Its bytes, fewer than `length` where the capture cut them.
    pub bytes: Cow<'a, [u8]>,
}

/// A capture file that is read from its start.
///
/// ```no_run
/// let mut file = ringway_traffic::capture::Reader::open("web.pcapng".as_ref())?;
/// while let Some(frame) = file.next_frame()? {
///     println!("{:?}: {} bytes", frame.time, frame.length);
/// }
/// # Ok::<(), ringway_traffic::capture::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    format: Format,
    frames: u64,
}

#[derive(Debug)]
enum Format {
    Pcap(PcapReader<BufReader<File>>),
    PcapNg(PcapNgReader<BufReader<File>>),
}

impl Reader {
    /// Opens a file and finds out its format.
    ///
    /// # Errors
    /// When it can't be opened, is no regular file, is no capture file, or holds no Ethernet.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::open(path, source);
        // Looked at first: to open a pipe is to wait for whoever writes into it.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::NotRegular { path: path.to_owned() });
        }
        let mut file = File::open(path).map_err(failed)?;
        let mut start = Vec::new();
        (&mut file).take(4).read_to_end(&mut start).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let file = BufReader::new(file);
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), frame: 0, reason };
        let format = if start == SECTION_HEADER {
            Format::PcapNg(PcapNgReader::new(file).map_err(|error| damaged(reason(&error)))?)
        } else {
            let reader = PcapReader::new(file).map_err(|error| damaged(reason(&error)))?;
            check_link(path, reader.header().datalink)?;
            Format::Pcap(reader)
        };
        Ok(Self { path: path.to_owned(), format, frames: 0 })
    }

    /// How many frames were read.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// When the file is damaged from here on, or an interface of it is no Ethernet.
    pub fn next_frame(&mut self) -> Result<Option<Captured<'_>>, Error> {
        let Self { path, format, frames } = self;
        let damaged = |reason: String| Error::Damaged { path: path.clone(), frame: *frames, reason };
        let captured = match format {
            Format::Pcap(reader) => match reader.next_packet() {
                None => return Ok(None),
                Some(Err(error)) => return Err(damaged(reason(&error))),
                Some(Ok(packet)) => Captured {
                    time: packet.timestamp(),
                    interface: 0,
                    length: packet.orig_len(),
                    bytes: packet.into_data(),
                },
            },
            Format::PcapNg(reader) => match next_of_blocks(path, *frames, reader)? {
                None => return Ok(None),
                Some(captured) => captured,
            },
        };
        *frames = frames.saturating_add(1);
        Ok(Some(captured))
    }

    /// The next frame, whole.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame), and when the frame was cut.
    pub fn next_whole(&mut self) -> Result<Option<Captured<'_>>, Error> {
        let (path, frame) = (self.path.clone(), self.frames.saturating_add(1));
        match self.next_frame()? {
            Some(Captured { length, bytes, .. }) if bytes.len() < length as usize => {
                Err(Error::Cut { path, frame, captured: bytes.len(), length })
            }
            whole => Ok(whole),
        }
    }
}

/// The next block that is a packet.
fn next_of_blocks<'a>(
    path: &Path,
    frame: u64,
    reader: &'a mut PcapNgReader<BufReader<File>>,
) -> Result<Option<Captured<'a>>, Error> {
    let damaged = |reason: String| Error::Damaged { path: path.to_owned(), frame, reason };
    loop {
        // The borrow of what is returned may not reach over the next turn of the loop: what is no packet is passed over
        // in owned form.
        let link = |interface: u32, reader: &PcapNgReader<BufReader<File>>| {
            let found = usize::try_from(interface).ok().and_then(|place| reader.interfaces().get(place));
            found.map(|interface| interface.linktype)
        };
        let captured = match reader.next_block() {
            None => return Ok(None),
            Some(Err(error)) => return Err(damaged(reason(&error))),
            Some(Ok((Block::EnhancedPacket(packet), _))) => Captured {
                time: packet.timestamp,
                interface: packet.interface_id,
                length: packet.original_len,
                bytes: Cow::Owned(packet.data.into_owned()),
            },
            // What came before the enhanced one; tshark reads it too.
            Some(Ok((Block::Packet(packet), _))) => Captured {
                time: packet.timestamp,
                interface: packet.interface_id.into(),
                length: packet.original_len,
                bytes: Cow::Owned(packet.data.into_owned()),
            },
            Some(Ok((Block::SimplePacket(packet), _))) => Captured {
                time: Duration::ZERO,
                interface: 0,
                length: packet.original_len,
                bytes: Cow::Owned(packet.data.into_owned()),
            },
            Some(Ok(_)) => continue,
        };
        match link(captured.interface, reader) {
            Some(link) => check_link(path, link)?,
            None => return Err(damaged(format!("interface {} is not described", captured.interface))),
        }
        return Ok(Some(captured));
    }
}

fn check_link(path: &Path, link: DataLink) -> Result<(), Error> {
    if link == DataLink::ETHERNET {
        return Ok(());
    }
    Err(Error::LinkType { path: path.to_owned(), link: format!("{link:?}") })
}
