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
    /// No loss has the name that was asked for.
    #[error("there is no loss named `{name}`{}", did_you_mean(near))]
    Name {
        /// The name that was asked for.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// A loss that was asked for by name is no function of an input and a target.
    #[error("`{name}` takes more than an input and a target; make it with {make}")]
    Apart {
        /// The name that was asked for.
        name: String,
        /// The type or function to use.
        make: String,
    },
    /// A loss asked for by name does not have an option that was given.
    #[error("{loss}: no option `{option}`; there are {}", known.join(", "))]
    OptionName {
        /// The loss that was asked for.
        loss: String,
        /// The option that was given.
        option: String,
        /// The options that it has.
        known: Vec<String>,
    },
    /// An option of a loss asked for by name has a value of the wrong type.
    #[error("{loss}: expected {option} to be {expected}, got {got}")]
    OptionValue {
        /// The loss that was asked for.
        loss: String,
        /// The option's name.
        option: String,
        /// What it can be.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A text of options or losses could not be read.
    #[error("cannot read `{text}`: {message}")]
    Parse {
        /// The whole text.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// An error of the caller's own, from a closure used as a loss.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// libtorch refused; only the first line of its message is shown, `source` has the rest.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] TchError),
}

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => "; loss::catalogue() lists all".to_owned(),
        near => format!("; did you mean {}?", near.join(" or ")),
    }
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
