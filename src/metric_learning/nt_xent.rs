//! NT-Xent, also InfoNCE: each positive pair against the negatives of its anchor.

use super::pairs::{AverageOver, Batch, PerAnchor, masked_logsumexp};
use crate::{
    Reduction, Result, check,
    classification::softplus,
    error::unwrap,
    loss::{Loss, named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

const NAME: &str = "NtXentLoss";

/// Normalised, temperature-scaled cross entropy: InfoNCE of cosines.
///
/// ```text
/// l_ip = -log( e^(s_ip / τ) / (e^(s_ip / τ) + Σ_n e^(s_in / τ)) )    s = cosine
/// ```
///
/// over the positives p of each anchor i, where n are its negatives: other positives are not in the
/// denominator. Anchors without a positive are skipped; one without a negative costs 0.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `temperature` | 0.07 | τ, above 0; SimCLR has 0.5, MoCo 0.07 |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: embeddings (N, D)
/// - target: integer labels (N), of any values: two views of a sample have the same
/// - weight: of anchors, broadcastable to (N)
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// Takes about 50 bytes times N² in `Float`, gradient included: 1 GB for 4000 embeddings.
///
/// # Reduction
///
/// `Mean` divides by the number of positive pairs, each as often as its anchor's weight says; without any
/// it is 0. Without reduction it is each anchor's own mean, 0 for one that is skipped.
///
/// # Errors
///
/// Shape, kind or device of the input, the target or a weight; `temperature` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, NtXentLoss};
///
/// // Two samples, two views of each, all alike: as likely as one of three.
/// let embeddings = Tensor::from_slice(&[1.0f64, 0.0]).repeat([4, 1]);
/// let loss = NtXentLoss::default().forward(&embeddings, &Tensor::from_slice(&[0i64, 1, 0, 1]));
/// assert!((loss.double_value(&[]) - 3.0f64.ln()).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// pytorch-metric-learning adds the smallest number to the fraction, so that its loss of very unlike
/// positives ends at 87 in `Float`, with no gradient; this goes on.
///
/// # Reference
///
/// Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations"; van den
/// Oord et al. 2018. Follows pytorch-metric-learning 2.9 `NTXentLoss`. [`SupConLoss`](super::SupConLoss)
/// has the other positives in the denominator; with one positive each the two are the same.
#[derive(Debug, Clone)]
pub struct NtXentLoss {
    temperature: f64,
    reduction: Reduction,
}

impl Default for NtXentLoss {
    fn default() -> Self {
        NtXentLoss { temperature: 0.07, reduction: Reduction::Mean }
    }
}

impl NtXentLoss {
    /// τ, above 0; 0.07 by default.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The loss of two views (N, D) of the same N samples, as SimCLR: row i of one is alike row i of the
    /// other, and nothing else.
    ///
    /// # Errors
    ///
    /// As the loss; views that do not have one shape and kind.
    pub fn f_forward_views(&self, first: &Tensor, second: &Tensor) -> Result<Tensor> {
        check::shape_is(NAME, "first", first, first.dim() == 2, "[N, D]")?;
        check::shape(NAME, "second", second, &first.size())?;
        check::device(NAME, "second", second, first)?;
        let number = Tensor::f_arange(first.size()[0], (Kind::Int64, first.device()))?;
        self.f_forward(&Tensor::f_cat(&[first, second], 0)?, &number.f_repeat([2])?)
    }

    /// [`NtXentLoss::f_forward_views`], or a panic with its error.
    #[track_caller]
    pub fn forward_views(&self, first: &Tensor, second: &Tensor) -> Tensor {
        unwrap(self.f_forward_views(first, second))
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "temperature", self.temperature)?;
        let batch = Batch::new(NAME, input, target)?;
        let score = batch.cosines()?.f_div_scalar(self.temperature)?;
        let others = masked_logsumexp(&score, &batch.negative)?.f_unsqueeze(1)?;
        let each = softplus(&others.f_sub(&score)?)?;
        PerAnchor::of_pairs(&each, &batch.positive, AverageOver::All)?.reduce(
            NAME,
            weight,
            self.reduction,
        )
    }
}

weighted_loss!(NtXentLoss);

named_loss! {
    NtXentLoss: "nt_xent", Embeddings => Index, "pytorch-metric-learning `NTXentLoss`",
    [temperature, reduction], aliases ["info_nce"],
}
