//! Losses in one pass over memory: value and gradient computed together by kernels in Rust, hung on libtorch's graph.
//!
//! libtorch walks memory once for each operation of a composed loss, forwards and backwards. Here a loss reads its input once and
//! writes the gradient, which [`autograd`] hands out at the backward. It is used by itself where it applies:
//! dense contiguous `Float`, `Double`, `Half` and `BFloat16` tensors on the CPU, a reduced loss, and no gradient of the target or a
//! weight. Elsewhere, and where a graph of the gradient is asked for, the loss is composed of libtorch's operations.
//!
//! The kernels run on libtorch's own threads (`tch::set_num_threads`), a sum has the same bits for any number of them, and the
//! instructions (AVX-512, AVX2, NEON or none) are chosen when the program runs.

mod binary;
mod box_errors;
mod boxes;
mod classes;
mod data;
mod divergence;
mod elementwise;
mod label_margins;
mod lovasz;
mod node;
mod overlap;
pub(crate) mod parallel;
mod real;
mod simd;
mod softmax;
mod terms;
mod total_variation;

pub(crate) use binary::{BinaryCrossEntropy, Scores};
pub(crate) use box_errors::BoxErrors;
pub(crate) use boxes::BoxOverlap;
pub(crate) use divergence::from_standard_normal;
pub(crate) use elementwise::{
    Absolute, BalancedL1, Charbonnier, Huber, LogCosh, Quantile, SmoothL1, Squared, of_error,
};
pub(crate) use label_margins::label_margins;
pub(crate) use lovasz::{LovaszRows, LovaszSums};
pub(crate) use node::Composed;
pub(crate) use overlap::{Activation, OverlapSums, Sums};
pub(crate) use softmax::{SoftmaxCrossEntropy, SoftmaxFormula};
pub(crate) use terms::{ClassTerms, MarginTerms, NormalisedTerms, SoftmaxTerms};
pub(crate) use total_variation::Variation;

use crate::{autograd, check};
use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};
use tch::{Device, Tensor};

fn switch() -> &'static AtomicBool {
    static SWITCH: OnceLock<AtomicBool> = OnceLock::new();
    SWITCH.get_or_init(|| {
        let off = std::env::var("TCH_LOSSES_FUSED").is_ok_and(|value| value == "0");
        AtomicBool::new(!off)
    })
}

/// Whether fused losses are used where they apply. They are, unless the environment says `TCH_LOSSES_FUSED=0`.
pub fn is_enabled() -> bool {
    switch().load(Relaxed)
}

/// Turns fused losses on or off in the whole process.
pub fn set_enabled(enabled: bool) {
    switch().store(enabled, Relaxed);
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// How many losses of this process were fused so far: whether one of yours is shows in the difference.
pub fn count() -> usize {
    COUNT.load(Relaxed)
}

fn count_one() {
    COUNT.fetch_add(1, Relaxed);
}

/// Whether a loss of `input`, with tensors that are constant to it, can be fused at all.
fn applies<'a>(input: &Tensor, constants: impl IntoIterator<Item = Option<&'a Tensor>>) -> bool {
    is_enabled()
        && autograd::is_available()
        && input.device() == Device::Cpu
        && input.f_kind().is_ok_and(check::is_float)
        && data::is_plain(input)
        && !constants.into_iter().flatten().any(|tensor| tensor.requires_grad())
}
