//! The server under a client that is no QEMU: registers, memory page by page, interrupts, refusals.
#![cfg(feature = "vfio-user")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ringway_model::ixgbe::Options;
use ringway_model::vfio_user::{Error, FrameLink, Report, Server};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{pread, pwrite};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use vfio_user::Client;

const PAGE: u64 = 4096;
const CONFIG: u32 = 7;
const LIMIT: Duration = Duration::from_secs(60);

/// A server on a thread, and the far end of its wire.
struct Served {
    path: PathBuf,
    wire: OwnedFd,
    reports: Receiver<Result<Report, Error>>,
    stop: ringway_model::vfio_user::Stop,
    thread: std::thread::JoinHandle<Result<(), Error>>,
}

fn serve(name: &str) -> Served {
    let path = std::env::temp_dir().join(format!("ringway-test-{}-{name}", std::process::id()));
    let (near, wire) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let mut link = FrameLink::new(near).unwrap();
    let server = Server::bind(&path, Options::default()).unwrap();
    let stop = server.stop().unwrap();
    let (sender, reports) = channel();
    let thread = std::thread::spawn(move || {
        server.serve(&mut link, |outcome| {
            let _ = sender.send(outcome);
        })
    });
    Served { path, wire, reports, stop, thread }
}

impl Served {
    fn end(self) {
        self.stop.stop();
        assert!(self.thread.join().unwrap().is_ok());
        assert!(!self.path.exists(), "the socket is gone with its server");
    }
}

fn read(client: &mut Client, register: u64) -> u32 {
    let mut bytes = [0; 4];
    client.region_read(0, register, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

fn write(client: &mut Client, register: u64, value: u32) {
    client.region_write(0, register, &value.to_le_bytes()).unwrap();
}

fn memory(pages: u64) -> File {
    let file = memfd_create(c"guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, pages * PAGE).unwrap();
    File::from(file)
}

fn word(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    pread(file, &mut bytes, at).unwrap();
    u64::from_le_bytes(bytes)
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "{what} within a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Rings in the file's first page, for the device at 1 MiB; both queues of 8 descriptors.
fn start(client: &mut Client) {
    client.region_write(CONFIG, 4, &[6, 0]).unwrap();
    write(client, 0x5080, 1 << 9);
    for (block, base) in [(0x1000, 0x10_0000), (0x6000, 0x10_0800)] {
        write(client, block, base);
        write(client, block + 4, 0);
        write(client, block + 8, 128);
        write(client, block + 0x28, 1 << 25);
    }
    write(client, 0x1014, 1 << 25 | 2);
    write(client, 0x3000, 1);
    write(client, 0x4a80, 1);
}

#[test]
fn frames_pass_between_wire_and_memory_that_is_mapped_page_by_page() {
    let served = serve("pages");
    let mut client = Client::new(&served.path).unwrap();
    let mut identity = [0; 4];
    client.region_read(CONFIG, 0, &mut identity).unwrap();
    assert_eq!(identity, [0x86, 0x80, 0xfb, 0x10]);
    let file = memory(4);
    client.dma_map(0, 0x10_0000, PAGE, file.as_raw_fd()).unwrap();
    // A buffer that crosses from one page into another that lies before it in the file.
    client.dma_map(3 * PAGE, 0x20_0000, PAGE, file.as_raw_fd()).unwrap();
    client.dma_map(PAGE, 0x20_1000, PAGE, file.as_raw_fd()).unwrap();
    start(&mut client);
    let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    // Trigger by event counter, vector 0.
    client.set_irqs(2, 1 << 2 | 1 << 5, 0, 1, &[counter.as_raw_fd()]).unwrap();
    write(&mut client, 0x898, 1 << 4);
    write(&mut client, 0x900, 0x0000_8080);
    write(&mut client, 0x880, 1);

    let frame: Vec<u8> = (0..100).collect();
    pwrite(&file, &frame[..40], 3 * PAGE + PAGE - 40).unwrap();
    pwrite(&file, &frame[40..], PAGE).unwrap();
    pwrite(&file, &(0x20_1000u64 - 40).to_le_bytes(), 0x800).unwrap();
    let command = 100u64 | 3 << 20 | (1 << 29 | 1 << 24 | 1 << 25 | 1 << 27) | 100 << 46;
    pwrite(&file, &command.to_le_bytes(), 0x808).unwrap();
    write(&mut client, 0x6018, 1);
    let mut seen = [0; 2000];
    assert_eq!(rustix::io::read(&served.wire, &mut seen).unwrap(), 100);
    assert_eq!(seen[..100], frame);
    wait_for("the descriptor is reported", || word(&file, 0x808) >> 32 & 1 == 1);
    let mut count = [0; 8];
    wait_for("the interrupt comes", || rustix::io::read(&counter, &mut count).is_ok());

    pwrite(&file, &(0x20_1000u64 - 40).to_le_bytes(), 0).unwrap();
    pwrite(&file, &[0; 200], PAGE).unwrap();
    write(&mut client, 0x1018, 1);
    rustix::io::write(&served.wire, &frame).unwrap();
    wait_for("the frame is received", || word(&file, 8) & 3 == 3);
    assert_eq!(word(&file, 8) >> 32 & 0xffff, 100);
    pread(&file, &mut seen[..60], PAGE).unwrap();
    assert_eq!(seen[..60], frame[40..]);

    drop(client);
    let report = served.reports.recv_timeout(LIMIT).unwrap().unwrap();
    assert_eq!((report.mapped, report.refused, report.faults, report.frames), (3, 0, 0, 2));
    assert!(report.messages >= 2);
    served.end();
}

#[test]
fn what_is_unmapped_is_out_of_reach() {
    let served = serve("unmapped");
    let mut client = Client::new(&served.path).unwrap();
    let file = memory(2);
    client.dma_map(0, 0x10_0000, PAGE, file.as_raw_fd()).unwrap();
    client.dma_map(PAGE, 0x20_0000, PAGE, file.as_raw_fd()).unwrap();
    start(&mut client);
    client.dma_unmap(0x20_0000, PAGE).unwrap();
    client.dma_unmap(0, (u64::MAX / 2) & !0xfff).ok();
    client.dma_map(0, 0x10_0000, PAGE, file.as_raw_fd()).unwrap();
    pwrite(&file, &0x20_0000u64.to_le_bytes(), 0).unwrap();
    write(&mut client, 0x1018, 1);
    rustix::io::write(&served.wire, &[8; 60]).unwrap();
    wait_for("the device has tried", || word(&file, 8) & 1 == 1);
    assert_eq!(word(&file, PAGE), 0);
    // A range that its file doesn't have.
    client.dma_map(0, 0x40_0000, 100 * PAGE, file.as_raw_fd()).unwrap();
    drop(client);
    let report = served.reports.recv_timeout(LIMIT).unwrap().unwrap();
    assert_eq!((report.faults, report.refused), (1, 1));
    served.end();
}

#[test]
fn each_client_finds_a_fresh_device() {
    let served = serve("fresh");
    for _ in 0..3 {
        let mut client = Client::new(&served.path).unwrap();
        assert_eq!(read(&mut client, 0x5080), 0);
        write(&mut client, 0x5080, 0x700);
        assert_eq!(read(&mut client, 0x5080), 0x700);
        client.reset().unwrap();
        assert_eq!(read(&mut client, 0x5080), 0);
        write(&mut client, 0x5080, 0x700);
        drop(client);
        served.reports.recv_timeout(LIMIT).unwrap().unwrap();
    }
    served.end();
}

#[test]
fn a_path_with_a_live_server_is_refused_and_a_dead_ones_is_reused() {
    let served = serve("taken");
    assert!(matches!(Server::bind(&served.path, Options::default()), Err(Error::InUse { .. })));
    // That look was a connection, too.
    served.reports.recv_timeout(LIMIT).unwrap().unwrap();
    let path = served.path.clone();
    served.end();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Server::bind(&path, Options::default()).unwrap());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_is_no_socket_is_refused_by_name_and_left_alone() {
    let folder = std::env::temp_dir().join(format!("ringway-test-{}-something-else", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (file, link) = (folder.join("file"), folder.join("link"));
    std::fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link, &folder] {
        let error = Server::bind(path, Options::default()).unwrap_err();
        assert!(matches!(error, Error::NoSocket { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&link).unwrap(), "precious");
    std::fs::remove_dir_all(folder).unwrap();
}
