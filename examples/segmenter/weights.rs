//! What a run saves: the network and what is needed to build it and to go on.

use crate::{
    data::classes::Classes,
    model::{Shape, UNet},
};
use anyhow::{Context, Result};
use examples_support::train::{Checkpoint, load_average};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, nn::VarStore};

/// Saved as text beside the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    pub classes: Classes,
    /// The class of most pixels in training.
    pub ground: usize,
    pub shape: Shape,
    /// Side of the training tiles.
    pub tile: usize,
    /// Longer side that images are shrunk to.
    pub resize: Option<u32>,
    /// Epochs completed.
    pub epochs_done: usize,
    pub epochs: usize,
    pub best_dice: f64,
    /// The epoch of the best weights so far.
    pub best_epoch: usize,
    pub ema_updates: i64,
    /// What a resumed run should have in common, as text.
    pub options: String,
}

pub fn read(path: &Path) -> Result<(Checkpoint, Meta)> {
    let checkpoint = Checkpoint::load(path)?;
    let meta = serde_json::from_str(&checkpoint.text)
        .with_context(|| format!("{} is no checkpoint of this segmenter", path.display()))?;
    Ok((checkpoint, meta))
}

/// The averaged network of a checkpoint, to use.
pub fn load(path: &Path, device: Device) -> Result<(UNet, VarStore, Meta)> {
    let (checkpoint, meta) = read(path)?;
    let vs = VarStore::new(device);
    let net = UNet::new(&vs.root(), meta.shape);
    load_average(&vs, &checkpoint, path)?;
    Ok((net, vs, meta))
}
