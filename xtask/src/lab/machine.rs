//! A guest that is running: booted, commanded, and ended for certain.
//!
//! Its end doesn't depend on the guest: QEMU is killed when the [`Machine`] is dropped, by a deadline of its
//! own, and, with all of the run's processes, when the lab's second half ends (see `isolate`).

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::io::{FdFlags, fcntl_setfd};

use super::accelerator::Accelerator;
use super::archive::Archive;
use super::cards::{self, Card};
use super::configuration::Configuration;
use super::control::{Answer, Control};
use super::plan::Plan;
use super::process::Process;
use super::wire::{End, Wire};
use crate::tool;

/// To the first command. Emulated guests take 5 to 10 s on an idle machine.
const BOOT: Duration = Duration::from_secs(180);
/// For a command that says nothing else.
const COMMAND: Duration = Duration::from_secs(60);
/// A guest that lives longer than this is killed, whatever it does.
const LIFE: Duration = Duration::from_secs(30 * 60);
const MEMORY: &str = "1G";

/// What a guest finds at its next boot besides what its configuration gives it.
#[derive(Clone, Debug, Default)]
pub struct Next {
    /// Further words for the kernel's command line. Of several words for one thing, the last counts.
    pub arguments: Vec<String>,
    /// Files that were kept: path without the leading slash, and contents. The guest has no disk of its own.
    pub files: Vec<(String, Vec<u8>)>,
}

/// What a guest is booted from.
#[derive(Clone, Debug)]
struct Origin {
    plan: Plan,
    accelerator: Accelerator,
    configuration: Configuration,
    name: String,
    boots: u32,
}

/// A running guest.
#[derive(Debug)]
pub struct Machine {
    /// What kind of guest it is.
    pub configuration: Configuration,
    /// The wires on its NICs.
    pub wires: Vec<Wire>,
    /// How long it took to boot.
    pub boot_time: Duration,
    origin: Origin,
    child: Child,
    control: Control,
    console: PathBuf,
    /// What QEMU itself says.
    log: PathBuf,
    broken: bool,
    _deadline: Sender<()>,
    /// The processes that play cards: they end after QEMU.
    cards: Vec<Card>,
}

impl Machine {
    /// Boots a guest and waits until it takes commands. `name` names its log files.
    pub fn boot(
        plan: &Plan,
        accelerator: Accelerator,
        configuration: Configuration,
        name: &str,
    ) -> Result<Self> {
        let origin =
            Origin { plan: plan.clone(), accelerator, configuration, name: name.to_owned(), boots: 1 };
        Self::start(origin, &Next::default())
    }

    /// Ends the guest as a power failure would, and boots it again with what was kept for it.
    pub fn reboot(&mut self, next: &Next) -> Result<()> {
        self.broken = true;
        self.child.kill().context("cannot end QEMU")?;
        self.child.wait()?;
        let mut origin = self.origin.clone();
        origin.boots += 1;
        *self = Self::start(origin, next).context("at the reboot")?;
        Ok(())
    }

    fn start(origin: Origin, next: &Next) -> Result<Self> {
        let start = Instant::now();
        let Origin { plan, accelerator, configuration, .. } = &origin;
        let configuration = *configuration;
        let name = match origin.boots {
            1 => origin.name.clone(),
            boots => format!("{}-reboot-{}", origin.name, boots - 1),
        };
        let name = name.as_str();
        let image = Image::of(plan, configuration, name, &next.files)?;
        let wires = (0..configuration.wires())
            .map(|wire| Wire::create(end(configuration, wire), &plan.busybox))
            .collect::<Result<Vec<_>>>()?;
        let console = plan.logs.join(format!("{name}.console"));
        let log = plan.logs.join(format!("{name}.qemu"));
        let mut command = plan.qemu.command();
        command
            .args(accelerator.arguments())
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-smp", "2", "-m", MEMORY])
            .arg("-object")
            .arg(format!("memory-backend-memfd,id=ram,size={MEMORY},share=on"))
            .arg("-kernel")
            .arg(&plan.kernel.image)
            .arg("-initrd")
            .arg(image.path())
            .arg("-append")
            .arg([&[configuration.kernel_arguments()], next.arguments.as_slice()].concat().join(" "))
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-chardev", "stdio,id=control,signal=off", "-serial", "chardev:control"]);
        let cards = cards::start(plan, configuration, &wires, name)?;
        for (index, wire) in wires.iter().enumerate().filter(|(index, _)| configuration.has_wire(*index)) {
            let descriptors: Vec<String> = wire.queues().map(|tap| tap.as_raw_fd().to_string()).collect();
            let word = if descriptors.len() > 1 { "fds" } else { "fd" };
            command.arg("-netdev").arg(format!("tap,id=wire{index},{word}={}", descriptors.join(":")));
            for tap in wire.queues() {
                fcntl_setfd(tap, FdFlags::empty()).context("cannot let QEMU inherit a TAP")?;
            }
        }
        let sockets: Vec<&Path> = cards.iter().map(Card::socket).collect();
        command.args(configuration.devices(&sockets));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().context("cannot start QEMU")?;
        for tap in wires.iter().flat_map(Wire::queues) {
            fcntl_setfd(tap, FdFlags::CLOEXEC)?;
        }
        let deadline = watch(&child)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("QEMU has no standard streams");
        };
        let mut machine = Self {
            origin,
            configuration,
            wires,
            boot_time: Duration::ZERO,
            child,
            control: Control::new(input, output)?,
            console,
            log,
            broken: false,
            _deadline: deadline,
            cards,
        };
        if let Err(error) = machine.control.wait_ready(BOOT) {
            let (ended, said) = (machine.ended(), machine.qemu_tail(20));
            let console = machine.console_tail(30);
            return Err(error.context(format!(
                "the guest {name} did not boot\n--- {ended}; it said\n{said}\n--- console\n{console}"
            )));
        }
        machine.boot_time = start.elapsed();
        Ok(machine)
    }

    /// Runs a script in the guest, as root, and returns what came of it.
    pub fn run(&mut self, script: &str) -> Result<Answer> {
        self.run_within(script, COMMAND)
    }

    /// The same with a limit of the caller's choice.
    pub fn run_within(&mut self, script: &str, limit: Duration) -> Result<Answer> {
        if self.broken {
            bail!("the guest no longer answers");
        }
        self.control.run(script, limit).map_err(|error| {
            self.broken = true;
            error.context(format!("in the guest: {script}"))
        })
    }

    /// Runs a script that must succeed, and returns its output.
    pub fn check(&mut self, script: &str) -> Result<String> {
        self.check_within(script, COMMAND)
    }

    /// The same with a limit of the caller's choice.
    pub fn check_within(&mut self, script: &str, limit: Duration) -> Result<String> {
        let answer = self.run_within(script, limit)?;
        if answer.status != 0 {
            bail!(
                "in the guest: {script}\n      expected exit status 0, saw {}; it said:\n{}",
                answer.status,
                answer.output
            );
        }
        Ok(answer.output)
    }

    /// What the run was given.
    pub fn plan(&self) -> &Plan {
        &self.origin.plan
    }

    /// A file of the guest's, byte for byte.
    pub fn read_file(&mut self, path: &str, limit: Duration) -> Result<Vec<u8>> {
        let text = self.check_within(&format!("od -An -v -tx1 {path}"), limit)?;
        let byte = |word: &str| u8::from_str_radix(word, 16).with_context(|| format!("no byte: {word:?}"));
        text.split_whitespace().map(byte).collect()
    }

    /// The wire at that place.
    pub fn wire(&self, index: usize) -> Result<&Wire> {
        self.wires.get(index).ok_or_else(|| anyhow!("the guest has no wire {index}"))
    }

    /// Takes away the card that is served at that place: from now on it reads all ones.
    ///
    /// The guest stands still meanwhile, and the server has read all that QEMU sent it: where a server dies over an unread
    /// message, the socket says "connection reset" instead of "end", and QEMU 11.1 aborts over its own error handling
    /// ("error_setv: Assertion `*errp == NULL' failed").
    pub fn lose_card(&mut self, index: usize) -> Result<()> {
        let card =
            self.cards.get_mut(index).ok_or_else(|| anyhow!("the guest has no served card {index}"))?;
        let qemu = Process::of(&self.child)?;
        let outcome = qemu.stop().context("cannot stop QEMU").and_then(|()| card.kill_when_idle());
        // Also where it couldn't be told that it had stopped.
        let goes_on = qemu.go_on().context("cannot let QEMU go on");
        outcome.and(goes_on)
    }

    /// The card that is served at that place.
    pub fn card(&self, index: usize) -> Result<&Card> {
        self.cards.get(index).ok_or_else(|| anyhow!("the guest has no served card {index}"))
    }

    /// Whether the guest still takes commands.
    pub fn answers(&self) -> bool {
        !self.broken
    }

    /// Whether QEMU still runs, or how it ended, in words.
    pub fn ended(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => format!("QEMU has ended by itself ({status})"),
            Ok(None) => "QEMU runs".to_owned(),
            Err(error) => format!("it can't be told whether QEMU runs: {error}"),
        }
    }

    /// The last lines of what QEMU itself said.
    pub fn qemu_tail(&self, lines: usize) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        tool::last_lines(&String::from_utf8_lossy(&bytes), lines)
    }

    /// The last lines of the guest's console.
    pub fn console_tail(&self, lines: usize) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        tool::last_lines(&String::from_utf8_lossy(&bytes).replace('\r', ""), lines)
    }

    /// Where the console is kept.
    pub fn console(&self) -> &Path {
        &self.console
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself; and waiting can't fail for a child that is still ours.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The image of one boot: the plan's own, or a file with several archives, which goes when the guest has read it.
#[derive(Debug)]
enum Image {
    Shared(PathBuf),
    Own(PathBuf),
}

impl Image {
    fn of(
        plan: &Plan,
        configuration: Configuration,
        name: &str,
        files: &[(String, Vec<u8>)],
    ) -> Result<Self> {
        if !configuration.has_userland() && files.is_empty() {
            return Ok(Self::Shared(plan.image.clone()));
        }
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let mut bytes = read(&plan.image)?;
        if configuration.has_userland() {
            bytes.extend(read(&plan.userland)?);
        }
        let mut archive = Archive::new();
        for (path, contents) in files {
            archive.file(path, 0o644, contents);
        }
        bytes.extend(archive.finish());
        let path = plan.logs.join(format!("{name}.image"));
        crate::cache::write_whole(&path, &bytes)?;
        Ok(Self::Own(path))
    }

    fn path(&self) -> &Path {
        let (Self::Shared(path) | Self::Own(path)) = self;
        path
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Self::Own(path) = self {
            // Large, and of no use to anyone who looks for a failure.
            let _ = fs::remove_file(path);
        }
    }
}

/// Kills the process when its life is over, unless the returned handle is dropped before.
fn watch(child: &Child) -> Result<Sender<()>> {
    let process = Process::of(child)?;
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("deadline".to_owned()).spawn(move || {
        if receiver.recv_timeout(LIFE) == Err(RecvTimeoutError::Timeout) {
            // It may have ended just now.
            let _ = process.kill();
        }
    })?;
    Ok(sender)
}

fn end(configuration: Configuration, wire: usize) -> End {
    End {
        address: format!("10.77.0.{}/24", wire + 1),
        hardware_address: format!("02:00:00:00:00:{wire:02x}"),
        offloads: configuration.passes_offloads(wire),
        queues: configuration.queues(wire),
    }
}
