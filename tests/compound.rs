//! Laws, gradients, edge cases and errors of the compound segmentation losses.

mod common;

use common::{
    KINDS, assert_close, assert_finite, assert_value, device, gradcheck, gradgradcheck, index,
    leaf, rand, randint, randn, tensor, tolerance, value_and_grad,
};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    AsymmetricFocalLoss, AsymmetricFocalTverskyLoss, BasnetHybridLoss, BceWithLogitsLoss,
    ComboLoss, CrossEntropyLoss, DiceBceLoss, DiceCeLoss, DiceClDiceLoss, DiceFocalLoss, DiceLoss,
    DiceTopKLoss, ExponentialLogarithmicLoss, FocalLoss, JaccardLoss, Loss, MsSsimLoss,
    SoftDiceLoss, SoftmaxFocalLoss, SsimLoss, StructuralCorrelationLoss, TopKCrossEntropyLoss,
    Unet3PlusHybridLoss, UnifiedFocalLoss,
    metrics::SsimOptions,
    segmentation::{Aggregate, DeepSupervision, Nonlinearity, SupervisionWeights},
};

type Named = (String, Box<dyn Loss>);

fn named(loss: impl Loss + 'static) -> Named {
    (format!("{loss:?}"), Box::new(loss))
}

/// Losses of logits (N, 4, ..) and index targets; all ignore 255.
fn of_classes() -> Vec<Named> {
    let mut all = vec![];
    for symmetric in [false, true] {
        let loss = AsymmetricFocalLoss::default().gamma(0.5).symmetric(symmetric);
        all.push(named(loss.ignore_index(255)));
        for aggregate in [Aggregate::PerImage, Aggregate::Batch] {
            let loss = AsymmetricFocalTverskyLoss::default().symmetric(symmetric);
            all.push(named(loss.aggregate(aggregate).ignore_index(255)));
        }
        all.push(named(UnifiedFocalLoss::default().symmetric(symmetric).ignore_index(255)));
    }
    let exp_log = ExponentialLogarithmicLoss::default().ignore_index(255);
    all.push(named(exp_log.clone()));
    all.push(named(exp_log.frequencies([4.0, 2.0, 1.0, 3.0]).aggregate(Aggregate::Batch)));
    for apply_nonlin in [Nonlinearity::Softmax, Nonlinearity::Sigmoid] {
        let combo = ComboLoss::default().alpha(0.3).beta(0.7).apply_nonlin(apply_nonlin);
        all.push(named(combo.ignore_index(255)));
        let ssl = StructuralCorrelationLoss::default().apply_nonlin(apply_nonlin);
        all.push(named(ssl.ignore_index(255)));
    }
    all.push(named(DiceCeLoss::default().lambda_ce(0.5).ignore_index(255)));
    all.push(named(DiceFocalLoss::default().gamma(1.5).ignore_index(255)));
    all.push(named(DiceClDiceLoss::default().alpha(0.3).ignore_index(255)));
    let top_k = TopKCrossEntropyLoss::default().k(40.0);
    all.push(named(DiceTopKLoss::default().top_k(top_k).ignore_index(255)));
    all
}

/// Losses of logits (N, 1, ..) and binary maps; all ignore 255.
fn of_maps() -> Vec<Named> {
    let sigmoid = Nonlinearity::Sigmoid;
    vec![
        named(AsymmetricFocalLoss::default().apply_nonlin(sigmoid).ignore_index(255)),
        named(UnifiedFocalLoss::default().apply_nonlin(sigmoid).ignore_index(255)),
        named(ExponentialLogarithmicLoss::default().apply_nonlin(sigmoid).ignore_index(255)),
        named(ComboLoss::default().beta(0.7).ignore_index(255)),
        named(StructuralCorrelationLoss::default().beta(0.3).ignore_index(255)),
        named(DiceBceLoss::default().ignore_index(255)),
        named(DiceFocalLoss::monai().alpha(0.25).ignore_index(255)),
    ]
}

/// Losses of logits (N, 1, H, W) and binary maps that have no label to ignore.
fn hybrids() -> Vec<Named> {
    let few = MsSsimLoss::new(SsimOptions::new(1.0).kernel_size(3)).weights([0.4, 0.6]);
    vec![named(BasnetHybridLoss::default()), named(Unet3PlusHybridLoss::default().ms_ssim(few))]
}

fn logits(kind: Kind) -> Tensor {
    randn(1, &[2, 4, 6, 5], kind) * 1.5
}

/// Class 3 is absent, four pixels are ignored.
fn classes() -> Tensor {
    let target = randint(2, 3, &[2, 6, 5]);
    let _ = target.view(-1).narrow(0, 3, 4).fill_(255);
    target
}

fn map(kind: Kind) -> Tensor {
    randn(3, &[2, 1, 6, 5], kind) * 1.5
}

fn mask() -> Tensor {
    let target = randint(4, 2, &[2, 1, 6, 5]);
    let _ = target.view(-1).narrow(0, 9, 5).fill_(255);
    target
}

/// Every loss with logits and a target.
fn all(kind: Kind) -> Vec<(Named, Tensor, Tensor)> {
    let of_classes = of_classes().into_iter().map(|loss| (loss, logits(kind), classes()));
    let of_maps = of_maps().into_iter().map(|loss| (loss, map(kind), mask()));
    let hybrids = hybrids().into_iter().map(|loss| {
        // Near the target, so that no scale of MS-SSIM is below 0.
        let target = mask().clamp_max(1);
        (loss, map(kind) * 0.3 + (&target * 4 - 2).to_kind(kind), target)
    });
    of_classes.chain(of_maps).chain(hybrids).collect()
}

fn pixels(target: &Tensor) -> Vec<i64> {
    vec![target.size()[0], 6, 5]
}

fn double(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

#[test]
fn gradients_agree_with_differences() {
    for ((name, loss), x, t) in all(Kind::Double) {
        gradcheck(&name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
        if !name.contains("Unet3Plus") {
            let weight = rand(5, &pixels(&t), Kind::Double);
            gradcheck(&name, &[x], |x| loss.forward_weighted(&x[0], &t, &weight));
        }
    }
    let x = logits(Kind::Double);
    for kept in [
        Box::new(AsymmetricFocalLoss::default().reduction(Reduction::None)) as Box<dyn Loss>,
        Box::new(AsymmetricFocalTverskyLoss::default().reduction(Reduction::None)),
    ] {
        gradcheck("none", &[x.shallow_clone()], |x| kept.forward(&x[0], &classes().clamp_max(3)));
    }
}

#[test]
fn gradients_of_soft_targets_and_probabilities_agree_with_differences() {
    let x = logits(Kind::Double);
    let soft = randn(6, &x.size(), Kind::Double).softmax(1, None::<Kind>);
    for (name, loss) in of_classes() {
        if name.starts_with("DiceTopK") || name.starts_with("DiceFocal") {
            continue; // they take indices
        }
        gradcheck(&format!("{name}, soft"), &[x.shallow_clone()], |x| loss.forward(&x[0], &soft));
    }
    let p = rand(7, &[2, 3, 4, 3], Kind::Double) * 0.8 + 0.1;
    let t = randint(8, 3, &[2, 4, 3]);
    let none = Nonlinearity::None;
    for (name, loss) in [
        named(UnifiedFocalLoss::monai()),
        named(ExponentialLogarithmicLoss::default().apply_nonlin(none)),
        named(ComboLoss::default().apply_nonlin(none)),
        named(StructuralCorrelationLoss::default().apply_nonlin(none)),
    ] {
        gradcheck(&name, &[p.shallow_clone()], |p| loss.forward(&p[0], &t));
    }
}

#[test]
fn losses_can_be_differentiated_twice() {
    let (x, t) = (randn(9, &[2, 3, 4, 3], Kind::Double), randint(10, 3, &[2, 4, 3]));
    for (name, loss) in [
        named(UnifiedFocalLoss::default()),
        named(ExponentialLogarithmicLoss::default()),
        named(ComboLoss::default()),
        named(StructuralCorrelationLoss::default()),
        named(DiceCeLoss::default()),
    ] {
        gradgradcheck(&name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
    }
    let (x, t) = (map(Kind::Double), mask().clamp_max(1));
    gradgradcheck("basnet", &[x], |x| BasnetHybridLoss::default().forward(&x[0], &t));
}

#[test]
fn symmetric_unified_focal_without_gamma_is_cross_entropy_and_dice() {
    let (x, t) = (logits(Kind::Double), classes().clamp_max(3));
    let dice = double(&DiceLoss::default().smooth(2e-7).forward(&x, &t));
    let entropy = double(&CrossEntropyLoss::default().forward(&x, &t));
    let loss = UnifiedFocalLoss::default().symmetric(true).gamma(0.0).delta(0.5).weight(0.3);
    assert_value("loss", &loss.forward(&x, &t), 0.15 * entropy + 0.7 * dice, 1e-9);
}

#[test]
fn unified_focal_is_the_sum_of_its_halves() {
    let (x, t) = (logits(Kind::Double), classes());
    let weight = rand(11, &[2, 6, 5], Kind::Double);
    for symmetric in [false, true] {
        let focal = AsymmetricFocalLoss::default().gamma(0.4).delta(0.6).symmetric(symmetric);
        let tversky =
            AsymmetricFocalTverskyLoss::default().gamma(0.4).delta(0.6).symmetric(symmetric);
        let unified = UnifiedFocalLoss::default().gamma(0.4).symmetric(symmetric).weight(0.3);
        let [focal, tversky] = [
            focal.ignore_index(255).forward_weighted(&x, &t, &weight),
            tversky.ignore_index(255).forward_weighted(&x, &t, &weight),
        ];
        let unified = unified.ignore_index(255).forward_weighted(&x, &t, &weight);
        assert_close("sum", &unified, &(focal * 0.3 + tversky * 0.7), (1e-12, 0.0));
    }
}

#[test]
fn asymmetric_focal_without_gamma_is_weighted_cross_entropy() {
    let (x, t) = (logits(Kind::Double), classes());
    let weights = tensor(&[0.2, 0.8, 0.8, 0.8], &[4]);
    let entropy = CrossEntropyLoss::default().weight(weights).ignore_index(255);
    let entropy = entropy.reduction(Reduction::None).forward(&x, &t);
    let loss = AsymmetricFocalLoss::default().gamma(0.0).delta(0.8).ignore_index(255);
    let got = loss.reduction(Reduction::None).forward(&x, &t);
    assert_close("pixels", &got, &entropy, (1e-12, 0.0));
}

#[test]
fn one_map_is_two_classes_with_the_background_at_zero() {
    let (x, t) = (map(Kind::Double), mask());
    let two = Tensor::cat(&[x.zeros_like(), x.shallow_clone()], 1);
    for (sigmoid, softmax) in [
        (
            named(
                UnifiedFocalLoss::default().apply_nonlin(Nonlinearity::Sigmoid).ignore_index(255),
            ),
            named(UnifiedFocalLoss::default().ignore_index(255)),
        ),
        (
            named(
                ExponentialLogarithmicLoss::default()
                    .apply_nonlin(Nonlinearity::Sigmoid)
                    .ignore_index(255),
            ),
            named(ExponentialLogarithmicLoss::default().ignore_index(255)),
        ),
    ] {
        let expected = softmax.1.forward(&two, &t.squeeze_dim(1));
        assert_close(&sigmoid.0, &sigmoid.1.forward(&x, &t), &expected, (1e-9, 0.0));
        assert_close(&sigmoid.0, &sigmoid.1.forward(&x, &t.squeeze_dim(1)), &expected, (1e-9, 0.0));
    }
    let p = x.sigmoid();
    let two = Tensor::cat(&[1.0 - &p, p.shallow_clone()], 1);
    let loss = UnifiedFocalLoss::monai();
    let t = t.clamp_max(1);
    let expected = loss.forward(&two, &t);
    assert_close("probabilities", &loss.forward(&p, &t), &expected, (1e-12, 0.0));
}

#[test]
fn exponential_logarithmic_with_gamma_1_is_log_dice_and_cross_entropy() {
    let (x, t) = (logits(Kind::Double), classes());
    let loss = ExponentialLogarithmicLoss::default().gamma(1.0).ignore_index(255);
    let dice = DiceLoss::default().log_loss(true).smooth(1.0).ignore_index(255).forward(&x, &t);
    let frequencies = [9.0, 4.0, 2.0, 1.0];
    let weights = frequencies.map(|f: f64| (16.0 / f).sqrt());
    let entropy = CrossEntropyLoss::default().weight(tensor(&weights, &[4])).ignore_index(255);
    let entropy = entropy.reduction(Reduction::Sum).forward(&x, &t) / 56.0;
    let got = loss.frequencies(frequencies).forward(&x, &t);
    assert_close("loss", &got, &(dice * 0.8 + entropy * 0.2), (1e-12, 0.0));
}

#[test]
fn frequencies_are_counted_in_the_batch_where_none_are_given() {
    let (x, t) = (logits(Kind::Double), classes());
    let counts: Vec<f64> = (0..4).map(|c| double(&t.eq(c).sum(Kind::Double)).max(1.0)).collect();
    let total: f64 = double(&t.ne(255).sum(Kind::Double));
    let loss = ExponentialLogarithmicLoss::default().ignore_index(255);
    // Class 3 is nowhere, which leaves its weight out of the loss but not out of the sum.
    let scale = (counts.iter().sum::<f64>() / total).sqrt();
    let given = loss.clone().weight_dice(0.0).frequencies(counts).forward(&x, &t) / scale;
    assert_close("loss", &loss.weight_dice(0.0).forward(&x, &t), &given, (1e-12, 0.0));
}

#[test]
fn combo_is_binary_cross_entropy_less_dice() {
    let (x, t) = (map(Kind::Double), mask());
    let combo = ComboLoss::default().ignore_index(255);
    let bce = BceWithLogitsLoss::default().ignore_index(255).forward(&x, &t);
    let alone = combo.clone().alpha(1.0).forward(&x, &t);
    assert_close("alpha 1", &alone, &(bce * 0.5), (1e-12, 0.0));
    let dice = DiceLoss::default().apply_nonlin(Nonlinearity::Sigmoid).smooth(1.0);
    let dice = dice.aggregate(Aggregate::Batch).ignore_index(255).forward(&x, &t);
    let alone = combo.alpha(0.0).forward(&x, &t);
    assert_close("alpha 0", &alone, &(dice - 1.0), (1e-12, 0.0));
    let perfect = (mask().clamp_max(1) * 200 - 100).to_kind(Kind::Double);
    let loss = ComboLoss::default().alpha(0.3).forward(&perfect, &mask().clamp_max(1));
    assert_value("perfect", &loss, -0.7, 1e-12);
}

#[test]
fn beta_of_combo_weighs_positives_against_negatives() {
    let (x, t) = (map(Kind::Double), mask().clamp_max(1));
    let only = |beta| ComboLoss::default().alpha(1.0).beta(beta);
    let miss = only(1.0).forward(&x, &t);
    let positives = (-x.log_sigmoid() * &t).mean(None::<Kind>);
    assert_close("beta 1", &miss, &positives, (1e-12, 0.0));
    let negatives = ((-&x).log_sigmoid() * (&t - 1)).mean(None::<Kind>);
    assert_close("beta 0", &only(0.0).forward(&x, &t), &negatives, (1e-12, 0.0));
}

#[test]
fn structural_correlation_is_cross_entropy_where_the_structure_is_wrong() {
    // Half of the image is as the target says, half says the opposite.
    let t = Tensor::zeros([1, 1, 8, 16], (Kind::Double, device()));
    let _ = t.narrow(2, 2, 4).narrow(3, 2, 4).fill_(1.0);
    let _ = t.narrow(2, 2, 4).narrow(3, 10, 4).fill_(1.0);
    let x = (&t - 0.5) * 20.0;
    let wrong = x.copy();
    let _ = wrong.narrow(3, 8, 8).neg_();
    let loss = StructuralCorrelationLoss::default();
    assert!(double(&loss.forward(&x, &t)) < 1e-3);
    let (value, grad) = value_and_grad(&wrong, |x| loss.forward(x, &t));
    assert!(double(&value) > 5.0);
    // What is right is below the threshold and gets none but through windows at the seam.
    assert!(double(&grad.narrow(3, 0, 6).abs().max()) == 0.0);
    assert!(double(&grad.narrow(3, 8, 8).abs().max()) > 0.0);
}

#[test]
fn a_detached_error_only_weighs() {
    let (x, t) = (map(Kind::Double), mask().clamp_max(1));
    let loss = StructuralCorrelationLoss::default().beta(0.3);
    let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
    let detached = loss.detach_error(true);
    let (same, other) = value_and_grad(&x, |x| detached.forward(x, &t));
    assert_close("value", &same, &value, (0.0, 0.0));
    assert!(double(&(grad - &other).abs().max()) > 1e-6);
    // Cross entropy by a weight: its gradient has the sign of p - y.
    let sign = (x.sigmoid() - &t).sign() * other.ne(0.0);
    assert_close("sign", &other.sign(), &sign, (0.0, 0.0));
}

#[test]
fn compounds_are_the_sums_of_their_parts() {
    let (x, t) = (logits(Kind::Double), classes());
    let weight = rand(12, &[2, 6, 5], Kind::Double);
    let dice = DiceLoss::default().ignore_index(255);
    let ce = CrossEntropyLoss::default().ignore_index(255).label_smoothing(0.1);
    let sum =
        DiceCeLoss::default().dice(dice.clone()).ce(ce.clone()).lambda_dice(0.3).lambda_ce(2.0);
    let expected = dice.forward(&x, &t) * 0.3 + ce.forward(&x, &t) * 2.0;
    assert_close("dice ce", &sum.forward(&x, &t), &expected, (1e-12, 0.0));
    let expected =
        dice.forward_weighted(&x, &t, &weight) * 0.3 + ce.forward_weighted(&x, &t, &weight) * 2.0;
    let weighted = sum.forward_weighted(&x, &t, &weight);
    assert_close("weighted", &weighted, &expected, (1e-12, 0.0));
    let with_channel = sum.forward_weighted(&x, &t.unsqueeze(1), &weight.unsqueeze(1));
    assert_close("with a channel", &with_channel, &expected, (1e-12, 0.0));

    let focal = SoftmaxFocalLoss::default().ignore_index(255).forward(&x, &t);
    let got = DiceFocalLoss::default().ignore_index(255).forward(&x, &t);
    assert_close("dice focal", &got, &(dice.forward(&x, &t) + focal), (1e-12, 0.0));
    let top_k = TopKCrossEntropyLoss::default().ignore_index(255).forward(&x, &t);
    let got = DiceTopKLoss::default().ignore_index(255).forward(&x, &t);
    assert_close("dice top k", &got, &(dice.forward(&x, &t) + top_k), (1e-12, 0.0));

    let (x, t) = (map(Kind::Double), mask());
    let dice = dice.apply_nonlin(Nonlinearity::Sigmoid);
    let bce = BceWithLogitsLoss::default().ignore_index(255);
    let got = DiceBceLoss::default().ignore_index(255).forward(&x, &t);
    let expected = dice.forward(&x, &t) + bce.forward(&x, &t);
    assert_close("dice bce", &got, &expected, (1e-12, 0.0));
    let focal = FocalLoss::default().alpha(0.25).ignore_index(255).forward(&x, &t);
    let got = DiceFocalLoss::monai().alpha(0.25).ignore_index(255).forward(&x, &t);
    assert_close("sigmoid focal", &got, &(dice.forward(&x, &t) + focal), (1e-6, 0.0));

    let t = t.clamp_max(1);
    let p = x.sigmoid();
    let iou = JaccardLoss::default().smooth(0.0).apply_nonlin(Nonlinearity::None).forward(&p, &t);
    let ssim = SsimLoss::new(SsimOptions::basnet()).forward(&p, &t);
    let bce = BceWithLogitsLoss::default().forward(&x, &t);
    let parts = BasnetHybridLoss::default().lambda_ssim(0.5).forward_parts(&leaf(&x), &t);
    assert_close("basnet", &parts.total, &(bce + &ssim * 0.5 + iou), (1e-12, 0.0));
    assert_close("its part", &parts.named[1].1, &ssim, (1e-12, 0.0));
    assert!(parts.total.requires_grad() && !parts.named[1].1.requires_grad());
}

#[test]
fn nnunets_dice_part_is_that_of_soft_dice() {
    let (x, t) = (logits(Kind::Double), classes().clamp_max(3));
    let expected = SoftDiceLoss::nnunet().forward(&x, &t);
    let got = DiceCeLoss::nnunet().lambda_ce(0.0).forward(&x, &t);
    assert_close("dice", &got, &expected, (1e-9, 0.0));
}

#[test]
fn index_target_equals_one_hot_target() {
    let (x, t) = (logits(Kind::Double), classes().clamp_max(3));
    for (name, loss) in of_classes() {
        if name.starts_with("DiceTopK") || name.starts_with("DiceFocal") {
            continue; // they take indices
        }
        for kind in [Kind::Double, Kind::Int64] {
            let one_hot = t.one_hot(4).movedim_int(-1, 1).to_kind(kind);
            let got = loss.forward(&x, &one_hot);
            assert_close(&format!("{name} {kind:?}"), &got, &loss.forward(&x, &t), (1e-9, 0.0));
        }
    }
}

#[test]
fn ignored_pixels_change_nothing_and_get_no_gradient() {
    for ((name, loss), x, t) in all(Kind::Double) {
        let ignored = if t.dim() == 4 { t.eq(255) } else { t.eq(255).unsqueeze(1) };
        let changed = x.where_self(&ignored.logical_not(), &(&x * 3.0 + 10.0));
        let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
        assert_close(&name, &loss.forward(&changed, &t), &value, (1e-9, 0.0));
        assert_value(&name, &(grad * &ignored).abs().max(), 0.0, 0.0);
        if !name.contains("Unet3Plus") {
            let counts = t.ne(255).view(pixels(&t).as_slice());
            let masked = loss.forward_weighted(&x, &t.clamp_max(1), &counts);
            let target = t.where_self(&t.ne(255), &t.clamp_max(1));
            let masked_target = loss.forward_weighted(&x, &target, &counts);
            assert_finite(&name, &masked);
            assert_close(&name, &masked_target, &value, (1e-9, 0.0));
        }
    }
}

#[test]
fn a_weight_of_two_counts_a_pixel_twice() {
    for ((name, loss), x, t) in all(Kind::Double) {
        if ["Structural", "ClDice", "Basnet", "Unet3Plus"].iter().any(|part| name.contains(part)) {
            continue; // where a pixel is matters to them
        }
        let (x, t) = (x.flatten(2, 3), t.flatten(-2, -1));
        let weight = Tensor::ones([2, 30], (Kind::Double, device()));
        let _ = weight.narrow(1, 0, 3).fill_(2.0);
        let twice = |t: &Tensor| Tensor::cat(&[t, &t.narrow(-1, 0, 3)], -1);
        let repeated = loss.forward(&twice(&x), &twice(&t));
        let weighted = loss.forward_weighted(&x, &t, &weight);
        if name.starts_with("DiceTopK") {
            continue; // the hardest 40 % are of pixels
        }
        assert_close(&name, &weighted, &repeated, (1e-12, 0.0));
    }
}

#[test]
fn permuting_the_batch_changes_nothing() {
    let order = index(&[1, 0], &[2]);
    for ((name, loss), x, t) in all(Kind::Double) {
        let permuted = loss.forward(&x.index_select(0, &order), &t.index_select(0, &order));
        assert_close(&name, &permuted, &loss.forward(&x, &t), (1e-12, 1e-13));
    }
}

#[test]
fn nothing_that_counts_is_zero_with_a_zero_gradient() {
    for kind in KINDS {
        for ((name, loss), x, t) in all(kind) {
            let what = format!("{name} {kind:?}");
            if name.contains("Unet3Plus") {
                continue; // takes no weight
            }
            let zeros = Tensor::zeros(pixels(&t), (kind, device()));
            let (value, grad) = value_and_grad(&x, |x| loss.forward_weighted(x, &t, &zeros));
            assert_value(&what, &value, 0.0, 0.0);
            assert_value(&what, &grad.abs().max(), 0.0, 0.0);
            if !name.contains("Basnet") {
                let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t.full_like(255)));
                assert_value(&what, &value, 0.0, 0.0);
                assert_value(&what, &grad.abs().max(), 0.0, 0.0);
            }
        }
    }
}

#[test]
fn empty_batches_are_zero_with_a_gradient() {
    for kind in KINDS {
        for ((name, loss), x, t) in all(kind) {
            let (x, t) = (x.narrow(0, 0, 0), t.narrow(0, 0, 0));
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_eq!(grad.size(), x.size(), "{name}");
        }
    }
}

#[test]
fn saturated_logits_are_finite() {
    for kind in KINDS {
        for ((name, loss), x, t) in all(kind) {
            for x in [x.sign() * 1e4, x.full_like(1e4), x.full_like(-1e4)] {
                let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
                assert_finite(&format!("{name} {kind:?}"), &value);
                assert_finite(&format!("{name} {kind:?} gradient"), &grad);
            }
        }
    }
}

/// Where powers below 1 have an infinite slope, and MONAI's and SegLossOdyssey's gradients are NaN.
#[test]
fn a_perfect_prediction_has_a_finite_gradient() {
    for kind in KINDS {
        for ((name, loss), x, t) in all(kind) {
            let t = t.clamp_max(1);
            let perfect = match x.size()[1] {
                1 => t.to_kind(kind),
                classes => t.one_hot(classes).movedim_int(-1, 1).to_kind(kind),
            };
            for gain in [2e4, 80.0, 30.0, 10.0] {
                let x = (&perfect - 0.5) * gain;
                let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
                assert_finite(&format!("{name} {kind:?}"), &value);
                assert_finite(&format!("{name} {kind:?} gradient"), &grad);
            }
        }
        let p = Tensor::ones([1, 1, 4, 4], (kind, device()));
        for (name, loss) in [
            named(UnifiedFocalLoss::monai()),
            named(ExponentialLogarithmicLoss::default().apply_nonlin(Nonlinearity::None)),
            named(ComboLoss::default().apply_nonlin(Nonlinearity::None)),
        ] {
            for t in [p.ones_like(), p.zeros_like()] {
                let (value, grad) = value_and_grad(&p, |p| loss.forward(p, &t));
                assert_finite(&format!("{name} {kind:?}"), &value);
                assert_finite(&format!("{name} {kind:?} gradient"), &grad);
            }
        }
    }
}

#[test]
fn half_kinds_give_the_float_answer_in_float() {
    for kind in [Kind::Half, Kind::BFloat16] {
        for ((name, loss), x, t) in all(kind) {
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            let (expected, expected_grad) =
                value_and_grad(&x.to_kind(Kind::Float), |x| loss.forward(x, &t));
            assert_eq!((value.kind(), grad.kind()), (Kind::Float, kind), "{name}");
            assert_close(&name, &value, &expected, (1e-5, 1e-6));
            assert_close(&name, &grad, &expected_grad, tolerance(kind));
        }
    }
}

#[test]
fn non_contiguous_input_is_the_same_as_contiguous() {
    for ((name, loss), x, t) in all(Kind::Double) {
        let x = x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let t = t.transpose(-1, -2).contiguous().transpose(-1, -2);
        let same = loss.forward(&x.contiguous(), &t.contiguous());
        assert_close(&name, &loss.forward(&x, &t), &same, (1e-12, 0.0));
    }
}

#[test]
fn volumes_are_the_same_as_images_where_places_do_not_matter() {
    let (x, t) = (logits(Kind::Double), classes());
    for (name, loss) in of_classes() {
        if name.contains("Structural") || name.contains("ClDice") {
            continue;
        }
        let volume = loss.forward(&x.view([2, 4, 3, 2, 5]), &t.view([2, 3, 2, 5]));
        assert_close(&name, &volume, &loss.forward(&x, &t), (1e-12, 0.0));
    }
}

#[test]
fn inputs_are_left_as_they_were() {
    for ((_, loss), x, t) in all(Kind::Float) {
        let (input, before) = (leaf(&x), t.copy());
        loss.forward(&input, &t).backward();
        assert_eq!((input.detach(), t), (x, before));
    }
}

#[test]
fn a_small_step_against_the_gradient_makes_the_loss_smaller() {
    for ((name, loss), x, t) in all(Kind::Double) {
        let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
        let length = double(&grad.square().sum(None::<Kind>)).sqrt();
        assert!(length > 0.0, "{name}: no gradient");
        let stepped = loss.forward(&(&x - grad * (1e-5 / length)), &t);
        assert!(double(&stepped) < double(&value), "{name}");
    }
}

#[test]
fn deep_supervision_weighs_scales_as_named() {
    let loss = |weights| DeepSupervision::new(CrossEntropyLoss::default()).weights(weights);
    // Each output's loss is known: logits of 0 have log C.
    let outputs = |count: usize| -> Vec<Tensor> {
        let side = |l: usize| 16i64 >> l;
        let size = |l: usize| [1, l as i64 + 2, side(l), side(l)];
        (0..count).map(|l| Tensor::zeros(size(l), (Kind::Double, device()))).collect()
    };
    let target = Tensor::zeros([1, 16, 16], (Kind::Int64, device()));
    let cases: [(SupervisionWeights, &[f64]); 6] = [
        (SupervisionWeights::Exp, &[1.0, 0.5, 0.25, 0.125]),
        (SupervisionWeights::Same, &[1.0; 4]),
        (SupervisionWeights::Two, &[1.0, 0.5, 0.5, 0.5]),
        (SupervisionWeights::NnUnet, &[4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0, 0.0]),
        (SupervisionWeights::NnUnet, &[1.0]),
        (SupervisionWeights::Custom(vec![0.3, 0.0, 0.2]), &[0.3, 0.0, 0.2]),
    ];
    for (weights, expected) in cases {
        let what = format!("{weights:?}");
        let parts = loss(weights).forward(&outputs(expected.len()), &target);
        let sum: f64 = expected.iter().enumerate().map(|(l, w)| w * (l as f64 + 2.0).ln()).sum();
        assert_value(&what, &parts.total, sum, 1e-12);
        let counted = expected.iter().filter(|&&weight| weight > 0.0).count();
        assert_eq!(parts.named.len(), counted, "{what}");
    }
    let exp = loss(SupervisionWeights::Exp);
    let names = exp.forward(&outputs(2), &target).named;
    assert_eq!((names[0].0.as_str(), names[1].0.as_str()), ("scale 0", "scale 1"));
}

#[test]
fn an_output_of_weight_zero_is_not_computed() {
    let loss =
        DeepSupervision::new(CrossEntropyLoss::default()).weights(SupervisionWeights::NnUnet);
    let (x, t) = (logits(Kind::Double), classes().clamp_max(3));
    let wrong = randn(13, &[5, 2, 6, 5], Kind::Double);
    let parts = loss.forward(&[x.shallow_clone(), wrong], &t);
    let expected = CrossEntropyLoss::default().forward(&x, &t);
    assert_close("first alone", &parts.total, &expected, (1e-12, 0.0));
}

#[test]
fn deep_supervision_takes_the_nearest_pixel_of_targets_and_weights() {
    let (high, wide) = (7, 9);
    let class = randint(14, 3, &[2, high, wide]);
    let one_hot = class.one_hot(3).movedim_int(-1, 1);
    let weight = rand(15, &[2, high, wide], Kind::Double);
    let loss = DeepSupervision::new(DiceCeLoss::default()).weights(SupervisionWeights::Same);
    for (rows, columns) in [(7, 9), (3, 4), (1, 1), (5, 9), (10, 20)] {
        let x = randn(16, &[2, 3, rows, columns], Kind::Double);
        let nearest = |t: &Tensor| {
            let resized = Tensor::internal_upsample_nearest_exact2d(
                &t.to_kind(Kind::Double),
                [rows, columns],
                None,
                None,
            );
            resized.to_kind(t.kind())
        };
        let small = nearest(&class.unsqueeze(1));
        let what = format!("{rows} x {columns}");
        let expected = DiceCeLoss::default().forward(&x, &small);
        for target in [&class, &class.unsqueeze(1), &one_hot, &one_hot.to_kind(Kind::Bool)] {
            let got = loss.forward(std::slice::from_ref(&x), target).total;
            assert_close(&what, &got, &expected, (1e-12, 0.0));
        }
        let expected =
            DiceCeLoss::default().forward_weighted(&x, &small, &nearest(&weight.unsqueeze(1)));
        let got = loss.forward_weighted(std::slice::from_ref(&x), &class, &weight).total;
        assert_close(&what, &got, &expected, (1e-12, 0.0));
    }
    // A volume, along each of its sides.
    let class = randint(17, 3, &[1, 4, 6, 5]);
    let x = randn(18, &[1, 3, 2, 3, 5], Kind::Double);
    let small = class.slice(1, 1, None, 2).slice(2, 1, None, 2);
    let got = loss.forward(std::slice::from_ref(&x), &class).total;
    assert_close("volume", &got, &DiceCeLoss::default().forward(&x, &small), (1e-12, 0.0));
}

#[test]
fn every_output_gets_a_gradient() {
    let loss = DeepSupervision::new(DiceCeLoss::default());
    let t = randint(19, 3, &[2, 8, 8]);
    let outputs = [8, 4, 2].map(|side| leaf(&randn(20, &[2, 3, side, side], Kind::Half)));
    let parts = loss.forward(&outputs, &t);
    assert_eq!(parts.total.kind(), Kind::Float);
    parts.total.backward();
    for output in &outputs {
        assert!(double(&output.grad().abs().max()) > 0.0);
    }
}

#[test]
fn errors_say_what_was_expected() {
    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    let (x, t) = (logits(Kind::Float), classes().clamp_max(3));
    assert_eq!(
        say(UnifiedFocalLoss::default().gamma(1.0).f_forward(&x, &t)),
        "UnifiedFocalLoss: expected gamma in [0, 1), got 1"
    );
    assert_eq!(
        say(UnifiedFocalLoss::default().delta(f64::NAN).f_forward(&x, &t)),
        "UnifiedFocalLoss: expected delta in [0, 1], got NaN"
    );
    assert_eq!(
        say(AsymmetricFocalLoss::default().apply_nonlin(Nonlinearity::Sigmoid).f_forward(&x, &t)),
        "AsymmetricFocalLoss: expected apply_nonlin Softmax or None for several classes, got Sigmoid"
    );
    assert_eq!(
        say(AsymmetricFocalTverskyLoss::default().f_forward(&map(Kind::Float), &mask())),
        "AsymmetricFocalTverskyLoss: expected apply_nonlin None or Sigmoid for one class, got Softmax, which is 1 everywhere"
    );
    assert_eq!(
        say(ExponentialLogarithmicLoss::default().frequencies([1.0, 2.0]).f_forward(&x, &t)),
        "ExponentialLogarithmicLoss: expected frequencies of shape [4], got [2]"
    );
    assert_eq!(
        say(ExponentialLogarithmicLoss::default().gamma(0.0).f_forward(&x, &t)),
        "ExponentialLogarithmicLoss: expected gamma_dice above 0 and finite, got 0"
    );
    assert_eq!(
        say(ComboLoss::default().beta(1.5).f_forward(&x, &t)),
        "ComboLoss: expected beta in [0, 1], got 1.5"
    );
    assert_eq!(
        say(StructuralCorrelationLoss::default().kernel_size(13).f_forward(&x, &t)),
        "StructuralCorrelationLoss: expected input of shape [N, C, H, W] with sides of at least 7, got [2, 4, 6, 5]"
    );
    assert_eq!(
        say(StructuralCorrelationLoss::default().beta(1.0).f_forward(&x, &t)),
        "StructuralCorrelationLoss: expected beta in [0, 1), got 1"
    );
    assert_eq!(
        say(DiceCeLoss::default().lambda_ce(-1.0).f_forward(&x, &t)),
        "DiceCeLoss: expected a coefficient at least 0 and finite, got -1"
    );
    assert_eq!(
        say(DiceCeLoss::default().f_forward(&x, &t.narrow(1, 0, 2))),
        "DiceCeLoss, dice: DiceLoss: expected target of shape [2, 6, 5], [2, 1, 6, 5] or [2, 4, 6, 5], got [2, 2, 5]"
    );
    // MONAI's cross entropy turns binary here.
    assert_eq!(
        say(DiceCeLoss::default().f_forward(&map(Kind::Float), &mask())),
        "DiceCeLoss, dice: DiceLoss: expected apply_nonlin None or Sigmoid for one class, got Softmax, which is 1 everywhere"
    );
    assert_eq!(
        say(DiceFocalLoss::default().apply_nonlin(Nonlinearity::None).f_forward(&x, &t)),
        "DiceFocalLoss: expected apply_nonlin Softmax or Sigmoid, got None"
    );
    assert_eq!(
        say(DiceFocalLoss::default().alpha(0.25).f_forward(&x, &t)),
        "DiceFocalLoss: expected alpha none with Softmax, got 0.25"
    );
    let target = mask().clamp_max(1);
    assert_eq!(
        say(Unet3PlusHybridLoss::default().f_forward_weighted(&map(Kind::Float), &target, &target)),
        "Unet3PlusHybridLoss: MS-SSIM has no weight of single pixels"
    );
    assert_eq!(
        say(Unet3PlusHybridLoss::default().f_forward(&map(Kind::Float), &target)),
        "Unet3PlusHybridLoss, ms_ssim: MsSsimLoss: expected input of shape [N, C, H, W] with sides of at least 161, got [2, 1, 6, 5]"
    );

    let deep = DeepSupervision::new(CrossEntropyLoss::default());
    let say = |result: tch_losses::Result<tch_losses::LossParts>| result.unwrap_err().to_string();
    assert_eq!(
        say(deep.f_forward(&[], &t)),
        "DeepSupervision: expected weights one for each output, and an output at least, got 0 for 0 outputs"
    );
    let custom = deep.clone().weights(SupervisionWeights::Custom(vec![1.0, 2.0]));
    assert_eq!(
        say(custom.f_forward(std::slice::from_ref(&x), &t)),
        "DeepSupervision: expected weights one for each output, and an output at least, got 2 for 1 outputs"
    );
    assert_eq!(
        say(deep.f_forward(std::slice::from_ref(&x), &t.view([-1]))),
        "scale 0: DeepSupervision: expected target of shape of 3 or 4 dimensions, got [60]"
    );
    assert_eq!(
        say(deep.f_forward_targets(std::slice::from_ref(&x), &[])),
        "DeepSupervision: expected targets one for each output, got 0 for 1 outputs"
    );
}
