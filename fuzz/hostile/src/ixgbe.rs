//! The hostile 82599.

use crate::case::{Model, NAME, OWN};
use crate::lies::Kind;
use crate::memory::Memory;
use crate::script::Script;
use ringway_dma::AddressSpace;
use ringway_model::ixgbe::{Handle, Ixgbe as Maker, Options, Personality};
use ringway_packet::Pool;
use ringway_pci::{Backend, Function};
use ringway_port::{Offloads, Opened, PortOptions};
use std::sync::Arc;

const DONE: u64 = 1;
const END: u64 = 2;

/// The device.
#[derive(Debug)]
pub struct Ixgbe {
    device: Handle,
    ring: u64,
    removed: bool,
    /// Accesses that were refused before it was mended.
    faults_before: u64,
}

impl Model for Ixgbe {
    const KIND: Kind = Kind::Ixgbe;

    fn create(space: &AddressSpace, script: &mut Script<'_>) -> (Self, Arc<dyn Backend>, PortOptions) {
        // A module's words pass slowly over two wires, so most cards here have none.
        let personality = match script.byte() % 8 {
            0 => Personality::Fibre82599,
            1 => Personality::X540,
            2 => Personality::X550,
            _ => Personality::Backplane82599,
        };
        let module = script.byte() & 3 != 3;
        let options = Options { name: NAME.to_owned(), mac: OWN, personality, module, ..Options::default() };
        let queues = 1 + script.below(3) as u16;
        let ring = 64;
        let mut offloads = Offloads::NONE;
        for offload in [
            Offloads::RECEIVE_CHECKSUM | Offloads::VLAN_STRIP,
            Offloads::TCP_UDP_CHECKSUM | Offloads::TCP4_SEGMENTATION,
            Offloads::HASH | Offloads::VLAN_FILTER,
            Offloads::TIMESTAMP,
        ] {
            if script.once_in(3) {
                offloads |= offload;
            }
        }
        let ports = PortOptions {
            // Few buffers are starved: two receive rings of 64 in 192.
            receive_queues: queues.min(2),
            transmit_queues: queues,
            receive_ring: ring,
            transmit_ring: ring,
            maximum_frame: [1518, 1518, 9000][script.below(3)],
            interrupts: script.byte() & 1 == 1,
            offloads,
            ..PortOptions::default()
        };
        let (backend, device) = Maker::create(space, options);
        (Self { device, ring: ring.into(), removed: false, faults_before: 0 }, Arc::from(backend), ports)
    }

    fn open(function: Function, pool: &Pool, options: &PortOptions) -> Result<Opened, String> {
        ringway_ixgbe::open(function, pool, options).map_err(|error| error.to_string())
    }

    fn step(&mut self) {
        self.device.step();
    }

    fn inject(&mut self, frame: &[u8], _script: &mut Script<'_>) {
        // What is not taken is lost, as on a wire.
        let _ = self.device.inject(frame);
    }

    fn take_sent(&mut self) -> Option<Vec<u8>> {
        self.device.take_sent()
    }

    fn turn_knob(&mut self, script: &mut Script<'_>) {
        let monitor = self.device.monitor();
        match script.byte() % 8 {
            0..3 => monitor.set_link(script.byte() & 1 == 0),
            3..5 => monitor.set_module(script.byte() & 1 == 0),
            _ => match script.byte() {
                1..12 => {
                    monitor.remove();
                    self.removed = true;
                }
                12..24 => monitor.insert(),
                _ => {}
            },
        }
    }

    /// A receive descriptor's report, a transmit descriptor's, or an address overwritten.
    fn write_ring(&mut self, script: &mut Script<'_>, memory: &mut Memory, areas: &[((u16, u64), u64)]) {
        let Some(&((_, register), base)) = areas.get(script.below(areas.len())) else { return };
        let slot = base + u64::from(script.byte()) % self.ring * 16;
        let is_transmit = (0x6000..0x8000).contains(&register);
        match script.byte() % 8 {
            0 => memory.store(slot, script.double(), 8),
            1 => memory.store(slot + u64::from(script.byte() % 16), script.word().into(), 4),
            _ if is_transmit => memory.store(slot + 8, DONE << 32 | u64::from(script.word()), 8),
            kind => {
                let length = match kind {
                    2 | 3 => 60,
                    4 => 1024,
                    5 => u64::from(script.half()),
                    _ => [0, 1, 1792, 1793, 2048, 0xffff][script.below(6)],
                };
                let bits = match script.byte() % 4 {
                    0 | 1 => DONE | END,
                    2 => DONE,
                    _ => u64::from(script.word()),
                };
                let tag = u64::from(script.half()) << 48;
                memory.store(slot, script.double(), 8);
                memory.store(slot + 8, tag | length << 32 | bits, 8);
            }
        }
    }

    fn is_gone(&self) -> bool {
        self.removed
    }

    fn mend(&mut self) {
        let monitor = self.device.monitor();
        monitor.insert();
        monitor.set_module(true);
        monitor.set_link(true);
        self.faults_before = monitor.faults();
    }

    fn complaints(&self) -> Option<String> {
        let faults = self.device.faults() - self.faults_before;
        (faults > 0).then(|| format!("{faults} accesses to what it was not lent"))
    }
}
