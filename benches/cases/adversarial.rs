//! Adversarial training: both objectives of a pair, penalties, a spectral layer, and losses of features.

use super::{CPU, Inputs, Job, job as of_pair};
use tch::{Kind, Tensor, nn};
use tch_losses::{
    GanLoss, Loss,
    adversarial::{
        CycleBatch, CycleGanLoss, DraganPenalty, FeatureMatchingLoss, LatentAnchorLoss,
        LayerMatchingLoss, PathLengthPenalty, PromptLoss, R1Penalty, SphericalDistanceLoss,
        VaeGanLoss, gan_by_name, spectral_conv2d,
    },
    loss::Options,
};

/// The case of that name, or nothing for a name that is not there.
pub fn job(case: &str, inputs: &Inputs) -> Option<Job> {
    let size = inputs.size;
    let normal = || inputs.leaf(Tensor::randn(size, CPU));
    let embeddings =
        |loss: Box<dyn Loss>| of_pair(loss, normal(), inputs.put(Tensor::randn(size, CPU)));
    if let Some(name) = case.strip_prefix("gan_") {
        let options =
            if name == "bce" { Options::new().set("real_label", 0.9) } else { Options::new() };
        let gan = gan_by_name(name, &options).ok()?;
        let (real, fake) = (normal(), normal());
        let leaves = vec![real.shallow_clone(), fake.shallow_clone()];
        let forward = move || {
            let of_generator = gan.needs_real().then_some(&real);
            gan.discriminator(&real, &fake) + gan.generator(of_generator, &fake)
        };
        return Some(Job { forward: Box::new(forward), leaves });
    }
    Some(match case {
        "r1" | "dragan" => {
            let (first, second) =
                (inputs.kernel(&[32, size[1], 4, 4]), inputs.kernel(&[64, 32, 4, 4]));
            let leaves = vec![first.shallow_clone(), second.shallow_clone()];
            let [real, noise] = [0, 1].map(|_| inputs.put(Tensor::randn(size, CPU)));
            let critic = move |x: &Tensor| {
                let halved = |x: &Tensor, kernel: &Tensor| {
                    x.conv2d(kernel, None::<Tensor>, 2, 1, 1, 1).leaky_relu()
                };
                halved(&halved(x, &first), &second).mean_dim([1i64, 2, 3].as_slice(), false, None)
            };
            let forward: Box<dyn Fn() -> Tensor> = match case {
                "r1" => Box::new(move || R1Penalty::default().forward(&critic, &real)),
                _ => Box::new(move || {
                    DraganPenalty::default().forward_with_noise(&critic, &real, &noise)
                }),
            };
            Job { forward, leaves }
        }
        "path_length" => {
            let latents = inputs.leaf(Tensor::randn([size[0], 64], CPU));
            let weight = inputs.kernel(&[64, size[1] * size[2] * size[3]]);
            let noise = inputs.put(Tensor::randn(size, CPU));
            let leaves = vec![latents.shallow_clone(), weight.shallow_clone()];
            let size = size.to_vec();
            let forward = move || {
                let images = latents.matmul(&weight).tanh().view(size.as_slice());
                PathLengthPenalty::default().forward_with_noise(&images, &latents, &noise)
            };
            Job { forward: Box::new(forward), leaves }
        }
        "spectral_conv" => {
            let x = inputs.leaf(Tensor::randn(size, CPU));
            let weight = inputs.kernel(&[2 * size[1], size[1], 4, 4]);
            let vs = nn::VarStore::new(inputs.device);
            let config = nn::ConvConfig { stride: 2, padding: 1, ..Default::default() };
            let layer = spectral_conv2d(vs.root(), size[1], 2 * size[1], 4, config);
            // PyTorch's side starts from the same weight and vectors.
            tch::no_grad(|| layer.ws.shallow_clone().copy_(&weight));
            for (name, mut buffer) in vs.variables() {
                if name.ends_with("_u") || name.ends_with("_v") {
                    let length = buffer.numel() as f64;
                    buffer.copy_(&buffer.full_like(1.0 / length.sqrt()));
                }
            }
            let leaves = vec![x.shallow_clone(), layer.ws.shallow_clone()];
            let forward = move || layer.f_forward_t(&x, true).unwrap().square().mean(None::<Kind>);
            Job { forward: Box::new(forward), leaves }
        }
        "feature_matching" => embeddings(Box::<FeatureMatchingLoss>::default()),
        "spherical_distance" => embeddings(Box::<SphericalDistanceLoss>::default()),
        "latent_anchor" => embeddings(Box::<LatentAnchorLoss>::default()),
        "prompt" => {
            let input = normal();
            let target = inputs.put(Tensor::randn([4, size[1]], CPU));
            let weight = inputs.put(Tensor::from_slice(&[1f32, -0.5, 2.0, 1.0]));
            of_pair(PromptLoss::default().prompt_weight(weight), input, target)
        }
        "layer_matching" => {
            let fake = [0, 1, 2, 3].map(|_| normal());
            let real = [0, 1, 2, 3].map(|_| inputs.put(Tensor::randn(size, CPU)));
            let leaves = fake.each_ref().map(Tensor::shallow_clone).into();
            let loss = LayerMatchingLoss::default();
            Job { forward: Box::new(move || loss.forward(&fake, &real)), leaves }
        }
        "cycle_gan" => {
            let made = [0, 1, 2, 3].map(|_| inputs.leaf(Tensor::rand(size, CPU)));
            let real = [0, 1].map(|_| inputs.put(Tensor::rand(size, CPU)));
            let scores = [0, 1].map(|_| inputs.leaf(Tensor::randn([size[0], 1, 30, 30], CPU)));
            let leaves = made.iter().chain(&scores).map(Tensor::shallow_clone).collect();
            let loss = CycleGanLoss::default();
            let forward = move || {
                let batch = CycleBatch {
                    real: [&real[0], &real[1]],
                    cycled: [&made[0], &made[1]],
                    same: Some([&made[2], &made[3]]),
                    fake_scores: [&scores[0], &scores[1]],
                    real_scores: None,
                };
                loss.forward(&batch).total
            };
            Job { forward: Box::new(forward), leaves }
        }
        "vae_gan_encoder" => {
            let features = normal();
            let real = inputs.put(Tensor::randn(size, CPU));
            let [mu, logvar] = [0, 1].map(|_| inputs.leaf(Tensor::randn([size[0], 128], CPU)));
            let leaves = [&features, &mu, &logvar].map(Tensor::shallow_clone).into();
            let loss = VaeGanLoss::default();
            let forward = move || loss.encoder(&mu, &logvar, &features, &real).total;
            Job { forward: Box::new(forward), leaves }
        }
        _ => return None,
    })
}
