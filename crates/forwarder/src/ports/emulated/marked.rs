//! A generator and a receiver of marked packets on an emulated card's wire.

use crate::Error;
use crate::machine::clock;
use ringway_model::wire::Wire;
use ringway_port::MacAddress;
use ringway_traffic::end::{End, EndOptions, Monitor};
use ringway_traffic::frame::Shape;
use ringway_traffic::generator::Plan;
use ringway_traffic::pace::Pace;

/// The wire's end.
#[derive(Debug)]
struct Marked(End);

/// A generator and a receiver for a card with that address, held until they are started. Without a rate the generator
/// waits for room.
pub(super) fn end(mac: [u8; 6], rate: Option<f64>, flows: u16) -> Result<(Box<dyn Wire>, Monitor), Error> {
    let shape = Shape { destination: MacAddress(mac), ..Shape::default() };
    let options = EndOptions {
        plan: Plan { shape, flows: flows.into(), ..Plan::default() },
        pace: rate.map_or(Pace::Unlimited, Pace::Constant),
        limit: None,
        held: true,
    };
    let (end, monitor) = End::new(&options)?;
    Ok((Box::new(Marked(end)), monitor))
}

impl Wire for Marked {
    fn begin(&mut self) {
        self.0.begin(clock::now());
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.0.receive(frame)
    }

    fn send(&mut self, frame: &[u8]) {
        self.0.send(frame);
    }

    fn waits(&self) -> bool {
        self.0.waits()
    }

    fn end(&mut self) {
        self.0.end();
    }
}
