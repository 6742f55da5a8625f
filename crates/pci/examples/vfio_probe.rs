//! Opens network functions through VFIO as whoever runs it, shows what they are, and tries what the back end promises.
//!
//! ```text
//! vfio_probe ADDRESS…            opens them into one address space, shows them, maps 4 MiB, resets, closes
//! vfio_probe --check A B         each promise on two functions in IOMMU groups of their own
//! vfio_probe --check-group A B   the same for two functions of one group
//! vfio_probe --watch ADDRESS     reads a register and configuration space, says when they change, and closes the
//!                                function when it is wanted back
//! ```
//! It drives no device: bus mastering stays off all the time.

use ringway_dma::{AddressSpace, BufferSize, Buffers, Placement};
use ringway_pci::vfio::{self, Opening};
use ringway_pci::{Address, Doorbell, Error, Function, Width, event_counter};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::error::Error as StdError;
use std::ffi::{CString, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;

type Outcome<T = ()> = Result<T, Box<dyn StdError>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["--check", first, second] => both(first, second).and_then(|(first, second)| check(first, second)),
        ["--check-group", first, second] => {
            both(first, second).and_then(|(first, second)| check_group(first, second))
        }
        ["--watch", address] => address.parse::<Address>().map_err(Into::into).and_then(watch),
        [] => Err("usage: vfio_probe [--check|--check-group] ADDRESS…".into()),
        addresses => show(addresses),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vfio_probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn both(first: &str, second: &str) -> Outcome<(Address, Address)> {
    Ok((first.parse()?, second.parse()?))
}

fn show(addresses: &[&str]) -> Outcome {
    let mut functions: Vec<Function> = Vec::new();
    for address in addresses {
        let address = address.parse()?;
        let function = match functions.first() {
            Some(first) => vfio::open_in(first.address_space(), address)?,
            None => vfio::open(address)?,
        };
        let identity = function.identity();
        println!(
            "{}: {:04x}:{:04x} subsystem {:04x}:{:04x} class {:06x} revision {:02x} node {:?}",
            identity.name,
            identity.vendor,
            identity.device,
            identity.subsystem_vendor,
            identity.subsystem,
            identity.class,
            identity.revision,
            identity.numa_node
        );
        for index in 0..6 {
            match function.bar(index, 0, 4) {
                Ok(bar) => {
                    let kind = match bar.doorbell(function.name(), 0, Width::Double)? {
                        Doorbell::Mmio(_) => "mapped",
                        _ => "by system calls",
                    };
                    println!("  BAR {index}: {kind}, first word {:#010x}", bar.read32(0));
                }
                Err(Error::NoBar { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let capabilities = function.capabilities()?;
        let ids: Vec<String> = capabilities.iter().map(|found| format!("{:#04x}", found.id)).collect();
        println!("  capabilities {}, {} MSI-X vectors", ids.join(" "), function.msix_vectors());
        functions.push(function);
    }
    let Some(first) = functions.first() else { return Ok(()) };
    let space = first.address_space().clone();
    for range in space.ranges() {
        println!("addresses {range}");
    }
    let buffers = Buffers::allocate(&space, 2048, BufferSize::Bytes2048, Placement::default())?;
    let usage = space.usage();
    println!("mapped {} bytes at {:#x} in {} mapping", usage.bytes, buffers.base_iova(), usage.mappings);
    for function in &functions {
        println!("{}: {}", function.name(), if function.reset()? { "reset" } else { "can't be reset" });
    }
    Ok(())
}

/// What becomes of a function that is pulled out, reset from elsewhere or wanted back by the kernel.
fn watch(address: Address) -> Outcome {
    let function = vfio::open(address)?;
    let buffers = allocate(function.address_space(), 2048)?;
    let bar = (0..6u8).rev().find_map(|index| function.bar(index, 0, 4096).ok()).ok_or("no BAR of a page")?;
    let mut before = String::new();
    loop {
        // Revision and class: of the ids the kernel keeps a copy.
        let configuration = match function.config_read(0x08, Width::Double) {
            Ok(word) => format!("{word:#010x}"),
            Err(error) => error.to_string(),
        };
        let now = format!("register {:#010x}, configuration {configuration}", bar.read32(0));
        if now != before {
            println!("watching {address}, {} bytes mapped: {now}", buffers.bytes());
            before = now;
        }
        if function.removal_requested() {
            println!("{address} is wanted back");
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Fails with what was expected.
fn expect(holds: bool, what: &str) -> Outcome {
    if holds {
        println!("ok: {what}");
        Ok(())
    } else {
        Err(format!("NOT: {what}").into())
    }
}

/// The refusal that was expected, whose message must have these parts.
fn refused<T>(outcome: Result<T, impl StdError + 'static>, what: &str, parts: &[&str]) -> Outcome {
    let Err(error) = outcome else { return Err(format!("NOT refused: {what}").into()) };
    let text = error.to_string();
    match parts.iter().find(|part| !text.contains(*part)) {
        Some(part) => Err(format!("{what}: '{part}' is not in: {text}").into()),
        None => {
            println!("ok: {what}: {text}");
            Ok(())
        }
    }
}

fn check(first: Address, second: Address) -> Outcome {
    check_registers(first)?;
    check_interrupts(first)?;
    check_memory(first, second)?;
    check_memlock(first)?;
    check_sharing(first, second)?;
    check_descriptors(first, second)
}

fn check_registers(address: Address) -> Outcome {
    let function = vfio::open(address)?;
    let memory_on = |function: &Function| Ok::<_, Error>(function.config_read(0x04, Width::Word)? & 2 != 0);
    expect(memory_on(&function)?, "memory decoding is on")?;
    let (index, bar) = (0..6u8)
        .find_map(|index| Some((index, function.bar(index, 0, 4096).ok()?)))
        .ok_or("no BAR of a page")?;
    let before = bar.read32(0);
    expect(before != u32::MAX, &format!("BAR {index} answers: {before:#010x}"))?;
    // Each of these would make the kernel answer the next mapped access with SIGBUS.
    function.config_write(0x04, Width::Word, 0)?;
    expect(memory_on(&function)?, "memory decoding can't be switched off")?;
    if let Some(power) = function.capabilities()?.iter().find(|capability| capability.id == 1) {
        function.config_write(power.offset + 4, Width::Word, 3)?;
    }
    expect(bar.read32(0) == before, "registers answer after an attempt to put the function to sleep")?;
    expect(bar.read32(1 << 40) == u32::MAX && bar.read32(2) != 0, "what isn't there reads as ones")?;
    expect(function.bar(6, 0, 4).is_err(), "there is no BAR 6")?;
    expect(function.config_read(0x1000, Width::Byte).is_err(), "configuration space ends")?;
    expect(function.config_read(0x02, Width::Double).is_err(), "configuration space wants aligned accesses")?;
    for _ in 0..3 {
        expect(function.reset()?, "the function is reset and answers")?;
        expect(bar.read32(0) != u32::MAX && memory_on(&function)?, "its registers are there after a reset")?;
    }
    let doorbell = bar.doorbell(function.name(), 0, Width::Double)?;
    drop((bar, function));
    doorbell.ring(0);
    drop(doorbell);
    expect(vfio::open(address).is_ok(), "a doorbell outlives its function, and the function opens again")
}

fn check_interrupts(address: Address) -> Outcome {
    let function = vfio::open(address)?;
    let vectors = usize::from(function.msix_vectors());
    expect(vectors > 1, &format!("there are {vectors} MSI-X vectors"))?;
    let counters = (0..vectors + 1).map(|_| event_counter()).collect::<Result<Vec<_>, _>>()?;
    function.set_msix(&[])?;
    for count in [1, vectors, 2, 0, 0, vectors] {
        function.set_msix(counters.get(..count).unwrap_or_default())?;
        expect(true, &format!("{count} vectors are connected"))?;
    }
    refused(function.set_msix(&counters), "one vector too many", &["use fewer queues"])?;
    let stdin_is_no_counter: OwnedFd = std::fs::File::open("/dev/null")?.into();
    let wrong = [std::sync::Arc::new(stdin_is_no_counter)];
    refused(function.set_msix(&wrong), "a counter that is none", &["connecting its interrupts"])?;
    function.set_msix(counters.get(..1).unwrap_or_default())?;
    expect(function.reset()?, "a reset with interrupts connected")
}

fn allocate(space: &AddressSpace, count: u32) -> Result<Buffers, ringway_dma::Error> {
    Buffers::allocate(space, count, BufferSize::Bytes2048, Placement::default())
}

fn check_memory(first: Address, second: Address) -> Outcome {
    let function = vfio::open(first)?;
    let space = function.address_space().clone();
    let other = vfio::open_in(&space, second)?;
    expect(other.address_space().is_same(&space), "two functions share an address space")?;
    let ranges = space.ranges();
    for _ in 0..3 {
        let many = (0..8).map(|_| allocate(&space, 128)).collect::<Result<Vec<_>, _>>()?;
        let inside = many.iter().all(|buffers| {
            let last = buffers.base_iova() + buffers.bytes() as u64 - 1;
            ranges.iter().any(|range| range.first.get() <= buffers.base_iova() && last <= range.last.get())
        });
        expect(inside && space.usage().mappings == 8, "eight mappings, all where the IOMMU translates")?;
    }
    let usage = space.usage();
    expect(usage.mappings == 0 && usage.bytes == 0, "nothing is mapped after the last was dropped")?;
    expect(usage.stranded_bytes == 0, "nothing is stranded")?;
    let kept = allocate(&space, 128)?;
    drop((function, other));
    drop(kept);
    expect(space.usage().stranded_bytes == 0, "memory is unmapped after the functions are closed")?;
    let again = vfio::open_in(&space, first)?;
    expect(allocate(&space, 128).is_ok(), "the address space takes functions again")?;
    drop(again);
    let other = vfio::open_in(&space, second)?;
    expect(
        vfio::open(first).is_ok(),
        "a group that stayed for the mappings' sake leaves when another comes",
    )?;
    expect(allocate(&space, 128).is_ok() && other.reset()?, "and the mappings are there")?;
    Ok(())
}

fn check_memlock(address: Address) -> Outcome {
    let function = vfio::open(address)?;
    let space = function.address_space();
    let before = getrlimit(Resource::Memlock);
    let kept = allocate(space, 512)?;
    setrlimit(Resource::Memlock, Rlimit { current: Some(2 << 20), maximum: before.maximum })?;
    refused(
        allocate(space, 1024),
        "more memory than may be locked",
        &["2048 KiB are to be locked besides 1024 KiB", "is 2048 KiB", "ulimit -l 3072"],
    )?;
    expect(allocate(space, 512).is_ok(), "memory up to the limit is mapped")?;
    setrlimit(Resource::Memlock, before)?;
    drop(kept);
    expect(space.usage().bytes == 0, "a refused mapping leaves nothing behind")
}

fn check_sharing(first: Address, second: Address) -> Outcome {
    let function = vfio::open(first)?;
    refused(vfio::open(first), "a function that is open", &["is in use", "this process has it open"])?;
    let space = function.address_space().clone();
    refused(vfio::open_in(&space, first), "a function twice in one address space", &["open already"])?;
    let other = vfio::open_in(&space, second)?;
    let buffers = allocate(&space, 128)?;
    drop(function);
    let apart = vfio::open(first)?;
    expect(!apart.address_space().is_same(&space), "a group leaves with its last function, others go on")?;
    expect(allocate(&space, 128).is_ok() && other.reset()?, "the function that stayed has its memory")?;
    let emulated = AddressSpace::emulated();
    refused(vfio::open_in(&emulated, first), "an emulated address space", &["can't go into this"])?;
    drop(buffers);
    Ok(())
}

fn answers(function: &Function) -> Result<bool, Error> {
    let word = if function.reset()? { "was reset" } else { "can't be reset by itself" };
    println!("{} {word}", function.name());
    Ok(function.config_read(0x08, Width::Double)? != u32::MAX)
}

fn check_group(first: Address, second: Address) -> Outcome {
    let function = vfio::open(first)?;
    refused(vfio::open(second), "its neighbour elsewhere", &["must share an address space"])?;
    let neighbour = vfio::open_in(function.address_space(), second)?;
    let buffers = allocate(function.address_space(), 128)?;
    drop(function);
    expect(answers(&neighbour)?, "the neighbour goes on alone")?;
    let function = vfio::open_in(neighbour.address_space(), first)?;
    drop(neighbour);
    drop(buffers);
    expect(answers(&function)?, "and the other way round")
}

fn check_descriptors(first: Address, second: Address) -> Outcome {
    let group = |address: Address| -> Outcome<OwnedFd> {
        let link = std::fs::read_link(format!("/sys/bus/pci/devices/{address}/iommu_group"))?;
        let number = link.file_name().ok_or("no group")?.to_string_lossy().into_owned();
        node(&number)
    };
    let function = Opening::of(first).with_container(node("vfio")?).with_group(group(first)?).open()?;
    expect(allocate(function.address_space(), 128).is_ok(), "a container and a group that were handed in")?;
    let space = function.address_space().clone();
    let other = Opening::of(second).in_space(&space).with_group(group(second)?).open()?;
    expect(other.address_space().is_same(&space), "another group that was handed in")?;
    drop((function, other, space));

    // Somebody else sets everything up and keeps the group; the container and the device are handed in.
    let (container, kept) = (node("vfio")?, group(first)?);
    let device = ready(&kept, &container, first)?;
    let function = Opening::of(first).with_container(container).with_device(device).open()?;
    expect(allocate(function.address_space(), 128).is_ok(), "a container and a device that were handed in")?;
    drop(function);
    drop(kept);

    let opening = || Opening::of(first);
    refused(
        opening().with_container(group(first)?).open(),
        "a group as a container",
        &["not a VFIO container"],
    )?;
    refused(opening().with_group(node("vfio")?).open(), "a container as a group", &["not a VFIO group"])?;
    refused(opening().with_device(group(first)?).open(), "a group as a device", &["not a VFIO PCI device"])?;
    refused(
        Opening::of(second).with_group(group(first)?).open(),
        "a group that the function isn't in",
        &["not a function of the group"],
    )
}

fn node(name: &str) -> Outcome<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/dev/vfio/{name}"), flags, Mode::empty())?)
}

/// Puts the group into the container, gives that a type 1 IOMMU, and opens a function.
fn ready(group: &OwnedFd, container: &OwnedFd, address: Address) -> Outcome<OwnedFd> {
    use std::os::fd::AsRawFd;
    let number = container.as_raw_fd();
    // SAFETY: VFIO_GROUP_SET_CONTAINER takes a pointer to a descriptor's number.
    unsafe { rustix::ioctl::ioctl(group, Request(104, (&raw const number).cast_mut().cast())) }?;
    // SAFETY: VFIO_SET_IOMMU takes a number: 3 is type 1, version 2.
    unsafe { rustix::ioctl::ioctl(container, Request(102, std::ptr::without_provenance_mut(3))) }?;
    device_of(group, address)
}

/// Opens a function through its group.
fn device_of(group: &OwnedFd, address: Address) -> Outcome<OwnedFd> {
    let name = CString::new(address.to_string())?;
    // SAFETY: VFIO_GROUP_GET_DEVICE_FD takes a string that ends with a zero.
    let number = unsafe { rustix::ioctl::ioctl(group, Request(106, name.as_ptr().cast_mut().cast())) }?;
    // SAFETY: the kernel made this descriptor just now, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// One of VFIO's requests, by its number, with its answer.
struct Request(u8, *mut c_void);

// SAFETY: the argument is what the request with this number takes, as each caller says.
unsafe impl Ioctl for Request {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::none(b';', self.0)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.1
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(answer)
    }
}
