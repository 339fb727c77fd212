//! The kin of cross entropy against Keras, PyTorch, timm, nnU-Net and pytorch-toolbelt, and against
//! derivations from the formulas where no package has them.

mod common;

use common::{Case, Fixture, assert_close, tolerance};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    AsymmetricLossMultiLabel, AsymmetricLossSingleLabel, BalancedBceWithLogitsLoss, BceLoss,
    BceWithLogitsLoss, BinaryFocalCrossEntropyLoss, CategoricalCrossEntropyLoss,
    CategoricalFocalCrossEntropyLoss, CategoricalHingeLoss, GeneralizedCrossEntropyLoss,
    HingeEmbeddingLoss, HingeLoss, JsDivLoss, JsdCrossEntropy, KlDivLoss, Loss, MarginRankingLoss,
    MatrixCrossEntropyLoss, MeanOver, MultiLabelMarginLoss, MultiLabelSoftMarginLoss,
    MultiMarginLoss, NllLoss, OneVsRestBceLoss, PolyBceWithLogitsLoss, PolyCrossEntropyLoss,
    SoftMarginLoss, SoftTargetCrossEntropy, TopKCrossEntropyLoss,
    classification::{
        Balance, BinaryLabels, Distribution, effective_number_weights, inverse_frequency_weights,
        log_softmax_with_temperature, negatives_per_positive, softmax_with_temperature,
    },
};

const REDUCTIONS: [(&str, Reduction); 3] =
    [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)];

fn own(case: &Case, name: &str) -> Tensor {
    case.get(name).shallow_clone()
}

fn check(fixture: &Fixture, case: &str, loss: impl Loss) {
    fixture.parity(case, &["input"], |case| loss.forward(case.get("input"), case.get("target")));
}

/// A loss that is made of the case's tensors.
fn check_with<L: Loss>(fixture: &Fixture, case: &str, loss: impl Fn(&Case) -> L) {
    let forward = |case: &Case| loss(case).forward(case.get("input"), case.get("target"));
    fixture.parity(case, &["input"], forward);
}

#[test]
fn keras() {
    let fixture = Fixture::open("keras_classification");
    for shape in ["nc", "nchw"] {
        for target in ["one_hot", "soft"] {
            for smoothing in ["0.0", "0.2"] {
                let loss = CategoricalCrossEntropyLoss::default()
                    .label_smoothing(smoothing.parse().unwrap());
                check(&fixture, &format!("cce_{shape}_{target}_{smoothing}"), loss);
            }
            let focal = CategoricalFocalCrossEntropyLoss::default().alpha(0.375).gamma(1.5);
            check(&fixture, &format!("focal_{shape}_{target}"), focal);
        }
        let sparse = CategoricalCrossEntropyLoss::default().ignore_index(255);
        check(&fixture, &format!("sparse_{shape}"), sparse);
    }
    check_with(&fixture, "focal_alphas", |case| {
        let focal = CategoricalFocalCrossEntropyLoss::default().alpha(own(case, "alpha"));
        focal.gamma(0.5).label_smoothing(0.1)
    });
    for q in ["0.375", "0.75", "1.0"] {
        let loss = GeneralizedCrossEntropyLoss::keras().q(q.parse().unwrap());
        check(&fixture, &format!("gce_{q}"), loss);
    }
    check(&fixture, "kld", KlDivLoss::keras());
    for target in ["hard", "soft"] {
        for smoothing in ["0.0", "0.2"] {
            let loss = BceLoss::keras().label_smoothing(smoothing.parse().unwrap());
            check(&fixture, &format!("bce_{target}_{smoothing}"), loss);
        }
        let focal = BinaryFocalCrossEntropyLoss::default();
        check(&fixture, &format!("binary_focal_{target}_2.0"), focal.clone());
        let balanced = focal.gamma(1.5).alpha(0.375).label_smoothing(0.1);
        check(&fixture, &format!("binary_focal_{target}_1.5"), balanced);
    }
    // 1 - 1e-7 is no number in Float.
    let ends: [(&str, Box<dyn Loss>); 2] = [
        ("bce_ends", Box::new(BceLoss::keras())),
        ("binary_focal_ends", Box::new(BinaryFocalCrossEntropyLoss::default())),
    ];
    for (case, loss) in ends {
        let forward = |case: &Case| loss.forward(case.get("input"), case.get("target"));
        fixture.parity_within(case, &["input"], &[Kind::Double], tolerance, forward);
    }
    for (name, labels) in [("signs", BinaryLabels::Signs), ("zero_one", BinaryLabels::ZeroOne)] {
        check(&fixture, &format!("hinge_{name}"), HingeLoss::default().labels(labels));
        check(&fixture, &format!("squared_hinge_{name}"), HingeLoss::squared().labels(labels));
    }
    check(&fixture, "categorical_hinge", CategoricalHingeLoss::default());
    fixture.finish();
}

#[test]
fn margins() {
    let fixture = Fixture::open("margins");
    for (name, reduction) in REDUCTIONS {
        let soft = SoftMarginLoss::default().reduction(reduction);
        check(&fixture, &format!("soft_margin_{name}"), soft);
        let embedding = HingeEmbeddingLoss::default().margin(0.8).reduction(reduction);
        check(&fixture, &format!("hinge_embedding_{name}"), embedding);
        let ranking = MarginRankingLoss::default().margin(0.3).reduction(reduction);
        fixture.parity(&format!("margin_ranking_{name}"), &["input", "other"], |case| {
            ranking.forward(case.get("input"), case.get("other"), case.get("target"))
        });
        for p in [1, 2] {
            check_with(&fixture, &format!("multi_margin_{p}_{name}"), |case| {
                let loss = MultiMarginLoss::default().p(p).margin(0.7).reduction(reduction);
                loss.weight(own(case, "weight"))
            });
        }
        let labels = MultiLabelMarginLoss::default().reduction(reduction);
        check(&fixture, &format!("multi_label_margin_{name}"), labels);
        check_with(&fixture, &format!("multi_label_soft_margin_{name}"), |case| {
            MultiLabelSoftMarginLoss::default().reduction(reduction).weight(own(case, "weight"))
        });
    }
    for p in [1, 2] {
        check(&fixture, &format!("multi_margin_{p}"), MultiMarginLoss::default().p(p));
    }
    fixture.finish();
}

#[test]
fn kin() {
    let fixture = Fixture::open("classification_kin");
    one_label(&fixture);
    many_labels(&fixture);
    divergences(&fixture);
    matrix(&fixture);
    class_weights(&fixture);
    fixture.finish();
}

fn one_label(fixture: &Fixture) {
    check(fixture, "soft_target", SoftTargetCrossEntropy::default());

    let bce = OneVsRestBceLoss::default;
    check(fixture, "one_vs_rest_plain", bce());
    check(fixture, "one_vs_rest_sum_classes", bce().label_smoothing(0.2).sum_classes(true));
    check(fixture, "one_vs_rest_threshold", bce().label_smoothing(0.4).target_threshold(0.3));
    check(fixture, "one_vs_rest_dense", bce().label_smoothing(0.3));
    check(fixture, "one_vs_rest_smooth_dense", bce().label_smoothing(0.3).smooth_dense(true));
    check(fixture, "one_vs_rest_dense_threshold", bce().target_threshold(0.2));
    check_with(fixture, "one_vs_rest_weights", |case| {
        let weighted = bce().weight(own(case, "weight")).pos_weight(own(case, "pos_weight"));
        weighted.mean_over(MeanOver::Elements)
    });

    let asl = AsymmetricLossSingleLabel::default;
    check(fixture, "asl_single_plain", asl());
    check(fixture, "asl_single_focused", asl().gamma_pos(0.5).gamma_neg(2.0));
    check(fixture, "asl_single_sharp", asl().label_smoothing(0.0));

    let poly = PolyCrossEntropyLoss::default;
    check(fixture, "poly_plain", poly());
    check(fixture, "poly_smoothed", poly().epsilon(-0.7).label_smoothing(0.2));
    check(fixture, "poly_soft", poly().epsilon(1.5));

    check(fixture, "jsd", JsdCrossEntropy::default());
    let two = JsdCrossEntropy::default().num_splits(2).alpha(5.0).label_smoothing(0.0);
    check(fixture, "jsd_2", two);
    for q in ["0.2", "0.7"] {
        let loss = GeneralizedCrossEntropyLoss::default().q(q.parse().unwrap());
        check(fixture, &format!("gce_{q}"), loss);
    }

    let top_k = TopKCrossEntropyLoss::default;
    check(fixture, "top_k_10.0", top_k());
    check(fixture, "top_k_35.0", top_k().k(35.0));
    check_with(fixture, "top_k_weight", |case| {
        top_k().k(40.0).label_smoothing(0.1).weight(own(case, "weight"))
    });
    // k percent of what counts, where nnU-Net takes k percent of all.
    check(fixture, "top_k_ignore", top_k().k(35.0));

    for (name, reduction) in REDUCTIONS {
        check_with(fixture, &format!("nll_{name}"), |case| {
            NllLoss::default().weight(own(case, "weight")).reduction(reduction)
        });
    }
    check_with(fixture, "categorical_weight", |case| {
        CategoricalCrossEntropyLoss::default().label_smoothing(0.1).weight(own(case, "weight"))
    });
}

fn many_labels(fixture: &Fixture) {
    let asl = AsymmetricLossMultiLabel::default;
    for target in ["hard", "soft"] {
        check(fixture, &format!("asl_plain_{target}"), asl());
        check(fixture, &format!("asl_unclipped_{target}"), asl().clip(0.0).sum_classes(false));
        let sum = asl().gamma_neg(2.0).gamma_pos(0.0).clip(0.2).reduction(Reduction::Sum);
        check(fixture, &format!("asl_sum_{target}"), sum);
        let none = asl().gamma_pos(0.5).label_smoothing(0.1).reduction(Reduction::None);
        check(fixture, &format!("asl_none_{target}"), none);
        let unfocused = asl().gamma_neg(0.0).gamma_pos(0.0);
        check(fixture, &format!("asl_unfocused_{target}"), unfocused);
        let detached = asl().disable_torch_grad_focal_loss(true);
        check(fixture, &format!("asl_detached_{target}"), detached);

        let poly = PolyBceWithLogitsLoss::default;
        check(fixture, &format!("poly_bce_plain_{target}"), poly());
        let focal = poly().epsilon(-1.0).gamma(2.0).alpha(0.3).label_smoothing(0.1);
        check(fixture, &format!("poly_bce_focal_{target}"), focal);
        let batch_mean = poly().gamma(0.5).sum_classes(true);
        check(fixture, &format!("poly_bce_batchmean_{target}"), batch_mean);
    }
    check_with(fixture, "asl_weights", |case| {
        let weighted = asl().weight(own(case, "weight")).pos_weight(own(case, "pos_weight"));
        weighted.sum_classes(false).mean_over(MeanOver::Elements)
    });
    check_with(fixture, "weighted_bce", |_| {
        BceWithLogitsLoss::default().pos_weight(Tensor::from(2.5).to_device(common::device()))
    });

    let balanced = BalancedBceWithLogitsLoss::default;
    check(fixture, "balanced_batch", balanced().beta(Balance::PerBatch));
    check(fixture, "balanced_image", balanced());
    check(fixture, "balanced_image_soft", balanced());
    check(fixture, "balanced_fixed", balanced().beta(0.8));
    let ignoring = balanced().ignore_index(255);
    check(fixture, "balanced_image_ignore", ignoring.clone());
    check(fixture, "balanced_batch_ignore", ignoring.beta(Balance::PerBatch));
}

fn divergences(fixture: &Fixture) {
    for (name, reduction) in REDUCTIONS {
        check(fixture, &format!("kl_{name}"), KlDivLoss::default().reduction(reduction));
    }
    let batch_mean = KlDivLoss::default().batch_mean(true);
    check(fixture, "kl_batchmean", batch_mean.clone());
    check(fixture, "kl_log_target", batch_mean.clone().log_target(true));
    check(fixture, "kl_logits", batch_mean.input(Distribution::Logits));

    use Distribution::{LogProbabilities, Logits, Probabilities};
    for (name, input, target) in [
        ("logits_probabilities", Logits, Probabilities),
        ("logits_logits", Logits, Logits),
        ("probabilities_probabilities", Probabilities, Probabilities),
        ("log_probabilities", LogProbabilities, LogProbabilities),
    ] {
        let loss = JsDivLoss::default().input(input).target(target);
        fixture.parity(&format!("js_{name}"), &["input", "target"], |case| {
            loss.forward(case.get("input"), case.get("target"))
        });
    }

    fixture.parity("temperature", &["input"], |case| {
        softmax_with_temperature(case.get("input"), 2.5, 1) * case.get("target")
    });
    fixture.parity("log_temperature", &["input"], |case| {
        log_softmax_with_temperature(case.get("input"), 0.4, 1) * case.get("target")
    });
}

fn matrix(fixture: &Fixture) {
    for target in ["index", "soft"] {
        fixture.parity(&format!("matrix_{target}"), &["input"], |case| {
            let before = fixture.case(&format!("matrix_{target}_inputs"), case.get("input").kind());
            let mut loss = MatrixCrossEntropyLoss::default();
            for n in 0..2 {
                loss.update(&before.get("outputs").get(n), &before.get("targets").get(n));
            }
            let kind = case.get("input").kind();
            assert_close(target, loss.matrix().unwrap(), before.get("matrix"), tolerance(kind));
            loss.forward(case.get("input"), &before.get("targets").get(2))
        });
    }
}

fn class_weights(fixture: &Fixture) {
    let close = |method: &str, weights: &dyn Fn(&Tensor) -> Tensor| {
        let case = fixture.case(&format!("class_weights_{method}"), Kind::Double);
        assert_close(method, &weights(case.get("counts")), case.get("value"), (1e-12, 0.0));
    };
    close("inv_freq", &|counts| inverse_frequency_weights(counts, 0.5));
    close("effective_num", &|counts| effective_number_weights(counts, 0.99));
    close("neg_pos", &|counts| negatives_per_positive(counts, 200, 0.5));
}
