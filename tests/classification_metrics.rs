//! Confusion matrix and calibration: torchmetrics' numbers, laws, edges, errors.

mod common;

use common::{Case, Fixture, KINDS, assert_value, device, index, rand, randint, randn, tensor};
use tch::{Kind, Tensor};
use tch_losses::metrics::{Calibration, ConfusionMatrix};

/// What torchmetrics computes in `Float`.
const FLOAT: f64 = 1e-6;

#[track_caller]
fn close(what: &str, got: Option<f64>, expected: &Tensor) {
    // It says 0 where there is nothing to divide by.
    assert_value(what, expected, got.unwrap_or(0.0), FLOAT);
}

fn compare_scores(case: &Case, name: &str, ignore_index: Option<i64>) {
    let counts = case.get("counts");
    let classes = counts.size()[0] as usize;
    let mut matrix = ConfusionMatrix::new(classes).ignore_index(ignore_index);
    matrix.update(case.get("input"), case.get("target"));
    for actual in 0..classes {
        for predicted in 0..classes {
            let expected = counts.int64_value(&[actual as i64, predicted as i64]) as u64;
            assert_eq!(matrix.count(actual, predicted), expected, "{name}: {actual}, {predicted}");
        }
    }
    close(name, matrix.accuracy(), case.get("accuracy"));
    type Score = fn(&ConfusionMatrix, usize) -> Option<f64>;
    let scores: [(&str, Score); 4] = [
        ("precision", ConfusionMatrix::precision),
        ("recall", ConfusionMatrix::recall),
        ("f1", ConfusionMatrix::f1),
        ("iou", ConfusionMatrix::iou),
    ];
    for (score, of) in scores {
        for class in 0..classes {
            let expected = case.get(score).get(class as i64);
            close(&format!("{name}: {score} of {class}"), of(&matrix, class), &expected);
        }
    }
    close(name, matrix.mean_f1(), case.get("mean_f1"));
    close(name, matrix.mean_iou(), case.get("mean_iou"));
}

#[track_caller]
fn compare_errors(case: &Case, name: &str, calibration: &Calibration) {
    close(&format!("{name}: ECE"), calibration.ece(), case.get("ece"));
    close(&format!("{name}: MCE"), calibration.mce(), case.get("mce"));
    close(&format!("{name}: RMSCE"), calibration.rmsce(), case.get("rmsce"));
}

#[test]
fn torchmetrics() {
    let fixture = Fixture::open("classification_metrics");
    for kind in [Kind::Double, Kind::Float] {
        for shape in ["nc", "nchw"] {
            for (suffix, ignore_index) in [("", None), ("_ignored", Some(255))] {
                let name = format!("{shape}{suffix}");
                compare_scores(&fixture.case(&name, kind), &name, ignore_index);
                for bins in [10, 15] {
                    let name = format!("calibration_{name}_{bins}");
                    let case = fixture.case(&name, kind);
                    let mut calibration = Calibration::new(bins).ignore_index(ignore_index);
                    calibration.update(case.get("probabilities"), case.get("target"));
                    compare_errors(&case, &name, &calibration);
                }
            }
        }
        let case = fixture.case("calibration_binary", kind);
        let mut calibration = Calibration::new(7);
        calibration.update_confidence(case.get("confidence"), case.get("right"));
        compare_errors(&case, "binary", &calibration);

        let case = fixture.case("diagram", kind);
        let mut calibration = Calibration::new(8);
        calibration.update(case.get("probabilities"), case.get("target"));
        for (i, bin) in calibration.bins().iter().enumerate() {
            let expected = Vec::<f64>::try_from(case.get("bins").get(i as i64)).unwrap();
            assert_eq!((bin.low, bin.high), (i as f64 / 8.0, (i + 1) as f64 / 8.0));
            assert_eq!(bin.count as f64, expected[0]);
            let pair = [bin.confidence, bin.accuracy];
            for (got, expected) in pair.iter().zip(&expected[1..]) {
                assert!((got.unwrap_or(0.0) - expected).abs() < FLOAT, "bin {i}: {bin:?}");
            }
        }
    }
    fixture.finish();
}

/// Logits, their probabilities and targets of 3 x 4 x 5 pixels in 4 classes.
fn pixels(kind: Kind) -> (Tensor, Tensor, Tensor) {
    let logits = randn(5, &[3, 4, 4, 5], kind);
    let probabilities = logits.softmax(1, None::<Kind>);
    (logits, probabilities, randint(6, 4, &[3, 4, 5]))
}

#[test]
fn batches_and_merging_add_up_to_the_whole() {
    let (logits, probabilities, target) = pixels(Kind::Double);
    let (mut whole, mut parts) = (ConfusionMatrix::new(4), ConfusionMatrix::new(4));
    let (mut sure, mut unsure) = (Calibration::new(10), Calibration::new(10));
    whole.update(&logits, &target);
    sure.update(&probabilities, &target);
    for i in 0..3 {
        let (mut matrix, mut calibration) = (ConfusionMatrix::new(4), Calibration::new(10));
        matrix.update(&logits.narrow(0, i, 1), &target.narrow(0, i, 1));
        calibration.update(&probabilities.narrow(0, i, 1), &target.narrow(0, i, 1));
        parts.merge(&matrix);
        unsure.merge(&calibration);
    }
    assert_eq!(whole, parts);
    assert_eq!(whole.total(), 60);
    assert_eq!(whole.rows().map(|row| row.iter().sum::<u64>()).sum::<u64>(), 60);
    assert!((sure.ece().unwrap() - unsure.ece().unwrap()).abs() < 1e-12);
    assert_eq!((sure.total(), sure.accuracy()), (60, whole.accuracy()));
}

#[test]
fn logits_probabilities_and_their_classes_count_the_same() {
    let (logits, probabilities, target) = pixels(Kind::Double);
    let matrix = |input: &Tensor, target: &Tensor| {
        let mut matrix = ConfusionMatrix::new(4);
        matrix.update(input, target);
        matrix
    };
    let of_logits = matrix(&logits, &target);
    let predicted = logits.argmax(1, false);
    assert_eq!(of_logits, matrix(&probabilities, &target));
    assert_eq!(of_logits, matrix(&predicted, &target));
    assert_eq!(of_logits, matrix(&predicted.to_kind(Kind::Uint8), &target.to_kind(Kind::Int)));
    let channels_last = logits.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    assert_eq!(of_logits, matrix(&channels_last, &target));
    // Two classes may be bool.
    let (yes, true_) = (logits.select(1, 0).gt(0), target.gt(1));
    let of_bool = matrix(&yes, &true_);
    assert_eq!(of_bool, matrix(&yes.to_kind(Kind::Int64), &true_.to_kind(Kind::Int64)));
}

#[test]
fn what_is_ignored_changes_nothing_whatever_is_predicted_there() {
    let (logits, probabilities, target) = pixels(Kind::Double);
    let ignored = randint(9, 2, &[3, 4, 5]).to_kind(Kind::Bool);
    let other = logits.masked_fill(&ignored.unsqueeze(1), f64::NAN);
    for value in [-1, 4, 255, -100] {
        let target = target.masked_fill(&ignored, value);
        let of = |input: &Tensor| {
            let mut matrix = ConfusionMatrix::new(4).ignore_index(value);
            matrix.update(input, &target);
            matrix
        };
        let matrix = of(&logits);
        assert_eq!(matrix, of(&other));
        assert_eq!(matrix.total() as i64, 60 - ignored.sum(Kind::Int64).int64_value(&[]));
        let ece = |input: &Tensor| {
            let mut calibration = Calibration::new(10).ignore_index(value);
            calibration.update(input, &target);
            (calibration.total(), calibration.ece())
        };
        let wild = probabilities.masked_fill(&ignored.unsqueeze(1), f64::NAN);
        assert_eq!(ece(&probabilities), ece(&wild));
        assert_eq!(ece(&probabilities).0, matrix.total());
    }
}

#[test]
fn perfect_predictions_score_one_and_certain_ones_are_calibrated() {
    let target = index(&[2, 0, 1, 1], &[4]);
    let one_hot = target.one_hot(4).to_kind(Kind::Float);
    let mut matrix = ConfusionMatrix::new(4);
    matrix.update(&one_hot, &target);
    for score in [matrix.accuracy(), matrix.mean_recall(), matrix.mean_iou(), matrix.mean_dice()] {
        assert_eq!(score, Some(1.0));
    }
    // A class that neither occurs nor is predicted has no score, and no part in the means.
    assert_eq!(
        (matrix.precision(3), matrix.recall(3), matrix.iou(3), matrix.f1(3)),
        (None, None, None, None)
    );
    let mut calibration = Calibration::new(10);
    calibration.update(&one_hot, &target);
    assert_eq!(
        (calibration.ece(), calibration.mce(), calibration.rmsce()),
        (Some(0.0), Some(0.0), Some(0.0))
    );
    // The last bin holds a confidence of 1: no bin of its own as in torchmetrics.
    assert_eq!((calibration.bins().len(), calibration.bins()[9].count), (10, 4));
}

#[test]
fn recall_leaves_out_a_class_that_is_only_predicted() {
    let mut matrix = ConfusionMatrix::new(3);
    matrix.update(&index(&[0, 2, 1], &[3]), &index(&[0, 0, 1], &[3]));
    assert_eq!(matrix.mean_recall(), Some(0.75)); // torchmetrics' macro: 0.5
    assert_eq!(
        (matrix.recall(2), matrix.precision(2), matrix.iou(2)),
        (None, Some(0.0), Some(0.0))
    );
    assert_eq!((matrix.actual(0), matrix.predicted(0)), (2, 1));
}

#[test]
fn dice_follows_from_iou() {
    let (logits, _, target) = pixels(Kind::Double);
    let mut matrix = ConfusionMatrix::new(4);
    matrix.update(&logits, &target);
    for class in 0..4 {
        let iou = matrix.iou(class).unwrap();
        assert!((matrix.dice(class).unwrap() - 2.0 * iou / (1.0 + iou)).abs() < 1e-12);
    }
}

#[test]
fn borders_belong_to_the_bin_below() {
    let mut calibration = Calibration::new(4);
    let confidence = tensor(&[0.0, 0.25, 0.5, 0.75, 1.0, 0.26], &[6]);
    calibration.update_confidence(&confidence, &index(&[0, 1, 0, 1, 1, 1], &[6]));
    let counts: Vec<u64> = calibration.bins().iter().map(|bin| bin.count).collect();
    assert_eq!(counts, [2, 2, 1, 1]);
    let mean = (0.25 + 0.5 + 0.75 + 1.0 + 0.26) / 6.0;
    assert!((calibration.confidence().unwrap() - mean).abs() < 1e-12);
}

#[test]
fn ece_is_at_most_rmsce_at_most_mce() {
    for seed in 0..20 {
        let mut calibration = Calibration::new(7);
        calibration.update_confidence(&rand(seed, &[40], Kind::Double), &randint(seed, 2, &[40]));
        let errors =
            [calibration.ece(), calibration.rmsce(), calibration.mce()].map(Option::unwrap);
        assert!(errors.is_sorted(), "{errors:?}");
        // One bin: the difference of the means.
        let mut one = Calibration::new(1);
        one.update_confidence(&rand(seed, &[40], Kind::Double), &randint(seed, 2, &[40]));
        let gap = (one.accuracy().unwrap() - one.confidence().unwrap()).abs();
        assert!((one.ece().unwrap() - gap).abs() < 1e-12 && gap <= errors[0] + 1e-12);
    }
}

#[test]
fn nothing_counted_has_no_score_in_any_kind() {
    for kind in KINDS {
        let (mut matrix, mut calibration) =
            (ConfusionMatrix::new(3).ignore_index(255), Calibration::new(10).ignore_index(255));
        for (shape, target) in [
            (vec![0, 3], index(&[], &[0])),
            (vec![2, 3, 0], index(&[], &[2, 0])),
            (vec![2, 3], index(&[255, 255], &[2])),
        ] {
            let input = Tensor::zeros(shape, (kind, device()));
            matrix.update(&input, &target);
            calibration.update(&input, &target);
        }
        assert_eq!((matrix.total(), matrix.accuracy(), matrix.mean_iou()), (0, None, None));
        assert_eq!((calibration.total(), calibration.ece(), calibration.mce()), (0, None, None));
        assert_eq!((calibration.rmsce(), calibration.confidence()), (None, None));
    }
}

#[test]
fn every_kind_counts_the_same_for_saturated_logits() {
    let target = index(&[0, 1, 2], &[3]);
    for kind in KINDS {
        let logits = tensor(&[1e4, -1e4, 0.0, 1e4, -1e4, 0.0, -1e4, 0.0, 1e4], &[3, 3]);
        let logits = logits.to_kind(kind);
        let (mut matrix, mut calibration) = (ConfusionMatrix::new(3), Calibration::new(15));
        matrix.update(&logits, &target);
        calibration.update(&logits.softmax(1, None::<Kind>), &target);
        assert_eq!((matrix.count(0, 0), matrix.count(1, 0), matrix.count(2, 2)), (1, 1, 1));
        assert!((calibration.ece().unwrap() - 1.0 / 3.0).abs() < 1e-12, "{kind:?}");
    }
}

#[test]
fn mistakes_are_named() {
    let (logits, probabilities, target) = pixels(Kind::Float);
    let mut matrix = ConfusionMatrix::new(4);
    let mut error =
        |input: &Tensor, target: &Tensor| matrix.f_update(input, target).unwrap_err().to_string();
    assert_eq!(
        error(&logits, &target.select(0, 0)),
        "ConfusionMatrix: expected input of shape [4, 4, 5], got [3, 4, 4, 5]"
    );
    assert_eq!(
        error(&target.narrow(0, 0, 1), &target),
        "ConfusionMatrix: expected input of shape [3, 4, 5], got [1, 4, 5]"
    );
    assert_eq!(
        error(&logits, &logits.select(1, 0)),
        "ConfusionMatrix: expected target of integer kind, got Float"
    );
    let strange = "at least 0 and below the number of classes, got";
    assert_eq!(
        error(&logits, &(&target + 4)),
        format!("ConfusionMatrix: expected target {strange} 7 for 4 classes")
    );
    assert_eq!(
        error(&(&target - 1), &target),
        format!("ConfusionMatrix: expected input {strange} -1 for 4 classes")
    );
    let other = matrix.f_merge(&ConfusionMatrix::new(3)).unwrap_err().to_string();
    assert_eq!(other, "ConfusionMatrix: expected other of shape [4, 4], got [3, 3]");
    assert_eq!(matrix, ConfusionMatrix::new(4), "nothing was counted");

    let mut calibration = Calibration::new(10);
    let mut error = |input: &Tensor, target: &Tensor| {
        calibration.f_update(input, target).unwrap_err().to_string()
    };
    let text = error(&(&logits * 10.0), &target);
    assert!(text.starts_with("Calibration: expected probabilities in [0, 1], got "), "{text}");
    let text = error(&(&probabilities * f64::NAN), &target);
    assert_eq!(text, "Calibration: expected probabilities in [0, 1], got NaN");
    assert_eq!(
        error(&target, &target),
        "Calibration: expected input of shape [3, 4, 4, 5], got [3, 4, 5]"
    );
    assert_eq!(
        error(&target.unsqueeze(1), &target),
        "Calibration: expected input of floating-point kind, got Int64"
    );
    assert_eq!(
        error(&probabilities, &(&target + 1)),
        format!("Calibration: expected target {strange} 4 for 4 classes")
    );
    let right = target.narrow(0, 0, 1);
    let text = calibration.f_update_confidence(&rand(1, &[3], Kind::Float), &right);
    assert_eq!(
        text.unwrap_err().to_string(),
        "Calibration: expected right of shape [3], got [1, 4, 5]"
    );
    let other = calibration.f_merge(&Calibration::new(3)).unwrap_err().to_string();
    assert_eq!(other, "Calibration: expected other of shape [10], got [3]");
    assert_eq!(calibration, Calibration::new(10), "nothing was taken in");
}
