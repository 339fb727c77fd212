//! Laws, gradients, edge cases and errors of losses of embeddings, and of retrieval metrics.

mod common;

use common::{
    KINDS, assert_close, assert_finite, assert_value, device, gradcheck, gradgradcheck, index,
    leaf, rand, randint, randn, tensor, tolerance, value_and_grad,
};
use tch::{Kind, Reduction, Tensor};
use tch_losses::{
    ArcFaceLoss, CenterLoss, CircleLoss, ContrastiveLoss, CosFaceLoss, CrossEntropyLoss, Loss,
    LossError, MultiSimilarityLoss, NPairLoss, NtXentLoss, ProxyNcaLoss, SupConLoss, TripletLoss,
    TripletMarginLoss, loss,
    metric_learning::{
        AverageOver, Mining, PairDistance, Triplets, f_pair_counts, f_proxy_loss_by_name,
        pair_counts, proxy_loss_by_name,
    },
    metrics::{f_retrieval_metrics, f_retrieval_metrics_of, retrieval_metrics},
};

const MININGS: [Mining; 5] = [
    Mining::All,
    Mining::BatchHard,
    Mining::SemiHard,
    Mining::SemiHardAll,
    Mining::DistanceWeighted,
];

type Make = Box<dyn Fn(Reduction) -> Box<dyn Loss>>;
type MakeInput = Box<dyn Fn(Kind) -> Tensor>;
type MakeWith = Box<dyn Fn(&Tensor, Reduction) -> Box<dyn Loss>>;

/// Losses of a batch with labels, without chance.
fn of_batches() -> Vec<(String, Make)> {
    let mut jobs: Vec<(String, Make)> = Vec::new();
    macro_rules! job {
        ($name:expr, $loss:expr) => {
            let make = move |r: Reduction| -> Box<dyn Loss> { Box::new($loss.reduction(r)) };
            jobs.push(($name.to_string(), Box::new(make)))
        };
    }
    let distances = [PairDistance::Euclidean, PairDistance::SquaredEuclidean, PairDistance::Cosine];
    for distance in distances {
        job!(format!("contrastive {distance:?}"), ContrastiveLoss::default().distance(distance));
        for mining in MININGS {
            if mining == Mining::DistanceWeighted {
                continue;
            }
            for soft in [false, true] {
                let loss = move || {
                    let loss = TripletLoss::default().margin(0.3).mining(mining);
                    loss.soft(soft).distance(distance)
                };
                job!(format!("triplet {mining:?} {distance:?} soft {soft}"), loss());
            }
        }
    }
    job!("contrastive hadsell", ContrastiveLoss::hadsell());
    job!("triplet raw", TripletLoss::default().normalize(false).average(AverageOver::All));
    job!("triplet facenet", TripletLoss::facenet());
    job!("triplet batch-hard", TripletLoss::batch_hard());
    job!("n-pair", NPairLoss::default().temperature(0.3));
    job!("n-pair sohn", NPairLoss::sohn());
    job!("nt-xent", NtXentLoss::default());
    job!("sup-con", SupConLoss::default().base_temperature(0.07));
    job!("circle", CircleLoss::default().gamma(16.0));
    job!("multi-similarity", MultiSimilarityLoss::default());
    job!("multi-similarity mined", MultiSimilarityLoss::default().epsilon(0.1));
    jobs
}

/// Losses with a vector for each of 4 classes, of 3 dimensions.
fn of_classes() -> Vec<(&'static str, MakeWith)> {
    let mut jobs: Vec<(&'static str, MakeWith)> = Vec::new();
    macro_rules! job {
        ($name:literal, $make:expr) => {
            let make = |vectors: &Tensor, r: Reduction| -> Box<dyn Loss> {
                Box::new($make(vectors).reduction(r))
            };
            jobs.push(($name, Box::new(make)))
        };
    }
    job!("arc-face", |w: &Tensor| ArcFaceLoss::new(w).scale(8.0));
    job!("cos-face", |w: &Tensor| CosFaceLoss::new(w).scale(8.0));
    job!("proxy-nca", ProxyNcaLoss::new);
    job!("proxy-nca paper", |w: &Tensor| ProxyNcaLoss::paper(w).softmax_scale(2.0));
    job!("proxy-nca raw", |w: &Tensor| ProxyNcaLoss::new(w).normalize(false));
    job!("center", CenterLoss::new);
    jobs
}

/// Three samples of each of three classes, and one that is alone.
fn labels() -> Tensor {
    index(&[4, 0, 4, 7, 0, 4, 7, 7, 0, 1], &[10])
}

fn embeddings(seed: i64, kind: Kind) -> Tensor {
    randn(seed, &[10, 3], Kind::Double).to_kind(kind)
}

fn vectors(kind: Kind) -> Tensor {
    randn(3, &[4, 3], Kind::Double).to_kind(kind)
}

fn classes() -> Tensor {
    index(&[0, 3, 2, 2, 1, 0, 3, -100, 1, 0], &[10])
}

#[test]
fn gradients_are_those_of_differences() {
    for (name, make) in of_batches() {
        // Its weights are detached: the gradient is not that of a function. Parity has it.
        if name == "circle" {
            continue;
        }
        for reduction in [Reduction::Mean, Reduction::None] {
            let loss = make(reduction);
            gradcheck(&name, &[embeddings(11, Kind::Double)], |inputs| {
                loss.forward(&inputs[0], &labels())
            });
        }
        let weight = rand(12, &[10], Kind::Double);
        let loss = make(Reduction::Mean);
        gradcheck(&format!("{name}, weighted"), &[embeddings(13, Kind::Double)], |inputs| {
            loss.forward_weighted(&inputs[0], &labels(), &weight)
        });
    }
    for (name, make) in of_classes() {
        let inputs = [embeddings(14, Kind::Double), vectors(Kind::Double)];
        gradcheck(name, &inputs, |inputs| {
            make(&inputs[1], Reduction::Mean).forward(&inputs[0], &classes())
        });
    }
    let triplet = [0, 1, 2].map(|seed| randn(seed + 20, &[5, 3], Kind::Double));
    let loss = TripletMarginLoss::default;
    for (name, loss) in [
        ("swap", loss().swap(true)),
        ("facenet", TripletMarginLoss::facenet()),
        ("soft", loss().soft(true).reduction(Reduction::None)),
        ("p", loss().p(3.0).margin(2.0)),
    ] {
        gradcheck(&format!("triplet margin {name}"), &triplet, |inputs| {
            loss.forward(&inputs[0], &inputs[1], &inputs[2])
        });
    }
    let (noise, weighted) = (
        rand(15, &[10, 10], Kind::Double),
        TripletLoss::default().mining(Mining::DistanceWeighted),
    );
    gradcheck("distance-weighted", &[embeddings(16, Kind::Double)], |inputs| {
        weighted.forward_with_noise(&inputs[0], &labels(), &noise)
    });
}

#[test]
fn gradients_can_be_differentiated_again() {
    for (name, make) in of_batches() {
        // Those go over blocks that are not kept.
        if name.contains("soft true") && (name.contains(" All") || name.contains("SemiHardAll")) {
            continue;
        }
        // As above.
        if name == "circle" {
            continue;
        }
        let loss = make(Reduction::Mean);
        gradgradcheck(&name, &[embeddings(17, Kind::Double)], |inputs| {
            loss.forward(&inputs[0], &labels())
        });
    }
    for (name, make) in of_classes() {
        let inputs = [embeddings(18, Kind::Double), vectors(Kind::Double)];
        gradgradcheck(name, &inputs, |inputs| {
            make(&inputs[1], Reduction::Mean).forward(&inputs[0], &classes())
        });
    }
}

#[test]
fn edges_are_finite_in_every_kind_with_a_gradient_of_the_inputs_kind() {
    let alone = index(&[0, 1, 2, 3, 4, 5], &[6]);
    let one_class = index(&[2; 6], &[6]);
    let pairs = index(&[0, 0, 1, 1, 2, 2], &[6]);
    let zeros = |kind| Tensor::zeros([6, 3], (kind, device()));
    let edges: Vec<(&str, MakeInput, Tensor)> = vec![
        ("empty", Box::new(|kind| Tensor::zeros([0, 3], (kind, device()))), index(&[], &[0])),
        ("one", Box::new(|kind| randn(1, &[1, 3], kind)), index(&[3], &[1])),
        ("no positives", Box::new(|kind| randn(2, &[6, 3], kind)), alone),
        ("no negatives", Box::new(|kind| randn(3, &[6, 3], kind)), one_class.shallow_clone()),
        ("zeros", Box::new(zeros), pairs.shallow_clone()),
        ("zeros of one class", Box::new(zeros), one_class),
        ("equal", Box::new(|kind| randn(4, &[1, 3], kind).repeat([6, 1])), pairs.shallow_clone()),
        (
            // The gradient of a sum of squares of more is out of Half's range.
            "saturated",
            Box::new(|kind| randn(5, &[6, 3], kind) * if kind == Kind::Half { 1e3 } else { 1e4 }),
            pairs.shallow_clone(),
        ),
        ("not contiguous", Box::new(|kind| randn(6, &[3, 6], kind).tr()), pairs),
    ];
    for (edge, make_input, target) in &edges {
        for kind in KINDS {
            let forward = |name: &str, forward: &dyn Fn(&Tensor) -> Tensor| {
                let input = leaf(&make_input(kind));
                let value = forward(&input);
                let what = format!("{name}: {edge} in {kind:?}");
                assert_finite(&what, &value);
                let expected = if kind == Kind::Double { kind } else { Kind::Float };
                assert_eq!(value.kind(), expected, "{what}");
                value.sum(None::<Kind>).backward();
                assert_finite(&format!("{what}: gradient"), &input.grad());
                assert_eq!(input.grad().kind(), kind, "{what}: gradient");
                value
            };
            for (name, make) in of_batches() {
                for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
                    let loss = make(reduction);
                    let value = forward(&name, &|input| loss.forward(input, target));
                    let skipped = matches!(*edge, "empty" | "one")
                        || (*edge == "no positives"
                            && !name.starts_with("contrastive")
                            && !name.starts_with("multi"));
                    if skipped {
                        assert_eq!(value.abs().sum(Kind::Double).double_value(&[]), 0.0, "{name}");
                    }
                }
            }
            let weighted = TripletLoss::default().mining(Mining::DistanceWeighted);
            let _ = forward("distance-weighted", &|input| weighted.forward(input, target));
            for (name, make) in of_classes() {
                let weight = randn(7, &[6, 3], kind);
                for weight in [weight.shallow_clone(), weight.zeros_like()] {
                    let loss = make(&weight, Reduction::Mean);
                    let target = target.clamp_max(3);
                    let _ = forward(name, &|input| loss.forward(input, &target));
                }
            }
            let triplets = TripletMarginLoss::default().eps(0.0).swap(true);
            let _ = forward("triplet margin", &|input| triplets.forward(input, input, input));
        }
    }
}

#[test]
fn half_kinds_are_those_of_the_rounded_input() {
    for kind in [Kind::Half, Kind::BFloat16] {
        for (name, make) in of_batches() {
            let input = embeddings(19, kind);
            let loss = make(Reduction::Mean);
            let of = |input: &Tensor| value_and_grad(input, |x| loss.forward(x, &labels()));
            let ((value, grad), (expected, slope)) = (of(&input), of(&input.to_kind(Kind::Double)));
            let what = format!("{name} in {kind:?}");
            assert_close(&what, &value, &expected, (1e-4, 1e-5));
            assert_close(&format!("{what}: gradient"), &grad, &slope, tolerance(kind));
        }
    }
}

#[test]
fn the_order_of_the_batch_does_not_matter() {
    let order = index(&[3, 9, 0, 7, 5, 1, 8, 2, 6, 4], &[10]);
    let x = embeddings(21, Kind::Double);
    for (name, make) in of_batches() {
        // N-pair takes the first two of each class.
        if name.starts_with("n-pair") {
            continue;
        }
        let (mean, each) = (make(Reduction::Mean), make(Reduction::None));
        let moved = |t: &Tensor| t.index_select(0, &order);
        let value = mean.forward(&x, &labels());
        assert_close(&name, &mean.forward(&moved(&x), &moved(&labels())), &value, (1e-10, 1e-12));
        let values = each.forward(&moved(&x), &moved(&labels()));
        assert_close(&name, &values, &moved(&each.forward(&x, &labels())), (1e-10, 1e-12));
    }
}

#[test]
fn labels_are_only_compared() {
    let x = embeddings(22, Kind::Double);
    let renamed = labels() * -100 + 17;
    for (name, make) in of_batches() {
        let loss = make(Reduction::Mean);
        let value = loss.forward(&x, &labels());
        assert_close(&name, &loss.forward(&x, &renamed), &value, (1e-12, 1e-14));
        let small = renamed.to_kind(Kind::Int16);
        assert_close(&name, &loss.forward(&x, &small), &value, (1e-12, 1e-14));
    }
}

#[test]
fn an_anchor_of_weight_0_is_no_anchor_but_still_a_positive_and_a_negative() {
    let x = embeddings(23, Kind::Double);
    let weight = tensor(&[1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], &[10]);
    for (name, make) in of_batches() {
        // Both halves of a contrastive loss have their own denominator.
        if name.starts_with("contrastive") {
            continue;
        }
        let each = make(Reduction::None).forward(&x, &labels());
        let weighted = make(Reduction::None).forward_weighted(&x, &labels(), &weight);
        assert_close(&name, &weighted, &(&each * &weight), (1e-12, 1e-14));
        let sum = make(Reduction::Sum).forward_weighted(&x, &labels(), &(&weight * 2.0));
        let half = make(Reduction::Sum).forward_weighted(&x, &labels(), &weight);
        assert_close(&name, &sum, &(half * 2.0), (1e-12, 1e-14));
        let ones = make(Reduction::Mean).forward_weighted(&x, &labels(), &weight.ones_like());
        assert_close(&name, &ones, &make(Reduction::Mean).forward(&x, &labels()), (1e-12, 1e-14));
    }
}

#[test]
fn lengths_do_not_matter_where_embeddings_are_normalized() {
    let x = embeddings(24, Kind::Double);
    let longer = &x * (rand(25, &[10, 1], Kind::Double) * 3.0 + 0.1);
    for (name, make) in of_batches() {
        if ["contrastive hadsell", "triplet raw", "triplet batch-hard", "n-pair sohn"]
            .contains(&name.as_str())
        {
            continue;
        }
        let loss = make(Reduction::Mean);
        let value = loss.forward(&x, &labels());
        assert_close(&name, &loss.forward(&longer, &labels()), &value, (1e-9, 1e-11));
    }
}

#[test]
fn triplets_one_by_one_are_those_by_rank() {
    // The same sums by an own loop over all triplets, with negatives at one distance.
    let x = tensor(&[0.0, 1.0, 2.0, -1.0, 3.0, 2.5, 1.0, 1.5], &[8, 1]);
    let target = [0i64, 0, 1, 1, 0, 2, 1, 2];
    let at = |i: usize| x.double_value(&[i as i64, 0]);
    for (mining, semi) in [(Mining::All, false), (Mining::SemiHardAll, true)] {
        let (mut total, mut active) = (0.0, 0);
        for a in 0..8 {
            for p in (0..8).filter(|&p| p != a && target[p] == target[a]) {
                for n in (0..8).filter(|&n| target[n] != target[a]) {
                    let (near, far) = ((at(a) - at(p)).abs(), (at(a) - at(n)).abs());
                    let cost = near - far + 0.75;
                    if cost > 0.0 && (!semi || far > near) {
                        total += cost;
                        active += 1;
                    }
                }
            }
        }
        let loss = TripletLoss::default().normalize(false).margin(0.75).mining(mining);
        let labels = index(&target, &[8]);
        let value = loss.forward(&x, &labels);
        assert_value(&format!("{mining:?}"), &value, total / f64::from(active), 1e-12);
        let found = loss.statistics(&x, &labels);
        assert_eq!((found.anchors, found.skipped, found.active), (8, 0, active as usize));
    }
}

#[test]
fn offline_triplets_give_the_loss_that_found_them() {
    let x = embeddings(26, Kind::Double);
    for mining in MININGS {
        for soft in [false, true] {
            let online = TripletLoss::default().normalize(mining == Mining::DistanceWeighted);
            let online = online.margin(0.4).mining(mining).soft(soft).average(AverageOver::All);
            let triplets = online.mine(&x, &labels());
            assert!(!triplets.is_empty(), "{mining:?}");
            let of = |i: &Tensor| labels().index_select(0, i);
            assert!(of(&triplets.anchor).equal(&of(&triplets.positive)), "{mining:?}");
            let other = of(&triplets.anchor).ne_tensor(&of(&triplets.negative));
            assert_eq!(other.all().int64_value(&[]), 1, "{mining:?}");
            if mining == Mining::DistanceWeighted {
                continue;
            }
            let offline = TripletMarginLoss::default().margin(0.4).eps(0.0).soft(soft);
            let value = offline.forward_triplets(&x, &triplets);
            assert_close(
                &format!("{mining:?}"),
                &value,
                &online.forward(&x, &labels()),
                (1e-10, 0.0),
            );
            let found = online.statistics(&x, &labels());
            assert_eq!((found.triplets, found.skipped), (triplets.len(), 1), "{mining:?}");
        }
    }
    let all = TripletLoss::default().normalize(false).mine(&x, &labels());
    let listed = Triplets::all(&labels());
    assert!(all.anchor.equal(&listed.anchor) && all.negative.equal(&listed.negative));
    // 9 anchors with 2 positives and 7 negatives each.
    assert_eq!(listed.len(), 9 * 2 * 7);
}

#[test]
fn blocks_of_anchors_make_no_difference() {
    // 200³ triplets are eight blocks.
    let (x, target) = (randn(27, &[200, 4], Kind::Double), randint(28, 9, &[200]));
    let loss = TripletLoss::default().margin(0.1).soft(true);
    let (value, grad) = value_and_grad(&x, |x| loss.forward(x, &target));
    let triplets = loss.mine(&x, &target);
    let (expected, slope) = value_and_grad(&x, |x| {
        let unit = x / x.norm_scalaropt_dim(2.0, [1i64].as_slice(), true);
        TripletMarginLoss::default()
            .margin(0.1)
            .eps(0.0)
            .soft(true)
            .forward_triplets(&unit, &triplets)
    });
    assert_close("blocks", &value, &expected, (1e-10, 0.0));
    assert_close("blocks: gradient", &grad, &slope, (1e-8, 1e-13));
}

#[test]
fn a_thousand_near_embeddings_have_exact_distances_in_float() {
    // Products of matrices would be off by more than these distances.
    let x = randn(29, &[1000, 8], Kind::Double) * 1e-4 + 1.0;
    let target = randint(30, 50, &[1000]);
    let loss = TripletLoss::batch_hard().soft(false).margin(1e-4);
    let of =
        |kind| value_and_grad(&x.to_kind(Kind::Float).to_kind(kind), |x| loss.forward(x, &target));
    let ((value, grad), (expected, slope)) = (of(Kind::Float), of(Kind::Double));
    assert_close("near", &value, &expected, (1e-4, 0.0));
    assert_close("near: gradient", &grad, &slope, (1e-3, 1e-5));
}

#[test]
fn batch_hard_is_the_hardest_of_all_triplets() {
    let x = embeddings(31, Kind::Double);
    let of = |mining| {
        let loss = TripletLoss::default().margin(10.0).mining(mining);
        loss.reduction(Reduction::None).forward(&x, &labels())
    };
    let triplets = Triplets::all(&labels());
    let unit = &x / x.norm_scalaropt_dim(2.0, [1i64].as_slice(), true);
    let each = TripletMarginLoss::default().margin(10.0).eps(0.0).reduction(Reduction::None);
    let each = each.forward_triplets(&unit, &triplets);
    for anchor in 0..9 {
        let own = each.masked_select(&triplets.anchor.eq(anchor)).max().double_value(&[]);
        assert_value("hardest", &of(Mining::BatchHard).get(anchor), own, 1e-10);
    }
}

#[test]
fn distance_weighted_negatives_are_drawn_by_the_inverse_density_of_their_distance() {
    // On a sphere in 3 dimensions the density of d is d, so a negative at half the distance comes twice as
    // often. One anchor with 2 negatives at distances 0.6 and 1.2.
    let at = |distance: f64| {
        let angle = 2.0 * (distance / 2.0f64).asin();
        [angle.cos(), angle.sin(), 0.0]
    };
    let rows = [at(0.0), at(0.0), at(0.6), at(1.2)].concat();
    let x = tensor(&rows, &[4, 3]);
    let target = index(&[0, 0, 1, 2], &[4]);
    let loss = TripletLoss::default().mining(Mining::DistanceWeighted).margin(2.0);
    let mut near = 0;
    for step in 0..30 {
        let noise = Tensor::full([4, 4], (f64::from(step) + 0.5) / 30.0, (Kind::Double, device()));
        let each = loss.clone().reduction(Reduction::None).forward_with_noise(&x, &target, &noise);
        let cost = each.double_value(&[0]);
        near += u32::from((cost - 1.4).abs() < 1e-9);
        assert!((cost - 1.4).abs() < 1e-9 || (cost - 0.8).abs() < 1e-9, "{cost}");
    }
    assert_eq!(near, 20);
    let far = loss.clone().nonzero_loss_cutoff(0.55).statistics(&x, &target);
    assert_eq!((far.triplets, far.skipped), (0, 2));
}

#[test]
fn nt_xent_with_one_positive_is_sup_con() {
    let x = randn(32, &[8, 5], Kind::Double);
    let target = index(&[0, 1, 2, 3, 0, 1, 2, 3], &[8]);
    let one = NtXentLoss::default().temperature(0.3).forward(&x, &target);
    let other = SupConLoss::default().temperature(0.3).forward(&x, &target);
    assert_close("one positive", &one, &other, (1e-10, 0.0));
    let (first, second) = (x.narrow(0, 0, 4), x.narrow(0, 4, 4));
    let views = NtXentLoss::default().temperature(0.3).forward_views(&first, &second);
    assert_close("views", &views, &one, (1e-12, 0.0));
}

#[test]
fn nt_xent_goes_on_where_a_fraction_underflows() {
    let x = tensor(&[1.0, 0.0, -1.0, 0.0, 1.0, 1e-3], &[3, 2]).to_kind(Kind::Float);
    let (value, grad) = value_and_grad(&x, |x| {
        NtXentLoss::default().temperature(0.01).forward(x, &index(&[0, 0, 1], &[3]))
    });
    // Both costs are (1 - -1) / 0.01 and (-1 - -1) / 0.01 against the third.
    assert!((value.double_value(&[]) - (200.0 + 2.0f64.ln()) / 2.0).abs() < 1e-2, "{value}");
    assert!(grad.abs().sum(Kind::Double).double_value(&[]) > 0.0);
}

#[test]
fn margins_of_0_are_cross_entropy_of_cosines() {
    let (x, w) = (embeddings(33, Kind::Double), vectors(Kind::Double));
    let unit = |t: &Tensor| t / t.norm_scalaropt_dim(2.0, [1i64].as_slice(), true);
    let cosine = unit(&x).matmul(&unit(&w).tr());
    let expected = CrossEntropyLoss::default().forward(&(cosine * 16.0), &classes());
    let arc = ArcFaceLoss::new(&w).margin(0.0).scale(16.0).forward(&x, &classes());
    assert_close("ArcFace", &arc, &expected, (1e-10, 0.0));
    let cos = CosFaceLoss::new(&w).margin(0.0).scale(16.0).forward(&x, &classes());
    assert_close("CosFace", &cos, &expected, (1e-10, 0.0));
    let degrees = ArcFaceLoss::new(&w).margin_degrees(90.0).forward(&x, &classes());
    let radians = ArcFaceLoss::new(&w).margin(90f64.to_radians()).forward(&x, &classes());
    assert_close("degrees", &degrees, &radians, (1e-12, 0.0));
}

#[test]
fn arc_face_on_its_class_and_opposite_has_a_finite_gradient() {
    for kind in KINDS {
        let w = vectors(kind);
        for side in [1.0, -1.0, 0.5] {
            let (x, w) = (leaf(&(w.get(2).view([1, 3]) * side)), leaf(&w));
            let value = ArcFaceLoss::new(&w).forward(&x, &index(&[2], &[1]));
            value.backward();
            assert_finite("ArcFace", &value);
            assert_finite("ArcFace: gradient", &x.grad());
            assert_finite("ArcFace: gradient of the classes", &w.grad());
        }
    }
}

#[test]
fn centres_move_only_for_the_classes_there_are() {
    let centers = leaf(&vectors(Kind::Float));
    let before = centers.detach().copy();
    let loss = CenterLoss::new(&centers);
    let x = embeddings(34, Kind::Float);
    loss.update(&x, &index(&[0, 0, 2, 2, 2, -100, 0, 0, 0, 0], &[10]), 0.5);
    let moved = (centers.detach() - before).abs().sum_dim_intlist(1, false, None::<Kind>);
    let moved: Vec<bool> = Vec::<f32>::try_from(moved).unwrap().iter().map(|&m| m > 0.0).collect();
    assert_eq!(moved, [true, false, true, false]);
    assert!(centers.requires_grad());
}

#[test]
fn distances_that_a_caller_brings_take_any_samples() {
    let images = [0, 1, 2].map(|seed| randn(seed + 40, &[4, 2, 3, 3], Kind::Double));
    let l1 = |a: &Tensor, b: &Tensor| -> Result<Tensor, LossError> {
        Ok((a - b).abs().sum_dim_intlist([1i64, 2, 3].as_slice(), false, None::<Kind>))
    };
    let loss = TripletMarginLoss::default().margin(3.0).reduction(Reduction::None);
    let value = loss.forward_with_distance(&images[0], &images[1], &images[2], l1);
    let [near, far] = [1, 2].map(|n| l1(&images[0], &images[n]).unwrap());
    assert_close("own distance", &value, &(near - far + 3.0).relu(), (1e-12, 0.0));
    let weight = tensor(&[1.0, 0.0, 2.0, 1.0], &[4]);
    let rows = images.each_ref().map(|image| image.flatten(1, -1));
    let mean = TripletMarginLoss::default();
    let each = mean.clone().reduction(Reduction::None).forward(&rows[0], &rows[1], &rows[2]);
    let weighted = mean.forward_weighted(&rows[0], &rows[1], &rows[2], &weight);
    let expected = (each * &weight).sum(None::<Kind>) / weight.sum(None::<Kind>);
    assert_close("weighted", &weighted, &expected, (1e-12, 0.0));
}

#[test]
fn pairs_are_counted() {
    let counts = pair_counts(&labels());
    assert_eq!((counts.samples, counts.without_positive, counts.without_negative), (10, 1, 0));
    assert_eq!((counts.positive_pairs, counts.negative_pairs), (9 * 2, 100 - 10 - 18));
    let none = pair_counts(&index(&[], &[0]));
    assert_eq!((none.samples, none.positive_pairs, none.without_positive), (0, 0, 0));
    let one = pair_counts(&index(&[6, 6], &[2]));
    assert_eq!((one.without_negative, one.positive_pairs), (2, 2));
}

#[test]
fn embeddings_that_are_far_apart_by_class_find_each_other() {
    let target = randint(50, 7, &[3000]);
    let x = randn(51, &[3000, 4], Kind::Float) * 0.01 + target.unsqueeze(1);
    // Twelve blocks of queries.
    let found = retrieval_metrics(&x, &target, &[1, 10]);
    assert_eq!((found.queries, found.skipped), (3000, 0));
    assert!((found.map_at_r - 1.0).abs() < 1e-12 && (found.r_precision - 1.0).abs() < 1e-12);
    assert_eq!(
        (found.recall_at(1), found.recall_at(10), found.recall_at(2)),
        (Some(1.0), Some(1.0), None)
    );
}

#[test]
fn a_query_never_finds_itself_and_recall_grows_with_k() {
    let x = tensor(&[0.0, 0.0, 0.0, 1.0], &[4, 1]);
    let found = retrieval_metrics(&x, &index(&[0, 1, 2, 3], &[4]), &[1]);
    assert_eq!((found.queries, found.skipped), (0, 4));
    assert!(found.map_at_r.is_nan());
    let none = retrieval_metrics(&x.narrow(0, 0, 0), &index(&[], &[0]), &[1]);
    assert_eq!((none.queries, none.skipped), (0, 0));

    let found = retrieval_metrics(
        &randn(52, &[60, 3], Kind::Half),
        &randint(53, 5, &[60]),
        &[1, 2, 5, 59, 100],
    );
    let recall: Vec<f64> = found.recall.iter().map(|(_, recall)| *recall).collect();
    assert!(recall.windows(2).all(|pair| pair[0] <= pair[1]), "{recall:?}");
    assert_eq!(recall[3..], [1.0, 1.0]);
    assert!(found.map_at_r <= found.r_precision && found.map_at_r > 0.0, "{found:?}");
}

fn error<T: std::fmt::Debug>(result: Result<T, LossError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn mistakes_are_named() {
    let x = embeddings(60, Kind::Float);
    let of =
        |loss: &dyn Loss, input: &Tensor, target: &Tensor| error(loss.f_forward(input, target));
    let triplet = TripletLoss::default();
    assert_eq!(
        of(&triplet, &x.get(0), &labels()),
        "TripletLoss: expected input of shape [N, D], got [3]"
    );
    assert_eq!(
        of(&triplet, &x, &labels().narrow(0, 0, 4)),
        "TripletLoss: expected target of shape [10], got [4]"
    );
    assert_eq!(
        of(&triplet, &x, &labels().to_kind(Kind::Float)),
        "TripletLoss: expected target of integer kind, got Float"
    );
    assert_eq!(
        of(&triplet, &x.to_kind(Kind::Int64), &labels()),
        "TripletLoss: expected input of floating-point kind, got Int64"
    );
    assert_eq!(
        error(triplet.f_forward_weighted(&x, &labels(), &rand(1, &[3], Kind::Float))),
        "TripletLoss: expected weight of shape broadcastable to [10], got [3]"
    );
    let param = |loss: &dyn Loss| of(loss, &x, &labels());
    let nan = f64::NAN;
    assert_eq!(
        param(&triplet.clone().margin(nan)),
        "TripletLoss: expected margin at least 0 and finite, got NaN"
    );
    assert_eq!(
        param(&triplet.clone().cutoff(2.0)),
        "TripletLoss: expected cutoff in (0, 2), got 2"
    );
    assert!(param(&triplet.clone().nonzero_loss_cutoff(nan)).contains("nonzero_loss_cutoff"));
    assert_eq!(
        param(&triplet.clone().mining(Mining::DistanceWeighted).normalize(false)),
        "TripletLoss: distance-weighted mining is for normalized embeddings"
    );
    let weighted = triplet.clone().mining(Mining::DistanceWeighted);
    assert_eq!(
        error(weighted.f_forward_with_noise(&x, &labels(), &x)),
        "TripletLoss: expected noise of shape [10, 10], got [10, 3]"
    );
    assert!(param(&ContrastiveLoss::default().neg_margin(-1.0)).contains("neg_margin"));
    assert!(param(&ContrastiveLoss::default().pos_margin(nan)).contains("pos_margin"));
    assert!(param(&NPairLoss::default().temperature(0.0)).contains("temperature"));
    assert!(param(&NtXentLoss::default().temperature(nan)).contains("temperature"));
    assert!(param(&SupConLoss::default().base_temperature(0.0)).contains("base_temperature"));
    assert!(param(&CircleLoss::default().gamma(0.0)).contains("gamma"));
    assert!(param(&CircleLoss::default().m(nan)).contains("expected m finite"));
    assert!(param(&MultiSimilarityLoss::default().alpha(0.0)).contains("alpha"));
    assert!(param(&MultiSimilarityLoss::default().beta(nan)).contains("beta"));
    assert!(param(&MultiSimilarityLoss::default().base(nan)).contains("base"));
    assert!(param(&MultiSimilarityLoss::default().epsilon(nan)).contains("epsilon"));
    for (name, make) in of_batches() {
        assert!(param(&*make(Reduction::Other(7))).contains("expected reduction"), "{name}");
    }

    let w = vectors(Kind::Float);
    let param = |loss: &dyn Loss| of(loss, &x, &classes());
    assert!(param(&ArcFaceLoss::new(&w).margin(4.0)).contains("expected margin in [0, π), got 4"));
    assert!(param(&ArcFaceLoss::new(&w).scale(nan)).contains("scale"));
    assert!(param(&CosFaceLoss::new(&w).margin(nan)).contains("margin"));
    assert!(param(&ProxyNcaLoss::new(&w).softmax_scale(0.0)).contains("softmax_scale"));
    assert_eq!(
        param(&ProxyNcaLoss::paper(&w.narrow(0, 0, 1))),
        "ProxyNcaLoss: expected proxies of shape [C, D] with C at least 2, for exclude_positive, got [1, 3]"
    );
    assert_eq!(
        param(&CenterLoss::new(&w.tr())),
        "CenterLoss: expected centers of shape [C, 3], got [3, 4]"
    );
    assert_eq!(
        param(&ArcFaceLoss::new(&w.to_kind(Kind::Int64))),
        "ArcFaceLoss: expected weight of floating-point kind, got Int64"
    );
    assert!(error(CenterLoss::new(&w).f_update(&x, &classes(), 2.0)).contains("rate"));
    for (name, make) in of_classes() {
        assert!(param(&*make(&w, Reduction::Other(7))).contains("expected reduction"), "{name}");
        let loss = make(&w, Reduction::Mean);
        assert!(of(&*loss, &x.get(0), &classes()).contains("[N, D]"), "{name}");
        // On a GPU libtorch asserts on the device.
        if device() == tch::Device::Cpu {
            let wrong = of(&*loss, &x, &(classes() + 100));
            assert!(wrong.starts_with("libtorch: "), "{name}: {wrong}");
        }
    }

    let rows = |rows: i64, kind| randn(61, &[rows, 3], kind);
    let margin = TripletMarginLoss::default();
    let [a, b] = [rows(4, Kind::Float), rows(5, Kind::Float)];
    assert_eq!(
        error(margin.f_forward(&a, &a, &b)),
        "TripletMarginLoss: expected negative of shape [4, 3], got [5, 3]"
    );
    assert!(error(margin.f_forward(&a, &a.to_kind(Kind::Int64), &a)).contains("floating-point"));
    assert!(error(margin.clone().p(0.0).f_forward(&a, &a, &a)).contains("expected p above 0"));
    assert!(error(margin.clone().eps(nan).f_forward(&a, &a, &a)).contains("eps"));
    assert!(error(margin.clone().margin(-1.0).f_forward(&a, &a, &a)).contains("margin"));
    let scalar = |a: &Tensor, b: &Tensor| Ok((a - b).sum(None::<Kind>));
    assert!(
        error(margin.f_forward_with_distance(&a, &a, &a, scalar)).contains("distance of shape [N]")
    );
    assert!(error(Triplets::f_new(&labels(), &labels(), &index(&[1], &[1]))).contains("negative"));
    assert!(error(Triplets::f_all(&a)).contains("labels"));
    assert!(error(f_pair_counts(&a)).contains("labels of shape [N]"));
    if device() == tch::Device::Cpu {
        let wrong = Triplets::new(&index(&[0], &[1]), &index(&[1], &[1]), &index(&[9], &[1]));
        assert!(error(margin.f_forward_triplets(&a, &wrong)).starts_with("libtorch: "));
    }

    assert_eq!(
        error(f_retrieval_metrics(&x, &labels(), &[0])),
        "retrieval_metrics: expected k at least 1, got 0"
    );
    assert!(error(f_retrieval_metrics(&x, &classes().narrow(0, 0, 3), &[1])).contains("labels"));
    let other = randn(62, &[4, 2], Kind::Float);
    let of = f_retrieval_metrics_of((&x, &labels()), (&other, &index(&[0; 4], &[4])), &[1]);
    assert!(error(of).contains("expected reference of shape [M, 3], got [4, 2]"));
}

#[test]
fn losses_with_vectors_of_classes_are_made_by_name() {
    let (x, w) = (embeddings(63, Kind::Double), vectors(Kind::Double));
    let named = proxy_loss_by_name("ArcFaceLoss", &"margin=0.2, scale=4".parse().unwrap(), &w);
    let made = ArcFaceLoss::new(&w).margin(0.2).scale(4.0);
    let value = named.forward(&x, &classes());
    assert_close("by name", &value, &made.forward(&x, &classes()), (1e-12, 0.0));
    for entry in loss::catalogue() {
        if ["arc_face", "cos_face", "proxy_nca", "center"].contains(&entry.name.as_str()) {
            let made = f_proxy_loss_by_name(&entry.name, &Default::default(), &w).unwrap();
            assert!(format!("{made:?}").starts_with(&entry.type_name));
        }
    }
    let unknown = error(f_proxy_loss_by_name("triplet", &Default::default(), &w));
    assert!(unknown.contains("arc_face or cos_face or proxy_nca or center"), "{unknown}");
    let strange = error(f_proxy_loss_by_name("center", &"margin=1".parse().unwrap(), &w));
    assert_eq!(strange, "center: no option `margin`; there are ignore_index, reduction");
    let triplet = loss::parse("triplet(mining=semi_hard, margin=0.2)", device()).unwrap();
    let expected = TripletLoss::default().mining(Mining::SemiHard).margin(0.2);
    assert_close(
        "parsed",
        &triplet.forward(&x, &labels()),
        &expected.forward(&x, &labels()),
        (1e-12, 0.0),
    );
}
