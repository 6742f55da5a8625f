//! Pause frames: obeyed, sent, or neither.

use crate::support::{OWN, Port, Setup, frame, number, open};
use ringway_model::wire::Wire;
use ringway_port::{Pause, PortOptions};
use std::sync::{Arc, Mutex};

const NEITHER: Pause = Pause { obey: false, send: false };

fn pause_frame(quanta: u16) -> Vec<u8> {
    let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x88, 0x08, 0, 1];
    frame.extend(quanta.to_be_bytes());
    frame.resize(60, 0);
    frame
}

#[test]
fn what_is_asked_for_is_what_the_port_says() {
    let mut port = open(Setup::default());
    assert_eq!(port.control.pause().unwrap(), NEITHER);
    for (obey, send) in [(true, false), (false, true), (true, true), (false, false)] {
        port.control.set_pause(Pause { obey, send }).unwrap();
        assert_eq!(port.control.pause().unwrap(), Pause { obey, send });
        assert_eq!(port.watch.read(0x4294) & 0b1010, if obey { 0b1010 } else { 0b0010 }, "MFLCN");
        assert_eq!(port.watch.read(0x3d00), if send { 1 << 3 } else { 0 }, "FCCFG");
        let [low, high] = [0x3220, 0x3260].map(|register| port.watch.read(register));
        assert_eq!((low >> 31 != 0, high >> 31 != 0), (send, send));
        let [low, high] = [low, high].map(|threshold| threshold & 0x7_ffe0);
        assert!(low < high && high < port.watch.read(0x3c00), "{low:x} {high:x}");
        // A queue holds its packets back only where the other end can be told to wait.
        assert_eq!(port.watch.read(0x1014) & 1 << 28 != 0, !send, "SRRCTL.Drop_En");
    }
    port.close();
}

fn send_one(port: &mut Port, number: u64) -> Option<Vec<u8>> {
    let mut batch = port.batch(1);
    batch.push(port.pool.packet_from(&frame(number, 60)).unwrap()).unwrap();
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
    while port.device.step() > 0 {}
    port.device.take_sent()
}

#[test]
fn a_port_that_obeys_waits_until_it_may_go_on() {
    let mut port = open(Setup::default());
    port.control.set_pause(Pause { obey: true, send: false }).unwrap();
    assert!(send_one(&mut port, 0).is_some());
    assert!(port.device.inject(&pause_frame(0xffff)));
    assert!(send_one(&mut port, 1).is_none());
    port.transmit[0].reclaim().unwrap();
    assert_eq!(port.transmit[0].pending(), 1);
    assert!(port.device.inject(&pause_frame(0)));
    while port.device.step() > 0 {}
    assert_eq!(number(&port.device.take_sent().unwrap()), 1);
    assert_eq!((port.counter("LXOFFRXCNT"), port.counter("LXONRXCNT")), (1, 1));
    assert_eq!(port.take(), None, "pause frames are the MAC's");
    port.transmit[0].reclaim().unwrap();
    port.close();
}

#[test]
fn a_port_that_does_not_obey_goes_on_and_its_program_sees_no_pause_frame() {
    let mut port = open(Setup::default());
    port.control.set_all_multicast(true).unwrap();
    assert!(port.device.inject(&pause_frame(0xffff)));
    assert!(send_one(&mut port, 0).is_some());
    assert_eq!((port.take(), port.counter("LXOFFRXCNT")), (None, 0));
    port.close();
}

/// A wire that offers frames and keeps what comes out.
#[derive(Debug)]
struct Offering {
    left: u64,
    came: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Wire for Offering {
    fn receive(&mut self, place: &mut [u8]) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        place[..60].copy_from_slice(&frame(self.left, 60));
        Some(60)
    }
    fn send(&mut self, frame: &[u8]) {
        self.came.lock().unwrap().push(frame.to_vec());
    }
    fn waits(&self) -> bool {
        true
    }
}

#[test]
fn a_port_that_sends_pause_frames_stops_the_other_end_while_a_ring_is_full() {
    let setup =
        Setup { port: PortOptions { receive_ring: 64, ..PortOptions::default() }, ..Setup::default() };
    for send in [false, true] {
        let mut port = open(setup.clone());
        port.control.set_pause(Pause { obey: false, send }).unwrap();
        let came = Arc::new(Mutex::new(Vec::new()));
        port.device.attach(Box::new(Offering { left: 100, came: Arc::clone(&came) }));
        for _ in 0..10 {
            port.device.step();
        }
        let mut batch = port.batch(256);
        let mut received = 0;
        while received < 100 {
            received += port.receive[0].receive(&mut batch).unwrap();
            batch.clear();
            port.device.step();
        }
        port.device.step();
        let mut stop = pause_frame(0xffff);
        stop[6..12].copy_from_slice(&OWN);
        let mut go_on = pause_frame(0);
        go_on[6..12].copy_from_slice(&OWN);
        assert_eq!(*came.lock().unwrap(), if send { vec![stop, go_on] } else { vec![] });
        let counts = [port.counter("LXOFFTXC"), port.counter("LXONTXC")];
        assert_eq!(counts, if send { [1, 1] } else { [0, 0] });
        drop(batch);
        port.close();
    }
}
