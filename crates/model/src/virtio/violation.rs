//! What a driver did against the rules, for a test to read.

use ringway_dma::Fault;
use std::fmt;

/// How many are kept; further ones are only counted.
const KEPT: usize = 256;

macro_rules! rules {
    ($($(#[$attribute:meta])* $name:ident: $section:literal, $severity:ident, $text:literal;)*) => {
        /// A rule of the specification that binds the driver.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = concat!("Section ", $section, ": ", $text, ".")] $name,)*
        }

        impl Rule {
            /// The section of virtio 1.2 that states it.
            pub const fn section(self) -> &'static str {
                match self { $(Self::$name => $section,)* }
            }

            /// Whether the device stops and asks for a reset when it is broken.
            pub const fn is_fatal(self) -> bool {
                match self { $(Self::$name => rules!(@$severity),)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
    (@fatal) => { true };
    (@noted) => { false };
}

rules! {
    StatusBitCleared: "2.1.1", noted, "the driver must not clear a status bit but by a reset";
    StatusOrder: "3.1.1", noted, "ACKNOWLEDGE, DRIVER, FEATURES_OK and DRIVER_OK are set in this order";
    FeatureNotOffered: "2.2.1", noted, "the driver must not accept a feature that was not offered";
    FeatureRequirement: "5.1.3.1", noted, "a feature requires another that was not accepted";
    VersionNotAccepted: "6.1", noted, "the driver must accept VERSION_1";
    PlatformNotAccepted: "6.1", noted, "the driver should accept ACCESS_PLATFORM; this device insists";
    FeaturesAfterOk: "3.1.1", noted, "the driver must not accept features after FEATURES_OK";
    DriverOkTooEarly: "3.1.1", fatal, "DRIVER_OK comes after FEATURES_OK";
    NotifiedTooEarly: "3.1.1", noted, "the driver must not notify the device before DRIVER_OK";
    AccessWidth: "4.1.3.1", noted, "a register is accessed in its own width, aligned";
    ReadOnlyRegister: "4.1.4.3.2", noted, "the register is read-only for the driver";
    QueueSize: "4.1.4.3.2", noted, "a queue's size is a power of two up to what the device offers";
    QueueEnableZero: "4.1.4.3.2", noted, "the driver must not write 0 to queue_enable";
    QueueLive: "4.1.4.3.2", noted, "a queue is configured before it is enabled";
    QueueUnavailable: "4.1.5.1.3", noted, "the selected queue does not exist";
    QueueAlignment: "2.7", fatal, "descriptors lie at multiples of 16 bytes, the available ring of 2, the used ring of 4";
    QueueResetNotNegotiated: "4.1.4.3", noted, "queue_reset exists only with RING_RESET";
    VectorOutOfRange: "4.1.5.1.2.2", noted, "a vector lies in the MSI-X table";
    WindowAccess: "4.1.4.9.2", noted, "pci_cfg_data is accessed when bar, length and offset name an aligned place";
    NotificationValue: "4.1.5.2", noted, "a notification carries the index of its queue";
    DmaWithoutBusMaster: "PCI 3.0, 6.2.2", noted, "a queue was notified while bus mastering is off";
    Memory: "2.7", fatal, "the queue points at memory that the device can't reach";
    AvailableIndexJump: "2.7.6", fatal, "the available index is at most the queue's size ahead";
    HeadOutOfRange: "2.7.6", fatal, "an available entry names a descriptor of the table";
    NextOutOfRange: "2.7.5", fatal, "next names a descriptor of its table";
    ChainTooLong: "2.7.5.3.1", fatal, "a chain has at most as many descriptors as the queue: this one loops";
    ChainTooManyBytes: "2.7.5.2", fatal, "a chain is at most 4 GiB long";
    ChainEmpty: "2.7.13", fatal, "a buffer has at least one descriptor";
    ReadableAfterWritable: "2.7.4.2", fatal, "device-writable descriptors come after device-readable ones";
    IndirectNotNegotiated: "2.7.5.3.1", fatal, "INDIRECT needs INDIRECT_DESC";
    IndirectNested: "2.7.5.3.1", fatal, "an indirect table holds no further table";
    IndirectWithNext: "2.7.5.3.1", fatal, "INDIRECT and NEXT exclude each other";
    IndirectLength: "2.7.5.3", fatal, "an indirect table is a multiple of 16 bytes and not empty";
    InOrderNext: "2.7.5.2", fatal, "with IN_ORDER the next descriptor is the one that follows";
    HeadInFlight: "2.7.13", fatal, "a descriptor is made available again before it was used";
    TransmitWritable: "5.1.6.2", fatal, "a transmitted packet is device-readable";
    TransmitTooShort: "5.1.6", fatal, "a packet has its 12-byte header";
    TransmitTooLong: "5.1.6.2", fatal, "no packet is longer than 65550 bytes";
    TransmitNoFrame: "5.1.6.2", noted, "a packet holds an Ethernet header at least";
    TransmitBeyondMtu: "5.1.4.2", noted, "no packet is longer than the negotiated MTU";
    TransmitHeader: "5.1.6.2.1", noted, "the packet's header asks for what was not negotiated";
    TransmitQueueBeyondPairs: "5.1.6.5.6.1", noted, "packets go to the queues that VQ_PAIRS_SET enabled";
    ReceiveReadable: "5.1.6.3", fatal, "a receive buffer is device-writable";
    ReceiveTooSmall: "5.1.6.3.1", noted, "a receive buffer is smaller than 1526 bytes, or than the header when mergeable";
    ControlFormat: "5.1.6.5", fatal, "a command has two readable bytes and a writable one";
    ControlNotNegotiated: "5.1.6.5", noted, "the command needs a feature that was not negotiated";
    ControlRefused: "5.1.6.5", noted, "the command's data make no sense";
    ConfigurationWrite: "5.1.4", noted, "the network device's configuration is read-only";
}

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The queue concerned, by its index.
    pub queue: Option<u16>,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(queue) = self.queue {
            write!(f, "queue {queue}: ")?;
        }
        write!(f, "{} (virtio 1.2, section {}): {}", self.rule.text(), self.rule.section(), self.seen)
    }
}

/// A violation on its way up, small enough for a `Result` on the packet path.
pub(crate) type Breach = Box<Broken>;

/// The rule, and what was seen.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) Rule, pub(crate) String);

#[cold]
pub(crate) fn breach(rule: Rule, seen: String) -> Breach {
    Box::new(Broken(rule, seen))
}

impl From<Fault> for Breach {
    #[cold]
    fn from(fault: Fault) -> Self {
        breach(Rule::Memory, fault.to_string())
    }
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    kept: Vec<Violation>,
    total: u64,
}

impl Violations {
    pub(crate) fn push(&mut self, violation: Violation) {
        self.total = self.total.saturating_add(1);
        if self.kept.len() < KEPT {
            self.kept.push(violation);
        }
    }

    pub(crate) fn kept(&self) -> &[Violation] {
        &self.kept
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.total = 0;
    }
}
