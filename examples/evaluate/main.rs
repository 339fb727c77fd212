//! Measures images: against each other, and sets of them.
//!
//!     cargo run --release --example evaluate -- compare original restored --csv pairs.csv
//!     cargo run --release --example evaluate -- compare a.png b.jpg
//!     cargo run --release --example evaluate -- fid photos generated --mode clean
//!     cargo run --release --example evaluate -- fid photos generated --features random
//!     cargo run --release --example evaluate -- is generated
//!     cargo run --release --example evaluate -- align source.png target.png --points points.csv
//!
//! What cannot be read or compared is listed at the end, and the exit status is then 1.

mod align;
mod compare;
mod distribution;
mod features;
mod options;
mod pictures;
mod scores;

use clap::Parser;
use examples_support::failure::Failure;
use options::{Cli, Command};

fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    tch_losses::cuda::load();
    Ok(match cli.command {
        Command::Compare(options) => compare::run(&options),
        Command::Fid(options) => distribution::fid(&options),
        Command::Is(options) => distribution::inception_score(&options),
        Command::Align(options) => align::run(&options),
    }?)
}
