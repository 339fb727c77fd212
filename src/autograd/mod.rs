//! Custom autograd functions for `tch`: a forward and a backward of your own, as `torch.autograd.Function` has them.
//!
//! `tch` has none, so that a gradient that is known in closed form, or that is not the derivative (a straight-through estimator),
//! cannot be said. Here a value of a type that implements [`Function`] becomes a node of libtorch's graph:
//!
//! ```
//! use tch::Tensor;
//! use tch_losses::{Result, autograd::{self, Context, Function}};
//!
//! /// Rounds, and hands the gradient through.
//! struct Round;
//!
//! impl Function for Round {
//!     fn forward(&mut self, _: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
//!         Ok(vec![inputs[0].f_round()?])
//!     }
//!
//!     fn backward(&mut self, _: &Context, gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
//!         Ok(vec![gradients[0].as_ref().map(Tensor::shallow_clone)])
//!     }
//! }
//!
//! let x = Tensor::from_slice(&[0.4f32, 0.6]).set_requires_grad(true);
//! let y = autograd::apply(Round, &[&x]).remove(0);
//! (y * 3.0).sum(None).backward();
//! assert_eq!(Vec::<f32>::try_from(x.grad()).unwrap(), [3.0, 3.0]);
//! ```
//!
//! An error or a panic of a [`Function`] comes back as an error of the call that ran it: of [`f_apply`], or of `f_backward` and
//! `f_run_backward`.

#[cfg_attr(autograd_node, path = "bridge.rs")]
#[cfg_attr(not(autograd_node), path = "without.rs")]
mod bridge;

pub(crate) use bridge::is_recording;
pub use bridge::{Context, is_available};

use crate::{Result, error::unwrap};
use tch::Tensor;

/// A differentiable function of tensors, with its own backward.
pub trait Function: Send + 'static {
    /// The outputs for `inputs`. What is computed here leaves no graph.
    ///
    /// # Errors
    ///
    /// The function's own; [`f_apply`] returns it.
    fn forward(&mut self, context: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>>;

    /// The gradient of each input from that of each output; `None` stands for zero, on both sides.
    ///
    /// It may run more than once, if the graph is kept. Where a graph of the gradient is asked for ([`Context::creates_graph`]) what
    /// is computed here is differentiated in turn, so it has to be made of the tensors of [`Context::saved`] and of `gradients`.
    ///
    /// # Errors
    ///
    /// The function's own; the call that started the backward returns it as libtorch's.
    fn backward(
        &mut self,
        context: &Context,
        gradients: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>>;
}

/// Runs a function forward and, if an input needs a gradient, puts it into the graph.
///
/// # Errors
///
/// Those of [`Function::forward`], a panic in it, and [`LossError::Unsupported`](crate::LossError::Unsupported) where [`is_available`]
/// is false.
pub fn f_apply(function: impl Function, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    bridge::apply(Box::new(function), inputs)
}

/// [`f_apply`], or a panic with its error.
#[track_caller]
pub fn apply(function: impl Function, inputs: &[&Tensor]) -> Vec<Tensor> {
    unwrap(f_apply(function, inputs))
}
