//! Requests on a container (`/dev/vfio/vfio`).

use super::{Information, call_number, call_structure, request};
use rustix::io;
use rustix::ioctl::Opcode;
use std::os::fd::BorrowedFd;
use vfio_bindings::bindings::vfio::{
    VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap,
    vfio_iommu_type1_info,
};

pub(super) const GET_API_VERSION: Opcode = request(0);
pub(super) const CHECK_EXTENSION: Opcode = request(1);
pub(super) const SET_IOMMU: Opcode = request(2);
pub(super) const GET_INFO: Opcode = request(12);
pub(super) const MAP_DMA: Opcode = request(13);
pub(super) const UNMAP_DMA: Opcode = request(14);

/// The version of the API that the kernel speaks. May be asked of any file; only a container answers.
pub(in crate::vfio) fn api_version(descriptor: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: the request takes no argument and has this meaning only, on a container; others refuse it.
    unsafe { call_number::<GET_API_VERSION>(descriptor, 0) }
}

/// Whether the container can have this kind of IOMMU.
pub(in crate::vfio) fn has_extension(container: BorrowedFd<'_>, kind: u32) -> io::Result<bool> {
    // SAFETY: the request takes a number.
    Ok(unsafe { call_number::<CHECK_EXTENSION>(container, kind as usize) }? > 0)
}

/// Gives the container an IOMMU of this kind. It must have a group, and no IOMMU yet.
pub(in crate::vfio) fn set_iommu(container: BorrowedFd<'_>, kind: u32) -> io::Result<()> {
    // SAFETY: the request takes a number.
    unsafe { call_number::<SET_IOMMU>(container, kind as usize) }.map(drop)
}

/// What the IOMMU translates. `EINVAL` from a container that has no IOMMU yet.
pub(in crate::vfio) fn information(container: BorrowedFd<'_>) -> io::Result<Information> {
    // SAFETY: on a container the request takes a `vfio_iommu_type1_info`, which starts with `argsz`.
    unsafe { Information::ask::<GET_INFO>(container, size_of::<vfio_iommu_type1_info>(), &[]) }
}

/// Maps `length` bytes of this process from `address` at `iova`, for reading and writing.
///
/// # Safety
/// Devices may change the memory from now on, until it is unmapped: see `ringway_dma::Iommu::map`.
pub(in crate::vfio) unsafe fn map(
    container: BorrowedFd<'_>,
    iova: u64,
    address: usize,
    length: usize,
) -> io::Result<()> {
    let mut mapping = vfio_iommu_type1_dma_map {
        argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
        flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        vaddr: address as u64,
        iova,
        size: length as u64,
    };
    // SAFETY: the request takes this structure; the memory's fate is the caller's promise.
    unsafe { call_structure::<MAP_DMA, _>(container, &mut mapping) }.map(drop)
}

/// Unmaps a range, and gives how many bytes the kernel says it unmapped.
pub(in crate::vfio) fn unmap(container: BorrowedFd<'_>, iova: u64, length: usize) -> io::Result<u64> {
    let mut range = vfio_iommu_type1_dma_unmap {
        argsz: size_of::<vfio_iommu_type1_dma_unmap>() as u32,
        flags: 0,
        iova,
        size: length as u64,
        ..Default::default()
    };
    // SAFETY: the request takes this structure, and its flags ask for nothing behind it.
    unsafe { call_structure::<UNMAP_DMA, _>(container, &mut range) }?;
    Ok(range.size)
}
