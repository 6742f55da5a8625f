//! The machines that the lab boots: which IOMMU, which devices, at which addresses.
//!
//! A case names the configuration it needs; cases of one configuration share a boot.

use std::fmt;
use std::path::Path;

/// A kind of guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Configuration {
    /// An IOMMU 39 bits wide, two NICs on wires, and the devices that the error cases need.
    Iommu39,
    /// An IOMMU 48 bits wide and two NICs on wires.
    Iommu48,
    /// No IOMMU.
    NoIommu,
    /// Emulated 82599s on both wires, an X540 and an X550 on none; no IOMMU.
    Emulated,
    /// Behind an IOMMU 48 bits wide: emulated 82599s on two wires, a virtio NIC on a third, an X540 and an X550.
    EmulatedIommu,
    /// Behind an IOMMU 48 bits wide: two emulated 82599s between capture files.
    EmulatedFiles,
    /// Behind an IOMMU 48 bits wide: two emulated 82599s, one of which is taken away.
    EmulatedLost,
    /// Behind an IOMMU 48 bits wide: virtio NICs that differ in what they offer ([`MODES`]), on wires that pass requests for
    /// checksums and segments on.
    VirtioModes,
    /// A small Debian machine: its own udev, kmod, PAM, su and sudo. An IOMMU 48 bits wide, two NICs on wires,
    /// [`THIRD`] and [`DEBIAN_GROUPED`].
    Debian,
}

/// The NIC on the first wire.
pub const FIRST: &str = "0000:01:00.0";
/// The NIC on the second wire.
pub const SECOND: &str = "0000:02:00.0";
/// What the NICs of [`Configuration::VirtioModes`] offer, by the wires that they are on; all have addresses as if they were
/// [`FIRST`], [`SECOND`] and so on.
pub const MODES: [&str; 6] = [
    ",mq=on,vectors=10,rss=on,hash=on,queue_reset=on",
    ",mq=on,vectors=10,rss=on,hash=on,queue_reset=on",
    ",mrg_rxbuf=off",
    ",event_idx=off,mq=on,vectors=10",
    ",indirect_desc=off",
    ",mrg_rxbuf=off,event_idx=off,indirect_desc=off",
];
/// A NIC on no wire, of [`Configuration::Debian`].
pub const THIRD: &str = "0000:03:00.0";
/// Two virtio NICs in one IOMMU group, of [`Configuration::Debian`].
pub const DEBIAN_GROUPED: [&str; 2] = ["0000:05:01.0", "0000:05:02.0"];
/// A virtio NIC without `VIRTIO_F_ACCESS_PLATFORM`: it bypasses the IOMMU.
pub const BYPASSING: &str = "0000:03:00.0";
/// A NIC that Ringway has no driver for (Intel 82574L).
pub const FOREIGN: &str = "0000:04:00.0";
/// A virtio NIC of the old kind only, which bypasses the IOMMU too.
pub const LEGACY: &str = "0000:05:00.0";
/// A device that is no NIC (virtio entropy).
pub const NOT_A_NIC: &str = "0000:06:00.0";
/// A virtio NIC without the control queue, on the wire [`PLAIN_WIRE`].
pub const PLAIN: &str = "0000:07:00.0";
/// The wire on [`PLAIN`].
pub const PLAIN_WIRE: usize = 2;
/// The virtio NIC beside emulated 82599s, on the wire [`BESIDE_WIRE`].
pub const BESIDE: &str = "0000:03:00.0";
/// The wire on [`BESIDE`].
pub const BESIDE_WIRE: usize = 2;
/// The emulated X540 and X550, behind an IOMMU.
pub const COPPER: [&str; 2] = ["0000:04:00.0", "0000:05:00.0"];
/// An address with nothing there.
pub const NOTHING: &str = "0000:1f:00.0";
/// Two virtio NICs behind a conventional PCI bridge: one IOMMU group.
pub const GROUPED: [&str; 2] = ["0000:09:01.0", "0000:09:02.0"];

/// How a NIC on a wire is offered.
const WIRED: &str = "virtio-net-pci,disable-legacy=on,iommu_platform=on,romfile=";

/// A NIC that leads nowhere.
const UNWIRED: &str = "virtio-net-pci,disable-legacy=on,iommu_platform=on,romfile=";

/// What one device of the machine is, in QEMU's words.
#[derive(Debug)]
enum Device {
    /// On a root port of its own, served by a process of ours (see `cards`).
    Served(Served),
    /// A NIC on a root port of its own, with the n-th wire behind it and further properties.
    Wired(usize, &'static str),
    /// On a root port of its own.
    Alone(&'static str),
    /// Several behind one conventional bridge, which has a root port.
    Bridged(&'static [&'static str]),
}

/// A card that `ringway model serve` plays.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// Which one, as `--device` names it.
    pub device: &'static str,
    /// What is behind it.
    pub plug: Plug,
}

/// What a served card is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// The n-th wire.
    Wire(usize),
    /// Capture files (see `cards`).
    Files,
    /// Nothing.
    Nothing,
}

impl Configuration {
    /// Whether the machine has an IOMMU and how many bits of address it takes.
    pub fn address_bits(self) -> Option<u32> {
        match self {
            Self::Iommu39 => Some(39),
            Self::Iommu48
            | Self::EmulatedIommu
            | Self::EmulatedFiles
            | Self::EmulatedLost
            | Self::VirtioModes
            | Self::Debian => Some(48),
            Self::NoIommu | Self::Emulated => None,
        }
    }

    /// The cards that are played by processes of ours, in the order of their root ports.
    pub fn served(self) -> Vec<Served> {
        let served = |device| match device {
            Device::Served(served) => Some(served),
            _ => None,
        };
        self.layout().into_iter().filter_map(served).collect()
    }

    /// Whether QEMU has the wire, for a NIC of its own.
    pub fn has_wire(self, wire: usize) -> bool {
        self.served().iter().all(|card| card.plug != Plug::Wire(wire))
    }

    /// How many wires it has.
    pub fn wires(self) -> usize {
        let wired = |device: &&Device| match device {
            Device::Wired(..) => true,
            Device::Served(served) => matches!(served.plug, Plug::Wire(_)),
            _ => false,
        };
        self.layout().iter().filter(wired).count()
    }

    /// Whether its wires pass requests for checksums and segments on, instead of having the kernel fulfil them before.
    pub fn passes_offloads(self) -> bool {
        self == Self::VirtioModes
    }

    /// How many queues the TAP of a wire has.
    pub fn queues(self, wire: usize) -> usize {
        let several = MODES.get(wire).is_some_and(|offered| offered.contains("mq=on"));
        if self == Self::VirtioModes && several { 4 } else { 1 }
    }

    /// The kernel's arguments.
    pub fn kernel_arguments(self) -> String {
        // Without the timer's check at boot, which an emulated processor on a busy machine may fail.
        let common = "console=ttyS0 quiet panic=-1 rdinit=/init no_timer_check nowatchdog";
        let huge = if self.reserves_huge_pages() { " hugepages=64" } else { "" };
        match self.address_bits() {
            Some(_) => format!("{common} intel_iommu=on iommu=nopt{huge}"),
            None => common.to_owned(),
        }
    }

    /// Whether its kernel keeps huge pages (64 of 2 MiB) for those who ask.
    pub fn reserves_huge_pages(self) -> bool {
        self == Self::Iommu48
    }

    /// Whether its guest has Debian's own programs (see `userland`).
    pub fn has_userland(self) -> bool {
        self == Self::Debian
    }

    /// QEMU's arguments for the IOMMU and the devices; `sockets` are those of the served cards, in their order.
    pub fn devices(self, sockets: &[&Path]) -> Vec<String> {
        let mut sockets = sockets.iter();
        let mut arguments = Vec::new();
        let mut device = |text: String| arguments.extend(["-device".to_owned(), text]);
        if let Some(bits) = self.address_bits() {
            device(format!("intel-iommu,intremap=on,caching-mode=on,aw-bits={bits}"));
        }
        for (index, kind) in self.layout().into_iter().enumerate() {
            let port = index + 1;
            device(format!("pcie-root-port,id=port{port},chassis={port},slot={port},addr={:#x}", port + 1));
            match kind {
                Device::Wired(wire, further) => {
                    let address = guest_address(wire);
                    device(format!("{WIRED},bus=port{port},netdev=wire{wire},mac={address}{further}"));
                }
                Device::Served(_) => {
                    let path = sockets.next().map(|path| path.display().to_string()).unwrap_or_default();
                    // It has to be JSON: the other syntax can't name a socket.
                    device(format!(
                        r#"{{"driver":"vfio-user-pci","bus":"port{port}","socket":{{"type":"unix","path":"{path}"}}}}"#
                    ));
                }
                Device::Alone(text) => device(format!("{text},bus=port{port}")),
                Device::Bridged(several) => {
                    device(format!("pcie-pci-bridge,id=bridge{port},bus=port{port}"));
                    for (slot, text) in several.iter().enumerate() {
                        device(format!("{text},bus=bridge{port},addr={:#x}", slot + 1));
                    }
                }
            }
        }
        arguments
    }

    fn layout(self) -> Vec<Device> {
        let served = |device, plug| Device::Served(Served { device, plug });
        match self {
            Self::Emulated => {
                return vec![
                    served("82599", Plug::Wire(0)),
                    served("82599-kx4", Plug::Wire(1)),
                    served("x540", Plug::Nothing),
                    served("x550", Plug::Nothing),
                ];
            }
            Self::EmulatedIommu => {
                return vec![
                    served("82599", Plug::Wire(0)),
                    served("82599-kx4", Plug::Wire(1)),
                    Device::Wired(BESIDE_WIRE, ""),
                    served("x540", Plug::Nothing),
                    served("x550", Plug::Nothing),
                ];
            }
            Self::EmulatedFiles => {
                return vec![served("82599", Plug::Files), served("82599-kx4", Plug::Files)];
            }
            Self::EmulatedLost => {
                return vec![served("82599", Plug::Wire(0)), served("82599", Plug::Wire(1))];
            }
            Self::VirtioModes => {
                return MODES.iter().enumerate().map(|(wire, offers)| Device::Wired(wire, offers)).collect();
            }
            Self::Iommu39 | Self::Iommu48 | Self::NoIommu | Self::Debian => {}
        }
        let mut layout = vec![Device::Wired(0, ""), Device::Wired(1, "")];
        if self == Self::Debian {
            layout.extend([Device::Alone(UNWIRED), Device::Bridged(&[UNWIRED, UNWIRED])]);
        }
        if self == Self::Iommu39 {
            layout.extend([
                Device::Alone("virtio-net-pci,disable-legacy=on,romfile="),
                Device::Alone("e1000e,romfile="),
                Device::Alone("virtio-net-pci,disable-modern=on,disable-legacy=off,romfile="),
                Device::Alone("virtio-rng-pci,disable-legacy=on,iommu_platform=on"),
                Device::Wired(
                    PLAIN_WIRE,
                    ",ctrl_vq=off,ctrl_rx=off,ctrl_rx_extra=off,ctrl_vlan=off,ctrl_mac_addr=off,\
                     ctrl_guest_offloads=off,guest_announce=off",
                ),
                Device::Bridged(&[UNWIRED, UNWIRED]),
            ]);
        }
        layout
    }
}

/// The Ethernet address of the guest's NIC on a wire.
pub fn guest_address(wire: usize) -> String {
    format!("02:00:00:00:01:{wire:02x}")
}

/// The same in bytes.
pub fn guest_octets(wire: usize) -> [u8; 6] {
    [0x02, 0x00, 0x00, 0x00, 0x01, wire as u8]
}

impl fmt::Display for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Iommu39 => "iommu-39",
            Self::Iommu48 => "iommu-48",
            Self::NoIommu => "no-iommu",
            Self::Emulated => "emulated",
            Self::EmulatedIommu => "emulated-iommu",
            Self::EmulatedFiles => "emulated-files",
            Self::EmulatedLost => "emulated-lost",
            Self::VirtioModes => "virtio-modes",
            Self::Debian => "debian",
        })
    }
}
