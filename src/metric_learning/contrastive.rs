//! Contrastive loss: pairs of one class together, pairs of two classes apart.

use super::pairs::{AverageOver, Batch, PairDistance, PerAnchor};
use crate::{
    Reduction, Result, check,
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Contrastive loss of every pair of a batch.
///
/// ```text
/// l_ij = max(0, d_ij - m_p)    i and j of one class, i ≠ j
///        max(0, m_n - d_ij)    i and j of two classes
/// l_ij = ½ max(0, ..)²         `square`
/// loss = mean of positive pairs + mean of negative pairs
/// ```
///
/// An anchor without a positive is in negative pairs only; [`pair_counts`](super::pair_counts) counts
/// such.
///
/// | option | default | `hadsell()` | meaning |
/// |---|---|---|---|
/// | `pos_margin` | 0 | 0 | m_p, at least 0: as near as that is near enough |
/// | `neg_margin` | 1 | 1 | m_n, at least 0: as far as that is far enough |
/// | `square` | false | true | half the square |
/// | `distance` | `Euclidean` | `Euclidean` | of two embeddings |
/// | `normalize` | true | false | embeddings of length 1; a cosine has them in any case |
/// | `average` | `Active` | `All` | what a mean divides by: the pairs that cost something, or all |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: embeddings (N, D)
/// - target: integer labels (N), of any values
/// - weight: of anchors, broadcastable to (N)
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// Takes about 32 bytes times N² in `Float`, gradient included: 0.5 GB for 4000 embeddings.
///
/// # Reduction
///
/// `Mean` divides the sum over positive pairs by their number, that over negative pairs by theirs, and
/// adds both; `average` says which pairs are counted. Each pair comes twice, once for each anchor.
/// Without reduction each anchor has its own two means.
///
/// # Errors
///
/// Shape, kind or device of the input, the target or a weight; a margin below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{ContrastiveLoss, Loss};
///
/// let embeddings = Tensor::from_slice(&[0.0f64, 0.5, 0.7]).view([3, 1]);
/// let labels = Tensor::from_slice(&[0i64, 0, 1]);
/// let loss = ContrastiveLoss::default().normalize(false).forward(&embeddings, &labels);
/// assert!((loss.double_value(&[]) - (0.5 + (0.3 + 0.8) / 2.0)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Hadsell et al. sum over pairs, without normalising: `hadsell()` with `Reduction::Sum`. At distance
/// 0 the gradient is 0.
///
/// # Reference
///
/// Hadsell et al. 2006, "Dimensionality Reduction by Learning an Invariant Mapping". Follows
/// pytorch-metric-learning 2.9 `ContrastiveLoss`; `average(All)` is its `MeanReducer`. For pairs that
/// are given as distances see [`HingeEmbeddingLoss`](crate::HingeEmbeddingLoss), as cosines
/// [`CosineEmbeddingLoss`](crate::CosineEmbeddingLoss).
#[derive(Debug, Clone)]
pub struct ContrastiveLoss {
    pos_margin: f64,
    neg_margin: f64,
    square: bool,
    distance: PairDistance,
    normalize: bool,
    average: AverageOver,
    reduction: Reduction,
}

impl Default for ContrastiveLoss {
    fn default() -> Self {
        ContrastiveLoss {
            pos_margin: 0.0,
            neg_margin: 1.0,
            square: false,
            distance: PairDistance::Euclidean,
            normalize: true,
            average: AverageOver::Active,
            reduction: Reduction::Mean,
        }
    }
}

impl ContrastiveLoss {
    /// Half squares of Euclidean distances as they are, over all pairs.
    pub fn hadsell() -> Self {
        ContrastiveLoss::default().square(true).normalize(false).average(AverageOver::All)
    }

    /// m_p, at least 0; 0 by default.
    pub fn pos_margin(mut self, pos_margin: f64) -> Self {
        self.pos_margin = pos_margin;
        self
    }

    /// m_n, at least 0; 1 by default.
    pub fn neg_margin(mut self, neg_margin: f64) -> Self {
        self.neg_margin = neg_margin;
        self
    }

    /// Whether a pair costs half the square.
    pub fn square(mut self, square: bool) -> Self {
        self.square = square;
        self
    }

    /// How far two embeddings are; `Euclidean` by default.
    pub fn distance(mut self, distance: PairDistance) -> Self {
        self.distance = distance;
        self
    }

    /// Whether embeddings are made of length 1; true by default.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// Which pairs a mean divides by; `Active` by default.
    pub fn average(mut self, average: AverageOver) -> Self {
        self.average = average;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "ContrastiveLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "pos_margin", self.pos_margin)?;
        check::at_least_zero(NAME, "neg_margin", self.neg_margin)?;
        let batch = Batch::new(NAME, input, target)?;
        let distance = batch.distances(self.distance, self.normalize)?;
        let cost = |short: Tensor, mask: &Tensor| -> Result<Tensor> {
            let mask = mask.f_to_kind(short.f_kind()?)?;
            // Early and in place: each matrix that is alive is 4 bytes times N².
            let kept = short.f_mul(&mask)?.f_relu_()?;
            drop(short);
            let each = if self.square { kept.f_square()?.f_mul_scalar(0.5)? } else { kept };
            PerAnchor::of_masked(&each, &mask, self.average)?.reduce(NAME, weight, self.reduction)
        };
        let near = cost(distance.f_sub_scalar(self.pos_margin)?, &batch.positive)?;
        let apart = distance.f_rsub_scalar(self.neg_margin)?;
        drop(distance);
        let far = cost(apart, &batch.negative)?;
        Ok(near.f_add(&far)?)
    }
}

weighted_loss!(ContrastiveLoss);

named_loss! {
    ContrastiveLoss: "contrastive", Embeddings => Index, "pytorch-metric-learning `ContrastiveLoss`",
    [pos_margin, neg_margin, square, distance, normalize, average, reduction],
    presets { "contrastive_hadsell" => Self::hadsell(), "Hadsell et al. 2006" },
}
