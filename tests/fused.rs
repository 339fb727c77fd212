//! Fused losses against their composed forms: values, gradients, gradients of gradients, threads, what is left to libtorch.

mod common;
#[path = "common/fused.rs"]
mod fused_common;

use common::{assert_close, leaf, rand, randint, randn, tensor, tolerance};
use fused_common::{
    alike, alike_for_any_threads, alike_twice, alike_weighted, alone, is_fused, passed,
};
use tch::{Device, Kind, Tensor};
use tch_losses::{
    BceLoss, BceWithLogitsLoss, BinaryFocalCrossEntropyLoss, CrossEntropyLoss, DiceLoss, FocalLoss,
    Loss, LovaszHingeLoss, LovaszSoftmaxLoss, MeanOver, Reduction, SoftDiceLoss, SoftmaxFocalLoss,
    TverskyLoss, fused,
    segmentation::{Aggregate, Nonlinearity},
};

/// Sizes around the tiles, the chunks and what several threads share.
const SIZES: [i64; 6] = [1, 7, 1023, 1025, 16_385, 140_000];

const KINDS: [Kind; 4] = common::KINDS;

#[test]
fn binary_losses_of_every_kind_and_size() {
    for kind in KINDS {
        for (seed, size) in SIZES.into_iter().enumerate() {
            let seed = seed as i64;
            let input = randn(seed, &[size], kind) * 6.0;
            let hard = rand(seed + 10, &[size], Kind::Float).gt(0.7);
            let soft = rand(seed + 20, &[size], Kind::Float);
            let weight = rand(seed + 30, &[size], kind);
            for (name, target) in [("hard", &hard), ("soft", &soft)] {
                for gamma in [0.0, 0.5, 1.0, 1.5, 2.0, 3.7] {
                    let focal = FocalLoss::default().gamma(gamma);
                    let what = format!("focal {kind:?} {size} {name} γ {gamma}");
                    alike(&what, |x| focal.forward(x, target), &input);
                }
                let bce = BceWithLogitsLoss::default();
                alike(&format!("bce {kind:?} {size} {name}"), |x| bce.forward(x, target), &input);
                alike(
                    &format!("weighted bce {kind:?} {size} {name}"),
                    |x| bce.forward_weighted(x, target, &weight),
                    &input,
                );
            }
        }
    }
}

#[test]
fn options_of_binary_losses() {
    let input = randn(1, &[4, 3, 5, 7], Kind::Double) * 4.0;
    let target = randint(2, 3, &[4, 3, 5, 7]);
    let image = rand(3, &[4, 1, 1, 1], Kind::Double);
    let classes = rand(4, &[3, 1, 1], Kind::Float) * 3.0;
    let pixels = rand(5, &[5, 7], Kind::Double);
    let full = rand(6, &[4, 3, 5, 7], Kind::Half);
    let focal = FocalLoss::default().ignore_index(2).label_smoothing(0.1);
    let bce = BceWithLogitsLoss::default().ignore_index(2).label_smoothing(0.2);
    for reduction in [Reduction::Mean, Reduction::Sum] {
        for (name, weight) in
            [("image", &image), ("classes", &classes), ("pixels", &pixels), ("full", &full)]
        {
            for (with, pos_weight) in [("", None), (", pos_weight", Some(classes.shallow_clone()))]
            {
                let what = format!("{reduction:?}, weight of {name}{with}");
                let loss = focal
                    .clone()
                    .reduction(reduction)
                    .pos_weight(pos_weight.as_ref().map(Tensor::shallow_clone));
                alike(
                    &format!("focal {what}"),
                    |x| loss.forward_weighted(x, &target, weight),
                    &input,
                );
                let loss = loss.alpha(None).gamma(1.5);
                alike(&format!("focal without α {what}"), |x| loss.forward(x, &target), &input);
                for mean_over in [MeanOver::Weights, MeanOver::Elements] {
                    let loss = bce
                        .clone()
                        .reduction(reduction)
                        .mean_over(mean_over)
                        .pos_weight(pos_weight.as_ref().map(Tensor::shallow_clone));
                    alike(
                        &format!("bce {mean_over:?} {what}"),
                        |x| loss.forward_weighted(x, &target, weight),
                        &input,
                    );
                }
            }
        }
    }
}

#[test]
fn saturated_logits_and_what_is_ignored_whole() {
    for kind in KINDS {
        let input = Tensor::from_slice(&[1e4f64, -1e4, 60.0, -60.0, 0.0, 1e4, -1e4]).to_kind(kind);
        let target = Tensor::from_slice(&[1i64, 0, 1, 1, 1, 0, 1]);
        for gamma in [0.0, 0.5, 1.0, 2.0] {
            let focal = FocalLoss::default().gamma(gamma);
            alike(&format!("saturated {kind:?} γ {gamma}"), |x| focal.forward(x, &target), &input);
        }
        let ignored = FocalLoss::default().ignore_index(7);
        let sevens = target.full_like(7);
        alike(&format!("ignored {kind:?}"), |x| ignored.forward(x, &sevens), &input);
    }
}

/// Logits, classes and how much each counts, for an input of this shape.
fn pixels(seed: i64, shape: &[i64], kind: Kind) -> (Tensor, Tensor, Tensor) {
    let positions = [&shape[..1], &shape[2..]].concat();
    let input = randn(seed, shape, kind) * 4.0;
    let target = randint(seed + 1, shape[1], &positions);
    (input, target, rand(seed + 2, &positions, Kind::Float))
}

#[test]
fn class_losses_of_every_kind_and_size() {
    let shapes: [&[i64]; 8] = [
        &[1, 2],
        &[7, 10],
        &[300, 33],
        &[3, 3000],
        &[2, 3, 5, 7],
        &[2, 19, 40, 41],
        &[1, 5, 3, 4, 500],
        &[3, 70, 1100],
    ];
    for kind in KINDS {
        for (seed, shape) in shapes.into_iter().enumerate() {
            let (input, target, weight) = pixels(seed as i64, shape, kind);
            let target = target.masked_fill(&weight.gt(0.8), -100);
            let class_weight = rand(9, &shape[1..2], Kind::Float) + 0.5;
            for smoothing in [0.0, 0.1] {
                let ce = CrossEntropyLoss::default().label_smoothing(smoothing);
                let weighted = ce.clone().weight(class_weight.shallow_clone());
                let what = format!("cross entropy {kind:?} {shape:?} ε {smoothing}");
                alike(&what, |x| ce.forward(x, &target), &input);
                alike_weighted(&format!("{what}, weight"), &weighted, &target, &weight, &input);
            }
            for gamma in [0.0, 0.5, 1.0, 2.0, 3.3] {
                let focal = SoftmaxFocalLoss::default().gamma(gamma);
                let weighted = focal.clone().alpha(class_weight.shallow_clone());
                let what = format!("softmax focal {kind:?} {shape:?} γ {gamma}");
                alike(&what, |x| focal.forward(x, &target), &input);
                let loss = |x: &Tensor| weighted.forward_weighted(x, &target, &weight);
                alike(&format!("{what}, weights"), loss, &input);
            }
        }
    }
}

#[test]
fn options_of_class_losses() {
    let (input, target, weight) = pixels(1, &[2, 4, 6, 5], Kind::Double);
    for kind in [Kind::Uint8, Kind::Int8, Kind::Int16, Kind::Int, Kind::Int64] {
        let target = target.to_kind(kind);
        let ce = CrossEntropyLoss::default().ignore_index(1).reduction(Reduction::Sum);
        alike(&format!("{kind:?} targets"), |x| ce.forward(x, &target), &input);
    }
    let ones = CrossEntropyLoss::default().ignore_index(1);
    alike("all ignored", |x| ones.forward(x, &target.ones_like()), &input);
    let focal = SoftmaxFocalLoss::default();
    for (name, weight) in [
        ("image", weight.narrow(1, 0, 1).narrow(2, 0, 1).contiguous()),
        ("row", weight.narrow(0, 0, 1).narrow(1, 0, 1).contiguous()),
    ] {
        alike(name, |x| focal.forward_weighted(x, &target, &weight), &input);
        alike(name, |x| ones.forward_weighted(x, &target, &weight), &input);
    }
    let _alone = alone();
    let strange = target.full_like(4);
    let error = ones.f_forward(&input, &strange).unwrap_err().to_string();
    assert!(error.contains("out of bounds"), "{error}");
}

#[test]
fn saturated_classes() {
    for kind in KINDS {
        let rows = [1e4f64, -1e4, 0.0, -1e4, 1e4, 60.0, 0.0, 60.0, 0.0];
        let input = Tensor::from_slice(&rows).view([3, 3]).to_kind(kind);
        for class in 0..3 {
            let target = Tensor::from_slice(&[class, class, class]);
            let ce = CrossEntropyLoss::default();
            alike(&format!("cross entropy {kind:?}"), |x| ce.forward(x, &target), &input);
            for gamma in [0.5, 1.0, 2.0] {
                let focal = SoftmaxFocalLoss::default().gamma(gamma);
                let what = format!("softmax focal {kind:?} γ {gamma} class {class}");
                alike(&what, |x| focal.forward(x, &target), &input);
            }
        }
    }
}

#[test]
fn overlap_losses_of_every_kind_and_size() {
    let shapes: [&[i64]; 6] = [
        &[1, 2, 16],
        &[2, 3, 5, 7],
        &[2, 19, 40, 41],
        &[1, 5, 3, 4, 500],
        &[3, 70, 1100],
        &[2, 1, 90, 100],
    ];
    for kind in KINDS {
        for (seed, shape) in shapes.into_iter().enumerate() {
            let (input, classes, weight) = pixels(seed as i64, shape, kind);
            let soft = rand(7, shape, Kind::Float);
            let hard = soft.gt(0.6);
            let masked = weight.gt(0.3);
            let activations: &[Nonlinearity] = match shape[1] {
                1 => &[Nonlinearity::Sigmoid],
                _ => &[Nonlinearity::Sigmoid, Nonlinearity::Softmax],
            };
            for &activation in activations {
                let dice = DiceLoss::default().apply_nonlin(activation);
                let squared = DiceLoss::monai().apply_nonlin(activation).squared_pred(true);
                let tversky = TverskyLoss::default().apply_nonlin(activation).alpha(0.3).beta(0.7);
                let soft_dice = SoftDiceLoss::default().apply_nonlin(activation);
                for (name, target) in [("classes", &classes), ("soft", &soft), ("hard", &hard)] {
                    let what = format!("{kind:?} {shape:?} {activation:?} {name}");
                    alike(&format!("dice {what}"), |x| dice.forward(x, target), &input);
                    alike(&format!("squared {what}"), |x| squared.forward(x, target), &input);
                    alike(&format!("tversky {what}"), |x| tversky.forward(x, target), &input);
                    let loss = |x: &Tensor| soft_dice.forward_weighted(x, target, &masked);
                    alike(&format!("masked {what}"), loss, &input);
                    let loss = |x: &Tensor| dice.forward_weighted(x, target, &weight);
                    alike(&format!("weighted {what}"), loss, &input);
                }
                let ignoring = dice.clone().ignore_index([0, 255]);
                let marked = classes.masked_fill(&weight.gt(0.9), 255);
                let what = format!("ignoring {kind:?} {shape:?} {activation:?}");
                if shape[1] > 1 {
                    alike(&what, |x| ignoring.forward(x, &marked), &input);
                }
            }
            let probabilities = input.sigmoid();
            let dice = DiceLoss::default().apply_nonlin(Nonlinearity::None);
            let what = format!("probabilities {kind:?} {shape:?}");
            alike(&what, |x| dice.forward(x, &classes), &probabilities);
        }
    }
}

#[test]
fn a_class_out_of_range_is_the_composed_error() {
    let _alone = alone();
    let input = randn(1, &[2, 3, 5, 5], Kind::Float);
    let target = Tensor::full([2, 5, 5], 3, (Kind::Int64, Device::Cpu));
    let dice = DiceLoss::default().apply_nonlin(Nonlinearity::Softmax);
    let error = |fused: bool| {
        fused::set_enabled(fused);
        let error = dice.f_forward(&input, &target).unwrap_err().to_string();
        fused::set_enabled(true);
        error
    };
    assert_eq!(error(true), error(false));
}

#[test]
fn binary_losses_of_probabilities() {
    for kind in KINDS {
        for (seed, size) in SIZES.into_iter().enumerate() {
            let seed = seed as i64;
            // Not so near the ends that a gradient is beyond Half.
            let input = (randn(seed, &[size], kind) * 3.0).sigmoid() * 0.98 + 0.01;
            let hard = rand(seed + 10, &[size], Kind::Float).gt(0.7);
            let soft = rand(seed + 20, &[size], Kind::Float);
            let weight = rand(seed + 30, &[size], kind);
            for (name, target) in [("hard", &hard), ("soft", &soft)] {
                let bce = BceLoss::default();
                let what = format!("{name} {kind:?} {size}");
                alike(&format!("bce {what}"), |x| bce.forward(x, target), &input);
                let keras = BceLoss::keras().label_smoothing(0.1).weight(weight.shallow_clone());
                alike(&format!("keras {what}"), |x| keras.forward(x, target), &input);
                for gamma in [0.0, 0.5, 1.0, 1.5, 2.0, 3.7] {
                    let focal = BinaryFocalCrossEntropyLoss::default().gamma(gamma).alpha(0.25);
                    let loss = |x: &Tensor| focal.forward_weighted(x, target, &weight);
                    alike(&format!("focal {what} γ {gamma}"), loss, &input);
                }
            }
        }
    }
}

#[test]
fn probabilities_at_the_ends_of_their_range_and_beyond() {
    let ends = [0.0, 1.0, 1e-45, 1e-40, 1e-30, 1e-9, 0.5, 0.499_999, 0.500_001, 1.0 - 6e-8];
    for kind in [Kind::Float, Kind::Double] {
        let input = tensor(&ends, &[10]).to_kind(kind);
        for target in [0.0, 1.0, 0.3] {
            let target = input.full_like(target);
            let what = format!("{kind:?} {target}");
            let sum = BceLoss::default().reduction(Reduction::Sum);
            alike(&format!("bce {what}"), |x| sum.forward(x, &target), &input);
            let keras = BceLoss::keras();
            alike(&format!("keras {what}"), |x| keras.forward(x, &target), &input);
            let focal = BinaryFocalCrossEntropyLoss::default();
            alike(&format!("focal {what}"), |x| focal.forward(x, &target), &input);
            alike_twice(&format!("twice {what}"), |x| keras.forward(x, &target), &(&input * 0.6));
        }
    }
    let _alone = alone();
    for beyond in [-1e-3, 1.001, f64::NAN] {
        let input = tensor(&[0.5, beyond], &[2]);
        let target = input.full_like(0.0);
        assert!(BceLoss::default().f_forward(&input, &target).is_err(), "{beyond}");
        if !beyond.is_nan() {
            assert!(!is_fused(&|x| BceLoss::keras().forward(x, &target), &input), "{beyond}");
        }
    }
}

#[test]
fn lovasz_losses_of_every_shape_and_option() {
    for kind in [Kind::Float, Kind::Double] {
        for shape in [[1, 2, 1, 3], [2, 3, 5, 7], [3, 4, 40, 50], [1, 3, 190, 200]] {
            let (input, target, weight) = pixels(1, &shape, kind);
            let masks = randint(4, 2, &shape);
            let masks_weight = rand(5, &shape, kind);
            for aggregate in [Aggregate::Batch, Aggregate::PerImage] {
                let softmax = LovaszSoftmaxLoss::default().aggregate(aggregate);
                let hinge = LovaszHingeLoss::default().aggregate(aggregate);
                let what = format!("{kind:?} {shape:?} {aggregate:?}");
                // In Float softmax's own gradient cancels slopes that the two forms round differently.
                if kind == Kind::Double {
                    alike_weighted(&format!("softmax {what}"), &softmax, &target, &weight, &input);
                }
                for per_class in [false, true] {
                    let hinge = hinge.clone().per_class(per_class);
                    let what = format!("{what} {per_class}");
                    alike_weighted(&format!("hinge {what}"), &hinge, &masks, &masks_weight, &input);
                }
            }
        }
    }
}

#[test]
fn lovasz_losses_of_equal_errors_and_of_weights_of_zero() {
    let target = randint(1, 3, &[2, 300]);
    let input = randn(2, &[2, 3, 300], Kind::Double);
    let weight = rand(3, &[2, 300], Kind::Double).gt(0.5).to_kind(Kind::Double);
    let loss = LovaszSoftmaxLoss::default();
    alike("weights of zero", |x| loss.forward_weighted(x, &target, &weight), &input);
    let nothing = weight.zeros_like();
    alike("nothing", |x| loss.forward_weighted(x, &target, &nothing), &input);
    alike_twice("the gradient", |x| loss.forward(x, &target), &input);
    // Of equal errors either may be first, which moves the slopes among them, but not the value.
    let input = randint(2, 3, &[2, 3, 300]).to_kind(Kind::Double);
    let _alone = alone();
    let [fused, composed] =
        [true, false].map(|on| passed(on, &|x| loss.forward(x, &target), &input).0);
    assert_close("equal errors", &fused, &composed, tolerance(Kind::Double));
}

#[test]
fn a_gradient_of_the_gradient_is_the_composed_one() {
    let input = randn(1, &[2, 3, 20], Kind::Double);
    let dense = rand(2, &[2, 3, 20], Kind::Double);
    let index = randint(3, 3, &[2, 20]);
    let losses: [(&str, Box<dyn Loss>, &Tensor); 6] = [
        ("bce", Box::new(BceWithLogitsLoss::default()), &dense),
        ("focal", Box::new(FocalLoss::default().gamma(1.5)), &dense),
        ("cross entropy", Box::new(CrossEntropyLoss::default().label_smoothing(0.1)), &index),
        ("softmax focal", Box::new(SoftmaxFocalLoss::default()), &index),
        ("dice", Box::new(DiceLoss::default().apply_nonlin(Nonlinearity::Softmax)), &index),
        (
            "soft dice",
            Box::new(SoftDiceLoss::default().apply_nonlin(Nonlinearity::Sigmoid)),
            &dense,
        ),
    ];
    for (name, loss, target) in &losses {
        alike_twice(name, |x| loss.forward(x, target).square(), &input);
    }
}

#[test]
fn a_target_changed_in_place_is_an_error_where_it_is_read_again() {
    let _alone = alone();
    let x = leaf(&randn(1, &[2, 3, 20], Kind::Float));
    let mut target = randint(2, 3, &[2, 20]);
    let dice = DiceLoss::default().apply_nonlin(Nonlinearity::Softmax).forward(&x, &target);
    let _ = target.fill_(0);
    let error = dice.f_backward().unwrap_err().to_string();
    assert!(error.contains("modified by an inplace operation"), "{error}");
}

#[test]
fn the_graph_can_be_kept_and_is_gone_otherwise() {
    let _alone = alone();
    let x = leaf(&randn(1, &[50], Kind::Float));
    let loss = FocalLoss::default().forward(&x, &x.detach().gt(0.0));
    let gradient = |keep| Tensor::f_run_backward(&[&loss], &[&x], keep, false);
    let first = gradient(true).unwrap().remove(0);
    let second = gradient(false).unwrap().remove(0);
    assert_eq!(first, second);
    let error = gradient(false).unwrap_err().to_string();
    assert!(error.contains("a second time"), "{error}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let input = randn(1, &[300_000], Kind::Float);
    let target = rand(2, &[300_000], Kind::Float).gt(0.5);
    alike_for_any_threads(|x| FocalLoss::default().forward(x, &target), &input);
}

#[test]
fn what_is_not_plain_is_composed() {
    let _alone = alone();
    let input = randn(1, &[6, 4], Kind::Float);
    let target = input.gt(0.0).to_kind(Kind::Float);
    let focal = FocalLoss::default();
    let plain = |x: &Tensor| focal.forward(x, &target);
    assert!(is_fused(&plain, &input));
    assert!(!is_fused(&|x| focal.forward(&x.tr(), &target.tr()), &input), "strides");
    let soft = target.copy().set_requires_grad(true);
    assert!(!is_fused(&|x| focal.forward(x, &soft), &input), "a target with a gradient");
    fused::set_enabled(false);
    assert!(!is_fused(&plain, &input), "turned off");
    fused::set_enabled(true);
}
