//! The virtio-net driver.
