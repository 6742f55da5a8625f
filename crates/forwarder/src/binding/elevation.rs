//! Root, where a command needs it, and the user behind it.
//!
//! Contract: a program that was built by its user is run again through sudo, in this process's place, so that the
//! process above it is the user's shell, whose limit on locked memory binding raises.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ringway_pci::kernel::Kernel;

use super::Failure;

/// What to do where root is needed and the program isn't run by root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elevation {
    /// Run this program again through sudo.
    Sudo,
    /// Tell the command that would do.
    Tell,
}

impl Elevation {
    /// Returns only if this process is root's.
    pub(super) fn require_root(self, kernel: &dyn Kernel) -> Result<(), Failure> {
        if kernel.user_id() == 0 {
            return Ok(());
        }
        let program = env::current_exe().map_or_else(|_| OsString::from("ringway"), OsString::from);
        let arguments: Vec<OsString> = env::args_os().skip(1).collect();
        let words: Vec<String> = [&program]
            .into_iter()
            .chain(&arguments)
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let command = format!("sudo {}", words.join(" "));
        match self {
            Self::Tell => Err(Failure::NotRoot { command }),
            Self::Sudo => {
                let source = Command::new("sudo").arg("--").arg(program).args(arguments).exec();
                Err(Failure::NoSudo { command, source })
            }
        }
    }
}

/// The ordinary user who runs the command, or who became root to run it, as a number; none if that is root itself.
pub(super) fn user_behind(kernel: &dyn Kernel) -> Option<String> {
    user_of(kernel.user_id(), |name| env::var(name).ok())
}

/// The user by the process's own number and what sudo, doas or pkexec leave in the environment.
fn user_of(own: u32, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    if own != 0 {
        return Some(own.to_string());
    }
    let user = ["SUDO_UID", "PKEXEC_UID", "DOAS_USER"].iter().find_map(|name| variable(name))?;
    (!user.is_empty() && user != "0" && user != "root").then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_the_one_who_became_root() {
        let sudo = |name: &str| (name == "SUDO_UID").then(|| "1000".to_owned());
        let doas = |name: &str| (name == "DOAS_USER").then(|| "ada".to_owned());
        let root = |name: &str| (name == "SUDO_UID").then(|| "0".to_owned());
        assert_eq!(user_of(0, sudo).as_deref(), Some("1000"));
        assert_eq!(user_of(0, doas).as_deref(), Some("ada"));
        assert_eq!(user_of(0, root), None);
        assert_eq!(user_of(0, |_| None), None);
        // Not root: what the environment says of an earlier sudo is of no interest.
        assert_eq!(user_of(1001, sudo).as_deref(), Some("1001"));
    }
}
