//! Overlap losses against smp, MONAI, kornia and Keras, value and gradient.

mod common;

use common::Fixture;
use tch_losses::{
    DiceLoss, JaccardLoss, Loss, Reduction, TverskyLoss,
    segmentation::{Aggregate, Nonlinearity},
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

#[test]
fn every_overlap_loss_has_the_numbers_of_its_package() {
    let fixture = Fixture::open("overlap");
    smp(&fixture);
    monai(&fixture);
    kornia_and_keras(&fixture);
    fixture.finish();
}
