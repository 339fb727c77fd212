//! Distance transforms and what is made of them: gradient checks, laws, edges and errors.

mod common;

use common::*;
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    BoundaryLoss, ClDiceLoss, CrossEntropyLoss, DistBinaryDiceLoss,
    DistancePenalizedCrossEntropyLoss, HausdorffDtLoss, HausdorffErLoss, Loss, LossError,
    ShapeAwareLoss,
    metrics::{SurfaceDistances, cl_dice},
    segmentation::{
        Aggregate, Average, DiceForm, EmptyClass, Nonlinearity, WeightMapOptions,
        distance_transform_edt, f_distance_transform_edt, f_signed_distance_transform_edt,
        f_soft_skeletonize, f_unet_weight_map, signed_distance_transform_edt, soft_skeletonize,
        unet_weight_map,
    },
};

/// By comparing every pixel with every other.
fn brute_force(mask: &Tensor, spacing: &[f64]) -> Tensor {
    let axes: Vec<_> = mask
        .size()
        .iter()
        .zip(spacing)
        .map(|(&length, &s)| Tensor::arange(length, (Kind::Double, device())) * s)
        .collect();
    let grid = Tensor::meshgrid_indexing(&axes, "ij");
    let places = Tensor::stack(&grid, -1).view([-1, spacing.len() as i64]);
    let apart = (places.unsqueeze(1) - &places).square().sum_dim_intlist(2, false, None::<Kind>);
    let zero = mask.view(-1).eq(0);
    let (nearest, _) = apart.masked_fill(&zero.logical_not(), f64::INFINITY).min_dim(1, false);
    nearest.sqrt().view_as(mask)
}

fn exactly(what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.size(), expected.size(), "{what}");
    let same = got.eq_tensor(expected).logical_or(&(got - expected).abs().le(1e-12));
    assert_eq!(same.all().int64_value(&[]), 1, "{what}: got {got:?}");
}

#[test]
fn distances_are_those_to_the_nearest_zero_pixel() {
    let shapes: [(&[i64], &[f64]); 7] = [
        (&[1, 1], &[1.0, 1.0]),
        (&[37], &[1.0]),
        (&[17, 23], &[1.0, 1.0]),
        (&[3, 200], &[2.0, 2.0]),
        (&[200, 3], &[0.3, 1.7]),
        (&[7, 9, 11], &[1.0, 1.0, 1.0]),
        (&[9, 5, 40], &[3.0, 0.1, 0.7]),
    ];
    for (seed, (shape, spacing)) in shapes.into_iter().enumerate() {
        // From a pixel here and there to nearly all.
        for share in [0.03, 0.5, 0.9, 0.995] {
            let mask = rand(seed as i64, shape, Kind::Double).lt(share).to_kind(Kind::Double);
            let what = format!("{shape:?} {spacing:?} {share}");
            let inside = brute_force(&mask, spacing);
            exactly(&what, &distance_transform_edt(&mask, spacing), &inside);
            let outside = brute_force(&(1.0f64 - &mask), spacing);
            let signed = outside.f_where_self(&mask.eq(0), &-inside).unwrap();
            exactly(&what, &signed_distance_transform_edt(&mask, spacing), &signed);
        }
    }
}

#[test]
fn every_kind_of_mask_has_the_same_distances() {
    let mask = rand(10, &[2, 9, 7], Kind::Double).gt(0.2);
    let spacing = [1.5, 1.0];
    let expected = distance_transform_edt(&mask, &spacing);
    assert_eq!(expected.kind(), Kind::Float);
    for kind in [Kind::Uint8, Kind::Int, Kind::Int64, Kind::Half, Kind::BFloat16, Kind::Float] {
        let scaled = mask.to_kind(kind) * 3;
        exactly("kind", &distance_transform_edt(&scaled, &spacing), &expected);
    }
    let double = distance_transform_edt(&(mask.to_kind(Kind::Double) * -0.5), &spacing);
    assert_eq!(double.kind(), Kind::Double);
    assert_close("double", &double, &expected, (1e-7, 0.0));
}

#[test]
fn images_of_a_batch_have_nothing_to_do_with_one_another() {
    let masks = rand(11, &[2, 3, 8, 5], Kind::Double).gt(0.3);
    let spacing = [1.0, 0.5];
    let together = signed_distance_transform_edt(&masks, &spacing);
    for i in 0..2 {
        for j in 0..3 {
            let alone = signed_distance_transform_edt(&masks.get(i).get(j), &spacing);
            exactly("alone", &together.get(i).get(j), &alone);
        }
    }
}

#[test]
fn distances_are_the_same_along_other_axes_and_with_any_number_of_threads() {
    let mask = rand(12, &[310, 290], Kind::Double).gt(0.0005);
    let threads = tch::get_num_threads();
    tch::set_num_threads(1);
    let alone = distance_transform_edt(&mask, &[0.5, 2.0]);
    tch::set_num_threads(3);
    let together = distance_transform_edt(&mask, &[0.5, 2.0]);
    let turned = distance_transform_edt(&mask.transpose(0, 1), &[2.0, 0.5]);
    let flipped = distance_transform_edt(&mask.flip([0]), &[0.5, 2.0]);
    tch::set_num_threads(threads);
    exactly("threads", &together, &alone);
    exactly("flipped", &flipped.flip([0]), &alone);
    assert_close("turned", &turned.transpose(0, 1), &alone, (1e-6, 0.0));
}

#[test]
fn without_the_other_side_distances_are_infinite() {
    let ones = Tensor::ones([1, 3, 4], (Kind::Bool, device()));
    let infinite = ones.to_kind(Kind::Float) * f64::INFINITY;
    exactly("ones", &distance_transform_edt(&ones, &[1.0, 1.0]), &infinite);
    exactly("inside", &signed_distance_transform_edt(&ones, &[1.0, 1.0]), &-&infinite);
    let none = ones.logical_not();
    exactly("outside", &signed_distance_transform_edt(&none, &[1.0, 1.0]), &infinite);
    assert_value("zeros", &distance_transform_edt(&none, &[1.0, 1.0]).max(), 0.0, 0.0);
    for size in [[0, 3, 4], [2, 0, 4]] {
        let empty = Tensor::zeros(size, (Kind::Bool, device()));
        assert_eq!(distance_transform_edt(&empty, &[1.0, 1.0]).size(), size);
    }
}

#[test]
fn distance_transforms_name_what_is_wrong() {
    let mask = Tensor::zeros([4], (Kind::Bool, device()));
    let error = |spacing: &[f64]| f_distance_transform_edt(&mask, spacing).unwrap_err().to_string();
    assert_eq!(
        error(&[1.0, 2.0]),
        "distance_transform_edt: expected mask of shape of at least 2 dimensions, as spacing has 2 \
         numbers, got [4]"
    );
    for spacing in [&[][..], &[0.0], &[f64::NAN], &[-1.0], &[f64::INFINITY]] {
        let expected = format!(
            "distance_transform_edt: expected spacing one number above 0 for each dimension of an \
             image, got {spacing:?}"
        );
        assert_eq!(error(spacing), expected);
        assert!(f_signed_distance_transform_edt(&mask, spacing).is_err());
    }
}

// Metrics.

fn masks(seed: i64, shape: &[i64]) -> Tensor {
    // Blobs: noise of half the size, each pixel twice.
    let noise = rand(seed, shape, Kind::Float);
    let noise = noise.repeat_interleave_self_int(2, -1, None);
    noise.repeat_interleave_self_int(2, -2, None).gt(0.6)
}

#[test]
fn surface_distances_are_symmetric_and_scale_with_the_spacing() {
    let [a, b] = [20, 21].map(|seed| masks(seed, &[2, 3, 5, 6]));
    let all = |a: &Tensor, b: &Tensor, scale: f64| {
        let distances = SurfaceDistances::new(a, b, &[1.5 * scale, scale]);
        Tensor::stack(&[distances.hausdorff(), distances.percentile(95.0), distances.average()], 0)
    };
    let there = all(&a, &b, 1.0);
    assert_close("symmetric", &all(&b, &a, 1.0), &there, (1e-12, 0.0));
    assert_close("scaled", &all(&a, &b, 4.0), &(&there * 4.0), (1e-12, 0.0));
    assert_value("itself", &all(&a, &a, 1.0).max(), 0.0, 0.0);
    let ordered = there.get(2).le_tensor(&there.get(0)).all();
    assert_eq!(ordered.int64_value(&[]), 1, "the mean is at most the maximum");
    let dice = SurfaceDistances::new(&a, &a, &[1.0, 1.0]).surface_dice(0.0);
    assert_value("surface Dice of itself", &dice.min(), 1.0, 0.0);
}

#[test]
fn surfaces_that_are_not_there_are_infinitely_far_or_not_a_number() {
    let some = masks(22, &[1, 4, 5]);
    let none = some.zeros_like();
    let of = |a: &Tensor, b: &Tensor| {
        let distances = SurfaceDistances::new(a, b, &[1.0, 1.0]);
        [
            distances.hausdorff(),
            distances.percentile(95.0),
            distances.average(),
            distances.surface_dice(1.0),
        ]
        .map(|value| value.double_value(&[0]))
    };
    let inf = f64::INFINITY;
    assert_eq!(of(&some, &none), [inf, inf, inf, 0.0]);
    assert_eq!(of(&none, &some), [inf, inf, inf, 0.0]);
    assert!(of(&none, &none).iter().all(|value| value.is_nan()));
    let nothing = Tensor::zeros([2, 0, 4], (Kind::Bool, device()));
    let distances = SurfaceDistances::new(&nothing, &nothing, &[1.0, 1.0]);
    assert_eq!(distances.hausdorff().size(), [2]);

    let error = SurfaceDistances::f_new(&some, &none.get(0), &[1.0, 1.0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SurfaceDistances: expected target of shape [1, 8, 10], got [8, 10]"
    );
    let distances = SurfaceDistances::new(&some, &some, &[1.0, 1.0]);
    let error = distances.f_percentile(f64::NAN).unwrap_err().to_string();
    assert_eq!(error, "SurfaceDistances: expected percentile in [0, 100], got NaN");
}

#[test]
fn cl_dice_of_masks_is_1_for_a_match_and_0_for_a_miss() {
    // A frame two pixels wide around nothing, and a rod far from it.
    let square = |size: i64, rim: i64| {
        Tensor::ones([1, 1, size, size], (Kind::Float, device())).constant_pad_nd([rim; 4])
    };
    let frame = (square(8, 2) - square(4, 4)).gt(0.0);
    let inner = square(2, 5).gt(0.0);
    let none = frame.zeros_like();
    let score = |a: &Tensor, b: &Tensor| cl_dice(a, b).double_value(&[0, 0]);
    assert_eq!(score(&frame, &frame), 1.0);
    assert_eq!(score(&frame, &inner), 0.0);
    assert_eq!(score(&frame, &none), 0.0);
    assert_eq!(score(&none, &frame), 0.0);
    assert!(score(&none, &none).is_nan());
    let [a, b] = [23, 24].map(|seed| masks(seed, &[2, 2, 3, 5, 6]));
    let there = cl_dice(&a, &b);
    assert_close("symmetric", &cl_dice(&b, &a), &there, (1e-12, 0.0));
}

// Skeletons.

#[test]
fn skeletons_have_the_same_values_with_and_without_a_gradient() {
    for shape in [&[2, 3, 7, 6][..], &[2, 2, 4, 6, 5], &[1, 1, 1, 1], &[1, 1, 2, 1, 3]] {
        for iterations in [0, 1, 4] {
            let image = rand(30, shape, Kind::Double);
            let plain = soft_skeletonize(&image, iterations);
            exactly("skeleton", &soft_skeletonize(&leaf(&image), iterations), &plain);
            let bounded = plain.ge(0.0).logical_and(&plain.le(1.0)).all();
            assert_eq!(bounded.int64_value(&[]), 1, "in [0, 1]");
        }
    }
}

#[test]
fn a_volume_of_one_slice_has_the_skeleton_of_the_slice() {
    // Erosion along the new axis changes nothing.
    let image = rand(31, &[2, 1, 7, 8], Kind::Double);
    let flat = soft_skeletonize(&image, 2);
    exactly("slice", &soft_skeletonize(&image.unsqueeze(2), 2).squeeze_dim(2), &flat);
}

#[test]
fn more_iterations_than_the_radius_change_nothing() {
    let mask = masks(32, &[2, 2, 6, 7]).to_kind(Kind::Float);
    let mask = mask.constant_pad_nd([1, 1, 1, 1]);
    exactly("skeleton", &soft_skeletonize(&mask, 20), &soft_skeletonize(&mask, 8));
}

#[test]
fn gradients_of_skeletons_agree_with_differences() {
    for shape in [&[1, 2, 5, 4][..], &[1, 1, 3, 4, 3]] {
        let image = rand(33, shape, Kind::Double);
        gradcheck("skeleton", &[image.shallow_clone()], |x| soft_skeletonize(&x[0], 2));
        gradgradcheck("skeleton", &[image], |x| soft_skeletonize(&x[0], 2));
    }
    let error = f_soft_skeletonize(&rand(34, &[4, 4], Kind::Float), 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "soft_skeletonize: expected image of shape [N, C, H, W] or [N, C, D, H, W], got [4, 4]"
    );
    assert!(f_soft_skeletonize(&rand(35, &[1, 1, 4, 4], Kind::Float), -1).is_err());
}

// Losses.

/// Every loss with every option that changes the maths; all ignore 255.
fn losses() -> Vec<Box<dyn Loss>> {
    let mut all: Vec<Box<dyn Loss>> = vec![];
    for empty_class in
        [EmptyClass::Smooth, EmptyClass::Skip, EmptyClass::Zero, EmptyClass::FalsePositives]
    {
        all.push(Box::new(ClDiceLoss::default().empty_class(empty_class).ignore_index(255)));
        all.push(Box::new(BoundaryLoss::default().empty_class(empty_class).ignore_index(255)));
        all.push(Box::new(HausdorffDtLoss::default().empty_class(empty_class).ignore_index(255)));
        all.push(Box::new(HausdorffErLoss::default().empty_class(empty_class).ignore_index(255)));
        let dice = DistBinaryDiceLoss::default().include_background(true).ignore_index(255);
        all.push(Box::new(dice.empty_class(empty_class).smooth(0.0)));
    }
    let weights = [0.5, 2.0, 1.0, 0.3];
    let sigmoid = Nonlinearity::Sigmoid;
    let batch = Aggregate::Batch;
    let cl_dice = || ClDiceLoss::default().ignore_index(255);
    all.push(Box::new(cl_dice().apply_nonlin(sigmoid).class_weights(weights).iterations(1)));
    all.push(Box::new(cl_dice().average(Average::Micro).smooth(0.1).class_weights(weights)));
    all.push(Box::new(cl_dice().aggregate(batch).include_background(false).smooth(0.0)));
    let boundary = || BoundaryLoss::default().ignore_index(255);
    all.push(Box::new(boundary().apply_nonlin(sigmoid).class_weights(weights)));
    all.push(Box::new(boundary().aggregate(batch).classes([1, 3])));
    let hausdorff = || HausdorffDtLoss::default().ignore_index(255);
    all.push(Box::new(hausdorff().alpha(1.3).log(true).class_weights(weights)));
    all.push(Box::new(hausdorff().one_sided(true).apply_nonlin(sigmoid).aggregate(batch)));
    let erosions = || HausdorffErLoss::default().ignore_index(255);
    all.push(Box::new(erosions().k(3).alpha(0.5).apply_nonlin(sigmoid).class_weights(weights)));
    let dice = || DistBinaryDiceLoss::default().ignore_index(255);
    all.push(Box::new(dice().bounded(true).form(DiceForm::OneMinus).aggregate(batch)));
    all.push(Box::new(dice().apply_nonlin(sigmoid).class_weights(weights)));
    all.push(Box::new(DistancePenalizedCrossEntropyLoss::default().ignore_index(255)));
    all.push(Box::new(ShapeAwareLoss::default().ignore_index(255)));
    all
}

fn logits(kind: Kind) -> Tensor {
    randn(40, &[2, 4, 6, 6], kind) * 2.0
}

/// Class 3 is absent, class 2 in the first image alone.
fn target() -> Tensor {
    let coarse = index(&[0, 1, 1, 2, 0, 1, 0, 0, 2, 0, 0, 1, 1, 1, 0, 0, 1, 1], &[2, 3, 3]);
    coarse.repeat_interleave_self_int(2, -1, None).repeat_interleave_self_int(2, -2, None)
}

fn with_holes(target: &Tensor) -> Tensor {
    target.masked_fill(&rand(41, &target.size(), Kind::Double).lt(0.2), 255)
}

/// (N, 1, ..) fits the losses of maps, (N, ..) those of cross entropy.
fn weight_for(loss: &dyn Loss, weight: &Tensor) -> Tensor {
    let entropy = ["DistancePenalized", "ShapeAware"];
    match entropy.iter().any(|name| format!("{loss:?}").starts_with(name)) {
        true => weight.squeeze_dim(1),
        false => weight.shallow_clone(),
    }
}

#[test]
fn gradients_agree_with_differences() {
    let part = |t: Tensor| t.narrow(-1, 1, 4).narrow(-2, 1, 4);
    let (x, y) = (part(logits(Kind::Double)), part(with_holes(&target())));
    let weight = rand(42, &[2, 1, 4, 4], Kind::Double);
    for loss in losses() {
        let what = format!("{loss:?}");
        let weight = weight_for(&loss, &weight);
        gradcheck(&what, &[x.shallow_clone()], |x| loss.forward_weighted(&x[0], &y, &weight));
    }
    let solid = randn(43, &[1, 3, 2, 4, 3], Kind::Double);
    let y = randint(44, 3, &[1, 2, 4, 3]);
    let losses: [Box<dyn Loss>; 7] = [
        Box::new(ClDiceLoss::default()),
        Box::new(BoundaryLoss::default().spacing([3.0, 1.0, 0.5])),
        Box::new(HausdorffDtLoss::default().spacing([3.0, 1.0, 0.5])),
        Box::new(HausdorffErLoss::default().k(2)),
        Box::new(DistBinaryDiceLoss::default().spacing([3.0, 1.0, 0.5])),
        Box::new(DistancePenalizedCrossEntropyLoss::default().spacing([3.0, 1.0, 0.5])),
        Box::new(ShapeAwareLoss::default().spacing([3.0, 1.0, 0.5])),
    ];
    for loss in losses {
        let what = format!("volume {loss:?}");
        gradcheck(&what, &[solid.shallow_clone()], |x| loss.forward(&x[0], &y));
        gradgradcheck(&what, &[solid.shallow_clone()], |x| loss.forward(&x[0], &y));
    }
}

#[test]
fn logits_under_the_mask_change_nothing_and_get_no_gradient() {
    let x = logits(Kind::Double);
    let y = with_holes(&target());
    let hidden = y.eq(255);
    let other = (&x * -7.0 + 3.0).f_where_self(&hidden.unsqueeze(1), &x).unwrap();
    let weight = rand(45, &[2, 1, 6, 6], Kind::Double);
    let weight = weight.masked_fill(&hidden.unsqueeze(1), 0.0);
    for loss in losses() {
        let what = format!("{loss:?}");
        let (value, gradient) = value_and_grad(&x, |x| loss.forward(x, &y));
        assert_close(&what, &loss.forward(&other, &y), &value, (1e-12, 1e-14));
        let under = gradient.abs() * hidden.unsqueeze(1);
        assert_value(&what, &under.max(), 0.0, 0.0);
        assert!(gradient.abs().max().double_value(&[]) > 0.0, "{what}: no gradient at all");

        // A weight of 0 hides a pixel as well.
        let weight = weight_for(&loss, &weight);
        let value = loss.forward_weighted(&x, &y, &weight);
        assert_close(&what, &loss.forward_weighted(&other, &y, &weight), &value, (1e-12, 1e-14));
    }
}

#[test]
fn where_nothing_counts_the_loss_is_0_with_no_gradient() {
    for kind in KINDS {
        let x = logits(kind);
        let y = target().full_like(255);
        for loss in losses() {
            let what = format!("{kind:?} {loss:?}");
            let (value, gradient) = value_and_grad(&x, |x| loss.forward(x, &y));
            assert_value(&what, &value, 0.0, 0.0);
            assert_value(&what, &gradient.abs().max(), 0.0, 0.0);
        }
    }
}

#[test]
fn edges_are_finite_in_every_kind() {
    let thin = Tensor::zeros([2, 6, 6], (Kind::Int64, device()));
    let _ = thin.narrow(2, 2, 1).fill_(1);
    let targets = [
        ("an absent class", target()),
        ("one class everywhere", target().full_like(1)),
        ("the last class everywhere", target().full_like(3)),
        ("a line one pixel wide", thin),
        ("ignored pixels", with_holes(&target())),
    ];
    for kind in KINDS {
        let x = logits(kind);
        let saturated = (&x * 1e4).clamp(-1e4, 1e4);
        let turned = x.transpose(2, 3).contiguous().transpose(2, 3);
        let inputs = [("logits", &x), ("saturated", &saturated), ("non-contiguous", &turned)];
        for (y_name, y) in &targets {
            for (x_name, x) in inputs {
                for loss in losses() {
                    let what = format!("{kind:?}, {x_name}, {y_name}: {loss:?}");
                    let (value, gradient) = value_and_grad(x, |x| loss.forward(x, y));
                    assert_finite(&what, &value);
                    assert_finite(&what, &gradient);
                    assert_eq!(gradient.kind(), kind);
                }
            }
        }
        let empty = Tensor::zeros([0, 4, 6, 6], (kind, device()));
        let y = Tensor::zeros([0, 6, 6], (Kind::Int64, device()));
        for loss in losses() {
            let (value, gradient) = value_and_grad(&empty, |x| loss.forward(x, &y));
            assert_value(&format!("{kind:?}, no image: {loss:?}"), &value, 0.0, 0.0);
            assert_eq!(gradient.size(), empty.size());
        }
    }
}

#[test]
fn half_kinds_give_what_float_gives_of_the_rounded_input() {
    for kind in [Kind::Half, Kind::BFloat16] {
        let x = logits(kind);
        let y = target();
        for loss in losses() {
            let what = format!("{kind:?} {loss:?}");
            let (value, gradient) = value_and_grad(&x, |x| loss.forward(x, &y));
            let (expected, slope) =
                value_and_grad(&x.to_kind(Kind::Float), |x| loss.forward(x, &y));
            assert_eq!(value.kind(), Kind::Float, "{what}");
            // Softmax of halves is taken in Float, its sigmoid after the cast: the same numbers.
            assert_close(&what, &value, &expected, (1e-6, 1e-6));
            assert_close(&what, &gradient, &slope, tolerance(kind));
        }
    }
}

#[test]
fn large_half_images_have_the_loss_of_float_ones() {
    // Sums of 512 x 512 pixels, of which MONAI's clDice makes 1 without gradient.
    let x = randn(46, &[1, 2, 512, 512], Kind::Half);
    let y = masks(47, &[1, 256, 256]).to_kind(Kind::Int64);
    let losses: [Box<dyn Loss>; 7] = [
        Box::new(ClDiceLoss::default()),
        Box::new(BoundaryLoss::default()),
        Box::new(HausdorffDtLoss::default()),
        Box::new(HausdorffErLoss::default().k(2)),
        Box::new(DistBinaryDiceLoss::default()),
        Box::new(DistancePenalizedCrossEntropyLoss::default()),
        Box::new(ShapeAwareLoss::default()),
    ];
    for kind in [Kind::Half, Kind::BFloat16] {
        let x = x.to_kind(kind);
        for loss in &losses {
            let what = format!("{kind:?} {loss:?}");
            let (value, gradient) = value_and_grad(&x, |x| loss.forward(x, &y));
            let expected = loss.forward(&x.to_kind(Kind::Float), &y);
            assert_close(&what, &value, &expected, (1e-5, 1e-6));
            assert!(gradient.abs().max().double_value(&[]) > 0.0, "{what}: no gradient");
        }
    }
    let value = losses[0].forward(&x, &y).double_value(&[]);
    assert!((0.1..0.9).contains(&value), "clDice {value}");
}

#[test]
fn index_target_equals_one_hot_target() {
    let (x, y) = (logits(Kind::Double), target());
    let hot = y.one_hot(4).movedim_int(-1, 1);
    for loss in losses() {
        let Ok(dense) = loss.f_forward(&x, &hot) else { continue }; // cross entropies
        let what = format!("{loss:?}");
        assert_close(&what, &loss.forward(&x, &y), &dense, (1e-12, 1e-14));
        assert_close(&what, &loss.forward(&x, &hot.to_kind(Kind::Bool)), &dense, (1e-12, 1e-14));
        assert_close(&what, &loss.forward(&x, &y.unsqueeze(1)), &dense, (1e-12, 1e-14));
    }
}

#[test]
fn permuting_the_batch_changes_nothing() {
    let (x, y) = (logits(Kind::Double), with_holes(&target()));
    for loss in losses() {
        let there = loss.forward(&x, &y);
        let turned = loss.forward(&x.flip([0]), &y.flip([0]));
        assert_close(&format!("{loss:?}"), &turned, &there, (1e-12, 1e-14));
    }
}

#[test]
fn maps_made_before_give_the_same_loss() {
    let (x, y) = (logits(Kind::Double), with_holes(&target()));
    let valid = y.ne(255);
    let hot =
        y.unsqueeze(1).eq_tensor(&Tensor::arange(4, (Kind::Int64, device())).view([1, 4, 1, 1]));
    let hot = hot.to_kind(Kind::Double);
    let spacing = [0.7, 1.3];
    let close = |what: &str, got: Tensor, expected: Tensor| {
        assert_close(what, &got, &expected, (1e-12, 1e-14));
    };

    let boundary = BoundaryLoss::default().spacing(spacing).ignore_index(255);
    let map = boundary.distance_map(&hot, 4);
    let there = boundary.forward(&x, &y);
    close("boundary", boundary.forward_with_map(&x, &map, Some(&valid)), there);
    let of_index = boundary.distance_map(&y, 4);
    assert_close("of classes", &of_index, &map, tolerance(Kind::Float));
    let some = boundary.include_background(false).classes([0, 3, 2]);
    close("classes", some.forward_with_map(&x, &map, Some(&valid)), some.forward(&x, &y));

    for hausdorff in [HausdorffDtLoss::default(), HausdorffDtLoss::monai().one_sided(true)] {
        let hausdorff = hausdorff.spacing(spacing).ignore_index(255);
        let map = hausdorff.distance_map(&hot, 4);
        let there = hausdorff.forward(&x, &y);
        close("hausdorff", hausdorff.forward_with_map(&x, &y, &map, None), there);
    }

    let dice = DistBinaryDiceLoss::default().spacing(spacing).ignore_index(255);
    let map = dice.distance_map(&hot, 4);
    close("dice", dice.forward_with_map(&x, &y, &map, None), dice.forward(&x, &y));

    let entropy = DistancePenalizedCrossEntropyLoss::default().spacing(spacing).ignore_index(255);
    let map = entropy.distance_map(&y, 4);
    let there = entropy.forward(&x, &y);
    assert_close(
        "entropy",
        &entropy.forward_with_map(&x, &y, &map, None),
        &there,
        tolerance(Kind::Float),
    );
}

#[test]
fn losses_scale_as_their_distances() {
    let (x, y) = (logits(Kind::Double), target());
    let ratio = |there: &dyn Fn(f64) -> Box<dyn Loss>| {
        (there(3.0).forward(&x, &y) / there(1.0).forward(&x, &y)).double_value(&[])
    };
    let near = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-9, "{got} {expected}");
    let spacing = |scale: f64| [0.7 * scale, 1.1 * scale];
    near(ratio(&|s| Box::new(BoundaryLoss::default().spacing(spacing(s)))), 3.0);
    near(
        ratio(&|s| Box::new(HausdorffDtLoss::default().alpha(1.5).spacing(spacing(s)))),
        3f64.powf(1.5),
    );
    near(ratio(&|s| Box::new(DistBinaryDiceLoss::default().spacing(spacing(s)))), 1.0);
    near(
        ratio(&|s| Box::new(DistancePenalizedCrossEntropyLoss::default().spacing(spacing(s)))),
        1.0,
    );
    // CE + E CE
    let ce = CrossEntropyLoss::default().forward(&x, &y);
    let shape_aware = |s| ShapeAwareLoss::default().spacing(spacing(s)).forward(&x, &y) - &ce;
    near((shape_aware(3.0) / shape_aware(1.0)).double_value(&[]), 3.0);
}

#[test]
fn boundary_loss_is_lowest_for_the_target_itself() {
    let y = target();
    let hot = y.one_hot(4).movedim_int(-1, 1).to_kind(Kind::Double);
    let boundary = BoundaryLoss::default().apply_nonlin(Nonlinearity::None);
    let best = boundary.forward(&hot, &y).double_value(&[]);
    for seed in 50..60 {
        let other = rand(seed, &hot.size(), Kind::Double);
        assert!(boundary.forward(&other, &y).double_value(&[]) > best);
    }
    // Of an absent class nothing is learned, unless it is asked for.
    let absent = |empty_class| {
        let loss = BoundaryLoss::default().empty_class(empty_class);
        value_and_grad(&logits(Kind::Double), |x| loss.clone().classes([3]).forward(x, &y))
    };
    assert_value("smooth", &absent(EmptyClass::Smooth).1.abs().max(), 0.0, 0.0);
    let (mean, gradient) = absent(EmptyClass::FalsePositives);
    let p = logits(Kind::Double).softmax(1, None::<Kind>).select(1, 3).mean(None::<Kind>);
    assert_close("mean probability", &mean, &p, (1e-12, 0.0));
    assert!(gradient.abs().max().double_value(&[]) > 0.0);
}

#[test]
fn hausdorff_loss_of_the_target_itself_is_0_and_grows_with_the_distance() {
    let dot = |column: i64| {
        let mask = Tensor::zeros([1, 1, 5, 12], (Kind::Double, device()));
        let _ = mask.get(0).get(0).get(2).get(column).fill_(1);
        mask
    };
    let y = dot(2);
    let none = Nonlinearity::None;
    let losses: [Box<dyn Loss>; 2] = [
        Box::new(HausdorffDtLoss::default().apply_nonlin(none)),
        Box::new(HausdorffDtLoss::default().apply_nonlin(none).one_sided(true)),
    ];
    for loss in losses {
        let values: Vec<f64> =
            [2, 3, 5, 9].map(|at| loss.forward(&dot(at), &y).double_value(&[])).into();
        assert_eq!(values[0], 0.0);
        assert!(values.is_sorted(), "{values:?}");
    }
    let er = HausdorffErLoss::default().apply_nonlin(none);
    assert_value("erosions", &er.forward(&y, &y), 0.0, 0.0);
}

#[test]
fn cldice_of_the_target_itself_is_next_to_nothing_and_a_gap_costs_more_than_a_thinner_line() {
    // Two lines three pixels wide.
    let line = Tensor::zeros([1, 1, 9, 15], (Kind::Double, device()));
    let _ = line.narrow(2, 3, 3).narrow(3, 1, 13).fill_(1.0);
    let gap = line.copy();
    let _ = gap.narrow(3, 7, 2).fill_(0.0);
    let thin = line.copy();
    let _ = thin.narrow(2, 3, 1).narrow(3, 1, 6).fill_(0.0);
    let loss = ClDiceLoss::default().apply_nonlin(Nonlinearity::None).smooth(0.0).eps(1e-12);
    let value = |x: &Tensor| loss.forward(x, &line).double_value(&[]);
    assert!(value(&line) < 1e-9);
    assert!(value(&gap) > value(&thin) + 0.01, "{} {}", value(&gap), value(&thin));

    // One channel has a gradient, and an empty target a value.
    let (empty, gradient) = value_and_grad(&thin, |x| loss.forward(x, &line.zeros_like()));
    assert_finite("empty", &empty);
    assert_finite("empty", &gradient);
    let soft = rand(61, &[1, 1, 9, 15], Kind::Double);
    let (_, gradient) = value_and_grad(&soft, |x| loss.forward(x, &line));
    assert!(gradient.abs().max().double_value(&[]) > 0.0);
}

#[test]
fn distance_dice_counts_thin_masks_twice_and_empty_and_full_ones_once() {
    let loss = DistBinaryDiceLoss::default()
        .include_background(true)
        .apply_nonlin(Nonlinearity::None)
        .smooth(0.0);
    let ones = Tensor::ones([1, 1, 4, 5], (Kind::Double, device()));
    let thin = ones.zeros_like();
    let _ = thin.narrow(3, 2, 1).fill_(1.0);
    assert_value("thin", &loss.forward(&thin, &thin), -2.0, 1e-12);
    assert_value("full", &loss.forward(&ones, &ones), -1.0, 1e-12);
    assert_value("empty", &loss.forward(&ones, &ones.zeros_like()), 0.0, 0.0);
    let bounded = loss.bounded(true).form(DiceForm::OneMinus);
    assert_value("bounded", &bounded.forward(&thin, &thin), 0.0, 1e-12);
}

#[test]
fn penalised_cross_entropy_is_between_once_and_twice_cross_entropy_and_its_mean_is_weighted() {
    let (x, y) = (logits(Kind::Double), target());
    let ce = CrossEntropyLoss::default().reduction(Reduction::None).forward(&x, &y);
    let entropy = DistancePenalizedCrossEntropyLoss::default();
    let each = entropy.clone().reduction(Reduction::None).forward(&x, &y);
    let factor = &each / &ce;
    assert!(factor.min().double_value(&[]) >= 1.0 - 1e-12);
    assert!(factor.max().double_value(&[]) <= 2.0 + 1e-12);
    let mean = each.mean(None::<Kind>);
    assert_close("mean", &entropy.forward(&x, &y), &mean, (1e-12, 0.0));
    assert!((mean - ce.mean(None::<Kind>)).double_value(&[]) > 0.1);
    // One class alone has no boundary.
    let plain = y.full_like(1);
    let there = CrossEntropyLoss::default().forward(&x, &plain);
    assert_close("one class", &entropy.forward(&x, &plain), &there, (1e-12, 0.0));
}

#[test]
fn shape_aware_loss_is_cross_entropy_where_the_contours_are_the_same() {
    let y = target();
    let x = y.one_hot(4).movedim_int(-1, 1).to_kind(Kind::Double);
    let there = CrossEntropyLoss::default().forward(&x, &y);
    let loss = ShapeAwareLoss::default();
    assert_close("itself", &loss.forward(&x, &y), &there, (1e-12, 0.0));
    let (x, plain) = (logits(Kind::Double), y.full_like(2));
    let there = CrossEntropyLoss::default().forward(&x, &plain);
    assert_close("no true contour", &loss.forward(&x, &plain), &there, (1e-12, 0.0));
}

#[test]
fn losses_name_what_is_wrong() {
    let (x, y) = (logits(Kind::Double), target());
    let error = |result: Result<Tensor, LossError>| result.unwrap_err().to_string();
    let boundary = BoundaryLoss::default();
    assert_eq!(
        error(boundary.clone().spacing([1.0]).f_forward(&x, &y)),
        "BoundaryLoss: expected spacing one number above 0 for each dimension of an image, got [1.0]"
    );
    assert_eq!(
        error(boundary.f_forward(&x.get(0).get(0), &y)),
        "BoundaryLoss: expected input of shape [N, C, ..] with 1 to 3 dimensions of pixels, got [6, 6]"
    );
    assert_eq!(
        error(boundary.f_forward_with_map(&x, &y, None)),
        "BoundaryLoss: expected map of shape [2, 4, 6, 6], got [2, 6, 6]"
    );
    assert_eq!(
        error(boundary.f_distance_map(&y, 0)),
        "BoundaryLoss: expected classes at least 1, got 0"
    );
    assert_eq!(
        error(boundary.f_distance_map(&x, 3)),
        "BoundaryLoss: expected target of shape [N, 3, d1, ..], got [2, 4, 6, 6]"
    );
    assert_eq!(
        error(ClDiceLoss::default().f_forward(&x.get(0), &y.get(0))),
        "ClDiceLoss: expected input of shape [N, C, ..] with 2 to 3 dimensions of pixels, got [4, 6, 6]"
    );
    assert_eq!(
        error(ClDiceLoss::default().iterations(-1).f_forward(&x, &y)),
        "ClDiceLoss: expected iterations at least 0, got -1"
    );
    for result in [
        HausdorffDtLoss::default().alpha(f64::NAN).f_forward(&x, &y),
        HausdorffErLoss::default().alpha(-1.0).f_forward(&x, &y),
    ] {
        assert!(error(result).contains("expected alpha at least 0 and finite"));
    }
    assert!(HausdorffErLoss::default().k(-1).f_forward(&x, &y).is_err());
    assert_eq!(
        error(DistBinaryDiceLoss::default().f_forward(&x.narrow(1, 0, 1), &y)),
        "DistBinaryDiceLoss: expected include_background true where no other class is left, got false"
    );
    assert_eq!(
        error(ShapeAwareLoss::default().f_forward(&x, &y.get(0))),
        "ShapeAwareLoss: expected target of shape [2, 6, 6], got [6, 6]"
    );
    assert_eq!(
        error(DistancePenalizedCrossEntropyLoss::default().f_forward(&x, &x.select(1, 0))),
        "DistancePenalizedCrossEntropyLoss: expected target of integer kind, got Double"
    );
    for loss in losses() {
        let wrong = y.masked_fill(&y.eq(2), 4);
        assert!(loss.f_forward(&x, &wrong).is_err(), "{loss:?}: class 4 of 4");
    }
}

#[test]
fn weight_maps_balance_classes_and_weigh_narrow_gaps_most() {
    let cells = |gap: i64| {
        let labels = Tensor::zeros([1, 8, 20], (Kind::Int64, device()));
        let _ = labels.narrow(2, 0, 5).fill_(1);
        let _ = labels.narrow(2, 5 + gap, 4).fill_(7);
        labels
    };
    let weight = unet_weight_map(&cells(2), WeightMapOptions::default().w0(0.0));
    let of = |mask: Tensor| (&weight * mask).sum(Kind::Double);
    let (cell, background) = (of(cells(2).gt(0)), of(cells(2).eq(0)));
    assert_close("balance", &cell, &background, (1e-6, 0.0));
    assert_value("mean", &weight.mean(Kind::Double), 1.0, 1e-6);

    let middle = |gap| {
        let options = WeightMapOptions::default().class_weights([1.0, 1.0]);
        unet_weight_map(&cells(gap), options).double_value(&[0, 4, 5])
    };
    assert!(middle(1) > middle(3) && middle(3) > middle(8) && middle(8) > 1.0);
    // Millimetres twice as fine are a σ twice as wide.
    let options = WeightMapOptions::default;
    assert_close(
        "unit",
        &unet_weight_map(&cells(3), options().spacing([0.5, 0.5])),
        &unet_weight_map(&cells(3), options().sigma(10.0)),
        (1e-5, 0.0),
    );

    for labels in [cells(2).gt(0).to_kind(Kind::Int64), cells(2).zeros_like()] {
        let weight = unet_weight_map(&labels, options().class_weights([1.0, 3.0]));
        let plain = labels * 2.0 + 1.0;
        assert_close("fewer than two", &weight, &plain, (1e-6, 0.0));
    }
    for kind in [Kind::Uint8, Kind::Int] {
        let weight = unet_weight_map(&cells(2).to_kind(kind), options());
        exactly("kind", &weight, &unet_weight_map(&cells(2), options()));
    }
    assert_eq!(unet_weight_map(&cells(2).narrow(0, 0, 0), options()).size(), [0, 8, 20]);
    for (options, expected) in [
        (options().sigma(0.0), "sigma above 0 and finite"),
        (options().w0(f64::NAN), "w0 at least 0 and finite"),
        (options().class_weights([1.0, -1.0]), "class_weights at least 0 and finite"),
        (options().spacing([1.0]), "spacing one number above 0"),
    ] {
        let error = f_unet_weight_map(&cells(2), options).unwrap_err().to_string();
        assert!(error.starts_with(&format!("unet_weight_map: expected {expected}")), "{error}");
    }
}
