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

/// The gradients of `inputs`: what `torch.autograd.grad` gives, and `Tensor::run_backward` cannot.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `grad_outputs` | ones | the gradient of each output, in its shape; outputs that are no scalars need it |
/// | `keep_graph` | `create_graph` | whether the graph stays for another backward |
/// | `create_graph` | false | whether the gradients have a graph of their own; `grad_outputs` is then part of it |
#[derive(Debug, Clone, Copy, Default)]
pub struct Grad<'a> {
    grad_outputs: &'a [&'a Tensor],
    keep_graph: Option<bool>,
    create_graph: bool,
}

impl<'a> Grad<'a> {
    /// The gradient of each output.
    pub fn grad_outputs(mut self, grad_outputs: &'a [&'a Tensor]) -> Self {
        self.grad_outputs = grad_outputs;
        self
    }

    /// Whether the graph stays for another backward.
    pub fn keep_graph(mut self, keep_graph: bool) -> Self {
        self.keep_graph = Some(keep_graph);
        self
    }

    /// Whether the gradients have a graph of their own.
    pub fn create_graph(mut self, create_graph: bool) -> Self {
        self.create_graph = create_graph;
        self
    }

    /// The gradient of each input; `None` for one that the outputs do not depend on.
    ///
    /// # Errors
    ///
    /// An output without a graph, or that is no scalar and has no gradient given; an input that needs none.
    pub fn f_of(self, outputs: &[&Tensor], inputs: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
        let keep_graph = self.keep_graph.unwrap_or(self.create_graph);
        bridge::grad(outputs, inputs, self.grad_outputs, keep_graph, self.create_graph)
    }

    /// [`Grad::f_of`], or a panic with its error.
    #[track_caller]
    pub fn of(self, outputs: &[&Tensor], inputs: &[&Tensor]) -> Vec<Option<Tensor>> {
        unwrap(self.f_of(outputs, inputs))
    }
}
