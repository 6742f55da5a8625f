//! Writing.

use super::Error;
use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A pcapng file that is being written. What was written is in the file after [`flush`](Self::flush), and at the latest
/// when the writer is dropped.
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
    file: PcapNgWriter<BufWriter<File>>,
    bytes: u64,
}

impl Writer {
    /// Makes a file, or makes it anew, with these interfaces. Times are kept to the nanosecond.
    ///
    /// # Errors
    /// When it can't be made or written.
    pub fn create(path: &Path, interfaces: &[&str]) -> Result<Self, Error> {
        let file = File::create(path).map_err(|source| Error::open(path, source))?;
        let mut file = PcapNgWriter::new(BufWriter::new(file)).map_err(|error| failed(path, error))?;
        for interface in interfaces {
            let options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(interface)),
                InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            ];
            let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
            file.write_block(&block.into_block()).map_err(|error| failed(path, error))?;
        }
        let mut writer = Self { path: path.to_owned(), file, bytes: 0 };
        // From now on it is a capture file, and a disk that is full is known of.
        writer.flush()?;
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
        let written = self.file.write_block(&block.into_block());
        self.bytes = self.bytes.saturating_add(written.map_err(|error| failed(&self.path, error))? as u64);
        Ok(())
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
        self.file.get_mut().flush().map_err(|error| failed(&self.path, error))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

fn failed(path: &Path, error: impl Display) -> Error {
    Error::Write { path: path.to_owned(), reason: error.to_string() }
}
