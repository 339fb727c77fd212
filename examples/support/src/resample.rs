//! Axis-aligned bilinear resampling.
