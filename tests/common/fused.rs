//! Fused losses held against their composed forms.
#![allow(dead_code)] // each suite uses a part

use crate::common::{assert_close, leaf, tolerance};
use std::sync::{Mutex, MutexGuard};
use tch::{Device, Kind, Tensor};
use tch_losses::{Loss, fused};

/// The switch is the whole process's: one test at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static SWITCH: Mutex<()> = Mutex::new(());
    let guard = SWITCH.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    fused::set_enabled(true); // whatever the environment says
    guard
}

/// Value and gradient of `2.5 loss`, fused or not.
pub fn passed(fused: bool, loss: &dyn Fn(&Tensor) -> Tensor, input: &Tensor) -> (Tensor, Tensor) {
    fused::set_enabled(fused);
    let input = leaf(input);
    let value = loss(&input) * 2.5;
    value.backward();
    fused::set_enabled(true);
    (value.detach(), input.grad())
}

/// Whether the loss is a fused one.
pub fn is_fused(loss: &dyn Fn(&Tensor) -> Tensor, input: &Tensor) -> bool {
    let before = fused::count();
    let _ = loss(&leaf(input));
    fused::count() > before
}

/// The same value and gradient both ways; a value alone, where no gradient is wanted.
#[track_caller]
pub fn alike(what: &str, loss: impl Fn(&Tensor) -> Tensor, input: &Tensor) {
    if input.device() != Device::Cpu {
        return;
    }
    let _alone = alone();
    let kind = input.kind();
    let (value, gradient) = passed(true, &loss, input);
    let (expected, expected_gradient) = passed(false, &loss, input);
    assert_eq!(value.kind(), expected.kind(), "{what}: kind of the value");
    assert_eq!(gradient.kind(), kind, "{what}: kind of the gradient");
    let values = if kind == Kind::Double { Kind::Double } else { Kind::Float };
    assert_close(&format!("{what}: value"), &value, &expected, tolerance(values));
    let (relative, absolute) = tolerance(kind);
    let largest = expected_gradient.abs().max().double_value(&[]).min(1.0);
    // Two steps of the subnormal numbers of Half.
    let steps = if kind == Kind::Half { 1.2e-7 } else { 0.0 };
    // Where a gradient is the difference of larger terms, both forms round them.
    let allowed = (relative, (5.0 * absolute * largest).max(steps));
    assert_close(&format!("{what}: gradient"), &gradient, &expected_gradient, allowed);
    let alone = tch::no_grad(|| loss(input)) * 2.5;
    assert_close(&format!("{what}: value alone"), &alone, &value, (1e-12, 0.0));
    assert!(is_fused(&loss, input), "{what}: not fused");
}

/// [`alike`] of a loss with a weight and without.
#[track_caller]
pub fn alike_weighted(
    what: &str,
    loss: &dyn Loss,
    target: &Tensor,
    weight: &Tensor,
    input: &Tensor,
) {
    alike(what, |x| loss.forward(x, target), input);
    alike(&format!("{what}, weighted"), |x| loss.forward_weighted(x, target, weight), input);
}

/// The gradient of a penalty on the gradient is the same both ways.
#[track_caller]
pub fn alike_twice(what: &str, loss: impl Fn(&Tensor) -> Tensor, input: &Tensor) {
    let twice = |on| {
        fused::set_enabled(on);
        let x = leaf(input);
        let value = loss(&(&x * 1.5));
        let first = Tensor::run_backward(&[&value], &[&x], true, true).remove(0);
        (first.square().sum(None::<Kind>) + value).backward();
        fused::set_enabled(true);
        x.grad()
    };
    let _alone = alone();
    assert_close(what, &twice(true), &twice(false), tolerance(input.kind()));
}

/// Value and gradient have the same bits for any number of threads.
#[track_caller]
pub fn alike_for_any_threads(loss: impl Fn(&Tensor) -> Tensor, input: &Tensor) {
    let run = |threads| {
        let before = tch::get_num_threads();
        tch::set_num_threads(threads);
        let x = leaf(input);
        let loss = loss(&x);
        loss.backward();
        tch::set_num_threads(before);
        (loss.double_value(&[]), x.grad())
    };
    let _alone = alone();
    let one = run(1);
    for threads in [2, 3, 8] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}
