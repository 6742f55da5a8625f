//! The registers in use, and their bits: each once, with the section of the 82599 datasheet (Intel 331520) that
//! defines it. X540 and X550 keep them at the same places.

pub(crate) mod steering;

use ringway_pci::Bar;

/// Bytes of BAR 0 that the registers in use lie in (section 8.1).
pub(crate) const LENGTH: u64 = 0x20000;

/// Device control (8.2.3.1.1).
pub(crate) const CTRL: u64 = 0x00000;
pub(crate) const CTRL_MASTER_DISABLE: u32 = 1 << 2;
pub(crate) const CTRL_LINK_RESET: u32 = 1 << 3;
pub(crate) const CTRL_RESET: u32 = 1 << 26;
/// Device status (8.2.3.1.2).
pub(crate) const STATUS: u64 = 0x00008;
pub(crate) const STATUS_LAN_ID_SHIFT: u32 = 2;
pub(crate) const STATUS_MASTER_ENABLED: u32 = 1 << 19;
/// Extended device control (8.2.3.1.3).
pub(crate) const CTRL_EXT: u64 = 0x00018;
pub(crate) const CTRL_EXT_NO_SNOOP_DISABLE: u32 = 1 << 16;
pub(crate) const CTRL_EXT_DRIVER_LOADED: u32 = 1 << 28;
/// Software-defined pins (8.2.3.1.4): how boards wire the SFP+ cage.
pub(crate) const ESDP: u64 = 0x00020;
pub(crate) const ESDP_MODULE_PRESENT: u32 = 1 << 2;
pub(crate) const ESDP_LASER_OFF: u32 = 1 << 3;
/// I2C control (8.2.3.1.5).
pub(crate) const I2CCTL: u64 = 0x00028;
pub(crate) const I2CCTL_CLOCK_IN: u32 = 1 << 0;
pub(crate) const I2CCTL_CLOCK_OUT: u32 = 1 << 1;
pub(crate) const I2CCTL_DATA_IN: u32 = 1 << 2;
pub(crate) const I2CCTL_DATA_OUT: u32 = 1 << 3;
/// LED control (8.2.3.1.6): four LEDs of eight bits, mode in the low four, blink in the highest.
pub(crate) const LEDCTL: u64 = 0x00200;
pub(crate) const LEDCTL_ON: u32 = 0x0e;
pub(crate) const LEDCTL_BLINK: u32 = 0x80;

/// EEPROM control (8.2.3.2.1).
pub(crate) const EEC: u64 = 0x10010;
pub(crate) const EEC_AUTO_READ_DONE: u32 = 1 << 9;
/// 64 words, and twice as many for each; 16 Ki at most, since there are 14 bits for a word's place.
pub(crate) const EEC_SIZE_SHIFT: u32 = 11;
pub(crate) const EEC_SIZE: u32 = 0xf;
pub(crate) const EEC_SMALLEST_SHIFT: u32 = 6;
pub(crate) const EEC_LARGEST: u32 = 8;
/// EEPROM read (8.2.3.2.2).
pub(crate) const EERD: u64 = 0x10014;
pub(crate) const EERD_START: u32 = 1 << 0;
pub(crate) const EERD_DONE: u32 = 1 << 1;
pub(crate) const EERD_ADDRESS_SHIFT: u32 = 2;
pub(crate) const EERD_DATA_SHIFT: u32 = 16;
/// Management control (8.2.3.2.4): whether the firmware is done with its configuration of port 0, of port 1.
pub(crate) const EEMNGCTL: u64 = 0x10110;
pub(crate) const EEMNGCTL_DONE_PORT0: u32 = 1 << 18;
/// Software semaphore (8.2.3.4.11).
pub(crate) const SWSM: u64 = 0x10140;
pub(crate) const SWSM_SMBI: u32 = 1 << 0;
pub(crate) const SWSM_SWESMBI: u32 = 1 << 1;
/// Software-firmware synchronisation (8.2.3.4.13).
pub(crate) const SW_FW_SYNC: u64 = 0x10160;
pub(crate) const SW_FW_SYNC_PHY0: u32 = 1 << 1;
pub(crate) const SW_FW_SYNC_MAC: u32 = 1 << 3;
/// The firmware's own bit of each.
pub(crate) const SW_FW_SYNC_FIRMWARE_SHIFT: u32 = 5;

/// Interrupt masks and automatisms (8.2.3.5).
pub(crate) const EIMS: u64 = 0x00880;
/// The same by vector, 32 a word (8.2.3.5.8, 8.2.3.5.9).
pub(crate) const fn eims_ex(word: u64) -> u64 {
    0x00aa0 + word * 4
}
pub(crate) const fn eimc_ex(word: u64) -> u64 {
    0x00ab0 + word * 4
}
pub(crate) const EIMC: u64 = 0x00888;
pub(crate) const EIMC_ALL: u32 = 0x7fff_ffff;
pub(crate) const EICR: u64 = 0x00800;
pub(crate) const EIAC: u64 = 0x00810;
pub(crate) const GPIE: u64 = 0x00898;
pub(crate) const GPIE_MULTIPLE_MSIX: u32 = 1 << 4;
pub(crate) const GPIE_PBA_SUPPORT: u32 = 1 << 31;
pub(crate) const fn ivar(queue_pair: u64) -> u64 {
    0x00900 + queue_pair * 4
}
pub(crate) const IVAR_VALID: u32 = 0x80;
/// The other causes' vector is in byte 1 (8.2.3.5.14).
pub(crate) const IVAR_MISC: u64 = 0x00a00;
pub(crate) const IVAR_MISC_OTHER_SHIFT: u32 = 8;
/// EICR and its masks: the link changed.
pub(crate) const CAUSE_LINK: u32 = 1 << 20;
pub(crate) const fn eitr(vector: u64) -> u64 {
    if vector < 24 { 0x00820 + vector * 4 } else { 0x12300 + (vector - 24) * 4 }
}
/// Interval in units of 2 microseconds in bits 11:3 (8.2.3.5.12). The counter starts at 0 with it.
pub(crate) const EITR_INTERVAL_SHIFT: u32 = 3;

/// Pause frames (8.2.3.3, 8.2.3.22.8): link flow control of the one traffic class.
pub(crate) const FCTTV_WORDS: u64 = 4;
pub(crate) const fn fcttv(word: u64) -> u64 {
    0x03200 + word * 4
}
pub(crate) const fn fcrtl(class: u64) -> u64 {
    0x03220 + class * 4
}
pub(crate) const FCRTL_RESUME: u32 = 1 << 31;
pub(crate) const fn fcrth(class: u64) -> u64 {
    0x03260 + class * 4
}
pub(crate) const FCRTH_ENABLE: u32 = 1 << 31;
pub(crate) const FCRTV: u64 = 0x032a0;
pub(crate) const FCCFG: u64 = 0x03d00;
pub(crate) const FCCFG_SEND: u32 = 1 << 3;
pub(crate) const MFLCN: u64 = 0x04294;
pub(crate) const MFLCN_DISCARD: u32 = 1 << 1;
pub(crate) const MFLCN_OBEY: u32 = 1 << 3;

/// Which set of counters each queue has (8.2.3.23.71, 8.2.3.23.73): four queues a word.
pub(crate) const QUEUE_MAP_WORDS: u64 = 32;
pub(crate) const fn rqsmr(word: u64) -> u64 {
    0x02300 + word * 4
}
pub(crate) const fn tqsm(word: u64) -> u64 {
    0x08600 + word * 4
}

/// The time protocol's clock (8.2.3.26); SYSTIMR and TSAUXC's highest bit are the X550's.
pub(crate) const TSYNCRXCTL: u64 = 0x05188;
/// A stamp waits in the registers, and keeps their place until it is read.
pub(crate) const TSYNCRXCTL_VALID: u32 = 1 << 0;
/// Events of version 2, over Ethernet and UDP.
pub(crate) const TSYNCRXCTL_EVENTS: u32 = 5 << 1;
pub(crate) const TSYNCRXCTL_ENABLE: u32 = 1 << 4;
pub(crate) const RXSTMPL: u64 = 0x051e8;
pub(crate) const RXSTMPH: u64 = 0x051a4;
/// Which UDP port, above, and which messages are events where only one kind is (8.2.3.26.2).
pub(crate) const RXMTRL: u64 = 0x05120;
pub(crate) const RXMTRL_UDP_EVENTS: u32 = 319 << 16;
pub(crate) const SYSTIML: u64 = 0x08c0c;
pub(crate) const SYSTIMH: u64 = 0x08c10;
pub(crate) const SYSTIMR: u64 = 0x08c58;
pub(crate) const TIMINCA: u64 = 0x08c14;
pub(crate) const TSAUXC: u64 = 0x08c20;
pub(crate) const TSAUXC_STOPPED: u32 = 1 << 31;

/// Receive filters (8.2.3.7).
pub(crate) const FCTRL: u64 = 0x05080;
pub(crate) const FCTRL_MULTICAST_PROMISCUOUS: u32 = 1 << 8;
pub(crate) const FCTRL_UNICAST_PROMISCUOUS: u32 = 1 << 9;
pub(crate) const FCTRL_BROADCAST_ACCEPT: u32 = 1 << 10;
pub(crate) const RXCSUM: u64 = 0x05000;
pub(crate) const RXCSUM_HASH_IN_DESCRIPTOR: u32 = 1 << 13;
pub(crate) const VLNCTRL: u64 = 0x05088;
pub(crate) const VLNCTRL_FILTER: u32 = 1 << 30;
pub(crate) const VFTA_WORDS: u64 = 128;
pub(crate) const fn vfta(word: u64) -> u64 {
    0x0a000 + word * 4
}
pub(crate) const MTA_WORDS: u64 = 128;
pub(crate) const fn mta(word: u64) -> u64 {
    0x05200 + word * 4
}
pub(crate) const RECEIVE_ADDRESSES: u64 = 128;
pub(crate) const fn ral(entry: u64) -> u64 {
    if entry < 16 { 0x05400 + entry * 8 } else { 0x0a200 + entry * 8 }
}
pub(crate) const fn rah(entry: u64) -> u64 {
    ral(entry) + 4
}
pub(crate) const RAH_VALID: u32 = 1 << 31;
pub(crate) const MRQC: u64 = 0x05818;
pub(crate) const MRQC_RSS: u32 = 1;
pub(crate) const RETA_WORDS: u64 = 32;
pub(crate) const fn reta(word: u64) -> u64 {
    0x05c00 + word * 4
}
/// X550: entries 128 to 511 (X550 datasheet, 8.2.2.7).
pub(crate) const ERETA_WORDS: u64 = 96;
pub(crate) const fn ereta(word: u64) -> u64 {
    0x0ee80 + word * 4
}
pub(crate) const fn rssrk(word: u64) -> u64 {
    0x05c80 + word * 4
}

/// Receive DMA (8.2.3.8), per queue.
const fn receive_queue(queue: u64, register: u64) -> u64 {
    if queue < 64 { 0x01000 + register + queue * 0x40 } else { 0x0d000 + register + (queue - 64) * 0x40 }
}
pub(crate) const fn rdbal(queue: u64) -> u64 {
    receive_queue(queue, 0x00)
}
pub(crate) const fn rdbah(queue: u64) -> u64 {
    receive_queue(queue, 0x04)
}
pub(crate) const fn rdlen(queue: u64) -> u64 {
    receive_queue(queue, 0x08)
}
pub(crate) const fn dca_rxctrl(queue: u64) -> u64 {
    receive_queue(queue, 0x0c)
}
pub(crate) const DCA_RXCTRL_NO_SNOOP: u32 = 1 << 12;
pub(crate) const fn rdh(queue: u64) -> u64 {
    receive_queue(queue, 0x10)
}
pub(crate) const fn srrctl(queue: u64) -> u64 {
    receive_queue(queue, 0x14)
}
pub(crate) const fn rdt(queue: u64) -> u64 {
    receive_queue(queue, 0x18)
}
pub(crate) const fn rxdctl(queue: u64) -> u64 {
    receive_queue(queue, 0x28)
}
pub(crate) const RXDCTL_VLAN_STRIP: u32 = 1 << 30;
pub(crate) const SRRCTL_ADVANCED_ONE_BUFFER: u32 = 1 << 25;
pub(crate) const SRRCTL_DROP_ENABLE: u32 = 1 << 28;
/// Receive and transmit queues share the bit's place (8.2.3.8.8, 8.2.3.9.10).
pub(crate) const QUEUE_ENABLE: u32 = 1 << 25;
pub(crate) const RDRXCTL: u64 = 0x02f00;
pub(crate) const RDRXCTL_CRC_STRIP: u32 = 1 << 1;
pub(crate) const RDRXCTL_DMA_INITIALISED: u32 = 1 << 3;
pub(crate) const RDRXCTL_RSC_FIRST_SIZE: u32 = 0x1f << 17;
/// Two bits that software has to set, whatever it uses (RSCACKC and FCOE_WRFIX).
pub(crate) const RDRXCTL_MUST_BE_ONE: u32 = (1 << 25) | (1 << 26);
pub(crate) const RXCTRL: u64 = 0x03000;
pub(crate) const RXCTRL_ENABLE: u32 = 1;
pub(crate) const fn rxpbsize(buffer: u64) -> u64 {
    0x03c00 + buffer * 4
}
/// The size is in KiB, from bit 10 on.
pub(crate) const RXPBSIZE_SHIFT: u32 = 10;
pub(crate) const SECRXCTRL: u64 = 0x08d00;
pub(crate) const SECRXCTRL_RECEIVE_DISABLE: u32 = 1 << 1;
pub(crate) const SECRXSTAT: u64 = 0x08d04;
pub(crate) const SECRXSTAT_READY: u32 = 1;

/// Transmit DMA (8.2.3.9), per queue.
const fn transmit_queue(queue: u64, register: u64) -> u64 {
    0x06000 + register + queue * 0x40
}
pub(crate) const fn tdbal(queue: u64) -> u64 {
    transmit_queue(queue, 0x00)
}
pub(crate) const fn tdbah(queue: u64) -> u64 {
    transmit_queue(queue, 0x04)
}
pub(crate) const fn tdlen(queue: u64) -> u64 {
    transmit_queue(queue, 0x08)
}
pub(crate) const fn tdh(queue: u64) -> u64 {
    transmit_queue(queue, 0x10)
}
pub(crate) const fn tdt(queue: u64) -> u64 {
    transmit_queue(queue, 0x18)
}
pub(crate) const fn txdctl(queue: u64) -> u64 {
    transmit_queue(queue, 0x28)
}
pub(crate) const DMATXCTL: u64 = 0x04a80;
pub(crate) const DMATXCTL_ENABLE: u32 = 1;
pub(crate) const DTXMXSZRQ: u64 = 0x08100;
pub(crate) const DTXMXSZRQ_WITHOUT_DCB: u32 = 0xfff;
pub(crate) const RTTDCS: u64 = 0x04900;
pub(crate) const RTTDCS_ARBITER_DISABLE: u32 = 1 << 6;
pub(crate) const fn txpbsize(buffer: u64) -> u64 {
    0x0cc00 + buffer * 4
}
pub(crate) const TXPBSIZE_ALL: u32 = 160 << 10;
pub(crate) const fn txpbthresh(buffer: u64) -> u64 {
    0x04950 + buffer * 4
}
/// Packet buffers, receive and transmit each.
pub(crate) const PACKET_BUFFERS: u64 = 8;

/// The MAC (8.2.3.22).
pub(crate) const HLREG0: u64 = 0x04240;
pub(crate) const HLREG0_TRANSMIT_CRC: u32 = 1 << 0;
pub(crate) const HLREG0_RECEIVE_CRC_STRIP: u32 = 1 << 1;
pub(crate) const HLREG0_JUMBO: u32 = 1 << 2;
pub(crate) const HLREG0_TRANSMIT_PAD: u32 = 1 << 10;
pub(crate) const MAXFRS: u64 = 0x04268;
pub(crate) const MAXFRS_SHIFT: u32 = 16;
pub(crate) const AUTOC: u64 = 0x042a0;
pub(crate) const AUTOC_RESTART: u32 = 1 << 12;
pub(crate) const AUTOC_LINK_MODE: u32 = 7 << 13;
pub(crate) const AUTOC_LINK_MODE_1G: u32 = 2 << 13;
pub(crate) const AUTOC_LINK_MODE_10G_SERIAL: u32 = 3 << 13;
/// The analogue core (8.2.3.22.25): takes the words of a module's sequence.
pub(crate) const CORECTL: u64 = 0x14f00;
pub(crate) const LINKS: u64 = 0x042a4;
pub(crate) const LINKS_UP: u32 = 1 << 30;
pub(crate) const LINKS_SPEED_SHIFT: u32 = 28;

/// The registers of one function.
#[derive(Clone, Debug)]
pub(crate) struct Registers(pub(crate) Bar);

impl Registers {
    pub(crate) fn read(&self, register: u64) -> u32 {
        self.0.read32(register)
    }

    pub(crate) fn write(&self, register: u64, value: u32) {
        self.0.write32(register, value);
    }

    /// Sets bits and leaves the others.
    pub(crate) fn set(&self, register: u64, bits: u32) {
        self.write(register, self.read(register) | bits);
    }

    /// Clears bits and leaves the others.
    pub(crate) fn clear(&self, register: u64, bits: u32) {
        self.write(register, self.read(register) & !bits);
    }

    /// Sees to it that what was written has reached the device (section 5.1.1: a read pushes posted writes).
    pub(crate) fn flush(&self) {
        self.read(STATUS);
    }

    /// Whether the function is gone. What doesn't answer reads as all ones, and the status register has bits that are
    /// always zero (8.2.3.1.2).
    pub(crate) fn is_gone(&self) -> bool {
        self.read(STATUS) == u32::MAX
    }
}
