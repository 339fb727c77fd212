//! Errors relative to the size of the target: MAPE and MSLE.

use super::{elementwise, native, pair};
use crate::{
    Reduction, Result, check,
    loss::{named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

/// Mean absolute percentage error (MAPE).
///
/// ```text
/// l = 100 |x - t| / max(|t|, ε)
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `eps` | 1e-7 | ε, above 0; at least 1/512 for a `Half` input, which could not hold the gradient 100/ε |
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight; `eps` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, MapeLoss};
///
/// let (input, target) = (Tensor::from_slice(&[110.0f64, 3.0]), Tensor::from_slice(&[100.0f64, 4.0]));
/// let loss = MapeLoss::default().forward(&input, &target);
/// assert_eq!(loss.double_value(&[]), (10.0 + 25.0) / 2.0);
/// ```
///
/// # Differences
///
/// torchmetrics and scikit-learn give a fraction, a hundredth of this.
///
/// # Reference
///
/// Follows Keras 3.15 `MeanAbsolutePercentageError`. See also [`MsleLoss`].
#[derive(Debug, Clone)]
pub struct MapeLoss {
    eps: f64,
    reduction: Reduction,
}

impl Default for MapeLoss {
    fn default() -> Self {
        MapeLoss { eps: 1e-7, reduction: Reduction::Mean }
    }
}

impl MapeLoss {
    /// ε, above 0; 1e-7 by default.
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
        const NAME: &str = "MapeLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "eps", self.eps)?;
        let least = if input.f_kind()? == Kind::Half { 1.0 / 512.0 } else { 0.0 };
        let (input, target) = pair(NAME, input, target)?;
        let size = target.f_abs()?.f_clamp_min(self.eps.max(least))?;
        let each = input.f_sub(&target)?.f_abs()?.f_div(&size)?;
        Ok(elementwise(NAME, each, weight, self.reduction)?.f_mul_scalar(100.0)?)
    }
}

weighted_loss!(MapeLoss);

named_loss! {
    MapeLoss: "mape", Values => Dense, "Keras `MeanAbsolutePercentageError`", [eps, reduction],
    aliases ["mean_absolute_percentage_error"],
}

/// Mean squared logarithmic error (MSLE), of values from 0 up.
///
/// ```text
/// l = (ln(1 + max(x, ε)) - ln(1 + max(t, ε)))²
/// ```
///
/// A value below ε counts as ε and has no gradient.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `eps` | 1e-7 | ε, above 0 |
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight; `eps` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, MsleLoss};
///
/// let (input, target) = (Tensor::from_slice(&[3.0f64, 0.0]), Tensor::from_slice(&[1.0f64, 0.0]));
/// let loss = MsleLoss::default().forward(&input, &target);
/// assert!((loss.double_value(&[]) - 2f64.ln().powi(2) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Keras computes in `Float` whatever the kind of the input; here `Double` stays `Double`.
///
/// # Reference
///
/// Follows Keras 3.15 `MeanSquaredLogarithmicError`. See also [`MapeLoss`].
#[derive(Debug, Clone)]
pub struct MsleLoss {
    eps: f64,
    reduction: Reduction,
}

impl Default for MsleLoss {
    fn default() -> Self {
        MsleLoss { eps: 1e-7, reduction: Reduction::Mean }
    }
}

impl MsleLoss {
    /// ε, above 0; 1e-7 by default.
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
        const NAME: &str = "MsleLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "eps", self.eps)?;
        let (input, target) = pair(NAME, input, target)?;
        let log = |values: &Tensor| values.f_threshold(self.eps, self.eps)?.f_log1p();
        let (input, target) = (log(&input)?, log(&target)?);
        native(NAME, &input, weight, self.reduction, |reduction| {
            input.f_mse_loss(&target, reduction)
        })
    }
}

weighted_loss!(MsleLoss);

named_loss! {
    MsleLoss: "msle", Values => Dense, "Keras `MeanSquaredLogarithmicError`", [eps, reduction],
    aliases ["mean_squared_logarithmic_error"],
}
