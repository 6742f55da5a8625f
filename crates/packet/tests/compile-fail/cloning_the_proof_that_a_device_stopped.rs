//! The proof is its keeper's: it is lent for as long as things are given back, and nobody makes a second one.

use ringway_dma::Quiesced;

fn twice(stopped: &Quiesced) -> Quiesced {
    stopped.clone()
}

fn keep(stopped: &Quiesced) -> &'static Quiesced {
    stopped
}

fn main() {}
