//! The YOLOv5 loss against the pip package's `ComputeLoss`, and its laws and errors.

mod common;

use common::{Case, Fixture, assert_close, assert_finite, device, leaf, randn, tensor, tolerance};
use tch::{Kind, Tensor};
use tch_losses::detection::{
    Anchors, DropReason, Dropped, Duplicates, Gains, IouKind, YoloV5Loss, YoloV5Losses,
};

fn anchors(levels: usize) -> Anchors {
    let coco = Anchors::coco();
    Anchors::new(coco.sizes()[..levels].to_vec(), coco.strides()[..levels].to_vec()).unwrap()
}

fn heads(case: &Case, levels: usize) -> Vec<Tensor> {
    (0..levels).map(|level| leaf(case.get(&format!("p{level}")))).collect()
}

fn compare(fixture: &Fixture, name: &str, levels: usize, loss: YoloV5Loss) {
    for kind in [Kind::Double, Kind::Float] {
        let (case, reference) = (fixture.case(name, kind), fixture.case(name, Kind::Double));
        let heads = heads(&case, levels);
        let losses = loss.forward(&heads, case.get("targets"));
        losses.total.backward();
        let what = format!("{name} in {kind:?}");
        // The package adds 1e-7 to every denominator of its CIoU.
        let tolerance = match kind {
            Kind::Double => (2e-6, 2e-7),
            kind => tolerance(kind),
        };
        assert_close(&format!("{what}: value"), &losses.total, reference.get("value"), tolerance);
        let items = Tensor::stack(&[&losses.boxes, &losses.objectness, &losses.classes], 0);
        assert_close(&format!("{what}: terms"), &items, reference.get("items"), tolerance);
        for (level, head) in heads.iter().enumerate() {
            let expected = reference.get(&format!("grad_p{level}"));
            assert_close(&format!("{what}: gradient {level}"), &head.grad(), expected, tolerance);
        }
    }
}

#[test]
fn compute_loss() {
    let fixture = Fixture::open("yolo_v5");
    let loss = |levels| YoloV5Loss::new(anchors(levels));
    compare(&fixture, "three_levels", 3, loss(3));
    compare(&fixture, "two_levels", 2, loss(2));
    compare(&fixture, "crowded", 3, loss(3));
    compare(&fixture, "crowded_sorted", 3, loss(3).duplicates(Duplicates::Max));
    compare(&fixture, "no_targets", 3, loss(3));
    compare(&fixture, "one_target", 3, loss(3));
    compare(&fixture, "one_class", 2, loss(2));
    let options = loss(3)
        .gains(Gains { boxes: 0.1, objectness: 0.7, classes: 0.9 })
        .cls_pos_weight(1.7)
        .obj_pos_weight(0.6)
        .label_smoothing(0.1)
        .anchor_t(2.5)
        .gr(0.6);
    compare(&fixture, "options", 3, options);
    let focal =
        loss(3).focal_gamma(1.5).cls_pos_weight(1.3).obj_pos_weight(0.8).label_smoothing(0.05);
    compare(&fixture, "focal", 3, focal);
    compare(&fixture, "edges", 3, loss(3));

    let mut auto = loss(3).autobalance(true);
    let case = fixture.case("autobalance", Kind::Double);
    let losses = auto.forward(&heads(&case, 3), case.get("targets"));
    assert_close("autobalance", &losses.total, case.get("value"), (2e-6, 2e-7));
    auto.f_update_balance(&losses).unwrap();
    let balance = tensor(auto.current_balance(), &[3]);
    assert_close("autobalance: balance", &balance, case.get("balance"), (1e-6, 0.0));
    fixture.finish();
}

fn small() -> (YoloV5Loss, Vec<Tensor>) {
    let loss = YoloV5Loss::new(anchors(2));
    (loss, vec![randn(1, &[2, 3, 8, 8, 8], Kind::Double), randn(2, &[2, 3, 4, 4, 8], Kind::Double)])
}

fn targets(rows: &[[f64; 6]]) -> Tensor {
    tensor(rows.as_flattened(), &[rows.len() as i64, 6])
}

const ROWS: [[f64; 6]; 3] = [
    [0.0, 1.0, 0.3, 0.4, 0.3, 0.4],
    [1.0, 2.0, 0.62, 0.33, 0.4, 0.3],
    [1.0, 0.0, 0.2, 0.8, 0.25, 0.35],
];

fn total(losses: &YoloV5Losses) -> f64 {
    losses.total.double_value(&[])
}

#[test]
fn swapping_images_and_their_targets_changes_nothing() {
    let (loss, heads) = small();
    let swapped: Vec<_> = heads.iter().map(|head| head.flip([0])).collect();
    let rows =
        ROWS.map(|[image, rest @ ..]| [1.0 - image, rest[0], rest[1], rest[2], rest[3], rest[4]]);
    let (a, b) = (loss.forward(&heads, &targets(&ROWS)), loss.forward(&swapped, &targets(&rows)));
    assert!((total(&a) - total(&b)).abs() < 1e-10);
}

#[test]
fn total_is_the_terms_times_the_batch() {
    let (loss, heads) = small();
    let losses = loss.forward(&heads, &targets(&ROWS));
    let terms = &losses.boxes + &losses.objectness + &losses.classes;
    assert!((total(&losses) - 2.0 * terms.double_value(&[])).abs() < 1e-10);
}

#[test]
fn permuted_heads_give_the_same_loss() {
    let (loss, heads) = small();
    let permuted: Vec<_> = heads
        .iter()
        .map(|head| head.permute([0, 1, 4, 2, 3]).contiguous().permute([0, 1, 3, 4, 2]))
        .collect();
    let (a, b) = (loss.forward(&heads, &targets(&ROWS)), loss.forward(&permuted, &targets(&ROWS)));
    assert_eq!(total(&a), total(&b));
}

#[test]
fn every_iou_kind_and_kind_is_finite() {
    for iou in [IouKind::Iou, IouKind::GIoU, IouKind::DIoU, IouKind::CIoU] {
        for kind in common::KINDS {
            let (loss, heads) = small();
            let heads: Vec<_> = heads.iter().map(|head| leaf(&head.to_kind(kind))).collect();
            let losses = loss.iou(iou).forward(&heads, &targets(&ROWS));
            assert_finite("total", &losses.total);
            losses.total.backward();
            heads.iter().for_each(|head| assert_finite("gradient", &head.grad()));
        }
    }
}

#[test]
fn saturated_heads_are_finite() {
    let (loss, heads) = small();
    for logit in [-1e4, 1e4] {
        let heads: Vec<_> = heads.iter().map(|head| leaf(&head.full_like(logit))).collect();
        let losses = loss.forward(&heads, &targets(&ROWS));
        losses.total.backward();
        assert_finite("total", &losses.total);
        heads.iter().for_each(|head| assert_finite("gradient", &head.grad()));
    }
}

#[test]
fn report_names_what_was_dropped() {
    let (loss, heads) = small();
    let rows = [ROWS[0], [0.0, 0.0, 0.5, 0.5, 0.0, 0.2], [1.0, 0.0, 0.5, 0.5, 0.9, 0.01]];
    let report = loss.forward(&heads, &targets(&rows)).report;
    assert_eq!(report.targets, 3);
    assert_eq!(
        report.dropped,
        [
            Dropped { row: 1, reason: DropReason::EmptyBox },
            Dropped { row: 2, reason: DropReason::AnchorRatio }
        ]
    );
    assert!((report.recall() - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn gradient_against_differences() {
    let loss = YoloV5Loss::new(anchors(1)).gr(0.0); // with gr the detached IoU moves the target
    let head = randn(5, &[1, 3, 3, 3, 7], Kind::Double);
    let targets = targets(&[[0.0, 1.0, 0.4, 0.6, 0.7, 0.9]]);
    // CIoU's alpha is detached too, so differences check the kinds without it.
    for iou in [IouKind::Iou, IouKind::GIoU, IouKind::DIoU] {
        let loss = YoloV5Loss::new(loss.anchors().clone()).gr(0.0).iou(iou);
        common::gradcheck(&format!("{iou:?}"), &[head.shallow_clone()], |inputs| {
            loss.forward(&[inputs[0].shallow_clone()], &targets).total
        });
    }
}

#[test]
fn errors_say_what_was_expected() {
    let (loss, heads) = small();
    let message = |heads: &[Tensor], rows: &[[f64; 6]]| {
        loss.f_forward(heads, &targets(rows)).unwrap_err().to_string()
    };
    assert_eq!(
        message(&heads[..1], &ROWS),
        "YoloV5Loss: expected predictions one tensor per level of anchors, got 1 for 2 levels"
    );
    assert_eq!(
        message(&heads, &[[2.0, 0.0, 0.5, 0.5, 0.1, 0.1]]),
        "YoloV5Loss: target row 0: expected an image in 0..2, got 2"
    );
    assert_eq!(
        message(&heads, &[ROWS[0], [0.0, 3.0, 0.5, 0.5, 0.1, 0.1]]),
        "YoloV5Loss: target row 1: expected a class in 0..3, got 3"
    );
    assert_eq!(
        message(&heads, &[[0.0, 0.0, f64::NAN, 0.5, 0.1, 0.1]]),
        "YoloV5Loss: target row 0: expected finite numbers, got NaN"
    );
    let flat = Tensor::zeros([6], (Kind::Double, device()));
    assert_eq!(
        loss.f_forward(&heads, &flat).unwrap_err().to_string(),
        "YoloV5Loss: expected targets of shape [n, 6], got [6]"
    );
    let (loss, _) = small();
    assert_eq!(
        loss.gr(f64::NAN).f_forward(&heads, &targets(&ROWS)).unwrap_err().to_string(),
        "YoloV5Loss: expected gr in [0, 1], got NaN"
    );
}
