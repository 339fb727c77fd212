//! The command line.

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use examples_support::{
    labelled::DataOptions,
    nets::Net,
    run::{RunOptions, at_least, positive, within},
};
use std::path::PathBuf;
use tch_losses::{Reconstruction, VaeLoss};

/// Trains a small variational autoencoder of images, and draws from it.
#[derive(Debug, Parser)]
#[command(name = "vae", args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train from scratch; leaves curves, reconstructions, samples and weights in runs/vae/NAME
    Train(Box<Train>),
    /// Write a sheet of images of a trained decoder
    Sample(Sample),
}

/// What the reconstruction is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compared {
    /// Squared error
    Mse,
    /// Binary cross entropy, of grey as a probability
    Bce,
    /// Absolute error
    L1,
}

#[derive(Debug, Clone, Args)]
pub struct Train {
    #[command(flatten)]
    pub data: DataOptions,
    /// What the reconstruction is compared by
    #[arg(long, value_enum, default_value_t = Compared::Bce)]
    pub reconstruction: Compared,
    /// Weight of the divergence from the prior
    #[arg(long, default_value_t = 1.0)]
    pub beta: f64,
    /// Epochs over which the weight rises from 0
    #[arg(long, default_value_t = 0.0)]
    pub beta_warmup: f64,
    /// Nats that each latent variable may carry for nothing
    #[arg(long, default_value_t = 0.0)]
    pub free_bits: f64,
    /// Latent variables; with 2 there is a picture of the plane
    #[arg(long, default_value_t = 8)]
    pub latent: i64,
    #[command(flatten)]
    pub run: RunOptions,
    /// Epochs
    #[arg(long, default_value_t = 60)]
    pub epochs: usize,
    /// Images per step
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// Side of the images in pixels [folders: 32, else that of the data]
    #[arg(long)]
    pub img: Option<u32>,
    /// What the layers are [below 16 pixels: mlp, else conv]
    #[arg(long, value_enum)]
    pub net: Option<Net>,
    /// Factor on the units or channels inside
    #[arg(long, default_value_t = 1.0)]
    pub width: f64,
    /// Greatest learning rate
    #[arg(long, default_value_t = 2e-3)]
    pub lr: f64,
    /// The last learning rate as a share of --lr
    #[arg(long, default_value_t = 0.02)]
    pub lr_last: f64,
    #[arg(long, default_value_t = 0.01)]
    pub weight_decay: f64,
    /// Greatest norm of the gradient
    #[arg(long, default_value_t = 100.0)]
    pub clip_grad: f64,
    /// Decay of the moving average of the weights
    #[arg(long, default_value_t = 0.99)]
    pub ema: f64,
    /// Images to measure the Fréchet distance with
    #[arg(long, default_value_t = 2000)]
    pub samples: i64,
    /// Validate after every so many epochs
    #[arg(long, default_value_t = 1)]
    pub eval_every: usize,
    /// Threads of libtorch on the CPU [1 for images below 24 pixels, which are too small to share out]
    #[arg(long)]
    pub threads: Option<usize>,
}

impl Train {
    /// The loss at a share of --beta.
    pub fn loss(&self, share: f64) -> VaeLoss {
        let reconstruction = match self.reconstruction {
            Compared::Mse => Reconstruction::Mse,
            Compared::Bce => Reconstruction::BceWithLogits,
            Compared::L1 => Reconstruction::L1,
        };
        VaeLoss::default()
            .reconstruction(reconstruction)
            .beta(share * self.beta)
            .free_bits(self.free_bits)
    }

    pub fn check(&self) -> Result<()> {
        if let Some(img) = self.img {
            within("img", img.into(), 4.0, 256.0)?;
        }
        for (option, value, least) in [
            ("latent", self.latent, 1),
            ("epochs", self.epochs as i64, 1),
            ("batch", self.batch as i64, 2),
            ("samples", self.samples, 2),
            ("eval-every", self.eval_every as i64, 1),
            ("threads", self.threads.unwrap_or(1) as i64, 1),
        ] {
            at_least(option, value, least)?;
        }
        positive("lr", self.lr)?;
        within("beta", self.beta, 0.0, 1e6)?;
        within("beta-warmup", self.beta_warmup, 0.0, 1e6)?;
        within("free-bits", self.free_bits, 0.0, 1e3)?;
        within("width", self.width, 0.05, 16.0)?;
        within("lr-last", self.lr_last, 0.0, 1.0)?;
        within("weight-decay", self.weight_decay, 0.0, 1e3)?;
        within("clip-grad", self.clip_grad, 0.0, f64::INFINITY)?;
        within("ema", self.ema, 0.0, 1.0)
    }
}

#[derive(Debug, Args)]
pub struct Sample {
    /// best.safetensors or last.safetensors of a run
    #[arg(long)]
    pub weights: PathBuf,
    /// Where the sheet goes
    #[arg(long, default_value = "runs/vae/samples.png")]
    pub out: PathBuf,
    /// Images on it
    #[arg(long, default_value_t = 100)]
    pub count: i64,
    #[arg(long, default_value_t = 0)]
    pub seed: i64,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
}
