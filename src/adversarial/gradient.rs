//! Gradients of a critic with a graph, which the penalties share.

pub(super) use crate::regression::root;
use crate::{LossError, Result, check};
use tch::{Kind, Tensor};

/// Checks samples of shape (N, ..).
pub(super) fn check_samples(
    loss: &'static str,
    what: &'static str,
    samples: &Tensor,
) -> Result<()> {
    check::shape_is(loss, what, samples, !samples.size().is_empty(), "[N, ..]")?;
    let got = samples.f_kind()?;
    if check::is_float(got) {
        return Ok(());
    }
    Err(LossError::Kind { loss, what, expected: "floating-point", got })
}

/// The gradient of the critic's scores at `at`, which is made a leaf of its own, with a graph.
pub(super) fn gradient(
    loss: &'static str,
    critic: impl FnOnce(&Tensor) -> Result<Tensor>,
    at: &Tensor,
) -> Result<Tensor> {
    check_gradients_are_on(loss)?;
    let at = at.f_detach()?.f_set_requires_grad(true)?;
    let scores = critic(&at)?;
    // libtorch would crash here rather than return an error.
    if !scores.requires_grad() {
        return Err(LossError::Graph {
            loss,
            message: "the critic's output has no graph; it must not detach or turn gradients off",
        });
    }
    let kind = scores.f_kind()?;
    if !check::is_float(kind) {
        let (what, expected) = ("the critic's output", "floating-point");
        return Err(LossError::Kind { loss, what, expected, got: kind });
    }
    pulled(scores, &at)?.ok_or(LossError::Graph {
        loss,
        message: "the critic's output does not depend on its input",
    })
}

/// An error inside `no_grad`.
pub(super) fn check_gradients_are_on(loss: &'static str) -> Result<()> {
    let leaf = Tensor::from(0.0).f_set_requires_grad(true)?;
    if leaf.f_neg()?.requires_grad() {
        return Ok(());
    }
    Err(LossError::Graph { loss, message: "gradients are off; call it outside no_grad" })
}

/// The gradient of the sum of `output`, which has a graph, at `at`; none where it does not depend on it.
pub(super) fn pulled(output: Tensor, at: &Tensor) -> Result<Option<Tensor>> {
    let gradients = Tensor::f_run_backward(&[output], &[at], true, true)?;
    Ok(gradients.into_iter().next().filter(Tensor::defined))
}

/// The norm of each sample's gradient; where it is 0, its derivatives of every order are 0 too.
pub(super) fn norm(loss: &'static str, gradient: &Tensor) -> Result<Tensor> {
    let dims = gradient.size();
    let each: i64 = dims[1..].iter().product();
    let gradient = check::accumulated(loss, "gradient", gradient)?.f_reshape([dims[0], each])?;
    // The squares of a large gradient are summed in parts, so that they are never all there.
    let parts = if gradient.numel() < PARTS_PAY { 1 } else { 8 };
    let sums = gradient
        .f_chunk(parts, 1)?
        .into_iter()
        .map(|part| Ok(part.f_square()?.f_sum_dim_intlist(1, false, None::<Kind>)?));
    let sums = sums.collect::<Result<Vec<_>>>()?;
    root(&Tensor::f_stack(&sums, 1)?.f_sum_dim_intlist(1, false, None::<Kind>)?)
}

/// Elements of a gradient from which a second copy is worth more than a few calls.
const PARTS_PAY: usize = 1 << 18;
