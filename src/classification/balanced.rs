//! Class-balanced binary cross entropy.

use super::{binary::without_ignored, focal::softplus};
use crate::{
    MeanOver, Reduction, Result, check,
    loss::{OptionType, Value, named_loss, weighted_loss},
    reduce::{ratio, reduce, weights},
};
use tch::{Device, Kind, Tensor};

/// The share β that the positives of a [`BalancedBceWithLogitsLoss`] are weighed with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Balance {
    /// A number in [0, 1].
    Fixed(f64),
    /// The share of negatives among all targets that count.
    PerBatch,
    /// The share of negatives among the targets of each image that count.
    PerImage,
}

impl From<f64> for Balance {
    fn from(beta: f64) -> Self {
        Balance::Fixed(beta)
    }
}

impl OptionType for Balance {
    fn expected() -> String {
        "a number, per_batch, per_image".to_owned()
    }

    fn read(value: &Value, device: Device) -> Option<Self> {
        match value {
            Value::Text(text) if text == "per_batch" => Some(Balance::PerBatch),
            Value::Text(text) if text == "per_image" => Some(Balance::PerImage),
            value => f64::read(value, device).map(Balance::Fixed),
        }
    }

    fn show(&self) -> String {
        match self {
            Balance::Fixed(beta) => beta.show(),
            Balance::PerBatch => "per_batch".to_owned(),
            Balance::PerImage => "per_image".to_owned(),
        }
    }
}

/// Binary cross entropy of logits in which positives and negatives have the same say.
///
/// ```text
/// l = β t softplus(-x) + (1-β) (1-t) softplus(x)
/// β = Σ w (1-t) / Σ w, the share of negatives, over the batch or over each image
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `beta` | `PerImage` | β: [`Balance::PerImage`] as in HED, [`Balance::PerBatch`], or a fixed number |
/// | `ignore_index` | none | targets of this value count for nothing, in β neither |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, d1, ..); the images are dimension 0
/// - target: the input's shape; floating-point in [0, 1], integer or bool
/// - element weight w: broadcastable to the input
/// - loss: a scalar, or the input's shape without reduction; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of elements, or by the sum of the element weights (0 where ignored);
/// β is not a count. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a fixed `beta` outside [0, 1].
///
/// # Examples
///
/// One positive among four: β is 3/4, and the positive weighs as much as the three negatives.
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BalancedBceWithLogitsLoss, Loss, Reduction};
///
/// let logits = Tensor::from_slice(&[0.0f64; 4]).view([1, 4]);
/// let target = Tensor::from_slice(&[1i64, 0, 0, 0]).view([1, 4]);
/// let balanced = BalancedBceWithLogitsLoss::default().reduction(Reduction::None);
/// let loss = Vec::<f64>::try_from(balanced.forward(&logits, &target).view(-1)).unwrap();
/// let ln2 = std::f64::consts::LN_2;
/// assert!((loss[0] - 0.75 * ln2).abs() < 1e-12);
/// assert!((loss[1] - 0.25 * ln2).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// HED sums over the image. pytorch-toolbelt takes β from the batch, divides by the ignored elements
/// too, and counts only targets of exactly 0 and 1. An image without positives has β = 1, and so no
/// loss, as the formula says.
///
/// # Reference
///
/// Xie and Tu 2015, "Holistically-Nested Edge Detection", equation 2. With `PerBatch` it follows
/// pytorch-toolbelt `BalancedBCEWithLogitsLoss`. See also [`BceWithLogitsLoss`](crate::BceWithLogitsLoss),
/// whose `pos_weight` is a weight of one's own.
#[derive(Debug, Clone)]
pub struct BalancedBceWithLogitsLoss {
    beta: Balance,
    ignore_index: Option<i64>,
    reduction: Reduction,
}

impl Default for BalancedBceWithLogitsLoss {
    fn default() -> Self {
        BalancedBceWithLogitsLoss {
            beta: Balance::PerImage,
            ignore_index: None,
            reduction: Reduction::Mean,
        }
    }
}

impl BalancedBceWithLogitsLoss {
    /// β: a number in [0, 1], or where to count the negatives.
    pub fn beta(mut self, beta: impl Into<Balance>) -> Self {
        self.beta = beta.into();
        self
    }

    /// The target value that marks elements to leave out.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "BalancedBceWithLogitsLoss";
        check::reduction(NAME, self.reduction)?;
        check::same_shape(NAME, input, target)?;
        check::shape_is(NAME, "input", input, input.dim() >= 1, "[N, ..]")?;
        let logits = check::accumulated(NAME, "input", input)?;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let positive = check::in_kind(NAME, "target", &target, logits.f_kind()?)?;
        let negative = positive.f_neg()?.f_add_scalar_(1.0)?;
        let weight = weights(NAME, [weight, valid.as_ref()], &logits)?;

        let of_negative = softplus(&logits)?.f_mul(&negative)?;
        let of_positive = softplus(&logits.f_neg()?)?.f_mul(&positive)?;
        drop(positive);
        let share = |per_image: bool| share(&negative, weight.as_ref(), per_image);
        let loss = match self.beta {
            Balance::Fixed(beta) => {
                check::fraction(NAME, "beta", beta)?;
                of_negative.f_mul_scalar(1.0 - beta)?.f_add(&of_positive.f_mul_scalar(beta)?)?
            }
            Balance::PerBatch => of_negative.f_lerp_tensor(&of_positive, &share(false)?)?,
            Balance::PerImage => of_negative.f_lerp_tensor(&of_positive, &share(true)?)?,
        };
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

/// The weighted mean of the negatives, of all or of each image; 0 where nothing counts.
fn share(negative: &Tensor, weight: Option<&Tensor>, per_image: bool) -> Result<Tensor> {
    let sum = |tensor: &Tensor| match per_image {
        true => {
            let others: Vec<i64> = (1..tensor.dim() as i64).collect();
            match others.as_slice() {
                [] => Ok(tensor.shallow_clone()),
                others => tensor.f_sum_dim_intlist(others, true, None::<Kind>),
            }
        }
        false => tensor.f_sum(None::<Kind>),
    };
    match weight {
        Some(weight) => {
            let weight = weight.f_expand_as(negative)?;
            ratio(&sum(&negative.f_mul(&weight)?)?, &sum(&weight)?)
        }
        None => {
            let images = if per_image { negative.size()[0].max(1) as usize } else { 1 };
            Ok(sum(negative)?.f_div_scalar((negative.numel() / images).max(1) as f64)?)
        }
    }
}

weighted_loss!(BalancedBceWithLogitsLoss);

named_loss! {
    BalancedBceWithLogitsLoss: "balanced_bce_with_logits", BinaryLogits => Dense,
    "Xie and Tu 2015; pytorch-toolbelt `BalancedBCEWithLogitsLoss` with beta=per_batch",
    [beta, ignore_index, reduction], aliases ["balanced_bce", "balanced_cross_entropy"],
}
