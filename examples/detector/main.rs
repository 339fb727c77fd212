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
use examples_support::{failure::Failure, interrupt::Interrupt};
use options::{Cli, Command};

fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    tch_losses::cuda::load();
    Ok(match cli.command {
        Command::Train(options) => Interrupt::during(|stop| train::run(&options, stop)),
        Command::Eval(options) => evaluate::run(&options),
        Command::Predict(options) => predict::run(&options),
    }?)
}
