//! Overlap losses against smp, MONAI, kornia and Keras, value and gradient.

mod common;

use common::Fixture;
use tch_losses::{
    DiceLoss, FBetaLoss, FocalTverskyLoss, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss,
    JaccardLoss, LogCoshDiceLoss, Loss, MccLoss, Reduction, SensitivitySpecificityLoss,
    TverskyLoss,
    segmentation::{
        AbsentWeight, Aggregate, EmptyClass, Nonlinearity, VolumeWeight, WassersteinWeighting,
        WeightNorm,
    },
};

const IGNORED: i64 = 255;
const WEIGHTS: [f64; 4] = [0.5, 2.0, 1.0, 0.25];

fn parity(fixture: &Fixture, case: &str, loss: impl Loss) {
    fixture.parity(case, &["input"], |c| loss.forward(c.get("input"), c.get("target")));
}

/// The cases that smp's three losses share.
macro_rules! smp {
    ($fixture:ident, $name:literal, $loss:expr, $smooth:expr) => {
        let sigmoid = || $loss.apply_nonlin(Nonlinearity::Sigmoid);
        for (case, loss) in [
            ("", $loss),
            ("_volume", $loss),
            ("_many", $loss),
            ("_log", $loss.log_loss(true).smooth($smooth)),
            ("_ignore", $loss.ignore_index(IGNORED).class_weights(WEIGHTS)),
            ("_classes", $loss.classes([0, 2, 3]).class_weights(WEIGHTS)),
            ("_multilabel", sigmoid().smooth($smooth)),
            ("_multilabel_ignore", sigmoid().ignore_index(IGNORED)),
            ("_soft", sigmoid()),
            ("_binary", sigmoid()),
        ] {
            parity($fixture, &format!("smp_{}{case}", $name), loss);
        }
    };
}

fn smp(fixture: &Fixture) {
    // smp adds its smoothing to the halves of what Dice divides.
    smp!(fixture, "dice", DiceLoss::smp(), 0.7);
    smp!(fixture, "jaccard", JaccardLoss::smp(), 0.7);
    smp!(fixture, "tversky", TverskyLoss::smp().alpha(0.3).beta(0.8), 0.7);
    let gamma = FocalTverskyLoss::smp().power(0.75).smooth(0.7).class_weights(WEIGHTS);
    parity(fixture, "smp_tversky_gamma", gamma.alpha(0.3).beta(0.8));
}

/// The cases that MONAI's Dice and Jaccard share; `$half` is what it adds of its smoothing.
macro_rules! monai {
    ($fixture:ident, $name:literal, $loss:expr, $half:expr) => {
        let smoothed = || $loss.smooth_nr(0.4 * $half).smooth_dr(0.7 * $half);
        for (case, loss) in [
            ("", $loss),
            ("_volume", $loss),
            ("_many", $loss.squared_pred(true)),
            ("_squared", smoothed().squared_pred(true)),
            ("_batch", $loss.aggregate(Aggregate::Batch).class_weights(WEIGHTS)),
            ("_nobg", $loss.include_background(false).class_weights(WEIGHTS)),
            ("_ignore", smoothed().ignore_index(IGNORED)),
            ("_ignore_squared", $loss.ignore_index(IGNORED).squared_pred(true)),
            ("_sigmoid", $loss.apply_nonlin(Nonlinearity::Sigmoid)),
            ("_soft", $loss.soft_label(true)),
            ("_soft_squared", $loss.squared_pred(true)),
            ("_probabilities", $loss.apply_nonlin(Nonlinearity::None)),
            ("_none", $loss.class_weights(WEIGHTS).reduction(Reduction::None)),
            ("_sum", $loss.reduction(Reduction::Sum)),
        ] {
            parity($fixture, &format!("monai_{}{case}", $name), loss);
        }
    };
}

fn monai(fixture: &Fixture) {
    monai!(fixture, "dice", DiceLoss::monai(), 1.0);
    monai!(fixture, "jaccard", JaccardLoss::monai(), 0.5);
    let tversky = || TverskyLoss::monai().alpha(0.3).beta(0.8);
    for (case, loss) in [
        ("", tversky()),
        ("_many", tversky()),
        ("_batch", tversky().aggregate(Aggregate::Batch).smooth_nr(0.4).smooth_dr(0.7)),
        ("_nobg", tversky().include_background(false).ignore_index(IGNORED)),
        ("_none", tversky().reduction(Reduction::None)),
        ("_soft", tversky().soft_label(true)),
    ] {
        parity(fixture, &format!("monai_tversky{case}"), loss);
    }
}

fn kornia_and_keras(fixture: &Fixture) {
    for (name, loss) in
        [("kornia_dice", DiceLoss::kornia()), ("kornia_dice_macro", DiceLoss::kornia_macro())]
    {
        parity(fixture, name, loss.clone());
        let weighted = loss.class_weights(WEIGHTS);
        parity(fixture, &format!("{name}_weight"), weighted.clone());
        parity(fixture, &format!("{name}_ignore"), weighted.ignore_index(IGNORED));
    }
    let tversky = TverskyLoss::kornia().alpha(0.3).beta(0.8);
    parity(fixture, "kornia_tversky", tversky.clone());
    parity(fixture, "kornia_tversky_ignore", tversky.ignore_index(IGNORED));
    parity(fixture, "keras_dice", DiceLoss::keras());
    // The fixture hands Keras 3.15 the two swapped, as it takes them.
    parity(fixture, "keras_tversky", TverskyLoss::keras().alpha(0.3).beta(0.8));
}

fn generalized_dice(fixture: &Fixture) {
    let gdl = GeneralizedDiceLoss::monai;
    for (w_type, name) in [
        (VolumeWeight::Square, "square"),
        (VolumeWeight::Simple, "simple"),
        (VolumeWeight::Uniform, "uniform"),
    ] {
        let loss = gdl().w_type(w_type);
        let batch = loss.clone().aggregate(Aggregate::Batch).smooth_nr(0.4).smooth_dr(0.7);
        parity(fixture, &format!("monai_gdl_{name}"), loss.clone());
        parity(fixture, &format!("monai_gdl_{name}_batch"), batch);
        parity(fixture, &format!("monai_gdl_{name}_nobg"), loss.include_background(false));
    }
    parity(fixture, "monai_gdl_none", gdl().reduction(Reduction::None));
    parity(fixture, "monai_gdl_many", gdl());
    parity(fixture, "monai_gdl_sigmoid", gdl().apply_nonlin(Nonlinearity::Sigmoid));
    parity(fixture, "monai_gdl_soft", gdl().soft_label(true));
    let penalized = GeneralizedDiceLoss::penalized().smooth(0.0).absent(AbsentWeight::Zero);
    parity(fixture, "penalty_gdl", penalized);
}

fn wasserstein(fixture: &Fixture) {
    let distances =
        [[0., 4., 4., 3.], [4., 0., 2., 1.], [4., 2., 0., 2.5], [3., 1., 2.5, 0.]].map(Vec::from);
    let even: Vec<Vec<f64>> =
        (0..10).map(|i| (0..10).map(|j| f64::from(i != j)).collect()).collect();
    for (weighting, name) in
        [(WassersteinWeighting::Foreground, "default"), (WassersteinWeighting::Volume, "gdl")]
    {
        let plain = GeneralizedWassersteinDiceLoss::default().weighting(weighting);
        let loss = plain.clone().dist_matrix(distances.clone());
        let name = format!("monai_wasserstein_{name}");
        parity(fixture, &name, loss.clone());
        let none = loss.reduction(Reduction::None).smooth_nr(0.4).smooth_dr(0.7);
        parity(fixture, &format!("{name}_none"), none);
        let sum = plain.reduction(Reduction::Sum);
        // Without a matrix all classes are as far from each other.
        parity(fixture, &format!("{name}_many"), sum.clone());
        parity(fixture, &format!("{name}_many"), sum.dist_matrix(even.clone()));
    }
    let loss = GeneralizedWassersteinDiceLoss::default().dist_matrix(distances);
    weighted(fixture, "hand_wasserstein_weighted", loss.ignore_index(IGNORED));
}

fn mcc(fixture: &Fixture) {
    for (name, aggregate) in [("image", Aggregate::PerImage), ("batch", Aggregate::Batch)] {
        let loss = MccLoss::default().aggregate(aggregate);
        parity(fixture, &format!("monai_mcc_{name}"), loss.clone());
        let smooth = loss.include_background(false).smooth_nr(0.4).smooth_dr(0.7);
        parity(fixture, &format!("monai_mcc_{name}_smooth"), smooth);
    }
    parity(fixture, "monai_mcc_none", MccLoss::default().reduction(Reduction::None));
    parity(fixture, "monai_mcc_sigmoid", MccLoss::default().apply_nonlin(Nonlinearity::Sigmoid));
    let loss = MccLoss::default()
        .smooth_dr(0.0)
        .aggregate(Aggregate::Batch)
        .empty_class(EmptyClass::FalsePositives);
    weighted(fixture, "hand_mcc_weighted", loss.ignore_index(IGNORED));
}

fn weighted(fixture: &Fixture, case: &str, loss: impl Loss) {
    fixture.parity(case, &["input"], |c| {
        loss.forward_weighted(c.get("input"), c.get("target"), c.get("weight"))
    });
}

/// The cases of losses that no package has: see `by_hand` of the exporter.
macro_rules! hand {
    ($fixture:ident, $name:literal, $loss:expr) => {
        parity($fixture, concat!("hand_", $name), $loss);
        parity($fixture, concat!("hand_", $name, "_many"), $loss);
        let loss = $loss.apply_nonlin(Nonlinearity::Sigmoid).aggregate(Aggregate::Batch);
        weighted($fixture, concat!("hand_", $name, "_weighted"), loss.ignore_index([IGNORED, 2]));
        let loss = $loss.empty_class(EmptyClass::Skip).class_weights(WEIGHTS);
        parity($fixture, concat!("hand_", $name, "_skip"), loss.weight_norm(WeightNorm::None));
    };
}

fn by_hand(fixture: &Fixture) {
    hand!(fixture, "dice", DiceLoss::default().smooth(0.7));
    hand!(fixture, "focal_tversky", FocalTverskyLoss::default().smooth(0.7));
    let f_beta = || FBetaLoss::default().smooth(0.7 * (1.0 + 1.5 * 1.5));
    hand!(fixture, "f_beta", f_beta());
    parity(
        fixture,
        "hand_f_beta_plain",
        FBetaLoss::default().smooth(0.0).empty_class(EmptyClass::Skip),
    );
    hand!(fixture, "log_cosh_dice", LogCoshDiceLoss::default().smooth(0.7));
    hand!(
        fixture,
        "sensitivity_specificity",
        SensitivitySpecificityLoss::default().r(0.2).smooth(0.7)
    );
    for (empty, policy) in [
        ("smooth", EmptyClass::Smooth),
        ("skip", EmptyClass::Skip),
        ("zero", EmptyClass::Zero),
        ("false_positives", EmptyClass::FalsePositives),
    ] {
        for (norm, weight_norm) in
            [("present", WeightNorm::Present), ("all", WeightNorm::All), ("none", WeightNorm::None)]
        {
            let loss = DiceLoss::default().smooth(0.7).empty_class(policy).weight_norm(weight_norm);
            let loss = loss.class_weights(WEIGHTS).ignore_index(IGNORED);
            parity(fixture, &format!("hand_dice_{empty}_{norm}"), loss);
        }
    }
}

#[test]
fn every_overlap_loss_has_the_numbers_of_its_package() {
    let fixture = Fixture::open("overlap");
    smp(&fixture);
    monai(&fixture);
    kornia_and_keras(&fixture);
    generalized_dice(&fixture);
    wasserstein(&fixture);
    mcc(&fixture);
    by_hand(&fixture);
    fixture.finish();
}
