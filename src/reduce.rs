//! The one place that reduces: weights, masks, empty batches and denominators.

use crate::{Reduction, Result, check};
use tch::{Kind, Tensor};

/// What a weighted mean divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MeanOver {
    /// The sum of the weights: an element of weight 0 is as good as absent.
    #[default]
    Weights,
    /// The number of elements, whatever their weight, as PyTorch's binary losses do.
    Elements,
}

/// A tensor kept as an option of a loss; cloning shares the storage.
#[derive(Debug)]
pub(crate) struct Kept(pub(crate) Tensor);

impl Clone for Kept {
    fn clone(&self) -> Self {
        Kept(self.0.shallow_clone())
    }
}

impl Kept {
    pub(crate) fn of(tensor: &Tensor) -> Self {
        Kept(tensor.shallow_clone())
    }
}

/// The product of the weights that are there, each checked to broadcast to `shape`, in `kind`.
pub(crate) fn weights<'a>(
    loss: &'static str,
    parts: impl IntoIterator<Item = Option<&'a Tensor>>,
    unreduced: &Tensor,
) -> Result<Option<Tensor>> {
    let mut product: Option<Tensor> = None;
    for part in parts.into_iter().flatten() {
        check::broadcastable(loss, "weight", part, &unreduced.size())?;
        check::device(loss, "weight", part, unreduced)?;
        let part = check::in_kind(loss, "weight", part, unreduced.f_kind()?)?;
        product = Some(match product {
            Some(product) => product.f_mul(&part)?,
            None => part,
        });
    }
    Ok(product)
}

/// Reduces elementwise losses.
///
/// `Mean` is `sum(weight * loss) / sum(weight)`, and 0 with a graph where nothing counts.
pub(crate) fn reduce(
    unreduced: Tensor,
    weight: Option<&Tensor>,
    mean_over: MeanOver,
    reduction: Reduction,
) -> Result<Tensor> {
    let elements = unreduced.numel();
    let Some(weight) = weight else {
        return Ok(match reduction {
            // The gradient of a sum is one number, spread without being stored; that of libtorch's mean
            // is stored for every element.
            Reduction::Mean if elements > 0 => {
                unreduced.f_sum(None::<Kind>)?.f_div_scalar(elements as f64)?
            }
            Reduction::Mean | Reduction::Sum => unreduced.f_sum(None::<Kind>)?,
            _ => unreduced,
        });
    };
    let weighted = unreduced.f_mul(weight)?;
    Ok(match reduction {
        Reduction::Sum => weighted.f_sum(None::<Kind>)?,
        Reduction::Mean => {
            weighted_mean(&weighted.f_sum(None::<Kind>)?, weight, elements, mean_over)?
        }
        _ => weighted,
    })
}

/// The mean of `elements` losses whose weighted sum is `total`.
pub(crate) fn weighted_mean(
    total: &Tensor,
    weight: &Tensor,
    elements: usize,
    mean_over: MeanOver,
) -> Result<Tensor> {
    let elements = elements as f64;
    match mean_over {
        MeanOver::Elements => Ok(total.f_div_scalar(elements.max(1.0))?),
        MeanOver::Weights => {
            let repeats = elements / weight.numel().max(1) as f64;
            ratio(total, &weight.f_sum(None::<Kind>)?.f_mul_scalar(repeats)?)
        }
    }
}

/// `total / count`, and 0 with a graph where `count` is 0 (then `total` is 0 too).
pub(crate) fn ratio(total: &Tensor, count: &Tensor) -> Result<Tensor> {
    Ok(total.f_div(&count.f_threshold(0.0, 1.0)?)?)
}
