//! N-pair loss: one pair of each class, against the pairs of the other classes.

use super::pairs::{NOTHING, PerAnchor, batch, moved_away, unit};
use crate::{
    Reduction, Result, check,
    loss::{named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

/// N-pair loss: of each class one anchor and one positive, which the anchor should tell from the
/// positives of all other classes.
///
/// ```text
/// l_c = -log( e^(a_c · p_c) / Σ_k e^(a_c · p_k) )
/// ```
///
/// The anchor of a class is its first sample in the batch, the positive its second; the others are not
/// looked at. A class of one sample is skipped.
///
/// | option | default | `sohn()` | meaning |
/// |---|---|---|---|
/// | `normalize` | true | false | embeddings of length 1, so that the products are cosines |
/// | `temperature` | 1 | 1 | what products are divided by, above 0 |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: embeddings (N, D)
/// - target: integer labels (N), of any values
/// - weight: of anchors, broadcastable to (N)
/// - loss: a scalar, or (N) without reduction, 0 for who is no anchor; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// Takes about 5 bytes times N² in `Float`, gradient included: 80 MB for 4000 embeddings.
///
/// # Reduction
///
/// `Mean` divides by the number of anchors, or by the sum of their weights; without any it is 0.
///
/// # Errors
///
/// Shape, kind or device of the input, the target or a weight; `temperature` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, NPairLoss};
///
/// let embeddings = Tensor::from_slice(&[1.0f64, 2.0, 0.0, -1.0]).view([4, 1]);
/// let labels = Tensor::from_slice(&[7i64, 7, 5, 5]);
/// // The anchors are 1 and 0, their positives 2 and -1.
/// let loss = NPairLoss::sohn().forward(&embeddings, &labels).double_value(&[]);
/// assert!((loss - ((1.0 + (-3.0f64).exp()).ln() + 2.0f64.ln()) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Sohn's embeddings have the lengths that they have, and a penalty on those:
/// [`l2_norm`](crate::regression::l2_norm) computes them. Cosines as they are, pytorch-metric-learning's
/// default, tell little apart; a `temperature` below 1 stretches them.
///
/// # Reference
///
/// Sohn 2016, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective". Follows
/// pytorch-metric-learning 2.9 `NPairsLoss`. See also [`NtXentLoss`](super::NtXentLoss).
#[derive(Debug, Clone)]
pub struct NPairLoss {
    normalize: bool,
    temperature: f64,
    reduction: Reduction,
}

impl Default for NPairLoss {
    fn default() -> Self {
        NPairLoss { normalize: true, temperature: 1.0, reduction: Reduction::Mean }
    }
}

impl NPairLoss {
    /// Sohn: products of embeddings of any length.
    pub fn sohn() -> Self {
        NPairLoss::default().normalize(false)
    }

    /// Whether embeddings are made of length 1; true by default.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// What products are divided by, above 0; 1 by default.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "NPairLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "temperature", self.temperature)?;
        let (embeddings, labels) = batch(NAME, input, target)?;
        let (anchors, positives, valid) = pairs(&labels)?;
        let rows = |index: &Tensor| -> Result<Tensor> {
            let rows = embeddings.f_index_select(0, index)?;
            if self.normalize { unit(&rows) } else { Ok(rows) }
        };
        let products = rows(&anchors)?.f_matmul(&rows(&positives)?.f_transpose(0, 1)?)?;
        let products = products.f_div_scalar(self.temperature)?;
        let score = moved_away(&products, &valid.f_unsqueeze(0)?, NOTHING)?;
        let each = score.f_log_softmax(1, None::<Kind>)?.f_diagonal(0, 0, 1)?.f_neg()?;
        let PerAnchor { total, count } = PerAnchor::of_anchors(&each, &valid)?;
        let none = Tensor::f_zeros(labels.size(), (each.f_kind()?, each.device()))?;
        let put = |of: &Tensor| none.f_scatter(0, &anchors, of);
        let of_all = PerAnchor { total: put(&total)?, count: put(&count)? };
        of_all.reduce(NAME, weight, self.reduction)
    }
}

/// The first and the second of each class, and which of these pairs there are: as many as there may be,
/// half the samples, since how many classes there are is not read back to the host.
fn pairs(labels: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let samples = labels.size()[0];
    let (sorted, order) = labels.f_sort_stable(true, 0, false)?;
    let follows = sorted.f_eq_tensor(&sorted.f_roll(1, 0)?)?;
    let _ = follows.f_narrow(0, 0, samples.min(1))?.f_fill_(0)?;
    let first = follows.f_roll(-1, 0)?.f_logical_and(&follows.f_logical_not()?)?;
    let place = first.f_to_kind(Kind::Int)?.f_argsort(0, true)?.f_narrow(0, 0, samples / 2)?;
    let at = |of: &Tensor, place: &Tensor| of.f_index_select(0, place);
    let second = place.f_add_scalar(1)?.f_clamp_max(samples - 1)?;
    Ok((at(&order, &place)?, at(&order, &second)?, at(&first, &place)?))
}

weighted_loss!(NPairLoss);

named_loss! {
    NPairLoss: "n_pair", Embeddings => Index, "pytorch-metric-learning `NPairsLoss`",
    [normalize, temperature, reduction], aliases ["n_pairs"],
    presets { "n_pair_sohn" => Self::sohn(), "Sohn 2016" },
}
