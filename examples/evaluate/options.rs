//! The command line.

use crate::{features::Choice, scores::Metric};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use tch_losses::{metrics::FidMode, perceptual::LpipsNet};

/// Measures images: against each other, and sets of them.
#[derive(Debug, Parser)]
#[command(name = "evaluate", args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// PSNR, SSIM, MS-SSIM and LPIPS of two images, or of the images of two folders
    Compare(Compare),
    /// Fréchet distance of two folders of images
    Fid(Fid),
    /// Inception score of a folder of images
    Is(Is),
    /// Move an image so that points of it come to lie on points of another
    Align(Align),
}

/// Which network makes the images' distance, if its weights are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lpips {
    Alex,
    Vgg,
    /// No LPIPS
    None,
}

impl Lpips {
    pub fn net(self) -> Option<(LpipsNet, &'static str)> {
        match self {
            Lpips::Alex => Some((LpipsNet::Alex, "lpips_alex")),
            Lpips::Vgg => Some((LpipsNet::Vgg, "lpips_vgg")),
            Lpips::None => None,
        }
    }
}

#[derive(Debug, Args)]
pub struct Compare {
    /// An image or a folder
    pub a: PathBuf,
    /// Another of the same size; or a folder with images of the same names, whatever their ending
    pub b: PathBuf,
    /// LPIPS by this network; an error if its weights are missing [alex, where they are there]
    #[arg(long, value_enum)]
    pub lpips: Option<Lpips>,
    /// Folder of the weights
    #[arg(long, default_value = "weights")]
    pub weights: PathBuf,
    /// Write a row a pair here
    #[arg(long)]
    pub csv: Option<PathBuf>,
    /// Write everything here
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// How many of the worst pairs are listed and drawn
    #[arg(long, default_value_t = 4)]
    pub worst: usize,
    /// What the worst pairs are worst by
    #[arg(long, value_enum, default_value_t = Metric::Psnr)]
    pub by: Metric,
    /// Where the worst pairs are drawn, side by side
    #[arg(long, default_value = "runs/evaluate/worst.png")]
    pub picture: PathBuf,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads that read images
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
}

/// How images are brought to 299 x 299 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Bilinear without antialiasing, values 2 x - 1
    PytorchFid,
    /// Antialiased bicubic, values (255 x - 128) / 128
    Clean,
    /// Bilinear from the corner, values (255 x - 128) / 128; torch-fidelity
    Tensorflow1,
}

impl Mode {
    pub fn fid(self) -> FidMode {
        match self {
            Mode::PytorchFid => FidMode::PytorchFid,
            Mode::Clean => FidMode::Clean,
            Mode::Tensorflow1 => FidMode::Tensorflow1,
        }
    }
}

/// The features that sets of images are compared by.
#[derive(Debug, Clone, Args)]
pub struct Features {
    /// Whose features: Inception's, or those of a small network with seeded random weights, which
    /// say nothing about quality but need no file
    #[arg(long, value_enum, default_value_t = Choice::Inception)]
    pub features: Choice,
    /// Inception's weights
    #[arg(long, default_value = "weights/inception_fid.safetensors")]
    pub weights: PathBuf,
    /// Resizing and range of the values [fid: pytorch-fid, is: tensorflow1]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// Seed of the random features
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Images at once
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads that read images
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
}

#[derive(Debug, Args)]
pub struct Fid {
    /// A folder of real images, or an .npz of their statistics (pytorch-fid's too)
    pub real: PathBuf,
    /// A folder of generated images, or an .npz of their statistics
    pub generated: PathBuf,
    #[command(flatten)]
    pub features: Features,
    /// Features of Inception: 64, 192, 768 or 2048
    #[arg(long, default_value_t = 2048)]
    pub dims: i64,
    /// Write the statistics of the real images here, to use them again
    #[arg(long)]
    pub save_real: Option<PathBuf>,
    /// Write the statistics of the generated images here
    #[arg(long)]
    pub save_generated: Option<PathBuf>,
    /// Write the result here
    #[arg(long)]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Is {
    /// A folder of images
    pub images: PathBuf,
    #[command(flatten)]
    pub features: Features,
    /// Parts whose scores are averaged
    #[arg(long, default_value_t = 10)]
    pub splits: usize,
    /// Write the result here
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// How the source may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Turned, scaled and shifted
    Umeyama,
    /// Mirrored too, where that fits better
    Procrustes,
}

#[derive(Debug, Args)]
pub struct Align {
    /// The image to move
    pub source: PathBuf,
    /// The image that it is moved onto
    pub target: PathBuf,
    /// Four numbers a line: x and y in the source, x and y of the same point in the target, in pixels
    /// from the centre of the top left one
    #[arg(long)]
    pub points: PathBuf,
    #[arg(long, value_enum, default_value_t = Method::Umeyama)]
    pub method: Method,
    /// Keep the size
    #[arg(long)]
    pub no_scale: bool,
    /// Where the moved image goes; the comparison is drawn beside it
    #[arg(long, default_value = "runs/evaluate/aligned.png")]
    pub out: PathBuf,
}
