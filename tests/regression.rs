//! Laws, gradients, edge cases and errors of regression losses, norms and YOLO's box regression.

mod common;

use common::{
    KINDS, assert_close, assert_finite, assert_value, gradcheck, gradgradcheck, index, leaf, rand,
    randint, randn, tensor, tolerance, value_and_grad,
};
use tch::{Kind, Tensor};
use tch_losses::{
    BalancedL1Loss, CharbonnierLoss, CosineEmbeddingLoss, CosineSimilarityLoss, GaussianNllLoss,
    HuberLoss, L1Loss, LogCoshLoss, Loss, MapeLoss, MseLoss, MsleLoss, PoissonNllLoss,
    QuantileLoss, Reduction, RmseLoss, SmoothL1Loss,
    detection::{BoxSize, YoloBoxLoss},
    regression::{CosineForm, f_l0_norm, f_l2_norm, f_lp_norm, l0_norm, l1_norm, l2_norm, lp_norm},
};

type Losses = Vec<(&'static str, Box<dyn Loss>)>;

/// Losses with one value an element, 0 where the input is the target.
fn of_errors() -> Losses {
    vec![
        ("l1", Box::new(L1Loss::default())),
        ("mse", Box::new(MseLoss::default())),
        ("huber", Box::new(HuberLoss::default().delta(0.7))),
        ("smooth l1", Box::new(SmoothL1Loss::default().beta(0.4))),
        ("smooth l1 of beta 0", Box::new(SmoothL1Loss::default().beta(0.0))),
        ("log cosh", Box::new(LogCoshLoss::default())),
        ("charbonnier", Box::new(CharbonnierLoss::default().eps(0.3).offset(true))),
        ("balanced l1", Box::new(BalancedL1Loss::default())),
        ("balanced l1 0.6", Box::new(BalancedL1Loss::default().alpha(0.3).gamma(1.1).beta(0.6))),
        ("quantile", Box::new(QuantileLoss::default().quantile(0.3))),
        ("mape", Box::new(MapeLoss::default())),
        ("msle", Box::new(MsleLoss::default())),
    ]
}

/// All losses with one value an element.
fn elementwise() -> Losses {
    let mut losses = of_errors();
    losses.push(("charbonnier plain", Box::new(CharbonnierLoss::default())));
    losses.push(("poisson", Box::new(PoissonNllLoss::default().full(true))));
    losses.push(("poisson rate", Box::new(PoissonNllLoss::keras())));
    losses
}

/// All losses of two tensors of one shape.
fn all() -> Losses {
    let mut losses = elementwise();
    losses.push(("rmse", Box::new(RmseLoss::default())));
    losses.push(("rmse per sample", Box::new(RmseLoss::default().per_sample(true))));
    losses.push(("cosine", Box::new(CosineSimilarityLoss::default())));
    losses.push(("cosine keras", Box::new(CosineSimilarityLoss::keras())));
    losses
}

/// Positive inputs and targets that are not close to one another or to a kink.
fn pair(kind: Kind) -> (Tensor, Tensor) {
    let target = rand(1, &[4, 3], Kind::Double) * 2.0 + 1.5;
    let away = randint(2, 2, &[4, 3]) * 2 - 1;
    let error = (rand(3, &[4, 3], Kind::Double) + 0.05) * away;
    ((&target + error).to_kind(kind), target.to_kind(kind))
}

#[test]
fn gradients_agree_with_differences() {
    let (x, t) = pair(Kind::Double);
    for (name, loss) in all() {
        gradcheck(name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
        gradgradcheck(name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
        let weight = rand(4, &[4, 1], Kind::Double);
        let weight = if name.starts_with("cosine") { weight.squeeze() } else { weight };
        gradcheck(&format!("{name}, weighted"), &[x.shallow_clone()], |x| {
            loss.forward_weighted(&x[0], &t, &weight)
        });
    }
    let (x, t) = (randn(5, &[3, 4, 2], Kind::Double), randn(6, &[3, 2, 2], Kind::Double));
    for log_variance in [true, false] {
        let loss = GaussianNllLoss::default().log_variance(log_variance).full(true);
        let x = if log_variance { x.shallow_clone() } else { x.abs() + 0.2 };
        gradcheck("gaussian", &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
        gradgradcheck("gaussian", &[x], |x| loss.forward(&x[0], &t));
    }
    let (a, b) = (randn(7, &[5, 3], Kind::Double), randn(8, &[5, 3], Kind::Double));
    let label = index(&[1, -1, -1, 1, 0], &[5]);
    let embedding = CosineEmbeddingLoss::default().margin(-0.9);
    gradcheck("embedding", &[a.shallow_clone(), b.shallow_clone()], |x| {
        embedding.forward(&x[0], &x[1], &label)
    });
    gradgradcheck("embedding", &[a, b], |x| embedding.forward(&x[0], &x[1], &label));
}

#[test]
fn gradients_reach_the_target() {
    let (x, t) = pair(Kind::Double);
    for (name, loss) in all() {
        gradcheck(&format!("{name} of the target"), &[t.shallow_clone()], |t| {
            loss.forward(&x, &t[0])
        });
    }
}

#[test]
fn no_error_costs_nothing_and_has_a_finite_gradient() {
    for kind in KINDS {
        let t = pair(kind).1;
        for (name, loss) in of_errors() {
            let (value, grad) = value_and_grad(&t, |x| loss.forward(x, &t));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 2e-7);
            assert_finite(&format!("{name} {kind:?}"), &grad);
            if name != "quantile" {
                assert_value(&format!("{name} {kind:?}"), &grad.abs().max(), 0.0, 1e-6);
            }
        }
    }
}

#[test]
fn rmse_without_error_has_no_gradient_of_any_order() {
    for per_sample in [false, true] {
        let loss = RmseLoss::default().per_sample(per_sample);
        let t = randn(9, &[2, 3], Kind::Double);
        let x = leaf(&t);
        let value = loss.forward(&x, &t);
        assert_value("value", &value, 0.0, 0.0);
        let grad = Tensor::run_backward(&[&value], &[&x], true, true).remove(0);
        assert_value("gradient", &grad.abs().max(), 0.0, 0.0);
        let twice = Tensor::run_backward(&[grad.sum(Kind::Double)], &[&x], false, false).remove(0);
        assert_value("second gradient", &twice.abs().max(), 0.0, 0.0);
    }
}

#[test]
fn rmse_is_the_root_of_mse() {
    let (x, t) = pair(Kind::Double);
    let weight = rand(10, &[4, 3], Kind::Double);
    let (mse, rmse) = (MseLoss::default(), RmseLoss::default());
    assert_close("plain", &rmse.forward(&x, &t), &mse.forward(&x, &t).sqrt(), (1e-12, 0.0));
    let weighted = rmse.forward_weighted(&x, &t, &weight);
    let expected = mse.forward_weighted(&x, &t, &weight).sqrt();
    assert_close("weighted", &weighted, &expected, (1e-12, 0.0));
    for reduction in [Reduction::Sum, Reduction::None] {
        let same = RmseLoss::default().reduction(reduction).forward(&x, &t);
        assert_close("one root", &same, &rmse.forward(&x, &t), (0.0, 0.0));
    }
    let one = rmse.clone().per_sample(true).forward(&x.narrow(0, 1, 1), &t.narrow(0, 1, 1));
    assert_close("one sample", &one, &rmse.forward(&x.select(0, 1), &t.select(0, 1)), (1e-12, 0.0));
}

#[test]
fn huber_is_smooth_l1_times_beta() {
    let (x, t) = pair(Kind::Double);
    let huber = HuberLoss::default().delta(0.4).forward(&x, &t);
    let smooth = SmoothL1Loss::default().beta(0.4).forward(&x, &t);
    assert_close("value", &huber, &(smooth * 0.4), (1e-12, 0.0));
}

/// Without the ½ of the small branch, which some copies lack, the value halves from one side to the other.
#[test]
fn huber_is_continuous_at_delta() {
    let huber = HuberLoss::default().delta(1.0);
    let value =
        |x: f64| huber.forward(&tensor(&[x], &[1]), &tensor(&[0.0], &[1])).double_value(&[]);
    assert!((value(1.0 - 1e-9) - value(1.0 + 1e-9)).abs() < 1e-8);
    assert!((value(1.0) - 0.5).abs() < 1e-12);
}

#[test]
fn quantile_of_a_half_is_half_of_l1() {
    let (x, t) = (tensor(&[1.0, -2.0, 0.5], &[3]), tensor(&[0.0, 1.0, 0.5], &[3]));
    let (value, grad) = value_and_grad(&x, |x| QuantileLoss::default().forward(x, &t));
    let (l1, of_l1) = value_and_grad(&x, |x| L1Loss::default().forward(x, &t));
    assert_close("value", &value, &(l1 * 0.5), (1e-12, 0.0));
    assert_close("gradient", &grad, &(of_l1 * 0.5), (1e-12, 0.0));
}

#[test]
fn quantile_loss_is_least_at_the_quantile() {
    let samples = Tensor::arange(101, (Kind::Double, common::device()));
    for (quantile, expected) in [(0.1, 10.0), (0.5, 50.0), (0.93, 93.0)] {
        let loss = QuantileLoss::default().quantile(quantile);
        let at = |x: f64| loss.forward(&(samples.zeros_like() + x), &samples).double_value(&[]);
        let best = at(expected);
        for other in (0..101).map(f64::from) {
            assert!(at(other) >= best - 1e-9, "{quantile}: {other} is better than {expected}");
        }
    }
}

#[test]
fn charbonnier_lies_between_l1_and_l1_plus_eps() {
    let (x, t) = pair(Kind::Double);
    let loss = CharbonnierLoss::default().eps(0.2).reduction(Reduction::None).forward(&x, &t);
    let l1 = (&x - &t).abs();
    assert_value("above", &loss.gt_tensor(&l1).all().to_kind(Kind::Double), 1.0, 0.0);
    let below = loss.le_tensor(&(l1 + 0.2)).all();
    assert_value("below", &below.to_kind(Kind::Double), 1.0, 0.0);
}

#[test]
fn log_cosh_is_squared_near_and_absolute_far() {
    let loss = LogCoshLoss::default().reduction(Reduction::None);
    let x = tensor(&[1e-3, -1e-3, 50.0, -1e4], &[4]);
    let ln2 = std::f64::consts::LN_2;
    let expected = tensor(&[5e-7, 5e-7, 50.0 - ln2, 1e4 - ln2], &[4]);
    let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &x.zeros_like()));
    assert_close("value", &value, &expected, (1e-6, 1e-15));
    assert_close("gradient", &grad, &x.tanh(), (1e-12, 1e-15));
}

/// MMDetection's formula has another gradient for a beta that is not 1: it jumps at beta, and is not
/// 0 without error.
#[test]
fn balanced_l1_has_the_gradient_of_the_paper_for_every_beta() {
    let (alpha, gamma) = (0.5f64, 1.5f64);
    let b = (gamma / alpha).exp() - 1.0;
    for beta in [0.1, 1.0, 2.5] {
        let loss = BalancedL1Loss::default().beta(beta).reduction(Reduction::Sum);
        let x = tensor(&[0.0, 1e-6, 0.3 * beta, -0.999999 * beta, 1.000001 * beta, 7.0], &[6]);
        let (_, grad) = value_and_grad(&x, |x| loss.forward(x, &x.zeros_like()));
        let slope = (x.abs().clamp_max(beta) * (b / beta)).log1p() * alpha;
        assert_close(&format!("beta {beta}"), &grad, &(x.sign() * slope), (1e-12, 1e-12));
        let value = |x: f64| loss.forward(&tensor(&[x], &[1]), &tensor(&[0.0], &[1]));
        let jump = value(beta * (1.0 + 1e-9)) - value(beta * (1.0 - 1e-9));
        assert_value("continuous", &jump, 0.0, 1e-7);
    }
}

#[test]
fn mape_does_not_change_with_the_unit() {
    let (x, t) = pair(Kind::Double);
    let loss = MapeLoss::default();
    let metres = loss.forward(&x, &t);
    assert_close("value", &loss.forward(&(&x * 1e3), &(&t * 1e3)), &metres, (1e-12, 0.0));
}

#[test]
fn poisson_of_a_rate_is_that_of_its_logarithm() {
    let rate = rand(11, &[6], Kind::Double) * 3.0 + 0.2;
    let count = randint(12, 5, &[6]);
    for full in [false, true] {
        let of_log = PoissonNllLoss::default().full(full).forward(&rate.log(), &count);
        let of_rate = PoissonNllLoss::default().log_input(false).full(full).eps(1e-14);
        assert_close("value", &of_rate.forward(&rate, &count), &of_log, (1e-11, 0.0));
    }
}

#[test]
fn poisson_is_least_at_the_logarithm_of_the_count() {
    let count = tensor(&[1.0, 2.0, 7.0], &[3]);
    let (_, grad) = value_and_grad(&count.log(), |x| PoissonNllLoss::default().forward(x, &count));
    assert_value("gradient", &grad.abs().max(), 0.0, 1e-12);
}

#[test]
fn poisson_rates_below_zero_count_as_zero() {
    let loss = PoissonNllLoss::default().log_input(false).reduction(Reduction::None);
    let (value, grad) = value_and_grad(&tensor(&[-1.0, -1e4], &[2]), |x| {
        loss.forward(x, &tensor(&[0.0, 2.0], &[2]))
    });
    assert_close("value", &value, &tensor(&[0.0, -2.0 * 1e-8f64.ln()], &[2]), (1e-12, 0.0));
    assert_value("gradient", &grad.abs().max(), 0.0, 0.0);
}

#[test]
fn gaussian_of_variance_1_is_half_of_mse() {
    let (x, t) = pair(Kind::Double);
    let gaussian = GaussianNllLoss::default();
    let expected = MseLoss::default().forward(&x, &t) * 0.5;
    let apart = gaussian.forward_with_variance(&x, &t, &x.ones_like());
    assert_close("apart", &apart, &expected, (1e-12, 0.0));
    let together = gaussian.forward(&Tensor::cat(&[&x, &x.zeros_like()], 1), &t);
    assert_close("together", &together, &expected, (1e-12, 0.0));
}

#[test]
fn gaussian_of_a_logarithm_is_that_of_the_variance() {
    let (x, t) = (randn(13, &[2, 3, 4], Kind::Double), randn(14, &[2, 3, 4], Kind::Double));
    let variance = rand(15, &[2, 3, 4], Kind::Double) + 0.1;
    for reduction in [Reduction::Mean, Reduction::None] {
        let loss = GaussianNllLoss::default().full(true).reduction(reduction);
        let apart = loss.forward_with_variance(&x, &t, &variance);
        let of_logarithm = loss.forward(&Tensor::cat(&[&x, &variance.log()], 1), &t);
        assert_close("logarithm", &of_logarithm, &apart, (1e-12, 1e-14));
        let stacked = loss.log_variance(false).forward(&Tensor::cat(&[&x, &variance], 1), &t);
        assert_close("variance", &stacked, &apart, (1e-12, 1e-14));
    }
}

#[test]
fn gaussian_variances_below_eps_can_grow_again() {
    let (mean, target) = (tensor(&[0.0], &[1]), tensor(&[3.0], &[1]));
    let loss = GaussianNllLoss::default().eps(0.01);
    for variance in [-1.0, 0.0, 0.001] {
        let (value, grad) = value_and_grad(&tensor(&[variance], &[1]), |v| {
            loss.forward_with_variance(&mean, &target, v)
        });
        assert_value("value", &value, 0.5 * (0.01f64.ln() + 9.0 / 0.01), 1e-9);
        assert_value("gradient", &grad.sum(Kind::Double), 0.5 * (100.0 - 9.0 * 1e4), 1e-6);
    }
    let head = |log: f64| tensor(&[0.0, log], &[1, 2]);
    let (_, grad) = value_and_grad(&head(-1e4), |x| loss.forward(x, &target.view([1, 1])));
    assert_value("of a logarithm", &grad.select(1, 1), 0.5 * (1.0 - 9.0 / 0.01), 1e-9);
}

#[test]
fn cosine_losses_do_not_change_with_the_lengths() {
    let (x, t) = (randn(16, &[4, 3], Kind::Double), randn(17, &[4, 3], Kind::Double));
    let lengths = rand(18, &[4, 1], Kind::Double) * 5.0 + 0.1;
    for loss in [CosineSimilarityLoss::default(), CosineSimilarityLoss::keras()] {
        let longer = loss.forward(&(&x * &lengths), &(&t * lengths.flip([0])));
        assert_close("value", &longer, &loss.forward(&x, &t), (1e-12, 0.0));
    }
    let own = CosineSimilarityLoss::default().forward(&x, &(&x * 3.0));
    assert_value("same direction", &own, 0.0, 1e-12);
}

#[test]
fn the_negative_cosine_is_one_less() {
    let (x, t) = (randn(19, &[4, 3, 2], Kind::Double), randn(20, &[4, 3, 2], Kind::Double));
    let one_minus = CosineSimilarityLoss::default();
    let negative = one_minus.clone().form(CosineForm::Negative);
    let difference = one_minus.forward(&x, &t) - negative.forward(&x, &t);
    assert_value("difference", &difference, 1.0, 1e-12);
}

/// PyTorch's gradient there is 1e8 times the other vector's direction.
#[test]
fn zero_vectors_have_cosine_0_and_no_gradient() {
    for kind in KINDS {
        let t = randn(21, &[3, 4], kind);
        let x = randn(22, &[3, 4], kind) * index(&[0, 1, 1], &[3, 1]);
        let loss = CosineSimilarityLoss::default().reduction(Reduction::None);
        let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
        assert_value("value", &value.get(0), 1.0, 0.0);
        assert_value("gradient", &grad.get(0).abs().max(), 0.0, 0.0);
        assert_finite("others", &grad);
        let label = index(&[-1, 1, -1], &[3]);
        let embedding = CosineEmbeddingLoss::default();
        let (value, grad) = value_and_grad(&x, |x| embedding.forward(x, &t, &label));
        assert_finite("embedding", &value);
        assert_value("embedding gradient", &grad.get(0).abs().max(), 0.0, 0.0);
    }
}

#[test]
fn embedding_of_alike_pairs_is_the_similarity_loss() {
    let (x, t) = (randn(23, &[5, 3], Kind::Double), randn(24, &[5, 3], Kind::Double));
    let alike = CosineEmbeddingLoss::default().forward(&x, &t, &index(&[1; 5], &[5]));
    let similarity = CosineSimilarityLoss::default().forward(&x, &t);
    assert_close("value", &alike, &similarity, (1e-12, 0.0));
    let one = CosineEmbeddingLoss::default().forward(&x.get(0), &t.get(0), &index(&[1], &[]));
    let first = CosineSimilarityLoss::default().dim(0).forward(&x.get(0), &t.get(0));
    assert_close("one pair", &one, &first, (1e-12, 0.0));
}

#[test]
fn embedding_pairs_of_another_label_count_for_nothing() {
    let (x, t) = (randn(25, &[4, 3], Kind::Double), randn(26, &[4, 3], Kind::Double));
    let loss = CosineEmbeddingLoss::default().margin(-0.5);
    let (some, grad) = value_and_grad(&x, |x| loss.forward(x, &t, &index(&[1, 0, -1, 7], &[4])));
    let kept = index(&[0, 2], &[2]);
    let [a, b] = [&x, &t].map(|rows| rows.index_select(0, &kept));
    let alone = loss.forward(&a, &b, &index(&[1, -1], &[2]));
    assert_close("value", &some, &alone, (1e-12, 0.0));
    let others = grad.index_select(0, &index(&[1, 3], &[2]));
    assert_value("gradient", &others.abs().max(), 0.0, 0.0);
    let none = loss.forward(&x, &t, &index(&[0; 4], &[4]));
    assert_value("none", &none, 0.0, 0.0);
}

#[test]
fn norms_of_zeros_have_no_gradient() {
    for kind in KINDS {
        for p in [0.5, 1.0, 1.5, 2.0, 3.0, 8.0, f64::INFINITY] {
            for dims in [&[1i64][..], &[0, 1], &[]] {
                let zeros = tensor(&[0.0; 6], &[2, 3]).to_kind(kind);
                let (value, grad) = value_and_grad(&zeros, |x| lp_norm(x, p, dims, false));
                let what = format!("p {p} {kind:?}");
                assert_value(&what, &value.abs().max(), 0.0, 0.0);
                assert_value(&what, &grad.abs().max(), 0.0, 0.0);
            }
        }
    }
}

#[test]
fn the_l2_norm_can_be_differentiated_twice_at_zero() {
    let x = leaf(&tensor(&[0.0, 0.0, 3.0, 4.0], &[2, 2]));
    let norm = l2_norm(&x, &[1], false);
    let grad = Tensor::run_backward(&[norm.sum(Kind::Double)], &[&x], true, true).remove(0);
    let sum = (&grad * tensor(&[1.0, 2.0, 1.0, 0.0], &[2, 2])).sum(Kind::Double);
    let twice = Tensor::run_backward(&[sum], &[&x], false, false).remove(0);
    let expected = tensor(&[0.0, 0.0, 16.0 / 125.0, -12.0 / 125.0], &[2, 2]);
    assert_close("second gradient", &twice, &expected, (1e-12, 1e-15));
}

#[test]
fn gradients_of_norms_agree_with_differences() {
    let x = randn(27, &[2, 3, 2], Kind::Double);
    for p in [0.5, 1.0, 1.5, 2.0, 3.0, 6.0, f64::INFINITY] {
        for (dims, keepdim) in [(&[1i64][..], false), (&[-1, 0], true), (&[], true)] {
            let what = format!("p {p} over {dims:?}");
            gradcheck(&what, &[x.shallow_clone()], |x| lp_norm(&x[0], p, dims, keepdim));
            gradgradcheck(&what, &[x.shallow_clone()], |x| lp_norm(&x[0], p, dims, keepdim));
        }
    }
}

#[test]
fn norms_shrink_as_p_grows_and_scale_with_x() {
    let x = randn(28, &[4, 5], Kind::Double);
    let mut last = l1_norm(&x, &[1], false);
    for p in [1.5, 2.0, 3.0, 4.5, 10.0, f64::INFINITY] {
        let norm = lp_norm(&x, p, &[1], false);
        assert_value(
            &format!("p {p}"),
            &norm.le_tensor(&last).all().to_kind(Kind::Double),
            1.0,
            0.0,
        );
        let scaled = lp_norm(&(&x * -3.0), p, &[1], false);
        assert_close(&format!("p {p}"), &scaled, &(&norm * 3.0), (1e-12, 0.0));
        last = norm;
    }
}

#[test]
fn norms_of_large_and_empty_tensors_are_finite() {
    for kind in KINDS {
        for p in [0.5, 1.0, 2.0, 3.0, 10.0, 50.0, f64::INFINITY] {
            let large = tensor(&[1e4, -1e4, 1.0, 0.0], &[2, 2]).to_kind(kind);
            let (value, grad) = value_and_grad(&large, |x| lp_norm(x, p, &[1], false));
            assert_finite(&format!("p {p} {kind:?}"), &value);
            assert_finite(&format!("p {p} {kind:?}"), &grad);
            let empty = tensor(&[], &[2, 0]).to_kind(kind);
            let (value, grad) = value_and_grad(&empty, |x| lp_norm(x, p, &[1], false));
            assert_close("empty", &value, &tensor(&[0.0; 2], &[2]), (0.0, 0.0));
            assert_eq!(grad.size(), [2, 0]);
        }
    }
}

#[test]
fn the_l0_norm_counts_and_has_no_graph() {
    for kind in KINDS {
        let x = leaf(&tensor(&[0.0, 1.0, -2.0, 0.0, 0.0, 5.0], &[2, 3]).to_kind(kind));
        let count = l0_norm(&x, &[1], false);
        assert_close("count", &count, &tensor(&[2.0, 1.0], &[2]), (0.0, 0.0));
        assert!(!count.requires_grad());
        assert_value("all", &l0_norm(&x, &[], false), 3.0, 0.0);
    }
    // Half counts only up to 2048 one by one.
    let ones = tensor(&[1.0], &[1]).to_kind(Kind::Half).expand([5001], false);
    assert_value("many", &l0_norm(&ones, &[], false), 5001.0, 0.0);
}

#[test]
fn a_mask_is_the_mean_over_what_it_keeps() {
    let (x, t) = pair(Kind::Double);
    let kept = index(&[0, 3], &[2]);
    for (name, loss) in all() {
        let mask = tensor(&[1.0, 0.0, 0.0, 1.0], &[4]);
        let mask = if name.starts_with("cosine") { mask } else { mask.unsqueeze(1) };
        let (masked, grad) = value_and_grad(&x, |x| loss.forward_weighted(x, &t, &mask));
        let alone = loss.forward(&x.index_select(0, &kept), &t.index_select(0, &kept));
        assert_close(name, &masked, &alone, (1e-12, 0.0));
        assert_value(name, &grad.narrow(0, 1, 2).abs().max(), 0.0, 0.0);
        let by_bool = loss.forward_weighted(&x, &t, &mask.to_kind(Kind::Bool));
        assert_close(name, &by_bool, &alone, (1e-12, 0.0));
    }
}

#[test]
fn a_weight_of_two_counts_an_element_twice() {
    let (x, t) = pair(Kind::Double);
    let twice = index(&[0, 0, 1, 2, 3], &[5]);
    for (name, loss) in all() {
        if name == "rmse per sample" {
            continue; // a weight counts within a sample, not the sample
        }
        let weight = tensor(&[2.0, 1.0, 1.0, 1.0], &[4]);
        let weight = if name.starts_with("cosine") { weight } else { weight.unsqueeze(1) };
        let repeated = loss.forward(&x.index_select(0, &twice), &t.index_select(0, &twice));
        assert_close(name, &loss.forward_weighted(&x, &t, &weight), &repeated, (1e-12, 0.0));
    }
}

#[test]
fn nothing_that_counts_is_zero_with_a_zero_gradient() {
    for kind in KINDS {
        let (x, t) = pair(kind);
        for (name, loss) in all() {
            let nothing = Tensor::zeros([1], (kind, x.device()));
            let (value, grad) = value_and_grad(&x, |x| loss.forward_weighted(x, &t, &nothing));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_value(&format!("{name} {kind:?}"), &grad.abs().max(), 0.0, 0.0);
        }
        let gaussian = GaussianNllLoss::default();
        let stacked = Tensor::cat(&[&x, &x], 1);
        let (value, grad) =
            value_and_grad(&stacked, |x| gaussian.forward_weighted(x, &t, &t.zeros_like()));
        assert_value("gaussian", &value, 0.0, 0.0);
        assert_value("gaussian", &grad.abs().max(), 0.0, 0.0);
    }
}

#[test]
fn empty_batches_are_zero_with_a_gradient() {
    for kind in KINDS {
        let x = randn(29, &[0, 3], kind);
        for (name, loss) in all() {
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &x.zeros_like()));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_eq!(grad.size(), [0, 3], "{name}");
        }
        let loss = GaussianNllLoss::default();
        let stacked = randn(30, &[0, 6], kind);
        let (value, grad) =
            value_and_grad(&stacked, |x| loss.forward(x, &x.narrow(1, 0, 3).detach()));
        assert_value("gaussian", &value, 0.0, 0.0);
        assert_eq!(grad.size(), [0, 6]);
        let boxes = randn(31, &[0, 4], kind);
        let (value, grad) =
            value_and_grad(&boxes, |x| YoloBoxLoss::v2().forward(x, &x.zeros_like()));
        assert_value("yolo box", &value, 0.0, 0.0);
        assert_eq!(grad.size(), [0, 4]);
        let pairs = randn(32, &[0, 3], kind);
        let loss = CosineEmbeddingLoss::default();
        let (value, _) = value_and_grad(&pairs, |x| loss.forward(x, &pairs, &index(&[], &[0])));
        assert_value("embedding", &value, 0.0, 0.0);
    }
}

#[test]
fn saturated_values_are_finite() {
    let sizes = [0.0, 1.0, 20.0, 100.0, 1e4];
    let values: Vec<f64> = sizes.iter().flat_map(|&x| [x, -x]).collect();
    let n = values.len() as i64;
    for kind in KINDS {
        let x = tensor(&values, &[n, 1]).to_kind(kind).expand([n, n], false).contiguous();
        let t = x.tr();
        for (name, loss) in all() {
            let what = format!("{name} {kind:?}");
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            assert_finite(&what, &value);
            assert_finite(&format!("{what}: gradient"), &grad);
        }
        // The gradient d² / v² of 1e20 is beyond Half, whatever the loss does.
        let half = kind == Kind::Half;
        let (most, eps) = if half { (100.0, 1.0) } else { (1e4, 1e-6) };
        let (x, t) = (x.clamp(-most, most), t.clamp(-most, most));
        let stacked = Tensor::cat(&[&x, &t], 1);
        for log_variance in [true, false] {
            let loss = GaussianNllLoss::default().log_variance(log_variance).eps(eps);
            let (value, grad) = value_and_grad(&stacked, |x| loss.forward(x, &t));
            assert_finite(&format!("gaussian {kind:?}"), &value);
            assert_finite(&format!("gaussian {kind:?}: gradient"), &grad);
        }
    }
}

/// Beyond the last exponent that Float holds PyTorch's loss is infinite.
#[test]
fn large_logarithms_of_rates_keep_the_loss_finite() {
    for (kind, largest) in
        [(Kind::Double, 600.0), (Kind::Float, 70.0), (Kind::Half, 11.0), (Kind::BFloat16, 70.0)]
    {
        let x = tensor(&[largest - 1.0, largest + 1.0, 1e4], &[3]).to_kind(kind);
        let t = tensor(&[1.0, 1.0, 1.0], &[3]);
        let loss = PoissonNllLoss::default().reduction(Reduction::None);
        let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
        assert_finite(&format!("{kind:?}"), &value);
        assert_finite(&format!("{kind:?}"), &grad);
        assert!(grad.double_value(&[0]) > 0.0, "{kind:?}");
        assert_value("above", &grad.get(2), 0.0, 0.0);
    }
}

#[test]
fn half_kinds_give_the_float_answer_in_float() {
    for kind in [Kind::Half, Kind::BFloat16] {
        let t = rand(33, &[32, 64, 3], Kind::Float) + 0.5;
        let x = (randn(34, &[32, 64, 3], Kind::Float) * 0.5 + 1.0).to_kind(kind);
        for (name, loss) in all() {
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            let (expected, expected_grad) =
                value_and_grad(&x.to_kind(Kind::Float), |x| loss.forward(x, &t));
            assert_eq!((value.kind(), grad.kind()), (Kind::Float, kind), "{name}");
            assert_close(name, &value, &expected, (1e-6, 0.0));
            assert_close(name, &grad, &expected_grad, tolerance(kind));
        }
    }
}

#[test]
fn integer_and_bool_targets_equal_float_targets() {
    let x = rand(35, &[6, 3], Kind::Double) + 0.1;
    let t = randint(36, 2, &[6, 3]);
    for (name, loss) in all() {
        let float = loss.forward(&x, &t.to_kind(Kind::Double));
        for kind in [Kind::Int64, Kind::Uint8, Kind::Bool] {
            let got = loss.forward(&x, &t.to_kind(kind));
            assert_close(&format!("{name} with {kind:?}"), &got, &float, (1e-12, 0.0));
        }
    }
}

#[test]
fn non_contiguous_input_is_the_same_as_contiguous() {
    let (x, t) = (rand(37, &[3, 4], Kind::Double), rand(38, &[3, 4], Kind::Double));
    for (name, loss) in all() {
        let expected = loss.forward(&x.tr().contiguous(), &t.tr().contiguous());
        assert_close(name, &loss.forward(&x.tr(), &t.tr()), &expected, (1e-12, 0.0));
    }
}

#[test]
fn scalars_are_losses_too() {
    let (x, t) = (Tensor::from(2.5f64), Tensor::from(1.0f64));
    for (name, loss) in elementwise() {
        let expected = loss.forward(&x.view(1), &t.view(1));
        assert_close(name, &loss.forward(&x, &t), &expected, (1e-12, 0.0));
    }
    for p in [0.5, 1.0, 2.0, 3.0, 8.0, f64::INFINITY] {
        assert_value("norm", &lp_norm(&x, p, &[], false), 2.5, 1e-12);
    }
}

#[test]
fn inputs_are_left_as_they_were() {
    let (x, t) = pair(Kind::Float);
    let before = (x.copy(), t.copy());
    for (_, loss) in all() {
        loss.forward(&leaf(&x), &leaf(&t)).backward();
    }
    let variance = leaf(&(&x * 0.0));
    let loss = GaussianNllLoss::default();
    loss.forward_with_variance(&leaf(&x), &t, &variance).backward();
    assert_value("variance", &variance.abs().max(), 0.0, 0.0);
    assert_eq!((x, t), before);
}

fn boxes(kind: Kind) -> (Tensor, Tensor) {
    let centre = rand(39, &[5, 2], Kind::Double);
    let target = Tensor::cat(&[centre, rand(40, &[5, 2], Kind::Double) * 0.5 + 0.05], 1);
    let noise = rand(41, &[5, 4], Kind::Double) * 0.04;
    ((&target + noise).to_kind(kind), target.to_kind(kind))
}

fn box_losses() -> Vec<(&'static str, YoloBoxLoss)> {
    vec![
        ("v1", YoloBoxLoss::v1()),
        ("v2", YoloBoxLoss::v2()),
        ("linear", YoloBoxLoss::v2().size(BoxSize::Linear)),
    ]
}

#[test]
fn gradients_of_box_losses_agree_with_differences() {
    let (x, t) = boxes(Kind::Double);
    for (name, loss) in box_losses() {
        gradcheck(name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
        gradgradcheck(name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
        let own = loss.forward(&t, &t);
        assert_value(&format!("{name} of the target"), &own, 0.0, 0.0);
    }
}

#[test]
fn sides_of_zero_and_below_are_drawn_up_by_a_finite_gradient() {
    for kind in KINDS {
        for (name, loss) in box_losses() {
            for side in [0.0, 1e-8, -1e-3, -0.1, -1e4] {
                let x = tensor(&[0.5, 0.5, side, side], &[1, 4]).to_kind(kind);
                let t = tensor(&[0.5, 0.5, 0.3, 0.2], &[1, 4]).to_kind(kind);
                let what = format!("{name} of {side} in {kind:?}");
                let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
                assert_finite(&what, &value);
                assert_finite(&what, &grad);
                assert!(grad.narrow(1, 2, 2).max().double_value(&[]) < 0.0, "{what}");
            }
        }
    }
}

#[test]
fn a_negative_side_costs_more_than_none() {
    let t = tensor(&[0.5, 0.5, 0.3, 0.2], &[1, 4]);
    for (name, loss) in box_losses() {
        let at = |side: f64| {
            loss.forward(&tensor(&[0.5, 0.5, side, 0.2], &[1, 4]), &t).double_value(&[])
        };
        let costs = [0.29, 0.1, 1.1e-3, 0.9e-3, 0.0, -0.9e-3, -1.1e-3, -0.2].map(at);
        assert!(costs.windows(2).all(|two| two[0] < two[1]), "{name}: {costs:?}");
    }
}

#[test]
fn roots_make_an_error_of_a_small_box_cost_more() {
    let cost = |side: f64| {
        let x = tensor(&[0.5, 0.5, side + 0.02, 0.2], &[1, 4]);
        let t = tensor(&[0.5, 0.5, side, 0.2], &[1, 4]);
        YoloBoxLoss::v1().forward(&x, &t).double_value(&[])
    };
    assert!(cost(0.05) > 5.0 * cost(0.5));
}

#[test]
fn the_anchor_cancels_out_of_logarithms() {
    let (x, t) = boxes(Kind::Double);
    let loss = YoloBoxLoss::v2().small_boxes(false);
    let scaled = |boxes: &Tensor| boxes * tensor(&[1.0, 1.0, 0.4, 2.5], &[4]);
    let anchored = loss.forward(&scaled(&x), &scaled(&t));
    assert_close("value", &anchored, &loss.forward(&x, &t), (1e-12, 0.0));
}

fn say(result: tch_losses::Result<Tensor>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn errors_say_what_was_expected() {
    let x = randn(42, &[4, 3], Kind::Float);
    for (_, loss) in all() {
        let error = say(loss.f_forward(&x, &x.narrow(1, 0, 1)));
        assert!(error.ends_with("expected target of shape [4, 3], got [4, 1]"), "{error}");
        let error = say(loss.f_forward(&x.to_kind(Kind::Int64), &x));
        assert!(error.ends_with("expected input of floating-point kind, got Int64"), "{error}");
        let error = say(loss.f_forward_weighted(&x, &x, &tensor(&[1.0; 5], &[5])));
        assert!(error.contains("expected weight of shape broadcastable to [4"), "{error}");
        assert!(error.ends_with("got [5]"), "{error}");
    }
    let errors = [
        (
            say(HuberLoss::default().delta(0.0).f_forward(&x, &x)),
            "HuberLoss: expected delta above 0 and finite, got 0",
        ),
        (
            say(SmoothL1Loss::default().beta(f64::NAN).f_forward(&x, &x)),
            "SmoothL1Loss: expected beta at least 0 and finite, got NaN",
        ),
        (
            say(SmoothL1Loss::default().beta(0.0).f_forward_weighted(
                &x,
                &x,
                &x.get(0).get(0).view([1, 1, 1]),
            )),
            "SmoothL1Loss: expected weight of shape broadcastable to [4, 3], got [1, 1, 1]",
        ),
        (
            say(CharbonnierLoss::default().eps(-1.0).f_forward(&x, &x)),
            "CharbonnierLoss: expected eps above 0 and finite, got -1",
        ),
        (
            say(BalancedL1Loss::default().alpha(0.01).f_forward(&x, &x)),
            "BalancedL1Loss: expected gamma in (0, 80 alpha], got 1.5",
        ),
        (
            say(QuantileLoss::default().quantile(1.2).f_forward(&x, &x)),
            "QuantileLoss: expected quantile in [0, 1], got 1.2",
        ),
        (
            say(L1Loss::default().reduction(Reduction::Other(7)).f_forward(&x, &x)),
            "L1Loss: expected reduction None, Mean or Sum, got Other(7)",
        ),
        (
            say(RmseLoss::default()
                .per_sample(true)
                .f_forward(&Tensor::from(1.0), &Tensor::from(1.0))),
            "RmseLoss: expected input of shape [N, ..], got []",
        ),
        (
            say(GaussianNllLoss::default().f_forward(&x, &x)),
            "GaussianNllLoss: expected input of shape [N, 2C, ..], got [4, 3]",
        ),
        (
            say(GaussianNllLoss::default().f_forward(&x.tr(), &x)),
            "GaussianNllLoss: expected target of shape [3, 2], got [4, 3]",
        ),
        (
            say(GaussianNllLoss::default().f_forward_with_variance(&x, &x, &x.get(0))),
            "GaussianNllLoss: expected variance of shape [4, 3], that with one dimension of 1, or \
             without the last, got [3]",
        ),
        (
            say(CosineSimilarityLoss::default().dim(2).f_forward(&x, &x)),
            "CosineSimilarityLoss: expected dim a dimension of the input, got 2 of [4, 3]",
        ),
        (
            say(CosineEmbeddingLoss::default().margin(1.5).f_forward(&x, &x, &x.select(1, 0))),
            "CosineEmbeddingLoss: expected margin in [-1, 1], got 1.5",
        ),
        (
            say(CosineEmbeddingLoss::default().f_forward(&x, &x, &x)),
            "CosineEmbeddingLoss: expected label of shape [4], got [4, 3]",
        ),
        (say(f_lp_norm(&x, 0.0, &[], false)), "lp_norm: expected p above 0, got 0"),
        (say(f_lp_norm(&x, f64::NAN, &[], false)), "lp_norm: expected p above 0, got NaN"),
        (
            say(f_l0_norm(&index(&[1], &[1]), &[], false)),
            "l0_norm: expected x of floating-point kind, got Int64",
        ),
        (
            say(YoloBoxLoss::v1().f_forward(&x, &x)),
            "YoloBoxLoss: expected input of shape [.., 4], got [4, 3]",
        ),
        (
            say(YoloBoxLoss::v1().lambda_coord(-1.0).f_forward(&x, &x)),
            "YoloBoxLoss: expected lambda_coord at least 0 and finite, got -1",
        ),
    ];
    for (said, expected) in errors {
        assert_eq!(said, expected);
    }
    for p in [1.0, 2.0, 3.0, 8.0, f64::INFINITY] {
        for (dims, shown) in [(&[5i64][..], "[5]"), (&[0, 0], "[0, 0]"), (&[1, -1], "[1, -1]")] {
            let expected = format!("lp_norm: expected dims of x, each once, got {shown} of [4, 3]");
            assert_eq!(say(f_lp_norm(&x, p, dims, false)), expected);
        }
    }
    assert!(f_l2_norm(&x, &[-3], false).is_err() && f_l0_norm(&x, &[2], false).is_err());
}
