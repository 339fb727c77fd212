//! Guidance by embeddings.

use crate::{alone, common::*, rand, randn};
use std::f64::consts::{FRAC_PI_2, PI};
use tch::{Kind, Tensor};
use tch_losses::{
    Loss, LossError, Reduction, Result,
    adversarial::{LatentAnchorLoss, PromptLoss, SphericalDistanceLoss},
};

fn spherical(input: &Tensor, target: &Tensor) -> Tensor {
    SphericalDistanceLoss::default().forward(input, target)
}

#[test]
fn the_distance_is_half_the_squared_angle_and_bounded() {
    for degrees in [0.0f64, 1e-6, 30.0, 90.0, 150.0, 179.999, 180.0] {
        let angle = degrees.to_radians();
        let (x, y) = (tensor(&[3.0, 0.0], &[2]), tensor(&[angle.cos(), angle.sin()], &[2]));
        assert_value(&degrees.to_string(), &spherical(&x, &y), 0.5 * angle * angle, 1e-9);
    }
}

#[test]
fn length_rotation_and_order_change_nothing() {
    let [x, y] = [1, 2].map(|seed| randn(seed, &[4, 3], Kind::Double));
    let value = spherical(&x, &y);
    assert_close("length", &spherical(&(&x * 7.0), &(&y * 0.01)), &value, (1e-12, 0.0));
    assert_close("order", &spherical(&y, &x), &value, (1e-12, 0.0));
    let (sin, cos) = 0.7f64.sin_cos();
    let turn = tensor(&[cos, -sin, 0.0, sin, cos, 0.0, 0.0, 0.0, 1.0], &[3, 3]);
    let turned = spherical(&x.matmul(&turn), &y.matmul(&turn));
    assert_close("rotation", &turned, &value, (1e-12, 0.0));
}

#[test]
fn the_gradient_is_bounded_by_the_angle_and_zero_at_equal_and_opposite() {
    for kind in KINDS {
        let y = tensor(&[0.6, 0.8], &[1, 2]).to_kind(kind);
        for x in [y.shallow_clone(), -&y, &y * 2.0] {
            let prompt = PromptLoss::default();
            for loss in [&SphericalDistanceLoss::default() as &dyn Loss, &prompt] {
                let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &y));
                assert_finite("value", &value);
                assert_eq!(grad.kind(), kind);
                // The direction is what rounding makes of it; the length is bounded.
                assert!(grad.norm().double_value(&[]) < 4.0, "{kind:?}: {loss:?}");
            }
        }
    }
    let y = tensor(&[1.0, 0.0], &[1, 2]);
    for (x, what) in [(y.copy(), "equal"), (-&y, "opposite")] {
        let (_, grad) = value_and_grad(&x, |x| spherical(x, &y));
        assert_close(what, &grad, &y.zeros_like(), (0.0, 1e-12));
    }
    // Near the opposite point, where the derivative of the arcsine explodes, it is the angle.
    for off in [1e-3, 1e-6] {
        let x = tensor(&[-1.0, off], &[1, 2]);
        let (_, grad) = value_and_grad(&x, |x| spherical(x, &y));
        assert_value("length", &grad.norm(), PI, 2e-3);
    }
    // Zeros are orthogonal to everything.
    let (value, grad) = value_and_grad(&y.zeros_like(), |x| spherical(x, &y));
    assert_value("zeros", &value, 0.5 * FRAC_PI_2 * FRAC_PI_2, 1e-12);
    assert_finite("zeros", &grad);
}

#[test]
fn gradients_match_differences_once_and_twice() {
    let _alone = alone();
    let inputs = [randn(10, &[3, 4], Kind::Double), randn(11, &[3, 4], Kind::Double)];
    gradcheck("spherical", &inputs, |t| spherical(&t[0], &t[1]));
    gradgradcheck("spherical", &inputs, |t| spherical(&t[0], &t[1]));
    let prompts = PromptLoss::default().prompt_weight(tensor(&[1.0, -0.5, 2.0], &[3]));
    gradgradcheck("prompt", &inputs, |t| prompts.forward(&t[0], &t[1]));
    let average = PromptLoss::default().average(true);
    gradcheck("average", &inputs, |t| average.forward(&t[0], &t[1]));
    let anchor = LatentAnchorLoss::default().init_weight(0.3);
    gradgradcheck("anchor", &inputs[..1], |t| anchor.forward(&t[0], &inputs[1]));
}

#[test]
fn prompts_are_the_signed_sum_of_their_distances() {
    let (images, texts) = (randn(20, &[4, 5], Kind::Double), randn(21, &[2, 5], Kind::Double));
    let one = |prompt: i64| {
        let text = texts.narrow(0, prompt, 1).expand([4, 5], false);
        spherical(&images, &text).double_value(&[])
    };
    let weighted = PromptLoss::default().prompt_weight(tensor(&[2.0, -0.5], &[2]));
    let expected = 2.0 * one(0) - 0.5 * one(1);
    assert_value("weights", &weighted.forward(&images, &texts), expected, 1e-12);
    let halved = PromptLoss::default().prompt_weight(tensor(&[0.5], &[]));
    assert_value("a number", &halved.forward(&images, &texts), 0.5 * (one(0) + one(1)), 1e-12);
    let none = PromptLoss::default().reduction(Reduction::None).forward(&images, &texts);
    assert_eq!(none.size(), [4]);
    let mean = PromptLoss::default().forward(&images, &texts);
    assert_close("none", &none.mean(None::<Kind>), &mean, (1e-12, 0.0));
}

#[test]
fn a_prompt_that_is_met_pulls_no_more_but_keeps_its_value() {
    let images = randn(30, &[3, 4], Kind::Double);
    let text = randn(31, &[1, 4], Kind::Double);
    let at = |stop: f64| {
        let loss = PromptLoss::default().stop(tensor(&[stop], &[]));
        value_and_grad(&images, |images| loss.forward(images, &text))
    };
    let ((free, pull), (met, none)) = (at(-1.0), at(100.0));
    assert_close("value", &met, &free, (1e-12, 0.0));
    assert!(pull.abs().max().double_value(&[]) > 0.0);
    assert_close("gradient", &none, &images.zeros_like(), (0.0, 0.0));
    // A negative weight flees: its distances count as negative.
    let fleeing = |stop: f64| {
        let loss =
            PromptLoss::default().prompt_weight(tensor(&[-1.0], &[])).stop(tensor(&[stop], &[]));
        value_and_grad(&images, |images| loss.forward(images, &text)).1
    };
    assert_close("fleeing", &fleeing(-100.0), &-pull, (1e-12, 0.0));
    assert_close("fled", &fleeing(0.0), &images.zeros_like(), (0.0, 0.0));
}

#[test]
fn the_anchor_is_zero_at_the_start_and_leaves_it_alone() {
    let z = leaf(&randn(40, &[2, 3], Kind::Double));
    let start = leaf(&randn(41, &[2, 3], Kind::Double));
    let anchor = LatentAnchorLoss::default().init_weight(3.0);
    assert_value("at the start", &anchor.forward(&start, &start), 0.0, 0.0);
    anchor.forward(&z, &start).backward();
    assert!(!start.grad().defined());
    let expected = (z.detach() - start.detach()) * (3.0 / 6.0);
    assert_close("gradient", &z.grad(), &expected, (1e-12, 0.0));
    assert_value(
        "off",
        &LatentAnchorLoss::default().init_weight(0.0).forward(&z, &start),
        0.0,
        0.0,
    );
}

#[test]
fn masked_embeddings_do_not_count_and_nothing_is_zero() {
    for kind in KINDS {
        let (x, y) = (randn(50, &[4, 3], kind), randn(51, &[4, 3], kind));
        let mask = tensor(&[1.0, 0.0, 1.0, 0.0], &[4]);
        let loss = SphericalDistanceLoss::default();
        let (value, grad) = value_and_grad(&x, |x| loss.forward_weighted(x, &y, &mask));
        let kept = index(&[0, 2], &[2]);
        let expected = loss.forward(&x.index_select(0, &kept), &y.index_select(0, &kept));
        assert_close("mask", &value, &expected, tolerance(Kind::Float));
        let under = grad.index_select(0, &index(&[1, 3], &[2]));
        assert_close("gradient", &under, &under.zeros_like(), (0.0, 0.0));
        let nothing = loss.forward_weighted(&x, &y, &mask.zeros_like());
        assert_value("nothing", &nothing, 0.0, 0.0);
        let empty = randn(52, &[0, 3], kind);
        assert_value("empty", &loss.forward(&empty, &empty), 0.0, 0.0);
        assert_value("empty", &PromptLoss::default().forward(&empty, &y), 0.0, 0.0);
        assert_value("no prompts", &PromptLoss::default().forward(&x, &empty), 0.0, 0.0);
        let average = PromptLoss::default().average(true);
        assert_finite("no prompts", &average.forward(&x, &empty));
        assert_value("empty", &LatentAnchorLoss::default().forward(&empty, &empty), 0.0, 0.0);
    }
}

#[test]
fn every_kind_is_that_of_the_rounded_input_and_large_embeddings_are_finite() {
    for kind in KINDS {
        let (x, y) = (randn(60, &[3, 4], kind), randn(61, &[3, 4], kind));
        let prompts = PromptLoss::default().stop(tensor(&[0.1], &[]));
        let exact = |t: &Tensor| t.to_kind(Kind::Double);
        let losses: [&dyn Loss; 3] =
            [&SphericalDistanceLoss::default(), &prompts, &LatentAnchorLoss::default()];
        for loss in losses {
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &y));
            let expected = if kind == Kind::Double { kind } else { Kind::Float };
            assert_eq!((value.kind(), grad.kind()), (expected, kind), "{loss:?}");
            let exact = loss.forward(&exact(&x), &exact(&y));
            assert_close(&format!("{loss:?}"), &value, &exact, tolerance(Kind::Float));
            let large = x.full_like(1e4);
            let (value, grad) = value_and_grad(&large, |x| loss.forward(x, &-&large));
            assert_finite("large", &value);
            assert_finite("large", &grad);
        }
    }
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let (x, y) = (rand(70, &[4, 3], Kind::Float), rand(71, &[2, 3], Kind::Float));
    let error = |result: Result<Tensor>| result.unwrap_err().to_string();
    assert_eq!(
        error(SphericalDistanceLoss::default().f_forward(&x, &y)),
        "SphericalDistanceLoss: expected target of shape [4, 3], got [2, 3]"
    );
    assert_eq!(
        error(PromptLoss::default().f_forward(&x, &y.narrow(1, 0, 2))),
        "PromptLoss: expected target of shape [P, 3], got [2, 2]"
    );
    let weights = PromptLoss::default().prompt_weight(tensor(&[1.0; 3], &[3]));
    assert_eq!(
        error(weights.f_forward(&x, &y)),
        "PromptLoss: expected prompt_weight of shape [] or [2], got [3]"
    );
    let averaged = PromptLoss::default().stop(tensor(&[1.0; 2], &[2])).average(true);
    assert_eq!(
        error(averaged.f_forward(&x, &y)),
        "PromptLoss: expected stop of shape [] or [1], got [2]"
    );
    let refused = PromptLoss::default().f_forward_weighted(&x, &y, &x).unwrap_err();
    assert!(matches!(refused, LossError::Unsupported { .. }));
    assert_eq!(
        error(LatentAnchorLoss::default().init_weight(-1.0).f_forward(&x, &x)),
        "LatentAnchorLoss: expected init_weight at least 0 and finite, got -1"
    );
}
