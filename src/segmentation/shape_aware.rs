//! Shape-aware loss.

use super::{
    distance::{f_distance_transform_edt, finite, pixel_size},
    penalty::PixelCrossEntropy,
};
use crate::{
    Reduction, Result,
    loss::{named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

/// Cross entropy of pixels that counts those on a predicted contour the more, the farther they are
/// from a true one.
///
/// ```text
/// l = -(1 + E) log p[y],   p = softmax(input) over dimension 1
/// E = distance to the nearest pixel of the target's contour, on the contour of the prediction
///   = 0                                                      elsewhere
/// contour: pixels with a neighbour along an axis that is of another class
/// ```
///
/// The prediction is the class of the greatest logit. E has no gradient, and is 0 in an image whose
/// target has no contour. Neighbours that are ignored are of no class.
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
/// weights; E is no count. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a class index out of range (on CUDA libtorch
/// asserts on the device instead); a spacing that is not one number above 0 for each dimension of
/// an image.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, Reduction, ShapeAwareLoss};
///
/// // The true contour is between pixels 1 and 2, the predicted one between 3 and 4.
/// let logits = Tensor::from_slice(&[1f64, 1., 1., 1., 0., 0.]).view([1, 1, 6]);
/// let logits = Tensor::cat(&[&logits, &(1.0f64 - &logits)], 1);
/// let target = Tensor::from_slice(&[0i64, 0, 1, 1, 1, 1]).view([1, 6]);
/// let loss = ShapeAwareLoss::default().reduction(Reduction::None);
/// let ce = logits.cross_entropy_loss::<Tensor>(&target, None, tch::Reduction::None, -100, 0.0);
/// let factors = (loss.forward(&logits, &target) / ce).view(-1);
/// let expected = Tensor::from_slice(&[1f64, 1., 1., 2., 3., 1.]);
/// assert!((factors - expected).abs().max().double_value(&[]) < 1e-12);
/// ```
///
/// # Differences
///
/// The survey writes `CE + Σ E_i CE_i` with `E_i` the distance between the two curves and leaves
/// open what it is at a pixel; no package has it. Code that goes by its name is mostly
/// [`DistBinaryDiceLoss`](crate::DistBinaryDiceLoss).
///
/// # Reference
///
/// Hayder et al. 2017, "Boundary-aware Instance Segmentation"; Jadon 2020, "A survey of loss
/// functions for semantic segmentation".
#[derive(Debug, Clone)]
pub struct ShapeAwareLoss {
    spacing: Option<Vec<f64>>,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for ShapeAwareLoss {
    fn default() -> Self {
        ShapeAwareLoss { spacing: None, ignore_index: -100, reduction: Reduction::Mean }
    }
}

impl ShapeAwareLoss {
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

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let name = "ShapeAwareLoss";
        let (ignore_index, reduction) = (self.ignore_index, self.reduction);
        let pixels = PixelCrossEntropy { name, ignore_index, reduction };
        pixels.reduce(input, target, weight, |target, kind| {
            let spacing = pixel_size(name, self.spacing.as_deref(), target.dim() - 1)?;
            let valid = target.f_ne(ignore_index)?;
            let there = contour(target, &valid)?.f_logical_not()?;
            let there = if kind == Kind::Double { there.f_to_kind(kind)? } else { there };
            let distance = finite(f_distance_transform_edt(&there, &spacing)?)?;
            let predicted = input.f_detach()?.f_argmax(1, false)?;
            Ok(distance.f_mul(&contour(&predicted, &valid)?)?)
        })
    }
}

/// Which valid pixels have a valid neighbour along an axis that is of another class, (N, d1, ..).
fn contour(class: &Tensor, valid: &Tensor) -> Result<Tensor> {
    let on = Tensor::f_zeros(class.size(), (Kind::Bool, class.device()))?;
    for axis in 1..class.dim() as i64 {
        let length = class.size()[axis as usize];
        if length < 2 {
            continue;
        }
        let pair = |of: &Tensor| -> Result<[Tensor; 2]> {
            Ok([of.f_narrow(axis, 0, length - 1)?, of.f_narrow(axis, 1, length - 1)?])
        };
        let ([class, next], [valid, next_valid]) = (pair(class)?, pair(valid)?);
        let differ = class.f_ne_tensor(&next)?.f_logical_and(&valid)?.f_logical_and(&next_valid)?;
        for mut side in pair(&on)? {
            let _ = side.f_logical_or_(&differ)?;
        }
    }
    Ok(on)
}

weighted_loss!(ShapeAwareLoss);

named_loss! {
    ShapeAwareLoss: "shape_aware", Logits => Index, "Hayder et al. 2017, Jadon 2020",
    [spacing, ignore_index, reduction],
}
