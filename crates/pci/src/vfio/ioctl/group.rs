//! Requests on an IOMMU group (`/dev/vfio/N`).

use super::{call_structure, request};
use rustix::io;
use rustix::ioctl::Opcode;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use vfio_bindings::bindings::vfio::{
    VFIO_GROUP_FLAGS_CONTAINER_SET, VFIO_GROUP_FLAGS_VIABLE, vfio_group_status,
};

pub(super) const GET_STATUS: Opcode = request(3);
pub(super) const SET_CONTAINER: Opcode = request(4);
pub(super) const GET_DEVICE_FD: Opcode = request(6);

/// The longest name of a function, with its end.
const NAME_BYTES: usize = 32;

/// What the kernel says of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vfio) struct Status {
    /// No member is in the kernel's hands.
    pub(in crate::vfio) viable: bool,
    /// It is in a container already.
    pub(in crate::vfio) in_container: bool,
}

/// A group's status. May be asked of any file; only a group answers.
pub(in crate::vfio) fn status(descriptor: BorrowedFd<'_>) -> io::Result<Status> {
    let mut status = vfio_group_status { argsz: size_of::<vfio_group_status>() as u32, flags: 0 };
    // SAFETY: the request takes this structure and has this meaning only, on a group; others refuse it.
    unsafe { call_structure::<GET_STATUS, _>(descriptor, &mut status) }?;
    Ok(Status {
        viable: status.flags & VFIO_GROUP_FLAGS_VIABLE != 0,
        in_container: status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET != 0,
    })
}

/// Puts a group into a container.
pub(in crate::vfio) fn set_container(group: BorrowedFd<'_>, container: BorrowedFd<'_>) -> io::Result<()> {
    let mut number = container.as_raw_fd();
    // SAFETY: the request takes a pointer to the descriptor's number, an `int`.
    unsafe { call_structure::<SET_CONTAINER, i32>(group, &mut number) }.map(drop)
}

/// Opens a function of the group by its name (`0000:03:00.0`).
pub(in crate::vfio) fn device(group: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let mut buffer = [0u8; NAME_BYTES];
    let bytes = name.to_bytes_with_nul();
    buffer.get_mut(..bytes.len()).ok_or(io::Errno::NAMETOOLONG)?.copy_from_slice(bytes);
    // SAFETY: the request takes a string that ends with a zero, which `buffer` holds.
    let number = unsafe { call_structure::<GET_DEVICE_FD, _>(group, &mut buffer) }?;
    if number < 0 {
        return Err(io::Errno::BADF);
    }
    // SAFETY: the kernel made this descriptor for us just now; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
