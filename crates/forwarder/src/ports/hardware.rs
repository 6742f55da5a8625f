//! Network cards behind VFIO, in one address space.

use super::{OpenOptions, OpenPorts, drivers, make_pool};
use crate::Error;
use ringway_pci::sysfs::Sysfs;
use ringway_pci::{Address, Function, vfio};

/// Opens all of them into the address space of the first.
pub(super) fn open(addresses: &[Address], options: &OpenOptions) -> Result<OpenPorts, Error> {
    // What can be refused by looking is refused before anything is opened.
    addresses.iter().try_for_each(|&address| check(&Sysfs::host(), address))?;
    let mut functions: Vec<Function> = Vec::new();
    for &address in addresses {
        functions.push(match functions.first() {
            None => vfio::open(address)?,
            Some(first) => vfio::open_in(first.address_space(), address)?,
        });
    }
    let Some(first) = functions.first() else { return Err(Error::NoPorts) };
    let pool = make_pool(first.address_space(), options, first.identity().numa_node)?;
    let opened = functions
        .into_iter()
        .enumerate()
        .map(|(index, function)| drivers::open(function, &pool, &options.of_port(index)))
        .collect::<Result<_, _>>()?;
    Ok(OpenPorts { opened, emulation: None, pool })
}

/// Refuses what is no network card, and cards that no driver takes.
fn check(sysfs: &Sysfs, address: Address) -> Result<(), Error> {
    let function = sysfs.function(address)?;
    let name = || address.to_string();
    if !function.is_network() {
        return Err(Error::NotNetwork { name: name(), kind: function.kind() });
    }
    match drivers::driver_for(function.vendor, function.device) {
        Some(_) => Ok(()),
        None => Err(drivers::no_driver(&name(), function.vendor, function.device)),
    }
}
