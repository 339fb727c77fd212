//! Trains a small network that enlarges photographs, once with a pixel loss and once with a perceptual loss of
//! `tch_losses::perceptual`, and shows what the difference is.
//!
//!     cargo run --release --example super_resolution -- train
//!     cargo run --release --example super_resolution -- train --scale 2 --name x2
//!     cargo run --release --example super_resolution -- train --data path/to/photos --weights weights/vgg19.safetensors --lpips weights/lpips_alex.safetensors
//!     cargo run --release --example super_resolution -- upscale --weights runs/super_resolution/run/perceptual/last.safetensors photo.jpg

mod compare;
mod data;
mod measure;
mod model;
mod objective;
mod options;
mod train;
mod upscale;

use clap::Parser;
use examples_support::{failure::Failure, interrupt::Interrupt};
use options::{Cli, Command};

fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    tch_losses::cuda::load();
    Ok(match cli.command {
        Command::Train(options) => Interrupt::during(|stop| compare::run(&options, stop)),
        Command::Upscale(options) => upscale::run(&options),
    }?)
}
