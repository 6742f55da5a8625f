//! Raw frames on an interface (`AF_PACKET`): sent as they are, received as they came over the wire, VLAN tags
//! included.
//!
//! The kernel takes the outer VLAN tag out of a received frame and hands it over beside it; here it is put
//! back. Source: packet(7), PACKET_AUXDATA.

use std::io;
use std::mem::{MaybeUninit, size_of, size_of_val, zeroed};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with, sockopt};

/// A tag is there (linux/if_packet.h).
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
/// The tag's protocol is there too (linux/if_packet.h).
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
/// Bytes of the two Ethernet addresses, after which a VLAN tag stands.
const ADDRESSES: usize = 12;
const LARGEST_FRAME: usize = 65_536;

/// A socket that sends and receives frames on one interface. It stays in the namespace it was opened in.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
}

impl PacketSocket {
    /// Opens it on an interface of the calling thread's network namespace.
    pub fn open(interface: &str) -> Result<Self> {
        Self::open_raw(interface).with_context(|| format!("cannot open a packet socket on {interface}"))
    }

    fn open_raw(interface: &str) -> Result<Self> {
        let protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
        let socket = socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(rustix::net::eth::ALL),
        )?;
        let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
        // SAFETY: an address of this family is plain numbers, for which zeros are valid.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET)?;
        address.sll_protocol = protocol;
        address.sll_ifindex = i32::try_from(index)?;
        let length = libc::socklen_t::try_from(size_of_val(&address))?;
        // SAFETY: the pointer and the length are those of `address`, which lives until the call returns.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        if result < 0 {
            return Err(io::Error::last_os_error().into());
        }
        for option in [libc::PACKET_AUXDATA, libc::PACKET_IGNORE_OUTGOING, libc::PACKET_QDISC_BYPASS] {
            switch_on(&socket, option)?;
        }
        sockopt::set_socket_recv_buffer_size(&socket, 4 << 20)?;
        Ok(Self { socket })
    }

    /// Sends one frame, which begins with the destination's Ethernet address.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(&self.socket, frame, SendFlags::empty())?;
        Ok(())
    }

    /// Receives the next frame, or nothing if none comes in time.
    pub fn receive(&self, limit: Duration) -> Result<Option<Vec<u8>>> {
        sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, Some(limit))?;
        let mut frame = vec![0; LARGEST_FRAME];
        let mut control = MaybeUninit::<[u64; 16]>::zeroed();
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: a message header is plain numbers and pointers, for which zeros are valid.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the header names `part`, which names all of `frame`, and all of `control`; each lives until
        // the call returns and is otherwise unused meanwhile.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error).context("cannot receive from a packet socket"),
            };
        };
        frame.truncate(length);
        if let Some(tag) = vlan_tag(&message)
            && frame.len() >= ADDRESSES
        {
            frame.splice(ADDRESSES..ADDRESSES, tag);
        }
        Ok(Some(frame))
    }
}

fn switch_on(socket: &OwnedFd, option: i32) -> Result<()> {
    let value: i32 = 1;
    let length = libc::socklen_t::try_from(size_of_val(&value))?;
    // SAFETY: the pointer and the length are those of `value`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, (&raw const value).cast(), length)
    };
    if result < 0 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
}

/// The VLAN tag that the kernel took out of a frame, as it stood on the wire.
fn vlan_tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the header was filled by a `recvmsg` that succeeded, and its control buffer is still alive.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: the kernel wrote a whole control header here, aligned, within the control buffer.
        let found = unsafe { *header };
        let wanted = size_of::<libc::cmsghdr>() + size_of::<libc::tpacket_auxdata>();
        if found.cmsg_level == libc::SOL_PACKET
            && found.cmsg_type == libc::PACKET_AUXDATA
            && found.cmsg_len >= wanted
        {
            // SAFETY: the kernel wrote the whole structure after this header, as its length says; it needs
            // no alignment when read so.
            let data: libc::tpacket_auxdata =
                unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
            if data.tp_status & TP_STATUS_VLAN_VALID == 0 {
                return None;
            }
            let with_protocol = data.tp_status & TP_STATUS_VLAN_TPID_VALID != 0;
            let protocol = if with_protocol { data.tp_vlan_tpid } else { 0x8100 };
            let [a, b] = protocol.to_be_bytes();
            let [c, d] = data.tp_vlan_tci.to_be_bytes();
            return Some([a, b, c, d]);
        }
        // SAFETY: both pointers come from the same message, still alive.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}
