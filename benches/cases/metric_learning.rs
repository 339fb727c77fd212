//! Losses of embeddings; `scripts/bench_torch_metric_learning.py` has Python's side.

use super::{CPU, Inputs, Job, job as of_pair};
use tch::{Device, Kind, Tensor};
use tch_losses::{
    ArcFaceLoss, CircleLoss, ContrastiveLoss, CosFaceLoss, Loss, MultiSimilarityLoss, NPairLoss,
    NtXentLoss, ProxyNcaLoss, SupConLoss, TripletLoss, TripletMarginLoss, metric_learning::Mining,
    metrics::retrieval_metrics,
};

/// The case of that name, or nothing for a name that is not there.
pub fn job(case: &str, inputs: &Inputs) -> Option<Job> {
    let size = inputs.size;
    // About eight samples a class.
    let classes = (size[0] / 8).max(2);
    let labels = || inputs.put(Tensor::randint(classes, size[0], (Kind::Int64, Device::Cpu)));
    let batch = |loss: &dyn Fn() -> Box<dyn Loss>| {
        let input = inputs.leaf(Tensor::randn(size, CPU));
        of_pair(loss(), input, labels())
    };
    let with_classes = |loss: &dyn Fn(&Tensor) -> Box<dyn Loss>| {
        let input = inputs.leaf(Tensor::randn(size, CPU));
        let target = labels();
        let vectors = inputs.leaf(Tensor::randn([classes, size[1]], CPU));
        let leaves = vec![input.shallow_clone(), vectors.shallow_clone()];
        let loss = loss(&vectors);
        Job { forward: Box::new(move || loss.forward(&input, &target)), leaves }
    };
    let triplet = || TripletLoss::default().margin(0.2);
    Some(match case {
        "contrastive" => batch(&|| Box::new(ContrastiveLoss::default())),
        "triplet_all" => batch(&|| Box::new(triplet())),
        "triplet_all_soft" => batch(&|| Box::new(triplet().soft(true))),
        "triplet_batch_hard" => batch(&|| Box::new(triplet().mining(Mining::BatchHard))),
        "triplet_semi_hard" => batch(&|| Box::new(triplet().mining(Mining::SemiHard))),
        "triplet_semi_hard_all" => batch(&|| Box::new(triplet().mining(Mining::SemiHardAll))),
        "n_pair" => batch(&|| Box::new(NPairLoss::default())),
        "nt_xent" => batch(&|| Box::new(NtXentLoss::default())),
        "sup_con" => batch(&|| Box::new(SupConLoss::default())),
        "circle" => batch(&|| Box::new(CircleLoss::default())),
        "multi_similarity" => batch(&|| Box::new(MultiSimilarityLoss::default())),
        "arc_face" => with_classes(&|vectors| Box::new(ArcFaceLoss::new(vectors))),
        "cos_face" => with_classes(&|vectors| Box::new(CosFaceLoss::new(vectors))),
        "proxy_nca" => with_classes(&|vectors| Box::new(ProxyNcaLoss::new(vectors))),
        "triplet_margin" => {
            let [a, p, n] = [0, 1, 2].map(|_| inputs.leaf(Tensor::randn(size, CPU)));
            let leaves = [&a, &p, &n].map(Tensor::shallow_clone).into();
            let loss = TripletMarginLoss::default();
            Job { forward: Box::new(move || loss.forward(&a, &p, &n)), leaves }
        }
        "retrieval" => {
            let (embeddings, labels) = (inputs.put(Tensor::randn(size, CPU)), labels());
            super::forward_only(move || {
                Tensor::from(retrieval_metrics(&embeddings, &labels, &[1]).map_at_r)
            })
        }
        _ => return None,
    })
}
