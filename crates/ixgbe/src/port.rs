//! The control handle.

use crate::devices::Device;
use crate::registers as register;
use crate::running::Running;
use crate::sfp::Module;
use crate::statistics::Totals;
use crate::{Error, filters, link};
use ringway_port::{Information, Link, MacAddress, Port, ReceiveCounters, Statistics, TransmitCounters};
use std::sync::Arc;

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
    running: Arc<Running>,
}

impl Control {
    pub(crate) fn new(
        running: Arc<Running>,
        device: Device,
        module: Option<Module>,
        information: Information,
        (receive, transmit): (Vec<Arc<ReceiveCounters>>, Vec<Arc<TransmitCounters>>),
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
            running,
        }
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
        Ok(link::read(self.running.name(), &self.running.registers, self.device, &mut self.module))
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
            return Err(ringway_port::Error::wanted_back(self.running.name()));
        }
        // A counter of 32 bits must be read before it wraps.
        self.totals.update(&self.running.registers);
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
