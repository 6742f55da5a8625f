//! What of the device can be read: registers, the EEPROM, the module's memories.

use crate::support::{Answer, OWN, Setup, open};
use ringway_model::ixgbe::{Options, Personality};

fn with(personality: Personality, module: bool) -> Setup {
    Setup { model: Options { personality, module, ..Options::default() }, ..Setup::default() }
}

#[test]
fn registers_are_shown_by_name_and_showing_them_changes_nothing() {
    for personality in [Personality::Fibre82599, Personality::X550] {
        let mut port = open(with(personality, true));
        assert!(port.device.inject(&crate::support::frame(1, 60)));
        let first = port.control.registers().unwrap();
        let value = |name: &str| first.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        assert_eq!(value("RAL[0]"), Some(u32::from_le_bytes(OWN[..4].try_into().unwrap())));
        assert_eq!(value("MAXFRS"), Some(1522 << 16));
        assert_eq!(value("RDLEN[0]"), Some(512 * 16));
        assert_eq!((value("RDH[0]"), value("RDT[0]"), value("RDT[1]")), (Some(1), Some(511), None));
        assert_eq!(value("EITR[24]"), Some(port.watch.read(0x12300)));
        assert_eq!(port.control.registers().unwrap(), first);
        let mut names: Vec<&String> = first.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), first.len());
        // What was counted and caused before is still there.
        assert_eq!(port.counter("GPRC"), 1);
        assert!(port.take().is_some());
        port.close();
    }
}

#[test]
fn the_eeprom_is_read_whole_and_its_words_sum_up() {
    for personality in [Personality::Fibre82599, Personality::Backplane82599] {
        let mut port = open(with(personality, true));
        let bytes = port.control.eeprom().unwrap();
        assert_eq!((bytes.len(), &bytes[..6]), (4096, &OWN[..]));
        let words: Vec<u16> = bytes.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word)).collect();
        assert_eq!(words[..0x40].iter().fold(0u16, |sum, word| sum.wrapping_add(*word)), 0xbaba);
        port.close();
    }
    let mut port = open(with(Personality::X540, true));
    let said = port.control.eeprom().unwrap_err().to_string();
    assert!(said.contains("emulated:0") && said.contains("X540"), "{said}");
    port.close();
}

#[test]
fn a_modules_memories_are_identity_and_diagnostics() {
    let mut port = open(with(Personality::Fibre82599, true));
    let bytes = port.control.module_eeprom().unwrap();
    assert_eq!((bytes.len(), bytes[0], &bytes[20..27]), (512, 3, &b"RINGWAY"[..]));
    assert_eq!(&bytes[256 + 96..256 + 98], [35, 0], "35 degrees");
    assert!(port.control.link().unwrap().is_up(), "and the wires are free again");
    port.close();
    let mut empty = open(with(Personality::Fibre82599, false));
    assert!(empty.control.module_eeprom().unwrap_err().to_string().contains("reseat"));
    empty.close();
    for personality in [Personality::Backplane82599, Personality::X540] {
        let mut port = open(with(personality, true));
        assert!(port.control.module_eeprom().unwrap_err().to_string().contains("no cage"));
        port.close();
    }
}

#[test]
fn a_device_that_is_gone_shows_nothing() {
    let mut port = open(Setup::default());
    port.watch.record().answer = Answer::Ones;
    assert!(port.control.registers().is_err());
    assert!(port.control.eeprom().is_err());
    assert!(port.control.module_eeprom().is_err());
    port.watch.record().answer = Answer::Model;
    port.close();
}
