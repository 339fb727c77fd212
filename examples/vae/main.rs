//! Trains a small variational autoencoder of images.
//!
//!     cargo run --release --example vae -- train
//!     cargo run --release --example vae -- train --latent 2 --name plane
//!     cargo run --release --example vae -- train --reconstruction mse --beta 0.1 --free-bits 0.05
//!     cargo run --release --example vae -- sample --weights runs/vae/run/best.safetensors

#[path = "../gan/judge.rs"]
mod judge;
mod model;
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
        Command::Train(options) => Interrupt::during(|stop| train::run(&options, stop)),
        Command::Sample(options) => sample::run(&options),
    }?)
}
