//! IoU kinds, their losses and box functions against torchvision and an own derivation.

mod common;

use common::*;
use tch::Kind;
use tch_losses::detection::boxes;
use tch_losses::{
    BoxFormat, CIoULoss, DIoULoss, GIoULoss, IouKind, Loss, Reduction, bbox_iou, pairwise_iou,
};

const IOU_KINDS: [(&str, IouKind); 4] = [
    ("iou", IouKind::Iou),
    ("giou", IouKind::GIoU),
    ("diou", IouKind::DIoU),
    ("ciou", IouKind::CIoU),
];
const FORMATS: [(&str, BoxFormat); 3] =
    [("xyxy", BoxFormat::Xyxy), ("xywh", BoxFormat::Xywh), ("cxcywh", BoxFormat::Cxcywh)];
const BOXES: [&str; 2] = ["boxes1", "boxes2"];

/// torchvision adds 1e-7 to the denominators, the smallest of which is the 1 - IoU + v of nearly
/// equal boxes: about 0.1 here, so α may be off by 1e-6 of itself.
fn torchvision(kind: Kind) -> (f64, f64) {
    if kind == Kind::Double { (2e-6, 5e-8) } else { tolerance(kind) }
}

#[test]
fn matches_references() {
    let fixture = Fixture::open("iou");
    let kinds = [Kind::Double, Kind::Float];
    let losses = |reduction| -> [(&str, Box<dyn Loss>); 3] {
        [
            ("giou", Box::new(GIoULoss::default().reduction(reduction))),
            ("diou", Box::new(DIoULoss::default().reduction(reduction))),
            ("ciou", Box::new(CIoULoss::default().reduction(reduction))),
        ]
    };
    for (suffix, reduction) in [("", Reduction::None), ("_mean", Reduction::Mean)] {
        for (name, loss) in losses(reduction) {
            let case = format!("torchvision_{name}{suffix}");
            fixture.parity_within(&case, &BOXES, &kinds, torchvision, |case| {
                loss.forward(case.get("boxes1"), case.get("boxes2"))
            });
        }
    }
    for (name, kind) in IOU_KINDS {
        let case = format!("torchvision_pairwise_{name}");
        fixture.parity_within(&case, &BOXES, &kinds, torchvision, |case| {
            pairwise_iou(case.get("boxes1"), case.get("boxes2"), BoxFormat::Xyxy, kind)
        });
        for (layout, format) in FORMATS {
            fixture.parity(&format!("own_{name}_{layout}"), &BOXES, |case| {
                bbox_iou(case.get("boxes1"), case.get("boxes2"), format, kind)
            });
            fixture.parity(&format!("own_pairwise_{name}_{layout}"), &BOXES, |case| {
                pairwise_iou(case.get("boxes1"), case.get("boxes2"), format, kind)
            });
        }
    }
    for (from_name, from) in FORMATS {
        for (to_name, to) in FORMATS {
            fixture.parity(&format!("convert_{from_name}_{to_name}"), &["boxes"], |case| {
                boxes::convert(case.get("boxes"), from, to)
            });
        }
    }
    fixture.parity("area", &["boxes"], |case| boxes::area(case.get("boxes"), BoxFormat::Xyxy));
    fixture.parity("clip", &["boxes"], |case| boxes::clip(case.get("boxes"), 320.0, 256.0));
    fixture.finish();
}
