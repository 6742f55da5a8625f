//! What the card of `model serve` is plugged into: a TAP interface, a socket, capture files.

use crate::Error;
use ringway_model::vfio_user::{FrameLink, Link};
use ringway_model::wire::Wire;
use ringway_traffic::capture::{Captured, Reader, Writer};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, socketpair};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What the card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireName {
    /// A TAP interface of that name, made here.
    Tap(String),
    /// A SEQPACKET socket that somebody listens on.
    Unix(PathBuf),
    /// Capture files: the first is played, the second gets what the card sends; either may be missing.
    Files(Option<PathBuf>, Option<PathBuf>),
    /// Standard input.
    StandardInput,
    /// Nothing: frames go nowhere.
    None,
}

impl FromStr for WireName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("tap", name)) if !name.is_empty() && name.len() < 16 => Ok(Self::Tap(name.to_owned())),
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("file", files)) => {
                let (in_, out) = files.split_once(',').unwrap_or((files, ""));
                let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
                match (path(in_), path(out)) {
                    (None, None) => Err("write file:IN,OUT, file:IN or file:,OUT".to_owned()),
                    (in_, out) => Ok(Self::Files(in_, out)),
                }
            }
            None if text == "stdin" => Ok(Self::StandardInput),
            None if text == "none" => Ok(Self::None),
            _ => Err("write tap:NAME (up to 15 letters), unix:PATH, file:IN,OUT, stdin or none".to_owned()),
        }
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path =
            |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        match self {
            Self::Tap(name) => write!(f, "tap:{name}"),
            Self::Unix(socket) => write!(f, "unix:{}", socket.display()),
            Self::Files(in_, out) => write!(f, "file:{},{}", path(in_), path(out)),
            Self::StandardInput => f.write_str("stdin"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Ends what a wire writes, from another thread: what was sent is in the file, and its last frame is whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Closing(Arc<Mutex<Option<Writer>>>);

impl Closing {
    /// Hands everything to the system. What is sent afterwards goes nowhere.
    pub(super) fn close(&self) {
        let writing = self.writing().take();
        if let Some(Err(error)) = writing.map(|mut file| file.flush()) {
            crate::output::console::error(&error);
        }
    }

    fn writing(&self) -> MutexGuard<'_, Option<Writer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a wire. The second part ends what it writes.
///
/// # Errors
/// When it can't be had, by name.
pub(super) fn open(wire: &WireName) -> Result<(Box<dyn Link>, Closing), Error> {
    if let WireName::Files(in_, out) = wire {
        if let (Some(in_), Some(out)) = (in_, out)
            && is_same_file(in_, out)
        {
            return Err(Error::SameFile(out.clone()));
        }
        let playing = in_.as_deref().map(Reader::open).transpose()?;
        let writing = out.as_deref().map(|path| Writer::create(path, &["card"])).transpose()?;
        let writing = Closing(Arc::new(Mutex::new(writing)));
        let link = FileLink { name: wire.to_string(), playing, writing: writing.clone(), unwritten: false };
        return Ok((Box::new(link), writing));
    }
    let open = || FrameLink::new(open_file(wire)?);
    let link = open().map_err(|source| Error::Wire { wire: wire.to_string(), source })?;
    Ok((Box::new(link), Closing::default()))
}

fn open_file(wire: &WireName) -> io::Result<OwnedFd> {
    match wire {
        WireName::Tap(name) => {
            let name = tappers::Interface::new(name)?;
            tappers::Tap::new_named(name)?.as_fd().try_clone_to_owned()
        }
        WireName::Unix(path) => {
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            connect(&socket, &SocketAddrUnix::new(path)?)?;
            Ok(socket)
        }
        WireName::StandardInput => io::stdin().as_fd().try_clone_to_owned(),
        WireName::None | WireName::Files(..) => {
            // One end of a pair: what is sent into it is lost once its other end is gone.
            Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?.0)
        }
    }
}

/// Whether both paths lead to one ordinary file, whatever they are called.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        std::fs::metadata(path).ok().filter(|found| found.is_file()).map(|found| (found.dev(), found.ino()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Capture files as a wire. A frame is read when there is room for it, and none is lost.
#[derive(Debug)]
struct FileLink {
    /// As it was named.
    name: String,
    playing: Option<Reader>,
    writing: Closing,
    /// Frames were written since the last flush.
    unwritten: bool,
}

impl FileLink {
    /// A file that fails is told of once, and used no more.
    fn give_up<T>(file: &mut Option<T>, error: &dyn fmt::Display) {
        crate::output::console::error(error);
        *file = None;
    }
}

impl Wire for FileLink {
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        loop {
            match self.playing.as_mut()?.next_whole() {
                Ok(Some(Captured { bytes, .. })) => match frame.get_mut(..bytes.len()) {
                    Some(place) => {
                        place.copy_from_slice(&bytes);
                        return Some(bytes.len());
                    }
                    None => {
                        let (length, most) = (bytes.len(), frame.len());
                        let number = self.playing.as_ref().map_or(0, Reader::frames);
                        crate::output::console::error(format_args!(
                            "{}: frame {number} is left out: it has {length} bytes, and no card takes more than {most}",
                            self.name
                        ));
                    }
                },
                Ok(None) => return None,
                Err(error) => {
                    Self::give_up(&mut self.playing, &error);
                    return None;
                }
            }
        }
    }

    fn send(&mut self, frame: &[u8]) {
        // A clock before 1970 is written as 1970.
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut writing = self.writing.writing();
        if let Some(file) = &mut *writing {
            self.unwritten = true;
            if let Err(error) = file.write(0, time, frame) {
                Self::give_up(&mut writing, &error);
            }
        }
    }

    fn end(&mut self) {
        // Who looks at the file sees what a round has sent after it.
        if !std::mem::take(&mut self.unwritten) {
            return;
        }
        let mut writing = self.writing.writing();
        if let Some(Err(error)) = writing.as_mut().map(Writer::flush) {
            Self::give_up(&mut writing, &error);
        }
    }
}

impl Link for FileLink {
    fn readable(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn keeps(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of a test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ringway-wire-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn wires_are_named_by_kind_and_place() {
        assert_eq!("tap:tap0".parse(), Ok(WireName::Tap("tap0".to_owned())));
        assert_eq!("unix:/run/x:y".parse(), Ok(WireName::Unix("/run/x:y".into())));
        let file = |path: &str| Some(PathBuf::from(path));
        assert_eq!("file:a,b".parse(), Ok(WireName::Files(file("a"), file("b"))));
        assert_eq!("file:a".parse(), Ok(WireName::Files(file("a"), None)));
        assert_eq!("file:,b".parse(), Ok(WireName::Files(None, file("b"))));
        assert_eq!("stdin".parse(), Ok(WireName::StandardInput));
        assert_eq!("none".parse(), Ok(WireName::None));
        for wrong in ["", "tap:", "file:", "file:,", "tap:0123456789abcdef", "unix:", "tap0", "udp:1"] {
            assert!(wrong.parse::<WireName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wire_that_is_not_there_is_an_error() {
        assert!(open(&WireName::Unix("/nonexistent/wire".into())).is_err());
        let message = open(&WireName::Files(Some("/nonexistent.pcap".into()), None)).unwrap_err().to_string();
        assert!(message.contains("/nonexistent.pcap"), "{message}");
        assert!(open(&WireName::None).is_ok());
    }

    #[test]
    fn a_file_is_not_played_and_emptied_at_once_whatever_it_is_called() {
        let folder = folder("same");
        let path = folder.join("frames.pcapng");
        drop(Writer::create(&path, &["card"]).unwrap());
        let before = std::fs::read(&path).unwrap();
        let link = folder.join("link.pcapng");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for out in [&path, &link] {
            let error = open(&WireName::Files(Some(path.clone()), Some(out.clone()))).unwrap_err();
            assert!(matches!(error, Error::SameFile(_)), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(open(&WireName::Files(Some(path), Some(folder.join("other.pcapng")))).is_ok());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_frame_that_no_card_takes_is_left_out_and_those_behind_it_are_played() {
        let folder = folder("long");
        let path = folder.join("long.pcapng");
        let mut file = Writer::create(&path, &["card"]).unwrap();
        for length in [60, ringway_model::wire::MAXIMUM_FRAME + 1, 61] {
            file.write(0, std::time::Duration::ZERO, &vec![1; length]).unwrap();
        }
        drop(file);
        let (mut playing, _) = open(&WireName::Files(Some(path), None)).unwrap();
        let mut buffer = vec![0; ringway_model::wire::MAXIMUM_FRAME];
        let lengths: Vec<usize> = std::iter::from_fn(|| playing.receive(&mut buffer)).collect();
        assert_eq!(lengths, [60, 61]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_closed_in_the_midst_of_a_round_ends_with_a_whole_frame() {
        let folder = folder("closed");
        let path = folder.join("out.pcapng");
        let (mut writing, closing) = open(&WireName::Files(None, Some(path.clone()))).unwrap();
        let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let sender = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    writing.send(&[7; 999]);
                }
            }
        });
        // Nobody flushes: what is there is what did not fit into the buffer, and a part of a frame at its end.
        while std::fs::metadata(&path).unwrap().len() < 100_000 {
            std::thread::yield_now();
        }
        closing.close();
        let mut file = Reader::open(&path).unwrap();
        while let Some(frame) = file.next_whole().unwrap() {
            assert_eq!(*frame.bytes, [7; 999]);
        }
        assert!(file.frames() >= 100_000 / 1100);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        sender.join().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_card_sends_into_a_file_is_what_another_plays_from_it() {
        let path = std::env::temp_dir().join(format!("ringway-wire-{}.pcapng", std::process::id()));
        let frames: Vec<Vec<u8>> = (60..=200).map(|length| vec![length as u8; length]).collect();
        let (mut writing, _) = open(&WireName::Files(None, Some(path.clone()))).unwrap();
        frames.iter().for_each(|frame| writing.send(frame));
        writing.end();
        let (mut playing, _) = open(&WireName::Files(Some(path.clone()), None)).unwrap();
        let mut buffer = vec![0; ringway_model::wire::MAXIMUM_FRAME];
        for frame in &frames {
            let length = playing.receive(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], frame);
        }
        assert_eq!(playing.receive(&mut buffer), None);
        std::fs::remove_file(path).unwrap();
    }
}
