//! Spectral normalisation: what the layers keep, divide by and give back.

use crate::{alone, common::*, randn};
use tch::{Device, Kind, Tensor, nn, nn::ModuleT, nn::OptimizerConfig};
use tch_losses::adversarial::{
    SpectralNorm, SpectralNormConfig, f_spectral_conv2d, spectral_conv_transpose2d,
    spectral_conv2d, spectral_linear,
};

/// The largest singular value of a weight with `dim` in front.
fn largest(weight: &Tensor, dim: i64) -> f64 {
    let matrix = weight.detach().to_kind(Kind::Double).movedim_int(dim, 0).flatten(1, -1);
    matrix.svd(true, true).1.max().double_value(&[])
}

fn buffers(vs: &nn::VarStore) -> [Tensor; 2] {
    let variables = vs.variables();
    let find = |end: &str| variables.iter().find(|(name, _)| name.ends_with(end)).unwrap().1.copy();
    [find("_u"), find("_v")]
}

#[test]
fn after_some_passes_the_largest_singular_value_is_one() {
    let _alone = alone();
    for (shape, dim) in [(&[4, 7][..], 0), (&[6, 3, 3, 3][..], 0), (&[3, 5, 2, 2][..], 1)] {
        let vs = nn::VarStore::new(device());
        let weight = randn(1, shape, Kind::Double) * 3.0;
        let config = SpectralNormConfig { dim, ..Default::default() };
        let norm = SpectralNorm::new(vs.root(), &weight, config);
        for _ in 0..300 {
            let _ = norm.forward_t(&weight, true);
        }
        let got = largest(&norm.forward_t(&weight, false), dim as i64);
        assert!((got - 1.0).abs() < 1e-6, "{shape:?}: {got}");
    }
}

#[test]
fn fifteen_steps_at_the_start_come_near() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    let weight = tensor(&[5.0, 0.5, 0.3], &[3]).diag(0);
    let norm = SpectralNorm::new(vs.root(), &weight, Default::default());
    let got = largest(&norm.forward_t(&weight, false), 0);
    assert!((got - 1.0).abs() < 1e-9, "{got}");
}

#[test]
fn scaling_the_weight_changes_nothing() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    let weight = randn(10, &[4, 5], Kind::Double);
    let norm = SpectralNorm::new(vs.root(), &weight, Default::default());
    let (one, other) = (norm.forward_t(&weight, false), norm.forward_t(&(&weight * 7.0), false));
    assert_close("scaled", &other, &one, (1e-12, 0.0));
}

#[test]
fn evaluation_leaves_the_vectors_and_training_moves_them() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    let layer = spectral_linear(vs.root(), 5, 4, Default::default());
    tch::no_grad(|| layer.ws.shallow_clone().copy_(&randn(20, &[4, 5], Kind::Float)));
    let x = randn(21, &[3, 5], Kind::Float);
    let start = buffers(&vs);
    let evaluated = layer.forward_t(&x, false);
    for (before, after) in start.iter().zip(buffers(&vs)) {
        assert_close("evaluation", &after, before, (0.0, 0.0));
    }
    let trained = layer.forward_t(&x, true);
    let moved = buffers(&vs);
    for (before, after) in start.iter().zip(&moved) {
        assert!((after - before).abs().max().double_value(&[]) > 1e-4, "training");
        assert_value("length", &after.norm(), 1.0, 1e-6);
    }
    assert!((&trained - &evaluated).abs().max().double_value(&[]) > 1e-6);
    // Gradients off or on makes no difference to the step.
    let _ = tch::no_grad(|| layer.forward_t(&x, true));
    assert!((&buffers(&vs)[0] - &moved[0]).abs().max().double_value(&[]) > 1e-6);
}

#[test]
fn several_passes_of_one_loss_keep_the_vectors_that_they_used() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    let layer = spectral_linear(vs.root(), 5, 4, Default::default());
    let x = randn(30, &[3, 5], Kind::Float);
    // Evaluation before training: the later pass writes to the buffers.
    let first = layer.forward_t(&x, false);
    let pass = || layer.forward_t(&x, true);
    let loss = (first - pass() + pass()).square().mean(None::<Kind>);
    loss.backward();
    assert_finite("gradient", &layer.ws.grad());
}

#[test]
fn variables_have_pytorchs_names_and_only_weights_are_trained() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    let root = vs.root();
    let _ = spectral_linear(&root / "a", 5, 4, Default::default());
    let config = nn::ConvTransposeConfig { bias: false, ..Default::default() };
    let _ = spectral_conv_transpose2d(&root / "b", 3, 2, 3, config);
    let mut names: Vec<_> = vs
        .variables()
        .into_iter()
        .map(|(name, tensor)| format!("{name} {:?} {}", tensor.size(), tensor.requires_grad()))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "a.bias [4] true",
            "a.parametrizations.weight.0._u [4] false",
            "a.parametrizations.weight.0._v [5] false",
            "a.parametrizations.weight.original [4, 5] true",
            "b.parametrizations.weight.0._u [2] false",
            "b.parametrizations.weight.0._v [27] false",
            "b.parametrizations.weight.original [3, 2, 3, 3] true",
        ]
    );
    assert_eq!(vs.trainable_variables().len(), 3);
}

#[test]
fn saving_and_loading_keeps_the_vectors() {
    let _alone = alone();
    let file = std::env::temp_dir().join(format!("spectral-{}.safetensors", std::process::id()));
    let make = || {
        let vs = nn::VarStore::new(Device::Cpu);
        let layer = spectral_conv2d(vs.root(), 3, 4, 3, Default::default());
        (vs, layer)
    };
    let ((vs, layer), (mut other_vs, other)) = (make(), make());
    let x = Tensor::randn([2, 3, 5, 5], (Kind::Float, Device::Cpu));
    let _ = layer.forward_t(&x, true);
    vs.save(&file).unwrap();
    other_vs.load(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_close("vectors", &buffers(&other_vs)[1], &buffers(&vs)[1], (0.0, 0.0));
    for train in [false, true, false] {
        let (one, same) = (layer.forward_t(&x, train), other.forward_t(&x, train));
        assert_close("output", &same, &one, (0.0, 0.0));
    }
}

#[test]
fn an_optimiser_trains_the_weight_and_the_slope_stays_bounded() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    let layer = spectral_linear(vs.root(), 5, 1, Default::default());
    let mut sgd = nn::Sgd::default().build(&vs, 0.5).unwrap();
    let x = randn(40, &[16, 5], Kind::Float);
    for _ in 0..20 {
        // Wants a slope without bound.
        sgd.backward_step(&-(layer.forward_t(&x, true) * x.select(1, 0)).mean(None::<Kind>));
    }
    let moved = layer.forward_t(&(&x + 1.0), false) - layer.forward_t(&x, false);
    let bound = 5f64.sqrt() * 1.01;
    assert!(moved.abs().max().double_value(&[]) <= bound);
}

#[test]
fn a_weight_of_zeros_stays_zeros_and_learns_on() {
    let _alone = alone();
    for kind in KINDS {
        let vs = nn::VarStore::new(device());
        let weight = leaf(&randn(50, &[4, 5], kind).zeros_like());
        let norm = SpectralNorm::new(vs.root(), &weight, Default::default());
        for train in [true, false] {
            let normalised = norm.forward_t(&weight, train);
            assert_close("zeros", &normalised, &weight, (0.0, 0.0));
            normalised.sum(None::<Kind>).backward();
            assert_finite("gradient", &weight.grad());
        }
        let later = randn(51, &[4, 5], kind);
        for _ in 0..50 {
            let _ = norm.forward_t(&later, true);
        }
        let got = largest(&norm.forward_t(&later, false), 0);
        assert!((got - 1.0).abs() < 0.05, "{kind:?}: {got}");
    }
}

#[test]
fn every_kind_gives_its_own_kind_and_is_near_double() {
    let _alone = alone();
    let weight = randn(60, &[4, 6], Kind::Double);
    let x = randn(61, &[3, 6], Kind::Double);
    let at = |kind: Kind| {
        let vs = nn::VarStore::new(device());
        let rounded = weight.to_kind(kind);
        let norm = SpectralNorm::new(vs.root(), &rounded, Default::default());
        for _ in 0..200 {
            let _ = norm.forward_t(&rounded, true);
        }
        let w = leaf(&rounded);
        let output = x.to_kind(kind).matmul(&norm.forward_t(&w, false).tr());
        assert_eq!(output.kind(), kind);
        output.sum(None::<Kind>).backward();
        assert_eq!(w.grad().kind(), kind);
        assert_finite("gradient", &w.grad());
        output
    };
    let expected = at(Kind::Double);
    for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
        let (rtol, atol) = tolerance(kind);
        // Two roundings of the weight and one of the product's sum.
        assert_close(&format!("{kind:?}"), &at(kind), &expected, (4.0 * rtol, 4.0 * atol));
    }
}

#[test]
fn the_gradient_matches_differences_with_the_vectors_fixed() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    for (dim, shape) in [(0, &[3, 4][..]), (1, &[2, 3, 2][..])] {
        let weight = randn(70, shape, Kind::Double);
        let config = SpectralNormConfig { dim, ..Default::default() };
        let norm = SpectralNorm::new(vs.root() / dim, &weight, config);
        gradcheck("W/σ", &[weight.copy()], |w| norm.forward_t(&w[0], false));
        gradgradcheck("W/σ", &[weight], |w| norm.forward_t(&w[0], false));
    }
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let _alone = alone();
    let vs = nn::VarStore::new(device());
    let weight = randn(80, &[4, 5], Kind::Float);
    let made = |weight: &Tensor, config| {
        SpectralNorm::f_new(vs.root(), weight, config).unwrap_err().to_string()
    };
    let plain = SpectralNormConfig::default();
    assert_eq!(
        made(&weight.view(-1), plain),
        "SpectralNorm: expected weight of shape [out, in, ..], got [20]"
    );
    assert_eq!(
        made(&weight, SpectralNormConfig { dim: 2, ..plain }),
        "SpectralNorm: expected dim a dimension of the weight, got 2"
    );
    assert_eq!(
        made(&weight, SpectralNormConfig { n_power_iterations: 0, ..plain }),
        "SpectralNorm: expected n_power_iterations at least 1, got 0"
    );
    assert_eq!(
        made(&weight, SpectralNormConfig { eps: f64::NAN, ..plain }),
        "SpectralNorm: expected eps at least 0 and finite, got NaN"
    );
    assert_eq!(
        made(&weight.to_kind(Kind::Int64), plain),
        "SpectralNorm: expected weight of floating-point kind, got Int64"
    );
    let norm = SpectralNorm::new(vs.root(), &weight, plain);
    assert_eq!(
        norm.f_forward_t(&weight.tr(), true).unwrap_err().to_string(),
        "SpectralNorm: expected weight of shape that it was made for, got [5, 4]"
    );
    let groups = nn::ConvConfig { groups: 2, ..Default::default() };
    assert_eq!(
        f_spectral_conv2d(vs.root(), 3, 4, 3, groups).unwrap_err().to_string(),
        "SpectralLayer: expected groups at least 1 and a divisor of the channels, got 2"
    );
    let layer = spectral_linear(vs.root() / "l", 5, 4, Default::default());
    assert!(layer.f_forward_t(&randn(81, &[2, 4], Kind::Float), true).is_err());
}
