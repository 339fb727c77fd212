//! Supervised contrastive loss.

use super::pairs::{Batch, PerAnchor, count, masked_logsumexp, masked_sum};
use crate::{
    Reduction, Result, check,
    loss::{named_loss, weighted_loss},
    reduce::ratio,
};
use tch::Tensor;

/// Supervised contrastive loss: all positives of an anchor against all others of the batch.
///
/// ```text
/// l_i = -1/|P(i)| Σ_(p in P(i)) log( e^(s_ip / τ) / Σ_(a≠i) e^(s_ia / τ) ) · τ / τ_b    s = cosine
/// ```
///
/// Anchors without a positive are skipped.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `temperature` | 0.1 | τ, above 0 |
/// | `base_temperature` | none | τ_b, above 0; none is τ itself |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: embeddings (N, D)
/// - target: integer labels (N), of any values
/// - weight: of anchors, broadcastable to (N)
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// Takes about 50 bytes times N² in `Float`, gradient included: 1 GB for 4000 embeddings.
///
/// # Reduction
///
/// `Mean` divides by the number of anchors with a positive, or by the sum of their weights; without any
/// it is 0.
///
/// # Errors
///
/// Shape, kind or device of the input, the target or a weight; a temperature not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, SupConLoss};
///
/// // All alike: any of the three others is as likely. The last has no positive.
/// let embeddings = Tensor::from_slice(&[1.0f64, 0.0]).repeat([4, 1]);
/// let loss = SupConLoss::default().forward(&embeddings, &Tensor::from_slice(&[0i64, 0, 0, 1]));
/// assert!((loss.double_value(&[]) - 3.0f64.ln()).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// The paper's code has τ = τ_b = 0.07. pytorch-metric-learning leaves out anchors whose loss comes to 0,
/// and says 0 where a batch has one class; here its anchors count.
///
/// # Reference
///
/// Khosla et al. 2020, "Supervised Contrastive Learning". Follows pytorch-metric-learning 2.9
/// `SupConLoss`. See also [`NtXentLoss`](super::NtXentLoss).
#[derive(Debug, Clone)]
pub struct SupConLoss {
    temperature: f64,
    base_temperature: Option<f64>,
    reduction: Reduction,
}

impl Default for SupConLoss {
    fn default() -> Self {
        SupConLoss { temperature: 0.1, base_temperature: None, reduction: Reduction::Mean }
    }
}

impl SupConLoss {
    /// τ, above 0; 0.1 by default.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// τ_b, above 0: the loss is multiplied with τ / τ_b.
    pub fn base_temperature(mut self, base_temperature: impl Into<Option<f64>>) -> Self {
        self.base_temperature = base_temperature.into();
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "SupConLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "temperature", self.temperature)?;
        let base = self.base_temperature.unwrap_or(self.temperature);
        check::above_zero(NAME, "base_temperature", base)?;
        let batch = Batch::new(NAME, input, target)?;
        let score = batch.cosines()?.f_div_scalar(self.temperature)?;
        let others = batch.positive.f_logical_or(&batch.negative)?;
        let all = masked_logsumexp(&score, &others)?;
        let alike = ratio(
            &masked_sum(&score, &batch.positive)?,
            &count(&batch.positive, score.f_kind()?)?,
        )?;
        let each = all.f_sub(&alike)?.f_mul_scalar(self.temperature / base)?;
        PerAnchor::of_anchors(&each, &batch.has_positive()?)?.reduce(NAME, weight, self.reduction)
    }
}

weighted_loss!(SupConLoss);

named_loss! {
    SupConLoss: "sup_con", Embeddings => Index, "pytorch-metric-learning `SupConLoss`",
    [temperature, base_temperature, reduction], aliases ["supervised_contrastive"],
}
