//! Grey shapes that are of one of two colours, nobody can tell which: what a network makes of them under
//! the squared error, the absolute error and an adversarial loss. All else is the same.
//!
//!     cargo run --release --example colorize
//!     cargo run --release --example colorize -- --compare "l2, pix2pix, hinge, wgan" --name more
//!     cargo run --release --example colorize -- --loss "non_saturating + 10*l1" --name both

mod compare;
mod data;
mod evaluate;
mod model;
mod objective;
mod options;
mod report;
mod train;
mod weights;

use clap::Parser;
use examples_support::{failure::Failure, interrupt::Interrupt};
use options::Options;

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    tch_losses::cuda::load();
    Ok(Interrupt::during(|stop| match &options.loss {
        Some(loss) => train::run(&options, loss, stop),
        None => compare::run(&options, stop),
    })?)
}
