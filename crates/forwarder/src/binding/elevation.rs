//! Root, where a command needs it, and the user behind it.
//!
//! Contract: a program that was built by its user is run again through sudo, in this process's place, so that the
//! process above it is the user's shell, whose limit on locked memory binding raises.

use std::env;
use std::ffi::OsString;
use std::io;
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
    /// Returns only if this process is root's. `user` is whom the command is carried out for, where that matters.
    pub(super) fn require_root(self, kernel: &dyn Kernel, user: Option<&str>) -> Result<(), Failure> {
        if kernel.user_id() == 0 {
            return Ok(());
        }
        let mut own = vec![env::current_exe().map_or_else(|_| OsString::from("ringway"), OsString::from)];
        own.extend(env::args_os().skip(1));
        let command = through_sudo(&own);
        match self {
            Self::Tell => Err(Failure::NotRoot { command: in_words(&command) }),
            Self::Sudo => {
                let source = match command.split_first() {
                    Some((sudo, arguments)) => Command::new(sudo).args(arguments).exec(),
                    None => io::ErrorKind::NotFound.into(),
                };
                Err(Failure::NoSudo { command: in_words(&as_root(&own, user)), source })
            }
        }
    }
}

/// The command that runs `own`, a program and its arguments, as root: sudo tells it who asked.
fn through_sudo(own: &[OsString]) -> Vec<OsString> {
    // An argument of the program's must not be taken for one of sudo's.
    ["sudo", "--"].into_iter().map(OsString::from).chain(own.iter().cloned()).collect()
}

/// The command for a root shell, where nothing tells who asked.
fn as_root(own: &[OsString], user: Option<&str>) -> Vec<OsString> {
    let mut command = own.to_vec();
    let named = own.iter().any(|word| word == "--user" || word.to_string_lossy().starts_with("--user="));
    if let Some(user) = user.filter(|_| !named) {
        command.extend([OsString::from("--user"), OsString::from(user)]);
    }
    command
}

/// A command as one would type it.
fn in_words(command: &[OsString]) -> String {
    let quoted = |word: &OsString| {
        let word = word.to_string_lossy();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "/.,:=_+-".contains(letter);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    command.iter().map(quoted).collect::<Vec<_>>().join(" ")
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

    fn words(texts: &[&str]) -> Vec<OsString> {
        texts.iter().map(OsString::from).collect()
    }

    #[test]
    fn through_sudo_goes_the_program_itself_with_the_arguments_it_was_given() {
        let own =
            words(&["/home/ada/ringway/target/debug/xtask", "bind", "03:00.0", "--memlock", "2 GiB", "it's"]);
        let command = through_sudo(&own);
        assert_eq!(command[..2], words(&["sudo", "--"]));
        assert_eq!(command[2..], own);
        assert_eq!(
            in_words(&command),
            "sudo -- /home/ada/ringway/target/debug/xtask bind 03:00.0 --memlock '2 GiB' 'it'\\''s'"
        );
    }

    #[test]
    fn without_sudo_the_command_for_a_root_shell_says_for_whom_it_is() {
        let own = words(&["xtask", "bind", "03:00.0"]);
        assert_eq!(in_words(&as_root(&own, Some("1000"))), "xtask bind 03:00.0 --user 1000");
        // `unbind` is for nobody in particular, and what was said is not said again.
        assert_eq!(in_words(&as_root(&own, None)), "xtask bind 03:00.0");
        for given in [&["xtask", "bind", "--user", "ada"][..], &["xtask", "bind", "--user=ada"]] {
            assert_eq!(as_root(&words(given), Some("1000")), words(given));
        }
    }

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
