//! Makes a picture with the content of one and the style of another, or a texture like another, by changing
//! its pixels until the losses of `tch_losses::perceptual` are small.
//!
//!     cargo run --release --example style_transfer
//!     cargo run --release --example style_transfer -- --style grass-1 --name grass --steps 300
//!     cargo run --release --example style_transfer -- --content photo.jpg --style painting.jpg --weights weights/vgg19.safetensors
//!     cargo run --release --example style_transfer -- --resume --steps 400

mod lbfgs;
mod objective;
mod options;
mod pictures;
mod report;
mod synthesis;

use clap::Parser;
use examples_support::interrupt::Interrupt;

fn main() -> anyhow::Result<()> {
    let options = options::Options::parse();
    tch_losses::cuda::load();
    synthesis::run(&options, &Interrupt::install()?)
}
