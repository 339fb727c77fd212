//! Trains, evaluates and runs a small detector.

#[allow(dead_code)]
mod data;

fn main() {}
