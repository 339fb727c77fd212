//! Fused losses of classes, margins and probabilities against their composed forms.

mod common;
#[path = "common/fused.rs"]
mod fused_common;

use common::{KINDS, rand, randint, randn};
use fused_common::{alike, alike_for_any_threads, alike_twice, alike_weighted, alone, is_fused};
use tch::{Kind, Tensor};
use tch_losses::{
    CategoricalCrossEntropyLoss, CrossEntropyLoss, GeneralizedCrossEntropyLoss, Loss,
    MultiLabelMarginLoss, MultiMarginLoss, Reduction, SoftTargetCrossEntropy, fused,
};

/// Sizes around the tiles, where the classes of a pixel lie together and where they do not.
const SHAPES: [&[i64]; 9] = [
    &[1, 2],
    &[7, 10],
    &[300, 33],
    &[3, 3000],
    &[2, 3, 5, 7],
    &[2, 19, 40, 41],
    &[1, 5, 3, 4, 500],
    &[3, 70, 1100],
    &[2, 1, 3],
];

/// Scores, class probabilities, classes and how much each pixel counts, for an input of this shape.
struct Batch {
    scores: Tensor,
    dense: Tensor,
    index: Tensor,
    weight: Tensor,
    class_weight: Tensor,
}

impl Batch {
    fn new(seed: i64, shape: &[i64], kind: Kind) -> Self {
        let positions = [&shape[..1], &shape[2..]].concat();
        let weight = rand(seed + 3, &positions, Kind::Float);
        let index = randint(seed + 2, shape[1], &positions).masked_fill(&weight.gt(0.8), -100);
        Batch {
            scores: randn(seed, shape, kind) * 3.0,
            dense: randn(seed + 1, shape, Kind::Double).softmax(1, None::<Kind>),
            index,
            weight,
            class_weight: rand(seed + 4, &shape[1..2], Kind::Float) + 0.5,
        }
    }
}

#[test]
fn dense_targets_of_every_kind_and_size() {
    for kind in KINDS {
        for (seed, shape) in SHAPES.into_iter().enumerate() {
            let Batch { scores, dense, weight, class_weight, .. } =
                Batch::new(seed as i64, shape, kind);
            for of_target in [kind, Kind::Float] {
                let target = dense.to_kind(of_target);
                for smoothing in [0.0, 0.1] {
                    let ce = CrossEntropyLoss::default().label_smoothing(smoothing);
                    let weighted = ce.clone().weight(class_weight.shallow_clone());
                    let what = format!("{kind:?} {of_target:?} {shape:?} ε {smoothing}");
                    alike(&what, |x| ce.forward(x, &target), &scores);
                    alike_weighted(
                        &format!("{what}, weight"),
                        &weighted,
                        &target,
                        &weight,
                        &scores,
                    );
                }
            }
            let soft = SoftTargetCrossEntropy::default();
            alike(&format!("soft {kind:?} {shape:?}"), |x| soft.forward(x, &dense), &scores);
        }
    }
}

#[test]
fn normalised_probabilities_of_every_kind_and_size() {
    for kind in KINDS {
        for (seed, shape) in SHAPES.into_iter().enumerate() {
            let Batch { scores, dense, index, weight, class_weight } =
                Batch::new(seed as i64, shape, kind);
            // Not so small that a gradient is beyond Half.
            let least = if kind == Kind::Half { 0.01 } else { 0.0 };
            let probabilities = (scores.softmax(1, Kind::Float) * 1.7 + least).to_kind(kind);
            for smoothing in [0.0, 0.1] {
                let ce = CategoricalCrossEntropyLoss::default().label_smoothing(smoothing);
                let weighted = ce.clone().weight(class_weight.shallow_clone());
                for (name, target) in [("dense", &dense), ("index", &index)] {
                    let what = format!("{name} {kind:?} {shape:?} ε {smoothing}");
                    alike(&what, |p| ce.forward(p, target), &probabilities);
                    let loss = |p: &Tensor| weighted.forward(p, target);
                    alike(&format!("{what}, weight"), loss, &probabilities);
                    let loss = |p: &Tensor| weighted.forward_weighted(p, target, &weight);
                    alike(&format!("{what}, weights"), loss, &probabilities);
                }
            }
        }
    }
}

#[test]
fn margins_of_every_kind_and_size() {
    for kind in KINDS {
        for (seed, shape) in SHAPES.into_iter().enumerate() {
            let Batch { scores, index, weight, class_weight, .. } =
                Batch::new(seed as i64, shape, kind);
            for p in [1, 2] {
                for margin in [1.0, 0.3, 0.0, -0.5] {
                    let loss = MultiMarginLoss::default().p(p).margin(margin);
                    let weighted =
                        loss.clone().weight(class_weight.masked_fill(&class_weight.gt(1.4), 0.0));
                    let what = format!("{kind:?} {shape:?} p {p}, margin {margin}");
                    alike(&what, |x| loss.forward(x, &index), &scores);
                    let loss = |x: &Tensor| weighted.forward_weighted(x, &index, &weight);
                    alike(&format!("{what}, weights"), loss, &scores);
                }
            }
        }
    }
}

#[test]
fn margins_of_several_labels() {
    for kind in KINDS {
        for (seed, shape) in [[1, 1], [1, 2], [7, 10], [300, 33], [3, 200]].into_iter().enumerate()
        {
            let Batch { scores, weight, .. } = Batch::new(seed as i64, &shape, kind);
            // Labels up to the first -1, some twice; some samples have none. Few classes: libtorch adds 1/C up, one by one.
            let labels = randint(seed as i64 + 9, shape[1] + 1, &shape) - 1;
            let loss = MultiLabelMarginLoss::default();
            let what = format!("{kind:?} {shape:?}");
            alike_weighted(&what, &loss, &labels, &weight, &scores);
            let sum = loss.clone().reduction(Reduction::Sum);
            let few = labels.masked_fill(&labels.ge(3), -1);
            alike(&format!("{what}, sum"), |x| sum.forward(x, &few), &scores);
        }
    }
}

#[test]
fn powers_of_every_kind_and_size() {
    for kind in KINDS {
        for (seed, shape) in SHAPES.into_iter().enumerate() {
            let Batch { scores, index, weight, .. } = Batch::new(seed as i64, shape, kind);
            for q in [1e-3, 0.7, 1.0] {
                let loss = GeneralizedCrossEntropyLoss::default().q(q);
                let what = format!("{kind:?} {shape:?} q {q}");
                alike_weighted(&what, &loss, &index, &weight, &scores);
            }
        }
    }
}

#[test]
fn weights_of_every_shape() {
    let Batch { scores, dense, index, .. } = Batch::new(1, &[2, 4, 6, 5], Kind::Double);
    let index = index.masked_fill(&index.lt(0), 1);
    let weights = [
        ("all", rand(3, &[], Kind::Double)),
        ("images", rand(4, &[2, 1, 1], Kind::Half)),
        ("rows", rand(5, &[6, 1], Kind::Float)),
        ("pixels", rand(6, &[6, 5], Kind::BFloat16)),
        ("mask", rand(8, &[2, 6, 5], Kind::Double).gt(0.5)),
        ("nothing", Tensor::zeros([2, 6, 5], (Kind::Double, common::device()))),
    ];
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let ce = CrossEntropyLoss::default().reduction(reduction).ignore_index(3);
        let margin = MultiMarginLoss::default().reduction(reduction).ignore_index(1);
        let categorical = CategoricalCrossEntropyLoss::default().reduction(reduction);
        let probabilities = scores.softmax(1, None::<Kind>);
        for (of, weight) in &weights {
            let what = format!("{reduction:?}, weight of {of}");
            alike(&what, |x| ce.forward_weighted(x, &dense, weight), &scores);
            alike(&what, |x| margin.forward_weighted(x, &index, weight), &scores);
            let loss = |p: &Tensor| categorical.forward_weighted(p, &dense, weight);
            alike(&what, loss, &probabilities);
        }
        let all = index.full_like(1);
        alike("all ignored", |x| margin.forward(x, &all), &scores);
    }
}

#[test]
fn stark_scores() {
    for kind in KINDS {
        let rows = [1e4f64, -1e4, 0.0, -1e4, 1e4, 60.0, 0.0, 60.0, 0.0, 5.0, 5.0, 5.0];
        let scores = Tensor::from_slice(&rows).view([4, 3]).to_kind(kind);
        let sharp = Tensor::from_slice(&[0.0f64, 1.0, 0.0]).expand([4, 3], false).contiguous();
        let soft = Tensor::from_slice(&[0.5f64, 0.25, 0.25]).expand([4, 3], false).contiguous();
        let images = scores.tr().contiguous().view([1, 3, 4]);
        for target in [sharp, soft] {
            let ce = CrossEntropyLoss::default();
            alike(&format!("{kind:?}"), |x| ce.forward(x, &target), &scores);
            let target = target.tr().contiguous().view([1, 3, 4]);
            alike(&format!("{kind:?}, image"), |x| ce.forward(x, &target), &images);
        }
        let index = Tensor::from_slice(&[0i64, 0, 2, 1]);
        let margin = MultiMarginLoss::default();
        alike(&format!("margin {kind:?}"), |x| margin.forward(x, &index), &scores);
        let index = index.view([1, 4]);
        alike(&format!("margin {kind:?}, image"), |x| margin.forward(x, &index), &images);
    }
}

#[test]
fn probabilities_at_their_limits() {
    for kind in KINDS {
        let rows = [1.0f64, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 1e-4, 1.0, 3.0];
        let probabilities = Tensor::from_slice(&rows).view([4, 3]).to_kind(kind);
        for class in 0..3 {
            let index = Tensor::from_slice(&[class, class, class, class]);
            let ce = CategoricalCrossEntropyLoss::default().label_smoothing(0.1);
            for clip in [1e-7, 1e-3, 0.2] {
                let what = format!("{kind:?} class {class} clip {clip}");
                alike(&what, |p| ce.clone().clip(clip).forward(p, &index), &probabilities);
            }
        }
    }
}

#[test]
fn a_class_out_of_range_is_the_composed_error() {
    let _alone = alone();
    let scores = randn(1, &[4, 3], Kind::Float);
    let index = Tensor::from_slice(&[0i64, 1, 3, 2]);
    let losses: [Box<dyn Loss>; 2] =
        [Box::new(MultiMarginLoss::default()), Box::new(CategoricalCrossEntropyLoss::default())];
    for loss in &losses {
        let error = |fused: bool| {
            fused::set_enabled(fused);
            let error = loss.f_forward(&scores, &index).unwrap_err().to_string();
            fused::set_enabled(true);
            error
        };
        assert_eq!(error(true), error(false));
    }
}

#[test]
fn what_does_not_fit_is_composed() {
    let _alone = alone();
    let Batch { scores, dense, class_weight, .. } = Batch::new(1, &[4, 3], Kind::Float);
    let ce = CrossEntropyLoss::default();
    assert!(is_fused(&|x| ce.forward(x, &dense), &scores));
    let target = dense.copy().set_requires_grad(true);
    assert!(!is_fused(&|x| ce.forward(x, &target), &scores), "a target with a gradient");
    let weighted = ce.clone().weight(class_weight.set_requires_grad(true));
    assert!(!is_fused(&|x| weighted.forward(x, &dense), &scores), "a weight with a gradient");
    let probabilities = scores.softmax(1, None::<Kind>);
    let unlimited = CategoricalCrossEntropyLoss::default().clip(0.0);
    assert!(!is_fused(&|p| unlimited.forward(p, &dense), &probabilities), "no limit");
}

#[test]
fn a_gradient_of_the_gradient_is_the_composed_one() {
    let Batch { scores, dense, index, .. } = Batch::new(1, &[3, 4, 5], Kind::Double);
    let ce = CrossEntropyLoss::default().label_smoothing(0.1);
    alike_twice("dense", |x| ce.forward(x, &dense), &scores);
    let margin = MultiMarginLoss::default().p(2);
    alike_twice("margin", |x| margin.forward(x, &index), &scores);
    let categorical = CategoricalCrossEntropyLoss::default();
    let probabilities = scores.softmax(1, None::<Kind>);
    alike_twice("categorical", |p| categorical.forward(p, &dense), &probabilities);
}

#[test]
fn threads_do_not_change_a_bit() {
    let shapes: [&[i64]; 2] = [&[600, 500], &[2, 20, 10_000]];
    for shape in shapes {
        let Batch { scores, dense, index, .. } = Batch::new(1, shape, Kind::Float);
        let ce = CrossEntropyLoss::default();
        alike_for_any_threads(|x| ce.forward(x, &dense), &scores);
        let margin = MultiMarginLoss::default();
        alike_for_any_threads(|x| margin.forward(x, &index), &scores);
    }
}
