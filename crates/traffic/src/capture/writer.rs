//! Writing.

use super::{Error, reason};
use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::{Block, PcapNgBlock, PcapNgWriter};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A pcapng file that is being written. What was written is in the file after [`flush`](Self::flush), and at the latest
/// when the writer is dropped. When the file takes no more, it ends with the last frame that it took whole, and
/// [`unwritten`](Self::unwritten) says what is missing.
///
/// ```no_run
/// # use std::time::Duration;
/// let mut file = ringway_traffic::capture::Writer::create("out.pcapng".as_ref(), &["emulated:0"])?;
/// file.write(0, Duration::from_secs(1_700_000_000), &[0; 60])?;
/// file.flush()?;
/// # Ok::<(), ringway_traffic::capture::Error>(())
/// ```
pub struct Writer {
    path: PathBuf,
    file: PcapNgWriter<BufWriter<Sink>>,
    bytes: u64,
    /// How long the file is with the last frame that is known to be in it.
    whole: u64,
    /// What is behind that one: where each ends in the file, and of a frame how many bytes were kept.
    waiting: VecDeque<(u64, Option<u64>)>,
}

/// How many packets an interface saw since the capture began (draft-ietf-opsawg-pcapng, section 4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that it received.
    pub received: u64,
    /// Those that it had no room for, if that is known.
    pub missed: Option<u64>,
    /// Those of the received that were meant.
    pub meant: u64,
    /// Those of the meant that were dropped before they reached a file.
    pub dropped: u64,
}

/// A file that counts what the system took, and takes nothing after a failure.
struct Sink {
    file: File,
    taken: u64,
    broken: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::Error::other("it could not be written before"));
        }
        let taken = self.file.write(bytes)?;
        self.taken = self.taken.saturating_add(taken as u64);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Writer {
    /// Makes a file, or makes it anew, with these interfaces. Times are kept to the nanosecond.
    ///
    /// # Errors
    /// When it can't be made or written.
    pub fn create(path: &Path, interfaces: &[&str]) -> Result<Self, Error> {
        let file = File::create(path).map_err(|source| Error::open(path, source))?;
        let sink = Sink { file, taken: 0, broken: false };
        let mut file = PcapNgWriter::new(BufWriter::new(sink)).map_err(|error| failed(path, &error))?;
        for interface in interfaces {
            let options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(interface)),
                InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            ];
            let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
            file.write_block(&block.into_block()).map_err(|error| failed(path, &error))?;
        }
        let mut writer = Self { path: path.to_owned(), file, bytes: 0, whole: 0, waiting: VecDeque::new() };
        // From now on it is a capture file, and a disk that is full is known of.
        writer.flush()?;
        writer.whole = writer.file.get_ref().get_ref().taken;
        Ok(writer)
    }

    /// Adds a frame, without FCS, seen at an interface (by its place) at a time since 1970.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&mut self, interface: u32, time: Duration, frame: &[u8]) -> Result<(), Error> {
        self.write_cut(interface, time, frame, frame.len() as u32)
    }

    /// The same for what is left of a frame that had `length` bytes.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_cut(
        &mut self,
        interface: u32,
        time: Duration,
        frame: &[u8],
        length: u32,
    ) -> Result<(), Error> {
        let block = EnhancedPacketBlock {
            interface_id: interface,
            timestamp: time,
            original_len: length,
            data: Cow::Borrowed(frame),
            options: Vec::new(),
        };
        let written = self.add(&block.into_block(), Some(frame.len() as u64))?;
        self.bytes = self.bytes.saturating_add(written);
        Ok(())
    }

    /// Adds how many packets an interface (by its place) saw until a time since 1970.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_counts(&mut self, interface: u32, time: Duration, counts: Counts) -> Result<(), Error> {
        let Counts { received, missed, meant, dropped } = counts;
        let mut options = vec![InterfaceStatisticsOption::IsbIfRecv(received)];
        options.extend(missed.map(InterfaceStatisticsOption::IsbIfDrop));
        options.push(InterfaceStatisticsOption::IsbFilterAccept(meant));
        options.push(InterfaceStatisticsOption::IsbOsDrop(dropped));
        let block = InterfaceStatisticsBlock { interface_id: interface, timestamp: time, options };
        self.add(&block.into_block(), None).map(|_| ())
    }

    /// Adds a block; of a frame with the bytes that were kept. How long the block is.
    fn add(&mut self, block: &Block<'_>, of_frame: Option<u64>) -> Result<u64, Error> {
        match self.file.write_block(block) {
            Ok(written) => {
                let written = written as u64;
                let end = self.waiting.back().map_or(self.whole, |(end, _)| *end);
                self.waiting.push_back((end.saturating_add(written), of_frame));
                self.settle();
                Ok(written)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Frames that were added and are not in the file, and how many bytes of them were kept: those that wait for
    /// [`flush`](Self::flush), and after a failure those that are lost.
    pub fn unwritten(&self) -> (u64, u64) {
        let frames = self.waiting.iter().filter_map(|(_, bytes)| *bytes);
        frames.fold((0, 0), |(frames, sum), bytes| (frames.saturating_add(1), sum.saturating_add(bytes)))
    }

    /// Forgets what the system has taken.
    fn settle(&mut self) {
        let taken = self.file.get_ref().get_ref().taken;
        while let Some(&(end, _)) = self.waiting.front()
            && end <= taken
        {
            self.whole = end;
            self.waiting.pop_front();
        }
    }

    /// Nothing is written any more, and a frame of which the system took a part is cut off.
    fn fail(&mut self, error: &dyn std::error::Error) -> Error {
        self.settle();
        let sink = self.file.get_mut().get_mut();
        if !sink.broken {
            sink.broken = true;
            // A pipe keeps what it has.
            let _ = sink.file.set_len(self.whole);
        }
        failed(&self.path, error)
    }

    /// Bytes of frames written so far, with what the format puts around them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        match self.file.get_mut().flush() {
            Ok(()) => {
                self.settle();
                Ok(())
            }
            Err(error) => Err(self.fail(&error)),
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

fn failed(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::Write { path: path.to_owned(), reason: reason(error) }
}
