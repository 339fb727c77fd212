//! Trains, evaluates and runs a U-Net with the losses of `tch-losses`.
//!
//!     cargo run --release --example segmenter -- train
//!     cargo run --release --example segmenter -- train --data path/to/data --loss "dice + 0.5*ce" --name mine
//!     cargo run --release --example segmenter -- train --compare "ce, dice+ce, dice+cldice" --name losses
//!     cargo run --release --example segmenter -- eval --data path/to/data --weights runs/segmenter/mine/best.safetensors
//!     cargo run --release --example segmenter -- predict --weights runs/segmenter/mine/best.safetensors photo.jpg

mod compare;
mod data;
mod evaluate;
mod model;
mod objective;
mod options;
mod overlay;
mod predict;
mod report;
mod train;
mod weights;
mod windows;

use clap::Parser;
use examples_support::{failure::Failure, interrupt::Interrupt};
use options::{Cli, Command};

fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    tch_losses::cuda::load();
    Ok(match cli.command {
        Command::Train(options) if options.compare.is_some() => {
            Interrupt::during(|stop| compare::run(&options, stop))
        }
        Command::Train(options) => Interrupt::during(|stop| train::run(&options, stop).map(|_| ())),
        Command::Eval(options) => evaluate::run(&options),
        Command::Predict(options) => predict::run(&options),
    }?)
}
