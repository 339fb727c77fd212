//! What a run saves: the network and what is needed to build it and to go on.

use crate::model::{Detector, STRIDES};
use anyhow::{Context, Result};
use examples_support::train::{Checkpoint, load_average};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, nn::VarStore};
use tch_losses::detection::Anchors;

/// Saved as text beside the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    pub classes: Vec<String>,
    pub side: u32,
    pub width: f64,
    /// Anchor sizes of each level, in pixels.
    pub anchors: Vec<Vec<[f64; 2]>>,
    /// Epochs completed.
    pub epochs_done: usize,
    pub epochs: usize,
    pub best_map: f64,
    pub ema_updates: i64,
    /// What a resumed run must have in common, as text.
    pub options: String,
}

impl Meta {
    pub fn anchors(&self) -> Result<Anchors> {
        Ok(Anchors::new(self.anchors.clone(), STRIDES.to_vec())?)
    }
}

pub fn read(path: &Path) -> Result<(Checkpoint, Meta)> {
    let checkpoint = Checkpoint::load(path)?;
    let meta = serde_json::from_str(&checkpoint.text)
        .with_context(|| format!("{} is no checkpoint of this detector", path.display()))?;
    Ok((checkpoint, meta))
}

/// The averaged network of a checkpoint, to evaluate.
pub fn load(path: &Path, device: Device) -> Result<(Detector, VarStore, Meta)> {
    let (checkpoint, meta) = read(path)?;
    let vs = VarStore::new(device);
    let net = Detector::new(&vs.root(), meta.classes.len(), meta.width, meta.side);
    load_average(&vs, &checkpoint, path)?;
    Ok((net, vs, meta))
}
