//! One end of a wire: a network namespace of its own with a TAP interface in it, whose other side is a NIC of
//! the guest. The kernel's network stack in that namespace is the peer that the guest's NIC talks to.

use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::os::fd::AsFd;

use super::isolate;
use crate::tool;

/// The name of the interface in each namespace.
pub const INTERFACE: &str = "tap0";

/// In this time the kernel can use an address that it was given.
const SETTLED: Duration = Duration::from_secs(20);

/// A network namespace, held open.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Makes a new, empty one.
    pub fn create() -> Result<Self> {
        let thread = std::thread::Builder::new().name("namespace".to_owned()).spawn(|| -> Result<File> {
            isolate::unshare(UnshareFlags::NEWNET).context("cannot make a network namespace")?;
            let path = "/proc/thread-self/ns/net";
            File::open(path).with_context(|| format!("cannot open {path}"))
        })?;
        let file = thread.join().map_err(|_| anyhow!("the thread that makes a namespace panicked"))??;
        Ok(Self { file })
    }

    /// Does the work on a thread that is in the namespace. Sockets opened and programs started there stay in
    /// it.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                        .context("cannot enter a network namespace")?;
                    work()
                })
                .join()
                .unwrap_or_else(|_| Err(anyhow!("work in a network namespace panicked")))
        })
    }
}

/// What an end of the wire is set up with.
#[derive(Clone, Debug)]
pub struct End {
    /// Its Internet address, with the prefix length.
    pub address: String,
    /// Its Ethernet address.
    pub hardware_address: String,
    /// Whether the TAP passes check sum and segmentation requests on to the NIC (`IFF_VNET_HDR`).
    pub offloads: bool,
    /// How many queues the TAP has (`IFF_MULTI_QUEUE` for more than one).
    pub queues: usize,
}

/// An end of a wire.
#[derive(Debug)]
pub struct Wire {
    /// Where its kernel stack lives.
    pub namespace: Namespace,
    /// What it was set up with.
    pub end: End,
    tap: OwnedFd,
    /// Its queues but the first.
    further: Vec<OwnedFd>,
    busybox: PathBuf,
}

impl Wire {
    /// Makes the namespace and the TAP, and sets its address. IPv6 is off, so that the kernel says nothing by
    /// itself.
    pub fn create(end: End, busybox: &Path) -> Result<Self> {
        let namespace = Namespace::create()?;
        let (tap, further) = namespace.within(|| {
            let path = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
            if Path::new(path).exists() {
                fs::write(path, "1").with_context(|| format!("cannot write {path}"))?;
            }
            let tap = open_tap(INTERFACE, end.flags())?;
            let further =
                (1..end.queues).map(|_| open_tap(INTERFACE, end.flags())).collect::<Result<Vec<_>>>()?;
            let ip = |arguments: &[&str]| -> Result<()> {
                tool::output_of(Command::new(busybox).arg("ip").args(arguments)).map(|_| ())
            };
            ip(&["link", "set", "lo", "up"])?;
            ip(&["link", "set", INTERFACE, "address", &end.hardware_address])?;
            ip(&["addr", "add", &end.address, "dev", INTERFACE])?;
            ip(&["link", "set", INTERFACE, "up"])?;
            Ok((tap, further))
        })?;
        Ok(Self { namespace, end, tap, further, busybox: busybox.to_owned() })
    }

    /// The TAP's descriptor, for QEMU.
    pub fn tap(&self) -> &OwnedFd {
        &self.tap
    }

    /// The descriptors of all its queues.
    pub fn queues(&self) -> impl Iterator<Item = &OwnedFd> {
        std::iter::once(&self.tap).chain(&self.further)
    }

    /// The Internet address without the prefix length.
    pub fn host_address(&self) -> &str {
        self.end.address.split('/').next().unwrap_or_default()
    }

    /// Switches IPv6 on, with an address that is good at once, or off. Wires are without it, so that the kernel says nothing
    /// by itself.
    pub fn set_ipv6(&self, address: Option<&str>) -> Result<()> {
        self.namespace.within(|| {
            let set = |name: &str, value: &str| {
                let path = format!("/proc/sys/net/ipv6/conf/{INTERFACE}/{name}");
                fs::write(&path, value).with_context(|| format!("cannot write {value} to {path}"))
            };
            set("accept_dad", "0")?;
            set("router_solicitations", "0")?;
            set("disable_ipv6", if address.is_some() { "0" } else { "1" })?;
            if let Some(address) = address {
                tool::output_of(self.busybox("ip").args(["-6", "addr", "add", address, "dev", INTERFACE]))?;
                // Even without duplicate address detection the kernel needs a moment until it takes the address for good.
                let bare = address.split('/').next().unwrap_or_default();
                let end = Instant::now() + SETTLED;
                while let Err(error) = UdpSocket::bind((bare, 0)) {
                    if Instant::now() > end {
                        return Err(error).with_context(|| format!("cannot use the address {bare}"));
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Ok(())
        })
    }

    /// Sets the longest packet (MTU), 1500 bytes from the start.
    pub fn set_mtu(&self, bytes: u32) -> Result<()> {
        self.namespace.within(|| {
            let mut command = self.busybox("ip");
            tool::output_of(command.args(["link", "set", INTERFACE, "mtu", &bytes.to_string()])).map(|_| ())
        })
    }

    /// A busybox program, to be started inside [`Namespace::within`].
    pub fn busybox(&self, applet: &str) -> Command {
        let mut command = Command::new(&self.busybox);
        command.arg(applet);
        command
    }
}

impl End {
    /// What the TAP has beside frames.
    fn flags(&self) -> i32 {
        (if self.offloads { libc::IFF_VNET_HDR } else { 0 })
            | if self.queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 }
    }
}

/// Opens a TAP interface in the calling thread's network namespace.
pub(super) fn open_tap(interface: &str, flags: i32) -> Result<OwnedFd> {
    let path = "/dev/net/tun";
    let file = File::options().read(true).write(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => anyhow!(
            "cannot open {path} ({error}): the lab's wires are TAP interfaces; `sudo chmod 666 {path}` is what \
             Debian has by default"
        ),
        io::ErrorKind::NotFound => anyhow!("{path} isn't there: `sudo modprobe tun`"),
        _ => anyhow!("cannot open {path}: {error}"),
    })?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | flags;
    let mut name = [0; libc::IFNAMSIZ];
    for (slot, byte) in name.iter_mut().zip(interface.bytes()) {
        *slot = byte.cast_signed();
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: i16::try_from(flags).context("the TAP's flags don't fit")?,
        },
    };
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives until the call returns; the descriptor is
    // open.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error()).context("cannot make a TAP interface (TUNSETIFF)");
    }
    Ok(file.into())
}
