//! Start-up handshakes, resets, semaphores, statistics.

use crate::driver::*;
use crate::frames::numbered;
use ringway_model::ixgbe::{LinkSpeed, Options, Personality};
use ringway_pci::Width;

#[test]
fn the_function_says_who_it_is() {
    for (personality, id) in [
        (Personality::Fibre82599, 0x10fb),
        (Personality::Backplane82599, 0x10f7),
        (Personality::X540, 0x1528),
        (Personality::X550, 0x1563),
    ] {
        let (_space, function, _bar, _device) = function(Options { personality, ..Options::default() });
        assert_eq!((function.identity().vendor, function.identity().device), (0x8086, id));
        assert_eq!(function.config_read(0, Width::Double).unwrap(), u32::from(id) << 16 | 0x8086);
        assert_eq!(
            function.config_read(0xb2, Width::Word).unwrap() & 0xf,
            2,
            "the link's speed at its place"
        );
        assert_eq!(function.msix_vectors(), 64);
    }
}

#[test]
fn a_reset_ends_at_once_and_brings_the_address_back() {
    let options = Options { mac: [2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee], ..Options::default() };
    let (_space, _function, bar, _device) = function(options);
    bar.write32(0xa200, 0);
    bar.write32(0x5080, 0x700);
    bar.write32(CTRL, 1 << 26);
    assert_eq!(bar.read32(CTRL) & (1 << 26 | 1 << 3), 0);
    assert_eq!(bar.read32(0x5080), 0);
    assert_eq!(bar.read32(0xa200), 0xccbb_aa02);
    assert_eq!(bar.read32(0x5404), 0x8000_eedd, "the second name of the address register");
    assert_ne!(bar.read32(0x10010) & 1 << 9, 0, "auto-read done");
    assert_ne!(bar.read32(0x2f00) & 1 << 3, 0, "receive DMA initialised");
    assert_eq!(bar.read32(0x8d04) & 1, 1);
    assert_eq!(bar.read32(0x8804) & 1, 1);
}

#[test]
fn master_disable_is_acknowledged_in_status() {
    let (_space, _function, bar, _device) = function(Options::default());
    assert_ne!(bar.read32(STATUS) & 1 << 19, 0);
    bar.write32(CTRL, 1 << 2);
    assert_eq!(bar.read32(STATUS) & 1 << 19, 0);
    bar.write32(CTRL, 1 << 26 | 1 << 2);
    assert_ne!(
        bar.read32(STATUS) & 1 << 19,
        0,
        "a reset ends it, also one that was asked for with the bit still set"
    );
}

#[test]
fn the_semaphore_is_taken_by_reading_and_given_back_by_writing() {
    let (_space, _function, bar, _device) = function(Options::default());
    assert_eq!(bar.read32(0x10140) & 1, 0);
    assert_eq!(bar.read32(0x10140) & 1, 1);
    bar.write32(0x10140, 2);
    assert_eq!(bar.read32(0x10140) & 3, 2, "the firmware's semaphore is granted");
    bar.write32(0x10140, 0);
    assert_eq!(bar.read32(0x10140) & 1, 0);
}

#[test]
fn the_eeprom_is_read_through_its_register() {
    let (_space, _function, bar, _device) = function(Options::default());
    let word = |address: u32| {
        bar.write32(0x10014, address << 2 | 1);
        let answer = bar.read32(0x10014);
        assert_ne!(answer & 2, 0);
        answer >> 16
    };
    let sum = (0..=0x3f).fold(0u16, |sum, address| sum.wrapping_add(word(address) as u16));
    assert_eq!(sum, 0xbaba);
}

#[test]
fn the_link_comes_and_goes_with_the_cable_the_module_and_the_laser() {
    let (_space, function, bar, mut device) = function(Options::default());
    function.set_bus_master(true).unwrap();
    assert_eq!(bar.read32(LINKS) & 0x7000_0000, 0x7000_0000);
    device.set_link(false);
    assert_eq!(bar.read32(LINKS) & 1 << 30, 0);
    assert_ne!(bar.read32(EICR) & 1 << 20, 0, "link status change");
    device.set_link(true);
    assert_eq!(bar.read32(LINKS) & (1 << 30 | 1 << 7), 1 << 30 | 1 << 7, "reading told of the interruption");
    device.set_link(false);
    device.set_link(true);
    assert_eq!(bar.read32(LINKS) & (1 << 30 | 1 << 7), 1 << 30, "it was interrupted");
    device.monitor().set_module(false);
    assert_eq!((bar.read32(LINKS) & 1 << 30, bar.read32(0x20) & 1 << 2), (0, 0));
    device.monitor().set_module(true);
    bar.write32(0x20, 1 << 3 | 1 << 11);
    assert_eq!(bar.read32(LINKS) & 1 << 30, 0, "laser off");
    bar.write32(0x20, 1 << 11);
    assert_ne!(bar.read32(LINKS) & 1 << 30, 0);
    bar.read32(EICR);
    bar.write32(0x42a0, bar.read32(0x42a0) | 1 << 12);
    assert_eq!(bar.read32(0x42a0) & 1 << 12, 0);
    assert_ne!(bar.read32(EICR) & 1 << 20, 0, "negotiation ended");
}

#[test]
fn a_slower_partner_gives_a_slower_link() {
    let (_space, _function, bar, _device) =
        function(Options { speed: LinkSpeed::Gigabit, ..Options::default() });
    assert_eq!(bar.read32(LINKS) >> 28 & 3, 2);
}

#[test]
fn statistics_clear_when_they_are_read() {
    let mut port = Port::start(Setup::default());
    for number in 0..3 {
        assert!(port.device.inject(&numbered(number)));
        port.send(0, &numbered(number));
    }
    port.settle();
    for (register, value) in
        [(GPRC, 3), (GPTC, 3), (GORCL, 3 * 64), (GOTCL, 3 * 64), (0x405c, 3), (0x40d8, 3)]
    {
        assert_eq!(port.read(register), value, "{register:#x}");
        assert_eq!(port.read(register), 0, "{register:#x} again");
    }
    // RQSMR is zero after a reset: all queues count in the first set.
    assert_eq!((port.read(0x1030), port.read(0x1034)), (3, 192));
    assert_eq!((port.read(0x8680), port.read(0x8700)), (3, 192));
    port.write(GPRC, 55);
    assert_eq!(port.read(GPRC), 0, "a counter can't be written");
}

#[test]
fn function_level_reset_stops_everything() {
    let mut port = Port::start(Setup::default());
    assert!(port.function.reset().unwrap());
    assert_eq!(port.read(0x1028), 0);
    assert!(!port.device.inject(&numbered(1)));
    assert_eq!(port.function.config_read(4, Width::Word).unwrap() & 4, 0);
}

#[test]
fn registers_take_whole_words_only() {
    let (_space, _function, bar, _device) = function(Options::default());
    bar.write32(0x200, 0x1234_5678);
    bar.write16(0x200, 0xffff);
    bar.write8(0x201, 0xff);
    assert_eq!((bar.read32(0x200), bar.read16(0x202), bar.read8(0x201)), (0x1234_5678, 0x1234, 0x56));
}
