//! Regression losses, norms and YOLO's box regression against PyTorch, Keras, kornia and
//! pytorch-toolbelt.

mod common;

use common::{Case, Fixture};
use tch::{Kind, Tensor};
use tch_losses::{
    BalancedL1Loss, CharbonnierLoss, CosineEmbeddingLoss, CosineSimilarityLoss, GaussianNllLoss,
    HuberLoss, L1Loss, LogCoshLoss, Loss, MapeLoss, MseLoss, MsleLoss, PoissonNllLoss,
    QuantileLoss, Reduction, RmseLoss, SmoothL1Loss,
    detection::{BoxSize, YoloBoxLoss},
    regression::{l0_norm, l1_norm, l2_norm, lp_norm},
};

const REDUCTIONS: [(&str, Reduction); 3] =
    [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)];

fn forward(loss: &dyn Loss, case: &Case) -> Tensor {
    loss.forward(case.get("input"), case.get("target"))
}

fn weighted(loss: &dyn Loss, case: &Case) -> Tensor {
    loss.forward_weighted(case.get("input"), case.get("target"), case.get("weight"))
}

/// The cases `name_mean`, `name_sum` and `name_none` of a loss made for each reduction.
macro_rules! every_reduction {
    ($fixture:expr, $name:expr, $loss:expr) => {
        for (reduction_name, reduction) in REDUCTIONS {
            let loss = $loss.reduction(reduction);
            let name = format!("{}_{reduction_name}", $name);
            $fixture.parity(&name, &["input"], |case| forward(&loss, case));
        }
    };
}

fn elementwise(fixture: &Fixture) {
    let check = |name: &str, loss: &dyn Loss| {
        fixture.parity(name, &["input"], |case| forward(loss, case));
    };
    let check_weighted = |name: &str, loss: &dyn Loss| {
        fixture.parity(name, &["input"], |case| weighted(loss, case));
    };
    every_reduction!(fixture, "l1", L1Loss::default());
    check_weighted("l1_weighted", &L1Loss::default());
    every_reduction!(fixture, "mse", MseLoss::default());
    check_weighted("mse_weighted", &MseLoss::default());
    check("rmse", &RmseLoss::default());
    check_weighted("rmse_weighted", &RmseLoss::default());
    every_reduction!(fixture, "rmse_per_sample", RmseLoss::default().per_sample(true));
    check_weighted("rmse_per_sample_weighted", &RmseLoss::default().per_sample(true));

    let huber = HuberLoss::default().delta(0.7);
    every_reduction!(fixture, "huber", huber.clone());
    check_weighted("huber_weighted", &huber);
    for (name, beta) in [("smooth_l1", 0.4), ("smooth_l1_beta_0", 0.0)] {
        let smooth = SmoothL1Loss::default().beta(beta);
        every_reduction!(fixture, name, smooth.clone());
        check_weighted(&format!("{name}_weighted"), &smooth);
    }

    every_reduction!(fixture, "log_cosh", LogCoshLoss::default());
    check_weighted("log_cosh_weighted", &LogCoshLoss::default());
    check("log_cosh_toolbelt", &LogCoshLoss::default());

    check("charbonnier_kornia", &CharbonnierLoss::kornia());
    check("charbonnier_basicsr", &CharbonnierLoss::basicsr());
    let charbonnier = CharbonnierLoss::default().eps(0.3);
    every_reduction!(fixture, "charbonnier", charbonnier.clone());
    check_weighted("charbonnier_weighted", &charbonnier);
    check_weighted("charbonnier_offset_weighted", &charbonnier.offset(true));

    every_reduction!(fixture, "balanced_l1", BalancedL1Loss::default());
    let balanced = BalancedL1Loss::default().alpha(0.3).gamma(1.1).beta(0.6);
    check("balanced_l1_options_none", &balanced.clone().reduction(Reduction::None));
    check_weighted("balanced_l1_weighted", &balanced);

    let quantile = QuantileLoss::default().quantile(0.3);
    every_reduction!(fixture, "quantile", quantile.clone());
    check_weighted("quantile_weighted", &quantile);
    check("quantile_0.9_none", &quantile.quantile(0.9).reduction(Reduction::None));

    every_reduction!(fixture, "mape", MapeLoss::default());
    check_weighted("mape_weighted", &MapeLoss::default());
    check("mape_eps_none", &MapeLoss::default().eps(0.5).reduction(Reduction::None));
    every_reduction!(fixture, "msle", MsleLoss::default());
    check_weighted("msle_weighted", &MsleLoss::default());
}

fn likelihoods(fixture: &Fixture) {
    for (name, full) in [("poisson", false), ("poisson_full", true)] {
        let poisson = PoissonNllLoss::default().full(full);
        every_reduction!(fixture, name, poisson.clone());
        fixture.parity(&format!("{name}_weighted"), &["input"], |case| weighted(&poisson, case));
    }
    let rate = PoissonNllLoss::default().log_input(false);
    every_reduction!(fixture, "poisson_rate", rate.clone().eps(0.01));
    every_reduction!(fixture, "poisson_rate_full", rate.clone().eps(0.01).full(true));
    fixture.parity("poisson_rate_weighted", &["input"], |case| weighted(&rate, case));
    fixture
        .parity("poisson_keras_mean", &["input"], |case| forward(&PoissonNllLoss::keras(), case));

    for name in ["same", "channel", "last", "without_last"] {
        for (reduction_name, reduction) in REDUCTIONS {
            let gaussian = GaussianNllLoss::default().reduction(reduction);
            let gaussian = if name == "same" { gaussian.full(true).eps(0.5) } else { gaussian };
            let name = format!("gaussian_{name}_{reduction_name}");
            fixture.parity(&name, &["input", "variance"], |case| {
                let [input, target, variance] =
                    ["input", "target", "variance"].map(|name| case.get(name));
                gaussian.forward_with_variance(input, target, variance)
            });
        }
    }
    let gaussian = GaussianNllLoss::default().eps(0.5);
    every_reduction!(fixture, "gaussian_log_variance", gaussian.clone());
    fixture.parity("gaussian_log_variance_weighted", &["input"], |case| weighted(&gaussian, case));
    every_reduction!(fixture, "gaussian_variance", gaussian.clone().log_variance(false).full(true));
}

fn cosines(fixture: &Fixture) {
    every_reduction!(fixture, "cosine_channels", CosineSimilarityLoss::default());
    every_reduction!(fixture, "cosine_last", CosineSimilarityLoss::default().dim(-1));
    let cosine = CosineSimilarityLoss::default();
    fixture.parity("cosine_weighted", &["input"], |case| weighted(&cosine, case));
    let keras = CosineSimilarityLoss::keras();
    fixture.parity("cosine_keras_mean", &["input"], |case| forward(&keras, case));
    // The input is shorter than eps, the target longer.
    let eps = CosineSimilarityLoss::default().eps(2.0).reduction(Reduction::None);
    fixture.parity("cosine_eps", &["input"], |case| {
        let target = case.get("target");
        let long = target / l2_norm(target, &[1], true) * 3.0;
        eps.forward(&(case.get("input") * 0.1), &long)
    });
    for (name, reduction) in REDUCTIONS {
        let embedding = CosineEmbeddingLoss::default().margin(0.2).reduction(reduction);
        fixture.parity(&format!("cosine_embedding_{name}"), &["input1", "input2"], |case| {
            embedding.forward(case.get("input1"), case.get("input2"), case.get("label"))
        });
    }
}

fn norms(fixture: &Fixture) {
    for p in ["0.5", "1", "1.5", "2", "3", "6", "inf"] {
        for (name, dims, keepdim) in
            [("channels", &[1i64][..], false), ("inner", &[1, 2], true), ("all", &[], false)]
        {
            let name = format!("norm_{p}_{name}");
            fixture.parity(&name, &["x"], |case| {
                lp_norm(case.get("x"), p.parse().unwrap(), dims, keepdim)
            });
            match p {
                "1" => {
                    fixture.parity(&name, &["x"], |case| l1_norm(case.get("x"), dims, keepdim));
                }
                "2" => {
                    fixture.parity(&name, &["x"], |case| l2_norm(case.get("x"), dims, keepdim));
                }
                _ => {}
            }
        }
    }
    fixture.parity("norm_0", &[], |case| l0_norm(case.get("x"), &[1, 2], false));
}

fn yolo_boxes(fixture: &Fixture) {
    every_reduction!(fixture, "yolo_v1", YoloBoxLoss::v1());
    every_reduction!(fixture, "yolo_v2", YoloBoxLoss::v2());
    let linear = YoloBoxLoss::v2().size(BoxSize::Linear).lambda_coord(2.0);
    fixture.parity("yolo_linear_none", &["input"], |case| {
        forward(&linear.clone().reduction(Reduction::None), case)
    });
    fixture.parity("yolo_weighted", &["input"], |case| weighted(&YoloBoxLoss::default(), case));
}

#[test]
fn regression() {
    let fixture = Fixture::open("regression");
    elementwise(&fixture);
    likelihoods(&fixture);
    cosines(&fixture);
    norms(&fixture);
    yolo_boxes(&fixture);
    fixture.finish();
}

/// Keras computes it in Float.
#[test]
fn msle_of_doubles_stays_double() {
    let (x, t) = (common::tensor(&[1.0], &[1]), common::tensor(&[2.0], &[1]));
    let loss = MsleLoss::default().forward(&x, &t);
    assert_eq!(loss.kind(), Kind::Double);
    common::assert_value("msle", &loss, 1.5f64.ln().powi(2), 1e-15);
}
