//! The command line.

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use examples_support::{
    augment::Augment,
    labelled::{DataOptions, Format},
    losses,
    run::{RunOptions, at_least, positive, within},
};
use std::path::PathBuf;

/// Trains, evaluates and runs a small image classifier.
#[derive(Debug, Parser)]
#[command(name = "classifier", args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train from scratch; leaves curves, pictures and weights in runs/classifier/NAME
    Train(Box<Train>),
    /// Print accuracy, calibration and the scores of each class on a validation split
    Eval(Eval),
    /// Print and write the class of an image or of a folder of images
    Predict(Predict),
}

#[derive(Debug, Clone, Args)]
pub struct Train {
    #[command(flatten)]
    pub data: DataOptions,
    /// The loss, by name, with options, or a sum: `ce(label_smoothing=0.1) + 0.5*focal(gamma=1)`;
    /// the example `catalogue` lists them
    #[arg(long, default_value = "cross_entropy")]
    pub loss: String,
    /// Train with each of these losses, separated by commas, in runs/classifier/NAME/LOSS, and compare
    /// them
    #[arg(long, conflicts_with = "loss")]
    pub compare: Option<String>,
    #[command(flatten)]
    pub run: RunOptions,
    /// Epochs [built-in data: 24, IDX: 12, folders: 60]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Images per step [folders: 32, else 64]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Side of the images in pixels [folders: 64, else that of the data]
    #[arg(long)]
    pub img: Option<u32>,
    /// Factor on the channels of the network
    #[arg(long, default_value_t = 1.0)]
    pub width: f64,
    /// Greatest learning rate
    #[arg(long, default_value_t = 3e-3)]
    pub lr: f64,
    /// The last learning rate as a share of --lr
    #[arg(long, default_value_t = 0.01)]
    pub lr_last: f64,
    /// Epochs of warm-up
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    #[arg(long, default_value_t = 0.05)]
    pub weight_decay: f64,
    /// Greatest norm of the gradient
    #[arg(long, default_value_t = 5.0)]
    pub clip_grad: f64,
    /// Decay of the moving average of the weights
    #[arg(long, default_value_t = 0.99)]
    pub ema: f64,
    /// Turn by up to so many degrees
    #[arg(long, default_value_t = 12.0)]
    pub rotate: f64,
    /// Shift by up to this share of the side
    #[arg(long, default_value_t = 0.08)]
    pub translate: f64,
    /// Zoom by a factor in [1-SCALE, 1+SCALE]
    #[arg(long, default_value_t = 0.12)]
    pub scale: f64,
    /// Change contrast and brightness by up to this share [folders: 0.2, else 0]
    #[arg(long)]
    pub jitter: Option<f64>,
    /// Probability of a left-right flip; 0 where that changes the class [folders: 0.5, else 0]
    #[arg(long)]
    pub fliplr: Option<f64>,
    /// Validate after every so many epochs
    #[arg(long, default_value_t = 1)]
    pub eval_every: usize,
    /// Bins of the reliability diagram and the calibration error
    #[arg(long, default_value_t = 15)]
    pub bins: usize,
    /// Threads of libtorch on the CPU [1 for images below 24 pixels, which are too small to share out]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Threads that make batches
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
}

impl Train {
    pub fn epochs(&self, format: Format) -> usize {
        self.epochs.unwrap_or(match format {
            Format::Builtin => 24,
            Format::Idx => 12,
            Format::Folder => 60,
        })
    }

    pub fn batch(&self, format: Format) -> usize {
        self.batch.unwrap_or(if format == Format::Folder { 32 } else { 64 })
    }

    pub fn augment(&self, format: Format) -> Augment {
        let photos = format == Format::Folder;
        Augment {
            rotate: self.rotate,
            translate: self.translate,
            scale: self.scale,
            jitter: self.jitter.unwrap_or(if photos { 0.2 } else { 0.0 }),
            fliplr: self.fliplr.unwrap_or(if photos { 0.5 } else { 0.0 }),
        }
    }

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

    pub fn check(&self) -> Result<()> {
        if let Some(img) = self.img {
            within("img", img.into(), 4.0, 1024.0)?;
        }
        for (option, value, least) in [
            ("epochs", self.epochs.unwrap_or(1), 1),
            ("batch", self.batch.unwrap_or(2), 2),
            ("eval-every", self.eval_every, 1),
            ("bins", self.bins, 1),
            ("threads", self.threads.unwrap_or(1), 1),
            ("workers", self.workers, 1),
        ] {
            at_least(option, value as i64, least)?;
        }
        positive("lr", self.lr)?;
        within("width", self.width, 0.05, 16.0)?;
        within("lr-last", self.lr_last, 0.0, 1.0)?;
        within("warmup", self.warmup, 0.0, 1e6)?;
        within("weight-decay", self.weight_decay, 0.0, 1e3)?;
        within("clip-grad", self.clip_grad, 0.0, f64::INFINITY)?;
        within("ema", self.ema, 0.0, 1.0)?;
        within("rotate", self.rotate, 0.0, 180.0)?;
        within("translate", self.translate, 0.0, 1.0)?;
        within("scale", self.scale, 0.0, 0.9)?;
        within("jitter", self.jitter.unwrap_or(0.0), 0.0, 1.0)?;
        within("fliplr", self.fliplr.unwrap_or(0.0), 0.0, 1.0)
    }
}

#[derive(Debug, Args)]
pub struct Eval {
    #[command(flatten)]
    pub data: DataOptions,
    /// best.safetensors or last.safetensors of a run
    #[arg(long)]
    pub weights: PathBuf,
    /// Write confusion.png, reliability.png and mistakes.png into this folder
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Bins of the reliability diagram and the calibration error
    #[arg(long, default_value_t = 15)]
    pub bins: usize,
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Seed of the run, which decides what --val-share holds out
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// predictions.csv: file, class, probability
    Csv,
    /// predictions.json: file, class, probability, and the probability of every class
    Json,
}

#[derive(Debug, Args)]
pub struct Predict {
    /// Images, or folders of images
    #[arg(required = true)]
    pub sources: Vec<PathBuf>,
    #[arg(long)]
    pub weights: PathBuf,
    /// Where the predictions go
    #[arg(long, default_value = "runs/classifier/predict")]
    pub out: PathBuf,
    #[arg(long, value_enum, default_value_t = Output::Csv)]
    pub format: Output,
    /// Swap black and white: dark ink on paper for a network that learned light ink
    #[arg(long)]
    pub invert: bool,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_needs_two_losses() {
        for text in ["ce", "ce,", ""] {
            let cli = Cli::parse_from(["classifier", "train", "--compare", text]);
            let Command::Train(options) = cli.command else { panic!() };
            let error = options.compare().unwrap().unwrap_err().to_string();
            assert!(error.contains("two or more"), "{error}");
        }
    }
}
