//! Penalties that differentiate a network twice, clipping, and the critic's schedule.

use crate::{alone, common::*, rand, randn};
use std::cell::RefCell;
use tch::{Kind, Tensor, nn, nn::ModuleT};
use tch_losses::{
    GradientPenalty, LossError, Result,
    adversarial::{
        CriticSchedule, DraganNoise, DraganPenalty, PathLengthPenalty, R1Penalty, R2Penalty,
        SpectralNorm, clip_weights, f_clip_weights,
    },
};

/// Weights of a critic of 5 numbers a sample, and samples (4, 5).
fn weights(kind: Kind) -> Vec<Tensor> {
    [randn(1, &[5, 6], kind) * 0.5, randn(2, &[6], kind), randn(3, &[6, 1], kind)]
        .iter()
        .map(leaf)
        .collect()
}

fn critic(x: &Tensor, w: &[Tensor]) -> Tensor {
    (x.matmul(&w[0]) + &w[1]).tanh().matmul(&w[2])
}

#[test]
fn r1_of_a_linear_critic_is_half_gamma_times_its_square() {
    for kind in [Kind::Double, Kind::Float] {
        let w = randn(10, &[3, 2, 2], kind);
        let samples = randn(11, &[4, 3, 2, 2], kind);
        let penalty = R1Penalty::default().gamma(3.0).forward(|x| x * &w, &samples);
        let expected = 1.5 * w.square().sum(None::<Kind>);
        assert_close("r1", &penalty, &expected, tolerance(kind));
    }
}

#[test]
fn r1_is_the_gradient_penalty_with_target_zero_at_real_samples() {
    let w = weights(Kind::Double);
    let (real, fake) = (randn(20, &[4, 5], Kind::Double), randn(21, &[4, 5], Kind::Double));
    let at = |penalty: Tensor| {
        let grads = Tensor::run_backward(&[&penalty], &w, false, false);
        let grads: Vec<_> = grads.iter().map(|grad| grad.view(-1)).collect();
        (penalty.detach(), Tensor::cat(&grads, 0))
    };
    let ones = tensor(&[1.0; 4], &[4]);
    let zero_centred = GradientPenalty::default().lambda(3.5).target(0.0);
    let (value, grad) =
        at(zero_centred.forward_with_mixing(|x| critic(x, &w), &real, &fake, &ones));
    let (r1, r1_grad) = at(R1Penalty::default().gamma(7.0).forward(|x| critic(x, &w), &real));
    assert_close("value", &r1, &value, (1e-12, 0.0));
    assert_close("gradient", &r1_grad, &grad, (1e-10, 1e-12));
    let whole = R2Penalty::default().gamma(3.5).halve(false);
    let (r2, _) = at(whole.forward(|x| critic(x, &w), &real));
    assert_close("without the half", &r2, &value, (1e-12, 0.0));
}

#[test]
fn dragan_without_noise_is_the_gradient_penalty_at_real_samples() {
    let w = weights(Kind::Double);
    let (real, fake) = (randn(30, &[4, 5], Kind::Double), randn(31, &[4, 5], Kind::Double));
    let ones = tensor(&[1.0; 4], &[4]);
    let penalty = GradientPenalty::default().lambda(2.0).target(0.5);
    let expected = penalty.forward_with_mixing(|x| critic(x, &w), &real, &fake, &ones);
    let dragan = DraganPenalty::default().lambda(2.0).target(0.5);
    let got = dragan.forward_with_noise(|x| critic(x, &w), &real, &real.zeros_like());
    assert_close("value", &got, &expected, (1e-12, 0.0));
}

#[test]
fn dragan_draws_noise_of_half_a_deviation_per_sample() {
    let _alone = alone();
    // So many samples that the extremes are seen whatever the numbers.
    let real = randn(40, &[4096, 8], Kind::Double) * 4.0;
    let bound = real.std(true).double_value(&[]) / 2.0;
    let drawn = |noise: DraganNoise| {
        let seen = RefCell::new(None);
        let critic = |x: &Tensor| {
            *seen.borrow_mut() = Some(x.detach());
            x.square()
        };
        let _ = DraganPenalty::default().noise(noise).forward(critic, &real);
        seen.into_inner().unwrap() - &real
    };
    let (positive, symmetric) = (drawn(DraganNoise::Positive), drawn(DraganNoise::Symmetric));
    let low = |t: &Tensor| t.min().double_value(&[]);
    let high = |t: &Tensor| t.max().double_value(&[]);
    assert!(low(&positive) > -1e-12 && high(&positive) <= bound && high(&positive) > 0.8 * bound);
    assert!(low(&symmetric) >= -bound && low(&symmetric) < -0.8 * bound);
    assert!(high(&symmetric) <= bound && high(&symmetric) > 0.8 * bound);
    // Each sample has a share of its own: some have little noise in all their elements.
    let largest = positive.amax(1, false);
    assert!(low(&largest) < 0.2 * bound && high(&largest) > 0.8 * bound);
    // One number has no deviation.
    let one = tensor(&[3.0], &[1, 1]);
    assert_value("one", &DraganPenalty::default().forward(|x| x * 2.0, &one), 10.0, 0.0);
}

#[test]
fn penalties_match_differences_for_every_option() {
    let _alone = alone();
    let samples = randn(50, &[4, 5], Kind::Double);
    let noise = rand(51, &[4, 5], Kind::Double);
    for r1 in [R1Penalty::default(), R1Penalty::default().gamma(0.7).halve(false)] {
        let penalty = |w: &[Tensor]| r1.forward(|x| critic(x, w), &samples);
        gradcheck("r1", &weights(Kind::Double), penalty);
        gradgradcheck("r1", &weights(Kind::Double), penalty);
    }
    let dragan = DraganPenalty::default().lambda(0.8).target(0.4);
    gradcheck("dragan", &weights(Kind::Double), |w| {
        dragan.forward_with_noise(|x| critic(x, w), &samples, &noise)
    });
    // Through a mapping network, and at latents that are a leaf.
    let latents = randn(52, &[3, 2, 4], Kind::Double);
    let draw = randn(53, &[3, 1, 2, 3], Kind::Double);
    let inputs = [randn(54, &[4, 5], Kind::Double), randn(55, &[5, 6], Kind::Double), latents];
    gradcheck("path length", &inputs, |t| {
        // `gradcheck` moves detached copies; the penalty needs a gradient at the styles.
        let latents = if t[2].requires_grad() { t[2].shallow_clone() } else { leaf(&t[2]) };
        let styles = latents.matmul(&t[0]).tanh();
        let images = styles.mean_dim(1, false, None::<Kind>).square().matmul(&t[1]);
        let mut paths = PathLengthPenalty::default().decay(0.3);
        paths.forward_with_noise(&images.view([3, 1, 2, 3]), &styles, &draw)
    });
}

/// A layer, the shapes of its weights, and what it makes of an input (3, 4, 6, 6).
type Layer = (&'static str, &'static [&'static [i64]], fn(&Tensor, &[Tensor]) -> Tensor);

const LAYERS: [Layer; 10] = [
    ("conv", &[&[3, 4, 3, 3]], |x, w| x.conv2d(&w[0], None::<Tensor>, 2, 1, 1, 1).tanh()),
    ("conv_transpose", &[&[4, 2, 3, 3]], |x, w| {
        x.conv_transpose2d(&w[0], None::<Tensor>, 2, 1, 1, 1, 1).tanh()
    }),
    ("batch_norm", &[&[4], &[4]], |x, w| {
        let none = None::<Tensor>;
        x.batch_norm(Some(&w[0]), Some(&w[1]), none.as_ref(), none.as_ref(), true, 0.1, 1e-5, false)
            .tanh()
    }),
    ("layer_norm", &[&[6], &[6]], |x, w| {
        x.layer_norm([6], Some(&w[0]), Some(&w[1]), 1e-5, false).tanh()
    }),
    ("group_norm", &[&[4], &[4]], |x, w| {
        x.group_norm(2, Some(&w[0]), Some(&w[1]), 1e-5, false).tanh()
    }),
    ("instance_norm", &[&[4], &[4]], |x, w| {
        let none = None::<Tensor>;
        x.instance_norm(
            Some(&w[0]),
            Some(&w[1]),
            none.as_ref(),
            none.as_ref(),
            true,
            0.1,
            1e-5,
            false,
        )
        .tanh()
    }),
    ("max_pool", &[&[4, 1, 1]], |x, w| (x * &w[0]).max_pool2d(2, 2, 0, 1, false).tanh()),
    ("avg_pool", &[&[4, 1, 1]], |x, w| (x * &w[0]).avg_pool2d(2, 2, 0, false, true, None).tanh()),
    ("leaky_relu", &[&[4, 1, 1]], |x, w| (x * &w[0] + 0.1).leaky_relu().square()),
    ("bilinear", &[&[4, 1, 1]], |x, w| {
        (x * &w[0]).upsample_bilinear2d([9, 9], false, None, None).tanh()
    }),
];

#[test]
fn a_penalty_passes_through_every_layer_of_a_critic() {
    let _alone = alone();
    let samples = randn(60, &[3, 4, 6, 6], Kind::Double);
    let noise = rand(61, &[3, 4, 6, 6], Kind::Double) * 0.1;
    for (seed, (name, shapes, layer)) in (70..).zip(LAYERS) {
        let w: Vec<_> =
            shapes.iter().map(|shape| randn(seed, shape, Kind::Double) * 0.5 + 0.3).collect();
        gradcheck(&format!("r1 of {name}"), &w, |w| {
            R1Penalty::default().forward(|x| layer(x, w), &samples)
        });
        gradcheck(&format!("dragan of {name}"), &w, |w| {
            DraganPenalty::default().forward_with_noise(|x| layer(x, w), &samples, &noise)
        });
        let few = samples.narrow(0, 0, 2).narrow(2, 0, 4).narrow(3, 0, 6);
        let inputs: Vec<_> = std::iter::once(few).chain(w).collect();
        gradgradcheck(name, &inputs, |t| layer(&t[0], &t[1..]));
    }
}

#[test]
fn a_penalty_passes_through_spectral_norm() {
    let _alone = alone();
    let samples = randn(90, &[3, 5], Kind::Double);
    let w = randn(91, &[4, 5], Kind::Double);
    let vs = nn::VarStore::new(device());
    let norm = SpectralNorm::new(vs.root(), &w, Default::default());
    // In evaluation, as differences need the same u and v each time.
    let critic = |x: &Tensor, w: &Tensor| x.matmul(&norm.forward_t(w, false).tr()).tanh().square();
    gradcheck("r1", &[w.copy()], |t| R1Penalty::default().forward(|x| critic(x, &t[0]), &samples));
    gradgradcheck("scores", &[samples.copy(), w.copy()], |t| critic(&t[0], &t[1]));
}

#[test]
fn cdist_in_a_critic_is_an_error_of_the_second_derivative_and_no_crash() {
    let w = leaf(&randn(100, &[3, 5], Kind::Double));
    let samples = randn(101, &[4, 5], Kind::Double);
    // The penalty itself is a first derivative; libtorch has no second of cdist.
    let critic = |x: &Tensor| Ok(Tensor::f_cdist(x, &w, 2.0, None::<i64>)?);
    let penalty = R1Penalty::default().f_forward(critic, &samples).unwrap();
    let error = LossError::from(penalty.f_backward().unwrap_err());
    let text = error.to_string();
    assert!(text.starts_with("libtorch: ") && text.contains("_cdist_backward"), "{text}");
    // The next one works.
    let penalty = R1Penalty::default().forward(|x| x.matmul(&w.tr()), &samples);
    penalty.backward();
    assert_finite("gradient", &w.grad());
}

#[test]
fn samples_get_no_gradient_and_the_critic_does() {
    let _alone = alone();
    let w = weights(Kind::Float);
    let samples = leaf(&randn(110, &[4, 5], Kind::Float));
    let noise = leaf(&rand(111, &[4, 5], Kind::Float));
    for penalty in [
        R1Penalty::default().forward(|x| critic(x, &w), &samples),
        DraganPenalty::default().forward_with_noise(|x| critic(x, &w), &samples, &noise),
        DraganPenalty::default().forward(|x| critic(x, &w), &samples),
    ] {
        penalty.backward();
        assert!(!samples.grad().defined() && !noise.grad().defined());
        for (n, w) in w.iter().enumerate() {
            assert_finite("gradient", &w.grad());
            assert!(w.grad().abs().max().double_value(&[]) > 0.0, "weight {n}: zero gradient");
        }
    }
}

#[test]
fn every_kind_is_finite_empty_batches_are_zero_and_a_flat_critic_has_no_gradient() {
    let _alone = alone();
    for kind in KINDS {
        let w = weights(kind);
        let expected = if kind == Kind::Double { kind } else { Kind::Float };
        let samples = randn(120, &[4, 5], kind);
        let some = [
            R1Penalty::default().forward(|x| critic(x, &w), &samples),
            DraganPenalty::default().forward(|x| critic(x, &w), &samples),
        ];
        for penalty in some {
            assert_eq!(penalty.kind(), expected);
            assert_finite("penalty", &penalty);
            penalty.backward();
            for w in &w {
                assert_finite("gradient", &w.grad());
                assert_eq!(w.grad().kind(), kind);
            }
        }
        let empty = randn(121, &[0, 5], kind);
        let w = weights(kind);
        for penalty in [
            R1Penalty::default().forward(|x| critic(x, &w), &empty),
            DraganPenalty::default().forward(|x| critic(x, &w), &empty),
        ] {
            assert_value("empty", &penalty, 0.0, 0.0);
            penalty.backward();
            for w in &w {
                assert_close("gradient", &w.grad(), &w.zeros_like(), (0.0, 0.0));
            }
        }
        let flat = leaf(&randn(122, &[5, 1], kind).zeros_like());
        let r1 = R1Penalty::default().forward(|x| x.matmul(&flat), &samples);
        assert_value("flat", &r1, 0.0, 0.0);
        r1.backward();
        assert_close("flat", &flat.grad(), &flat.zeros_like(), (0.0, 0.0));
    }
}

#[test]
fn critics_without_a_graph_are_errors() {
    let _alone = alone();
    let samples = randn(130, &[4, 5], Kind::Float);
    let w = leaf(&randn(131, &[5, 1], Kind::Float));
    for name in ["R1Penalty", "DraganPenalty"] {
        let message = |critic: &dyn Fn(&Tensor) -> Tensor| {
            let critic = |x: &Tensor| Ok(critic(x));
            let penalty = match name {
                "R1Penalty" => R1Penalty::default().f_forward(critic, &samples),
                _ => DraganPenalty::default().f_forward(critic, &samples),
            };
            penalty.unwrap_err().to_string()
        };
        assert_eq!(
            message(&|x: &Tensor| x.matmul(&w).detach()),
            format!(
                "{name}: the critic's output has no graph; \
                 it must not detach or turn gradients off"
            )
        );
        assert_eq!(
            message(&|_: &Tensor| samples.matmul(&w)),
            format!("{name}: the critic's output does not depend on its input")
        );
        tch::no_grad(|| {
            assert_eq!(
                message(&|x: &Tensor| x.matmul(&w)),
                format!("{name}: gradients are off; call it outside no_grad")
            );
        });
    }
    let failing = R1Penalty::default().f_forward(|x| Ok(x.f_matmul(x)?), &samples);
    assert!(matches!(failing, Err(LossError::Torch(_))));
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let _alone = alone();
    let samples = randn(140, &[4, 5], Kind::Float);
    let critic = |x: &Tensor| Ok(x * 2.0);
    let error = |result: Result<Tensor>| result.unwrap_err().to_string();
    assert_eq!(
        error(R1Penalty::default().gamma(-1.0).f_forward(critic, &samples)),
        "R1Penalty: expected gamma at least 0 and finite, got -1"
    );
    assert_eq!(
        error(R1Penalty::default().f_forward(critic, &samples.to_kind(Kind::Int64))),
        "R1Penalty: expected samples of floating-point kind, got Int64"
    );
    assert_eq!(
        error(R1Penalty::default().f_forward(critic, &Tensor::from(1.0f32))),
        "R1Penalty: expected samples of shape [N, ..], got []"
    );
    let dragan = DraganPenalty::default();
    assert_eq!(
        error(dragan.f_forward_with_noise(critic, &samples, &samples.narrow(0, 0, 2))),
        "DraganPenalty: expected noise of shape [4, 5], got [2, 5]"
    );
    assert_eq!(
        error(dragan.target(f64::NAN).f_forward(critic, &samples)),
        "DraganPenalty: expected target at least 0 and finite, got NaN"
    );

    let latents = leaf(&randn(141, &[2, 3], Kind::Float));
    let images = latents.sum_dim_intlist(1, true, None::<Kind>).view([2, 1, 1, 1]);
    let paths = |images: &Tensor, latents: &Tensor| {
        error(PathLengthPenalty::default().f_forward(images, latents))
    };
    assert_eq!(
        paths(&images.view([2, 1]), &latents),
        "PathLengthPenalty: expected images of shape [N, C, H, W], got [2, 1]"
    );
    assert_eq!(
        paths(&images, &latents.narrow(0, 0, 1)),
        "PathLengthPenalty: expected latents of shape [2, D] or [2, L, D], got [1, 3]"
    );
    let needed = "PathLengthPenalty: the images need a graph to the latents, \
        and the latents a gradient";
    assert_eq!(paths(&images.detach(), &latents), needed);
    assert_eq!(paths(&images, &latents.detach()), needed);
    let other = leaf(&latents);
    assert_eq!(
        paths(&images, &other),
        "PathLengthPenalty: the images do not depend on the latents"
    );
    tch::no_grad(|| assert!(paths(&images, &latents).contains("gradients are off")));
    assert_eq!(
        error(PathLengthPenalty::default().decay(2.0).f_forward(&images, &latents)),
        "PathLengthPenalty: expected decay in [0, 1], got 2"
    );
}

#[test]
fn path_lengths_move_the_average_and_an_even_generator_ends_without_penalty() {
    let _alone = alone();
    let slope = leaf(&tensor(&[3.0], &[1]));
    let noise = tensor(&[1.0; 2], &[2, 1, 1, 1]);
    let mut paths = PathLengthPenalty::default().decay(0.5);
    assert!(paths.average().is_none());
    let call = |paths: &mut PathLengthPenalty| {
        let latents = leaf(&tensor(&[0.4, -0.7], &[2, 1]));
        let images = (&latents * &slope).view([2, 1, 1, 1]);
        paths.forward_with_noise(&images, &latents, &noise).double_value(&[])
    };
    // Every length is 3; a is 1.5, then 2.25.
    assert_eq!(call(&mut paths), 2.0 * 1.5 * 1.5);
    assert_eq!(call(&mut paths), 2.0 * 0.75 * 0.75);
    assert_value("a", &paths.average().unwrap(), 2.25, 0.0);
    let mut resumed = PathLengthPenalty::default().decay(0.5).resume(&paths.average().unwrap());
    assert_eq!(call(&mut resumed), call(&mut paths));
    // Drawn noise works too, in every kind.
    for kind in KINDS {
        let latents = leaf(&randn(150, &[3, 2], kind));
        let images = latents.matmul(&randn(151, &[2, 8], kind)).view([3, 2, 2, 2]);
        assert_finite("drawn", &PathLengthPenalty::default().forward(&images, &latents));
    }
}

#[test]
fn clipping_bounds_what_is_trained_and_leaves_buffers() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    let net = nn::seq_t()
        .add(nn::linear(vs.root() / "a", 6, 8, Default::default()))
        .add(nn::batch_norm1d(vs.root() / "b", 8, Default::default()))
        .add(nn::linear(vs.root() / "c", 8, 1, Default::default()));
    tch::no_grad(|| {
        for mut variable in vs.trainable_variables() {
            let _ = variable.f_add_scalar_(0.5).unwrap();
        }
    });
    let before = vs.variables();
    let running = before["b.running_var"].copy();
    clip_weights(&vs, 0.02);
    for name in ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias"] {
        let largest = vs.variables()[name].abs().max().double_value(&[]);
        assert!(largest <= 0.02 + 1e-9, "{name}: {largest}");
        assert!(vs.variables()[name].requires_grad());
    }
    assert_close("running_var", &vs.variables()["b.running_var"], &running, (0.0, 0.0));
    // Training goes on.
    let x = randn(160, &[4, 6], Kind::Float);
    net.forward_t(&x, true).mean(None::<Kind>).backward();
    assert_finite("gradient", &vs.variables()["a.weight"].grad());
    for c in [-1.0, f64::NAN, f64::INFINITY] {
        let error = f_clip_weights(&vs, c).unwrap_err().to_string();
        assert!(
            error.starts_with("clip_weights: expected c at least 0 and finite, got "),
            "{error}"
        );
    }
}

#[test]
fn the_generator_is_trained_after_every_n_steps_of_the_critic() {
    let trained = |schedule: CriticSchedule| -> Vec<u64> {
        (0..11).filter(|&step| schedule.trains_generator(step)).collect()
    };
    let schedule = CriticSchedule::default();
    assert_eq!(trained(schedule), [4, 9]);
    assert_eq!(trained(schedule.n_critic(2).warm_up(3)), [4, 6, 8, 10]);
    assert_eq!(trained(schedule.n_critic(1)).len(), 11);
    assert_eq!(trained(schedule.n_critic(0)), trained(schedule.n_critic(1)));
    assert!(!schedule.warm_up(u64::MAX).trains_generator(u64::MAX - 1));
}
