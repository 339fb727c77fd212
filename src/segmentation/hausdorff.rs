//! Losses that estimate the Hausdorff distance.

use super::{
    distance::{of_classes, pixel_size, signed},
    maps::Maps,
    region::{Aggregate, EmptyClass, Region, setters},
    statistics::{IgnoreIndex, Nonlinearity, sum},
};
use crate::{
    Reduction, Result, check,
    error::unwrap,
    loss::{named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

/// Hausdorff loss of a segmentation, by distance transforms.
///
/// ```text
/// l = Σ m (p - y)² (D_p^α + D_y^α) / Σ m       for each image and class, over the pixels
/// D: distance to the other side of the boundary of p > 1/2, or of y > 1/2
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel. D is without
/// gradient, and 0 for a class that is absent or fills the image. The value grows with α-th powers
/// of pixels: thousands for images of 512 x 512 at first, for which `log` is made.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `alpha` | 2 | α, how much large errors count |
/// | `one_sided` | false | D_p is left out: no distance transform of the input |
/// | `log` | false | `log(1 + l)` of the reduced loss, as MONAI's `LogHausdorffDTLoss` |
#[doc = include_str!("doc/boundary.md")]
///
/// `monai()` is `include_background(false)`.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction.md")]
#[doc = include_str!("doc/errors.md")]
///
/// Images have one to three dimensions; `alpha` below 0; a spacing that is not one number above 0
/// for each dimension.
///
/// # Maps
///
/// A data loader can make D_y with [`distance_map`](Self::distance_map) for
/// [`forward_with_map`](Self::forward_with_map), which with `one_sided` needs no other.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{HausdorffDtLoss, Loss, segmentation::Nonlinearity};
///
/// let target = Tensor::from_slice(&[0f64, 1., 1., 1., 0., 0., 0.]).view([1, 1, 7]);
/// let input = Tensor::from_slice(&[0f64, 1., 1., 1., 1., 0., 0.]).view([1, 1, 7]);
/// let hausdorff = HausdorffDtLoss::default().apply_nonlin(Nonlinearity::None);
/// // One pixel is wrong, 1 from both boundaries.
/// assert_eq!(hausdorff.forward(&input, &target).double_value(&[]), 2.0 / 7.0);
/// assert_eq!(hausdorff.one_sided(true).forward(&input, &target).double_value(&[]), 1.0 / 7.0);
/// ```
///
/// # Differences
///
/// MONAI has no spacing, no mask and no one-sided form, and computes distances in `Float`.
/// SegLossOdyssey's `HDDTBinaryLoss` fails where all is foreground.
///
/// # Reference
///
/// Karimi and Salcudean 2019, "Reducing the Hausdorff Distance in Medical Image Segmentation with
/// Convolutional Neural Networks". `monai()` follows MONAI 1.6 `HausdorffDTLoss`, and with `log`
/// `LogHausdorffDTLoss`. See also [`HausdorffErLoss`], and
/// [`SurfaceDistances`](crate::metrics::SurfaceDistances) for the distance itself.
#[derive(Debug, Clone)]
#[doc(alias = "HausdorffDTLoss")]
#[doc(alias = "LogHausdorffDTLoss")]
pub struct HausdorffDtLoss {
    region: Region,
    spacing: Option<Vec<f64>>,
    alpha: f64,
    one_sided: bool,
    log: bool,
}

impl Default for HausdorffDtLoss {
    fn default() -> Self {
        HausdorffDtLoss {
            region: Region::default(),
            spacing: None,
            alpha: 2.0,
            one_sided: false,
            log: false,
        }
    }
}

impl HausdorffDtLoss {
    const NAME: &str = "HausdorffDtLoss";

    /// MONAI's `HausdorffDTLoss(softmax=True, to_onehot_y=True)`.
    pub fn monai() -> Self {
        HausdorffDtLoss::default().include_background(false)
    }

    /// α, at least 0; 2 by default.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Whether distances are those of the target only; false by default.
    pub fn one_sided(mut self, one_sided: bool) -> Self {
        self.one_sided = one_sided;
        self
    }

    /// Whether the loss is `log(1 + l)`; false by default.
    pub fn log(mut self, log: bool) -> Self {
        self.log = log;
        self
    }

    /// The size of a pixel along d1, ..; 1 by default.
    pub fn spacing(mut self, spacing: impl Into<Vec<f64>>) -> Self {
        self.spacing = Some(spacing.into());
        self
    }

    setters!(region);

    /// D_y of a target, (N, `classes`, d1, ..); the target as for
    /// [`BoundaryLoss::distance_map`](crate::BoundaryLoss::f_distance_map).
    pub fn f_distance_map(&self, target: &Tensor, classes: i64) -> Result<Tensor> {
        let kind = if target.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let inside = of_classes(Self::NAME, target, classes)?;
        let spacing = pixel_size(Self::NAME, self.spacing.as_deref(), inside.dim() - 2)?;
        Ok(signed(&inside, &spacing, kind)?.f_abs_()?)
    }

    /// [`HausdorffDtLoss::f_distance_map`], or a panic with its error.
    #[track_caller]
    pub fn distance_map(&self, target: &Tensor, classes: i64) -> Tensor {
        unwrap(self.f_distance_map(target, classes))
    }

    /// The loss with D_y made before, of the input's shape; `weight` is that of
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
        self.with(input, target, Some(map), weight)
    }

    /// [`HausdorffDtLoss::f_forward_with_map`], or a panic with its error.
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
        self.with(input, target, None, weight)
    }

    fn with(
        &self,
        input: &Tensor,
        target: &Tensor,
        map: Option<&Tensor>,
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        let name = Self::NAME;
        check::at_least_zero(name, "alpha", self.alpha)?;
        let maps = self.region.maps(name, input, target, weight, 1..=3)?;
        let spacing = maps.pixel_size(name, &self.spacing)?;
        let kind = maps.probabilities.f_kind()?;
        let power = |distance: Tensor| -> Result<Tensor> {
            let distance = distance.f_abs()?.f_view_as(&maps.target)?;
            Ok(distance.f_pow_tensor_scalar(self.alpha)?)
        };
        let measured = |values: &Tensor| signed(&maps.inside(values)?, &spacing, kind);
        let mut distance = power(match map {
            Some(map) => maps.of_kept(&check::in_kind(name, "map", map, kind)?)?,
            None => measured(&maps.target)?,
        })?;
        if !self.one_sided {
            let predicted = maps.counted(&maps.probabilities)?;
            let _ = distance.f_add_(&power(measured(&predicted)?)?)?;
        }
        let cost = maps.probabilities.f_sub(&maps.target)?.f_square()?.f_mul(&distance)?;
        let loss = self.region.mean_cost(name, input, &maps, cost, || sum(maps.target.detach()))?;
        Ok(if self.log { loss.f_log1p()? } else { loss })
    }
}

weighted_loss!(HausdorffDtLoss);

named_loss! {
    HausdorffDtLoss: "hausdorff_dt", Logits => IndexOrDense, "Karimi and Salcudean 2019",
    [..region, alpha, one_sided, log, spacing], aliases ["hausdorff"],
    presets {
        "hausdorff_dt_monai" => Self::monai(), "MONAI `HausdorffDTLoss`";
        "log_hausdorff_dt" => Self::monai().log(true), "MONAI `LogHausdorffDTLoss`";
    },
}

/// Hausdorff loss of a segmentation, by erosions.
///
/// ```text
/// l = Σ m Σ_k (k+1)^α e_k+1 / Σ m              for each image and class, over the pixels
/// e_0 = (p - y)²,   e_k+1 = stretch(relu(B * e_k - 1/2))      for k = 0, .., erosions - 1
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel, B the mean over
/// a pixel and its neighbours along the axes. `stretch` maps an image's least and greatest value to
/// 0 and 1, and leaves it as it is where these are equal. Errors that survive many erosions are
/// thick, so far from the boundary. A number without unit, not a distance.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `alpha` | 2 | α |
/// | `k` | 10 | the number of erosions |
/// | `apply_nonlin` | `Softmax` | what makes probabilities of the input: `Softmax`, `Sigmoid`, or `None` where it holds them |
/// | `aggregate` | `PerImage` | `Batch`: one mean over the batch for each class |
/// | `include_background` | true | false leaves class 0 out |
/// | `classes` | all | the classes that count |
/// | `ignore_index` | none | targets of this value, or of these, count for nothing |
/// | `empty_class` | `Smooth` | what an absent class costs, see [`EmptyClass`](crate::segmentation::EmptyClass); `Smooth` is the formula |
/// | `class_weights` | none | a weight for each class of the input |
/// | `reduction` | `Mean` | |
///
/// `kornia()` takes probabilities.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction.md")]
#[doc = include_str!("doc/errors.md")]
///
/// Images have two or three dimensions; `alpha` or `k` below 0.
///
/// # Examples
///
/// ```
/// use tch::{Kind, Tensor};
/// use tch_losses::{HausdorffErLoss, Loss};
///
/// // A square of 3 x 3 pixels is missed in one class and invented in the other.
/// let input = Tensor::zeros([1, 1, 5, 5], (Kind::Double, tch::Device::Cpu));
/// let input = Tensor::cat(&[&(&input + 1.0), &input], 1);
/// let target = Tensor::ones([1, 3, 3], (Kind::Int64, tch::Device::Cpu));
/// let target = target.constant_pad_nd([1, 1, 1, 1]);
/// // One erosion leaves 1 in the middle, 0.6 at four edges and 0.2 at four corners.
/// let loss = HausdorffErLoss::kornia().k(1).forward(&input, &target).double_value(&[]);
/// assert!((loss - (1.0 + 4.0 * 0.6 + 4.0 * 0.2) / 25.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// kornia takes index targets only, reads them back to check their range, and leaves a loss per
/// pixel without reduction, classes first.
///
/// # Reference
///
/// Karimi and Salcudean 2019, "Reducing the Hausdorff Distance in Medical Image Segmentation with
/// Convolutional Neural Networks". `kornia()` follows kornia 0.9 `HausdorffERLoss` and
/// `HausdorffERLoss3D`. See also [`HausdorffDtLoss`].
#[derive(Debug, Clone)]
#[doc(alias = "HausdorffERLoss3D")]
pub struct HausdorffErLoss {
    region: Region,
    alpha: f64,
    k: i64,
}

impl Default for HausdorffErLoss {
    fn default() -> Self {
        HausdorffErLoss { region: Region::default(), alpha: 2.0, k: 10 }
    }
}

impl HausdorffErLoss {
    /// kornia's `HausdorffERLoss` and `HausdorffERLoss3D`, of probabilities.
    pub fn kornia() -> Self {
        HausdorffErLoss::default().apply_nonlin(Nonlinearity::None)
    }

    /// α, at least 0; 2 by default.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// The number of erosions, at least 0; 10 by default.
    pub fn k(mut self, k: i64) -> Self {
        self.k = k;
        self
    }

    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "HausdorffErLoss";
        check::at_least_zero(NAME, "alpha", self.alpha)?;
        check::param(NAME, "k", self.k as f64, self.k >= 0, "at least 0")?;
        let maps = self.region.maps(NAME, input, target, weight, 2..=3)?;
        let error = maps.probabilities.f_sub(&maps.target)?.f_square()?;
        let error = maps.counted(&error)?;
        let cost = self.eroded(&error, &maps)?;
        self.region.mean_cost(NAME, input, &maps, cost, || sum(maps.target.detach()))
    }

    /// Σ_k (k+1)^α e_k+1, (N, K, P)
    fn eroded(&self, error: &Tensor, maps: &Maps) -> Result<Tensor> {
        if error.numel() == 0 || self.k == 0 {
            return Ok(error.f_mul_scalar(0.0)?);
        }
        let axes = maps.shape.len() as i64 - 2;
        let pixels: Vec<i64> = (1..=axes).map(|axis| -axis).collect();
        let mut left = error.f_view(maps.shape.as_slice())?;
        let mut total: Option<Tensor> = None;
        for step in 1..=self.k {
            let means = cross_mean(&left, axes)?;
            left = stretch(&means.f_sub_scalar(0.5)?.f_relu()?, &pixels)?;
            let term = left.f_mul_scalar((step as f64).powf(self.alpha))?;
            total = Some(match total {
                Some(total) => total.f_add(&term)?,
                None => term,
            });
        }
        Ok(total.unwrap_or(left).f_view_as(error)?)
    }
}

/// The mean over a pixel and its neighbours along the last axes, of which those outside are 0.
///
/// A convolution of one channel takes several times as long, and TF32 would round it on CUDA.
fn cross_mean(image: &Tensor, axes: i64) -> Result<Tensor> {
    let padded = image.f_constant_pad_nd(vec![1; 2 * axes as usize])?;
    let moved = |along: i64, start: i64| {
        (1..=axes).try_fold(padded.shallow_clone(), |view, axis| {
            let length = view.size()[(view.dim() as i64 - axis) as usize] - 2;
            view.f_narrow(-axis, if axis == along { start } else { 1 }, length)
        })
    };
    let mut sum = image.shallow_clone();
    for axis in 1..=axes {
        for start in [0, 2] {
            sum = sum.f_add(&moved(axis, start)?)?;
        }
    }
    Ok(sum.f_div_scalar((2 * axes + 1) as f64)?)
}

/// Maps the least value of each image to 0 and the greatest to 1, unless they are equal.
fn stretch(image: &Tensor, pixels: &[i64]) -> Result<Tensor> {
    let least = image.f_amin(pixels, true)?;
    let range = image.f_amax(pixels, true)?.f_sub(&least)?;
    let flat = range.f_eq(0.0)?;
    let least = least.f_masked_fill(&flat, 0.0)?;
    Ok(image.f_sub(&least)?.f_div(&range.f_masked_fill(&flat, 1.0)?)?)
}

weighted_loss!(HausdorffErLoss);

named_loss! {
    HausdorffErLoss: "hausdorff_er", Logits => IndexOrDense, "Karimi and Salcudean 2019",
    [..region, alpha, k],
    presets { "hausdorff_er_kornia" (Probabilities => IndexOrDense) => Self::kornia(), "kornia `HausdorffERLoss`" },
}
