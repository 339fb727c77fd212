//! Mean squared error and its root.

use super::{native, pair, root};
use crate::{
    MeanOver, Reduction, Result, check,
    fused::{Composed, Squared, of_error},
    loss::{named_loss, weighted_loss},
    reduce::{ratio, reduce, weights},
};
use tch::{Kind, Tensor};

/// Mean squared error (MSE, L2).
///
/// ```text
/// l = (x - t)²
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, MseLoss};
///
/// let (input, target) = (Tensor::from_slice(&[1.0f64, -2.0]), Tensor::from_slice(&[0.0, 2.0]));
/// assert_eq!(MseLoss::default().forward(&input, &target).double_value(&[]), 8.5);
/// let weight = Tensor::from_slice(&[3.0f64, 1.0]);
/// let weighted = MseLoss::default().forward_weighted(&input, &target, &weight);
/// assert_eq!(weighted.double_value(&[]), (3.0 + 16.0) / 4.0);
/// ```
///
/// # Differences
///
/// PyTorch gives NaN for an empty batch.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.MSELoss` and Keras 3.15 `MeanSquaredError`. See also
/// [`RmseLoss`].
#[derive(Debug, Clone)]
pub struct MseLoss {
    reduction: Reduction,
}

impl Default for MseLoss {
    fn default() -> Self {
        MseLoss { reduction: Reduction::Mean }
    }
}

impl MseLoss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "MseLoss";
        check::reduction(NAME, self.reduction)?;
        SquaredErrors { name: NAME, reduction: self.reduction }.compute(input, target, weight)
    }
}

weighted_loss!(MseLoss);

named_loss! {
    MseLoss: "mse", Values => Dense, "torch.nn.MSELoss", [reduction],
    aliases ["l2", "mean_squared_error"],
}

/// Squared errors, reduced, of the loss that is called `name`.
#[derive(Clone, Copy)]
struct SquaredErrors {
    name: &'static str,
    reduction: Reduction,
}

impl SquaredErrors {
    fn compute(self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        of_error(Squared {}, &self, [input, target], weight, self.reduction)
    }
}

impl Composed for SquaredErrors {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let (input, target) = pair(self.name, input, target)?;
        native(self.name, &input, weight, self.reduction, |reduction| {
            input.f_mse_loss(&target, reduction)
        })
    }
}

/// Root mean squared error (RMSE).
///
/// ```text
/// l = √(Σ w (x - t)² / Σ w)
/// ```
///
/// The sums are over the whole batch, or with `per_sample` over each sample. Where every error is 0
/// the gradient is 0.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `per_sample` | false | a root for each sample of the first dimension |
/// | `reduction` | `Mean` | of the roots; the root of a whole batch is one, so that all are the same |
///
/// # Shapes
///
/// - input: real values of any shape; (N, ..) with `per_sample`
/// - target: the input's shape; floating-point, integer or bool
/// - element weight: w, broadcastable to the input
/// - loss: a scalar, or (N) with `per_sample` and without reduction; `Half` and `BFloat16` are
///   computed and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of samples in which something counts; where nothing does it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, RmseLoss};
///
/// let input = Tensor::from_slice(&[3.0f64, 3.0, 4.0, 4.0]).view([2, 2]);
/// let target = input.zeros_like();
/// assert_eq!(RmseLoss::default().forward(&input, &target).double_value(&[]), 12.5f64.sqrt());
/// let each = RmseLoss::default().per_sample(true).forward(&input, &target);
/// assert_eq!(each.double_value(&[]), 3.5);
/// ```
///
/// # Differences
///
/// `torch.sqrt(F.mse_loss(x, t))` has a NaN gradient where every error is 0; the `eps` that is
/// added against it is not needed here.
///
/// # Reference
///
/// Follows the square root of PyTorch 2.13 `torch.nn.MSELoss`.
#[derive(Debug, Clone)]
pub struct RmseLoss {
    per_sample: bool,
    reduction: Reduction,
}

impl Default for RmseLoss {
    fn default() -> Self {
        RmseLoss { per_sample: false, reduction: Reduction::Mean }
    }
}

impl RmseLoss {
    /// Whether each sample has a root of its own; false by default.
    pub fn per_sample(mut self, per_sample: bool) -> Self {
        self.per_sample = per_sample;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "RmseLoss";
        check::reduction(NAME, self.reduction)?;
        if !self.per_sample {
            let mean = SquaredErrors { name: NAME, reduction: Reduction::Mean };
            return root(&mean.compute(input, target, weight)?);
        }
        let (input, target) = pair(NAME, input, target)?;
        check::shape_is(NAME, "input", &input, input.dim() > 0, "[N, ..]")?;
        let samples = input.size()[0];
        let each: i64 = input.size()[1..].iter().product();
        let sum = |t: Tensor| -> Result<Tensor> {
            Ok(t.f_reshape([samples, each])?.f_sum_dim_intlist(1, false, None::<Kind>)?)
        };
        let squares = input.f_mse_loss(&target, Reduction::None)?;
        let (mean, counts) = match weights(NAME, [weight], &squares)? {
            Some(weight) => {
                let total = sum(weight.f_expand_as(&squares)?)?;
                let mean = ratio(&sum(squares.f_mul(&weight)?)?, &total)?;
                (mean, Some(total.f_gt(0.0)?.f_to_kind(total.f_kind()?)?))
            }
            None => (sum(squares)?.f_div_scalar(each.max(1))?, None),
        };
        reduce(root(&mean)?, counts.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(RmseLoss);

named_loss! {
    RmseLoss: "rmse", Values => Dense, "the root of torch.nn.MSELoss", [per_sample, reduction],
    aliases ["root_mean_squared_error"],
}
