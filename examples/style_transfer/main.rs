//! Makes a picture with the content of one and the style of another, or a texture like another, by changing
//! its pixels until the losses of `tch_losses::perceptual` are small.
//!
//!     cargo run --release --example style_transfer
//!     cargo run --release --example style_transfer -- --style gravel-1 --name gravel
//!     cargo run --release --example style_transfer -- --content chelsea-1 --style gravel-1 --name cat
//!     cargo run --release --example style_transfer -- --content photo.jpg --style painting.jpg --weights weights/vgg19.safetensors
//!     cargo run --release --example style_transfer -- --resume --steps 200

mod lbfgs;
mod objective;
mod options;
mod pictures;
mod report;
mod synthesis;

use clap::Parser;
use examples_support::{failure::Failure, interrupt::Interrupt};

fn main() -> Result<(), Failure> {
    let options = options::Options::parse();
    tch_losses::cuda::load();
    Ok(Interrupt::during(|stop| synthesis::run(&options, stop))?)
}
