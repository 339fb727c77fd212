//! Trains a small generator of images with any adversarial objective of `tch-losses`.
//!
//!     cargo run --release --example gan -- train --loss wgan_gp
//!     cargo run --release --example gan -- train --loss "hinge + spectral_norm" --data path/to/images --img 32
//!     cargo run --release --example gan -- train --name compare \
//!         --compare "minmax, non_saturating, least_squares, wasserstein, wgan_gp, hinge + spectral_norm"
//!     cargo run --release --example gan -- sample --weights runs/gan/run/best.safetensors

mod compare;
mod judge;
mod model;
mod objective;
mod options;
mod report;
mod sample;
mod train;
mod weights;

use clap::Parser;
use examples_support::{failure::Failure, interrupt::Interrupt};
use options::{Cli, Command};

fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    tch_losses::cuda::load();
    Ok(match cli.command {
        Command::Train(options) => Interrupt::during(|stop| match options.compare() {
            None => train::run(&options, stop),
            Some(losses) => compare::run(&options, &losses?, stop),
        }),
        Command::Sample(options) => sample::run(&options),
    }?)
}
