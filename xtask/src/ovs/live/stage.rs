//! The stage of the live test: namespaces, virtual cables, and the switch's two daemons.
//!
//! Namespaces with names of this process's own; the switch runs in one of them, so that nothing outside is touched.
//! Closing ends the daemons by their process handles and removes the namespaces.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::source::Switch;
use crate::cache::{self, Cache};
use crate::debian::{self, Closure, Set};
use crate::tool;

const BUSYBOX: Set<'static> = Set {
    name: "busybox",
    suites: &["trixie"],
    prefer: None,
    packages: &["busybox-static"],
    closure: Closure::Named,
    at_least: "1:1.35",
};

pub(in crate::ovs) struct Stage {
    switch: Switch,
    library: Option<PathBuf>,
    busybox: PathBuf,
    folder: PathBuf,
    daemons: Vec<Child>,
}

impl Stage {
    /// A stage for a switch, with `library` preloaded or as it is.
    pub(in crate::ovs) fn open(cache: &Cache, switch: &Switch, library: Option<&Path>) -> Result<Stage> {
        if !rustix::process::geteuid().is_root() {
            bail!("a live switch needs root, for its network namespaces: run this with sudo");
        }
        tool::find("ip", "iproute2")?;
        let unpacked = debian::obtain(cache, &BUSYBOX, false)?;
        let busybox = unpacked.file(&["usr/bin/busybox", "bin/busybox"])?;
        let folder = std::env::temp_dir().join(format!("ringway-ovs-{}", std::process::id()));
        cache::remove_folder(&folder)?;
        cache::create_folder(&folder)?;
        Ok(Stage {
            switch: switch.clone(),
            library: library.map(Path::to_owned),
            busybox,
            folder,
            daemons: Vec::new(),
        })
    }

    /// The name of namespace `a`, `b` or `s` (the switch's).
    fn namespace(&self, which: char) -> String {
        format!("ringway-{}-{which}", std::process::id())
    }

    pub(in crate::ovs) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A busybox program inside a namespace.
    pub(super) fn inside(&self, which: char, program: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(which)]).arg(&self.busybox).args(program);
        command.stdin(Stdio::null());
        command
    }

    /// The switch's namespace, with a cable whose two ends are `loop0` and `loop1`.
    pub(in crate::ovs) fn lay_cable(&self) -> Result<()> {
        self.ip(&["netns", "add", &self.namespace('s')])?;
        for arguments in [
            "link set lo up",
            "link add loop0 type veth peer name loop1",
            "link set loop0 up",
            "link set loop1 up",
        ] {
            self.ip_in('s', arguments)?;
        }
        Ok(())
    }

    /// Namespaces, cables, daemons, bridges.
    pub(super) fn start(&mut self) -> Result<()> {
        self.lay_cable()?;
        for which in ['a', 'b'] {
            self.ip(&["netns", "add", &self.namespace(which)])?;
            self.ip_in(which, "link set lo up")?;
        }
        for (which, outer, addresses) in [
            ('a', "pa", &["10.1.0.1/24"][..]),
            ('b', "pb", &["10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24"][..]),
        ] {
            let namespace = self.namespace(which);
            self.ip_in('s', &format!("link add {outer} type veth peer name e0 netns {namespace}"))?;
            for address in addresses {
                self.ip_in(which, &format!("addr add {address} dev e0"))?;
            }
            self.ip_in(which, "link set e0 up")?;
            self.ip_in('s', &format!("link set {outer} up"))?;
        }
        self.database()?;
        // Segments and checksums that the senders leave to their "NIC" are then the switch's to make.
        self.vsctl("--no-wait set open_vswitch . other_config:userspace-tso-enable=true")?;
        self.vswitchd()?;
        for (bridge, ports) in [("br0", ["pa", "loop0"]), ("br1", ["loop1", "pb"])] {
            let make =
                format!("add-br {bridge} -- set bridge {bridge} datapath_type=netdev fail_mode=secure");
            self.vsctl(&make)?;
            for port in ports {
                self.vsctl(&format!("add-port {bridge} {port}"))?;
            }
        }
        Ok(())
    }

    /// The database and its server.
    pub(in crate::ovs) fn database(&mut self) -> Result<()> {
        let schema = self.switch.source.join("vswitchd/vswitch.ovsschema");
        let mut create = self.program("ovsdb/ovsdb-tool");
        tool::output_of(create.arg("create").arg(self.file("conf.db")).arg(schema))?;
        let mut server = self.program("ovsdb/ovsdb-server");
        server.arg(self.file("conf.db")).arg(format!("--remote=punix:{}", self.file("db.sock").display()));
        server.arg(format!("--unixctl={}", self.file("server.ctl").display()));
        let child = self.spawn(server, "server.log")?;
        self.daemons.push(child);
        let socket = self.file("db.sock");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !socket.exists() {
            if Instant::now() > deadline {
                bail!("ovsdb-server made no socket: {}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.vsctl("--no-wait init").map(drop)
    }

    /// The switch itself.
    pub(in crate::ovs) fn vswitchd(&mut self) -> Result<()> {
        let mut vswitchd = self.program("vswitchd/ovs-vswitchd");
        vswitchd.arg(format!("unix:{}", self.file("db.sock").display()));
        vswitchd.arg(format!("--unixctl={}", self.file("switch.ctl").display())).arg("--disable-system");
        if let Some(library) = &self.library {
            vswitchd.env("LD_PRELOAD", library).env("RINGWAY_FLOW_CALLS", self.file("calls"));
        }
        // Where the AF_XDP library has its programs, and that it is to attach them as they are.
        vswitchd
            .env("LIBXDP_OBJECT_PATH", self.switch.libraries.join("bpf"))
            .env("LIBXDP_SKIP_DISPATCHER", "1");
        let child = self.spawn(vswitchd, "switch.log")?;
        self.daemons.push(child);
        Ok(())
    }

    fn spawn(&self, mut command: Command, log: &str) -> Result<Child> {
        let log = File::create(self.file(log))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("cannot run {}", tool::shown(&command)))
    }

    /// A program of the switch, in the switch's namespace. The real file, not libtool's script around it: so the
    /// process that is started is the one that is ended.
    fn program(&self, path: &str) -> Command {
        let build = &self.switch.build;
        let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
        let hidden = build.join(folder).join(".libs").join(name);
        let real = if hidden.exists() { hidden } else { build.join(path) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace('s')]).arg(real);
        let libraries: Vec<PathBuf> = ["lib/.libs", "ofproto/.libs", "ovsdb/.libs", "vtep/.libs"]
            .iter()
            .map(|folder| build.join(folder))
            .chain([self.switch.libraries.clone()])
            .collect();
        if let Ok(path) = std::env::join_paths(libraries) {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
            .env("OVS_RUNDIR", &self.folder)
            .env("OVS_LOGDIR", &self.folder)
            .env("OVS_DBDIR", &self.folder);
        command
            .env("OVS_SYSCONFDIR", &self.folder)
            .env("OVS_PKGDATADIR", self.switch.source.join("vswitchd"));
        command
    }

    /// Changes or asks the database: words without blanks in them.
    pub(in crate::ovs) fn vsctl(&self, arguments: &str) -> Result<String> {
        let mut command = self.program("utilities/ovs-vsctl");
        command.arg(format!("--db=unix:{}", self.file("db.sock").display())).arg("--timeout=60");
        tool::output_of(command.args(arguments.split(' ')))
    }

    /// Asks the running switch.
    pub(in crate::ovs) fn appctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.program("utilities/ovs-appctl");
        command.args(["--timeout=60", "-t"]).arg(self.file("switch.ctl"));
        tool::output_of(command.args(arguments))
    }

    /// Nanoseconds that the switch's threads of that name have had a processor.
    pub(in crate::ovs) fn processor_time(&self, thread: &str) -> Result<u64> {
        let switch = self.daemons.last().context("no switch runs")?;
        let mut sum = 0;
        // `ip netns exec` becomes the program that it runs: the process is the switch.
        for task in fs::read_dir(format!("/proc/{}/task", switch.id()))? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))?.starts_with(thread) {
                let text = fs::read_to_string(task.join("schedstat"))?;
                let time = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
                sum += time.with_context(|| format!("no time in {}", task.display()))?;
            }
        }
        Ok(sum)
    }

    /// Has the switch send a packet out.
    pub(in crate::ovs) fn packet_out(&self, bridge: &str, what: &str) -> Result<()> {
        let mut command = self.program("utilities/ovs-ofctl");
        command.args(["-O", "OpenFlow13", "--names", "packet-out"]).arg(self.management(bridge)).arg(what);
        tool::output_of(&mut command).map(drop)
    }

    pub(in crate::ovs) fn rule(&self, bridge: &str, rule: &str) -> Result<()> {
        let mut command = self.program("utilities/ovs-ofctl");
        command.args(["-O", "OpenFlow13", "--names", "add-flow"]).arg(self.management(bridge)).arg(rule);
        tool::output_of(&mut command).map(drop)
    }

    fn management(&self, bridge: &str) -> String {
        format!("unix:{}", self.file(&format!("{bridge}.mgmt")).display())
    }

    /// How many packets the rules that contain `text` have matched.
    pub(super) fn packets(&self, bridge: &str, text: &str) -> Result<u64> {
        let mut command = self.program("utilities/ovs-ofctl");
        command.args(["-O", "OpenFlow13", "dump-flows"]).arg(self.management(bridge));
        let rules = tool::output_of(&mut command)?;
        let counts = rules.lines().filter(|line| line.contains(text)).filter_map(|line| {
            let (_, rest) = line.split_once("n_packets=")?;
            rest.split(',').next()?.parse::<u64>().ok()
        });
        Ok(counts.sum())
    }

    /// The end of the switch's log.
    pub(in crate::ovs) fn last_words(&self) -> String {
        let text =
            ["server.log", "switch.log"].map(|log| fs::read_to_string(self.file(log)).unwrap_or_default());
        tool::last_lines(&text.join("\n"), 20)
    }

    /// Ends the daemons and removes the namespaces. What could not be removed is the error.
    pub(in crate::ovs) fn close(&mut self) -> Result<()> {
        // The switch writes its number of calls when it is told to end.
        let told = self.appctl(&["exit"]).is_ok();
        for (index, mut daemon) in std::mem::take(&mut self.daemons).into_iter().enumerate().rev() {
            if index == 0 || !told {
                let _ = daemon.kill();
            }
            daemon.wait().context("cannot wait for a daemon")?;
        }
        for which in ['a', 'b', 's'] {
            let _ = tool::run(Command::new("ip").args(["netns", "del", &self.namespace(which)]));
        }
        Ok(())
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        tool::output_of(Command::new("ip").args(arguments)).map(drop)
    }

    fn ip_in(&self, which: char, arguments: &str) -> Result<()> {
        let namespace = self.namespace(which);
        tool::output_of(Command::new("ip").args(["-n", &namespace]).args(arguments.split(' '))).map(drop)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.daemons.is_empty() {
            let _ = self.close();
        }
        let _ = cache::remove_folder(&self.folder);
    }
}

/// The calls that came to ours, as it counted them.
pub(in crate::ovs) fn calls(stage: &Stage) -> Result<u64> {
    let text = fs::read_to_string(stage.file("calls")).context("ours wrote no number of calls")?;
    Ok(text.lines().filter_map(|line| line.parse::<u64>().ok()).sum())
}
