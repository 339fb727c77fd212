//! Trains embeddings of handwritten digits with any loss of embeddings of `tch-losses`, so that the nearest
//! picture shows the same digit, however it is turned, scaled, shifted and noisy.
//!
//!     cargo run --release --example embedding
//!     cargo run --release --example embedding -- --loss "triplet(mining=semi_hard, margin=0.2)" --name semi
//!     cargo run --release --example embedding -- --loss "arc_face(margin=0.3, scale=16)" --name arc
//!     cargo run --release --example embedding -- --compare --name minings

mod compare;
mod data;
mod evaluate;
mod map;
mod model;
mod objective;
mod options;
mod train;
mod weights;

use clap::Parser;
use examples_support::{failure::Failure, interrupt::Interrupt};
use options::Options;

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    tch_losses::cuda::load();
    Ok(match (&options.weights, options.compare()) {
        (Some(weights), _) => evaluate::run(weights, &options),
        (None, None) => Interrupt::during(|stop| train::run(&options, stop)),
        (None, Some(losses)) => Interrupt::during(|stop| compare::run(&options, &losses?, stop)),
    }?)
}
