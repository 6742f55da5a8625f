//! What a type 1 IOMMU translates, out of the kernel's answer.
//!
//! Contract: ranges come from the kernel, which leaves out reserved regions and the MSI window. A kernel too old to say
//! (before 5.4) gets a range that every IOMMU translates and no machine reserves. An answer that makes no sense is an
//! error, not a guess.
//!
//! Source: Linux, `include/uapi/linux/vfio.h`, `struct vfio_iommu_type1_info`.

use super::ioctl::{Information, pairs, u32_at};
use crate::Error;
use ringway_dma::{Iova, IovaRange, Limits};
use std::mem::offset_of;
use vfio_bindings::bindings::vfio::{
    VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_INFO_PGSIZES, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
    VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, vfio_iommu_type1_info, vfio_iommu_type1_info_dma_avail,
};

/// What is safe to assume of a kernel that doesn't say: above the MSI window and everything that firmware reserves,
/// below what the narrowest IOMMU in use (39 bits) translates.
const CONSERVATIVE: IovaRange = IovaRange { first: Iova::new(1 << 32), last: Iova::new((1 << 39) - 1) };

/// The limits in an answer; `mapped` is how many mappings exist now.
pub(super) fn read(information: &Information, mapped: usize) -> Result<Limits, Error> {
    let nonsense = |what: &'static str| Error::Nonsense { request: "VFIO_IOMMU_GET_INFO", what };
    let word = |place| information.u32_at(place).ok_or(nonsense("it is too short"));
    let flags = word(offset_of!(vfio_iommu_type1_info, flags))?;
    let page_sizes = match information.u64_at(offset_of!(vfio_iommu_type1_info, iova_pgsizes)) {
        Some(sizes) if flags & VFIO_IOMMU_INFO_PGSIZES != 0 && sizes != 0 => sizes,
        _ => rustix::param::page_size() as u64,
    };
    let mut limits = Limits { ranges: vec![CONSERVATIVE], page_sizes, mappings: None };
    if flags & VFIO_IOMMU_INFO_CAPS == 0 {
        return Ok(limits);
    }
    let first = word(offset_of!(vfio_iommu_type1_info, cap_offset))?;
    if let Some(ranges) =
        information.capability(first, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE).map_err(nonsense)?
    {
        limits.ranges = pairs(ranges)
            .map_err(nonsense)?
            .into_iter()
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| IovaRange { first: Iova::new(first), last: Iova::new(last) })
            .collect();
        limits.ranges.sort_by_key(|range| range.first);
    }
    if let Some(left) = information.capability(first, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL).map_err(nonsense)? {
        let left = u32_at(left, offset_of!(vfio_iommu_type1_info_dma_avail, avail))
            .ok_or(nonsense("a capability is longer than the answer"))?;
        limits.mappings = Some(mapped.saturating_add(left as usize));
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: usize = size_of::<vfio_iommu_type1_info>();

    /// A whole answer: flags, page sizes, then capabilities `(id, words behind the header)` in a sound chain.
    fn answer(flags: u32, sizes: u64, capabilities: &[(u16, &[u32])]) -> Information {
        let mut bytes = vec![0u8; HEAD];
        bytes[4..8].copy_from_slice(&flags.to_ne_bytes());
        bytes[8..16].copy_from_slice(&sizes.to_ne_bytes());
        if !capabilities.is_empty() {
            bytes[16..20].copy_from_slice(&(HEAD as u32).to_ne_bytes());
        }
        for (index, (id, words)) in capabilities.iter().enumerate() {
            let next = if index + 1 < capabilities.len() { bytes.len() + 8 + words.len() * 4 } else { 0 };
            bytes.extend(id.to_ne_bytes());
            bytes.extend(1u16.to_ne_bytes());
            bytes.extend((next as u32).to_ne_bytes());
            bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }
        Information::made_up(bytes, HEAD)
    }

    fn range(first: u64, last: u64) -> IovaRange {
        IovaRange { first: Iova::new(first), last: Iova::new(last) }
    }

    #[test]
    fn ranges_page_sizes_and_the_number_of_mappings_are_read() {
        // A 39-bit unit with the MSI window left out, as Linux 6.1 reports QEMU's.
        let ranges = [2, 0, 0, 0, 0xfedf_ffff, 0, 0xfef0_0000, 0, 0xffff_ffff, 0x7f];
        let information = answer(3, 0x4020_1000, &[(2, &[0; 4]), (1, &ranges), (3, &[65535, 0])]);
        let limits = read(&information, 5).unwrap();
        assert_eq!(limits.ranges, [range(0, 0xfedf_ffff), range(0xfef0_0000, 0x7f_ffff_ffff)]);
        assert_eq!(limits.page_sizes, 0x4020_1000);
        assert_eq!(limits.mappings, Some(65540));
    }

    #[test]
    fn an_old_kernel_gets_a_range_that_every_machine_has() {
        for information in
            [answer(1, 0x1000, &[]), answer(3, 0x1000, &[]), answer(3, 0x1000, &[(2, &[0; 4])])]
        {
            let limits = read(&information, 0).unwrap();
            assert_eq!(limits.ranges, [range(1 << 32, (1 << 39) - 1)]);
            assert_eq!(limits.mappings, None);
        }
        assert_eq!(read(&answer(0, 0, &[]), 0).unwrap().page_sizes, rustix::param::page_size() as u64);
    }

    #[test]
    fn ranges_come_out_in_order_and_backward_ones_not_at_all() {
        let ranges = [3, 0, 0x9000, 0, 0xffff, 0, 0x8000, 0, 0x7fff, 0, 0x1000, 0, 0x1fff, 0];
        let limits = read(&answer(3, 0x1000, &[(1, &ranges)]), 0).unwrap();
        assert_eq!(limits.ranges, [range(0x1000, 0x1fff), range(0x9000, 0xffff)]);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error() {
        let wrong = [
            Information::made_up(vec![0; 7], HEAD),
            answer(3, 0x1000, &[(1, &[4, 0, 0, 0, 0, 0])]),
            answer(3, 0x1000, &[(1, &[])]),
            answer(3, 0x1000, &[(3, &[])]),
        ];
        for information in wrong {
            let error = read(&information, 0).unwrap_err();
            assert!(error.to_string().contains("VFIO_IOMMU_GET_INFO"), "{error}");
        }
    }
}
