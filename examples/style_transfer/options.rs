//! The command line.

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use examples_support::run::RunOptions;
use std::path::PathBuf;

/// Gives a picture the style of another, or makes a texture like another.
#[derive(Debug, Clone, Parser)]
#[command(name = "style_transfer", args_override_self = true)]
pub struct Options {
    /// Picture whose content is kept: a file, or a built-in photograph such as chelsea-1; without it a
    /// texture like that of --style is made from noise
    #[arg(long)]
    pub content: Option<String>,
    /// Picture whose style or texture is taken: a file, or a built-in photograph
    #[arg(long, default_value = "brick-1")]
    pub style: String,
    /// VGG19 that scripts/export_weights.py made; random filters of several sizes if not given
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Layers of the style, separated by commas [VGG19: relu1_1,relu2_1,relu3_1,relu4_1,relu5_1; random
    /// filters: filters3 to filters23]
    #[arg(long, value_delimiter = ',')]
    pub layers: Option<Vec<String>>,
    /// Layers of the content, separated by commas [VGG19: relu4_2; random filters: filters3,filters7]
    #[arg(long, value_delimiter = ',')]
    pub content_layers: Option<Vec<String>>,
    /// Random filters of each size
    #[arg(long, default_value_t = 32)]
    pub channels: i64,
    /// Weight of the content, whose loss is 1 where the layers are all 0
    #[arg(long, default_value_t = 1.0)]
    pub content_weight: f64,
    /// Weight of the style, whose loss is 1 where the layers are all 0
    #[arg(long, default_value_t = 100.0)]
    pub style_weight: f64,
    /// Weight of the mean difference of neighbouring pixels, which range from -1 to 1
    #[arg(long, default_value_t = 0.0)]
    pub tv_weight: f64,
    /// Steps of the optimiser
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// Steps in an epoch, after which the picture and the state are saved
    #[arg(long, default_value_t = 10)]
    pub every: usize,
    /// The longer side of the pictures in pixels; smaller ones stay as they are
    #[arg(long, default_value_t = 128)]
    pub img: u32,
    /// What the picture begins as [content if there is one, else noise]
    #[arg(long, value_enum)]
    pub init: Option<Init>,
    #[arg(long, value_enum, default_value_t = Method::Lbfgs)]
    pub optimiser: Method,
    /// Learning rate of Adam
    #[arg(long, default_value_t = 0.03)]
    pub lr: f64,
    /// Threads of libtorch on the CPU
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub run: RunOptions,
}

/// What the picture begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Init {
    Content,
    /// In the mean colours of the style, or of the content if there is one
    Noise,
    Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    Lbfgs,
    Adam,
}

impl Options {
    pub fn init(&self) -> Init {
        self.init.unwrap_or(if self.content.is_some() { Init::Content } else { Init::Noise })
    }

    pub fn check(&self) -> Result<()> {
        for (option, value, least, most) in [
            ("steps", self.steps, 1, 1_000_000),
            ("every", self.every, 1, 1_000_000),
            ("img", self.img as usize, 8, 4096),
            ("channels", usize::try_from(self.channels).unwrap_or(0), 1, 4096),
            ("threads", self.threads.unwrap_or(1), 1, 1024),
        ] {
            ensure!(
                (least..=most).contains(&value),
                "--{option}: expected {least} to {most}, got {value}"
            );
        }
        for (option, value) in [
            ("content-weight", self.content_weight),
            ("style-weight", self.style_weight),
            ("tv-weight", self.tv_weight),
        ] {
            ensure!((0.0..=1e9).contains(&value), "--{option}: expected 0 to 1e9, got {value}");
        }
        ensure!(
            self.lr > 0.0 && self.lr <= 10.0,
            "--lr: expected above 0, at most 10, got {}",
            self.lr
        );
        ensure!(
            self.content.is_some() || self.init != Some(Init::Content),
            "--init content: there is no --content"
        );
        ensure!(
            self.content.is_some() || self.content_layers.is_none(),
            "--content-layers: there is no --content"
        );
        Ok(())
    }
}
