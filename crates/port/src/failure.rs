//! Why a queue works no longer. For drivers: every call after the first failure says so again.

use crate::Error;

/// A queue's name, and the reason once there is one.
#[derive(Clone, Debug)]
pub struct Failure {
    port: String,
    reason: Option<&'static str>,
}

impl Failure {
    /// Nothing failed so far at the port of this name.
    pub fn none(port: &str) -> Self {
        Self { port: port.to_owned(), reason: None }
    }

    /// The port.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Whether something failed.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.reason.is_some()
    }

    /// Notes the reason and gives the error.
    #[cold]
    pub fn set(&mut self, reason: &'static str) -> Error {
        self.reason = Some(reason);
        self.error()
    }

    /// Says so again, if something failed.
    ///
    /// # Errors
    /// [`Error::Failed`], with the first reason.
    #[inline(always)]
    pub fn check(&self) -> Result<(), Error> {
        if self.reason.is_some() { Err(self.error()) } else { Ok(()) }
    }

    #[cold]
    fn error(&self) -> Error {
        Error::Failed { port: self.port.clone(), reason: self.reason.unwrap_or("unknown").to_owned() }
    }

    /// An error about packets, at this port.
    #[cold]
    pub fn packet(&self, source: ringway_packet::Error) -> Error {
        Error::Packet { port: self.port.clone(), source }
    }
}
