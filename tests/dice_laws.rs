//! Soft Dice and its statistics: gradient checks, laws, edges and errors.

mod common;

use common::*;
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    Loss, LossError, SoftDiceLoss,
    segmentation::{DiceForm, Nonlinearity, Statistics, StatisticsOptions, f_tp_fp_fn, tp_fp_fn},
};

/// Images, volumes, and images of many classes, which the losses sum in another way.
const SHAPES: [&[i64]; 3] = [&[2, 3, 4, 3], &[2, 3, 2, 3, 2], &[2, 10, 2, 3]];

fn index_shape(shape: &[i64]) -> Vec<i64> {
    [&shape[..1], &shape[2..]].concat()
}

fn one_hot(target: &Tensor, classes: i64, kind: Kind) -> Tensor {
    target.one_hot(classes).movedim_int(-1, 1).to_kind(kind)
}

/// Every combination of the options that change the maths.
fn variants() -> Vec<SoftDiceLoss> {
    let mut all = vec![];
    for apply_nonlin in [Nonlinearity::Softmax, Nonlinearity::Sigmoid] {
        for batch in [false, true] {
            for bg in [false, true] {
                for square in [false, true] {
                    for smooth in [0.0, 1e-5, 1.0] {
                        all.push(
                            SoftDiceLoss::default()
                                .apply_nonlin(apply_nonlin)
                                .batch_dice(batch)
                                .do_bg(bg)
                                .square(square)
                                .smooth(smooth),
                        );
                    }
                }
            }
        }
    }
    all
}

#[test]
fn gradient_matches_differences() {
    for shape in SHAPES {
        let classes = shape[1];
        let logits = randn(1, shape, Kind::Double);
        let target = randint(2, classes, &index_shape(shape));
        let soft = randn(3, shape, Kind::Double).softmax(1, None::<Kind>);
        let mask = rand(4, &index_shape(shape), Kind::Double);
        for loss in variants() {
            gradcheck(&format!("index {loss:?}"), std::slice::from_ref(&logits), |x| {
                loss.forward_weighted(&x[0], &target, &mask)
            });
            gradcheck(&format!("soft {loss:?}"), std::slice::from_ref(&logits), |x| {
                loss.forward_weighted(&x[0], &soft, &mask)
            });
        }
    }
}

#[test]
fn gradient_matches_differences_without_reduction_and_in_the_other_arguments() {
    let logits = randn(5, SHAPES[0], Kind::Double);
    let soft = randn(6, SHAPES[0], Kind::Double).softmax(1, None::<Kind>);
    let mask = rand(7, &[2, 1, 4, 3], Kind::Double);
    for square in [false, true] {
        let loss = SoftDiceLoss::default()
            .apply_nonlin(Nonlinearity::Softmax)
            .square(square)
            .form(DiceForm::OneMinus);
        for reduction in [Reduction::None, Reduction::Sum] {
            let loss = loss.clone().reduction(reduction);
            gradcheck(
                &format!("input, target and mask of {loss:?}"),
                &[logits.shallow_clone(), soft.shallow_clone(), mask.shallow_clone()],
                |x| loss.forward_weighted(&x[0], &x[1], &x[2]),
            );
        }
        let target = randint(8, 3, &[2, 4, 3]);
        gradcheck(
            &format!("mask of an index target, square {square}"),
            &[logits.shallow_clone(), mask.shallow_clone()],
            |x| loss.forward_weighted(&x[0], &target, &x[1]),
        );
        gradgradcheck(
            &format!("index target, square {square}"),
            std::slice::from_ref(&logits),
            |x| loss.forward_weighted(&x[0], &target, &mask),
        );
        gradgradcheck(
            &format!("soft target, square {square}"),
            std::slice::from_ref(&logits),
            |x| loss.forward_weighted(&x[0], &soft, &mask),
        );
    }
}

#[test]
fn statistics_gradient_matches_differences() {
    let p = rand(9, SHAPES[0], Kind::Double) * 0.8 + 0.1;
    let target = randint(10, 3, &[2, 4, 3]);
    let soft = rand(11, SHAPES[0], Kind::Double);
    for target in [&target, &soft] {
        for square in [false, true] {
            for batch in [false, true] {
                let options = StatisticsOptions::default().square(square).batch(batch);
                gradcheck(&format!("{options:?}"), std::slice::from_ref(&p), |x| {
                    let Statistics { tp, fp, fn_, .. } = tp_fp_fn(&x[0], target, options.clone());
                    Tensor::stack(&[tp, fp, fn_], 0)
                });
            }
        }
    }
}

#[test]
fn statistics_are_the_sums_of_their_products() {
    for shape in SHAPES {
        let classes = shape[1];
        let p = rand(12, shape, Kind::Double);
        let y = rand(13, shape, Kind::Double);
        let index = randint(14, classes, &index_shape(shape));
        let mask = rand(15, &index_shape(shape), Kind::Double);
        for (target, y) in
            [(&y, y.shallow_clone()), (&index, one_hot(&index, classes, Kind::Double))]
        {
            for square in [false, true] {
                let sum = |t: Tensor| {
                    let t = t * mask.unsqueeze(1);
                    let t = if square { &t * &t } else { t };
                    t.flatten(2, -1).sum_dim_intlist(2, false, None::<Kind>)
                };
                let options = StatisticsOptions::default().loss_mask(&mask).square(square);
                let got = tp_fp_fn(&p, target, options.clone());
                let close = |what, got: &Tensor, expected: Tensor| {
                    assert_close(what, got, &expected, tolerance(Kind::Double));
                };
                close("tp", &got.tp, sum(&p * &y));
                close("fp", &got.fp, sum(&p * (1.0f64 - &y)));
                close("fn", &got.fn_, sum((1.0f64 - &p) * &y));
                let over_batch = tp_fp_fn(&p, target, options.batch(true));
                for (whole, each) in
                    [(over_batch.tp, got.tp), (over_batch.fp, got.fp), (over_batch.fn_, got.fn_)]
                {
                    close("batch", &whole, each.sum_dim_intlist(0, false, None::<Kind>));
                }
            }
        }
    }
}

#[test]
fn index_target_equals_one_hot_target() {
    for shape in SHAPES {
        let classes = shape[1];
        let logits = randn(16, shape, Kind::Double);
        let target = randint(17, classes, &index_shape(shape));
        let mask = rand(18, &index_shape(shape), Kind::Double);
        let dense = one_hot(&target, classes, Kind::Double);
        for loss in variants() {
            let of = |target: &Tensor| {
                value_and_grad(&logits, |x| loss.forward_weighted(x, target, &mask))
            };
            let (value, gradient) = of(&target);
            for (what, other) in [
                ("one-hot", dense.shallow_clone()),
                ("one-hot of integers", dense.to_kind(Kind::Uint8)),
                ("one-hot of bool", dense.to_kind(Kind::Bool)),
                ("(N, 1, ..)", target.unsqueeze(1)),
                ("u8", target.to_kind(Kind::Uint8)),
                ("i32", target.to_kind(Kind::Int)),
            ] {
                let (other_value, other_gradient) = of(&other);
                let what = format!("{what} {loss:?}");
                assert_close(&what, &other_value, &value, (1e-12, 1e-14));
                assert_close(&what, &other_gradient, &gradient, (1e-10, 1e-13));
            }
        }
    }
}

#[test]
fn logits_under_the_mask_change_nothing_and_get_no_gradient() {
    for classes in [3, 10] {
        under_the_mask(classes);
    }
}

fn under_the_mask(classes: i64) {
    let logits = randn(19, &[2, classes, 4, 3], Kind::Double);
    let target = randint(20, classes, &[2, 4, 3]);
    let mask = rand(21, &[2, 1, 4, 3], Kind::Double).gt(0.4);
    let hidden = mask.logical_not();
    let other = logits.f_where_self(&mask, &(&logits * -7.0 + 3.0)).unwrap();
    let ignored = target.masked_fill(&hidden.squeeze_dim(1), 255);
    let soft = one_hot(&target, classes, Kind::Double) * 0.8 + 0.05;
    let soft_ignored = soft.masked_fill(&hidden, 255);
    for loss in variants() {
        let check = |what: &str, f: &dyn Fn(&Tensor) -> Tensor| {
            let what = format!("{what} {loss:?}");
            let (value, gradient) = value_and_grad(&logits, f);
            let (changed, changed_gradient) = value_and_grad(&other, f);
            assert_close(&what, &changed, &value, (1e-12, 0.0));
            assert_close(&what, &changed_gradient, &gradient, (1e-10, 1e-14));
            let under = gradient.masked_select(&hidden.expand_as(&gradient));
            assert!(under.abs().max().double_value(&[]) == 0.0, "{what}: gradient under the mask");
            (value, gradient)
        };
        let ignoring = loss.clone().ignore_index(255);
        for (what, target, ignored) in
            [("index", &target, &ignored), ("soft", &soft, &soft_ignored)]
        {
            let masked = check(what, &|x| loss.forward_weighted(x, target, &mask));
            let left_out = check(what, &|x| ignoring.forward(x, ignored));
            assert_close("ignore_index is a mask", &left_out.0, &masked.0, (1e-12, 0.0));
            assert_close("ignore_index is a mask", &left_out.1, &masked.1, (1e-12, 0.0));
            let both = check(what, &|x| ignoring.forward_weighted(x, ignored, &mask));
            assert_close("both", &both.0, &masked.0, (1e-12, 0.0));
        }
        let (whole, _) = value_and_grad(&logits, |x| loss.forward(x, &target));
        let ones = mask.ones_like();
        let (counted, _) = value_and_grad(&logits, |x| loss.forward_weighted(x, &target, &ones));
        assert_close("a mask of ones is no mask", &counted, &whole, (1e-12, 0.0));
    }
}

#[test]
fn permuting_the_batch_changes_nothing() {
    let logits = randn(22, &[3, 3, 4, 2], Kind::Double);
    let target = randint(23, 3, &[3, 4, 2]);
    let order = index(&[2, 0, 1], &[3]);
    for loss in variants() {
        let value = loss.forward(&logits, &target);
        let permuted =
            loss.forward(&logits.index_select(0, &order), &target.index_select(0, &order));
        assert_close(&format!("{loss:?}"), &permuted, &value, (1e-12, 0.0));
    }
}

#[test]
fn permuting_the_classes_permutes_the_scores() {
    let logits = randn(24, SHAPES[0], Kind::Double);
    let target = randint(25, 3, &[2, 4, 3]);
    let order = index(&[2, 0, 1], &[3]);
    let inverse = index(&[1, 2, 0], &[3]);
    let loss =
        SoftDiceLoss::default().apply_nonlin(Nonlinearity::Softmax).reduction(Reduction::None);
    let scores = loss.forward(&logits, &target);
    let renamed = inverse.index_select(0, &target.view(-1)).view_as(&target);
    let permuted = loss.forward(&logits.index_select(1, &order), &renamed);
    assert_close("scores", &permuted, &scores.index_select(1, &order), (1e-12, 0.0));
}

#[test]
fn a_volume_of_depth_one_is_an_image() {
    let logits = randn(26, SHAPES[0], Kind::Double);
    let target = randint(27, 3, &[2, 4, 3]);
    for loss in variants() {
        let flat = loss.forward(&logits, &target);
        let volume = loss.forward(&logits.unsqueeze(2), &target.unsqueeze(1));
        assert_close(&format!("{loss:?}"), &volume, &flat, (1e-12, 0.0));
    }
}

#[test]
fn batch_dice_of_one_image_is_the_dice_of_the_image() {
    let logits = randn(28, &[1, 3, 4, 3], Kind::Double);
    let target = randint(29, 3, &[1, 4, 3]);
    for loss in variants() {
        let image = loss.clone().batch_dice(false).forward(&logits, &target);
        let batch = loss.batch_dice(true).forward(&logits, &target);
        assert_close("one image", &batch, &image, (1e-12, 0.0));
    }
}

#[test]
fn a_perfect_prediction_is_minus_one() {
    let target = randint(30, 3, &[2, 4, 3]);
    let logits = (one_hot(&target, 3, Kind::Double) - 0.5) * 2e4;
    for loss in variants() {
        // Without smoothing an absent class scores 0; here all classes are there.
        let (value, gradient) = value_and_grad(&logits, |x| loss.forward(x, &target));
        assert_value(&format!("{loss:?}"), &value, -1.0, 1e-12);
        assert_finite("gradient", &gradient);
        let value = loss.form(DiceForm::OneMinus).forward(&logits, &target);
        assert_value("1 - dc", &value, 0.0, 1e-12);
    }
}

#[test]
fn forms_differ_by_one_and_values_stay_in_range() {
    let logits = randn(31, SHAPES[0], Kind::Double) * 3.0;
    let target = randint(32, 3, &[2, 4, 3]);
    for loss in variants() {
        let loss = loss.reduction(Reduction::None);
        let negative = loss.forward(&logits, &target);
        let one_minus = loss.form(DiceForm::OneMinus).forward(&logits, &target);
        assert_close("forms", &one_minus, &(&negative + 1.0), (1e-12, 1e-15));
        assert!(one_minus.min().double_value(&[]) >= 0.0);
        assert!(one_minus.max().double_value(&[]) <= 1.0);
    }
}

#[test]
fn reductions_agree_and_have_the_shape_of_the_scores() {
    let logits = randn(33, SHAPES[0], Kind::Double);
    let target = randint(34, 3, &[2, 4, 3]);
    for (batch, bg, shape) in [
        (false, true, vec![2, 3]),
        (false, false, vec![2, 2]),
        (true, true, vec![3]),
        (true, false, vec![2]),
    ] {
        let loss = SoftDiceLoss::nnunet().batch_dice(batch).do_bg(bg);
        let scores = loss.clone().reduction(Reduction::None).forward(&logits, &target);
        assert_eq!(scores.size(), shape);
        let sum = loss.clone().reduction(Reduction::Sum).forward(&logits, &target);
        assert_close("sum", &sum, &scores.sum(None::<Kind>), (1e-12, 0.0));
        let mean = loss.forward(&logits, &target);
        assert_close("mean", &mean, &scores.mean(None::<Kind>), (1e-12, 0.0));
    }
}

#[test]
fn smoothing_lifts_the_score() {
    let logits = randn(35, SHAPES[0], Kind::Double);
    let target = randint(36, 3, &[2, 4, 3]);
    let at = |smooth| {
        let loss = SoftDiceLoss::nnunet().smooth(smooth);
        loss.forward(&logits, &target).double_value(&[])
    };
    let values = [0.0, 1e-5, 0.1, 1.0, 1e6].map(at);
    assert!(values.windows(2).all(|pair| pair[1] < pair[0]), "{values:?}");
    assert!((values[4] + 1.0).abs() < 1e-4);
}

#[test]
fn one_class_takes_its_map_as_target() {
    let logits = randn(37, &[2, 1, 4, 3], Kind::Double);
    let map = rand(38, &[2, 4, 3], Kind::Double).gt(0.5);
    let loss = SoftDiceLoss::default().apply_nonlin(Nonlinearity::Sigmoid);
    let p = logits.sigmoid();
    let y = map.unsqueeze(1).to_kind(Kind::Double);
    let sum = |t: Tensor| t.flatten(2, -1).sum_dim_intlist(2, false, None::<Kind>);
    let scores = (sum(&p * &y) * 2.0 + 1.0) / (sum(p) + sum(y) + 1.0);
    let expected = -scores.mean(None::<Kind>);
    for target in [
        map.shallow_clone(),
        map.unsqueeze(1),
        map.to_kind(Kind::Int64),
        map.to_kind(Kind::Float),
        map.unsqueeze(1).to_kind(Kind::Double),
    ] {
        assert_close("one class", &loss.forward(&logits, &target), &expected, (1e-12, 0.0));
    }
}

#[test]
fn images_without_pixel_dimensions_and_lines_are_taken() {
    let logits = randn(39, &[6, 3], Kind::Double);
    let target = index(&[0, 1, 2, 2, 1, 0], &[6]);
    for loss in variants() {
        let flat = loss.forward(&logits, &target);
        let image = loss.forward(&logits.view([6, 3, 1, 1]), &target.view([6, 1, 1]));
        assert_close("(N, C)", &flat, &image, (1e-12, 0.0));
        assert_close("(N, 1)", &loss.forward(&logits, &target.view([6, 1])), &flat, (0.0, 0.0));
        let line = loss.forward(&logits.tr().unsqueeze(0), &target.unsqueeze(0));
        let image = loss.forward(&logits.tr().view([1, 3, 2, 3]), &target.view([1, 2, 3]));
        assert_close("(N, C, L)", &line, &image, (1e-12, 0.0));
    }
}

/// Loss and gradient of every variant must be finite, and the gradient of the input's kind.
fn finite(what: &str, kind: Kind, logits: &Tensor, target: &Tensor, mask: Option<&Tensor>) {
    for loss in variants() {
        let what = format!("{what} in {kind:?}, {loss:?}");
        let (value, gradient) = value_and_grad(logits, |x| match mask {
            Some(mask) => loss.forward_weighted(x, target, mask),
            None => loss.forward(x, target),
        });
        assert_finite(&what, &value);
        assert_finite(&what, &gradient);
        let accumulated = if kind == Kind::Double { kind } else { Kind::Float };
        assert_eq!((value.kind(), gradient.kind()), (accumulated, kind), "{what}");
    }
}

#[test]
fn edges_are_finite_in_every_kind() {
    for (kind, classes) in KINDS.into_iter().flat_map(|kind| [(kind, 3), (kind, 10)]) {
        let logits = randn(40, &[2, classes, 4, 3], kind);
        let target = randint(41, classes, &[2, 4, 3]);
        let dense = one_hot(&target, classes, kind);
        let ones = tensor(&[1.0; 24], &[2, 1, 4, 3]).to_kind(kind);
        let zeros = ones.zeros_like();
        finite("index", kind, &logits, &target, None);
        finite("one-hot", kind, &logits, &dense, None);
        finite("empty mask", kind, &logits, &target, Some(&zeros));
        finite("empty mask, one-hot", kind, &logits, &dense, Some(&zeros));
        finite("full mask", kind, &logits, &target, Some(&ones));
        finite("absent class", kind, &logits, &target.clamp_max(1), None);
        finite("one class alone", kind, &logits, &target.zeros_like(), None);
        finite("empty target", kind, &logits, &dense.zeros_like(), None);
        let wrong = (&dense - 0.5) * -2e4;
        finite("saturated, right", kind, &wrong.neg(), &target, None);
        finite("saturated, wrong", kind, &wrong, &target, None);
        finite("saturated, absent", kind, &wrong, &target.zeros_like(), None);
        finite("saturated, one-hot", kind, &wrong, &dense, Some(&ones));
        let strided = logits.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        finite("channels last", kind, &strided, &target, Some(&ones));
        finite("empty batch", kind, &logits.narrow(0, 0, 0), &target.narrow(0, 0, 0), None);
        finite("no pixels", kind, &logits.narrow(2, 0, 0), &target.narrow(1, 0, 0), None);
        finite("no columns", kind, &logits.narrow(3, 0, 0), &target.narrow(2, 0, 0), None);
    }
}

#[test]
fn what_is_not_contiguous_has_the_same_loss() {
    for (classes, loss) in
        [3, 10].into_iter().flat_map(|n| variants().into_iter().map(move |l| (n, l)))
    {
        let logits = randn(42, &[2, classes, 4, 3], Kind::Double);
        let target = randint(43, classes, &[2, 4, 3]);
        let mask = rand(44, &[2, 4, 3], Kind::Double);
        let strided = logits.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let transposed = |t: &Tensor| t.transpose(1, 2).contiguous().transpose(1, 2);
        let of = |logits: &Tensor, target: &Tensor, mask: &Tensor| {
            let logits = logits.detach().set_requires_grad(true);
            let value = loss.forward_weighted(&logits, target, mask);
            value.backward();
            (value.detach(), logits.grad())
        };
        let expected = of(&logits, &target, &mask);
        let got = of(&strided, &transposed(&target), &transposed(&mask));
        assert_close("value", &got.0, &expected.0, (1e-12, 0.0));
        assert_close("gradient", &got.1, &expected.1, (1e-10, 1e-14));
    }
}

#[test]
fn everything_masked_scores_as_an_empty_class_and_has_no_gradient() {
    let logits = randn(45, SHAPES[0], Kind::Float);
    let target = randint(46, 3, &[2, 4, 3]);
    let ignored = target.full_like(-100);
    let mask = target.zeros_like();
    for loss in variants() {
        let smooth = !format!("{loss:?}").contains("smooth: 0.0");
        let ignoring = loss.clone().ignore_index(-100);
        for (value, gradient) in [
            value_and_grad(&logits, |x| loss.forward_weighted(x, &target, &mask)),
            value_and_grad(&logits, |x| ignoring.forward(x, &ignored)),
        ] {
            assert_value("value", &value, if smooth { -1.0 } else { 0.0 }, 1e-6);
            assert_close("gradient", &gradient, &gradient.zeros_like(), (0.0, 0.0));
        }
    }
}

#[test]
fn an_empty_batch_is_zero_per_image() {
    let logits = leaf(&randn(47, &[0, 3, 4, 3], Kind::Float));
    let target = randint(48, 3, &[0, 4, 3]);
    let loss = SoftDiceLoss::default().apply_nonlin(Nonlinearity::Softmax);
    let value = loss.forward(&logits, &target);
    assert_value("value", &value, 0.0, 0.0);
    value.backward();
    assert_eq!(logits.grad().size(), [0, 3, 4, 3]);
}

#[test]
fn half_images_of_512_pixels_agree_with_float() {
    let logits = randn(49, &[1, 3, 512, 512], Kind::Half);
    let target = randint(50, 3, &[1, 512, 512]);
    let dense = one_hot(&target, 3, Kind::Half);
    for loss in [SoftDiceLoss::nnunet(), SoftDiceLoss::nnunet().square(true)] {
        for target in [&target, &dense] {
            let (expected, slope) =
                value_and_grad(&logits.to_kind(Kind::Float), |x| loss.forward(x, target));
            for kind in [Kind::Half, Kind::BFloat16] {
                let input = logits.to_kind(kind);
                let (value, gradient) = value_and_grad(&input, |x| loss.forward(x, target));
                assert_close(
                    "value",
                    &value,
                    &expected,
                    (if kind == Kind::Half { 1e-6 } else { 1e-3 }, 0.0),
                );
                // The gradients are near 1e-6, where Half has steps of 6e-8.
                let atol = if kind == Kind::Half { 1e-7 } else { 5e-7 };
                assert_close("gradient", &gradient, &slope, (2e-2, atol));
            }
        }
    }
}

#[test]
fn large_float_volumes_are_counted_exactly() {
    // One by one in Float, the sum would stop growing at 2^24 = 16777216.
    for classes in [2, 9] {
        let mut p = vec![0.0f32; classes];
        p[0] = 1.0;
        let p = Tensor::from_slice(&p).to_device(device()).view([1, -1, 1, 1]);
        let p = p.expand([1, -1, 5000, 4000], false);
        let target = Tensor::from(0i64).to_device(device()).expand([1, 5000, 4000], false);
        let Statistics { tp, fp, fn_, .. } = tp_fp_fn(&p, &target, Default::default());
        assert_close("tp", &tp.sum(None::<Kind>), &tensor(&[2e7], &[]), (0.0, 0.0));
        assert_close("fp", &fp, &fp.zeros_like(), (0.0, 0.0));
        assert_close("fn", &fn_, &fn_.zeros_like(), (0.0, 0.0));
    }
}

#[test]
fn statistics_are_never_negative() {
    for kind in [Kind::Float, Kind::Half] {
        // All mass on the right class but for rounding.
        let target = randint(51, 3, &[4, 50, 50]);
        let p = (one_hot(&target, 3, Kind::Float) * 15.0).softmax(1, None::<Kind>).to_kind(kind);
        for target in [target.shallow_clone(), one_hot(&target, 3, kind)] {
            let got = tp_fp_fn(&p, &target, Default::default());
            for (what, part) in [("tp", got.tp), ("fp", got.fp), ("fn", got.fn_)] {
                assert!(part.min().double_value(&[]) >= 0.0, "{what} in {kind:?}: {part}");
            }
        }
    }
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let logits = randn(52, &[2, 3, 4, 5], Kind::Float);
    let target = randint(53, 3, &[2, 4, 5]);
    let plain = SoftDiceLoss::default;
    let message = |loss: SoftDiceLoss, input: &Tensor, target: &Tensor| {
        loss.f_forward(input, target).unwrap_err().to_string()
    };
    assert_eq!(
        message(plain(), &logits, &target.narrow(1, 0, 3)),
        "SoftDiceLoss: expected target of shape [2, 4, 5], [2, 1, 4, 5] or [2, 3, 4, 5], \
         got [2, 3, 5]"
    );
    assert_eq!(
        message(plain(), &logits, &target.to_kind(Kind::Float)),
        "SoftDiceLoss: expected target of integer kind, got Float"
    );
    assert_eq!(
        message(plain(), &logits, &logits.to_kind(Kind::ComplexFloat)),
        "SoftDiceLoss: expected target of floating-point or integer kind, got ComplexFloat"
    );
    assert_eq!(
        message(plain(), &target.unsqueeze(1), &target),
        "SoftDiceLoss: expected input of floating-point kind, got Int64"
    );
    assert_eq!(
        message(plain(), &logits.view(-1), &target),
        "SoftDiceLoss: expected input of shape [N, C, ..] with C at least 1, got [120]"
    );
    assert_eq!(
        message(plain(), &logits.narrow(1, 0, 0), &target),
        "SoftDiceLoss: expected input of shape [N, C, ..] with C at least 1, got [2, 0, 4, 5]"
    );
    assert_eq!(
        message(plain().smooth(-1.0), &logits, &target),
        "SoftDiceLoss: expected smooth at least 0 and finite, got -1"
    );
    assert_eq!(
        message(plain().smooth(f64::NAN), &logits, &target),
        "SoftDiceLoss: expected smooth at least 0 and finite, got NaN"
    );
    assert_eq!(
        message(plain().reduction(Reduction::Other(7)), &logits, &target),
        "SoftDiceLoss: expected reduction None, Mean or Sum, got Other(7)"
    );
    let one = logits.narrow(1, 0, 1);
    assert_eq!(
        message(plain().do_bg(false), &one, &target),
        "SoftDiceLoss: expected do_bg true for one class, got false"
    );
    assert_eq!(
        message(plain().apply_nonlin(Nonlinearity::Softmax), &one, &target),
        "SoftDiceLoss: expected apply_nonlin None or Sigmoid for one class, \
         got Softmax, which is 1 everywhere"
    );
    let masked =
        |mask: &Tensor| plain().f_forward_weighted(&logits, &target, mask).unwrap_err().to_string();
    assert_eq!(
        masked(&rand(1, &[2, 3, 4, 5], Kind::Float)),
        "SoftDiceLoss: expected weight of shape [2, 4, 5] or [2, 1, 4, 5], got [2, 3, 4, 5]"
    );
    assert_eq!(
        masked(&target.to_kind(Kind::ComplexFloat)),
        "SoftDiceLoss: expected weight of floating-point or integer kind, got ComplexFloat"
    );
    assert_eq!(
        f_tp_fp_fn(&logits, &target.view(-1), Default::default()).unwrap_err().to_string(),
        "tp_fp_fn: expected target of shape [2, 4, 5], [2, 1, 4, 5] or [2, 3, 4, 5], got [40]"
    );
    assert_eq!(
        f_tp_fp_fn(&target, &target, Default::default()).unwrap_err().to_string(),
        "tp_fp_fn: expected probabilities of floating-point kind, got Int64"
    );
    // On CUDA an index out of range is a device-side assertion.
    if device() == tch::Device::Cpu {
        for wrong in [3, -1] {
            let error = plain().f_forward(&logits, &target.full_like(wrong)).unwrap_err();
            assert!(matches!(error, LossError::Torch(_)), "{error:?}");
            assert!(error.to_string().contains("index"), "{error}");
            let many = randn(55, &[2, 10, 4, 5], Kind::Float);
            let wrong = target.full_like(if wrong > 0 { 10 } else { wrong });
            let error = plain().f_forward(&many, &wrong).unwrap_err();
            assert!(error.to_string().contains("index"), "{error}");
        }
    }
}

#[test]
#[should_panic(expected = "SoftDiceLoss: expected do_bg true for one class, got false")]
fn the_plain_form_panics_with_the_same_line() {
    let logits = randn(54, &[2, 1, 4, 5], Kind::Float);
    let _ = SoftDiceLoss::default().do_bg(false).forward(&logits, &logits);
}
