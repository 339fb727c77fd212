//! Peak signal-to-noise ratio.

use crate::{
    MeanOver, Reduction, Result, check,
    error::unwrap,
    loss::{named_loss, weighted_loss},
    reduce::{ratio, reduce, weights},
};
use tch::{Kind, Tensor};

/// Peak signal-to-noise ratio of each image, in dB.
///
/// ```text
/// 10 log10(R² / mse),   mse over all but the first dimension
/// ```
///
/// R is `data_range`, the span of the values: 1 for images in [0, 1], 255 for bytes. Equal images
/// give infinity.
///
/// # Shapes
///
/// `input` and `target` (N, ..), of any real kind (bytes too), the same shape; the result (N), in
/// Float, or Double for Double. [`PsnrLoss`] averages it.
///
/// # Errors
///
/// Shape, kind or device of the target; `data_range` not above 0.
///
/// # Examples
///
/// ```
/// use tch::{Kind, Tensor};
/// use tch_losses::metrics::psnr;
///
/// let image = Tensor::from_slice(&[10u8, 20, 30, 40]).view([1, 4]);
/// let noisy = Tensor::from_slice(&[11u8, 19, 31, 39]).view([1, 4]);
/// assert!((psnr(&noisy, &image, 255.0).double_value(&[0]) - 20.0 * 255f64.log10()).abs() < 1e-4);
/// ```
///
/// # Differences
///
/// piq adds 1e-8 to the error, so that 80 dB is the most for images in [0, 1]; torchmetrics and
/// kornia take one error for the whole batch, which is another number.
///
/// # Reference
///
/// Follows scikit-image 0.26 `peak_signal_noise_ratio`.
pub fn f_psnr(input: &Tensor, target: &Tensor, data_range: f64) -> Result<Tensor> {
    const NAME: &str = "psnr";
    check::shape_is(NAME, "input", input, input.dim() > 0, "[N, ..]")?;
    check::same_shape(NAME, input, target)?;
    let ok = data_range > 0.0 && data_range.is_finite();
    check::param(NAME, "data_range", data_range, ok, "above 0 and finite")?;
    let kind = if input.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
    let input = check::in_kind(NAME, "input", input, kind)?;
    let target = check::in_kind(NAME, "target", target, kind)?;
    let mean = squares(&input, &target)?.f_mean_dim([1i64].as_slice(), false, None::<Kind>)?;
    Ok(mean.f_log10()?.f_mul_scalar(-10.0)?.f_add_scalar(20.0 * data_range.log10())?)
}

/// [`f_psnr`], or a panic with its error.
#[track_caller]
pub fn psnr(input: &Tensor, target: &Tensor, data_range: f64) -> Tensor {
    unwrap(f_psnr(input, target, data_range))
}

/// The squared error of each image, (N, ..) to (N, P).
fn squares(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    let size = input.size();
    let pixels: i64 = size[1..].iter().product();
    Ok(input.f_sub(target)?.f_square()?.f_reshape([size[0], pixels])?)
}

/// The negative peak signal-to-noise ratio as a loss: a squared error on a scale of decibels.
///
/// ```text
/// l = 10 log10(mse / R² + eps)    for each image
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `data_range` | 1 | R, the span of the values |
/// | `eps` | 1e-8 | keeps the loss above -80 dB and its gradient finite for equal images |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input, target: images (N, ..) of the same shape
/// - element weight: broadcastable to the input; mse is then `Σ w (x-y)² / Σ w` of the image
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of images in which something counts; without any it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or the weight; `data_range` or `eps` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, metrics::PsnrLoss};
///
/// let image = Tensor::from_slice(&[0.0f64, 0.5, 1.0]).view([1, 3]);
/// let loss = PsnrLoss::default().forward(&(&image + 0.1), &image).double_value(&[]);
/// assert!((loss + 20.0).abs() < 1e-4);
/// assert!((PsnrLoss::default().forward(&image, &image).double_value(&[]) + 80.0).abs() < 1e-9);
/// ```
///
/// # Differences
///
/// kornia's has no `eps` and one error for the whole batch: its gradient for equal images is NaN.
///
/// # Reference
///
/// Follows piq 0.8 `psnr`, negated. See also [`f_psnr`].
#[derive(Debug, Clone)]
pub struct PsnrLoss {
    data_range: f64,
    eps: f64,
    reduction: Reduction,
}

impl Default for PsnrLoss {
    fn default() -> Self {
        PsnrLoss { data_range: 1.0, eps: 1e-8, reduction: Reduction::Mean }
    }
}

impl PsnrLoss {
    /// R, the span of the values; 1 by default.
    pub fn data_range(mut self, data_range: f64) -> Self {
        self.data_range = data_range;
        self
    }

    /// What is added to the error over R²; 1e-8 by default.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "PsnrLoss";
        check::reduction(NAME, self.reduction)?;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        check::param(NAME, "data_range", self.data_range, positive(self.data_range), "above 0")?;
        check::param(NAME, "eps", self.eps, positive(self.eps), "above 0")?;
        check::shape_is(NAME, "input", input, input.dim() > 0, "[N, ..]")?;
        check::same_shape(NAME, input, target)?;
        let input = check::accumulated(NAME, "input", input)?;
        let target = check::in_kind(NAME, "target", target, input.f_kind()?)?;
        let squares = squares(&input, &target)?;
        let sum = |t: &Tensor| t.f_sum_dim_intlist(1, false, None::<Kind>);
        let (mean, counts) = match weights(NAME, [weight], &input)? {
            Some(weight) => {
                let weight = weight.f_expand_as(&input)?.f_reshape(squares.size())?;
                let total = sum(&weight)?;
                let mean = ratio(&sum(&squares.f_mul(&weight)?)?, &total)?;
                (mean, Some(total.f_gt(0.0)?.f_to_kind(total.f_kind()?)?))
            }
            None => (sum(&squares)?.f_div_scalar(squares.size()[1].max(1))?, None),
        };
        let relative = mean.f_div_scalar(self.data_range.powi(2))?.f_add_scalar(self.eps)?;
        let loss = relative.f_log10()?.f_mul_scalar(10.0)?;
        reduce(loss, counts.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(PsnrLoss);

named_loss! {
    PsnrLoss: "psnr", Images => Dense, "piq `psnr`, negated", [data_range, eps, reduction],
    aliases ["negative_psnr"],
}
