//! Puts the options on steering and pausing into open ports.

use crate::Error;
use crate::cli::SteeringOptions;
use ringway_port::Port;

/// Asks a port for it.
///
/// # Errors
/// For what the device can't do: it says so, by its name.
pub(super) fn steer(port: &mut dyn Port, options: &SteeringOptions) -> Result<(), Error> {
    let SteeringOptions { rss_key, rss_table, pause, filters } = options;
    if rss_key.is_some() || !rss_table.is_empty() {
        let mut scaling = port.scaling()?;
        if let Some(key) = rss_key {
            scaling.key.clone_from(&key.0);
        }
        if !rss_table.is_empty() {
            // What is longer than the device's table is left as it is, for the device to refuse.
            let entries = scaling.table.len().max(rss_table.len());
            scaling.table = rss_table.iter().copied().cycle().take(entries).collect();
        }
        port.set_scaling(&scaling)?;
    }
    if let Some(pause) = *pause {
        port.set_pause(pause)?;
    }
    for filter in filters {
        port.add_filter(filter)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use ringway_dma::AddressSpace;
    use ringway_model::{ixgbe, virtio};
    use ringway_packet::{Batch, Pool, PoolOptions};
    use ringway_pci::Function;
    use ringway_port::{Opened, PortOptions, VERIFICATION_KEY};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        steering: SteeringOptions,
    }

    const QUEUES: u16 = 4;

    fn options() -> PortOptions {
        PortOptions {
            receive_queues: QUEUES,
            transmit_queues: QUEUES,
            receive_ring: 64,
            ..PortOptions::default()
        }
    }

    /// An emulated 82599 that was steered as the command line says.
    struct Bench {
        port: Opened,
        device: ixgbe::Handle,
        batch: Batch,
    }

    fn steered(words: &[&str]) -> (Bench, Result<(), Error>) {
        let space = AddressSpace::emulated();
        let pool = Pool::new(&space, PoolOptions { buffers: 1024, ..PoolOptions::default() }).unwrap();
        let (backend, device) = ixgbe::Ixgbe::create(&space, ixgbe::Options::default());
        let mut port = ringway_ixgbe::open(Function::new(backend).unwrap(), &pool, &options()).unwrap();
        port.control.set_promiscuous(true).unwrap();
        let line = Line::try_parse_from([&["forward"], words].concat()).unwrap();
        let outcome = steer(&mut *port.control, &line.steering);
        let batch = Batch::new(&pool, 32);
        (Bench { port, device, batch }, outcome)
    }

    impl Bench {
        /// The queue that a frame comes to, if it comes.
        fn queue_of(&mut self, frame: &[u8]) -> Option<usize> {
            assert!(self.device.inject(frame));
            let Self { port, batch, .. } = self;
            let queue = port.receive.iter_mut().position(|queue| queue.receive(batch).unwrap() == 1);
            batch.clear();
            queue
        }
    }

    /// A datagram over IPv4.
    fn datagram(source: u16, destination: u16) -> Vec<u8> {
        use etherparse::PacketBuilder;
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(source, destination);
        let mut frame = Vec::new();
        builder.write(&mut frame, &[0; 40]).unwrap();
        frame
    }

    fn of_type(ether_type: u16) -> Vec<u8> {
        let mut frame = vec![2; 60];
        frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
        frame
    }

    #[test]
    fn filters_send_packets_to_their_queues_and_nowhere() {
        let (mut bench, outcome) = steered(&[
            "--filter=ethertype=0x88b5,queue=3",
            "--filter=udp,destination-port=53,queue=2",
            "--filter=exact,udp,source=10.0.0.1,destination=10.0.0.2,source-port=7,destination-port=9,drop",
            "--rss-table=1",
        ]);
        outcome.unwrap();
        assert_eq!(bench.queue_of(&of_type(0x88b5)), Some(3));
        assert_eq!(bench.queue_of(&of_type(0x88b6)), Some(0));
        assert_eq!(bench.queue_of(&datagram(7, 53)), Some(2));
        assert_eq!(bench.queue_of(&datagram(7, 9)), None);
        assert_eq!(bench.queue_of(&datagram(7, 10)), Some(1), "the table sends all the rest there");
    }

    #[test]
    fn the_table_is_repeated_and_the_key_changes_where_flows_go() {
        let (mut bench, outcome) = steered(&["--rss-table=0,0,3"]);
        outcome.unwrap();
        let scaling = bench.port.control.scaling().unwrap();
        assert_eq!((scaling.table.len(), &scaling.table[125..]), (128, &[3, 0, 0][..]));
        assert_eq!(scaling.key, VERIFICATION_KEY);
        let spread =
            |bench: &mut Bench| (0..64).map(|flow| bench.queue_of(&datagram(flow, 9))).collect::<Vec<_>>();
        let before = spread(&mut bench);
        assert!(before.iter().all(|queue| matches!(queue, Some(0 | 3))));
        let key = "4d".repeat(39) + "11";
        let (mut bench, outcome) = steered(&["--rss-table=0,0,3", "--rss-key", &key]);
        outcome.unwrap();
        assert_eq!(bench.port.control.scaling().unwrap().key[38..], [0x4d, 0x11]);
        assert_ne!(spread(&mut bench), before);
    }

    #[test]
    fn pause_frames_are_obeyed_or_sent_as_is_asked() {
        for (word, obey, send) in
            [("rx", true, false), ("tx", false, true), ("rx,tx", true, true), ("none", false, false)]
        {
            let (mut bench, outcome) = steered(&["--pause", word]);
            outcome.unwrap();
            assert_eq!(bench.port.control.pause().unwrap(), ringway_port::Pause { obey, send });
        }
    }

    #[test]
    fn what_the_device_cannot_do_is_refused_by_its_name() {
        let long = (0..129).map(|_| "0").collect::<Vec<_>>().join(",");
        for (words, said) in [
            (["--rss-key", "6d5a"], "40 bytes, not 2"),
            (["--rss-table", "0,4"], "queue 4"),
            (["--rss-table", &long], "128 entries, not 129"),
            (["--filter", "ethertype=0x0800,queue=1"], "0x0800"),
            (["--filter", "udp,drop"], "only exact ones can drop"),
            (["--filter", "udp,queue=9"], "no receive queue 9"),
        ] {
            let refusal = steered(&words).1.unwrap_err().to_string();
            assert!(refusal.contains(said) && refusal.contains("emulated:0"), "{words:?}: {refusal}");
        }
        let space = AddressSpace::emulated();
        let pool = Pool::new(&space, PoolOptions { buffers: 2048, ..PoolOptions::default() }).unwrap();
        let model = virtio::Options {
            features: virtio::Features::default()
                .without(virtio::Features::RSS | virtio::Features::HASH_REPORT),
            queue_pairs: QUEUES,
            ..virtio::Options::default()
        };
        let (backend, _device) = virtio::VirtioNet::create(&space, model);
        let mut port = ringway_virtio::open(Function::new(backend).unwrap(), &pool, &options()).unwrap();
        for (words, said) in [
            (["--rss-table", "0"], "VIRTIO_NET_F_RSS"),
            (["--pause", "rx"], "pausing"),
            (["--filter", "udp,queue=1"], "a filter to a queue"),
        ] {
            let line = Line::try_parse_from([&["forward"], &words[..]].concat()).unwrap();
            let refusal = steer(&mut *port.control, &line.steering).unwrap_err().to_string();
            assert!(refusal.contains(said) && refusal.contains("emulated:0"), "{words:?}: {refusal}");
        }
    }
}
