//! Features of images to compare distributions by: those of a small classifier of the same data.

use crate::{
    labelled::{Images, Pictures},
    nets::three,
    progress::clock,
    rng::seeded,
    train::{AdamW, Checkpoint, copy_into, cosine, named},
};
use anyhow::{Context, Result};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    time::Instant,
};
use tch::{
    Kind, Tensor,
    nn::{self, Path as Vars, VarStore},
};

/// Features of an image.
const DIMS: i64 = 64;
/// Passes over the training images.
const EPOCHS: usize = 15;
const BATCH: usize = 64;
/// Images a time when nothing is trained.
const CHUNK: i64 = 500;

/// A trained feature network: convolutions, a hidden layer of 64 units, whose outputs after the ReLU
/// are the features, and the logits of the classes.
#[derive(Debug)]
pub struct Features {
    net: Net,
    vs: VarStore,
    /// Of its classes on the validation images.
    pub accuracy: f64,
}

#[derive(Debug)]
struct Net {
    convs: Vec<nn::Conv2D>,
    hidden: nn::Linear,
    head: nn::Linear,
}

impl Net {
    fn new(path: &Vars, channels: i64, side: i64, classes: i64) -> Self {
        let (mut from, mut to, mut side) = (32, 32, side);
        let mut convs = vec![nn::conv2d(path / "conv0", channels, to, 3, three(1))];
        while side > 4 {
            to = (2 * to).min(128);
            convs.push(nn::conv2d(path / format!("conv{}", convs.len()), from, to, 3, three(2)));
            (from, side) = (to, (side + 1) / 2);
        }
        Net {
            convs,
            hidden: nn::linear(path / "hidden", to * side * side, DIMS, Default::default()),
            head: nn::linear(path / "head", DIMS, classes, Default::default()),
        }
    }

    fn forward(&self, images: &Tensor) -> (Tensor, Tensor) {
        let mut x = images.shallow_clone();
        for conv in &self.convs {
            x = x.apply(conv).relu();
        }
        let features = x.flatten(1, -1).apply(&self.hidden).relu();
        let logits = features.apply(&self.head);
        (features, logits)
    }
}

impl Features {
    /// The number of features of an image.
    pub const DIMS: i64 = DIMS;

    /// Reads the network from `folder`, or trains it and writes it there. The same images give the
    /// same network, whatever else a run's options are, so that runs can be compared.
    pub fn open(folder: &Path, images: &Images) -> Result<Self> {
        let Images { training, validation, device, .. } = images;
        let classes = images.classes.len();
        let path = folder.join(format!("features-{:016x}.safetensors", key(training, classes)));
        let vs = VarStore::new(*device);
        let shape = (training.channels(), training.side(), classes as i64);
        tch::manual_seed(0);
        let net = Net::new(&vs.root(), shape.0, shape.1, shape.2);
        let mut features = Features { net, vs, accuracy: 0.0 };
        let known = path.exists();
        let started = Instant::now();
        if known {
            let read = || -> Result<()> {
                let saved = Checkpoint::load(&path)?;
                copy_into(&mut named(&features.vs), &saved.group("features")?)
            };
            read().with_context(|| format!("{}; delete it", path.display()))?;
        } else {
            features.train(training);
            let weights = Checkpoint::new("features".to_owned());
            weights.with("features", named(&features.vs)).save(&path)?;
        }
        features.accuracy = features.accuracy(validation);
        let how = if known {
            "read".to_owned()
        } else {
            format!("trained in {}", clock(started.elapsed()))
        };
        println!(
            "features: {DIMS} of a classifier of the training images, accuracy {:.4}, {how}: {}",
            features.accuracy,
            path.display()
        );
        Ok(features)
    }

    fn train(&self, training: &Pictures) {
        let mut optimiser = AdamW::new(&self.vs, 0.01);
        let batches = training.len().div_ceil(BATCH);
        let mut order = training.order(seeded(&[0]));
        for step in 0..EPOCHS * batches {
            let (images, classes) = training.at(&order.take(BATCH));
            let logits = self.net.forward(&images).1;
            let loss = logits.cross_entropy_for_logits(&classes);
            let rate = cosine(2e-3, 0.01, batches, step, EPOCHS * batches);
            optimiser.backward_step_clipped(&loss, rate, 5.0);
        }
    }

    fn accuracy(&self, pictures: &Pictures) -> f64 {
        let right = pictures.chunks(CHUNK).map(|(images, classes)| {
            let logits = tch::no_grad(|| self.net.forward(&images).1);
            logits.argmax(1, false).eq_tensor(&classes).sum(Kind::Int64).int64_value(&[])
        });
        right.sum::<i64>() as f64 / pictures.len().max(1) as f64
    }

    /// Features (N, 64) and logits of the classes of images (N, C, S, S) in [-1, 1].
    pub fn of(&self, images: &Tensor) -> (Tensor, Tensor) {
        let _guard = tch::no_grad_guard();
        let parts: Vec<_> =
            images.split(CHUNK, 0).iter().map(|part| self.net.forward(part)).collect();
        let joined = |which: fn(&(Tensor, Tensor)) -> &Tensor| {
            Tensor::cat(&parts.iter().map(which).collect::<Vec<_>>(), 0)
        };
        (joined(|part| &part.0), joined(|part| &part.1))
    }
}

/// A number for the images, their classes, and what the network is.
fn key(pictures: &Pictures, classes: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    (DIMS, EPOCHS, BATCH, classes, pictures.digest()).hash(&mut hasher);
    hasher.finish()
}
