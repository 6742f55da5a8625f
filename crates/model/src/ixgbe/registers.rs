//! The registers that mean something to the model, stated from the Intel 82599 datasheet (331520), section 8.2.3.
//!
//! Every other offset of BAR 0 is plain memory: what is written reads back. Where a register appears at two
//! offsets, [`canonical`] gives the one that is used here.

/// Bytes of BAR 0: 128 KiB (datasheet, section 9.3.6.1).
pub(crate) const BAR_BYTES: u32 = 0x2_0000;

/// 32-bit words of the register table.
pub(crate) const WORDS: usize = BAR_BYTES as usize / 4;

macro_rules! registers {
    ($($(#[$text:meta])* $name:ident = $value:expr;)*) => {
        $($(#[$text])* pub(crate) const $name: u32 = $value;)*
    };
}

// General control (8.2.3.1).
registers! {
    CTRL = 0x00000;
    CTRL_MASTER_DISABLE = 1 << 2;
    CTRL_LINK_RESET = 1 << 3;
    CTRL_RESET = 1 << 26;
    STATUS = 0x00008;
    STATUS_LINK_UP = 1 << 7;
    STATUS_MASTER_ENABLE = 1 << 19;
    CTRL_EXT = 0x00018;
    /// Physical function reset done (4.2.2).
    CTRL_EXT_RESET_DONE = 1 << 14;
    ESDP = 0x00020;
    I2CCTL = 0x00028;
}

// EEPROM, semaphores, firmware (8.2.3.2, 8.2.3.4, 10.5).
registers! {
    EEC = 0x10010;
    EEC_PRESENT = 1 << 8;
    EEC_AUTO_READ_DONE = 1 << 9;
    /// X540: flash updated.
    EEC_FLASH_DONE = 1 << 26;
    EERD = 0x10014;
    EERD_START = 1;
    EERD_DONE = 1 << 1;
    EEWR = 0x10018;
    EEMNGCTL = 0x10110;
    /// Configuration loaded, both ports.
    EEMNGCTL_DONE = 0b11 << 18;
    SWSM = 0x10140;
    SWSM_SEMAPHORE = 1;
    FWSM = 0x10148;
    /// Bit 15: firmware is valid; bits 3:1: mode, 2 is "pass through".
    FWSM_VALID = 1 << 15;
    SW_FW_SYNC = 0x10160;
    MREVID = 0x11064;
    /// The host interface to firmware: its buffer of 256 words, and its control.
    FLEX_MNG = 0x15800;
    HICR = 0x15f00;
    HICR_ENABLE = 1;
    HICR_COMMAND = 1 << 1;
    HICR_STATUS_VALID = 1 << 2;
}

// Interrupts (8.2.3.5).
registers! {
    EICR = 0x00800;
    EICS = 0x00808;
    EIMS = 0x00880;
    EIMC = 0x00888;
    EIAC = 0x00810;
    EIAM = 0x00890;
    /// Two words each, vectors 0 to 31 and 32 to 63.
    EICS_EX = 0x00a90;
    EIMS_EX = 0x00aa0;
    EIMC_EX = 0x00ab0;
    EIAM_EX = 0x00ad0;
    /// Vectors 0 to 23.
    EITR = 0x00820;
    /// Vectors 24 to 128.
    EITR_HIGH = 0x12300;
    IVAR = 0x00900;
    IVAR_MISC = 0x00a00;
    GPIE = 0x00898;
    GPIE_MULTIPLE_MSIX = 1 << 4;
    GPIE_OTHER_CLEAR_DISABLE = 1 << 5;
    GPIE_AUTO_MASK = 1 << 30;
    /// EICR's causes beside the queues (bits 15:0).
    CAUSE_LINK = 1 << 20;
    CAUSE_SDP2 = 1 << 26;
    CAUSES_OTHER = 0xffff_0000;
}

// Pause frames (8.2.3.3, 8.2.3.22.8).
registers! {
    FCCFG = 0x03d00;
    FCCFG_LINK = 1 << 3;
    MFLCN = 0x04294;
    MFLCN_PASS_CONTROL = 1;
    MFLCN_DISCARD_PAUSE = 1 << 1;
    MFLCN_LINK = 1 << 3;
    LXONTXC = 0x03f60;
    LXOFFTXC = 0x03f68;
    LXONRXCNT = 0x041a4;
    LXOFFRXCNT = 0x041a8;
}

// The time protocol's clock (8.2.3.26).
registers! {
    TSYNCRXCTL = 0x05188;
    TSYNCRXCTL_VALID = 1;
    TSYNCRXCTL_ENABLE = 1 << 4;
    RXSTMPL = 0x051e8;
    RXSTMPH = 0x051a4;
    ETQF_TIME = 1 << 30;
    SYSTIML = 0x08c0c;
    SYSTIMH = 0x08c10;
    TIMINCA = 0x08c14;
    TSAUXC = 0x08c20;
    /// X550: the clock stands.
    TSAUXC_DISABLE = 1 << 31;
}

// Receive (8.2.3.7, 8.2.3.8).
registers! {
    /// Queues 0 to 63, 0x40 bytes each.
    RECEIVE_QUEUES = 0x01000;
    /// Queues 64 to 127.
    RECEIVE_QUEUES_HIGH = 0x0d000;
    QUEUE_BYTES = 0x40;
    /// Places in a receive queue's 0x40 bytes.
    RDBAL = 0x00;
    RDBAH = 0x04;
    RDLEN = 0x08;
    DCA_RXCTRL = 0x0c;
    RDH = 0x10;
    SRRCTL = 0x14;
    RDT = 0x18;
    RXDCTL = 0x28;
    RXDCTL_ENABLE = 1 << 25;
    RXDCTL_VLAN_STRIP = 1 << 30;
    SRRCTL_DROP = 1 << 28;
    RDRXCTL = 0x02f00;
    RDRXCTL_CRC_STRIP = 1;
    RDRXCTL_INITIALISED = 1 << 3;
    RXCTRL = 0x03000;
    RXCTRL_ENABLE = 1;
    RXPBSIZE = 0x03c00;
    RXCSUM = 0x05000;
    RXCSUM_HASH_NOT_CHECKSUM = 1 << 13;
    FCTRL = 0x05080;
    FCTRL_ALL_MULTICAST = 1 << 8;
    FCTRL_PROMISCUOUS = 1 << 9;
    FCTRL_BROADCAST = 1 << 10;
    VLNCTRL = 0x05088;
    VLNCTRL_CFI = 1 << 28;
    VLNCTRL_CFI_FILTER = 1 << 29;
    VLNCTRL_FILTER = 1 << 30;
    MCSTCTRL = 0x05090;
    MCSTCTRL_FILTER = 1 << 2;
    MTA = 0x05200;
    RAL = 0x0a200;
    RAH_VALID = 1 << 31;
    VFTA = 0x0a000;
    MPSAR = 0x0a600;
    PSRTYPE = 0x0ea00;
    MRQC = 0x0ec80;
    RETA = 0x0eb00;
    RSSRK = 0x0eb80;
    /// X550: entries 128 to 511.
    ERETA = 0x0ee80;
    RQSMR = 0x02300;
    SECRXCTRL = 0x08d00;
    SECRXCTRL_DISABLE = 1 << 1;
    SECRXSTAT = 0x08d04;
}

// Filters to queues (8.2.3.7.14 to 8.2.3.7.20) and flow director (8.2.3.21).
registers! {
    ETQF = 0x05128;
    ETQF_ENABLE = 1 << 31;
    ETQS = 0x0ec00;
    ETQS_ENABLE = 1 << 31;
    SAQF = 0x0e000;
    DAQF = 0x0e200;
    SDPQF = 0x0e400;
    FTQF = 0x0e600;
    FTQF_ENABLE = 1 << 31;
    L34TIMIR = 0x0e800;
    FDIRCTRL = 0x0ee00;
    FDIRCTRL_DONE = 1 << 3;
    FDIRCTRL_PERFECT = 1 << 4;
    FDIRIPSA = 0x0ee18;
    FDIRIPDA = 0x0ee1c;
    FDIRPORT = 0x0ee20;
    FDIRVLAN = 0x0ee24;
    FDIRHASH = 0x0ee28;
    FDIRCMD = 0x0ee2c;
    FDIRCMD_VALID = 1 << 2;
    FDIRCMD_CLEAR = 1 << 8;
    FDIRCMD_DROP = 1 << 9;
    FDIRFREE = 0x0ee38;
    FDIRDIP4M = 0x0ee3c;
    FDIRSIP4M = 0x0ee40;
    FDIRTCPM = 0x0ee44;
    FDIRUDPM = 0x0ee48;
    FDIRUSTAT = 0x0ee50;
    FDIRFSTAT = 0x0ee54;
    FDIRMATCH = 0x0ee58;
    FDIRMISS = 0x0ee5c;
    FDIRHKEY = 0x0ee68;
    FDIRM = 0x0ee70;
    FDIRSCTPM = 0x0ee78;
}

// Transmit (8.2.3.9).
registers! {
    TRANSMIT_QUEUES = 0x06000;
    TDBAL = 0x00;
    TDBAH = 0x04;
    TDLEN = 0x08;
    TDH = 0x10;
    TDT = 0x18;
    TXDCTL = 0x28;
    TDWBAL = 0x38;
    TDWBAH = 0x3c;
    TXDCTL_ENABLE = 1 << 25;
    TXDCTL_FLUSH = 1 << 26;
    TDWBAL_ENABLE = 1;
    DMATXCTL = 0x04a80;
    DMATXCTL_ENABLE = 1;
    /// Which TCP flags stay in the first, middle and last segment (8.2.3.9.3, 8.2.3.9.4).
    DTXTCPFLGL = 0x04a88;
    DTXTCPFLGH = 0x04a8c;
    TQSM = 0x08600;
    TXPBSIZE = 0x0cc00;
    SECTXSTAT = 0x08804;
    SECURITY_READY = 1;
}

// MAC and link (8.2.3.22).
registers! {
    HLREG0 = 0x04240;
    HLREG0_CRC_STRIP = 1 << 1;
    HLREG0_JUMBO = 1 << 2;
    HLREG0_PAD = 1 << 10;
    HLREG0_LOOPBACK = 1 << 15;
    MSCA = 0x0425c;
    MSRWD = 0x04260;
    MAXFRS = 0x04268;
    AUTOC = 0x042a0;
    AUTOC_RESTART = 1 << 12;
    LINKS = 0x042a4;
    LINKS2 = 0x04324;
    ANLP1 = 0x042b0;
}

// Statistics (8.2.3.23). All clear when read.
registers! {
    MPC = 0x03fa0;
    MRFC = 0x04038;
    PRC64 = 0x0405c;
    GPRC = 0x04074;
    BPRC = 0x04078;
    MPRC = 0x0407c;
    GPTC = 0x04080;
    GORCL = 0x04088;
    GOTCL = 0x04090;
    ROC = 0x040ac;
    TORL = 0x040c0;
    TPR = 0x040d0;
    TPT = 0x040d4;
    PTC64 = 0x040d8;
    MPTC = 0x040f0;
    BPTC = 0x040f4;
    RXDGPC = 0x02f50;
    RXDGBCL = 0x02f54;
    TXDGPC = 0x087a0;
    TXDGBCL = 0x087a4;
    /// In a receive queue's block, queues 0 to 15: packets, bytes low and high.
    QPRC = 0x01030;
    QBRC = 0x01034;
    /// In a receive queue's block from 0x400 on: packets dropped.
    QPRDC = 0x01430;
    QPTC = 0x08680;
    QBTC = 0x08700;
}

/// The one offset by which a register is known here (8.2.3.7, "aliases"; 8.2.3.8).
pub(crate) fn canonical(offset: u32) -> u32 {
    let array = |first: u32, to: u32| to.wrapping_add(offset.wrapping_sub(first));
    match offset {
        0x2100..0x2140 => {
            (offset.wrapping_sub(0x2100) / 4).wrapping_mul(QUEUE_BYTES).wrapping_add(RECEIVE_QUEUES | SRRCTL)
        }
        0x2200..0x2240 => (offset.wrapping_sub(0x2200) / 4)
            .wrapping_mul(QUEUE_BYTES)
            .wrapping_add(RECEIVE_QUEUES | DCA_RXCTRL),
        0x5400..0x5480 => array(0x5400, RAL),
        0x5480..0x54c0 => array(0x5480, PSRTYPE),
        0x5818 => MRQC,
        0x5c00..0x5c80 => array(0x5c00, RETA),
        0x5c80..0x5ca8 => array(0x5c80, RSSRK),
        _ => offset,
    }
}

/// The receive queue that a register belongs to, and its place in the queue's block.
pub(crate) fn receive_queue(offset: u32) -> Option<(usize, u32)> {
    let (first, base) = match offset {
        0x1000..0x2000 => (0, RECEIVE_QUEUES),
        0xd000..0xe000 => (64, RECEIVE_QUEUES_HIGH),
        _ => return None,
    };
    let inside = offset.wrapping_sub(base);
    Some(((inside / QUEUE_BYTES).wrapping_add(first) as usize, inside % QUEUE_BYTES))
}

/// The transmit queue that a register belongs to, and its place in the queue's block.
pub(crate) fn transmit_queue(offset: u32) -> Option<(usize, u32)> {
    let inside = offset.checked_sub(TRANSMIT_QUEUES).filter(|inside| *inside < 0x2000)?;
    Some(((inside / QUEUE_BYTES) as usize, inside % QUEUE_BYTES))
}

/// Where receive queue `queue` has its block.
pub(crate) fn receive_block(queue: usize) -> u32 {
    let number = queue as u32;
    let base = if queue < 64 { RECEIVE_QUEUES } else { RECEIVE_QUEUES_HIGH };
    base.wrapping_add((number % 64).wrapping_mul(QUEUE_BYTES))
}

/// Where transmit queue `queue` has its block.
pub(crate) fn transmit_block(queue: usize) -> u32 {
    TRANSMIT_QUEUES.wrapping_add((queue as u32).wrapping_mul(QUEUE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_name_of_a_register_leads_to_the_first() {
        assert_eq!(canonical(0x2104), 0x1054);
        assert_eq!(canonical(0x223c), 0x13cc);
        assert_eq!(canonical(0x5404), 0xa204);
        assert_eq!(canonical(0x5484), 0xea04);
        assert_eq!(canonical(0x5ca4), 0xeba4);
        assert_eq!(canonical(0x1018), 0x1018);
    }

    #[test]
    fn a_queue_finds_its_registers_and_the_other_way_round() {
        for queue in 0..128 {
            assert_eq!(receive_queue(receive_block(queue) + RDT), Some((queue, RDT)));
            assert_eq!(transmit_queue(transmit_block(queue) + TDWBAH), Some((queue, TDWBAH)));
        }
        assert_eq!(receive_queue(0x2000), None);
        assert_eq!(transmit_queue(0x8000), None);
    }
}
