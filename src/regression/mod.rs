//! Regression: losses of real values, and norms.

mod balanced_l1;
mod charbonnier;
mod cosine;
mod gaussian_nll;
mod huber;
mod l1;
mod log_cosh;
mod mse;
mod norm;
mod poisson_nll;
mod quantile;
mod relative;

use crate::{
    MeanOver, Reduction, Result, check,
    loss::Entry,
    reduce::{reduce, weights},
};
use tch::{Kind, TchError, Tensor};

pub use balanced_l1::BalancedL1Loss;
pub use charbonnier::CharbonnierLoss;
pub use cosine::{CosineEmbeddingLoss, CosineForm, CosineSimilarityLoss};
pub use gaussian_nll::GaussianNllLoss;
pub use huber::{HuberLoss, SmoothL1Loss};
pub use l1::L1Loss;
pub use log_cosh::LogCoshLoss;
pub use mse::{MseLoss, RmseLoss};
pub use norm::{f_l0_norm, f_l1_norm, f_l2_norm, f_lp_norm, l0_norm, l1_norm, l2_norm, lp_norm};
pub use poisson_nll::PoissonNllLoss;
pub use quantile::QuantileLoss;
pub use relative::{MapeLoss, MsleLoss};

pub(crate) use norm::root;

pub(crate) fn entries() -> Vec<Entry> {
    [
        L1Loss::entries(),
        MseLoss::entries(),
        RmseLoss::entries(),
        HuberLoss::entries(),
        SmoothL1Loss::entries(),
        LogCoshLoss::entries(),
        CharbonnierLoss::entries(),
        BalancedL1Loss::entries(),
        QuantileLoss::entries(),
        MapeLoss::entries(),
        MsleLoss::entries(),
        PoissonNllLoss::entries(),
        GaussianNllLoss::entries(),
        CosineSimilarityLoss::entries(),
        CosineEmbeddingLoss::entries(),
    ]
    .concat()
}

/// An input and its target, checked and in the kind that is computed in.
fn pair(loss: &'static str, input: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor)> {
    check::same_shape(loss, input, target)?;
    let input = check::accumulated(loss, "input", input)?;
    let target = check::in_kind(loss, "target", target, input.f_kind()?)?;
    Ok((input, target))
}

/// Reduces the loss of each element.
fn elementwise(
    loss: &'static str,
    each: Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    let weight = weights(loss, [weight], &each)?;
    reduce(each, weight.as_ref(), MeanOver::Weights, reduction)
}

/// A loss of libtorch's own, which reduces it in one pass where nothing is weighted.
fn native(
    loss: &'static str,
    input: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
    own: impl Fn(Reduction) -> Result<Tensor, TchError>,
) -> Result<Tensor> {
    if weight.is_none() && input.numel() > 0 {
        return Ok(own(reduction)?);
    }
    elementwise(loss, own(Reduction::None)?, weight, reduction)
}

/// How far up an exponent may go: beyond it the exponential, or its gradient in `kind`, which is the
/// input's own, would overflow in a sum.
pub(crate) fn largest_exponent(kind: Kind) -> f64 {
    match kind {
        Kind::Double => 600.0,
        Kind::Half => 11.0,
        _ => 70.0,
    }
}
