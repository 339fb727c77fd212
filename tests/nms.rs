//! Non-maximum suppression against torchvision, and its laws.

mod common;

use common::{Fixture, device, index, rand, randint, tensor};
use tch::{Kind, Tensor};
use tch_losses::detection::{batched_nms, f_batched_nms, f_nms, nms};

fn rows(kept: &Tensor) -> Vec<i64> {
    assert_eq!((kept.kind(), kept.device()), (Kind::Int64, device()));
    Vec::try_from(kept).expect("one dimension")
}

/// Boxes around a few places, so that many overlap.
fn boxes(seed: i64, count: i64) -> Tensor {
    let place = rand(seed, &[7, 2], Kind::Double) * 100.0;
    let at = place.index_select(0, &randint(seed, 7, &[count]));
    let at = at + rand(seed + 1, &[count, 2], Kind::Double) * 12.0;
    let size = rand(seed + 2, &[count, 2], Kind::Double) * 15.0 + 10.0;
    Tensor::cat(&[&at, &(&at + size)], 1)
}

#[test]
fn torchvision() {
    let fixture = Fixture::open("nms");
    let thresholds = ["0.0", "0.3", "0.5", "0.7", "1.0"];
    let mut cases =
        ["equal_scores", "equal_scores_classes", "negative_coordinates", "inverted", "one"]
            .map(str::to_owned)
            .to_vec();
    for threshold in thresholds {
        cases.extend(["random", "clusters", "classes"].map(|name| format!("{name}_{threshold}")));
    }
    cases.extend(["0.20", "0.33", "0.50", "0.60", "0.75"].map(|t| format!("on_the_threshold_{t}")));
    for name in cases {
        for (kind, kept) in [(Kind::Double, "kept"), (Kind::Float, "kept_f32")] {
            let case = fixture.case(&name, kind);
            let threshold = fixture.case(&name, Kind::Double).get("threshold").double_value(&[]);
            let (boxes, scores) = (case.get("boxes"), case.get("scores"));
            let got = if name.contains("classes") {
                batched_nms(boxes, scores, case.get("classes"), threshold)
            } else {
                nms(boxes, scores, threshold)
            };
            assert_eq!(rows(&got), rows(case.get(kept)), "{name} in {kind:?}");
        }
    }
    fixture.finish();
}

#[test]
fn an_overlap_equal_to_the_threshold_never_suppresses_in_any_kind() {
    // 3 / 10 is above Float's nearest number below and below its nearest above.
    for (top, threshold) in [(3.0, 0.3), (7.0, 0.7), (6.0, 0.6), (1.0, 0.1)] {
        let boxes = tensor(&[0.0, 0.0, 10.0, 10.0, 0.0, 0.0, 10.0, top], &[2, 4]);
        let scores = tensor(&[0.9, 0.8], &[2]);
        let kept = |threshold| rows(&nms(&boxes, &scores, threshold)).len();
        assert_eq!((kept(threshold), kept(threshold - 1e-9)), (2, 1));
        // Float's quotient is the Float nearest to the threshold: above it or not.
        let boxes = boxes.to_kind(Kind::Float);
        let expected = if f64::from(top as f32 / 10.0) > threshold { 1 } else { 2 };
        assert_eq!(rows(&nms(&boxes, &scores, threshold)).len(), expected, "{threshold}");
    }
}

#[test]
fn what_is_kept_overlaps_little_and_what_is_not_overlaps_something_better() {
    let (boxes, scores) = (boxes(3, 300), rand(5, &[300], Kind::Double));
    let kept = rows(&nms(&boxes, &scores, 0.4));
    assert!(kept.len() > 20 && kept.len() < 200, "{}", kept.len());
    let row = |i: i64| Vec::<f64>::try_from(boxes.get(i)).unwrap();
    let score = |i: i64| scores.double_value(&[i]);
    let iou = |i: i64, j: i64| {
        let (a, b) = (row(i), row(j));
        let side = |k: usize| (a[k + 2].min(b[k + 2]) - a[k].max(b[k])).max(0.0);
        let area = |c: &[f64]| (c[2] - c[0]) * (c[3] - c[1]);
        let inter = side(0) * side(1);
        inter / (area(&a) + area(&b) - inter)
    };
    for (place, &i) in kept.iter().enumerate() {
        assert!(kept[..place].iter().all(|&j| iou(i, j) <= 0.4 && score(j) >= score(i)));
    }
    for i in (0..300).filter(|i| !kept.contains(i)) {
        assert!(kept.iter().any(|&j| iou(i, j) > 0.4 && score(j) > score(i)), "{i}");
    }
}

#[test]
fn nms_of_what_is_kept_keeps_all() {
    let (boxes, scores) = (boxes(8, 200), rand(9, &[200], Kind::Double));
    let kept = nms(&boxes, &scores, 0.3);
    let again = nms(&boxes.index_select(0, &kept), &scores.index_select(0, &kept), 0.3);
    assert_eq!(rows(&again), (0..kept.size()[0]).collect::<Vec<_>>());
}

#[test]
fn permuting_boxes_permutes_what_is_kept() {
    let (boxes, scores) = (boxes(10, 200), rand(11, &[200], Kind::Double));
    let (_, order) = rand(12, &[200], Kind::Double).sort(0, false);
    let permuted = nms(&boxes.index_select(0, &order), &scores.index_select(0, &order), 0.5);
    assert_eq!(rows(&order.index_select(0, &permuted)), rows(&nms(&boxes, &scores, 0.5)));
}

#[test]
fn of_equal_scores_the_first_is_kept() {
    let boxes = tensor(&[0.0, 0.0, 10.0, 10.0], &[1, 4]).repeat([50, 1]);
    let scores = tensor(&[0.5], &[1]).repeat([50]);
    assert_eq!(rows(&nms(&boxes, &scores, 0.9)), [0]);
    let scores = tensor(&[0.0, -0.0, 0.0], &[3]);
    let apart = tensor(&[0.0, 0.0, 1.0, 1.0, 5.0, 5.0, 6.0, 6.0, 9.0, 9.0, 10.0, 10.0], &[3, 4]);
    assert_eq!(rows(&nms(&apart, &scores, 0.5)), [0, 1, 2]);
}

#[test]
fn batched_is_nms_of_each_class() {
    let (boxes, scores) = (boxes(20, 400), rand(21, &[400], Kind::Double));
    let classes = randint(22, 5, &[400]);
    let mut expected = vec![];
    for class in 0..5 {
        let own = classes.eq(class).nonzero().squeeze_dim(1);
        let kept = nms(&boxes.index_select(0, &own), &scores.index_select(0, &own), 0.5);
        expected.extend(rows(&own.index_select(0, &kept)));
    }
    expected.sort_by(|&a, &b| {
        scores.double_value(&[b]).total_cmp(&scores.double_value(&[a])).then(a.cmp(&b))
    });
    for kind in [Kind::Int64, Kind::Int, Kind::Uint8, Kind::Int16] {
        let classes = classes.to_kind(kind);
        assert_eq!(rows(&batched_nms(&boxes, &scores, &classes, 0.5)), expected, "{kind:?}");
    }
    let one = randint(23, 1, &[400]) - 3;
    let all = batched_nms(&boxes, &scores, &one, 0.5);
    assert_eq!(rows(&all), rows(&nms(&boxes, &scores, 0.5)));
    assert!(expected.len() > all.size()[0] as usize);
}

#[test]
fn classes_far_from_zero_and_far_away_boxes_lose_no_digits() {
    // A shift of each class by the largest coordinate would round these boxes to 64.
    let near = tensor(&[0.0, 0.0, 10.0, 10.0, 0.0, 0.0, 10.0, 4.0, 0.0, 6.0, 10.0, 10.0], &[3, 4]);
    let far = tensor(&[1e9, 1e9, 1.1e9, 1.1e9], &[1, 4]);
    let boxes = Tensor::cat(&[near, far], 0).to_kind(Kind::Float);
    let classes = index(&[1_000_000_007, 1_000_000_007, 1_000_000_007, 0], &[4]);
    let scores = tensor(&[0.9, 0.8, 0.7, 0.6], &[4]);
    assert_eq!(rows(&batched_nms(&boxes, &scores, &classes, 0.45)), [0, 1, 2, 3]);
    assert_eq!(rows(&batched_nms(&boxes, &scores, &classes, 0.35)), [0, 3]);
}

#[test]
fn half_kinds_are_compared_in_float() {
    for kind in [Kind::Half, Kind::BFloat16] {
        // An area above 65504, which Half cannot hold.
        let boxes = (boxes(30, 150) * 20.0).to_kind(kind);
        let scores = rand(31, &[150], Kind::Double).to_kind(kind);
        let kept = nms(&boxes, &scores, 0.5);
        let expected = nms(&boxes.to_kind(Kind::Float), &scores.to_kind(Kind::Float), 0.5);
        assert_eq!(rows(&kept), rows(&expected), "{kind:?}");
        assert!(kept.size()[0] < 120);
    }
}

#[test]
fn boxes_without_area_are_kept() {
    let boxes = tensor(
        &[0.0, 0.0, 10.0, 10.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 2.0, 2.0, 8.0, 2.0],
        &[4, 4],
    );
    for kind in [Kind::Double, Kind::Float] {
        let scores = tensor(&[0.1, 0.2, 0.3, 0.4], &[4]);
        assert_eq!(rows(&nms(&boxes.to_kind(kind), &scores, 0.0)), [3, 2, 1, 0]);
    }
}

#[test]
fn nothing_in_nothing_out() {
    for kind in common::KINDS {
        let boxes = tensor(&[], &[0, 4]).to_kind(kind);
        let scores = tensor(&[], &[0]).to_kind(kind);
        assert!(rows(&nms(&boxes, &scores, 0.5)).is_empty());
        assert!(rows(&batched_nms(&boxes, &scores, &index(&[], &[0]), 0.5)).is_empty());
    }
}

#[test]
fn layout_gradients_and_infinite_scores() {
    let boxes = boxes(40, 60);
    let scores = rand(41, &[60], Kind::Double);
    let expected = rows(&nms(&boxes, &scores, 0.5));
    let transposed = boxes.tr().contiguous().tr();
    assert!(!transposed.is_contiguous());
    let leaf = common::leaf(&transposed);
    let kept = nms(&leaf, &common::leaf(&scores), 0.5);
    assert_eq!(rows(&kept), expected);
    assert!(!kept.requires_grad());
    // Boxes and scores need not share a kind.
    assert_eq!(rows(&nms(&boxes, &scores.to_kind(Kind::Float), 0.5)), expected);
    let apart = tensor(&[0.0, 0.0, 1.0, 1.0, 5.0, 5.0, 6.0, 6.0, 9.0, 9.0, 10.0, 10.0], &[3, 4]);
    let scores = tensor(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], &[3]);
    assert_eq!(rows(&nms(&apart, &scores, 0.5)), [2, 1, 0]);
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let (boxes, scores) = (boxes(50, 3), rand(51, &[3], Kind::Double));
    let message = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    assert_eq!(
        message(f_nms(&boxes.view([4, 3]), &scores, 0.5)),
        "NMS: expected boxes of shape [N, 4], got [4, 3]"
    );
    assert_eq!(
        message(f_nms(&scores, &scores, 0.5)),
        "NMS: expected boxes of shape [N, 4], got [3]"
    );
    assert_eq!(
        message(f_nms(&boxes, &boxes, 0.5)),
        "NMS: expected scores of shape [3], got [3, 4]"
    );
    assert_eq!(
        message(f_nms(&boxes.to_kind(Kind::Int64), &scores, 0.5)),
        "NMS: expected boxes of floating-point kind, got Int64"
    );
    assert_eq!(
        message(f_nms(&boxes, &scores.to_kind(Kind::Bool), 0.5)),
        "NMS: expected scores of floating-point kind, got Bool"
    );
    for (threshold, got) in [(-0.1, "-0.1"), (1.5, "1.5"), (f64::NAN, "NaN")] {
        let expected = format!("NMS: expected iou_threshold in [0, 1], got {got}");
        assert_eq!(message(f_nms(&boxes, &scores, threshold)), expected);
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let boxes = boxes.copy();
        let _ = boxes.get(1).get(2).fill_(bad);
        assert_eq!(
            message(f_nms(&boxes, &scores, 0.5)),
            "NMS: expected boxes of finite coordinates, got NaN or an infinity in row 1"
        );
    }
    let nan = tensor(&[0.1, 0.2, f64::NAN], &[3]);
    assert_eq!(
        message(f_nms(&boxes, &nan, 0.5)),
        "NMS: expected scores that are numbers, got NaN in row 2"
    );
    assert_eq!(
        message(f_batched_nms(&boxes, &scores, &index(&[0, 1], &[2]), 0.5)),
        "batched NMS: expected classes of shape [3], got [2]"
    );
    assert_eq!(
        message(f_batched_nms(&boxes, &scores, &scores, 0.5)),
        "batched NMS: expected classes of integer kind, got Double"
    );
}

#[test]
#[should_panic(expected = "NMS: expected scores of shape [2], got [3]")]
fn nms_panics_with_the_message() {
    let _ = nms(&boxes(60, 2), &rand(61, &[3], Kind::Double), 0.5);
}
