//! Class weights from how often the classes occur.

use crate::{Result, check, error::unwrap};
use tch::{Kind, Tensor};

/// How often each class occurs in index targets, (C) in `Int64`; targets of `ignore_index` are left out.
///
/// It reads the labels on the host, once: call it on a data set, not in a training step.
///
/// # Errors
///
/// A target that is not an integer; a label that is negative or not below `num_classes`.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::classification::class_counts;
///
/// let labels = Tensor::from_slice(&[0i64, 2, 2, 255, 0, 0]);
/// let counts = Vec::<i64>::try_from(class_counts(&labels, 4, 255)).unwrap();
/// assert_eq!(counts, [3, 0, 2, 0]);
/// ```
pub fn f_class_counts(
    target: &Tensor,
    num_classes: i64,
    ignore_index: impl Into<Option<i64>>,
) -> Result<Tensor> {
    const NAME: &str = "class_counts";
    check::param(NAME, "num_classes", num_classes as f64, num_classes >= 1, "at least 1")?;
    let labels = check::index(NAME, "target", target)?.f_reshape([-1])?;
    let labels = match ignore_index.into() {
        Some(ignore_index) => labels.f_masked_select(&labels.f_ne(ignore_index)?)?,
        None => labels,
    };
    if labels.numel() > 0 {
        let (least, most) = (labels.f_min()?, labels.f_max()?);
        for label in [least.f_int64_value(&[])?, most.f_int64_value(&[])?] {
            let ok = (0..num_classes).contains(&label);
            let expected = "to be above every label, and no label below 0";
            check::param(NAME, "num_classes", label as f64, ok, expected)?;
        }
    }
    Ok(labels.f_bincount(None::<&Tensor>, num_classes)?)
}

/// [`f_class_counts`], or a panic with its error.
#[track_caller]
pub fn class_counts(
    target: &Tensor,
    num_classes: i64,
    ignore_index: impl Into<Option<i64>>,
) -> Tensor {
    unwrap(f_class_counts(target, num_classes, ignore_index))
}

/// Counts as `Double`, an absent class as if it were there once, and the kind to return.
fn counts_in_double(name: &'static str, counts: &Tensor) -> Result<(Tensor, Kind)> {
    let ok = counts.dim() == 1 && counts.numel() > 0;
    check::shape_is(name, "counts", counts, ok, "[C] with C at least 1")?;
    let kind = counts.f_kind()?;
    let counts = check::in_kind(name, "counts", counts, Kind::Double)?;
    let kind = if check::is_float(kind) { kind } else { Kind::Double };
    Ok((counts.f_clamp_min(1.0)?, kind))
}

fn with_mean_1(weights: Tensor, kind: Kind) -> Result<Tensor> {
    Ok(weights.f_div(&weights.f_mean(None::<Kind>)?)?.f_to_kind(kind)?)
}

/// Class weights of inverse frequency, with mean 1.
///
/// ```text
/// w[c] = k (1 / n[c])^power,   k such that mean(w) = 1
/// ```
///
/// `power` 0.5 weighs more gently, 0 not at all. An absent class is taken to be there once. The counts
/// are (C); the weights are in their kind, or in `Double` for integers, which every loss takes.
///
/// # Errors
///
/// Counts that are not (C); `power` that is not finite.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CrossEntropyLoss, classification::{class_counts, inverse_frequency_weights}};
///
/// let labels = Tensor::from_slice(&[0i64, 0, 0, 1]);
/// let weights = inverse_frequency_weights(&class_counts(&labels, 2, None), 1.0);
/// let loss = CrossEntropyLoss::default().weight(weights.shallow_clone());
/// let weights = Vec::<f64>::try_from(weights).unwrap();
/// assert!((weights[0] - 0.5).abs() < 1e-12 && (weights[1] - 1.5).abs() < 1e-12);
/// # let _ = loss;
/// ```
///
/// # Reference
///
/// Follows timm 1.0.31 `compute_class_weights(method="inv_freq")`.
pub fn f_inverse_frequency_weights(counts: &Tensor, power: f64) -> Result<Tensor> {
    const NAME: &str = "inverse_frequency_weights";
    check::param(NAME, "power", power, power.is_finite(), "finite")?;
    let (counts, kind) = counts_in_double(NAME, counts)?;
    with_mean_1(counts.f_pow_tensor_scalar(-power)?, kind)
}

/// [`f_inverse_frequency_weights`], or a panic with its error.
#[track_caller]
pub fn inverse_frequency_weights(counts: &Tensor, power: f64) -> Tensor {
    unwrap(f_inverse_frequency_weights(counts, power))
}

/// Class weights of the effective number of samples, with mean 1.
///
/// ```text
/// w[c] = k (1-β) / (1-β^n[c]),   k such that mean(w) = 1
/// ```
///
/// β near 0 weighs all classes alike, β near 1 by inverse frequency; 0.999 is usual. Counts and kinds as
/// [`f_inverse_frequency_weights`].
///
/// # Errors
///
/// Counts that are not (C); `beta` outside (0, 1).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::classification::effective_number_weights;
///
/// let weights = effective_number_weights(&Tensor::from_slice(&[1i64, 2]), 0.5);
/// // 1 / 1 and 1 / 1.5, to a mean of 1
/// let weights = Vec::<f64>::try_from(weights).unwrap();
/// assert!((weights[0] - 1.2).abs() < 1e-12 && (weights[1] - 0.8).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples". Follows timm 1.0.31
/// `compute_class_weights(method="effective_num")`.
pub fn f_effective_number_weights(counts: &Tensor, beta: f64) -> Result<Tensor> {
    const NAME: &str = "effective_number_weights";
    check::param(NAME, "beta", beta, beta > 0.0 && beta < 1.0, "in (0, 1)")?;
    let (counts, kind) = counts_in_double(NAME, counts)?;
    let effective = counts.f_mul_scalar(beta.ln())?.f_expm1()?.f_neg()?;
    with_mean_1(effective.f_reciprocal()?, kind)
}

/// [`f_effective_number_weights`], or a panic with its error.
#[track_caller]
pub fn effective_number_weights(counts: &Tensor, beta: f64) -> Tensor {
    unwrap(f_effective_number_weights(counts, beta))
}

/// Weights of the positive term from counts of positives: negatives per positive.
///
/// ```text
/// w[c] = ((samples - n[c]) / n[c])^power
/// ```
///
/// For `pos_weight` of [`BceWithLogitsLoss`](crate::BceWithLogitsLoss) and its kin. Counts and kinds as
/// [`f_inverse_frequency_weights`].
///
/// # Errors
///
/// Counts that are not (C); `samples` below 1; `power` that is not finite.
///
/// # Examples
///
/// ```
/// use tch::{Kind, Tensor};
/// use tch_losses::classification::negatives_per_positive;
///
/// let labels = Tensor::from_slice(&[1i64, 0, 0, 1, 0, 0]).view([3, 2]);
/// let positives = labels.sum_dim_intlist(0, false, None::<Kind>);
/// let weights = Vec::<f64>::try_from(negatives_per_positive(&positives, 3, 1.0)).unwrap();
/// assert_eq!(weights, [2.0, 2.0]);
/// ```
///
/// # Reference
///
/// Follows timm 1.0.31 `compute_class_weights(method="neg_pos")`.
pub fn f_negatives_per_positive(counts: &Tensor, samples: i64, power: f64) -> Result<Tensor> {
    const NAME: &str = "negatives_per_positive";
    check::param(NAME, "samples", samples as f64, samples >= 1, "at least 1")?;
    check::param(NAME, "power", power, power.is_finite(), "finite")?;
    let (counts, kind) = counts_in_double(NAME, counts)?;
    let negatives = counts.f_neg()?.f_add_scalar(samples)?.f_clamp_min(0.0)?;
    Ok(negatives.f_div(&counts)?.f_pow_tensor_scalar(power)?.f_to_kind(kind)?)
}

/// [`f_negatives_per_positive`], or a panic with its error.
#[track_caller]
pub fn negatives_per_positive(counts: &Tensor, samples: i64, power: f64) -> Tensor {
    unwrap(f_negatives_per_positive(counts, samples, power))
}
