//! The link: what is plugged in, and what LINKS and ANLP1 say of it (datasheet, sections 3.7 and 8.2.3.22).
//!
//! Negotiation takes no time: where both ends are willing, the link is up at the next look.

use super::options::{LinkSpeed, Options, Personality};

/// LINKS: up, and the speed in bits 29:28 (3: 10 Gbit/s, 2: 1 Gbit/s).
const UP: u32 = 1 << 30;
/// LINKS: up without interruption since it was last read.
const STEADY: u32 = 1 << 7;
/// LINKS: negotiation on the backplane is complete.
const NEGOTIATED: u32 = 1 << 31;

/// ANLP1.
const AUTO_NEGOTIATION_STATE: u32 = 0xf << 16;
const SYMMETRIC_PAUSE: u32 = 1 << 10;

/// Both ends of the cable.
#[derive(Debug)]
pub(crate) struct Link {
    cable: bool,
    module: bool,
    laser: bool,
    speed: LinkSpeed,
    backplane: bool,
    interrupted: bool,
}

impl Link {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            cable: options.link,
            module: options.personality != Personality::Fibre82599 || options.module,
            laser: true,
            speed: options.speed,
            backplane: options.personality == Personality::Backplane82599,
            interrupted: false,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.cable && self.module && self.laser
    }

    /// Applies a change. Whether the link came or went by it.
    fn change(&mut self, apply: impl FnOnce(&mut Self)) -> bool {
        let was = self.is_up();
        apply(self);
        let is = self.is_up();
        self.interrupted |= was && !is;
        was != is
    }

    /// Plugs the cable in or out. Whether that changed the link.
    pub(crate) fn set_cable(&mut self, cable: bool) -> bool {
        self.change(|link| link.cable = cable)
    }

    /// Puts a module in or takes it out.
    pub(crate) fn set_module(&mut self, module: bool) -> bool {
        self.change(|link| link.module = module)
    }

    /// Lets the laser shine or not.
    pub(crate) fn set_laser(&mut self, laser: bool) -> bool {
        self.change(|link| link.laser = laser)
    }

    /// LINKS as it reads; reading it forgets that there was an interruption.
    pub(crate) fn read_links(&mut self) -> u32 {
        let interrupted = std::mem::take(&mut self.interrupted);
        if !self.is_up() {
            return 0;
        }
        let speed = match self.speed {
            LinkSpeed::TenGigabit => 3 << 28,
            LinkSpeed::Gigabit => 2 << 28,
        };
        let negotiated = if self.backplane { NEGOTIATED } else { 0 };
        UP | speed | negotiated | if interrupted { 0 } else { STEADY }
    }

    /// ANLP1 (8.2.3.22.24): the negotiation's state in bits 19:16, never the first one; the other end's ability to
    /// pause, where there is a negotiation.
    pub(crate) fn partner(&self) -> u32 {
        AUTO_NEGOTIATION_STATE | if self.is_up() && self.backplane { SYMMETRIC_PAUSE } else { 0 }
    }

    /// AUTOC after a reset: serial 10 Gbit/s for a module; KX4 and KX with negotiation for a backplane.
    pub(crate) fn control_after_reset(&self, personality: Personality) -> u32 {
        match personality {
            Personality::Fibre82599 => 3 << 13 | 1 << 9,
            Personality::Backplane82599 => 0xc000_0000 | 4 << 13 | 1 << 9 | 1 << 7,
            Personality::X540 | Personality::X550 => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_tells_of_an_interruption_once() {
        let mut link = Link::new(&Options::default());
        assert_eq!(link.read_links(), 0x7000_0080);
        assert!(link.set_cable(false));
        assert!(!link.set_cable(false));
        assert!(link.set_cable(true));
        assert_eq!(link.read_links(), 0x7000_0000);
        assert_eq!(link.read_links(), 0x7000_0080);
    }

    #[test]
    fn no_light_no_link() {
        let mut link = Link::new(&Options { module: false, ..Options::default() });
        assert!(!link.is_up());
        assert!(link.set_module(true));
        assert!(link.set_laser(false));
        assert_eq!(link.read_links(), 0);
    }
}
