//! All workers of a run: started together, stopped together.

use super::counters::{TaskCounters, TaskCounts};
use super::direction::{Touch, WhenFull};
use super::moderation::Moderation;
use super::shared::{Event, Shared};
use super::sleep::Sleeper;
use super::task::Task;
use super::worker::{Failure, Worker};
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

/// How packets are moved.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most packets that are moved at once, 1 to 256.
    pub batch: usize,
    /// What is done with a packet's bytes.
    pub touch: Touch,
    /// What happens to packets that the transmit ring has no room for.
    pub when_full: WhenFull,
    /// The number of forwarded packets after which the run ends, if it does.
    pub packets: Option<u64>,
    /// The processors that workers are pinned to: one worker each. Empty: one worker, not pinned.
    pub cores: Vec<usize>,
    /// Sleeping while nothing comes, with queues that have interrupts. `None`: workers poll.
    pub interrupts: Option<Interrupts>,
}

/// How workers sleep while nothing comes.
#[derive(Clone, Copy, Debug)]
pub struct Interrupts {
    /// How long a worker polls on without packets before it sleeps.
    pub idle: Duration,
    /// How often the devices may interrupt.
    pub moderation: Moderation,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: 32,
            touch: Touch::default(),
            when_full: WhenFull::default(),
            packets: None,
            cores: Vec::new(),
            interrupts: None,
        }
    }
}

type Thread = JoinHandle<(Vec<Box<dyn Task>>, Result<(), Failure>)>;

/// The running workers. Dropped without [`join`](Self::join), they are told to stop and waited for all the same.
#[derive(Debug)]
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    counters: Vec<Arc<TaskCounters>>,
}

/// What is left when all workers have ended.
#[derive(Debug)]
pub struct Ended {
    /// The tasks of workers that did not panic, to be dropped when the caller sees fit.
    pub tasks: Vec<Box<dyn Task>>,
    /// What went wrong, worker by worker.
    pub failures: Vec<Failure>,
}

impl Workers {
    /// Starts a worker for each share of the tasks. The first ones are pinned to the processors of the options, as far as
    /// these go.
    ///
    /// # Errors
    /// When a thread or an event counter can't be had; those that run are stopped.
    pub fn start(
        shares: Vec<Vec<Box<dyn Task>>>,
        options: &Options,
        events: &Sender<Event>,
    ) -> io::Result<Self> {
        let wake = options.interrupts.map(|_| ringway_pci::event_counter()).transpose();
        let wake = wake.map_err(io::Error::other)?;
        let shared = Arc::new(Shared::new(options.packets, wake.clone()));
        let counters = shares.iter().flatten().map(|task| Arc::clone(task.counters())).collect();
        let mut workers = Self { shared, threads: Vec::new(), counters };
        for (index, tasks) in shares.into_iter().enumerate() {
            let name = format!("worker-{index}");
            let worker = Worker {
                name: name.clone(),
                tasks,
                core: options.cores.get(index).copied(),
                sleeper: options
                    .interrupts
                    .zip(wake.clone())
                    .map(|(interrupts, wake)| Sleeper::new(interrupts.idle, wake)),
                shared: Arc::clone(&workers.shared),
                events: events.clone(),
                #[cfg(feature = "fault-injection")]
                panic_after: std::env::var("RINGWAY_TEST_PANIC_AFTER")
                    .ok()
                    .and_then(|number| number.parse().ok()),
            };
            // On an error, `workers` is dropped: those that run are stopped and waited for.
            workers.threads.push(std::thread::Builder::new().name(name).spawn(move || worker.run())?);
        }
        Ok(workers)
    }

    /// The counters of each task, worker by worker.
    pub fn counts(&self) -> Vec<TaskCounts> {
        self.counters.iter().map(|counters| counters.read()).collect()
    }

    /// The counters themselves, to be read after the workers are gone.
    pub fn counters(&self) -> Vec<Arc<TaskCounters>> {
        self.counters.clone()
    }

    /// Stops the workers, waits for them and gives back what they had.
    pub fn join(mut self) -> Ended {
        self.end()
    }

    fn end(&mut self) -> Ended {
        self.shared.stop();
        let mut ended = Ended { tasks: Vec::new(), failures: Vec::new() };
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or("a worker").to_owned();
            match thread.join() {
                Ok((tasks, result)) => {
                    ended.tasks.extend(tasks);
                    ended.failures.extend(result.err());
                }
                Err(payload) => {
                    let message = panic_message(payload.as_ref());
                    ended.failures.push(Failure::Panicked { worker: name, message });
                }
            }
        }
        ended
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

/// Tasks shared out among so many workers, at least one: the first ones get the first tasks, each as many.
pub fn shares(tasks: Vec<Box<dyn Task>>, workers: usize) -> Vec<Vec<Box<dyn Task>>> {
    let most = tasks.len().div_ceil(workers.clamp(1, tasks.len().max(1))).max(1);
    let mut shares: Vec<Vec<Box<dyn Task>>> = Vec::new();
    for task in tasks {
        match shares.last_mut() {
            Some(share) if share.len() < most => share.push(task),
            _ => shares.push(vec![task]),
        }
    }
    shares
}

/// What `panic!` was given.
fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "without a message".to_owned()
    }
}
