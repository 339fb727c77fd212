//! The error of every `f_` function.

use tch::{Device, Kind, TchError};

/// A result with [`LossError`].
pub type Result<T, E = LossError> = std::result::Result<T, E>;

/// Why a loss could not be computed: one line that names the loss, what was expected and what came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// A tensor has the wrong shape.
    #[error("{loss}: expected {what} of shape {expected}, got {got:?}")]
    Shape {
        /// The loss that was called.
        loss: &'static str,
        /// Which tensor.
        what: &'static str,
        /// The shape that would have been right.
        expected: String,
        /// The shape that came.
        got: Vec<i64>,
    },
    /// A tensor has the wrong kind of element.
    #[error("{loss}: expected {what} of {expected} kind, got {got:?}")]
    Kind {
        /// The loss that was called.
        loss: &'static str,
        /// Which tensor.
        what: &'static str,
        /// The kinds that would have been right.
        expected: &'static str,
        /// The kind that came.
        got: Kind,
    },
    /// Two tensors are on different devices.
    #[error(
        "{loss}: expected {what} on {expected:?} as the input, got {got:?}; move it with `.to_device(..)`"
    )]
    Device {
        /// The loss that was called.
        loss: &'static str,
        /// Which tensor.
        what: &'static str,
        /// Where the input is.
        expected: Device,
        /// Where the tensor is.
        got: Device,
    },
    /// An option is out of its range.
    #[error("{loss}: expected {option} {expected}, got {got}")]
    Param {
        /// The loss that was called.
        loss: &'static str,
        /// The option's name.
        option: &'static str,
        /// Its range.
        expected: &'static str,
        /// The value it has.
        got: String,
    },
    /// A row of a list of targets makes no sense.
    #[error("{loss}: target row {row}: {message}")]
    Target {
        /// The loss that was called.
        loss: &'static str,
        /// The row, from 0.
        row: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The autograd graph that the computation needs is missing.
    #[error("{loss}: {message}")]
    Graph {
        /// The function that was called.
        loss: &'static str,
        /// What is missing.
        message: &'static str,
    },
    /// The loss has no meaning for what was asked.
    #[error("{loss}: {message}")]
    Unsupported {
        /// The loss that was called.
        loss: &'static str,
        /// What it cannot do.
        message: &'static str,
    },
    /// A named part of a sum of losses failed.
    #[error("{part}: {source}")]
    Part {
        /// The part's name in the sum.
        part: String,
        /// Its error.
        source: Box<LossError>,
    },
    /// An error of the caller's own, from a closure used as a loss.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// libtorch refused; only the first line of its message is shown, `source` has the rest.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] TchError),
}

fn first_line(error: &TchError) -> String {
    let text = match error {
        TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

/// The value, or a panic with the error's one line at the caller of the plain (not `f_`) function.
#[track_caller]
pub(crate) fn unwrap<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
