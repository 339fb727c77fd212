//! What a run saves: the generator and what is needed to build it and to go on.

use crate::model::{Critic, Generator};
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
    pub batch_norm: bool,
    pub spectral_norm: bool,
    pub loss: String,
    /// Epochs completed.
    pub epochs_done: usize,
    pub epochs: usize,
    /// Least Fréchet distance.
    pub best: Option<f64>,
    pub ema_updates: i64,
    /// Time that the epochs took.
    pub seconds: f64,
    /// What a resumed run should have in common, as text.
    pub options: String,
}

impl Meta {
    fn shape(&self) -> Shape {
        let net = if self.convolutions { Net::Conv } else { Net::Mlp };
        Shape { net, channels: self.channels, side: self.side, width: self.width }
    }

    /// A generator as these weights need it.
    pub fn generator(&self, device: Device) -> (Generator, VarStore) {
        let vs = VarStore::new(device);
        (Generator::new(&vs.root(), self.shape(), self.latent, self.batch_norm), vs)
    }

    /// A critic as these weights need it.
    pub fn critic(&self, device: Device) -> (Critic, VarStore) {
        let vs = VarStore::new(device);
        (Critic::new(&vs.root(), self.shape(), self.spectral_norm), vs)
    }

    /// What a resumed run must have in common, as options.
    pub fn network(&self) -> String {
        format!(
            "--img {} --net {} --width {} --latent {} --batch-norm {}",
            self.side,
            if self.convolutions { "conv" } else { "mlp" },
            self.width,
            self.latent,
            self.batch_norm
        )
    }
}

pub fn read(path: &Path) -> Result<(Checkpoint, Meta)> {
    let checkpoint = Checkpoint::load(path)?;
    let meta = serde_json::from_str(&checkpoint.text)
        .with_context(|| format!("{} is no checkpoint of this trainer", path.display()))?;
    Ok((checkpoint, meta))
}

/// The averaged generator of a checkpoint, to use.
pub fn load(path: &Path, device: Device) -> Result<(Generator, VarStore, Meta)> {
    let (checkpoint, meta) = read(path)?;
    let (generator, vs) = meta.generator(device);
    load_average(&vs, &checkpoint, path)?;
    Ok((generator, vs, meta))
}
