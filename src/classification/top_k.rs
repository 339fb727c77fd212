//! Cross entropy of the hardest positions.

use super::target::{per_class, positions};
use crate::{
    MeanOver, Reduction, Result, check,
    loss::{named_loss, weighted_loss},
    reduce::{Kept, ratio, reduce, weights},
};
use tch::{Kind, Tensor};

/// Softmax cross entropy of the hardest k percent of the positions (online hard example mining).
///
/// ```text
/// l = mean of the n largest w[y] CE(x, y),   n = max(1, floor(k/100 V)),   V positions that count
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `k` | 10 | percent of the positions that count, in (0, 100] |
/// | `weight` | none | w, one number per class (C) |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `label_smoothing` | 0 | ε of [`CrossEntropyLoss`](crate::CrossEntropyLoss) |
/// | `reduction` | `Mean` | |
///
/// The positions of the whole batch compete with one another. Nothing is read back to the host: how many
/// are wanted is known on the device alone.
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C)
/// - element weight: broadcastable to (N, d1, ..); a position of weight 0 does not count
/// - loss: a scalar, or (N, d1, ..) without reduction, 0 where easy; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by n, or by the sum of the element weights of the n; the class weight is not a count.
/// Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `k` outside (0, 100]; `label_smoothing` outside
/// [0, 1]; a class index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, TopKCrossEntropyLoss};
///
/// let logits = Tensor::from_slice(&[4.0f64, 0.0, 3.0, 0.0, 0.0, 0.0, 2.0, 0.0]).view([4, 2]);
/// let target = Tensor::from_slice(&[0i64, 0, 0, -100]);
/// let hardest = TopKCrossEntropyLoss::default().k(40.0).forward(&logits, &target);
/// assert!((hardest.double_value(&[]) - std::f64::consts::LN_2).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// nnU-Net and SegLossOdyssey take k percent of all positions, ignored ones included, and so average in
/// losses of 0; they give NaN where that is less than one position. nnU-Net's target has a channel
/// dimension.
///
/// # Reference
///
/// Wu, Shen and van den Hengel 2016, "Bridging Category-level and Instance-level Semantic Image
/// Segmentation". Follows nnU-Net 2.8.1 `TopKLoss`.
#[derive(Debug, Clone)]
pub struct TopKCrossEntropyLoss {
    k: f64,
    weight: Option<Kept>,
    ignore_index: i64,
    label_smoothing: f64,
    reduction: Reduction,
}

impl Default for TopKCrossEntropyLoss {
    fn default() -> Self {
        TopKCrossEntropyLoss {
            k: 10.0,
            weight: None,
            ignore_index: -100,
            label_smoothing: 0.0,
            reduction: Reduction::Mean,
        }
    }
}

impl TopKCrossEntropyLoss {
    /// How many percent of the positions count, in (0, 100]; 10 by default.
    pub fn k(mut self, k: f64) -> Self {
        self.k = k;
        self
    }

    /// One weight per class, of shape (C).
    pub fn weight(mut self, weight: impl Into<Option<Tensor>>) -> Self {
        self.weight = weight.into().map(Kept);
        self
    }

    /// The index that marks targets to leave out; -100 by default.
    pub fn ignore_index(mut self, ignore_index: i64) -> Self {
        self.ignore_index = ignore_index;
        self
    }

    /// The share ε of the target that is spread evenly over the classes, in [0, 1]; 0 by default.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "TopKCrossEntropyLoss";
        check::reduction(NAME, self.reduction)?;
        check::param(NAME, "k", self.k, self.k > 0.0 && self.k <= 100.0, "in (0, 100]")?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        let dims = input.size();
        check::shape_is(NAME, "input", input, dims.len() >= 2, "[N, C, ..]")?;
        check::shape(NAME, "target", target, &positions(&dims))?;
        check::device(NAME, "target", target, input)?;
        let logits = check::accumulated(NAME, "input", input)?;
        let target = check::index(NAME, "target", target)?;
        let class_weight = per_class(NAME, "weight", self.weight.as_ref(), &logits)?;
        let loss = logits.f_cross_entropy_loss(
            &target,
            class_weight.as_ref(),
            Reduction::None,
            self.ignore_index,
            self.label_smoothing,
        )?;
        if loss.numel() == 0 {
            return reduce(loss, None, MeanOver::Weights, self.reduction);
        }
        let weight = match weights(NAME, [weight], &loss)? {
            Some(weight) => Some(weight.f_expand_as(&loss)?.f_reshape([-1])?),
            None => None,
        };
        let flat = loss.f_reshape([-1])?;
        let valid = target.f_reshape([-1])?.f_ne(self.ignore_index)?;
        let (flat, valid) = match &weight {
            Some(weight) => (flat.f_mul(weight)?, valid.f_logical_and(&weight.f_gt(0.0)?)?),
            None => (flat, valid),
        };

        let wanted_of = |count: f64| (count * self.k / 100.0).floor().max(1.0).min(count);
        let all = flat.numel() as f64;
        let counts = check::on_host(&valid, |valid| valid.f_count_nonzero(None))?;
        let rank = match counts {
            Some(count) if count == all => flat.f_detach()?,
            // What does not count comes last.
            _ => flat.f_detach()?.f_masked_fill(&valid.f_logical_not()?, -1.0)?,
        };
        let (hardest, taken) = match counts {
            Some(count) => {
                let (_, hardest) = rank.f_topk(wanted_of(count) as i64, 0, true, false)?;
                let taken = hardest.f_ones_like()?;
                (hardest, taken)
            }
            // Without waiting for a device to count: no more are wanted than if all counted, and of those the first `wanted` are
            // taken.
            None => {
                let (_, hardest) = rank.f_topk(wanted_of(all) as i64, 0, true, true)?;
                let count = valid.f_sum(Kind::Double)?;
                let wanted =
                    count.f_mul_scalar(self.k)?.f_div_scalar(100.0)?.f_floor()?.f_clamp_min(1.0)?;
                let rank = Tensor::f_arange(hardest.numel() as i64, (Kind::Int64, input.device()))?;
                let taken = rank.f_lt_tensor(&wanted)?.f_logical_and(&count.f_gt(0.0)?)?;
                (hardest, taken)
            }
        };
        let kept = flat.f_index_select(0, &hardest)?.f_mul(&taken)?;
        match self.reduction {
            Reduction::Sum => Ok(kept.f_sum(None::<Kind>)?),
            Reduction::Mean => {
                let counts = match weight {
                    Some(weight) => weight.f_index_select(0, &hardest)?.f_mul(&taken)?,
                    None => taken.f_to_kind(kept.f_kind()?)?,
                };
                ratio(&kept.f_sum(None::<Kind>)?, &counts.f_sum(None::<Kind>)?)
            }
            _ => Ok(flat.f_zeros_like()?.f_scatter(0, &hardest, &kept)?.f_view_as(&loss)?),
        }
    }
}

weighted_loss!(TopKCrossEntropyLoss);

named_loss! {
    TopKCrossEntropyLoss: "top_k_cross_entropy", Logits => Index, "nnU-Net `TopKLoss`",
    [k, weight, ignore_index, label_smoothing, reduction], aliases ["topk", "ohem_cross_entropy"],
}
