//! Trains, evaluates and runs a small detector with the losses of `tch-losses`.
//!
//!     cargo run --release --example detector -- train
//!     cargo run --release --example detector -- train --data path/to/data --name mine
//!     cargo run --release --example detector -- eval --weights runs/detector/mine/best.safetensors
//!     cargo run --release --example detector -- predict --weights runs/detector/mine/best.safetensors photo.jpg

mod data;
mod evaluate;
mod infer;
mod model;
mod options;
mod predict;
mod report;
mod train;
mod weights;

use clap::Parser;
use examples_support::interrupt::Interrupt;
use options::{Cli, Command};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    tch_losses::cuda::load();
    match cli.command {
        Command::Train(options) => train::run(&options, &Interrupt::install()?),
        Command::Eval(options) => evaluate::run(&options),
        Command::Predict(options) => predict::run(&options),
    }
}
