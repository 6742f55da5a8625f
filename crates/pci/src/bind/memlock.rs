//! The limit on locked memory, which memory that a device can reach counts against.
//!
//! Contract: only ever raised. It is raised for the nearest process above this one that belongs to the user
//! (the shell that ran sudo), and so for what that process starts from now on.

use crate::kernel::Kernel;
use crate::sysfs::User;

use super::persist;
use super::step::Step;

/// What there is to do about a user's limit.
pub(crate) struct Raise {
    /// The step, where there is one to take.
    pub(crate) step: Option<Step>,
    /// What to tell.
    pub(crate) note: String,
}

/// Plans to let `user` lock `wanted` bytes (`None`: without limit); `lasting` if a limits file is written as well.
pub(crate) fn plan(kernel: &dyn Kernel, user: &User, wanted: Option<u64>, lasting: bool) -> Raise {
    let found = kernel.sysfs().nearest_ancestor(kernel.process_id(), user.id);
    let found = found.and_then(|process| Some((kernel.sysfs().memlock(process.id)?, process)));
    let Some((before, process)) = found else {
        let nobody =
            format!("locked memory: no process above this one belongs to {user}, so no limit was raised");
        let note = if lasting {
            format!("{nobody}; the limits file holds from the next login on")
        } else {
            let line = persist::limits_line(user, wanted);
            format!(
                "{nobody}. It needs the line `{line}` in {}/ and a new login (--persist writes it)",
                persist::LIMITS
            )
        };
        return Raise { step: None, note };
    };
    let limit = before.raised_to(wanted);
    if limit == before {
        let note = format!("locked memory: {process} of {user} may lock {} already", size(before.soft));
        return Raise { step: None, note };
    }
    Raise {
        note: format!(
            "locked memory: {process} of {user}, and what it starts from now on, may lock {} (was {})",
            size(limit.soft),
            size(before.soft)
        ),
        step: Some(Step::SetMemlock { process, limit }),
    }
}

/// A number of bytes as people write it; `None` is without limit.
pub(crate) fn size(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return "unlimited".to_owned() };
    match bytes {
        _ if bytes >= 1 << 30 && bytes % (1 << 30) == 0 => format!("{} GiB", bytes >> 30),
        _ if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}
