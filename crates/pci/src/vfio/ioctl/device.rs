//! Requests on a device, however it was opened: through a group, or as a character device of its own.

use super::{Information, call_number, call_structure, request};
use rustix::io;
use rustix::ioctl::Opcode;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, vfio_device_info,
    vfio_irq_info, vfio_region_info,
};

pub(super) const GET_INFO: Opcode = request(7);
pub(super) const GET_REGION_INFO: Opcode = request(8);
pub(super) const GET_IRQ_INFO: Opcode = request(9);
pub(super) const SET_IRQS: Opcode = request(10);
pub(super) const RESET: Opcode = request(11);

/// What a device is and has. May be asked of any file; only a device answers.
pub(in crate::vfio) fn information(descriptor: BorrowedFd<'_>) -> io::Result<vfio_device_info> {
    let mut information =
        vfio_device_info { argsz: size_of::<vfio_device_info>() as u32, ..Default::default() };
    // SAFETY: the request takes this structure and has this meaning only, on a device; others refuse it.
    unsafe { call_structure::<GET_INFO, _>(descriptor, &mut information) }?;
    Ok(information)
}

/// Region `index`: where it lies in the file, how long it is, what may be done with it.
pub(in crate::vfio) fn region(device: BorrowedFd<'_>, index: u32) -> io::Result<Information> {
    let fill = [(offset_of!(vfio_region_info, index), index)];
    // SAFETY: the request takes a `vfio_region_info`, which starts with `argsz`.
    unsafe { Information::ask::<GET_REGION_INFO>(device, size_of::<vfio_region_info>(), &fill) }
}

/// Interrupts of kind `index`.
pub(in crate::vfio) fn interrupts(device: BorrowedFd<'_>, index: u32) -> io::Result<vfio_irq_info> {
    let mut information =
        vfio_irq_info { argsz: size_of::<vfio_irq_info>() as u32, index, ..Default::default() };
    // SAFETY: the request takes this structure.
    unsafe { call_structure::<GET_IRQ_INFO, _>(device, &mut information) }?;
    Ok(information)
}

/// Connects the interrupts of kind `index`, from the first, to these event counters, all at once. An answer above
/// zero is no success: so many vectors could have been had.
pub(in crate::vfio) fn connect(
    device: BorrowedFd<'_>,
    index: u32,
    counters: &[Arc<OwnedFd>],
) -> io::Result<i32> {
    let flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
    let mut words = interrupt_request(index, flags, counters.iter().map(|counter| counter.as_raw_fd()));
    // SAFETY: the request takes a `vfio_irq_set` with as many descriptors behind it as its count says, all of
    // which `words` holds.
    unsafe { call_structure::<SET_IRQS, [u32]>(device, &mut words) }
}

/// Disconnects all interrupts of kind `index`.
pub(in crate::vfio) fn disconnect(device: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
    let mut words = interrupt_request(index, flags, std::iter::empty());
    // SAFETY: the request takes a `vfio_irq_set`, here with nothing behind it.
    unsafe { call_structure::<SET_IRQS, [u32]>(device, &mut words) }.map(drop)
}

/// A `vfio_irq_set` and its data, as words: argsz, flags, index, start, count, then one word a descriptor.
fn interrupt_request(index: u32, flags: u32, descriptors: impl Iterator<Item = i32>) -> Vec<u32> {
    let mut words = vec![0, flags, index, 0, 0];
    words.extend(descriptors.map(|descriptor| descriptor as u32));
    let count = words.len().saturating_sub(5) as u32;
    let bytes = words.len().saturating_mul(4) as u32;
    if let [argsz, _, _, _, data_count, ..] = words.as_mut_slice() {
        *argsz = bytes;
        *data_count = count;
    }
    words
}

/// Resets the device.
pub(in crate::vfio) fn reset(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes no argument.
    unsafe { call_number::<RESET>(device, 0) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfio_bindings::bindings::vfio::vfio_irq_set;

    #[test]
    fn an_interrupt_request_is_laid_out_as_the_kernel_reads_it() {
        let words = interrupt_request(2, 0x24, [7, 9, -1].into_iter());
        let at = |place: usize| words[place / 4];
        assert_eq!(at(offset_of!(vfio_irq_set, argsz)), 32);
        assert_eq!(at(offset_of!(vfio_irq_set, flags)), 0x24);
        assert_eq!(at(offset_of!(vfio_irq_set, index)), 2);
        assert_eq!(at(offset_of!(vfio_irq_set, start)), 0);
        assert_eq!(at(offset_of!(vfio_irq_set, count)), 3);
        assert_eq!(words[offset_of!(vfio_irq_set, data) / 4..], [7, 9, u32::MAX]);
        assert_eq!(interrupt_request(2, 0x21, std::iter::empty()), [20, 0x21, 2, 0, 0]);
    }
}
