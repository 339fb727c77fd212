//! Losses of adversarial training.

mod gradient_penalty;

use crate::loss::Entry;

pub use gradient_penalty::{GradientPenalty, f_gradient_penalty, gradient_penalty};

pub(crate) fn entries() -> Vec<Entry> {
    [GradientPenalty::entries()].concat()
}
