//! The command line.

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use examples_support::{
    losses,
    run::{RunOptions, at_least, positive, within},
};

/// Colours grey shapes, each of which may be orange or blue, with any loss.
#[derive(Debug, Clone, Parser)]
#[command(name = "colorize", args_override_self = true)]
pub struct Options {
    /// Train with each of these losses, separated by commas, in runs/colorize/NAME/LOSS, and compare
    /// them: any loss of values or images by its name, any pair of adversarial objectives
    /// (`adversarial` is `non_saturating`), `pix2pix`, or a sum such as `hinge + 10*l1`; the example
    /// `catalogue` lists them
    #[arg(long, default_value = "l2, l1, adversarial")]
    pub compare: String,
    /// Train with this loss only, in runs/colorize/NAME
    #[arg(long, conflicts_with = "compare")]
    pub loss: Option<String>,
    #[command(flatten)]
    pub run: RunOptions,
    #[arg(long, default_value_t = 10)]
    pub epochs: usize,
    /// Steps an epoch
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// Images per step
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Side of the images in pixels
    #[arg(long, default_value_t = 16)]
    pub img: u32,
    /// Share of the shapes that are orange
    #[arg(long, default_value_t = 0.5)]
    pub share: f64,
    /// Random numbers that the generator gets beside the grey image; they are the same under every loss
    #[arg(long, default_value_t = 4)]
    pub noise: i64,
    /// Channels of the generator
    #[arg(long, default_value_t = 16)]
    pub width: i64,
    /// Greatest learning rate of the generator
    #[arg(long, default_value_t = 2e-3)]
    pub lr: f64,
    /// Greatest learning rate of the discriminator
    #[arg(long, default_value_t = 2e-3)]
    pub critic_lr: f64,
    /// The last learning rate as a share of the greatest
    #[arg(long, default_value_t = 0.05)]
    pub lr_last: f64,
    /// Decay of the moving average of the generator's weights
    #[arg(long, default_value_t = 0.98)]
    pub ema: f64,
    /// Steps of the discriminator to one of the generator
    #[arg(long, default_value_t = 1)]
    pub critic_steps: u64,
    /// What keeps the discriminator smooth
    #[arg(long, value_enum, default_value_t = Smooth::R1)]
    pub smooth: Smooth,
    /// The weight of that penalty [r1: 1, gp: 10]
    #[arg(long)]
    pub penalty: Option<f64>,
    /// Shapes that results are measured on
    #[arg(long, default_value_t = 512)]
    pub test: usize,
    /// Threads of libtorch on the CPU [1 for images below 24 pixels, which are too small to share out]
    #[arg(long)]
    pub threads: Option<usize>,
}

/// What keeps a discriminator smooth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Smooth {
    /// The R1 penalty, on the gradient at real images
    R1,
    /// The gradient penalty of WGAN-GP, on that between real and generated images
    Gp,
    /// Spectral normalisation of its layers
    Spectral,
    /// Nothing
    None,
}

impl Options {
    /// The losses to compare.
    pub fn losses(&self) -> Result<Vec<String>> {
        let losses = losses::split(&self.compare);
        ensure!(
            losses.len() > 1,
            "--compare: expected two or more losses with commas between, got `{}`",
            self.compare
        );
        Ok(losses)
    }

    /// The weight of the penalty on the discriminator.
    pub fn penalty(&self) -> f64 {
        self.penalty.unwrap_or(match self.smooth {
            Smooth::R1 => 1.0,
            Smooth::Gp => 10.0,
            Smooth::Spectral | Smooth::None => 0.0,
        })
    }

    pub fn check(&self) -> Result<()> {
        within("img", self.img.into(), 8.0, 256.0)?;
        ensure!(self.img.is_multiple_of(8), "--img: expected a multiple of 8, got {}", self.img);
        for (option, value) in [
            ("epochs", self.epochs),
            ("steps", self.steps),
            ("batch", self.batch),
            ("critic-steps", self.critic_steps as usize),
            ("test", self.test),
            ("threads", self.threads.unwrap_or(1)),
        ] {
            at_least(option, value as i64, 1)?;
        }
        for (option, value) in [("lr", self.lr), ("critic-lr", self.critic_lr)] {
            positive(option, value)?;
        }
        within("share", self.share, 0.0, 1.0)?;
        within("noise", self.noise as f64, 0.0, 1024.0)?;
        within("width", self.width as f64, 1.0, 1024.0)?;
        within("lr-last", self.lr_last, 0.0, 1.0)?;
        within("ema", self.ema, 0.0, 1.0)?;
        within("penalty", self.penalty(), 0.0, 1e6)
    }
}
