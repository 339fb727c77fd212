//! Laws, gradients, edge cases and errors of structural similarity.

mod common;

use common::{
    KINDS, assert_close, assert_finite, assert_value, gradcheck, gradgradcheck, leaf, rand, randn,
    tensor, tolerance, value_and_grad,
};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    Loss, MsSsimLoss, SsimLoss,
    metrics::{
        MS_SSIM_WEIGHTS, SsimOptions, SsimPadding, SsimWindow, f_ms_ssim, f_ssim, ms_ssim, ssim,
        ssim_map,
    },
};

fn image(seed: i64, kind: Kind) -> Tensor {
    rand(seed, &[2, 3, 9, 8], kind)
}

/// Every option that changes the maths, with windows that fit small images.
fn variants() -> Vec<SsimOptions> {
    let mut all = vec![];
    for padding in [SsimPadding::Valid, SsimPadding::Reflect, SsimPadding::Zeros] {
        for window in [SsimWindow::Gaussian, SsimWindow::Uniform] {
            for sample in [false, true] {
                let options = SsimOptions::new(1.0).kernel_size(5).padding(padding);
                all.push(options.window(window).sample_covariance(sample));
            }
        }
    }
    all
}

fn losses() -> Vec<(String, Box<dyn Loss>)> {
    let ssim = variants()
        .into_iter()
        .map(|options| (format!("{options:?}"), Box::new(SsimLoss::new(options)) as Box<dyn Loss>));
    let several = MsSsimLoss::new(SsimOptions::new(1.0).kernel_size(3)).weights([0.4, 0.6]);
    ssim.chain([("two scales".to_owned(), Box::new(several) as Box<dyn Loss>)]).collect()
}

#[test]
fn gradients_agree_with_differences() {
    let (x, y) = (rand(1, &[2, 1, 6, 7], Kind::Double), rand(2, &[2, 1, 6, 7], Kind::Double));
    let y = &x * 0.5 + y * 0.5;
    let both = [x.shallow_clone(), y.shallow_clone()];
    for options in variants() {
        gradcheck(&format!("{options:?}"), &both, |x| ssim_map(&x[0], &x[1], options));
        gradgradcheck(&format!("{options:?}"), &both[..1], |x| ssim(&x[0], &y, options));
    }
    let options = SsimOptions::new(1.0).kernel_size(3);
    gradcheck("two scales", &both, |x| ms_ssim(&x[0], &x[1], options, &[0.4, 0.6]));
    gradgradcheck("two scales", &both[..1], |x| ms_ssim(&x[0], &y, options, &[0.4, 0.6]));
    let weight = rand(3, &[2, 1, 6, 7], Kind::Double);
    gradcheck("weights", &[x, weight], |x| {
        SsimLoss::new(options).forward_weighted(&x[0], &y, &x[1])
    });
}

#[test]
fn an_image_is_one_to_itself_in_every_kind() {
    for kind in KINDS {
        let x = image(4, kind);
        for options in variants() {
            let value = ssim(&x, &x, options);
            assert_close(&format!("{options:?}"), &value, &value.ones_like(), (0.0, 0.0));
        }
        let x = rand(5, &[1, 1, 165, 170], kind);
        let value = ms_ssim(&x, &x, SsimOptions::new(1.0), &MS_SSIM_WEIGHTS);
        assert_close(&format!("{kind:?}"), &value, &value.ones_like(), (0.0, 0.0));
    }
}

#[test]
fn flat_images_compare_by_their_means() {
    let flat = |value: f64| image(6, Kind::Double).full_like(value);
    for options in variants() {
        if options == options.padding(SsimPadding::Zeros) {
            continue; // the border is an edge then
        }
        let value = ssim(&flat(0.2), &flat(0.7), options);
        let expected = (2.0 * 0.2 * 0.7 + 1e-4) / (0.04 + 0.49 + 1e-4);
        assert_close(&format!("{options:?}"), &value, &value.full_like(expected), (1e-9, 0.0));
    }
}

#[test]
fn a_negative_is_below_zero() {
    let x = image(7, Kind::Double);
    for options in variants() {
        if options == options.padding(SsimPadding::Zeros) {
            continue; // both have an edge at the border then
        }
        let value = ssim(&x, &(1.0 - &x), options);
        assert!(value.max().double_value(&[]) < 0.0 && value.min().double_value(&[]) >= -1.0);
    }
}

#[test]
fn the_two_images_may_change_places() {
    let (x, y) = (image(8, Kind::Double), image(9, Kind::Double));
    for (name, loss) in losses() {
        assert_close(&name, &loss.forward(&x, &y), &loss.forward(&y, &x), (1e-12, 0.0));
    }
}

#[test]
fn pixels_of_a_wider_range_are_the_same_with_that_range() {
    let (x, y) = (image(10, Kind::Double), image(11, Kind::Double));
    let value = ssim(&(&x * 255.0), &(&y * 255.0), SsimOptions::new(255.0).kernel_size(5));
    let unit = ssim(&x, &y, SsimOptions::new(1.0).kernel_size(5));
    assert_close("ssim", &value, &unit, (1e-12, 0.0));
}

#[test]
fn images_and_channels_are_compared_each_for_itself() {
    let (x, y) = (image(12, Kind::Double), image(13, Kind::Double));
    for options in variants() {
        let all = ssim(&x, &y, options);
        let one = |t: &Tensor| t.narrow(0, 1, 1).narrow(1, 2, 1);
        let alone = ssim(&one(&x), &one(&y), options);
        assert_close(&format!("{options:?}"), &one(&all), &alone, (1e-12, 0.0));
    }
}

#[test]
fn turning_both_images_changes_nothing() {
    let (x, y) = (image(14, Kind::Double), image(15, Kind::Double));
    let turned = |t: &Tensor| t.transpose(2, 3).flip([3]);
    for options in variants() {
        let value = ssim(&turned(&x), &turned(&y), options);
        assert_close(&format!("{options:?}"), &value, &ssim(&x, &y, options), (1e-12, 0.0));
    }
}

#[test]
fn a_window_of_one_pixel_compares_pixels() {
    let (x, y) = (image(16, Kind::Double), image(17, Kind::Double));
    let map = ssim_map(&x, &y, SsimOptions::new(1.0).kernel_size(1));
    let expected = (&x * &y * 2.0 + 1e-4) / (x.square() + y.square() + 1e-4);
    assert_close("map", &map, &expected, (1e-9, 0.0));
}

#[test]
fn padding_only_adds_a_border_to_the_map() {
    let (x, y) = (image(18, Kind::Double), image(19, Kind::Double));
    let options = SsimOptions::new(1.0).kernel_size(5);
    let inner = ssim_map(&x, &y, options);
    for padding in [SsimPadding::Reflect, SsimPadding::Zeros] {
        let map = ssim_map(&x, &y, options.padding(padding));
        assert_eq!(map.size(), x.size());
        let cropped = map.narrow(2, 2, 5).narrow(3, 2, 4);
        assert_close(&format!("{padding:?}"), &cropped, &inner, (1e-12, 0.0));
    }
}

#[test]
fn downsampling_averages_squares_first() {
    for (size, by) in [([1, 2, 400, 500], 2), ([1, 1, 700, 640], 2), ([1, 1, 650, 900], 3)] {
        let (x, y) = (rand(20, &size, Kind::Float), rand(21, &size, Kind::Float));
        let small = |t: &Tensor| t.avg_pool2d([by, by], [by, by], [0, 0], false, true, None);
        let options = SsimOptions::new(1.0);
        let got = ssim(&x, &y, options.downsample(true));
        let expected = ssim(&small(&x), &small(&y), options);
        assert_close(&format!("{size:?}"), &got, &expected, (1e-6, 1e-7));
        let weight = rand(22, &size, Kind::Float);
        let loss = SsimLoss::new(options.downsample(true)).forward_weighted(&x, &y, &weight);
        let expected =
            SsimLoss::new(options).forward_weighted(&small(&x), &small(&y), &small(&weight));
        assert_close(&format!("{size:?}"), &loss, &expected, (1e-6, 1e-7));
    }
    let x = image(23, Kind::Double);
    let options = SsimOptions::new(1.0).kernel_size(5);
    let same = ssim(&x, &(&x * 0.5), options.downsample(true));
    assert_close("small images", &same, &ssim(&x, &(&x * 0.5), options), (0.0, 0.0));
}

#[test]
fn a_mask_is_the_mean_over_the_windows_it_keeps() {
    let (x, y) = (image(24, Kind::Double), image(25, Kind::Double));
    for options in variants() {
        let loss = SsimLoss::new(options);
        let map = loss.clone().reduction(Reduction::None).forward(&x, &y);
        let mut mask = x.zeros_like();
        let _ = mask.narrow(0, 1, 1).narrow(2, 3, 2).fill_(1);
        let border = (9 - map.size()[2]) / 2;
        let kept = map.narrow(0, 1, 1).narrow(2, 3 - border, 2).mean(None::<Kind>);
        let masked = loss.forward_weighted(&x, &y, &mask);
        assert_close(&format!("{options:?}"), &masked, &kept, (1e-12, 0.0));
        mask = mask.narrow(1, 0, 1).narrow(3, 0, 1);
        let broadcast = loss.forward_weighted(&x, &y, &mask.ne(0));
        assert_close(&format!("{options:?}, broadcast"), &broadcast, &kept, (1e-12, 0.0));
    }
    let loss = MsSsimLoss::new(SsimOptions::new(1.0).kernel_size(3)).weights([0.4, 0.6]);
    let each = loss.clone().reduction(Reduction::None).forward(&x, &y);
    let weight = tensor(&[0.0, 1.0, 0.0], &[3]);
    let masked = loss.forward_weighted(&x, &y, &weight);
    assert_close("scales", &masked, &each.select(1, 1).mean(None::<Kind>), (1e-12, 0.0));
}

#[test]
fn one_scale_is_ssim() {
    let (x, y) = (image(26, Kind::Double), image(27, Kind::Double));
    let y = &x * 0.8 + y * 0.2;
    let options = SsimOptions::new(1.0).kernel_size(3);
    let one = ms_ssim(&x, &y, options, &[1.0]);
    assert_close("one scale", &one, &ssim(&x, &y, options), (1e-12, 0.0));
    // 9 rows are ten, the first twice.
    let halved = |t: &Tensor| {
        let t = t.replication_pad2d([0, 0, 1, 0]);
        t.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
    };
    let second = ms_ssim(&x, &y, options, &[0.0, 1.0]);
    assert_close("the second", &second, &ssim(&halved(&x), &halved(&y), options), (1e-12, 0.0));
}

/// A power of a negative mean is NaN, and so is the gradient of piq's.
#[test]
fn a_scale_below_zero_makes_the_result_zero_without_a_gradient() {
    for kind in KINDS {
        let x = image(28, Kind::Double) - 0.5;
        let y = (-&x).to_kind(kind);
        let options = SsimOptions::new(1.0).kernel_size(3);
        let (value, grad) =
            value_and_grad(&x.to_kind(kind), |x| ms_ssim(x, &y, options, &[0.4, 0.6]));
        assert_value(&format!("{kind:?}"), &value.abs().max(), 0.0, 0.0);
        assert_value(&format!("{kind:?}"), &grad.abs().max(), 0.0, 0.0);
    }
}

#[test]
fn nothing_that_counts_is_zero_with_a_zero_gradient() {
    for kind in KINDS {
        for (name, loss) in losses() {
            let weight = tensor(&[0.0], &[1]);
            let (value, grad) = value_and_grad(&image(29, kind), |x| {
                loss.forward_weighted(x, &image(30, kind), &weight)
            });
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_value(&format!("{name} {kind:?}"), &grad.abs().max(), 0.0, 0.0);
        }
    }
}

#[test]
fn empty_batches_are_zero_with_a_gradient() {
    for kind in KINDS {
        for size in [[0, 3, 12, 13], [2, 0, 12, 13]] {
            for (name, loss) in losses() {
                let x = rand(31, &size, kind);
                let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &x.detach()));
                assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
                assert_eq!(grad.size(), size, "{name}");
            }
            let x = rand(31, &size, kind);
            assert_eq!(ssim(&x, &x, SsimOptions::new(1.0)).size(), size[..2]);
            assert_eq!(ssim_map(&x, &x, SsimOptions::new(1.0)).size(), [size[0], size[1], 2, 3]);
        }
    }
}

#[test]
fn pixels_far_outside_the_range_are_finite() {
    for kind in KINDS {
        let (x, y) = (randn(32, &[2, 3, 9, 8], kind) * 1e4, randn(33, &[2, 3, 9, 8], kind) * 1e4);
        for (name, loss) in losses() {
            for (x, y) in [(&x, &y), (&x.full_like(1e4), &x.full_like(-1e4)), (&x, &x)] {
                let (value, grad) = value_and_grad(x, |x| loss.forward(x, y));
                assert_finite(&format!("{name} {kind:?}"), &value);
                assert_finite(&format!("{name} {kind:?} gradient"), &grad);
            }
        }
    }
}

/// Variances as differences of squares lose most of what sets like images apart here.
#[test]
fn like_bright_images_keep_their_difference_in_float() {
    let x = 0.97 + randn(34, &[1, 1, 32, 32], Kind::Double) * 1e-4;
    let y = &x + randn(35, &[1, 1, 32, 32], Kind::Double) * 1e-4;
    let (x, y) = (x.to_kind(Kind::Float), y.to_kind(Kind::Float));
    let exact = SsimLoss::default().forward(&x.to_kind(Kind::Double), &y.to_kind(Kind::Double));
    let float = SsimLoss::default().forward(&x, &y);
    assert_close("loss", &float, &exact, (1e-3, 0.0));
}

#[test]
fn half_kinds_and_integers_give_the_float_answer_in_float() {
    for kind in [Kind::Half, Kind::BFloat16] {
        for (name, loss) in losses() {
            let (x, y) = (image(36, kind), image(37, kind));
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &y));
            let (expected, expected_grad) = value_and_grad(&x.to_kind(Kind::Float), |x| {
                loss.forward(x, &y.to_kind(Kind::Float))
            });
            assert_eq!((value.kind(), grad.kind()), (Kind::Float, kind), "{name}");
            assert_close(&name, &value, &expected, (1e-6, 0.0));
            assert_close(&name, &grad, &expected_grad, tolerance(kind));
        }
    }
    let bytes = |seed| (image(seed, Kind::Float) * 255.0).to_kind(Kind::Uint8);
    let options = SsimOptions::new(255.0).kernel_size(5);
    let float = |t: &Tensor| t.to_kind(Kind::Float);
    let value = ssim(&bytes(38), &bytes(39), options);
    let expected = ssim(&float(&bytes(38)), &float(&bytes(39)), options);
    assert_close("bytes", &value, &expected, (0.0, 0.0));
}

#[test]
fn non_contiguous_input_is_the_same_as_contiguous() {
    let strided =
        |seed| image(seed, Kind::Double).permute([0, 3, 1, 2]).contiguous().permute([0, 2, 3, 1]);
    let (x, y) = (strided(40), strided(41));
    assert!(!x.is_contiguous());
    for (name, loss) in losses() {
        let same = loss.forward(&x.contiguous(), &y.contiguous());
        assert_close(&name, &loss.forward(&x, &y), &same, (1e-12, 0.0));
    }
}

#[test]
fn inputs_are_left_as_they_were() {
    let (x, y) = (image(42, Kind::Float), image(43, Kind::Float));
    let (input, before) = (leaf(&x), y.copy());
    for (_, loss) in losses() {
        loss.forward(&input, &y).backward();
    }
    assert_eq!((input.detach(), y), (x, before));
}

#[test]
fn errors_say_what_was_expected() {
    let x = image(44, Kind::Float);
    let say = |result: tch_losses::Result<Tensor>| result.unwrap_err().to_string();
    let options = SsimOptions::new(1.0);
    assert_eq!(
        say(f_ssim(&x, &x, options)),
        "ssim: expected input of shape [N, C, H, W] with sides of at least 11, got [2, 3, 9, 8]"
    );
    assert_eq!(
        say(f_ssim(&x.select(0, 0), &x, options)),
        "ssim: expected input of shape [N, C, H, W] with sides of at least 11, got [3, 9, 8]"
    );
    assert_eq!(
        say(f_ssim(&x, &x, SsimOptions::torchmetrics(1.0).kernel_size(17))),
        "ssim: expected input of shape [N, C, H, W] with sides of at least 9, got [2, 3, 9, 8]"
    );
    assert_eq!(
        say(f_ssim(&x, &x.narrow(1, 0, 1), options.kernel_size(5))),
        "ssim: expected target of shape [2, 3, 9, 8], got [2, 1, 9, 8]"
    );
    assert_eq!(
        say(f_ssim(&x, &x, SsimOptions::new(f64::NAN))),
        "ssim: expected data_range above 0 and finite, got NaN"
    );
    assert_eq!(
        say(f_ssim(&x, &x, options.kernel_size(4))),
        "ssim: expected kernel_size odd and from 1 to 9999, got 4"
    );
    assert_eq!(
        say(f_ssim(&x, &x, options.kernel_size(1).sample_covariance(true))),
        "ssim: expected kernel_size above 1 for a sample covariance, got 1"
    );
    assert_eq!(
        say(SsimLoss::new(options.k2(0.0)).f_forward(&x, &x)),
        "SsimLoss: expected k2 above 0 and finite, got 0"
    );
    assert_eq!(
        say(SsimLoss::new(options.kernel_size(5)).f_forward_weighted(&x, &x, &x.narrow(2, 0, 2))),
        "SsimLoss: expected weight of shape broadcastable to [2, 3, 9, 8], got [2, 3, 2, 8]"
    );
    assert_eq!(
        say(MsSsimLoss::default().f_forward(&x, &x)),
        "MsSsimLoss: expected input of shape [N, C, H, W] with sides of at least 161, got [2, 3, 9, 8]"
    );
    assert_eq!(
        say(f_ms_ssim(&x, &x, SsimOptions::torchmetrics(1.0).kernel_size(5), &[1.0; 4])),
        "ms_ssim: expected input of shape [N, C, H, W] with sides of at least 17, got [2, 3, 9, 8]"
    );
    assert_eq!(
        say(f_ms_ssim(&x, &x, options, &[])),
        "ms_ssim: expected weights at least one, got 0"
    );
    assert_eq!(
        say(f_ms_ssim(&x, &x, options.kernel_size(3), &[1.0, f64::NAN])),
        "ms_ssim: expected weights at least 0 and finite, got NaN"
    );
}
