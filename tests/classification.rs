//! Laws, gradients, edge cases and errors of cross entropy, binary cross entropy and focal losses.

mod common;

use common::{
    KINDS, assert_close, assert_finite, assert_value, device, gradcheck, gradgradcheck, index,
    leaf, rand, randint, randn, tensor, tolerance, value_and_grad,
};
use std::error::Error;
use tch::{Kind, Tensor};
use tch_losses::{
    BceLoss, BceWithLogitsLoss, CrossEntropyLoss, FnLoss, FocalLoss, LabelSmoothing, Loss,
    LossError, MeanOver, Reduction, SoftmaxFocalLoss, WeightedSum,
};

/// Losses of logits and binary targets of the same shape.
fn binary() -> Vec<(&'static str, Box<dyn Loss>)> {
    let pos_weight = || tensor(&[0.5, 2.0, 1.5], &[3]);
    vec![
        ("bce", Box::new(BceWithLogitsLoss::default())),
        ("bce pos_weight", Box::new(BceWithLogitsLoss::default().pos_weight(pos_weight()))),
        ("bce smoothed", Box::new(BceWithLogitsLoss::default().label_smoothing(0.1))),
        ("focal", Box::new(FocalLoss::default())),
        ("focal 0.5", Box::new(FocalLoss::default().gamma(0.5))),
        ("focal yolov5", Box::new(FocalLoss::yolov5().label_smoothing(0.1))),
        ("focal pos_weight", Box::new(FocalLoss::default().pos_weight(pos_weight()).alpha(None))),
    ]
}

/// Losses of logits (N, 3, ..) and index targets that ignore 255.
fn softmax() -> Vec<(&'static str, Box<dyn Loss>)> {
    let weight = || tensor(&[0.5, 2.0, 1.5], &[3]);
    vec![
        ("ce", Box::new(CrossEntropyLoss::default().ignore_index(255))),
        ("ce weight", Box::new(CrossEntropyLoss::default().ignore_index(255).weight(weight()))),
        (
            "ce weight of a class 0",
            Box::new(
                CrossEntropyLoss::default()
                    .ignore_index(255)
                    .weight(tensor(&[0.0, 2.0, 1.5], &[3])),
            ),
        ),
        (
            "ce weight smoothed",
            Box::new(
                CrossEntropyLoss::default().ignore_index(255).weight(weight()).label_smoothing(0.1),
            ),
        ),
        ("label smoothing", Box::new(LabelSmoothing::default().ignore_index(255))),
        ("softmax focal", Box::new(SoftmaxFocalLoss::default().ignore_index(255).alpha(weight()))),
        ("softmax focal 0.5", Box::new(SoftmaxFocalLoss::default().ignore_index(255).gamma(0.5))),
    ]
}

fn logits(kind: Kind) -> Tensor {
    randn(1, &[2, 3, 4, 5], kind) * 2.0
}

fn classes() -> Tensor {
    let target = randint(2, 3, &[2, 4, 5]);
    let _ = target.view(-1).narrow(0, 3, 4).fill_(255);
    target
}

#[test]
fn gradients_agree_with_differences() {
    let (x, t) = (randn(3, &[4, 3], Kind::Double), rand(4, &[4, 3], Kind::Double));
    for (name, loss) in binary() {
        gradcheck(name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
        gradgradcheck(name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
    }
    for (name, loss) in softmax() {
        let x = logits(Kind::Double);
        gradcheck(name, &[x.shallow_clone()], |x| loss.forward(&x[0], &classes()));
    }
    let x = randn(5, &[3, 3], Kind::Double);
    for (name, loss) in softmax() {
        let t = index(&[0, 255, 2], &[3]);
        gradgradcheck(name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
    }
    let p = rand(6, &[4, 3], Kind::Double) * 0.8 + 0.1;
    gradcheck("bce of probabilities", &[p], |p| BceLoss::default().forward(&p[0], &t));
}

#[test]
fn focal_with_gamma_0_and_no_alpha_is_bce() {
    let (x, t) = (randn(7, &[5, 4], Kind::Double), rand(8, &[5, 4], Kind::Double));
    let focal = FocalLoss::default().gamma(0.0).alpha(None).forward(&x, &t);
    let bce = BceWithLogitsLoss::default().forward(&x, &t);
    assert_close("value", &focal, &bce, (1e-12, 0.0));
}

#[test]
fn softmax_focal_with_gamma_0_is_cross_entropy() {
    let x = logits(Kind::Double);
    let focal = SoftmaxFocalLoss::default().gamma(0.0).ignore_index(255).forward(&x, &classes());
    let ce = CrossEntropyLoss::default().ignore_index(255).forward(&x, &classes());
    assert_close("value", &focal, &ce, (1e-12, 0.0));
}

#[test]
fn focal_of_two_softmax_classes_is_the_sigmoid_focal_of_their_difference() {
    let x = randn(9, &[6, 2], Kind::Double);
    let t = index(&[0, 1, 1, 0, 1, 0], &[6]);
    let softmax = SoftmaxFocalLoss::default().forward(&x, &t);
    let sigmoid = FocalLoss::default().alpha(None).forward(&(x.select(1, 1) - x.select(1, 0)), &t);
    assert_close("value", &softmax, &sigmoid, (1e-12, 0.0));
}

#[test]
fn alpha_1_ignores_negatives() {
    let x = randn(10, &[8], Kind::Double);
    let t = tensor(&[0.0; 8], &[8]);
    let (value, grad) = value_and_grad(&x, |x| FocalLoss::default().alpha(1.0).forward(x, &t));
    assert_value("value", &value, 0.0, 0.0);
    assert_value("gradient", &grad.abs().max(), 0.0, 0.0);
}

#[test]
fn integer_and_bool_targets_equal_float_targets() {
    let x = randn(11, &[6, 3], Kind::Double);
    let t = randint(12, 2, &[6, 3]);
    for (name, loss) in binary() {
        let float = loss.forward(&x, &t.to_kind(Kind::Double));
        for kind in [Kind::Int64, Kind::Uint8, Kind::Bool] {
            let (what, got) = (format!("{name} with {kind:?}"), loss.forward(&x, &t.to_kind(kind)));
            assert_close(&what, &got, &float, (1e-12, 0.0));
        }
    }
}

#[test]
fn index_target_equals_one_hot_target() {
    let x = randn(13, &[4, 5, 3], Kind::Double);
    let t = randint(14, 5, &[4, 3]);
    let one_hot = t.one_hot(5).movedim_int(-1, 1).to_kind(Kind::Double);
    let loss = CrossEntropyLoss::default().label_smoothing(0.2);
    assert_close("value", &loss.forward(&x, &t), &loss.forward(&x, &one_hot), (1e-12, 0.0));
    for kind in [Kind::Uint8, Kind::Int, Kind::Int16] {
        let got = loss.forward(&x, &t.to_kind(kind));
        assert_close(&format!("{kind:?}"), &got, &loss.forward(&x, &t), (0.0, 0.0));
    }
}

#[test]
fn permuting_the_batch_changes_nothing() {
    let order = index(&[1, 0], &[2]);
    for (name, loss) in softmax() {
        let (x, t) = (logits(Kind::Double), classes());
        let permuted = loss.forward(&x.index_select(0, &order), &t.index_select(0, &order));
        assert_close(name, &permuted, &loss.forward(&x, &t), (1e-12, 0.0));
    }
}

#[test]
fn ignored_elements_change_nothing_and_get_no_gradient() {
    for (name, loss) in softmax() {
        let (x, t) = (logits(Kind::Double), classes());
        let ignored = t.eq(255).unsqueeze(1);
        let changed = x.where_self(&ignored.logical_not(), &(&x * 3.0 + 40.0));
        let (a, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
        let (b, _) = value_and_grad(&changed, |x| loss.forward(x, &t));
        assert_close(name, &a, &b, (1e-12, 0.0));
        assert_value(name, &(grad * ignored).abs().max(), 0.0, 0.0);
    }
    let (x, t) = (randn(15, &[8], Kind::Double), index(&[1, 0, 255, 1, 255, 0, 0, 1], &[8]));
    let valid = t.ne(255).to_kind(Kind::Double);
    let (bce, focal) = (BceWithLogitsLoss::default(), FocalLoss::default());
    let pairs: [(Box<dyn Loss>, Box<dyn Loss>); 2] = [
        (Box::new(bce.clone().ignore_index(255)), Box::new(bce)),
        (Box::new(focal.clone().ignore_index(255)), Box::new(focal)),
    ];
    for (ignoring, plain) in pairs {
        let masked = plain.forward_weighted(&x, &t.clamp_max(1), &valid);
        assert_close(&format!("{plain:?}"), &ignoring.forward(&x, &t), &masked, (1e-12, 0.0));
    }
}

#[test]
fn a_mask_is_the_mean_over_what_it_keeps() {
    let (x, t) = (randn(16, &[6], Kind::Double), randint(17, 2, &[6]));
    let mask = tensor(&[1.0, 1.0, 0.0, 0.0, 1.0, 0.0], &[6]);
    let kept = index(&[0, 1, 4], &[3]);
    for loss in
        [Box::new(BceWithLogitsLoss::default()) as Box<dyn Loss>, Box::new(FocalLoss::default())]
    {
        let masked = loss.forward_weighted(&x, &t, &mask);
        let alone = loss.forward(&x.index_select(0, &kept), &t.index_select(0, &kept));
        assert_close(&format!("{loss:?}"), &masked, &alone, (1e-12, 0.0));
        let by_bool = loss.forward_weighted(&x, &t, &mask.to_kind(Kind::Bool));
        assert_close(&format!("{loss:?} bool"), &by_bool, &alone, (1e-12, 0.0));
    }
}

#[test]
fn a_weight_of_two_counts_an_element_twice() {
    let x = randn(18, &[3, 4], Kind::Double);
    let t = index(&[0, 3, 2], &[3]);
    let weight = tensor(&[2.0, 1.0, 1.0], &[3]);
    let twice = index(&[0, 0, 1, 2], &[4]);
    for loss in [
        Box::new(CrossEntropyLoss::default().weight(tensor(&[1.0, 2.0, 0.5, 3.0], &[4])))
            as Box<dyn Loss>,
        Box::new(SoftmaxFocalLoss::default()),
        Box::new(LabelSmoothing::default()),
    ] {
        let weighted = loss.forward_weighted(&x, &t, &weight);
        let repeated = loss.forward(&x.index_select(0, &twice), &t.index_select(0, &twice));
        assert_close(&format!("{loss:?}"), &weighted, &repeated, (1e-12, 0.0));
    }
}

#[test]
fn nothing_that_counts_is_zero_with_a_zero_gradient() {
    for kind in KINDS {
        for (name, loss) in softmax() {
            let t = index(&[255; 40], &[2, 4, 5]);
            let (value, grad) = value_and_grad(&logits(kind), |x| loss.forward(x, &t));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_value(&format!("{name} {kind:?}"), &grad.abs().max(), 0.0, 0.0);
        }
        for (name, loss) in binary() {
            let (x, t) = (randn(19, &[4, 3], kind), rand(20, &[4, 3], kind));
            let (value, grad) =
                value_and_grad(&x, |x| loss.forward_weighted(x, &t, &t.zeros_like()));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_value(&format!("{name} {kind:?}"), &grad.abs().max(), 0.0, 0.0);
        }
    }
}

#[test]
fn empty_batches_are_zero_with_a_gradient() {
    for kind in KINDS {
        for (name, loss) in binary() {
            let x = randn(21, &[0, 3], kind);
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &x.zeros_like()));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_eq!(grad.size(), [0, 3], "{name}");
        }
        for (name, loss) in softmax() {
            let (x, t) = (randn(22, &[0, 3, 2], kind), index(&[], &[0, 2]));
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_eq!(grad.size(), [0, 3, 2], "{name}");
        }
    }
}

#[test]
fn saturated_logits_are_finite_for_every_gamma() {
    let sizes = [0.0, 1.0, 20.0, 100.0, 1e4];
    let values: Vec<f64> = sizes.iter().flat_map(|&x| [x, -x]).collect();
    let n = values.len() as i64;
    for kind in KINDS {
        let x = tensor(&values, &[n, 1]).to_kind(kind).expand([n, 4], false).contiguous();
        let t = tensor(&[0.0, 0.3, 0.5, 1.0], &[1, 4]).to_kind(kind).expand([n, 4], false);
        for gamma in [0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 5.0] {
            let loss = FocalLoss::default().gamma(gamma).reduction(Reduction::None);
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            assert_finite(&format!("focal {gamma} {kind:?}"), &value);
            assert_finite(&format!("focal {gamma} {kind:?} gradient"), &grad);
            let loss = SoftmaxFocalLoss::default().gamma(gamma).reduction(Reduction::None);
            let classes = index(&(0..n).map(|i| i % 4).collect::<Vec<_>>(), &[n]);
            let x = Tensor::cat(&[&x.narrow(1, 0, 2), &x.narrow(1, 0, 2).neg()], 1);
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &classes));
            assert_finite(&format!("softmax focal {gamma} {kind:?}"), &value);
            assert_finite(&format!("softmax focal {gamma} {kind:?} gradient"), &grad);
        }
        let (value, grad) = value_and_grad(&x, |x| BceWithLogitsLoss::default().forward(x, &t));
        assert_finite("bce", &value);
        assert_finite("bce gradient", &grad);
    }
}

/// torchvision loses 37 % of this loss in Float at logit 15, and all of it at 17.
#[test]
fn easy_examples_keep_their_loss_in_float() {
    let loss = FocalLoss::default().alpha(None).reduction(Reduction::None);
    for (logit, target) in [(10.0, 1i64), (15.0, 1), (17.0, 1), (-15.0, 0), (-17.0, 0), (30.0, 1)] {
        let exact = loss.forward(&tensor(&[logit], &[1]), &index(&[target], &[1]));
        for kind in [Kind::Int64, Kind::Float] {
            let target = index(&[target], &[1]).to_kind(kind);
            let float = loss.forward(&tensor(&[logit], &[1]).to_kind(Kind::Float), &target);
            assert_close(&format!("logit {logit}, {kind:?}"), &float, &exact, (1e-5, 0.0));
        }
    }
}

#[test]
fn half_kinds_give_the_float_answer_in_float() {
    let t = rand(24, &[64, 64, 3], Kind::Float);
    for kind in [Kind::Half, Kind::BFloat16] {
        for (name, loss) in binary() {
            let x = randn(23, &[64, 64, 3], kind);
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            let (expected, expected_grad) =
                value_and_grad(&x.to_kind(Kind::Float), |x| loss.forward(x, &t));
            assert_eq!((value.kind(), grad.kind()), (Kind::Float, kind), "{name}");
            assert_close(name, &value, &expected, (1e-6, 0.0));
            assert_close(name, &grad, &expected_grad, tolerance(kind));
        }
    }
    // 512 x 512 in Half: PyTorch's own mean overflows on the CPU.
    let x = randn(25, &[1, 3, 512, 512], Kind::Half);
    let t = randint(26, 3, &[1, 512, 512]);
    let float = CrossEntropyLoss::default().forward(&x.to_kind(Kind::Float), &t);
    assert_close("large half", &CrossEntropyLoss::default().forward(&x, &t), &float, (1e-6, 0.0));
}

#[test]
fn non_contiguous_input_is_the_same_as_contiguous() {
    for (name, loss) in softmax() {
        let x = logits(Kind::Double).permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        assert!(!x.is_contiguous());
        let t = classes().transpose(1, 2).contiguous().transpose(1, 2);
        let same = loss.forward(&x.contiguous(), &t.contiguous());
        assert_close(name, &loss.forward(&x, &t), &same, (1e-12, 0.0));
    }
}

#[test]
fn mean_over_elements_divides_by_their_number() {
    let (x, t) = (randn(27, &[4], Kind::Double), rand(28, &[4], Kind::Double));
    let weight = tensor(&[0.0, 1.0, 2.0, 3.0], &[4]);
    let mean = |over| {
        let loss = BceWithLogitsLoss::default().weight(weight.shallow_clone()).mean_over(over);
        loss.forward(&x, &t).double_value(&[])
    };
    assert!((mean(MeanOver::Elements) * 4.0 - mean(MeanOver::Weights) * 6.0).abs() < 1e-12);
}

#[test]
fn inputs_are_left_as_they_were() {
    let (x, t) = (logits(Kind::Float), classes());
    let (x_before, t_before) = (x.copy(), t.copy());
    for (_, loss) in softmax() {
        loss.forward(&leaf(&x), &t).backward();
    }
    assert_eq!((x, t), (x_before, t_before));
}

#[test]
fn errors_say_what_was_expected() {
    let x = randn(29, &[4, 1], Kind::Float);
    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    assert_eq!(
        say(FocalLoss::default().f_forward(&x, &x.squeeze())),
        "FocalLoss: expected target of shape [4, 1], got [4]"
    );
    assert_eq!(
        say(FocalLoss::default().gamma(f64::NAN).f_forward(&x, &x)),
        "FocalLoss: expected gamma at least 0 and finite, got NaN"
    );
    assert_eq!(
        say(FocalLoss::default().alpha(1.5).f_forward(&x, &x)),
        "FocalLoss: expected alpha in [0, 1], got 1.5"
    );
    assert_eq!(
        say(BceWithLogitsLoss::default().f_forward(&x.to_kind(Kind::Int64), &x)),
        "BceWithLogitsLoss: expected input of floating-point kind, got Int64"
    );
    assert_eq!(
        say(BceLoss::default().reduction(Reduction::Other(7)).f_forward(&x, &x)),
        "BceLoss: expected reduction None, Mean or Sum, got Other(7)"
    );
    let x = randn(30, &[2, 3, 4], Kind::Float);
    assert_eq!(
        say(CrossEntropyLoss::default().f_forward(&x, &index(&[0; 6], &[2, 3]))),
        "CrossEntropyLoss: expected index target of shape [2, 4], got [2, 3]"
    );
    let t = index(&[0; 8], &[2, 4]);
    assert_eq!(
        say(CrossEntropyLoss::default().weight(tensor(&[1.0; 4], &[4])).f_forward(&x, &t)),
        "CrossEntropyLoss: expected weight of shape [3], got [4]"
    );
    assert_eq!(
        say(CrossEntropyLoss::default().f_forward_weighted(&x, &t, &tensor(&[1.0; 3], &[3]))),
        "CrossEntropyLoss: expected weight of shape broadcastable to [2, 4], got [3]"
    );
    assert_eq!(
        say(SoftmaxFocalLoss::default().f_forward(&x.narrow(1, 0, 1), &t)),
        "SoftmaxFocalLoss: expected input of shape [N, C, ..] with C at least 2, got [2, 1, 4]"
    );
    assert_eq!(
        say(LabelSmoothing::default().f_forward(&x, &x)),
        "LabelSmoothing: expected target of integer kind, got Float"
    );
    if device() == tch::Device::Cpu {
        // On CUDA libtorch asserts on the device instead.
        let error =
            CrossEntropyLoss::default().f_forward(&x, &index(&[9; 8], &[2, 4])).unwrap_err();
        assert_eq!(error.to_string(), "libtorch: Target 9 is out of bounds.");
        assert!(error.source().is_some());
    }
}

#[test]
fn a_sum_of_losses_is_the_sum_of_its_parts() {
    let (x, t) = (randn(31, &[5, 2], Kind::Double), rand(32, &[5, 2], Kind::Double));
    let sum = WeightedSum::new().add("bce", 1.5, BceWithLogitsLoss::default()).add(
        "focal",
        -0.5,
        FocalLoss::default(),
    );
    let bce = BceWithLogitsLoss::default().forward(&x, &t);
    let focal = FocalLoss::default().forward(&x, &t);
    let parts = sum.forward_parts(&leaf(&x), &t);
    assert_close("total", &parts.total, &(&bce * 1.5 - &focal * 0.5), (1e-12, 0.0));
    assert_close("focal", &parts.named[1].1, &focal, (1e-12, 0.0));
    assert!(parts.total.requires_grad() && !parts.named[0].1.requires_grad());
    let mask = tensor(&[1.0, 0.0], &[2]);
    let weighted = sum.forward_weighted(&x, &t, &mask);
    let bce = BceWithLogitsLoss::default().forward_weighted(&x, &t, &mask);
    let focal = FocalLoss::default().forward_weighted(&x, &t, &mask);
    assert_close("weighted", &weighted, &(bce * 1.5 - focal * 0.5), (1e-12, 0.0));

    let say = |sum: WeightedSum| sum.f_forward(&x, &t).unwrap_err().to_string();
    assert_eq!(say(WeightedSum::new()), "WeightedSum: a sum of no losses has no value; add one");
    assert_eq!(
        say(WeightedSum::new().add("soft", 1.0, FocalLoss::default().gamma(-1.0))),
        "soft: FocalLoss: expected gamma at least 0 and finite, got -1"
    );
    assert_eq!(
        say(WeightedSum::new().add("bce", f64::NAN, BceLoss::default())),
        "WeightedSum: expected coefficient finite, got NaN for bce"
    );
}

#[test]
fn a_closure_is_a_loss() {
    let scale = 3.0;
    let loss: Box<dyn Loss> =
        Box::new(FnLoss::new("scaled", move |input: &Tensor, target: &Tensor| {
            if input.numel() == 0 {
                return Err(LossError::Other("nothing to compare".into()));
            }
            Ok((input - target).square().mean(None::<Kind>) * scale)
        }));
    let (x, t) = (tensor(&[1.0, 3.0], &[2]), tensor(&[0.0, 0.0], &[2]));
    assert_value("value", &loss.forward(&x, &t), 15.0, 1e-12);
    let empty = tensor(&[], &[0]);
    assert_eq!(
        loss.f_forward(&empty, &empty).unwrap_err().to_string(),
        "scaled: nothing to compare"
    );
    assert!(loss.f_forward_weighted(&x, &t, &t).is_err());
    assert_eq!(format!("{loss:?}"), "FnLoss { name: \"scaled\", .. }");
}

#[test]
fn forward_panics_with_one_line_at_the_caller() {
    let (x, t) = (tensor(&[1.0], &[1]), tensor(&[1.0, 2.0], &[2]));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        FocalLoss::default().forward(&x, &t)
    }));
    let message = panic.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*message, "FocalLoss: expected target of shape [1], got [2]");
}
