//! A TCP transfer between the ends' kernel stacks whose hash must agree.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

use crate::lab::wire::Wire;

/// One hundred megabytes.
pub const HUNDRED_MEGABYTES: u64 = 100_000_000;

const PORT: u16 = 7000;
/// A connection on which nothing moves for so long is lost.
const STALL: Duration = Duration::from_secs(60);

/// Sends that many bytes and compares what arrived with what was sent. Returns how long it took.
pub fn with_matching_hash(from: &Wire, to: &Wire, bytes: u64) -> Result<Duration> {
    to_address(from, to, to.host_address(), bytes)
}

/// The same to any address that the receiving end has.
pub fn to_address(from: &Wire, to: &Wire, target: &str, bytes: u64) -> Result<Duration> {
    let address = (target.to_owned(), PORT);
    let listener = to
        .namespace
        .within(|| TcpListener::bind((target, PORT)).context("cannot listen at the receiving end"))?;
    let start = Instant::now();
    let outcome = std::thread::scope(|scope| {
        let receiver = scope.spawn(move || receive(&listener));
        let sent = from
            .namespace
            .within(|| connect(&address))
            .and_then(|stream| send(stream, bytes).context("sending over TCP"));
        if sent.is_err() {
            // The receiver may still wait for a connection: give it one that says nothing.
            let _ = to.namespace.within(|| Ok(TcpStream::connect((target, PORT))?));
        }
        let received = receiver.join().map_err(|_| anyhow!("the receiving thread panicked"))?;
        Ok::<_, anyhow::Error>((sent?, received.context("receiving over TCP")?))
    });
    let (sent, (length, received)) = outcome?;
    if length != bytes {
        bail!("expected {bytes} bytes over TCP, saw {length}");
    }
    if sent != received {
        bail!("expected the hash {sent}, saw {received}, after {bytes} bytes over TCP");
    }
    Ok(start.elapsed())
}

/// Sends that many bytes from the wire's end to a program that listens at an address; the hash of what was sent.
pub fn deliver(from: &Wire, to: &str, port: u16, bytes: u64, limit: Duration) -> Result<String> {
    let stream = from.namespace.within(|| connect_soon(to, port, limit))?;
    send(stream, bytes).context("sending over TCP")
}

/// Takes what a program that listens at an address sends to the wire's end; the hash of what came.
pub fn fetch(to: &Wire, from: &str, port: u16, limit: Duration) -> Result<String> {
    let mut stream = to.namespace.within(|| connect_soon(from, port, limit))?;
    let (_, hash) = read_all(&mut stream).context("receiving over TCP")?;
    Ok(hash)
}

/// Connects as soon as somebody listens.
fn connect_soon(address: &str, port: u16, limit: Duration) -> Result<TcpStream> {
    let end = Instant::now() + limit;
    loop {
        match connect(&(address.to_owned(), port)) {
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(100)),
            outcome => return outcome,
        }
    }
}

fn connect(address: &(String, u16)) -> Result<TcpStream> {
    let address = SocketAddr::new(address.0.parse()?, address.1);
    TcpStream::connect_timeout(&address, STALL).with_context(|| format!("cannot connect to {address}"))
}

fn send(mut stream: TcpStream, bytes: u64) -> Result<String> {
    stream.set_write_timeout(Some(STALL))?;
    let mut hash = Sha256::new();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ bytes);
    let mut block = vec![0; 65_536];
    let mut left = bytes;
    while left > 0 {
        numbers.fill(&mut block);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        let part = block.get(..length).unwrap_or_default();
        stream.write_all(part)?;
        hash.update(part);
        left -= length as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    // The other end closes when it has read all.
    stream.set_read_timeout(Some(STALL))?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(hexadecimal(&hash.finalize()))
}

fn receive(listener: &TcpListener) -> Result<(u64, String)> {
    let (mut stream, _) = listener.accept()?;
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> Result<(u64, String)> {
    stream.set_read_timeout(Some(STALL))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 65_536];
    let mut total = 0;
    loop {
        let length = stream.read(&mut block)?;
        if length == 0 {
            return Ok((total, hexadecimal(&hash.finalize())));
        }
        hash.update(block.get(..length).unwrap_or_default());
        total += length as u64;
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pseudo-random numbers (xorshift64), the same on each run.
#[derive(Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Fills a slice with them.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            for (slot, byte) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *slot = byte;
            }
        }
    }
}
