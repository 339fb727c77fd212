//! Lovász, SSIM and compound losses against kornia, smp, piq, torchmetrics, scikit-image, MONAI and nnU-Net.

mod common;

use common::{Case, Fixture, assert_close, device, tolerance, value_and_grad};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    AsymmetricFocalLoss, AsymmetricFocalTverskyLoss, BasnetHybridLoss, ClDiceLoss, ComboLoss,
    DiceBceLoss, DiceCeLoss, DiceClDiceLoss, DiceFocalLoss, DiceTopKLoss,
    ExponentialLogarithmicLoss, Loss, LovaszHingeLoss, LovaszSoftmaxLoss, MsSsimLoss, SsimLoss,
    StructuralCorrelationLoss, TopKCrossEntropyLoss, Unet3PlusHybridLoss, UnifiedFocalLoss,
    metrics::{MS_SSIM_WEIGHTS, SsimOptions, SsimPadding, ms_ssim, ssim, ssim_map},
    segmentation::{Aggregate, DeepSupervision, Nonlinearity, SupervisionWeights},
};

const BOTH: [Kind; 2] = [Kind::Double, Kind::Float];

fn own(case: &Case, name: &str) -> Tensor {
    case.get(name).shallow_clone()
}

fn numbers(case: &Case, name: &str) -> Vec<f64> {
    case.get(name).to_kind(Kind::Double).try_into().unwrap()
}

fn forward(loss: &dyn Loss, case: &Case) -> Tensor {
    loss.forward(case.get("input"), case.get("target"))
}

fn weighted(loss: &dyn Loss, case: &Case) -> Tensor {
    loss.forward_weighted(case.get("input"), case.get("target"), case.get("pixel"))
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
    let aggregates = [("batch", Aggregate::Batch), ("image", Aggregate::PerImage)];

    check("hinge_kornia", &|c| forward(&LovaszHingeLoss::kornia(), c));
    for (name, aggregate) in aggregates {
        let loss = LovaszHingeLoss::default().ignore_index(255).aggregate(aggregate);
        check_single(&format!("hinge_smp_{name}"), &|c| forward(&loss, c));
    }
    check("hinge_pixel_weight", &|c| weighted(&LovaszHingeLoss::kornia(), c));
    check("hinge_per_class", &|c| forward(&LovaszHingeLoss::kornia().per_class(true), c));

    check("softmax_kornia", &|c| forward(&LovaszSoftmaxLoss::kornia(), c));
    check("softmax_kornia_weight", &|c| {
        forward(&LovaszSoftmaxLoss::kornia().class_weights(numbers(c, "weight")), c)
    });
    check("softmax_kornia_volume", &|c| forward(&LovaszSoftmaxLoss::kornia(), c));
    let ignoring = LovaszSoftmaxLoss::default().ignore_index(255);
    for (name, aggregate) in aggregates {
        let loss = ignoring.clone().aggregate(aggregate);
        check_single(&format!("softmax_smp_{name}"), &|c| forward(&loss, c));
    }
    for (name, reduction) in [("", Reduction::Mean), ("_none", Reduction::None)] {
        let loss = ignoring.clone().aggregate(Aggregate::PerImage).reduction(reduction);
        check(&format!("softmax_pixel_weight{name}"), &|c| {
            weighted(&loss.clone().class_weights(numbers(c, "weight")), c)
        });
    }
    fixture.finish();
}

/// An image that the exporter makes too.
fn waves(height: i64, width: i64, phase: f64) -> Tensor {
    let count = |n| Tensor::arange(n, (Kind::Double, device()));
    let down = (count(height) * 0.37 + phase).sin() * 0.25;
    let across = (count(width) * (0.23 * (1.0 + phase))).cos() * 0.25;
    (down.view([1, 1, -1, 1]) + across.view([1, 1, 1, -1])) + 0.5
}

#[test]
fn structural_similarity() {
    let fixture = Fixture::open("ssim");
    let check = |name: &str, f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
        let of_case = |c: &Case| f(c.get("input"), c.get("target"));
        fixture.parity(name, &["input", "target"], of_case);
    };
    let per_image = |options: SsimOptions| {
        move |x: &Tensor, y: &Tensor| ssim(x, y, options).mean_dim(1, false, None::<Kind>)
    };
    let wang = SsimOptions::new(1.0);
    check("wang_piq", &per_image(wang));
    check("wang_kornia", &|x, y| ssim_map(x, y, wang));
    check("reflect_torchmetrics", &per_image(SsimOptions::torchmetrics(1.0)));
    let seven = wang.padding(SsimPadding::Reflect).kernel_size(7);
    check("reflect_kornia", &|x, y| ssim_map(x, y, seven));
    let options = SsimOptions::new(255.0).kernel_size(5).sigma(0.9).k1(0.02).k2(0.05);
    check("options_piq", &per_image(options));
    fixture.parity("zeros", &["input"], |c| {
        ssim_map(c.get("input"), c.get("target"), SsimOptions::basnet())
    });
    for (name, options) in [("wang_skimage", wang), ("skimage_defaults", SsimOptions::skimage(1.0))]
    {
        fixture.parity(name, &[], |c| ssim(c.get("input"), c.get("target"), options));
    }
    let reflecting = SsimLoss::new(SsimOptions::torchmetrics(1.0));
    fixture.parity("loss_kornia", &["input"], |c| forward(&reflecting, c));
    fixture.parity("loss_weighted", &["input", "target"], |c| {
        let loss = SsimLoss::new(wang.kernel_size(5));
        loss.forward_weighted(c.get("input"), c.get("target"), c.get("weight"))
    });

    let small = wang.kernel_size(3).sigma(0.8);
    fixture.parity("ms_piq", &["input"], |c| forward(&MsSsimLoss::new(small), c));
    check("ms_piq_three_scales", &|x, y| {
        MsSsimLoss::new(small).weights([0.2, 0.5, 0.3]).forward(x, y)
    });
    check("ms_odd_and_even", &|x, y| ms_ssim(x, y, small, &[0.3, 0.7]));
    let large = fixture.case("ms_piq_large", Kind::Double);
    for kind in BOTH {
        let [x, y] = [0.1, 0.4].map(|phase| waves(179, 163, phase).to_kind(kind));
        let (value, grad) =
            value_and_grad(&x, |x| ms_ssim(x, &y, wang, &MS_SSIM_WEIGHTS).mean(None::<Kind>));
        assert_close("all scales", &value, large.get("value"), tolerance(kind));
        let grad = grad.view([179, 163]).slice(0, 0, None, 17).slice(1, 0, None, 13);
        assert_close("all scales, gradient", &grad, large.get("grad"), tolerance(kind));
    }
    fixture.finish();
}

#[test]
fn compounds() {
    let fixture = Fixture::open("compound");
    let check = |name: &str, loss: &dyn Loss| {
        fixture.parity(name, &["input"], |c| forward(loss, c));
    };
    let check_weighted = |name: &str, loss: &dyn Loss| {
        fixture.parity(name, &["input"], |c| weighted(loss, c));
    };
    check("focal_monai", &AsymmetricFocalLoss::monai().delta(0.6).gamma(1.5));
    let tversky = AsymmetricFocalTverskyLoss::default().apply_nonlin(Nonlinearity::None);
    check("focal_tversky_monai", &tversky.delta(0.6).gamma(0.4));
    check("unified_monai", &UnifiedFocalLoss::monai().weight(0.3));
    check("unified_monai_one_map", &UnifiedFocalLoss::monai().weight(0.3).gamma(0.2));
    let unified = UnifiedFocalLoss::default().weight(0.3).gamma(0.4);
    for target in ["index", "soft"] {
        check(&format!("unified_asymmetric_{target}"), &unified);
        check(&format!("unified_symmetric_{target}"), &unified.clone().symmetric(true));
    }
    check("unified_sigmoid", &unified.apply_nonlin(Nonlinearity::Sigmoid));

    let exp_log = ExponentialLogarithmicLoss::default();
    fixture.parity("exp_log_index", &["input"], |c| {
        let loss = exp_log.clone().gamma_cross(0.4).frequencies(numbers(c, "frequencies"));
        weighted(&loss, c)
    });
    let batch = exp_log.clone().aggregate(Aggregate::Batch).gamma_dice(0.5).gamma_cross(2.0);
    check("exp_log_soft_batch", &batch);
    check("exp_log_sigmoid", &exp_log.apply_nonlin(Nonlinearity::Sigmoid));

    let combo = ComboLoss::default().alpha(0.3).beta(0.7);
    let images = combo.clone().aggregate(Aggregate::PerImage);
    check_weighted("combo_softmax_index", &combo.apply_nonlin(Nonlinearity::Softmax));
    check_weighted("combo_sigmoid_labels", &images);
    check("combo_sigmoid_index", &ComboLoss::default().alpha(0.6).beta(0.2));
    check("combo_probabilities", &ComboLoss::default().apply_nonlin(Nonlinearity::None));

    let ssl = StructuralCorrelationLoss::default();
    check("ssl", &ssl);
    let wide = ssl.beta(0.3).kernel_size(5).constant(0.05).detach_error(true);
    check_weighted("ssl_pixel_weight", &wide);

    let check_single = |name: &str, loss: &dyn Loss| {
        fixture.parity_within(name, &["input"], &BOTH, single, |c| forward(loss, c));
    };
    check("dice_ce_monai", &DiceCeLoss::monai().lambda_dice(0.7).lambda_ce(1.3));
    check("dice_ce_nnunet", &DiceCeLoss::nnunet().lambda_dice(1.3).lambda_ce(0.7));
    check("dice_ce_nnunet_ignore", &DiceCeLoss::nnunet().ignore_index(9));
    let top_k = DiceTopKLoss::nnunet().top_k(TopKCrossEntropyLoss::default().k(30.0));
    check("dice_top_k_nnunet", &top_k.lambda_dice(1.3).lambda_ce(0.7));
    check_single("dice_bce_nnunet", &DiceBceLoss::nnunet().lambda_dice(1.3).lambda_bce(0.7));
    check_weighted("dice_bce_masked", &DiceBceLoss::nnunet());
    let focal = DiceFocalLoss::monai().gamma(1.5).lambda_dice(0.7).lambda_focal(1.3);
    check_single("dice_focal_monai", &focal);
    check_single("dice_focal_softmax", &DiceFocalLoss::default());
    let cl_dice = DiceClDiceLoss::monai().cl_dice(ClDiceLoss::monai().iterations(2));
    check("dice_cl_dice_monai", &cl_dice.alpha(0.3));
    check("basnet", &BasnetHybridLoss::default().lambda_ssim(0.7).lambda_iou(1.3));
    let scales = MsSsimLoss::new(SsimOptions::new(1.0).kernel_size(5)).weights([0.4, 0.6]);
    let hybrid = Unet3PlusHybridLoss::default().ms_ssim(scales);
    check("unet3plus", &hybrid.lambda_ms_ssim(0.7).lambda_iou(1.3));

    let loss = DiceCeLoss::monai();
    let names = ["input0", "input1", "input2", "input3", "input4", "input5"];
    let outputs = |c: &Case, count| names[..count].iter().map(|n| own(c, n)).collect::<Vec<_>>();
    for (name, weights) in [
        ("deep_exp", SupervisionWeights::Exp),
        ("deep_same", SupervisionWeights::Same),
        ("deep_two", SupervisionWeights::Two),
    ] {
        let deep = DeepSupervision::new(loss.clone()).weights(weights);
        fixture.parity_within(name, &names, &BOTH, single, |c| {
            deep.forward(&outputs(c, 6), c.get("target")).total
        });
    }
    let deep = DeepSupervision::new(loss).weights(SupervisionWeights::NnUnet);
    fixture.parity("deep_nnunet", &names[..2], |c| {
        let targets = ["target0", "target1", "target2"].map(|name| own(c, name));
        deep.forward_targets(&outputs(c, 3), &targets).total
    });
    fixture.finish();
}
