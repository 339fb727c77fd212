//! Losses that look through a network, and losses of images alone: parity, gradients, laws, errors.

mod common;

use common::{
    Case, Fixture, KINDS, assert_close, assert_finite, assert_value, deep, device, fill, gradcheck,
    gradgradcheck, numbers, projected, rand, randn, tensor, value_and_grad,
};
use tch::{Kind, Tensor, nn::VarStore};
use tch_losses::{
    Loss, LossError, Reduction,
    perceptual::{
        ContentStyleLoss, EdgeFilter, EdgeLoss, FeatureDistance, FeatureExtractor, FnExtractor,
        FocalFrequencyLoss, GramNorm, ImageRange, LpipsLoss, LpipsNet, PerceptualLoss, Pooling,
        RandomFilters, StyleLoss, TopologyAwareLoss, TotalVariation, TotalVariationLoss, Vgg,
        VggKind, f_gram_matrix, gram_matrix, weights,
    },
};

/// A filled network in Double.
fn vgg(kind: VggKind, layers: &[&str], range: ImageRange) -> Vgg {
    let mut vs = VarStore::new(device());
    let vgg = Vgg::f_new(&vs.root(), kind, layers, range).unwrap();
    vs.set_kind(Kind::Double);
    fill(&vs, "");
    vgg
}

fn forward(loss: &dyn Loss, case: &Case) -> Tensor {
    loss.forward(case.get("input"), case.get("target"))
}

#[test]
fn as_torchvision_lpips_kornia_and_the_rest() {
    let fixture = Fixture::open("perceptual");
    let both = [Kind::Double, Kind::Float];
    for kind in [VggKind::Vgg16, VggKind::Vgg16Bn, VggKind::Vgg19, VggKind::Vgg19Bn] {
        let norm = matches!(kind, VggKind::Vgg16Bn | VggKind::Vgg19Bn).then_some("bn1_2");
        let layers = ["conv1_1"]
            .into_iter()
            .chain(norm)
            .chain(["relu1_2", "pool2", "conv3_3", "relu4_2", "block5"]);
        let net = vgg(kind, &layers.collect::<Vec<_>>(), ImageRange::Unit);
        fixture.parity_within(&format!("maps_{}", kind.name()), &["input"], &both, deep, |case| {
            projected(&net.f_features(case.get("input")).unwrap())
        });
    }

    let layers = ["relu1_2", "relu2_2", "relu3_3"];
    let net = || vgg(VggKind::Vgg16, &layers, ImageRange::Unit);
    let weights = [1.0, 0.5, 2.0];
    for (distance, form) in
        [("squared_l2", FeatureDistance::SquaredL2), ("l1", FeatureDistance::L1)]
    {
        for (name, reduction) in [("mean", Reduction::Mean), ("none", Reduction::None)] {
            let loss = PerceptualLoss::new(net())
                .layer_weights(weights)
                .distance(form)
                .reduction(reduction);
            let case = format!("perceptual_{distance}_{name}");
            // An absolute value has a kink that Float may be on the other side of.
            let kinds = if form == FeatureDistance::L1 { &both[..1] } else { &both[..] };
            fixture.parity_within(&case, &["input"], kinds, deep, |case| forward(&loss, case));
        }
    }
    for (name, norm) in
        [("normalised", GramNorm::Normalised), ("gatys", GramNorm::Gatys), ("raw", GramNorm::Raw)]
    {
        let loss = StyleLoss::new(net()).layer_weights(weights).norm(norm);
        fixture.parity_within(&format!("style_{name}"), &["input"], &both, deep, |case| {
            forward(&loss, case)
        });
    }
    let seen = vgg(VggKind::Vgg19, &["relu1_2", "relu2_2", "relu3_4"], ImageRange::Unit);
    let topology = TopologyAwareLoss::new(seen).mu(0.3);
    fixture
        .parity_within("topology_aware", &["input"], &both, deep, |case| forward(&topology, case));

    for (name, net) in [("alex", LpipsNet::Alex), ("vgg", LpipsNet::Vgg)] {
        fixture.parity_within(&format!("lpips_{name}"), &["input"], &both, deep, |case| {
            let mut vs = VarStore::new(device());
            let loss = LpipsLoss::f_new(&vs.root(), net, ImageRange::Symmetric).unwrap();
            vs.set_kind(Kind::Double);
            fill(&vs, "trunk");
            for (i, variable) in
                (0..5).map(|i| (i, vs.variables()[&format!("lin.{i}.weight")].shallow_clone()))
            {
                tch::no_grad(|| variable.shallow_clone().copy_(case.get(&format!("lin{i}"))));
            }
            let large = |x: &Tensor| match net {
                LpipsNet::Alex => {
                    x.repeat_interleave_self_int(5, 2, None).repeat_interleave_self_int(5, 3, None)
                }
                LpipsNet::Vgg => x.shallow_clone(),
            };
            loss.reduction(Reduction::None)
                .forward(&large(case.get("input")), &large(case.get("target")))
        });
    }

    let tv = |name: &str, loss: TotalVariationLoss| {
        fixture.parity(&format!("tv_{name}"), &["input"], |case| loss.forward(case.get("input")));
    };
    let plain = TotalVariationLoss::default();
    tv("torchmetrics", plain.clone().reduction(Reduction::None));
    tv("piq", plain.clone());
    tv("kornia", plain.clone().per_pixel(true));
    for beta in [1.0, 1.5, 2.0] {
        let loss = plain.clone().form(TotalVariation::Isotropic).beta(beta);
        tv(&format!("isotropic_{beta:.1}"), loss);
    }
    for (name, filter) in [
        ("sobel", EdgeFilter::Sobel),
        ("laplacian", EdgeFilter::Laplacian),
        ("difference", EdgeFilter::Difference),
    ] {
        let loss = EdgeLoss::default().filter(filter);
        fixture.parity(&format!("edge_{name}"), &["input"], |case| forward(&loss, case));
    }
    let plain = FocalFrequencyLoss::default();
    for (name, loss) in [
        ("plain", plain.clone()),
        ("alpha", plain.clone().alpha(0.5)),
        ("patches", plain.clone().patch_factor(2)),
        ("average", plain.clone().average_spectrum(true)),
        ("log", plain.clone().log_matrix(true)),
        ("batch", plain.clone().batch_matrix(true)),
    ] {
        fixture.parity(&format!("focal_frequency_{name}"), &["input"], |case| forward(&loss, case));
    }
    fixture.finish();
}

/// Two small smooth layers of a network.
fn small() -> FnExtractor<impl Fn(&Tensor) -> Result<Vec<Tensor>, LossError>> {
    FnExtractor::new("small", |x: &Tensor| {
        let kernel = |outputs: i64, inputs: i64, seed: f64| {
            let size = [outputs, inputs, 3, 3];
            numbers(&size, seed).to_kind(x.kind()).to_device(x.device()) * 0.3
        };
        let first = x
            .f_conv2d(&kernel(4, x.size()[1], 1.0), None::<Tensor>, [1, 1], [1, 1], [1, 1], 1)?
            .f_tanh()?;
        let second = first
            .f_conv2d(&kernel(5, 4, 2.0), None::<Tensor>, [2, 2], [1, 1], [1, 1], 1)?
            .f_tanh()?;
        Ok(vec![first, second])
    })
}

#[test]
fn gradients_agree_with_differences() {
    let (x, t) = (rand(1, &[2, 3, 5, 4], Kind::Double), rand(2, &[2, 3, 5, 4], Kind::Double));
    let perceptual = PerceptualLoss::new(small()).layer_weights([0.5, 2.0]);
    gradcheck("perceptual", &[x.copy()], |i| perceptual.forward(&i[0], &t));
    gradgradcheck("perceptual", &[x.copy()], |i| perceptual.forward(&i[0], &t));
    for norm in [GramNorm::Normalised, GramNorm::Gatys, GramNorm::Raw] {
        let style = StyleLoss::new(small()).norm(norm);
        gradcheck("style", &[x.copy()], |i| style.forward(&i[0], &t));
    }
    gradcheck("gram", &[x.copy()], |i| gram_matrix(&i[0], GramNorm::Normalised));
    let (logits, mask) =
        (randn(3, &[2, 1, 5, 4], Kind::Double), rand(4, &[2, 1, 5, 4], Kind::Double).gt(0.5));
    let topology = TopologyAwareLoss::new(small());
    gradcheck("topology", &[logits], |i| topology.forward(&i[0], &mask));
    let isotropic = TotalVariationLoss::default().form(TotalVariation::Isotropic).eps(0.1);
    for loss in
        [TotalVariationLoss::default(), isotropic.clone(), isotropic.beta(1.5).per_pixel(true)]
    {
        gradcheck("total variation", &[x.copy()], |i| loss.forward(&i[0]));
    }
    for filter in [EdgeFilter::Sobel, EdgeFilter::Difference, EdgeFilter::Laplacian] {
        let edge = EdgeLoss::default().filter(filter).eps(0.1);
        gradcheck("edge", &[x.copy(), t.copy()], |i| edge.forward(&i[0], &i[1]));
        gradgradcheck("edge", &[x.copy()], |i| edge.forward(&i[0], &t));
    }
    // The weight of a frequency is a constant, which α = 0 makes true of the differences too.
    let frequency = FocalFrequencyLoss::default().alpha(0.0);
    gradcheck("focal frequency", &[x.copy(), t.copy()], |i| frequency.forward(&i[0], &i[1]));
}

#[test]
fn nothing_differs_from_itself() {
    for kind in KINDS {
        let x = rand(5, &[2, 3, 8, 8], kind);
        let (style, perceptual) = (StyleLoss::new(small()), PerceptualLoss::new(small()));
        let frequency = FocalFrequencyLoss::default();
        for (name, loss) in [
            ("style", &style as &dyn Loss),
            ("perceptual", &perceptual),
            ("focal frequency", &frequency),
        ] {
            let (value, grad) = value_and_grad(&x, |i| loss.forward(i, &x));
            assert_value(&format!("{name} {kind:?}"), &value, 0.0, 0.0);
            assert_value(&format!("{name} {kind:?}"), &grad.abs().max(), 0.0, 0.0);
            assert_eq!(grad.kind(), kind);
        }
    }
}

#[test]
fn kept_features_give_the_same_loss_and_the_target_gets_no_gradient() {
    let (x, t) =
        (rand(6, &[2, 3, 6, 6], Kind::Double), common::leaf(&rand(7, &[2, 3, 6, 6], Kind::Double)));
    let perceptual = PerceptualLoss::new(small());
    let kept = perceptual.f_features(&t).unwrap();
    assert!(kept.maps().iter().all(|map| !map.requires_grad()));
    let x = common::leaf(&x);
    let value = perceptual.forward(&x, &t);
    assert_close("kept", &perceptual.forward_with(&x, &kept), &value, (0.0, 0.0));
    value.backward();
    assert!(x.grad().defined() && !t.grad().defined());
    let style = StyleLoss::new(small());
    let kept = style.f_features(&t).unwrap();
    assert_close("style", &style.forward_with(&x, &kept), &style.forward(&x, &t), (0.0, 0.0));
}

#[test]
fn content_and_style_are_the_two_losses_of_one_pass() {
    let [x, content, style] = [8, 9, 10].map(|seed| rand(seed, &[1, 3, 8, 6], Kind::Double));
    let both = ContentStyleLoss::new(small())
        .alpha(2.0)
        .beta(30.0)
        .content_layers([1])
        .style_layers([0, 1])
        .style_weights([0.2, 0.8]);
    let targets = both.f_targets(&content, &style).unwrap();
    let parts = both.forward(&x, &targets);
    let last =
        FnExtractor::new("last", |x: &Tensor| Ok(vec![small().f_features(x)?.swap_remove(1)]));
    let expected_content = PerceptualLoss::new(last).forward(&x, &content);
    let expected_style = StyleLoss::new(small()).layer_weights([0.2, 0.8]).forward(&x, &style);
    assert_close("content", &parts.content, &expected_content, (1e-12, 0.0));
    assert_close("style", &parts.style, &expected_style, (1e-12, 0.0));
    let total = expected_content * 2.0 + expected_style * 30.0;
    assert_close("total", &parts.total, &total, (1e-12, 0.0));
    let one = both.forward(&x, &both.f_targets(&content, &content).unwrap());
    let two = both.forward(&x, &both.f_targets(&content, &content.copy()).unwrap());
    assert_close("one picture for both", &one.total, &two.total, (0.0, 0.0));
    let error = both.content_layers([2]).f_targets(&content, &style).unwrap_err().to_string();
    assert!(error.contains("got 2 of 2"), "{error}");
}

#[test]
fn style_forgets_where_things_are_and_how_large_the_picture_is() {
    let pixels = || FnExtractor::new("pixels", |x: &Tensor| Ok(vec![x.shallow_clone()]));
    let x = rand(11, &[1, 3, 6, 5], Kind::Double);
    let order = Tensor::from_slice(&[
        29i64, 3, 0, 17, 5, 11, 1, 2, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22,
        23, 24, 25, 26, 27, 28,
    ])
    .to_device(device());
    let shuffled = x.view([1, 3, 30]).index_select(2, &order).view([1, 3, 5, 6]);
    let twice = Tensor::cat(&[&x, &x], 3);
    let loss = StyleLoss::new(pixels());
    assert_value("shuffled", &loss.forward(&x, &shuffled), 0.0, 1e-20);
    assert_value("twice the picture", &loss.forward(&x, &twice), 0.0, 1e-20);
}

#[test]
fn random_filters_turn_the_gradient_back() {
    let filters = || RandomFilters::default().sizes([1, 3, 5]).channels(3).seed(5);
    let (x, t) = (rand(24, &[2, 3, 5, 4], Kind::Double), rand(25, &[2, 3, 5, 4], Kind::Double));
    let perceptual = PerceptualLoss::new(filters());
    gradcheck("random filters", &[x.copy()], |i| perceptual.forward(&i[0], &t));
    let style = StyleLoss::new(filters());
    gradcheck("style by random filters", &[x], |i| style.forward(&i[0], &t));
}

#[test]
fn random_filters_are_convolutions_of_a_picture_that_goes_on_by_reflection() {
    let filters = RandomFilters::default().sizes([3, 5]).channels(2).range(ImageRange::Normalised);
    let x = randn(26, &[1, 3, 4, 6], Kind::Double);
    let wider = x.reflection_pad2d([2, 2, 2, 2]);
    let (maps, inside) = (filters.f_features(&x).unwrap(), filters.f_features(&wider).unwrap());
    for (map, inside) in maps.iter().zip(&inside) {
        let middle = inside.narrow(2, 2, 4).narrow(3, 2, 6);
        assert_close("reflected", map, &middle, (1e-12, 1e-12));
        assert!(map.min().double_value(&[]) == 0.0 && map.max().double_value(&[]) > 0.0);
    }
    // Linear but for the ReLU: what is cut off of x is what is left of -x.
    let (double, less) =
        (filters.f_features(&(&x * 2.0)).unwrap(), filters.f_features(&-&x).unwrap());
    assert_close("scaled", &double[1], &(&maps[1] * 2.0), (1e-12, 1e-12));
    assert_value("both signs", &(&maps[1] * &less[1]).max(), 0.0, 0.0);
}

#[test]
fn every_range_is_the_same_picture() {
    let x = rand(12, &[1, 3, 8, 8], Kind::Double);
    let maps = |range, x: &Tensor| {
        vgg(VggKind::Vgg16, &["relu2_1"], range).f_features(x).unwrap().remove(0)
    };
    let unit = maps(ImageRange::Unit, &x);
    for (range, x) in [(ImageRange::Symmetric, &x * 2.0 - 1.0), (ImageRange::Bytes, &x * 255.0)] {
        assert_close(&format!("{range:?}"), &maps(range, &x), &unit, (1e-9, 1e-9));
    }
    let average = vgg(VggKind::Vgg16, &["pool1"], ImageRange::Unit).pooling(Pooling::Average);
    let whole =
        vgg(VggKind::Vgg16, &["relu1_2"], ImageRange::Unit).f_features(&x).unwrap().remove(0);
    let expected = whole.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
    assert_close("average", &average.f_features(&x).unwrap()[0], &expected, (1e-12, 1e-12));
}

#[test]
fn half_kinds_give_the_float_answer_in_float() {
    for kind in [Kind::Half, Kind::BFloat16] {
        // Large raw Gram matrices, which Half cannot hold.
        let (x, t) = (rand(13, &[1, 3, 64, 64], kind) * 8.0, rand(14, &[1, 3, 64, 64], kind));
        let exact = |t: &Tensor| t.to_kind(Kind::Double);
        let pixels = || FnExtractor::new("pixels", |x: &Tensor| Ok(vec![x.shallow_clone()]));
        let style = StyleLoss::new(pixels()).norm(GramNorm::Gatys);
        let perceptual = PerceptualLoss::new(pixels());
        let edge = EdgeLoss::default();
        for (name, loss) in
            [("style", &style as &dyn Loss), ("perceptual", &perceptual), ("edge", &edge)]
        {
            let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &t));
            assert_eq!(value.kind(), Kind::Float, "{name}");
            assert_close(name, &value, &loss.forward(&exact(&x), &exact(&t)), (1e-4, 1e-6));
            assert_finite(name, &grad);
        }
        let tv = TotalVariationLoss::default();
        assert_close("tv", &tv.forward(&x), &tv.forward(&exact(&x)), (1e-4, 1e-4));
    }
}

#[test]
fn flat_and_empty_images_have_finite_gradients() {
    for kind in KINDS {
        let flat = rand(15, &[2, 3, 4, 4], kind) * 0.0 + 0.5;
        for loss in [
            TotalVariationLoss::default(),
            TotalVariationLoss::default().form(TotalVariation::Isotropic),
        ] {
            for x in [
                flat.copy(),
                flat.narrow(0, 0, 0),
                flat.narrow(2, 0, 1).narrow(3, 0, 1),
                flat.narrow(3, 0, 0),
            ] {
                let (value, grad) = value_and_grad(&x, |x| loss.forward(x));
                assert_value(&format!("{kind:?} {:?}", x.size()), &value, 0.0, 1e-6);
                assert_finite(&format!("{kind:?}"), &grad);
            }
        }
        let none = flat.narrow(0, 0, 0);
        for loss in [&EdgeLoss::default() as &dyn Loss, &FocalFrequencyLoss::default()] {
            let (value, grad) = value_and_grad(&none, |x| loss.forward(x, &none));
            assert_value("empty", &value, 0.0, 0.0);
            assert_finite("empty", &grad);
        }
    }
    // Features that are 0 in every channel of a pixel.
    let vs = VarStore::new(device());
    let lpips = LpipsLoss::f_new(&vs.root(), LpipsNet::Vgg, ImageRange::Normalised).unwrap();
    let black = Tensor::zeros([1, 3, 16, 16], (Kind::Float, device()));
    let other = rand(16, &[1, 3, 16, 16], Kind::Float);
    let (value, grad) = value_and_grad(&black, |x| lpips.forward(x, &other));
    assert!(value.double_value(&[]) > 0.0);
    assert_finite("lpips", &grad);
}

#[test]
fn an_edge_weight_of_zero_leaves_a_pixel_out() {
    let (x, t) = (rand(17, &[1, 1, 4, 4], Kind::Double), rand(18, &[1, 1, 4, 4], Kind::Double));
    let mask = tensor(&[1.0, 1.0, 0.0, 0.0], &[4]);
    let loss = EdgeLoss::default().filter(EdgeFilter::Difference);
    let each = loss.clone().reduction(Reduction::None).forward(&x, &t);
    let expected = each.narrow(4, 0, 2).mean(None);
    assert_close("masked", &loss.forward_weighted(&x, &t, &mask), &expected, (1e-12, 0.0));
    let nothing = loss.forward_weighted(&x, &t, &mask.zeros_like());
    assert_value("nothing counts", &nothing, 0.0, 0.0);
}

#[test]
fn weights_are_loaded_in_full_or_not_at_all() {
    let folder = std::env::temp_dir().join(format!("tch-losses-weights-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("vgg16.safetensors");
    let make = |layers: &[&str]| {
        let vs = VarStore::new(device());
        drop(Vgg::f_new(&vs.root(), VggKind::Vgg16, layers, ImageRange::Unit).unwrap());
        vs
    };
    let mut shallow = make(&["relu1_1"]);
    let text = |result: Result<(), LossError>| result.unwrap_err().to_string();
    let missing = text(weights::f_load(&mut shallow, &path, false));
    assert!(missing.contains("vgg16.safetensors: there is no such file; make it with: python scripts/export_weights.py vgg16"), "{missing}");

    let deep = make(&["relu1_2"]);
    fill(&deep, "");
    deep.save(&path).unwrap();
    let before = shallow.variables()["features.0.weight"].copy();
    let left = text(weights::f_load(&mut shallow, &path, false));
    assert!(left.contains("has too much: features.2.bias, features.2.weight"), "{left}");
    let untouched = &shallow.variables()["features.0.weight"];
    assert_close("untouched", untouched, &before, (0.0, 0.0));
    weights::f_load(&mut shallow, &path, true).unwrap();
    let loaded = &shallow.variables()["features.0.weight"];
    assert_close("loaded", loaded, &deep.variables()["features.0.weight"], (0.0, 0.0));

    let lacks = text(weights::f_load(&mut make(&["relu2_2"]), &path, true));
    assert!(lacks.contains("lacks features.5.bias, features.5.weight"), "{lacks}");
    let wrong = vec![
        ("features.0.weight", Tensor::zeros([64, 1, 3, 3], (Kind::Float, tch::Device::Cpu))),
        ("features.0.bias", Tensor::zeros([64], (Kind::Int64, tch::Device::Cpu))),
    ];
    Tensor::write_safetensors(&wrong, &path).unwrap();
    let wrong = text(weights::f_load(&mut shallow, &path, true));
    assert!(wrong.contains("features.0.weight is [64, 1, 3, 3], not [64, 3, 3, 3]"), "{wrong}");
    assert!(wrong.contains("features.0.bias is of Int64 kind"), "{wrong}");
    std::fs::write(&path, b"no weights").unwrap();
    assert!(text(weights::f_load(&mut shallow, &path, true)).contains("vgg16.safetensors"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn errors_say_what_was_expected() {
    let vs = VarStore::new(device());
    let new = |layers: &[&str]| {
        Vgg::f_new(&vs.root(), VggKind::Vgg16, layers, ImageRange::Unit).unwrap_err().to_string()
    };
    assert!(new(&["relu3_4"]).contains("got relu3_4, which vgg16 does not have"));
    assert!(new(&["block6"]).contains("block6"));
    assert!(new(&[]).contains("at least one"));
    assert!(new(&["relu2_1", "relu1_1"]).contains("from the first to the last"));
    let net = vgg(VggKind::Vgg16, &["pool3"], ImageRange::Unit);
    let maps =
        |size: &[i64]| net.f_features(&rand(19, size, Kind::Double)).unwrap_err().to_string();
    assert!(
        maps(&[1, 1, 8, 8]).contains("expected images of shape [N, 3, H, W], got [1, 1, 8, 8]")
    );
    assert!(maps(&[1, 3, 7, 8]).contains("at least 8, got [1, 3, 7, 8]"));
    let filters = |sizes: &[i64], channels, images: &[i64]| {
        let filters = RandomFilters::default().sizes(sizes).channels(channels);
        filters.f_features(&rand(27, images, Kind::Double)).unwrap_err().to_string()
    };
    assert!(filters(&[], 1, &[1, 3, 8, 8]).contains("sizes"));
    for sizes in [[2, 3], [3, 3], [5, 3], [-1, 3]] {
        let said = filters(&sizes, 1, &[1, 3, 8, 8]);
        assert!(said.starts_with("RandomFilters: expected sizes"), "{said}");
    }
    assert!(filters(&[3], 0, &[1, 3, 8, 8]).contains("channels"));
    assert!(filters(&[3, 9], 1, &[1, 3, 8, 4]).contains("above 4, got [1, 3, 8, 4]"));
    assert!(filters(&[3], 1, &[1, 1, 8, 8]).contains("[N, 3, H, W]"));
    let (x, t) = (rand(20, &[1, 3, 8, 8], Kind::Double), rand(21, &[1, 3, 8, 9], Kind::Double));
    let perceptual = PerceptualLoss::new(small());
    let said = perceptual.f_forward(&x, &t).unwrap_err().to_string();
    assert_eq!(said, "PerceptualLoss: expected target of shape [1, 3, 8, 8], got [1, 3, 8, 9]");
    let said = perceptual.layer_weights([1.0]).f_forward(&x, &x).unwrap_err().to_string();
    assert!(said.contains("got [1.0] for 2 layers"), "{said}");
    let said = StyleLoss::new(small())
        .f_forward(&x, &rand(22, &[2, 3, 8, 8], Kind::Double))
        .unwrap_err()
        .to_string();
    assert!(said.contains("the input's images and channels"), "{said}");
    assert!(f_gram_matrix(&x.view([3, 64]), GramNorm::Raw).is_err());
    assert!(TotalVariationLoss::default().eps(0.0).f_forward(&x).is_err());
    assert!(TotalVariationLoss::default().f_forward(&x.get(0)).is_err());
    assert!(EdgeLoss::default().eps(f64::NAN).f_forward(&x, &x).is_err());
    let said =
        FocalFrequencyLoss::default().patch_factor(3).f_forward(&x, &x).unwrap_err().to_string();
    assert!(said.contains("a divisor of both sides, got 3"), "{said}");
    let refusing =
        FnExtractor::new("mine", |_: &Tensor| Err(LossError::Other("no weights".into())));
    let said = PerceptualLoss::new(refusing).f_forward(&x, &x).unwrap_err().to_string();
    assert_eq!(said, "mine: no weights");
    let panicked =
        std::panic::catch_unwind(|| gram_matrix(&rand(23, &[2, 2], Kind::Double), GramNorm::Raw));
    assert!(panicked.is_err());
}
