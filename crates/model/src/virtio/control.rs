//! The control queue (virtio 1.2, section 5.1.6.5): commands that set receive modes, addresses, VLANs, queue pairs.

use super::chain::Chain;
use super::device::Device;
use super::features::Features;
use super::rss::Scaling;
use super::violation::{Breach, Rule, breach};

/// Section 5.1.6.5: the answers.
const OK: u8 = 0;
const ERR: u8 = 1;
/// Sections 5.1.6.5.1 to 5.1.6.5.6: classes and their commands.
const RX: u8 = 0;
const MAC: u8 = 1;
const MAC_TABLE_SET: u8 = 0;
const MAC_ADDR_SET: u8 = 1;
const VLAN: u8 = 2;
const VLAN_ADD: u8 = 0;
const VLAN_DEL: u8 = 1;
const ANNOUNCE: u8 = 3;
const ANNOUNCE_ACK: u8 = 0;
const MQ: u8 = 4;
const MQ_PAIRS_SET: u8 = 0;
const MQ_RSS_CONFIG: u8 = 1;
const MQ_HASH_CONFIG: u8 = 2;
const NOTF_COAL: u8 = 6;
const NOTF_COAL_TX_SET: u8 = 0;
const NOTF_COAL_RX_SET: u8 = 1;
const NOTF_COAL_VQ_SET: u8 = 2;
/// The longest command that is read: two tables of some 5000 addresses each.
const LONGEST: usize = 65_536;
/// Commands served in one go.
const ROUND: usize = 64;

impl Device {
    /// Serves the commands that the driver notified the device of.
    pub(crate) fn serve_control(&mut self) {
        let Some(index) = self.control_index() else { return };
        let rung = |slot: &super::slot::Slot| slot.may_have_work();
        if !self.queues.get(usize::from(index)).is_some_and(rung) || !self.is_running() {
            return;
        }
        let mut chain = Chain::default();
        for _ in 0..ROUND {
            let answered = match self.take_command(index, &mut chain) {
                Ok(false) => break,
                Ok(true) => {
                    let answer = self.execute(index);
                    self.statistics.commands = self.statistics.commands.wrapping_add(1);
                    self.answer(index, &chain, answer)
                }
                Err(broken) => Err(broken),
            };
            let failed = answered.is_err();
            self.finish(index, answered);
            if failed {
                break;
            }
        }
    }

    /// Copies the next command out of memory. `false`: there is none.
    fn take_command(&mut self, index: u16, chain: &mut Chain) -> Result<bool, Breach> {
        let Self { memory: Some(view), queues, command, .. } = self else { return Ok(false) };
        let Some(slot) = queues.get_mut(usize::from(index)) else { return Ok(false) };
        let memory = &mut view.burst();
        if !slot.take(memory, chain)? {
            return Ok(false);
        }
        if chain.readable_bytes < 2 || chain.writable_bytes < 1 {
            let seen = format!("{} readable bytes, {} writable", chain.readable_bytes, chain.writable_bytes);
            return Err(breach(Rule::ControlFormat, seen));
        }
        command.clear();
        command.resize(LONGEST.min(chain.readable_bytes as usize), 0);
        chain.read(memory, command)?;
        Ok(true)
    }

    fn answer(&mut self, index: u16, chain: &Chain, answer: u8) -> Result<Option<bool>, Breach> {
        let Self { memory: Some(view), queues, faults, .. } = self else { return Ok(None) };
        let Some(slot) = queues.get_mut(usize::from(index)) else { return Ok(None) };
        let memory = &mut view.burst();
        chain.write(memory, &[answer])?;
        slot.complete(chain.head, 1, faults)?;
        slot.publish(memory, faults)
    }

    /// Does what the command says.
    fn execute(&mut self, index: u16) -> u8 {
        let command = std::mem::take(&mut self.command);
        let answer = match command.split_first_chunk::<2>() {
            Some((&[class, what], data)) => self.dispatch(index, class, what, data),
            None => ERR,
        };
        self.command = command;
        answer
    }

    fn dispatch(&mut self, index: u16, class: u8, what: u8, data: &[u8]) -> u8 {
        let needed = match (class, what) {
            (RX, 0..=1) => Features::CTRL_RX,
            (RX, 2..=5) => Features::CTRL_RX_EXTRA,
            (MAC, MAC_TABLE_SET) => Features::CTRL_RX,
            (MAC, MAC_ADDR_SET) => Features::CTRL_MAC_ADDR,
            (VLAN, VLAN_ADD | VLAN_DEL) => Features::CTRL_VLAN,
            (ANNOUNCE, ANNOUNCE_ACK) => Features::GUEST_ANNOUNCE,
            (MQ, MQ_PAIRS_SET) => Features::MQ,
            (MQ, MQ_RSS_CONFIG) => Features::RSS,
            (MQ, MQ_HASH_CONFIG) => Features::HASH_REPORT,
            (NOTF_COAL, NOTF_COAL_TX_SET | NOTF_COAL_RX_SET) => Features::NOTF_COAL,
            (NOTF_COAL, NOTF_COAL_VQ_SET) => Features::VQ_NOTF_COAL,
            _ => {
                self.note_queue(Rule::ControlRefused, index, || format!("class {class}, command {what}"));
                return ERR;
            }
        };
        if !self.negotiated.has(needed) {
            self.note_queue(Rule::ControlNotNegotiated, index, || format!("class {class}, command {what}"));
            return ERR;
        }
        let done = match class {
            RX => self.set_mode(what, data),
            MAC if what == MAC_TABLE_SET => self.set_tables(data),
            MAC => self.set_address(data),
            VLAN => self.set_vlan(what, data),
            ANNOUNCE => self.acknowledge_announcement(data),
            NOTF_COAL => self.moderate(what, data),
            MQ if what == MQ_RSS_CONFIG => self.set_scaling(data),
            MQ if what == MQ_HASH_CONFIG => self.scaling.set_hash(data),
            _ => self.set_pairs(data),
        };
        if done.is_none() {
            let length = data.len();
            self.note_queue(Rule::ControlRefused, index, || {
                format!("class {class}, command {what}, {length} bytes of data")
            });
            return ERR;
        }
        OK
    }

    /// Section 5.1.6.5.1: a receive mode, on or off.
    fn set_mode(&mut self, what: u8, data: &[u8]) -> Option<()> {
        let on = match data {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let filter = &mut self.filter;
        let mode = match what {
            0 => &mut filter.promiscuous,
            1 => &mut filter.all_multicast,
            2 => &mut filter.all_unicast,
            3 => &mut filter.no_multicast,
            4 => &mut filter.no_unicast,
            _ => &mut filter.no_broadcast,
        };
        *mode = on;
        Some(())
    }

    /// Section 5.1.6.5.2: both tables, which replace those before.
    fn set_tables(&mut self, data: &[u8]) -> Option<()> {
        let (unicast, rest) = table(data)?;
        let (multicast, rest) = table(rest)?;
        let group = |address: &[u8; 6]| address.first().is_some_and(|byte| byte & 1 != 0);
        if !rest.is_empty() || unicast.iter().any(group) || !multicast.iter().all(group) {
            return None;
        }
        self.filter.unicast = unicast;
        self.filter.multicast = multicast;
        Some(())
    }

    fn set_address(&mut self, data: &[u8]) -> Option<()> {
        let address = *data.first_chunk::<6>().filter(|_| data.len() == 6)?;
        if address.first().is_some_and(|byte| byte & 1 != 0) {
            return None;
        }
        self.filter.mac = address;
        // The driver did it and waits for the answer, so no interrupt; the generation tells other readers.
        self.common.changed = true;
        Some(())
    }

    fn set_vlan(&mut self, what: u8, data: &[u8]) -> Option<()> {
        let &[low, high] = data else { return None };
        let vlan = u16::from_le_bytes([low, high]);
        if vlan > 0xfff {
            return None;
        }
        self.filter.set_vlan(vlan, what == VLAN_ADD);
        Some(())
    }

    fn acknowledge_announcement(&mut self, data: &[u8]) -> Option<()> {
        if !data.is_empty() {
            return None;
        }
        self.port.announce = false;
        self.common.changed = true;
        Some(())
    }

    /// Section 5.1.6.5.6: how many pairs are in use. They must have been enabled before.
    fn set_pairs(&mut self, data: &[u8]) -> Option<()> {
        let &[low, high] = data else { return None };
        let pairs = u16::from_le_bytes([low, high]);
        let ready =
            self.queues.iter().take(usize::from(pairs).saturating_mul(2)).all(|slot| slot.queue.is_some());
        if pairs == 0 || pairs > self.queue_pairs || !ready {
            return None;
        }
        self.port.active_pairs = pairs;
        self.steering.clear();
        Some(())
    }

    /// Section 5.1.6.5.7: how packets are steered, and how many pairs are in use.
    fn set_scaling(&mut self, data: &[u8]) -> Option<()> {
        let mut scaling = Scaling::default();
        let pairs = scaling.set_rss(data, self.queue_pairs)?;
        self.set_pairs(&pairs.to_le_bytes())?;
        self.scaling = scaling;
        Some(())
    }

    /// Section 5.1.6.5.8: how long interrupts may be held back, of all queues of a direction or of one.
    fn moderate(&mut self, what: u8, data: &[u8]) -> Option<()> {
        let (queues, data) = if what == NOTF_COAL_VQ_SET {
            let (&[low, high, 0, 0], data) = data.split_first_chunk::<4>()? else { return None };
            (u16::from_le_bytes([low, high])..=u16::from_le_bytes([low, high]), data)
        } else {
            (0..=self.queue_pairs.wrapping_mul(2).wrapping_sub(1), data)
        };
        let (packets, time) = data.split_first_chunk::<4>()?;
        let (packets, time) = (u32::from_le_bytes(*packets), u32::from_le_bytes(*time.as_array::<4>()?));
        let odd = match what {
            NOTF_COAL_TX_SET => Some(1),
            NOTF_COAL_RX_SET => Some(0),
            _ => None,
        };
        for index in queues.filter(|index| odd.is_none_or(|odd| index % 2 == odd)) {
            // Section 5.1.6.5.8.1: a queue that isn't enabled can't be set, and there is no control queue among them.
            let slot = self.queues.get_mut(usize::from(index));
            match slot.filter(|slot| slot.queue.is_some()) {
                Some(slot) => slot.moderation.set(packets, time),
                None if odd.is_none() => return None,
                None => {}
            }
        }
        Some(())
    }
}

/// Section 5.1.6.5.2: a number and so many addresses, and what follows.
fn table(data: &[u8]) -> Option<(Vec<[u8; 6]>, &[u8])> {
    let (count, rest) = data.split_first_chunk::<4>()?;
    let bytes = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(6)?;
    let (addresses, rest) = rest.split_at_checked(bytes)?;
    Some((
        addresses.chunks_exact(6).filter_map(|address| address.first_chunk::<6>().copied()).collect(),
        rest,
    ))
}
