//! PCI functions from user space: discovery, registers, interrupts, VFIO, binding.
