//! Losses of variational autoencoders: parity with PyTorch, laws, gradients, edge cases, errors.

mod common;

use common::{
    Case, Fixture, KINDS, assert_close, assert_finite, assert_value, gradcheck, gradgradcheck,
    leaf, rand, randn, tensor, tolerance, value_and_grad,
};
use tch::{Kind, Tensor};
use tch_losses::{
    ElboReduction, KlStandardNormal, Loss, LossParts, MseLoss, Reconstruction, Reduction, VaeLoss,
};

const REDUCED: [(&str, ElboReduction); 3] = [
    ("batchmean", ElboReduction::BatchMean),
    ("mean", ElboReduction::Mean),
    ("sum", ElboReduction::Sum),
];

const COMPARED: [(&str, Reconstruction); 4] = [
    ("mse", Reconstruction::Mse),
    ("l1", Reconstruction::L1),
    ("bce", Reconstruction::Bce),
    ("bce_with_logits", Reconstruction::BceWithLogits),
];

fn divergence(loss: &KlStandardNormal, case: &Case) -> Tensor {
    loss.forward(case.get("mu"), case.get("logvar"))
}

fn total(loss: &VaeLoss, case: &Case) -> Tensor {
    let [input, target, mu, logvar] =
        ["input", "target", "mu", "logvar"].map(|name| case.get(name));
    loss.forward(input, target, mu, logvar).total
}

#[test]
fn variational() {
    let fixture = Fixture::open("variational");
    let latent = ["mu", "logvar"];
    for (name, reduction) in REDUCED.into_iter().chain([("none", ElboReduction::None)]) {
        let kl = KlStandardNormal::default().reduction(reduction);
        fixture.parity(&format!("kl_{name}"), &latent, |case| divergence(&kl, case));
    }
    for (name, reduction) in REDUCED {
        let kl = KlStandardNormal::default().reduction(reduction).free_bits(0.4);
        fixture.parity(&format!("kl_free_{name}"), &latent, |case| divergence(&kl, case));
    }
    let all = ["input", "mu", "logvar"];
    for (compared_name, compared) in COMPARED {
        for (name, reduction) in REDUCED {
            let vae = VaeLoss::default().reconstruction(compared).reduction(reduction).beta(2.5);
            fixture.parity(&format!("vae_{compared_name}_{name}"), &all, |case| total(&vae, case));
        }
    }
    let mixed = VaeLoss::default()
        .reduction(ElboReduction::Mean)
        .kl_reduction(ElboReduction::BatchMean)
        .beta(0.3)
        .free_bits(0.4);
    fixture.parity("vae_mixed", &all, |case| total(&mixed, case));
    fixture.finish();
}

fn latent(kind: Kind) -> (Tensor, Tensor) {
    (randn(1, &[4, 3, 2], kind), randn(2, &[4, 3, 2], kind))
}

#[test]
fn gradients_agree_with_differences() {
    let (mu, logvar) = latent(Kind::Double);
    for (name, reduction) in REDUCED.into_iter().chain([("none", ElboReduction::None)]) {
        let kl = KlStandardNormal::default().reduction(reduction);
        let inputs = [mu.shallow_clone(), logvar.shallow_clone()];
        gradcheck(name, &inputs, |x| kl.forward(&x[0], &x[1]));
        gradgradcheck(name, &inputs, |x| kl.forward(&x[0], &x[1]));
        if reduction != ElboReduction::None {
            let kl = kl.free_bits(0.6);
            gradcheck(&format!("{name}, free bits"), &inputs, |x| kl.forward(&x[0], &x[1]));
        }
    }
    let (input, target) =
        (rand(3, &[4, 5], Kind::Double) * 0.8 + 0.1, rand(4, &[4, 5], Kind::Double));
    for (name, compared) in COMPARED {
        let vae = VaeLoss::default().reconstruction(compared).beta(0.7);
        let inputs = [&input, &mu, &logvar].map(Tensor::shallow_clone);
        gradcheck(name, &inputs, |x| vae.forward(&x[0], &target, &x[1], &x[2]).total);
        gradgradcheck(name, &inputs, |x| vae.forward(&x[0], &target, &x[1], &x[2]).total);
    }
}

#[test]
fn the_standard_normal_diverges_by_nothing_from_itself() {
    for kind in KINDS {
        let zeros = tensor(&[0.0; 6], &[2, 3]).to_kind(kind);
        let kl = KlStandardNormal::default();
        let (value, grad) = value_and_grad(&zeros, |mu| kl.forward(mu, &zeros));
        assert_value("value", &value, 0.0, 0.0);
        assert_value("gradient of mu", &grad.abs().max(), 0.0, 0.0);
        let (_, grad) = value_and_grad(&zeros, |logvar| kl.forward(&zeros, logvar));
        assert_value("gradient of logvar", &grad.abs().max(), 0.0, 0.0);
    }
}

/// `-½ Σ (1 + logvar - μ² - exp(logvar))` rounds these to multiples of 6e-8, some below 0.
#[test]
fn small_divergences_keep_their_digits_in_float() {
    let logvar = tensor(&[1e-3, -1e-3, 3e-4, 1e-2], &[4, 1]);
    let kl = KlStandardNormal::default().reduction(ElboReduction::None);
    let exact = kl.forward(&logvar.zeros_like(), &logvar);
    let logvar = logvar.to_kind(Kind::Float);
    let float = kl.forward(&logvar.zeros_like(), &logvar);
    assert_close("value", &float, &exact, (1e-3, 0.0));
}

#[test]
fn it_is_the_expected_difference_of_the_logarithms_of_the_densities() {
    // By the trapezoid rule over 12 standard deviations.
    let (mu, logvar) = (0.7f64, -0.4f64);
    let sigma = (logvar / 2.0).exp();
    let n = 20_000;
    let z = Tensor::linspace(-12.0, 12.0, n, (Kind::Double, common::device()));
    let density = (z.square() * -0.5).exp() / std::f64::consts::TAU.sqrt();
    let x = &z * sigma + mu;
    let difference = z.square() * -0.5 - sigma.ln() + x.square() * 0.5;
    let expected = (density * difference).sum(Kind::Double) * (24.0 / (n - 1) as f64);
    let at = |value: f64| tensor(&[value], &[1, 1]);
    let kl = KlStandardNormal::default().forward(&at(mu), &at(logvar));
    assert_close("value", &kl, &expected, (1e-9, 0.0));
}

#[test]
fn reductions_differ_by_the_sizes_they_divide_by() {
    let (mu, logvar) = latent(Kind::Double);
    for free_bits in [0.0, 0.5] {
        let of = |reduction| {
            let kl = KlStandardNormal::default().reduction(reduction).free_bits(free_bits);
            kl.forward(&mu, &logvar)
        };
        let sum = of(ElboReduction::Sum);
        assert_close("batchmean", &of(ElboReduction::BatchMean), &(&sum / 4.0), (1e-12, 0.0));
        assert_close("mean", &of(ElboReduction::Mean), &(&sum / 24.0), (1e-12, 0.0));
    }
}

#[test]
fn a_variable_below_its_free_bits_gets_no_gradient() {
    let mu = tensor(&[0.1, 2.0, -0.1, 1.0], &[2, 2]);
    let kl = KlStandardNormal::default().free_bits(0.5);
    let (value, grad) = value_and_grad(&mu, |mu| kl.forward(mu, &mu.zeros_like()));
    // The second variable carries (2 + ½) / 2 nats in the mean.
    assert_value("value", &value, 0.5 + 1.25, 1e-12);
    assert_close("gradient", &grad, &tensor(&[0.0, 1.0, 0.0, 0.5], &[2, 2]), (1e-12, 0.0));
    let none = KlStandardNormal::default().forward(&mu, &mu.zeros_like());
    let few = KlStandardNormal::default().free_bits(1e-4).forward(&mu, &mu.zeros_like());
    assert_close("not reached", &few, &none, (1e-12, 0.0));
}

#[test]
fn large_logvars_are_finite() {
    for kind in KINDS {
        let (mu, logvar) = (
            tensor(&[0.0, 1e4, -1e4, 3.0], &[2, 2]).to_kind(kind),
            tensor(&[1e4, -1e4, 60.0, 100.0], &[2, 2]).to_kind(kind),
        );
        for reduction in [ElboReduction::BatchMean, ElboReduction::None] {
            let kl = KlStandardNormal::default().reduction(reduction);
            let what = format!("{reduction:?} {kind:?}");
            let (value, grad) = value_and_grad(&mu, |mu| kl.forward(mu, &logvar));
            assert_finite(&what, &value);
            assert_finite(&what, &grad);
            let (_, grad) = value_and_grad(&logvar, |logvar| kl.forward(&mu, logvar));
            assert_finite(&what, &grad);
            assert!(grad.get(0).double_value(&[1]) < 0.0, "{what}: a tiny variance grows");
        }
        for (_, compared) in COMPARED {
            let input = match compared {
                Reconstruction::Bce => tensor(&[0.0, 1.0], &[2, 1]),
                _ => tensor(&[1e4, -1e4], &[2, 1]),
            };
            let target = tensor(&[1.0, 0.0], &[2, 1]);
            let vae = VaeLoss::default().reconstruction(compared);
            let (value, grad) = value_and_grad(&input.to_kind(kind), |input| {
                vae.forward(input, &target, &mu, &logvar).total
            });
            assert_finite(&format!("{compared:?} {kind:?}"), &value);
            // libtorch's own gradient of a probability of 0 is 1e12.
            if kind != Kind::Half || compared != Reconstruction::Bce {
                assert_finite(&format!("{compared:?} {kind:?} gradient"), &grad);
            }
        }
    }
}

#[test]
fn empty_batches_are_zero_with_a_gradient() {
    for kind in KINDS {
        let (input, mu) = (randn(5, &[0, 3], kind), randn(6, &[0, 2], kind));
        for (_, reduction) in REDUCED {
            for (_, compared) in COMPARED {
                let vae = VaeLoss::default().reconstruction(compared).reduction(reduction);
                let (value, grad) = value_and_grad(&input, |input| {
                    vae.forward(input, &input.zeros_like(), &mu, &mu).total
                });
                assert_value("value", &value, 0.0, 0.0);
                assert_eq!(grad.size(), [0, 3]);
            }
            // Free bits are counted for each sample, and there is none.
            let kl = KlStandardNormal::default().reduction(reduction).free_bits(0.5);
            let (value, grad) = value_and_grad(&mu, |mu| kl.forward(mu, mu));
            assert_value("free bits", &value, 0.0, 0.0);
            assert_eq!(grad.size(), [0, 2]);
        }
    }
}

#[test]
fn half_kinds_give_the_float_answer_in_float() {
    for kind in [Kind::Half, Kind::BFloat16] {
        let (mu, logvar) = latent(kind);
        let (input, target) = (randn(7, &[4, 30], kind), rand(8, &[4, 30], Kind::Float));
        let vae = VaeLoss::default().reconstruction(Reconstruction::BceWithLogits);
        let of = |mu: &Tensor, logvar: &Tensor, input: &Tensor| {
            let mu = leaf(mu);
            let total = vae.forward(input, &target, &mu, logvar).total;
            total.backward();
            (total.detach(), mu.grad())
        };
        let (value, grad) = of(&mu, &logvar, &input);
        let float = |tensor: &Tensor| tensor.to_kind(Kind::Float);
        let (expected, expected_grad) = of(&float(&mu), &float(&logvar), &float(&input));
        assert_eq!((value.kind(), grad.kind()), (Kind::Float, kind));
        assert_close("value", &value, &expected, (1e-6, 0.0));
        assert_close("gradient", &grad, &expected_grad, tolerance(kind));
    }
}

#[test]
fn beta_means_the_same_for_an_image_of_any_size() {
    let (mu, logvar) = latent(Kind::Double);
    let image = rand(9, &[4, 1, 6, 6], Kind::Double);
    let larger = image.repeat([1, 1, 2, 2]);
    let share = |image: &Tensor, reduction| {
        let vae = VaeLoss::default().reduction(reduction);
        let LossParts { named, .. } = vae.forward(&(image * 0.5), image, &mu, &logvar);
        (named[0].1.double_value(&[]), named[1].1.double_value(&[]))
    };
    let (small, kl) = share(&image, ElboReduction::BatchMean);
    let (large, same) = share(&larger, ElboReduction::BatchMean);
    // Four times the pixels are four times the evidence against the same prior.
    assert!((large - 4.0 * small).abs() < 1e-9 && kl == same);
    let (small, _) = share(&image, ElboReduction::Mean);
    let (large, _) = share(&larger, ElboReduction::Mean);
    assert!((large - small).abs() < 1e-12);
}

#[test]
fn the_total_is_the_sum_of_its_parts() {
    let (mu, logvar) = latent(Kind::Double);
    let (input, target) =
        (leaf(&randn(10, &[4, 5], Kind::Double)), rand(11, &[4, 5], Kind::Double));
    let vae = VaeLoss::default().beta(3.0);
    let LossParts { total, named } = vae.forward(&input, &target, &mu, &logvar);
    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["reconstruction", "kl"]);
    assert_close("total", &total, &(&named[0].1 + &named[1].1 * 3.0), (1e-12, 0.0));
    assert!(total.requires_grad() && !named[0].1.requires_grad());
    let mse = MseLoss::default().reduction(Reduction::Sum).forward(&input, &target) / 4.0;
    assert_close("reconstruction", &named[0].1, &mse, (1e-12, 0.0));
    let kl = KlStandardNormal::default().forward(&mu, &logvar);
    assert_close("kl", &named[1].1, &kl, (1e-12, 0.0));
}

#[test]
fn inputs_are_left_as_they_were() {
    let (mu, logvar) = latent(Kind::Float);
    let before = (mu.copy(), logvar.copy());
    KlStandardNormal::default().forward(&leaf(&mu), &leaf(&logvar)).backward();
    assert_eq!((mu, logvar), before);
}

#[test]
fn errors_say_what_was_expected() {
    let (mu, logvar) = latent(Kind::Float);
    let (input, target) = (randn(12, &[4, 5], Kind::Float), rand(13, &[4, 5], Kind::Float));
    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    let kl = KlStandardNormal::default();
    let of = |vae: VaeLoss, input: &Tensor, mu: &Tensor| {
        vae.f_forward(input, &target, mu, &logvar).unwrap_err().to_string()
    };
    let vae = VaeLoss::default();
    let errors = [
        (
            say(kl.f_forward(&mu, &logvar.get(0))),
            "KlStandardNormal: expected logvar of shape [4, 3, 2], got [3, 2]",
        ),
        (
            say(kl.f_forward(&Tensor::from(1.0), &Tensor::from(1.0))),
            "KlStandardNormal: expected mu of shape [N, ..], got []",
        ),
        (
            say(kl.f_forward(&mu.to_kind(Kind::Int64), &logvar)),
            "KlStandardNormal: expected mu of floating-point kind, got Int64",
        ),
        (
            say(kl.free_bits(-0.1).f_forward(&mu, &logvar)),
            "KlStandardNormal: expected free_bits at least 0 and finite, got -0.1",
        ),
        (
            say(kl.free_bits(0.1).reduction(ElboReduction::None).f_forward(&mu, &logvar)),
            "KlStandardNormal: expected free_bits 0 with the reduction None, got 0.1",
        ),
        (
            of(vae, &input.narrow(1, 0, 4), &mu),
            "VaeLoss: expected target of shape [4, 4], got [4, 5]",
        ),
        (
            of(vae, &input, &mu.narrow(0, 0, 3)),
            "VaeLoss: expected mu of shape [4, ..], got [3, 3, 2]",
        ),
        (
            of(vae.beta(f64::NAN), &input, &mu),
            "VaeLoss: expected beta at least 0 and finite, got NaN",
        ),
        (
            of(vae.reduction(ElboReduction::None), &input, &mu),
            "VaeLoss: expected reduction BatchMean, Mean or Sum, got None",
        ),
        (
            of(vae.kl_reduction(ElboReduction::None), &input, &mu),
            "VaeLoss: expected reduction BatchMean, Mean or Sum, got None",
        ),
    ];
    for (said, expected) in errors {
        assert_eq!(said, expected);
    }
}
