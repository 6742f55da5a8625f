//! What can go wrong with a port.

/// The errors that every driver has in common. What only one of them knows is behind [`Error::Driver`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device can't do what was asked for.
    #[error("{port}: {feature} is not possible: {reason}")]
    Unsupported {
        /// The port.
        port: String,
        /// What was asked for.
        feature: &'static str,
        /// Why not, and what would be possible.
        reason: String,
    },
    /// The device is gone: its registers read all ones.
    #[error(
        "{port}: the device is gone (its registers read all ones); was it removed, or reset by someone else?"
    )]
    Lost {
        /// The port.
        port: String,
    },
    /// The device broke its protocol or says that it is broken. The port must be opened again.
    #[error("{port}: the device failed: {reason}; close the port and open it again")]
    Failed {
        /// The port.
        port: String,
        /// What it did.
        reason: String,
    },
    /// The port's device is to be unbound or unplugged, and whoever asked for it waits until the port is closed.
    #[error(
        "{port}: the kernel wants the device back, since it is being unbound or unplugged: close the port. Once it is there \
         again, `sudo ringway bind {port}` gives it to programs"
    )]
    WantedBack {
        /// The port.
        port: String,
    },
    /// Something about packets or their pool.
    #[error("{port}: {source}")]
    Packet {
        /// The port.
        port: String,
        /// What.
        source: ringway_packet::Error,
    },
    /// What only this driver knows; the message names the port.
    #[error("{0}")]
    Driver(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A queue whose driver starts none anew.
    pub(crate) fn no_restart() -> Self {
        Self::Unsupported {
            port: "this queue's port".to_owned(),
            feature: "starting one queue anew",
            reason: "its driver doesn't do it; close the port and open it again".to_owned(),
        }
    }
}
