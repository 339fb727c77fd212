//! The trait [`Loss`], losses made of losses, and losses by name.
//!
//! [`by_name`] makes a loss from a name and [`Options`], [`parse`] from a text such as
//! `dice + 0.5*ce(label_smoothing=0.1)`, and [`catalogue`] lists them all.

mod combine;
mod named;
mod options;

pub use combine::{FnLoss, LossParts, WeightedSum};
pub use named::{Entry, Input, Registry, Target, Term, by_name, catalogue, parse, terms};
pub use options::{OptionType, Options, Reader, Value};

pub(crate) use named::named_loss;
pub(crate) use options::option_enum;

use crate::{LossError, Result, error::unwrap};
use std::fmt::Debug;
use tch::Tensor;

/// A loss of a prediction and a target.
///
/// `f_forward` returns an error where `forward` panics with the same one line at the caller, as in
/// `tch`. The order is `(input, target)`, predictions first, everywhere in this crate.
///
/// The trait is object-safe: a trainer can hold a `Box<dyn Loss>` and be told which loss to use.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BceWithLogitsLoss, FocalLoss, Loss};
///
/// let losses: Vec<Box<dyn Loss>> =
///     vec![Box::new(BceWithLogitsLoss::default()), Box::new(FocalLoss::default())];
/// let logits = Tensor::from_slice(&[0.0f32, 2.0]);
/// let target = Tensor::from_slice(&[0.0f32, 1.0]);
/// let values: Vec<f64> =
///     losses.iter().map(|loss| loss.forward(&logits, &target).double_value(&[])).collect();
/// assert!((values[0] - 0.4100).abs() < 1e-4);
/// assert!((values[1] - 0.0652).abs() < 1e-4);
/// ```
pub trait Loss: Debug {
    /// The loss of `input` (predictions) against `target`.
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor>;

    /// The loss where each element counts `weight` times; a mask is a weight of zeros and ones.
    ///
    /// `weight` broadcasts to the unreduced loss. `Mean` is `sum(weight * loss) / sum(weight)`.
    ///
    /// # Errors
    ///
    /// [`LossError::Unsupported`] for a loss that has no weighted form.
    fn f_forward_weighted(
        &self,
        _input: &Tensor,
        _target: &Tensor,
        _weight: &Tensor,
    ) -> Result<Tensor> {
        Err(LossError::Unsupported { loss: "Loss", message: "this loss takes no element weight" })
    }

    /// [`Loss::f_forward`], or a panic with its error.
    #[track_caller]
    fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        unwrap(self.f_forward(input, target))
    }

    /// [`Loss::f_forward_weighted`], or a panic with its error.
    #[track_caller]
    fn forward_weighted(&self, input: &Tensor, target: &Tensor, weight: &Tensor) -> Tensor {
        unwrap(self.f_forward_weighted(input, target, weight))
    }
}

impl<L: Loss + ?Sized> Loss for Box<L> {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        (**self).f_forward(input, target)
    }

    fn f_forward_weighted(
        &self,
        input: &Tensor,
        target: &Tensor,
        weight: &Tensor,
    ) -> Result<Tensor> {
        (**self).f_forward_weighted(input, target, weight)
    }
}

/// Implements [`Loss`] for a type whose `compute` takes an optional element weight.
macro_rules! weighted_loss {
    ($loss:ty) => {
        impl $crate::Loss for $loss {
            fn f_forward(
                &self,
                input: &tch::Tensor,
                target: &tch::Tensor,
            ) -> $crate::Result<tch::Tensor> {
                self.compute(input, target, None)
            }

            fn f_forward_weighted(
                &self,
                input: &tch::Tensor,
                target: &tch::Tensor,
                weight: &tch::Tensor,
            ) -> $crate::Result<tch::Tensor> {
                self.compute(input, target, Some(weight))
            }
        }
    };
}
pub(crate) use weighted_loss;
