//! The networks whose features sets of images are compared by.

use crate::{options::Features, pictures::tensor};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use examples_support::rng::seeded;
use image::RgbImage;
use rand::Rng as _;
use tch::{Device, Kind, Tensor, nn::VarStore};
use tch_losses::{
    metrics::{FidInception, FidMode, InceptionLayer, Resize, f_resize},
    perceptual::{FeatureExtractor, FnExtractor, ImageRange, weights},
};

/// Whose features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    Inception,
    Random,
}

/// How an image becomes what a network is fed with, so that images of all sizes go in one batch.
#[derive(Debug, Clone, Copy)]
pub enum Preparation {
    Inception(FidMode),
    Random,
}

/// The side of the images that the random network sees.
const SIDE: i64 = 32;

impl Preparation {
    pub fn tensor(self, image: &RgbImage, device: Device) -> Result<Tensor> {
        let bytes = tensor(image).to_device(device);
        Ok(match self {
            Preparation::Inception(mode) => mode.f_prepare(&bytes, ImageRange::Bytes)?,
            Preparation::Random => {
                f_resize(&bytes, (SIDE, SIDE), Resize::BilinearAntialiased)? / 127.5 - 1.0
            }
        })
    }
}

/// A network and what has to be said with its numbers.
pub struct Net {
    pub extractor: Box<dyn FeatureExtractor>,
    pub protocol: String,
    pub preparation: Preparation,
    pub device: Device,
}

impl Net {
    /// The network that the options ask for; `layer` and `mode` are those of Inception.
    pub fn open(options: &Features, layer: InceptionLayer, mode: FidMode) -> Result<Self> {
        let device = examples_support::train::device(&options.device)?;
        ensure!(options.batch > 0, "--batch: expected at least 1, got 0");
        if options.features == Choice::Random {
            let classes = (layer == InceptionLayer::LogitsUnbiased).then_some(10);
            return Ok(Net {
                extractor: random(options.seed, classes, device),
                protocol: format!(
                    "random features of seed {}, which say nothing about quality; \
                     images antialiased bilinear to {SIDE} x {SIDE}",
                    options.seed
                ),
                preparation: Preparation::Random,
                device,
            });
        }
        let path = &options.weights;
        ensure!(
            path.is_file(),
            "{}: there is no such file; make it with: python scripts/export_weights.py \
             inception_fid --checkpoint FILE (weights/README.md says which), or try the way \
             with --features random",
            path.display()
        );
        let mut vs = VarStore::new(device);
        let net = FidInception::f_new(&vs.root(), &[layer], ImageRange::Symmetric)?.mode(mode);
        weights::f_load(&mut vs, path, true).context("--weights")?;
        let protocol = net.protocol();
        Ok(Net {
            extractor: Box::new(net.mode(FidMode::AsTheyAre)),
            protocol,
            preparation: Preparation::Inception(mode),
            device,
        })
    }
}

/// Three convolutions with seeded random weights, and a linear map to `classes` logits.
fn random(seed: u64, classes: Option<i64>, device: Device) -> Box<dyn FeatureExtractor> {
    let weight = |layer: u64, size: &[i64]| {
        let mut rng = seeded(&[seed, layer]);
        // Of He's variance.
        let bound = (6.0 / size[1..].iter().product::<i64>() as f32).sqrt();
        let count: i64 = size.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| rng.random_range(-bound..bound)).collect();
        Tensor::from_slice(&numbers).view(size).to_device(device)
    };
    let convolutions = [(3, 16), (16, 32), (32, 64)];
    let convolutions: Vec<Tensor> = (0..)
        .zip(convolutions)
        .map(|(layer, (inputs, outputs))| weight(layer, &[outputs, inputs, 3, 3]))
        .collect();
    let last = classes.map(|classes| weight(3, &[classes, 64]));
    Box::new(FnExtractor::new("random", move |images: &Tensor| {
        let mut x = images.shallow_clone();
        for weight in &convolutions {
            x = x.f_conv2d(weight, None::<Tensor>, [2, 2], [1, 1], [1, 1], 1)?.f_relu()?;
        }
        let features = x.f_mean_dim([2i64, 3].as_slice(), false, None::<Kind>)?;
        Ok(vec![match &last {
            Some(weight) => features.f_matmul(&weight.f_transpose(0, 1)?)?,
            None => features,
        }])
    }))
}
