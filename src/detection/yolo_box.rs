//! The box regressions of the first YOLOs.

use super::boxes::check_boxes;
use crate::{
    MeanOver, Reduction, Result, check,
    fused::{BoxErrors, Composed},
    loss::{named_loss, option_enum, weighted_loss},
    reduce::{reduce, weights},
};
use tch::{Kind, Tensor};

/// What a [`YoloBoxLoss`] compares of the sides of boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoxSize {
    /// Square roots, as YOLOv1: an error of a small box weighs more than that of a large one.
    #[default]
    Root,
    /// Logarithms, as YOLOv2 and YOLOv3, where the anchor cancels out.
    Log,
    /// The sides themselves.
    Linear,
}

option_enum!(BoxSize {
    BoxSize::Root => "root",
    BoxSize::Log => "log",
    BoxSize::Linear => "linear",
});

/// Sides shorter than this share of the image are compared by a straight line.
pub(crate) const SHORTEST_SIDE: f64 = 1e-3;

impl BoxSize {
    /// Odd, continuous, and with a bounded gradient: a negative side is as far from a positive one as
    /// its size says, and is drawn back up.
    fn of(self, side: &Tensor) -> Result<Tensor> {
        if self == BoxSize::Linear {
            return Ok(side.shallow_clone());
        }
        let size = side.f_abs()?.f_clamp_min(SHORTEST_SIDE)?;
        Ok(match self {
            BoxSize::Root => side.f_div(&size.f_sqrt()?)?,
            _ => {
                let log = size.f_log()?.f_add_scalar(1.0 - SHORTEST_SIDE.ln())?;
                side.f_div(&size)?.f_mul(&log)?
            }
        })
    }
}

/// Squared error of predicted boxes, as in YOLOv1, YOLOv2 and YOLOv3.
///
/// ```text
/// l = λ s [(x - x')² + (y - y')² + (f(w) - f(w'))² + (f(h) - f(h'))²]
/// f = √ or log,   s = 1, or 2 - w' h' with `small_boxes`
/// ```
///
/// The primed numbers are the target's, all of them shares of the image. Sides below 1/1000 of the
/// image, of which f has too much slope, are taken for a straight line through 0, and f is odd: a
/// negative side costs more than one of 0 and is drawn back up, with a finite gradient everywhere.
///
/// | option | default, `v1()` | `v2()` | meaning |
/// |---|---|---|---|
/// | `size` | `Root` | `Log` | f, see [`BoxSize`] |
/// | `lambda_coord` | 5 | 1 | λ, at least 0 |
/// | `small_boxes` | false | true | weigh a box by 2 less its target's area |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: predicted boxes (.., 4) as cx, cy, w, h in shares of the image, one for each target
/// - target: the input's shape
/// - element weight: broadcastable to (..), one number per box
/// - loss: a scalar, or (..) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of boxes, or by the sum of their weights. Where there is no box it is
/// 0. The papers take the `Sum` over an image.
///
/// # Errors
///
/// A last dimension other than 4; shape, kind or device of the target or a weight; `lambda_coord` below
/// 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, detection::YoloBoxLoss};
///
/// let pred = Tensor::from_slice(&[0.5f64, 0.6, 0.25, 0.36]).view([1, 4]);
/// let target = Tensor::from_slice(&[0.5f64, 0.5, 0.16, 0.49]).view([1, 4]);
/// let v1 = YoloBoxLoss::v1().forward(&pred, &target).double_value(&[]);
/// assert!((v1 - 5.0 * (0.01 + 0.01 + 0.01)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Darknet compares centres in cells rather than shares of the image for YOLOv2 and YOLOv3: scale x
/// and y of both by the grid, or give the boxes in cells and leave `small_boxes` out. A square root as
/// written has an infinite gradient at 0 and is NaN below.
///
/// # Reference
///
/// Redmon et al. 2016, "You Only Look Once"; Redmon and Farhadi 2017, "YOLO9000", and 2018,
/// "YOLOv3". The factor `2 - w h` is in Darknet's code, not in the papers. See also
/// [`CIoULoss`](crate::CIoULoss), which took their place.
#[derive(Debug, Clone)]
pub struct YoloBoxLoss {
    size: BoxSize,
    lambda_coord: f64,
    small_boxes: bool,
    reduction: Reduction,
}

impl Default for YoloBoxLoss {
    fn default() -> Self {
        YoloBoxLoss::v1()
    }
}

impl YoloBoxLoss {
    /// YOLOv1's: square roots of the sides, λ 5.
    pub fn v1() -> Self {
        YoloBoxLoss {
            size: BoxSize::Root,
            lambda_coord: 5.0,
            small_boxes: false,
            reduction: Reduction::Mean,
        }
    }

    /// YOLOv2's and YOLOv3's: logarithms of the sides, and small boxes weighed up.
    pub fn v2() -> Self {
        YoloBoxLoss::v1().size(BoxSize::Log).lambda_coord(1.0).small_boxes(true)
    }

    /// What is compared of the sides; `Root` by default.
    pub fn size(mut self, size: BoxSize) -> Self {
        self.size = size;
        self
    }

    /// λ, at least 0; 5 by default.
    pub fn lambda_coord(mut self, lambda_coord: f64) -> Self {
        self.lambda_coord = lambda_coord;
        self
    }

    /// Whether a box is weighed by 2 less its target's area; false by default.
    pub fn small_boxes(mut self, small_boxes: bool) -> Self {
        self.small_boxes = small_boxes;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "YoloBoxLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "lambda_coord", self.lambda_coord)?;
        check_boxes(NAME, "input", input)?;
        check::same_shape(NAME, input, target)?;
        let errors =
            BoxErrors { size: self.size, factor: self.lambda_coord, small_boxes: self.small_boxes };
        errors.loss(self, [input, target], weight, self.reduction)
    }
}

impl Composed for YoloBoxLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "YoloBoxLoss";
        let input = check::accumulated(NAME, "input", input)?;
        let target = check::in_kind(NAME, "target", target, input.f_kind()?)?;
        let halves = |boxes: &Tensor| -> Result<[Tensor; 2]> {
            Ok([boxes.f_narrow(-1, 0, 2)?, self.size.of(&boxes.f_narrow(-1, 2, 2)?)?])
        };
        let ([centre, size], [of_centre, of_size]) = (halves(&input)?, halves(&target)?);
        let square = |a: &Tensor, b: &Tensor| a.f_mse_loss(b, Reduction::None);
        let both = square(&centre, &of_centre)?.f_add_(&square(&size, &of_size)?)?;
        let mut each = both.f_sum_dim_intlist(-1, false, None::<Kind>)?;
        if self.small_boxes {
            let area = target.f_select(-1, 2)?.f_mul(&target.f_select(-1, 3)?)?;
            each = each.f_mul(&area.f_rsub_scalar(2.0)?)?;
        }
        let weight = weights(NAME, [weight], &each)?;
        let loss = reduce(each, weight.as_ref(), MeanOver::Weights, self.reduction)?;
        Ok(loss.f_mul_scalar(self.lambda_coord)?)
    }
}

weighted_loss!(YoloBoxLoss);

named_loss! {
    YoloBoxLoss: "yolo_box", Boxes => Dense, "YOLOv1",
    [size, lambda_coord, small_boxes, reduction],
    presets {
        "yolo_box_v2" => Self::v2(), "YOLOv2 and YOLOv3";
    },
}
