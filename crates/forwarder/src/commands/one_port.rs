//! A command's run on one port: opened, worked on by one task, and given back.

use super::{needs, running};
use crate::cli::RunOptions;
use crate::engine::{Active, Event, Limits, Options, Outcome, Reception, Session, Task, Watch, Workers};
use crate::machine::{cpu, signals::Signals};
use crate::output::Console;
use crate::output::live::{Goal, Live};
use crate::ports::{self, Emulation, OpenPorts, Wiring};
use crate::{Error, PortName};
use ringway_packet::Pool;
use ringway_port::{Information, Link, ReceiveQueue, TransmitQueue};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// An open port, and what it stands on. An emulated one has a generator and a receiver on its wire.
#[derive(Debug)]
pub(super) struct OnePort<'a> {
    options: &'a RunOptions,
    pub(super) console: Console,
    program: Instant,
    /// Until it runs.
    port: Option<Active>,
    information: Information,
    link: Link,
    pub(super) pool: Pool,
    pub(super) emulation: Option<Emulation>,
    events: Sender<Event>,
    receiver: Option<Receiver<Event>>,
    /// From the first moment on a signal ends the run in order.
    _signals: Signals,
}

/// Both queues of the port.
pub(super) type BothQueues = (Box<dyn ReceiveQueue>, Box<dyn TransmitQueue>);

/// How far something is.
pub(super) type Share = Box<dyn Fn() -> Option<f64> + Send>;

/// What a watcher is made of, once the port is up.
pub(super) struct Up<'a> {
    /// When the program was started, and when the task.
    pub(super) program: Instant,
    pub(super) up: Instant,
    pub(super) emulation: Option<&'a mut Emulation>,
}

impl<'a> OnePort<'a> {
    /// Opens a port that receives the frames of `reception`, and says what it is.
    ///
    /// # Errors
    /// When the port, or a processor that is asked for, can't be had.
    pub(super) fn open(
        name: PortName,
        options: &'a RunOptions,
        reception: Reception,
    ) -> Result<(Self, BothQueues), Error> {
        let program = Instant::now();
        let console = Console::new(options.output);
        options.core.map_or(Ok(()), cpu::check)?;
        let buffers = needs::buffers(1, &options.rings, options.batch)?;
        let (events, receiver) = channel();
        let signals = Signals::listen(events.clone()).map_err(Error::System)?;
        let emulation = options.emulate.clone().into();
        let open = running::open_options(&[name], &options.rings, buffers, &emulation, Wiring::Sources)?;
        let OpenPorts { opened, emulation, pool } = ports::open(&[name], &open)?;
        running::say_memory(console, &pool);
        let (ports, queues) = running::activate(console, opened, reception)?;
        let (Some(port), Some(queues)) = (ports.into_iter().next(), queues.into_iter().next()) else {
            return Err(Error::NoPorts);
        };
        let information = port.information().clone();
        running::warn_of_nodes(console, std::slice::from_ref(&information), options.core.as_slice());
        let one = Self {
            options,
            console,
            program,
            link: port.link().clone(),
            port: Some(port),
            information,
            pool,
            emulation,
            events,
            receiver: Some(receiver),
            _signals: signals,
        };
        Ok((one, queues))
    }

    /// What doesn't change while the port is open.
    pub(super) fn information(&self) -> &Information {
        &self.information
    }

    /// The link, as it was when the port was opened.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// What is shown while it runs, and how far it is by the options, or by `share`.
    pub(super) fn live(&self, doing: &str, share: Option<Share>) -> Live {
        let goal = Goal { duration: self.options.duration, packets: self.options.packets, share };
        Live::new(self.console, format!("ringway {doing} {}", self.information.name), goal)
    }

    /// Runs a task on the port, once, until something ends it. With `sources`, what is on an emulated port's wire sends too.
    /// `watch` makes the watcher.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn run<'p, W: Watch>(
        &'p mut self,
        task: Box<dyn Task>,
        sources: bool,
        watch: impl FnOnce(Up<'p>) -> W,
    ) -> Result<Outcome, Error> {
        let (Some(port), Some(receiver)) = (self.port.take(), self.receiver.take()) else {
            return Err(Error::NoPorts);
        };
        let engine = Options {
            packets: self.options.packets,
            cores: self.options.core.into_iter().collect(),
            ..Options::default()
        };
        let workers = Workers::start(vec![vec![task]], &engine, &self.events).map_err(Error::System)?;
        if let Some(emulation) = self.emulation.as_ref().filter(|_| sources) {
            emulation.start_sources();
        }
        let limits = Limits { duration: self.options.duration, interval: self.options.output.interval };
        let session = Session::new(workers, vec![port], vec![0], receiver);
        let up = Up { program: self.program, up: Instant::now(), emulation: self.emulation.as_mut() };
        Ok(session.run(limits, &mut watch(up)))
    }

    /// Gives everything back, and says what didn't come back.
    pub(super) fn leave(self) {
        drop((self.port, self.emulation));
        running::report_memory(self.console, self.pool);
    }
}
