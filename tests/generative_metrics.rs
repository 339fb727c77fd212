//! FID, inception score, KID, precision, recall, density, coverage: against torch-fidelity, laws, errors.

mod common;

use common::{Fixture, KINDS, assert_close, index, randn, tensor};
use tch::{Kind, Tensor};
use tch_losses::metrics::{
    FeatureStatistics, KernelDistanceOptions, f_inception_score, f_kernel_distance,
    f_manifold_metrics, inception_score, kernel_distance, manifold_metrics, polynomial_mmd,
};

fn statistics(features: &Tensor) -> FeatureStatistics {
    let mut statistics = FeatureStatistics::new(features.size()[1]);
    statistics.add(features);
    statistics
}

#[test]
fn as_torch_fidelity_and_scipy() {
    let fixture = Fixture::open("generative_metrics");
    for kind in [Kind::Double, Kind::Float] {
        let tolerance = if kind == Kind::Double { 1e-9 } else { 2e-5 };
        let close = |what: &str, got: f64, expected: f64| {
            assert!(
                (got - expected).abs() <= tolerance * (1.0 + expected.abs()),
                "{what} {kind:?}: {got}, {expected}"
            );
        };
        let case = fixture.case("frechet", kind);
        let (real, generated) = (statistics(case.get("real")), statistics(case.get("generated")));
        let number = |case: &common::Case, name: &str| case.get(name).double_value(&[]);
        close("frechet", real.frechet_distance(&generated), number(&case, "distance"));
        assert_close("mean", &real.f_mean().unwrap(), case.get("mean"), (tolerance, tolerance));
        let covariance = real.f_covariance().unwrap();
        assert_close("covariance", &covariance, case.get("covariance"), (tolerance, tolerance));
        for splits in [1, 4] {
            let case = fixture.case(&format!("inception_score_{splits}"), kind);
            let score = inception_score(case.get("logits"), splits);
            close("inception score", score.mean, number(&case, "mean"));
            close("inception score's deviation", score.std, number(&case, "std"));
        }
        let options = KernelDistanceOptions::default();
        for (degree, options) in [(3, options), (2, options.degree(2.0).gamma(0.3).coef0(0.5))] {
            let case = fixture.case(&format!("kernel_{degree}"), kind);
            let (real, generated) = (case.get("real"), case.get("generated"));
            close("mmd", polynomial_mmd(real, generated, options), number(&case, "distance"));
            let all = kernel_distance(real, generated, options.subsets(2).subset_size(44));
            close("kid", all.mean, number(&case, "distance"));
            close("kid's deviation", all.std, 0.0);
        }
        for k in [1, 3, 5] {
            let name = format!("balls_{k}");
            let (case, expected) = (fixture.case(&name, kind), fixture.case(&name, Kind::Double));
            let found = manifold_metrics(case.get("real"), case.get("generated"), k);
            let found = [found.precision, found.recall, found.density, found.coverage];
            assert_close("balls", &tensor(&found, &[4]), expected.get("metrics"), (1e-12, 1e-12));
        }
    }
    fixture.finish();
}

#[test]
fn batches_and_parts_are_the_whole() {
    for (samples, dims) in [(200, 7), (9, 20), (2, 3)] {
        let features = randn(1, &[samples, dims], Kind::Double) + 1e3;
        let other = statistics(&randn(2, &[30, dims], Kind::Double));
        let whole = statistics(&features);
        let mut batches = FeatureStatistics::new(dims);
        features.split(3, 0).iter().for_each(|batch| batches.add(batch));
        let mut parts = statistics(&features.narrow(0, 0, 1));
        parts.f_merge(&statistics(&features.narrow(0, 1, samples - 1))).unwrap();
        for (what, found) in [("batches", &batches), ("parts", &parts)] {
            assert_eq!(found.count(), samples);
            let covariance = whole.f_covariance().unwrap();
            assert_close(what, &found.f_covariance().unwrap(), &covariance, (1e-9, 1e-9));
            let distance = whole.frechet_distance(&other);
            assert!((found.frechet_distance(&other) / distance - 1.0).abs() < 1e-10, "{what}");
            assert!(found.frechet_distance(&whole).abs() < 1e-8, "{what}");
        }
    }
}

#[test]
fn the_distance_is_symmetric_and_grows_by_the_gap_squared() {
    let (a, b) = (randn(3, &[40, 6], Kind::Double), randn(4, &[50, 6], Kind::Double) * 2.0);
    let (of_a, of_b) = (statistics(&a), statistics(&b));
    let distance = of_a.frechet_distance(&of_b);
    assert!(distance > 0.0 && (of_b.frechet_distance(&of_a) - distance).abs() < 1e-9);
    let scaled = statistics(&(&a * 3.0)).frechet_distance(&statistics(&(&b * 3.0)));
    assert!((scaled - 9.0 * distance).abs() < 1e-8);
    let gap = tensor(&[1.0, 0.0, 0.0, -2.0, 0.0, 0.0], &[6]);
    let moved = statistics(&(&a + gap)).frechet_distance(&of_a);
    assert!((moved - 5.0).abs() < 1e-9);
}

#[test]
fn fewer_samples_than_dimensions_are_exact() {
    // Two sets in planes of their own: the cross term is that of the planes alone.
    let (a, b) = (randn(5, &[6, 2], Kind::Double), randn(6, &[7, 2], Kind::Double));
    let wide = |points: &Tensor| {
        points.matmul(&Tensor::eye(2, (Kind::Double, points.device())).pad(
            [0, 48],
            "constant",
            None,
        ))
    };
    let narrow = statistics(&a).frechet_distance(&statistics(&b));
    let found = statistics(&wide(&a)).frechet_distance(&statistics(&wide(&b)));
    assert!((found - narrow).abs() < 1e-10, "{found} {narrow}");
}

#[test]
fn statistics_are_saved_and_loaded() {
    let folder = std::env::temp_dir().join(format!("tch-losses-statistics-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("real.npz");
    // Fewer samples than dimensions: a singular covariance.
    let (features, more) = (randn(7, &[9, 12], Kind::Double), randn(8, &[30, 12], Kind::Double));
    let (mut saved, other) = (statistics(&features), statistics(&more));
    saved.f_save(&path).unwrap();
    let mut loaded = FeatureStatistics::f_load(&path).unwrap();
    assert_eq!(loaded.count(), 9);
    assert!((loaded.frechet_distance(&other) - saved.frechet_distance(&other)).abs() < 1e-6);
    assert!(loaded.frechet_distance(&saved).abs() < 1e-6);
    for statistics in [&mut saved, &mut loaded] {
        statistics.add(&more);
    }
    let (saved, loaded) = (saved.f_covariance().unwrap(), loaded.f_covariance().unwrap());
    assert_close("after more samples", &loaded, &saved, (1e-8, 1e-8));

    // pytorch-fid's do not say how many samples they are of.
    let theirs = folder.join("theirs.npz");
    let covariance = other.f_covariance().unwrap();
    Tensor::write_npz(&[("mu", other.f_mean().unwrap()), ("sigma", covariance)], &theirs).unwrap();
    let mut theirs = FeatureStatistics::f_load(&theirs).unwrap();
    assert!(theirs.frechet_distance(&other).abs() < 1e-6);
    let error = theirs.f_add(&more).unwrap_err().to_string();
    assert!(error.contains("do not say of how many samples"), "{error}");
    let error = FeatureStatistics::f_load(folder.join("no.npz")).unwrap_err().to_string();
    assert!(error.contains("no.npz"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_score_is_the_number_of_classes_that_are_sure_and_even() {
    for kind in KINDS {
        let sure = Tensor::eye(5, (kind, common::device())) * 1e4;
        let score = inception_score(&sure.repeat([3, 1]), 3);
        assert!((score.mean - 5.0).abs() < 1e-9 && score.std < 1e-9, "{kind:?} {score:?}");
        let one = inception_score(&sure.narrow(0, 0, 1).repeat([6, 1]), 2);
        assert!((one.mean - 1.0).abs() < 1e-9, "{kind:?}");
    }
}

#[test]
fn a_set_is_at_no_kernel_distance_from_itself_on_average() {
    let far = randn(9, &[300, 4], Kind::Double);
    let halves = far.split(150, 0);
    let options = KernelDistanceOptions::default().subsets(10).subset_size(100);
    let near = kernel_distance(&halves[0], &halves[1], options);
    let moved = kernel_distance(&halves[0], &(&halves[1] + 0.8), options);
    assert!(near.mean.abs() < 0.1 * moved.mean, "{near:?} {moved:?}");
}

#[test]
fn equal_sets_are_precise_and_covered() {
    let points = randn(10, &[60, 3], Kind::Double);
    let found = manifold_metrics(&points, &points, 3);
    assert_eq!([found.precision, found.recall, found.coverage], [1.0; 3]);
    let apart = manifold_metrics(&points, &(&points + 100.0), 3);
    assert_eq!([apart.precision, apart.recall, apart.density, apart.coverage], [0.0; 4]);
    // More rows than are compared at once.
    let many = randn(11, &[1500, 2], Kind::Float);
    let found = manifold_metrics(&many, &(&many + 1e-4), 2);
    assert!(found.precision > 0.99 && found.recall > 0.99, "{found:?}");
}

#[test]
fn errors_say_what_was_expected() {
    let x = randn(12, &[4, 3], Kind::Float);
    let mut statistics = FeatureStatistics::new(3);
    let text = |error: tch_losses::LossError| error.to_string();
    assert_eq!(
        text(statistics.f_add(&randn(13, &[4, 2], Kind::Float)).unwrap_err()),
        "FeatureStatistics: expected features of shape [N, 3], got [4, 2]"
    );
    assert!(text(statistics.f_add(&(&x / 0.0)).unwrap_err()).contains("must be finite"));
    assert!(
        text(statistics.f_add(&index(&[1, 2, 3], &[1, 3])).unwrap_err()).contains("floating-point")
    );
    statistics.add(&x.narrow(0, 0, 1));
    assert!(text(statistics.f_covariance().unwrap_err()).contains("at least two samples"));
    for splits in [0, 5] {
        assert!(
            text(f_inception_score(&x, splits).unwrap_err()).contains(&format!("got {splits}"))
        );
    }
    assert!(text(f_manifold_metrics(&x, &x, 4).unwrap_err()).contains("expected k at least 1"));
    let options = KernelDistanceOptions::default();
    let distance = |x: &Tensor, options| text(f_kernel_distance(x, x, options).unwrap_err());
    assert_eq!(
        distance(&x.narrow(0, 0, 1), options),
        "kernel_distance: expected real of shape [N, 3] with N at least 2, got [1, 3]"
    );
    assert!(distance(&x, options.subsets(0)).contains("expected subsets at least 1, got 0"));
    assert!(
        distance(&x, options.subset_size(1)).contains("expected subset_size at least 2, got 1")
    );
}
