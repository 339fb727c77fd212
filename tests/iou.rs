//! Laws, golden values, degenerate boxes and errors of the IoU kinds and their losses.

mod common;

use common::*;
use std::f64::consts::PI;
use tch::{Kind, Tensor};
use tch_losses::detection::boxes;
use tch_losses::{
    BoxFormat, CIoULoss, DIoULoss, GIoULoss, IoULoss, IouKind, Loss, Reduction, bbox_iou,
    f_bbox_iou, f_pairwise_iou, pairwise_iou,
};

use BoxFormat::{Cxcywh, Xywh, Xyxy};
use IouKind::{CIoU, DIoU, GIoU, Iou};

const ALL: [IouKind; 4] = [Iou, GIoU, DIoU, CIoU];
const FORMATS: [BoxFormat; 3] = [Xyxy, Xywh, Cxcywh];

fn losses() -> [Box<dyn Loss>; 4] {
    [
        Box::new(IoULoss::default()),
        Box::new(GIoULoss::default()),
        Box::new(DIoULoss::default()),
        Box::new(CIoULoss::default()),
    ]
}

/// `n` corner boxes of 5 to 65 units a side that overlap more often than not.
fn random(seed: i64, n: i64) -> Tensor {
    let random = rand(seed, &[n, 4], Kind::Double);
    let (first, size) = (random.narrow(1, 0, 2) * 40.0, random.narrow(1, 2, 2) * 60.0 + 5.0);
    Tensor::cat(&[&first, &(&first + size)], 1)
}

fn one(kind: IouKind, a: [f64; 4], b: [f64; 4]) -> f64 {
    bbox_iou(&tensor(&a, &[4]), &tensor(&b, &[4]), Xyxy, kind).double_value(&[])
}

fn worst(tensor: &Tensor) -> f64 {
    tensor.to_kind(Kind::Double).abs().max().double_value(&[])
}

// Golden values

const BIG: [f64; 4] = [-1.0, -1.0, 1.0, 1.0];
const QUARTER: [f64; 4] = [0.0, 0.0, 1.0, 1.0];
const BESIDE: [f64; 4] = [0.0, 1.0, 1.0, 2.0];
const DIAGONAL: [f64; 4] = [1.0, 1.0, 2.0, 2.0];

#[track_caller]
fn golden(a: [f64; 4], b: [f64; 4], iou: f64, giou: f64, diou: f64) {
    let got = ALL.map(|kind| one(kind, a, b));
    // All are squares, so that v is 0.
    for (got, expected) in got.into_iter().zip([iou, giou, diou, diou]) {
        assert!((got - expected).abs() < 1e-15, "{got} is not {expected}");
    }
}

#[test]
fn golden_identical() {
    golden(BIG, BIG, 1.0, 1.0, 1.0);
}

#[test]
fn golden_quarter_inside() {
    golden(BIG, QUARTER, 0.25, 1.0 - 0.75, 1.0 - 0.8125);
}

#[test]
fn golden_side_by_side() {
    golden(QUARTER, BESIDE, 0.0, 0.0, -0.2);
}

#[test]
fn golden_edges_touch_inside_the_hull() {
    golden(BIG, BESIDE, 0.0, 1.0 - 7.0 / 6.0, -2.5 / 13.0);
}

#[test]
fn golden_diagonally_adjacent() {
    golden(QUARTER, DIAGONAL, 0.0, 1.0 - 1.5, 1.0 - 1.25);
    golden(BIG, DIAGONAL, 0.0, -4.0 / 9.0, 1.0 - 1.25);
}

#[test]
fn golden_complete_iou_of_a_wide_in_a_square_box() {
    let v = 4.0 * ((4f64.atan() - 1f64.atan()) / PI).powi(2);
    let got = one(CIoU, [0.0, 3.0, 8.0, 5.0], [0.0, 0.0, 8.0, 8.0]);
    assert!((got - (0.25 - v * v / (0.75 + v))).abs() < 1e-15);
}

// Laws

#[test]
fn law_no_kind_exceeds_iou_and_all_stay_in_range() {
    let (a, b) = (random(1, 500), random(2, 500));
    let iou = bbox_iou(&a, &b, Xyxy, Iou);
    assert!(iou.min().double_value(&[]) >= 0.0 && iou.max().double_value(&[]) <= 1.0);
    for (kind, low) in [(GIoU, -1.0), (DIoU, -1.0), (CIoU, -2.0)] {
        let x = bbox_iou(&a, &b, Xyxy, kind);
        assert!((&x - &iou).max().double_value(&[]) <= 1e-15, "{kind:?} above IoU");
        assert!(x.min().double_value(&[]) > low, "{kind:?} below {low}");
    }
}

#[test]
fn law_one_exactly_for_equal_boxes_only() {
    let a = random(3, 100);
    for kind in ALL {
        for format in FORMATS {
            let a = boxes::convert(&a, Xyxy, format);
            let same = bbox_iou(&a, &a, format, kind);
            assert_eq!(worst(&(same - 1.0)), 0.0, "{kind:?} {format:?}");
            let other = bbox_iou(&a, &(&a + 0.01), format, kind);
            assert!(other.max().double_value(&[]) < 1.0, "{kind:?} {format:?}");
        }
    }
}

#[test]
fn law_translation_and_joint_scale_change_nothing() {
    let (a, b) = (random(4, 50), random(5, 50));
    for kind in ALL {
        let expected = bbox_iou(&a, &b, Xyxy, kind);
        for (scale, shift) in [(1.0, 1000.0), (1e-6, 0.0), (1e6, -1e7), (1.0 / 640.0, 0.25)] {
            let moved = |boxes: &Tensor| boxes * scale + shift;
            let got = bbox_iou(&moved(&a), &moved(&b), Xyxy, kind);
            assert_close(&format!("{kind:?} * {scale} + {shift}"), &got, &expected, (1e-9, 1e-9));
        }
    }
}

#[test]
fn law_order_of_the_two_boxes_changes_no_value() {
    let (a, b) = (random(6, 50), random(7, 50));
    for kind in ALL {
        let (one, other) = (bbox_iou(&a, &b, Xyxy, kind), bbox_iou(&b, &a, Xyxy, kind));
        assert_close(&format!("{kind:?}"), &one, &other, (0.0, 1e-15));
    }
}

#[test]
fn law_mirroring_and_swapping_axes_change_nothing() {
    let (a, b) = (random(8, 50), random(9, 50));
    let mirrored = |t: &Tensor| {
        t.index_select(1, &index(&[2, 1, 0, 3], &[4])) * tensor(&[-1.0, 1.0, -1.0, 1.0], &[4])
    };
    let swapped = |t: &Tensor| t.index_select(1, &index(&[1, 0, 3, 2], &[4]));
    for kind in ALL {
        let expected = bbox_iou(&a, &b, Xyxy, kind);
        for (got, what) in [
            (bbox_iou(&mirrored(&a), &mirrored(&b), Xyxy, kind), "mirrored"),
            (bbox_iou(&swapped(&a), &swapped(&b), Xyxy, kind), "swapped"),
        ] {
            assert_close(&format!("{kind:?} {what}"), &got, &expected, (1e-12, 1e-12));
        }
    }
}

#[test]
fn law_formats_agree_in_value_and_gradient() {
    let (a, b) = (random(10, 40), random(11, 40));
    for kind in ALL {
        let (value, grad) = value_and_grad(&a, |a| bbox_iou(a, &b, Xyxy, kind));
        for format in FORMATS {
            let to = |t: &Tensor| boxes::convert(t, Xyxy, format);
            let (got, got_grad) = value_and_grad(&a, |a| bbox_iou(&to(a), &to(&b), format, kind));
            assert_close(&format!("{kind:?} {format:?}"), &got, &value, (1e-12, 1e-12));
            assert_close(&format!("{kind:?} {format:?} gradient"), &got_grad, &grad, (1e-9, 1e-12));
        }
    }
}

#[test]
fn law_pairwise_is_aligned_of_every_pair() {
    let (a, b) = (random(12, 5), random(13, 7));
    let every = |t: &Tensor, dim| t.unsqueeze(dim).expand([5, 7, 4], false).reshape([-1, 4]);
    for kind in ALL {
        for format in FORMATS {
            let (a, b) = (boxes::convert(&a, Xyxy, format), boxes::convert(&b, Xyxy, format));
            let (value, grad) = value_and_grad(&a, |a| pairwise_iou(a, &b, format, kind));
            let (expected, expected_grad) =
                value_and_grad(&a, |a| bbox_iou(&every(a, 1), &every(&b, 0), format, kind));
            let what = format!("{kind:?} {format:?}");
            assert_close(&what, &value, &expected.view([5, 7]), (0.0, 1e-15));
            assert_close(&format!("{what} gradient"), &grad, &expected_grad, (1e-12, 1e-14));
        }
    }
}

#[test]
fn law_permuting_the_batch_permutes_the_result() {
    let (a, b) = (random(14, 20), random(15, 20));
    let order = Tensor::randperm(20, (Kind::Int64, device()));
    for kind in ALL {
        let expected = bbox_iou(&a, &b, Xyxy, kind).index_select(0, &order);
        let got = bbox_iou(&a.index_select(0, &order), &b.index_select(0, &order), Xyxy, kind);
        assert_close(&format!("{kind:?}"), &got, &expected, (0.0, 0.0));
    }
}

#[test]
fn law_leading_dimensions_and_strides_change_nothing() {
    let (a, b) = (random(16, 12), random(17, 12));
    let strided = a.transpose(0, 1).contiguous().transpose(0, 1);
    for kind in ALL {
        let expected = bbox_iou(&a, &b, Xyxy, kind);
        let deep = bbox_iou(&a.view([2, 3, 2, 4]), &b.view([2, 3, 2, 4]), Xyxy, kind);
        assert_eq!(deep.size(), [2, 3, 2]);
        assert_close("deep", &deep.view(-1), &expected, (0.0, 0.0));
        assert_close("strided", &bbox_iou(&strided, &b, Xyxy, kind), &expected, (0.0, 0.0));
        let single = bbox_iou(&a.get(3), &b.get(3), Xyxy, kind);
        assert_close("single", &single, &expected.get(3), (0.0, 0.0));
    }
}

#[test]
fn law_inputs_are_left_as_they_were() {
    let (a, b) = (random(18, 6), random(19, 6));
    let (a_before, b_before) = (a.copy(), b.copy());
    for loss in losses() {
        let _ = value_and_grad(&a, |a| loss.forward(a, &b));
    }
    let _ = boxes::clip(&a, 10.0, 10.0);
    assert!(a.equal(&a_before) && b.equal(&b_before));
}

#[test]
fn law_weight_zero_rows_count_for_nothing_and_get_no_gradient() {
    let a = random(20, 6);
    let b = &a + rand(21, &[6, 4], Kind::Double);
    let weight = tensor(&[1.0, 0.0, 2.0, 0.5, 0.0, 1.0], &[6]);
    let row = tensor(&[9.0, 9.0, 3.0, 3.0], &[1, 4]);
    for loss in losses() {
        let (value, grad) = value_and_grad(&a, |a| loss.forward_weighted(a, &b, &weight));
        for dropped in [1, 4] {
            assert_eq!(worst(&grad.get(dropped)), 0.0, "{loss:?}");
            assert!(worst(&grad.get(dropped + 1)) > 0.0, "{loss:?}");
        }
        let changed = Tensor::cat(&[&a.narrow(0, 0, 1), &row, &a.narrow(0, 2, 4)], 0);
        assert_close("value", &loss.forward_weighted(&changed, &b, &weight), &value, (0.0, 1e-15));
        let nothing = loss.forward_weighted(&a, &b, &(&weight * 0.0));
        assert_value("all weights 0", &nothing, 0.0, 0.0);
    }
}

#[test]
fn law_weighted_mean_is_the_weighted_mean_of_the_rows() {
    let (a, b) = (random(22, 6), random(23, 6));
    let weight = tensor(&[1.0, 0.0, 2.0, 0.5, 0.0, 1.0], &[6]);
    let rows = GIoULoss::default().reduction(Reduction::None).forward(&a, &b);
    let expected = (&rows * &weight).sum(Kind::Double) / 4.5;
    let got = GIoULoss::default().forward_weighted(&a, &b, &weight);
    assert_close("mean", &got, &expected, (1e-12, 0.0));
    let sum = GIoULoss::default().reduction(Reduction::Sum).forward(&a, &b);
    assert_close("sum", &sum, &rows.sum(Kind::Double), (1e-12, 0.0));
}

#[test]
fn law_loss_is_one_minus_the_kind() {
    let (a, b) = (random(24, 9), random(25, 9));
    for (loss, kind) in losses().iter().zip(ALL) {
        let expected = bbox_iou(&a, &b, Xyxy, kind).neg().mean(Kind::Double) + 1.0;
        assert_close(&format!("{kind:?}"), &loss.forward(&a, &b), &expected, (1e-12, 0.0));
    }
}

#[test]
fn law_boxes_apart_are_drawn_together_by_all_but_iou() {
    let pred = tensor(&[0.0, 0.0, 10.0, 10.0], &[1, 4]);
    let target = tensor(&[50.0, 60.0, 70.0, 75.0], &[1, 4]);
    for (loss, kind) in losses().iter().zip(ALL) {
        let (before, grad) = value_and_grad(&pred, |pred| loss.forward(pred, &target));
        let closer = loss.forward(&(&pred + 1.0), &target);
        match kind {
            Iou => assert_eq!(worst(&grad), 0.0),
            _ => assert!(closer.double_value(&[]) < before.double_value(&[]), "{kind:?}"),
        }
    }
}

#[test]
fn law_descent_from_apart_reaches_the_target() {
    let target = tensor(&[50.0, 60.0, 70.0, 75.0], &[1, 4]);
    for loss in &losses()[1..] {
        let mut pred = tensor(&[0.0, 0.0, 30.0, 12.0], &[1, 4]);
        for step in 0..1000 {
            let (_, grad) = value_and_grad(&pred, |pred| loss.forward(pred, &target));
            let rate = 1.5 * 0.995f64.powi(step);
            pred -= grad.sign() * rate;
        }
        let iou = bbox_iou(&pred, &target, Xyxy, Iou).double_value(&[]);
        assert!(iou > 0.95, "{loss:?} ends at IoU {iou}");
    }
}

/// v of corner boxes, and the α that CIoU holds constant.
fn aspect(a: &Tensor, b: &Tensor) -> (Tensor, Tensor) {
    let angle = |t: &Tensor| {
        let side = |axis| t.select(-1, axis + 2) - t.select(-1, axis);
        (side(0) / side(1)).atan()
    };
    let v = (angle(b) - angle(a)).square() * (4.0 / (PI * PI));
    let alpha = &v / (bbox_iou(a, b, Xyxy, Iou).neg() + 1.0 + &v);
    (v, alpha.detach())
}

#[test]
fn law_alpha_is_a_constant_of_the_gradient() {
    let (a, b) = (random(26, 30), random(27, 30));
    let (_, alpha) = aspect(&a, &b);
    let (value, grad) = value_and_grad(&a, |a| bbox_iou(a, &b, Xyxy, CIoU));
    let (frozen, frozen_grad) =
        value_and_grad(&a, |a| bbox_iou(a, &b, Xyxy, DIoU) - &alpha * aspect(a, &b).0);
    assert_close("value", &value, &frozen, (1e-12, 1e-14));
    assert_close("gradient", &grad, &frozen_grad, (1e-9, 1e-12));
}

#[test]
fn gradcheck_of_every_loss() {
    let (a, b) = (random(28, 6), random(29, 6));
    let weight = tensor(&[1.0, 0.5, 2.0, 0.0, 1.0, 3.0], &[6]);
    let (_, alpha) = aspect(&a, &b);
    for (loss, kind) in losses().iter().zip(ALL) {
        gradcheck(&format!("{kind:?}"), &[a.copy(), b.copy()], |x| {
            let loss = loss.forward_weighted(&x[0], &x[1], &weight);
            if kind != CIoU {
                return loss;
            }
            // What α moves by is taken back, and its gradient is left out.
            let (v, moved) = aspect(&x[0], &x[1]);
            loss - ((moved - &alpha) * v * &weight).sum(Kind::Double) / weight.sum(Kind::Double)
        });
    }
    for format in [Xywh, Cxcywh] {
        let (a, b) = (boxes::convert(&a, Xyxy, format), boxes::convert(&b, Xyxy, format));
        for kind in [Iou, GIoU, DIoU] {
            gradcheck(&format!("{kind:?} {format:?}"), &[a.copy(), b.copy()], |x| {
                bbox_iou(&x[0], &x[1], format, kind)
            });
            gradcheck(&format!("pairwise {kind:?} {format:?}"), &[a.copy(), b.copy()], |x| {
                pairwise_iou(&x[0], &x[1], format, kind)
            });
        }
    }
}

#[test]
fn gradgradcheck_of_every_kind_without_alpha() {
    let (a, b) = (random(30, 4) / 10.0, random(31, 4) / 10.0);
    for kind in [Iou, GIoU, DIoU] {
        gradgradcheck(&format!("{kind:?}"), &[a.copy(), b.copy()], |x| {
            bbox_iou(&x[0], &x[1], Xyxy, kind)
        });
    }
}

// What the Python packages get wrong

/// Value and gradient of `1 - X` of one pair of corner boxes.
fn loss_of(kind: IouKind, pred: [f64; 4], target: [f64; 4], of: Kind) -> (f64, Tensor) {
    let target = tensor(&target, &[1, 4]).to_kind(of);
    let (value, grad) = value_and_grad(&tensor(&pred, &[1, 4]).to_kind(of), |pred| {
        1.0 - bbox_iou(pred, &target, Xyxy, kind)
    });
    assert_finite(&format!("{kind:?} of {pred:?}"), &value);
    assert_finite(&format!("{kind:?} of {pred:?}, gradient"), &grad);
    (value.double_value(&[0]), grad)
}

#[test]
fn torchvision_ciou_is_nan_for_a_point() {
    let (loss, grad) = loss_of(CIoU, [5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 10.0, 10.0], Kind::Float);
    assert_eq!(loss, 1.0);
    assert_eq!(worst(&grad), 0.0);
}

#[test]
fn torchvision_ciou_gradient_is_nan_for_a_line() {
    for of in [Kind::Double, Kind::Float] {
        let (loss, grad) = loss_of(CIoU, [0.0, 5.0, 10.0, 5.0], [0.0, 0.0, 10.0, 10.0], of);
        assert!((loss - 1.05).abs() < 1e-3);
        assert!(worst(&grad) <= 0.1);
    }
}

#[test]
fn torchvision_pairwise_is_nan_for_two_equal_boxes_without_area() {
    for line in [[5.0, 5.0, 5.0, 5.0], [0.0, 5.0, 10.0, 5.0]] {
        let line = tensor(&line, &[1, 4]);
        for kind in ALL {
            assert_value(&format!("{kind:?}"), &pairwise_iou(&line, &line, Xyxy, kind), 0.0, 0.0);
        }
    }
}

#[test]
fn torchvision_and_ultralytics_eps_shrinks_small_boxes() {
    for of in [Kind::Double, Kind::Float] {
        for side in [1e-3, 1e-4, 1e-8] {
            for kind in ALL {
                assert_eq!(
                    loss_of(kind, [0.0, 0.0, side, side], [0.0, 0.0, side, side], of).0,
                    0.0
                );
            }
        }
    }
}

#[test]
fn torchvision_eps_reaches_only_alpha() {
    // No eps here: DIoU is the same inside CIoU as alone where the aspect ratios agree.
    let (pred, target) = ([0.0, 0.0, 20.0, 10.0], [5.0, 3.0, 45.0, 23.0]);
    assert_eq!(one(CIoU, pred, target), one(DIoU, pred, target));
}

#[test]
fn ultralytics_ciou_gradient_explodes_for_a_point() {
    for target in [[0.0, 0.0, 20.0, 10.0], [0.0, 0.0, 0.02, 0.01]] {
        for point in
            [[5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0 + 1e-6, 5.0 + 3e-6]]
        {
            let (_, grad) = loss_of(CIoU, point, target, Kind::Float);
            let hull =
                (target[2] - target[0]).hypot(target[3] - target[1]).max(point[0].hypot(point[1]));
            assert!(worst(&grad) <= 1.3e3 / hull, "{} for {point:?}", worst(&grad));
        }
    }
}

#[test]
fn mmdetection_ciou_is_nan_for_a_perfect_prediction() {
    let square = [100.0, 100.0, 200.0, 200.0];
    let (loss, grad) = loss_of(CIoU, square, square, Kind::Float);
    assert_eq!(loss, 0.0);
    assert!(worst(&grad) <= 0.02);
}

#[test]
fn half_areas_do_not_overflow() {
    for side in [255.0, 256.0, 300.0, 3000.0] {
        for of in [Kind::Half, Kind::BFloat16] {
            for kind in ALL {
                let square = [0.0, 0.0, side, side];
                assert_eq!(loss_of(kind, square, square, of).0, 0.0, "{kind:?} {side} {of:?}");
                let apart = loss_of(kind, square, [2.0 * side, 0.0, 4.0 * side, side], of).0;
                assert!((1.0..2.0).contains(&apart), "{kind:?} {side} {of:?}: {apart}");
            }
        }
    }
}

#[test]
fn wise_iou_repository_gradient_is_nan_for_identical_boxes() {
    for kind in ALL {
        let (loss, grad) =
            loss_of(kind, [0.0, 0.0, 10.0, 20.0], [0.0, 0.0, 10.0, 20.0], Kind::Float);
        assert_eq!(loss, 0.0);
        assert!(worst(&grad) <= 0.2);
    }
}

#[test]
fn torchvision_giou_prefers_an_inverted_box_to_one_apart() {
    let target = [0.0, 0.0, 10.0, 10.0];
    for inverted in [[8.0, 8.0, 2.0, 2.0], [8.0, 2.0, 2.0, 8.0], [30.0, 30.0, 0.0, 0.0]] {
        for kind in ALL {
            assert!(
                loss_of(kind, inverted, target, Kind::Double).0 >= 1.0,
                "{kind:?} {inverted:?}"
            );
        }
    }
}

// Degenerate boxes

/// Every kind of box against every other: finite, in range, and the gradient is bounded.
#[test]
fn edges_by_kind() {
    for of in KINDS {
        let far = if of == Kind::Half { 3e4 } else { 1e6 };
        let shapes = [
            ("box", [10.0, 20.0, 40.0, 32.0]),
            ("point", [10.0, 20.0, 10.0, 20.0]),
            ("point at 0", [0.0; 4]),
            ("line", [10.0, 20.0, 40.0, 20.0]),
            ("upright line", [10.0, 20.0, 10.0, 32.0]),
            ("inverted", [40.0, 32.0, 10.0, 20.0]),
            ("inverted in x", [40.0, 20.0, 10.0, 32.0]),
            ("touching", [40.0, 20.0, 60.0, 32.0]),
            ("300 x 300", [0.0, 0.0, 300.0, 300.0]),
            ("far", [far, far, far * 1.25, far * 1.5]),
            ("far point", [far, -far, far, -far]),
            ("far line", [-far, far, far, far]),
        ];
        for (pred_name, pred) in shapes {
            for (target_name, target) in shapes {
                for kind in ALL {
                    for format in FORMATS {
                        let to = |t: &[f64]| {
                            boxes::convert(&tensor(t, &[1, 4]), Xyxy, format).to_kind(of)
                        };
                        let target = to(&target);
                        let (value, grad) = value_and_grad(&to(&pred), |pred| {
                            bbox_iou(pred, &target, format, kind)
                        });
                        let what =
                            format!("{kind:?} {format:?} {of:?}: {pred_name}, {target_name}");
                        assert_finite(&what, &value);
                        assert_finite(&format!("{what}, gradient"), &grad);
                        assert_eq!(value.kind(), if of == Kind::Double { of } else { Kind::Float });
                        assert_eq!(grad.kind(), of);
                        let value = value.double_value(&[0]);
                        assert!((-2.0..=1.0).contains(&value), "{what}: {value}");
                        assert!(worst(&grad) <= 100.0, "{what}: gradient {}", worst(&grad));
                    }
                }
            }
        }
    }
}

/// The shortest side that is more than 0.
fn thinnest(boxes: &Tensor) -> Tensor {
    let size = boxes.narrow(1, 2, 2) - boxes.narrow(1, 0, 2);
    size.masked_fill(&size.le(0.0), f64::INFINITY).amin([1i64].as_slice(), false)
}

/// The diagonal of the smallest box around both.
fn hull(a: &Tensor, b: &Tensor) -> Tensor {
    let corners = Tensor::cat(&[a, b], 1).view([-1, 4, 2]);
    let (low, high) =
        (corners.amin([1i64].as_slice(), false), corners.amax([1i64].as_slice(), false));
    (high - low).square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>).sqrt()
}

/// Sides from 1e-8 to 1e4, some 0, some negative: the gradient is at most of the order 1/side + 1000/hull.
#[test]
fn random_degenerate_boxes_are_finite() {
    for of in [Kind::Double, Kind::Float] {
        let n = 4000;
        let draw = |seed| {
            let centre = randn(seed, &[n, 2], of) * 20.0;
            let size = (rand(seed + 1, &[n, 2], of) * 27.6 - 18.4).exp();
            let sign = rand(seed + 2, &[n, 2], of);
            let size = size * sign.ge(0.2) - sign.lt(0.1).to_kind(of);
            Tensor::cat(&[&centre - &size * 0.5, &centre + &size * 0.5], 1)
        };
        let (a, b) = (draw(40), draw(50));
        let swapped = a.where_self(&rand(60, &[n, 4], of).lt(0.3), &b);
        for kind in ALL {
            for target in [&b, &swapped] {
                let (value, grad) = value_and_grad(&a, |a| bbox_iou(a, target, Xyxy, kind));
                assert_finite(&format!("{kind:?} {of:?}"), &value);
                assert_finite(&format!("{kind:?} {of:?}, gradient"), &grad);
                let steepest = grad.abs().amax([1i64].as_slice(), false);
                let bound = 6.0 / thinnest(&a).minimum(&thinnest(target)) + 2e3 / hull(&a, target);
                let steepness = steepest.divide(&bound).max().double_value(&[]);
                assert!(steepness <= 1.0, "{kind:?} {of:?}: gradient {steepness} times the bound");
                assert!(value.max().double_value(&[]) <= 1.0 + 1e-6);
                let low = value.min().double_value(&[]);
                assert!(low >= if kind == CIoU { -2.0 } else { -1.0 - 1e-6 }, "{kind:?} {low}");
            }
        }
    }
}

#[test]
fn limits_of_float_and_double() {
    for (of, small, big) in [(Kind::Float, 1e-9, 1e18), (Kind::Double, 1e-99, 1e100)] {
        for size in [small, big] {
            let (a, b) = ([0.0, 0.0, size, size], [0.0, 0.0, size, 0.5 * size]);
            for (kind, expected) in ALL.into_iter().zip([0.5, 0.5, 0.46875]) {
                let (loss, _) = loss_of(kind, a, b, of);
                assert!((1.0 - loss - expected).abs() < 1e-6, "{kind:?} {of:?} {size}: {loss}");
            }
            let _ = loss_of(CIoU, a, b, of);
        }
        for kind in ALL {
            let _ = loss_of(kind, [0.0, 0.0, 1.0, 2.0], [big, -big, big, 0.5 * big], of);
            let _ = loss_of(kind, [-big, 0.0, big, 0.0], [-big, 0.0, big, 0.0], of);
        }
    }
}

/// Where corners would be rounded to 1/128.
#[test]
fn small_boxes_far_from_the_origin_are_exact_in_size_formats() {
    let far = |at: f64, w: f64, h: f64| tensor(&[at, at, w, h], &[4]);
    for format in [Xywh, Cxcywh] {
        for kind in ALL {
            let shift = 1.0 / 128.0;
            let (near, other) = (far(0.0, 0.03, 0.02), far(shift, 0.02, 0.025));
            let expected = bbox_iou(&near, &other, format, kind);
            let far = [far(65536.0, 0.03, 0.02), far(65536.0 + shift, 0.02, 0.025)]
                .map(|boxes| boxes.to_kind(Kind::Float));
            let got = bbox_iou(&far[0], &far[1], format, kind);
            assert_close(&format!("{format:?} {kind:?}"), &got, &expected, (1e-5, 1e-6));
        }
    }
}

#[test]
fn empty_batch_is_zero_with_a_gradient() {
    let none = tensor(&[], &[0, 4]);
    for loss in losses() {
        let (value, grad) = value_and_grad(&none, |none| loss.forward(none, &none.detach()));
        assert_value("loss", &value, 0.0, 0.0);
        assert!(grad.defined());
        assert_eq!(grad.size(), [0, 4]);
        let weighted = loss.forward_weighted(&none, &none, &tensor(&[], &[0]));
        assert_value("weighted", &weighted, 0.0, 0.0);
    }
    let some = random(32, 3);
    for kind in ALL {
        assert_eq!(bbox_iou(&none, &none, Xyxy, kind).size(), [0]);
        assert_eq!(pairwise_iou(&none, &some, Xyxy, kind).size(), [0, 3]);
        assert_eq!(pairwise_iou(&some, &none, Xyxy, kind).size(), [3, 0]);
    }
    assert_eq!(boxes::area(&none, Xyxy).size(), [0]);
    assert_eq!(boxes::clip(&none, 1.0, 1.0).size(), [0, 4]);
    assert_eq!(boxes::convert(&none, Cxcywh, Xyxy).size(), [0, 4]);
}

#[test]
fn low_precision_is_close_to_double() {
    let (a, b) = (random(33, 200), random(34, 200));
    for of in [Kind::Half, Kind::BFloat16] {
        // Of the same rounded boxes, so that only the computation is compared.
        let (a, b) = (a.to_kind(of), b.to_kind(of));
        for kind in ALL {
            let low = bbox_iou(&a, &b, Xyxy, kind);
            assert_eq!(low.kind(), Kind::Float);
            let high = bbox_iou(&a.to_kind(Kind::Double), &b.to_kind(Kind::Double), Xyxy, kind);
            assert_close(&format!("{kind:?} {of:?}"), &low, &high, (1e-5, 1e-6));
        }
    }
}

#[test]
fn target_of_another_kind_is_converted() {
    let (a, b) = (random(35, 5), random(36, 5).round());
    let expected = CIoULoss::default().forward(&a, &b);
    for kind in [Kind::Float, Kind::Half, Kind::Int64] {
        let got = CIoULoss::default().forward(&a, &b.to_kind(kind));
        assert_eq!(got.kind(), Kind::Double);
        assert_close(&format!("{kind:?}"), &got, &expected, (1e-12, 0.0));
    }
}

#[test]
fn box_functions() {
    let mixed = tensor(&[1.0, 2.0, 5.0, 10.0, 5.0, 10.0, 1.0, 2.0], &[2, 4]);
    assert_eq!(Vec::<f64>::try_from(boxes::area(&mixed, Xyxy)).unwrap(), [32.0, 0.0]);
    assert_eq!(Vec::<f64>::try_from(boxes::area(&mixed, Cxcywh)).unwrap(), [50.0, 2.0]);
    for of in KINDS {
        let big = tensor(&[100.0, 60000.0, 400.0, 60320.0], &[4]).to_kind(of);
        assert_finite("area", &boxes::area(&big, Xyxy));
        for format in FORMATS {
            let there = boxes::convert(&big, Xyxy, format);
            assert_finite("convert", &there);
            assert_eq!(there.kind(), of);
            let back = boxes::convert(&there, format, Xyxy);
            if of == Kind::Double {
                assert!(back.equal(&big));
            }
        }
        let clipped = boxes::clip(&big, 200.0, 1000.0);
        assert_eq!(clipped.kind(), of);
        assert_eq!(
            Vec::<f64>::try_from(clipped.to_kind(Kind::Double)).unwrap(),
            [100.0, 1000.0, 200.0, 1000.0]
        );
    }
}

// Errors

#[track_caller]
fn refused<T>(result: tch_losses::Result<T>, message: &str) {
    assert_eq!(result.err().expect("an error").to_string(), message);
}

#[test]
fn errors_say_what_was_expected() {
    let three = random(37, 3);
    let (two, five) = (random(38, 2), rand(39, &[3, 5], Kind::Double));
    let scalar = Tensor::from(1.0f64).to_device(device());
    let iou = |a: &Tensor, b: &Tensor| f_bbox_iou(a, b, Xyxy, Iou);
    refused(iou(&five, &five), "bbox_iou: expected boxes1 of shape [.., 4], got [3, 5]");
    refused(iou(&scalar, &scalar), "bbox_iou: expected boxes1 of shape [.., 4], got []");
    refused(iou(&three, &two), "bbox_iou: expected boxes2 of shape [3, 4], got [2, 4]");
    refused(
        iou(&three.to_kind(Kind::Int64), &three),
        "bbox_iou: expected boxes1 of floating-point kind, got Int64",
    );
    refused(
        iou(&three, &three.to_kind(Kind::ComplexDouble)),
        "bbox_iou: expected boxes2 of floating-point or integer kind, got ComplexDouble",
    );
    let pairwise = |a: &Tensor, b: &Tensor| f_pairwise_iou(a, b, Xyxy, Iou);
    refused(pairwise(&three, &five), "pairwise_iou: expected boxes2 of shape [N, 4], got [3, 5]");
    refused(
        pairwise(&three.view([1, 3, 4]), &two),
        "pairwise_iou: expected boxes1 of shape [N, 4], got [1, 3, 4]",
    );
    refused(
        pairwise(&three.to_kind(Kind::Int), &two),
        "pairwise_iou: expected boxes1 of floating-point kind, got Int",
    );
    for (loss, name) in losses().iter().zip(["IoULoss", "GIoULoss", "DIoULoss", "CIoULoss"]) {
        refused(
            loss.f_forward(&five, &five),
            &format!("{name}: expected input of shape [.., 4], got [3, 5]"),
        );
        refused(
            loss.f_forward(&three, &two),
            &format!("{name}: expected target of shape [3, 4], got [2, 4]"),
        );
        refused(
            loss.f_forward_weighted(&three, &three, &three),
            &format!("{name}: expected weight of shape broadcastable to [3], got [3, 4]"),
        );
        refused(
            loss.f_forward(&three.to_kind(Kind::Bool), &three),
            &format!("{name}: expected input of floating-point kind, got Bool"),
        );
    }
    refused(
        GIoULoss::default().reduction(Reduction::Other(7)).f_forward(&three, &three),
        "GIoULoss: expected reduction None, Mean or Sum, got Other(7)",
    );
    refused(boxes::f_area(&five, Xyxy), "area: expected boxes of shape [.., 4], got [3, 5]");
    refused(
        boxes::f_convert(&three.to_kind(Kind::Int64), Xyxy, Xywh),
        "convert: expected boxes of floating-point kind, got Int64",
    );
    refused(
        boxes::f_clip(&three, f64::NAN, 1.0),
        "clip: expected width at least 0 and finite, got NaN",
    );
}

#[test]
#[should_panic(expected = "bbox_iou: expected boxes2 of shape [3, 4], got [2, 4]")]
fn plain_form_panics_with_the_message() {
    let _ = bbox_iou(&random(37, 3), &random(38, 2), Xyxy, Iou);
}
