//! A short run of every class, and all of its corpus; `cargo xtask test --step hostile` runs more.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use ringway_hostile::CLASSES;
use ringway_hostile::run::{Limits, run};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Cases of a class beyond its corpus.
const CASES: u64 = 40;

/// Descriptors and memory are the whole process's: one class at a time.
static ONE: Mutex<()> = Mutex::new(());

fn bounded(name: &str) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let class = CLASSES.iter().find(|class| class.name == name).unwrap();
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("corpus");
    let files = std::fs::read_dir(corpora.join(class.corpus)).unwrap().count() as u64;
    let limits = Limits { cases: Some(files + CASES), time: None };
    let report = run(class, Some(&corpora), 9, limits).unwrap();
    println!("{report}");
    assert_eq!(report.violations, 0, "{report}\n{}", report.shown.join("\n"));
    assert_eq!(report.cases, files + CASES);
    assert!(
        report.faults > report.cases / 8 && report.opened > report.cases / 4,
        "too little was seen: {report}"
    );
}

#[test]
fn whatever_an_82599_does_its_driver_breaks_no_rule() {
    bounded("hostile-ixgbe");
}

#[test]
fn whatever_a_virtio_net_does_its_driver_breaks_no_rule() {
    bounded("hostile-virtio");
}

#[test]
fn whatever_packets_come_each_is_forwarded_or_counted_captured_or_counted_and_seen() {
    bounded("hostile-packets");
}

#[test]
fn whatever_bytes_come_both_paths_of_the_parser_agree() {
    bounded("flow-parse");
}

#[test]
fn whatever_bytes_come_a_miniflow_is_its_whole_flow() {
    bounded("flow-expand");
}

#[test]
fn while_faults_are_injected_numbered_packets_come_in_order_or_are_counted() {
    bounded("soak");
}
