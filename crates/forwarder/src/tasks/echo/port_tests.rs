//! Questions to a driver's port: an emulated card with a test at the far end of its wire.

use super::samples::*;
use super::{Answered, Echo, Ignored, Station};
use crate::engine::{
    Active, Event, Limits, Options, Promiscuity, Reception, Session, StoppedBy, Watch, Workers,
};
use crate::ports::drivers;
use ringway_dma::AddressSpace;
use ringway_model::ixgbe::{self, Ixgbe};
use ringway_model::virtio::{self, VirtioNet};
use ringway_model::wire::{ChannelEnd, channel};
use ringway_model::{Device, run_together};
use ringway_packet::{Pool, PoolOptions};
use ringway_pci::{Backend, Function};
use ringway_port::{MacAddress, Opened, PortOptions};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::channel as events;
use std::time::{Duration, Instant};

struct Silent;

impl Watch for Silent {}

/// A card with its far end in the test's hands.
fn card(space: &AddressSpace, is_virtio: bool) -> (Box<dyn Backend>, Box<dyn Device>, ChannelEnd) {
    let (wire, end) = channel(64);
    if is_virtio {
        let options = virtio::Options { mac: OURS, polls: true, ..Default::default() };
        let (backend, mut handle) = VirtioNet::create(space, options);
        handle.attach(Box::new(wire));
        (backend, Box::new(handle), end)
    } else {
        let (backend, mut handle) = Ixgbe::create(space, ixgbe::Options { mac: OURS, ..Default::default() });
        handle.attach(Box::new(wire));
        (backend, Box::new(handle), end)
    }
}

/// Sends, and waits for what comes back.
fn ask(end: &ChannelEnd, question: &[u8]) -> Vec<u8> {
    end.send(question.to_vec()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(reply) = end.receive() {
            return reply;
        }
        assert!(Instant::now() < deadline, "no answer to {question:02x?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_thousand_pings_to_an_emulated_card_are_answered_and_so_is_its_solicited_node_group() {
    for is_virtio in [false, true] {
        let space = AddressSpace::emulated();
        let pool = Pool::new(&space, PoolOptions { buffers: 2048, ..PoolOptions::default() }).unwrap();
        let (backend, device, end) = card(&space, is_virtio);
        let running = run_together(vec![device]);
        let opened = drivers::open(Function::new(backend).unwrap(), &pool, &PortOptions::default()).unwrap();
        let Opened { control, mut receive, mut transmit } = opened;
        let mac = control.information().mac;
        assert_eq!(mac, MacAddress(OURS));
        let (port, switched) = Active::receiving(control, Reception::Groups).unwrap();
        assert!(matches!(switched, Promiscuity::SwitchedOn(Reception::Groups)), "{switched:?}");
        let station = Station::new(mac, [IpAddr::V4(OUR_V4), IpAddr::V6(OUR_V6)]);
        let task = Echo::new(receive.remove(0), transmit.remove(0), station, 32);
        let counts = Arc::clone(task.counts());
        let (sender, receiver) = events();
        let workers = Workers::start(vec![vec![Box::new(task)]], &Options::default(), &sender).unwrap();
        let session = Session::new(workers, vec![port], vec![0], receiver);
        let limits = Limits { duration: None, interval: Duration::from_secs(1) };
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                // However the questions end, so does the session.
                struct End(std::sync::mpsc::Sender<Event>);
                impl Drop for End {
                    fn drop(&mut self) {
                        let _ = self.0.send(Event::Signal(2));
                    }
                }
                let _end = End(sender);
                assert_eq!(ask(&end, &arp_request())[20..22], [0, 2]);
                let solicitation = solicitation(THEIR_V6, OUR_GROUP, 255, &SAYS_HARDWARE);
                assert_eq!(ask(&end, &solicitation)[54], 136);
                // One that is for another station doesn't even arrive.
                let mut foreign = ping4(&[], &[], 20);
                foreign[5] ^= 1;
                end.send(foreign).unwrap();
                // One without an answer does.
                let mut wrong = ping4(&[], &[], 20);
                *wrong.last_mut().unwrap() ^= 1;
                end.send(wrong).unwrap();
                for number in 0..1000 {
                    let tags: &[[u8; 4]] = if number % 3 == 0 { &[[0x81, 0, 0, 9]] } else { &[] };
                    let length = number % 1400;
                    let reply = ask(&end, &ping4(tags, &[], length));
                    let at = 14 + 4 * tags.len();
                    let answer = icmp(0, 0, &echo_data(length));
                    assert_eq!(reply[at + 20..][..answer.len()], answer);
                    let reply = ask(&end, &ping6(tags, OUR_V6, length));
                    let answer = icmp6(OUR_V6, THEIR_V6, 129, &echo_data(length));
                    assert_eq!(reply[at + 40..][..answer.len()], answer);
                }
            });
            session.run(limits, &mut Silent)
        });
        assert_eq!(outcome.stopped_by, StoppedBy::Signal);
        let counts = counts.read();
        for (kind, count) in [
            (Answered::Arp, 1),
            (Answered::Solicitation, 1),
            (Answered::EchoV4, 1000),
            (Answered::EchoV6, 1000),
        ] {
            assert_eq!(counts.answered(kind), count, "{kind:?}");
        }
        assert_eq!((counts.ignored(Ignored::WrongChecksum), counts.all_ignored()), (1, 1), "{counts:?}");
        let totals = &outcome.last.ports[0];
        assert_eq!((totals.statistics.received().packets, totals.statistics.sent().packets), (2003, 2002));
        assert_eq!((totals.dropped, totals.unsent), (0, 0));
        drop(running);
        assert_eq!((pool.available(), pool.lost()), (pool.buffers(), 0));
    }
}
