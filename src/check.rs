//! Checks of shape, kind, device and range; every message says what was expected and what came.

use crate::{LossError, Reduction, Result};
use tch::{Device, Kind, TchError, Tensor};

pub(crate) fn is_float(kind: Kind) -> bool {
    matches!(kind, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double)
}

pub(crate) fn is_index(kind: Kind) -> bool {
    matches!(kind, Kind::Uint8 | Kind::Int8 | Kind::Int16 | Kind::Int | Kind::Int64)
}

/// A number that says something about all of a tensor, where to look at it makes no device wait.
pub(crate) fn on_host(
    tensor: &Tensor,
    of_all: impl Fn(&Tensor) -> Result<Tensor, TchError>,
) -> Result<Option<f64>> {
    let on_host = tensor.device() == Device::Cpu && tensor.numel() > 0;
    Ok(if on_host { Some(of_all(tensor)?.f_double_value(&[])?) } else { None })
}

/// A floating-point tensor in the kind that losses compute in: Half and BFloat16 become Float.
pub(crate) fn accumulated(
    loss: &'static str,
    what: &'static str,
    tensor: &Tensor,
) -> Result<Tensor> {
    match tensor.f_kind()? {
        Kind::Float | Kind::Double => Ok(tensor.shallow_clone()),
        Kind::Half | Kind::BFloat16 => Ok(tensor.f_to_kind(Kind::Float)?),
        got => Err(LossError::Kind { loss, what, expected: "floating-point", got }),
    }
}

/// A real-valued or integer tensor (a target, a weight) in the kind that the loss computes in.
pub(crate) fn in_kind(
    loss: &'static str,
    what: &'static str,
    tensor: &Tensor,
    kind: Kind,
) -> Result<Tensor> {
    match tensor.f_kind()? {
        got if got == kind => Ok(tensor.shallow_clone()),
        got if is_float(got) || is_index(got) || got == Kind::Bool => Ok(tensor.f_to_kind(kind)?),
        got => Err(LossError::Kind { loss, what, expected: "floating-point or integer", got }),
    }
}

/// Class indices as Int64, which every operation takes.
pub(crate) fn index(loss: &'static str, what: &'static str, tensor: &Tensor) -> Result<Tensor> {
    match tensor.f_kind()? {
        Kind::Int64 => Ok(tensor.shallow_clone()),
        got if is_index(got) => Ok(tensor.f_to_kind(Kind::Int64)?),
        got => Err(LossError::Kind { loss, what, expected: "integer", got }),
    }
}

pub(crate) fn shape(
    loss: &'static str,
    what: &'static str,
    tensor: &Tensor,
    expected: &[i64],
) -> Result<()> {
    let got = tensor.size();
    if got == expected {
        return Ok(());
    }
    Err(LossError::Shape { loss, what, expected: format!("{expected:?}"), got })
}

/// A shape that a rule describes rather than numbers: `ok` is the rule, `expected` its text.
pub(crate) fn shape_is(
    loss: &'static str,
    what: &'static str,
    tensor: &Tensor,
    ok: bool,
    expected: &str,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(LossError::Shape { loss, what, expected: expected.to_owned(), got: tensor.size() })
}

/// Whether `tensor` broadcasts to `shape` without enlarging it.
pub(crate) fn broadcastable(
    loss: &'static str,
    what: &'static str,
    tensor: &Tensor,
    shape: &[i64],
) -> Result<()> {
    let got = tensor.size();
    let fits = got.len() <= shape.len()
        && got.iter().rev().zip(shape.iter().rev()).all(|(&a, &b)| a == b || a == 1);
    if fits {
        return Ok(());
    }
    Err(LossError::Shape { loss, what, expected: format!("broadcastable to {shape:?}"), got })
}

pub(crate) fn device(
    loss: &'static str,
    what: &'static str,
    tensor: &Tensor,
    input: &Tensor,
) -> Result<()> {
    let (got, expected) = (tensor.device(), input.device());
    if got == expected {
        return Ok(());
    }
    Err(LossError::Device { loss, what, expected, got })
}

/// `ok` must be written as "inside the good range", so that NaN fails.
pub(crate) fn param(
    loss: &'static str,
    option: &'static str,
    value: f64,
    ok: bool,
    expected: &'static str,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(LossError::Param { loss, option, expected, got: value.to_string() })
}

pub(crate) fn at_least_zero(loss: &'static str, option: &'static str, value: f64) -> Result<()> {
    param(loss, option, value, value >= 0.0 && value.is_finite(), "at least 0 and finite")
}

pub(crate) fn above_zero(loss: &'static str, option: &'static str, value: f64) -> Result<()> {
    param(loss, option, value, value > 0.0 && value.is_finite(), "above 0 and finite")
}

pub(crate) fn fraction(loss: &'static str, option: &'static str, value: f64) -> Result<()> {
    param(loss, option, value, (0.0..=1.0).contains(&value), "in [0, 1]")
}

pub(crate) fn reduction(loss: &'static str, reduction: Reduction) -> Result<()> {
    match reduction {
        Reduction::None | Reduction::Mean | Reduction::Sum => Ok(()),
        Reduction::Other(code) => Err(LossError::Param {
            loss,
            option: "reduction",
            expected: "None, Mean or Sum",
            got: format!("Other({code})"),
        }),
    }
}

/// The checks that every loss of a pair of equal shape starts with.
pub(crate) fn same_shape(loss: &'static str, input: &Tensor, target: &Tensor) -> Result<()> {
    shape(loss, "target", target, &input.size())?;
    device(loss, "target", target, input)
}
