//! Objectives of whole models, feature matching, and the image pool.

use crate::{alone, common::*, rand, randn};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};
use tch_losses::{
    GanLoss, HingeGanLoss, LeastSquaresGanLoss, Loss, LossError, LossParts, NonSaturatingGanLoss,
    Reduction, RelativisticGanLoss, WassersteinGanLoss,
    adversarial::{
        AlphaGanLoss, CycleBatch, CycleConsistencyLoss, CycleGanLoss, FeatureDistance,
        FeatureMatchingLoss, ImagePool, LayerMatchingLoss, Pix2PixLoss, VaeGanLoss,
    },
};

/// a, b, F(G(a)), G(F(b)), F(a), G(b), and the scores of F(b) and G(a).
fn batch(kind: Kind) -> Vec<Tensor> {
    let (a, b) = (rand(1, &[2, 3, 4], kind), rand(2, &[3, 3, 2], kind));
    let near = |image: &Tensor, seed| image + randn(seed, &image.size(), kind) * 0.3;
    vec![
        near(&a, 3),
        near(&b, 4),
        near(&a, 5),
        near(&b, 6),
        a,
        b,
        randn(7, &[2, 1, 2], kind),
        randn(8, &[3, 1, 2], kind),
    ]
}

fn cycle_batch(t: &[Tensor]) -> CycleBatch<'_> {
    CycleBatch {
        real: [&t[4], &t[5]],
        cycled: [&t[0], &t[1]],
        same: Some([&t[2], &t[3]]),
        fake_scores: [&t[6], &t[7]],
        real_scores: None,
    }
}

fn named(parts: &LossParts) -> Vec<(&str, f64)> {
    parts.named.iter().map(|(name, value)| (name.as_str(), value.double_value(&[]))).collect()
}

#[test]
fn cycle_gan_is_the_weighted_sum_of_its_parts() {
    let t = batch(Kind::Double);
    let loss = CycleGanLoss::default().lambda_a(3.0).lambda_b(5.0).lambda_identity(0.25);
    let parts = loss.forward(&cycle_batch(&t));
    let named = named(&parts);
    let names: Vec<_> = named.iter().map(|part| part.0).collect();
    assert_eq!(names, ["gan_a", "gan_b", "cycle_a", "cycle_b", "identity_a", "identity_b"]);
    let weights = [1.0, 1.0, 3.0, 5.0, 0.75, 1.25];
    let sum: f64 = named.iter().zip(weights).map(|((_, value), weight)| value * weight).sum();
    assert_value("total", &parts.total, sum, 1e-12);
    let expected = LeastSquaresGanLoss::cyclegan().generator(None, &t[6]).double_value(&[]);
    assert!((named[0].1 - expected).abs() < 1e-12);
    let cycle = CycleConsistencyLoss::default().lambda_a(3.0).lambda_b(5.0);
    let cycle = cycle.forward([&t[4], &t[5]], [&t[0], &t[1]]);
    assert_value("cycle", &cycle, 3.0 * named[2].1 + 5.0 * named[3].1, 1e-12);
    // The parts are to be shown, not to be differentiated.
    assert!(parts.named.iter().all(|(_, value)| !value.requires_grad()));
    // Without the identity images the term is not there.
    let without = loss.forward(&CycleBatch { same: None, ..cycle_batch(&t) });
    assert_eq!(without.named.len(), 4);
}

#[test]
fn a_perfect_cycle_costs_only_what_the_discriminators_say() {
    let t = batch(Kind::Float);
    let perfect =
        CycleBatch { cycled: [&t[4], &t[5]], same: Some([&t[4], &t[5]]), ..cycle_batch(&t) };
    let parts = CycleGanLoss::default().forward(&perfect);
    let gan = named(&parts)[..2].iter().map(|part| part.1).sum();
    assert_value("total", &parts.total, gan, 1e-6);
}

#[test]
fn the_adversarial_objectives_of_a_model_can_be_exchanged() {
    let t = batch(Kind::Double);
    let (real_a, real_b) = (&t[6] + 1.0, &t[7] - 0.5);
    let loss = CycleGanLoss::default().gan(RelativisticGanLoss::ralsgan());
    let missing = loss.f_forward(&cycle_batch(&t)).unwrap_err();
    assert!(missing.to_string().contains("needs the scores of real samples too"));
    let parts =
        loss.forward(&CycleBatch { real_scores: Some([&real_a, &real_b]), ..cycle_batch(&t) });
    let expected = RelativisticGanLoss::ralsgan().generator(Some(&real_b), &t[7]);
    assert!((named(&parts)[1].1 - expected.double_value(&[])).abs() < 1e-12);

    // Each model's discriminator is that of its objectives, which pix2pix and CycleGAN halve.
    let (real, fake) = (&t[6], &t[6] - 1.0);
    let half_of = |gan: &dyn GanLoss| gan.discriminator(real, &fake) * 0.5;
    let halved = CycleGanLoss::default().discriminator(real, &fake);
    assert_close("CycleGAN", &halved, &half_of(&LeastSquaresGanLoss::basicsr()), (1e-12, 0.0));
    let halved = Pix2PixLoss::default().discriminator(real, &fake);
    assert_close("pix2pix", &halved, &half_of(&NonSaturatingGanLoss::default()), (1e-12, 0.0));
    let pix2pix = Pix2PixLoss::default().gan(HingeGanLoss::default()).lambda_l1(0.0);
    let parts = pix2pix.forward(&t[0], &t[4], None, &t[6]);
    assert_close("G", &parts.total, &HingeGanLoss::default().generator(None, &t[6]), (1e-12, 0.0));
}

#[test]
fn alpha_gans_density_ratio_is_the_negated_logit() {
    let logits = randn(20, &[5], Kind::Double) * 3.0;
    let image = rand(21, &[2, 3], Kind::Double);
    let parts = AlphaGanLoss::default().encoder(&image, &image, &logits);
    let p = logits.sigmoid();
    let ratio = (-p.log() + (1.0f64 - p).log()).mean(None::<Kind>);
    assert_close("R", &parts.total, &ratio, (1e-9, 1e-12));
    // Where the probability has rounded to 0 or 1 there is still a slope.
    let sure = leaf(&tensor(&[-1e4, 1e4], &[2]));
    AlphaGanLoss::default().encoder(&image, &image, &sure).total.backward();
    assert_close("gradient", &sure.grad(), &tensor(&[-0.5, -0.5], &[2]), (0.0, 0.0));
}

#[test]
fn a_standard_normal_posterior_has_no_prior_cost() {
    let zeros = randn(30, &[3, 4], Kind::Double).zeros_like();
    let features = randn(31, &[3, 2, 2], Kind::Double);
    let vae = VaeGanLoss::default();
    let parts = vae.encoder(&zeros, &zeros, &features, &features);
    assert_eq!(named(&parts), [("prior", 0.0), ("likelihood", 0.0)]);
    // A mean of m costs ½ m² a dimension, a deviation of s ½ (s² - 1) - ln s.
    let parts = vae.encoder(&(&zeros + 2.0), &(&zeros + 9f64.ln()), &features, &features);
    let expected = 4.0 * (2.0 + 0.5 * 8.0 - 3f64.ln());
    assert!((named(&parts)[0].1 - expected).abs() < 1e-12);
}

#[test]
fn real_features_are_detached() {
    let [fake, real] = [40, 41].map(|seed| leaf(&randn(seed, &[3, 4], Kind::Double)));
    FeatureMatchingLoss::default().forward(&fake, &real).backward();
    LayerMatchingLoss::default()
        .forward(&[fake.shallow_clone()], &[real.shallow_clone()])
        .backward();
    let zeros = fake.detach().zeros_like();
    VaeGanLoss::default().encoder(&zeros, &zeros, &fake, &real).total.backward();
    assert!(fake.grad().defined() && !real.grad().defined());
}

#[test]
fn feature_matching_compares_means_and_not_samples() {
    let (fake, real) = (randn(50, &[4, 2, 3], Kind::Double), randn(51, &[4, 2, 3], Kind::Double));
    let loss = FeatureMatchingLoss::default();
    let value = loss.forward(&fake, &real);
    let order = index(&[2, 0, 3, 1], &[4]);
    let shuffled = loss.forward(&fake.index_select(0, &order), &real.repeat([3, 1, 1]));
    assert_close("shuffled", &shuffled, &value, (1e-12, 0.0));
    assert_value("equal means", &loss.forward(&fake, &fake.flip([0])), 0.0, 1e-15);
    let sum = FeatureMatchingLoss::default().reduction(Reduction::Sum).forward(&fake, &real);
    assert_close("sum", &sum, &(value * 6.0), (1e-12, 0.0));
    // Layer matching does compare them.
    let layers = |t: &Tensor| [t.shallow_clone()];
    let there = LayerMatchingLoss::default().forward(&layers(&fake), &layers(&fake.flip([0])));
    assert!(there.double_value(&[]) > 0.1);
}

#[test]
fn gradients_match_differences() {
    let _alone = alone();
    let t = batch(Kind::Double);
    gradcheck("cycle_gan", &t, |t| CycleGanLoss::default().forward(&cycle_batch(t)).total);
    let [image, made] = [60, 61].map(|seed| rand(seed, &[2, 3], Kind::Double));
    let [one, other, third] = [62, 63, 64].map(|seed| randn(seed, &[4], Kind::Double));
    let inputs = |more: &[&Tensor]| more.iter().map(|t| t.copy()).collect::<Vec<_>>();
    let alpha = AlphaGanLoss::default();
    gradcheck("alpha G", &inputs(&[&image, &made, &one, &other]), |t| {
        alpha.generator(&t[0], &t[1], &t[2], &t[3]).total
    });
    gradcheck("alpha E", &inputs(&[&image, &made, &one]), |t| {
        alpha.encoder(&t[0], &t[1], &t[2]).total
    });
    gradgradcheck("alpha D", &inputs(&[&one, &other, &third]), |t| {
        alpha.discriminator(&t[0], &t[1], &t[2])
    });
    gradgradcheck("alpha C", &inputs(&[&one, &other]), |t| alpha.code_discriminator(&t[0], &t[1]));
    gradcheck("pix2pix", &inputs(&[&made, &image, &one]), |t| {
        Pix2PixLoss::default().forward(&t[0], &t[1], None, &t[2]).total
    });
    let real = randn(65, &[2, 4], Kind::Double);
    let (mean, logvar) = (randn(66, &[2, 3], Kind::Double), randn(67, &[2, 3], Kind::Double));
    for vae in [VaeGanLoss::default(), VaeGanLoss::default().gamma(0.7).non_saturating(true)] {
        let features = randn(68, &[2, 4], Kind::Double);
        gradgradcheck("vae E", &inputs(&[&mean, &logvar, &features]), |t| {
            vae.encoder(&t[0], &t[1], &t[2], &real).total
        });
        gradgradcheck("vae Dec", &inputs(&[&features, &one, &other]), |t| {
            vae.decoder(&t[0], &real, &t[1], &t[2]).total
        });
    }
    for loss in [FeatureMatchingLoss::default(), FeatureMatchingLoss::salimans()] {
        gradcheck("features", &[randn(69, &[3, 4], Kind::Double)], |t| loss.forward(&t[0], &real));
    }
}

#[test]
fn every_kind_is_finite_and_saturated_or_empty_inputs_too() {
    for kind in KINDS {
        let expected = if kind == Kind::Double { kind } else { Kind::Float };
        let check = |what: &str, total: Tensor, leaves: &[&Tensor]| {
            assert_eq!(total.kind(), expected, "{what} in {kind:?}");
            assert_finite(what, &total);
            total.backward();
            for leaf in leaves {
                assert_finite(what, &leaf.grad());
                assert_eq!(leaf.grad().kind(), kind, "{what} in {kind:?}");
            }
        };
        let sure = leaf(&tensor(&[1e4, -1e4, 0.0], &[3]).to_kind(kind));
        for size in [2, 0] {
            let [made, image] = [70, 71].map(|seed| leaf(&rand(seed, &[size, 3], kind)));
            let alpha = AlphaGanLoss::default();
            check("D", alpha.discriminator(&sure, &sure, &sure), &[&sure]);
            check("C", alpha.code_discriminator(&sure, &sure), &[&sure]);
            check("G", alpha.generator(&image, &made, &sure, &sure).total, &[&made, &sure]);
            check("E", alpha.encoder(&image, &made, &sure).total, &[&made, &sure]);
            let pix2pix = Pix2PixLoss::default();
            check("pix2pix", pix2pix.forward(&made, &image, None, &sure).total, &[&made, &sure]);
            let vae = VaeGanLoss::default();
            let wide = leaf(&image.full_like(1e4));
            check("encoder", vae.encoder(&made, &wide, &made, &image).total, &[&made, &wide]);
            let narrow = leaf(&image.full_like(-1e4));
            check("encoder", vae.encoder(&wide, &narrow, &made, &image).total, &[&narrow]);
            check("decoder", vae.decoder(&made, &image, &sure, &sure).total, &[&made, &sure]);
            check("features", FeatureMatchingLoss::default().forward(&made, &image), &[&made]);
            check("features", FeatureMatchingLoss::salimans().forward(&wide, &image), &[&wide]);
            let layers = |t: &Tensor| [t.shallow_clone(), t.shallow_clone()];
            let loss = LayerMatchingLoss::default().forward(&layers(&wide), &layers(&image));
            check("layers", loss, &[&wide]);
            let cycle = CycleBatch {
                real: [&image, &image],
                cycled: [&made, &wide],
                same: None,
                fake_scores: [&sure, &sure],
                real_scores: None,
            };
            check("cycle", CycleGanLoss::default().forward(&cycle).total, &[&made, &wide, &sure]);
        }
    }
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let t = batch(Kind::Float);
    let message = |result: Result<LossParts, LossError>| result.unwrap_err().to_string();
    let swapped = CycleBatch { cycled: [&t[1], &t[0]], ..cycle_batch(&t) };
    assert_eq!(
        message(CycleGanLoss::default().f_forward(&swapped)),
        "CycleGanLoss: expected cycled a of shape [2, 3, 4], got [3, 3, 2]"
    );
    assert_eq!(
        message(CycleGanLoss::default().lambda_identity(-1.0).f_forward(&cycle_batch(&t))),
        "CycleGanLoss: expected lambda_identity at least 0 and finite, got -1"
    );
    let unreduced = WassersteinGanLoss::default().reduction(Reduction::None);
    assert_eq!(
        message(CycleGanLoss::default().gan(unreduced).f_forward(&cycle_batch(&t))),
        "CycleGanLoss: expected the adversarial term of shape [], got [2, 1, 2]"
    );
    let integer = t[0].to_kind(Kind::Int64);
    assert_eq!(
        message(Pix2PixLoss::default().f_forward(&integer, &t[4], None, &t[6])),
        "Pix2PixLoss: expected output of floating-point kind, got Int64"
    );
    assert_eq!(
        message(AlphaGanLoss::default().lambda(f64::NAN).f_encoder(&t[4], &t[0], &t[6])),
        "AlphaGanLoss: expected lambda at least 0 and finite, got NaN"
    );
    let row = randn(80, &[2, 3], Kind::Float);
    assert_eq!(
        message(VaeGanLoss::default().f_encoder(&row, &row.narrow(1, 0, 2), &row, &row)),
        "prior: KlStandardNormal: expected logvar of shape [2, 3], got [2, 2]"
    );
    assert_eq!(
        message(VaeGanLoss::default().f_decoder(&row.narrow(0, 0, 1), &row, &row, &row)),
        "VaeGanLoss: expected made features of shape [2, 3], got [1, 3]"
    );

    let message = |result: Result<Tensor, LossError>| result.unwrap_err().to_string();
    let matching = FeatureMatchingLoss::default().distance(FeatureDistance::L2);
    assert_eq!(
        message(matching.f_forward(&row, &row.narrow(1, 0, 2))),
        "FeatureMatchingLoss: expected target of shape [M, 3], got [2, 2]"
    );
    assert!(message(matching.f_forward_weighted(&row, &row, &row)).contains("no element weight"));
    let layers = |count: usize| (0..count).map(|_| row.shallow_clone()).collect::<Vec<_>>();
    let layer = LayerMatchingLoss::default();
    assert_eq!(
        message(layer.f_forward(&layers(2), &layers(3))),
        "LayerMatchingLoss: expected real layers as many as of the generated, got 3"
    );
    assert_eq!(
        message(layer.f_forward(&[], &[])),
        "LayerMatchingLoss: expected layers at least 1, got 0"
    );
    assert_eq!(
        message(layer.weights(vec![1.0]).f_forward(&layers(2), &layers(2))),
        "LayerMatchingLoss: expected weights as many as layers, got 1"
    );
}

#[test]
fn the_pool_fills_and_then_gives_back_about_half_of_the_past() {
    let mut pool = ImagePool::new(8, 3);
    let numbered = |first: i64, count: i64| {
        let numbers: Vec<f64> = (first..first + count).map(|n| n as f64).collect();
        tensor(&numbers, &[count, 1, 1, 1])
    };
    assert!(pool.is_empty());
    let images = numbered(0, 6);
    assert_close("filling", &pool.query(&images), &images, (0.0, 0.0));
    let given = pool.query(&numbered(6, 2));
    assert_close("filled", &given, &numbered(6, 2), (0.0, 0.0));
    assert_eq!(pool.len(), 8);

    let mut old = 0;
    let mut out: Vec<i64> = (0..8).collect();
    for step in 0..100 {
        let first = 8 + 4 * step;
        let given = pool.query(&numbered(first, 4));
        assert_eq!(given.size(), [4, 1, 1, 1]);
        for n in 0..4 {
            let number = given.double_value(&[n, 0, 0, 0]) as i64;
            old += i64::from(number != first + n);
            out.push(number);
        }
    }
    assert!((150..250).contains(&old), "{old} of 400 were old");
    // The first eight were given when they came, and once more at most, when they left; a later one
    // is given at once or when it leaves.
    let later: Vec<_> = out.iter().filter(|&&number| number >= 8).collect();
    assert_eq!(later.iter().collect::<BTreeSet<_>>().len(), later.len(), "given twice");
    assert_eq!(pool.len(), 8);
}

#[test]
fn the_pool_follows_its_seed_and_not_the_global_one() {
    let images = randn(90, &[40, 2], Kind::Float);
    let run = |seed: u64| {
        let mut pool = ImagePool::new(5, seed);
        let _ = pool.query(&images);
        pool.query(&(&images + 1.0))
    };
    let first = run(1);
    tch::manual_seed(17);
    assert_close("the same seed", &run(1), &first, (0.0, 0.0));
    assert!((run(2) - first).abs().max().double_value(&[]) > 0.0);
}

#[test]
fn a_restored_pool_goes_on_as_if_it_had_not_stopped() {
    let images = randn(91, &[12, 2], Kind::Float);
    let mut pool = ImagePool::new(5, 1);
    let _ = pool.query(&images);
    let kept = || pool.images().iter().map(Tensor::copy).collect();
    let mut again = ImagePool::restore(5, pool.state(), kept());
    let smaller = ImagePool::restore(3, pool.state(), kept());
    assert_eq!((again.len(), smaller.len()), (5, 3));
    for _ in 0..3 {
        assert_close("restored", &again.query(&images), &pool.query(&images), (0.0, 0.0));
    }
}

#[test]
fn the_pool_keeps_detached_copies() {
    let mut pool = ImagePool::new(1, 0);
    let images = leaf(&randn(100, &[1, 3], Kind::Half));
    let kept = images.detach().copy();
    let given = pool.query(&images);
    assert!(!given.requires_grad());
    assert_eq!(given.kind(), Kind::Half);
    // What happens to the images later does not reach the pool.
    let _ = images.detach().zero_();
    let mut out = Vec::new();
    for _ in 0..20 {
        out.push(pool.query(&kept.full_like(5.0)));
    }
    assert!(out.iter().any(|image| (image - &kept).abs().max().double_value(&[]) == 0.0));

    let mut none = ImagePool::new(0, 0);
    let images = leaf(&randn(101, &[3, 2], Kind::Float));
    let given = none.query(&images);
    assert!(!given.requires_grad() && none.is_empty());
    assert_close("size 0", &given, &images.detach(), (0.0, 0.0));
    // No images, and images of another shape or kind.
    assert_eq!(pool.query(&randn(102, &[0, 3], Kind::Half)).size(), [0, 3]);
    let mut error = |images: &Tensor| pool.f_query(images).unwrap_err().to_string();
    assert_eq!(error(&images), "ImagePool: expected images of shape [3, 3], got [3, 2]");
    assert_eq!(
        error(&randn(103, &[2, 3], Kind::Float)),
        "ImagePool: expected images of the kept images' kind, got Float"
    );
    assert_eq!(error(&Tensor::from(1.0f32)), "ImagePool: expected images of shape [N, ..], got []");
}
