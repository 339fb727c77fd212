//! Cross entropy, binary cross entropy and focal losses against PyTorch, torchvision and timm.

mod common;

use common::{Case, Fixture};
use tch::Tensor;
use tch_losses::{
    BceLoss, BceWithLogitsLoss, CrossEntropyLoss, FocalLoss, LabelSmoothing, Loss, MeanOver,
    Reduction, SoftmaxFocalLoss,
};

fn own(case: &Case, name: &str) -> Tensor {
    case.get(name).shallow_clone()
}

fn forward(loss: &dyn Loss, case: &Case) -> Tensor {
    loss.forward(case.get("input"), case.get("target"))
}

#[test]
fn classification() {
    let fixture = Fixture::open("classification");
    let check = |name: &str, f: &dyn Fn(&Case) -> Tensor| fixture.parity(name, &["input"], f);

    for shape in ["nc", "nchw", "ncdhw"] {
        let smoothed = |case: &Case| {
            CrossEntropyLoss::default().weight(own(case, "weight")).label_smoothing(0.1)
        };
        for (name, reduction) in
            [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)]
        {
            check(&format!("ce_{shape}_{name}"), &|case| {
                forward(&smoothed(case).reduction(reduction), case)
            });
        }
        check(&format!("ce_{shape}_plain"), &|case| forward(&CrossEntropyLoss::default(), case));
        check(&format!("ce_{shape}_probabilities"), &|case| {
            forward(&smoothed(case).label_smoothing(0.2), case)
        });
        check(&format!("ce_{shape}_element_weight"), &|case| {
            let loss = CrossEntropyLoss::default().weight(own(case, "weight"));
            loss.forward_weighted(case.get("input"), case.get("target"), case.get("pixel"))
        });
        for gamma in ["0.0", "0.5", "2.0"] {
            check(&format!("softmax_focal_{shape}_{gamma}"), &|case| {
                let loss = SoftmaxFocalLoss::default().gamma(gamma.parse().unwrap());
                forward(&loss.alpha(own(case, "alpha")), case)
            });
        }
    }
    check("label_smoothing", &|case| forward(&LabelSmoothing::default(), case));

    for (name, reduction) in
        [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)]
    {
        check(&format!("bce_logits_{name}"), &|case| {
            let loss = BceWithLogitsLoss::default().pos_weight(own(case, "pos_weight"));
            forward(&loss.reduction(reduction), case)
        });
    }
    for (name, mean_over) in [("elements", MeanOver::Elements), ("weights", MeanOver::Weights)] {
        check(&format!("bce_logits_weight_over_{name}"), &|case| {
            let loss = BceWithLogitsLoss::default().weight(own(case, "weight"));
            forward(&loss.mean_over(mean_over), case)
        });
    }
    check("bce_logits_smoothed", &|case| {
        forward(&BceWithLogitsLoss::default().label_smoothing(0.1), case)
    });
    check("bce", &|case| forward(&BceLoss::default(), case));

    for kind in ["hard", "soft"] {
        for (gamma, alpha) in [
            ("2.0", Some(0.25)),
            ("1.5", Some(0.7)),
            ("1.0", None),
            ("0.0", Some(0.25)),
            ("0.5", Some(0.25)),
        ] {
            let loss = FocalLoss::torchvision().gamma(gamma.parse().unwrap()).alpha(alpha);
            check(&format!("focal_{kind}_{gamma}"), &|case| forward(&loss, case));
        }
    }
    check("focal_pos_weight", &|case| {
        forward(&FocalLoss::yolov5().pos_weight(own(case, "pos_weight")), case)
    });
    fixture.finish();
}
