//! Laws, gradients, edge cases and errors of the Lovász losses.

mod common;

use common::{
    KINDS, assert_close, assert_finite, assert_value, device, gradcheck, gradgradcheck, index,
    leaf, rand, randint, randn, tensor, tolerance, value_and_grad,
};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    Loss, LovaszHingeLoss, LovaszSoftmaxLoss,
    segmentation::{Aggregate, EmptyClass, Nonlinearity},
};

const SHAPE: [i64; 4] = [2, 4, 3, 5];

const AGGREGATES: [Aggregate; 2] = [Aggregate::PerImage, Aggregate::Batch];

/// Every combination of options that changes the maths; all ignore 255.
fn softmax() -> Vec<LovaszSoftmaxLoss> {
    let mut all = vec![];
    let empty =
        [EmptyClass::Skip, EmptyClass::Smooth, EmptyClass::Zero, EmptyClass::FalsePositives];
    for aggregate in AGGREGATES {
        for empty_class in empty {
            let loss = LovaszSoftmaxLoss::default().aggregate(aggregate).empty_class(empty_class);
            let loss = loss.ignore_index(255);
            all.push(loss.clone());
            all.push(loss.class_weights([0.5, 2.0, 1.5, 0.7]));
        }
        let loss = LovaszSoftmaxLoss::default().aggregate(aggregate).ignore_index(255);
        all.push(loss.clone().apply_nonlin(Nonlinearity::Sigmoid));
        all.push(loss.include_background(false));
    }
    all
}

fn hinge() -> Vec<LovaszHingeLoss> {
    let mut all = vec![];
    for per_class in [false, true] {
        for aggregate in AGGREGATES {
            let loss = LovaszHingeLoss::default().per_class(per_class).aggregate(aggregate);
            all.push(loss.ignore_index(255));
        }
    }
    all
}

fn logits(kind: Kind) -> Tensor {
    randn(1, &SHAPE, kind) * 2.0
}

/// Class 3 is absent, four pixels are ignored.
fn classes() -> Tensor {
    let target = randint(2, 3, &[2, 3, 5]);
    let _ = target.view(-1).narrow(0, 3, 4).fill_(255);
    target
}

fn mask() -> Tensor {
    let target = randint(3, 2, &SHAPE);
    let _ = target.view(-1).narrow(0, 9, 5).fill_(255);
    target
}

/// Losses of logits with targets, for what holds for all of them.
fn all() -> Vec<(Box<dyn Loss>, Tensor)> {
    let softmax = softmax().into_iter().map(|loss| (Box::new(loss) as Box<dyn Loss>, classes()));
    softmax
        .chain(hinge().into_iter().map(|loss| (Box::new(loss) as Box<dyn Loss>, mask())))
        .collect()
}

#[test]
fn gradients_agree_with_differences() {
    let x = logits(Kind::Double);
    for (loss, target) in all() {
        let what = format!("{loss:?}");
        gradcheck(&what, &[x.shallow_clone()], |x| loss.forward(&x[0], &target));
        let weight = rand(4, &target.size(), Kind::Double);
        gradcheck(&what, &[x.shallow_clone()], |x| loss.forward_weighted(&x[0], &target, &weight));
        // The hinge is linear in its logits.
        gradgradcheck(&what, &[x.shallow_clone()], |x| loss.forward(&x[0].sinh(), &target));
    }
    for loss in softmax() {
        let loss = loss.reduction(Reduction::None);
        gradcheck("none", &[x.shallow_clone()], |x| loss.forward(&x[0], &classes()));
    }
    for loss in hinge() {
        let loss = loss.reduction(Reduction::Sum);
        gradcheck("sum", &[x.shallow_clone()], |x| loss.forward(&x[0], &mask()));
    }
}

#[test]
fn hinge_of_plus_or_minus_one_is_twice_the_jaccard_loss() {
    let found = randint(5, 2, &[4, 6]);
    let mask = randint(6, 2, &[4, 6]);
    let loss = LovaszHingeLoss::default().aggregate(Aggregate::PerImage).reduction(Reduction::None);
    let got = loss.forward(&(found.to_kind(Kind::Double) * 2.0 - 1.0), &mask);
    let sum = |t: Tensor| t.sum_dim_intlist(1, false, Kind::Double);
    let (and, or) = (sum(found.logical_and(&mask)), sum(found.logical_or(&mask)));
    assert_close("loss", &got, &((1.0 - and / or) * 2.0), (1e-12, 0.0));
}

#[test]
fn softmax_of_hard_probabilities_is_the_jaccard_loss() {
    let (found, target) = (randint(7, 3, &[2, 20]), randint(8, 3, &[2, 20]));
    let hard = found.one_hot(3).movedim_int(-1, 1).to_kind(Kind::Double) * 1e4;
    let loss = LovaszSoftmaxLoss::default().reduction(Reduction::None);
    let iou: Vec<f64> = (0..3)
        .map(|c| {
            let (a, b) = (found.eq(c), target.eq(c));
            let count = |t: Tensor| t.sum(Kind::Double).double_value(&[]);
            count(a.logical_and(&b)) / count(a.logical_or(&b))
        })
        .collect();
    let expected = 1.0 - tensor(&iou, &[3]);
    assert_close("loss", &loss.forward(&hard, &target), &expected, (1e-12, 0.0));
}

#[test]
fn an_absent_class_costs_its_largest_probability_or_nothing() {
    let (x, t) = (logits(Kind::Double), classes());
    let rows = |empty_class| {
        let loss = LovaszSoftmaxLoss::kornia().empty_class(empty_class).ignore_index(255);
        loss.reduction(Reduction::None).forward(&x, &t).select(1, 3)
    };
    let valid = t.ne(255).unsqueeze(1).to_kind(Kind::Double);
    let p = (x.softmax(1, None::<Kind>) * &valid).select(1, 3);
    let largest = p.amax([1, 2], false);
    assert_close("smooth", &rows(EmptyClass::Smooth), &largest, (1e-12, 0.0));
    let count = valid.sum_dim_intlist([1i64, 2, 3].as_slice(), false, None::<Kind>);
    let mean = p.sum_dim_intlist([1i64, 2].as_slice(), false, None::<Kind>) / count;
    assert_close("mean", &rows(EmptyClass::FalsePositives), &mean, (1e-12, 0.0));
    for empty_class in [EmptyClass::Skip, EmptyClass::Zero] {
        assert_value("nothing", &rows(empty_class).abs().max(), 0.0, 0.0);
    }
}

#[test]
fn one_image_is_the_same_per_image_and_per_batch() {
    let (x, t) = (logits(Kind::Double).narrow(0, 0, 1), classes().narrow(0, 0, 1));
    for loss in softmax() {
        let [image, batch] = AGGREGATES.map(|a| loss.clone().aggregate(a).forward(&x, &t));
        assert_close("softmax", &image, &batch, (1e-12, 0.0));
    }
    let t = mask().narrow(0, 0, 1);
    for loss in hinge() {
        let [image, batch] = AGGREGATES.map(|a| loss.clone().aggregate(a).forward(&x, &t));
        assert_close("hinge", &image, &batch, (1e-12, 0.0));
    }
}

#[test]
fn per_image_is_the_mean_over_images_in_which_something_counts() {
    let x = randn(9, &[3, 4, 3, 5], Kind::Double);
    let target = Tensor::cat(&[classes(), index(&[255; 15], &[1, 3, 5])], 0);
    for loss in softmax() {
        let loss = loss.aggregate(Aggregate::PerImage);
        let one = |n| loss.forward(&x.narrow(0, n, 1), &target.narrow(0, n, 1));
        let expected = (one(0) + one(1)) / 2.0;
        assert_close("softmax", &loss.forward(&x, &target), &expected, (1e-12, 0.0));
    }
}

/// smp makes one problem of all channels of a multi-label input.
#[test]
fn per_class_is_the_mean_over_channels() {
    let (x, t) = (logits(Kind::Double), mask());
    for aggregate in AGGREGATES {
        let loss = LovaszHingeLoss::default().aggregate(aggregate).ignore_index(255);
        let one = |c| loss.forward(&x.narrow(1, c, 1), &t.narrow(1, c, 1));
        let expected = (one(0) + one(1) + one(2) + one(3)) / 4.0;
        let got = loss.clone().per_class(true).forward(&x, &t);
        assert_close("per class", &got, &expected, (1e-12, 0.0));
        let apart = (loss.forward(&x, &t) - &got).abs().double_value(&[]);
        assert!(apart > 1e-3, "one problem of all channels is another loss");
    }
}

#[test]
fn permuting_images_pixels_and_classes_changes_nothing() {
    let images = index(&[1, 0], &[2]);
    for (loss, t) in all() {
        let x = logits(Kind::Double);
        let expected = loss.forward(&x, &t);
        let permuted = loss.forward(&x.index_select(0, &images), &t.index_select(0, &images));
        assert_close(&format!("images, {loss:?}"), &permuted, &expected, (1e-12, 0.0));
        let flipped = loss.forward(&x.flip([-1, -2]), &t.flip([-1, -2]));
        assert_close(&format!("pixels, {loss:?}"), &flipped, &expected, (1e-12, 0.0));
    }
    let order = index(&[2, 0, 3, 1], &[4]);
    let place = index(&[1, 3, 0, 2], &[4]);
    let (x, t) = (logits(Kind::Double), randint(10, 4, &[2, 3, 5]));
    for aggregate in AGGREGATES {
        let loss = LovaszSoftmaxLoss::default().aggregate(aggregate);
        let renamed = place.index_select(0, &t.flatten(0, -1)).view_as(&t);
        let permuted = loss.forward(&x.index_select(1, &order), &renamed);
        assert_close("classes", &permuted, &loss.forward(&x, &t), (1e-12, 0.0));
        let shifted = loss.forward(&(&x + 5.0), &t);
        assert_close("shift", &shifted, &loss.forward(&x, &t), (1e-9, 0.0));
    }
}

#[test]
fn ignored_pixels_change_nothing_and_get_no_gradient() {
    for (loss, t) in all() {
        let what = format!("{loss:?}");
        let x = logits(Kind::Double);
        let ignored = if t.dim() == 4 { t.eq(255) } else { t.eq(255).unsqueeze(1) };
        let changed = x.where_self(&ignored.logical_not(), &(&x * 3.0 + 40.0));
        let (a, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
        assert_close(&what, &loss.forward(&changed, &t), &a, (1e-12, 0.0));
        assert_value(&what, &(grad * ignored).abs().max(), 0.0, 0.0);
        let masked = loss.forward_weighted(&x, &t.clamp_max(2), &t.ne(255));
        assert_close(&what, &masked, &a, (1e-12, 0.0));
    }
}

#[test]
fn a_weight_of_two_counts_a_pixel_twice() {
    for (loss, t) in all() {
        let (x, t) = (logits(Kind::Double).flatten(2, 3), t.flatten(-2, -1));
        let mut weight = t.ones_like();
        let _ = weight.narrow(-1, 0, 3).fill_(2);
        let twice = |t: &Tensor| Tensor::cat(&[t, &t.narrow(-1, 0, 3)], -1);
        let repeated = loss.forward(&twice(&x), &twice(&t));
        let weighted = loss.forward_weighted(&x, &t, &weight);
        assert_close(&format!("{loss:?}"), &weighted, &repeated, (1e-12, 0.0));
        // Which is about shares: all twice is all once.
        weight = weight.ones_like() * 2;
        let scaled = loss.forward_weighted(&x, &t, &weight);
        assert_close(&format!("{loss:?}"), &scaled, &loss.forward(&x, &t), (1e-12, 0.0));
    }
}

#[test]
fn sorting_a_few_classes_at_a_time_changes_nothing() {
    // As ignored pixels around a small image.
    let (x, t) = (randn(11, &[1, 5, 6, 7], Kind::Double), randint(12, 4, &[1, 6, 7]));
    let sides = [0, 700, 0, 700];
    let (wide, around) = (x.constant_pad_nd(sides), (&t - 255).constant_pad_nd(sides) + 255);
    for aggregate in AGGREGATES {
        let loss = LovaszSoftmaxLoss::default().aggregate(aggregate).ignore_index(255);
        let (small, small_grad) = value_and_grad(&x, |x| loss.forward(x, &t));
        let (large, large_grad) = value_and_grad(&wide, |x| loss.forward(x, &around));
        assert_close("value", &large, &small, (1e-12, 0.0));
        let large_grad = large_grad.narrow(2, 0, 6).narrow(3, 0, 7);
        assert_close("gradient", &large_grad, &small_grad, (1e-12, 1e-15));
    }
}

#[test]
fn one_hot_targets_equal_index_targets() {
    let (x, t) = (logits(Kind::Double), randint(22, 3, &[2, 3, 5]));
    for loss in softmax() {
        let dense = t.one_hot(4).movedim_int(-1, 1).to_kind(Kind::Float);
        let expected = loss.forward(&x, &t);
        assert_close(&format!("{loss:?}"), &loss.forward(&x, &dense), &expected, (1e-12, 0.0));
    }
}

#[test]
fn targets_of_every_kind_and_with_a_channel_are_the_same() {
    let (x, t) = (logits(Kind::Double), randint(13, 4, &[2, 3, 5]));
    let loss = LovaszSoftmaxLoss::default();
    for kind in [Kind::Uint8, Kind::Int, Kind::Int16] {
        let got = loss.forward(&x, &t.to_kind(kind).unsqueeze(1));
        assert_close(&format!("{kind:?}"), &got, &loss.forward(&x, &t), (0.0, 0.0));
    }
    let (x, t) = (x.narrow(1, 0, 1), randint(14, 2, &[2, 3, 5]));
    let loss = LovaszHingeLoss::kornia();
    for kind in [Kind::Bool, Kind::Uint8, Kind::Float] {
        let got = loss.forward(&x, &t.to_kind(kind).unsqueeze(1));
        assert_close(&format!("{kind:?}"), &got, &loss.forward(&x, &t), (0.0, 0.0));
    }
}

#[test]
fn nothing_that_counts_is_zero_with_a_zero_gradient() {
    for kind in KINDS {
        for (loss, t) in all() {
            for t in [t.full_like(255), t.shallow_clone()] {
                let (value, grad) = value_and_grad(&logits(kind), |x| {
                    loss.forward_weighted(x, &t, &t.zeros_like())
                });
                assert_value(&format!("{loss:?} {kind:?}"), &value, 0.0, 0.0);
                assert_value(&format!("{loss:?} {kind:?}"), &grad.abs().max(), 0.0, 0.0);
            }
        }
    }
}

#[test]
fn empty_batches_and_images_are_zero_with_a_gradient() {
    for kind in KINDS {
        for (loss, t) in all() {
            for (images, height) in [(0, 3), (2, 0)] {
                let x = randn(15, &[images, 4, height, 5], kind);
                let t = t.narrow(0, 0, images).narrow(-2, 0, height);
                let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
                assert_value(&format!("{loss:?} {kind:?}"), &value, 0.0, 0.0);
                assert_eq!(grad.size(), x.size(), "{loss:?}");
            }
        }
    }
}

#[test]
fn saturated_logits_are_finite() {
    for kind in KINDS {
        let x = logits(Kind::Double).sign() * 1e4;
        let x = x.to_kind(kind);
        for (loss, t) in all() {
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            assert_finite(&format!("{loss:?} {kind:?}"), &value);
            assert_finite(&format!("{loss:?} {kind:?} gradient"), &grad);
            assert!(value.double_value(&[]) >= 0.0);
        }
    }
}

#[test]
fn a_perfect_prediction_costs_nothing() {
    for kind in KINDS {
        let t = randint(16, 4, &[2, 3, 5]);
        let x = t.one_hot(4).movedim_int(-1, 1).to_kind(kind) * 2e4 - 1e4;
        let (value, _) = value_and_grad(&x, |x| LovaszSoftmaxLoss::default().forward(x, &t));
        assert_value(&format!("softmax {kind:?}"), &value, 0.0, 0.0);
        let (value, _) = value_and_grad(&x, |x| LovaszHingeLoss::kornia().forward(x, &x.gt(0.0)));
        assert_value(&format!("hinge {kind:?}"), &value, 0.0, 0.0);
    }
}

/// Of half a million pixels each adds about 2e-6 to the Jaccard loss; a difference of two Floats
/// near 1 has 3 % of that wrong, as the originals have it.
#[test]
fn many_pixels_keep_their_slopes_in_float() {
    let x = randn(17, &[1, 2, 512, 1024], Kind::Double);
    let t = randint(18, 2, &[1, 512, 1024]);
    let loss = LovaszSoftmaxLoss::default();
    let x = x.to_kind(Kind::Float);
    let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
    let (expected, exact) = value_and_grad(&x.to_kind(Kind::Double), |x| loss.forward(x, &t));
    assert_close("value", &value, &expected, (1e-5, 0.0));
    let worst = (grad.to_kind(Kind::Double) - &exact).abs().max() / exact.abs().max();
    assert!(worst.double_value(&[]) < 1e-4, "{worst:?}");
}

#[test]
fn half_kinds_give_the_float_answer_in_float() {
    for kind in [Kind::Half, Kind::BFloat16] {
        for (loss, t) in all() {
            let x = logits(kind);
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            let (expected, expected_grad) =
                value_and_grad(&x.to_kind(Kind::Float), |x| loss.forward(x, &t));
            assert_eq!((value.kind(), grad.kind()), (Kind::Float, kind), "{loss:?}");
            assert_close(&format!("{loss:?}"), &value, &expected, (1e-5, 1e-6));
            assert_close(&format!("{loss:?}"), &grad, &expected_grad, tolerance(kind));
        }
    }
}

#[test]
fn non_contiguous_input_is_the_same_as_contiguous() {
    for (loss, t) in all() {
        let x = logits(Kind::Double).permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let t = t.transpose(-1, -2).contiguous().transpose(-1, -2);
        assert!(!x.is_contiguous() && !t.is_contiguous());
        let same = loss.forward(&x.contiguous(), &t.contiguous());
        assert_close(&format!("{loss:?}"), &loss.forward(&x, &t), &same, (1e-12, 0.0));
    }
}

#[test]
fn inputs_are_left_as_they_were() {
    for (loss, t) in all() {
        let (x, before) = (logits(Kind::Float), t.copy());
        let input = leaf(&x);
        loss.forward(&input, &t).backward();
        assert_eq!((input.detach(), t), (x, before));
    }
}

#[test]
fn errors_say_what_was_expected() {
    let (x, t) = (logits(Kind::Float), classes());
    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    let softmax = LovaszSoftmaxLoss::default();
    assert_eq!(
        say(softmax.f_forward(&x.narrow(1, 0, 1), &t)),
        "LovaszSoftmaxLoss: expected apply_nonlin None or Sigmoid for one class, got Softmax, which is 1 everywhere"
    );
    assert_eq!(
        say(softmax.f_forward(&x, &x.narrow(1, 0, 2))),
        "LovaszSoftmaxLoss: expected target of shape [2, 3, 5], [2, 1, 3, 5] or [2, 4, 3, 5], got [2, 2, 3, 5]"
    );
    assert_eq!(
        say(softmax.f_forward(&x, &t.to_kind(Kind::Float))),
        "LovaszSoftmaxLoss: expected target of integer kind, got Float"
    );
    assert_eq!(
        say(softmax.f_forward(&x.to_kind(Kind::Int64), &t)),
        "LovaszSoftmaxLoss: expected input of floating-point kind, got Int64"
    );
    assert_eq!(
        say(softmax.clone().class_weights([1.0; 3]).f_forward(&x, &t.clamp_max(3))),
        "LovaszSoftmaxLoss: expected class_weights of shape [4], got [3]"
    );
    assert_eq!(
        say(softmax.f_forward_weighted(&x, &t.clamp_max(3), &x)),
        "LovaszSoftmaxLoss: expected weight of shape [2, 3, 5] or [2, 1, 3, 5], got [2, 4, 3, 5]"
    );
    let hinge = LovaszHingeLoss::default();
    assert_eq!(
        say(hinge.f_forward(&x, &t)),
        "LovaszHingeLoss: expected target of shape [2, 4, 3, 5], got [2, 3, 5]"
    );
    assert_eq!(
        say(hinge.f_forward(&Tensor::from(1.0), &Tensor::from(1.0))),
        "LovaszHingeLoss: expected input of shape [N, ..], got []"
    );
    assert_eq!(
        say(hinge.clone().per_class(true).f_forward(&t.narrow(1, 0, 0), &t)),
        "LovaszHingeLoss: expected input of shape [N, C, ..] with C at least 1, got [2, 0, 5]"
    );
    assert_eq!(
        say(hinge.reduction(Reduction::Other(3)).f_forward(&x, &x)),
        "LovaszHingeLoss: expected reduction None, Mean or Sum, got Other(3)"
    );
    if device() == tch::Device::Cpu {
        // On CUDA libtorch asserts on the device instead.
        assert_eq!(say(softmax.f_forward(&x, &t)), "libtorch: index out of range in self");
    }
}
