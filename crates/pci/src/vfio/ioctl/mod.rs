//! VFIO's requests to the kernel, one file an object: [`container`], [`group`], [`device`].
//!
//! Contract: a function makes one request and gives its answer or its errno; it judges neither. Which kind of file
//! a descriptor is must be known before: request 113 maps memory on a container and resets the bus on a device. So
//! only the requests that have one meaning (API version, group status, device information) may go to a descriptor
//! of unknown kind; `container.rs`, `group.rs` and `device.rs` one level up see to it.
//!
//! Source: Linux, `include/uapi/linux/vfio.h`. Not here: what to do with the answers.

pub(super) mod container;
pub(super) mod device;
pub(super) mod group;
mod information;

pub(super) use information::{Information, Nonsense, pairs, u32_at};

use rustix::io;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use vfio_bindings::bindings::vfio::{VFIO_BASE, VFIO_TYPE};

/// The code of VFIO's request `number`. They are all declared without direction and size.
const fn request(number: u32) -> Opcode {
    opcode::none(VFIO_TYPE, (VFIO_BASE + number) as u8)
}

/// A request whose argument is a number. Its answer is the return value, which rustix's own patterns drop.
struct Number<const REQUEST: Opcode>(usize);

// SAFETY: the kernel takes the argument of these requests as a number and reads or writes no memory; `call_number`'s
// contract has the caller say that `REQUEST` is one of them.
unsafe impl<const REQUEST: Opcode> Ioctl for Number<REQUEST> {
    type Output = i32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        REQUEST
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.0)
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut c_void) -> io::Result<i32> {
        Ok(answer)
    }
}

/// A request whose argument is a structure (or a buffer that starts with one), read and perhaps written by the kernel.
struct Structure<'a, const REQUEST: Opcode, T: ?Sized>(&'a mut T);

// SAFETY: the pointer is to a value that is borrowed mutably for the call; `call_structure`'s contract has the caller
// say that the kernel stays inside it and leaves a valid value.
unsafe impl<const REQUEST: Opcode, T: ?Sized> Ioctl for Structure<'_, REQUEST, T> {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        REQUEST
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut c_void) -> io::Result<i32> {
        Ok(answer)
    }
}

/// Makes a request whose argument is a number.
///
/// # Safety
/// `REQUEST` takes a number, on the kind of file that `descriptor` is or may be.
unsafe fn call_number<const REQUEST: Opcode>(descriptor: BorrowedFd<'_>, argument: usize) -> io::Result<i32> {
    // SAFETY: the contract of this function.
    unsafe { ioctl(descriptor, Number::<REQUEST>(argument)) }
}

/// Makes a request whose argument is a structure.
///
/// # Safety
/// On the kind of file that `descriptor` is or may be, `REQUEST` reads and writes no more than `T`'s size (a `T`
/// that starts with `argsz` says its size there), and any bytes make a valid `T`.
unsafe fn call_structure<const REQUEST: Opcode, T: ?Sized>(
    descriptor: BorrowedFd<'_>,
    structure: &mut T,
) -> io::Result<i32> {
    // SAFETY: the contract of this function.
    unsafe { ioctl(descriptor, Structure::<REQUEST, T>(structure)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfio_bindings::bindings::vfio::*;

    /// `_IO(';', 100 + n)`, as `linux/vfio.h` counts them.
    #[test]
    fn requests_have_the_numbers_of_the_kernels_header() {
        let numbers = [
            (container::GET_API_VERSION, 0x3b64),
            (container::CHECK_EXTENSION, 0x3b65),
            (container::SET_IOMMU, 0x3b66),
            (group::GET_STATUS, 0x3b67),
            (group::SET_CONTAINER, 0x3b68),
            (group::GET_DEVICE_FD, 0x3b6a),
            (device::GET_INFO, 0x3b6b),
            (device::GET_REGION_INFO, 0x3b6c),
            (device::GET_IRQ_INFO, 0x3b6d),
            (device::SET_IRQS, 0x3b6e),
            (device::RESET, 0x3b6f),
            (container::GET_INFO, 0x3b70),
            (container::MAP_DMA, 0x3b71),
            (container::UNMAP_DMA, 0x3b72),
        ];
        for (request, expected) in numbers {
            assert_eq!(request, expected, "{expected:#x}");
        }
        assert_eq!((VFIO_TYPE, VFIO_BASE), (b';', 100));
    }

    /// Structures that are passed by pointer are as long as the kernel's own (`argsz` says so to the kernel).
    #[test]
    fn structures_have_the_kernels_layout() {
        assert_eq!(size_of::<vfio_group_status>(), 8);
        assert_eq!(size_of::<vfio_device_info>(), 24);
        assert_eq!(size_of::<vfio_region_info>(), 32);
        assert_eq!(size_of::<vfio_irq_info>(), 16);
        assert_eq!(size_of::<vfio_irq_set>(), 20);
        assert_eq!(size_of::<vfio_iommu_type1_info>(), 24);
        assert_eq!(size_of::<vfio_iommu_type1_dma_map>(), 32);
        assert_eq!(size_of::<vfio_iommu_type1_dma_unmap>(), 24);
        assert_eq!(size_of::<vfio_info_cap_header>(), 8);
        assert_eq!(size_of::<vfio_iova_range>(), 16);
        assert_eq!(size_of::<vfio_region_sparse_mmap_area>(), 16);
    }
}
