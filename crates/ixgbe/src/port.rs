//! The control handle.

use crate::clock::SharedClock;
use crate::devices::{Device, Mac, Media};
use crate::registers as register;
use crate::running::Running;
use crate::scaling::Spreading;
use crate::sfp::Module;
use crate::statistics::Totals;
use crate::steering::Steering;
use crate::{Error, capabilities, dump, filters, interrupts, link, pause, reset, sfp};
use ringway_port::{
    Capabilities, Filter, FilterId, Information, Link, MacAddress, Offloads, Pause, Port, PortOptions,
    ReceiveCounters, Scaling, Statistics, TransmitCounters,
};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Everything but packets. It owns the device's counters, which clear when they are read.
#[derive(Debug)]
pub(crate) struct Control {
    information: Information,
    device: Device,
    module: Option<Module>,
    promiscuous: bool,
    all_multicast: bool,
    /// The further addresses, at the entries from 1 on.
    addresses: Vec<Option<MacAddress>>,
    /// What the lights showed before they were made to blink.
    lights: Option<u32>,
    totals: Totals,
    receive: Vec<Arc<ReceiveCounters>>,
    transmit: Vec<Arc<TransmitCounters>>,
    spreading: Spreading,
    steering: Steering,
    clock: SharedClock,
    offloads: Offloads,
    link_interrupt: Option<Arc<OwnedFd>>,
    running: Arc<Running>,
}

impl Control {
    pub(crate) fn new(
        running: Arc<Running>,
        (device, options): (Device, &PortOptions),
        module: Option<Module>,
        information: Information,
        (receive, transmit): (Vec<Arc<ReceiveCounters>>, Vec<Arc<TransmitCounters>>),
        (spreading, clock): (Spreading, SharedClock),
        link_interrupt: Option<Arc<OwnedFd>>,
    ) -> Self {
        Self {
            information,
            device,
            module,
            promiscuous: false,
            all_multicast: false,
            addresses: vec![None; register::RECEIVE_ADDRESSES as usize - 1],
            lights: None,
            totals: Totals::default(),
            receive,
            transmit,
            spreading,
            steering: Steering::new(options.receive_queues),
            clock,
            offloads: options.offloads,
            link_interrupt,
            running,
        }
    }

    fn refused(&self, feature: &'static str, reason: String) -> ringway_port::Error {
        Error::Unsupported { device: self.information.name.clone(), feature, reason }.into()
    }

    /// Receives a VLAN or not; whether that was so before.
    fn set_vlan(&mut self, vlan: u16, on: bool) -> Result<bool, ringway_port::Error> {
        self.alive()?;
        if !self.offloads.contains(Offloads::VLAN_FILTER) {
            let reason = "the port was opened without vlan-filter, so it receives them all".to_owned();
            return Err(self.refused("choosing VLANs", reason));
        }
        if vlan > 4095 {
            return Err(self.refused("choosing VLANs", format!("{vlan} is no VLAN: they are 0 to 4095")));
        }
        Ok(filters::set_vlan(&self.running.registers, vlan, on))
    }

    fn alive(&self) -> Result<(), ringway_port::Error> {
        if self.running.registers.is_gone() {
            return Err(Error::Gone { device: self.running.name().to_owned() }.into());
        }
        Ok(())
    }
}

impl Port for Control {
    fn information(&self) -> &Information {
        &self.information
    }

    fn link(&mut self) -> Result<Link, ringway_port::Error> {
        self.alive()?;
        if self.link_interrupt.is_some() {
            interrupts::forget_link(&self.running);
        }
        let link = link::read(self.running.name(), &self.running.registers, self.device, &mut self.module);
        if let Link::Up { speed: Some(speed) } = link {
            self.clock.set_speed(speed);
        }
        Ok(link)
    }

    fn statistics(&mut self) -> Result<Statistics, ringway_port::Error> {
        self.totals.update(&self.running.registers);
        let mut statistics = Statistics::default();
        statistics.receive = self.receive.iter().map(|counters| counters.read()).collect();
        statistics.transmit = self.transmit.iter().map(|counters| counters.read()).collect();
        statistics.missed = Some(self.totals.missed());
        statistics.device = self.totals.named();
        Ok(statistics)
    }

    fn is_promiscuous(&self) -> bool {
        self.promiscuous
    }

    fn set_promiscuous(&mut self, on: bool) -> Result<(), ringway_port::Error> {
        self.alive()?;
        filters::set_unicast_promiscuous(&self.running.registers, on);
        self.promiscuous = on;
        filters::set_all_multicast(&self.running.registers, self.promiscuous || self.all_multicast);
        Ok(())
    }

    fn set_all_multicast(&mut self, on: bool) -> Result<(), ringway_port::Error> {
        self.alive()?;
        self.all_multicast = on;
        filters::set_all_multicast(&self.running.registers, self.promiscuous || self.all_multicast);
        Ok(())
    }

    fn add_address(&mut self, address: MacAddress) -> Result<(), ringway_port::Error> {
        self.alive()?;
        let device = || self.information.name.clone();
        if !address.is_unicast() {
            return Err(Error::NoStation { device: device(), address }.into());
        }
        if self.addresses.contains(&Some(address)) {
            return Ok(());
        }
        let Some((entry, place)) = (1u64..).zip(self.addresses.iter_mut()).find(|(_, place)| place.is_none())
        else {
            return Err(Error::AddressesFull { device: device() }.into());
        };
        *place = Some(address);
        filters::set_receive_address(&self.running.registers, entry, Some(address));
        Ok(())
    }

    fn remove_address(&mut self, address: MacAddress) -> Result<(), ringway_port::Error> {
        self.alive()?;
        let known = (1u64..).zip(self.addresses.iter_mut()).find(|(_, place)| **place == Some(address));
        let Some((entry, place)) = known else {
            return Err(Error::NoSuchAddress { device: self.information.name.clone(), address }.into());
        };
        *place = None;
        filters::set_receive_address(&self.running.registers, entry, None);
        Ok(())
    }

    fn set_address(&mut self, address: MacAddress) -> Result<(), ringway_port::Error> {
        self.alive()?;
        if !address.is_unicast() {
            return Err(Error::NoStation { device: self.information.name.clone(), address }.into());
        }
        filters::set_receive_address(&self.running.registers, 0, Some(address));
        self.information.mac = address;
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        capabilities::of(self.device)
    }

    fn scaling(&mut self) -> Result<Scaling, ringway_port::Error> {
        self.alive()?;
        Ok(self.spreading.now().clone())
    }

    fn set_scaling(&mut self, scaling: &Scaling) -> Result<(), ringway_port::Error> {
        self.alive()?;
        self.spreading.check(&self.information.name, scaling)?;
        self.spreading.apply(&self.running.registers, scaling);
        Ok(())
    }

    fn add_filter(&mut self, filter: &Filter) -> Result<FilterId, ringway_port::Error> {
        self.alive()?;
        let added = self.steering.add(&self.information.name, &self.running.registers, filter);
        self.totals.filters(&self.running.registers);
        Ok(added?)
    }

    fn remove_filter(&mut self, filter: FilterId) -> Result<(), ringway_port::Error> {
        self.alive()?;
        let removed = self.steering.remove(&self.information.name, &self.running.registers, filter);
        self.totals.filters(&self.running.registers);
        Ok(removed?)
    }

    fn add_vlan(&mut self, vlan: u16) -> Result<(), ringway_port::Error> {
        self.set_vlan(vlan, true).map(drop)
    }

    fn remove_vlan(&mut self, vlan: u16) -> Result<(), ringway_port::Error> {
        if self.set_vlan(vlan, false)? {
            return Ok(());
        }
        Err(self.refused("removing a VLAN", format!("{vlan} was not added")))
    }

    fn pause(&mut self) -> Result<Pause, ringway_port::Error> {
        self.alive()?;
        Ok(pause::read(&self.running.registers))
    }

    fn set_pause(&mut self, pause: Pause) -> Result<(), ringway_port::Error> {
        self.alive()?;
        let queues = self.receive.len() as u16;
        pause::set(&self.running.registers, self.device.mac, queues, pause);
        Ok(())
    }

    fn set_moderation(&mut self, queue: u16, interval: Duration) -> Result<(), ringway_port::Error> {
        const FEATURE: &str = "holding interrupts back";
        self.alive()?;
        if self.link_interrupt.is_none() {
            return Err(self.refused(FEATURE, "the port was opened without interrupts".to_owned()));
        }
        if usize::from(queue) >= self.receive.len() {
            let last = self.receive.len().saturating_sub(1);
            return Err(self.refused(FEATURE, format!("there is no receive queue {queue}, only 0 to {last}")));
        }
        if interval > interrupts::longest() {
            let (longest, wanted) = (interrupts::longest().as_micros(), interval.as_micros());
            return Err(self.refused(FEATURE, format!("at most for {longest} µs, not for {wanted}")));
        }
        interrupts::set_moderation(&self.running, queue.into(), interval);
        Ok(())
    }

    fn link_interrupt(&self) -> Option<&Arc<OwnedFd>> {
        self.link_interrupt.as_ref()
    }

    fn clock(&mut self) -> Result<u64, ringway_port::Error> {
        self.alive()?;
        let now = self.clock.read();
        self.alive()?;
        Ok(now)
    }

    fn set_clock(&mut self, nanoseconds: u64) -> Result<(), ringway_port::Error> {
        self.alive()?;
        self.clock.set(nanoseconds);
        Ok(())
    }

    fn registers(&mut self) -> Result<Vec<(String, u32)>, ringway_port::Error> {
        self.alive()?;
        let (receive, transmit) = (self.receive.len() as u64, self.transmit.len() as u64);
        let values = dump::read(&self.running.registers, receive, transmit);
        self.alive()?;
        Ok(values)
    }

    fn eeprom(&mut self) -> Result<Vec<u8>, ringway_port::Error> {
        self.alive()?;
        if self.device.mac != Mac::I82599 {
            let reason = "X540 and X550 have it behind locks and firmware that the driver doesn't speak to";
            return Err(self.refused("reading the EEPROM", reason.to_owned()));
        }
        Ok(reset::eeprom(&self.information.name, &self.running.registers)?)
    }

    fn module_eeprom(&mut self) -> Result<Vec<u8>, ringway_port::Error> {
        self.alive()?;
        if self.device.media != Media::Fibre {
            let reason = format!("{} has no cage for one", self.device.name);
            return Err(self.refused("reading a module's memory", reason));
        }
        Ok(sfp::read_memories(&self.information.name, &self.running.registers)?)
    }

    fn set_identify(&mut self, on: bool) -> Result<(), ringway_port::Error> {
        self.alive()?;
        // All four lights: which of them are wired is the board's affair (section 8.2.3.1.6).
        let light = register::LEDCTL_ON | register::LEDCTL_BLINK;
        match (on, self.lights) {
            (true, None) => {
                self.lights = Some(self.running.registers.read(register::LEDCTL));
                self.running.registers.write(register::LEDCTL, u32::from_le_bytes([light as u8; 4]));
            }
            (false, Some(before)) => {
                self.running.registers.write(register::LEDCTL, before);
                self.lights = None;
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), ringway_port::Error> {
        self.alive()?;
        if self.running.function.removal_requested() {
            return Err(ringway_port::Error::WantedBack { port: self.information.name.clone() });
        }
        if self.offloads.contains(Offloads::TIMESTAMP) {
            self.clock.free_stamp();
        }
        if self.totals.keep(&self.running.registers) {
            // The clock's counter must be read before it wraps too, and none wraps sooner than those of bytes.
            self.clock.read();
        }
        // Whoever reset the device took the driver's mark away.
        if self.running.registers.read(register::CTRL_EXT) & register::CTRL_EXT_DRIVER_LOADED == 0 {
            return Err(ringway_port::Error::Failed {
                port: self.information.name.clone(),
                reason: "someone else has reset it".to_owned(),
            });
        }
        Ok(())
    }
}
