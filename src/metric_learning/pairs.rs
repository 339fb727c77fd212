//! What the losses of a batch share: the matrix of distances or similarities, who is whose positive and
//! negative, and the mean over what the anchors cost.

use crate::{
    LossError, Reduction, Result, check,
    error::unwrap,
    loss::option_enum,
    pairwise,
    reduce::{ratio, weights},
    regression::{f_l2_norm, root},
};
use tch::{Kind, Tensor, no_grad};

/// How far two embeddings are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PairDistance {
    /// `‖x - y‖`
    #[default]
    Euclidean,
    /// `‖x - y‖²`
    SquaredEuclidean,
    /// `1 - cos(x, y)`
    Cosine,
}

option_enum!(PairDistance {
    PairDistance::Euclidean => "euclidean",
    PairDistance::SquaredEuclidean => "squared_euclidean",
    PairDistance::Cosine => "cosine",
});

/// What a mean over pairs or triplets divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AverageOver {
    /// Those that cost something.
    #[default]
    Active,
    /// All of them.
    All,
}

option_enum!(AverageOver { AverageOver::Active => "active", AverageOver::All => "all" });

/// What logarithms of sums over nothing are, in place of -∞, whose gradient is NaN.
pub(super) const NOTHING: f64 = -1e30;

/// A batch of embeddings: who is alike and who is not.
#[derive(Debug)]
pub(super) struct Batch {
    /// (N, D) in the kind that is computed in
    pub(super) embeddings: Tensor,
    /// (N, N): of the same class, and not the anchor itself
    pub(super) positive: Tensor,
    /// (N, N): of another class
    pub(super) negative: Tensor,
}

impl Batch {
    pub(super) fn new(loss: &'static str, input: &Tensor, target: &Tensor) -> Result<Self> {
        let (embeddings, labels) = batch(loss, input, target)?;
        let (positive, negative) = masks(&labels)?;
        Ok(Batch { embeddings, positive, negative })
    }

    pub(super) fn distances(&self, distance: PairDistance, normalize: bool) -> Result<Tensor> {
        let own = || match normalize {
            true => unit(&self.embeddings),
            false => Ok(self.embeddings.shallow_clone()),
        };
        match distance {
            PairDistance::Euclidean => root(&squared_distances(&own()?)?),
            PairDistance::SquaredEuclidean => squared_distances(&own()?),
            PairDistance::Cosine => Ok(self.cosines()?.f_rsub_scalar(1.0)?),
        }
    }

    /// The cosine of each with each.
    pub(super) fn cosines(&self) -> Result<Tensor> {
        let unit = unit(&self.embeddings)?;
        Ok(unit.f_matmul(&unit.f_transpose(0, 1)?)?)
    }

    /// (N): who has a positive.
    pub(super) fn has_positive(&self) -> Result<Tensor> {
        Ok(self.positive.f_any_dim(1, false)?)
    }

    /// (N): who has a negative.
    pub(super) fn has_negative(&self) -> Result<Tensor> {
        Ok(self.negative.f_any_dim(1, false)?)
    }
}

/// Embeddings (N, D) in the kind that is computed in, and labels (N).
pub(super) fn batch(
    loss: &'static str,
    input: &Tensor,
    target: &Tensor,
) -> Result<(Tensor, Tensor)> {
    check::shape_is(loss, "input", input, input.dim() == 2, "[N, D]")?;
    check::shape(loss, "target", target, &input.size()[..1])?;
    check::device(loss, "target", target, input)?;
    Ok((check::accumulated(loss, "input", input)?, check::index(loss, "target", target)?))
}

/// Positives and negatives of labels (N).
pub(super) fn masks(labels: &Tensor) -> Result<(Tensor, Tensor)> {
    let same = labels.f_unsqueeze(1)?.f_eq_tensor(&labels.f_unsqueeze(0)?)?;
    let itself = Tensor::f_eye(labels.size()[0], (Kind::Bool, labels.device()))?;
    Ok((same.f_logical_and(&itself.f_logical_not()?)?, same.f_logical_not()?))
}

/// Rows of length 1; one of length 0 stays that, and gets no gradient.
pub(super) fn unit(rows: &Tensor) -> Result<Tensor> {
    let length = f_l2_norm(rows, &[1], true)?;
    let lost = length.f_eq(0.0)?;
    Ok(rows.f_div(&length.f_masked_fill(&lost, 1.0)?)?.f_masked_fill(&lost, 0.0)?)
}

/// `‖x_i - x_j‖²`, 0 for equal rows.
fn squared_distances(x: &Tensor) -> Result<Tensor> {
    // Products of matrices cancel where rows are near, and what is exact has no second derivative: the
    // gradient is that of the products, whose values are replaced.
    let x = x.f_sub(&x.f_detach()?.f_mean_dim([0i64].as_slice(), true, None::<Kind>)?)?;
    let squares = x.f_mul(&x)?.f_sum_dim_intlist([1i64].as_slice(), true, None::<Kind>)?;
    let mut products = squares.f_addmm(&x.f_mul_scalar(-2.0)?, &x.f_transpose(0, 1)?)?;
    let mut products = products.f_add_(&squares.f_transpose(0, 1)?)?;
    let exact = pairwise::squared_distances(&x, &x)?;
    no_grad(|| products.f_copy_(&exact))?;
    Ok(products)
}

/// Values, those outside of a mask moved by `far`.
pub(super) fn moved_away(values: &Tensor, mask: &Tensor, far: f64) -> Result<Tensor> {
    // By a sum: on the CPU filling by a mask takes three times as long.
    let others = mask.f_logical_not()?.f_to_kind(values.f_kind()?)?;
    Ok(values.f_add(&others.f_mul_scalar(far)?)?)
}

/// A mask's elements in each row.
pub(super) fn count(mask: &Tensor, kind: Kind) -> Result<Tensor> {
    Ok(mask.f_sum_dim_intlist([1i64].as_slice(), false, kind)?)
}

/// The sum of each row over a mask.
pub(super) fn masked_sum(values: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let kept = values.f_mul(&mask.f_to_kind(values.f_kind()?)?)?;
    Ok(kept.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?)
}

/// `log Σ exp` of each row over a mask; -1e30 where nothing is in it.
pub(super) fn masked_logsumexp(values: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let kept = moved_away(values, mask, NOTHING)?;
    Ok(kept.f_logsumexp([1i64].as_slice(), false)?)
}

/// What each anchor's pairs or triplets cost together, (N), and how many count.
#[derive(Debug)]
pub(super) struct PerAnchor {
    pub(super) total: Tensor,
    pub(super) count: Tensor,
}

impl PerAnchor {
    /// `each` (N, N) over a mask.
    pub(super) fn of_pairs(each: &Tensor, mask: &Tensor, average: AverageOver) -> Result<Self> {
        let mask = mask.f_to_kind(each.f_kind()?)?;
        Self::of_masked(&each.f_mul(&mask)?, &mask, average)
    }

    /// What is 0 outside of a mask of 0 and 1, (N, N) both.
    pub(super) fn of_masked(kept: &Tensor, mask: &Tensor, average: AverageOver) -> Result<Self> {
        let kind = kept.f_kind()?;
        let counts = match average {
            AverageOver::All => count(mask, kind)?,
            AverageOver::Active => count(&kept.f_detach()?.f_sign()?, kind)?,
        };
        let total = kept.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
        Ok(PerAnchor { total, count: counts })
    }

    /// One loss an anchor, of those of a mask (N).
    pub(super) fn of_anchors(each: &Tensor, mask: &Tensor) -> Result<Self> {
        let total = each.f_masked_fill(&mask.f_logical_not()?, 0.0)?;
        Ok(PerAnchor { total, count: mask.f_to_kind(each.f_kind()?)? })
    }

    pub(super) fn reduce(
        self,
        loss: &'static str,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        let PerAnchor { total, count } = self;
        let weight = weights(loss, [weight], &total)?;
        let weighted = |of: &Tensor| -> Result<Tensor> {
            Ok(weight.as_ref().map_or_else(|| Ok(of.shallow_clone()), |weight| of.f_mul(weight))?)
        };
        let summed = |of: &Tensor| -> Result<Tensor> { Ok(weighted(of)?.f_sum(None::<Kind>)?) };
        match reduction {
            Reduction::Mean => ratio(&summed(&total)?, &summed(&count)?),
            Reduction::Sum => summed(&total),
            _ => ratio(&weighted(&total)?, &count),
        }
    }
}

/// One vector a class, (C, D), in the kind of the embeddings (N, D).
pub(super) fn class_vectors(
    loss: &'static str,
    what: &'static str,
    vectors: &Tensor,
    embeddings: &Tensor,
) -> Result<Tensor> {
    let size = embeddings.size();
    check::shape_is(loss, "input", embeddings, size.len() == 2, "[N, D]")?;
    let ok =
        matches!(vectors.size().as_slice(), &[classes, dims] if classes > 0 && dims == size[1]);
    check::shape_is(loss, what, vectors, ok, &format!("[C, {}]", size[1]))?;
    check::device(loss, what, vectors, embeddings)?;
    match vectors.f_kind()? {
        kind if check::is_float(kind) => Ok(vectors.f_to_kind(embeddings.f_kind()?)?),
        got => Err(LossError::Kind { loss, what, expected: "floating-point", got }),
    }
}

/// What [`pair_counts`] finds in the labels of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairCounts {
    /// Samples.
    pub samples: usize,
    /// Those that are alone in their class: anchors that the losses skip.
    pub without_positive: usize,
    /// Those with nobody of another class.
    pub without_negative: usize,
    /// Pairs (i, j) of one class, i ≠ j; each counts in both orders.
    pub positive_pairs: usize,
    /// Pairs (i, j) of two classes.
    pub negative_pairs: usize,
}

/// How many anchors of a batch have no positive or no negative, and how many pairs there are.
///
/// It reads the numbers back to the host, which the losses do not.
///
/// # Errors
///
/// Labels that are not an integer tensor (N).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::metric_learning::pair_counts;
///
/// let counts = pair_counts(&Tensor::from_slice(&[3i64, 3, 7]));
/// assert_eq!((counts.samples, counts.without_positive, counts.without_negative), (3, 1, 0));
/// assert_eq!((counts.positive_pairs, counts.negative_pairs), (2, 4));
/// ```
pub fn f_pair_counts(labels: &Tensor) -> Result<PairCounts> {
    const NAME: &str = "pair_counts";
    check::shape_is(NAME, "labels", labels, labels.dim() == 1, "[N]")?;
    let (positive, negative) = masks(&check::index(NAME, "labels", labels)?)?;
    let number = |count: Tensor| -> Result<usize> {
        Ok(count.f_sum(Kind::Int64)?.f_int64_value(&[])?.unsigned_abs() as usize)
    };
    let without = |mask: &Tensor| number(mask.f_any_dim(1, false)?.f_logical_not()?);
    Ok(PairCounts {
        samples: labels.numel(),
        without_positive: without(&positive)?,
        without_negative: without(&negative)?,
        positive_pairs: number(positive)?,
        negative_pairs: number(negative)?,
    })
}

/// [`f_pair_counts`], or a panic with its error.
#[track_caller]
pub fn pair_counts(labels: &Tensor) -> PairCounts {
    unwrap(f_pair_counts(labels))
}
