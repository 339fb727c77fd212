//! The command line.

use crate::{data::Pair, model::Shape};
use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use examples_support::run::{RunOptions, at_least, positive, within};
use std::path::PathBuf;
use tch_losses::{
    GanLoss,
    adversarial::{CycleGanLoss, gan_by_name},
    loss,
};

/// Turns images of one kind into another and back.
#[derive(Debug, Parser)]
#[command(name = "cyclegan", args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train from scratch; leaves curves, pictures and weights in runs/cyclegan/NAME
    Train(Box<Train>),
    /// Apply a generator to images and folders of images
    Translate(Translate),
}

#[derive(Debug, Clone, Args)]
pub struct Train {
    /// A folder of images of one kind, with those in folders inside
    #[arg(long, requires = "b")]
    pub a: Option<PathBuf>,
    /// A folder of images of the other kind; they need not belong to those of --a
    #[arg(long, requires = "a")]
    pub b: Option<PathBuf>,
    /// The built-in pair to train on where there are no folders
    #[arg(long, value_enum, default_value_t = Pair::Coloured, conflicts_with = "a")]
    pub pair: Pair,
    /// Leave unreadable images out instead of stopping
    #[arg(long)]
    pub skip_unreadable: bool,
    #[command(flatten)]
    pub run: RunOptions,
    /// Epochs, each over the larger of the two sets [built-in pairs: 8, folders: 200]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Images of each kind per step [built-in pairs: 16, folders: 4]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Side of the images in pixels, a multiple of 4; the networks' depth follows it [built-in pairs: 16,
    /// folders: 64]
    #[arg(long)]
    pub img: Option<u32>,
    /// Channels of the generators' first layer [built-in pairs: 16, folders: 32]
    #[arg(long)]
    pub width: Option<i64>,
    /// The adversarial objectives, by name, with options; the example `catalogue` lists the pairs
    #[arg(long, default_value = "lsgan_cyclegan")]
    pub gan: String,
    /// Weight of the cycle A to B to A
    #[arg(long, default_value_t = 10.0)]
    pub lambda_a: f64,
    /// Weight of the cycle B to A to B
    #[arg(long, default_value_t = 10.0)]
    pub lambda_b: f64,
    /// Weight, beside those of the cycles, of the term that images of the kind that is to be made stay as
    /// they are, which keeps colours; 0 leaves it out [0.5, but 0 for the inverted pair, whose white is to
    /// become black]
    #[arg(long)]
    pub identity: Option<f64>,
    /// Generated images kept of each kind, to show to the discriminators again
    #[arg(long, default_value_t = 50)]
    pub pool: usize,
    /// Greatest learning rate of the generators [built-in pairs: 2e-3, folders: 2e-4]
    #[arg(long)]
    pub lr: Option<f64>,
    /// Greatest learning rate of the discriminators [that of the generators]
    #[arg(long)]
    pub critic_lr: Option<f64>,
    /// The last learning rate as a share of the greatest
    #[arg(long, default_value_t = 0.02)]
    pub lr_last: f64,
    /// Decay of the moving average of the generators' weights
    #[arg(long, default_value_t = 0.99)]
    pub ema: f64,
    /// Probability of a left-right flip [built-in pairs: 0, folders: 0.5]
    #[arg(long)]
    pub fliplr: Option<f64>,
    /// Write a picture of samples after every so many epochs
    #[arg(long, default_value_t = 1)]
    pub samples_every: usize,
    /// Threads of libtorch on the CPU [1 for images below 24 pixels, which are too small to share out]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Threads that make batches
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
}

impl Train {
    /// The two folders, if it is not a built-in pair.
    pub fn folders(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.a.as_ref().zip(self.b.as_ref())
    }

    fn or<T>(&self, given: Option<T>, builtin: T, folders: T) -> T {
        given.unwrap_or(if self.folders().is_some() { folders } else { builtin })
    }

    pub fn epochs(&self) -> usize {
        self.or(self.epochs, 8, 200)
    }

    pub fn batch(&self) -> usize {
        self.or(self.batch, 16, 4)
    }

    pub fn fliplr(&self) -> f64 {
        self.or(self.fliplr, 0.0, 0.5)
    }

    pub fn identity(&self) -> f64 {
        let inverted = self.folders().is_none() && self.pair == Pair::Inverted;
        self.identity.unwrap_or(if inverted { 0.0 } else { 0.5 })
    }

    pub fn lr(&self) -> f64 {
        self.or(self.lr, 2e-3, 2e-4)
    }

    pub fn critic_lr(&self) -> f64 {
        self.critic_lr.unwrap_or_else(|| self.lr())
    }

    /// The size of the networks.
    pub fn shape(&self) -> Shape {
        Shape { side: self.or(self.img, 16, 64), width: self.or(self.width, 16, 32) }
    }

    pub fn loss(&self) -> Result<CycleGanLoss> {
        let gan = || -> Result<Box<dyn GanLoss>> {
            let terms = loss::terms(&self.gan)?;
            ensure!(
                terms.len() == 1 && terms[0].coefficient == 1.0,
                "expected one pair of objectives, not a sum"
            );
            let gan = gan_by_name(&terms[0].name, &terms[0].options)?;
            // An option out of range, a pair without reduction: better now than in training.
            let scores = tch::Tensor::from_slice(&[0f32, 1.0]);
            for loss in
                [gan.f_discriminator(&scores, &scores)?, gan.f_generator(Some(&scores), &scores)?]
            {
                let size = loss.size();
                ensure!(size.is_empty(), "it gives {size:?} numbers and not one");
            }
            Ok(gan)
        };
        let gan = gan().with_context(|| format!("--gan \"{}\"", self.gan))?;
        Ok(CycleGanLoss::default()
            .gan(gan)
            .lambda_a(self.lambda_a)
            .lambda_b(self.lambda_b)
            .lambda_identity(self.identity()))
    }

    /// Whether the generators' objective needs the scores of real images.
    pub fn needs_real(&self) -> Result<bool> {
        let term = &loss::terms(&self.gan)?[0];
        Ok(gan_by_name(&term.name, &term.options)?.needs_real())
    }

    pub fn check(&self) -> Result<()> {
        let Shape { side, width } = self.shape();
        within("img", side.into(), 8.0, 1024.0)?;
        ensure!(side % 4 == 0, "--img: expected a multiple of 4, got {side}");
        within("width", width as f64, 1.0, 512.0)?;
        for (option, value) in [
            ("epochs", self.epochs()),
            ("batch", self.batch()),
            ("samples-every", self.samples_every),
            ("threads", self.threads.unwrap_or(1)),
            ("workers", self.workers),
        ] {
            at_least(option, value as i64, 1)?;
        }
        for (option, value) in [("lr", self.lr()), ("critic-lr", self.critic_lr())] {
            positive(option, value)?;
        }
        within("lambda-a", self.lambda_a, 0.0, 1e6)?;
        within("lambda-b", self.lambda_b, 0.0, 1e6)?;
        within("identity", self.identity(), 0.0, 1e6)?;
        within("lr-last", self.lr_last, 0.0, 1.0)?;
        within("ema", self.ema, 0.0, 1.0)?;
        within("fliplr", self.fliplr(), 0.0, 1.0)
    }
}

/// Which of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    A,
    B,
}

#[derive(Debug, Args)]
pub struct Translate {
    /// Images, or folders of images
    #[arg(required = true)]
    pub sources: Vec<PathBuf>,
    /// last.safetensors of a run
    #[arg(long)]
    pub weights: PathBuf,
    /// The kind that they are turned into
    #[arg(long, value_enum, default_value_t = Kind::B)]
    pub to: Kind,
    /// Where the images go, each a PNG file of its name
    #[arg(long, default_value = "runs/cyclegan/translate")]
    pub out: PathBuf,
    /// Translate whole images at their own size; the default is their middle square at the size of
    /// training
    #[arg(long)]
    pub full: bool,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
}
