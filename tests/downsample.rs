//! Halving of feature maps, and what a shift does to them: parity, laws, errors.

mod common;

use common::{Fixture, KINDS, assert_close, assert_value, device, gradcheck, rand, randn};
use tch::{Kind, Tensor};
use tch_losses::{
    LossError,
    perceptual::{Downsample, downsample, f_downsample, f_shift_change, shift_change},
};

const PLAIN: [(&str, Downsample); 4] = [
    ("average", Downsample::Average),
    ("max", Downsample::Max),
    ("blur", Downsample::Blur),
    ("max_blur", Downsample::MaxBlur),
];

#[test]
fn as_torch_and_kornia() {
    let fixture = Fixture::open("downsample");
    for size in ["even", "odd"] {
        for (name, how) in &PLAIN {
            fixture.parity(&format!("{name}_{size}"), &["input"], |case| {
                downsample(case.get("input"), how)
            });
        }
        for side in [2, 3] {
            fixture.parity(&format!("strided_{side}_{size}"), &["input", "kernel"], |case| {
                let kernel = case.get("kernel").shallow_clone();
                downsample(case.get("input"), &Downsample::Strided(kernel))
            });
        }
    }
    fixture.finish();
}

#[test]
fn gradients_agree_with_differences() {
    let maps = randn(1, &[2, 2, 5, 4], Kind::Double);
    for (name, how) in &PLAIN {
        gradcheck(name, &[maps.copy()], |i| downsample(&i[0], how));
    }
    let kernel = randn(2, &[3, 2, 3, 3], Kind::Double);
    gradcheck("strided", &[maps, kernel], |i| {
        downsample(&i[0], &Downsample::Strided(i[1].shallow_clone()))
    });
}

#[test]
fn a_strided_kernel_of_quarters_is_the_mean() {
    let maps = randn(3, &[2, 3, 6, 8], Kind::Double);
    let quarters = Tensor::eye(3, (Kind::Double, device())).view([3, 3, 1, 1]) * 0.25;
    let strided = Downsample::Strided(quarters.expand([3, 3, 2, 2], false));
    let mean = downsample(&maps, &Downsample::Average);
    assert_close("quarters", &downsample(&maps, &strided), &mean, (1e-12, 1e-12));
}

#[test]
fn flat_maps_stay_flat_inside_in_every_kind() {
    for kind in KINDS {
        let flat = Tensor::full([1, 2, 8, 8], 0.5, (kind, device()));
        for (name, how) in &PLAIN {
            let halved = downsample(&flat, how);
            assert_eq!(halved.size(), [1, 2, 4, 4], "{name}");
            let inside = halved.narrow(2, 1, 2).narrow(3, 1, 2);
            assert_eq!(halved.kind(), if kind == Kind::Double { kind } else { Kind::Float });
            assert_value(name, &(inside - 0.5).abs().max(), 0.0, 1e-12);
        }
    }
    for (name, how) in &PLAIN {
        let none = downsample(&rand(4, &[0, 2, 8, 8], Kind::Float), how);
        assert_eq!(none.size(), [0, 2, 4, 4], "{name}");
        let strided = rand(5, &[1, 8, 8, 2], Kind::Double).permute([0, 3, 1, 2]);
        let same = downsample(&strided.contiguous(), how);
        assert_close(name, &downsample(&strided, how), &same, (1e-12, 1e-12));
    }
}

#[test]
fn a_shift_by_nothing_changes_nothing_and_one_by_the_stride_shifts_the_maps() {
    let images = rand(6, &[3, 2, 16, 12], Kind::Double);
    let shifts = [(0, 0), (2, 0), (0, -4), (1, 0)];
    for (name, how) in &PLAIN[..2] {
        let maps = |x: &Tensor| f_downsample(x, how);
        // The mean of the maps' squares: it does not know where they are.
        let energy =
            |x: &Tensor| Ok(maps(x)?.square().mean_dim([2i64, 3].as_slice(), false, None::<Kind>));
        let change = shift_change(&images, &shifts, energy);
        assert_eq!(change.size(), [4, 3], "{name}");
        let known = change.narrow(0, 0, 3);
        assert_close(name, &known, &known.zeros_like(), (0.0, 1e-12));
        assert!(change.get(3).min().double_value(&[]) > 0.0, "{name}");
        let still = shift_change(&images, &shifts[..1], maps);
        assert_close(name, &still, &still.zeros_like(), (0.0, 0.0));
    }
}

#[test]
fn changes_are_relative_and_those_of_black_images_are_none() {
    let images = rand(7, &[2, 1, 8, 8], Kind::Float);
    let maps = |x: &Tensor| f_downsample(x, &Downsample::Max);
    let change = shift_change(&images, &[(1, 1)], maps);
    assert_close("scaled", &shift_change(&(&images * 40.0), &[(1, 1)], maps), &change, (1e-5, 0.0));
    let black = shift_change(&images.zeros_like(), &[(1, 1)], maps);
    assert_close("black", &black, &black.zeros_like(), (0.0, 0.0));
    assert_eq!(shift_change(&images, &[], maps).size(), [0, 2]);
    // By definition, with another norm of the same difference.
    let (still, moved) = (maps(&images).unwrap(), maps(&images.roll([1, 1], [2, 3])).unwrap());
    let norm = |t: Tensor| {
        t.to_kind(Kind::Double).flatten(1, -1).linalg_norm(
            2.0,
            [1i64].as_slice(),
            false,
            None::<Kind>,
        )
    };
    let expected = norm(moved - &still) / norm(still);
    assert_close("definition", &change.get(0), &expected, (1e-5, 0.0));
}

#[test]
fn errors_say_what_was_expected() {
    let text = |result: Result<Tensor, LossError>| result.unwrap_err().to_string();
    let maps = rand(8, &[1, 3, 4, 4], Kind::Float);
    let short = text(f_downsample(&maps.narrow(2, 0, 1), &Downsample::Max));
    assert!(short.contains("sides that can be halved, got [1, 3, 1, 4]"), "{short}");
    assert!(f_downsample(&maps.narrow(3, 0, 0), &Downsample::Blur).is_err());
    assert!(text(f_downsample(&maps.to_kind(Kind::Int64), &Downsample::Average)).contains("Int64"));
    let strided =
        |size: &[i64]| text(f_downsample(&maps, &Downsample::Strided(rand(9, size, Kind::Float))));
    assert!(strided(&[2, 4, 2, 2]).contains("[outputs, 3, side, side], got [2, 4, 2, 2]"));
    assert!(strided(&[2, 3, 2, 3]).contains("side, side"));
    assert!(strided(&[0, 3, 2, 2]).contains("got [0, 3, 2, 2]"));
    let wide = Downsample::Strided(rand(11, &[2, 3, 9, 9], Kind::Float));
    assert_eq!(downsample(&maps, &wide).size(), [1, 2, 2, 2]);
    let said = text(f_shift_change(&maps, &[(1, 0)], |_| Ok(Tensor::from(1.0))));
    assert!(said.contains("what the function gives of shape [1, ..]"), "{said}");
    assert!(f_shift_change(&maps.view([-1]), &[], |x| Ok(x.copy())).is_err());
    let said = text(f_shift_change(&maps, &[], |_| Err(LossError::Other("no".into()))));
    assert_eq!(said, "no");
    let panicked = std::panic::catch_unwind(|| {
        let maps = rand(10, &[2, 2], Kind::Float);
        downsample(&maps, &Downsample::Max)
    });
    assert!(panicked.is_err());
}
