//! What the examples share: built-in data, progress, curves, drawing, safe files, interruption.

pub mod builtin;
pub mod draw;
pub mod files;
pub mod interrupt;
pub mod plot;
pub mod progress;
pub mod resample;
pub mod rng;

/// The font of every picture: Hack, a monospaced face under the MIT and Bitstream Vera licences.
pub(crate) const FONT: &[u8] = epaint_default_fonts::HACK_REGULAR;
