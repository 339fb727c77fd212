//! Tests of the gradient penalty that draw the same numbers more than once, one at a time: threads
//! share the generator, and the penalty draws its mixing from it.

mod common;

use common::*;
use std::sync::{Mutex, MutexGuard};
use tch::{Kind, Tensor};
use tch_losses::{GradientPenalty, gradient_penalty};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Weights of a critic of 5 numbers per sample, and samples of shape (N, 5).
fn weights() -> Vec<Tensor> {
    vec![
        randn(1, &[5, 6], Kind::Double) * 0.5,
        randn(2, &[6], Kind::Double),
        randn(3, &[6, 1], Kind::Double),
    ]
}

fn samples(seed: i64, kind: Kind) -> (Tensor, Tensor) {
    (randn(seed, &[4, 5], kind), randn(seed + 1, &[4, 5], kind) - 1.0)
}

fn smooth_critic(x: &Tensor, w: &[Tensor]) -> Tensor {
    (x.matmul(&w[0]) + &w[1]).tanh().matmul(&w[2])
}

#[test]
fn gradient_of_the_critic_matches_differences() {
    let _alone = alone();
    let (real, fake) = samples(10, Kind::Double);
    let mixing = rand(12, &[4], Kind::Double);
    for penalty in [
        GradientPenalty::default(),
        GradientPenalty::default().lambda(0.5).target(0.4),
        GradientPenalty::default().target(0.8).one_sided(true),
        GradientPenalty::default().target(0.0),
    ] {
        gradcheck(&format!("{penalty:?}"), &weights(), |w| {
            penalty.forward_with_mixing(|x| smooth_critic(x, w), &real, &fake, &mixing)
        });
        gradgradcheck(&format!("{penalty:?}"), &weights(), |w| {
            penalty.forward_with_mixing(|x| smooth_critic(x, w), &real, &fake, &mixing)
        });
    }
}

#[test]
fn every_kind_is_finite_and_half_is_close_to_float() {
    let _alone = alone();
    let mixing = rand(82, &[4], Kind::Double);
    let at = |kind: Kind| {
        let (real, fake) = samples(80, kind);
        let w: Vec<_> = weights().iter().map(|w| leaf(&w.to_kind(kind))).collect();
        let penalty = GradientPenalty::default().forward_with_mixing(
            |x| smooth_critic(x, &w),
            &real,
            &fake,
            &mixing,
        );
        penalty.backward();
        for w in &w {
            assert_finite("gradient", &w.grad());
            assert_eq!(w.grad().kind(), kind);
        }
        penalty
    };
    let reference = at(Kind::Double);
    assert_eq!(reference.kind(), Kind::Double);
    for (kind, rtol) in [(Kind::Float, 1e-5), (Kind::Half, 2e-2), (Kind::BFloat16, 2e-1)] {
        let penalty = at(kind);
        assert_eq!(penalty.kind(), Kind::Float, "{kind:?}");
        assert_close(&format!("{kind:?}"), &penalty, &reference, (rtol, 0.0));
    }
}

#[test]
fn random_mixing_follows_the_seed_and_differs_per_sample() {
    let _alone = alone();
    let real = tensor(&[1.0; 64], &[64, 1]);
    let fake = tensor(&[0.0; 64], &[64, 1]);
    let drawn = || {
        tch::manual_seed(5);
        let mut seen = None;
        let critic = |x: &Tensor| {
            seen = Some(x.detach());
            x * x
        };
        let penalty = gradient_penalty(critic, &real, &fake);
        (penalty, seen.expect("the critic was called"))
    };
    let ((first, at), (second, again)) = (drawn(), drawn());
    assert_close("the penalty", &first, &second, (0.0, 0.0));
    assert_close("the points", &at, &again, (0.0, 0.0));
    assert!(at.min().double_value(&[]) >= 0.0 && at.max().double_value(&[]) <= 1.0);
    assert!(at.std(false).double_value(&[]) > 0.2, "one mixing for all samples");
}
