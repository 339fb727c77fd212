//! Soft Dice and its statistics against nnU-Net's code, value and gradient.

mod common;

use common::Fixture;
use tch::Tensor;
use tch_losses::{
    Loss, SoftDiceLoss,
    segmentation::{Nonlinearity, StatisticsOptions, tp_fp_fn},
};

#[test]
fn soft_dice_matches_nnunet_for_every_option() {
    let fixture = Fixture::open("dice");
    let spaces_nonlins_targets = [
        ("2d", "softmax", "index"),
        ("2d", "softmax", "onehot"),
        ("2d", "softmax", "soft"),
        ("2d", "sigmoid", "labels"),
        ("2d", "none", "index"),
        ("2d", "none", "soft"),
        ("3d", "softmax", "index"),
        ("3d", "softmax", "soft"),
        ("3d", "sigmoid", "labels"),
    ];
    let options = [
        (false, true, false),
        (false, false, false),
        (true, true, false),
        (true, false, false),
        (false, true, true),
        (true, false, true),
    ];
    for (space, nonlin, target) in spaces_nonlins_targets {
        let apply_nonlin = match nonlin {
            "softmax" => Nonlinearity::Softmax,
            "sigmoid" => Nonlinearity::Sigmoid,
            _ => Nonlinearity::None,
        };
        for (batch, bg, square) in options {
            let loss = SoftDiceLoss::default()
                .apply_nonlin(apply_nonlin)
                .batch_dice(batch)
                .do_bg(bg)
                .square(square)
                .smooth(0.7);
            let marks = format!(
                "{}_{}_{}",
                if batch { "batch" } else { "image" },
                if bg { "bg" } else { "nobg" },
                if square { "square" } else { "plain" }
            );
            fixture.parity(&format!("{space}_{nonlin}_{target}_whole_{marks}"), &["input"], |c| {
                loss.forward(c.get("input"), c.get("target"))
            });
            fixture.parity(&format!("{space}_{nonlin}_{target}_masked_{marks}"), &["input"], |c| {
                loss.forward_weighted(c.get("input"), c.get("target"), c.get("loss_mask"))
            });
        }
    }

    let labels = SoftDiceLoss::nnunet();
    let regions = SoftDiceLoss::nnunet().apply_nonlin(Nonlinearity::Sigmoid).do_bg(true);
    for (case, loss) in [
        ("nnunet_batch", labels.clone()),
        ("nnunet_image", labels.clone().batch_dice(false)),
        ("nnunet_batch_ignored", labels.clone().ignore_index(9)),
        ("nnunet_image_ignored", labels.batch_dice(false).ignore_index(9)),
        ("nnunet_regions", regions),
    ] {
        fixture.parity(case, &["input"], |c| loss.forward(c.get("input"), c.get("target")));
    }

    for target in ["index", "soft"] {
        for square in [false, true] {
            for batch in [false, true] {
                let marks = format!(
                    "{}_{}",
                    if square { "square" } else { "plain" },
                    if batch { "batch" } else { "image" }
                );
                fixture.parity(&format!("statistics_{target}_{marks}"), &["input"], |c| {
                    let options = StatisticsOptions::default()
                        .loss_mask(c.get("loss_mask"))
                        .square(square)
                        .batch(batch);
                    let got = tp_fp_fn(c.get("input"), c.get("target"), options);
                    Tensor::stack(&[got.tp, got.fp, got.fn_], 0)
                });
            }
        }
    }
    fixture.finish();
}
