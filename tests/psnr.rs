//! PSNR: against scikit-image and piq, laws, edges, errors.

mod common;

use common::{
    Fixture, KINDS, assert_close, assert_finite, assert_value, gradcheck, gradgradcheck, rand,
    tensor, tolerance, value_and_grad,
};
use tch::{Kind, Tensor};
use tch_losses::{
    Loss, Reduction,
    metrics::{PsnrLoss, f_psnr, psnr},
};

#[test]
fn as_scikit_image_and_piq() {
    let fixture = Fixture::open("psnr");
    for kind in [Kind::Double, Kind::Float] {
        let case = fixture.case("images", kind);
        let value = psnr(case.get("input"), case.get("target"), 1.0);
        assert_close("images", &value, case.get("value"), tolerance(kind));
    }
    let case = fixture.case("bytes", Kind::Float);
    let value = psnr(case.get("input"), case.get("target"), 255.0);
    assert_close("bytes", &value, case.get("value"), tolerance(Kind::Float));
    for (name, reduction) in
        [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)]
    {
        fixture.parity(&format!("loss_{name}"), &["input"], |case| {
            let loss = PsnrLoss::default().data_range(2.0).reduction(reduction);
            loss.forward(case.get("input"), case.get("target"))
        });
    }
    fixture.finish();
}

#[test]
fn gradients_agree_with_differences() {
    let (x, y) = (rand(1, &[2, 3, 4], Kind::Double), rand(2, &[2, 3, 4], Kind::Double));
    let weight = rand(3, &[2, 1, 4], Kind::Double);
    let loss = PsnrLoss::default().reduction(Reduction::None);
    gradcheck("psnr", &[x.copy(), y.copy()], |t| loss.forward(&t[0], &t[1]));
    gradcheck("psnr, weighted", &[x.copy()], |t| loss.forward_weighted(&t[0], &y, &weight));
    gradgradcheck("psnr", &[x], |t| loss.forward(&t[0], &y));
}

#[test]
fn a_scale_of_values_and_range_changes_nothing() {
    let (x, y) = (rand(4, &[2, 5], Kind::Double), rand(5, &[2, 5], Kind::Double));
    let scaled = psnr(&(&x * 255.0), &(&y * 255.0), 255.0);
    assert_close("scaled", &scaled, &psnr(&x, &y, 1.0), (1e-12, 1e-12));
}

#[test]
fn a_masked_pixel_changes_nothing_and_an_image_without_pixels_is_left_out() {
    let (x, y) = (rand(6, &[2, 4], Kind::Double), rand(7, &[2, 4], Kind::Double));
    let mask = tensor(&[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], &[2, 4]);
    let loss = PsnrLoss::default();
    let kept = tensor(&[0.0, 1.0, 3.0], &[3]).to_kind(Kind::Int64);
    let pick = |t: &Tensor| t.narrow(0, 0, 1).index_select(1, &kept);
    let (value, grad) = value_and_grad(&x, |x| loss.forward_weighted(x, &y, &mask));
    let alone = loss.forward(&pick(&x), &pick(&y));
    assert_close("masked", &value, &alone, (1e-12, 1e-12));
    assert_value("gradient", &(grad * mask.eq(0.0)).abs().max(), 0.0, 0.0);
    let nothing = loss.forward_weighted(&x, &y, &mask.zeros_like());
    assert_value("nothing counts", &nothing, 0.0, 0.0);
}

#[test]
fn edges_are_finite_in_every_kind() {
    for kind in KINDS {
        let x = rand(8, &[2, 3, 8, 8], kind);
        for (name, input, target) in [
            ("equal", x.copy(), x.copy()),
            ("far", &x * 0.0 + 1e4, &x * 0.0 - 1e4),
            ("empty", x.narrow(0, 0, 0), x.narrow(0, 0, 0)),
            ("no pixels", x.narrow(3, 0, 0), x.narrow(3, 0, 0)),
            ("not contiguous", x.transpose(1, 3), x.transpose(1, 3) * 0.5),
        ] {
            let (value, grad) = value_and_grad(&input, |x| PsnrLoss::default().forward(x, &target));
            assert_finite(&format!("{name} {kind:?}"), &value);
            assert_finite(&format!("{name} {kind:?}"), &grad);
            assert_eq!(grad.kind(), kind, "{name}");
        }
        let half = psnr(&x, &(&x * 0.5), 1.0);
        let double = |t: &Tensor| t.to_kind(Kind::Double);
        let exact = psnr(&double(&x), &double(&(&x * 0.5)), 1.0);
        assert_close("in Float", &half, &exact, (1e-4, 1e-4));
        assert_eq!(psnr(&x, &x, 1.0).double_value(&[0]), f64::INFINITY);
    }
}

#[test]
fn errors_say_what_was_expected() {
    let x = rand(9, &[2, 3], Kind::Float);
    assert_eq!(
        f_psnr(&x, &x.get(0), 1.0).unwrap_err().to_string(),
        "psnr: expected target of shape [2, 3], got [3]"
    );
    for range in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = f_psnr(&x, &x, range).unwrap_err().to_string();
        assert!(error.starts_with("psnr: expected data_range above 0"), "{error}");
        assert!(PsnrLoss::default().data_range(range).f_forward(&x, &x).is_err());
        assert!(PsnrLoss::default().eps(range).f_forward(&x, &x).is_err());
    }
}
