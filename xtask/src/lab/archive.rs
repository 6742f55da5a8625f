//! The guest's first file system: a cpio archive of the form "newc", which the Linux kernel unpacks at boot.
//!
//! Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;

const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive being written. Entries belong to root.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a folder, and those above it that aren't there yet. `path` has no leading slash.
    pub fn folder(&mut self, path: &str) {
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let part = path.get(..end).unwrap_or_default();
            if !part.is_empty() && self.folders.insert(part.to_owned()) {
                self.entry(part, FOLDER | 0o755, &[]);
            }
        }
    }

    /// Adds a file, its folders included; `mode` is its permission bits.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parent(path);
        self.entry(path, REGULAR | mode, content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parent(path);
        self.entry(path, LINK | 0o777, target.as_bytes());
    }

    /// Ends the archive. Several finished archives may follow each other in one image.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn parent(&mut self, path: &str) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries = self.entries.wrapping_add(1);
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        let fields = [
            self.entries,         // inode
            mode,                 //
            0,                    // user
            0,                    // group
            links,                //
            0,                    // time of change
            size(content.len()),  //
            0,                    // device, major
            0,                    // device, minor
            0,                    // node's device, major
            0,                    // node's device, minor
            size(name.len() + 1), // name with its NUL
            0,                    // check sum: none in this form
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A size in the archive's 32-bit field. A larger file is of no use: the kernel refuses the image and says so.
fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], from: usize, length: usize) -> &str {
        std::str::from_utf8(&bytes[from..from + length]).unwrap()
    }

    #[test]
    fn an_entry_has_the_kernels_header_and_is_padded_to_four_bytes() {
        let mut archive = Archive::new();
        archive.file("init", 0o755, b"hello");
        let bytes = archive.finish();
        assert_eq!(text(&bytes, 0, 6), "070701");
        assert_eq!(text(&bytes, 14, 8), "000081ED");
        assert_eq!(text(&bytes, 54, 8), "00000005");
        assert_eq!(text(&bytes, 94, 8), "00000005");
        // 110 bytes of header and "init\0" end at 115: one byte of padding, five of content, three of padding.
        assert_eq!(&bytes[110..124], b"init\0\0hello\0\0\0");
        assert_eq!(text(&bytes, 124, 6), "070701");
        assert!(bytes.len().is_multiple_of(4));
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_only_once() {
        let mut archive = Archive::new();
        archive.file("a/b/one", 0o644, b"");
        archive.link("a/b/two", "one");
        let bytes = archive.finish();
        let names: Vec<&str> =
            ["a\0", "a/b\0", "a/b/one\0", "a/b/two\0", "TRAILER!!!\0"].into_iter().collect();
        let mut at = 0;
        for name in names {
            let found = bytes[at..].windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
            at += found + name.len();
        }
        assert_eq!(bytes.windows(6).filter(|part| *part == b"070701").count(), 5);
    }
}
