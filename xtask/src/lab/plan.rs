//! What the lab's first half (which fetches and builds) hands to its second (which boots and tests).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::accelerator::Accelerator;
use super::fetch::{Analysers, Kernel, Qemu};

/// Everything a guest needs, as paths.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The emulator.
    pub qemu: Qemu,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The guest's first file system.
    pub image: PathBuf,
    /// What goes over it for a guest that is a small Debian machine.
    pub userland: PathBuf,
    /// A static busybox for the host's side of the wires.
    pub busybox: PathBuf,
    /// What runs the guest's processor; settled by the second half if it isn't given.
    pub accelerator: Option<Accelerator>,
    /// Where the machine's own trial of its accelerator is remembered.
    pub accelerator_record: PathBuf,
    /// The program under test, as it is in the guest: it runs outside too, linked statically.
    pub program: PathBuf,
    /// What others see in traffic and in capture files.
    pub analysers: Analysers,
    /// The folder below which there are others' capture files.
    pub captures: PathBuf,
    /// Where consoles and logs go.
    pub logs: PathBuf,
    /// The cases to run.
    pub cases: Vec<String>,
    /// Keep the logs of cases that pass, too.
    pub keep: bool,
}

impl Plan {
    /// Writes it for the second half.
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::cache::write_whole(path, &serde_json::to_vec_pretty(self)?)
    }

    /// Reads what the first half wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot understand {}", path.display()))
    }
}
