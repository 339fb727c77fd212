//! What a run saves: the network and what is needed to build it and to go on.

use crate::model::Vae;
use anyhow::{Context, Result};
use examples_support::{
    nets::{Net, Shape},
    train::{Checkpoint, load_average},
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, nn::VarStore};

/// Saved as text beside the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    pub channels: i64,
    pub side: u32,
    pub convolutions: bool,
    pub width: f64,
    pub latent: i64,
    /// Epochs completed.
    pub epochs_done: usize,
    pub epochs: usize,
    /// Least loss on the validation images.
    pub best: Option<f64>,
    pub ema_updates: i64,
    /// Time that the epochs took.
    pub seconds: f64,
    /// What a resumed run should have in common, as text.
    pub options: String,
}

impl Meta {
    /// A network as these weights need it.
    pub fn network(&self, device: Device) -> (Vae, VarStore) {
        let vs = VarStore::new(device);
        let net = if self.convolutions { Net::Conv } else { Net::Mlp };
        let shape = Shape { net, channels: self.channels, side: self.side, width: self.width };
        (Vae::new(&vs.root(), shape, self.latent), vs)
    }

    /// What a resumed run must have in common, as options.
    pub fn of_network(&self) -> String {
        let net = if self.convolutions { "conv" } else { "mlp" };
        format!("--img {} --net {net} --width {} --latent {}", self.side, self.width, self.latent)
    }
}

pub fn read(path: &Path) -> Result<(Checkpoint, Meta)> {
    let checkpoint = Checkpoint::load(path)?;
    let meta = serde_json::from_str(&checkpoint.text)
        .with_context(|| format!("{} is no checkpoint of this trainer", path.display()))?;
    Ok((checkpoint, meta))
}

/// The averaged network of a checkpoint, to use.
pub fn load(path: &Path, device: Device) -> Result<(Vae, VarStore, Meta)> {
    let (checkpoint, meta) = read(path)?;
    let (net, vs) = meta.network(device);
    load_average(&vs, &checkpoint, path)?;
    Ok((net, vs, meta))
}
