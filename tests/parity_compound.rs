//! Lovász, SSIM and compound losses against kornia, smp, piq, torchmetrics, scikit-image, MONAI and nnU-Net.

mod common;

use common::{Case, Fixture, tolerance};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{Loss, LovaszHingeLoss, LovaszSoftmaxLoss};

const BOTH: [Kind; 2] = [Kind::Double, Kind::Float];

fn own(case: &Case, name: &str) -> Tensor {
    case.get(name).shallow_clone()
}

fn forward(loss: &dyn Loss, case: &Case) -> Tensor {
    loss.forward(case.get("input"), case.get("target"))
}

/// The oracle computes in Float.
fn single(_: Kind) -> (f64, f64) {
    tolerance(Kind::Float)
}

#[test]
fn lovasz() {
    let fixture = Fixture::open("lovasz");
    let check = |name: &str, f: &dyn Fn(&Case) -> Tensor| fixture.parity(name, &["input"], f);
    let check_single = |name: &str, f: &dyn Fn(&Case) -> Tensor| {
        fixture.parity_within(name, &["input"], &BOTH, single, f)
    };

    check("hinge_kornia", &|c| forward(&LovaszHingeLoss::kornia(), c));
    let ignoring = LovaszHingeLoss::default().ignore_index(255);
    check_single("hinge_smp_batch", &|c| forward(&ignoring, c));
    check_single("hinge_smp_image", &|c| forward(&ignoring.clone().per_image(true), c));
    check("hinge_pixel_weight", &|c| {
        let loss = LovaszHingeLoss::kornia();
        loss.forward_weighted(c.get("input"), c.get("target"), c.get("pixel"))
    });
    check("hinge_per_class", &|c| forward(&LovaszHingeLoss::kornia().per_class(true), c));

    check("softmax_kornia", &|c| forward(&LovaszSoftmaxLoss::kornia(), c));
    check("softmax_kornia_weight", &|c| {
        forward(&LovaszSoftmaxLoss::kornia().weight(own(c, "weight")), c)
    });
    check("softmax_kornia_volume", &|c| forward(&LovaszSoftmaxLoss::kornia(), c));
    let ignoring = LovaszSoftmaxLoss::default().ignore_index(255);
    check_single("softmax_smp_batch", &|c| forward(&ignoring, c));
    let ignoring = ignoring.per_image(true);
    check_single("softmax_smp_image", &|c| forward(&ignoring, c));
    for (name, reduction) in [("", Reduction::Mean), ("_none", Reduction::None)] {
        check(&format!("softmax_pixel_weight{name}"), &|c| {
            let loss = ignoring.clone().weight(own(c, "weight")).reduction(reduction);
            loss.forward_weighted(c.get("input"), c.get("target"), c.get("pixel"))
        });
    }
    fixture.finish();
}
