//! Fused IoU losses and overlaps without a graph against their composed forms.

mod common;
#[path = "common/fused.rs"]
mod fused_common;

use common::{KINDS, assert_close, leaf, rand, tensor, tolerance};
use fused_common::{alike, alike_for_any_threads, alike_twice, alike_weighted, alone, is_fused};
use tch::{Device, Kind, Tensor};
use tch_losses::detection::{BoxSize, YoloBoxLoss, boxes};
use tch_losses::{
    BoxFormat, CIoULoss, DIoULoss, GIoULoss, IoULoss, IouKind, Loss, Reduction, bbox_iou, fused,
    pairwise_iou,
};

const FORMATS: [BoxFormat; 3] = [BoxFormat::Xyxy, BoxFormat::Xywh, BoxFormat::Cxcywh];
const ALL: [IouKind; 4] = [IouKind::Iou, IouKind::GIoU, IouKind::DIoU, IouKind::CIoU];

/// Sizes around the tiles, the chunks and what several threads share.
const SIZES: [i64; 5] = [1, 7, 1023, 1025, 20_000];

fn losses(format: BoxFormat, reduction: Reduction) -> [Box<dyn Loss>; 4] {
    [
        Box::new(IoULoss::default().format(format).reduction(reduction)),
        Box::new(GIoULoss::default().format(format).reduction(reduction)),
        Box::new(DIoULoss::default().format(format).reduction(reduction)),
        Box::new(CIoULoss::default().format(format).reduction(reduction)),
    ]
}

/// Boxes of 5 to 65 units a side that overlap more often than not.
fn random(seed: i64, n: i64, format: BoxFormat, kind: Kind) -> Tensor {
    let random = rand(seed, &[n, 4], Kind::Double);
    let (first, size) = (random.narrow(1, 0, 2) * 40.0, random.narrow(1, 2, 2) * 60.0 + 5.0);
    let corners = Tensor::cat(&[&first, &(&first + size)], 1);
    boxes::convert(&corners, BoxFormat::Xyxy, format).to_kind(kind)
}

#[test]
fn losses_of_every_kind_format_and_size() {
    for kind in KINDS {
        for format in FORMATS {
            for (seed, n) in SIZES.into_iter().enumerate() {
                let input = random(seed as i64, n, format, kind);
                let target = random(seed as i64 + 10, n, format, kind);
                let weight = rand(seed as i64 + 20, &[n], kind);
                for loss in losses(format, Reduction::Mean) {
                    let what = format!("{loss:?} {kind:?} {n}");
                    alike_weighted(&what, &loss, &target, &weight, &input);
                }
            }
        }
    }
}

#[test]
fn weights_reductions_and_leading_dimensions() {
    let shape = [3, 5, 70];
    let input = random(1, 1050, BoxFormat::Xyxy, Kind::Double).view([3, 5, 70, 4]);
    let target = random(2, 1050, BoxFormat::Xyxy, Kind::Double).view([3, 5, 70, 4]);
    let all = rand(3, &shape, Kind::Double);
    for reduction in [Reduction::Mean, Reduction::Sum] {
        for loss in losses(BoxFormat::Xyxy, reduction) {
            for (name, weight) in [
                ("each", all.shallow_clone()),
                ("Float", all.to_kind(Kind::Float)),
                ("mask", all.gt(0.5)),
                ("image", all.narrow(1, 0, 1).narrow(2, 0, 1).contiguous()),
                ("last", rand(4, &[70], Kind::Double)),
                ("none", all.zeros_like()),
                ("one", tensor(&[-2.0], &[1])),
            ] {
                let weighted = |x: &Tensor| loss.forward_weighted(x, &target, &weight);
                alike(&format!("{loss:?}, weight {name}"), weighted, &input);
            }
            for kind in [Kind::Float, Kind::Half, Kind::Int64] {
                let target = target.to_kind(kind);
                let what = format!("{loss:?}, target {kind:?}");
                alike(&what, |x| loss.forward(x, &target), &input);
            }
        }
    }
}

/// Corner boxes that packages give NaN, infinity or a wrong number for, and what else has no area, is inverted, far or in one place.
const DEGENERATE: [(&str, [f64; 4], [f64; 4]); 26] = [
    ("torchvision CIoU of a point", [5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 10.0, 10.0]),
    ("torchvision CIoU of a line", [0.0, 5.0, 10.0, 5.0], [0.0, 0.0, 10.0, 10.0]),
    ("torchvision pairwise, two equal points", [5.0; 4], [5.0; 4]),
    ("torchvision pairwise, two equal lines", [0.0, 5.0, 10.0, 5.0], [0.0, 5.0, 10.0, 5.0]),
    ("ultralytics CIoU of a point", [0.0; 4], [0.0, 0.0, 20.0, 10.0]),
    ("mmdetection CIoU, equal", [100.0, 100.0, 200.0, 200.0], [100.0, 100.0, 200.0, 200.0]),
    ("mmdetection SIoU, apart", [0.0, 0.0, 1.0, 1.0], [100.0, 100.0, 101.0, 101.0]),
    ("mmdetection GIoU in Half", [0.0, 0.0, 300.0, 300.0], [0.0, 0.0, 300.0, 300.0]),
    ("yolov5 in Half", [0.0, 0.0, 255.0, 255.0], [0.0, 0.0, 255.0, 255.0]),
    ("wise-iou EIoU", [0.0, 0.0, 10.0, 10.0], [2.0, 3.0, 12.0, 11.0]),
    ("wise-iou, equal", [0.0, 0.0, 10.0, 20.0], [0.0, 0.0, 10.0, 20.0]),
    ("point, line", [5.0; 4], [0.0, 5.0, 10.0, 5.0]),
    ("line, upright line", [0.0, 5.0, 10.0, 5.0], [5.0, 0.0, 5.0, 10.0]),
    ("points apart", [5.0; 4], [7.0; 4]),
    ("inverted", [40.0, 32.0, 10.0, 20.0], [10.0, 20.0, 40.0, 32.0]),
    ("inverted in x", [40.0, 20.0, 10.0, 32.0], [10.0, 20.0, 40.0, 32.0]),
    ("both inverted", [40.0, 32.0, 10.0, 20.0], [40.0, 32.0, 10.0, 20.0]),
    ("target inverted", [10.0, 20.0, 40.0, 32.0], [40.0, 32.0, 10.0, 20.0]),
    ("target a point", [10.0, 20.0, 40.0, 32.0], [20.0, 25.0, 20.0, 25.0]),
    ("touching", [10.0, 20.0, 40.0, 32.0], [40.0, 20.0, 60.0, 32.0]),
    ("touching at a corner", [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0]),
    ("sharing two edges", [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 5.0, 20.0]),
    ("inside", [-8.0, -8.0, 8.0, 8.0], [-2.0, -1.0, 2.0, 1.0]),
    ("far", [0.0, 0.0, 1.0, 2.0], [1e4, -1e4, 1.25e4, -0.5e4]),
    ("thin", [0.0, 0.0, 1000.0, 0.125], [0.0, 0.0, 0.125, 1000.0]),
    ("tiny", [0.0, 0.0, 1e-4, 1e-4], [0.0, 0.0, 1e-4, 2e-4]),
];

#[test]
fn degenerate_boxes() {
    for kind in KINDS {
        for format in FORMATS {
            // Beside an ordinary box, so that a gradient that is 0 but for rounding is not all there is.
            let to = |corners: [f64; 4], ordinary: [f64; 4]| {
                let corners = tensor(&[corners, ordinary].concat(), &[2, 4]);
                boxes::convert(&corners, BoxFormat::Xyxy, format).to_kind(kind)
            };
            for (name, pred, target) in DEGENERATE {
                let pred = to(pred, [0.0, 0.0, 1.0, 2.0]);
                let target = to(target, [0.25, 0.5, 1.5, 2.0]);
                for loss in losses(format, Reduction::Mean) {
                    let what = format!("{name}: {loss:?} {kind:?}");
                    alike(&what, |x| loss.forward(x, &target), &pred);
                }
            }
        }
    }
}

#[test]
fn limits_of_float_and_double() {
    for (kind, small, big) in [(Kind::Float, 1e-9, 1e18), (Kind::Double, 1e-99, 1e100)] {
        for size in [small, big] {
            let rows = |rows: [[f64; 4]; 3]| tensor(&rows.concat(), &[3, 4]).to_kind(kind);
            let line = [-size, 0.0, size, 0.0];
            let pred = rows([[0.0, 0.0, size, size], [0.0, 0.0, 1.0, 2.0], line]);
            let target =
                rows([[0.0, 0.0, size, 0.5 * size], [size, -size, size, 0.5 * size], line]);
            // In units of the size, so that the gradient is of the order of 1.
            let pred = pred / size;
            for loss in losses(BoxFormat::Xyxy, Reduction::Mean) {
                let what = format!("{loss:?} {kind:?} {size:e}");
                alike(&what, |x| loss.forward(&(x * size), &target), &pred);
            }
        }
    }
}

/// Edges of a coarse grid: most pairs share some.
#[test]
fn ties_have_the_same_share_of_the_gradient() {
    let grid = |seed| {
        let random = rand(seed, &[3000, 4], Kind::Double) * 4.0;
        random.floor() - tensor(&[0.0, 0.0, -1.0, -1.0], &[4])
    };
    let (input, target) = (grid(1), grid(2));
    for format in FORMATS {
        for loss in losses(format, Reduction::Sum) {
            alike(&format!("{loss:?}"), |x| loss.forward(x, &target), &input);
        }
    }
}

#[test]
fn a_gradient_of_the_gradient_is_the_composed_one() {
    let input = random(1, 50, BoxFormat::Xyxy, Kind::Double);
    let target = random(2, 50, BoxFormat::Xyxy, Kind::Double);
    let weight = rand(3, &[50], Kind::Double);
    for loss in losses(BoxFormat::Xyxy, Reduction::Mean) {
        let what = format!("{loss:?}");
        alike_twice(&what, |x| loss.forward_weighted(x, &target, &weight), &input);
    }
}

#[test]
fn not_a_number_stays_one() {
    let _alone = alone();
    let target = random(1, 300, BoxFormat::Xyxy, Kind::Float);
    for place in 0..4 {
        let input = random(2, 300, BoxFormat::Xyxy, Kind::Float);
        let _ = input.get(7).get(place).fill_(f64::NAN);
        for loss in losses(BoxFormat::Xyxy, Reduction::Mean) {
            let gradient = |fused: bool| {
                fused::set_enabled(fused);
                let x = leaf(&input);
                let value = loss.forward(&x, &target);
                assert!(value.double_value(&[]).is_nan(), "{loss:?}, fused: {fused}");
                value.backward();
                fused::set_enabled(true);
                x.grad().nan_to_num(9.0, None, None)
            };
            let allowed = tolerance(Kind::Float);
            assert_close(&format!("{loss:?}"), &gradient(true), &gradient(false), allowed);
        }
    }
}

#[test]
fn overlaps_without_a_graph() {
    let _alone = alone();
    let both = |overlap: &dyn Fn() -> Tensor| {
        fused::set_enabled(false);
        let composed = overlap();
        fused::set_enabled(true);
        (overlap(), composed)
    };
    for kind in KINDS {
        for format in FORMATS {
            for (n, m) in [(1, 1), (7, 300), (300, 7), (1025, 130), (3, 20_000)] {
                let (a, b) = (random(1, n, format, kind), random(2, m, format, Kind::Double));
                let strided = b.to_kind(kind).tr().contiguous().tr();
                let same = random(3, n, format, kind);
                for of in ALL {
                    let what = format!("{of:?} {format:?} {kind:?} {n} {m}");
                    let computed = if kind == Kind::Double { kind } else { Kind::Float };
                    for b in [&b, &strided, &b.round().to_kind(Kind::Int64)] {
                        let (got, expected) = both(&|| pairwise_iou(&a, b, format, of));
                        assert_eq!(got.kind(), expected.kind(), "{what}");
                        assert_close(&what, &got, &expected, tolerance(computed));
                    }
                    let (got, expected) = both(&|| bbox_iou(&a, &same, format, of));
                    assert_eq!(got.kind(), expected.kind(), "{what}, aligned");
                    let what = format!("{what}, aligned");
                    assert_close(&what, &got, &expected, tolerance(computed));
                }
            }
        }
    }
}

#[test]
fn box_errors_of_every_kind_size_and_option() {
    for kind in KINDS {
        for (seed, n) in SIZES.into_iter().enumerate() {
            let seed = seed as i64;
            // Also negative sides, but none so short that the slope of f multiplies what both forms round.
            let sign = rand(seed + 30, &[n, 4], kind).gt(0.2).to_kind(kind) * 2.0 - 1.0;
            let input = (rand(seed, &[n, 4], kind) * 0.9 + 0.1) * sign;
            let target = rand(seed + 10, &[n, 4], kind) * 0.9 + 0.05;
            let weight = rand(seed + 20, &[n], kind);
            for size in [BoxSize::Root, BoxSize::Log, BoxSize::Linear] {
                for small_boxes in [false, true] {
                    let loss = YoloBoxLoss::v1().size(size).small_boxes(small_boxes);
                    let what = format!("{loss:?} {kind:?} {n}");
                    alike_weighted(&what, &loss, &target, &weight, &input);
                    // Of gradients about 1: those of logarithms of 8 that nearly cancel are no nearer than that.
                    let summed = loss.clone().reduction(Reduction::Sum).lambda_coord(0.02);
                    alike(&format!("{what}, summed"), |x| summed.forward(x, &target), &input);
                }
            }
        }
    }
}

#[test]
fn box_errors_of_short_sides_and_a_gradient_of_the_gradient() {
    let sides = [0.0, 1e-3, -1e-3, 5e-4, -5e-4, 1e-30, -0.3, 2.0];
    let boxes: Vec<f64> = sides.iter().flat_map(|&side| [0.5, 0.4, side, 0.2 - side]).collect();
    let input = tensor(&boxes, &[8, 4]);
    let target = input.flip([0]) * 0.9 + 0.01;
    for loss in [YoloBoxLoss::v1(), YoloBoxLoss::v2()] {
        alike(&format!("{loss:?}"), |x| loss.forward(x, &target), &input);
        let plain = rand(1, &[50, 4], Kind::Double) + 0.01;
        let to = rand(2, &[50, 4], Kind::Double);
        alike_twice(&format!("{loss:?}"), |x| loss.forward(x, &to), &plain);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let input = random(1, 50_000, BoxFormat::Xyxy, Kind::Float);
    let target = random(2, 50_000, BoxFormat::Xyxy, Kind::Float);
    alike_for_any_threads(|x| CIoULoss::default().forward(x, &target), &input);
}

#[test]
fn what_is_not_plain_is_composed() {
    let _alone = alone();
    let input = random(1, 6, BoxFormat::Xyxy, Kind::Float);
    if input.device() != Device::Cpu {
        return;
    }
    let target = random(2, 6, BoxFormat::Xyxy, Kind::Float);
    let loss = CIoULoss::default();
    assert!(is_fused(&|x| loss.forward(x, &target), &input));
    let soft = leaf(&target);
    assert!(!is_fused(&|x| loss.forward(x, &soft), &input), "a target with a gradient");
    let weight = leaf(&rand(3, &[6], Kind::Float));
    let weighted = |x: &Tensor| loss.forward_weighted(x, &target, &weight);
    assert!(!is_fused(&weighted, &input), "a weight with a gradient");
    let strided = |x: &Tensor| loss.forward(&x.tr().contiguous().tr(), &target);
    assert!(!is_fused(&strided, &input), "strides");
    let rows = CIoULoss::default().reduction(Reduction::None);
    let one = |x: &Tensor| rows.forward(x, &target).get(0);
    assert!(!is_fused(&one, &input), "no reduction");
}
