//! The pairs of objectives, and pairs by name.

use crate::{alone, common::*, randn};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};
use tch_losses::{
    BceGanLoss, GanLoss, HingeGanLoss, LeastSquaresGanLoss, Loss, LossError, MinMaxGanLoss,
    NonSaturatingGanLoss, Reduction, RelativisticGanLoss, Result, WassersteinGanLoss,
    adversarial::{DiscriminatorLoss, Halve, RelativisticCost, gan_by_name},
    loss::{self, Entry, Options, Registry},
};

/// Every pair of the catalogue, with its presets.
fn all() -> Vec<(String, Box<dyn GanLoss>)> {
    let pairs = loss::catalogue().into_iter().filter(Entry::is_pair);
    pairs
        .map(|pair| (pair.name.clone(), gan_by_name(&pair.name, &Options::new()).unwrap()))
        .collect()
}

fn with(name: &str, options: &str) -> Box<dyn GanLoss> {
    gan_by_name(name, &options.parse().unwrap()).unwrap()
}

/// The discriminator's and the generator's objective.
fn both(gan: &dyn GanLoss, real: &Tensor, fake: &Tensor) -> [Tensor; 2] {
    [gan.discriminator(real, fake), gan.generator(gan.needs_real().then_some(real), fake)]
}

fn scores(seed: i64, kind: Kind) -> (Tensor, Tensor) {
    (randn(seed, &[3, 4], kind) * 2.0 + 0.3, randn(seed + 1, &[3, 4], kind) * 2.0 - 0.2)
}

fn generator_gradient(gan: &dyn GanLoss, fake: &Tensor) -> Tensor {
    value_and_grad(fake, |fake| gan.generator(None, fake)).1
}

#[test]
fn minmax_and_non_saturating_share_the_discriminator_and_the_direction_of_the_generator() {
    let (real, fake) = scores(1, Kind::Double);
    let (minmax, other) = (MinMaxGanLoss::default(), NonSaturatingGanLoss::default());
    let value = |gan: &dyn GanLoss| gan.discriminator(&real, &fake);
    assert_close("D", &value(&minmax), &value(&other), (0.0, 0.0));
    // -σ/n and -(1-σ)/n: both push every score up, and together as one.
    let (a, b) = (generator_gradient(&minmax, &fake), generator_gradient(&other, &fake));
    assert!(a.max().double_value(&[]) < 0.0 && b.max().double_value(&[]) < 0.0);
    assert_close("G", &(a + b), &fake.full_like(-1.0 / 12.0), (1e-12, 0.0));
}

#[test]
fn a_sure_discriminator_leaves_minmax_hardly_a_gradient() {
    let fake = tensor(&[-8.0], &[1]);
    let at = |gan: &dyn GanLoss| generator_gradient(gan, &fake).double_value(&[0]);
    assert!((at(&MinMaxGanLoss::default()) + 3.3535e-4).abs() < 1e-8);
    assert!((at(&NonSaturatingGanLoss::default()) + 0.999_664_65).abs() < 1e-8);
}

#[test]
fn hinge_has_no_gradient_beyond_its_margin() {
    let hinge = HingeGanLoss::default();
    let real = leaf(&tensor(&[1.5, 300.0, 0.9, -2.0], &[4]));
    let fake = leaf(&tensor(&[-1.5, -300.0, -0.9, 2.0], &[4]));
    hinge.discriminator(&real, &fake).backward();
    assert_close("real", &real.grad(), &tensor(&[0.0, 0.0, -0.25, -0.25], &[4]), (0.0, 0.0));
    assert_close("fake", &fake.grad(), &tensor(&[0.0, 0.0, 0.25, 0.25], &[4]), (0.0, 0.0));
}

#[test]
fn a_discriminator_that_cannot_tell_is_best_in_the_middle() {
    // The same score for real and fake: (a + b)/2 for least squares, a logit of 0 for the logistic.
    let slope = |gan: &dyn GanLoss, score: f64| {
        let score = tensor(&[score], &[1]);
        value_and_grad(&score, |score| gan.discriminator(score, score)).1.double_value(&[0])
    };
    let least_squares = LeastSquaresGanLoss::default().a(-1.0).b(2.0);
    assert_eq!(slope(&least_squares, 0.5), 0.0);
    assert!(slope(&least_squares, 0.6) > 0.0 && slope(&least_squares, 0.4) < 0.0);
    assert_eq!(slope(&NonSaturatingGanLoss::default(), 0.0), 0.0);
    assert_eq!(slope(&WassersteinGanLoss::default(), 7.0), 0.0);
    // A smoothed label moves the optimum of the logistic.
    let smoothed = BceGanLoss::default().real_label(0.9).fake_label(0.3);
    assert!(slope(&smoothed, (0.6f64 / 0.4).ln()).abs() < 1e-12);
}

#[test]
fn bce_with_labels_one_and_zero_is_non_saturating() {
    let (real, fake) = scores(10, Kind::Double);
    let at = |gan: &dyn GanLoss| {
        let (real, fake) = (leaf(&real), leaf(&fake));
        let [d, g] = both(gan, &real, &fake);
        (&d + &g).backward();
        [d.detach(), g.detach(), real.grad(), fake.grad()]
    };
    let pairs = at(&BceGanLoss::default()).into_iter().zip(at(&NonSaturatingGanLoss::default()));
    for (got, expected) in pairs {
        assert_close("bce", &got, &expected, (1e-12, 0.0));
    }
}

#[test]
fn halving_is_a_half() {
    let (real, fake) = scores(20, Kind::Double);
    for name in ["bce_gan", "least_squares_gan", "relativistic_gan"] {
        let [d, g] = both(&*with(name, "halve=neither"), &real, &fake);
        for (halve, of_d, of_g) in [("discriminator", 0.5, 1.0), ("both", 0.5, 0.5)] {
            let halved = both(&*with(name, &format!("halve={halve}")), &real, &fake);
            assert_close(name, &halved[0], &(&d * of_d), (1e-12, 0.0));
            assert_close(name, &halved[1], &(&g * of_g), (1e-12, 0.0));
        }
    }
}

#[test]
fn a_critic_is_antisymmetric_and_linear_under_wasserstein() {
    let (real, fake) = scores(30, Kind::Double);
    let wgan = WassersteinGanLoss::default();
    let there = wgan.discriminator(&real, &fake);
    assert_close("swapped", &wgan.discriminator(&fake, &real), &-&there, (1e-12, 0.0));
    let scaled = wgan.discriminator(&(&real * 3.0), &(&fake * 3.0));
    assert_close("scaled", &scaled, &(there * 3.0), (1e-12, 0.0));
}

#[test]
fn shifting_all_scores_changes_nothing_for_relativistic_and_wasserstein_critics() {
    let (real, fake) = scores(40, Kind::Double);
    let mut compared = 0;
    for (name, gan) in all() {
        let relative = gan.needs_real();
        if !relative && name != "wasserstein_gan" {
            continue;
        }
        compared += 1;
        let (before, after) =
            (both(&*gan, &real, &fake), both(&*gan, &(&real + 5.0), &(&fake + 5.0)));
        assert_close(&name, &after[0], &before[0], (1e-12, 1e-12));
        if relative {
            assert_close(&name, &after[1], &before[1], (1e-12, 1e-12));
        }
    }
    assert!(compared >= 6);
}

#[test]
fn a_relativistic_generator_is_a_discriminator_with_the_roles_swapped() {
    let (real, fake) = scores(50, Kind::Double);
    for (name, gan) in all().into_iter().filter(|(_, gan)| gan.needs_real()) {
        let generator = gan.generator(Some(&real), &fake);
        assert_close(&name, &generator, &gan.discriminator(&fake, &real), (1e-12, 0.0));
    }
}

#[test]
fn order_and_shape_of_the_scores_change_nothing() {
    let (real, fake) = scores(60, Kind::Double);
    let order = index(&[7, 2, 11, 0, 5, 9, 1, 3, 10, 4, 8, 6], &[12]);
    let shuffled = |t: &Tensor| t.view(-1).index_select(0, &order).view([2, 1, 6]);
    let strided = |t: &Tensor| t.tr().contiguous().tr();
    for (name, gan) in all() {
        let expected = both(&*gan, &real, &fake);
        let moved = both(&*gan, &shuffled(&real), &shuffled(&fake));
        let strides = both(&*gan, &strided(&real), &strided(&fake));
        for (n, expected) in expected.iter().enumerate() {
            assert_close(&name, &moved[n], expected, (1e-12, 0.0));
            assert_close(&name, &strides[n], expected, (1e-12, 0.0));
        }
    }
}

#[test]
fn batches_may_differ_in_size_and_each_term_is_a_mean_of_its_own() {
    let (real, fake) = scores(70, Kind::Double);
    let (real, fake) = (real.view(-1), fake.view(-1));
    for (name, gan) in all().into_iter().filter(|(name, _)| name != "rpgan") {
        let expected = both(&*gan, &real, &fake);
        let repeated = both(&*gan, &real, &fake.repeat([3]));
        for (got, expected) in repeated.iter().zip(&expected) {
            assert_close(&name, got, expected, (1e-12, 0.0));
        }
    }
}

#[test]
fn gradients_match_differences_once_and_twice() {
    let _alone = alone();
    // No score and no difference of scores is near a kink.
    let real = tensor(&[0.3, -1.7, 2.4, 0.9, -0.2, 1.6], &[2, 3]);
    let fake = tensor(&[-0.5, 1.3, 0.1, -2.2, 0.7, -1.4], &[2, 3]);
    let mut pairs = all();
    for cost in ["logistic", "least_squares", "hinge"] {
        let options = format!("against=pairs, cost={cost}");
        pairs.push((options.clone(), with("relativistic", &options)));
    }
    pairs.push((
        "labels".into(),
        with("bce", "real_label=0.9, fake_label=0.2, generator_label=0.8"),
    ));
    for (name, gan) in pairs {
        let objectives = |t: &[Tensor]| Tensor::stack(&both(&*gan, &t[0], &t[1]), 0);
        let inputs = [real.shallow_clone(), fake.shallow_clone()];
        gradcheck(&name, &inputs, objectives);
        // The gradient of a piecewise linear cost is constant and has no graph to check.
        let linear = ["wasserstein_gan", "hinge_gan", "rahinge_gan", "against=pairs, cost=hinge"];
        if !linear.contains(&name.as_str()) {
            gradgradcheck(&name, &inputs, objectives);
        }
    }
}

#[test]
fn saturated_scores_are_finite_in_every_kind() {
    for kind in KINDS {
        let extremes = tensor(&[1e4, -1e4, 0.0, 30.0], &[4]).to_kind(kind);
        for (name, gan) in all() {
            for reversed in [false, true] {
                let real = leaf(&extremes);
                let fake = leaf(&if reversed { extremes.flip([0]) } else { extremes.copy() });
                let what = format!("{name} in {kind:?}");
                let [d, g] = both(&*gan, &real, &fake);
                let expected = if kind == Kind::Double { kind } else { Kind::Float };
                assert_eq!((d.kind(), g.kind()), (expected, expected), "{what}");
                assert_finite(&what, &d);
                assert_finite(&what, &g);
                (d + g).backward();
                for grad in [real.grad(), fake.grad()] {
                    assert_finite(&what, &grad);
                    assert_eq!(grad.kind(), kind, "{what}");
                }
            }
        }
    }
}

#[test]
fn half_and_bfloat16_are_those_of_the_rounded_scores() {
    for kind in [Kind::Half, Kind::BFloat16] {
        let (real, fake) = scores(80, kind);
        for (name, gan) in all() {
            let got = both(&*gan, &real, &fake);
            let exact = both(&*gan, &real.to_kind(Kind::Double), &fake.to_kind(Kind::Double));
            for (got, exact) in got.iter().zip(&exact) {
                assert_close(&format!("{name} in {kind:?}"), got, exact, tolerance(Kind::Float));
            }
        }
    }
}

#[test]
fn no_scores_are_zero_with_a_gradient_of_zero() {
    for kind in KINDS {
        let some = randn(90, &[3], kind);
        for (name, gan) in all() {
            let none = leaf(&randn(91, &[0], kind));
            let [d, g] = both(&*gan, &none, &none);
            assert_value(&name, &d, 0.0, 0.0);
            assert_value(&name, &g, 0.0, 0.0);
            (d + g).backward();
            assert_eq!(none.grad().size(), [0]);
            if name == "rpgan" {
                continue; // pairs
            }
            // One side alone is the other's term.
            let real = leaf(&some);
            let d = gan.discriminator(&real, &none);
            assert_finite(&name, &d);
            d.backward();
            assert_finite(&name, &real.grad());
        }
    }
}

#[test]
fn without_reduction_the_terms_add_up_place_by_place() {
    let (real, fake) = scores(100, Kind::Double);
    for name in ["minmax", "non_saturating", "bce", "lsgan", "wgan", "hinge", "rasgan", "rpgan"] {
        let [none, sum, mean] = ["none", "sum", "mean"]
            .map(|reduction| both(&*with(name, &format!("reduction={reduction}")), &real, &fake));
        for n in 0..2 {
            assert_eq!(none[n].size(), [3, 4], "{name}");
            assert_close(name, &none[n].sum(None::<Kind>), &sum[n], (1e-12, 0.0));
            assert_close(name, &none[n].mean(None::<Kind>), &mean[n], (1e-12, 0.0));
        }
    }
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let (real, fake) = scores(110, Kind::Float);
    let short = fake.narrow(0, 0, 2);
    let error = |result: Result<Tensor>| result.unwrap_err().to_string();
    let d = |gan: &dyn GanLoss, fake: &Tensor| error(gan.f_discriminator(&real, fake));
    assert_eq!(
        d(&HingeGanLoss::default().reduction(Reduction::None), &short),
        "HingeGanLoss: expected fake of shape [3, 4], got [2, 4]"
    );
    assert_eq!(
        d(&RelativisticGanLoss::rpgan(), &short),
        "RelativisticGanLoss: expected fake of shape [3, 4], got [2, 4]"
    );
    assert_eq!(
        d(&WassersteinGanLoss::default(), &fake.to_kind(Kind::Int64)),
        "WassersteinGanLoss: expected fake of floating-point kind, got Int64"
    );
    assert_eq!(
        d(&MinMaxGanLoss::default(), &fake.to_kind(Kind::Double)),
        "MinMaxGanLoss: expected fake of the real scores' kind, got Double"
    );
    assert_eq!(
        d(&BceGanLoss::default().real_label(1.5), &fake),
        "BceGanLoss: expected real_label in [0, 1], got 1.5"
    );
    assert_eq!(
        error(BceGanLoss::default().generator_label(f64::NAN).f_generator(None, &fake)),
        "BceGanLoss: expected generator_label in [0, 1], got NaN"
    );
    assert_eq!(
        d(&LeastSquaresGanLoss::default().c(f64::INFINITY), &fake),
        "LeastSquaresGanLoss: expected c finite, got inf"
    );
    let needs = RelativisticGanLoss::ralsgan();
    assert!(needs.needs_real());
    assert_eq!(
        error(needs.f_generator(None, &fake)),
        "RelativisticGanLoss: the generator's objective needs the scores of real samples too"
    );
    let other = NonSaturatingGanLoss::default().reduction(Reduction::Other(7));
    assert_eq!(
        error(other.f_generator(None, &fake)),
        "NonSaturatingGanLoss: expected reduction None, Mean or Sum, got Other(7)"
    );
}

#[test]
#[should_panic(expected = "RelativisticGanLoss: the generator's objective needs the scores")]
fn the_plain_form_panics_with_the_same_line() {
    let _ = RelativisticGanLoss::rasgan().generator(None, &tensor(&[0.0], &[1]));
}

#[test]
fn pairs_are_made_by_name_with_or_without_gan() {
    let made = |name: &str| format!("{:?}", gan_by_name(name, &Options::new()).unwrap());
    let debug = |gan: &dyn GanLoss| format!("{gan:?}");
    assert_eq!(made("hinge"), debug(&HingeGanLoss::default()));
    for name in ["wgan", "wasserstein", "WassersteinGanLoss", "Wasserstein-GAN"] {
        assert_eq!(made(name), debug(&WassersteinGanLoss::default()), "{name}");
    }
    for name in ["vanilla", "logistic", "NonSaturatingGanLoss", "wgan_softplus"] {
        assert_eq!(made(name), debug(&NonSaturatingGanLoss::default()), "{name}");
    }
    assert_eq!(made("lsgan"), debug(&LeastSquaresGanLoss::default()));
    assert_eq!(made("lsgan_cyclegan"), debug(&LeastSquaresGanLoss::cyclegan()));
    assert_eq!(made("pix2pix"), debug(&BceGanLoss::pix2pix()));
    assert_eq!(made("ralsgan"), debug(&RelativisticGanLoss::ralsgan()));
    assert_eq!(made("esrgan"), debug(&RelativisticGanLoss::rasgan().halve(Halve::Both)));
    let relativistic = with("relativistic", "cost=hinge, against=pairs, halve=both, reduction=sum");
    let expected = RelativisticGanLoss::rpgan()
        .cost(RelativisticCost::Hinge)
        .halve(Halve::Both)
        .reduction(Reduction::Sum);
    assert_eq!(format!("{relativistic:?}"), debug(&expected));
}

#[test]
fn every_pair_says_its_options_and_is_refused_as_a_loss() {
    let mut names = BTreeSet::new();
    for entry in loss::catalogue().into_iter().filter(Entry::is_pair) {
        assert!(entry.takes.is_none() && !entry.follows.is_empty(), "{}", entry.name);
        let plain = gan_by_name(&entry.name, &Options::new()).unwrap();
        for (option, default) in entry.options() {
            let said = with(&entry.name, &format!("{option}={default}"));
            assert_eq!(format!("{said:?}"), format!("{plain:?}"), "{}({option})", entry.name);
        }
        for name in entry.aliases.iter().chain([&entry.name]) {
            assert!(names.insert(name.clone()), "{name} twice");
            let found = gan_by_name(name, &Options::new()).unwrap();
            assert_eq!(format!("{found:?}"), format!("{plain:?}"), "{name}");
        }
        let refused = loss::by_name(&entry.name, &Options::new()).unwrap_err();
        assert!(matches!(refused, LossError::Apart { .. }), "{refused}");
        assert!(refused.to_string().ends_with("or gan_by_name"), "{refused}");
    }
    assert!(names.len() > 12);
}

#[test]
fn mistakes_in_names_and_options_are_named() {
    let error = |name: &str, options: &str| {
        gan_by_name(name, &options.parse().unwrap()).unwrap_err().to_string()
    };
    assert!(error("hinje", "").contains("did you mean hinge_gan"));
    assert!(error("wassersten_gan", "").contains("did you mean wasserstein_gan"));
    // A loss that is no pair is not found, nor offered.
    let said = error("focal", "");
    assert!(
        said.starts_with("there is no loss named `focal`") && !said.contains("mean focal"),
        "{said}"
    );
    assert_eq!(error("hinge", "margin=2"), "hinge_gan: no option `margin`; there are reduction");
    assert_eq!(
        error("lsgan", "halve=yes"),
        "least_squares_gan: expected halve to be neither, discriminator, both, got yes"
    );
}

#[test]
fn a_pair_of_ones_own_is_registered_and_made() {
    #[derive(Debug)]
    struct Shifted(WassersteinGanLoss, f64);
    impl GanLoss for Shifted {
        fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
            Ok(self.0.f_discriminator(real, fake)?.f_add_scalar(self.1)?)
        }

        fn f_generator(&self, real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
            self.0.f_generator(real, fake)
        }
    }
    let mut registry = Registry::default();
    let entry = Entry::pair("shifted_gan", |options| {
        let mut shift = 1.0;
        options.read("shift", &mut shift)?;
        Ok(Box::new(Shifted(WassersteinGanLoss::default(), shift)))
    });
    registry.register(entry).unwrap();
    let gan = registry.gan_by_name("shifted", &Options::new().set("shift", 2.5)).unwrap();
    let (real, fake) = (tensor(&[3.0], &[1]), tensor(&[1.0], &[1]));
    assert_value("shifted", &gan.discriminator(&real, &fake), 0.5, 0.0);
}

#[test]
fn a_discriminator_is_a_loss_of_what_it_is_shown() {
    let weight = leaf(&randn(120, &[5, 1], Kind::Double));
    let (output, target) = (randn(121, &[4, 5], Kind::Double), randn(122, &[4, 5], Kind::Double));
    for gan in ["hinge", "ralsgan"] {
        let pair = || gan_by_name(gan, &Options::new()).unwrap();
        let own = weight.shallow_clone();
        let loss = DiscriminatorLoss::new(move |x: &Tensor| Ok(x.f_matmul(&own)?), pair());
        let (value, grad) = value_and_grad(&output, |output| loss.forward(output, &target));
        let real = target.matmul(&weight);
        let expected = value_and_grad(&output, |output| {
            pair().generator(Some(&real), &output.matmul(&weight))
        });
        assert_close(gan, &value, &expected.0, (1e-12, 0.0));
        assert_close(gan, &grad, &expected.1, (1e-12, 0.0));
        assert!(tch::no_grad(|| loss.f_forward(&output, &target)).is_ok());
        let refused = loss.f_forward_weighted(&output, &target, &target).unwrap_err();
        assert!(matches!(refused, LossError::Unsupported { .. }));
    }
    // The scores of real samples are computed only where they are needed, and without a graph.
    let counted = std::cell::RefCell::new(Vec::new());
    let critic = |x: &Tensor| {
        let scores = x.matmul(&weight);
        counted.borrow_mut().push(scores.requires_grad());
        Ok(scores)
    };
    let _ = DiscriminatorLoss::new(critic, HingeGanLoss::default()).forward(&output, &target);
    let _ = DiscriminatorLoss::new(critic, RelativisticGanLoss::rasgan()).forward(&output, &target);
    assert_eq!(*counted.borrow(), [true, false, true]);
    // Its own error comes through, and gradients are on again after one.
    let failing =
        DiscriminatorLoss::new(|x: &Tensor| Ok(x.f_matmul(x)?), RelativisticGanLoss::rasgan());
    assert!(matches!(failing.f_forward(&output, &target), Err(LossError::Torch(_))));
    assert!((&weight * 2.0).requires_grad());
}
