//! The command line.

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use examples_support::{
    labelled::DataOptions,
    losses,
    nets::Net,
    run::{RunOptions, at_least, positive, within},
};
use std::path::PathBuf;

/// Trains a small generator of images with any adversarial objective, and draws from it.
#[derive(Debug, Parser)]
#[command(name = "gan", args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train from scratch; leaves curves, sample sheets and weights in runs/gan/NAME
    Train(Box<Train>),
    /// Write a sheet of images of a trained generator
    Sample(Sample),
}

#[derive(Debug, Clone, Args)]
pub struct Train {
    #[command(flatten)]
    pub data: DataOptions,
    /// A pair of objectives by name, with options, and what keeps its critic smooth: minmax,
    /// non_saturating, `bce(real_label=0.9)`, least_squares, wasserstein, wgan_gp, `hinge +
    /// spectral_norm`, `rpgan + r1 + r2`, `non_saturating + dragan(lambda=1)`, ...; the example
    /// `catalogue` lists the pairs
    #[arg(long, default_value = "wgan_gp")]
    pub loss: String,
    /// Train with each of these losses, separated by commas, in runs/gan/NAME/LOSS, and compare them
    #[arg(long, conflicts_with = "loss")]
    pub compare: Option<String>,
    /// Add a penalty to the critic's objective: gp, r1, r2 or dragan, with options: `gp(lambda=5)`
    #[arg(long)]
    pub penalty: Option<String>,
    /// Divide the critic's weights by their spectral norms
    #[arg(long)]
    pub spectral_norm: bool,
    /// Clip the critic's weights to [-CLIP, CLIP] after each of its steps
    #[arg(long)]
    pub clip: Option<f64>,
    #[command(flatten)]
    pub run: RunOptions,
    /// Steps of the critic to one of the generator [wasserstein: 5, else 1]
    #[arg(long)]
    pub n_critic: Option<u64>,
    /// Epochs
    #[arg(long, default_value_t = 10)]
    pub epochs: usize,
    /// Steps of the generator in an epoch
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
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
    /// Numbers that an image is made from
    #[arg(long, default_value_t = 32)]
    pub latent: i64,
    /// Batch normalisation in the generator
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub batch_norm: bool,
    /// Greatest learning rate of the generator [wasserstein with clipped weights: 2e-4, else 1e-3]
    #[arg(long)]
    pub lr: Option<f64>,
    /// That of the critic [that of the generator]
    #[arg(long)]
    pub critic_lr: Option<f64>,
    /// The last learning rate as a share of the greatest
    #[arg(long, default_value_t = 0.05)]
    pub lr_last: f64,
    /// Adam's average of gradients
    #[arg(long, default_value_t = 0.0)]
    pub beta1: f64,
    /// Adam's average of squared gradients
    #[arg(long, default_value_t = 0.99)]
    pub beta2: f64,
    /// Decay of the moving average of the generator's weights
    #[arg(long, default_value_t = 0.99)]
    pub ema: f64,
    /// Images to measure the Fréchet distance with
    #[arg(long, default_value_t = 2000)]
    pub samples: i64,
    /// Measure after every so many epochs
    #[arg(long, default_value_t = 1)]
    pub eval_every: usize,
    /// Threads of libtorch on the CPU [1 for images below 24 pixels, which are too small to share out]
    #[arg(long)]
    pub threads: Option<usize>,
}

impl Train {
    /// The losses to compare, if that is what is to be done.
    pub fn compare(&self) -> Option<Result<Vec<String>>> {
        self.compare.as_ref().map(|text| {
            let losses = losses::split(text);
            ensure!(
                losses.len() > 1,
                "--compare: expected two or more losses with commas between, got `{text}`"
            );
            Ok(losses)
        })
    }

    /// A loss with what the options add to it.
    pub fn whole(&self, loss: &str) -> String {
        let mut text = loss.to_owned();
        if let Some(penalty) = &self.penalty {
            text += &format!(" + {penalty}");
        }
        if self.spectral_norm {
            text += " + spectral_norm";
        }
        if let Some(clip) = self.clip {
            text += &format!(" + clip(c={clip})");
        }
        text
    }

    pub fn check(&self) -> Result<()> {
        if let Some(img) = self.img {
            within("img", img.into(), 4.0, 256.0)?;
        }
        for (option, value, least) in [
            ("n-critic", self.n_critic.unwrap_or(1) as i64, 1),
            ("epochs", self.epochs as i64, 1),
            ("steps", self.steps as i64, 1),
            ("batch", self.batch as i64, 2),
            ("latent", self.latent, 1),
            ("samples", self.samples, 2),
            ("eval-every", self.eval_every as i64, 1),
            ("threads", self.threads.unwrap_or(1) as i64, 1),
        ] {
            at_least(option, value, least)?;
        }
        for (option, lr) in [("lr", self.lr), ("critic-lr", self.critic_lr)] {
            positive(option, lr.unwrap_or(1.0))?;
        }
        within("width", self.width, 0.05, 16.0)?;
        within("lr-last", self.lr_last, 0.0, 1.0)?;
        within("beta1", self.beta1, 0.0, 0.9999)?;
        within("beta2", self.beta2, 0.0, 0.9999)?;
        within("ema", self.ema, 0.0, 1.0)
    }
}

#[derive(Debug, Args)]
pub struct Sample {
    /// best.safetensors or last.safetensors of a run
    #[arg(long)]
    pub weights: PathBuf,
    /// Where the sheet goes
    #[arg(long, default_value = "runs/gan/samples.png")]
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
