//! The server for virtual machines: an 82599 outside QEMU, for `-device vfio-user-pci`.
//!
//! ```text
//!   QEMU ── socket ──▶ function.rs     configuration, registers, interrupts, mappings: the server's thread
//!    │                    │ lock
//!    │ memory file        ▼
//!    └──────────────▶ the device ◀─── mover.rs ◀──▶ link.rs, the wire: a thread of its own
//! ```
//! The guest's memory must be shared (`memory-backend-memfd,share=on`): the device reaches exactly the pieces that
//! the client has mapped for it, page by page where the guest has an IOMMU.
//!
//! The client is trusted as far as it can end the server: by making its memory file shorter, or with messages that
//! the protocol's library doesn't expect. It can't make the server touch other memory.

mod function;
mod link;
mod mover;

pub use link::{FrameLink, Link};

use crate::ixgbe::Options;
use function::Function;
use mover::Mover;
pub(crate) use mover::Wants;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What can go wrong with a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket's path is taken.
    #[error("a server is listening on {} already: choose another path", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// What is at the path is no socket, and stays there.
    #[error("{} is there already and is no socket: choose another path, or remove it", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket can't be made.
    #[error("no socket can be made at {}: {source}", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// The errno.
        source: io::Error,
    },
    /// The system gives no thread or event counter.
    #[error("the device can't be started: {0}")]
    Start(io::Error),
    /// A connection broke.
    #[error("the connection on {} broke: {reason}", path.display())]
    Connection {
        /// The socket's path.
        path: PathBuf,
        /// What the protocol's library says.
        reason: String,
    },
}

/// What a connection came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Pieces of memory that were mapped, and those that were refused.
    pub mapped: u64,
    /// Pieces that were refused: outside their file, too many, no file to be had.
    pub refused: u64,
    /// Accesses of the device to memory that wasn't mapped.
    pub faults: u64,
    /// Interrupt messages sent.
    pub messages: u64,
    /// Frames moved between wire and device.
    pub frames: u64,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
    options: Options,
    stopped: Arc<AtomicBool>,
}

/// Ends a server that waits for a connection. One that is connected ends when its client goes.
#[derive(Debug)]
pub struct Stop {
    listener: UnixListener,
    stopped: Arc<AtomicBool>,
}

impl Stop {
    /// No further connection is taken.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // It fails only where nobody listens any more.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

impl Server {
    /// Listens at `path`, for an 82599 made with `options`. A socket that a dead server left there is removed; nothing else
    /// is.
    ///
    /// # Errors
    /// When a server listens there, something else has the path, or the socket can't be made.
    pub fn bind(path: &Path, options: Options) -> Result<Self, Error> {
        let failed = |source| Error::Socket { path: path.to_owned(), source };
        match UnixStream::connect(path) {
            Ok(_) => return Err(Error::InUse { path: path.to_owned() }),
            // Connecting to a file that is no socket is refused as well, and such a file is somebody's.
            Err(_) if is_something_else(path) => return Err(Error::NoSocket { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener, options, stopped: Arc::default() })
    }

    /// What ends it.
    ///
    /// # Errors
    /// When the process has too many files open.
    pub fn stop(&self) -> Result<Stop, Error> {
        let listener = self.listener.try_clone().map_err(Error::Start)?;
        Ok(Stop { listener, stopped: Arc::clone(&self.stopped) })
    }

    /// Serves one client after the other, with a fresh device each, until it is stopped. `link` is the wire's end;
    /// `ended` is told of each connection.
    ///
    /// # Errors
    /// When the system gives no thread, or no further connection can be taken.
    pub fn serve(
        self,
        link: &mut dyn Link,
        mut ended: impl FnMut(Result<Report, Error>),
    ) -> Result<(), Error> {
        let result = loop {
            if self.stopped.load(Ordering::Acquire) {
                break Ok(());
            }
            match self.serve_one(link) {
                Ok(_) | Err(Error::Connection { .. }) if self.stopped.load(Ordering::Acquire) => break Ok(()),
                Err(error @ (Error::Start(_) | Error::Socket { .. })) => break Err(error),
                outcome => ended(outcome),
            }
        };
        // The socket is ours; if somebody has removed it, all the better.
        let _ = std::fs::remove_file(&self.path);
        result
    }

    fn serve_one(&self, link: &mut dyn Link) -> Result<Report, Error> {
        let mut function = Function::new(self.options.clone()).map_err(Error::Start)?;
        let listener = self.listener.try_clone().map_err(Error::Start)?;
        let server = vfio_user::Server::from_owned_fd(
            listener.into(),
            true,
            function::interrupts(),
            function::regions(),
        );
        let mover = Mover::new(&function).map_err(Error::Start)?;
        let (outcome, frames) = std::thread::scope(|scope| {
            let moving = scope.spawn(|| mover.run(link));
            let outcome = server.run(&mut function);
            mover.stop();
            (outcome, moving.join().unwrap_or(0))
        });
        match outcome {
            Ok(()) => Ok(Report { frames, ..function.report() }),
            // A client that is killed resets its connection.
            Err(error) => Err(Error::Connection { path: self.path.clone(), reason: error.to_string() }),
        }
    }
}

/// Whether there is something that is no socket: a file, a folder, a link.
fn is_something_else(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket())
}

/// Serves an 82599 at `path` until `stop` (which gets what ends it) was used: [`Server`] in one call.
///
/// # Errors
/// As [`Server::bind`] and [`Server::serve`].
pub fn serve(
    path: &Path,
    options: Options,
    link: &mut dyn Link,
    stop: impl FnOnce(Stop),
    ended: impl FnMut(Result<Report, Error>),
) -> Result<(), Error> {
    let server = Server::bind(path, options)?;
    stop(server.stop()?);
    server.serve(link, ended)
}
