//! The task of a capture: received packets are copied, and a thread of its own writes them.
//!
//! Contract: the worker never waits for the disk. Copies go through a bounded queue in chunks; when it is full, packets are
//! counted as dropped. When a file can't be written any more, that is told once, and what comes after is counted too, and what
//! had not reached the file before. At the end a file that takes nothing (a pipe that nobody reads, a server that is gone) is
//! waited for a while, and given up.

use crate::engine::{Budget, Round, Task, TaskCounters};
use crate::matching::Match;
use crossbeam_queue::ArrayQueue;
use ringway_packet::Batch;
use ringway_port::{Error, ReceiveQueue};
use ringway_traffic::capture::{Counts, RotatingWriter};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Chunks between worker and writer: with whole batches of full frames about 100 MB.
const CHUNKS: usize = 256;
/// How long the writer sleeps when there is nothing to write.
const NAP: Duration = Duration::from_millis(1);
/// A file that takes nothing for so long at the end is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Copies of packets that were received together.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    packets: Vec<Copied>,
}

/// Where a copy lies in its chunk, from the end of the one before.
#[derive(Clone, Copy, Debug)]
struct Copied {
    /// Since 1970, in nanoseconds.
    time: u64,
    captured: u32,
    length: u32,
}

/// What the two threads share.
#[derive(Debug)]
struct Shared {
    full: ArrayQueue<Chunk>,
    empty: ArrayQueue<Chunk>,
    /// The worker has no more.
    ended: AtomicBool,
    /// Packets that the device had no buffer for, known at the end.
    missed: OnceLock<u64>,
    written: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    left_out: AtomicU64,
    /// Packets of the chunk that is being written, and those that count as written and are not in the file yet.
    in_hand: AtomicU64,
    waiting: [AtomicU64; 2],
    files: AtomicU64,
    failure: Mutex<Option<ringway_traffic::capture::Error>>,
    /// Whether the writer was given up. It may write on one day, but what it does is told no more: its packets are counted as
    /// dropped.
    given_up: Mutex<bool>,
}

impl Shared {
    /// Has the writer take or account for packets; `None` where it was given up.
    fn unless_given_up<T>(&self, account: impl FnOnce() -> T) -> Option<T> {
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        (!*given_up).then(account)
    }
}

/// What became of captured packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Packets in the files.
    pub written: u64,
    /// What is there of them, in bytes.
    pub bytes: u64,
    /// Packets that the writer was too slow for, or that came when it could write no more.
    pub dropped: u64,
    /// Packets that aren't meant.
    pub left_out: u64,
    /// Files begun.
    pub files: u64,
}

/// A capture from outside. Dropped, it waits until everything is written.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// What became of packets so far.
    pub fn read(&self) -> Captured {
        let Shared { written, bytes, dropped, left_out, files, .. } = &*self.shared;
        Captured {
            written: written.load(Ordering::Relaxed),
            bytes: bytes.load(Ordering::Relaxed),
            dropped: dropped.load(Ordering::Relaxed),
            left_out: left_out.load(Ordering::Relaxed),
            files: files.load(Ordering::Relaxed),
        }
    }

    /// Why nothing more is written, once.
    pub fn failure(&self) -> Option<ringway_traffic::capture::Error> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until everything is written, as long as the file takes something: with the counts at the end, and among them the
    /// packets that the device missed, if it knows.
    pub fn finish(&mut self, missed: Option<u64>) {
        if let Some(missed) = missed {
            // Known since the first end, if there are two.
            let _ = self.shared.missed.set(missed);
        }
        self.shared.ended.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        let (mut before, mut since) = (self.read(), Instant::now());
        while !thread.is_finished() {
            let now = self.read();
            if now != before {
                (before, since) = (now, Instant::now());
            } else if since.elapsed() >= PATIENCE {
                // Its thread ends with the process.
                return self.give_up();
            }
            std::thread::sleep(NAP);
        }
        // A panic of the writer leaves what it wrote.
        let _ = thread.join();
    }

    /// Nothing more is written: what waits is lost.
    fn give_up(&self) {
        let Shared { full, dropped, in_hand, failure, given_up, .. } = &*self.shared;
        let mut given_up = given_up.lock().unwrap_or_else(PoisonError::into_inner);
        *given_up = true;
        let mut lost = in_hand.load(Ordering::Relaxed);
        while let Some(chunk) = full.pop() {
            lost = lost.saturating_add(chunk.packets.len() as u64);
        }
        count(dropped, lost);
        let [packets, bytes] = self.shared.waiting.each_ref().map(|number| number.load(Ordering::Relaxed));
        take_back(&self.shared, packets, bytes);
        let reason = format!("it has taken nothing for {} s", PATIENCE.as_secs());
        let error = ringway_traffic::capture::Error::Write { path: self.path.clone(), reason };
        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.finish(None);
    }
}

/// Copies what one queue receives.
#[derive(Debug)]
pub struct Capturing {
    receive: Box<dyn ReceiveQueue>,
    batch: Batch,
    /// At most so many bytes of each packet are kept.
    snap: usize,
    /// Which packets are meant, if not all.
    matching: Option<Match>,
    /// As many as were asked for are there.
    is_over: bool,
    /// A packet in several buffers, in one piece.
    whole: Vec<u8>,
    shared: Arc<Shared>,
    counters: Arc<TaskCounters>,
}

impl Capturing {
    /// From `receive` to `writer`, up to `size` packets at once, of each at most `snap` bytes; only those that are meant.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        receive: Box<dyn ReceiveQueue>,
        size: usize,
        snap: usize,
        matching: Option<Match>,
        writer: RotatingWriter,
    ) -> io::Result<(Self, Capture)> {
        let shared = Arc::new(Shared {
            full: ArrayQueue::new(CHUNKS),
            empty: ArrayQueue::new(CHUNKS),
            ended: AtomicBool::new(false),
            missed: OnceLock::new(),
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            in_hand: AtomicU64::new(0),
            waiting: Default::default(),
            files: AtomicU64::new(1),
            failure: Mutex::new(None),
            given_up: Mutex::new(false),
        });
        let path = writer.path().to_owned();
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || write(&shared, writer)
        })?;
        let batch = Batch::new(receive.pool(), size);
        let capturing = Self {
            receive,
            batch,
            snap,
            matching,
            is_over: false,
            whole: Vec::new(),
            shared: Arc::clone(&shared),
            counters: Arc::default(),
        };
        Ok((capturing, Capture { shared, path, thread: Some(thread) }))
    }

    /// Copies what is meant for the writer. Returns how many packets that were.
    fn copy(&mut self) -> u64 {
        let mut chunk = self.shared.empty.pop().unwrap_or_default();
        let now = wall_clock();
        let mut left_out = 0u64;
        for frame in self.batch.frames() {
            if let Some(matching) = &self.matching {
                let bytes = if frame.total_len() == frame.len() {
                    frame.data()
                } else {
                    self.whole.clear();
                    frame.segments().for_each(|segment| self.whole.extend_from_slice(segment));
                    &self.whole
                };
                if !matching.takes_frame(bytes) {
                    left_out = left_out.wrapping_add(1);
                    continue;
                }
            }
            let (before, length) = (chunk.bytes.len(), frame.total_len());
            for segment in frame.segments() {
                let left = self.snap.saturating_sub(chunk.bytes.len().saturating_sub(before));
                chunk.bytes.extend_from_slice(segment.get(..left).unwrap_or(segment));
            }
            let captured = chunk.bytes.len().saturating_sub(before) as u32;
            let time = frame.timestamp().unwrap_or(now);
            chunk.packets.push(Copied { time, captured, length: length as u32 });
        }
        if left_out > 0 {
            count(&self.shared.left_out, left_out);
        }
        let copied = chunk.packets.len() as u64;
        if copied == 0 {
            // A surplus one is dropped.
            let _ = self.shared.empty.push(chunk);
        } else if let Err(chunk) = self.shared.full.push(chunk) {
            count(&self.shared.dropped, chunk.packets.len() as u64);
        }
        copied
    }
}

impl Task for Capturing {
    fn round(&mut self, budget: Option<&Budget>) -> Result<Round, Error> {
        let received = self.receive.receive(&mut self.batch)?;
        if received == 0 {
            return Ok(Round::default());
        }
        let copied = self.copy();
        self.batch.clear();
        self.counters.handled(received as u64);
        // More may come with the last batch than were asked for.
        let finished = budget.is_some_and(|budget| {
            let claimed = budget.claim(copied);
            budget.settle(0, claimed)
        });
        self.is_over |= finished;
        Ok(Round { received, sent: 0, finished })
    }

    /// What has arrived already is captured too, unless that is more than was asked for.
    fn drain(&mut self, deadline: Instant) -> Result<(), Error> {
        while !self.is_over && self.round(None)?.received > 0 && Instant::now() < deadline {}
        Ok(())
    }

    fn counters(&self) -> &Arc<TaskCounters> {
        &self.counters
    }
}

/// Nanoseconds since 1970.
fn wall_clock() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Two threads may count: once a chunk, so an addition in memory costs nothing.
fn count(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// The writer's thread: until the worker has ended and nothing is left.
fn write(shared: &Shared, mut writer: RotatingWriter) {
    let mut broken = false;
    loop {
        let ended = shared.ended.load(Ordering::Acquire);
        let taken = shared.unless_given_up(|| {
            let chunk = shared.full.pop();
            shared
                .in_hand
                .store(chunk.as_ref().map_or(0, |chunk| chunk.packets.len() as u64), Ordering::Relaxed);
            chunk
        });
        let Some(taken) = taken else { return };
        let Some(mut chunk) = taken else {
            // Nothing to do: what was written shall be seen by others.
            let counted = if ended && !broken { write_counts(shared, &mut writer) } else { Ok(()) };
            let flushed = if broken { Ok(()) } else { counted.and_then(|()| writer.flush()) };
            shared.unless_given_up(|| {
                if note(shared, flushed) {
                    broken = true;
                    let (packets, bytes) = writer.unwritten();
                    take_back(shared, packets, bytes);
                }
                tell_waiting(shared, &writer);
            });
            if ended {
                return;
            }
            std::thread::sleep(NAP);
            continue;
        };
        let was_broken = broken;
        let (mut place, mut packets, mut bytes) = (0usize, 0u64, 0u64);
        for &Copied { time, captured, length } in &chunk.packets {
            let end = place.saturating_add(captured as usize);
            let frame = chunk.bytes.get(place..end).unwrap_or_default();
            place = end;
            if broken {
                break;
            }
            broken = note(shared, writer.write(0, Duration::from_nanos(time), frame, length));
            if !broken {
                packets = packets.saturating_add(1);
                bytes = bytes.saturating_add(captured.into());
            }
        }
        shared.unless_given_up(|| {
            count(&shared.written, packets);
            count(&shared.bytes, bytes);
            count(&shared.dropped, (chunk.packets.len() as u64).saturating_sub(packets));
            if broken && !was_broken {
                let (packets, bytes) = writer.unwritten();
                take_back(shared, packets, bytes);
            }
            tell_waiting(shared, &writer);
            shared.in_hand.store(0, Ordering::Relaxed);
            shared.files.store(writer.files().into(), Ordering::Relaxed);
        });
        chunk.bytes.clear();
        chunk.packets.clear();
        // A surplus one is dropped.
        let _ = shared.empty.push(chunk);
    }
}

/// What the capture saw in all, at its end.
fn write_counts(shared: &Shared, writer: &mut RotatingWriter) -> Result<(), ringway_traffic::capture::Error> {
    let [written, dropped, left_out] =
        [&shared.written, &shared.dropped, &shared.left_out].map(|number| number.load(Ordering::Relaxed));
    let meant = written.saturating_add(dropped);
    let received = meant.saturating_add(left_out);
    let counts = Counts { received, missed: shared.missed.get().copied(), meant, dropped };
    writer.write_counts(0, Duration::from_nanos(wall_clock()), counts)
}

/// For the case that the file takes nothing more.
fn tell_waiting(shared: &Shared, writer: &RotatingWriter) {
    let (packets, bytes) = writer.unwritten();
    for (waiting, number) in shared.waiting.iter().zip([packets, bytes]) {
        waiting.store(number, Ordering::Relaxed);
    }
}

/// Packets that counted as written did not reach the file.
fn take_back(shared: &Shared, packets: u64, bytes: u64) {
    shared.written.fetch_sub(packets, Ordering::Relaxed);
    shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
    count(&shared.dropped, packets);
}

/// Keeps the first failure. Whether there was one.
fn note(shared: &Shared, result: Result<(), ringway_traffic::capture::Error>) -> bool {
    let Err(error) = result else { return false };
    shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory_port::{Wire, open};
    use ringway_dma::AddressSpace;
    use ringway_flow::samples::Kind;
    use ringway_packet::{Pool, PoolOptions};
    use ringway_traffic::capture::{Reader, Rotation};

    #[test]
    fn only_what_is_meant_is_written_and_each_packet_is_counted_once() {
        let pool =
            Pool::new(&AddressSpace::emulated(), PoolOptions { buffers: 256, ..PoolOptions::default() });
        let wire = Wire::new("a", &Arc::default());
        let (_control, receive, _transmit) = open(&wire, &pool.unwrap());
        let frames: Vec<Vec<u8>> =
            Kind::ALL.iter().flat_map(|kind| [kind.packet(1), kind.packet(2)]).collect();
        wire.offer(frames.clone());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.pcapng");
        let matching: Match = "ip,nw_frag=no".parse().unwrap();
        let writer = RotatingWriter::create(&path, &["a"], Rotation::default()).unwrap();
        let (mut task, mut capture) =
            Capturing::start(receive, 8, 65_535, Some(matching.clone()), writer).unwrap();
        task.drain(Instant::now() + Duration::from_secs(60)).unwrap();
        capture.finish(Some(7));
        let expected: Vec<_> = frames.iter().filter(|frame| matching.takes_frame(frame)).cloned().collect();
        assert!(expected.len() > 8 && expected.len() < frames.len() / 2);
        let mut reader = Reader::open(&path).unwrap();
        for frame in &expected {
            assert_eq!(reader.next_whole().unwrap().unwrap().bytes, *frame);
        }
        assert!(reader.next_frame().unwrap().is_none());
        let Captured { written, left_out, dropped, .. } = capture.read();
        assert_eq!((written, dropped), (expected.len() as u64, 0));
        assert_eq!(written + left_out, frames.len() as u64);
    }

    #[test]
    fn a_file_that_was_given_up_and_takes_more_later_counts_each_packet_once() {
        const FRAMES: u64 = 200;
        let pool =
            Pool::new(&AddressSpace::emulated(), PoolOptions { buffers: 256, ..PoolOptions::default() });
        let wire = Wire::new("a", &Arc::default());
        let (_control, receive, _transmit) = open(&wire, &pool.unwrap());
        // More than a pipe holds.
        wire.offer(vec![vec![0x5a; 1400]; FRAMES as usize]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let pipe = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let writer = RotatingWriter::create(&path, &["a"], Rotation::default()).unwrap();
        let (mut task, mut capture) = Capturing::start(receive, 8, 65_535, None, writer).unwrap();
        task.drain(Instant::now() + Duration::from_secs(60)).unwrap();
        capture.finish(None);
        assert!(capture.failure().unwrap().to_string().contains("taken nothing"));
        let before = capture.read();
        assert!(before.dropped > 0 && before.written + before.dropped == FRAMES, "{before:?}");

        // Now somebody reads; the writer ends, and lets go of what it shares with the two others.
        let mut end = std::fs::File::open(&path).unwrap();
        let reader = std::thread::spawn(move || io::copy(&mut end, &mut io::sink()).unwrap());
        let end = Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&capture.shared) > 2 {
            assert!(Instant::now() < end, "the writer didn't end");
            std::thread::sleep(NAP);
        }
        assert_eq!(capture.read(), before);
        drop(pipe);
        assert!(reader.join().unwrap() > 0);
    }
}
