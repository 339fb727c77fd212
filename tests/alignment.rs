//! Procrustes, Umeyama and warps: against scipy and scikit-image, laws, edges, errors.

mod common;

use common::{
    Fixture, KINDS, assert_close, assert_value, gradcheck, rand, randn, tensor, tolerance,
};
use tch::{Kind, Tensor};
use tch_losses::alignment::{
    Border, ProcrustesOptions, Reflection, f_procrustes, f_umeyama, f_warp_affine,
    orthogonal_procrustes, procrustes, umeyama, warp_affine,
};

/// A singular value decomposition in Float is off by some more than an elementwise loss.
fn loose(kind: Kind) -> (f64, f64) {
    if kind == Kind::Float { (2e-4, 2e-5) } else { tolerance(kind) }
}

/// Points about their mean, of size 1.
fn standard(points: &Tensor) -> Tensor {
    let centred = points - points.mean_dim(0, true, None);
    &centred / centred.square().sum(None).sqrt()
}

#[test]
fn as_scipy_and_scikit_image() {
    let fixture = Fixture::open("alignment");
    for dims in ["2d", "3d"] {
        for name in ["noisy", "mirrored", "unrelated", "flat"] {
            for kind in [Kind::Double, Kind::Float] {
                let case = fixture.case(&format!("{name}_{dims}"), kind);
                let (source, target) = (case.get("source"), case.get("target"));
                let close = |what: &str, got: &Tensor, key: &str| {
                    assert_close(
                        &format!("{what}, {name} {dims}"),
                        got,
                        case.get(key),
                        loose(kind),
                    );
                };
                close("umeyama", &umeyama(source, target, true).matrix(), "similarity");
                close("without scale", &umeyama(source, target, false).matrix(), "euclidean");
                let (rotation, sum) = orthogonal_procrustes(source, target);
                close("orthogonal", &rotation, "orthogonal");
                close("sum", &sum, "orthogonal_sum");
                let found = procrustes(source, target, ProcrustesOptions::default());
                close("disparity", &found.disparity, "disparity");
                let (mean, size) = (
                    target.mean_dim(0, true, None),
                    (target - target.mean_dim(0, true, None)).square().sum(None).sqrt(),
                );
                close("aligned", &((found.aligned - mean) / size), "fitted");
                close("target", &standard(target), "standard");
            }
        }
    }
    for name in ["similar", "affine"] {
        for (border, how) in [
            ("constant", Border::Constant(0.25)),
            ("replicate", Border::Replicate),
            ("reflect", Border::Reflect),
            ("symmetric", Border::Symmetric),
        ] {
            for kind in [Kind::Double, Kind::Float] {
                let case = fixture.case(&format!("warp_{name}_{border}"), kind);
                let image = case.get("image").view([1, 1, 9, 7]);
                let got = warp_affine(&image, case.get("matrix"), (8, 11), how).view([8, 11]);
                assert_close(
                    &format!("{name} {border} {kind:?}"),
                    &got,
                    case.get("output"),
                    loose(kind),
                );
            }
        }
    }
    fixture.finish();
}

fn cloud(seed: i64, dims: i64) -> Tensor {
    randn(seed, &[6, dims], Kind::Double)
}

/// A turn by `angle` in the first two dimensions, 1.5 times the size, shifted.
fn moved(points: &Tensor, angle: f64) -> Tensor {
    let dims = points.size()[1];
    let turn = Tensor::eye(dims, (Kind::Double, points.device()));
    let (sin, cos) = angle.sin_cos();
    turn.narrow(0, 0, 2).narrow(1, 0, 2).copy_(&tensor(&[cos, -sin, sin, cos], &[2, 2]));
    points.matmul(&turn.tr()) * 1.5 + 0.7
}

#[test]
fn a_moved_set_is_brought_back_exactly() {
    for dims in [2, 3, 5] {
        let source = cloud(1, dims);
        let target = moved(&source, 2.0);
        let found = umeyama(&source, &target, true);
        assert_value("scale", &found.scale, 1.5, 1e-12);
        assert_close("forth", &found.apply(&source), &target, (1e-10, 1e-12));
        assert_close("back", &found.inverse().apply(&target), &source, (1e-10, 1e-12));
        let found = procrustes(&source, &target, ProcrustesOptions::default());
        assert_value("disparity", &found.disparity, 0.0, 1e-12);
    }
}

#[test]
fn umeyama_never_mirrors_and_procrustes_does_as_told() {
    let source = cloud(2, 3);
    let target = moved(&source, 0.5) * tensor(&[-1.0, 1.0, 1.0], &[3]);
    let det = |rotation: &Tensor| Tensor::linalg_det(rotation).double_value(&[]);
    assert!((det(&umeyama(&source, &target, true).rotation) - 1.0).abs() < 1e-10);
    for (reflection, expected) in
        [(Reflection::IfBetter, -1.0), (Reflection::Never, 1.0), (Reflection::Always, -1.0)]
    {
        let options = ProcrustesOptions::default().reflection(reflection);
        let found = procrustes(&source, &target, options);
        assert!((det(&found.transform.rotation) - expected).abs() < 1e-10, "{reflection:?}");
        let perfect = found.disparity.double_value(&[]) < 1e-12;
        assert_eq!(perfect, expected < 0.0, "{reflection:?}");
    }
    let unmirrored = ProcrustesOptions::default().reflection(Reflection::Always);
    let found = procrustes(&source, &moved(&source, 0.5), unmirrored);
    assert!(det(&found.transform.rotation) < 0.0 && found.disparity.double_value(&[]) > 1e-3);
}

#[test]
fn no_small_change_of_the_map_fits_better() {
    let (source, target) = (cloud(3, 2), cloud(4, 2));
    for (scale, translation) in [(true, true), (false, true), (true, false)] {
        let options = ProcrustesOptions::default().scale(scale).translation(translation);
        let found = procrustes(&source, &target, options);
        let error = |points: &Tensor| (points - &target).square().sum(None).double_value(&[]);
        let best = error(&found.aligned);
        for step in [-1e-3, 1e-3] {
            let (sin, cos) = f64::sin_cos(step);
            let turn = tensor(&[cos, sin, -sin, cos], &[2, 2]);
            let shift = found.transform.translation.unsqueeze(0);
            let turned = (&found.aligned - &shift).matmul(&turn) + &shift;
            assert!(error(&turned) >= best, "turned by {step}");
            if scale {
                let scaled = (&found.aligned - &shift) * (1.0 + step) + &shift;
                assert!(error(&scaled) >= best, "scaled by {step}");
            }
            if translation {
                assert!(error(&(&found.aligned + step)) >= best, "shifted by {step}");
            } else {
                assert_value("shift", &shift.abs().max(), 0.0, 0.0);
            }
        }
    }
}

#[test]
fn collinear_points_in_space_fit_exactly() {
    let line = randn(5, &[6, 1], Kind::Double) * tensor(&[1.0, 2.0, -1.0], &[1, 3]);
    let target = moved(&line, 1.0);
    let found = umeyama(&line, &target, true);
    assert_close("fit", &found.apply(&line), &target, (1e-9, 1e-10));
    assert_value("proper", &Tensor::linalg_det(&found.rotation), 1.0, 1e-9);
}

#[test]
fn a_batch_is_its_sets_one_by_one() {
    let (source, target) = (randn(6, &[4, 5, 3], Kind::Double), randn(7, &[4, 5, 3], Kind::Double));
    let together = umeyama(&source, &target, true).matrix();
    let fits = procrustes(&source, &target, ProcrustesOptions::default());
    for i in 0..4 {
        let (a, b) = (source.get(i), target.get(i));
        let what = format!("set {i}");
        assert_close(&what, &together.get(i), &umeyama(&a, &b, true).matrix(), (1e-9, 1e-11));
        let alone = procrustes(&a, &b, ProcrustesOptions::default());
        assert_close(&what, &fits.disparity.get(i), &alone.disparity, (1e-9, 1e-11));
        assert_close(&what, &fits.aligned.get(i), &alone.aligned, (1e-9, 1e-11));
    }
}

#[test]
fn gradients_agree_with_differences() {
    gradcheck("umeyama", &[cloud(8, 2), cloud(9, 2)], |x| umeyama(&x[0], &x[1], true).matrix());
    gradcheck("procrustes", &[cloud(8, 3), cloud(9, 3)], |x| {
        procrustes(&x[0], &x[1], ProcrustesOptions::default()).disparity
    });
    let matrix = tensor(&[0.9, 0.2, 0.3, -0.1, 1.1, 0.4], &[2, 3]);
    for border in [Border::Constant(0.5), Border::Replicate, Border::Reflect, Border::Symmetric] {
        gradcheck("warp", &[rand(10, &[1, 2, 4, 5], Kind::Double), matrix.copy()], |x| {
            warp_affine(&x[0], &x[1], (4, 4), border)
        });
    }
}

#[test]
fn half_kinds_give_the_float_answer() {
    for kind in KINDS {
        let (source, target) = (cloud(11, 3).to_kind(kind), cloud(12, 3).to_kind(kind));
        let exact = umeyama(&source.to_kind(Kind::Double), &target.to_kind(Kind::Double), true);
        let found = umeyama(&source, &target, true);
        let expected = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        assert_eq!(found.scale.kind(), expected);
        assert_close("turn", &found.matrix(), &exact.matrix(), (1e-4, 1e-5));
    }
}

#[test]
fn the_identity_changes_no_image_and_a_way_back_undoes_the_way_forth() {
    let image = rand(13, &[2, 3, 6, 5], Kind::Double);
    let identity = tensor(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[2, 3]);
    for border in [Border::Constant(0.0), Border::Replicate, Border::Reflect, Border::Symmetric] {
        assert_close(
            "same",
            &warp_affine(&image, &identity, (6, 5), border),
            &image,
            (1e-12, 1e-12),
        );
    }
    // A quarter turn about the middle of a square of 5.
    let square = image.narrow(2, 0, 5);
    let quarter = tensor(&[0.0, -1.0, 4.0, 1.0, 0.0, 0.0], &[2, 3]);
    let turned = warp_affine(&square, &quarter, (5, 5), Border::Constant(0.0));
    assert_close("turned", &turned, &square.rot90(-1, [2i64, 3]), (1e-12, 1e-12));
    let shift = |x: f64| tensor(&[1.0, 0.0, x, 0.0, 1.0, 0.0], &[2, 3]);
    let there = warp_affine(&image, &shift(2.0), (6, 7), Border::Constant(0.0));
    let back = warp_affine(&there, &shift(-2.0), (6, 5), Border::Constant(0.0));
    assert_close("back", &back, &image, (1e-12, 1e-12));
}

#[test]
fn every_image_of_a_batch_has_its_matrix_and_one_pixel_is_enough() {
    let images = rand(14, &[2, 1, 4, 4], Kind::Double);
    let matrices =
        tensor(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0], &[2, 2, 3]);
    let both = warp_affine(&images, &matrices, (4, 4), Border::Replicate);
    for i in 0..2 {
        let one = warp_affine(&images.narrow(0, i, 1), &matrices.get(i), (4, 4), Border::Replicate);
        assert_close("one", &both.narrow(0, i, 1), &one, (0.0, 0.0));
    }
    let pixel = images.narrow(2, 0, 1).narrow(3, 0, 1);
    let spread = warp_affine(&pixel, &matrices, (3, 3), Border::Reflect);
    assert_close("pixel", &spread, &pixel.expand([2, 1, 3, 3], false), (1e-12, 0.0));
}

#[test]
fn errors_say_what_was_expected() {
    let text = |result: Result<_, tch_losses::LossError>| -> String {
        result.map(|_: ()| ()).unwrap_err().to_string()
    };
    let (a, b) = (cloud(15, 2), cloud(16, 3));
    assert_eq!(
        text(f_umeyama(&a, &b, true).map(drop)),
        "umeyama: expected target of shape [6, 2], got [6, 3]"
    );
    let place = a.zeros_like() + 3.0;
    let all = text(f_umeyama(&place, &a, true).map(drop));
    assert!(all.starts_with("umeyama: the source points are all in one place"), "{all}");
    let all = text(f_procrustes(&a, &place, ProcrustesOptions::default()).map(drop));
    assert!(all.starts_with("procrustes: the target points are all in one place"), "{all}");
    let point = text(f_umeyama(&a.get(0), &a.get(0), true).map(drop));
    assert!(point.contains("[.., N, D]"), "{point}");

    let image = rand(17, &[1, 1, 3, 3], Kind::Double);
    let flat = tensor(&[1.0, 1.0, 0.0, 1.0, 1.0, 0.0], &[2, 3]);
    let warp = |matrix: &Tensor, size| {
        text(f_warp_affine(&image, matrix, size, Border::Reflect).map(drop))
    };
    assert_eq!(warp(&flat, (3, 3)), "warp_affine: the matrix has no inverse");
    assert_eq!(
        warp(&a, (3, 3)),
        "warp_affine: expected matrix of shape [2, 3] or [1, 2, 3], got [6, 2]"
    );
    let identity = tensor(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[2, 3]);
    assert!(warp(&identity, (0, 3)).contains("expected size at least one pixel, got 0 x 3"));
}
