//! Forwards between two virtio-net functions with chosen offloads, and looks at each packet: what the lab's table of
//! modes runs. `virtio-modes FIRST SECOND [--offload NAME,…[/NAME,…]] [--queues N] [--vlan N] [--restart MILLISECONDS] --until FILE`
//!
//! It says `forwarding` when both ports are up, ends when the file is there, and prints what it has counted, a word and a
//! number a line: packets without checksum, packets longer than a frame, hashes that aren't `ringway-flow`'s, packets on
//! another queue than the table says. With `--vlan` the ports receive for their own addresses and this VLAN alone.
//! With `--restart` each queue is started anew in turn, so often; a line on standard error says when all were once.

use ringway_flow::{FlowKey, Toeplitz, V3_5};
use ringway_packet::{Batch, Checksum, Pool, PoolOptions};
use ringway_pci::{Address, vfio};
use ringway_port::{Offloads, Opened, PortOptions, Scaling};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match Arguments::read(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Arguments {
    ports: Vec<String>,
    /// Of the first port and the second.
    offloads: [Offloads; 2],
    queues: u16,
    vlan: Option<u16>,
    restart: Option<Duration>,
    until: PathBuf,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut arguments = Self { queues: 1, ..Self::default() };
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                arguments.ports.push(word);
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--offload" => {
                    let (first, second) = value.split_once('/').unwrap_or((&value, &value));
                    arguments.offloads = [offloads(first)?, offloads(second)?];
                }
                "--queues" => arguments.queues = value.parse()?,
                "--vlan" => arguments.vlan = Some(value.parse()?),
                "--restart" => arguments.restart = Some(Duration::from_millis(value.parse()?)),
                "--until" => arguments.until = value.into(),
                _ => return Err(format!("there is no option {word}").into()),
            }
        }
        Ok(arguments)
    }
}

fn offloads(names: &str) -> Outcome<Offloads> {
    let mut offloads = Offloads::NONE;
    for name in names.split(',').filter(|name| !name.is_empty()) {
        offloads |= Offloads::named(name).ok_or_else(|| format!("there is no offload {name}"))?;
    }
    Ok(offloads)
}

/// What was seen on one port.
#[derive(Default)]
struct Seen {
    partial: u64,
    good: u64,
    large: u64,
    longest: usize,
    hashed: u64,
    wrong_hash: u64,
    wrong_queue: u64,
    queues: Vec<u64>,
}

struct Side {
    port: Opened,
    seen: Seen,
    scaling: Option<Scaling>,
    restarts: u64,
}

impl Side {
    fn open(
        name: &str,
        pool: &Pool,
        function: ringway_pci::Function,
        (arguments, offloads): (&Arguments, Offloads),
    ) -> Outcome<Self> {
        let filters = if arguments.vlan.is_some() { Offloads::VLAN_FILTER } else { Offloads::NONE };
        let options = PortOptions {
            receive_queues: arguments.queues,
            transmit_queues: arguments.queues,
            receive_ring: 256,
            transmit_ring: 256,
            offloads: offloads | filters,
            ..PortOptions::default()
        };
        let mut port = ringway_virtio::open(function, pool, &options)?;
        match arguments.vlan {
            Some(vlan) => port.control.add_vlan(vlan)?,
            None => port.control.set_promiscuous(true)?,
        }
        let information = port.control.information();
        eprintln!("{name}: {}", information.features.join(" "));
        eprintln!("{name}: can {}", port.control.capabilities().offloads);
        let scaling = port.control.scaling().ok();
        let seen = Seen { queues: vec![0; arguments.queues.into()], ..Seen::default() };
        Ok(Self { port, seen, scaling, restarts: 0 })
    }

    /// Receives from one queue into the batch, and looks at what came.
    fn receive(&mut self, queue: usize, batch: &mut Batch) -> Outcome<usize> {
        let Self { port, seen, scaling, .. } = self;
        let receive = port.receive.get_mut(queue).ok_or("a queue is missing")?;
        let count = receive.receive(batch)?;
        for frame in batch.frames() {
            seen.longest = seen.longest.max(frame.total_len());
            match frame.checksum() {
                Checksum::Partial => seen.partial += 1,
                Checksum::Good => seen.good += 1,
                _ => {}
            }
            seen.large += u64::from(frame.offload().is_some_and(|request| request.segment > 0));
            if let Some(scaling) = scaling {
                let key = scaling.key.first_chunk::<40>().ok_or("the key is short")?;
                // The parser believes no length beyond what it sees: a long packet is put together for it.
                let whole: Vec<u8> = frame.segments().flatten().copied().collect();
                let expected = FlowKey::<V3_5>::of_frame(&whole).hash_toeplitz(&Toeplitz::new(*key));
                if let Some(hash) = frame.hash() {
                    seen.hashed += 1;
                    seen.wrong_hash += u64::from(expected != Some(hash));
                }
                let entry = expected.map_or(0, |hash| hash as usize % scaling.table.len().max(1));
                let table = scaling.table.get(entry).copied().unwrap_or_default();
                let right = if expected.is_some() { usize::from(table) } else { 0 };
                seen.wrong_queue += u64::from(right != queue);
            }
        }
        if let Some(counted) = seen.queues.get_mut(queue) {
            *counted += count as u64;
        }
        Ok(count)
    }

    fn restart(&mut self, turn: usize) -> Outcome<()> {
        let queues = self.port.receive.len();
        let queue = turn / 2 % queues.max(1);
        if turn.is_multiple_of(2) {
            self.port.receive.get_mut(queue).ok_or("a queue is missing")?.restart()?;
        } else {
            self.port.transmit.get_mut(queue).ok_or("a queue is missing")?.restart()?;
        }
        self.restarts += 1;
        Ok(())
    }

    fn print(&mut self, name: &str) -> Outcome<()> {
        let statistics = self.port.control.statistics()?;
        let (received, sent) = (statistics.received(), statistics.sent());
        let Seen { partial, good, large, longest, hashed, wrong_hash, wrong_queue, queues } = &self.seen;
        for (what, value) in [
            ("received", received.packets),
            ("received-errors", received.errors),
            ("sent", sent.packets),
            ("sent-errors", sent.errors),
            ("partial", *partial),
            ("good", *good),
            ("large", *large),
            ("longest", *longest as u64),
            ("hashed", *hashed),
            ("wrong-hash", *wrong_hash),
            ("wrong-queue", *wrong_queue),
            ("used-queues", queues.iter().filter(|&&count| count > 0).count() as u64),
            ("restarts", self.restarts),
        ] {
            println!("{name} {what} {value}");
        }
        Ok(())
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let [first, second] = &arguments.ports[..] else { return Err("which two functions?".into()) };
    let one = vfio::open(first.parse::<Address>()?)?;
    let other = vfio::open_in(one.address_space(), second.parse::<Address>()?)?;
    let pool = Pool::new(one.address_space(), PoolOptions { buffers: 8192, ..PoolOptions::default() })?;
    let [first, second] = arguments.offloads;
    let mut sides = [
        Side::open("first", &pool, one, (arguments, first))?,
        Side::open("second", &pool, other, (arguments, second))?,
    ];
    eprintln!("forwarding");
    let mut batch = Batch::new(&pool, 32);
    let (mut turns, mut last, mut looked) = (0usize, Instant::now(), Instant::now());
    loop {
        let mut moved = 0;
        for queue in 0..usize::from(arguments.queues) {
            for from in 0..2 {
                let [one, other] = &mut sides;
                let (from, to) = if from == 0 { (one, other) } else { (other, one) };
                moved += from.receive(queue, &mut batch)?;
                let transmit = to.port.transmit.get_mut(queue).ok_or("a queue is missing")?;
                transmit.transmit(&mut batch)?;
                transmit.reclaim()?;
                batch.clear();
            }
        }
        if arguments.restart.is_some_and(|interval| last.elapsed() >= interval) {
            last = Instant::now();
            for side in &mut sides {
                side.restart(turns)?;
            }
            turns += 1;
            // A receive and a transmit queue take a turn each.
            if turns == usize::from(arguments.queues) * 2 {
                eprintln!("restarted every queue");
            }
        }
        if looked.elapsed() >= Duration::from_millis(100) {
            looked = Instant::now();
            if arguments.until.exists() {
                break;
            }
        }
        if moved == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let [one, other] = &mut sides;
    one.print("first")?;
    other.print("second")
}
