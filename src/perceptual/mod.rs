//! Losses that look at images through a network, and losses of images alone.

mod content;
mod downsample;
mod extractor;
mod frequency;
mod gradient;
mod lpips;
mod random_filters;
mod style;
mod topology;
mod total_variation;
mod vgg;
pub mod weights;

pub use content::{ContentLoss, FeatureDistance, PerceptualLoss};
pub use downsample::{Downsample, downsample, f_downsample, f_shift_change, shift_change};
pub use extractor::{FeatureExtractor, Features, FnExtractor, ImageRange};
pub use frequency::FocalFrequencyLoss;
pub use gradient::{EdgeFilter, EdgeLoss};
pub use lpips::{LpipsLoss, LpipsNet};
pub use random_filters::RandomFilters;
pub use style::{
    ContentStyleLoss, ContentStyleLosses, ContentStyleTargets, GramNorm, StyleLoss, TextureLoss,
    f_gram_matrix, gram_matrix,
};
pub use topology::TopologyAwareLoss;
pub use total_variation::{TotalVariation, TotalVariationLoss};
pub use vgg::{Pooling, Vgg, VggKind};

use crate::loss::Entry;

pub(crate) fn entries() -> Vec<Entry> {
    [
        content::entries(),
        style::entries(),
        topology::entries(),
        lpips::entries(),
        TotalVariationLoss::entries(),
        EdgeLoss::entries(),
        FocalFrequencyLoss::entries(),
    ]
    .concat()
}
