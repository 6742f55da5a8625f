//! Memory that a device can reach: address spaces, regions, descriptor rings.
