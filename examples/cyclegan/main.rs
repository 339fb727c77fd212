//! Learns to turn images of one kind into another and back, from two sets of which no image belongs to
//! another, with the losses of CycleGAN.
//!
//!     cargo run --release --example cyclegan -- train
//!     cargo run --release --example cyclegan -- train --pair inverted --name inverted
//!     cargo run --release --example cyclegan -- train --a path/to/horses --b path/to/zebras --img 128 --name horses
//!     cargo run --release --example cyclegan -- translate --weights runs/cyclegan/horses/last.safetensors --to b photo.jpg

mod data;
mod model;
mod options;
mod report;
mod train;
mod translate;
mod weights;

use clap::Parser;
use examples_support::{failure::Failure, interrupt::Interrupt};
use options::{Cli, Command};

fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    tch_losses::cuda::load();
    Ok(match cli.command {
        Command::Train(options) => Interrupt::during(|stop| train::run(&options, stop)),
        Command::Translate(options) => translate::run(&options),
    }?)
}
