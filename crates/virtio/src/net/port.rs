//! The control handle.

use super::configuration;
use super::control::{Command, ControlQueue};
use super::filter::{Addresses, Vlans};
use super::steering;
use crate::transport::{Transport, alive};
use crate::{Error, Features};
use ringway_dma::Kept;
use ringway_port::{
    Capabilities, Information, Link, MacAddress, Port, ReceiveCounters, Scaling, Statistics, TransmitCounters,
};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// What a control handle is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) information: Information,
    pub(super) features: Features,
    pub(super) capabilities: Capabilities,
    pub(super) filters_vlans: bool,
    pub(super) scaling: Option<Scaling>,
    pub(super) link_interrupt: Option<Arc<OwnedFd>>,
    pub(super) control: Option<Kept<ControlQueue>>,
    pub(super) receive: Vec<Arc<ReceiveCounters>>,
    pub(super) transmit: Vec<Arc<TransmitCounters>>,
    pub(super) transport: Arc<dyn Transport>,
}

/// Everything but packets.
#[derive(Debug)]
pub(super) struct Control {
    parts: Parts,
    promiscuous: bool,
    addresses: Addresses,
    vlans: Option<Vlans>,
}

impl Control {
    pub(super) fn new(parts: Parts) -> Self {
        // Without receive modes a device receives everything; with them it was started with none.
        let promiscuous = !parts.features.contains(Features::CONTROL_RECEIVE);
        let vlans = parts.filters_vlans.then(Vlans::default);
        Self { parts, promiscuous, addresses: Addresses::default(), vlans }
    }

    fn name(&self) -> String {
        self.parts.information.name.clone()
    }

    /// Carries a command out that stands on `feature`.
    fn command(
        &mut self,
        (feature, name): (Features, &'static str),
        (what, instead): (&'static str, &'static str),
        command: Command,
        data: &[u8],
    ) -> Result<(), Error> {
        let Parts { control, features, transport, .. } = &mut self.parts;
        match control.as_mut().filter(|_| features.contains(feature)) {
            Some(control) => control.execute(&**transport, command, data),
            None => Err(Error::NotOffered { device: self.name(), what, feature: name, instead }),
        }
    }

    /// Switches a receive mode (virtio 1.2, section 5.1.6.5.1).
    fn receive_mode(&mut self, mode: Command, what: &'static str, on: bool) -> Result<(), Error> {
        let instead = "; it receives everything (QEMU: ctrl_rx=on)";
        self.command(CONTROL_RECEIVE, (what, instead), mode, &[u8::from(on)])
    }

    /// Section 5.1.6.5.2: both tables, which replace those that the device has.
    fn set_addresses(&mut self, addresses: Addresses) -> Result<(), Error> {
        let instead = "; it receives everything (QEMU: ctrl_rx=on)";
        self.command(
            CONTROL_RECEIVE,
            ("a further address", instead),
            Command::ADDRESS_TABLES,
            &addresses.data(),
        )?;
        self.addresses = addresses;
        Ok(())
    }

    fn set_vlan(&mut self, vlan: u16, on: bool) -> Result<(), Error> {
        let device = self.name();
        let Some(vlans) = &self.vlans else {
            return Err(Error::NotAskedFor {
                device,
                what: "filtering VLANs",
                instead: "ask for the offload vlan-filter",
            });
        };
        vlans.check(&device, vlan, on)?;
        let command = if on { Command::VLAN_ADD } else { Command::VLAN_REMOVE };
        let feature = (Features::CONTROL_VLAN, "VIRTIO_NET_F_CTRL_VLAN");
        self.command(feature, ("filtering VLANs", " (QEMU: ctrl_vlan=on)"), command, &vlan.to_le_bytes())?;
        if let Some(vlans) = &mut self.vlans {
            vlans.set(vlan, on);
        }
        Ok(())
    }

    fn scaling_in_use(&self) -> Result<&Scaling, Error> {
        let has = self.parts.features.contains(Features::RSS);
        self.parts.scaling.as_ref().filter(|_| has).ok_or_else(|| {
            let (device, what) = (self.name(), "receive side scaling");
            if self.parts.capabilities.hash.is_some() {
                let instead = "give a Scaling, or ask for several receive queues";
                Error::NotAskedFor { device, what, instead }
            } else {
                let (feature, instead) = ("VIRTIO_NET_F_RSS", " (QEMU: rss=on)");
                Error::NotOffered { device, what, feature, instead }
            }
        })
    }

    fn replace_scaling(&mut self, scaling: &Scaling) -> Result<(), Error> {
        self.scaling_in_use()?;
        let pairs = self.parts.receive.len() as u16;
        if let Some(limits) = self.parts.capabilities.hash {
            let limits = ringway_port::HashLimits { queues: pairs, ..limits };
            steering::check(&self.parts.information.name, scaling, limits)?;
        }
        let feature = (Features::RSS, "VIRTIO_NET_F_RSS");
        let data = steering::rss_command(scaling, pairs);
        self.command(feature, ("receive side scaling", " (QEMU: rss=on)"), Command::SCALING, &data)?;
        self.parts.scaling = Some(scaling.clone());
        Ok(())
    }

    /// Section 5.1.6.5.8: by time alone, so any number of packets may wait for it.
    fn moderate(&mut self, queue: u16, interval: Duration) -> Result<(), Error> {
        if usize::from(queue) >= self.parts.receive.len() {
            let what = format!(
                "it was opened with {} receive queues, there is no {queue}",
                self.parts.receive.len()
            );
            return Err(Error::Value { device: self.name(), what });
        }
        let Ok(microseconds) = u32::try_from(interval.as_micros()) else {
            let what = format!(
                "interrupts can't be held back for {interval:?}, it is {} s at most",
                u32::MAX / 1_000_000
            );
            return Err(Error::Value { device: self.name(), what });
        };
        let what = "holding interrupts back";
        if self.parts.capabilities.moderation && !self.parts.features.intersects(COALESCING) {
            let instead = "open it with interrupts";
            return Err(Error::NotAskedFor { device: self.name(), what, instead });
        }
        let packets = if microseconds == 0 { 0 } else { u32::MAX };
        let [a, b, c, d] = packets.to_le_bytes();
        let [e, f, g, h] = microseconds.to_le_bytes();
        let words = (what, "");
        if self.parts.features.contains(Features::QUEUE_COALESCING) {
            // Receive queue n is virtqueue 2n.
            let [low, high] = queue.wrapping_mul(2).to_le_bytes();
            let data = [low, high, 0, 0, a, b, c, d, e, f, g, h];
            let feature = (Features::QUEUE_COALESCING, "VIRTIO_NET_F_VQ_NOTF_COAL");
            return self.command(feature, words, Command::COALESCE_QUEUE, &data);
        }
        let feature = (Features::COALESCING, "VIRTIO_NET_F_NOTF_COAL");
        self.command(feature, words, Command::COALESCE_RECEIVE, &[a, b, c, d, e, f, g, h])
    }
}

const CONTROL_RECEIVE: (Features, &str) = (Features::CONTROL_RECEIVE, "VIRTIO_NET_F_CTRL_RX");
const COALESCING: Features = Features::COALESCING.and(Features::QUEUE_COALESCING);

impl Port for Control {
    fn information(&self) -> &Information {
        &self.parts.information
    }

    fn capabilities(&self) -> Capabilities {
        self.parts.capabilities.clone()
    }

    fn link(&mut self) -> Result<Link, ringway_port::Error> {
        let link = configuration::read(&*self.parts.transport, self.parts.features)?.link;
        // What a device that is gone says of its link is nothing.
        self.check()?;
        Ok(link)
    }

    fn link_interrupt(&self) -> Option<&Arc<OwnedFd>> {
        self.parts.link_interrupt.as_ref()
    }

    fn statistics(&mut self) -> Result<Statistics, ringway_port::Error> {
        let mut statistics = Statistics::default();
        statistics.receive = self.parts.receive.iter().map(|counters| counters.read()).collect();
        statistics.transmit = self.parts.transmit.iter().map(|counters| counters.read()).collect();
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

    fn add_address(&mut self, address: MacAddress) -> Result<(), ringway_port::Error> {
        let addresses = self.addresses.with(&self.parts.information.name, address)?;
        Ok(self.set_addresses(addresses)?)
    }

    fn remove_address(&mut self, address: MacAddress) -> Result<(), ringway_port::Error> {
        let addresses = self.addresses.without(&self.parts.information.name, address)?;
        Ok(self.set_addresses(addresses)?)
    }

    fn set_address(&mut self, address: MacAddress) -> Result<(), ringway_port::Error> {
        if !address.is_unicast() {
            let what = format!("{address} is no station's address");
            return Err(Error::Value { device: self.name(), what }.into());
        }
        let feature = (Features::CONTROL_MAC, "VIRTIO_NET_F_CTRL_MAC_ADDR");
        let words = ("another address", " (QEMU: ctrl_mac_addr=on)");
        self.command(feature, words, Command::ADDRESS, &address.0)?;
        self.parts.information.mac = address;
        Ok(())
    }

    fn add_vlan(&mut self, vlan: u16) -> Result<(), ringway_port::Error> {
        Ok(self.set_vlan(vlan, true)?)
    }

    fn remove_vlan(&mut self, vlan: u16) -> Result<(), ringway_port::Error> {
        Ok(self.set_vlan(vlan, false)?)
    }

    fn scaling(&mut self) -> Result<Scaling, ringway_port::Error> {
        Ok(self.scaling_in_use()?.clone())
    }

    fn set_scaling(&mut self, scaling: &Scaling) -> Result<(), ringway_port::Error> {
        Ok(self.replace_scaling(scaling)?)
    }

    fn set_moderation(&mut self, queue: u16, interval: Duration) -> Result<(), ringway_port::Error> {
        Ok(self.moderate(queue, interval)?)
    }

    fn take_announcement(&mut self) -> Result<bool, ringway_port::Error> {
        let announce = configuration::read(&*self.parts.transport, self.parts.features)?.announce;
        self.check()?;
        if announce {
            let feature = (Features::ANNOUNCE, "VIRTIO_NET_F_GUEST_ANNOUNCE");
            self.command(feature, ("answering that it was announced", ""), Command::ANNOUNCED, &[])?;
        }
        Ok(announce)
    }

    fn check(&mut self) -> Result<(), ringway_port::Error> {
        alive(&*self.parts.transport)?;
        if self.parts.transport.removal_requested() {
            return Err(ringway_port::Error::WantedBack { port: self.parts.transport.name().to_owned() });
        }
        Ok(())
    }
}
