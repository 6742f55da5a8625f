//! The running kernel as binding sees it: a seam of the few operations that change the machine, and of the few
//! facts that no file tells.
//!
//! Contract: paths are those of a running machine; an implementation puts its own root before them. Each changing
//! operation either has its whole effect or returns the errno; whoever undoes things must still look at what is
//! there, as a driver may fail half-way. [`HostKernel`] is the machine itself; tests put a tree in its place which
//! reacts as the kernel does.
//!
//! Not here: reading sysfs ([`crate::sysfs::Sysfs`]), the order of operations ([`crate::bind`]).

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, AtFlags};
use rustix::process::{Pid, Resource, Rlimit};

use crate::sysfs::{Memlock, Sysfs, User};

/// Who a file belongs to, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The owner's number.
    pub user: u32,
    /// Permission bits, 0o777 at most.
    pub mode: u32,
}

/// What binding asks of the kernel.
pub trait Kernel {
    /// The trees to read from.
    fn sysfs(&self) -> &Sysfs;

    /// Writes to an attribute of sysfs, in one write.
    ///
    /// # Errors
    /// The errno of the open or the write.
    fn write_attribute(&self, path: &Path, value: &str) -> io::Result<()>;

    /// Makes a folder whose parent exists.
    ///
    /// # Errors
    /// The errno.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// The errno.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Writes a regular file, new or in another's place; at no moment is there half a file under that name.
    ///
    /// # Errors
    /// The errno.
    fn write_file(&self, path: &Path, contents: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The errno.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Who a file belongs to.
    ///
    /// # Errors
    /// The errno.
    fn ownership(&self, path: &Path) -> io::Result<Ownership>;

    /// Gives a file to a user.
    ///
    /// # Errors
    /// The errno.
    fn set_ownership(&self, path: &Path, ownership: Ownership) -> io::Result<()>;

    /// Whether this process may open the file for reading and writing, going by its effective user.
    fn may_open(&self, path: &Path) -> bool;

    /// Loads a kernel module with what it needs.
    ///
    /// # Errors
    /// What `modprobe` said.
    fn load_module(&self, name: &str) -> io::Result<()>;

    /// Unloads a kernel module, with what nothing else needs.
    ///
    /// # Errors
    /// What `modprobe` said.
    fn unload_module(&self, name: &str) -> io::Result<()>;

    /// Sets the limit on locked memory of another process.
    ///
    /// # Errors
    /// The errno.
    fn set_memlock(&self, process: u32, limit: Memlock) -> io::Result<()>;

    /// All IP addresses of the machine, with the interface that has each.
    ///
    /// # Errors
    /// The errno.
    fn addresses(&self) -> io::Result<Vec<(String, IpAddr)>>;

    /// A user by name or number, from wherever the machine keeps its users.
    fn find_user(&self, who: &str) -> Option<User>;

    /// This process's number.
    fn process_id(&self) -> u32;

    /// This process's effective user.
    fn user_id(&self) -> u32;

    /// Lets time pass while something is awaited.
    fn pause(&self, time: Duration);

    /// Waits, if udev runs, until it has dealt with the events so far: it may set owners and names itself.
    fn settle(&self);

    /// Whether somebody wants this to end: a signal has come. What was done so far is then undone.
    fn interrupted(&self) -> bool {
        false
    }

    /// Keeps others away who change bindings, until what is returned is dropped.
    ///
    /// # Errors
    /// The errno; [`io::ErrorKind::TimedOut`] when somebody else doesn't end.
    fn lock(&self) -> io::Result<Lock> {
        Ok(Lock(None))
    }

    /// Waits until `condition` holds or `limit` is over, and says whether it holds.
    fn wait_for(&self, limit: Duration, condition: &mut dyn FnMut() -> bool) -> bool {
        const STEP: Duration = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        loop {
            if condition() {
                return true;
            }
            if waited >= limit {
                return false;
            }
            self.pause(STEP);
            waited += STEP;
        }
    }
}

/// Others who change bindings are kept away while it lives.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the kernel unlocks a file that is closed")] Option<fs::File>);

/// How long another program that changes bindings is waited for: longer than one of them takes.
const OTHERS: Duration = Duration::from_secs(90);

/// The machine itself.
#[derive(Debug, Clone)]
pub struct HostKernel {
    sysfs: Sysfs,
    interrupted: Arc<AtomicBool>,
}

impl HostKernel {
    /// The kernel that runs this process.
    pub fn new() -> Self {
        Self { sysfs: Sysfs::host(), interrupted: Arc::default() }
    }

    /// What a signal sets to have a change undone.
    pub fn interruption(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }
}

impl Default for HostKernel {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernel for HostKernel {
    fn sysfs(&self) -> &Sysfs {
        &self.sysfs
    }

    fn write_attribute(&self, path: &Path, value: &str) -> io::Result<()> {
        // Never create: a misspelt attribute must not become a file. One write: sysfs takes each as a whole value.
        let mut file = fs::OpenOptions::new().write(true).open(self.sysfs.resolve(path))?;
        let written = file.write(value.as_bytes())?;
        if written == value.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(self.sysfs.resolve(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(self.sysfs.resolve(path))
    }

    fn write_file(&self, path: &Path, contents: &str) -> io::Result<()> {
        let path = self.sysfs.resolve(path);
        // A name that udev and PAM pass over, as it ends neither in .rules nor in .conf.
        let mut draft = path.clone().into_os_string();
        draft.push(".new");
        let write = || -> io::Result<()> {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&draft)?;
            file.write_all(contents.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().inspect_err(|_| {
            // The first error is the one to report; a draft left behind does no harm.
            let _ = fs::remove_file(&draft);
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.sysfs.resolve(path))
    }

    fn ownership(&self, path: &Path) -> io::Result<Ownership> {
        let metadata = fs::metadata(self.sysfs.resolve(path))?;
        Ok(Ownership { user: metadata.uid(), mode: metadata.mode() & 0o777 })
    }

    fn set_ownership(&self, path: &Path, ownership: Ownership) -> io::Result<()> {
        let path = self.sysfs.resolve(path);
        fs::set_permissions(&path, fs::Permissions::from_mode(ownership.mode))?;
        std::os::unix::fs::chown(&path, Some(ownership.user), None)
    }

    fn may_open(&self, path: &Path) -> bool {
        let path = self.sysfs.resolve(path);
        rustix::fs::accessat(rustix::fs::CWD, path, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS)
            .is_ok()
    }

    fn load_module(&self, name: &str) -> io::Result<()> {
        modprobe(&[name])
    }

    fn unload_module(&self, name: &str) -> io::Result<()> {
        modprobe(&["-r", name])
    }

    fn set_memlock(&self, process: u32, limit: Memlock) -> io::Result<()> {
        let id = i32::try_from(process).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::from(rustix::io::Errno::SRCH))?;
        let limit = Rlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::prlimit(Some(id), Resource::Memlock, limit)?;
        Ok(())
    }

    fn addresses(&self) -> io::Result<Vec<(String, IpAddr)>> {
        let interfaces = if_addrs::get_if_addrs()?;
        // An address may carry a label in the interface's place: "eth0:1".
        let owner = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
        Ok(interfaces.iter().map(|interface| (owner(&interface.name), interface.ip())).collect())
    }

    fn find_user(&self, who: &str) -> Option<User> {
        if let Some(user) = self.sysfs.local_user(who) {
            return Some(user);
        }
        // A directory service may know more; getent asks whatever the machine is set up to ask.
        let answer = Command::new("getent").args(["passwd", "--", who]).output().ok();
        let user = answer.and_then(|answer| {
            let listed = String::from_utf8_lossy(&answer.stdout);
            listed.lines().next().and_then(|line| User::from_passwd(line, who))
        });
        // A number without a name is a user all the same.
        user.or_else(|| Some(User { id: who.parse().ok()?, name: None }))
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn lock(&self) -> io::Result<Lock> {
        // A file that is always there, that only root can open so, and that nobody has to remove.
        let path = self.sysfs.resolve(Path::new("/sys/bus/pci/drivers_probe"));
        let file = fs::OpenOptions::new().write(true).open(path)?;
        let mut error = None;
        let had = self.wait_for(OTHERS, &mut || match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => self.interrupted(),
            Err(fs::TryLockError::Error(failure)) => {
                error = Some(failure);
                true
            }
            Ok(()) => true,
        });
        match error {
            Some(error) => Err(error),
            None if !had || self.interrupted() => Err(io::ErrorKind::TimedOut.into()),
            None => Ok(Lock(Some(file))),
        }
    }

    fn process_id(&self) -> u32 {
        std::process::id()
    }

    fn user_id(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }

    fn settle(&self) {
        // No udev, or one too busy to end in time: what is awaited is looked for afterwards in any case.
        let _ = Command::new("udevadm").args(["settle", "--timeout=10"]).output();
    }
}

/// Runs modprobe; its words are the error.
fn modprobe(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("modprobe").args(arguments).output().or_else(|error| match error.kind() {
        // An administrator's folder that the path may lack.
        io::ErrorKind::NotFound => Command::new("/sbin/modprobe").args(arguments).output(),
        _ => Err(error),
    });
    let output =
        output.map_err(|error| io::Error::new(error.kind(), format!("modprobe can't be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim();
    Err(io::Error::other(if words.is_empty() {
        format!("modprobe: {}", output.status)
    } else {
        words.to_owned()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it works on files")]
    fn two_that_change_bindings_exclude_one_another_and_a_signal_ends_the_wait() {
        let root = std::env::temp_dir().join(format!("ringway-lock-{}", std::process::id()));
        let folder = root.join("sys/bus/pci");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("drivers_probe"), "").unwrap();
        let kernel = || HostKernel { sysfs: Sysfs::under(&root), interrupted: Arc::default() };
        let (one, other) = (kernel(), kernel());
        let lock = one.lock().unwrap();
        other.interruption().store(true, Ordering::Relaxed);
        let refused = other.lock().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        let message = crate::bind::exclusively(&other).unwrap_err().to_string();
        assert!(message.contains("interrupted by a signal"), "{message}");
        other.interruption().store(false, Ordering::Relaxed);
        drop(lock);
        other.lock().unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
}
