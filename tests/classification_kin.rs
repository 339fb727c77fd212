//! Laws, gradients, edge cases and errors of the kin of cross entropy: losses of probabilities,
//! margins, divergences, balanced, asymmetric, Poly-1, hardest-only and matrix-based forms.

mod common;

use common::{
    KINDS, assert_close, assert_finite, assert_value, device, gradcheck, gradgradcheck, index,
    leaf, rand, randint, randn, tensor, tolerance, value_and_grad,
};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    AsymmetricLossMultiLabel, AsymmetricLossSingleLabel, BalancedBceWithLogitsLoss, BceLoss,
    BceWithLogitsLoss, BinaryFocalCrossEntropyLoss, CategoricalCrossEntropyLoss,
    CategoricalFocalCrossEntropyLoss, CategoricalHingeLoss, CrossEntropyLoss, FocalLoss,
    GeneralizedCrossEntropyLoss, HingeEmbeddingLoss, HingeLoss, JsDivLoss, JsdCrossEntropy,
    KlDivLoss, Loss, MarginRankingLoss, MatrixCrossEntropyLoss, MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss, MultiMarginLoss, NllLoss, OneVsRestBceLoss, PolyBceWithLogitsLoss,
    PolyCrossEntropyLoss, SoftMarginLoss, SoftTargetCrossEntropy, TopKCrossEntropyLoss,
    classification::{
        Balance, BinaryLabels, Distribution, class_counts, effective_number_weights,
        f_class_counts, f_effective_number_weights, f_inverse_frequency_weights,
        f_negatives_per_positive, f_softmax_with_temperature, inverse_frequency_weights,
        log_softmax_with_temperature, negatives_per_positive, softmax_with_temperature,
    },
    loss,
};

/// What a loss takes, at shape (N, 3, d).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Takes {
    /// logits or scores, zeros and ones or what is between
    Labels,
    /// probabilities, the same
    LabelProbabilities,
    /// scores, -1 and 1
    Signs,
    /// logits or scores, classes of which 255 is ignored
    Classes,
    /// probabilities, the same
    ClassProbabilities,
    /// logits, distributions
    Distributions,
    /// probabilities of both
    TwoProbabilities,
}

struct Job {
    name: &'static str,
    takes: Takes,
    /// Whether each element has a loss, or each position (N, d).
    by_element: bool,
    make: Box<dyn Fn(Reduction) -> Box<dyn Loss>>,
}

impl Job {
    fn loss(&self) -> Box<dyn Loss> {
        (self.make)(Reduction::Mean)
    }

    fn input(&self, seed: i64, shape: &[i64], kind: Kind) -> Tensor {
        let x = randn(seed, shape, Kind::Double) * 1.5;
        let x = match self.takes {
            Takes::LabelProbabilities => x.sigmoid(),
            Takes::ClassProbabilities | Takes::TwoProbabilities => x.softmax(1, Kind::Double),
            _ => x,
        };
        x.to_kind(kind)
    }

    fn target(&self, seed: i64, shape: &[i64]) -> Tensor {
        match self.takes {
            Takes::Labels | Takes::LabelProbabilities => rand(seed, shape, Kind::Double),
            Takes::Signs => randint(seed, 2, shape) * 2 - 1,
            Takes::Classes | Takes::ClassProbabilities => {
                let target = randint(seed, 3, &[shape[0], shape[2]]);
                if target.numel() > 2 {
                    let _ = target.view(-1).narrow(0, 1, 2).fill_(255);
                }
                target
            }
            Takes::Distributions | Takes::TwoProbabilities => {
                randn(seed, shape, Kind::Double).softmax(1, Kind::Double)
            }
        }
    }

    /// A weight of the first dimension that broadcasts to the unreduced loss.
    fn of_images(&self, weight: &Tensor) -> Tensor {
        weight.view(if self.by_element { [-1, 1, 1].as_slice() } else { [-1, 1].as_slice() })
    }
}

fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    macro_rules! job {
        ($takes:ident, $by_element:literal, $name:literal, $loss:expr) => {
            jobs.push(Job {
                name: $name,
                takes: Takes::$takes,
                by_element: $by_element,
                make: Box::new(|reduction| Box::new($loss.reduction(reduction))),
            })
        };
    }
    fn w() -> Tensor {
        tensor(&[0.5, 2.0, 1.5], &[3])
    }
    fn matrix() -> Tensor {
        tensor(&[0.0, 0.2, 0.1, 0.3, 0.0, 0.15, 0.05, 0.4, 0.0], &[3, 3])
    }
    use Distribution::Probabilities;
    type Balanced = BalancedBceWithLogitsLoss;
    type Asl = AsymmetricLossMultiLabel;
    type Asl1 = AsymmetricLossSingleLabel;
    type Poly = PolyCrossEntropyLoss;
    type PolyBce = PolyBceWithLogitsLoss;
    type Ovr = OneVsRestBceLoss;
    type Cce = CategoricalCrossEntropyLoss;
    type Focal = CategoricalFocalCrossEntropyLoss;
    type Binary = BinaryFocalCrossEntropyLoss;
    type Matrix = MatrixCrossEntropyLoss;
    type Gce = GeneralizedCrossEntropyLoss;

    job!(Labels, true, "balanced per image", Balanced::default());
    job!(Labels, true, "balanced per batch", Balanced::default().beta(Balance::PerBatch));
    job!(Labels, true, "balanced fixed", Balanced::default().beta(0.7));
    job!(Labels, true, "asl", Asl::default());
    job!(Labels, true, "asl unclipped", Asl::default().clip(0.0).gamma_neg(0.5).gamma_pos(0.3));
    job!(Labels, true, "asl weights", Asl::default().pos_weight(w().view([3, 1])));
    job!(Labels, true, "asl smoothed", Asl::default().label_smoothing(0.1).sum_classes(false));
    job!(Labels, true, "poly bce", PolyBce::default());
    job!(Labels, true, "poly focal", PolyBce::default().gamma(0.5).alpha(0.3).epsilon(-1.0));
    job!(Labels, true, "poly sum", PolyBce::default().sum_classes(true).label_smoothing(0.1));
    job!(Labels, true, "one vs rest dense", Ovr::default().smooth_dense(true).sum_classes(true));
    job!(Labels, false, "multi-label soft margin", MultiLabelSoftMarginLoss::default().weight(w()));
    job!(LabelProbabilities, true, "bce keras", BceLoss::keras().label_smoothing(0.1));
    job!(LabelProbabilities, true, "binary focal", Binary::default());
    job!(LabelProbabilities, true, "binary focal 0.5", Binary::default().gamma(0.5).alpha(0.3));
    job!(Signs, true, "hinge", HingeLoss::default());
    job!(Signs, true, "squared hinge", HingeLoss::squared().margin(0.6));
    job!(Signs, true, "soft margin", SoftMarginLoss::default());
    job!(Signs, true, "hinge embedding", HingeEmbeddingLoss::default());
    job!(Classes, false, "nll", NllLoss::default().ignore_index(255).weight(w()));
    job!(Classes, false, "top k", TopKCrossEntropyLoss::default().ignore_index(255).k(60.0));
    job!(
        Classes,
        false,
        "top k weights",
        TopKCrossEntropyLoss::default().ignore_index(255).k(40.0).weight(w()).label_smoothing(0.1)
    );
    job!(Classes, false, "gce", Gce::default().ignore_index(255));
    job!(Classes, false, "poly", Poly::default().ignore_index(255));
    job!(Classes, false, "poly smoothed", Poly::default().ignore_index(255).label_smoothing(0.2));
    job!(Classes, false, "asl single", Asl1::default().ignore_index(255));
    job!(Classes, false, "asl single 0.5", Asl1::default().ignore_index(255).gamma_pos(0.5));
    job!(
        Classes,
        true,
        "one vs rest",
        Ovr::default().ignore_index(255).pos_weight(w().view([3, 1]))
    );
    job!(Classes, false, "categorical hinge", CategoricalHingeLoss::default().ignore_index(255));
    job!(Classes, false, "multi margin", MultiMarginLoss::default().ignore_index(255).weight(w()));
    job!(Classes, false, "multi margin 2", MultiMarginLoss::default().ignore_index(255).p(2));
    job!(ClassProbabilities, false, "cce", Cce::default().ignore_index(255));
    job!(
        ClassProbabilities,
        false,
        "cce weights",
        Cce::default().ignore_index(255).weight(w()).label_smoothing(0.1)
    );
    job!(ClassProbabilities, false, "categorical focal", Focal::default().ignore_index(255));
    job!(
        ClassProbabilities,
        false,
        "categorical focal alphas",
        Focal::default().ignore_index(255).gamma(0.5).alpha(w()).label_smoothing(0.1)
    );
    job!(ClassProbabilities, false, "gce keras", Gce::keras().ignore_index(255).q(0.4));
    job!(
        ClassProbabilities,
        false,
        "matrix",
        Matrix::default().with_matrix(matrix()).ignore_index(255)
    );
    job!(Distributions, false, "soft target", SoftTargetCrossEntropy::default());
    job!(Distributions, false, "poly dense", Poly::default().label_smoothing(0.2));
    job!(Distributions, true, "kl logits", KlDivLoss::default().input(Distribution::Logits));
    job!(Distributions, false, "js logits", JsDivLoss::default());
    job!(Distributions, false, "categorical hinge dense", CategoricalHingeLoss::default());
    job!(TwoProbabilities, true, "kl keras", KlDivLoss::keras());
    job!(TwoProbabilities, false, "js", JsDivLoss::default().input(Probabilities));
    job!(TwoProbabilities, false, "cce dense", Cce::default().label_smoothing(0.1));
    job!(TwoProbabilities, false, "categorical focal dense", Focal::default().alpha(w()));
    job!(TwoProbabilities, false, "matrix dense", Matrix::default().with_matrix(matrix()));
    jobs
}

#[test]
fn gradients_agree_with_differences() {
    const SHAPE: [i64; 3] = [3, 3, 2];
    for job in jobs() {
        let (x, t, loss) = (job.input(1, &SHAPE, Kind::Double), job.target(2, &SHAPE), job.loss());
        gradcheck(job.name, &[x.shallow_clone()], |x| loss.forward(&x[0], &t));
        gradgradcheck(job.name, &[x], |x| loss.forward(&x[0], &t));
    }
    let (x, t) = (randn(3, &[6, 3, 2], Kind::Double), index(&[0, 2, 1, 0], &[2, 2]));
    let jsd = JsdCrossEntropy::default();
    gradcheck("jsd", &[x.shallow_clone()], |x| jsd.forward(&x[0], &t));
    gradgradcheck("jsd", &[x], |x| jsd.forward(&x[0], &t));
    let (x, t) = (randn(4, &[2, 4], Kind::Double), index(&[1, 3, -1, 0, -1, 2, 2, 2], &[2, 4]));
    let labels = MultiLabelMarginLoss::default();
    gradcheck("multi-label margin", &[x.shallow_clone()], |x| labels.forward(&x[0], &t));
    // Its own second derivative is 0 and has no graph; behind a network there is one.
    gradgradcheck("multi-label margin", &[x], |x| labels.forward(&x[0].square(), &t));
}

/// Where both sides are learnt, the target's gradient is the derivative too.
#[test]
fn gradients_of_targets_agree_with_differences() {
    let [p, q] = [5, 6].map(|seed| randn(seed, &[2, 3, 2], Kind::Double));
    let js = JsDivLoss::default().target(Distribution::Logits);
    gradcheck("js", &[p.shallow_clone(), q.shallow_clone()], |x| js.forward(&x[0], &x[1]));
    let kl = KlDivLoss::default().input(Distribution::Logits);
    gradcheck("kl", &[p, q.softmax(1, Kind::Double)], |x| kl.forward(&x[0], &x[1]));
}

#[test]
fn element_weights_have_gradients_too() {
    let bce = BceWithLogitsLoss::default();
    let t = rand(71, &[3, 4], Kind::Double);
    let (x, w) = (randn(72, &[3, 4], Kind::Double), rand(73, &[3, 1], Kind::Double) + 0.1);
    let both = [x.shallow_clone(), w.shallow_clone()];
    gradcheck("learnt", &both, |x| bce.forward_weighted(&x[0], &t, &x[1]));
    gradcheck("fixed", &[x.shallow_clone()], |x| bce.forward_weighted(&x[0], &t, &w));
    gradgradcheck("fixed", &[x.shallow_clone()], |x| bce.forward_weighted(&x[0], &t, &w));
    let learnt = bce.forward_weighted(&x, &t, &leaf(&w));
    assert_close("both ways", &bce.forward_weighted(&x, &t, &w), &learnt, (1e-12, 0.0));
}

#[test]
fn permuting_the_batch_changes_nothing() {
    let order = index(&[3, 0, 2, 1], &[4]);
    for job in jobs() {
        let (x, t) = (job.input(7, &[4, 3, 5], Kind::Double), job.target(8, &[4, 3, 5]));
        let permuted = job.loss().forward(&x.index_select(0, &order), &t.index_select(0, &order));
        assert_close(job.name, &permuted, &job.loss().forward(&x, &t), (1e-12, 1e-15));
    }
}

#[test]
fn the_sum_is_that_of_the_unreduced_losses() {
    for job in jobs() {
        let (x, t) = (job.input(9, &[4, 3, 5], Kind::Double), job.target(10, &[4, 3, 5]));
        let weight = job.of_images(&tensor(&[0.5, 2.0, 0.0, 1.0], &[4]));
        let none = (job.make)(Reduction::None);
        let sum = (job.make)(Reduction::Sum);
        let shape: &[i64] = if job.by_element { &[4, 3, 5] } else { &[4, 5] };
        assert_eq!(none.forward(&x, &t).size(), shape, "{}", job.name);
        let total = none.forward(&x, &t).sum(None::<Kind>);
        assert_close(job.name, &sum.forward(&x, &t), &total, (1e-12, 1e-14));
        let total = none.forward_weighted(&x, &t, &weight).sum(None::<Kind>);
        assert_close(job.name, &sum.forward_weighted(&x, &t, &weight), &total, (1e-12, 1e-14));
    }
}

#[test]
fn a_mask_of_images_is_the_mean_over_those_it_keeps() {
    let kept = index(&[0, 1, 4], &[3]);
    for job in jobs() {
        let (x, t) = (job.input(11, &[6, 3, 5], Kind::Double), job.target(12, &[6, 3, 5]));
        let mask = job.of_images(&tensor(&[1.0, 1.0, 0.0, 0.0, 1.0, 0.0], &[6]));
        let alone = job.loss().forward(&x.index_select(0, &kept), &t.index_select(0, &kept));
        for mask in [mask.to_kind(Kind::Bool), mask] {
            let masked = job.loss().forward_weighted(&x, &t, &mask);
            assert_close(job.name, &masked, &alone, (1e-12, 1e-15));
        }
    }
}

#[test]
fn a_weight_of_two_counts_an_image_twice() {
    let twice = index(&[0, 0, 1, 2], &[4]);
    for job in jobs().iter().filter(|job| !job.name.starts_with("top k")) {
        let (x, t) = (job.input(13, &[3, 3, 4], Kind::Double), job.target(14, &[3, 3, 4]));
        let weight = job.of_images(&tensor(&[2.0, 1.0, 1.0], &[3]));
        let weighted = job.loss().forward_weighted(&x, &t, &weight);
        let repeated = job.loss().forward(&x.index_select(0, &twice), &t.index_select(0, &twice));
        assert_close(job.name, &weighted, &repeated, (1e-12, 1e-15));
    }
}

#[test]
fn ignored_elements_change_nothing_and_get_no_gradient() {
    let changes_nothing = |name: &str, loss: &dyn Loss, x: &Tensor, t: &Tensor, mask: &Tensor| {
        // Still probabilities where they are.
        let changed = x.where_self(&mask.logical_not(), &(x * 0.5));
        let (a, grad) = value_and_grad(x, |x| loss.forward(x, t));
        let (b, _) = value_and_grad(&changed, |x| loss.forward(x, t));
        assert_close(name, &a, &b, (1e-12, 0.0));
        assert_value(name, &(grad * mask).abs().max(), 0.0, 0.0);
    };
    for job in jobs() {
        if !matches!(job.takes, Takes::Classes | Takes::ClassProbabilities) {
            continue;
        }
        let (x, t) = (job.input(15, &[4, 3, 5], Kind::Double), job.target(16, &[4, 3, 5]));
        changes_nothing(job.name, &job.loss(), &x, &t, &t.eq(255).unsqueeze(1));
    }
    let t = index(&[1, 0, 255, 1, 255, 0, 0, 1], &[2, 4]);
    let mask = t.eq(255);
    let x = randn(17, &[2, 4], Kind::Double);
    let logits: [Box<dyn Loss>; 6] = [
        Box::new(BalancedBceWithLogitsLoss::default().ignore_index(255)),
        Box::new(BalancedBceWithLogitsLoss::default().ignore_index(255).beta(Balance::PerBatch)),
        Box::new(AsymmetricLossMultiLabel::default().ignore_index(255)),
        Box::new(PolyBceWithLogitsLoss::default().ignore_index(255)),
        Box::new(HingeLoss::default().labels(BinaryLabels::ZeroOne).ignore_index(255)),
        Box::new(SoftMarginLoss::default().labels(BinaryLabels::ZeroOne).ignore_index(255)),
    ];
    for loss in logits {
        changes_nothing(&format!("{loss:?}"), &loss, &x, &t, &mask);
    }
    let probabilities: [Box<dyn Loss>; 2] = [
        Box::new(BinaryFocalCrossEntropyLoss::default().ignore_index(255)),
        Box::new(BceLoss::keras().label_smoothing(0.1).ignore_index(255)),
    ];
    for loss in probabilities {
        changes_nothing(&format!("{loss:?}"), &loss, &x.sigmoid(), &t, &mask);
    }
}

#[test]
fn nothing_that_counts_is_zero_with_a_zero_gradient() {
    for kind in KINDS {
        let zero = |what: &str, value: &Tensor, grad: &Tensor| {
            assert_value(&format!("{what} {kind:?}"), value, 0.0, 0.0);
            assert_value(&format!("{what} {kind:?}"), &grad.abs().max(), 0.0, 0.0);
        };
        for job in jobs() {
            let (x, t) = (job.input(18, &[4, 3, 5], kind), job.target(19, &[4, 3, 5]));
            let nothing = tensor(&[0.0], &[1]);
            let (value, grad) =
                value_and_grad(&x, |x| job.loss().forward_weighted(x, &t, &nothing));
            zero(job.name, &value, &grad);
            if matches!(job.takes, Takes::Classes | Takes::ClassProbabilities) {
                let (value, grad) =
                    value_and_grad(&x, |x| job.loss().forward(x, &t.full_like(255)));
                zero(job.name, &value, &grad);
            }
        }
        let (x, t) = (randn(20, &[6, 3], kind), index(&[-100, -100], &[2]));
        let (value, grad) = value_and_grad(&x, |x| JsdCrossEntropy::default().forward(x, &t));
        zero("jsd", &value, &grad);
    }
}

#[test]
fn empty_batches_are_zero_with_a_gradient() {
    const SHAPE: [i64; 3] = [0, 3, 5];
    for kind in KINDS {
        let check = |name: &str, loss: &dyn Loss, x: &Tensor, t: &Tensor| {
            let (value, grad) = value_and_grad(x, |x| loss.forward(x, t));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_eq!(grad.size(), x.size(), "{name}");
        };
        for job in jobs() {
            check(job.name, &job.loss(), &job.input(21, &SHAPE, kind), &job.target(22, &SHAPE));
        }
        let x = randn(23, &[0, 3], kind);
        check("jsd", &JsdCrossEntropy::default(), &x, &index(&[], &[0]));
        check("multi-label margin", &MultiLabelMarginLoss::default(), &x, &index(&[], &[0, 3]));
        let ranked = MarginRankingLoss::default().forward(&x, &x, &x.ones_like());
        assert_value("margin ranking", &ranked, 0.0, 0.0);
    }
}

#[test]
fn saturated_inputs_are_finite() {
    for kind in KINDS {
        // Both signs of every size, against each class or label.
        let sizes = [1e4, -1e4, 100.0, -100.0, 20.0, 0.0];
        let logits =
            Tensor::cat(&(0..3).map(|n| tensor(&sizes, &[1, 6]).roll(n, 1)).collect::<Vec<_>>(), 0);
        let logits = logits.unsqueeze(0).repeat([3, 1, 1]).to_kind(kind);
        for job in jobs() {
            let x = match job.takes {
                Takes::LabelProbabilities => (&logits + 1e4).clamp(0.0, 1.0),
                Takes::ClassProbabilities | Takes::TwoProbabilities => {
                    logits.softmax(1, Kind::Double).to_kind(kind)
                }
                _ => logits.shallow_clone(),
            };
            let hard = |t: Tensor| match job.takes {
                Takes::Signs => t,
                Takes::Labels | Takes::LabelProbabilities => t.round(),
                Takes::Distributions | Takes::TwoProbabilities => t.ge(0.5).to_kind(Kind::Double),
                _ => t,
            };
            for t in [job.target(24, &[3, 3, 6]), hard(job.target(25, &[3, 3, 6]))] {
                let (value, grad) =
                    value_and_grad(&x, |x| (job.make)(Reduction::None).forward(x, &t));
                assert_finite(&format!("{} {kind:?}", job.name), &value);
                assert_finite(&format!("{} {kind:?} gradient", job.name), &grad);
            }
        }
        let (value, grad) = value_and_grad(&logits, |x| {
            JsdCrossEntropy::default().forward(x, &index(&[0, 1, 2, 0, 1, 2], &[1, 6]))
        });
        assert_finite(&format!("jsd {kind:?}"), &value);
        assert_finite(&format!("jsd {kind:?} gradient"), &grad);
    }
}

/// One class alone, whose softmax is 1, and one that never occurs.
#[test]
fn one_class_and_absent_classes_are_finite() {
    for job in jobs() {
        let x = job.input(26, &[4, 3, 5], Kind::Float);
        let t = match job.takes {
            Takes::Classes | Takes::ClassProbabilities => index(&[1; 20], &[4, 5]),
            Takes::Signs => index(&[-1; 60], &[4, 3, 5]),
            Takes::Labels | Takes::LabelProbabilities => tensor(&[0.0; 60], &[4, 3, 5]),
            _ => job.target(27, &[4, 3, 5]),
        };
        let (value, grad) = value_and_grad(&x, |x| job.loss().forward(x, &t));
        assert_finite(job.name, &value);
        assert_finite(job.name, &grad);
    }
    let (x, t) = (randn(28, &[4, 1], Kind::Double), index(&[0; 4], &[4]));
    for (name, loss, expected) in [
        ("poly", Box::new(PolyCrossEntropyLoss::default()) as Box<dyn Loss>, 0.0),
        ("gce", Box::new(GeneralizedCrossEntropyLoss::default()), 0.0),
        ("asl", Box::new(AsymmetricLossSingleLabel::default()), 0.0),
        ("multi margin", Box::new(MultiMarginLoss::default()), 0.0),
        ("top k", Box::new(TopKCrossEntropyLoss::default()), 0.0),
    ] {
        assert_value(name, &loss.forward(&x, &t), expected, 1e-15);
    }
}

#[test]
fn half_kinds_give_the_float_answer_in_float() {
    for kind in [Kind::Half, Kind::BFloat16] {
        for job in jobs() {
            let (x, t) = (job.input(29, &[16, 3, 40], kind), job.target(30, &[16, 3, 40]));
            let (value, grad) = value_and_grad(&x, |x| job.loss().forward(x, &t));
            let (expected, expected_grad) =
                value_and_grad(&x.to_kind(Kind::Float), |x| job.loss().forward(x, &t));
            assert_eq!((value.kind(), grad.kind()), (Kind::Float, kind), "{}", job.name);
            assert_close(job.name, &value, &expected, (1e-6, 0.0));
            assert_close(job.name, &grad, &expected_grad, tolerance(kind));
        }
        let [x, y] = [31, 32].map(|seed| randn(seed, &[6, 4], kind));
        let ranked = MarginRankingLoss::default().forward(&x, &y, &x.ones_like());
        let labels =
            MultiLabelMarginLoss::default().forward(&x, &index(&[1, -1, 0, 0].repeat(6), &[6, 4]));
        let jsd = JsdCrossEntropy::default().forward(&x, &index(&[1, 0], &[2]));
        for value in [ranked, labels, jsd] {
            assert_eq!(value.kind(), Kind::Float);
        }
    }
}

#[test]
fn non_contiguous_input_is_the_same_as_contiguous() {
    for job in jobs() {
        let x =
            job.input(33, &[4, 3, 5], Kind::Double).transpose(0, 2).contiguous().transpose(0, 2);
        let t = job.target(34, &[4, 3, 5]).transpose(0, -1).contiguous().transpose(0, -1);
        assert!(!x.is_contiguous() && !t.is_contiguous());
        let same = job.loss().forward(&x.contiguous(), &t.contiguous());
        assert_close(job.name, &job.loss().forward(&x, &t), &same, (1e-12, 1e-15));
    }
}

#[test]
fn inputs_are_left_as_they_were() {
    for job in jobs() {
        let (x, t) = (job.input(35, &[4, 3, 5], Kind::Float), job.target(36, &[4, 3, 5]));
        let (x_before, t_before) = (x.copy(), t.copy());
        job.loss().forward(&leaf(&x), &t).backward();
        assert_eq!((x, t), (x_before, t_before), "{}", job.name);
    }
}

#[test]
fn integer_and_bool_labels_equal_float_labels() {
    let t = randint(37, 2, &[4, 3, 5]);
    for job in jobs() {
        if !matches!(job.takes, Takes::Labels | Takes::LabelProbabilities) {
            continue;
        }
        let x = job.input(38, &[4, 3, 5], Kind::Double);
        let float = job.loss().forward(&x, &t.to_kind(Kind::Double));
        for kind in [Kind::Int64, Kind::Uint8, Kind::Bool] {
            let what = format!("{} {kind:?}", job.name);
            assert_close(&what, &job.loss().forward(&x, &t.to_kind(kind)), &float, (1e-12, 0.0));
        }
    }
}

#[test]
fn index_target_equals_one_hot_target() {
    let x = randn(39, &[4, 3, 5], Kind::Double).softmax(1, Kind::Double);
    let t = randint(40, 3, &[4, 5]);
    let one_hot = t.one_hot(3).movedim_int(-1, 1).to_kind(Kind::Double);
    let matrix = rand(41, &[3, 3], Kind::Double);
    let losses: [Box<dyn Loss>; 8] = [
        Box::new(CategoricalCrossEntropyLoss::default()),
        Box::new(CategoricalCrossEntropyLoss::default().label_smoothing(0.2)),
        Box::new(CategoricalFocalCrossEntropyLoss::default()),
        Box::new(CategoricalFocalCrossEntropyLoss::default().label_smoothing(0.2)),
        Box::new(PolyCrossEntropyLoss::default().label_smoothing(0.2)),
        Box::new(CategoricalHingeLoss::default()),
        Box::new(MatrixCrossEntropyLoss::default().with_matrix(matrix)),
        Box::new(OneVsRestBceLoss::default().label_smoothing(0.0)),
    ];
    for loss in losses {
        let dense = loss.forward(&x, &one_hot);
        assert_close(&format!("{loss:?}"), &loss.forward(&x, &t), &dense, (1e-12, 0.0));
        for kind in [Kind::Uint8, Kind::Int16] {
            assert_close(
                &format!("{loss:?}"),
                &loss.forward(&x, &t.to_kind(kind)),
                &dense,
                (1e-12, 0.0),
            );
        }
    }
}

fn logits() -> Tensor {
    randn(42, &[4, 3, 5], Kind::Double) * 2.0
}

fn classes() -> Tensor {
    randint(43, 3, &[4, 5])
}

/// Two losses of the same input and target are the same.
#[track_caller]
fn same(a: &dyn Loss, b: &dyn Loss, x: &Tensor, t: &Tensor) {
    assert_close(&format!("{a:?}"), &a.forward(x, t), &b.forward(x, t), (1e-12, 1e-15));
}

#[test]
fn of_a_softmax_the_losses_of_probabilities_are_those_of_logits() {
    let (x, t) = (logits(), classes());
    let ce = CrossEntropyLoss::default().label_smoothing(0.1).forward(&x, &t);
    let p = x.softmax(1, Kind::Double);
    let cce = CategoricalCrossEntropyLoss::default().label_smoothing(0.1).forward(&p, &t);
    assert_close("cce", &cce, &ce, (1e-12, 0.0));
    let nll = NllLoss::default().forward(&p.log(), &t);
    assert_close("nll", &nll, &CrossEntropyLoss::default().forward(&x, &t), (1e-12, 0.0));
    let gce = GeneralizedCrossEntropyLoss::default();
    let expected = gce.forward(&x, &t);
    assert_close(
        "gce",
        &GeneralizedCrossEntropyLoss::keras().forward(&p, &t),
        &expected,
        (1e-12, 0.0),
    );
    let of_logs = gce.input(Distribution::LogProbabilities).forward(&p.log(), &t);
    assert_close("gce of logs", &of_logs, &expected, (1e-12, 0.0));
    let focal = tch_losses::SoftmaxFocalLoss::default().forward(&x, &t);
    let of_p = CategoricalFocalCrossEntropyLoss::default().alpha(1.0).forward(&p, &t);
    assert_close("categorical focal", &of_p, &focal, (1e-12, 0.0));

    let (x, t) = (randn(44, &[6, 3], Kind::Double), rand(45, &[6, 3], Kind::Double));
    let focal = FocalLoss::default().gamma(1.5).alpha(0.3).label_smoothing(0.1);
    let of_p = BinaryFocalCrossEntropyLoss::default().gamma(1.5).alpha(0.3).label_smoothing(0.1);
    assert_close(
        "binary focal",
        &of_p.forward(&x.sigmoid(), &t),
        &focal.forward(&x, &t),
        (1e-12, 0.0),
    );
}

#[test]
fn focal_losses_with_gamma_0_are_cross_entropy() {
    let p = logits().softmax(1, Kind::Double);
    let focal = CategoricalFocalCrossEntropyLoss::default().gamma(0.0).alpha(1.0);
    same(&focal, &CategoricalCrossEntropyLoss::default(), &p, &classes());
    let (p, t) = (rand(46, &[6, 3], Kind::Double), rand(47, &[6, 3], Kind::Double));
    same(&BinaryFocalCrossEntropyLoss::default().gamma(0.0), &BceLoss::keras(), &p, &t);
}

#[test]
fn poly_with_epsilon_0_is_the_plain_loss() {
    let poly = PolyCrossEntropyLoss::default().epsilon(0.0).label_smoothing(0.1);
    same(&poly, &CrossEntropyLoss::default().label_smoothing(0.1), &logits(), &classes());
    let (x, t) = (logits(), rand(48, &[4, 3, 5], Kind::Double));
    let poly = PolyBceWithLogitsLoss::default().epsilon(0.0);
    same(&poly, &BceWithLogitsLoss::default(), &x, &t);
    same(&poly.gamma(2.0).alpha(0.25), &FocalLoss::default(), &x, &t);
}

#[test]
fn asymmetric_loss_without_asymmetry_is_focal_and_without_focus_bce() {
    let x = logits();
    let t = randint(49, 2, &[4, 3, 5]);
    let symmetric = AsymmetricLossMultiLabel::default()
        .clip(0.0)
        .gamma_pos(2.0)
        .gamma_neg(2.0)
        .sum_classes(false);
    same(&symmetric, &FocalLoss::default().alpha(None), &x, &t);
    same(&symmetric.gamma_pos(0.0).gamma_neg(0.0), &BceWithLogitsLoss::default(), &x, &t);
    let single = AsymmetricLossSingleLabel::default().gamma_pos(0.0).gamma_neg(0.0);
    same(&single, &CrossEntropyLoss::default().label_smoothing(0.1), &x, &classes());
}

#[test]
fn a_detached_focus_changes_the_gradient_and_not_the_loss() {
    let (x, t) = (logits(), randint(50, 2, &[4, 3, 5]));
    let loss = AsymmetricLossMultiLabel::default();
    let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
    let detached = loss.disable_torch_grad_focal_loss(true);
    let (same, other_grad) = value_and_grad(&x, |x| detached.forward(x, &t));
    assert_close("value", &same, &value, (1e-15, 0.0));
    assert!((grad - other_grad).abs().max().double_value(&[]) > 1e-3);
}

/// timm limits p to 1e-8 and lets such a positive stay where it is.
#[test]
fn a_positive_far_below_has_a_gradient_in_the_asymmetric_loss() {
    let x = tensor(&[-30.0], &[1, 1]);
    let (value, grad) = value_and_grad(&x, |x| {
        AsymmetricLossMultiLabel::default().forward(x, &tensor(&[1.0], &[1, 1]))
    });
    assert_value("value", &value, 30.0, 1e-9);
    assert_value("gradient", &grad, -1.0, 1e-9);
}

#[test]
fn generalized_cross_entropy_is_between_cross_entropy_and_absolute_error() {
    let (x, t) = (logits(), classes());
    let gce = |q| GeneralizedCrossEntropyLoss::default().q(q).forward(&x, &t);
    let ce = CrossEntropyLoss::default().forward(&x, &t);
    assert_close("q near 0", &gce(1e-9), &ce, (1e-7, 0.0));
    let p = x.softmax(1, Kind::Double).gather(1, &t.unsqueeze(1), false);
    assert_close("q = 1", &gce(1.0), &(p * -1.0 + 1.0).mean(None::<Kind>), (1e-12, 0.0));
}

/// Keras' gradient is infinite there.
#[test]
fn generalized_cross_entropy_has_a_bounded_gradient_at_probability_0() {
    let loss = GeneralizedCrossEntropyLoss::keras().reduction(Reduction::None);
    let p = tensor(&[0.0, 1.0, 1e-7, 1.0, 2e-7, 1.0], &[3, 2]);
    let (value, grad) = value_and_grad(&p, |p| loss.forward(p, &index(&[0; 3], &[3])));
    let slope = 1e-7f64.powf(-0.3);
    let expected = (1.0 - 1e-7f64.powf(0.7)) / 0.7 + 1e-7 * slope;
    assert_value("value at 0", &value.get(0), expected, 1e-12);
    assert_value("gradient at 0", &grad.get(0).get(0), -slope, 1e-9);
    assert_value("gradient at 1e-7", &grad.get(1).get(0), -slope, 1e-9);
    assert_value("gradient above", &grad.get(2).get(0), -2e-7f64.powf(-0.3), 1e-9);
}

#[test]
fn all_positions_are_the_top_100_percent() {
    let t = classes().masked_fill(&rand(51, &[4, 5], Kind::Double).lt(0.3), 255);
    let top = TopKCrossEntropyLoss::default().k(100.0).ignore_index(255).label_smoothing(0.1);
    let all = CrossEntropyLoss::default().ignore_index(255).label_smoothing(0.1);
    same(&top, &all, &logits(), &t);
    let weight = rand(52, &[4, 5], Kind::Double);
    let (top, all) = (
        top.forward_weighted(&logits(), &t, &weight),
        all.forward_weighted(&logits(), &t, &weight),
    );
    assert_close("weighted", &top, &all, (1e-12, 0.0));
}

/// nnU-Net averages over k percent of all positions: here 0.1 of what is right.
#[test]
fn ignored_positions_are_no_part_of_the_hardest() {
    let x = randn(53, &[1, 3, 100], Kind::Double);
    let t = randint(54, 3, &[1, 100]);
    let _ = t.narrow(1, 10, 90).fill_(-100);
    let top = TopKCrossEntropyLoss::default();
    let hardest = CrossEntropyLoss::default().reduction(Reduction::None).forward(&x, &t).max();
    assert_close("1 of 10", &top.forward(&x, &t), &hardest, (1e-12, 0.0));
    // Fewer than one position: one.
    let few = (x.narrow(2, 0, 3), t.narrow(1, 0, 3));
    let hardest =
        CrossEntropyLoss::default().reduction(Reduction::None).forward(&few.0, &few.1).max();
    assert_close("1 of 3", &top.forward(&few.0, &few.1), &hardest, (1e-12, 0.0));
    // A mask says the same as ignored targets.
    let mask = t.ne(-100);
    let masked = top.forward_weighted(&x, &t.clamp_min(0), &mask);
    assert_close("masked", &masked, &top.forward(&x, &t), (1e-12, 0.0));
}

#[test]
fn only_the_hardest_positions_get_a_gradient() {
    let (x, t) = (logits(), classes());
    let losses = CrossEntropyLoss::default().reduction(Reduction::None).forward(&x, &t);
    let (_, hardest) = losses.view(-1).topk(5, 0, true, true);
    let expected = losses.zeros_like().view(-1).index_fill(0, &hardest, 1.0).view([4, 1, 5]);
    let top = TopKCrossEntropyLoss::default().k(25.0);
    let (_, grad) = value_and_grad(&x, |x| top.forward(x, &t));
    let touched = grad.abs().sum_dim_intlist(1, true, None).gt(0.0).to_kind(Kind::Double);
    assert_close("touched", &touched, &expected, (0.0, 0.0));
    let unreduced = top.reduction(Reduction::None).forward(&x, &t);
    assert_close("unreduced", &unreduced, &(losses * expected.squeeze_dim(1)), (1e-12, 0.0));
}

#[test]
fn balanced_positives_and_negatives_have_the_same_say() {
    let x = tensor(&[0.0; 12], &[2, 6]);
    let t = index(&[1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0], &[2, 6]);
    let positive = t.to_kind(Kind::Double);
    let shares = |beta: Balance, image: Option<i64>| {
        let loss = BalancedBceWithLogitsLoss::default().beta(beta).reduction(Reduction::None);
        let loss = loss.forward(&x, &t);
        let part = |mask: &Tensor| {
            let kept = &loss * mask;
            image.map_or(kept.shallow_clone(), |image| kept.get(image)).sum(None::<Kind>)
        };
        (part(&positive), part(&(1.0 - &positive)))
    };
    for (what, (a, b)) in [
        ("first image", shares(Balance::PerImage, Some(0))),
        ("second image", shares(Balance::PerImage, Some(1))),
        ("batch", shares(Balance::PerBatch, None)),
    ] {
        assert_close(what, &a, &b, (1e-12, 0.0));
    }
    let half =
        BalancedBceWithLogitsLoss::default().beta(0.5).forward(&logits(), &logits().sigmoid());
    let bce = BceWithLogitsLoss::default().forward(&logits(), &logits().sigmoid());
    assert_close("half", &half, &(bce * 0.5), (1e-12, 0.0));
}

#[test]
fn divergences_are_zero_of_equals_and_positive_of_others() {
    let [p, q] = [55, 56].map(|seed| randn(seed, &[5, 4], Kind::Double).softmax(1, Kind::Double));
    let kl = KlDivLoss::default().input(Distribution::Probabilities).batch_mean(true);
    let js = JsDivLoss::default().input(Distribution::Probabilities);
    for (name, loss) in [("kl", &kl as &dyn Loss), ("js", &js)] {
        assert_value(name, &loss.forward(&p, &p), 0.0, 1e-15);
        assert!(loss.forward(&p, &q).double_value(&[]) > 0.01, "{name}");
    }
    let both = (js.forward(&p, &q), js.forward(&q, &p));
    assert_close("js is symmetric", &both.0, &both.1, (1e-12, 0.0));
    let m = (&p + &q) * 0.5;
    let mean = (kl.forward(&m, &p) + kl.forward(&m, &q)) * 0.5;
    assert_close("js is the mean kl from the middle", &both.0, &mean, (1e-12, 0.0));
    // As far apart as can be.
    let x = tensor(&[1e4, 0.0, 0.0, 1e4], &[2, 2]);
    let apart = JsDivLoss::default().target(Distribution::Logits).forward(&x, &x.flip([1]));
    assert_value("js is at most log 2", &apart, std::f64::consts::LN_2, 1e-12);
}

#[test]
fn the_divergence_of_two_splits_is_jensen_shannons() {
    let x = randn(57, &[4, 5], Kind::Double);
    let t = index(&[0, 3], &[2]);
    let (a, b) = (x.narrow(0, 0, 2), x.narrow(0, 2, 2));
    let js = JsDivLoss::default().target(Distribution::Logits).forward(&a, &b);
    let ce = CrossEntropyLoss::default().label_smoothing(0.1).forward(&a, &t);
    let jsd = JsdCrossEntropy::default().num_splits(2).alpha(7.0);
    assert_close("jsd", &jsd.forward(&x, &t), &(ce + js * 7.0), (1e-12, 0.0));
    // The targets of the copies count for nothing.
    let all = Tensor::cat(&[&t, &index(&[9, 9], &[2])], 0);
    assert_close("targets of all", &jsd.forward(&x, &all), &jsd.forward(&x, &t), (0.0, 0.0));
}

/// timm limits the mixture to 1e-7, and so takes log(b / 1e-7) for log(b / m).
#[test]
fn a_mixture_near_0_has_an_exact_logarithm() {
    let x = tensor(&[0.0, -20.0, 0.0, -25.0], &[2, 2]);
    let jsd = JsdCrossEntropy::default().num_splits(2).alpha(1.0).label_smoothing(0.0);
    let (_, grad) = value_and_grad(&x, |x| jsd.forward(x, &index(&[0], &[1])));
    let sigmoid = |x: f64| x.exp() / (1.0 + x.exp());
    let (a, b) = (sigmoid(-20.0), sigmoid(-25.0));
    let m = (a + b) / 2.0;
    let expected = 0.5 * b * (1.0 - b) * ((b / m).ln() - ((1.0 - b) / (1.0 - m)).ln());
    assert_close("gradient", &grad.get(1).get(1), &tensor(&[expected], &[]), (1e-5, 0.0));
}

#[test]
fn binary_labels_are_what_they_are_said_to_be() {
    let (x, t) = (randn(58, &[4, 5], Kind::Double), randint(59, 2, &[4, 5]));
    let signs = &t * 2 - 1;
    type Labelled = fn(BinaryLabels) -> Box<dyn Loss>;
    let losses: [Labelled; 4] = [
        |labels| Box::new(HingeLoss::default().labels(labels)),
        |labels| Box::new(HingeLoss::squared().labels(labels)),
        |labels| Box::new(SoftMarginLoss::default().labels(labels)),
        |labels| Box::new(HingeEmbeddingLoss::default().labels(labels)),
    ];
    for loss in losses {
        let zero_one = loss(BinaryLabels::ZeroOne);
        let expected = loss(BinaryLabels::Signs).forward(&x, &signs);
        for t in [t.shallow_clone(), t.to_kind(Kind::Bool), t.to_kind(Kind::Double)] {
            assert_close(
                &format!("{zero_one:?}"),
                &zero_one.forward(&x, &t),
                &expected,
                (0.0, 0.0),
            );
        }
    }
    let ranking = MarginRankingLoss::default();
    let y = randn(60, &[4, 5], Kind::Double);
    let expected = ranking.forward(&x, &y, &signs);
    let zero_one = ranking.labels(BinaryLabels::ZeroOne).forward(&x, &y, &t);
    assert_close("ranking", &zero_one, &expected, (0.0, 0.0));
    // Of 0 and 1 the soft margin is binary cross entropy; with many labels its mean.
    let soft = SoftMarginLoss::default().labels(BinaryLabels::ZeroOne);
    same(&soft, &BceWithLogitsLoss::default(), &x, &t);
    same(&MultiLabelSoftMarginLoss::default(), &BceWithLogitsLoss::default(), &x, &t);
}

/// PyTorch's is infinite there, and its gradient NaN.
#[test]
fn a_soft_margin_far_on_the_wrong_side_is_the_distance() {
    for kind in [Kind::Double, Kind::Float] {
        let x = tensor(&[-5000.0], &[1]).to_kind(kind);
        let (value, grad) =
            value_and_grad(&x, |x| SoftMarginLoss::default().forward(x, &index(&[1], &[1])));
        assert_value("value", &value, 5000.0, 0.0);
        assert_value("gradient", &grad, -1.0, 0.0);
    }
}

#[test]
fn margins_that_are_kept_cost_exactly_nothing() {
    let x = tensor(&[7.3, 0.1, -2.7, 0.3, 9.1, 5.2], &[2, 3]).to_kind(Kind::Float);
    let t = index(&[0, 1], &[2]);
    for p in [1, 2] {
        let (value, grad) =
            value_and_grad(&x, |x| MultiMarginLoss::default().p(p).margin(0.7).forward(x, &t));
        assert_value("value", &value, 0.0, 0.0);
        assert_value("gradient", &grad.abs().max(), 0.0, 0.0);
    }
}

/// Keras gives NaN.
#[test]
fn positions_without_any_probability_are_finite() {
    let p = tensor(&[0.0, 0.0, 0.0, 0.2, 0.3, 0.5], &[2, 3]);
    let (value, grad) = value_and_grad(&p, |p| {
        CategoricalCrossEntropyLoss::default().forward(p, &index(&[1, 2], &[2]))
    });
    assert_value("value", &value, -(1e-7f64.ln() + 0.5f64.ln()) / 2.0, 1e-12);
    assert_finite("gradient", &grad);
}

#[test]
fn a_matrix_changes_in_update_alone() {
    let [o, p] =
        [61, 62].map(|seed| randn(seed, &[6, 3, 2], Kind::Double).softmax(1, Kind::Double));
    let t = randint(63, 2, &[6, 2]); // class 2 is absent
    let mut loss = MatrixCrossEntropyLoss::default();
    let before = loss.forward(&o, &t);
    assert!(loss.matrix().is_none());
    assert_close("forward changes nothing", &loss.forward(&o, &t), &before, (0.0, 0.0));

    loss.update(&o, &t);
    let kept = loss.clone();
    let (first, with_first) = (loss.matrix().unwrap().copy(), loss.forward(&o, &t));
    loss.update(&leaf(&p), &t);
    assert_close("a copy keeps its own", kept.matrix().unwrap(), &first, (0.0, 0.0));
    assert_close("a copy keeps its own", &kept.forward(&o, &t), &with_first, (0.0, 0.0));
    assert!(!loss.matrix().unwrap().requires_grad());

    let restored = MatrixCrossEntropyLoss::default().with_matrix(loss.matrix().unwrap().copy());
    assert_close("restored", &restored.forward(&o, &t), &loss.forward(&o, &t), (0.0, 0.0));
    let named =
        loss::by_name("matrix_cross_entropy", &loss::Options::new().set("step", 2.0)).unwrap();
    assert_close("by name", &named.forward(&o, &t), &before, (0.0, 0.0));
}

#[test]
fn a_matrix_is_the_mean_output_of_the_classes_that_are_there() {
    let o = randn(64, &[5, 3], Kind::Double).softmax(1, Kind::Double);
    let t = index(&[0, 1, 1, -100, 0], &[5]);
    let start = rand(65, &[3, 3], Kind::Double).fill_diagonal_(0.0, false);
    // With step 1 only the last batch is left.
    let mut loss = MatrixCrossEntropyLoss::default().step(1.0).with_matrix(start.copy());
    loss.update(&o, &t);
    let matrix = loss.matrix().unwrap();
    let of_0 = (o.get(0) + o.get(4)) * 0.5 * tensor(&[0.0, 1.0, 1.0], &[3]);
    let of_1 = (o.get(1) + o.get(2)) * 0.5 * tensor(&[1.0, 0.0, 1.0], &[3]);
    assert_close("class 0", &matrix.select(1, 0), &of_0, (1e-12, 0.0));
    assert_close("class 1", &matrix.select(1, 1), &of_1, (1e-12, 0.0));
    assert_close("class 2 is absent", &matrix.select(1, 2), &start.select(1, 2), (0.0, 0.0));
    // One-hot targets move it as indices do; what nothing is known of stays.
    let mut dense = MatrixCrossEntropyLoss::default().with_matrix(start.copy());
    let mut sparse = dense.clone();
    let t = index(&[0, 1, 1, 0, 0], &[5]);
    sparse.update(&o, &t);
    dense.update(&o, &t.one_hot(3).to_kind(Kind::Double));
    assert_close("one-hot", dense.matrix().unwrap(), sparse.matrix().unwrap(), (1e-12, 0.0));
    sparse.update(&o.narrow(0, 0, 0), &t.narrow(0, 0, 0));
    assert_close("empty", sparse.matrix().unwrap(), dense.matrix().unwrap(), (1e-12, 0.0));
}

#[test]
fn class_counts_count_what_is_not_ignored() {
    let t = index(&[0, 2, 2, 255, 0, 0, 3, 255], &[2, 4]);
    for t in [t.shallow_clone(), t.to_kind(Kind::Uint8), t.transpose(0, 1)] {
        let counts = Vec::<i64>::try_from(class_counts(&t, 5, 255)).unwrap();
        assert_eq!(counts, [3, 0, 2, 1, 0]);
    }
    let none = Vec::<i64>::try_from(class_counts(&t.narrow(0, 0, 0), 2, None)).unwrap();
    assert_eq!(none, [0, 0]);
    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    assert_eq!(
        say(f_class_counts(&t, 3, 255)),
        "class_counts: expected num_classes to be above every label, and no label below 0, got 3"
    );
    assert_eq!(
        say(f_class_counts(&(t - 1), 5, 254)),
        "class_counts: expected num_classes to be above every label, and no label below 0, got -1"
    );
}

#[test]
fn class_weights_have_mean_1_and_come_in_the_kind_of_the_counts() {
    let counts = index(&[100, 7, 0, 33], &[4]);
    for weights in
        [inverse_frequency_weights(&counts, 0.7), effective_number_weights(&counts, 0.99)]
    {
        assert_value("mean", &weights.mean(None::<Kind>), 1.0, 1e-12);
        assert_eq!(weights.kind(), Kind::Double);
    }
    let even = inverse_frequency_weights(&counts, 0.0);
    assert_close("power 0", &even, &even.ones_like(), (1e-12, 0.0));
    // Near 1 the effective number is the number.
    let near = effective_number_weights(&counts, 1.0 - 1e-9);
    assert_close("beta near 1", &near, &inverse_frequency_weights(&counts, 1.0), (1e-6, 0.0));
    let float = counts.to_kind(Kind::Float);
    assert_eq!(inverse_frequency_weights(&float, 1.0).kind(), Kind::Float);
    assert_eq!(negatives_per_positive(&float, 200, 1.0).kind(), Kind::Float);

    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    assert_eq!(
        say(f_inverse_frequency_weights(&counts.view([2, 2]), 1.0)),
        "inverse_frequency_weights: expected counts of shape [C] with C at least 1, got [2, 2]"
    );
    assert_eq!(
        say(f_effective_number_weights(&counts, 1.0)),
        "effective_number_weights: expected beta in (0, 1), got 1"
    );
    assert_eq!(
        say(f_negatives_per_positive(&counts, 0, 1.0)),
        "negatives_per_positive: expected samples at least 1, got 0"
    );
}

#[test]
fn temperature_softens_and_1_changes_nothing() {
    let x = logits();
    for dim in [1, -1] {
        let plain = x.softmax(dim, None);
        assert_close("T = 1", &softmax_with_temperature(&x, 1.0, dim), &plain, (1e-12, 0.0));
        let logs = log_softmax_with_temperature(&x, 3.0, dim).exp();
        assert_close("exp of log", &logs, &softmax_with_temperature(&x, 3.0, dim), (1e-12, 0.0));
    }
    let even = softmax_with_temperature(&x, 1e9, 1);
    assert_close("hot", &even, &(x.ones_like() / 3.0), (1e-7, 0.0));
    let half = softmax_with_temperature(&x.to_kind(Kind::Half), 2.0, 1);
    assert_eq!(half.kind(), Kind::Float);
    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    assert_eq!(
        say(f_softmax_with_temperature(&x, 0.0, 1)),
        "softmax_with_temperature: expected temperature above 0 and finite, got 0"
    );
    assert_eq!(
        say(f_softmax_with_temperature(&x, 1.0, 3)),
        "softmax_with_temperature: expected logits of shape with dim 3, got [4, 3, 5]"
    );
}

#[test]
fn options_of_text_reach_the_losses() {
    let t = classes();
    let by_name = |text: &str, x: &Tensor, t: &Tensor| {
        loss::parse(text, device()).unwrap().forward(x, t).double_value(&[])
    };
    let value = |loss: &dyn Loss, x: &Tensor, t: &Tensor| loss.forward(x, t).double_value(&[]);
    let p = logits().softmax(1, Kind::Double);
    let focal = CategoricalFocalCrossEntropyLoss::default().alpha(tensor(&[0.1, 0.2, 0.3], &[3]));
    assert_eq!(by_name("categorical_focal(alpha=[0.1, 0.2, 0.3])", &p, &t), value(&focal, &p, &t));
    let focal = CategoricalFocalCrossEntropyLoss::default().alpha(0.5);
    assert_eq!(by_name("CategoricalFocalCrossentropy(alpha=0.5)", &p, &t), value(&focal, &p, &t));
    let sparse = CategoricalCrossEntropyLoss::default();
    assert_eq!(
        by_name("keras.losses.SparseCategoricalCrossentropy", &p, &t),
        value(&sparse, &p, &t)
    );
    let labels = randint(66, 2, &[4, 3, 5]);
    let balanced = BalancedBceWithLogitsLoss::default().beta(Balance::PerBatch);
    assert_eq!(
        by_name("balanced_bce(beta=per_batch)", &logits(), &labels),
        value(&balanced, &logits(), &labels)
    );
    let fixed = BalancedBceWithLogitsLoss::default().beta(0.7);
    assert_eq!(
        by_name("balanced_bce(beta=0.7)", &logits(), &labels),
        value(&fixed, &logits(), &labels)
    );
    let hinge = HingeLoss::squared().labels(BinaryLabels::ZeroOne);
    assert_eq!(
        by_name("squared_hinge(labels=zero_one)", &logits(), &labels),
        value(&hinge, &logits(), &labels)
    );
    let q = randn(67, &[4, 3, 5], Kind::Double).softmax(1, Kind::Double);
    assert_eq!(by_name("keras.losses.KLDivergence", &p, &q), value(&KlDivLoss::keras(), &p, &q));
    let kl = KlDivLoss::default().input(Distribution::Logits);
    assert_eq!(by_name("kl_div(input=logits)", &logits(), &q), value(&kl, &logits(), &q));
    let weighted = BceWithLogitsLoss::default().pos_weight(tensor(&[3.0], &[]));
    assert_eq!(
        by_name("tf.nn.weighted_cross_entropy_with_logits(pos_weight=3)", &logits(), &labels),
        value(&weighted, &logits(), &labels)
    );
}

#[test]
fn errors_say_what_was_expected() {
    let x = randn(68, &[2, 3, 4], Kind::Float);
    let t = index(&[0; 8], &[2, 4]);
    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    let refused: [(&dyn Loss, &Tensor, &str); 23] = [
        (
            &OneVsRestBceLoss::default().pos_weight(tensor(&[1.0; 3], &[3])),
            &t,
            "OneVsRestBceLoss: expected pos_weight of shape broadcastable to [2, 3, 4], got [3]",
        ),
        (
            &CategoricalCrossEntropyLoss::default(),
            &t.narrow(1, 0, 3),
            "CategoricalCrossEntropyLoss: expected target of shape [2, 4], got [2, 3]",
        ),
        (
            &CategoricalCrossEntropyLoss::default().clip(0.5),
            &t,
            "CategoricalCrossEntropyLoss: expected clip in [0, 0.5), got 0.5",
        ),
        (
            &CategoricalCrossEntropyLoss::default().weight(tensor(&[1.0; 4], &[4])),
            &t,
            "CategoricalCrossEntropyLoss: expected weight of shape [3], got [4]",
        ),
        (
            &CategoricalFocalCrossEntropyLoss::default().alpha(tensor(&[1.0; 2], &[2])),
            &t,
            "CategoricalFocalCrossEntropyLoss: expected alpha of shape [3], got [2]",
        ),
        (
            &BinaryFocalCrossEntropyLoss::default().clip(f64::NAN),
            &x,
            "BinaryFocalCrossEntropyLoss: expected clip in [0, 0.5), got NaN",
        ),
        (&BceLoss::default().clip(-0.1), &x, "BceLoss: expected clip in [0, 0.5), got -0.1"),
        (
            &SoftTargetCrossEntropy::default(),
            &t,
            "SoftTargetCrossEntropy: expected target of floating-point kind, got Int64",
        ),
        (&NllLoss::default(), &x, "NllLoss: expected target of shape [2, 4], got [2, 3, 4]"),
        (
            &TopKCrossEntropyLoss::default().k(0.0),
            &t,
            "TopKCrossEntropyLoss: expected k in (0, 100], got 0",
        ),
        (
            &GeneralizedCrossEntropyLoss::default().q(f64::NAN),
            &t,
            "GeneralizedCrossEntropyLoss: expected q in (0, 1], got NaN",
        ),
        (
            &PolyCrossEntropyLoss::default().epsilon(f64::INFINITY),
            &t,
            "PolyCrossEntropyLoss: expected epsilon finite, got inf",
        ),
        (
            &PolyBceWithLogitsLoss::default().gamma(-1.0),
            &x,
            "PolyBceWithLogitsLoss: expected gamma at least 0 and finite, got -1",
        ),
        (
            &AsymmetricLossMultiLabel::default().clip(1.0),
            &x,
            "AsymmetricLossMultiLabel: expected clip in [0, 1), got 1",
        ),
        (
            &AsymmetricLossSingleLabel::default().gamma_neg(-2.0),
            &t,
            "AsymmetricLossSingleLabel: expected gamma_neg at least 0 and finite, got -2",
        ),
        (
            &OneVsRestBceLoss::default(),
            &t.to_kind(Kind::Float),
            "OneVsRestBceLoss: expected target of integer kind, got Float",
        ),
        (
            &BalancedBceWithLogitsLoss::default().beta(1.5),
            &x,
            "BalancedBceWithLogitsLoss: expected beta in [0, 1], got 1.5",
        ),
        (
            &KlDivLoss::keras().log_target(true),
            &x,
            "KlDivLoss: clip limits probabilities, and log_target says that there are none",
        ),
        (&JsDivLoss::default(), &t, "JsDivLoss: expected target of shape [2, 3, 4], got [2, 4]"),
        (
            &JsdCrossEntropy::default(),
            &t,
            "JsdCrossEntropy: expected input of shape [3 N, C, ..], got [2, 3, 4]",
        ),
        (&MultiMarginLoss::default().p(3), &t, "MultiMarginLoss: expected p 1 or 2, got 3"),
        (
            &MultiLabelMarginLoss::default(),
            &x,
            "MultiLabelMarginLoss: expected input of shape [N, C], got [2, 3, 4]",
        ),
        (
            &MatrixCrossEntropyLoss::default().with_matrix(tensor(&[0.0; 4], &[2, 2])),
            &t,
            "MatrixCrossEntropyLoss: expected matrix of shape [3, 3], got [2, 2]",
        ),
    ];
    for (loss, target, expected) in refused {
        assert_eq!(say(loss.f_forward(&x, target)), expected);
    }
    assert_eq!(
        say(HingeLoss::default().margin(f64::NAN).f_forward(&x, &x)),
        "HingeLoss: expected margin finite, got NaN"
    );
    assert_eq!(
        say(AsymmetricLossMultiLabel::default().f_forward(&x.view(-1), &x.view(-1))),
        "AsymmetricLossMultiLabel: expected input of shape [N, C, ..], for sum_classes, got [24]"
    );
    assert_eq!(
        say(MarginRankingLoss::default().f_forward(&x, &x.narrow(0, 0, 1), &x)),
        "MarginRankingLoss: expected input2 of shape [2, 3, 4], got [1, 3, 4]"
    );
    let mut loss = MatrixCrossEntropyLoss::default().step(0.5);
    assert_eq!(
        loss.f_update(&x, &t).unwrap_err().to_string(),
        "MatrixCrossEntropyLoss: expected step at least 1 and finite, got 0.5"
    );
    let jsd = JsdCrossEntropy::default().num_splits(1).f_forward(&x, &t);
    assert_eq!(say(jsd), "JsdCrossEntropy: expected num_splits at least 2, got 1");
    for job in jobs() {
        let (x, t) = (job.input(69, &[4, 3, 5], Kind::Float), job.target(70, &[4, 3, 5]));
        let other = (job.make)(Reduction::Other(7)).f_forward(&x, &t);
        assert!(
            say(other).ends_with("expected reduction None, Mean or Sum, got Other(7)"),
            "{}",
            job.name
        );
        let integer = job.loss().f_forward(&x.to_kind(Kind::Int64), &t);
        assert!(
            say(integer).ends_with("expected input of floating-point kind, got Int64"),
            "{}",
            job.name
        );
        let scalar =
            job.loss().f_forward(&tensor(&[1.0], &[]).to_kind(Kind::Float), &tensor(&[1.0], &[]));
        // Some take any shape; the others say so, and none aborts.
        assert!(scalar.is_ok() || say(scalar).contains("of shape"), "{}", job.name);
        if device() == tch::Device::Cpu
            && matches!(job.takes, Takes::Classes | Takes::ClassProbabilities)
        {
            // On CUDA libtorch asserts on the device instead.
            for label in [3, -1] {
                let strange = job.loss().f_forward(&x, &t.full_like(label));
                assert!(say(strange).starts_with("libtorch: "), "{} of label {label}", job.name);
            }
        }
    }
}
