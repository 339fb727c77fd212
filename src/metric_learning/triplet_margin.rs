//! Triplet loss of triplets that are given: aligned rows, or lists of indices.

use super::Triplets;
use crate::{
    LossError, MeanOver, Reduction, Result, check,
    classification::softplus,
    error::unwrap,
    loss::named_loss,
    reduce::{reduce, weights},
    regression::f_lp_norm,
};
use tch::Tensor;

const NAME: &str = "TripletMarginLoss";

/// Triplet loss: an anchor should be nearer to its positive than to its negative, by a margin.
///
/// ```text
/// l = max(0, d(a, p) - d(a, n) + margin)
/// l = log(1 + exp(d(a, p) - d(a, n) + margin))    `soft`
/// d(x, y) = ‖x - y + ε‖_p, or its square with `square`
/// ```
///
/// | option | default | `facenet()` | meaning |
/// |---|---|---|---|
/// | `margin` | 1 | 0.2 | at least 0 |
/// | `p` | 2 | 2 | of the norm, above 0 |
/// | `eps` | 1e-6 | 0 | ε, added to each difference, at least 0 |
/// | `swap` | false | false | d(p, n) in place of d(a, n) where it is less |
/// | `square` | false | true | squared distances |
/// | `soft` | false | false | a soft margin, which never is 0; with `margin` 0 that of Hermans et al. |
/// | `reduction` | `Mean` | `Mean` | |
///
/// FaceNet's embeddings are of length 1; that is the network's part, here.
///
/// # Shapes
///
/// - anchor, positive, negative: embeddings (N, D) or (D) each
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of triplets, those that cost nothing included, or by the sum of their
/// weights; without any it is 0.
///
/// # Errors
///
/// Shapes, kinds or devices that are not alike; an option out of its range.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::TripletMarginLoss;
///
/// let row = |x: f64, y: f64| Tensor::from_slice(&[x, y]).view([1, 2]);
/// let (anchor, positive, negative) = (row(0.0, 0.0), row(3.0, 4.0), row(0.0, 5.5));
/// let loss = TripletMarginLoss::default().eps(0.0);
/// let value = loss.forward(&anchor, &positive, &negative).double_value(&[]);
/// assert!((value - (5.0 - 5.5 + 1.0)).abs() < 1e-12);
/// // The positive is √11.25 from the negative.
/// let swapped = loss.swap(true).forward(&anchor, &positive, &negative).double_value(&[]);
/// assert!((swapped - (5.0 - 11.25f64.sqrt() + 1.0)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// `TripletMarginWithDistanceLoss` is [`TripletMarginLoss::forward_with_distance`]. PyTorch broadcasts,
/// this does not. With ε = 0 the gradient of a distance of 0 is 0.
///
/// # Reference
///
/// Balntas et al. 2016, "Learning local feature descriptors with triplets and shallow convolutional
/// neural networks". Follows PyTorch 2.13 `torch.nn.TripletMarginLoss`; `facenet()` is the loss of
/// Schroff et al. 2015, "FaceNet". [`TripletLoss`](super::TripletLoss) finds triplets in a batch.
#[derive(Debug, Clone)]
pub struct TripletMarginLoss {
    margin: f64,
    p: f64,
    eps: f64,
    swap: bool,
    square: bool,
    soft: bool,
    reduction: Reduction,
}

impl Default for TripletMarginLoss {
    fn default() -> Self {
        TripletMarginLoss {
            margin: 1.0,
            p: 2.0,
            eps: 1e-6,
            swap: false,
            square: false,
            soft: false,
            reduction: Reduction::Mean,
        }
    }
}

impl TripletMarginLoss {
    /// Squared distances with a margin of 0.2, for embeddings of length 1.
    pub fn facenet() -> Self {
        TripletMarginLoss::default().margin(0.2).eps(0.0).square(true)
    }

    /// At least 0; 1 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// Of the norm, above 0; 2 by default.
    pub fn p(mut self, p: f64) -> Self {
        self.p = p;
        self
    }

    /// ε, at least 0; 1e-6 by default.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether the negative may be that of the positive.
    pub fn swap(mut self, swap: bool) -> Self {
        self.swap = swap;
        self
    }

    /// Whether distances are squared.
    pub fn square(mut self, square: bool) -> Self {
        self.square = square;
        self
    }

    /// Whether the margin is soft.
    pub fn soft(mut self, soft: bool) -> Self {
        self.soft = soft;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The loss of aligned triplets.
    pub fn f_forward(
        &self,
        anchor: &Tensor,
        positive: &Tensor,
        negative: &Tensor,
    ) -> Result<Tensor> {
        self.compute([anchor, positive, negative], None)
    }

    /// [`TripletMarginLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Tensor {
        unwrap(self.f_forward(anchor, positive, negative))
    }

    /// The loss where each triplet counts `weight` times.
    ///
    /// `weight` broadcasts to (N).
    pub fn f_forward_weighted(
        &self,
        anchor: &Tensor,
        positive: &Tensor,
        negative: &Tensor,
        weight: &Tensor,
    ) -> Result<Tensor> {
        self.compute([anchor, positive, negative], Some(weight))
    }

    /// [`TripletMarginLoss::f_forward_weighted`], or a panic with its error.
    #[track_caller]
    pub fn forward_weighted(
        &self,
        anchor: &Tensor,
        positive: &Tensor,
        negative: &Tensor,
        weight: &Tensor,
    ) -> Tensor {
        unwrap(self.f_forward_weighted(anchor, positive, negative, weight))
    }

    /// The loss of triplets of rows of embeddings (N, D), such as those found by
    /// [`TripletLoss::mine`](super::TripletLoss::mine) with an earlier state of the network.
    ///
    /// # Errors
    ///
    /// As [`TripletMarginLoss::f_forward`]; an index that is no row (on CUDA libtorch asserts on the
    /// device instead).
    pub fn f_forward_triplets(&self, embeddings: &Tensor, triplets: &Triplets) -> Result<Tensor> {
        check::shape_is(NAME, "embeddings", embeddings, embeddings.dim() == 2, "[N, D]")?;
        check::device(NAME, "triplets", &triplets.anchor, embeddings)?;
        let rows = |index: &Tensor| embeddings.f_index_select(0, index);
        let [anchor, positive, negative] =
            [rows(&triplets.anchor)?, rows(&triplets.positive)?, rows(&triplets.negative)?];
        self.f_forward(&anchor, &positive, &negative)
    }

    /// [`TripletMarginLoss::f_forward_triplets`], or a panic with its error.
    #[track_caller]
    pub fn forward_triplets(&self, embeddings: &Tensor, triplets: &Triplets) -> Tensor {
        unwrap(self.f_forward_triplets(embeddings, triplets))
    }

    /// The loss with a distance of the caller's own in place of `p`, `eps` and `square`: a function of
    /// two tensors of samples, whose first dimension it keeps.
    ///
    /// # Errors
    ///
    /// Those of the distance, or distances that are not (N).
    pub fn f_forward_with_distance(
        &self,
        anchor: &Tensor,
        positive: &Tensor,
        negative: &Tensor,
        distance: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.check()?;
        let of = |a: &Tensor, b: &Tensor| {
            let distance = distance(a, b)?;
            let ok = distance.dim() == 1;
            check::shape_is(NAME, "distance", &distance, ok, "[N]")?;
            check::accumulated(NAME, "distance", &distance)
        };
        self.of_distances([anchor, positive, negative], None, of)
    }

    /// [`TripletMarginLoss::f_forward_with_distance`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_distance(
        &self,
        anchor: &Tensor,
        positive: &Tensor,
        negative: &Tensor,
        distance: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Tensor {
        unwrap(self.f_forward_with_distance(anchor, positive, negative, distance))
    }

    fn check(&self) -> Result<()> {
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "margin", self.margin)?;
        check::param(NAME, "p", self.p, self.p > 0.0, "above 0")?;
        check::at_least_zero(NAME, "eps", self.eps)
    }

    fn compute(&self, triplet: [&Tensor; 3], weight: Option<&Tensor>) -> Result<Tensor> {
        self.check()?;
        let [anchor, positive, negative] = triplet;
        let size = anchor.size();
        check::shape_is(NAME, "anchor", anchor, matches!(size.len(), 1 | 2), "[N, D] or [D]")?;
        let anchor = check::accumulated(NAME, "anchor", anchor)?;
        let kind = anchor.f_kind()?;
        let like = |what: &'static str, tensor: &Tensor| -> Result<Tensor> {
            check::shape(NAME, what, tensor, &size)?;
            check::device(NAME, what, tensor, &anchor)?;
            match tensor.f_kind()? {
                got if check::is_float(got) => Ok(tensor.f_to_kind(kind)?),
                got => Err(LossError::Kind { loss: NAME, what, expected: "floating-point", got }),
            }
        };
        let (positive, negative) = (like("positive", positive)?, like("negative", negative)?);
        self.of_distances([&anchor, &positive, &negative], weight, |a, b| {
            let apart = f_lp_norm(&a.f_sub(b)?.f_add_scalar(self.eps)?, self.p, &[-1], false)?;
            Ok(if self.square { apart.f_square()? } else { apart })
        })
    }

    fn of_distances(
        &self,
        [anchor, positive, negative]: [&Tensor; 3],
        weight: Option<&Tensor>,
        distance: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let near = distance(anchor, positive)?;
        let mut far = distance(anchor, negative)?;
        check::shape(NAME, "distance", &far, &near.size())?;
        if self.swap {
            let other = distance(positive, negative)?;
            check::shape(NAME, "distance", &other, &near.size())?;
            far = far.f_minimum(&other)?;
        }
        let each = cost(&near.f_sub(&far)?.f_add_scalar(self.margin)?, self.soft)?;
        let weight = weights(NAME, [weight], &each)?;
        reduce(each, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

/// What a violation of the margin costs.
pub(super) fn cost(violation: &Tensor, soft: bool) -> Result<Tensor> {
    if soft { softplus(violation) } else { Ok(violation.f_relu()?) }
}

named_loss! {
    apart TripletMarginLoss: "triplet_margin", "torch.nn.TripletMarginLoss",
    Self::default(), [margin, p, eps, swap, square, soft, reduction],
    aliases ["triplet_margin_with_distance"],
}
