//! Terms that the objectives of whole models share.

use super::gan_loss::{cost_of_fake, cost_of_real};
use crate::{Reduction, Result, check};
use tch::Tensor;

/// The mean absolute difference of two batches of the same shape; 0 of nothing.
pub(super) fn l1(
    loss: &'static str,
    (what, made): (&'static str, &Tensor),
    (of_what, given): (&'static str, &Tensor),
) -> Result<Tensor> {
    check::shape(loss, what, made, &given.size())?;
    check::device(loss, what, made, given)?;
    let made = check::accumulated(loss, what, made)?;
    let given = check::in_kind(loss, of_what, given, made.f_kind()?)?;
    let reduction = if made.numel() == 0 { Reduction::Sum } else { Reduction::Mean };
    Ok(made.f_l1_loss(&given, reduction)?)
}

/// An adversarial term, which must be one number to be part of a sum.
pub(super) fn scalar(loss: &'static str, term: Tensor) -> Result<Tensor> {
    check::shape(loss, "the adversarial term", &term, &[])?;
    Ok(term)
}

/// `-mean log σ(logit)`.
pub(super) fn real_term(loss: &'static str, what: &'static str, logits: &Tensor) -> Result<Tensor> {
    cost_of_real(&check::accumulated(loss, what, logits)?, Reduction::Mean)
}

/// `-mean log(1-σ(logit))`.
pub(super) fn fake_term(loss: &'static str, what: &'static str, logits: &Tensor) -> Result<Tensor> {
    cost_of_fake(&check::accumulated(loss, what, logits)?, Reduction::Mean)
}

/// A discriminator's objective where an autoencoder reconstructs and generates.
pub(super) fn discriminator(
    loss: &'static str,
    real: &Tensor,
    reconstructed: &Tensor,
    generated: &Tensor,
) -> Result<Tensor> {
    let real = real_term(loss, "real", real)?;
    let reconstructed = fake_term(loss, "reconstructed", reconstructed)?;
    Ok(real.f_add(&reconstructed)?.f_add(&fake_term(loss, "generated", generated)?)?)
}
