//! What the losses of class targets share: class indices or class probabilities along dimension 1.

use super::cross_entropy::over_count;
use crate::{
    MeanOver, Reduction, Result, check,
    reduce::{Kept, ratio, reduce, weights},
};
use tch::{Kind, Tensor};

/// (N, C, d1, ..) to (N, d1, ..)
pub(super) fn positions(dims: &[i64]) -> Vec<i64> {
    dims[..1].iter().chain(&dims[2..]).copied().collect()
}

/// One number per class, of shape (C), in the kind of the input (N, C, ..).
pub(super) fn per_class(
    loss: &'static str,
    what: &'static str,
    option: Option<&Kept>,
    input: &Tensor,
) -> Result<Option<Tensor>> {
    let Some(Kept(option)) = option else { return Ok(None) };
    check::shape(loss, what, option, &input.size()[1..2])?;
    check::device(loss, what, option, input)?;
    check::in_kind(loss, what, option, input.f_kind()?).map(Some)
}

/// One number per class, (C), beside an input (N, C, d1, ..).
pub(super) fn along_classes(numbers: &Tensor, input: &Tensor) -> Result<Tensor> {
    let mut dims = vec![1; input.dim()];
    dims[1] = -1;
    Ok(numbers.f_view(dims.as_slice())?)
}

/// Class indices that can be looked up, and which of them count.
#[derive(Debug)]
pub(crate) struct Classes {
    /// 0 where ignored
    class: Tensor,
    valid: Tensor,
}

impl Classes {
    /// The classes of an input (N, C, d1, ..).
    pub(crate) fn new(
        loss: &'static str,
        input: &Tensor,
        target: &Tensor,
        ignore_index: i64,
    ) -> Result<Self> {
        check::shape(loss, "target", target, &positions(&input.size()))?;
        check::device(loss, "target", target, input)?;
        let target = check::index(loss, "target", target)?;
        let valid = target.f_ne(ignore_index)?;
        Ok(Classes { class: target.f_mul(&valid)?, valid })
    }

    /// Of scores (N, C, d1, ..) those of the classes, (N, d1, ..).
    pub(crate) fn pick(&self, scores: &Tensor) -> Result<Tensor> {
        Ok(scores.f_gather(1, &self.class.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?)
    }

    /// Of one number per class, (C), those of the classes, (N, d1, ..).
    pub(super) fn pick_per_class(&self, numbers: &Tensor) -> Result<Tensor> {
        Ok(numbers.f_index_select(0, &self.flat()?)?.f_view_as(&self.class)?)
    }

    /// Of one row per class, (C, K), those of the classes, (N, K, d1, ..).
    pub(super) fn pick_rows(&self, rows: &Tensor) -> Result<Tensor> {
        let size = [self.class.size(), vec![rows.size()[1]]].concat();
        Ok(rows.f_index_select(0, &self.flat()?)?.f_reshape(size)?.f_movedim_int(-1, 1)?)
    }

    /// The classes as one dimension.
    pub(crate) fn flat(&self) -> Result<Tensor> {
        Ok(self.class.f_reshape([-1])?)
    }

    /// (N, 1, d1, ..), to look up along dimension 1.
    pub(crate) fn along_classes(&self) -> Result<Tensor> {
        Ok(self.class.f_unsqueeze(1)?)
    }

    /// Scores (N, C, d1, ..) with those of the classes replaced by `value`.
    pub(crate) fn put(&self, scores: &Tensor, value: f64) -> Result<Tensor> {
        // Not by `f_scatter_value`: where an index is out of range tch panics as it drops the number.
        let class = self.along_classes()?;
        let values = Tensor::f_full(class.size(), value, (scores.f_kind()?, scores.device()))?;
        Ok(scores.f_scatter(1, &class, &values)?)
    }

    /// Which targets count.
    pub(crate) fn valid(&self) -> &Tensor {
        &self.valid
    }

    /// Reduces (N, d1, ..); `Mean` is over the targets that count.
    pub(crate) fn reduce(
        &self,
        name: &'static str,
        loss: Tensor,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        if let Some(weight) = weight {
            let weight = weights(name, [Some(weight), Some(&self.valid)], &loss)?;
            return reduce(loss, weight.as_ref(), MeanOver::Weights, reduction);
        }
        let kept = loss.f_mul(&self.valid)?;
        match reduction {
            Reduction::Mean => over_count(&kept.f_sum(None::<Kind>)?, &self.valid),
            reduction => reduce(kept, None, MeanOver::Weights, reduction),
        }
    }
}

/// Class indices, or probabilities (one-hot, soft) of the input's shape.
#[derive(Debug)]
pub(super) enum ClassTarget {
    Index(Classes),
    Dense(Tensor),
}

impl ClassTarget {
    /// The target of an input (N, C, d1, ..): dense where it is floating-point.
    pub(super) fn new(
        loss: &'static str,
        input: &Tensor,
        target: &Tensor,
        ignore_index: i64,
    ) -> Result<Self> {
        if !check::is_float(target.f_kind()?) {
            return Ok(ClassTarget::Index(Classes::new(loss, input, target, ignore_index)?));
        }
        check::same_shape(loss, input, target)?;
        Ok(ClassTarget::Dense(check::in_kind(loss, "target", target, input.f_kind()?)?))
    }

    /// `Σ_c t[c] score[c]`, (N, d1, ..), of the target smoothed by the share ε.
    pub(super) fn expected(&self, scores: &Tensor, label_smoothing: f64) -> Result<Tensor> {
        let sharp = match self {
            ClassTarget::Index(classes) => classes.pick(scores)?,
            ClassTarget::Dense(target) => sum_classes(&scores.f_mul(target)?)?,
        };
        if label_smoothing == 0.0 {
            return Ok(sharp);
        }
        let even = sum_classes(scores)?.f_mul_scalar(label_smoothing / scores.size()[1] as f64)?;
        Ok(sharp.f_mul_scalar(1.0 - label_smoothing)?.f_add(&even)?)
    }

    /// Reduces (N, d1, ..); `Mean` is over the targets that count, an index target `class_weight[y]`
    /// times.
    pub(super) fn reduce(
        &self,
        name: &'static str,
        loss: Tensor,
        weight: Option<&Tensor>,
        class_weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        match (self, class_weight) {
            (ClassTarget::Dense(_), _) => {
                let weight = weights(name, [weight], &loss)?;
                reduce(loss, weight.as_ref(), MeanOver::Weights, reduction)
            }
            (ClassTarget::Index(classes), Some(class_weight)) if reduction == Reduction::Mean => {
                let total = classes.reduce(name, loss, weight, Reduction::Sum)?;
                let counts = classes.pick_per_class(class_weight)?;
                let counts = classes.reduce(name, counts, weight, Reduction::Sum)?;
                ratio(&total, &counts)
            }
            (ClassTarget::Index(classes), _) => classes.reduce(name, loss, weight, reduction),
        }
    }
}

/// Sums over dimension 1.
pub(super) fn sum_classes(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?)
}

/// The number of classes that a mean is to sum over: dimension 1, if it is to.
pub(super) fn class_count(loss: &'static str, input: &Tensor, sum_classes: bool) -> Result<i64> {
    if !sum_classes {
        return Ok(1);
    }
    check::shape_is(loss, "input", input, input.dim() >= 2, "[N, C, ..], for sum_classes")?;
    Ok(input.size()[1])
}

/// The mean of sums over `classes`, from the mean over everything.
pub(super) fn per_class_sum(loss: Tensor, classes: i64, reduction: Reduction) -> Result<Tensor> {
    match reduction {
        Reduction::Mean if classes != 1 => Ok(loss.f_mul_scalar(classes)?),
        _ => Ok(loss),
    }
}
