//! Adversarial training: objectives of discriminators and generators, penalties and normalisation that
//! keep a critic smooth, and the losses of whole models.
//!
//! - [`GanLoss`] is a pair of objectives, and [`gan_by_name`] makes one from its name;
//!   [`DiscriminatorLoss`] makes a [`Loss`](crate::Loss) of it.
//! - [`GradientPenalty`], [`R1Penalty`], [`R2Penalty`], [`DraganPenalty`] and [`PathLengthPenalty`]
//!   differentiate a network twice. [`SpectralNorm`] and [`clip_weights`] need no second derivative.
//! - [`CycleGanLoss`], [`Pix2PixLoss`], [`AlphaGanLoss`] and [`VaeGanLoss`] are those of whole models,
//!   with named parts; [`FeatureMatchingLoss`] and [`LayerMatchingLoss`] look at features.
//! - [`SphericalDistanceLoss`], [`PromptLoss`] and [`LatentAnchorLoss`] guide a generator by embeddings.

mod alpha_gan;
mod critic;
mod critic_loss;
mod cycle_gan;
mod discriminator_loss;
mod dragan;
mod feature_matching;
mod gan_loss;
mod gradient;
mod gradient_penalty;
mod guidance;
mod image_pool;
mod least_squares;
mod logistic;
mod parts;
mod path_length;
mod pix2pix;
mod r1;
mod relativistic;
mod spectral_norm;
mod vae_gan;

use crate::loss::Entry;

pub use alpha_gan::AlphaGanLoss;
pub use critic::{CriticSchedule, clip_weights, f_clip_weights};
pub use critic_loss::{HingeGanLoss, WassersteinGanLoss};
pub use cycle_gan::{CycleBatch, CycleConsistencyLoss, CycleGanLoss};
pub use discriminator_loss::DiscriminatorLoss;
pub use dragan::{DraganNoise, DraganPenalty};
pub use feature_matching::{FeatureDistance, FeatureMatchingLoss, LayerMatchingLoss};
pub use gan_loss::{GanLoss, Halve, gan_by_name};
pub use gradient_penalty::{GradientPenalty, f_gradient_penalty, gradient_penalty};
pub use guidance::{LatentAnchorLoss, PromptLoss, SphericalDistanceLoss};
pub use image_pool::ImagePool;
pub use least_squares::LeastSquaresGanLoss;
pub use logistic::{BceGanLoss, MinMaxGanLoss, NonSaturatingGanLoss};
pub use path_length::PathLengthPenalty;
pub use pix2pix::Pix2PixLoss;
pub use r1::{R1Penalty, R2Penalty};
pub use relativistic::{Against, RelativisticCost, RelativisticGanLoss};
pub use spectral_norm::{
    SpectralLayer, SpectralNorm, SpectralNormConfig, f_spectral_conv_transpose2d,
    f_spectral_conv2d, f_spectral_linear, spectral_conv_transpose2d, spectral_conv2d,
    spectral_linear,
};
pub use vae_gan::VaeGanLoss;

pub(crate) fn entries() -> Vec<Entry> {
    [
        MinMaxGanLoss::entries(),
        NonSaturatingGanLoss::entries(),
        BceGanLoss::entries(),
        LeastSquaresGanLoss::entries(),
        WassersteinGanLoss::entries(),
        HingeGanLoss::entries(),
        RelativisticGanLoss::entries(),
        discriminator_loss::entries(),
        GradientPenalty::entries(),
        R1Penalty::entries(),
        DraganPenalty::entries(),
        PathLengthPenalty::entries(),
        FeatureMatchingLoss::entries(),
        LayerMatchingLoss::entries(),
        CycleConsistencyLoss::entries(),
        CycleGanLoss::entries(),
        Pix2PixLoss::entries(),
        AlphaGanLoss::entries(),
        VaeGanLoss::entries(),
        SphericalDistanceLoss::entries(),
        PromptLoss::entries(),
        LatentAnchorLoss::entries(),
    ]
    .concat()
}
