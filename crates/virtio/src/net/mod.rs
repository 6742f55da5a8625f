//! The network device on top of the rings (virtio 1.2, section 5.1).

mod configuration;
mod control;
mod header;
mod port;
mod receive;
mod start;
mod transmit;

pub(crate) use start::open;

/// Why a queue works no longer. Every call after says so.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    port: String,
    reason: Option<&'static str>,
}

impl Failure {
    pub(crate) fn none(port: &str) -> Self {
        Self { port: port.to_owned(), reason: None }
    }

    /// Notes the reason and gives the error.
    #[cold]
    pub(crate) fn set(&mut self, reason: &'static str) -> ringway_port::Error {
        self.reason = Some(reason);
        self.error()
    }

    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), ringway_port::Error> {
        if self.reason.is_some() { Err(self.error()) } else { Ok(()) }
    }

    #[cold]
    fn error(&self) -> ringway_port::Error {
        ringway_port::Error::Failed {
            port: self.port.clone(),
            reason: self.reason.unwrap_or("unknown").to_owned(),
        }
    }

    #[cold]
    pub(crate) fn packet(&self, source: ringway_packet::Error) -> ringway_port::Error {
        ringway_port::Error::Packet { port: self.port.clone(), source }
    }
}
