//! The gradient penalty: parity, gradient check, laws, edges and errors.

mod common;

use common::*;
use tch::{Device, Kind, Tensor, nn, nn::Module};
use tch_losses::{GradientPenalty, LossError, f_gradient_penalty, gradient_penalty};

fn activation(name: &str, z: &Tensor) -> Tensor {
    match name {
        "tanh" => z.tanh(),
        "softplus" => z.softplus(),
        _ => z.maximum(&(z * 0.2)),
    }
}

#[test]
fn matches_pytorch_for_value_and_critic_gradient() {
    let fixture = Fixture::open("gradient_penalty");
    let variants = [
        ("default", GradientPenalty::default()),
        ("lambda_target", GradientPenalty::default().lambda(2.5).target(0.3)),
        ("one_sided", GradientPenalty::default().target(0.6).one_sided(true)),
    ];
    for act in ["tanh", "leaky_relu", "softplus"] {
        // The slopes of a piecewise linear critic do not depend on its bias.
        let differentiated: &[_] =
            if act == "leaky_relu" { &["w1", "w2"] } else { &["w1", "b1", "w2"] };
        for (variant, penalty) in variants {
            fixture.parity(&format!("mlp_{act}_{variant}"), differentiated, |c| {
                let critic = |x: &Tensor| {
                    let hidden = activation(act, &(x.matmul(&c.get("w1").tr()) + c.get("b1")));
                    hidden.matmul(&c.get("w2").tr())
                };
                let (real, fake) = (c.get("real"), c.get("fake"));
                penalty.forward_with_mixing(critic, real, fake, c.get("mixing"))
            });
            fixture.parity(&format!("conv_{act}_{variant}"), differentiated, |c| {
                let critic = |x: &Tensor| {
                    let hidden =
                        x.conv2d(c.get("w1"), Some(c.get("b1")), [2, 2], [1, 1], [1, 1], 1);
                    let none = None::<&Tensor>;
                    activation(act, &hidden).conv2d(c.get("w2"), none, [1, 1], [0, 0], [1, 1], 1)
                };
                let (real, fake) = (c.get("real"), c.get("fake"));
                penalty.forward_with_mixing(critic, real, fake, c.get("mixing"))
            });
        }
    }
    fixture.finish();
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
fn mixing_chooses_the_point_and_may_be_flat_or_broadcast() {
    let (real, fake) = samples(20, Kind::Double);
    // |∇ Σx²/2| = |x|, so the penalty with target 0 and lambda 1 is the mean of |x|².
    let penalty = GradientPenalty::default().lambda(1.0).target(0.0);
    let critic = |x: &Tensor| (x * x).sum_dim_intlist(1, false, None::<Kind>) * 0.5;
    let squares = |x: &Tensor| (x * x).sum_dim_intlist(1, false, None::<Kind>).mean(None::<Kind>);
    let ones = tensor(&[1.0; 4], &[4]);
    let at_real = penalty.forward_with_mixing(critic, &real, &fake, &ones);
    assert_close("at real", &at_real, &squares(&real), tolerance(Kind::Double));
    let at_fake = penalty.forward_with_mixing(critic, &real, &fake, &(&ones * 0.0));
    assert_close("at fake", &at_fake, &squares(&fake), tolerance(Kind::Double));

    let mixing = tensor(&[0.1, 0.9, 0.5, 0.3], &[4]);
    let flat = penalty.forward_with_mixing(critic, &real, &fake, &mixing);
    let broadcast = penalty.forward_with_mixing(critic, &real, &fake, &mixing.view([4, 1]));
    assert_close("shapes of mixing", &flat, &broadcast, (0.0, 0.0));
    let column = mixing.view([4, 1]);
    let between = &column * &real + (1.0f64 - &column) * &fake;
    assert_close("between", &flat, &squares(&between), tolerance(Kind::Double));
}

#[test]
fn random_mixing_follows_the_seed_and_differs_per_sample() {
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

#[test]
fn a_unit_slope_has_no_penalty_and_one_sided_ignores_small_slopes() {
    let (real, fake) = samples(30, Kind::Double);
    let slope = |length: f64| move |x: &Tensor| x.select(1, 0) * length;
    let value = |penalty: GradientPenalty, length: f64| {
        penalty.forward(slope(length), &real, &fake).double_value(&[])
    };
    let both = GradientPenalty::default();
    assert_eq!(value(both, 1.0), 0.0);
    assert_eq!(value(both, 3.0), 40.0);
    assert_eq!(value(both, 0.5), 2.5);
    assert_eq!(value(both.one_sided(true), 0.5), 0.0);
    assert_eq!(value(both.one_sided(true), 3.0), 40.0);
    assert_eq!(value(both.target(3.0), 3.0), 0.0);
    assert_eq!(value(both.lambda(0.0), 3.0), 0.0);
}

#[test]
fn each_sample_has_its_own_norm_over_all_its_dimensions() {
    // Slopes 1..4 on (N, C, H, W): gradient n in each of the 2*3*2 elements of sample n.
    let shape = [4, 2, 3, 2];
    let scale = tensor(&[1.0, 2.0, 3.0, 4.0], &[4, 1, 1, 1]);
    let real = randn(40, &shape, Kind::Double);
    let penalty = gradient_penalty(|x| x * &scale, &real, &real.zeros_like());
    let expected: f64 = (1..=4).map(|n| 10.0 * (n as f64 * 12f64.sqrt() - 1.0).powi(2) / 4.0).sum();
    assert_value("penalty", &penalty, expected, 1e-9);
}

#[test]
fn permuting_the_batch_changes_nothing() {
    let (real, fake) = samples(50, Kind::Double);
    let mixing = rand(52, &[4], Kind::Double);
    let w = weights();
    let value = |order: &[i64]| {
        let order = index(order, &[4]);
        let pick = |t: &Tensor| t.index_select(0, &order);
        GradientPenalty::default().forward_with_mixing(
            |x| smooth_critic(x, &w),
            &pick(&real),
            &pick(&fake),
            &pick(&mixing),
        )
    };
    assert_close("penalty", &value(&[0, 1, 2, 3]), &value(&[2, 0, 3, 1]), (1e-12, 0.0));
}

#[test]
fn the_critic_alone_gets_a_gradient() {
    let vs = nn::VarStore::new(device());
    let net = nn::seq()
        .add(nn::linear(vs.root() / "a", 5, 8, Default::default()))
        .add_fn(|x| x.leaky_relu())
        .add(nn::linear(vs.root() / "b", 8, 1, Default::default()));
    let (real, fake) = samples(60, Kind::Float);
    let (real, fake) = (leaf(&real), leaf(&fake));
    let penalty = gradient_penalty(|x| net.forward(x), &real, &fake);
    for (name, weight) in vs.variables() {
        assert!(!weight.grad().defined(), "{name} has a gradient before backward");
    }
    penalty.backward();
    assert!(!real.grad().defined() && !fake.grad().defined());
    for name in ["a.weight", "b.weight"] {
        let gradient = vs.variables()[name].grad();
        assert_finite(name, &gradient);
        assert!(gradient.abs().max().double_value(&[]) > 0.0, "{name}: zero gradient");
    }
}

#[test]
fn zero_gradient_of_the_critic_is_finite_in_every_order() {
    for kind in KINDS {
        let (real, fake) = samples(70, kind);
        let w = leaf(&randn(71, &[5, 1], kind).zeros_like());
        let penalty = gradient_penalty(|x| x.matmul(&w), &real, &fake);
        assert_value("penalty", &penalty, 10.0, 0.0);
        let first = Tensor::run_backward(&[&penalty], &[&w], true, true);
        assert_close("first", &first[0], &w.zeros_like(), (0.0, 0.0));
        // The penalty is flat here by definition, so nothing may remain to differentiate.
        if first[0].requires_grad() {
            let second = Tensor::run_backward(&[&first[0]], &[&w], true, false);
            if second[0].defined() {
                assert_close("second", &second[0], &w.zeros_like(), (0.0, 0.0));
            }
        }
        // Zero for some samples only.
        let gate = tensor(&[0.0, 1.0, 0.0, 2.0], &[4, 1]).to_kind(kind);
        let w = leaf(&randn(72, &[5, 1], kind));
        let penalty = gradient_penalty(|x| x.matmul(&w) * &gate, &real, &fake);
        penalty.backward();
        assert_finite("penalty", &penalty);
        assert_finite("gradient", &w.grad());
        // A constant that keeps its graph.
        let penalty =
            gradient_penalty(|x| x.sum_dim_intlist(1, false, None::<Kind>) * 0.0, &real, &fake);
        assert_value("constant critic", &penalty, 10.0, 0.0);
    }
}

#[test]
fn every_kind_is_finite_and_half_is_close_to_float() {
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
fn half_norms_do_not_overflow() {
    let real = tensor(&[1.0; 2 * 4096], &[2, 4096]).to_kind(Kind::Half);
    let penalty = gradient_penalty(|x| x * 300.0, &real, &real);
    assert_close(
        "penalty",
        &penalty,
        &tensor(&[10.0 * (300.0 * 64.0 - 1.0f64).powi(2)], &[]),
        (1e-6, 0.0),
    );
}

#[test]
fn an_empty_batch_is_zero() {
    for kind in KINDS {
        let real = randn(90, &[0, 5], kind);
        let w = leaf(&randn(91, &[5, 1], kind));
        let penalty = gradient_penalty(|x| x.matmul(&w), &real, &real);
        assert_value("penalty", &penalty, 0.0, 0.0);
        penalty.backward();
        assert_close("gradient", &w.grad(), &w.zeros_like(), (0.0, 0.0));
    }
}

#[test]
fn any_shape_of_output_and_input_is_taken() {
    let (real, fake) = samples(95, Kind::Double);
    let mixing = rand(96, &[4], Kind::Double);
    let w = weights();
    let value = |shape: &'static [i64]| {
        GradientPenalty::default().forward_with_mixing(
            |x| smooth_critic(x, &w).view(shape),
            &real,
            &fake,
            &mixing,
        )
    };
    let expected = value(&[4, 1]);
    assert_close("(N)", &value(&[4]), &expected, (0.0, 0.0));
    assert_close("(N, 1, 1)", &value(&[4, 1, 1]), &expected, (0.0, 0.0));
    let summed = GradientPenalty::default().forward_with_mixing(
        |x| smooth_critic(x, &w).sum(None::<Kind>),
        &real,
        &fake,
        &mixing,
    );
    assert_close("a sum", &summed, &expected, (1e-12, 0.0));
    // One number per sample, and a critic that returns its input as it is: slope 1.
    let one = randn(97, &[4], Kind::Double);
    assert_value("identity", &gradient_penalty(|x| x.shallow_clone(), &one, &one), 0.0, 0.0);
    // Not contiguous.
    let (real_t, fake_t) = (real.tr().contiguous().tr(), fake.tr().contiguous().tr());
    let strided = GradientPenalty::default().forward_with_mixing(
        |x| smooth_critic(x, &w),
        &real_t,
        &fake_t,
        &mixing,
    );
    assert_close("strides", &strided, &expected, (1e-12, 0.0));
}

#[test]
fn critics_without_a_graph_are_errors() {
    let (real, fake) = samples(100, Kind::Float);
    let w = leaf(&randn(101, &[5, 1], Kind::Float));
    let no_graph = "GradientPenalty: the critic's output has no graph; \
        it must not detach or turn gradients off";
    let unused = "GradientPenalty: the critic's output does not depend on its input";
    let off = "GradientPenalty: gradients are off; call it outside no_grad";
    let message = |critic: &dyn Fn(&Tensor) -> Tensor| {
        let error = f_gradient_penalty(|x| Ok(critic(x)), &real, &fake).unwrap_err();
        assert!(matches!(error, LossError::Graph { .. }), "{error:?}");
        error.to_string()
    };
    assert_eq!(message(&|x| x.matmul(&w).detach()), no_graph);
    assert_eq!(message(&|x| tch::no_grad(|| x.matmul(&w))), no_graph);
    assert_eq!(message(&|_| Tensor::zeros([4, 1], (Kind::Float, device()))), no_graph);
    assert_eq!(message(&|x| x.gt(0.0)), no_graph);
    assert_eq!(message(&|_| Tensor::new()), no_graph);
    // Uses its parameters only, or detaches its input.
    assert_eq!(message(&|_| real.matmul(&w)), unused);
    assert_eq!(message(&|x| x.detach().matmul(&w)), unused);
    assert_eq!(message(&|_| w.shallow_clone()), unused);
    tch::no_grad(|| {
        assert_eq!(message(&|x| x.matmul(&w)), off);
        assert_eq!(message(&|x| tch::with_grad(|| x.matmul(&w))), off);
    });
    // The next call works.
    assert_finite("penalty", &gradient_penalty(|x| x.matmul(&w), &real, &fake));
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let (real, fake) = samples(110, Kind::Float);
    let critic = |x: &Tensor| Ok(x * 2.0);
    let plain = GradientPenalty::default();
    let message = |penalty: GradientPenalty, real: &Tensor, fake: &Tensor| {
        penalty.f_forward(critic, real, fake).unwrap_err().to_string()
    };
    assert_eq!(
        message(plain, &real, &fake.narrow(1, 0, 4)),
        "GradientPenalty: expected fake of shape [4, 5], got [4, 4]"
    );
    assert_eq!(
        message(plain, &Tensor::from(1.0f32), &Tensor::from(1.0f32)),
        "GradientPenalty: expected real of shape [N, ..], got []"
    );
    assert_eq!(
        message(plain, &real, &fake.to_kind(Kind::Half)),
        "GradientPenalty: expected fake of the real samples' kind, got Half"
    );
    assert_eq!(
        message(plain, &real.to_kind(Kind::Int64), &fake),
        "GradientPenalty: expected real of floating-point kind, got Int64"
    );
    assert_eq!(
        message(plain.lambda(-1.0), &real, &fake),
        "GradientPenalty: expected lambda at least 0 and finite, got -1"
    );
    assert_eq!(
        message(plain.target(f64::NAN), &real, &fake),
        "GradientPenalty: expected target at least 0 and finite, got NaN"
    );
    let mixing = rand(112, &[5], Kind::Float);
    assert_eq!(
        plain.f_forward_with_mixing(critic, &real, &fake, &mixing).unwrap_err().to_string(),
        "GradientPenalty: expected mixing of shape [4] or [4, 1], got [5]"
    );
    let complex = |x: &Tensor| Ok(x.to_kind(Kind::ComplexFloat));
    assert_eq!(
        plain.f_forward(complex, &real, &fake).unwrap_err().to_string(),
        "GradientPenalty: expected the critic's output of floating-point kind, got ComplexFloat"
    );
    // The critic's own error comes through.
    let failing = |x: &Tensor| Ok(x.f_matmul(x)?);
    let error = f_gradient_penalty(failing, &real, &fake).unwrap_err();
    assert!(matches!(error, LossError::Torch(_)), "{error:?}");
}

#[test]
#[should_panic(expected = "GradientPenalty: expected fake of shape [4, 5], got [4, 4]")]
fn the_plain_form_panics_with_the_same_line() {
    let (real, fake) = samples(120, Kind::Float);
    let _ = gradient_penalty(|x| x * 2.0, &real, &fake.narrow(1, 0, 4));
}

#[test]
fn a_device_mismatch_is_an_error() {
    if !tch::Cuda::is_available() {
        return;
    }
    let real = Tensor::randn([2, 3], (Kind::Float, Device::Cuda(0)));
    let fake = Tensor::randn([2, 3], (Kind::Float, Device::Cpu));
    let error = f_gradient_penalty(|x| Ok(x * 2.0), &real, &fake).unwrap_err();
    assert!(matches!(error, LossError::Device { .. }), "{error:?}");
}
