//! Distances and skeletons, and the losses and metrics that are made of them, against scipy, MONAI
//! and kornia, value and gradient.

mod common;

use common::Fixture;
use tch_losses::{
    ClDiceLoss, Loss, Reduction,
    segmentation::{Average, Nonlinearity, soft_skeletonize},
};

const IGNORED: i64 = 255;

fn parity(fixture: &Fixture, case: &str, loss: impl Loss) {
    fixture.parity(case, &["input"], |c| loss.forward(c.get("input"), c.get("target")));
}

#[test]
fn skeletons_and_cldice_match_monai() {
    let fixture = Fixture::open("topology");
    for shape in ["flat", "solid"] {
        for iterations in [0, 3] {
            fixture.parity(&format!("skeleton_{shape}_{iterations}"), &["image"], |c| {
                soft_skeletonize(c.get("image"), iterations)
            });
        }
    }
    let monai = ClDiceLoss::monai;
    for (case, loss) in [
        ("monai", monai()),
        ("monai_volume", monai().iterations(2)),
        ("monai_nobg", monai().include_background(false).iterations(1)),
        ("monai_smooth", monai().smooth_nr(0.3).smooth_dr(0.6).eps(0.02)),
        ("monai_none", monai().reduction(Reduction::None)),
        ("monai_sum", monai().reduction(Reduction::Sum)),
        ("monai_sigmoid", monai().apply_nonlin(Nonlinearity::Sigmoid)),
        ("monai_soft", monai()),
        ("class", ClDiceLoss::default()),
        ("class_none", ClDiceLoss::default().reduction(Reduction::None)),
        ("class_ignored", ClDiceLoss::default().ignore_index(IGNORED)),
    ] {
        parity(&fixture, case, loss);
    }
    fixture.parity("class_weighted", &["input"], |c| {
        ClDiceLoss::default().average(Average::Macro).forward_weighted(
            c.get("input"),
            c.get("target"),
            c.get("weight"),
        )
    });
    fixture.finish();
}
