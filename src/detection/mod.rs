//! Boxes and what detectors do with them.

mod nms;

pub use nms::{batched_nms, f_batched_nms, f_nms, nms};
