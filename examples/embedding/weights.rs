//! What a run saves: the network and what is needed to build it and to go on.

use crate::model::{Embedder, network};
use anyhow::{Context, Result};
use examples_support::train::{Checkpoint, load_average};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, nn::VarStore};

/// Saved as text beside the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    pub dims: usize,
    pub width: f64,
    pub classes: usize,
    /// Sets of vectors that the loss learns.
    pub sets: usize,
    pub loss: String,
    /// Epochs completed.
    pub epochs_done: usize,
    pub epochs: usize,
    /// Recall@1 and, among equals, MAP@R of the best epoch.
    pub best: Option<(f64, f64)>,
    pub ema_updates: i64,
    /// What a resumed run should have in common, as text.
    pub options: String,
}

impl Meta {
    /// A network as these weights need it.
    pub fn network(&self, device: Device) -> (Embedder, VarStore) {
        network(device, self.dims, self.width, self.classes, self.sets)
    }
}

pub fn read(path: &Path) -> Result<(Checkpoint, Meta)> {
    let checkpoint = Checkpoint::load(path)?;
    let meta = serde_json::from_str(&checkpoint.text)
        .with_context(|| format!("{} is no checkpoint of these embeddings", path.display()))?;
    Ok((checkpoint, meta))
}

/// The averaged network of a checkpoint, to use.
pub fn load(path: &Path, device: Device) -> Result<(Embedder, VarStore, Meta)> {
    let (checkpoint, meta) = read(path)?;
    let (net, vs) = meta.network(device);
    load_average(&vs, &checkpoint, path)?;
    Ok((net, vs, meta))
}
