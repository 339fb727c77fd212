//! Trains, evaluates and runs a small image classifier with any classification loss of `tch-losses`.
//!
//!     cargo run --release --example classifier -- train
//!     cargo run --release --example classifier -- train --data path/to/images --loss "ce(label_smoothing=0.1)"
//!     cargo run --release --example classifier -- train --compare "ce, label_smoothing, focal" --name compare
//!     cargo run --release --example classifier -- eval --weights runs/classifier/run/best.safetensors
//!     cargo run --release --example classifier -- predict --weights runs/classifier/run/best.safetensors photo.jpg

mod compare;
mod evaluate;
mod model;
mod objective;
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
        Command::Train(options) => Interrupt::during(|stop| match options.compare() {
            None => train::run(&options, stop),
            Some(losses) => compare::run(&options, &losses?, stop),
        }),
        Command::Eval(options) => evaluate::run(&options),
        Command::Predict(options) => predict::run(&options),
    }?)
}
