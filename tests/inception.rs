//! Inception of FID, its resizing, distances of images that arrive batch by batch: parity, laws, errors.

mod common;

use common::{
    Fixture, KINDS, assert_close, assert_finite, deep, device, fill, gradcheck, numbers, projected,
    rand, randn, tensor, value_and_grad,
};
use tch::{Kind, Tensor, nn::VarStore};
use tch_losses::{
    LossError,
    metrics::{
        FeatureStatistics, Fid, FidInception, FidMode, InceptionLayer, InceptionScoreSums, Resize,
        f_resize, inception_score, resize,
    },
    perceptual::{FeatureExtractor, FnExtractor, ImageRange, weights},
};

const ALL: [InceptionLayer; 5] = [
    InceptionLayer::Pool1,
    InceptionLayer::Pool2,
    InceptionLayer::Mixed6e,
    InceptionLayer::Pool3,
    InceptionLayer::Logits,
];

const MODES: [(&str, Resize); 4] = [
    ("bilinear", Resize::Bilinear),
    ("tensorflow1", Resize::BilinearTensorflow1),
    ("bilinear_antialiased", Resize::BilinearAntialiased),
    ("bicubic_antialiased", Resize::BicubicAntialiased),
];

/// A network filled as in scripts/fixtures/inception.py, in Double.
fn inception(layers: &[InceptionLayer], range: ImageRange, mode: FidMode) -> FidInception {
    let mut vs = VarStore::new(device());
    let net = FidInception::f_new(&vs.root(), layers, range).unwrap().mode(mode);
    vs.set_kind(Kind::Double);
    // What the whole network has decides the number of each variable.
    let mut whole = VarStore::new(device());
    drop(FidInception::f_new(&whole.root(), &ALL, range).unwrap());
    whole.set_kind(Kind::Double);
    fill(&whole, "");
    let filled = whole.variables();
    tch::no_grad(|| {
        for (name, mut variable) in vs.variables() {
            variable.copy_(&filled[&name]);
        }
    });
    net
}

/// 80 x 96 pixels of which 5 x 6 are stored, as in scripts/fixtures/inception.py.
fn large(small: &Tensor) -> Tensor {
    let wide =
        small.repeat_interleave_self_int(16, 2, None).repeat_interleave_self_int(16, 3, None);
    let pattern = (numbers(&[2, 3, 80, 96], 0.0) + 1.0) / 4.0;
    wide / 2.0 + pattern.to_kind(small.kind()).to_device(device())
}

#[test]
fn as_pytorch_fid_clean_fid_and_torch_fidelity() {
    let fixture = Fixture::open("inception");
    let outputs = |net: &FidInception, x: &Tensor| projected(&net.f_features(x).unwrap());
    let net = inception(&ALL, ImageRange::Unit, FidMode::AsTheyAre);
    let double = [Kind::Double];
    fixture.parity_within("as_they_are", &["input"], &double, deep, |case| {
        outputs(&net, &large(case.get("input")))
    });
    // A million ReLUs and maxima have kinks that Float is on the other side of: values alone.
    let (in_float, in_double) =
        (fixture.case("as_they_are", Kind::Float), fixture.case("as_they_are", Kind::Double));
    let found = outputs(&net, &large(in_float.get("input")));
    assert_eq!(found.kind(), Kind::Float);
    assert_close("in Float", &found, in_double.get("value"), deep(Kind::Float));
    let case = fixture.case("logits", Kind::Double);
    let logits = net.f_features(&large(case.get("input"))).unwrap().remove(4);
    assert_close("logits", &projected(&[logits]), case.get("logits"), (1e-8, 1e-9));

    let net = net.mode(FidMode::PytorchFid);
    fixture.parity_within("pytorch_fid", &["input"], &double, deep, |case| {
        outputs(&net, &(case.get("input") / 255.0))
    });

    // They resize in float32.
    let float32 = (1e-5, 1e-5);
    let case = fixture.case("clean", Kind::Double);
    let net = inception(&ALL[..4], ImageRange::Bytes, FidMode::Clean);
    assert_close("clean", &outputs(&net, case.get("input")), case.get("value"), float32);

    let case = fixture.case("torch_fidelity", Kind::Double);
    let layers = [&ALL[..4], &[InceptionLayer::LogitsUnbiased, InceptionLayer::Logits]].concat();
    let net = inception(&layers, ImageRange::Bytes, FidMode::Tensorflow1);
    let pooled = |map: Tensor| match map.dim() {
        2 => map,
        _ => map.mean_dim([2i64, 3].as_slice(), false, None::<Kind>),
    };
    let maps = net.f_features(case.get("input")).unwrap();
    let vectors: Vec<Tensor> = maps.into_iter().map(pooled).collect();
    assert_close("torch-fidelity", &projected(&vectors), case.get("value"), (1e-5, 1e-5));
    fixture.finish();
}

#[test]
fn resizing_is_pillows_clean_fids_torchs_and_tensorflows() {
    let fixture = Fixture::open("resize");
    for (mode, how) in MODES {
        for size in ["smaller", "larger", "mixed"] {
            fixture.parity(&format!("{mode}_{size}"), &["input"], |case| {
                let new = case.get("size");
                let new = (new.int64_value(&[0]), new.int64_value(&[1]));
                resize(case.get("input"), new, how)
            });
            if matches!(how, Resize::BilinearAntialiased | Resize::BicubicAntialiased) {
                let theirs = fixture.case(&format!("pillow_{mode}_{size}"), Kind::Float);
                let (theirs, case) =
                    (theirs.get("resized"), fixture.case(&format!("{mode}_{size}"), Kind::Float));
                let (_, _, height, width) = theirs.size4().unwrap();
                let ours = resize(case.get("input"), (height, width), how);
                // Of 255, in float32.
                assert_close(&format!("pillow {mode} {size}"), &ours, theirs, (0.0, 2e-4));
            }
        }
    }
    let case = fixture.case("cleanfid", Kind::Float);
    let photo = case.get("photo");
    let every = |t: Tensor| t.squeeze_dim(0).slice(1, None, None, 43).slice(2, None, None, 37);
    for (mode, how) in [MODES[0], MODES[3]] {
        let case = fixture.case(&format!("cleanfid_{mode}"), Kind::Float);
        let ours = every(resize(photo, (299, 299), how).clamp(0.0, 255.0));
        assert_close(&format!("clean-fid {mode}"), &ours, case.get("resized"), (0.0, 2e-4));
    }
    let case = fixture.case("cleanfid_bilinear_antialiased", Kind::Float);
    let ours = resize(photo, (6, 9), Resize::BilinearAntialiased).squeeze_dim(0);
    assert_close("clean-fid bilinear antialiased", &ours, case.get("resized"), (0.0, 2e-4));
    fixture.finish();
}

#[test]
fn gradients_of_resizing_agree_with_differences() {
    let images = randn(1, &[1, 2, 5, 4], Kind::Double);
    for (mode, how) in MODES {
        for size in [(3, 7), (8, 2)] {
            gradcheck(mode, &[images.copy()], |i| resize(&i[0], size, how));
        }
    }
}

#[test]
fn flat_images_stay_flat_and_the_same_size_is_the_same_image() {
    for kind in KINDS {
        for (mode, how) in MODES {
            let flat = Tensor::full([1, 3, 7, 5], 0.75, (kind, device()));
            let resized = resize(&flat, (4, 11), how);
            let kept = if kind == Kind::Double { Kind::Double } else { Kind::Float };
            assert_eq!(resized.kind(), kept, "{mode}");
            let expected = Tensor::full([1, 3, 4, 11], 0.75, (kept, device()));
            assert_close(mode, &resized, &expected, (1e-6, 0.0));
            let images = rand(2, &[2, 3, 6, 7], kind);
            let same = resize(&images, (6, 7), how);
            assert_close(mode, &same, &images.to_kind(kept), (1e-6, 1e-7));
        }
    }
}

#[test]
fn what_resizing_gives_does_not_depend_on_strides_or_batches() {
    for (mode, how) in MODES {
        let wide = rand(3, &[3, 9, 8, 2], Kind::Double);
        let strided = wide.permute([0, 3, 1, 2]);
        let whole = resize(&strided, (4, 5), how);
        assert_close(mode, &resize(&strided.contiguous(), (4, 5), how), &whole, (1e-12, 1e-12));
        let one = resize(&strided.narrow(0, 1, 1), (4, 5), how);
        assert_close(mode, &one, &whole.narrow(0, 1, 1), (1e-12, 1e-12));
        let (none, gradient) = value_and_grad(&strided.narrow(0, 0, 0), |x| resize(x, (4, 5), how));
        assert_eq!((none.size(), gradient.numel()), (vec![0, 2, 4, 5], 0), "{mode}");
    }
}

#[test]
fn every_range_and_kind_is_the_same_picture() {
    let bytes = (rand(4, &[2, 3, 9, 8], Kind::Double) * 255.0).round();
    let unit = &bytes / 255.0;
    for mode in [FidMode::PytorchFid, FidMode::Clean, FidMode::Tensorflow1, FidMode::AsTheyAre] {
        let prepared = mode.f_prepare(&bytes, ImageRange::Bytes).unwrap();
        let of = |images: &Tensor, range| mode.f_prepare(images, range).unwrap();
        let name = format!("{mode:?}");
        assert_close(&name, &of(&unit, ImageRange::Unit), &prepared, (1e-12, 1e-12));
        let symmetric = &unit * 2.0 - 1.0;
        assert_close(&name, &of(&symmetric, ImageRange::Symmetric), &prepared, (1e-12, 1e-12));
        let integers = of(&bytes.to_kind(Kind::Uint8), ImageRange::Bytes);
        assert_close(&name, &integers, &prepared, (1e-5, 1e-5));
        for kind in KINDS {
            let rounded = bytes.to_kind(kind);
            let expected = of(&rounded.to_kind(Kind::Double), ImageRange::Bytes);
            assert_close(&name, &of(&rounded, ImageRange::Bytes), &expected, (1e-5, 1e-5));
        }
        // Once prepared, twice prepared: what `AsTheyAre` and `Symmetric` are for.
        let again = FidMode::AsTheyAre.f_prepare(&prepared, ImageRange::Symmetric).unwrap();
        assert_close(&name, &again, &prepared, (0.0, 0.0));
    }
    let sharp = tensor(&[0.0, 0.0, 255.0, 255.0], &[1, 1, 2, 2]).expand([1, 3, 2, 2], false);
    let clean = FidMode::Clean.f_prepare(&sharp, ImageRange::Bytes).unwrap();
    assert_eq!(clean.min().double_value(&[]), -1.0);
    assert_eq!(clean.max().double_value(&[]), 127.0 / 128.0);
}

#[test]
fn variables_have_torchvisions_names_and_no_gradient() {
    let vs = VarStore::new(device());
    drop(FidInception::f_new(&vs.root(), &ALL, ImageRange::Unit).unwrap());
    let variables = vs.variables();
    assert_eq!(variables.len(), 94 * 5 + 2);
    for (name, size) in [
        ("Conv2d_1a_3x3.conv.weight", vec![32i64, 3, 3, 3]),
        ("Mixed_5b.branch5x5_2.bn.running_var", vec![64]),
        ("Mixed_6c.branch7x7dbl_4.conv.weight", vec![160, 160, 7, 1]),
        ("Mixed_7c.branch3x3dbl_3b.conv.weight", vec![384, 384, 3, 1]),
        ("fc.weight", vec![1008, 2048]),
    ] {
        assert_eq!(variables[name].size(), size, "{name}");
    }
    assert!(variables.values().all(|variable| !variable.requires_grad()));
    let parameters: usize = variables.values().map(Tensor::numel).sum();
    assert_eq!(parameters, 23_850_960 + 2 * 17_216);
    assert!(vs.trainable_variables().is_empty());
}

#[test]
fn shallow_networks_read_the_weights_of_deep_ones() {
    let folder = std::env::temp_dir().join(format!("tch-losses-inception-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("inception_fid.safetensors");
    let mut shallow = VarStore::new(device());
    let net = FidInception::f_new(&shallow.root(), &ALL[..1], ImageRange::Unit)
        .unwrap()
        .mode(FidMode::AsTheyAre);
    let missing = weights::f_load(&mut shallow, &path, true).unwrap_err().to_string();
    assert!(missing.ends_with("python scripts/export_weights.py inception_fid"), "{missing}");
    let deep = VarStore::new(device());
    let deeper = FidInception::f_new(&deep.root(), &ALL[..2], ImageRange::Unit)
        .unwrap()
        .mode(FidMode::AsTheyAre);
    fill(&deep, "");
    deep.save(&path).unwrap();
    weights::f_load(&mut shallow, &path, true).unwrap();
    let image = rand(5, &[1, 3, 30, 27], Kind::Float);
    let (maps, deeper) = (net.f_features(&image).unwrap(), deeper.f_features(&image).unwrap());
    assert_close("first map", &maps[0], &deeper[0], (0.0, 0.0));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_gradient_reaches_the_image_in_every_kind() {
    let vs = VarStore::new(device());
    let net = FidInception::f_new(&vs.root(), &ALL[..2], ImageRange::Unit)
        .unwrap()
        .mode(FidMode::AsTheyAre);
    for kind in KINDS {
        let image = rand(6, &[1, 3, 29, 28], kind);
        let (value, gradient) =
            value_and_grad(&image, |x| net.f_features(x).unwrap().remove(1).mean(None::<Kind>));
        assert_eq!(gradient.kind(), kind);
        assert_finite("value", &value);
        assert!(gradient.abs().max().double_value(&[]) > 0.0, "{kind:?}");
        assert_finite("gradient", &gradient);
    }
    let none = rand(7, &[0, 3, 29, 28], Kind::Float);
    assert_eq!(net.f_features(&none).unwrap()[1].size()[..2], [0, 192]);
}

/// Three features of an image: its mean colours.
fn colours() -> FnExtractor<impl Fn(&Tensor) -> Result<Vec<Tensor>, LossError>> {
    FnExtractor::new("colours", |x: &Tensor| Ok(vec![x.shallow_clone()]))
}

#[test]
fn batches_of_images_and_loaded_statistics_give_one_distance() {
    let (real, generated) =
        (rand(8, &[20, 3, 4, 5], Kind::Double), rand(9, &[15, 3, 4, 5], Kind::Double) + 0.3);
    let means = |x: &Tensor| x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
    let statistics = |x: &Tensor| {
        let mut statistics = FeatureStatistics::new(3);
        statistics.add(&means(x));
        statistics
    };
    let expected = statistics(&real).frechet_distance(&statistics(&generated));
    let mut fid = Fid::new(colours(), "mean colours");
    for batch in real.split(3, 0) {
        fid.add_real(&batch);
    }
    for batch in generated.split(4, 0) {
        fid.add_generated(&batch);
    }
    let found = fid.result();
    assert!((found.distance / expected - 1.0).abs() < 1e-10, "{found:?} {expected}");
    let text = found.to_string();
    assert!(
        text.ends_with("of 20 real and 15 generated images, 3 features: mean colours"),
        "{text}"
    );
    let mut half = Fid::new(colours(), "mean colours").with_real(statistics(&real));
    half.add_generated(&generated);
    assert!((half.result().distance / expected - 1.0).abs() < 1e-10);
    let loaded = Fid::new(colours(), "x")
        .with_real(statistics(&real))
        .with_generated(statistics(&generated));
    assert!((loaded.result().distance / expected - 1.0).abs() < 1e-10);
    assert_eq!(loaded.real().unwrap().count(), 20);
    assert_eq!(loaded.generated().unwrap().count(), 15);
}

#[test]
fn a_distance_names_network_and_mode() {
    let vs = VarStore::new(device());
    let net = FidInception::f_new(&vs.root(), &ALL[..1], ImageRange::Bytes).unwrap();
    let protocols = [FidMode::PytorchFid, FidMode::Clean, FidMode::Tensorflow1].map(|mode| {
        let text = FidInception::f_new(&vs.root(), &ALL[..1], ImageRange::Bytes)
            .unwrap()
            .mode(mode)
            .protocol();
        assert!(text.starts_with("Inception v3 of FID, Pool1; images as "), "{text}");
        text
    });
    assert!(protocols[1].contains("clean-fid: antialiased bicubic to 299 x 299"));
    assert!(protocols[0] != protocols[1] && protocols[1] != protocols[2]);
    assert_eq!(net.protocol(), protocols[0]);
}

#[test]
fn scores_of_batches_are_those_of_the_whole() {
    for (samples, splits) in [(23, 4), (10, 10), (7, 1)] {
        let logits = randn(10, &[samples, 6], Kind::Double) * 3.0;
        let mut sums = InceptionScoreSums::f_new(splits).unwrap();
        for i in 0..samples {
            sums.f_add(sums.split_of(i, samples), &logits.narrow(0, i, 1)).unwrap();
        }
        let (found, whole) = (sums.f_score().unwrap(), inception_score(&logits, splits));
        assert!((found.mean - whole.mean).abs() < 1e-10, "{found:?} {whole:?}");
        assert!((found.std - whole.std).abs() < 1e-10, "{found:?} {whole:?}");
    }
    // Logits whose probabilities underflow.
    for kind in KINDS {
        let sure = Tensor::eye(4, (kind, device())) * 1e4;
        let mut sums = InceptionScoreSums::f_new(1).unwrap();
        sums.f_add(0, &sure.narrow(0, 0, 2)).unwrap();
        sums.f_add(0, &sure.narrow(0, 2, 2)).unwrap();
        assert!((sums.f_score().unwrap().mean - 4.0).abs() < 1e-12);
    }
}

#[test]
fn errors_say_what_was_expected() {
    let text = |error: LossError| error.to_string();
    let vs = VarStore::new(device());
    let new = |layers: &[InceptionLayer], range| {
        text(FidInception::f_new(&vs.root(), layers, range).unwrap_err())
    };
    assert!(new(&[], ImageRange::Unit).contains("expected layers at least one"));
    let twice = [InceptionLayer::Pool2, InceptionLayer::Pool1];
    assert!(new(&twice, ImageRange::Unit).ends_with("got [Pool2, Pool1]"));
    let said = new(&ALL[..1], ImageRange::Normalised);
    assert_eq!(said, "FidInception: expected range Unit, Symmetric or Bytes, got Normalised");
    let net = FidInception::f_new(&vs.root(), &ALL[..1], ImageRange::Unit).unwrap();
    let features = |net: &FidInception, size: &[i64]| {
        text(net.f_features(&rand(11, size, Kind::Float)).unwrap_err())
    };
    assert!(features(&net, &[1, 1, 20, 20]).contains("[N, 3, H, W]"));
    assert!(features(&net, &[1, 3, 0, 20]).contains("at least 1, got [1, 3, 0, 20]"));
    let net = net.mode(FidMode::AsTheyAre);
    assert!(features(&net, &[1, 3, 10, 20]).contains("at least 11, got [1, 3, 10, 20]"));
    assert_eq!(
        net.f_features(&rand(12, &[1, 3, 11, 11], Kind::Float)).unwrap()[0].size()[2..],
        [1, 1]
    );

    let images = rand(13, &[1, 3, 4, 4], Kind::Float);
    let said = text(f_resize(&images, (0, 3), Resize::Bilinear).unwrap_err());
    assert_eq!(said, "resize: expected size at least one pixel, got 0 x 3");
    assert!(f_resize(&images.narrow(2, 0, 0), (2, 2), Resize::BicubicAntialiased).is_err());
    assert!(f_resize(&images.get(0), (2, 2), Resize::Bilinear).is_err());
    let complex = images.to_kind(Kind::ComplexFloat);
    assert!(
        text(f_resize(&complex, (2, 2), Resize::Bilinear).unwrap_err()).contains("ComplexFloat")
    );

    let mut fid = Fid::new(colours(), "");
    assert!(text(fid.f_result().unwrap_err()).contains("real and generated"));
    assert!(text(fid.f_add_real(&images.view([-1])).unwrap_err()).contains("[N, D, ..]"));
    fid.add_real(&images);
    fid.add_generated(&images);
    assert!(text(fid.f_result().unwrap_err()).contains("at least two samples"));
    let both = FnExtractor::new("both", |x: &Tensor| Ok(vec![x.copy(), x.copy()]));
    let said = text(Fid::new(both, "").f_add_real(&images).unwrap_err());
    assert_eq!(said, "Fid: expected extractor of one layer, got 2 layers");
    assert!(text(InceptionScoreSums::f_new(0).unwrap_err()).contains("splits at least 1"));
    let mut sums = InceptionScoreSums::f_new(2).unwrap();
    let logits = randn(14, &[3, 4], Kind::Float);
    sums.f_add(1, &logits).unwrap();
    assert!(text(sums.f_score().unwrap_err()).contains("a split has no samples"));
    assert!(text(sums.f_add(2, &logits).unwrap_err()).contains("got 2 of 2"));
    assert!(text(sums.f_add(-1, &logits).unwrap_err()).contains("got -1 of 2"));
    assert!(text(sums.f_add(1, &logits.narrow(1, 0, 2)).unwrap_err()).contains("[3, 4]"));
    assert!(
        text(sums.f_add(1, &logits.to_kind(Kind::Int)).unwrap_err()).contains("floating-point")
    );
    let panicked = std::panic::catch_unwind(|| resize(&images, (0, 0), Resize::Bilinear));
    assert!(panicked.is_err());
}
