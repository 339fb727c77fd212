//! COCO evaluation against pycocotools, and its laws.

use serde_json::Value;
use tch::{Kind, Tensor};
use tch_losses::metrics::{Area, CocoEval, CocoSummary, Detection, GroundTruth, MatchRule};

const AREAS: [Area; 4] = [Area::All, Area::Small, Area::Medium, Area::Large];

type Image = (Vec<Detection>, Vec<GroundTruth>);

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/coco_eval.json");
    let text = std::fs::read_to_string(path).expect("a readable fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn images(case: &Value) -> Vec<Image> {
    let detection = |row: &Value| {
        let v = numbers(row);
        Detection::xywh(v[0] as usize, [v[1], v[2], v[3], v[4]], v[5])
    };
    let truth = |row: &Value| {
        let v: Vec<Option<f64>> =
            row.as_array().expect("an array").iter().map(Value::as_f64).collect();
        let at = |i: usize| v[i].expect("a number");
        GroundTruth {
            class: at(0) as usize,
            xywh: [at(1), at(2), at(3), at(4)],
            crowd: at(5) != 0.0,
            area: v[6],
        }
    };
    let rows = |rows: &Value| rows.as_array().expect("an array").clone();
    rows(&case["images"])
        .iter()
        .map(|image| {
            let detections = rows(&image[0]).iter().map(detection).collect();
            (detections, rows(&image[1]).iter().map(truth).collect())
        })
        .collect()
}

fn summary(eval: CocoEval, images: &[Image]) -> CocoSummary {
    let mut eval = eval;
    for (detections, truth) in images {
        eval.add(detections, truth).unwrap();
    }
    assert_eq!(eval.images(), images.len());
    eval.summarize()
}

fn stats(s: &CocoSummary) -> [Option<f64>; 12] {
    [
        s.map,
        s.map50,
        s.map75,
        s.map_small,
        s.map_medium,
        s.map_large,
        s.ar1,
        s.ar10,
        s.ar100,
        s.ar_small,
        s.ar_medium,
        s.ar_large,
    ]
}

fn or_absent(values: impl IntoIterator<Item = Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|value| value.unwrap_or(-1.0)).collect()
}

/// 64-bit FNV-1a of the little-endian bytes.
fn fnv(values: &[f64]) -> String {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Precision, scores and recall in the order class, area, threshold, recall (or limit).
fn tables(s: &CocoSummary, classes: usize, recalls: usize) -> [Vec<f64>; 3] {
    let mut tables = [vec![], vec![], vec![]];
    for class in 0..classes {
        for area in AREAS {
            for t in 0..s.iou_thresholds().len() {
                let (absent, none) = (vec![-1.0; recalls], [-1.0; 3]);
                let curve = s.curve(class, t, area);
                tables[0].extend(curve.map_or(&absent[..], |curve| curve.precision));
                tables[1].extend(curve.map_or(&absent[..], |curve| curve.score));
                tables[2].extend(s.recall(class, t, area).unwrap_or(none));
            }
        }
    }
    tables
}

#[test]
fn thresholds_are_numpys_to_the_last_bit() {
    let fixture = fixture();
    let truth = [GroundTruth::xyxy(0, [0.0, 0.0, 1.0, 1.0])];
    let summary = summary(CocoEval::new(1), &[(vec![], truth.to_vec())]);
    assert_eq!(summary.iou_thresholds(), numbers(&fixture["iou"]));
    assert_eq!(summary.curve(0, 0, Area::All).unwrap().recall, numbers(&fixture["recall"]));
}

#[test]
fn pycocotools_to_the_last_bit() {
    let fixture = fixture();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let (name, expected) = (&case["name"], &case["coco"]);
        let classes = case["classes"].as_u64().unwrap() as usize;
        let images = images(case);
        let got = summary(CocoEval::new(classes), &images);
        assert_eq!(or_absent(stats(&got)), numbers(&expected["stats"]), "{name}: stats");
        let per_class = &got.per_class;
        assert_eq!(or_absent(per_class.iter().map(|c| c.ap)), numbers(&expected["ap"]), "{name}");
        let ap50 = or_absent(per_class.iter().map(|c| c.ap50));
        assert_eq!(ap50, numbers(&expected["ap50"]), "{name}: ap50");
        assert_eq!(or_absent(per_class.iter().map(|c| c.ar)), numbers(&expected["ar"]), "{name}");

        let [precision, scores, recall] = tables(&got, classes, 101);
        // These first: they show what differs.
        let some: Vec<f64> = precision.iter().copied().step_by(211).collect();
        assert_eq!(some, numbers(&expected["some_precision"]), "{name}: precision");
        assert_eq!(fnv(&precision), expected["precision"], "{name}: hash of precision");
        assert_eq!(fnv(&scores), expected["scores"], "{name}: hash of scores");
        assert_eq!(fnv(&recall), expected["recall"], "{name}: hash of recall");

        let counted = images.iter().flat_map(|(_, truth)| truth).filter(|truth| !truth.crowd);
        let in_range = counted.filter(|truth| truth.area.is_none_or(|area| area <= 1e10)).count();
        let sum: usize = per_class.iter().map(|class| class.ground_truths).sum();
        assert_eq!(sum, in_range, "{name}: true boxes");
    }
}

#[test]
fn yolov5_rule() {
    let fixture = fixture();
    let close = |what: &str, got: &[f64], expected: &[f64]| {
        assert_eq!(got.len(), expected.len(), "{what}");
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{what}: expected {expected}, got {got}");
        }
    };
    for case in fixture["cases"].as_array().unwrap() {
        let (name, expected) = (case["name"].as_str().unwrap(), &case["yolov5"]);
        let classes = case["classes"].as_u64().unwrap() as usize;
        let got = summary(CocoEval::new(classes).rule(MatchRule::Yolov5), &images(case));
        let map = or_absent([got.map, got.map50]);
        close(name, &map, &numbers(&serde_json::json!([expected["map"], expected["map50"]])));
        close(name, &or_absent(got.per_class.iter().map(|c| c.ap)), &numbers(&expected["ap"]));
        assert_eq!([got.map_small, got.map_medium, got.ar_large], [None; 3], "{name}");
    }
}

fn boxes(count: usize) -> Vec<[f64; 4]> {
    let side = |i: usize| 20.0 + 7.0 * i as f64;
    (0..count)
        .map(|i| [200.0 * i as f64, 10.0, 200.0 * i as f64 + side(i), 10.0 + side(i)])
        .collect()
}

/// Two classes in each of three images, all found.
fn perfect() -> Vec<Image> {
    let image = |n: usize| {
        let boxes = boxes(16).into_iter().enumerate();
        boxes
            .map(|(i, b)| {
                let score = (1 + i + 16 * n) as f64 / 64.0;
                (Detection::xyxy(i % 2, b, score), GroundTruth::xyxy(i % 2, b))
            })
            .unzip()
    };
    (0..3).map(image).collect()
}

#[test]
fn perfect_detections_get_1_and_yolov5s_0_995() {
    let got = summary(CocoEval::new(2), &perfect());
    // Each class has eight boxes in an image.
    let eighth = Some(0.125);
    let one = Some(1.0);
    assert_eq!(stats(&got), [one, one, one, one, one, one, eighth, one, one, one, one, one]);
    let got = summary(CocoEval::new(2).rule(MatchRule::Yolov5), &perfect());
    assert!((got.map.unwrap() - 0.995).abs() < 1e-12, "{:?}", got.map);
    assert_eq!(got.ar100, Some(1.0));
}

#[test]
fn order_of_images_and_of_boxes_changes_nothing_when_scores_differ() {
    let fixture = fixture();
    let cases = fixture["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "good_detector").unwrap();
    let mut images = images(case);
    let mut serial = 0.0;
    for detection in images.iter_mut().flat_map(|(detections, _)| detections) {
        serial += 1.0;
        detection.score += serial * 1e-9;
    }
    let before = stats(&summary(CocoEval::new(5), &images));
    images.reverse();
    for (detections, truth) in &mut images {
        detections.reverse();
        truth.reverse();
    }
    assert_eq!(stats(&summary(CocoEval::new(5), &images)), before);
    assert!(before[0] > Some(0.1));
}

#[test]
fn renaming_classes_permutes_their_numbers() {
    let fixture = fixture();
    let case = &fixture["cases"][0];
    let mut images = images(case);
    let before = summary(CocoEval::new(4), &images);
    for (detections, truth) in &mut images {
        detections.iter_mut().for_each(|d| d.class = 3 - d.class);
        truth.iter_mut().for_each(|g| g.class = 3 - g.class);
    }
    let after = summary(CocoEval::new(4), &images);
    let reversed: Vec<_> = after.per_class.into_iter().rev().collect();
    assert_eq!(reversed, before.per_class);
}

#[test]
fn only_the_order_of_scores_matters() {
    let mut images = perfect();
    images.iter_mut().for_each(|(detections, _)| detections[3].xywh[0] += 9.0);
    let before = stats(&summary(CocoEval::new(2), &images));
    let scores = images.iter_mut().flat_map(|(detections, _)| detections);
    scores.for_each(|d| d.score = d.score.exp() - 100.0);
    assert_eq!(stats(&summary(CocoEval::new(2), &images)), before);
    assert!(before[0] < Some(1.0));
}

#[test]
fn duplicates_and_misses_lower_precision_and_crowds_do_not() {
    let full = perfect();
    let duplicated = |by: f64| -> Vec<Image> {
        let twice = |(detections, truth): &Image| {
            let again = detections.iter().map(|d| Detection { score: d.score + by, ..*d });
            (detections.iter().copied().chain(again).collect(), truth.clone())
        };
        full.iter().map(twice).collect()
    };
    // Duplicates between the others count against the detector, duplicates after all others do not.
    let map = |images: &[Image]| summary(CocoEval::new(2), images).map.unwrap();
    assert!(map(&duplicated(0.001)) < 0.75);
    assert_eq!(map(&duplicated(-10.0)), 1.0);
    // A true box that nobody finds costs recall.
    let mut missed = perfect();
    missed[0].1.push(GroundTruth::xyxy(0, [5000.0, 0.0, 5050.0, 50.0]));
    let got = summary(CocoEval::new(2), &missed);
    assert!(got.per_class[0].ap < Some(0.97) && got.per_class[1].ap == Some(1.0));
    assert_eq!(got.per_class[0].ground_truths, 25);
    // Detections in a crowd are left out, however many.
    let mut crowd = perfect();
    crowd[0].1.push(GroundTruth::xyxy(0, [5000.0, 0.0, 5500.0, 500.0]).crowd(true));
    let inside = |i: i32| Detection::xyxy(0, [5000.0, 0.0, 5010.0 + f64::from(i), 90.0], 1e6);
    crowd[0].0.extend((0..40).map(inside));
    let got = summary(CocoEval::new(2), &crowd);
    assert_eq!((got.map, got.per_class[0].ground_truths), (Some(1.0), 24));
    assert_eq!(got.per_class[0].detections, 24 + 40);
}

#[test]
fn the_area_given_decides_the_size_and_not_the_box() {
    let truth = GroundTruth::xyxy(0, [0.0, 0.0, 100.0, 100.0]);
    let found = Detection::xyxy(0, [0.0, 0.0, 100.0, 100.0], 0.5);
    let size = |truth: GroundTruth| {
        let got = summary(CocoEval::new(1), &[(vec![found], vec![truth])]);
        [got.ar_small, got.ar_medium, got.ar_large]
    };
    assert_eq!(size(truth), [None, None, Some(1.0)]);
    assert_eq!(size(truth.area(1023.0)), [Some(1.0), None, None]);
    // On a bound, in both.
    assert_eq!(size(truth.area(1024.0)), [Some(1.0), Some(1.0), None]);
    assert_eq!(size(truth.area(9216.0)), [None, Some(1.0), Some(1.0)]);
}

#[test]
fn score_first_finds_what_overlap_first_misses() {
    // Both detections overlap the first box most; only the second box is left for the worse one.
    let truth = vec![
        GroundTruth::xyxy(0, [0.0, 0.0, 100.0, 100.0]),
        GroundTruth::xyxy(0, [0.0, 30.0, 100.0, 130.0]),
    ];
    let found = vec![
        Detection::xyxy(0, [0.0, 0.0, 100.0, 100.0], 0.9),
        Detection::xyxy(0, [0.0, 12.0, 100.0, 112.0], 0.8),
    ];
    let image = [(found, truth)];
    let eval = CocoEval::new(1).iou_thresholds([0.5]);
    let coco = summary(eval.clone(), &image);
    let yolov5 = summary(eval.rule(MatchRule::Yolov5), &image);
    assert_eq!((coco.ar100, yolov5.ar100), (Some(1.0), Some(0.5)));
}

#[test]
fn options() {
    let images = perfect();
    let eval = CocoEval::new(2).max_dets([2, 4, 8]).iou_thresholds([0.3, 0.5]);
    let got = summary(eval.recall_thresholds([0.0, 0.5, 1.0]), &images);
    assert_eq!([got.ar1, got.ar10, got.ar100], [Some(0.25), Some(0.5), Some(1.0)]);
    assert_eq!((got.map50, got.map75), (Some(1.0), None));
    let curve = got.curve(1, 1, Area::All).unwrap();
    assert_eq!((curve.recall, curve.precision), (&[0.0, 0.5, 1.0][..], &[1.0; 3][..]));
    // The best, the 12th and the last of class 1, which score 48, 46, ..., 2 / 64.
    assert_eq!(curve.score, [48.0 / 64.0, 26.0 / 64.0, 2.0 / 64.0]);
    assert_eq!(got.curve(1, 2, Area::All), None);
    assert_eq!(got.curve(2, 0, Area::All), None);
    // With 4 of 8, half are found.
    let got = summary(CocoEval::new(2).max_dets([1, 2, 4]), &images);
    assert_eq!(got.ar100, Some(0.5));
    assert_eq!(got.per_class[0].detections, 12);
    let sizes = [[0.0, 1e9], [0.0, 400.0], [400.0, 1e9], [1e9, 2e9]];
    let got = summary(CocoEval::new(2).area_ranges(sizes), &images);
    assert_eq!([got.map_small.is_some(), got.map_large.is_some()], [true, false]);
}

#[test]
fn prints_cocos_table() {
    let text = summary(CocoEval::new(2), &perfect()).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 13);
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        ["AP", "0.50:0.95", "all", "100", "1.000"]
    );
    assert_eq!(
        lines[7].split_whitespace().collect::<Vec<_>>(),
        ["AR", "0.50:0.95", "all", "1", "0.125"]
    );
    let empty = CocoEval::new(2).summarize().to_string();
    assert_eq!(empty.matches("-1.000").count(), 12);
}

#[test]
fn detections_from_tensors_of_every_kind() {
    let boxes = Tensor::from_slice(&[0.0f64, 0.0, 8.0, 4.0, 2.0, 2.0, 4.0, 6.0]).view([2, 4]);
    let scores = Tensor::from_slice(&[0.25f64, 0.5]);
    let classes = Tensor::from_slice(&[1i64, 0]);
    let expected = [
        Detection::xywh(1, [0.0, 0.0, 8.0, 4.0], 0.25),
        Detection::xywh(0, [2.0, 2.0, 2.0, 4.0], 0.5),
    ];
    for kind in [Kind::Double, Kind::Float, Kind::Half, Kind::BFloat16] {
        // Not contiguous.
        let boxes = boxes.to_kind(kind).tr().contiguous().tr();
        let scores = scores.to_kind(kind);
        let got = Detection::from_tensors(&boxes, &scores, &classes.to_kind(Kind::Int)).unwrap();
        assert_eq!(got, expected);
        let got = GroundTruth::from_tensors(&boxes, &classes).unwrap();
        assert_eq!(got, expected.map(|d| GroundTruth::xywh(d.class, d.xywh)));
    }
    let none = Tensor::zeros([0, 4], (Kind::Float, tch::Device::Cpu));
    let empty = Tensor::zeros([0], (Kind::Float, tch::Device::Cpu));
    let got = Detection::from_tensors(&none, &empty, &empty.to_kind(Kind::Int64)).unwrap();
    assert_eq!(got, []);
    let message = |e: tch_losses::Result<Vec<Detection>>| e.unwrap_err().to_string();
    assert_eq!(
        message(Detection::from_tensors(&boxes.view(-1), &scores, &classes)),
        "Detection::from_tensors: expected boxes of shape [N, 4], got [8]"
    );
    assert_eq!(
        message(Detection::from_tensors(&boxes, &scores, &scores)),
        "Detection::from_tensors: expected classes of integer kind, got Double"
    );
    assert_eq!(
        message(Detection::from_tensors(&boxes, &scores, &(&classes - 1))),
        "Detection::from_tensors: expected classes counted from 0, got -1"
    );
}

#[test]
fn bad_input_is_an_error_and_adds_nothing() {
    let good = Detection::xyxy(0, [0.0, 0.0, 1.0, 1.0], 0.5);
    let there = GroundTruth::xyxy(0, [0.0, 0.0, 1.0, 1.0]);
    let mut eval = CocoEval::new(2);
    let bad = [
        Detection { class: 2, ..good },
        Detection { score: f64::NAN, ..good },
        Detection { score: f64::INFINITY, ..good },
        Detection { xywh: [0.0, f64::NAN, 1.0, 1.0], ..good },
        Detection { xywh: [0.0, 0.0, 1e200, 1e200], ..good },
    ];
    for detection in bad {
        let error = eval.add(&[good, detection], &[there]).unwrap_err().to_string();
        assert!(
            error.starts_with("CocoEval: expected ") && error.contains("detection 1"),
            "{error}"
        );
    }
    let bad = [
        GroundTruth { class: 2, ..there },
        GroundTruth { xywh: [0.0, 0.0, f64::INFINITY, 1.0], ..there },
        GroundTruth { xywh: [0.0, 0.0, 1.0, -1.0], ..there },
        there.area(f64::NAN),
        there.area(-1.0),
    ];
    for truth in bad {
        let error = eval.add(&[good], &[there, truth]).unwrap_err().to_string();
        assert!(
            error.starts_with("CocoEval: expected ") && error.contains("true box 1"),
            "{error}"
        );
    }
    assert_eq!(eval.images(), 0);
    assert_eq!(stats(&eval.summarize()), [None; 12]);

    let eval = || CocoEval::new(1);
    let bad = [
        (eval().iou_thresholds([]), "iou_thresholds"),
        (eval().iou_thresholds([0.5, f64::NAN]), "iou_thresholds"),
        (eval().iou_thresholds([0.0]), "iou_thresholds"),
        (eval().recall_thresholds([0.5, 0.2]), "recall_thresholds"),
        (eval().recall_thresholds([f64::NAN]), "recall_thresholds"),
        (eval().max_dets([0, 1, 2]), "max_dets"),
        (eval().max_dets([10, 1, 100]), "max_dets"),
        (eval().area_ranges([[0.0, f64::NAN]; 4]), "area_ranges"),
    ];
    for (mut eval, option) in bad {
        let error = eval.add(&[], &[]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("CocoEval: expected {option} ")), "{error}");
    }
}

#[test]
#[should_panic(expected = "CocoEval: expected options before the first image, got 1 images")]
fn options_come_before_the_first_image() {
    let mut eval = CocoEval::new(1);
    eval.add(&[], &[]).unwrap();
    let _ = eval.rule(MatchRule::Yolov5);
}
