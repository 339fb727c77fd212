//! Losses made of losses, and of closures.

use super::Loss;
use crate::{LossError, Result, error::unwrap};
use std::fmt::{self, Debug};
use tch::Tensor;

/// A closure as a loss.
///
/// # Examples
///
/// A Huber loss with a threshold of its own:
///
/// ```
/// use tch::{Reduction, Tensor};
/// use tch_losses::{FnLoss, Loss};
///
/// let delta = 0.5;
/// let huber = FnLoss::new("huber", move |input: &Tensor, target: &Tensor| {
///     Ok(input.f_huber_loss(target, Reduction::Mean, delta)?)
/// });
/// let loss = huber.forward(&Tensor::from(2.0f64), &Tensor::from(0.0f64));
/// assert_eq!(loss.double_value(&[]), 0.5 * (2.0 - 0.25));
/// ```
pub struct FnLoss<F> {
    name: String,
    function: F,
}

impl<F: Fn(&Tensor, &Tensor) -> Result<Tensor>> FnLoss<F> {
    /// A loss that calls `function(input, target)`; `name` is what errors and `Debug` show.
    pub fn new(name: impl Into<String>, function: F) -> Self {
        FnLoss { name: name.into(), function }
    }
}

impl<F> Debug for FnLoss<F> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("FnLoss").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F: Fn(&Tensor, &Tensor) -> Result<Tensor>> Loss for FnLoss<F> {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        (self.function)(input, target)
            .map_err(|source| LossError::Part { part: self.name.clone(), source: Box::new(source) })
    }
}

/// A weighted sum of losses of the same input and target, with named parts.
///
/// ```text
/// total = Σ coefficient_i * loss_i(input, target)
/// ```
///
/// # Shapes
///
/// Those that the parts take; their reduced losses must broadcast to one another.
///
/// # Errors
///
/// The error of the first part that fails, behind the part's name; a sum of no parts.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BceWithLogitsLoss, FocalLoss, Loss, WeightedSum};
///
/// let loss = WeightedSum::new()
///     .add("bce", 1.0, BceWithLogitsLoss::default())
///     .add("focal", 0.5, FocalLoss::torchvision());
/// let (logits, target) = (Tensor::from(0.0f64), Tensor::from(1.0f64));
/// let parts = loss.forward_parts(&logits, &target);
/// let ln2 = std::f64::consts::LN_2;
/// assert!((parts.total.double_value(&[]) - (ln2 + 0.5 * 0.0625 * ln2)).abs() < 1e-12);
/// assert_eq!(parts.named[1].0, "focal");
/// ```
#[derive(Debug, Default)]
pub struct WeightedSum {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    coefficient: f64,
    loss: Box<dyn Loss>,
}

/// A sum of losses and its parts, as [`WeightedSum::f_forward_parts`] returns it.
#[derive(Debug)]
pub struct LossParts {
    /// The weighted sum, to call `backward` on.
    pub total: Tensor,
    /// Each part's loss before its coefficient, detached, to show.
    pub named: Vec<(String, Tensor)>,
}

impl LossParts {
    /// The sum of `coefficient * value`.
    pub(crate) fn of(loss: &'static str, terms: Vec<(&str, f64, Tensor)>) -> Result<Self> {
        let mut total: Option<Tensor> = None;
        let mut named = Vec::with_capacity(terms.len());
        for (name, coefficient, value) in terms {
            named.push((name.to_owned(), value.f_detach()?));
            let term = value.f_mul_scalar(coefficient)?;
            total = Some(match total {
                Some(total) => total.f_add(&term)?,
                None => term,
            });
        }
        let message = "a sum of no losses has no value; add one";
        let total = total.ok_or(LossError::Unsupported { loss, message })?;
        Ok(LossParts { total, named })
    }
}

impl WeightedSum {
    /// A sum of no parts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `coefficient * loss`, shown as `name`.
    #[allow(clippy::should_implement_trait)]
    pub fn add(
        mut self,
        name: impl Into<String>,
        coefficient: f64,
        loss: impl Loss + 'static,
    ) -> Self {
        self.parts.push(Part { name: name.into(), coefficient, loss: Box::new(loss) });
        self
    }

    /// The sum and its parts.
    pub fn f_forward_parts(&self, input: &Tensor, target: &Tensor) -> Result<LossParts> {
        self.sum(|loss| loss.f_forward(input, target))
    }

    /// [`WeightedSum::f_forward_parts`], or a panic with its error.
    #[track_caller]
    pub fn forward_parts(&self, input: &Tensor, target: &Tensor) -> LossParts {
        unwrap(self.f_forward_parts(input, target))
    }

    fn sum(&self, evaluate: impl Fn(&dyn Loss) -> Result<Tensor>) -> Result<LossParts> {
        let terms = self.parts.iter().map(|Part { name, coefficient, loss }| {
            if !coefficient.is_finite() {
                return Err(LossError::Param {
                    loss: "WeightedSum",
                    option: "coefficient",
                    expected: "finite",
                    got: format!("{coefficient} for {name}"),
                });
            }
            let value = evaluate(loss.as_ref()).map_err(|source| LossError::Part {
                part: name.clone(),
                source: Box::new(source),
            })?;
            Ok((name.as_str(), *coefficient, value))
        });
        LossParts::of("WeightedSum", terms.collect::<Result<_>>()?)
    }
}

impl Loss for WeightedSum {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        Ok(self.f_forward_parts(input, target)?.total)
    }

    fn f_forward_weighted(
        &self,
        input: &Tensor,
        target: &Tensor,
        weight: &Tensor,
    ) -> Result<Tensor> {
        Ok(self.sum(|loss| loss.f_forward_weighted(input, target, weight))?.total)
    }
}
