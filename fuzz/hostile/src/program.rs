//! The program's side of a case: what it holds, and what it does with it. It does nothing wrong; everything that it is told
//! may be.

use crate::memory::{Memory, Violation};
use crate::script::Script;
use ringway_packet::{Batch, Offload, Protocol};
use ringway_port::{
    Error, Filter, FiveTuple, MacAddress, Matching, Opened, Pause, Port, ReceiveQueue, Target, TransmitQueue,
};
use std::time::Duration;

const BATCHES: usize = 3;
const ROOM: usize = 24;

/// A program with an open port.
#[derive(Debug)]
pub struct Program {
    control: Option<Box<dyn Port>>,
    receive: Vec<Box<dyn ReceiveQueue>>,
    transmit: Vec<Box<dyn TransmitQueue>>,
    held: Vec<Batch>,
    name: &'static str,
    digest: u64,
    /// Errors that the port gave.
    pub errors: u64,
    /// Packets that it counted as bad.
    pub drops: u64,
}

impl Program {
    /// With nothing in its hands yet.
    pub fn new(memory: &Memory, port: Opened, name: &'static str) -> Self {
        let held = (0..BATCHES).map(|_| Batch::new(&memory.pool, ROOM)).collect();
        let Opened { control, receive, transmit } = port;
        let mut program =
            Self { control: Some(control), receive, transmit, held, name, digest: 0, errors: 0, drops: 0 };
        program.digest = program.digest_now();
        program
    }

    /// One thing that a program may do.
    pub fn act(&mut self, script: &mut Script<'_>, memory: &mut Memory) -> Result<(), Violation> {
        let index = script.below(BATCHES);
        let outcome = match script.byte() % 20 {
            0..6 => self.receive(script, index),
            6..10 => self.transmit(script, index),
            10 | 11 => {
                self.make(script, index, memory);
                Ok(())
            }
            12 => {
                let queue = script.below(self.transmit.len());
                self.transmit.get_mut(queue).map_or(Ok(()), |queue| queue.reclaim().map(drop))
            }
            13..16 => self.control(script),
            16 => {
                let queue = script.below(self.receive.len());
                if let Some(queue) = self.receive.get_mut(queue) {
                    if script.byte() & 1 == 0 {
                        queue.enable_interrupt();
                    } else {
                        queue.disable_interrupt();
                    }
                }
                Ok(())
            }
            17 => self.restart(script),
            18 => {
                self.let_go(script);
                Ok(())
            }
            _ => {
                if let Some(batch) = self.held.get_mut(index) {
                    batch.clear();
                }
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.errors += 1;
            let said = error.to_string();
            // A queue whose driver starts none anew doesn't know its port.
            if !said.contains(self.name) && !matches!(error, Error::Unsupported { .. }) {
                return Err(format!("an error names no port: {said}"));
            }
        }
        memory.check(&mut self.held)?;
        self.digest = self.digest_now();
        Ok(())
    }

    /// What the program holds is what it was.
    pub fn is_untouched(&mut self) -> Result<(), Violation> {
        if self.digest_now() == self.digest {
            return Ok(());
        }
        Err("a packet in the program's hands has changed".to_owned())
    }

    /// Has the pool's memory written over while nobody looks at it: packets keep their places and lengths, and the books stay
    /// right, since none of that is in such memory. What the bytes are now is what is looked for from here on.
    pub fn withstand(&mut self, memory: &mut Memory, script: &mut Script<'_>) -> Result<(), Violation> {
        let before = self.shape();
        memory.write_beneath(script)?;
        if self.shape() != before {
            return Err("a packet's place or length came out of memory that devices reach".to_owned());
        }
        memory.check(&mut self.held)?;
        self.digest = self.digest_now();
        Ok(())
    }

    /// Where each piece of what the program holds lies, and how long it is.
    fn shape(&mut self) -> Vec<(usize, usize)> {
        let frames = self.held.iter_mut().flat_map(Batch::frames);
        frames
            .flat_map(|frame| {
                frame.segments().map(|piece| (piece.as_ptr() as usize, piece.len())).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Notes what was counted, and ends.
    pub fn end(mut self) -> (u64, u64) {
        if let Some(statistics) = self.control.as_mut().and_then(|control| control.statistics().ok()) {
            self.drops += statistics.received().errors + statistics.sent().errors;
        }
        (self.errors, self.drops)
    }

    fn receive(&mut self, script: &mut Script<'_>, index: usize) -> Result<(), Error> {
        let queue = script.below(self.receive.len());
        match (self.receive.get_mut(queue), self.held.get_mut(index)) {
            (Some(queue), Some(batch)) => queue.receive(batch).map(drop),
            _ => Ok(()),
        }
    }

    fn transmit(&mut self, script: &mut Script<'_>, index: usize) -> Result<(), Error> {
        let queue = script.below(self.transmit.len());
        match (self.transmit.get_mut(queue), self.held.get_mut(index)) {
            (Some(queue), Some(batch)) => queue.transmit(batch).map(drop),
            _ => Ok(()),
        }
    }

    /// Packets of the program's own, some in pieces, some with a wish.
    fn make(&mut self, script: &mut Script<'_>, index: usize, memory: &Memory) {
        let Some(batch) = self.held.get_mut(index) else { return };
        for _ in 0..1 + script.below(4) {
            let length = 14 + script.below(1700);
            let Ok(mut packet) = memory.pool.packet_from(&vec![script.byte(); length]) else { return };
            for _ in 0..script.byte().saturating_sub(200) / 8 {
                let Ok(more) = memory.pool.packet_from(&[7; 33]) else { break };
                // A packet that can't be made longer goes as it is.
                let _ = packet.frame_mut().chain(more);
            }
            let wish = script.byte();
            if wish & 1 == 1 {
                packet.frame_mut().set_offload(Some(offload(script)));
            }
            if wish & 6 == 2 {
                packet.frame_mut().set_vlan(Some(script.half()));
            }
            // Without room it goes back to its pool.
            let _ = batch.push(packet);
        }
    }

    fn control(&mut self, script: &mut Script<'_>) -> Result<(), Error> {
        let queues = self.receive.len() as u16;
        let Some(control) = &mut self.control else { return Ok(()) };
        let station = MacAddress([2, 1, 1, 1, 1, script.byte()]);
        match script.byte() % 20 {
            0 => control.check(),
            1 => control.link().map(drop),
            2 => control.statistics().map(drop),
            3 => control.set_promiscuous(script.byte() & 1 == 0),
            4 => control.set_all_multicast(script.byte() & 1 == 0),
            5 => control.add_address(station),
            6 => control.remove_address(station),
            7 => control.set_address(station),
            8 => control.take_announcement().map(drop),
            9 => control.scaling().and_then(|scaling| control.set_scaling(&scaling)),
            10 => {
                let matching = match script.byte() % 3 {
                    0 => Matching::EtherType(script.half()),
                    1 => Matching::FiveTuple(FiveTuple { protocol: Some(17), ..FiveTuple::default() }),
                    _ => Matching::Exact(FiveTuple {
                        source_port: Some(script.half()),
                        ..FiveTuple::default()
                    }),
                };
                let target = Target::Queue(u16::from(script.byte()) % queues.max(1));
                let placed = control.add_filter(&Filter { matching, target });
                match placed {
                    Ok(filter) if script.byte() & 1 == 0 => control.remove_filter(filter),
                    other => other.map(drop),
                }
            }
            11 => control.add_vlan(script.half() & 0xfff),
            12 => control.remove_vlan(script.half() & 0xfff),
            13 => control.pause().map(drop),
            14 => control.set_pause(Pause::default()),
            15 => control.set_moderation(script.half() % 4, Duration::from_micros(script.half().into())),
            16 => control.clock().map(drop),
            17 => control.registers().map(drop),
            18 => control.set_identify(script.byte() & 1 == 0),
            _ => {
                if let Some(interrupt) = control.link_interrupt() {
                    std::hint::black_box(interrupt);
                }
                // The module's wires are slow: seldom.
                if script.byte() % 16 == 1 { control.module_eeprom().map(drop) } else { Ok(()) }
            }
        }
    }

    fn restart(&mut self, script: &mut Script<'_>) -> Result<(), Error> {
        if script.byte() & 1 == 0 {
            let queue = script.below(self.receive.len());
            self.receive.get_mut(queue).map_or(Ok(()), |queue| queue.restart())
        } else {
            let queue = script.below(self.transmit.len());
            self.transmit.get_mut(queue).map_or(Ok(()), |queue| queue.restart())
        }
    }

    /// Now and then a handle goes before the others.
    fn let_go(&mut self, script: &mut Script<'_>) {
        match script.byte() {
            0..8 => drop(self.control.take()),
            8..16 => drop(self.receive.pop()),
            16..24 => drop(self.transmit.pop()),
            _ => {}
        }
    }

    /// Of all bytes in the program's hands, and where they are.
    fn digest_now(&mut self) -> u64 {
        let mut sum = 0xcbf2_9ce4_8422_2325u64;
        let mut add = |byte: u64| sum = (sum ^ byte).wrapping_mul(0x100_0000_01b3);
        for batch in &mut self.held {
            for frame in batch.frames() {
                for piece in frame.segments() {
                    add(piece.as_ptr() as u64);
                    let (words, rest) = piece.as_chunks::<8>();
                    words.iter().for_each(|&word| add(u64::from_le_bytes(word)));
                    rest.iter().for_each(|&byte| add(byte.into()));
                }
            }
        }
        sum
    }
}

fn offload(script: &mut Script<'_>) -> Offload {
    let protocols = [
        Protocol::TcpIpv4,
        Protocol::TcpIpv6,
        Protocol::UdpIpv4,
        Protocol::UdpIpv6,
        Protocol::SctpIpv4,
        Protocol::SctpIpv6,
    ];
    let flags = script.byte();
    let likely = flags & 4 == 0;
    let mut place = |right: u16| if likely { right } else { script.half() };
    let (network, transport, payload) = (place(14), place(34), place(54));
    Offload {
        network,
        transport,
        payload,
        segment: if flags & 8 == 0 { 0 } else { script.half() },
        protocol: protocols.get(script.below(protocols.len())).copied().unwrap_or_default(),
        network_checksum: flags & 1 == 1,
        transport_checksum: flags & 2 == 2,
    }
}
