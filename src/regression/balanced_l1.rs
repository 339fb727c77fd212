//! Balanced L1.

use super::{elementwise, pair};
use crate::{
    Reduction, Result, check,
    fused::{BalancedL1, Composed, of_error},
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Balanced L1 loss (Libra R-CNN): smooth L1 with more gradient for small errors.
///
/// ```text
/// l = α β/b (b d/β + 1) ln(b d/β + 1) - α d     where d < β,   d = |x - t|
///     γ d + γ β/b - α β                         elsewhere,     b = exp(γ/α) - 1
/// ```
///
/// The gradient is `α ln(1 + b d/β)` up to β, where it reaches γ and stays.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `alpha` | 0.5 | α, above 0: the smaller, the more gradient small errors get |
/// | `gamma` | 1.5 | γ, above 0, at most 80 α: the gradient of large errors |
/// | `beta` | 1 | β, above 0: where an error is large |
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight; `alpha`, `beta` or `gamma` not above 0; a `gamma`
/// of more than 80 `alpha`.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BalancedL1Loss, Loss};
///
/// let (input, target) = (Tensor::from_slice(&[0.5f64, 3.0]), Tensor::from_slice(&[0.0f64, 0.0]));
/// let loss = BalancedL1Loss::default().forward(&input, &target).double_value(&[]);
/// let b = 3f64.exp() - 1.0;
/// let small = 0.5 / b * (0.5 * b + 1.0) * (0.5 * b + 1.0).ln() - 0.25;
/// let large = 1.5 * 3.0 + 1.5 / b - 0.5;
/// assert!((loss - (small + large) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// The paper has β = 1. MMDetection's formula for another β has a gradient of α (1/β - 1) at no error
/// and a jump at β; here the loss is β times that of d/β, as for smooth L1.
///
/// # Reference
///
/// Pang et al. 2019, "Libra R-CNN: Towards Balanced Learning for Object Detection". See also
/// [`SmoothL1Loss`](crate::SmoothL1Loss).
#[derive(Debug, Clone)]
pub struct BalancedL1Loss {
    alpha: f64,
    gamma: f64,
    beta: f64,
    reduction: Reduction,
}

impl Default for BalancedL1Loss {
    fn default() -> Self {
        BalancedL1Loss { alpha: 0.5, gamma: 1.5, beta: 1.0, reduction: Reduction::Mean }
    }
}

impl BalancedL1Loss {
    /// α, above 0; 0.5 by default.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// γ, above 0 and at most 80 α; 1.5 by default.
    pub fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// β, above 0; 1 by default.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn b(&self) -> f64 {
        (self.gamma / self.alpha).exp_m1()
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "BalancedL1Loss";
        let Self { alpha, gamma, beta, reduction } = *self;
        check::reduction(NAME, reduction)?;
        check::above_zero(NAME, "alpha", alpha)?;
        check::above_zero(NAME, "beta", beta)?;
        check::param(
            NAME,
            "gamma",
            gamma,
            gamma > 0.0 && gamma <= 80.0 * alpha,
            "in (0, 80 alpha]",
        )?;
        let b = self.b();
        of_error(BalancedL1 { alpha, beta, gamma, b }, self, [input, target], weight, reduction)
    }
}

impl Composed for BalancedL1Loss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "BalancedL1Loss";
        let Self { alpha, gamma, beta, reduction } = *self;
        let b = self.b();
        let (input, target) = pair(NAME, input, target)?;

        // The curve of min(d, β), then a line: no branch has to be chosen, nor its gradient masked.
        let error = input.f_sub(&target)?.f_abs()?;
        let excess = error.f_sub_scalar(beta)?.f_relu()?;
        let inner = error.f_sub(&excess)?;
        drop(error);
        let argument = inner.f_mul_scalar(b / beta)?.f_add_scalar_(1.0)?;
        let curve = argument.f_log()?.f_mul(&argument)?;
        drop(argument);
        let terms = [(curve, alpha * beta / b), (inner, -alpha), (excess, gamma)];
        let [curve, inner, excess] = terms.map(|(each, factor)| {
            Ok::<_, crate::LossError>(
                elementwise(NAME, each, weight, reduction)?.f_mul_scalar(factor)?,
            )
        });
        Ok(curve?.f_add(&inner?)?.f_add(&excess?)?)
    }
}

weighted_loss!(BalancedL1Loss);

named_loss! {
    BalancedL1Loss: "balanced_l1", Values => Dense, "Pang et al. 2019",
    [alpha, gamma, beta, reduction],
}
