//! Softmax with a temperature.

use crate::{Result, check, error::unwrap};
use tch::{Kind, Tensor};

fn tempered(name: &'static str, logits: &Tensor, temperature: f64, dim: i64) -> Result<Tensor> {
    let ok = temperature > 0.0 && temperature.is_finite();
    check::param(name, "temperature", temperature, ok, "above 0 and finite")?;
    let dims = logits.dim() as i64;
    check::shape_is(
        name,
        "logits",
        logits,
        (-dims..dims).contains(&dim),
        &format!("with dim {dim}"),
    )?;
    let logits = check::accumulated(name, "logits", logits)?;
    Ok(logits.f_div_scalar(temperature)?)
}

/// Probabilities of logits, softened by a temperature above 1, sharpened by one below.
///
/// ```text
/// p = exp(x/T) / Σ exp(x/T) over dimension `dim`
/// ```
///
/// `Half` and `BFloat16` are computed and returned in `Float`.
///
/// # Errors
///
/// `temperature` that is not above 0; no dimension `dim`; logits that are not floating-point.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::classification::softmax_with_temperature;
///
/// let logits = Tensor::from_slice(&[2.0f64 * 3f64.ln(), 0.0]);
/// let p = Vec::<f64>::try_from(softmax_with_temperature(&logits, 2.0, 0)).unwrap();
/// assert!((p[0] - 0.75).abs() < 1e-12 && (p[1] - 0.25).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network". See also
/// [`KlDivLoss`](crate::KlDivLoss), where the gradient of a distillation is scaled by T².
pub fn f_softmax_with_temperature(logits: &Tensor, temperature: f64, dim: i64) -> Result<Tensor> {
    let logits = tempered("softmax_with_temperature", logits, temperature, dim)?;
    Ok(logits.f_softmax(dim, None::<Kind>)?)
}

/// [`f_softmax_with_temperature`], or a panic with its error.
#[track_caller]
pub fn softmax_with_temperature(logits: &Tensor, temperature: f64, dim: i64) -> Tensor {
    unwrap(f_softmax_with_temperature(logits, temperature, dim))
}

/// The logarithm of [`f_softmax_with_temperature`], exact where a probability is rounded to 0.
///
/// ```text
/// log p = x/T - log Σ exp(x/T) over dimension `dim`
/// ```
///
/// # Errors
///
/// As [`f_softmax_with_temperature`].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::classification::log_softmax_with_temperature;
///
/// let logits = Tensor::from_slice(&[0.0f64, -2e4]);
/// let log_p = Vec::<f64>::try_from(log_softmax_with_temperature(&logits, 4.0, -1)).unwrap();
/// assert_eq!(log_p, [0.0, -5e3]);
/// ```
pub fn f_log_softmax_with_temperature(
    logits: &Tensor,
    temperature: f64,
    dim: i64,
) -> Result<Tensor> {
    let logits = tempered("log_softmax_with_temperature", logits, temperature, dim)?;
    Ok(logits.f_log_softmax(dim, None::<Kind>)?)
}

/// [`f_log_softmax_with_temperature`], or a panic with its error.
#[track_caller]
pub fn log_softmax_with_temperature(logits: &Tensor, temperature: f64, dim: i64) -> Tensor {
    unwrap(f_log_softmax_with_temperature(logits, temperature, dim))
}
