//! The task of a replay: the frames of a capture file out of one transmit queue, at their own distances or at a rate.
//!
//! A thread of its own reads the file ahead, so that the worker never waits for the disk.

use crate::engine::{Budget, Outlet, Round, Sent, Task, TaskCounters};
use crate::machine::clock;
use crate::output::progress;
use crossbeam_queue::ArrayQueue;
use ringway_packet::{Batch, Pool, Supply};
use ringway_port::{Error, TransmitQueue};
use ringway_traffic::capture::{self, Reader};
use ringway_traffic::pace::{Pace, Pacer};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Frames that are read ahead.
const AHEAD: usize = 4096;
const NAP: Duration = Duration::from_micros(200);
/// What a frame takes in a file beyond its bytes, at least: pcap's record header.
const RECORD: u64 = 16;

/// When frames are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timing {
    /// At the distances of the file, so many times as fast.
    Own(f64),
    /// At a rate, whatever the file says.
    Paced(Pace),
}

/// A frame that waits, and how long after the file's first frame it was captured, in nanoseconds.
#[derive(Debug)]
struct Waiting {
    offset: u64,
    bytes: Vec<u8>,
}

/// What the two threads share.
#[derive(Debug)]
struct Shared {
    ahead: ArrayQueue<Waiting>,
    /// Nobody wants more.
    stopped: AtomicBool,
    /// There is no more.
    ended: AtomicBool,
    /// How often the file was read to its end.
    rounds: AtomicU64,
    /// Frames of one round that a buffer holds, once that is known.
    frames: AtomicU64,
    /// Bytes of the file that were read, all rounds together.
    read: AtomicU64,
    too_long: AtomicU64,
    failure: Mutex<Option<capture::Error>>,
}

/// A replay from outside. Dropped, it ends the reader.
#[derive(Debug)]
pub struct Replay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Frames that were sent.
    counters: Arc<TaskCounters>,
    loops: Option<u64>,
}

impl Replay {
    /// How far it is, to be asked while it goes on: by the frames of the file as soon as they are known, before that by the
    /// bytes that were read. `None`: it goes on for ever.
    pub fn share(&self, path: &Path) -> Box<dyn Fn() -> Option<f64> + Send> {
        let (shared, counters, loops) = (Arc::clone(&self.shared), Arc::clone(&self.counters), self.loops);
        let size = std::fs::metadata(path).map_or(0, |file| file.len());
        Box::new(move || {
            let loops = loops?;
            match shared.frames.load(Ordering::Relaxed) {
                0 => progress::share(shared.read.load(Ordering::Relaxed), size.saturating_mul(loops)),
                frames => progress::share(counters.read().handled, frames.saturating_mul(loops)),
            }
        })
    }

    /// Why the file can't be read on, once.
    pub fn failure(&self) -> Option<capture::Error> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How often the file was sent to its end. The reader is ahead of that.
    pub fn rounds(&self) -> u64 {
        // In the other order than they are written: where there is a round, it is known what it has.
        let read = self.shared.rounds.load(Ordering::Acquire);
        match self.shared.frames.load(Ordering::Relaxed) {
            // Not read to its end yet, or there is nothing in it that could be sent.
            0 => read,
            frames => self.counters.read().handled.checked_div(frames).unwrap_or_default(),
        }
    }

    /// Frames that no buffer holds, which were left out.
    pub fn too_long(&self) -> u64 {
        self.shared.too_long.load(Ordering::Relaxed)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the reader ends the replay early.
            let _ = thread.join();
        }
    }
}

/// Sends what is read.
#[derive(Debug)]
pub struct Replaying {
    transmit: Outlet,
    supply: Supply,
    batch: Batch,
    pacer: Option<Pacer>,
    speed: f64,
    start: Option<u64>,
    made: u64,
    /// Read, and not due yet.
    next: Option<Waiting>,
    shared: Arc<Shared>,
}

impl Replaying {
    /// The frames of `path`, `loops` times over (`None`: for ever), out of `transmit`, up to `size` at once from `pool`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        transmit: Box<dyn TransmitQueue>,
        pool: &Pool,
        size: usize,
        path: PathBuf,
        timing: Timing,
        loops: Option<u64>,
    ) -> io::Result<(Self, Replay)> {
        let shared = Arc::new(Shared {
            ahead: ArrayQueue::new(AHEAD),
            stopped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            read: AtomicU64::new(0),
            too_long: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let room = pool.packet_capacity() as usize;
        let thread = std::thread::Builder::new().name("reader".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                if let Err(error) = read(&shared, &path, loops, room) {
                    shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
                shared.ended.store(true, Ordering::Release);
            }
        })?;
        let (speed, pacer) = match timing {
            Timing::Own(speed) => (speed, None),
            Timing::Paced(pace) => (1.0, Some(Pacer::new(pace, 1))),
        };
        let replaying = Self {
            transmit: Outlet::new(transmit, Sent::Made),
            supply: Supply::new(pool),
            batch: Batch::new(pool, size),
            pacer,
            speed,
            start: None,
            made: 0,
            next: None,
            shared: Arc::clone(&shared),
        };
        let counters = Arc::clone(replaying.counters());
        Ok((replaying, Replay { shared, thread: Some(thread), counters, loops }))
    }

    /// Fills the batch with what is due.
    fn fill(&mut self, wanted: usize) -> Result<usize, Error> {
        let now = clock::now();
        let mut filled = 0usize;
        while filled < wanted {
            let Some(waiting) = self.next.take().or_else(|| self.shared.ahead.pop()) else { break };
            // The clock begins with the first frame.
            let start = *self.start.get_or_insert(now);
            let elapsed = now.saturating_sub(start) as f64;
            let due = match &mut self.pacer {
                Some(pacer) => pacer.due(now) > self.made,
                None => waiting.offset as f64 <= elapsed * self.speed,
            };
            if !due || self.supply.fill(&mut self.batch, 1).map_err(packet)? == 0 {
                self.next = Some(waiting);
                break;
            }
            // A buffer holds it: the reader saw to that.
            if let Some(mut frame) = self.batch.frame(self.batch.len().wrapping_sub(1))
                && let Ok(place) = frame.append(waiting.bytes.len())
            {
                place.copy_from_slice(&waiting.bytes);
            }
            self.made = self.made.saturating_add(1);
            filled = filled.saturating_add(1);
        }
        Ok(filled)
    }

    /// Whether nothing is left.
    fn is_over(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire) && self.next.is_none() && self.shared.ahead.is_empty()
    }
}

fn packet(source: ringway_packet::Error) -> Error {
    Error::Packet { port: "the replay".to_owned(), source }
}

impl Task for Replaying {
    fn round(&mut self, budget: Option<&Budget>) -> Result<Round, Error> {
        if self.batch.is_empty() {
            let room = self.batch.room();
            let claimed = budget.map_or(room as u64, |budget| budget.claim(room as u64));
            let filled = self.fill(claimed as usize)?;
            if let Some(budget) = budget {
                budget.settle(claimed.saturating_sub(filled as u64), 0);
            }
            if filled == 0 {
                self.transmit.idle()?;
                let spent = claimed == 0 && budget.is_some_and(|budget| budget.settle(0, 0));
                return Ok(Round { finished: spent || self.is_over(), ..Round::default() });
            }
        }
        let sent = self.transmit.send(&mut self.batch)?;
        let finished = budget.is_some_and(|budget| budget.settle(0, sent as u64));
        Ok(Round { received: 0, sent, finished })
    }

    fn drain(&mut self, deadline: Instant) -> Result<(), Error> {
        self.transmit.drain(&mut self.batch, deadline)
    }

    fn counters(&self) -> &Arc<TaskCounters> {
        self.transmit.counters()
    }
}

/// The reader's thread.
fn read(shared: &Shared, path: &Path, loops: Option<u64>, room: usize) -> Result<(), capture::Error> {
    let mut round = 0u64;
    // Each round begins where the last one ended, one mean distance on.
    let mut base = 0u64;
    while loops.is_none_or(|loops| round < loops) {
        let mut reader = Reader::open(path)?;
        let (mut first, mut last, mut frames, mut fitting) = (None, 0u64, 0u64, 0u64);
        while let Some(frame) = reader.next_whole()? {
            let time = u64::try_from(frame.time.as_nanos()).unwrap_or(u64::MAX);
            let offset = time.saturating_sub(*first.get_or_insert(time));
            frames = frames.saturating_add(1);
            shared.read.fetch_add((frame.bytes.len() as u64).saturating_add(RECORD), Ordering::Relaxed);
            if frame.bytes.len() > room {
                shared.too_long.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            fitting = fitting.saturating_add(1);
            // Frames may be out of order by their times; none goes back.
            last = last.max(offset);
            let mut waiting = Waiting { offset: base.saturating_add(last), bytes: frame.bytes.into_owned() };
            while let Err(back) = shared.ahead.push(waiting) {
                if shared.stopped.load(Ordering::Relaxed) {
                    return Ok(());
                }
                waiting = back;
                std::thread::sleep(NAP);
            }
        }
        round = round.saturating_add(1);
        shared.frames.store(fitting, Ordering::Relaxed);
        shared.rounds.store(round, Ordering::Release);
        // Again and again it would be nothing, too.
        if fitting == 0 {
            return Ok(());
        }
        base = base.saturating_add(last).saturating_add(last.checked_div(frames).unwrap_or_default());
        if shared.stopped.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Ok(())
}
