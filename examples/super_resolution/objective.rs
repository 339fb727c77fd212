//! What the networks are trained for.

use crate::options::{Goal, Train};
use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor, nn::VarStore};
use tch_losses::{
    L1Loss, Loss,
    perceptual::{
        ContentStyleLoss, FeatureExtractor, FnExtractor, GramNorm, ImageRange, RandomFilters, Vgg,
        VggKind, f_gram_matrix, weights,
    },
};

/// The sizes of the random filters, and how many there are of each.
const SIZES: [i64; 3] = [3, 5, 7];
const CHANNELS: i64 = 16;

/// A pixel loss, alone or with a perceptual one.
#[derive(Debug)]
pub struct Objective {
    perceptual: Option<ContentStyleLoss<Box<dyn FeatureExtractor>>>,
    /// What it is, for the user.
    pub summary: String,
}

impl Objective {
    /// `crops` are some of the training images, by which the layers are weighed: each counts as much, and the
    /// loss of an image without any features is 1.
    pub fn new(goal: Goal, options: &Train, crops: &Tensor, device: Device) -> Result<Self> {
        if goal == Goal::Pixel {
            return Ok(Objective { perceptual: None, summary: "L1".to_owned() });
        }
        let (network, named): (Box<dyn FeatureExtractor>, String) = match &options.weights {
            None => {
                let filters = RandomFilters::default().sizes(SIZES).channels(CHANNELS);
                let filters = filters.seed(options.run.seed).range(ImageRange::Normalised);
                // What is coarse is in any enlargement, and would hide what is not.
                let fine = FnExtractor::new("random filters", move |x: &Tensor| {
                    let coarse = x.f_avg_pool2d([9, 9], [1, 1], [4, 4], false, false, None)?;
                    filters.f_features(&x.f_sub(&coarse)?)
                });
                (Box::new(fine), "random filters, for there are no --weights".to_owned())
            }
            Some(path) => {
                let mut vs = VarStore::new(device);
                let layers: Vec<&str> = options.layers.iter().map(|name| name.trim()).collect();
                let range = ImageRange::Symmetric;
                let vgg =
                    Vgg::f_new(&vs.root(), VggKind::Vgg19, &layers, range).with_context(|| {
                        format!("--layers: there are {}", VggKind::Vgg19.layers().join(", "))
                    })?;
                weights::f_load(&mut vs, path, true).context("--weights")?;
                (Box::new(vgg), format!("VGG19 {}", layers.join(",")))
            }
        };
        let maps = tch::no_grad(|| network.f_features(crops)).context("--crop")?;
        let share = |square: Tensor| {
            1.0 / (maps.len() as f64 * square.mean(Kind::Double).double_value(&[]).max(1e-12))
        };
        let of_content = maps.iter().map(|map| share(map.square())).collect::<Vec<_>>();
        let of_texture = maps
            .iter()
            .map(|map| Ok(share(f_gram_matrix(map, GramNorm::Normalised)?.square())))
            .collect::<Result<Vec<_>>>()?;
        let perceptual = ContentStyleLoss::new(network)
            .alpha(options.content_weight)
            .beta(options.texture_weight)
            .content_weights(of_content)
            .style_weights(of_texture);
        let summary = format!(
            "L1 + {} features + {} Gram matrices of {named}",
            options.content_weight, options.texture_weight
        );
        Ok(Objective { perceptual: Some(perceptual), summary })
    }

    /// The loss of enlarged images against the true ones.
    pub fn loss(&self, images: &Tensor, truth: &Tensor) -> Result<Tensor> {
        let pixels = L1Loss::default().f_forward(images, truth)?;
        let Some(perceptual) = &self.perceptual else { return Ok(pixels) };
        let targets = perceptual.f_targets(truth, truth)?;
        Ok(pixels + perceptual.f_forward(images, &targets)?.total)
    }
}
