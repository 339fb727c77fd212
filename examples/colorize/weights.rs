//! What a run saves: the generator and what is needed to build it and to go on.

use crate::model::Generator;
use anyhow::{Context, Result};
use examples_support::train::Checkpoint;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, nn::VarStore};

/// Saved as text beside the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    pub loss: String,
    pub side: u32,
    pub noise: i64,
    pub width: i64,
    /// Epochs completed.
    pub epochs_done: usize,
    pub epochs: usize,
    pub ema_updates: i64,
    /// What a resumed run should have in common, as text.
    pub options: String,
}

impl Meta {
    /// A generator as these weights need it.
    pub fn generator(&self, device: Device) -> (Generator, VarStore) {
        let vs = VarStore::new(device);
        (Generator::new(&vs.root(), self.noise, self.width), vs)
    }
}

pub fn read(path: &Path) -> Result<(Checkpoint, Meta)> {
    let checkpoint = Checkpoint::load(path)?;
    let meta = serde_json::from_str(&checkpoint.text)
        .with_context(|| format!("{} is no checkpoint of colorize", path.display()))?;
    Ok((checkpoint, meta))
}
