//! Lovász losses: convex surrogates of the Jaccard index.

use super::{
    region::{Aggregate, EmptyClass, Region, WeightNorm, setters},
    statistics::{Counting, IgnoreIndex, Nonlinearity, Overlap, Pixels, Target, Terms},
};
use crate::{
    LossError, Reduction, Result, check,
    fused::{LovaszRows, LovaszSums},
    loss::{named_loss, weighted_loss},
    reduce::{ratio, weights},
};
use tch::{Device, Kind, Tensor};

/// Lovász hinge loss of logits: a convex surrogate of the Jaccard index of a binary mask.
///
/// ```text
/// l = Σ_i relu(e_i) ΔJ_i,   e = 1 - x (2t - 1), sorted from the largest
/// ΔJ_i = J_i - J_(i-1),     J_i = 1 - (those of the mask after i) / (those of the mask or up to i)
/// ```
///
/// Where the logits are ±1 it is twice the Jaccard loss of their signs. ΔJ depends on the order of
/// the errors only and has no gradient.
///
/// | option | default | `kornia()` | meaning |
/// |---|---|---|---|
/// | `aggregate` | `Batch` | `PerImage` | whether the batch is one problem, or each image |
/// | `per_class` | false | false | dimension 1 holds classes, each a problem of its own |
/// | `ignore_index` | none | none | targets of this value, or of these, count for nothing |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, d1, ..), (N, C, d1, ..) with `per_class`
/// - target: the input's shape, of any kind, above 0.5 for the mask; without dimension 1 where
///   that is 1
/// - element weight: how often each pixel counts, broadcastable to the target
/// - loss: a scalar; without reduction also for `Batch`, (N) for `PerImage`, with `per_class`
///   (C) or (N, C); 0 where nothing counts. `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of images (classes, then images) in which something counts. Where
/// nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of a tensor; an input without dimensions, or without dimension 1 with
/// `per_class`.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, LovaszHingeLoss};
///
/// let logits = Tensor::from_slice(&[1.0f64, -1.0, 1.0, -1.0]).view([1, 4]);
/// let mask = Tensor::from_slice(&[1i64, 1, 0, 0]).view([1, 4]);
/// // One pixel found of the three that are found or sought: twice 1 - 1/3.
/// let loss = LovaszHingeLoss::default().forward(&logits, &mask);
/// assert!((loss.double_value(&[]) - 2.0 * (1.0 - 1.0 / 3.0)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// smp computes in `Float` only, counts an image without valid pixels as 0 in its mean, and makes
/// one problem of all channels of a multi-label input, as `per_class(false)` does. kornia's has no
/// `ignore_index`: a label of -100 can make it negative.
///
/// # Reference
///
/// Berman et al. 2018, "The Lovász-Softmax loss"; Yu and Blaschko 2015, "Learning Submodular
/// Losses with the Lovász Hinge". Follows smp 0.6 `LovaszLoss` in its binary mode; `kornia()`
/// follows kornia 0.9 `lovasz_hinge_loss`. See also [`LovaszSoftmaxLoss`].
#[derive(Debug, Clone)]
pub struct LovaszHingeLoss {
    aggregate: Aggregate,
    per_class: bool,
    ignore_index: IgnoreIndex,
    reduction: Reduction,
}

impl Default for LovaszHingeLoss {
    fn default() -> Self {
        LovaszHingeLoss {
            aggregate: Aggregate::Batch,
            per_class: false,
            ignore_index: IgnoreIndex::default(),
            reduction: Reduction::Mean,
        }
    }
}

impl LovaszHingeLoss {
    /// kornia's: the mean over images.
    pub fn kornia() -> Self {
        LovaszHingeLoss::default().aggregate(Aggregate::PerImage)
    }

    /// Whether the batch is one problem, or each image; `Batch` by default.
    pub fn aggregate(mut self, aggregate: Aggregate) -> Self {
        self.aggregate = aggregate;
        self
    }

    /// Whether dimension 1 holds classes, each a problem of its own; false by default.
    pub fn per_class(mut self, per_class: bool) -> Self {
        self.per_class = per_class;
        self
    }

    /// The target values that mark pixels to leave out: `255`, or `[0, 255]`.
    pub fn ignore_index(mut self, ignore_index: impl Into<IgnoreIndex>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "LovaszHingeLoss";
        check::reduction(NAME, self.reduction)?;
        let size = input.size();
        let classes = match *size.as_slice() {
            [_, classes, ..] if self.per_class && classes > 0 => classes,
            [_, ..] if !self.per_class => 1,
            _ => {
                let expected =
                    if self.per_class { "[N, C, ..] with C at least 1" } else { "[N, ..]" };
                return Err(LossError::Shape {
                    loss: NAME,
                    what: "input",
                    expected: expected.to_owned(),
                    got: size,
                });
            }
        };
        let plain = size.len() > 1 && size[1] == 1 && target.dim() + 1 == size.len();
        let positions = if plain { [&size[..1], &size[2..]].concat() } else { size.clone() };
        check::shape(NAME, "target", target, &positions)?;
        check::device(NAME, "target", target, input)?;
        let logits = check::accumulated(NAME, "input", input)?;
        let kind = logits.f_kind()?;
        let mut valid: Option<Tensor> = None;
        for &label in &self.ignore_index.0 {
            let other = target.f_ne(label)?;
            valid = Some(valid.map_or(Ok(other.shallow_clone()), |all| all.f_logical_and(&other))?);
        }
        let mask = check::in_kind(NAME, "target", target, kind)?.f_gt(0.5)?;

        let logits = logits.f_reshape(&positions)?;
        let weight = weights(NAME, [weight, valid.as_ref()], &logits)?;
        let images = size[0];
        let grid = [images, classes, logits.numel() as i64 / (images * classes).max(1)];
        let on_grid = |t: &Tensor| t.f_expand(&positions, false)?.f_reshape(grid);
        let weight = weight.as_ref().map(on_grid).transpose()?;
        let (scores, mask) = (on_grid(&logits)?, on_grid(&mask)?);
        let margin = |scores: &Tensor, first: i64, count: i64| {
            let mask = mask.f_narrow(1, first, count)?;
            let direction = mask.f_to_kind(kind)?.f_mul_scalar_(-2.0)?.f_add_scalar_(1.0)?;
            let errors = scores.f_mul(&direction)?.f_add_scalar_(1.0)?.f_relu_()?;
            let direction = direction.f_mul(&errors.f_gt(0.0)?)?;
            Ok(Errors { errors, foreground: mask, direction })
        };
        let extension = extension(&scores, weight.as_ref(), self.aggregate, margin)?;
        let counts = extension.total.f_gt(0.0)?.f_to_kind(kind)?;
        match self.reduction {
            Reduction::None if !self.per_class => Ok(extension.value.f_squeeze_dim(-1)?),
            reduction => reduced(extension.value, &counts, reduction),
        }
    }
}

weighted_loss!(LovaszHingeLoss);

named_loss! {
    LovaszHingeLoss: "lovasz_hinge", BinaryLogits => Dense, "smp `LovaszLoss`",
    [aggregate, per_class, ignore_index, reduction], aliases ["binary_lovasz"],
    presets { "lovasz_hinge_kornia" => Self::kornia(), "kornia `lovasz_hinge_loss`" },
}

/// Lovász-softmax loss of logits with index targets: a surrogate of the mean Jaccard index.
///
/// ```text
/// l_c = Σ_i e_i ΔJ_i,   e = |[t = c] - p_c|, sorted from the largest,   p = softmax(input)
/// ΔJ_i = J_i - J_(i-1), J_i = 1 - (those of class c after i) / (those of class c or up to i)
/// ```
///
/// ΔJ depends on the order of the errors only and has no gradient. Classes are sorted a few at a
/// time, so that beside the gradient of the input no more is kept than the probabilities and the
/// slope of each. A pixel of weight 2 is one that is there twice; a target is in a class where it
/// is above 0.5. An absent class costs its largest probability with `EmptyClass::Smooth`.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight_norm` | `Present` | what the mean divides by, see [`WeightNorm`] |
#[doc = include_str!("doc/region.md")]
///
/// But `aggregate` is `Batch` and `empty_class` is `Skip` by default, as in smp; `kornia()` sets
/// `PerImage`, `EmptyClass::Smooth` and `WeightNorm::None`.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction.md")]
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, LovaszSoftmaxLoss};
///
/// // One image of two pixels; the probabilities of class 0 are 0.75 and 0.5.
/// let logits = Tensor::from_slice(&[3.0f64.ln(), 0.0, 0.0, 0.0]).view([1, 2, 2]);
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// // Class 0: 0.5 (1 - 1/2) + 0.25 (1/2); class 1: 0.5 (1) + 0.25 (0).
/// let loss = LovaszSoftmaxLoss::default().forward(&logits, &target).double_value(&[]);
/// assert!((loss - (0.375 + 0.5) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// smp computes in `Float` only; with nothing to count it returns an empty tensor or a Python 0,
/// and an image without valid pixels is a 0 in its mean over images. kornia has no `ignore_index`.
/// Both take 7 to 12 times the memory of the logits; ours takes three.
///
/// # Reference
///
/// Berman et al. 2018, "The Lovász-Softmax loss: A tractable surrogate for the optimization of the
/// intersection-over-union measure in neural networks". Follows smp 0.6 `LovaszLoss` in its
/// multiclass mode; `kornia()` follows kornia 0.9 `lovasz_softmax_loss`. See also
/// [`LovaszHingeLoss`].
#[derive(Debug, Clone)]
pub struct LovaszSoftmaxLoss {
    region: Region,
    weight_norm: WeightNorm,
}

impl Default for LovaszSoftmaxLoss {
    fn default() -> Self {
        LovaszSoftmaxLoss { region: Region::default(), weight_norm: WeightNorm::Present }
            .aggregate(Aggregate::Batch)
            .empty_class(EmptyClass::Skip)
    }
}

impl LovaszSoftmaxLoss {
    /// kornia's: all classes of each image.
    pub fn kornia() -> Self {
        LovaszSoftmaxLoss::default()
            .aggregate(Aggregate::PerImage)
            .empty_class(EmptyClass::Smooth)
            .weight_norm(WeightNorm::None)
    }

    /// What the mean over the classes divides by; `Present` by default.
    pub fn weight_norm(mut self, weight_norm: WeightNorm) -> Self {
        self.weight_norm = weight_norm;
        self
    }

    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "LovaszSoftmaxLoss";
        let region = &self.region;
        let ignore_index = &region.ignore_index;
        let counting = Counting { mask: weight, ignore_index, terms: Terms::Product };
        let Pixels { grid, probabilities, target, mask } =
            Pixels::of(NAME, "input", input, region.apply_nonlin, target, &counting)?;
        let kind = probabilities.f_kind()?;
        let numbers = Tensor::f_arange(grid.classes, (kind, input.device()))?;
        let numbers = numbers.f_view([1, grid.classes, 1])?;
        let target = match target {
            // Selecting among the numbers of the classes refuses any other index.
            Target::Index(class) => {
                let flat = class.f_flatten(0, -1)?;
                let selected = numbers.f_flatten(0, -1)?.f_index_select(0, &flat)?;
                Target::Index(selected.f_view_as(&class)?)
            }
            dense => dense,
        };
        let miss = |probabilities: &Tensor, first: i64, count: i64| {
            let foreground = match &target {
                Target::Index(class) => class.f_eq_tensor(&numbers.f_narrow(1, first, count)?)?,
                Target::Dense(dense) => dense.f_narrow(1, first, count)?.f_gt(0.5)?,
            };
            let own = foreground.f_to_kind(kind)?;
            let errors = probabilities.f_sub(&own)?.f_abs_()?;
            let direction = own.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?;
            Ok(Errors { errors, foreground, direction })
        };
        let Extension { value, present, total } =
            extension(&probabilities, mask.as_ref(), region.aggregate, miss)?;
        let by_false_positives = region.empty_class == EmptyClass::FalsePositives;
        let predicted = match (by_false_positives, &mask) {
            (false, _) => present.shallow_clone(),
            (true, Some(mask)) => over_pixels(&probabilities.f_mul(mask)?, region.aggregate)?,
            (true, None) => over_pixels(&probabilities, region.aggregate)?,
        };
        drop(probabilities);
        let every = mask.is_none() && grid.images * grid.count() > 0;
        let row = |t: Tensor| t.f_view([-1, grid.classes]);
        let rows = Overlap {
            tp: row(value)?,
            predicted: row(predicted)?,
            actual: row(present)?,
            pixels: grid.count()
                * if region.aggregate == Aggregate::Batch { grid.images } else { 1 },
            valid: if every { None } else { Some(row(total)?) },
        };
        let sums = region.of_rows(NAME, input, rows, self.weight_norm)?;
        let loss = sums.overlap.tp.shallow_clone();
        match by_false_positives {
            true => sums.reduce(loss.f_rsub_scalar(1.0)?, |score| Ok(score.f_rsub_scalar(1.0)?)),
            false => sums.reduce(loss, Ok),
        }
    }
}

weighted_loss!(LovaszSoftmaxLoss);

named_loss! {
    LovaszSoftmaxLoss: "lovasz_softmax", Logits => IndexOrDense, "smp `LovaszLoss`",
    [..region, weight_norm], aliases ["lovasz"],
    presets { "lovasz_softmax_kornia" => Self::kornia(), "kornia `lovasz_softmax_loss`" },
}

/// `value` (C) or (N, C), each counting `counts` times: the mean over classes, then over images.
fn reduced(value: Tensor, counts: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let weighted = value.f_mul(counts)?;
    let over_classes = |t: &Tensor| t.f_sum_dim_intlist(-1, false, None::<Kind>);
    Ok(match reduction {
        Reduction::Mean => {
            let counts = over_classes(counts)?;
            let images = ratio(&over_classes(&weighted)?, &counts)?;
            let of_images = counts.f_gt(0.0)?.f_to_kind(counts.f_kind()?)?;
            ratio(&images.f_sum(None::<Kind>)?, &of_images.f_sum(None::<Kind>)?)?
        }
        Reduction::Sum => weighted.f_sum(None::<Kind>)?,
        _ => weighted,
    })
}

/// The errors of some classes, all (N, count, P) and without a graph.
struct Errors {
    errors: Tensor,
    foreground: Tensor,
    /// What an error changes by as the score rises.
    direction: Tensor,
}

/// What [`extension`] returns, each (C), or (N, C) per image.
struct Extension {
    /// The Lovász extension of the Jaccard loss, with its graph.
    value: Tensor,
    /// How much of the class there is.
    present: Tensor,
    /// How much there is at all.
    total: Tensor,
}

/// How many numbers are sorted at a time, or a sixteenth of all where that is more: enough to keep
/// all cores busy, while what sorting needs stays small beside the scores.
const AT_A_TIME: i64 = 1 << 18;

/// The Lovász extension of the Jaccard loss of each class, from scores (N, C, P).
///
/// The slopes do not depend on the scores where these do not change their order, so that all that
/// the graph needs is the scores and one slope for each.
fn extension(
    scores: &Tensor,
    weight: Option<&Tensor>,
    aggregate: Aggregate,
    errors: impl Fn(&Tensor, i64, i64) -> Result<Errors>,
) -> Result<Extension> {
    let (images, classes, pixels) = scores.size3()?;
    let per_image = aggregate == Aggregate::PerImage;
    if images * pixels == 0 {
        let value = over_pixels(scores, aggregate)?;
        let nothing = value.f_detach()?.f_zeros_like()?;
        return Ok(Extension { value, present: nothing.shallow_clone(), total: nothing });
    }
    // One problem a row.
    let rows = |t: &Tensor, count: i64| {
        if per_image {
            return Ok(t.shallow_clone());
        }
        t.f_transpose(0, 1)?.f_reshape([count, images * pixels])
    };
    let detached = scores.f_detach()?;
    let slopes = if scores.requires_grad() { Some(detached.f_empty_like()?) } else { None };
    let (mut values, mut present, mut total) = (vec![], vec![], vec![]);
    let step = (AT_A_TIME / (images * pixels)).max(classes / 16).clamp(1, classes);
    let mut first = 0;
    while first < classes {
        let count = step.min(classes - first);
        let Errors { errors, foreground, direction } =
            errors(&detached.f_narrow(1, first, count)?, first, count)?;
        let weight = match weight {
            Some(weight) => {
                let weight = match weight.size()[1] {
                    1 => weight.shallow_clone(),
                    _ => weight.f_narrow(1, first, count)?,
                };
                Some(rows(&weight.f_expand_as(&errors)?, count)?)
            }
            None => None,
        };
        let sorted =
            sorted(rows(&errors, count)?, rows(&foreground, count)?, weight, slopes.is_some())?;
        if let (Some(slopes), Some(slope)) = (&slopes, sorted.slope) {
            let slope = match per_image {
                true => slope,
                false => slope.f_view([count, images, pixels])?.f_transpose(0, 1)?,
            };
            slopes.f_narrow(1, first, count)?.f_copy_(&slope.f_mul(&direction)?)?;
        }
        values.push(sorted.value);
        present.push(sorted.present);
        total.push(sorted.total);
        first += count;
    }
    let cat = |parts: Vec<Tensor>| Tensor::f_cat(&parts, -1);
    let mut value = cat(values)?;
    if let Some(slopes) = slopes {
        // The value as it was summed, with the gradient of the sum of slopes times scores.
        let linear = over_pixels(&scores.f_mul(&slopes)?, aggregate)?;
        value = value.f_add(&linear.f_sub(&linear.f_detach()?)?)?;
    }
    Ok(Extension { value, present: cat(present)?, total: cat(total)? })
}

/// (N, C, P) to (N, C), or to (C) over the batch.
fn over_pixels(t: &Tensor, aggregate: Aggregate) -> Result<Tensor> {
    let over: &[i64] = match aggregate {
        Aggregate::PerImage => &[2],
        Aggregate::Batch => &[0, 2],
    };
    Ok(t.f_sum_dim_intlist(over, false, None::<Kind>)?)
}

/// The Lovász extension over the last dimension of `errors`, where each counts `weight` times.
fn sorted(
    errors: Tensor,
    foreground: Tensor,
    weight: Option<Tensor>,
    with_slope: bool,
) -> Result<LovaszSums> {
    let rows = LovaszRows { errors: &errors, foreground: &foreground, weight: weight.as_ref() };
    if let Some(sums) = rows.sums(with_slope)? {
        return Ok(sums);
    }
    let kind = errors.f_kind()?;
    let last = errors.size().last().copied().unwrap_or_default() - 1;
    let (mut errors, order) = from_the_largest(errors)?;
    let foreground = foreground.f_gather(-1, &order, false)?;
    let weight = weight.map(|weight| weight.f_gather(-1, &order, false)).transpose()?;
    // What was met so far, and what of it is of the class.
    let (met, found) = match &weight {
        Some(weight) => {
            (weight.f_cumsum(-1, kind)?, weight.f_mul(&foreground)?.f_cumsum(-1, kind)?)
        }
        None => {
            let options = (kind, errors.device());
            let met = Tensor::f_arange_start(1, last + 2, options)?.f_expand_as(&errors)?;
            (met, foreground.f_cumsum(-1, kind)?)
        }
    };
    // Sums of one number, which do not keep the whole.
    let at_last = |t: &Tensor| t.f_narrow(-1, last, 1)?.f_sum_dim_intlist(-1, true, None::<Kind>);
    let (present, total) = (at_last(&found)?, at_last(&met)?.f_squeeze_dim(-1)?);
    let mut intersection = present.f_sub(&found)?;
    let mut union = met.f_sub(&found)?.f_add_(&present)?;
    drop((met, found));
    // J_i - J_(i-1) without a difference of numbers near each other: w / U_i for a pixel of the
    // class, else w I_i / (U_i U_(i-1)). Where nothing was in the union yet, J goes from 0 to 1.
    let of_class = foreground.f_to_kind(kind)?;
    let before = match &weight {
        Some(weight) => union.f_sub(weight)?.f_addcmul_(weight, &of_class)?,
        None => union.f_sub_scalar(1.0)?.f_add_(&of_class)?,
    };
    drop(of_class);
    let whole = before.f_le(0.0)?.f_logical_or_(&foreground)?;
    let mut share = intersection.f_div_(&before)?.f_masked_fill_(&whole, 1.0)?;
    drop(before);
    let mut step = share.f_div_(&union.f_threshold_(0.0, 1.0)?)?;
    drop(union);
    if let Some(weight) = &weight {
        step = step.f_mul_(weight)?;
    }
    let value = errors.f_mul_(&step)?.f_sum_dim_intlist(-1, false, None::<Kind>)?;
    let slope = match with_slope {
        true => Some(errors.f_scatter_(-1, &order, &step)?),
        false => None,
    };
    Ok(LovaszSums { value, present: present.f_squeeze_dim(-1)?, total, slope })
}

/// Sorts each row of errors, which are not negative; also says where they were.
fn from_the_largest(errors: Tensor) -> Result<(Tensor, Tensor)> {
    let (kind, size) = (errors.f_kind()?, errors.size());
    let row = size.last().copied().unwrap_or_default();
    if errors.device() != Device::Cpu || row < FOR_RADIX {
        return Ok(errors.f_sort(-1, true)?);
    }
    // On the CPU libtorch has a radix sort of integers in one dimension, which takes a ninth of the
    // time. The bits of numbers above 0 are in the order of the numbers, those of their complements
    // in the opposite one.
    let bits = if kind == Kind::Double { Kind::Int64 } else { Kind::Int };
    let keys = errors.f_view_dtype(bits)?.f_bitwise_not()?.f_reshape([-1, row])?;
    let rows = keys.f_unbind(0)?.into_iter().map(|keys| keys.f_sort(-1, false));
    let (keys, order): (Vec<_>, Vec<_>) = rows.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let whole = |rows: Vec<Tensor>| Tensor::f_stack(&rows, 0)?.f_view(size.as_slice());
    Ok((whole(keys)?.f_bitwise_not_()?.f_view_dtype(kind)?, whole(order)?))
}

/// Below this libtorch takes its usual sort for integers too.
const FOR_RADIX: i64 = 1 << 15;
