//! Adversarial training: laws, gradients against differences, edge cases in every kind, errors.

#[path = "../common/mod.rs"]
mod common;

mod guidance;
mod models;
mod objectives;
mod penalties;
mod spectral;

use std::sync::{Mutex, MutexGuard};
use tch::{Kind, Tensor};

/// Held by tests whose layers and penalties draw from libtorch's generator, which all threads share, and
/// by those whose gradient checks draw the same numbers from it more than once.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Uniform random numbers in [0, 1) that do not come from libtorch's generator.
fn rand(seed: i64, shape: &[i64], kind: Kind) -> Tensor {
    let mut state = seed as u64;
    let numbers: Vec<f64> = (0..shape.iter().product::<i64>())
        .map(|_| {
            // SplitMix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        })
        .collect();
    common::tensor(&numbers, shape).to_kind(kind)
}

/// Normal random numbers that do not come from libtorch's generator.
fn randn(seed: i64, shape: &[i64], kind: Kind) -> Tensor {
    let [radius, angle] = [0, 1 << 32].map(|part: i64| rand(seed + part, shape, Kind::Double));
    let radius = ((1.0f64 - radius).log() * -2.0).sqrt();
    (radius * (angle * std::f64::consts::TAU).cos()).to_kind(kind)
}
