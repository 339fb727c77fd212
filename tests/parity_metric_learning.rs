//! Losses of embeddings against pytorch-metric-learning and PyTorch, and against loops over pairs and
//! triplets where neither has them; retrieval metrics against pytorch-metric-learning.

mod common;

use common::{Case, Fixture, assert_close, tolerance};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    ArcFaceLoss, CenterLoss, CircleLoss, ContrastiveLoss, CosFaceLoss, Loss, MultiSimilarityLoss,
    NPairLoss, NtXentLoss, ProxyNcaLoss, SupConLoss, TripletLoss, TripletMarginLoss,
    metric_learning::{AverageOver, Mining, PairDistance},
    metrics::{RetrievalMetrics, retrieval_metrics, retrieval_metrics_of},
};

fn check(fixture: &Fixture, case: &str, loss: impl Loss) {
    fixture.parity(case, &["input"], |case| loss.forward(case.get("input"), case.get("target")));
}

/// A loss of the case's vectors of classes, which are differentiated too.
fn check_classes<L: Loss>(fixture: &Fixture, case: &str, loss: impl Fn(&Tensor) -> L) {
    fixture.parity(case, &["input", "weight"], |case| {
        loss(case.get("weight")).forward(case.get("input"), case.get("target"))
    });
}

#[test]
fn losses() {
    let fixture = Fixture::open("metric_learning");
    contrastive(&fixture);
    triplet(&fixture);
    softmax(&fixture);
    classes(&fixture);
    given_triplets(&fixture);
    fixture.finish();
}

fn contrastive(fixture: &Fixture) {
    let loss = ContrastiveLoss::default;
    let margins = || loss().pos_margin(0.6).neg_margin(1.3);
    check(fixture, "contrastive_default", loss());
    check(fixture, "contrastive_margins", margins());
    check(fixture, "contrastive_all", margins().average(AverageOver::All));
    let raw = loss().pos_margin(1.5).neg_margin(3.5).normalize(false);
    check(fixture, "contrastive_raw", raw);
    let squared = loss().pos_margin(0.3).neg_margin(1.5).distance(PairDistance::SquaredEuclidean);
    check(fixture, "contrastive_squared_euclidean", squared);
    // Theirs are similarities.
    let cosine = loss().pos_margin(1.0 - 0.9).neg_margin(1.0 - 0.3).distance(PairDistance::Cosine);
    check(fixture, "contrastive_cosine", cosine);
    check(fixture, "contrastive_hadsell", ContrastiveLoss::hadsell());
}

fn triplet(fixture: &Fixture) {
    let loss = || TripletLoss::default().margin(0.2);
    check(fixture, "triplet_active", loss());
    check(fixture, "triplet_all", loss().average(AverageOver::All));
    check(fixture, "triplet_soft", loss().soft(true));
    check(fixture, "triplet_raw", loss().normalize(false));
    check(fixture, "triplet_squared_euclidean", loss().distance(PairDistance::SquaredEuclidean));
    check(fixture, "triplet_cosine", loss().distance(PairDistance::Cosine));
    check(fixture, "triplet_semi_hard_all", loss().mining(Mining::SemiHardAll));
    check(fixture, "triplet_semi_hard_all_soft", loss().mining(Mining::SemiHardAll).soft(true));
    let hard = || loss().margin(0.1).mining(Mining::BatchHard);
    check(fixture, "triplet_batch_hard_active", hard());
    check(fixture, "triplet_batch_hard_all", hard().average(AverageOver::All));
    check(fixture, "triplet_batch_hard_hermans", TripletLoss::batch_hard());
    check(fixture, "triplet_semi_hard", loss().mining(Mining::SemiHard));
    check(fixture, "triplet_facenet", TripletLoss::facenet());
    let weighted = || loss().mining(Mining::DistanceWeighted);
    let cutoffs = weighted().margin(0.1).cutoff(0.9).nonzero_loss_cutoff(1.2).soft(true);
    for (name, loss) in [("default", weighted()), ("cutoffs", cutoffs)] {
        fixture.parity(&format!("triplet_distance_weighted_{name}"), &["input"], |case| {
            loss.forward_with_noise(case.get("input"), case.get("target"), case.get("noise"))
        });
    }
    check(fixture, "triplet_none", loss().reduction(Reduction::None));
    fixture.parity("triplet_weighted", &["input"], |case| {
        loss().forward_weighted(case.get("input"), case.get("target"), case.get("weight"))
    });
}

fn softmax(fixture: &Fixture) {
    check(fixture, "n_pair_default", NPairLoss::default());
    check(fixture, "n_pair_raw", NPairLoss::sohn());
    check(fixture, "nt_xent_default", NtXentLoss::default());
    check(fixture, "nt_xent_0.5", NtXentLoss::default().temperature(0.5));
    check(fixture, "sup_con_default", SupConLoss::default());
    check(fixture, "sup_con_base", SupConLoss::default().temperature(0.2).base_temperature(0.07));
    check(fixture, "circle_default", CircleLoss::default());
    check(fixture, "circle_8", CircleLoss::default().m(0.25).gamma(8.0));
    let loss = MultiSimilarityLoss::default;
    check(fixture, "multi_similarity_default", loss());
    check(fixture, "multi_similarity_options", loss().alpha(3.0).beta(20.0).base(0.3));
    check(fixture, "multi_similarity_mined", loss().epsilon(0.1));
}

fn classes(fixture: &Fixture) {
    check_classes(fixture, "arc_face_default", ArcFaceLoss::new);
    check_classes(fixture, "arc_face_options", |weight| {
        ArcFaceLoss::new(weight).margin(0.3).scale(8.0)
    });
    check_classes(fixture, "arc_face_ignore", |weight| ArcFaceLoss::new(weight).scale(8.0));
    check_classes(fixture, "cos_face_default", CosFaceLoss::new);
    check_classes(fixture, "cos_face_options", |weight| {
        CosFaceLoss::new(weight).margin(0.1).scale(8.0)
    });
    check_classes(fixture, "proxy_nca_default", ProxyNcaLoss::new);
    check_classes(fixture, "proxy_nca_scale", |proxies| {
        ProxyNcaLoss::new(proxies).softmax_scale(3.0)
    });
    check_classes(fixture, "proxy_nca_raw", |proxies| {
        ProxyNcaLoss::new(proxies).softmax_scale(0.5).normalize(false)
    });
    check_classes(fixture, "proxy_nca_paper", ProxyNcaLoss::paper);
    check_classes(fixture, "center_mean", CenterLoss::new);
    check_classes(fixture, "center_none", |centers| {
        CenterLoss::new(centers).reduction(Reduction::None)
    });
    for kind in [Kind::Double, Kind::Float] {
        let case = fixture.case("center_update", kind);
        let centers = case.get("weight").copy();
        CenterLoss::new(&centers).update(case.get("input"), case.get("target"), 0.3);
        let expected = fixture.case("center_update", Kind::Double);
        assert_close("centre update", &centers, expected.get("value"), tolerance(kind));
    }
}

fn given_triplets(fixture: &Fixture) {
    let names = ["anchor", "positive", "negative"];
    let check = |case: &str, loss: TripletMarginLoss| {
        let forward = |case: &Case| {
            let [anchor, positive, negative] = names.map(|name| case.get(name));
            loss.forward(anchor, positive, negative)
        };
        fixture.parity(&format!("triplet_margin_{case}"), &names, forward);
    };
    let loss = TripletMarginLoss::default;
    check("default", loss());
    check("sum", loss().margin(0.7).reduction(Reduction::Sum));
    check("none", loss().margin(2.0).reduction(Reduction::None));
    check("swap", loss().margin(0.9).swap(true));
    check("p", loss().margin(1.5).p(3.0).eps(1e-3));
    check("facenet", TripletMarginLoss::facenet());
    check("soft", TripletMarginLoss::facenet().margin(0.0).soft(true));
    let swapped = loss().margin(0.4).swap(true);
    fixture.parity("triplet_margin_distance", &names, |case| {
        let [anchor, positive, negative] = names.map(|name| case.get(name));
        swapped.forward_with_distance(anchor, positive, negative, |a, b| {
            Ok(1.0 - Tensor::cosine_similarity(a, b, 1, 1e-8))
        })
    });
}

#[test]
fn retrieval() {
    let fixture = Fixture::open("retrieval");
    let compare = |case: &Case, found: &RetrievalMetrics| {
        let number = |name: &str| case.get(name).double_value(&[]);
        let recall = Vec::<f64>::try_from(case.get("recall")).unwrap();
        assert_eq!(found.recall.iter().map(|(k, _)| *k).collect::<Vec<_>>(), [1, 3, 8]);
        for ((k, got), expected) in found.recall.iter().zip(recall) {
            assert!((got - expected).abs() < 1e-9, "recall@{k}: {got}, not {expected}");
        }
        assert!((found.r_precision - number("r_precision")).abs() < 1e-9, "{found:?}");
        assert!((found.map_at_r - number("map_at_r")).abs() < 1e-9, "{found:?}");
    };
    let case = fixture.case("own", Kind::Double);
    let found = retrieval_metrics(case.get("embeddings"), case.get("labels"), &[1, 3, 8]);
    compare(&case, &found);
    assert_eq!((found.queries, found.skipped), (39, 2));
    let case = fixture.case("of", Kind::Double);
    let found = retrieval_metrics_of(
        (case.get("embeddings"), case.get("labels")),
        (case.get("reference"), case.get("reference_labels")),
        &[1, 3, 8],
    );
    compare(&case, &found);
    fixture.finish();
}
