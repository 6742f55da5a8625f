//! The link: bringing it up, and saying why it is down (82599 datasheet, sections 3.7 and 4.6.4).

use crate::devices::{Device, Mac, Media};
use crate::registers::{self as register, Registers};
use crate::sfp::{self, Module};
use ringway_port::Link;

/// Starts to bring the link up. It comes when it comes; [`read`] tells.
pub(crate) fn bring_up(registers: &Registers, device: Device, module: Option<&Module>) {
    match device.media {
        // The firmware does it, and has begun with the reset.
        Media::Copper => {}
        Media::Backplane => registers.set(register::AUTOC, register::AUTOC_RESTART),
        Media::Fibre => {
            registers.clear(register::ESDP, register::ESDP_LASER_OFF);
            let mode = if module.is_some_and(Module::is_gigabit) {
                register::AUTOC_LINK_MODE_1G
            } else {
                register::AUTOC_LINK_MODE_10G_SERIAL
            };
            let others = registers.read(register::AUTOC) & !register::AUTOC_LINK_MODE;
            registers.write(register::AUTOC, others | mode | register::AUTOC_RESTART);
        }
    }
}

/// The link as it is now (section 8.2.3.22.20). A module that was put in since is noted, and set up.
pub(crate) fn read(name: &str, registers: &Registers, device: Device, module: &mut Option<Module>) -> Link {
    // The first reading may still say that the link was down for a moment since the last.
    registers.read(register::LINKS);
    let links = registers.read(register::LINKS);
    if links & register::LINKS_UP != 0 {
        return Link::Up { speed: speed(links, device.mac) };
    }
    let reason = match device.media {
        Media::Fibre => without_signal(name, registers, device, module),
        Media::Copper => "no partner: is the cable in, and the other end up?".to_owned(),
        Media::Backplane => "no partner on the backplane".to_owned(),
    };
    Link::Down { reason }
}

fn without_signal(name: &str, registers: &Registers, device: Device, module: &mut Option<Module>) -> String {
    let found = match sfp::identify(name, registers) {
        Ok(found) => found,
        Err(error) => return error.to_string(),
    };
    let is_new = found != *module;
    *module = found;
    let Some(module) = module else { return "no SFP+ module in the cage".to_owned() };
    if is_new {
        if let Err(error) = sfp::set_up(name, registers, module) {
            return error.to_string();
        }
        bring_up(registers, device, Some(module));
    }
    format!("no signal with the {module}: is the cable in, and the other end up?")
}

/// Bits 29:28, in Mbit/s; X550 adds 2.5 and 5 Gbit/s with bit 27.
fn speed(links: u32, mac: Mac) -> Option<u32> {
    let slower = mac == Mac::X550 && links & (1 << 27) != 0;
    match (links >> register::LINKS_SPEED_SHIFT) & 3 {
        3 if slower => Some(2500),
        3 => Some(10_000),
        2 => Some(1000),
        1 if slower => Some(5000),
        1 => Some(100),
        _ => None,
    }
}
