//! Processes and users: who stands above this process, what memory it may lock, who holds a device open.
//!
//! Contract: reads `/proc` and `/etc/passwd` only. A process that ends while it is read is as if it had never been.
//!
//! Not here: users that a directory service knows and `/etc/passwd` doesn't ([`crate::kernel::Kernel::find_user`]).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Sysfs;

/// A user of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The number.
    pub id: u32,
    /// The login name, where there is one.
    pub name: Option<String>,
}

impl User {
    /// The user in a line of `/etc/passwd`, if the line is the one of `who`, a name or a number.
    pub(crate) fn from_passwd(line: &str, who: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (name == who || id == who).then_some(())?;
        Some(Self { id: id.parse().ok()?, name: Some(name.to_owned()) })
    }
}

impl fmt::Display for User {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(out, "{name}"),
            None => write!(out, "user {}", self.id),
        }
    }
}

/// How much memory a process may lock, in bytes; `None` means without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memlock {
    /// The limit in force.
    pub soft: Option<u64>,
    /// How far the process may raise it by itself.
    pub hard: Option<u64>,
}

impl Memlock {
    /// Whether `bytes` may be locked under it.
    pub fn allows(self, bytes: u64) -> bool {
        self.soft.is_none_or(|limit| limit >= bytes)
    }

    /// This limit, raised to at least `wanted` (`None`: without limit); never lowered.
    pub fn raised_to(self, wanted: Option<u64>) -> Self {
        let higher = |limit: Option<u64>| Some(limit?.max(wanted?));
        Self { soft: higher(self.soft), hard: higher(self.hard) }
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its name, as `ps -o comm` shows it; control characters are `?`.
    pub name: String,
    /// The number of its parent; 0 for none.
    #[serde(skip)]
    pub parent: u32,
    /// The (real) user it belongs to.
    pub user: u32,
    /// The (effective) user whose rights it has: root's in sudo, which keeps belonging to who ran it.
    #[serde(skip)]
    pub effective_user: u32,
}

impl fmt::Display for Process {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "process {} ({})", self.id, self.name)
    }
}

/// A name that its process chose, without what a terminal would take for a command.
fn printable(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

impl Sysfs {
    /// A process; `None` if there is none of this number.
    pub fn process(&self, id: u32) -> Option<Process> {
        let status = self.read_optional(format!("/proc/{id}/status"))?;
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let mut users = field("Uid")?.split_whitespace().map(str::parse);
        Some(Process {
            id,
            name: printable(field("Name")?),
            parent: field("PPid")?.parse().ok()?,
            user: users.next()?.ok()?,
            effective_user: users.next()?.ok()?,
        })
    }

    /// The nearest process above `id` that belongs to `user` and is no more than that: the user's shell, as a rule, with
    /// sudo between.
    pub fn nearest_ancestor(&self, id: u32, user: u32) -> Option<Process> {
        let mut process = self.process(id)?;
        // A chain longer than this is no chain of parents but numbers reused while we read.
        for _ in 0..1024 {
            process = self.process(process.parent)?;
            if process.user == user && process.effective_user == user {
                return Some(process);
            }
        }
        None
    }

    /// The limit on locked memory of a process.
    pub fn memlock(&self, id: u32) -> Option<Memlock> {
        let limits = self.read_optional(format!("/proc/{id}/limits"))?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
        let mut fields = line.split_whitespace();
        let mut limit = || match fields.next()? {
            "unlimited" => Some(None),
            number => Some(Some(number.parse().ok()?)),
        };
        Some(Memlock { soft: limit()?, hard: limit()? })
    }

    /// Whether a process may lock memory without regard to its limit (CAP_IPC_LOCK, capability 14).
    pub fn exempt_from_memlock(&self, id: u32) -> bool {
        let status = self.read_optional(format!("/proc/{id}/status")).unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        effective
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & (1 << 14) != 0)
    }

    /// The processes that hold a device node open. Without root, those of this user only.
    pub fn holders(&self, node: &Path) -> Vec<Process> {
        let numbers = self.list("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
        let holds = |id: &u32| {
            let folder = PathBuf::from(format!("/proc/{id}/fd"));
            self.list(&folder)
                .iter()
                .any(|fd| fs::read_link(self.resolve(folder.join(fd))).is_ok_and(|target| target == node))
        };
        numbers.filter(holds).filter_map(|id| self.process(id)).collect()
    }

    /// A user of `/etc/passwd` by name or number.
    pub fn local_user(&self, who: &str) -> Option<User> {
        let passwd = self.read_optional("/etc/passwd")?;
        passwd.lines().find_map(|line| User::from_passwd(line, who))
    }
}
