//! A capture in several files, one after the other.

use super::{Counts, Error, Writer};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When a file is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// After so many bytes, or a frame more.
    pub bytes: Option<u64>,
    /// After so long, by the times of the frames.
    pub time: Option<Duration>,
}

impl Rotation {
    /// Whether there is more than one file.
    pub fn is_on(&self) -> bool {
        self.bytes.is_some() || self.time.is_some()
    }
}

/// A writer that begins a new file when one is full. Without rotation there is one file, called as it was asked for; with
/// it they are numbered before the extension: `web-00001.pcapng`.
#[derive(Debug)]
pub struct RotatingWriter {
    path: PathBuf,
    interfaces: Vec<String>,
    rotation: Rotation,
    writer: Writer,
    /// Files begun, and the time of the first frame in this one.
    files: u32,
    began: Option<Duration>,
}

impl RotatingWriter {
    /// Begins the first file.
    ///
    /// # Errors
    /// When it can't be made or written, and when there is rotation and the path is that of a folder.
    pub fn create(path: &Path, interfaces: &[&str], rotation: Rotation) -> Result<Self, Error> {
        let ends_open = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if rotation.is_on() && (path.file_name().is_none() || ends_open || path.is_dir()) {
            return Err(Error::NoName { path: path.to_owned() });
        }
        let first = if rotation.is_on() { numbered(path, 1) } else { path.to_owned() };
        Ok(Self {
            path: path.to_owned(),
            interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
            rotation,
            writer: Writer::create(&first, interfaces)?,
            files: 1,
            began: None,
        })
    }

    /// Adds what is left of a frame that had `length` bytes, to the next file if this one is full.
    ///
    /// # Errors
    /// When the file can't be written, or the next one can't be made.
    pub fn write(&mut self, interface: u32, time: Duration, frame: &[u8], length: u32) -> Result<(), Error> {
        let began = *self.began.get_or_insert(time);
        let full = self.rotation.bytes.is_some_and(|bytes| self.writer.bytes() >= bytes)
            || self.rotation.time.is_some_and(|limit| time.saturating_sub(began) >= limit);
        if full {
            self.writer.flush()?;
            let names: Vec<&str> = self.interfaces.iter().map(String::as_str).collect();
            let next = self.files.saturating_add(1);
            self.writer = Writer::create(&numbered(&self.path, next), &names)?;
            self.files = next;
            self.began = Some(time);
        }
        self.writer.write_cut(interface, time, frame, length)
    }

    /// As [`Writer::write_counts`], at the end of the file that is being written.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_counts(&mut self, interface: u32, time: Duration, counts: Counts) -> Result<(), Error> {
        self.writer.write_counts(interface, time, counts)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush()
    }

    /// What the files are called, without their number.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As of [`Writer::unwritten`]: of the file that is being written, for those before it are whole.
    pub fn unwritten(&self) -> (u64, u64) {
        self.writer.unwritten()
    }

    /// Files begun.
    pub fn files(&self) -> u32 {
        self.files
    }
}

/// `web.pcapng` as `web-00007.pcapng`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name: OsString = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number:05}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Reader;

    fn frames(path: &Path) -> usize {
        let mut reader = Reader::open(path).unwrap();
        std::iter::from_fn(|| reader.next_frame().unwrap().map(|_| ())).count()
    }

    #[test]
    fn a_file_is_followed_by_another_when_it_is_full_or_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.pcapng");
        let rotation = Rotation { bytes: Some(1000), time: Some(Duration::from_secs(10)) };
        let mut writer = RotatingWriter::create(&path, &["a"], rotation).unwrap();
        // 100 bytes and 32 around them: the eighth makes it full.
        for number in 0..20 {
            writer.write(0, Duration::from_secs(100), &[number; 100], 100).unwrap();
        }
        // The third one gets old.
        for time in [105, 109, 110, 111] {
            writer.write(0, Duration::from_secs(time), &[0; 60], 60).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(writer.files(), 4);
        let counts: Vec<usize> = (1..=4).map(|number| frames(&numbered(&path, number))).collect();
        assert_eq!(counts, [8, 8, 6, 2]);
        assert!(!path.exists());
    }

    #[test]
    fn files_are_numbered_after_a_file_and_never_beside_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { bytes: Some(1000), time: None };
        let with_slash = folder.path().join("web.pcapng/");
        for path in [folder.path(), Path::new("/"), Path::new(".."), with_slash.as_path()] {
            let error = RotatingWriter::create(path, &["a"], rotation).unwrap_err();
            assert!(matches!(error, Error::NoName { .. }), "{error}");
        }
    }

    #[test]
    fn without_rotation_there_is_one_file_of_the_given_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all");
        let mut writer = RotatingWriter::create(&path, &["a"], Rotation::default()).unwrap();
        for time in 0..1000 {
            writer.write(0, Duration::from_secs(time), &[0; 64], 1500).unwrap();
        }
        drop(writer);
        assert_eq!(frames(&path), 1000);
        assert_eq!(numbered(Path::new("/a/b"), 3), Path::new("/a/b-00003"));
    }
}
