//! How far generated images are from real ones, by the features of a small classifier.

use anyhow::Result;
use examples_support::{features::Features, labelled::Images};
use std::path::Path;
use tch::{Device, Kind, Tensor};
use tch_losses::metrics::{FeatureStatistics, f_inception_score};

/// Features of the training images, and what is found for images that are known.
pub struct Judge {
    features: Features,
    real: FeatureStatistics,
    /// Of the validation images: what a perfect generator would get, or nearly.
    pub held_out: Verdict,
    /// Of uniform noise.
    pub noise: Verdict,
}

/// What is found for some images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Fréchet distance of their features to those of the training images.
    pub frechet: f64,
    /// Inception score, with the classifier of the features.
    pub inception: f64,
    /// How many classes they have, as the exponential of the entropy of their mean probabilities.
    pub classes: f64,
}

impl Judge {
    /// Features are kept in the folder. None if the images are all of one class.
    pub fn open(folder: &Path, images: &Images) -> Result<Option<Self>> {
        let Images { training, validation, device, .. } = images;
        if images.classes.len() < 2 {
            println!("no Fréchet distance: its features need images in folders of classes");
            return Ok(None);
        }
        let features = Features::open(folder, images)?;
        let mut real = FeatureStatistics::new(Features::DIMS);
        for (images, _) in training.chunks(1000) {
            real.f_add(&features.of(&images).0)?;
        }
        let held_out: Vec<Tensor> = validation.chunks(1000).map(|(images, _)| images).collect();
        let held_out = Tensor::cat(&held_out, 0);
        let mut shape = held_out.size();
        shape[0] = 1000;
        let noise = Tensor::rand(&shape, (Kind::Float, Device::Cpu)) * 2.0 - 1.0;
        let held_out = found(&features, &real, &held_out)?;
        let noise = found(&features, &real, &noise.to_device(*device))?;
        println!(
            "Fréchet distance to the {} training images, {} features: {:.1} for the {} validation images, \
             {:.0} for uniform noise",
            training.len(),
            Features::DIMS,
            held_out.frechet,
            validation.len(),
            noise.frechet
        );
        Ok(Some(Judge { features, real, held_out, noise }))
    }

    /// What is found for images (N, C, S, S) in [-1, 1].
    pub fn judge(&self, images: &Tensor) -> Result<Verdict> {
        found(&self.features, &self.real, images)
    }

    /// What is wrong with images, if it is the whole of them.
    pub fn collapse(&self, verdict: &Verdict) -> Option<String> {
        let real = self.held_out.classes;
        if verdict.classes < 0.6 * real {
            return Some(format!("collapsed: {:.1} of {real:.1} classes", verdict.classes));
        }
        let no_images = verdict.frechet > 0.5 * self.noise.frechet;
        no_images.then(|| "collapsed: as far as noise".to_owned())
    }
}

fn found(features: &Features, real: &FeatureStatistics, images: &Tensor) -> Result<Verdict> {
    let (of_images, logits) = features.of(images);
    let mut statistics = FeatureStatistics::new(Features::DIMS);
    statistics.f_add(&of_images)?;
    let mean = logits.softmax(1, Kind::Double).mean_dim([0i64].as_slice(), false, Kind::Double);
    let entropy = -(&mean * mean.clamp_min(1e-300).log()).sum(Kind::Double).double_value(&[]);
    Ok(Verdict {
        frechet: statistics.f_frechet_distance(real)?,
        inception: f_inception_score(&logits, 1)?.mean,
        classes: entropy.exp(),
    })
}
