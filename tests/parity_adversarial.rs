//! GAN objectives, penalties, spectral normalisation, objectives of whole models and guidance against
//! PyTorch and derivations in `scripts/fixtures/adversarial.py`.

mod common;

use common::*;
use tch::{Kind, Tensor, nn};
use tch_losses::{
    BceGanLoss, GanLoss, HingeGanLoss, LeastSquaresGanLoss, Loss, MinMaxGanLoss,
    NonSaturatingGanLoss, Reduction, RelativisticGanLoss, WassersteinGanLoss,
    adversarial::{
        Against, AlphaGanLoss, CycleBatch, CycleConsistencyLoss, CycleGanLoss, DraganPenalty,
        FeatureMatchingLoss, Halve, LatentAnchorLoss, LayerMatchingLoss, PathLengthPenalty,
        Pix2PixLoss, PromptLoss, R1Penalty, R2Penalty, RelativisticCost, SpectralLayer,
        SphericalDistanceLoss, VaeGanLoss, spectral_conv_transpose2d, spectral_conv2d,
        spectral_linear,
    },
};

#[test]
fn the_family_matches() {
    let fixture = Fixture::open("adversarial");
    objectives(&fixture);
    penalties(&fixture);
    path_length(&fixture);
    spectral(&fixture);
    features(&fixture);
    models(&fixture);
    guidance(&fixture);
    fixture.finish();
}

fn objectives(fixture: &Fixture) {
    let least_squares = || LeastSquaresGanLoss::default();
    let pairs = |cost| RelativisticGanLoss::rpgan().cost(cost);
    for (name, reduction) in
        [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)]
    {
        let check = |objective: &str, gan: &dyn GanLoss| {
            fixture.parity(&format!("{objective}_{name}"), &["real", "fake"], |c| {
                let (real, fake) = (c.get("real"), c.get("fake"));
                let real_of_g = gan.needs_real().then_some(real);
                Tensor::stack(&[gan.discriminator(real, fake), gan.generator(real_of_g, fake)], 0)
            });
        };
        let labels = BceGanLoss::default()
            .real_label(0.85)
            .fake_label(0.2)
            .generator_label(0.7)
            .halve(Halve::Both);
        let halved = RelativisticGanLoss::rasgan().halve(Halve::Both);
        check("minmax", &MinMaxGanLoss::default().reduction(reduction));
        check("non_saturating", &NonSaturatingGanLoss::default().reduction(reduction));
        check("bce", &BceGanLoss::default().reduction(reduction));
        check("bce_one_sided", &BceGanLoss::default().real_label(0.9).reduction(reduction));
        check("bce_labels", &labels.reduction(reduction));
        check("bce_pix2pix", &BceGanLoss::pix2pix().reduction(reduction));
        check("least_squares", &least_squares().reduction(reduction));
        check("least_squares_abc", &least_squares().a(-1.0).b(1.5).c(0.25).reduction(reduction));
        check("least_squares_cyclegan", &LeastSquaresGanLoss::cyclegan().reduction(reduction));
        check("least_squares_basicsr", &LeastSquaresGanLoss::basicsr().reduction(reduction));
        check("wasserstein", &WassersteinGanLoss::default().reduction(reduction));
        check("hinge", &HingeGanLoss::default().reduction(reduction));
        check("average_logistic", &RelativisticGanLoss::rasgan().reduction(reduction));
        check("average_least_squares", &RelativisticGanLoss::ralsgan().reduction(reduction));
        check("average_hinge", &RelativisticGanLoss::rahinge().reduction(reduction));
        check("average_halved", &halved.reduction(reduction));
        check("pairs_logistic", &RelativisticGanLoss::rpgan().reduction(reduction));
        check("pairs_least_squares", &pairs(RelativisticCost::LeastSquares).reduction(reduction));
        let hinge = RelativisticGanLoss::rahinge().against(Against::Pairs);
        check("pairs_hinge", &hinge.reduction(reduction));
    }
}

fn critic(name: &str, act: &str, c: &Case, x: &Tensor) -> Tensor {
    let act = |z: Tensor| if act == "tanh" { z.tanh() } else { z.maximum(&(&z * 0.2)) };
    let none = None::<&Tensor>;
    match name {
        "mlp" => act(x.matmul(&c.get("w1").tr()) + c.get("b1")).matmul(&c.get("w2").tr()),
        _ => act(x.conv2d(c.get("w1"), Some(c.get("b1")), 2, 1, 1, 1)).conv2d(
            c.get("w2"),
            none,
            1,
            0,
            1,
            1,
        ),
    }
}

fn penalties(fixture: &Fixture) {
    for name in ["mlp", "conv"] {
        for act in ["tanh", "leaky_relu"] {
            // The slopes of a piecewise linear critic do not depend on its bias.
            let differentiated: &[_] =
                if act == "tanh" { &["w1", "b1", "w2"] } else { &["w1", "w2"] };
            let check = |variant: &str, penalty: &dyn Fn(&Case) -> Tensor| {
                fixture.parity(&format!("{variant}_{name}_{act}"), differentiated, penalty);
            };
            check("r1", &|c| {
                R1Penalty::default().forward(|x| critic(name, act, c, x), c.get("real"))
            });
            check("r1_whole", &|c| {
                let r2 = R2Penalty::default().gamma(0.7).halve(false);
                r2.forward(|x| critic(name, act, c, x), c.get("real"))
            });
            let dragan = |penalty: DraganPenalty, c: &Case| {
                let critic = |x: &Tensor| critic(name, act, c, x);
                penalty.forward_with_noise(critic, c.get("real"), c.get("noise"))
            };
            check("dragan", &|c| dragan(DraganPenalty::default(), c));
            check("dragan_options", &|c| {
                dragan(DraganPenalty::default().lambda(2.5).target(0.3), c)
            });
        }
    }
}

fn path_length(fixture: &Fixture) {
    for name in ["flat", "layers"] {
        fixture.parity(&format!("path_length_{name}"), &["mapping", "kernel"], |c| {
            let mut paths = PathLengthPenalty::default().weight(1.5).decay(0.1);
            let mut values: Vec<Tensor> = (0..2)
                .map(|call| {
                    let latents = leaf(c.get("latents"));
                    let mut styles = latents.matmul(c.get("mapping")).tanh();
                    if name == "layers" {
                        styles = styles.mean_dim(1, false, None::<Kind>);
                    }
                    let images = styles.matmul(c.get("kernel")).view([3, 2, 3, 2]);
                    paths.forward_with_noise(&images, &latents, &c.get("noise").get(call))
                })
                .collect();
            values.push(paths.average().unwrap());
            Tensor::stack(&values, 0)
        });
    }
}

fn spectral(fixture: &Fixture) {
    type Make = fn(&nn::VarStore) -> SpectralLayer;
    let layers: [(&str, Make); 4] = [
        ("linear", |vs| spectral_linear(vs.root(), 5, 4, Default::default())),
        ("conv", |vs| {
            let config = nn::ConvConfig { stride: 2, padding: 1, groups: 2, ..Default::default() };
            spectral_conv2d(vs.root(), 4, 6, 3, config)
        }),
        ("conv_reflect", |vs| {
            let padding_mode = nn::PaddingMode::Reflect;
            let config = nn::ConvConfig { padding: 1, padding_mode, ..nn::no_bias() };
            spectral_conv2d(vs.root(), 2, 3, 3, config)
        }),
        ("conv_transpose", |vs| {
            let config = nn::ConvTransposeConfig {
                stride: 2,
                padding: 1,
                output_padding: 1,
                groups: 2,
                ..Default::default()
            };
            spectral_conv_transpose2d(vs.root(), 4, 6, 3, config)
        }),
    ];
    for (name, make) in layers {
        let differentiated: &[_] =
            if name == "conv_reflect" { &["weight", "x"] } else { &["weight", "bias", "x"] };
        fixture.parity(&format!("spectral_{name}"), differentiated, |c| {
            let mut vs = nn::VarStore::new(device());
            let mut layer = make(&vs);
            vs.set_kind(c.get("x").kind());
            layer.ws = c.get("weight").shallow_clone();
            if layer.bs.is_some() {
                layer.bs = Some(c.get("bias").shallow_clone());
            }
            let buffer = |name: &str| {
                vs.variables().remove(&format!("parametrizations.weight.0._{name}")).unwrap()
            };
            buffer("u").copy_(c.get("u"));
            buffer("v").copy_(c.get("v"));
            let x = c.get("x");
            let pass = |x: &Tensor, train| layer.f_forward_t(x, train).unwrap();
            let value = Tensor::stack(&[pass(x, true), pass(&(x * 2.0), true), pass(x, false)], 0);
            for name in ["u", "v"] {
                let (got, after) = (buffer(name), c.get(&format!("{name}_after")));
                assert_close(name, &got, after, tolerance(got.kind()));
            }
            value
        });
    }
    // Three steps of the power method a pass.
    fixture.parity("spectral_linear_three_steps", &["weight", "bias", "x"], |c| {
        use tch_losses::adversarial::{SpectralNorm, SpectralNormConfig};
        let vs = nn::VarStore::new(device());
        let config = SpectralNormConfig { n_power_iterations: 3, ..Default::default() };
        let norm = SpectralNorm::new(vs.root(), c.get("weight"), config);
        for name in ["u", "v"] {
            vs.variables().remove(&format!("_{name}")).unwrap().copy_(c.get(name));
        }
        let (x, bias) = (c.get("x"), Some(c.get("bias")));
        let pass = |x: &Tensor, train| x.linear(&norm.forward_t(c.get("weight"), train), bias);
        Tensor::stack(&[pass(x, true), pass(&(x * 2.0), true), pass(x, false)], 0)
    });
}

fn features(fixture: &Fixture) {
    let check = |name: &str, loss: FeatureMatchingLoss| {
        fixture.parity(name, &["fake"], |c| loss.forward(c.get("fake"), c.get("real")));
    };
    check("feature_matching", FeatureMatchingLoss::default());
    check("feature_matching_salimans", FeatureMatchingLoss::salimans());
    check("feature_matching_none", FeatureMatchingLoss::default().reduction(Reduction::None));
    let check = |name: &str, loss: LayerMatchingLoss| {
        fixture.parity(name, &["fake_0", "fake_1"], |c| {
            let [fake, real] = ["fake", "real"]
                .map(|of| [0, 1].map(|layer| c.get(&format!("{of}_{layer}")).shallow_clone()));
            loss.forward(&fake, &real)
        });
    };
    check("layer_matching", LayerMatchingLoss::default());
    let weights = LayerMatchingLoss::default().lambda(3.0).weights(vec![0.25, 1.5]);
    check("layer_matching_weights", weights);
}

fn models(fixture: &Fixture) {
    let differentiated = ["cycled_a", "cycled_b", "same_a", "same_b", "scores_a", "scores_b"];
    fixture.parity("cycle_gan", &differentiated, |c| {
        let loss = CycleGanLoss::default().lambda_a(8.0).lambda_b(12.0).lambda_identity(0.25);
        let both = |name: &str| ["a", "b"].map(|side| c.get(&format!("{name}_{side}")));
        let batch = CycleBatch {
            real: both("real"),
            cycled: both("cycled"),
            same: Some(both("same")),
            fake_scores: both("scores"),
            real_scores: None,
        };
        loss.forward(&batch).total
    });
    fixture.parity("cycle_consistency", &["cycled_a", "cycled_b"], |c| {
        let both = |name: &str| ["a", "b"].map(|side| c.get(&format!("{name}_{side}")));
        CycleConsistencyLoss::default().forward(both("real"), both("cycled"))
    });
    fixture.parity("pix2pix", &["made", "scores"], |c| {
        let loss = Pix2PixLoss::default();
        loss.forward(c.get("made"), c.get("target"), None, c.get("scores")).total
    });

    let alpha = AlphaGanLoss::default().lambda(4.0);
    let three = ["real", "reconstructed", "generated"];
    fixture.parity("alpha_gan_discriminator", &three, |c| {
        alpha.discriminator(c.get(three[0]), c.get(three[1]), c.get(three[2]))
    });
    fixture.parity("alpha_gan_code", &["prior", "encoded"], |c| {
        alpha.code_discriminator(c.get("prior"), c.get("encoded"))
    });
    fixture.parity("alpha_gan_generator", &["made", "reconstructed", "generated"], |c| {
        let scores = (c.get("reconstructed"), c.get("generated"));
        alpha.generator(c.get("image"), c.get("made"), scores.0, scores.1).total
    });
    fixture.parity("alpha_gan_encoder", &["made", "encoded"], |c| {
        alpha.encoder(c.get("image"), c.get("made"), c.get("encoded")).total
    });

    let vae = VaeGanLoss::default().gamma(0.3);
    fixture.parity("vae_gan_encoder", &["mean", "log_variance", "features"], |c| {
        let (made, real) = (c.get("features"), c.get("real"));
        vae.encoder(c.get("mean"), c.get("log_variance"), made, real).total
    });
    for (name, vae) in [("", vae), ("_non_saturating", vae.non_saturating(true))] {
        let differentiated = ["features", "reconstructed", "generated"];
        fixture.parity(&format!("vae_gan_decoder{name}"), &differentiated, |c| {
            let scores = (c.get("reconstructed"), c.get("generated"));
            vae.decoder(c.get("features"), c.get("real"), scores.0, scores.1).total
        });
    }
    fixture.parity("vae_gan_discriminator", &three, |c| {
        vae.discriminator(c.get(three[0]), c.get(three[1]), c.get(three[2]))
    });
}

fn guidance(fixture: &Fixture) {
    for (name, reduction) in
        [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)]
    {
        let loss = SphericalDistanceLoss::default().reduction(reduction);
        fixture.parity(&format!("spherical_{name}"), &["input", "target"], |c| {
            loss.forward(c.get("input"), c.get("target"))
        });
    }
    fixture.parity("spherical_weighted", &["input", "target"], |c| {
        let loss = SphericalDistanceLoss::default();
        loss.forward_weighted(c.get("input"), c.get("target"), c.get("weight"))
    });

    let check = |name: &str, loss: &dyn Fn(&Case) -> PromptLoss| {
        fixture.parity(name, &["input", "target"], |c| {
            loss(c).forward(c.get("input"), c.get("target"))
        });
    };
    let weighted = |c: &Case| PromptLoss::default().prompt_weight(c.get("weight").shallow_clone());
    check("prompt", &|_| PromptLoss::default());
    check("prompt_weight", &weighted);
    check("prompt_stop", &|c| weighted(c).stop(c.get("stop").shallow_clone()));
    check("prompt_average", &|_| {
        PromptLoss::default().average(true).prompt_weight(tensor(&[0.5], &[]))
    });

    let anchor = LatentAnchorLoss::default().init_weight(0.7);
    fixture.parity("latent_anchor", &["z"], |c| anchor.forward(c.get("z"), c.get("start")));
    fixture.parity("latent_anchor_weighted", &["z"], |c| {
        anchor.forward_weighted(c.get("z"), c.get("start"), c.get("weight"))
    });
}
