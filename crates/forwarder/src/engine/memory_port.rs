//! Ports in memory, for tests of the engine: no driver, no device, the same traits.
//!
//! What a test gives to a [`Wire`] is received; what the engine sends shows up there. A wire can be told to have
//! little room, to fail, and to panic.

use ringway_packet::{Batch, Packet, Pool};
use ringway_port::{
    Capabilities, Error, Information, Link, MacAddress, Pause, Port, ReceiveCounters, ReceiveQueue,
    Statistics, TransmitCounters, TransmitQueue,
};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The outside of a port.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) name: String,
    pub(crate) incoming: Mutex<VecDeque<Vec<u8>>>,
    pub(crate) outgoing: Mutex<Vec<Vec<u8>>>,
    /// How many packets the transmit ring takes before the device has to send; it sends nothing by itself.
    pub(crate) room: AtomicUsize,
    /// How many packets are in the transmit ring.
    pub(crate) held: AtomicUsize,
    /// Whether the device is gone.
    pub(crate) lost: AtomicBool,
    /// Whether receiving panics.
    pub(crate) panics: AtomicBool,
    pub(crate) promiscuous: AtomicBool,
    /// Whether its transmit queue can be started anew, after which the device sends again.
    pub(crate) restarts: AtomicBool,
    /// Whether it obeys pause frames.
    pub(crate) obeys: AtomicBool,
    /// Whether the cable is out.
    pub(crate) unplugged: AtomicBool,
    /// How often the link was asked for.
    pub(crate) link_asked: AtomicUsize,
    /// What a change of the link makes readable, if anything.
    pub(crate) link_interrupt: Option<Arc<OwnedFd>>,
    /// Whether the next packet interrupts.
    pub(crate) armed: AtomicBool,
    /// The least time between interrupts that was set last, in microseconds.
    pub(crate) moderation: AtomicUsize,
    interrupt: Arc<OwnedFd>,
    /// What was dropped or switched, in order, shared by all wires of a test.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    receive: ReceiveCounters,
    transmit: TransmitCounters,
}

/// A port's parts on a wire.
#[derive(Debug)]
struct Part {
    wire: Arc<Wire>,
    pool: Pool,
    information: Information,
    kind: &'static str,
}

impl Wire {
    pub(crate) fn new(name: &str, log: &Arc<Mutex<Vec<String>>>) -> Arc<Self> {
        Arc::new(Self::polled(name, log))
    }

    /// One whose link interrupts.
    pub(crate) fn interrupting(name: &str, log: &Arc<Mutex<Vec<String>>>) -> Arc<Self> {
        let link_interrupt = Some(ringway_pci::event_counter().unwrap());
        Arc::new(Self { link_interrupt, ..Self::polled(name, log) })
    }

    fn polled(name: &str, log: &Arc<Mutex<Vec<String>>>) -> Self {
        Self {
            name: name.to_owned(),
            incoming: Mutex::default(),
            outgoing: Mutex::default(),
            room: AtomicUsize::new(usize::MAX),
            held: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            promiscuous: AtomicBool::new(false),
            restarts: AtomicBool::new(false),
            obeys: AtomicBool::new(false),
            unplugged: AtomicBool::new(false),
            link_asked: AtomicUsize::new(0),
            link_interrupt: None,
            armed: AtomicBool::new(false),
            moderation: AtomicUsize::new(usize::MAX),
            interrupt: ringway_pci::event_counter().unwrap(),
            log: Arc::clone(log),
            receive: ReceiveCounters::default(),
            transmit: TransmitCounters::default(),
        }
    }

    /// Pulls the cable, or puts it in.
    pub(crate) fn plug(&self, plugged: bool) {
        self.unplugged.store(!plugged, Ordering::Relaxed);
        if let Some(counter) = &self.link_interrupt {
            rustix::io::write(counter, &1u64.to_ne_bytes()).unwrap();
        }
    }

    pub(crate) fn offer(&self, packets: impl IntoIterator<Item = Vec<u8>>) {
        let mut incoming = self.incoming.lock().unwrap();
        incoming.extend(packets);
        if self.armed.swap(false, Ordering::Relaxed) {
            rustix::io::write(&self.interrupt, &1u64.to_ne_bytes()).unwrap();
        }
    }

    pub(crate) fn sent(&self) -> Vec<Vec<u8>> {
        self.outgoing.lock().unwrap().clone()
    }

    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{}: {what}", self.name));
    }

    fn check(&self) -> Result<(), Error> {
        if self.lost.load(Ordering::Relaxed) { Err(Error::Lost { port: self.name.clone() }) } else { Ok(()) }
    }
}

/// Control handle, receive queue and transmit queue of a port on `wire`.
pub(crate) fn open(
    wire: &Arc<Wire>,
    pool: &Pool,
) -> (Box<dyn Port>, Box<dyn ReceiveQueue>, Box<dyn TransmitQueue>) {
    let part = |kind| Part {
        wire: Arc::clone(wire),
        pool: pool.clone(),
        information: Information::new(
            wire.name.clone(),
            "memory",
            "a port in memory".to_owned(),
            MacAddress([2, 0, 0, 0, 0, 1]),
        ),
        kind,
    };
    (Box::new(part("control")), Box::new(part("receive")), Box::new(part("transmit")))
}

impl Drop for Part {
    fn drop(&mut self) {
        self.wire.note(&format!("{} dropped", self.kind));
    }
}

impl Port for Part {
    fn information(&self) -> &Information {
        &self.information
    }

    fn link(&mut self) -> Result<Link, Error> {
        self.wire.link_asked.fetch_add(1, Ordering::Relaxed);
        if self.wire.unplugged.load(Ordering::Relaxed) {
            return Ok(Link::Down { reason: "no cable".to_owned() });
        }
        Ok(Link::Up { speed: None })
    }

    fn statistics(&mut self) -> Result<Statistics, Error> {
        self.wire.check()?;
        let mut statistics = Statistics::default();
        statistics.receive.push(self.wire.receive.read());
        statistics.transmit.push(self.wire.transmit.read());
        Ok(statistics)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.queue_reset = self.wire.restarts.load(Ordering::Relaxed);
        capabilities
    }

    fn pause(&mut self) -> Result<Pause, Error> {
        Ok(Pause { obey: self.wire.obeys.load(Ordering::Relaxed), send: false })
    }

    fn is_promiscuous(&self) -> bool {
        self.wire.promiscuous.load(Ordering::Relaxed)
    }

    fn set_promiscuous(&mut self, on: bool) -> Result<(), Error> {
        self.wire.check()?;
        self.wire.note(if on { "promiscuous" } else { "not promiscuous" });
        self.wire.promiscuous.store(on, Ordering::Relaxed);
        Ok(())
    }

    fn link_interrupt(&self) -> Option<&Arc<OwnedFd>> {
        self.wire.link_interrupt.as_ref()
    }

    fn set_moderation(&mut self, queue: u16, interval: Duration) -> Result<(), Error> {
        assert_eq!(queue, 0);
        self.wire.moderation.store(interval.as_micros() as usize, Ordering::Relaxed);
        Ok(())
    }

    fn check(&mut self) -> Result<(), Error> {
        self.wire.check()
    }
}

impl ReceiveQueue for Part {
    fn receive(&mut self, batch: &mut Batch) -> Result<usize, Error> {
        self.wire.check()?;
        assert!(!self.wire.panics.load(Ordering::Relaxed), "told to panic");
        let mut incoming = self.wire.incoming.lock().unwrap();
        let mut received = 0;
        while batch.room() > 0
            && let Some(bytes) = incoming.pop_front()
        {
            let Ok(packet) = self.pool.packet_from(&bytes) else {
                incoming.push_front(bytes);
                self.wire.receive.starved();
                break;
            };
            batch.push(packet).map_err(|(error, _)| error).unwrap();
            self.wire.receive.received(1, bytes.len() as u64);
            received += 1;
        }
        Ok(received)
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn interrupt(&self) -> Option<&Arc<OwnedFd>> {
        Some(&self.wire.interrupt)
    }

    fn enable_interrupt(&mut self) -> bool {
        let incoming = self.wire.incoming.lock().unwrap();
        self.wire.armed.store(true, Ordering::Relaxed);
        incoming.is_empty()
    }

    fn disable_interrupt(&mut self) {
        self.wire.armed.store(false, Ordering::Relaxed);
    }
}

impl TransmitQueue for Part {
    fn transmit(&mut self, batch: &mut Batch) -> Result<usize, Error> {
        self.wire.check()?;
        let mut packets: Vec<Packet> = std::iter::from_fn(|| batch.pop()).collect();
        let mut sent = 0;
        while let Some(packet) = packets.last() {
            let held = self.wire.held.load(Ordering::Relaxed);
            if held >= self.wire.room.load(Ordering::Relaxed) {
                break;
            }
            self.wire.held.store(held + 1, Ordering::Relaxed);
            self.wire.transmit.sent(1, packet.data().len() as u64);
            self.wire.outgoing.lock().unwrap().push(packet.data().to_vec());
            packets.pop();
            sent += 1;
        }
        while let Some(packet) = packets.pop() {
            batch.push(packet).map_err(|(error, _)| error).unwrap();
        }
        Ok(sent)
    }

    fn reclaim(&mut self) -> Result<usize, Error> {
        self.wire.check()?;
        // Without a limit the device sends at once.
        if self.wire.room.load(Ordering::Relaxed) == usize::MAX {
            return Ok(self.wire.held.swap(0, Ordering::Relaxed));
        }
        Ok(0)
    }

    fn pending(&self) -> usize {
        self.wire.held.load(Ordering::Relaxed)
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.wire.note("restarted");
        self.wire.held.store(0, Ordering::Relaxed);
        self.wire.room.store(usize::MAX, Ordering::Relaxed);
        Ok(())
    }
}
