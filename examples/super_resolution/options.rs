//! The command line.

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use examples_support::run::RunOptions;
use std::path::PathBuf;

/// Trains a small network that enlarges photographs, with a pixel loss and with a perceptual loss.
#[derive(Debug, Parser)]
#[command(name = "super_resolution", args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train with each loss and compare them; leaves pictures, curves and weights in
    /// runs/super_resolution/NAME
    Train(Box<Train>),
    /// Enlarge images with a trained network
    Upscale(Upscale),
}

/// What a network is trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    /// The mean absolute difference of pixels
    Pixel,
    /// That, and the distance of the features and of their Gram matrices
    Perceptual,
}

impl Goal {
    pub fn name(self) -> &'static str {
        match self {
            Goal::Pixel => "pixel",
            Goal::Perceptual => "perceptual",
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct Train {
    /// `builtin`, or a folder of photographs
    #[arg(long, default_value = "builtin")]
    pub data: String,
    /// Share of the photographs of a folder that is held out, chosen by --seed
    #[arg(long, default_value_t = 0.2)]
    pub val_share: f64,
    /// Photographs of a folder whose longer side is above this are shrunk to it
    #[arg(long, default_value_t = 1024)]
    pub photo: u32,
    /// How many times wider and higher: 2, 3 or 4
    #[arg(long, default_value_t = 4)]
    pub scale: i64,
    /// The losses to train with, in turn
    #[arg(long, value_enum, value_delimiter = ',', default_value = "pixel,perceptual")]
    pub losses: Vec<Goal>,
    /// VGG19 that scripts/export_weights.py made, for the perceptual loss; random filters if not given
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Layers of VGG19 that the perceptual loss compares
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "relu1_2,relu2_2,relu3_4",
        requires = "weights"
    )]
    pub layers: Vec<String>,
    /// Weight of the features in the perceptual loss, whose distance is 1 where there are none
    #[arg(long, default_value_t = 0.05)]
    pub content_weight: f64,
    /// Weight of their Gram matrices, whose distance is 1 where there are none
    #[arg(long, default_value_t = 0.1)]
    pub texture_weight: f64,
    /// lpips_alex.safetensors of scripts/export_weights.py, to measure LPIPS too
    #[arg(long)]
    pub lpips: Option<PathBuf>,
    #[arg(long, default_value_t = 5)]
    pub epochs: usize,
    /// Steps in an epoch
    #[arg(long, default_value_t = 60)]
    pub steps: usize,
    /// Crops in a step
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Side of the crops in pixels, before they are shrunk
    #[arg(long, default_value_t = 96)]
    pub crop: i64,
    /// Channels of the network
    #[arg(long, default_value_t = 32)]
    pub channels: i64,
    /// Residual blocks of the network
    #[arg(long, default_value_t = 4)]
    pub blocks: usize,
    /// Greatest learning rate
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f64,
    /// Decay of the moving average of the weights
    #[arg(long, default_value_t = 0.98)]
    pub ema: f64,
    /// Threads of libtorch on the CPU
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub run: RunOptions,
}

impl Train {
    pub fn check(&self) -> Result<()> {
        for (option, value, least, most) in [
            ("scale", self.scale, 2, 4),
            ("photo", self.photo.into(), 64, 1 << 14),
            ("crop", self.crop, 16, 1024),
            ("channels", self.channels, 1, 1024),
            ("blocks", self.blocks as i64, 0, 256),
            ("epochs", self.epochs as i64, 1, 1_000_000),
            ("steps", self.steps as i64, 1, 1_000_000),
            ("batch", self.batch as i64, 1, 4096),
            ("threads", self.threads.unwrap_or(1) as i64, 1, 1024),
        ] {
            ensure!(
                (least..=most).contains(&value),
                "--{option}: expected {least} to {most}, got {value}"
            );
        }
        ensure!(
            self.crop % self.scale == 0,
            "--crop: expected a multiple of --scale {}, got {}",
            self.scale,
            self.crop
        );
        for (option, value, most) in [
            ("content-weight", self.content_weight, 1e6),
            ("texture-weight", self.texture_weight, 1e6),
            ("ema", self.ema, 1.0),
        ] {
            ensure!((0.0..=most).contains(&value), "--{option}: expected 0 to {most}, got {value}");
        }
        ensure!(
            self.lr > 0.0 && self.lr <= 1.0,
            "--lr: expected above 0, at most 1, got {}",
            self.lr
        );
        ensure!(
            self.val_share > 0.0 && self.val_share < 1.0,
            "--val-share: expected between 0 and 1, got {}",
            self.val_share
        );
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Upscale {
    /// Images, or folders of images
    #[arg(required = true)]
    pub sources: Vec<PathBuf>,
    /// last.safetensors of a run
    #[arg(long)]
    pub weights: PathBuf,
    /// Where the enlarged images go
    #[arg(long, default_value = "runs/super_resolution/upscale")]
    pub out: PathBuf,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
}
