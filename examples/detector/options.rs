//! The command line.

use crate::data::{DataSpec, Format, augment::Augment};
use clap::{Args, Parser, Subcommand, ValueEnum};
use examples_support::run::RunOptions;
use std::path::PathBuf;
use tch_losses::IouKind;

/// Trains, evaluates and runs a small object detector.
#[derive(Debug, Parser)]
#[command(name = "detector", args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train from scratch; leaves curves, pictures and weights in runs/detector/NAME
    Train(Box<Train>),
    /// Print the COCO table of some weights on a validation split
    Eval(Eval),
    /// Draw boxes on an image or a folder of images
    Predict(Predict),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BoxLoss {
    Iou,
    Giou,
    Diou,
    Ciou,
}

impl From<BoxLoss> for IouKind {
    fn from(kind: BoxLoss) -> Self {
        match kind {
            BoxLoss::Iou => IouKind::Iou,
            BoxLoss::Giou => IouKind::GIoU,
            BoxLoss::Diou => IouKind::DIoU,
            BoxLoss::Ciou => IouKind::CIoU,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClsLoss {
    Bce,
    Focal,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FormatName {
    Builtin,
    Yolo,
    Coco,
    Voc,
}

/// Where the images are.
#[derive(Debug, Clone, Args)]
pub struct Data {
    /// `builtin`, a YOLO or VOC folder, a data.yaml, a COCO .json or a folder with one
    #[arg(long, default_value = "builtin")]
    pub data: String,
    /// The validation data, if they are not in --data
    #[arg(long)]
    pub val_data: Option<String>,
    /// How the data are laid out; found out from the path if not given
    #[arg(long, value_enum)]
    pub format: Option<FormatName>,
    /// The image folder, where it is not beside the labels (COCO)
    #[arg(long)]
    pub images: Option<PathBuf>,
    /// Name of the training split
    #[arg(long, default_value = "train")]
    pub train_split: String,
    /// Name of the validation split
    #[arg(long, default_value = "val")]
    pub val_split: String,
    /// Class names in order, separated by commas; those of the data if not given
    #[arg(long, value_delimiter = ',')]
    pub classes: Option<Vec<String>>,
    /// Cut boxes that leave the image at its border instead of rejecting them
    #[arg(long)]
    pub clip: bool,
    /// Leave malformed labels out instead of stopping
    #[arg(long)]
    pub skip_bad_labels: bool,
    /// Built-in data: scenes per training epoch
    #[arg(long, default_value_t = 1280)]
    pub epoch_size: usize,
    /// Built-in data: validation scenes
    #[arg(long, default_value_t = 300)]
    pub val_size: usize,
}

impl Data {
    pub fn is_builtin(&self) -> bool {
        matches!(self.format, Some(FormatName::Builtin))
            || (self.format.is_none() && self.data == "builtin")
    }

    pub fn spec(&self, side: u32, seed: u64) -> DataSpec {
        DataSpec {
            data: self.data.clone(),
            val_data: self.val_data.clone(),
            format: self.format.map(|format| match format {
                FormatName::Builtin => Format::Builtin,
                FormatName::Yolo => Format::Yolo,
                FormatName::Coco => Format::Coco,
                FormatName::Voc => Format::Voc,
            }),
            images: self.images.clone(),
            train_split: self.train_split.clone(),
            val_split: self.val_split.clone(),
            classes: self.classes.clone(),
            clip: self.clip,
            skip_bad_labels: self.skip_bad_labels,
            side,
            epoch_size: self.epoch_size,
            val_size: self.val_size,
            seed,
        }
    }
}

/// How raw boxes become detections.
#[derive(Debug, Clone, Copy, Args)]
pub struct Thresholds {
    /// Boxes that overlap a better one of their class by more IoU are dropped
    #[arg(long, default_value_t = 0.5)]
    pub nms: f64,
    /// Most detections per image
    #[arg(long, default_value_t = 100)]
    pub max_det: usize,
}

/// Which of the raw boxes are detections.
#[derive(Debug, Clone, Copy)]
pub struct Selection {
    /// Least score.
    pub conf: f64,
    pub nms: f64,
    pub max_det: usize,
}

impl Thresholds {
    /// Detections of a score of at least `conf`.
    pub fn above(self, conf: f64) -> Selection {
        Selection { conf, nms: self.nms, max_det: self.max_det }
    }
}

#[derive(Debug, Clone, Args)]
pub struct Train {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub run: RunOptions,
    /// Epochs [built-in data: 26, else 100]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Images per step [built-in data: 32, else 8]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Side of the training images in pixels, a multiple of 16 [built-in data: 96, else 320]
    #[arg(long)]
    pub img: Option<u32>,
    /// Factor on the channels of the network
    #[arg(long, default_value_t = 1.0)]
    pub width: f64,
    /// Greatest learning rate [built-in data: 3e-3, else 2e-3]
    #[arg(long)]
    pub lr: Option<f64>,
    /// The last learning rate as a share of --lr
    #[arg(long, default_value_t = 0.02)]
    pub lr_last: f64,
    /// Epochs of warm-up
    #[arg(long, default_value_t = 3.0)]
    pub warmup: f64,
    #[arg(long, default_value_t = 0.01)]
    pub weight_decay: f64,
    /// Greatest norm of the gradient
    #[arg(long, default_value_t = 10.0)]
    pub clip_grad: f64,
    /// Decay of the moving average of the weights
    #[arg(long, default_value_t = 0.998)]
    pub ema: f64,
    /// What measures a box against its target
    #[arg(long, value_enum, default_value_t = BoxLoss::Ciou)]
    pub box_loss: BoxLoss,
    /// How objectness and classes are learned
    #[arg(long, value_enum, default_value_t = ClsLoss::Bce)]
    pub cls_loss: ClsLoss,
    #[arg(long, default_value_t = 0.0)]
    pub label_smoothing: f64,
    /// Weight of the box term
    #[arg(long, default_value_t = 0.15)]
    pub gain_box: f64,
    /// Weight of the objectness term
    #[arg(long, default_value_t = 1.05)]
    pub gain_obj: f64,
    /// Weight of the class term [0.15 per class]
    #[arg(long)]
    pub gain_cls: Option<f64>,
    /// Probability of a mosaic of four images; none in the last tenth of the epochs [built-in data:
    /// 0, else 0.5]
    #[arg(long)]
    pub mosaic: Option<f32>,
    /// Zoom by a factor in [1-SCALE, 1+SCALE] [built-in data: 0, else 0.4]
    #[arg(long)]
    pub scale: Option<f32>,
    /// Shift by up to this share of the side [built-in data: 0, else 0.1]
    #[arg(long)]
    pub translate: Option<f32>,
    /// Jitter of hue, saturation and value
    #[arg(long, value_delimiter = ',', num_args = 3, default_values_t = [0.015, 0.4, 0.3])]
    pub hsv: Vec<f32>,
    /// Probability of a left-right flip; 0 where that changes the class [built-in data: 0, else 0.5]
    #[arg(long)]
    pub fliplr: Option<f32>,
    /// Probability of an up-down flip
    #[arg(long, default_value_t = 0.0)]
    pub flipud: f32,
    /// Validate after every so many epochs
    #[arg(long, default_value_t = 1)]
    pub eval_every: usize,
    #[command(flatten)]
    pub thresholds: Thresholds,
    /// Threads that make batches
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
}

impl Train {
    fn or<T>(&self, given: Option<T>, builtin: T, files: T) -> T {
        given.unwrap_or(if self.data.is_builtin() { builtin } else { files })
    }

    pub fn epochs(&self) -> usize {
        self.or(self.epochs, 26, 100)
    }

    pub fn batch(&self) -> usize {
        self.or(self.batch, 32, 8)
    }

    pub fn img(&self) -> u32 {
        self.or(self.img, 96, 320)
    }

    pub fn lr(&self) -> f64 {
        self.or(self.lr, 3e-3, 2e-3)
    }

    pub fn augment(&self) -> Augment {
        Augment {
            mosaic: self.or(self.mosaic, 0.0, 0.5),
            scale: self.or(self.scale, 0.0, 0.4),
            translate: self.or(self.translate, 0.0, 0.1),
            hsv: [self.hsv[0], self.hsv[1], self.hsv[2]],
            fliplr: self.or(self.fliplr, 0.0, 0.5),
            flipud: self.flipud,
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
    /// Write COCO results JSON here
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Least score of a detection
    #[arg(long, default_value_t = 0.001)]
    pub conf: f64,
    #[command(flatten)]
    pub thresholds: Thresholds,
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Seed of the built-in validation scenes
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One .txt per image: class, centre, size as shares of the image, score
    Yolo,
    /// One predictions.json: file, class, box in pixels, score
    Json,
}

#[derive(Debug, Args)]
pub struct Predict {
    /// Images, or folders of images
    #[arg(required = true)]
    pub sources: Vec<PathBuf>,
    #[arg(long)]
    pub weights: PathBuf,
    /// Where the pictures and boxes go
    #[arg(long, default_value = "runs/detector/predict")]
    pub out: PathBuf,
    #[arg(long, value_enum, default_value_t = Output::Yolo)]
    pub format: Output,
    /// Least score of a detection
    #[arg(long, default_value_t = 0.25)]
    pub conf: f64,
    #[command(flatten)]
    pub thresholds: Thresholds,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
}
