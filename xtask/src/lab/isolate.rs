//! A world of its own for a run: namespaces for users, processes and networks, so that the lab needs no root,
//! touches no interface of the machine, and leaves nothing behind.
//!
//! The lab's second half runs as the first process of a new process namespace. When it ends, for whatever
//! reason, the kernel kills all that it started. It ends with its parent, by a signal the kernel sends and by
//! the end of a pipe, whichever comes first.

use std::fs;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use crate::tool;

/// Runs this same program with other arguments in namespaces of its own and waits for its end.
///
/// Must be called while the process has a single thread: the kernel demands it.
pub fn run_inside(arguments: &[&str]) -> Result<ExitStatus> {
    enter()?;
    let mut child = Command::new(tool::OWN_PROGRAM)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run this program a second time")?;
    // The pipe stays open, unwritten, until the child has ended: its end tells the child to stop.
    let pipe = child.stdin.take();
    let status = child.wait().context("cannot wait for the lab's second half");
    drop(pipe);
    status
}

/// The first thing the second half does: makes its end certain.
pub fn end_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot ask the kernel for a signal at the parent's death")?;
    std::thread::Builder::new().name("parent".to_owned()).spawn(|| {
        let mut rest = Vec::new();
        // Whatever read returns, the parent is gone or has closed the pipe.
        let _ = std::io::stdin().lock().read_to_end(&mut rest);
        std::process::exit(130);
    })?;
    Ok(())
}

fn enter() -> Result<()> {
    let wanted = UnshareFlags::NEWPID | UnshareFlags::NEWNET;
    let user = rustix::process::geteuid();
    let group = rustix::process::getegid();
    if user.is_root() {
        match unshare(wanted) {
            Ok(()) => return Ok(()),
            // Root without the capability, in a container: a user namespace gives it.
            Err(Errno::PERM) => {}
            Err(error) => return Err(error).context("cannot make namespaces"),
        }
    }
    match unshare(wanted | UnshareFlags::NEWUSER) {
        Ok(()) => {}
        Err(error) => bail!(
            "cannot make a user namespace without root ({error}): allow them with \
             `sysctl user.max_user_namespaces=15000` (and, where the kernel has them, \
             kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run as root"
        ),
    }
    for (file, content) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {} 1", user.as_raw())),
        ("gid_map", format!("0 {} 1", group.as_raw())),
    ] {
        let path = format!("/proc/self/{file}");
        fs::write(&path, content).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

/// Moves the calling thread into new namespaces.
pub fn unshare(flags: UnshareFlags) -> std::result::Result<(), Errno> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: only unsharing the table of file descriptors would break others' ownership of descriptors, and
    // no caller in this crate asks for it.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
