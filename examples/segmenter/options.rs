//! The command line.

use crate::{
    data::{
        augment::Augment,
        classes::{Naming, Value},
        pairs::Items,
    },
    model::Norm,
};
use clap::{Args, Parser, Subcommand};
use examples_support::run::RunOptions;
use std::path::PathBuf;

/// Trains, evaluates and runs a U-Net that gives each pixel a class.
#[derive(Debug, Parser)]
#[command(name = "segmenter", args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train from scratch; leaves curves, pictures and weights in runs/segmenter/NAME
    Train(Box<Train>),
    /// Print Dice, IoU, Hausdorff distance and clDice of some weights on the validation images
    Eval(Box<Eval>),
    /// Write the masks of an image or a folder of images
    Predict(Predict),
}

/// Where the images and masks are.
#[derive(Debug, Clone, Args)]
pub struct Data {
    /// `builtin`, or a folder with folders of images and of masks whose files have the same stems
    #[arg(long, default_value = "builtin")]
    pub data: String,
    /// Folder of the images in --data [images, image, imgs, img or JPEGImages]
    #[arg(long)]
    pub images: Option<PathBuf>,
    /// Folder of the masks in --data [masks, mask, labels, label, annotations or SegmentationClass]
    #[arg(long)]
    pub masks: Option<PathBuf>,
    /// What image files have behind the stem they share with their mask
    #[arg(long, default_value = "")]
    pub image_suffix: String,
    /// What mask files have behind the stem they share with their image, such as _mask
    #[arg(long, default_value = "")]
    pub mask_suffix: String,
    /// Name of the training split: a folder in --data, or in each of the two folders
    #[arg(long, default_value = "train")]
    pub train_split: String,
    /// Name of the validation split
    #[arg(long, default_value = "val")]
    pub val_split: String,
    /// Images to train on, counted from 0 in the order of their names, both ends included: 0..23
    /// or 0..9,15..23
    #[arg(long)]
    pub train_items: Option<Items>,
    /// Images to validate on: 24..29
    #[arg(long)]
    pub val_items: Option<Items>,
    /// Share of the images to validate on, where nothing else says which
    #[arg(long, default_value_t = 0.2)]
    pub val_share: f64,
    /// Names of the classes in the order of their values in the masks, or with the values:
    /// membrane=0,cell=255 or road=#804080,sky=#4682b4
    #[arg(long, value_delimiter = ',')]
    pub classes: Option<Vec<Naming>>,
    /// Values that mark pixels to leave out: 255, or #ffffff
    #[arg(long, value_delimiter = ',')]
    pub ignore: Vec<Value>,
    /// Masks of two classes in shades of grey: values of at least this are the second
    #[arg(long)]
    pub threshold: Option<u16>,
    /// Shrink images whose longer side is longer than this
    #[arg(long)]
    pub resize: Option<u32>,
    /// Leave malformed pairs out instead of stopping
    #[arg(long)]
    pub skip_bad_pairs: bool,
    /// Built-in data: one class for all digits instead of ten
    #[arg(long)]
    pub merge_digits: bool,
    /// Built-in data: scenes per training epoch
    #[arg(long, default_value_t = 640)]
    pub epoch_size: usize,
    /// Built-in data: validation scenes
    #[arg(long, default_value_t = 100)]
    pub val_size: usize,
}

impl Data {
    pub fn is_builtin(&self) -> bool {
        self.data == "builtin"
    }
}

/// How large images are cut up.
#[derive(Debug, Clone, Copy, Args)]
pub struct Windows {
    /// Side of the windows an image is evaluated in [twice the training tiles]
    #[arg(long)]
    pub window: Option<usize>,
    /// Share of a window that its neighbour covers too
    #[arg(long, default_value_t = 0.25)]
    pub overlap: f64,
    /// Average over the eight flips and quarter turns
    #[arg(long)]
    pub turns: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Train {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub run: RunOptions,
    /// A loss by name, with options, or a sum: "dice + 0.5*ce(label_smoothing=0.1)"
    #[arg(long, default_value = "dice+ce")]
    pub loss: String,
    /// Losses separated by commas: train with each and compare them in one table
    #[arg(long)]
    pub compare: Option<String>,
    /// Passes over the training images [built-in data: 15, else 30]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Tiles per step [built-in data: 16, else 4]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Side of the training tiles in pixels, a multiple of 2^depth [built-in data: 96, else 256]
    #[arg(long)]
    pub tile: Option<usize>,
    /// Channels of the first level; each further level has twice as many
    #[arg(long, default_value_t = 16)]
    pub width: i64,
    /// How often the resolution is halved
    #[arg(long, default_value_t = 4)]
    pub depth: usize,
    /// Normalisation of the features
    #[arg(long, value_enum, default_value_t = Norm::Batch)]
    pub norm: Norm,
    /// Train outputs of lower resolution too
    #[arg(long)]
    pub deep_supervision: bool,
    /// Greatest learning rate
    #[arg(long, default_value_t = 2e-3)]
    pub lr: f64,
    /// The last learning rate as a share of --lr
    #[arg(long, default_value_t = 0.01)]
    pub lr_last: f64,
    /// Epochs of warm-up
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    #[arg(long, default_value_t = 0.01)]
    pub weight_decay: f64,
    /// Greatest norm of the gradient
    #[arg(long, default_value_t = 5.0)]
    pub clip_grad: f64,
    /// Decay of the moving average of the weights
    #[arg(long, default_value_t = 0.99)]
    pub ema: f64,
    /// Probability of a left-right flip [built-in data: 0, else 0.5]
    #[arg(long)]
    pub fliplr: Option<f32>,
    /// Probability of an up-down flip [built-in data: 0, else 0.5]
    #[arg(long)]
    pub flipud: Option<f32>,
    /// Probability of a quarter turn [built-in data: 0, else 0.5]
    #[arg(long)]
    pub rot90: Option<f32>,
    /// Elastic deformation: points 64 pixels apart are moved by up to this many pixels
    /// [built-in data: 0, else 12]
    #[arg(long)]
    pub elastic: Option<f32>,
    /// Zoom by a factor in [1/(1+ZOOM), 1+ZOOM] [built-in data: 0, else 0.2]
    #[arg(long)]
    pub zoom: Option<f32>,
    /// Shift the brightness by up to this share of white
    #[arg(long, default_value_t = 0.15)]
    pub brightness: f32,
    /// Stretch the contrast by a factor in [1-CONTRAST, 1+CONTRAST]
    #[arg(long, default_value_t = 0.25)]
    pub contrast: f32,
    /// Validate after every so many epochs
    #[arg(long, default_value_t = 1)]
    pub eval_every: usize,
    #[command(flatten)]
    pub windows: Windows,
    /// Threads that make batches
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
}

impl Train {
    fn or<T>(&self, given: Option<T>, builtin: T, files: T) -> T {
        given.unwrap_or(if self.data.is_builtin() { builtin } else { files })
    }

    pub fn epochs(&self) -> usize {
        self.or(self.epochs, 15, 30)
    }

    pub fn batch(&self) -> usize {
        self.or(self.batch, 16, 4)
    }

    pub fn tile(&self) -> usize {
        self.or(self.tile, 96, 256)
    }

    pub fn augment(&self) -> Augment {
        Augment {
            fliplr: self.or(self.fliplr, 0.0, 0.5),
            flipud: self.or(self.flipud, 0.0, 0.5),
            rot90: self.or(self.rot90, 0.0, 0.5),
            elastic: self.or(self.elastic, 0.0, 12.0),
            zoom: self.or(self.zoom, 0.0, 0.2),
            brightness: self.brightness,
            contrast: self.contrast,
        }
    }
}

#[derive(Debug, Args)]
pub struct Eval {
    #[command(flatten)]
    pub data: Data,
    /// best.safetensors or last.safetensors of a run
    #[arg(long)]
    pub weights: PathBuf,
    /// Write the table as JSON here
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Draw images, true and predicted masks and errors here
    #[arg(long)]
    pub overlay: Option<PathBuf>,
    #[command(flatten)]
    pub windows: Windows,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Seed of the built-in validation scenes, and of --val-share
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct Predict {
    /// Images, or folders of images
    #[arg(required = true)]
    pub sources: Vec<PathBuf>,
    #[arg(long)]
    pub weights: PathBuf,
    /// Where the masks and pictures go
    #[arg(long, default_value = "runs/segmenter/predict")]
    pub out: PathBuf,
    /// Write masks only
    #[arg(long)]
    pub no_overlay: bool,
    #[command(flatten)]
    pub windows: Windows,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
}
