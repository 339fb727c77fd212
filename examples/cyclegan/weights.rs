//! What a run saves: the generators and what is needed to build them and to go on.

use crate::model::{Discriminators, Generators, Shape};
use anyhow::{Context, Result};
use examples_support::train::{Checkpoint, load_average};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, nn::VarStore};

/// Saved as text beside the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    pub shape: Shape,
    /// Epochs completed.
    pub epochs_done: usize,
    pub epochs: usize,
    pub ema_updates: i64,
    /// State of each pool of generated images and how many are in it.
    pub pools: [(u64, usize); 2],
    /// What a resumed run should have in common, as text.
    pub options: String,
}

impl Meta {
    /// Generators as these weights need them.
    pub fn generators(&self, device: Device) -> (Generators, VarStore) {
        let vs = VarStore::new(device);
        (Generators::new(&vs.root(), self.shape), vs)
    }

    pub fn discriminators(&self, device: Device) -> (Discriminators, VarStore) {
        let vs = VarStore::new(device);
        (Discriminators::new(&vs.root(), self.shape), vs)
    }
}

pub fn read(path: &Path) -> Result<(Checkpoint, Meta)> {
    let checkpoint = Checkpoint::load(path)?;
    let meta = serde_json::from_str(&checkpoint.text)
        .with_context(|| format!("{} is no checkpoint of cyclegan", path.display()))?;
    Ok((checkpoint, meta))
}

/// The averaged generators of a checkpoint, to use.
pub fn load(path: &Path, device: Device) -> Result<(Generators, VarStore, Meta)> {
    let (checkpoint, meta) = read(path)?;
    let (net, vs) = meta.generators(device);
    load_average(&vs, &checkpoint, path)?;
    Ok((net, vs, meta))
}
