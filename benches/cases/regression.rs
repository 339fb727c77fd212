//! Regression losses, norms and losses of variational autoencoders;
//! `scripts/bench_torch_regression.py` has PyTorch's side.

use super::{CPU, Inputs, Job, job};
use tch::{Kind, Tensor};
use tch_losses::{
    BalancedL1Loss, CharbonnierLoss, CosineEmbeddingLoss, CosineSimilarityLoss, GaussianNllLoss,
    HuberLoss, KlStandardNormal, L1Loss, LogCoshLoss, Loss, MapeLoss, MseLoss, MsleLoss,
    PoissonNllLoss, QuantileLoss, Reconstruction, RmseLoss, SmoothL1Loss, VaeLoss,
    detection::YoloBoxLoss,
    regression::{l1_norm, l2_norm, lp_norm},
};

/// The case of that name, or nothing for a name that is not there.
pub fn case(name: &str, inputs: &Inputs) -> Option<Job> {
    let errors = |loss: &dyn Fn() -> Box<dyn Loss>| {
        let input = inputs.logits();
        job(loss(), input, inputs.put(Tensor::randn(inputs.size, CPU)))
    };
    Some(match name {
        "l1" => errors(&|| Box::new(L1Loss::default())),
        "mse" => errors(&|| Box::new(MseLoss::default())),
        "rmse" => errors(&|| Box::new(RmseLoss::default())),
        "huber" => errors(&|| Box::new(HuberLoss::default())),
        "smooth_l1" => errors(&|| Box::new(SmoothL1Loss::default())),
        "log_cosh" => errors(&|| Box::new(LogCoshLoss::default())),
        "charbonnier" => errors(&|| Box::new(CharbonnierLoss::default())),
        "balanced_l1" => errors(&|| Box::new(BalancedL1Loss::default())),
        "quantile" => errors(&|| Box::new(QuantileLoss::default().quantile(0.9))),
        "mape" => errors(&|| Box::new(MapeLoss::default())),
        "msle" => {
            let input = inputs.leaf(Tensor::rand(inputs.size, CPU) * 5.0);
            job(MsleLoss::default(), input, inputs.put(Tensor::rand(inputs.size, CPU) * 5.0))
        }
        "poisson_nll" => {
            let input = inputs.logits();
            let count = Tensor::randint(6, inputs.size, CPU);
            job(PoissonNllLoss::default(), input, inputs.put(count))
        }
        "gaussian_nll" => {
            let input = inputs.logits();
            let target = inputs.put(Tensor::randn(inputs.size, CPU));
            let variance = inputs.leaf(Tensor::rand(inputs.size, CPU) + 0.1);
            let leaves = vec![input.shallow_clone(), variance.shallow_clone()];
            let loss = GaussianNllLoss::default();
            let forward = move || loss.forward_with_variance(&input, &target, &variance);
            Job { forward: Box::new(forward), leaves }
        }
        "cosine_similarity" => errors(&|| Box::new(CosineSimilarityLoss::default())),
        "cosine_embedding" => {
            let [a, b] = [0, 1].map(|_| inputs.logits());
            let label = inputs.put(Tensor::randint(2, [inputs.size[0]], CPU) * 2 - 1);
            let leaves = vec![a.shallow_clone(), b.shallow_clone()];
            let loss = CosineEmbeddingLoss::default();
            Job { forward: Box::new(move || loss.forward(&a, &b, &label)), leaves }
        }
        "l1_norm" => norm(inputs, |x| l1_norm(x, &[1], false)),
        "l2_norm" => norm(inputs, |x| l2_norm(x, &[1], false)),
        "lp_norm" => norm(inputs, |x| lp_norm(x, 3.0, &[1], false)),
        "kl_standard_normal" => {
            let [mu, logvar] = [0, 1].map(|_| inputs.logits());
            let leaves = vec![mu.shallow_clone(), logvar.shallow_clone()];
            let loss = KlStandardNormal::default();
            Job { forward: Box::new(move || loss.forward(&mu, &logvar)), leaves }
        }
        "vae" => {
            let input = inputs.logits();
            let target = inputs.put(Tensor::rand(inputs.size, CPU));
            let [mu, logvar] =
                [0, 1].map(|_| inputs.leaf(Tensor::randn([inputs.size[0], 64], CPU)));
            let leaves = vec![input.shallow_clone(), mu.shallow_clone(), logvar.shallow_clone()];
            let loss = VaeLoss::default().reconstruction(Reconstruction::BceWithLogits);
            let forward = move || loss.forward(&input, &target, &mu, &logvar).total;
            Job { forward: Box::new(forward), leaves }
        }
        "yolo_box_v1" => boxes(inputs, YoloBoxLoss::v1()),
        "yolo_box_v2" => boxes(inputs, YoloBoxLoss::v2()),
        _ => return None,
    })
}

/// The mean of the norms of rows.
fn norm(inputs: &Inputs, norm: impl Fn(&Tensor) -> Tensor + 'static) -> Job {
    let x = inputs.logits();
    let leaves = vec![x.shallow_clone()];
    Job { forward: Box::new(move || norm(&x).mean(None::<Kind>)), leaves }
}

/// Boxes in shares of the image.
fn boxes(inputs: &Inputs, loss: YoloBoxLoss) -> Job {
    let size = [inputs.size[0], 4];
    let [input, target] = [0, 1].map(|_| Tensor::rand(size, CPU) * 0.9 + 0.05);
    job(loss, inputs.leaf(input), inputs.put(target))
}
