//! Fused losses of errors and fused total variation against their composed forms.

mod common;
#[path = "common/fused.rs"]
mod fused_common;

use common::{KINDS, leaf, rand, randint, randn};
use fused_common::{
    alike, alike_for_any_threads, alike_twice, alike_weighted, alone, is_fused, passed,
};
use tch::{Device, Kind, Tensor};
use tch_losses::{
    BalancedL1Loss, CharbonnierLoss, ElboReduction, HuberLoss, KlStandardNormal, L1Loss,
    LogCoshLoss, Loss, MseLoss, QuantileLoss, Reduction, RmseLoss, SmoothL1Loss,
    perceptual::{TotalVariation, TotalVariationLoss},
};

type Losses = Vec<(&'static str, Box<dyn Loss>)>;

fn losses(reduction: Reduction) -> Losses {
    vec![
        ("l1", Box::new(L1Loss::default().reduction(reduction))),
        ("mse", Box::new(MseLoss::default().reduction(reduction))),
        ("rmse", Box::new(RmseLoss::default().reduction(reduction))),
        ("charbonnier", Box::new(CharbonnierLoss::default().reduction(reduction))),
        ("charbonnier, kornia", Box::new(CharbonnierLoss::kornia().reduction(reduction))),
        ("huber", Box::new(HuberLoss::default().delta(0.5).reduction(reduction))),
        ("smooth l1", Box::new(SmoothL1Loss::default().beta(0.5).reduction(reduction))),
        ("smooth l1, β 0", Box::new(SmoothL1Loss::default().beta(0.0).reduction(reduction))),
        ("log cosh", Box::new(LogCoshLoss::default().reduction(reduction))),
        ("balanced l1", Box::new(BalancedL1Loss::default().beta(0.5).reduction(reduction))),
        ("quantile", Box::new(QuantileLoss::default().quantile(0.9).reduction(reduction))),
    ]
}

#[test]
fn errors_of_every_kind_and_size() {
    for kind in KINDS {
        for (seed, size) in [1, 7, 1023, 1025, 16_385, 140_000].into_iter().enumerate() {
            let seed = seed as i64;
            let input = randn(seed, &[size], kind) * 2.0;
            let target = randn(seed + 10, &[size], Kind::Float);
            let weight = rand(seed + 20, &[size], kind) + 0.1;
            for (name, loss) in losses(Reduction::Mean) {
                let what = format!("{name} {kind:?} {size}");
                alike_weighted(&what, &loss, &target, &weight, &input);
            }
        }
    }
}

#[test]
fn weights_of_every_shape() {
    let shape = [4, 3, 5, 7];
    let input = randn(1, &shape, Kind::Double) * 2.0;
    let target = randint(2, 3, &shape);
    let weights = [
        ("all", rand(3, &[], Kind::Double)),
        ("images", rand(4, &[4, 1, 1, 1], Kind::Half)),
        ("channels", rand(5, &[3, 1, 1], Kind::Float)),
        ("pixels", rand(6, &[5, 7], Kind::Double)),
        ("columns", rand(7, &[7], Kind::BFloat16)),
        ("mask", rand(8, &shape, Kind::Double).gt(0.5)),
        ("nothing", input.zeros_like()),
    ];
    for reduction in [Reduction::Mean, Reduction::Sum] {
        for (name, loss) in losses(reduction) {
            for (of, weight) in &weights {
                let what = format!("{name} {reduction:?}, weight of {of}");
                alike(&what, |x| loss.forward_weighted(x, &target, weight), &input);
            }
        }
    }
}

#[test]
fn kinks_and_saturated_errors() {
    for kind in KINDS {
        let errors = [0.0f64, -0.0, 0.5, -0.5, 1.0, -1.0, 1e-3, 1e4, -1e4, 6e4, -6e4];
        let input = Tensor::from_slice(&errors).to_kind(kind).to_device(common::device());
        let target = input.zeros_like();
        for (name, loss) in losses(Reduction::Sum) {
            for i in 0..errors.len() as i64 {
                let (input, target) = (input.narrow(0, i, 1), target.narrow(0, i, 1));
                // Beyond the largest of Half.
                let infinite =
                    name == "mse" && kind == Kind::Half && errors[i as usize].abs() > 2e4;
                if !infinite {
                    let what = format!("{name} {kind:?} of {}", errors[i as usize]);
                    alike(&what, |x| loss.forward(x, &target), &input);
                }
            }
        }
    }
    let huge = Tensor::from_slice(&[1e30f32, -1e30, 3e38]).to_device(common::device());
    let target = huge.zeros_like();
    for (name, loss) in losses(Reduction::Mean) {
        if !matches!(name, "mse" | "rmse") {
            alike(&format!("{name} of 1e30"), |x| loss.forward(&(x * 0.1), &target), &huge);
        }
    }
}

#[test]
fn a_scaled_loss_keeps_small_gradients_of_half() {
    let input = randn(1, &[300_000], Kind::Half);
    let target = input.zeros_like();
    let loss = MseLoss::default();
    alike("loss scaled by 2^20", |x| loss.forward(x, &target) * 1_048_576.0, &input);
}

#[test]
fn only_the_input_gets_a_gradient() {
    let _alone = alone();
    let input = randn(1, &[6, 4], Kind::Float);
    let target = randn(2, &[6, 4], Kind::Float);
    let loss = HuberLoss::default();
    let fused = |x: &Tensor, t: &Tensor| is_fused(&|x| loss.forward(x, t), x);
    assert_eq!(fused(&input, &target), input.device() == Device::Cpu);
    assert!(!fused(&input, &leaf(&target)), "a target with a gradient");
    let weight = leaf(&target.abs());
    assert!(!is_fused(&|x| loss.forward_weighted(x, &target, &weight), &input));
    assert!(!is_fused(&|x| loss.forward(&x.tr(), &target.tr()), &input), "strides");
    let none = loss.clone().reduction(Reduction::None);
    assert!(!is_fused(&|x| none.forward(x, &target).sum(None::<Kind>), &input), "not reduced");
}

#[test]
fn gradients_of_gradients_are_the_composed_ones() {
    let input = randn(1, &[50], Kind::Double);
    let target = randn(2, &[50], Kind::Double);
    let weight = rand(3, &[50], Kind::Double);
    for (name, loss) in losses(Reduction::Mean) {
        alike_twice(name, |x| loss.forward_weighted(x, &target, &weight), &input);
    }
    let images = randn(4, &[2, 2, 4, 5], Kind::Double);
    for (name, loss) in variations() {
        alike_twice(&name, |x| loss.forward(x), &images);
    }
}

/// Every form and option of total variation.
fn variations() -> Vec<(String, TotalVariationLoss)> {
    let anisotropic = TotalVariationLoss::default();
    let isotropic = |beta| anisotropic.clone().form(TotalVariation::Isotropic).beta(beta);
    let forms = [
        ("anisotropic", anisotropic.clone()),
        ("isotropic", isotropic(1.0)),
        ("isotropic, squares", isotropic(2.0).eps(0.1)),
        ("isotropic, β 1.3", isotropic(1.3).eps(0.1)),
        ("isotropic, β 2.5", isotropic(2.5).eps(1.0)),
    ];
    let mut all = Vec::new();
    for (name, form) in forms {
        for per_pixel in [false, true] {
            for reduction in [Reduction::Mean, Reduction::Sum] {
                let loss = form.clone().per_pixel(per_pixel).reduction(reduction);
                all.push((format!("{name}, per pixel {per_pixel}, {reduction:?}"), loss));
            }
        }
    }
    all
}

#[test]
fn total_variation_of_every_kind_and_size() {
    let shapes: [&[i64]; 9] = [
        &[1, 1, 1, 1],
        &[2, 3, 1, 9],
        &[2, 3, 9, 1],
        &[3, 2, 2, 2],
        &[2, 3, 17, 13],
        &[1, 1, 3, 20_000],
        &[1, 2, 20_000, 3],
        &[2, 3, 101, 203],
        &[4, 1, 16, 1024],
    ];
    for kind in KINDS {
        for (seed, shape) in shapes.into_iter().enumerate() {
            let input = randn(seed as i64, shape, kind);
            for (name, loss) in variations() {
                alike(&format!("{name} {kind:?} {shape:?}"), |x| loss.forward(x), &input);
            }
        }
    }
}

#[test]
fn total_variation_of_stark_images() {
    for kind in KINDS {
        let stark = (randint(1, 2, &[2, 3, 40, 50]) * 20_000 - 10_000).to_kind(kind);
        for (name, loss) in variations() {
            // A slope of 2e4 times β is infinite in Half.
            if kind != Kind::Half || name.starts_with("anisotropic") {
                alike(&format!("{name} {kind:?}"), |x| loss.forward(x), &stark);
            }
        }
    }
}

#[test]
fn flat_images_cost_nothing_at_all() {
    let _alone = alone();
    for kind in KINDS {
        let flat = Tensor::full([2, 3, 40, 50], 0.3, (kind, common::device()));
        for (name, loss) in variations() {
            if flat.device() == Device::Cpu {
                let (value, gradient) = passed(true, &|x| loss.forward(x), &flat);
                assert_eq!(value.double_value(&[]), 0.0, "{name} {kind:?}");
                assert_eq!(gradient, flat.zeros_like(), "{name} {kind:?}");
            }
        }
    }
}

#[test]
fn divergences_from_the_standard_normal() {
    for kind in KINDS {
        for (seed, size) in [1, 7, 1023, 1025, 140_000].into_iter().enumerate() {
            let seed = seed as i64;
            let mu = randn(seed, &[size, 2], kind);
            let logvar = randn(seed + 10, &[size, 2], kind);
            for reduction in [ElboReduction::BatchMean, ElboReduction::Sum] {
                let kl = KlStandardNormal::default().reduction(reduction);
                let what = format!("{kind:?} {size} {reduction:?}");
                alike(&format!("mu {what}"), |mu| kl.forward(mu, &logvar), &mu);
                alike(&format!("logvar {what}"), |logvar| kl.forward(&mu, logvar), &logvar);
                alike(&format!("both {what}"), |x| kl.forward(x, &(x * 0.5)), &mu);
            }
        }
    }
    let (mu, logvar) = (randn(1, &[50, 2], Kind::Double), randn(2, &[50, 2], Kind::Double));
    let kl = KlStandardNormal::default();
    alike_twice("mu", |mu| kl.forward(mu, &logvar), &mu);
    alike_twice("both", |x| kl.forward(x, &(x * 0.5)), &logvar);
}

#[test]
fn threads_do_not_change_a_bit() {
    let images = randn(1, &[2, 3, 203, 301], Kind::Float);
    let target = randn(2, &[2, 3, 203, 301], Kind::Float);
    let weight = rand(3, &[2, 3, 203, 301], Kind::Float);
    let loss = |x: &Tensor| {
        let error = CharbonnierLoss::default().forward_weighted(x, &target, &weight);
        variations().iter().fold(error, |sum, (_, variation)| sum + variation.forward(x))
    };
    alike_for_any_threads(loss, &images);
}
