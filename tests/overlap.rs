//! Overlap losses: gradient checks, laws, edges, convergence and errors.

mod common;

use common::*;
use tch::{
    Device, Kind, Reduction, Tensor,
    nn::{self, OptimizerConfig},
};
use tch_losses::{
    DiceLoss, FBetaLoss, FocalTverskyLoss, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss,
    JaccardLoss, LogCoshDiceLoss, Loss, LossError, MccLoss, SensitivitySpecificityLoss,
    SoftDiceLoss, TverskyLoss,
    segmentation::{
        AbsentWeight, Aggregate, Average, EmptyClass, Nonlinearity, PowerOf, VolumeWeight,
        WassersteinWeighting, WeightNorm,
    },
};

/// Images, volumes, and images of many classes, which are summed in another way.
const SHAPES: [&[i64]; 3] = [&[2, 3, 2, 3], &[2, 4, 2, 1, 2], &[2, 10, 1, 3]];
const POLICIES: [EmptyClass; 4] =
    [EmptyClass::Smooth, EmptyClass::Skip, EmptyClass::Zero, EmptyClass::FalsePositives];
const AGGREGATES: [Aggregate; 2] = [Aggregate::PerImage, Aggregate::Batch];

/// The options that the losses share.
#[derive(Debug, Clone)]
struct Shared {
    apply_nonlin: Nonlinearity,
    aggregate: Aggregate,
    average: Average,
    ignore_index: Vec<i64>,
    empty_class: EmptyClass,
    weight_norm: WeightNorm,
    class_weights: Option<Vec<f64>>,
    reduction: Reduction,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            apply_nonlin: Nonlinearity::Softmax,
            aggregate: Aggregate::PerImage,
            average: Average::Macro,
            ignore_index: vec![],
            empty_class: EmptyClass::Smooth,
            weight_norm: WeightNorm::Present,
            class_weights: None,
            reduction: Reduction::Mean,
        }
    }
}

type Losses = Vec<Box<dyn Loss>>;

/// Losses with a score for each class.
fn by_class(shared: &Shared) -> Losses {
    macro_rules! with {
        ($($loss:expr),* $(,)?) => {
            vec![$({
                let loss = $loss
                    .apply_nonlin(shared.apply_nonlin)
                    .aggregate(shared.aggregate)
                    .average(shared.average)
                    .ignore_index(shared.ignore_index.clone())
                    .empty_class(shared.empty_class)
                    .weight_norm(shared.weight_norm)
                    .reduction(shared.reduction);
                let boxed: Box<dyn Loss> = match &shared.class_weights {
                    Some(weights) => Box::new(loss.class_weights(weights.clone())),
                    None => Box::new(loss),
                };
                boxed
            }),*]
        };
    }
    with![
        DiceLoss::default(),
        DiceLoss::default().smooth(0.0).soft_label(true),
        DiceLoss::default().smooth_nr(0.3).smooth_dr(0.7).squared_pred(true),
        DiceLoss::default().log_loss(true),
        JaccardLoss::default(),
        JaccardLoss::default().smooth(0.0).squared_pred(true),
        TverskyLoss::default().alpha(0.3).beta(0.8),
        TverskyLoss::default().alpha(1.2).beta(0.1).log_loss(true),
        FocalTverskyLoss::default(),
        FocalTverskyLoss::default().power(1.5),
        FBetaLoss::default(),
        LogCoshDiceLoss::default(),
        SensitivitySpecificityLoss::default(),
        SensitivitySpecificityLoss::default().r(0.5).smooth(0.0),
        MccLoss::default(),
    ]
}

/// Losses with one score for an image.
fn by_image(shared: &Shared, classes: i64) -> Losses {
    let mut losses: Losses = vec![];
    for (w_type, absent, penalty) in [
        (VolumeWeight::Square, AbsentWeight::Max, None),
        (VolumeWeight::Simple, AbsentWeight::Zero, Some(2.5)),
        (VolumeWeight::Uniform, AbsentWeight::Max, None),
    ] {
        let loss = GeneralizedDiceLoss::default()
            .w_type(w_type)
            .absent(absent)
            .penalty(penalty)
            .apply_nonlin(shared.apply_nonlin)
            .aggregate(shared.aggregate)
            .ignore_index(shared.ignore_index.clone())
            .empty_class(shared.empty_class)
            .reduction(shared.reduction);
        losses.push(match &shared.class_weights {
            Some(weights) => Box::new(loss.class_weights(weights.clone())),
            None => Box::new(loss),
        });
    }
    if shared.apply_nonlin != Nonlinearity::Sigmoid {
        for weighting in [WassersteinWeighting::Foreground, WassersteinWeighting::Volume] {
            losses.push(Box::new(
                GeneralizedWassersteinDiceLoss::default()
                    .dist_matrix(distances(classes))
                    .weighting(weighting)
                    .apply_nonlin(shared.apply_nonlin)
                    .aggregate(shared.aggregate)
                    .ignore_index(shared.ignore_index.clone())
                    .empty_class(shared.empty_class)
                    .reduction(shared.reduction),
            ));
        }
    }
    losses
}

fn every(shared: &Shared, classes: i64) -> Losses {
    by_class(shared).into_iter().chain(by_image(shared, classes)).collect()
}

/// Classes further apart the further their numbers are, but all about as far from class 0.
fn distances(classes: i64) -> Vec<Vec<f64>> {
    let of = |i: i64, j: i64| match (i, j) {
        (0, 0) => 0.0,
        (0, _) | (_, 0) => classes as f64,
        _ => (i - j).abs() as f64,
    };
    (0..classes).map(|i| (0..classes).map(|j| of(i, j)).collect()).collect()
}

fn index_shape(shape: &[i64]) -> Vec<i64> {
    [&shape[..1], &shape[2..]].concat()
}

fn one_hot(target: &Tensor, classes: i64, kind: Kind) -> Tensor {
    target.one_hot(classes).movedim_int(-1, 1).to_kind(kind)
}

/// A target in which class 1 is missing from the first image, and the last class from all.
fn sparse_target(seed: i64, shape: &[i64]) -> Tensor {
    let target = randint(seed, shape[1] - 1, &index_shape(shape));
    let _ = target.get(0).masked_fill_(&target.get(0).eq(1), 0);
    target
}

/// Value and gradient do not change where they may not.
#[track_caller]
fn assert_same(what: &str, got: &(Tensor, Tensor), expected: &(Tensor, Tensor)) {
    assert_close(&format!("{what}: value"), &got.0, &expected.0, (1e-10, 1e-13));
    assert_close(&format!("{what}: gradient"), &got.1, &expected.1, (1e-9, 1e-13));
}

fn of(loss: &dyn Loss, logits: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
    value_and_grad(logits, |x| loss.forward(x, target))
}

#[test]
fn gradient_matches_differences_for_every_policy() {
    for shape in SHAPES {
        let logits = randn(1, shape, Kind::Double);
        let target = sparse_target(2, shape);
        let soft = randn(3, shape, Kind::Double).softmax(1, None::<Kind>);
        let mask = rand(4, &index_shape(shape), Kind::Double) + 0.1;
        let class_weights = rand(5, &[shape[1]], Kind::Double) + 0.2;
        let class_weights = Some(Vec::<f64>::try_from(&class_weights).unwrap());
        for (policy, aggregate, apply_nonlin) in [
            (EmptyClass::Smooth, Aggregate::PerImage, Nonlinearity::Softmax),
            (EmptyClass::Skip, Aggregate::PerImage, Nonlinearity::Sigmoid),
            (EmptyClass::Zero, Aggregate::Batch, Nonlinearity::Softmax),
            (EmptyClass::FalsePositives, Aggregate::PerImage, Nonlinearity::Sigmoid),
        ] {
            let shared = Shared { empty_class: policy, aggregate, apply_nonlin, ..<_>::default() };
            let weighted = Shared { class_weights: class_weights.clone(), ..shared.clone() };
            for loss in every(&shared, shape[1]) {
                gradcheck(&format!("index {loss:?}"), std::slice::from_ref(&logits), |x| {
                    loss.forward(&x[0], &target)
                });
            }
            for loss in every(&weighted, shape[1]) {
                gradcheck(&format!("soft {loss:?}"), std::slice::from_ref(&logits), |x| {
                    loss.forward_weighted(&x[0], &soft, &mask)
                });
            }
        }
    }
}

#[test]
fn gradient_matches_differences_without_reduction_micro_and_in_the_other_arguments() {
    let logits = randn(6, SHAPES[0], Kind::Double);
    let soft = randn(7, SHAPES[0], Kind::Double).softmax(1, None::<Kind>);
    let mask = rand(8, &[2, 1, 2, 3], Kind::Double) + 0.1;
    for (reduction, average) in
        [(Reduction::None, Average::Macro), (Reduction::Sum, Average::Micro)]
    {
        let shared = Shared { reduction, average, ..<_>::default() };
        let inputs = [logits.shallow_clone(), soft.shallow_clone(), mask.shallow_clone()];
        for loss in every(&shared, 3) {
            gradcheck(&format!("{loss:?}"), &inputs, |x| {
                loss.forward_weighted(&x[0], &x[1], &x[2])
            });
        }
    }
}

#[test]
fn gradients_have_gradients() {
    let logits = randn(9, SHAPES[0], Kind::Double);
    let (target, mask) = (sparse_target(10, SHAPES[0]), rand(11, &[2, 2, 3], Kind::Double) + 0.1);
    for policy in [EmptyClass::Smooth, EmptyClass::FalsePositives] {
        for loss in every(&Shared { empty_class: policy, ..<_>::default() }, 3) {
            gradgradcheck(&format!("{loss:?}"), std::slice::from_ref(&logits), |x| {
                loss.forward_weighted(&x[0], &target, &mask)
            });
        }
    }
}

#[test]
fn index_target_equals_one_hot_target() {
    for shape in SHAPES {
        let classes = shape[1];
        let logits = randn(12, shape, Kind::Double);
        let target = sparse_target(13, shape);
        let mask = rand(14, &index_shape(shape), Kind::Double);
        let dense = one_hot(&target, classes, Kind::Double);
        for loss in every(&Shared::default(), classes) {
            let of = |target: &Tensor| {
                value_and_grad(&logits, |x| loss.forward_weighted(x, target, &mask))
            };
            let expected = of(&target);
            for (what, other) in [
                ("one-hot", dense.shallow_clone()),
                ("one-hot of bool", dense.to_kind(Kind::Bool)),
                ("(N, 1, ..)", target.unsqueeze(1)),
                ("u8", target.to_kind(Kind::Uint8)),
            ] {
                assert_same(&format!("{what} {loss:?}"), &of(&other), &expected);
            }
        }
    }
}

#[test]
fn permuting_the_batch_changes_nothing() {
    let logits = randn(15, &[3, 3, 2, 2], Kind::Double);
    let target = sparse_target(16, &[3, 3, 2, 2]);
    let order = index(&[2, 0, 1], &[3]);
    for aggregate in AGGREGATES {
        for loss in every(&Shared { aggregate, ..<_>::default() }, 3) {
            let (value, gradient) = of(&*loss, &logits, &target);
            let (other, other_gradient) =
                of(&*loss, &logits.index_select(0, &order), &target.index_select(0, &order));
            let permuted = (other, other_gradient);
            let expected = (value, gradient.index_select(0, &order));
            assert_same(&format!("{loss:?}"), &permuted, &expected);
        }
    }
}

#[test]
fn permuting_the_classes_changes_nothing() {
    let shape = [2, 3, 2, 4];
    let logits = randn(17, &shape, Kind::Double);
    let target = sparse_target(18, &shape);
    let order = index(&[2, 0, 1], &[3]);
    let inverse = index(&[1, 2, 0], &[3]);
    let renamed = inverse.index_select(0, &target.view(-1)).view_as(&target);
    let weights = [0.5, 2.0, 0.7];
    for policy in POLICIES {
        let shared =
            Shared { empty_class: policy, class_weights: Some(weights.into()), ..<_>::default() };
        let moved = [weights[2], weights[0], weights[1]];
        let moved = Shared { class_weights: Some(moved.into()), ..shared.clone() };
        let losses = |shared: &Shared| {
            let mut losses = every(shared, 3);
            losses.truncate(losses.len() - 2); // Wasserstein, where class 0 is the background
            losses
        };
        for (loss, other) in losses(&shared).iter().zip(losses(&moved)) {
            let (value, gradient) = of(&**loss, &logits, &target);
            let permuted = of(&*other, &logits.index_select(1, &order), &renamed);
            let expected = (value, gradient.index_select(1, &order));
            assert_same(&format!("{loss:?}"), &permuted, &expected);
        }
    }
    // With the distances permuted too, Wasserstein by volume changes nothing.
    let loss = GeneralizedWassersteinDiceLoss::default().weighting(WassersteinWeighting::Volume);
    let far = distances(3);
    let moved: Vec<Vec<f64>> =
        [2, 0, 1].map(|i: usize| [2, 0, 1].map(|j: usize| far[i][j]).into()).into();
    let value = loss.clone().dist_matrix(far).forward(&logits, &target);
    let permuted = loss.dist_matrix(moved).forward(&logits.index_select(1, &order), &renamed);
    assert_close("Wasserstein", &permuted, &value, (1e-12, 0.0));
}

#[test]
fn a_volume_of_depth_one_is_an_image() {
    let logits = randn(19, SHAPES[0], Kind::Double);
    let target = sparse_target(20, SHAPES[0]);
    for loss in every(&Shared::default(), 3) {
        let flat = loss.forward(&logits, &target);
        let volume = loss.forward(&logits.unsqueeze(2), &target.unsqueeze(1));
        assert_close(&format!("{loss:?}"), &volume, &flat, (1e-12, 0.0));
    }
}

#[test]
fn per_image_is_per_batch_for_one_image() {
    let shape = [1, 3, 2, 4];
    let logits = randn(21, &shape, Kind::Double);
    let target = sparse_target(22, &shape);
    for empty_class in POLICIES {
        let [image, batch] = AGGREGATES
            .map(|aggregate| every(&Shared { aggregate, empty_class, ..<_>::default() }, 3));
        for (image, batch) in image.iter().zip(&batch) {
            let (image, batch) = (of(&**image, &logits, &target), of(&**batch, &logits, &target));
            assert_same("one image", &batch, &image);
        }
    }
}

#[test]
fn the_mean_of_a_batch_is_the_mean_of_its_images() {
    let shape = [3, 4, 2, 3];
    let logits = randn(23, &shape, Kind::Double);
    let target = sparse_target(24, &shape);
    let class_weights = Some(vec![0.5, 2.0, 0.7, 1.0]);
    for empty_class in POLICIES {
        let shared = Shared { empty_class, class_weights: class_weights.clone(), ..<_>::default() };
        for loss in every(&shared, 4) {
            let whole = loss.forward(&logits, &target);
            let images: Vec<Tensor> = (0..3)
                .map(|n| loss.forward(&logits.narrow(0, n, 1), &target.narrow(0, n, 1)))
                .collect();
            let mean = Tensor::stack(&images, 0).mean(None::<Kind>);
            assert_close(&format!("{loss:?}"), &whole, &mean, (1e-12, 0.0));
        }
    }
}

#[test]
fn uniform_class_weights_change_nothing_unless_they_are_not_normalised() {
    let shape = [2, 3, 2, 4];
    let logits = randn(25, &shape, Kind::Double);
    let target = sparse_target(26, &shape);
    for (empty_class, weight_norm, factor) in [
        (EmptyClass::Smooth, WeightNorm::Present, 1.0),
        (EmptyClass::Skip, WeightNorm::Present, 1.0),
        (EmptyClass::FalsePositives, WeightNorm::All, 1.0),
        (EmptyClass::Skip, WeightNorm::All, 1.0),
        (EmptyClass::Skip, WeightNorm::None, 3.0),
    ] {
        let plain = Shared { empty_class, weight_norm, ..<_>::default() };
        let uniform = Shared { class_weights: Some(vec![3.0; 3]), ..plain.clone() };
        for (plain, uniform) in by_class(&plain).iter().zip(by_class(&uniform)) {
            let (value, gradient) = of(&**plain, &logits, &target);
            let expected = (value * factor, gradient * factor);
            assert_same(&format!("{uniform:?}"), &of(&*uniform, &logits, &target), &expected);
        }
    }
    // Where the weights are inside the ratio, smoothing alone sees their scale.
    let plain = Shared { average: Average::Micro, ..<_>::default() };
    let uniform = Shared { class_weights: Some(vec![3.0; 3]), ..plain.clone() };
    for (plain, uniform) in by_image(&plain, 3).iter().zip(by_image(&uniform, 3)) {
        let (value, other) = (plain.forward(&logits, &target), uniform.forward(&logits, &target));
        assert_close(&format!("{uniform:?}"), &other, &value, (1e-8, 0.0));
    }
    let micro = DiceLoss::default().smooth(0.0).average(Average::Micro);
    let value = micro.forward(&logits, &target);
    let weighted = micro.class_weights([3.0; 3]).forward(&logits, &target);
    assert_close("micro", &weighted, &value, (1e-12, 0.0));
}

#[test]
fn class_weights_matter() {
    let shape = [2, 3, 2, 4];
    let (logits, target) = (randn(27, &shape, Kind::Double), sparse_target(28, &shape));
    let weighted = Shared { class_weights: Some(vec![3.0, 0.5, 1.0]), ..<_>::default() };
    let plain = Shared::default();
    let without_wasserstein = |shared| {
        let mut losses = every(shared, 3);
        losses.truncate(losses.len() - 2);
        losses
    };
    for (plain, weighted) in without_wasserstein(&plain).iter().zip(without_wasserstein(&weighted))
    {
        let [plain, weighted] = [plain, &weighted].map(|l| l.forward(&logits, &target));
        let apart = (plain - weighted).abs().double_value(&[]);
        assert!(apart > 1e-4, "{apart}");
    }
}

#[test]
fn ignored_pixels_change_nothing_and_get_no_gradient() {
    for shape in [[2, 4, 3, 3], [2, 10, 3, 3]] {
        let logits = randn(29, &shape, Kind::Double);
        let target = sparse_target(30, &shape);
        let mask = rand(31, &[2, 1, 3, 3], Kind::Double).gt(0.4);
        let hidden = mask.logical_not();
        let other = logits.f_where_self(&mask, &(&logits * -7.0 + 3.0)).unwrap();
        // Two labels mark what to leave out; the second is a class.
        let ignored = target.masked_fill(&hidden.squeeze_dim(1), 255);
        let by_class = target.masked_fill(&target.eq(2), 255);
        for empty_class in POLICIES {
            let plain = Shared { empty_class, ..<_>::default() };
            let ignoring = Shared { ignore_index: vec![-1, 255], ..plain.clone() };
            let listed = Shared { ignore_index: vec![255, 2], ..plain.clone() };
            let losses = every(&plain, shape[1]).into_iter().zip(every(&ignoring, shape[1]));
            for ((loss, ignoring), listed) in losses.zip(every(&listed, shape[1])) {
                let what = format!("{loss:?}");
                let masked = value_and_grad(&logits, |x| loss.forward_weighted(x, &target, &mask));
                let changed = value_and_grad(&other, |x| loss.forward_weighted(x, &target, &mask));
                assert_close(&what, &changed.0, &masked.0, (1e-12, 0.0));
                assert_close(&what, &changed.1, &masked.1, (1e-10, 1e-14));
                let under = masked.1.masked_select(&hidden.expand_as(&masked.1));
                assert!(under.abs().max().double_value(&[]) == 0.0, "{what}: under the mask");
                assert_same(&what, &of(&*ignoring, &logits, &ignored), &masked);
                let one = of(&*ignoring, &logits, &by_class);
                assert_same(&what, &of(&*listed, &logits, &target), &one);
            }
        }
    }
}

#[test]
fn everything_ignored_is_zero_and_an_image_of_nothing_leaves_the_mean() {
    for shape in [[2, 4, 3, 3], [2, 10, 3, 3]] {
        let logits = randn(32, &shape, Kind::Double);
        let target = sparse_target(33, &shape);
        let half = Tensor::cat(&[target.narrow(0, 0, 1), target.narrow(0, 1, 1).full_like(99)], 0);
        let first = tensor(&[1.0, 0.0], &[2, 1, 1]).expand([2, 3, 3], false);
        for empty_class in POLICIES {
            let shared = Shared { empty_class, ..<_>::default() };
            for loss in every(&shared, shape[1]) {
                let what = format!("{loss:?}");
                let (value, gradient) = value_and_grad(&logits, |x| {
                    loss.forward_weighted(x, &target, &first.zeros_like())
                });
                assert_eq!(value.double_value(&[]), 0.0, "{what}");
                assert_eq!(gradient.abs().max().double_value(&[]), 0.0, "{what}");
                // MONAI counts 0 for the second image, kornia 1.
                let alone = loss.forward(&logits.narrow(0, 0, 1), &target.narrow(0, 0, 1));
                let mean = loss.forward_weighted(&logits, &target, &first);
                assert_close(&what, &mean, &alone, (1e-12, 0.0));
            }
            let shared = Shared { ignore_index: vec![99], ..shared };
            for loss in every(&shared, shape[1]) {
                let alone = loss.forward(&logits.narrow(0, 0, 1), &target.narrow(0, 0, 1));
                let mean = loss.forward(&logits, &half);
                assert_close(&format!("{loss:?}"), &mean, &alone, (1e-12, 0.0));
            }
        }
    }
}

#[test]
fn values_stay_in_range() {
    let shape = [2, 4, 3, 3];
    for kind in [Kind::Double, Kind::Float] {
        let slack = if kind == Kind::Double { 1e-12 } else { 1e-6 };
        for (seed, scale) in [(34, 0.1), (35, 3.0), (36, 40.0)] {
            let logits = randn(seed, &shape, kind) * scale;
            let target = sparse_target(seed, &shape);
            for (empty_class, apply_nonlin) in POLICIES
                .into_iter()
                .flat_map(|p| [(p, Nonlinearity::Softmax), (p, Nonlinearity::Sigmoid)])
            {
                let reduction = Reduction::None;
                let shared = Shared { empty_class, apply_nonlin, reduction, ..<_>::default() };
                for loss in every(&shared, 4) {
                    let value = loss.forward(&logits, &target);
                    let what = format!("{loss:?}");
                    let top = match &what {
                        what if what.contains("log_loss: true") => 16.2,
                        what if what.starts_with("Mcc") => 2.0,
                        _ => 1.0,
                    };
                    let [low, high] = [value.min(), value.max()].map(|v| v.double_value(&[]));
                    assert!(low >= -slack && high <= top + slack, "[{low}, {high}] {what}");
                }
            }
        }
    }
}

#[test]
fn an_exact_match_is_zero_with_a_finite_gradient() {
    let shape = [2, 3, 4, 4];
    for kind in KINDS {
        let target = randint(37, 3, &index_shape(&shape));
        let logits = (one_hot(&target, 3, kind) - 0.5) * 2e4;
        for aggregate in AGGREGATES {
            for loss in every(&Shared { aggregate, ..<_>::default() }, 3) {
                let what = format!("{loss:?} in {kind:?}");
                let (value, gradient) = of(&*loss, &logits, &target);
                // Smoothing of 0.3 over 0.7 leaves a rest.
                if !what.contains("smooth_nr: 0.3") {
                    assert_value(&what, &value, 0.0, 1e-5);
                }
                assert_finite(&what, &gradient);
            }
        }
        // The slope of a root at 0, where probabilities themselves meet the target.
        let root = FocalTverskyLoss::default().power(0.25).apply_nonlin(Nonlinearity::None);
        let p = one_hot(&target, 3, kind);
        for loss in [root.clone(), root.power_of(PowerOf::Mean)] {
            let (value, gradient) = of(&loss, &p, &target);
            assert_value("root", &value, 0.0, 1e-6);
            assert_finite("root", &gradient);
        }
    }
}

#[test]
fn a_soft_target_matches_itself_with_soft_label_alone() {
    let soft = randn(38, &[2, 3, 3, 3], Kind::Double).softmax(1, None::<Kind>);
    let at = |loss: &dyn Loss| loss.forward(&soft, &soft).double_value(&[]);
    let none = Nonlinearity::None;
    macro_rules! check {
        ($($loss:expr),*) => {$(
            let loss = $loss.smooth(0.0).apply_nonlin(none);
            assert!(at(&loss.clone().soft_label(true)).abs() < 1e-12, "{loss:?}");
            assert!(at(&loss) > 0.1, "{loss:?}");
        )*};
    }
    check!(
        DiceLoss::default(),
        JaccardLoss::default(),
        TverskyLoss::default().alpha(0.2),
        FBetaLoss::default(),
        LogCoshDiceLoss::default(),
        GeneralizedDiceLoss::default()
    );
    let loss = FocalTverskyLoss::default().smooth(0.0).apply_nonlin(none);
    assert!(at(&loss.clone().soft_label(true)).abs() < 1e-6 && at(&loss) > 0.1);
}

#[test]
fn losses_are_one_another_where_they_should() {
    let shape = [2, 3, 3, 3];
    let logits = randn(39, &shape, Kind::Double);
    let target = sparse_target(40, &shape);
    let same = |what: &str, a: &dyn Loss, b: &dyn Loss| {
        assert_same(what, &of(a, &logits, &target), &of(b, &logits, &target));
    };
    let dice = || DiceLoss::default().smooth(0.6);
    let tversky = || TverskyLoss::default().smooth(0.3);
    same("Tversky(.5, .5) is Dice", &tversky(), &dice());
    let one = tversky().alpha(1.0).beta(1.0);
    same("Tversky(1, 1) is Jaccard", &one, &JaccardLoss::default().smooth(0.3));
    same("F-1 is Dice", &FBetaLoss::default().beta(1.0).smooth(0.6), &dice());
    let f2 = FBetaLoss::default().beta(2.0).smooth(1.5);
    same("F-2 is Tversky(.2, .8)", &f2, &tversky().alpha(0.2).beta(0.8));
    let focal = || FocalTverskyLoss::default().smooth(0.3).alpha(0.4).beta(0.9).power(1.0);
    same("focal Tversky of power 1 is Tversky", &focal(), &tversky().alpha(0.4).beta(0.9));
    same("of the mean too", &focal().power_of(PowerOf::Mean), &focal());
    let gdl = || GeneralizedDiceLoss::default().smooth(0.6).w_type(VolumeWeight::Uniform);
    same("GDL of uniform weights is micro Dice", &gdl(), &dice().average(Average::Micro));
    same("GDL of penalty 0 is GDL", &gdl().penalty(0.0), &gdl());
    let soft_dice = SoftDiceLoss::default()
        .apply_nonlin(Nonlinearity::Softmax)
        .smooth(0.6)
        .form(tch_losses::segmentation::DiceForm::OneMinus);
    same("1 - dc of SoftDiceLoss is Dice", &soft_dice, &dice());
    // All classes as far from each other, and no background: the error is that of p.
    let p = logits.softmax(1, None::<Kind>);
    let own = p.gather(1, &target.unsqueeze(1), false).flatten(1, -1);
    let (alpha, tp) = (target.gt(0).flatten(1, -1).to_kind(Kind::Double), own.shallow_clone());
    let over = |t: Tensor| t.sum_dim_intlist(1, false, None::<Kind>);
    let (tp, error) = (over(tp * alpha), over(own.f_rsub_scalar(1.0).unwrap()));
    let expected = 1.0f64 - (&tp * 2.0 + 1e-5) / (&tp * 2.0 + error + 1e-5);
    let value = GeneralizedWassersteinDiceLoss::default().forward(&logits, &target);
    assert_close("Wasserstein", &value, &expected.mean(None::<Kind>), (1e-12, 0.0));
}

#[test]
fn log_cosh_keeps_the_digits_of_a_small_loss() {
    let logits = tensor(&[9.0, -9.0, -9.0, 9.0], &[1, 2, 2]).to_kind(Kind::Float);
    let target = index(&[0, 1], &[1, 2]);
    let d = DiceLoss::default().forward(&logits.to_kind(Kind::Double), &target);
    let loss = LogCoshDiceLoss::default().forward(&logits, &target);
    assert!(d.double_value(&[]) < 1e-7);
    assert!(loss.double_value(&[]) < 1e-12);
    // cosh of 1e-4 is 1 in Float.
    let logits = tensor(&[4.6, -4.6, -4.6, 4.6], &[1, 2, 2]);
    let expected = LogCoshDiceLoss::default().forward(&logits, &target);
    let value = LogCoshDiceLoss::default().forward(&logits.to_kind(Kind::Float), &target);
    assert!(expected.double_value(&[]) < 1e-7);
    // d = 1e-4 is itself known to 6e-4 in Float, and enters squared.
    assert_close("log cosh", &value, &expected, (3e-3, 0.0));
}

#[test]
fn reductions_agree_and_have_the_shape_of_the_scores() {
    let shape = [3, 4, 2, 3];
    let logits = randn(41, &shape, Kind::Double);
    let target = sparse_target(42, &shape);
    for (aggregate, average, expected) in [
        (Aggregate::PerImage, Average::Macro, vec![3, 4]),
        (Aggregate::PerImage, Average::Micro, vec![3]),
        (Aggregate::Batch, Average::Macro, vec![4]),
        (Aggregate::Batch, Average::Micro, vec![]),
    ] {
        let of = |reduction| {
            let shared = Shared { aggregate, average, reduction, ..<_>::default() };
            by_class(&shared).iter().map(|loss| loss.forward(&logits, &target)).collect::<Vec<_>>()
        };
        let means = of(Reduction::Mean);
        for ((none, sum), mean) in of(Reduction::None).iter().zip(of(Reduction::Sum)).zip(means) {
            assert_eq!(none.size(), expected);
            assert_close("sum", &sum, &none.sum(None::<Kind>), (1e-12, 0.0));
            assert_close("mean", &mean, &none.mean(None::<Kind>), (1e-12, 0.0));
        }
        let shared = Shared { aggregate, reduction: Reduction::None, ..<_>::default() };
        for loss in by_image(&shared, 4) {
            let expected = if aggregate == Aggregate::Batch { vec![] } else { vec![3] };
            assert_eq!(loss.forward(&logits, &target).size(), expected, "{loss:?}");
        }
    }
}

#[test]
fn classes_are_columns_of_the_scores() {
    let shape = [2, 4, 2, 3];
    let logits = randn(43, &shape, Kind::Double);
    let target = sparse_target(44, &shape);
    let scores = |loss: DiceLoss| loss.reduction(Reduction::None).forward(&logits, &target);
    let all = scores(DiceLoss::default());
    for (loss, columns) in [
        (DiceLoss::default().classes([2]), vec![2]),
        (DiceLoss::default().classes([3, 1]), vec![3, 1]),
        (DiceLoss::default().classes([1, 2]), vec![1, 2]),
        (DiceLoss::default().include_background(false), vec![1, 2, 3]),
        (DiceLoss::default().include_background(false).classes([0, 3]), vec![3]),
    ] {
        let columns = index(&columns, &[columns.len() as i64]);
        assert_close("columns", &scores(loss), &all.index_select(1, &columns), (1e-12, 0.0));
    }
    let weights = [1.0, 2.0, 3.0, 4.0];
    let loss = DiceLoss::default().classes([3, 1]).class_weights(weights);
    let (three, one) = (all.select(1, 3), all.select(1, 1));
    let expected = ((three * 4.0 + one * 2.0) / 6.0).mean(None::<Kind>);
    assert_close("weights", &loss.forward(&logits, &target), &expected, (1e-12, 0.0));
}

/// Logits after some steps of Adam from a wrong mask.
fn trained(loss: &dyn Loss, from: &Tensor, target: &Tensor) -> Tensor {
    let vs = nn::VarStore::new(device());
    let logits = vs.root().var_copy("logits", from);
    let mut adam = nn::Adam::default().build(&vs, 0.3).unwrap();
    for _ in 0..60 {
        adam.backward_step(&loss.forward(&logits, target));
    }
    logits.detach()
}

#[test]
fn every_loss_and_policy_turns_a_wrong_mask_right() {
    let shape = [2, 4, 4, 4];
    let target = sparse_target(45, &shape);
    // Every pixel starts as the class after its own, some as the class that is nowhere.
    let wrong = one_hot(&((&target + 1i64).remainder(4)), 4, Kind::Float) * 2.0;
    let start = wrong + randn(46, &shape, Kind::Float) * 0.1;
    for (empty_class, aggregate) in
        POLICIES.into_iter().flat_map(|p| AGGREGATES.map(|aggregate| (p, aggregate)))
    {
        let shared = Shared { empty_class, aggregate, ..<_>::default() };
        for loss in every(&shared, 4) {
            let learned = trained(&*loss, &start, &target).argmax(1, false);
            assert_eq!(learned, target, "{loss:?}");
        }
    }
}

#[test]
fn false_positives_of_an_absent_class_are_unlearned_by_their_policy_alone() {
    // Two maps of an image: one half full, one empty but predicted everywhere.
    let shape = [1, 2, 4, 4];
    let target = rand(47, &shape, Kind::Float).gt(0.5).to_kind(Kind::Float);
    let _ = target.select(1, 1).zero_();
    let start = Tensor::ones(shape, (Kind::Float, device()));
    let empty = |loss: &dyn Loss| trained(loss, &start, &target).select(1, 1);
    let losses = |empty_class, aggregate| {
        let apply_nonlin = Nonlinearity::Sigmoid;
        by_class(&Shared { empty_class, aggregate, apply_nonlin, ..<_>::default() })
    };
    for aggregate in AGGREGATES {
        for loss in losses(EmptyClass::FalsePositives, aggregate) {
            assert!(empty(&*loss).max().double_value(&[]) < 0.0, "{loss:?}");
        }
        for policy in [EmptyClass::Skip, EmptyClass::Zero] {
            for loss in losses(policy, aggregate) {
                assert!(empty(&*loss).min().double_value(&[]) > 0.9, "{loss:?}");
            }
        }
    }
    // With nothing but absent classes, where MONAI's generalised Dice and MCC are dead.
    let nothing = target.zeros_like();
    let unlearned = |loss: &dyn Loss| {
        assert!(trained(loss, &start, &nothing).max().double_value(&[]) < 0.0, "{loss:?}");
        let (_, gradient) = of(loss, &start, &nothing);
        assert!(gradient.min().double_value(&[]) > 0.0, "{loss:?}");
    };
    let (policy, sigmoid) = (EmptyClass::FalsePositives, Nonlinearity::Sigmoid);
    unlearned(&GeneralizedDiceLoss::monai().empty_class(policy).apply_nonlin(sigmoid));
    unlearned(&MccLoss::default().empty_class(policy).apply_nonlin(sigmoid));
    let (value, gradient) =
        of(&GeneralizedDiceLoss::monai().apply_nonlin(sigmoid), &start, &nothing);
    assert_value("generalised Dice of nothing", &value, 0.0, 1e-6);
    assert_eq!(gradient.abs().max().double_value(&[]), 0.0);
    // A full map is to MCC what an empty one is.
    let full = MccLoss::default().empty_class(policy).apply_nonlin(sigmoid);
    let learned = trained(&full, &(&start * -1.0), &target.ones_like());
    assert!(learned.min().double_value(&[]) > 0.0);
}

#[test]
fn the_policy_says_what_an_absent_class_costs() {
    let p = tensor(&[0.9, 0.6, 0.1, 0.4], &[1, 2, 2]);
    let target = index(&[0, 0], &[1, 2]);
    let scores = |empty_class| {
        let loss = DiceLoss::default().apply_nonlin(Nonlinearity::None).smooth(0.1);
        let loss = loss.empty_class(empty_class);
        let none = loss.clone().reduction(Reduction::None).forward(&p, &target);
        let mean = loss.forward(&p, &target).double_value(&[]);
        (Vec::<f64>::try_from(none.view(-1)).unwrap(), mean)
    };
    let first = 1.0 - 3.1 / 3.6;
    for (policy, second, mean) in [
        (EmptyClass::Smooth, 1.0 - 0.1 / 0.6, (first + 1.0 - 0.1 / 0.6) / 2.0),
        (EmptyClass::Skip, 0.0, first),
        (EmptyClass::Zero, 0.0, first / 2.0),
        (EmptyClass::FalsePositives, 0.25, (first + 0.25) / 2.0),
    ] {
        let (scores, got) = scores(policy);
        assert!((scores[0] - first).abs() < 1e-12, "{policy:?}");
        assert!((scores[1] - second).abs() < 1e-12, "{policy:?}");
        assert!((got - mean).abs() < 1e-12, "{policy:?}");
    }
}

#[test]
fn generalised_dice_of_large_classes_is_not_smoothed_away() {
    let logits = randn(48, &[1, 2, 256, 256], Kind::Float);
    let target = randint(49, 2, &[1, 256, 256]);
    let exact = GeneralizedDiceLoss::default().smooth(0.0);
    let expected = exact.forward(&logits.to_kind(Kind::Double), &target).double_value(&[]);
    let ours = GeneralizedDiceLoss::default().forward(&logits, &target).double_value(&[]);
    let monai = GeneralizedDiceLoss::monai().forward(&logits, &target).double_value(&[]);
    assert!((ours - expected).abs() < 1e-4 * expected, "{ours}, {expected}");
    assert!(monai < 0.95 * expected, "{monai}, {expected}");
}

#[test]
fn mcc_of_a_large_volume_does_not_overflow() {
    // The product of the four sums would be 1e42, beyond Float.
    let p = tensor(&[0.75, 0.25], &[1, 1, 2, 1]).to_kind(Kind::Float);
    let p = p.expand([1, 1, 2, 1 << 26], false);
    let target = index(&[1, 0], &[1, 2, 1]).expand([1, 2, 1 << 26], false);
    let loss = MccLoss::default().apply_nonlin(Nonlinearity::None);
    let value = tch::no_grad(|| loss.forward(&p, &target.to_kind(Kind::Uint8)));
    assert_value("MCC", &value, 0.5, 1e-5);
}

/// Loss and gradient of every loss must be finite, and the gradient of the input's kind.
fn finite(what: &str, kind: Kind, logits: &Tensor, target: &Tensor, mask: Option<&Tensor>) {
    for (empty_class, aggregate, apply_nonlin) in [
        (EmptyClass::Smooth, Aggregate::PerImage, Nonlinearity::Softmax),
        (EmptyClass::Skip, Aggregate::Batch, Nonlinearity::Sigmoid),
        (EmptyClass::Zero, Aggregate::PerImage, Nonlinearity::Sigmoid),
        (EmptyClass::FalsePositives, Aggregate::PerImage, Nonlinearity::Softmax),
    ] {
        let shared = Shared { empty_class, aggregate, apply_nonlin, ..<_>::default() };
        for loss in every(&shared, logits.size()[1]) {
            let what = format!("{what} in {kind:?}, {loss:?}");
            let (value, gradient) = value_and_grad(logits, |x| match mask {
                Some(mask) => loss.forward_weighted(x, target, mask),
                None => loss.forward(x, target),
            });
            assert_finite(&what, &value);
            assert_finite(&what, &gradient);
            let accumulated = if kind == Kind::Double { kind } else { Kind::Float };
            assert_eq!((value.kind(), gradient.kind()), (accumulated, kind), "{what}");
        }
    }
}

#[test]
fn edges_are_finite_in_every_kind() {
    for (kind, classes) in KINDS.into_iter().flat_map(|kind| [(kind, 3), (kind, 10)]) {
        let logits = randn(50, &[2, classes, 4, 3], kind);
        let target = randint(51, classes, &[2, 4, 3]);
        let dense = one_hot(&target, classes, kind);
        let ones = tensor(&[1.0; 24], &[2, 1, 4, 3]).to_kind(kind);
        let zeros = ones.zeros_like();
        finite("index", kind, &logits, &target, None);
        finite("one-hot", kind, &logits, &dense, Some(&ones));
        finite("empty mask", kind, &logits, &target, Some(&zeros));
        finite("empty mask, one-hot", kind, &logits, &dense, Some(&zeros));
        finite("absent class", kind, &logits, &target.clamp_max(1), None);
        finite("one class alone", kind, &logits, &target.zeros_like(), None);
        finite("empty target", kind, &logits, &dense.zeros_like(), None);
        finite("full target", kind, &logits, &dense.ones_like(), None);
        let wrong = (&dense - 0.5) * -2e4;
        finite("saturated, right", kind, &wrong.neg(), &target, None);
        finite("saturated, wrong", kind, &wrong, &target, None);
        finite("saturated, absent", kind, &wrong, &target.zeros_like(), None);
        finite("saturated, empty", kind, &(wrong.abs() * -1.0), &dense.zeros_like(), None);
        finite("saturated, one-hot", kind, &wrong, &dense, Some(&ones));
        let strided = logits.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        finite("channels last", kind, &strided, &target, Some(&ones));
        finite("empty batch", kind, &logits.narrow(0, 0, 0), &target.narrow(0, 0, 0), None);
        finite("no pixels", kind, &logits.narrow(2, 0, 0), &target.narrow(1, 0, 0), None);
        finite("one pixel", kind, &logits.slice(2, 0, 1, 1), &target.slice(1, 0, 1, 1), None);
    }
}

#[test]
fn an_empty_batch_is_zero() {
    let logits = randn(52, &[0, 3, 4, 4], Kind::Float);
    let target = randint(53, 3, &[0, 4, 4]);
    for aggregate in AGGREGATES {
        for loss in every(&Shared { aggregate, ..<_>::default() }, 3) {
            assert_eq!(loss.forward(&logits, &target).double_value(&[]), 0.0, "{loss:?}");
        }
    }
}

#[test]
fn what_is_not_contiguous_has_the_same_loss() {
    let logits = randn(54, &[2, 4, 3, 5], Kind::Double);
    let target = randint(55, 3, &[2, 5, 3]).transpose(1, 2);
    let mask = rand(56, &[2, 5, 3], Kind::Double).transpose(1, 2);
    let strided = logits.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    for loss in every(&Shared::default(), 4) {
        let expected = loss.forward_weighted(&logits, &target.contiguous(), &mask.contiguous());
        let got = loss.forward_weighted(&strided, &target, &mask);
        assert_close(&format!("{loss:?}"), &got, &expected, (1e-12, 0.0));
    }
}

#[test]
fn half_images_of_512_pixels_agree_with_float() {
    for (classes, seed, apply_nonlin) in
        [(3, 57, Nonlinearity::Sigmoid), (9, 58, Nonlinearity::Softmax)]
    {
        let shape = [1, classes, 512, 512];
        let target = randint(seed, classes, &[1, 512, 512]);
        for kind in [Kind::Half, Kind::BFloat16] {
            let logits = randn(seed, &shape, kind);
            for loss in every(&Shared { apply_nonlin, ..<_>::default() }, classes) {
                let what = format!("{loss:?} in {kind:?}");
                let (value, gradient) = of(&*loss, &logits, &target);
                let (expected, slope) = of(&*loss, &logits.to_kind(Kind::Float), &target);
                assert_close(&what, &value, &expected, (1e-6, 0.0));
                // Gradients are near 1e-6, where Half has steps of 6e-8.
                let tolerance = match kind {
                    Kind::Half => (2e-3, 4e-8),
                    _ => (1e-2, 1e-12),
                };
                assert_close(&what, &gradient, &slope, tolerance);
                assert!(gradient.abs().max().double_value(&[]) > 0.0, "{what}");
            }
        }
    }
}

#[test]
fn the_input_is_not_changed() {
    let logits = randn(59, SHAPES[0], Kind::Float);
    let (copy, target) = (logits.copy(), sparse_target(60, SHAPES[0]));
    for loss in every(&Shared { ignore_index: vec![1], ..<_>::default() }, 3) {
        let (labels, _) = (target.copy(), loss.forward(&logits, &target));
        assert_eq!((&logits, &target), (&copy, &labels), "{loss:?}");
    }
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let logits = randn(61, &[2, 3, 4, 5], Kind::Float);
    let target = randint(62, 3, &[2, 4, 5]);
    let refused = |loss: &dyn Loss| loss.f_forward(&logits, &target).unwrap_err().to_string();
    let dice = DiceLoss::default;
    let wasserstein = GeneralizedWassersteinDiceLoss::default;
    for (loss, message) in [
        (
            Box::new(dice().smooth_nr(-1.0)) as Box<dyn Loss>,
            "DiceLoss: expected smooth_nr at least 0 and finite, got -1",
        ),
        (
            Box::new(dice().smooth_dr(f64::NAN)),
            "DiceLoss: expected smooth_dr at least 0 and finite, got NaN",
        ),
        (Box::new(dice().eps(0.0)), "DiceLoss: expected eps at least 1e-30 and finite, got 0"),
        (
            Box::new(dice().classes([0, 3])),
            "DiceLoss: expected classes classes of the input, got [0, 3] of 3",
        ),
        (
            Box::new(dice().classes(vec![])),
            "DiceLoss: expected classes at least one class, got none",
        ),
        (
            Box::new(dice().classes([0]).include_background(false)),
            "DiceLoss: expected include_background true where no other class is left, got false",
        ),
        (
            Box::new(dice().class_weights([1.0, 2.0])),
            "DiceLoss: expected class_weights of shape [3], got [2]",
        ),
        (
            Box::new(dice().class_weights([1.0, -2.0, 1.0])),
            "DiceLoss: expected class_weights at least 0 and finite, got -2",
        ),
        (
            Box::new(dice().reduction(Reduction::Other(7))),
            "DiceLoss: expected reduction None, Mean or Sum, got Other(7)",
        ),
        (
            Box::new(JaccardLoss::default().eps(f64::INFINITY)),
            "JaccardLoss: expected eps at least 1e-30 and finite, got inf",
        ),
        (
            Box::new(TverskyLoss::default().alpha(-0.1)),
            "TverskyLoss: expected alpha at least 0 and finite, got -0.1",
        ),
        (
            Box::new(TverskyLoss::default().beta(f64::NAN)),
            "TverskyLoss: expected beta at least 0 and finite, got NaN",
        ),
        (
            Box::new(FocalTverskyLoss::default().power(0.0)),
            "FocalTverskyLoss: expected power above 0 and finite, got 0",
        ),
        (
            Box::new(FocalTverskyLoss::smp().reduction(Reduction::Sum)),
            "FocalTverskyLoss: expected power_of Score where nothing is averaged, got Mean",
        ),
        (
            Box::new(FBetaLoss::default().beta(-1.0)),
            "FBetaLoss: expected beta at least 0 and finite, got -1",
        ),
        (
            Box::new(GeneralizedDiceLoss::default().penalty(-1.0)),
            "GeneralizedDiceLoss: expected penalty at least 0 and finite, got -1",
        ),
        (
            Box::new(wasserstein().dist_matrix([vec![0.0, 1.0], vec![1.0, 0.0]])),
            "GeneralizedWassersteinDiceLoss: expected dist_matrix of shape [3, 3], got [2, 2]",
        ),
        (
            Box::new(wasserstein().dist_matrix([vec![0.0; 3], vec![0.0; 3], vec![1.0; 2]])),
            "GeneralizedWassersteinDiceLoss: expected dist_matrix of shape [3, 3], got [3, 2]",
        ),
        (
            Box::new(wasserstein().dist_matrix([vec![0.0; 3], vec![0.0; 3], vec![0.0; 3]])),
            "GeneralizedWassersteinDiceLoss: expected dist_matrix with a distance above 0, got 0",
        ),
        (
            Box::new(wasserstein().dist_matrix([vec![0.0; 3], vec![-1.0; 3], vec![0.0; 3]])),
            "GeneralizedWassersteinDiceLoss: expected dist_matrix at least 0 and finite, got -1",
        ),
        (
            Box::new(wasserstein().apply_nonlin(Nonlinearity::Sigmoid)),
            "GeneralizedWassersteinDiceLoss: expected apply_nonlin Softmax or None, got Sigmoid",
        ),
        (
            Box::new(SensitivitySpecificityLoss::default().r(1.5)),
            "SensitivitySpecificityLoss: expected r in [0, 1], got 1.5",
        ),
        (
            Box::new(MccLoss::default().smooth_dr(-1.0)),
            "MccLoss: expected smooth_dr at least 0 and finite, got -1",
        ),
    ] {
        assert_eq!(refused(&*loss), message);
    }
    for loss in every(&Shared::default(), 3) {
        let name = format!("{loss:?}");
        let name = name.split(' ').next().unwrap();
        let of = |input: &Tensor, target: &Tensor| loss.f_forward(input, target).unwrap_err();
        assert_eq!(
            of(&logits, &target.narrow(1, 0, 3)).to_string(),
            format!(
                "{name}: expected target of shape [2, 4, 5], [2, 1, 4, 5] or [2, 3, 4, 5], \
                 got [2, 3, 5]"
            )
        );
        assert_eq!(
            of(&logits.narrow(1, 0, 1), &target).to_string(),
            format!(
                "{name}: expected apply_nonlin None or Sigmoid for one class, \
                 got Softmax, which is 1 everywhere"
            )
        );
        assert_eq!(
            of(&logits.view(-1), &target).to_string(),
            format!("{name}: expected input of shape [N, C, ..] with C at least 1, got [120]")
        );
        assert_eq!(
            of(&logits.to_kind(Kind::Int), &target).to_string(),
            format!("{name}: expected input of floating-point kind, got Int")
        );
        let weight = rand(63, &[2, 3, 4, 5], Kind::Float);
        assert_eq!(
            loss.f_forward_weighted(&logits, &target, &weight).unwrap_err().to_string(),
            format!("{name}: expected weight of shape [2, 4, 5] or [2, 1, 4, 5], got [2, 3, 4, 5]")
        );
        // On CUDA an index out of range is a device-side assertion.
        if device() == Device::Cpu {
            let error = of(&logits, &target.full_like(3));
            assert!(matches!(error, LossError::Torch(_)), "{error:?}");
        }
    }
}

#[test]
#[should_panic(expected = "TverskyLoss: expected alpha at least 0 and finite, got NaN")]
fn the_plain_form_panics_with_the_same_line() {
    let logits = randn(64, &[2, 3, 4, 5], Kind::Float);
    let _ = TverskyLoss::default().alpha(f64::NAN).forward(&logits, &randint(65, 3, &[2, 4, 5]));
}
