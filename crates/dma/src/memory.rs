//! Pages from the kernel: memory files in huge pages where they are reserved, in ordinary pages otherwise.
//!
//! Always a memory file (`memfd_create(2)`), never a named one: nothing is left behind by a killed process, and
//! another process can be handed the file. `vm-memory` owns the mapping.

use crate::Error;
use std::io;
use vm_memory::FileOffset;
use vm_memory::mmap::{MmapRegion, MmapRegionError};

/// The pages that a region is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageSize {
    /// What the machine uses by default.
    Ordinary,
    /// 2 MiB.
    Huge2M,
    /// 1 GiB.
    Huge1G,
}

impl PageSize {
    /// The size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Ordinary => rustix::param::page_size(),
            Self::Huge2M => 2 << 20,
            Self::Huge1G => 1 << 30,
        }
    }

    /// The name for a person.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary pages",
            Self::Huge2M => "2 MiB pages",
            Self::Huge1G => "1 GiB pages",
        }
    }
}

/// Where memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The NUMA node to take it from, if the machine has several. A wish: other nodes serve when it is full.
    pub numa_node: Option<u32>,
    /// The largest page that may be used. Huge pages are taken where they are reserved and no more than half
    /// of the last one would lie idle.
    pub largest_page: PageSize,
}

impl Default for Placement {
    fn default() -> Self {
        Self { numa_node: None, largest_page: PageSize::Huge1G }
    }
}

/// Whole pages of this process, at a page's boundary, given back when dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    region: MmapRegion,
    /// Where in the region it begins: at once, but under Miri.
    start: usize,
    length: usize,
}

impl Memory {
    /// The first byte.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.region.as_ptr().wrapping_add(self.start)
    }

    /// How many bytes there are.
    pub(crate) fn size(&self) -> usize {
        self.length
    }

    /// The file that it is a mapping of, if there is one.
    pub(crate) fn file_offset(&self) -> Option<&FileOffset> {
        self.region.file_offset()
    }
}

/// Maps at least `bytes` bytes, zeroed, in the largest pages that serve. Every page is there when it returns.
pub(crate) fn allocate(bytes: usize, placement: Placement) -> Result<(Memory, PageSize), Error> {
    for pages in [PageSize::Huge1G, PageSize::Huge2M] {
        let size = pages.bytes();
        // A 40 KiB ring in a 2 MiB page would lock fifty times what it needs.
        let fits =
            bytes.checked_next_multiple_of(size).is_some_and(|whole| whole.saturating_sub(bytes) <= size / 2);
        if pages <= placement.largest_page
            && fits
            && let Ok(region) = map(bytes, pages, placement.numa_node)
        {
            return Ok((region, pages));
        }
    }
    let region = map(bytes, PageSize::Ordinary, placement.numa_node)?;
    Ok((region, PageSize::Ordinary))
}

fn map(bytes: usize, pages: PageSize, numa_node: Option<u32>) -> Result<Memory, Error> {
    let failed = |source: io::Error| Error::Memory { bytes, pages: pages.name(), source };
    let length =
        bytes.checked_next_multiple_of(pages.bytes()).filter(|&length| length > 0).ok_or(Error::Size {
            what: "region",
            value: bytes as u64,
            allowed: "1 byte up to what the address space holds",
        })?;
    let memory = back(length, pages).map_err(failed)?;
    if let Some(node) = numa_node {
        prefer_node(&memory, node);
    }
    populate(&memory).map_err(failed)?;
    Ok(memory)
}

/// A memory file of `length` bytes, whole pages, mapped.
#[cfg(not(miri))]
fn back(length: usize, pages: PageSize) -> io::Result<Memory> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let kind = match pages {
        PageSize::Ordinary => MemfdFlags::empty(),
        PageSize::Huge2M => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
        PageSize::Huge1G => MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB,
    };
    let file = memfd_create(c"ringway", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | kind)?;
    ftruncate(&file, length as u64)?;
    // Whoever is handed the file can't take pages away from under this process (it would get SIGBUS).
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    let file = FileOffset::new(std::fs::File::from(file), 0);
    // Not MAP_NORESERVE: huge pages are then reserved here, or refused here, not by a signal later.
    Ok(Memory { region: build(Some(file), length, libc::MAP_SHARED)?, start: 0, length })
}

/// Under Miri, which has no memory files and no huge pages: memory that no other process can be handed. `vm-memory` takes
/// it from the allocator there, at no page's boundary: so there is a page more, for one to be in it.
#[cfg(miri)]
fn back(length: usize, pages: PageSize) -> io::Result<Memory> {
    if pages != PageSize::Ordinary {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let more = length.checked_add(pages.bytes()).ok_or(io::ErrorKind::OutOfMemory)?;
    let region = build(None, more, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)?;
    let start = region.as_ptr().align_offset(pages.bytes());
    if start > pages.bytes() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    Ok(Memory { region, start, length })
}

fn build(file: Option<FileOffset>, length: usize, flags: i32) -> io::Result<MmapRegion> {
    MmapRegion::build(file, length, libc::PROT_READ | libc::PROT_WRITE, flags).map_err(|error| match error {
        MmapRegionError::Mmap(error) => error,
        other => io::Error::other(other),
    })
}

/// Asks for every page now, so that a shortage is an error here and not a signal at the first touch.
#[cfg(not(miri))]
fn populate(memory: &Memory) -> io::Result<()> {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the range is the mapping that `memory` owns; populating changes none of its contents.
    let populated = unsafe { madvise(memory.as_ptr().cast(), memory.size(), Advice::LinuxPopulateWrite) };
    match populated {
        // Kernels before 5.14 don't know the request: the pages then come when VFIO pins them.
        Err(rustix::io::Errno::INVAL) | Ok(()) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Under Miri every page is there.
#[cfg(miri)]
fn populate(_memory: &Memory) -> io::Result<()> {
    Ok(())
}

/// Prefers a NUMA node for pages that don't exist yet. A wish, so a refusal (no NUMA in the kernel) is no error.
#[cfg(not(miri))]
fn prefer_node(memory: &Memory, node: u32) {
    let mut mask = [0u64; 16];
    let Some(word) = mask.get_mut(node as usize / 64) else { return };
    *word = 1 << (node % 64);
    let bits = mask.len().saturating_mul(64);
    // SAFETY: mbind(2) reads `mask` for `bits` bits during the call and only sets the policy of the mapping that
    // `memory` owns.
    unsafe {
        libc::syscall(
            libc::SYS_mbind,
            memory.as_ptr(),
            memory.size(),
            libc::MPOL_PREFERRED,
            mask.as_ptr(),
            bits,
            0,
        )
    };
}

/// Under Miri all memory is of one kind.
#[cfg(miri)]
fn prefer_node(_memory: &Memory, _node: u32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_region_takes_no_huge_page() {
        let (region, pages) = allocate(40 << 10, Placement::default()).unwrap();
        assert_eq!(pages, PageSize::Ordinary);
        assert_eq!(region.size(), 40 << 10);
    }

    #[test]
    #[cfg_attr(miri, ignore = "there is no /proc/meminfo")]
    fn when_huge_pages_are_gone_ordinary_ones_serve() {
        let field = |name: &str| {
            let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            line.and_then(|line| {
                line.trim_start_matches(':').split_whitespace().next()?.parse::<usize>().ok()
            })
        };
        let huge = PageSize::Huge2M.bytes();
        // All that are there, up to what a test may take, and then one more region than there are pages for.
        let free = field("HugePages_Free").unwrap_or(0).min(64);
        let mut held = Vec::new();
        for _ in 0..=free {
            held.push(allocate(huge, Placement::default()).unwrap());
        }
        let (region, pages) = held.last().unwrap();
        assert!(region.size() >= huge, "memory there is in any case");
        if free < 64 {
            assert_eq!(*pages, PageSize::Ordinary);
        }
    }

    #[test]
    fn no_bytes_and_too_many_are_refused() {
        assert!(matches!(allocate(0, Placement::default()), Err(Error::Size { .. })));
        assert!(allocate(usize::MAX, Placement::default()).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "there are no memory files")]
    fn whoever_has_the_file_can_not_shrink_it() {
        let (region, _) = allocate(8192, Placement::default()).unwrap();
        let file = region.file_offset().unwrap().file();
        assert!(file.set_len(4096).is_err() && file.set_len(1 << 20).is_err());
        assert_eq!(file.metadata().unwrap().len(), 8192);
    }

    #[test]
    fn a_node_that_is_not_there_is_only_a_wish() {
        let placement = Placement { numa_node: Some(1000), ..Placement::default() };
        assert!(allocate(4096, placement).is_ok());
        let placement = Placement { numa_node: Some(100_000), ..Placement::default() };
        assert!(allocate(4096, placement).is_ok());
    }
}
