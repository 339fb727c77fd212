//! Negative log-likelihood of real values under a normal distribution.

use super::elementwise;
use crate::{
    LossError, Reduction, Result, check,
    error::unwrap,
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

const NAME: &str = "GaussianNllLoss";

/// Negative log-likelihood of values under a normal distribution whose variance is predicted too.
///
/// ```text
/// l = ½ (log v + (μ - t)² / v),   v = max(variance, ε)
/// ```
///
/// `full` adds ½ log 2π. The variance comes as half of the input's channels, as its logarithm by
/// default, or apart by [`forward_with_variance`](GaussianNllLoss::forward_with_variance). A variance
/// below ε keeps the gradient that it has at ε, so that it can grow again.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `log_variance` | true | whether the second half of the input is log v; false: v |
/// | `full` | false | whether to add ½ log 2π |
/// | `eps` | 1e-6 | ε, above 0: the least variance |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: (N, 2C, d1, ..), C channels of μ before C of log v or v
/// - target: (N, C, d1, ..); floating-point, integer or bool
/// - element weight: broadcastable to the target
/// - loss: a scalar, or the target's shape without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
/// - with the variance apart: μ and target of the same shape, any; the variance of that shape, or
///   with one dimension of 1, or without the last dimension, for a variance that elements share
///
/// # Reduction
///
/// `Mean` divides by the number of target elements, or by the sum of their weights; where nothing
/// counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target, the variance or a weight; an odd number of channels; `eps` not
/// above 0. That no variance is negative is not checked, which would wait for the device: it counts
/// as ε.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GaussianNllLoss, Loss};
///
/// let (mean, target) = (Tensor::from_slice(&[1.0f64]), Tensor::from_slice(&[3.0f64]));
/// let variance = Tensor::from_slice(&[2.0f64]);
/// let expected = 0.5 * (2f64.ln() + 4.0 / 2.0);
/// let apart = GaussianNllLoss::default().forward_with_variance(&mean, &target, &variance);
/// assert!((apart.double_value(&[]) - expected).abs() < 1e-12);
/// // A head of two channels: mean and log variance.
/// let head = Tensor::cat(&[mean, variance.log()], 0).view([1, 2]);
/// let together = GaussianNllLoss::default().forward(&head, &target.view([1, 1]));
/// assert!((together.double_value(&[]) - expected).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch takes the variance apart only, and reads it back to the host to refuse negative ones.
/// Where |μ - t| / v is beyond 65504 a `Half` gradient overflows: give such heads `Float` outputs.
///
/// # Reference
///
/// Nix and Weigend 1994, "Estimating the mean and variance of the target probability distribution".
/// Follows PyTorch 2.13 `torch.nn.GaussianNLLLoss`. See also
/// [`PoissonNllLoss`](crate::PoissonNllLoss).
#[derive(Debug, Clone)]
pub struct GaussianNllLoss {
    log_variance: bool,
    full: bool,
    eps: f64,
    reduction: Reduction,
}

impl Default for GaussianNllLoss {
    fn default() -> Self {
        GaussianNllLoss { log_variance: true, full: false, eps: 1e-6, reduction: Reduction::Mean }
    }
}

impl GaussianNllLoss {
    /// Whether the second half of the input is the logarithm of the variance; true by default.
    pub fn log_variance(mut self, log_variance: bool) -> Self {
        self.log_variance = log_variance;
        self
    }

    /// Whether to add ½ log 2π; false by default.
    pub fn full(mut self, full: bool) -> Self {
        self.full = full;
        self
    }

    /// ε, the least variance, above 0; 1e-6 by default.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The loss of a mean and a variance of their own, as in PyTorch.
    pub fn f_forward_with_variance(
        &self,
        input: &Tensor,
        target: &Tensor,
        variance: &Tensor,
    ) -> Result<Tensor> {
        check::same_shape(NAME, input, target)?;
        check::device(NAME, "variance", variance, input)?;
        let (size, got) = (input.size(), variance.size());
        let shared = size.len() == got.len()
            && size.iter().zip(&got).filter(|(a, b)| a != b).count() <= 1
            && check::broadcastable(NAME, "variance", variance, &size).is_ok();
        let short = size.split_last().is_some_and(|(_, rest)| rest == got);
        let expected = format!("{size:?}, that with one dimension of 1, or without the last");
        check::shape_is(NAME, "variance", variance, shared || short, &expected)?;
        let mean = check::accumulated(NAME, "input", input)?;
        let variance = check::in_kind(NAME, "variance", variance, mean.f_kind()?)?;
        let variance = if shared { variance } else { variance.f_unsqueeze(-1)? };
        self.of(&mean, target, &variance, false, None)
    }

    /// [`GaussianNllLoss::f_forward_with_variance`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_variance(
        &self,
        input: &Tensor,
        target: &Tensor,
        variance: &Tensor,
    ) -> Tensor {
        unwrap(self.f_forward_with_variance(input, target, variance))
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let mut size = input.size();
        let even = size.get(1).is_some_and(|channels| channels % 2 == 0);
        check::shape_is(NAME, "input", input, even, "[N, 2C, ..]")?;
        size[1] /= 2;
        check::shape(NAME, "target", target, &size)?;
        check::device(NAME, "target", target, input)?;
        let input = check::accumulated(NAME, "input", input)?;
        let [mean, spread] = [0, size[1]].map(|start| input.f_narrow(1, start, size[1]));
        self.of(&mean?, target, &spread?, self.log_variance, weight)
    }

    fn of(
        &self,
        mean: &Tensor,
        target: &Tensor,
        spread: &Tensor,
        log: bool,
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "eps", self.eps)?;
        let target = check::in_kind(NAME, "target", target, mean.f_kind()?)?;
        let square = mean.f_mse_loss(&target, Reduction::None)?;
        let mut each = if log {
            let log_variance = floored(spread, self.eps.ln())?;
            let precision = log_variance.f_neg()?.f_exp()?;
            square.f_mul(&precision)?.f_add_(&log_variance)?
        } else {
            let variance = floored(spread, self.eps)?;
            square.f_div(&variance)?.f_add_(&variance.f_log()?)?
        };
        drop(square);
        if self.full {
            each = each.f_add_scalar_(std::f64::consts::TAU.ln())?;
        }
        Ok(elementwise(NAME, each, weight, self.reduction)?.f_mul_scalar(0.5)?)
    }
}

/// At least `least`, with the gradient of what it was.
fn floored(spread: &Tensor, least: f64) -> Result<Tensor> {
    let mut floored = spread.f_add_scalar(0.0)?; // a copy
    tch::no_grad(|| floored.f_clamp_min_(least)).map_err(LossError::from)
}

weighted_loss!(GaussianNllLoss);

named_loss! {
    GaussianNllLoss: "gaussian_nll", Values => Dense, "torch.nn.GaussianNLLLoss",
    [log_variance, full, eps, reduction],
}
