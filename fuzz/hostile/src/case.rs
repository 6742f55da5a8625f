//! One case: a port is opened on a device that lies, program and device take turns, the port is closed, and the same device,
//! honest again, has to work.

use crate::lies::{Honest, Kind, Liar, Lies};
use crate::memory::{Memory, Violation};
use crate::program::Program;
use crate::script::Script;
use ringway_dma::AddressSpace;
use ringway_packet::{Batch, Pool, PoolOptions};
use ringway_pci::{Backend, Function, Width};
use ringway_port::{Opened, PortOptions};
use std::sync::Arc;

/// The name of the device of each case: every error must carry it.
pub const NAME: &str = "0000:03:00.0";
/// Buffers of a case's pool.
const BUFFERS: u32 = 192;
/// Turns of a case at most.
const TURNS: usize = 400;

/// What was seen in a case without a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Lies that were told, strikes at memory, knobs that were turned.
    pub faults: u64,
    /// Errors that the program was given.
    pub errors: u64,
    /// Packets that were counted as bad.
    pub drops: u64,
    /// Accesses to memory that were refused.
    pub refused: u64,
    /// Whether the port opened at all.
    pub opened: bool,
}

/// What the two devices have in common.
pub trait Model {
    /// Which it is.
    const KIND: Kind;

    /// A device, of a kind and with options that the script chooses; and how its port is to be opened.
    fn create(space: &AddressSpace, script: &mut Script<'_>) -> (Self, Arc<dyn Backend>, PortOptions)
    where
        Self: Sized;
    /// The driver's start.
    ///
    /// # Errors
    /// As it says.
    fn open(function: Function, pool: &Pool, options: &PortOptions) -> Result<Opened, String>;
    /// A turn of the device.
    fn step(&mut self);
    /// A frame from the wire.
    fn inject(&mut self, frame: &[u8], script: &mut Script<'_>);
    /// A frame that it sent.
    fn take_sent(&mut self) -> Option<Vec<u8>>;
    /// Turns a knob.
    fn turn_knob(&mut self, script: &mut Script<'_>);
    /// An entry of a ring, as this device writes it, or nearly.
    fn write_ring(&mut self, script: &mut Script<'_>, memory: &mut Memory, areas: &[((u16, u64), u64)]);
    /// Whether it was pulled out, or says that it is.
    fn is_gone(&self) -> bool;
    /// All knobs as they were; what was seen so far is forgotten.
    fn mend(&mut self);
    /// What the driver did wrong since, as the model sees it.
    fn complaints(&self) -> Option<String>;
}

/// Plays a script.
///
/// # Errors
/// What was violated.
pub fn play<M: Model>(bytes: &[u8]) -> Result<Seen, Violation> {
    let mut script = Script::new(bytes);
    let space = AddressSpace::emulated();
    let (mut model, backend, options) = M::create(&space, &mut script);
    let lies = Lies::from_script(&mut script);
    let mut memory = Memory::new(&space, BUFFERS)?;
    let mut seen = Seen::default();
    let function = Function::new(Liar::around(&backend, &lies, M::KIND));
    let opened = function
        .map_err(|error| error.to_string())
        .and_then(|function| M::open(function, &memory.pool, &options));
    match opened {
        Err(error) => {
            seen.errors += 1;
            if !error.contains(NAME) {
                return Err(format!("a start that failed names no port: {error}"));
            }
        }
        Ok(port) => {
            seen.opened = true;
            let mut program = Program::new(&memory, port, NAME);
            for _ in 0..TURNS {
                if script.is_over() {
                    break;
                }
                seen.faults += device_turn(&mut model, &mut script, &mut memory, &lies, &mut program)?;
                program.is_untouched()?;
                memory.check_guards()?;
                program.act(&mut script, &mut memory)?;
            }
            let (errors, drops) = program.end();
            (seen.errors, seen.drops) = (seen.errors + errors, drops);
        }
    }
    let may_lose = lies.may_lose() || model.is_gone();
    memory.check_end(may_lose)?;
    seen.faults += lies.told();
    seen.refused = memory.accesses().1;
    lies.end();
    model.mend();
    works_again(&mut model, &backend, &memory, &options)?;
    if let Some(complaint) = model.complaints() {
        return Err(format!("an honest device complains of its driver: {complaint}"));
    }
    drop((model, backend));
    memory.end()?;
    Ok(seen)
}

/// Something that a device may do, or may not. Returns how many faults that was.
fn device_turn<M: Model>(
    model: &mut M,
    script: &mut Script<'_>,
    memory: &mut Memory,
    lies: &Lies,
    program: &mut Program,
) -> Result<u64, Violation> {
    match script.byte() % 24 {
        0..7 => model.step(),
        7..11 => {
            let length = if script.byte() % 8 == 1 { 60 + script.below(9000) } else { 60 };
            let mut frame = vec![script.byte(); length];
            let head = script.take(script.clone().below(32));
            frame.iter_mut().zip(head).for_each(|(place, &byte)| *place = byte);
            if script.byte() & 1 == 0 {
                own(&mut frame);
            }
            model.inject(&frame, script);
        }
        11..13 => {
            memory.strike(script, &lies.areas())?;
            return Ok(1);
        }
        13..18 => {
            model.write_ring(script, memory, &lies.areas());
            return Ok(1);
        }
        18 => {
            lies.interrupt(script.byte().into());
            return Ok(1);
        }
        19 => {
            let width = [Width::Byte, Width::Word, Width::Double][script.below(3)];
            let offset = if script.byte() & 1 == 0 { script.half() } else { script.half() % 64 };
            let offset = u64::from(offset) + if script.byte() % 4 == 1 { 0x10000 } else { 0 };
            lies.spoil(offset, width, script.edge());
            return Ok(1);
        }
        20..22 => {
            model.turn_knob(script);
            return Ok(1);
        }
        22 => {
            // What changed before this is still found out.
            program.is_untouched()?;
            program.withstand(memory, script)?;
            return Ok(1);
        }
        _ => {}
    }
    Ok(0)
}

/// The address that both models have.
pub const OWN: [u8; 6] = [2, 0, 0, 0x82, 0x59, 0x90];

/// To the device's own address.
fn own(frame: &mut [u8]) {
    if let Some(address) = frame.first_chunk_mut() {
        *address = OWN;
    }
}

/// The next start: packets pass in both directions, whole, and all buffers come back.
fn works_again<M: Model>(
    model: &mut M,
    backend: &Arc<dyn Backend>,
    memory: &Memory,
    options: &PortOptions,
) -> Result<(), Violation> {
    // What was lost of the first pool may leave too little in it.
    let pool = Pool::new(&memory.space, PoolOptions { buffers: BUFFERS, ..PoolOptions::default() })
        .map_err(|error| format!("no second pool: {error}"))?;
    let options = PortOptions { receive_queues: 1, transmit_queues: 1, ..options.clone() };
    let function = Function::new(Box::new(Honest(Arc::clone(backend)))).map_err(|error| error.to_string())?;
    let opened = M::open(function, &pool, &options);
    let mut port = opened.map_err(|error| format!("the next start fails: {error}"))?;
    while model.take_sent().is_some() {}
    let (Some(receive), Some(transmit)) = (port.receive.first_mut(), port.transmit.first_mut()) else {
        return Err("the next start gives no queue".to_owned());
    };
    let mut batch = Batch::new(&pool, 8);
    for number in 0..20u8 {
        let mut frame = vec![number; 60 + usize::from(number)];
        own(&mut frame);
        frame.get_mut(12..14).into_iter().for_each(|kind| kind.copy_from_slice(&[0x88, 0xb5]));
        model.inject(&frame, &mut Script::new(&[]));
        let received =
            receive.receive(&mut batch).map_err(|error| format!("after the next start: {error}"))?;
        let data = batch.frame(0).map(|frame| frame.data().to_vec());
        if received != 1 || data.as_deref() != Some(&*frame) {
            return Err(format!("after the next start frame {number} came as {data:?}"));
        }
        let sent = transmit.transmit(&mut batch).map_err(|error| format!("after the next start: {error}"))?;
        model.step();
        let out = model.take_sent();
        if sent != 1 || out.as_deref() != Some(&*frame) {
            return Err(format!("after the next start frame {number} went as {out:?}"));
        }
    }
    drop((port, batch));
    match (pool.available(), pool.lost()) {
        (BUFFERS, 0) => Ok(()),
        (free, lost) => Err(format!("after the next start {free} buffers are free and {lost} lost")),
    }
}
