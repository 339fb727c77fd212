//! Recall@k, R-precision and MAP@R of embeddings.

use crate::{LossError, Result, check, error::unwrap, pairwise::squared_distances};
use tch::{Kind, Tensor};

const NAME: &str = "retrieval_metrics";

/// What [`retrieval_metrics`] returns; NaN where no query counts.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrievalMetrics {
    /// k and the share of queries with one of their class among the k nearest, in the order asked for.
    pub recall: Vec<(i64, f64)>,
    /// The share of a query's class among its R nearest, where R is how many of its class there are.
    pub r_precision: f64,
    /// The mean over the R nearest of the precision up to each that is of the query's class.
    pub map_at_r: f64,
    /// The queries that count.
    pub queries: usize,
    /// Those with nobody of their class to find, which are left out.
    pub skipped: usize,
}

impl RetrievalMetrics {
    /// Recall at a k that was asked for.
    pub fn recall_at(&self, k: i64) -> Option<f64> {
        self.recall.iter().find(|(own, _)| *own == k).map(|(_, recall)| *recall)
    }
}

/// How well the nearest embeddings are of the same class: each against all others.
///
/// ```text
/// recall@k = mean_q [some of the k nearest is of q's class]
/// R-precision = mean_q (how many of the R_q nearest are of q's class) / R_q
/// MAP@R = mean_q 1/R_q Σ_(i <= R_q) P_q(i) [the i-th nearest is of q's class]
/// P_q(i) = the share of q's class among the i nearest,  R_q = how many others are of q's class
/// ```
///
/// Distances are Euclidean; make the embeddings of length 1 before, and the order is that of cosines.
/// They are computed 256 queries at a time: memory grows with the number of embeddings, not with its
/// square. Recall@1 is also called precision@1.
///
/// # Shapes
///
/// `embeddings` (N, D), floating-point, and integer `labels` (N); `ks` are those of recall. `Half` and
/// `BFloat16` are computed in `Float`.
///
/// # Errors
///
/// Shape, kind or device; a k below 1.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::metrics::retrieval_metrics;
///
/// let embeddings = Tensor::from_slice(&[0.0f64, 0.1, 0.3, 0.7, 5.0]).view([5, 1]);
/// let labels = Tensor::from_slice(&[0i64, 0, 1, 1, 2]);
/// let found = retrieval_metrics(&embeddings, &labels, &[1, 2]);
/// // The third is nearer to the second than to the fourth; the last has nobody to find.
/// assert_eq!((found.queries, found.skipped), (4, 1));
/// assert_eq!(found.recall, [(1, 0.75), (2, 0.75)]);
/// assert_eq!(found.map_at_r, 0.75);
/// ```
///
/// # Differences
///
/// pytorch-metric-learning takes for the query itself whatever is nearest, so that of two equal embeddings
/// one may find itself; here a query never does.
///
/// # Reference
///
/// Musgrave et al. 2020, "A Metric Learning Reality Check". Follows pytorch-metric-learning 2.9
/// `AccuracyCalculator`. See also [`retrieval_metrics_of`].
pub fn f_retrieval_metrics(
    embeddings: &Tensor,
    labels: &Tensor,
    ks: &[i64],
) -> Result<RetrievalMetrics> {
    let own = Set::new(["embeddings", "labels"], embeddings, labels)?;
    metrics(&own, &own, true, ks)
}

/// [`f_retrieval_metrics`], or a panic with its error.
#[track_caller]
pub fn retrieval_metrics(embeddings: &Tensor, labels: &Tensor, ks: &[i64]) -> RetrievalMetrics {
    unwrap(f_retrieval_metrics(embeddings, labels, ks))
}

/// [`f_retrieval_metrics`] of queries against references, which they are not among.
///
/// # Errors
///
/// As [`f_retrieval_metrics`]; references of another dimension, kind or device.
pub fn f_retrieval_metrics_of(
    (query, query_labels): (&Tensor, &Tensor),
    (reference, reference_labels): (&Tensor, &Tensor),
    ks: &[i64],
) -> Result<RetrievalMetrics> {
    let queries = Set::new(["query", "query_labels"], query, query_labels)?;
    let references = Set::new(["reference", "reference_labels"], reference, reference_labels)?;
    let (size, dims) = (reference.size(), query.size()[1]);
    check::shape_is(NAME, "reference", reference, size[1] == dims, &format!("[M, {dims}]"))?;
    check::device(NAME, "reference", reference, query)?;
    let (got, own) = (references.embeddings.f_kind()?, queries.embeddings.f_kind()?);
    if got != own {
        return Err(LossError::Kind {
            loss: NAME,
            what: "reference",
            expected: "the query's",
            got,
        });
    }
    metrics(&queries, &references, false, ks)
}

/// [`f_retrieval_metrics_of`], or a panic with its error.
#[track_caller]
pub fn retrieval_metrics_of(
    query: (&Tensor, &Tensor),
    reference: (&Tensor, &Tensor),
    ks: &[i64],
) -> RetrievalMetrics {
    unwrap(f_retrieval_metrics_of(query, reference, ks))
}

const ROWS: i64 = 256;

struct Set {
    embeddings: Tensor,
    labels: Tensor,
}

impl Set {
    fn new(
        [what, of_labels]: [&'static str; 2],
        embeddings: &Tensor,
        labels: &Tensor,
    ) -> Result<Self> {
        check::shape_is(NAME, what, embeddings, embeddings.dim() == 2, "[N, D]")?;
        check::shape(NAME, of_labels, labels, &embeddings.size()[..1])?;
        check::device(NAME, of_labels, labels, embeddings)?;
        Ok(Set {
            embeddings: check::accumulated(NAME, what, &embeddings.f_detach()?)?,
            labels: check::index(NAME, of_labels, labels)?,
        })
    }
}

fn metrics(queries: &Set, references: &Set, own: bool, ks: &[i64]) -> Result<RetrievalMetrics> {
    for &k in ks {
        check::param(NAME, "k", k as f64, k >= 1, "at least 1")?;
    }
    let samples = queries.labels.size()[0];
    let mut sums = vec![0.0; ks.len() + 3];
    let mut first = 0;
    while first < samples {
        let rows = ROWS.min(samples - first);
        let found = block(queries, references, own, ks, first, rows)?;
        for (sum, found) in sums.iter_mut().zip(found) {
            *sum += found;
        }
        first += rows;
    }
    let (recall, rest) = sums.split_at(ks.len());
    let counted = rest[2];
    Ok(RetrievalMetrics {
        recall: ks.iter().copied().zip(recall.iter().map(|hits| hits / counted)).collect(),
        r_precision: rest[0] / counted,
        map_at_r: rest[1] / counted,
        queries: counted as usize,
        skipped: samples as usize - counted as usize,
    })
}

/// The sums over some queries of recall at each k, R-precision, MAP@R and 1.
fn block(
    queries: &Set,
    references: &Set,
    own: bool,
    ks: &[i64],
    first: i64,
    rows: i64,
) -> Result<Vec<f64>> {
    let labels = queries.labels.f_narrow(0, first, rows)?.f_unsqueeze(1)?;
    let others = references.labels.size()[0];
    let alike = labels.f_eq_tensor(&references.labels.f_unsqueeze(0)?)?;
    let of_class = alike.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?;
    let of_class = of_class.f_sub_scalar(i64::from(own))?;
    let most = if rows > 0 && others > 0 { of_class.f_max()?.f_int64_value(&[])? } else { 0 };
    let depth = ks.iter().copied().fold(most, i64::max).min(others - i64::from(own));
    if depth < 1 || most < 1 {
        return Ok(vec![0.0; ks.len() + 3]);
    }
    let embeddings = queries.embeddings.f_narrow(0, first, rows)?;
    let mut distance = squared_distances(&embeddings, &references.embeddings)?;
    if own {
        let itself = Tensor::f_arange(rows, (Kind::Int64, distance.device()))?
            .f_add_scalar(first)?
            .f_unsqueeze(1)?;
        let far =
            Tensor::f_full([rows, 1], f64::INFINITY, (distance.f_kind()?, distance.device()))?;
        let _ = distance.f_scatter_(1, &itself, &far)?;
    }
    let (_, nearest) = distance.f_topk(depth, 1, false, true)?;
    let hit = alike.f_gather(1, &nearest, false)?;
    let counts = of_class.f_gt(0)?;
    let place = Tensor::f_arange(depth, (Kind::Int64, distance.device()))?;
    let within = place.f_unsqueeze(0)?.f_lt_tensor(&of_class)?.f_logical_and(&counts)?;
    let number = |of: &Tensor| -> Result<f64> { Ok(of.f_sum(Kind::Double)?.f_double_value(&[])?) };
    let mut sums = Vec::with_capacity(ks.len() + 3);
    for &k in ks {
        let hits = hit.f_narrow(1, 0, k.min(depth))?.f_any_dim(1, true)?;
        sums.push(number(&hits.f_logical_and(&counts)?)?);
    }
    let hit = hit.f_logical_and(&within)?.f_to_kind(Kind::Double)?;
    let share = hit.f_div(&of_class.f_clamp_min(1)?)?;
    sums.push(number(&share)?);
    let precision = hit.f_cumsum(1, None::<Kind>)?.f_div(&place.f_add_scalar(1)?)?;
    sums.push(number(&share.f_mul(&precision)?)?);
    sums.push(number(&counts)?);
    Ok(sums)
}
