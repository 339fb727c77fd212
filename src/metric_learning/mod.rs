//! Losses of embeddings: who is alike should be near, who is not should be far.
//!
//! - Of a batch of embeddings (N, D) with labels (N), which are the two sides of [`Loss`](crate::Loss):
//!   [`TripletLoss`] with its [`Mining`], [`ContrastiveLoss`], [`NPairLoss`], [`NtXentLoss`],
//!   [`SupConLoss`], [`CircleLoss`], [`MultiSimilarityLoss`]. Put several samples of each class into a
//!   batch: an anchor that is alone in its class is skipped. [`pair_counts`] and
//!   [`TripletLoss::statistics`] count those.
//! - The same with a learned vector for each class: [`ArcFaceLoss`], [`CosFaceLoss`], [`ProxyNcaLoss`],
//!   [`CenterLoss`]; [`proxy_loss_by_name`].
//! - Of triplets that are given: [`TripletMarginLoss`], and [`Triplets`] for lists of them.
//!
//! The matrix of distances or cosines of a batch is computed once, and has a finite gradient where two
//! embeddings are equal. Memory grows with N², not with N³: some thousand embeddings a batch fit.
//!
//! What embeddings are good for is measured by
//! [`retrieval_metrics`](crate::metrics::retrieval_metrics).

mod angular_margin;
mod center;
mod circle;
mod contrastive;
mod multi_similarity;
mod n_pair;
mod nt_xent;
mod pairs;
mod proxies;
mod proxy_nca;
mod sup_con;
mod triplet;
mod triplet_margin;
mod triplets;

use crate::loss::Entry;

pub use angular_margin::{ArcFaceLoss, CosFaceLoss};
pub use center::CenterLoss;
pub use circle::CircleLoss;
pub use contrastive::ContrastiveLoss;
pub use multi_similarity::MultiSimilarityLoss;
pub use n_pair::NPairLoss;
pub use nt_xent::NtXentLoss;
pub use pairs::{AverageOver, PairCounts, PairDistance, f_pair_counts, pair_counts};
pub use proxies::{f_proxy_loss_by_name, proxy_loss_by_name};
pub use proxy_nca::ProxyNcaLoss;
pub use sup_con::SupConLoss;
pub use triplet::{Mining, TripletLoss, TripletStatistics};
pub use triplet_margin::TripletMarginLoss;
pub use triplets::Triplets;

pub(crate) fn entries() -> Vec<Entry> {
    [
        ContrastiveLoss::entries(),
        TripletMarginLoss::entries(),
        TripletLoss::entries(),
        NPairLoss::entries(),
        NtXentLoss::entries(),
        SupConLoss::entries(),
        CircleLoss::entries(),
        MultiSimilarityLoss::entries(),
        ArcFaceLoss::entries(),
        CosFaceLoss::entries(),
        ProxyNcaLoss::entries(),
        CenterLoss::entries(),
    ]
    .concat()
}
