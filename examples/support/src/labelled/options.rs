use super::{Format, Spec};
use clap::Args;

/// Where the images are.
#[derive(Debug, Clone, Args)]
pub struct DataOptions {
    /// `builtin`, a folder of IDX files (MNIST), a folder with a folder of images per class, or one
    /// with such folders for training and validation
    #[arg(long, default_value = "builtin")]
    pub data: String,
    /// How the data are laid out; found out from the path if not given
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Name of the training split: a folder, or what IDX files begin with
    #[arg(long, default_value = "train")]
    pub train_split: String,
    /// Name of the validation split
    #[arg(long, default_value = "val")]
    pub val_split: String,
    /// Hold out this share of each class for validation, chosen by --seed; 1 to evaluate on all [0.2 for
    /// a folder without splits]
    #[arg(long)]
    pub val_share: Option<f64>,
    /// Class names in order, separated by commas; those of the data if not given
    #[arg(long, value_delimiter = ',')]
    pub classes: Option<Vec<String>>,
    /// Leave unreadable images out instead of stopping
    #[arg(long)]
    pub skip_unreadable: bool,
}

impl DataOptions {
    /// The same for [`Dataset`](super::Dataset), with the seed of what is held out.
    pub fn spec(&self, seed: u64) -> Spec {
        Spec {
            data: self.data.clone(),
            format: self.format,
            train_split: self.train_split.clone(),
            val_split: self.val_split.clone(),
            val_share: self.val_share,
            classes: self.classes.clone(),
            seed,
        }
    }
}
