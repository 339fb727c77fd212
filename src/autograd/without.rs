//! Stands in for the bridge where there is no libtorch to compile against.

use super::Function;
use crate::{LossError, Result};
use std::convert::Infallible;
use tch::Tensor;

/// Whether this build has custom autograd functions. It has not where there were no headers of libtorch (`doc-only`, Windows).
pub fn is_available() -> bool {
    false
}

/// Whether operations of this thread go into a graph; nobody asks where there are no functions.
pub(crate) fn is_recording() -> bool {
    false
}

/// What a [`Function`] can ask and keep while it runs.
pub struct Context(Infallible);

impl Context {
    /// Keeps inputs or outputs for [`Function::backward`]. At most once, in [`Function::forward`].
    pub fn save_for_backward(&mut self, _tensors: &[&Tensor]) -> Result<()> {
        match self.0 {}
    }

    /// What was kept, as part of the graph.
    ///
    /// # Errors
    ///
    /// Where one was changed in place since, or the graph was freed by an earlier backward.
    pub fn saved(&self) -> Result<Vec<Tensor>> {
        match self.0 {}
    }

    /// Whether a gradient of an input will be asked for; in [`Function::backward`] whether it is now.
    pub fn needs_gradient(&self, _input: usize) -> bool {
        match self.0 {}
    }

    /// Whether a graph of the gradient is asked for; in [`Function::backward`].
    pub fn creates_graph(&self) -> bool {
        match self.0 {}
    }

    /// Whether the graph is kept for another backward; in [`Function::backward`].
    pub fn keeps_graph(&self) -> bool {
        match self.0 {}
    }
}

const MISSING: LossError = LossError::Unsupported {
    loss: "autograd",
    message: "this build has no autograd functions: no headers of libtorch were found",
};

pub(super) fn apply(_function: Box<dyn Function>, _inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    Err(MISSING)
}

pub(super) fn grad(
    _outputs: &[&Tensor],
    _inputs: &[&Tensor],
    _weights: &[&Tensor],
    _keep_graph: bool,
    _create_graph: bool,
) -> Result<Vec<Option<Tensor>>> {
    Err(MISSING)
}
