//! Losses that weigh pixels by their distance from the boundaries of the target.

use super::{
    distance::{f_distance_transform_edt, finite, of_classes, pixel_size, signed},
    maps::Maps,
    region::{Aggregate, Averaging, EmptyClass, Region, setters},
    soft_dice::DiceForm,
    statistics::{IgnoreIndex, Nonlinearity},
};
use crate::{
    CrossEntropyLoss, Loss, MeanOver, Reduction, Result, check,
    classification::over_count,
    error::unwrap,
    loss::{named_loss, weighted_loss},
    reduce::{reduce, weights},
};
use tch::{Kind, Tensor};

/// How near pixels of distance `depth` (N, K, d1, ..) are to the boundary: from 1 for those next to
/// it to 0 for the deepest of the image, and 0 where depth is 0. Where all are as deep it is 1.
fn nearness(depth: Tensor) -> Result<Tensor> {
    if depth.numel() == 0 {
        return Ok(depth);
    }
    let pixels: Vec<i64> = (2..depth.dim() as i64).collect();
    let apart = depth.f_eq(0.0)?;
    let deepest = depth.f_amax(pixels.as_slice(), true)?;
    let least = depth.f_masked_fill(&apart, f64::INFINITY)?.f_amin(pixels.as_slice(), true)?;
    let range = deepest.f_sub(&least)?;
    let even = range.f_gt(0.0)?.f_logical_not()?;
    let mut near = depth.f_neg()?;
    drop(depth);
    let _ = near.f_add_(&deepest)?.f_div_(&range.f_masked_fill(&even, 1.0)?)?;
    Ok(near.f_masked_fill_(&even, 1.0)?.f_masked_fill_(&apart, 0.0)?)
}

/// φ on both sides of the boundary of each class, (N, K, d1, ..).
fn both_sides(inside: &Tensor, spacing: &[f64], kind: Kind) -> Result<Tensor> {
    let distance = signed(inside, spacing, kind)?;
    let mut near = nearness(distance.f_neg()?.f_relu_()?)?;
    Ok(near.f_add_(&nearness(distance.f_relu()?)?)?)
}

/// Dice loss of a segmentation that counts hits next to the boundary up to twice.
///
/// ```text
/// l = -dc,   dc = (2 Σ m p y D + s) / (Σ m p + Σ m y + s)      for each image and class
/// D = 1 + φ,   φ from 1 next to the boundary to 0 for the deepest pixel, inside and outside alike
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel. With distance
/// d to the other side, φ = (max d - d) / (max d - min d) over the image's pixels of a side; it is 1
/// where all are as deep, as in a line one pixel wide, and 0 for a class that is absent or fills the
/// image.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `smooth` | 1e-5 | s |
/// | `bounded` | false | `dc = (2 Σ m D p y + s) / (Σ m D p + Σ m D y + s)`, which is at most 1 |
/// | `form` | `Negative` | `OneMinus` for `1 - dc` |
#[doc = include_str!("doc/boundary.md")]
///
/// `include_background` is false by default: of two channels the second is the mask. One channel
/// takes `include_background(true)` and `apply_nonlin(Nonlinearity::Sigmoid)`.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction.md")]
#[doc = include_str!("doc/errors.md")]
///
/// Images have one to three dimensions; a spacing that is not one number above 0 for each.
///
/// # Maps
///
/// A data loader can make φ with [`distance_map`](Self::distance_map) for
/// [`forward_with_map`](Self::forward_with_map).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{DistBinaryDiceLoss, Loss, segmentation::Nonlinearity};
///
/// let dice = DistBinaryDiceLoss::default()
///     .include_background(true)
///     .apply_nonlin(Nonlinearity::None)
///     .smooth(0.0);
/// let mask = Tensor::from_slice(&[0f64, 1., 1., 1., 1., 1., 0.]).view([1, 1, 7]);
/// // The distances 1, 2, 3, 2, 1 give D = 2, 1.5, 1, 1.5, 2.
/// assert_eq!(dice.forward(&mask, &mask).double_value(&[]), -2.0 * 8.0 / 10.0);
/// assert_eq!(dice.bounded(true).forward(&mask, &mask).double_value(&[]), -1.0);
/// ```
///
/// # Differences
///
/// SegLossOdyssey's `DistBinaryDiceLoss` gives NaN for a mask that is empty, full, or one or two
/// pixels wide everywhere, and takes volumes of two channels only.
///
/// # Reference
///
/// Caliva et al. 2019, "Distance Map Loss Penalty Term for Semantic Segmentation". Follows
/// SegLossOdyssey's `DistBinaryDiceLoss`. See also [`DistancePenalizedCrossEntropyLoss`].
#[derive(Debug, Clone)]
pub struct DistBinaryDiceLoss {
    region: Region,
    spacing: Option<Vec<f64>>,
    smooth: f64,
    bounded: bool,
    form: DiceForm,
}

impl Default for DistBinaryDiceLoss {
    fn default() -> Self {
        DistBinaryDiceLoss {
            region: Region { include_background: false, ..Region::default() },
            spacing: None,
            smooth: 1e-5,
            bounded: false,
            form: DiceForm::Negative,
        }
    }
}

impl DistBinaryDiceLoss {
    const NAME: &str = "DistBinaryDiceLoss";

    /// s, at least 0; 1e-5 by default.
    pub fn smooth(mut self, smooth: f64) -> Self {
        self.smooth = smooth;
        self
    }

    /// Whether D weighs the denominator too; false by default.
    pub fn bounded(mut self, bounded: bool) -> Self {
        self.bounded = bounded;
        self
    }

    /// `Negative` by default.
    pub fn form(mut self, form: DiceForm) -> Self {
        self.form = form;
        self
    }

    /// The size of a pixel along d1, ..; 1 by default.
    pub fn spacing(mut self, spacing: impl Into<Vec<f64>>) -> Self {
        self.spacing = Some(spacing.into());
        self
    }

    setters!(region);

    /// φ of a target, (N, `classes`, d1, ..); the target as for
    /// [`BoundaryLoss::distance_map`](crate::BoundaryLoss::f_distance_map).
    pub fn f_distance_map(&self, target: &Tensor, classes: i64) -> Result<Tensor> {
        let kind = if target.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let inside = of_classes(Self::NAME, target, classes)?;
        let spacing = pixel_size(Self::NAME, self.spacing.as_deref(), inside.dim() - 2)?;
        both_sides(&inside, &spacing, kind)
    }

    /// [`DistBinaryDiceLoss::f_distance_map`], or a panic with its error.
    #[track_caller]
    pub fn distance_map(&self, target: &Tensor, classes: i64) -> Tensor {
        unwrap(self.f_distance_map(target, classes))
    }

    /// The loss with φ made before, of the input's shape; `weight` is that of
    /// [`forward_weighted`](crate::Loss::forward_weighted).
    pub fn f_forward_with_map(
        &self,
        input: &Tensor,
        target: &Tensor,
        map: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        check::shape(Self::NAME, "map", map, &input.size())?;
        check::device(Self::NAME, "map", map, input)?;
        self.with(input, target, weight, |maps, kind| {
            maps.of_kept(&check::in_kind(Self::NAME, "map", map, kind)?)
        })
    }

    /// [`DistBinaryDiceLoss::f_forward_with_map`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_map(
        &self,
        input: &Tensor,
        target: &Tensor,
        map: &Tensor,
        weight: Option<&Tensor>,
    ) -> Tensor {
        unwrap(self.f_forward_with_map(input, target, map, weight))
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        self.with(input, target, weight, |maps, kind| {
            let spacing = maps.pixel_size(Self::NAME, &self.spacing)?;
            both_sides(&maps.inside(&maps.target)?, &spacing, kind)
        })
    }

    fn with(
        &self,
        input: &Tensor,
        target: &Tensor,
        weight: Option<&Tensor>,
        map: impl FnOnce(&Maps, Kind) -> Result<Tensor>,
    ) -> Result<Tensor> {
        check::at_least_zero(Self::NAME, "smooth", self.smooth)?;
        let maps = self.region.maps(Self::NAME, input, target, weight, 1..=3)?;
        let map = map(&maps, maps.probabilities.f_kind()?)?.f_view_as(&maps.target)?;
        let factor = map.f_add_scalar(1.0)?;
        let weighted = maps.target.f_mul(&factor)?;
        let hits = maps.sum(maps.probabilities.f_mul(&weighted)?)?;
        let actual = maps.sum(maps.target.shallow_clone())?;
        let all = if self.bounded {
            maps.sum(maps.probabilities.f_mul(&factor)?)?.f_add(&maps.sum(weighted)?)?
        } else {
            maps.sum(maps.probabilities.shallow_clone())?.f_add(&actual)?
        };
        let averaging = Averaging::default();
        let sums = |pair| self.region.sums_of(Self::NAME, input, &maps, pair, averaging);
        let ratio = sums([hits, all])?.overlap;
        let numerator = ratio.tp.f_mul_scalar(2.0)?.f_add_scalar(self.smooth)?;
        let denominator = ratio.actual.f_add_scalar(self.smooth)?.f_clamp_min(1e-8)?;
        let score = numerator.f_div(&denominator)?;
        sums([actual.shallow_clone(), actual])?.reduce(score, |score| {
            Ok(match self.form {
                DiceForm::Negative => score.f_neg()?,
                DiceForm::OneMinus => score.f_rsub_scalar(1.0)?,
            })
        })
    }
}

weighted_loss!(DistBinaryDiceLoss);

named_loss! {
    DistBinaryDiceLoss: "dist_binary_dice", Logits => IndexOrDense, "SegLossOdyssey `DistBinaryDiceLoss`",
    [..region, smooth, bounded, form, spacing],
}

/// Cross entropy of pixels that counts those next to a boundary up to twice.
///
/// ```text
/// l = -(1 + φ) log p[y],   p = softmax(input) over dimension 1
/// φ = (max d - d) / (max d - min d)    d the distance to the nearest pixel of another class,
///                                      max and min over the pixels of y's class in the image
/// ```
///
/// φ is 1 next to the boundary of the pixel's class and 0 for its deepest pixel; 1 where all are as
/// deep, and 0 where a class fills the image. Ignored pixels are of no class.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `spacing` | 1 | the size of a pixel along d1, .. |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C)
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights; φ is no count. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a class index out of range (on CUDA libtorch
/// asserts on the device instead); a spacing that is not one number above 0 for each dimension of
/// an image.
///
/// # Maps
///
/// A data loader can make φ with [`distance_map`](Self::distance_map) for
/// [`forward_with_map`](Self::forward_with_map).
///
/// # Examples
///
/// ```
/// use tch::{Kind, Tensor};
/// use tch_losses::{DistancePenalizedCrossEntropyLoss, Loss, Reduction};
///
/// let logits = Tensor::zeros([1, 2, 5], (Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 0, 0, 1, 1]).view([1, 5]);
/// let loss = DistancePenalizedCrossEntropyLoss::default().reduction(Reduction::None);
/// let factors = loss.forward(&logits, &target).view(-1) / std::f64::consts::LN_2;
/// assert_eq!(Vec::<f64>::try_from(factors).unwrap(), [1.0, 1.5, 2.0, 2.0, 1.0]);
/// ```
///
/// # Differences
///
/// SegLossOdyssey's `DisPenalizedCE` computes this for two classes in volumes, and then returns the
/// mean without φ.
///
/// # Reference
///
/// Caliva et al. 2019, "Distance Map Loss Penalty Term for Semantic Segmentation". See also
/// [`unet_weight_map`](super::f_unet_weight_map), which looks at gaps between instances.
#[derive(Debug, Clone)]
#[doc(alias = "DisPenalizedCE")]
pub struct DistancePenalizedCrossEntropyLoss {
    spacing: Option<Vec<f64>>,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for DistancePenalizedCrossEntropyLoss {
    fn default() -> Self {
        DistancePenalizedCrossEntropyLoss {
            spacing: None,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

impl DistancePenalizedCrossEntropyLoss {
    const NAME: &str = "DistancePenalizedCrossEntropyLoss";

    /// The size of a pixel along d1, ..; 1 by default.
    pub fn spacing(mut self, spacing: impl Into<Vec<f64>>) -> Self {
        self.spacing = Some(spacing.into());
        self
    }

    /// The index that marks targets to leave out; -100 by default.
    pub fn ignore_index(mut self, ignore_index: i64) -> Self {
        self.ignore_index = ignore_index;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// φ of class indices (N, d1, ..), of their shape; values outside of [0, `classes`) are of no
    /// class.
    pub fn f_distance_map(&self, target: &Tensor, classes: i64) -> Result<Tensor> {
        let target = check::index(Self::NAME, "target", target)?;
        self.map(&target, classes, Kind::Float)
    }

    /// [`DistancePenalizedCrossEntropyLoss::f_distance_map`], or a panic with its error.
    #[track_caller]
    pub fn distance_map(&self, target: &Tensor, classes: i64) -> Tensor {
        unwrap(self.f_distance_map(target, classes))
    }

    /// The loss with φ made before, of the target's shape; `weight` is that of
    /// [`forward_weighted`](crate::Loss::forward_weighted).
    pub fn f_forward_with_map(
        &self,
        input: &Tensor,
        target: &Tensor,
        map: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        check::shape(Self::NAME, "map", map, &target.size())?;
        check::device(Self::NAME, "map", map, input)?;
        self.pixels()
            .reduce(input, target, weight, |_, kind| check::in_kind(Self::NAME, "map", map, kind))
    }

    /// [`DistancePenalizedCrossEntropyLoss::f_forward_with_map`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_map(
        &self,
        input: &Tensor,
        target: &Tensor,
        map: &Tensor,
        weight: Option<&Tensor>,
    ) -> Tensor {
        unwrap(self.f_forward_with_map(input, target, map, weight))
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        self.pixels()
            .reduce(input, target, weight, |target, kind| self.map(target, input.size()[1], kind))
    }

    fn pixels(&self) -> PixelCrossEntropy {
        let (name, ignore_index, reduction) = (Self::NAME, self.ignore_index, self.reduction);
        PixelCrossEntropy { name, ignore_index, reduction }
    }

    fn map(&self, target: &Tensor, classes: i64, kind: Kind) -> Result<Tensor> {
        check::param(Self::NAME, "classes", classes as f64, classes > 0, "at least 1")?;
        let spacing = pixel_size(Self::NAME, self.spacing.as_deref(), target.dim() - 1)?;
        let mut total = Tensor::f_zeros(target.size(), (kind, target.device()))?;
        // One after another: together the classes would take as much memory each.
        for class in (0..classes).filter(|&class| class != self.ignore_index) {
            let inside = target.f_eq(class)?.f_unsqueeze(1)?;
            let inside = if kind == Kind::Double { inside.f_to_kind(kind)? } else { inside };
            let near = nearness(finite(f_distance_transform_edt(&inside, &spacing)?)?)?;
            let _ = total.f_add_(&near.f_squeeze_dim(1)?)?;
        }
        Ok(total)
    }
}

weighted_loss!(DistancePenalizedCrossEntropyLoss);

named_loss! {
    DistancePenalizedCrossEntropyLoss: "distance_penalized_cross_entropy", Logits => Index,
    "Caliva et al. 2019", [spacing, ignore_index, reduction],
    aliases ["distance_penalized_ce", "dis_penalized_ce"],
}

/// Cross entropy of logits with index targets, times a factor for each pixel.
pub(super) struct PixelCrossEntropy {
    pub(super) name: &'static str,
    pub(super) ignore_index: i64,
    pub(super) reduction: Reduction,
}

impl PixelCrossEntropy {
    /// `extra` makes of the target, in a kind, how much more than once each pixel costs.
    pub(super) fn reduce(
        &self,
        input: &Tensor,
        target: &Tensor,
        weight: Option<&Tensor>,
        extra: impl FnOnce(&Tensor, Kind) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let PixelCrossEntropy { name, ignore_index, reduction } = *self;
        check::reduction(name, reduction)?;
        let dims = input.size();
        let ok = (3..=5).contains(&dims.len()) && dims[1] > 0;
        let expected = "[N, C, ..] with 1 to 3 dimensions of pixels";
        check::shape_is(name, "input", input, ok, expected)?;
        check::shape(name, "target", target, &[&dims[..1], &dims[2..]].concat())?;
        check::device(name, "target", target, input)?;
        let target = check::index(name, "target", target)?;
        let logits = check::accumulated(name, "input", input)?;
        let factor = extra(&target, logits.f_kind()?)?.f_add_scalar(1.0)?;
        let entropy = CrossEntropyLoss::default()
            .ignore_index(ignore_index)
            .reduction(Reduction::None)
            .f_forward(&logits, &target)?;
        // What is ignored is 0 already.
        let cost = entropy.f_mul(&factor)?;
        let valid = target.f_ne(ignore_index)?;
        match (weight, reduction) {
            (None, Reduction::Mean) => over_count(&cost.f_sum(None::<Kind>)?, &valid),
            (None, reduction) => reduce(cost, None, MeanOver::Weights, reduction),
            (Some(weight), reduction) => {
                let weight = weights(name, [Some(weight), Some(&valid)], &cost)?;
                reduce(cost, weight.as_ref(), MeanOver::Weights, reduction)
            }
        }
    }
}
