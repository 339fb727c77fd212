//! Losses of adversarial training.

mod gradient_penalty;

pub use gradient_penalty::{GradientPenalty, f_gradient_penalty, gradient_penalty};
