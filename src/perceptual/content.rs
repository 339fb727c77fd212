//! Distances of feature maps.

use super::extractor::{FeatureExtractor, Features, layer_weights, paired};
use crate::{
    Loss, LossError, Reduction, Result, check,
    error::unwrap,
    loss::{Entry, option_enum},
};
use tch::{Kind, Tensor};

/// How far two feature maps are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeatureDistance {
    /// The squared difference, as Johnson et al.
    #[default]
    SquaredL2,
    /// The absolute difference, as ESRGAN and pix2pixHD.
    L1,
}

option_enum!(FeatureDistance {
    FeatureDistance::SquaredL2 => "squared_l2",
    FeatureDistance::L1 => "l1",
});

impl FeatureDistance {
    /// The mean over all but the batch, (N).
    fn of_images(self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        let gap = input.f_sub(target)?;
        let gap = match self {
            FeatureDistance::SquaredL2 => gap.f_square()?,
            FeatureDistance::L1 => gap.f_abs()?,
        };
        Ok(gap.f_flatten(1, -1)?.f_mean_dim([1i64].as_slice(), false, None::<Kind>)?)
    }
}

/// Perceptual loss: the distance of two images as a network sees them.
///
/// ```text
/// l = Σ_j w_j ‖φ_j(x) - φ_j(t)‖² / (C_j H_j W_j)     for each image, over the layers j
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `layer_weights` | 1 each | w |
/// | `distance` | `SquaredL2` | `L1`: `Σ \|φ_j(x) - φ_j(t)\|` in the place of the square |
/// | `reduction` | `Mean` | |
///
/// One pass of the network for the input, and one for the target without a graph; where the target
/// stays the same, [`PerceptualLoss::f_features`] keeps its maps. The target gets no gradient.
///
/// # Shapes
///
/// - input, target: images (N, C, H, W) that the extractor takes
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of images; without any it is 0.
///
/// # Errors
///
/// Shape or device of the target; a number of weights other than that of the layers; what the
/// extractor refuses. There is no element weight.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor, nn};
/// use tch_losses::perceptual::{ImageRange, PerceptualLoss, Vgg, VggKind};
/// use tch_losses::Loss;
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let vgg = Vgg::f_new(&vs.root(), VggKind::Vgg16, &["relu1_2", "relu2_2"], ImageRange::Unit)?;
/// let loss = PerceptualLoss::new(vgg).layer_weights([1.0, 0.5]);
/// let image = Tensor::rand([1, 3, 16, 16], (Kind::Float, Device::Cpu));
/// assert_eq!(loss.forward(&image, &image).double_value(&[]), 0.0);
/// assert!(loss.forward(&(&image * 0.5), &image).double_value(&[]) > 0.0);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Differences
///
/// piq sums over the channels, which is C_j times as much.
///
/// # Reference
///
/// Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution". See
/// also [`ContentLoss`] and [`StyleLoss`](super::StyleLoss).
#[derive(Debug)]
pub struct PerceptualLoss<E> {
    extractor: E,
    layer_weights: Option<Vec<f64>>,
    distance: FeatureDistance,
    reduction: Reduction,
}

/// [`PerceptualLoss`] of the layers that hold what is on a picture: Gatys et al.'s content loss is
/// that of relu4_2 of VGG19, times half of C H W.
pub type ContentLoss<E> = PerceptualLoss<E>;

impl<E: FeatureExtractor> PerceptualLoss<E> {
    const NAME: &'static str = "PerceptualLoss";

    /// A loss of the maps that `extractor` gives.
    pub fn new(extractor: E) -> Self {
        PerceptualLoss {
            extractor,
            layer_weights: None,
            distance: FeatureDistance::SquaredL2,
            reduction: Reduction::Mean,
        }
    }

    /// One weight for each layer; 1 by default.
    pub fn layer_weights(mut self, layer_weights: impl Into<Vec<f64>>) -> Self {
        self.layer_weights = Some(layer_weights.into());
        self
    }

    /// `SquaredL2` by default.
    pub fn distance(mut self, distance: FeatureDistance) -> Self {
        self.distance = distance;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The maps of a target that stays the same, for [`PerceptualLoss::f_forward_with`].
    pub fn f_features(&self, target: &Tensor) -> Result<Features> {
        Features::of(&self.extractor, target)
    }

    /// The loss against kept maps of the target.
    pub fn f_forward_with(&self, input: &Tensor, target: &Features) -> Result<Tensor> {
        let maps = self.extractor.f_features(input)?;
        self.of_maps(&maps, target)
    }

    /// [`PerceptualLoss::f_forward_with`], or a panic with its error.
    #[track_caller]
    pub fn forward_with(&self, input: &Tensor, target: &Features) -> Tensor {
        unwrap(self.f_forward_with(input, target))
    }

    pub(super) fn of_maps(&self, input: &[Tensor], target: &Features) -> Result<Tensor> {
        check::reduction(Self::NAME, self.reduction)?;
        let pairs = paired(Self::NAME, input, target, true)?;
        let weights = layer_weights(Self::NAME, self.layer_weights.as_deref(), pairs.len())?;
        let mut total: Option<Tensor> = None;
        for ((input, target), weight) in pairs.into_iter().zip(weights) {
            let input = check::accumulated(Self::NAME, "features", input)?;
            let target = check::in_kind(Self::NAME, "target features", target, input.f_kind()?)?;
            let term = self.distance.of_images(&input, &target)?.f_mul_scalar(weight)?;
            total = Some(match total {
                Some(total) => total.f_add(&term)?,
                None => term,
            });
        }
        let total = total.ok_or(LossError::Unsupported {
            loss: Self::NAME,
            message: "the extractor gave no layer",
        })?;
        crate::reduce::reduce(total, None, crate::MeanOver::Elements, self.reduction)
    }
}

impl<E: FeatureExtractor> Loss for PerceptualLoss<E> {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        check::same_shape(Self::NAME, input, target)?;
        self.f_forward_with(input, &self.f_features(target)?)
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let entry = Entry::apart("perceptual", |options| {
        options.read("layer_weights", &mut None::<Vec<f64>>)?;
        options.read("distance", &mut FeatureDistance::default())?;
        let mut reduction = Reduction::Mean;
        options.read("reduction", &mut reduction)
    });
    let entry = entry.of_type("PerceptualLoss", module_path!()).follows("Johnson et al. 2016");
    vec![entry.aliases(&["content", "feature"])]
}
