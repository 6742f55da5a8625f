//! The control handle.

use super::configuration;
use super::control::{Command, ControlQueue};
use crate::transport::{Transport, alive};
use crate::{Error, Features};
use ringway_dma::Kept;
use ringway_port::{Information, Link, Port, ReceiveCounters, Statistics, TransmitCounters};
use std::sync::Arc;

/// Everything but packets.
#[derive(Debug)]
pub(super) struct Control {
    information: Information,
    features: Features,
    promiscuous: bool,
    control: Option<Kept<ControlQueue>>,
    receive: Vec<Arc<ReceiveCounters>>,
    transmit: Vec<Arc<TransmitCounters>>,
    transport: Arc<dyn Transport>,
}

impl Control {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        features: Features,
        information: Information,
        control: Option<Kept<ControlQueue>>,
        receive: Vec<Arc<ReceiveCounters>>,
        transmit: Vec<Arc<TransmitCounters>>,
    ) -> Self {
        // Without receive modes a device receives everything; with them it was started with none.
        let promiscuous = !features.contains(Features::CONTROL_RECEIVE);
        Self { information, features, promiscuous, control, receive, transmit, transport }
    }
}

impl Control {
    /// Switches a receive mode (virtio 1.2, section 5.1.6.5.1).
    fn receive_mode(&mut self, mode: Command, what: &'static str, on: bool) -> Result<(), Error> {
        match self.control.as_mut().filter(|_| self.features.contains(Features::CONTROL_RECEIVE)) {
            Some(control) => control.execute(&*self.transport, mode, &[u8::from(on)]),
            None => Err(Error::NotOffered {
                device: self.information.name.clone(),
                what,
                feature: "VIRTIO_NET_F_CTRL_RX",
                instead: "; it receives everything (QEMU: ctrl_rx=on)",
            }),
        }
    }
}

impl Port for Control {
    fn information(&self) -> &Information {
        &self.information
    }

    fn link(&mut self) -> Result<Link, ringway_port::Error> {
        let link = configuration::read(&*self.transport, self.features)?.link;
        // What a device that is gone says of its link is nothing.
        self.check()?;
        Ok(link)
    }

    fn statistics(&mut self) -> Result<Statistics, ringway_port::Error> {
        let mut statistics = Statistics::default();
        statistics.receive = self.receive.iter().map(|counters| counters.read()).collect();
        statistics.transmit = self.transmit.iter().map(|counters| counters.read()).collect();
        Ok(statistics)
    }

    fn is_promiscuous(&self) -> bool {
        self.promiscuous
    }

    fn set_promiscuous(&mut self, on: bool) -> Result<(), ringway_port::Error> {
        if on == self.promiscuous {
            return Ok(());
        }
        self.receive_mode(Command::PROMISCUOUS, "leaving promiscuous mode", on)?;
        self.promiscuous = on;
        Ok(())
    }

    fn set_all_multicast(&mut self, on: bool) -> Result<(), ringway_port::Error> {
        Ok(self.receive_mode(Command::ALL_MULTICAST, "choosing which groups it receives", on)?)
    }

    fn check(&mut self) -> Result<(), ringway_port::Error> {
        alive(&*self.transport)?;
        if self.transport.removal_requested() {
            return Err(ringway_port::Error::wanted_back(self.transport.name()));
        }
        Ok(())
    }
}
