//! The hostile virtio-net.

use crate::case::{Model, NAME, OWN};
use crate::lies::Kind;
use crate::memory::Memory;
use crate::script::Script;
use ringway_dma::AddressSpace;
use ringway_model::virtio::{Features, Handle, Header, Options, Order, VirtioNet};
use ringway_packet::Pool;
use ringway_pci::{Backend, Function};
use ringway_port::{Offloads, Opened, PortOptions};
use std::sync::Arc;

/// The device, and what its driver was told to set up.
#[derive(Debug)]
pub struct Virtio {
    device: Handle,
    queues: u16,
    ring: u64,
    removed: bool,
}

fn half(script: &mut Script<'_>) -> u16 {
    [0, 1, 4, 16, 34, 1000, 0xffff, script.half()].get(script.below(8)).copied().unwrap_or(0)
}

impl Model for Virtio {
    const KIND: Kind = Kind::Virtio;

    fn create(space: &AddressSpace, script: &mut Script<'_>) -> (Self, Arc<dyn Backend>, PortOptions) {
        let mut missing = 0;
        for feature in [Features::MRG_RXBUF, Features::EVENT_IDX, Features::INDIRECT_DESC, Features::CTRL_VQ]
        {
            if script.once_in(3) {
                missing |= feature;
            }
        }
        let features = Features::default().without(missing);
        let pairs = if missing & Features::CTRL_VQ == 0 { 1 + u16::from(script.byte() & 1) } else { 1 };
        let order = match script.byte() % 3 {
            0 => Order::AsGiven,
            1 => Order::Reversed,
            _ => Order::Shuffled(script.half().into()),
        };
        let mut offloads = Offloads::NONE;
        for (offload, needed) in [
            (Offloads::RECEIVE_CHECKSUM | Offloads::TCP_UDP_CHECKSUM, 0),
            (Offloads::TCP4_SEGMENTATION | Offloads::UDP_SEGMENTATION, 0),
            (Offloads::LARGE_RECEIVE, Features::MRG_RXBUF),
            (Offloads::HASH | Offloads::VLAN_FILTER, Features::CTRL_VQ),
        ] {
            if script.byte() & 1 == 1 && features.has(needed) {
                offloads |= offload;
            }
        }
        let queues = 1 + script.below(pairs.into()) as u16;
        let ring = 2 << script.below(5);
        let ports = PortOptions {
            receive_queues: queues,
            transmit_queues: queues,
            receive_ring: ring,
            transmit_ring: ring,
            interrupts: script.byte() & 1 == 1,
            offloads,
            ..PortOptions::default()
        };
        let options = Options {
            name: NAME.to_owned(),
            mac: OWN,
            order,
            mtu: 9_000,
            queue_pairs: pairs,
            polls: script.once_in(4),
            features,
            ..Options::default()
        };
        let (backend, device) = VirtioNet::create(space, options);
        (Self { device, queues: 2 * queues, ring: ring.into(), removed: false }, Arc::from(backend), ports)
    }

    fn open(function: Function, pool: &Pool, options: &PortOptions) -> Result<Opened, String> {
        ringway_virtio::open(function, pool, options).map_err(|error| error.to_string())
    }

    fn step(&mut self) {
        self.device.step();
    }

    fn inject(&mut self, frame: &[u8], script: &mut Script<'_>) {
        // What is not taken is lost, as on a wire.
        let _ = if script.once_in(3) {
            let header = Header {
                flags: half(script) as u8,
                gso_type: half(script) as u8,
                header_length: half(script),
                gso_size: half(script),
                checksum_start: half(script),
                checksum_offset: half(script),
                hash: u32::from(half(script)),
                hash_report: half(script),
            };
            self.device.inject_as(frame, header)
        } else {
            self.device.inject(frame)
        };
    }

    fn take_sent(&mut self) -> Option<Vec<u8>> {
        self.device.take_sent()
    }

    fn turn_knob(&mut self, script: &mut Script<'_>) {
        let faults = self.device.faults();
        let queue = u16::from(script.byte()) % (self.queues + 1);
        // A control queue that never answers costs five seconds: that has a test of its own.
        let packets = queue % self.queues;
        match script.byte() % 14 {
            0 => faults.stall(packets, script.byte() & 1 == 0),
            1 => faults.hold(packets),
            2 => {
                let order: Vec<usize> = (0..8).map(|_| script.below(8)).collect();
                faults.release(packets, &order);
            }
            3 | 4 => faults.jump_used_index(queue, script.edge() as u16),
            5 | 6 => faults.wrong_id(queue, script.edge()),
            7 | 8 => faults.excess_length(queue, script.edge()),
            9 => faults.duplicate_completion(queue),
            10 => faults.wrong_buffer_count(script.edge() as u16),
            11 => faults.link(script.byte() & 1 == 0),
            12 => faults.interrupt(script.half() % 4),
            _ => match script.byte() {
                1..12 => faults.need_reset(),
                12..20 => {
                    faults.remove();
                    self.removed = true;
                }
                20..24 => faults.insert(),
                _ => {}
            },
        }
    }

    /// Indices and flags more often than the rest: at the start of the driver's and the device's area.
    fn write_ring(&mut self, script: &mut Script<'_>, memory: &mut Memory, areas: &[((u16, u64), u64)]) {
        let Some(&((_, register), base)) = areas.get(script.below(areas.len())) else { return };
        let length = match register {
            32 => self.ring * 16,
            40 => self.ring * 2 + 6,
            _ => self.ring * 8 + 6,
        };
        let offset = if script.byte() & 1 == 0 {
            u64::from(script.byte() & 1) * 2
        } else {
            u64::from(script.half()) % length
        };
        let now = memory.load(base + offset);
        let value = match script.byte() % 4 {
            0 => now.wrapping_add(1 + u16::from(script.byte() % 3)),
            1 => u16::from(script.byte()) % (2 * self.ring as u16),
            2 => now ^ 1 << (script.byte() % 16),
            _ => script.half(),
        };
        memory.store(base + offset, value.into(), 2);
    }

    fn is_gone(&self) -> bool {
        self.removed
    }

    fn mend(&mut self) {
        let faults = self.device.faults();
        faults.clear();
        faults.insert();
        faults.link(true);
        self.device.monitor().clear_violations();
    }

    fn complaints(&self) -> Option<String> {
        self.device.violations().first().map(|violation| format!("{violation:?}"))
    }
}
