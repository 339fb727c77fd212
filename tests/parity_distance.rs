//! Distances and skeletons, and the losses and metrics that are made of them, against scipy, MONAI
//! and kornia, value and gradient.

mod common;

use common::{Fixture, tolerance};
use tch::{Kind, Tensor};
use tch_losses::{
    BoundaryLoss, ClDiceLoss, DistBinaryDiceLoss, DistancePenalizedCrossEntropyLoss,
    HausdorffDtLoss, HausdorffErLoss, Loss, Reduction, ShapeAwareLoss,
    metrics::SurfaceDistances,
    segmentation::{
        Aggregate, Average, Nonlinearity, WeightMapOptions, distance_transform_edt,
        signed_distance_transform_edt, soft_skeletonize, unet_weight_map,
    },
};

const IGNORED: i64 = 255;
const SPACING: [f64; 2] = [0.7, 2.3];
const SHAPES: [(&str, &[f64]); 3] =
    [("image", &[1.0, 1.0]), ("spacing", &SPACING), ("volume", &[3.0, 1.0, 0.7])];

fn parity(fixture: &Fixture, case: &str, loss: impl Loss) {
    fixture.parity(case, &["input"], |c| loss.forward(c.get("input"), c.get("target")));
}

fn parity_weighted(fixture: &Fixture, case: &str, loss: impl Loss) {
    fixture.parity(case, &["input"], |c| {
        loss.forward_weighted(c.get("input"), c.get("target"), c.get("weight"))
    });
}

fn distance_transforms(fixture: &Fixture) {
    for (name, spacing) in SHAPES {
        fixture.parity(&format!("edt_{name}"), &[], |c| {
            distance_transform_edt(c.get("mask"), spacing)
        });
        fixture.parity(&format!("signed_{name}"), &[], |c| {
            signed_distance_transform_edt(c.get("mask"), spacing)
        });
    }
}

fn surfaces(fixture: &Fixture) {
    for (name, spacing) in SHAPES {
        let metrics = |c: &common::Case| {
            let distances = SurfaceDistances::new(c.get("prediction"), c.get("target"), spacing);
            Tensor::stack(
                &[
                    distances.hausdorff(),
                    distances.percentile(95.0),
                    distances.average(),
                    distances.surface_dice(1.5),
                ],
                0,
            )
        };
        fixture.parity_within(&format!("surface_{name}"), &[], &[Kind::Double], tolerance, metrics);
        // MONAI's are `Float`.
        let within = |_| tolerance(Kind::Float);
        let case = format!("surface_monai_{name}");
        fixture.parity_within(&case, &[], &[Kind::Double], within, metrics);
    }
}

fn boundary(fixture: &Fixture) {
    let loss = BoundaryLoss::default;
    for (case, loss) in [
        ("boundary", loss()),
        ("boundary_volume", loss()),
        ("boundary_nobg", loss().include_background(false)),
        ("boundary_none", loss().reduction(Reduction::None)),
        ("boundary_batch", loss().reduction(Reduction::None).aggregate(Aggregate::Batch)),
        ("boundary_sigmoid", loss().apply_nonlin(Nonlinearity::Sigmoid)),
        ("boundary_soft", loss()),
        ("boundary_spacing", loss().spacing(SPACING)),
        ("boundary_ignored", loss().ignore_index(IGNORED)),
    ] {
        parity(fixture, case, loss);
    }
    parity_weighted(fixture, "boundary_weighted", loss());
}

fn hausdorff_by_distances(fixture: &Fixture) {
    let monai = HausdorffDtLoss::monai;
    let loss = HausdorffDtLoss::default;
    for (case, loss) in [
        ("dt", monai()),
        ("dt_volume", monai().alpha(1.3)),
        ("dt_bg", loss().alpha(0.7)),
        ("dt_none", monai().reduction(Reduction::None)),
        ("dt_sum", monai().reduction(Reduction::Sum)),
        ("dt_sigmoid", loss().apply_nonlin(Nonlinearity::Sigmoid)),
        ("dt_soft", monai()),
        ("dt_log", monai().log(true)),
        ("dt_log_none", monai().log(true).reduction(Reduction::None)),
        ("dt_spacing", loss().alpha(1.3).spacing(SPACING)),
        ("dt_one_sided", loss().one_sided(true)),
        ("dt_ignored", loss().ignore_index(IGNORED)),
    ] {
        parity(fixture, case, loss);
    }
    parity_weighted(fixture, "dt_weighted", loss());
}

fn hausdorff_by_erosions(fixture: &Fixture) {
    let kornia = HausdorffErLoss::kornia;
    for name in ["er", "er_volume"] {
        parity(fixture, name, kornia());
        parity(fixture, &format!("{name}_options"), kornia().alpha(1.3).k(2));
        parity(fixture, &format!("{name}_none"), kornia().k(3).reduction(Reduction::None));
    }
}

fn penalties(fixture: &Fixture) {
    let dice = DistBinaryDiceLoss::default;
    for (case, loss) in [
        ("dist_dice", dice()),
        ("dist_dice_volume", dice()),
        ("dist_dice_classes", dice().spacing(SPACING).smooth(0.3)),
        ("dist_dice_bounded", dice().bounded(true)),
        ("dist_dice_ignored", dice().ignore_index(IGNORED)),
    ] {
        parity(fixture, case, loss);
    }
    parity_weighted(fixture, "dist_dice_weighted", dice());

    let entropy = DistancePenalizedCrossEntropyLoss::default;
    for (case, loss) in [
        ("penalized", entropy()),
        ("penalized_volume", entropy()),
        ("penalized_spacing", entropy().spacing(SPACING).reduction(Reduction::None)),
        ("penalized_ignored", entropy().ignore_index(IGNORED)),
    ] {
        parity(fixture, case, loss);
    }
    parity_weighted(fixture, "penalized_weighted", entropy());

    let shape_aware = ShapeAwareLoss::default;
    for (case, loss) in [
        ("shape_aware", shape_aware()),
        ("shape_aware_volume", shape_aware()),
        ("shape_aware_spacing", shape_aware().spacing(SPACING).reduction(Reduction::None)),
        ("shape_aware_ignored", shape_aware().ignore_index(IGNORED)),
    ] {
        parity(fixture, case, loss);
    }
    parity_weighted(fixture, "shape_aware_weighted", shape_aware());
}

fn weight_maps(fixture: &Fixture) {
    let options = WeightMapOptions::default;
    for (case, options) in [
        ("weights", options()),
        (
            "weights_options",
            options().w0(3.0).sigma(1.7).class_weights([0.3, 2.0]).spacing(SPACING),
        ),
        ("weights_volume", options().spacing([3.0, 1.0, 0.7])),
    ] {
        // They are `Float`.
        let within = |_| tolerance(Kind::Float);
        fixture.parity_within(case, &[], &[Kind::Double], within, |c| {
            unet_weight_map(c.get("instances"), options.clone())
        });
    }
}

#[test]
fn distances_and_their_losses_match_scipy_monai_and_kornia() {
    let fixture = Fixture::open("distance");
    distance_transforms(&fixture);
    surfaces(&fixture);
    boundary(&fixture);
    hausdorff_by_distances(&fixture);
    hausdorff_by_erosions(&fixture);
    penalties(&fixture);
    weight_maps(&fixture);
    fixture.finish();
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
