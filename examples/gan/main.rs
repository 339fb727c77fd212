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
use examples_support::interrupt::Interrupt;
use options::{Cli, Command};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    tch_losses::cuda::load();
    match cli.command {
        Command::Train(options) => {
            let interrupt = Interrupt::install()?;
            match options.compare() {
                None => train::run(&options, &interrupt),
                Some(losses) => compare::run(&options, &losses?, &interrupt),
            }
        }
        Command::Sample(options) => sample::run(&options),
    }
}
