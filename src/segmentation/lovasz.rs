//! Lovász losses: convex surrogates of the Jaccard index.

use crate::{
    LossError, Reduction, Result, check,
    loss::{named_loss, option_enum, weighted_loss},
    reduce::{Kept, ratio, weights},
};
use tch::{Device, Kind, Tensor};

/// Which classes enter the mean of a [`LovaszSoftmaxLoss`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LovaszClasses {
    /// Those that the target has.
    #[default]
    Present,
    /// All: one that the target lacks costs its largest probability.
    All,
}

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
/// | `per_image` | false | true | each image is a problem of its own, else the batch is one |
/// | `per_class` | false | false | dimension 1 holds classes, each a problem of its own |
/// | `ignore_index` | none | none | targets of this value count for nothing |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, d1, ..), (N, C, d1, ..) with `per_class`
/// - target: the input's shape, of any kind, above 0.5 for the mask; without dimension 1 where
///   that is 1
/// - element weight: how often each pixel counts, broadcastable to the target
/// - loss: a scalar; without reduction (N) with `per_image`, (N, C) or (C) with `per_class`, each
///   0 where nothing counts. `Half` and `BFloat16` are computed and returned in `Float`
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
    per_image: bool,
    per_class: bool,
    ignore_index: Option<i64>,
    reduction: Reduction,
}

impl Default for LovaszHingeLoss {
    fn default() -> Self {
        LovaszHingeLoss {
            per_image: false,
            per_class: false,
            ignore_index: None,
            reduction: Reduction::Mean,
        }
    }
}

impl LovaszHingeLoss {
    /// kornia's: the mean over images.
    pub fn kornia() -> Self {
        LovaszHingeLoss::default().per_image(true)
    }

    /// Whether each image is a problem of its own; false by default.
    pub fn per_image(mut self, per_image: bool) -> Self {
        self.per_image = per_image;
        self
    }

    /// Whether dimension 1 holds classes, each a problem of its own; false by default.
    pub fn per_class(mut self, per_class: bool) -> Self {
        self.per_class = per_class;
        self
    }

    /// The target value that marks pixels to leave out.
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
        const NAME: &str = "LovaszHingeLoss";
        check::reduction(NAME, self.reduction)?;
        let size = input.size();
        let classes = match size.as_slice() {
            &[_, classes, ..] if self.per_class && classes > 0 => classes,
            &[_, ..] if !self.per_class => 1,
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
        let valid = self.ignore_index.map(|ignored| target.f_ne(ignored)).transpose()?;
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
        let extension = extension(&scores, weight.as_ref(), self.per_image, margin)?;
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
    [per_image, per_class, ignore_index, reduction], aliases ["binary_lovasz"],
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
/// slope of each.
///
/// | option | default | `kornia()` | meaning |
/// |---|---|---|---|
/// | `classes` | `Present` | `All` | which classes enter the mean |
/// | `per_image` | false | true | each image is a problem of its own, else the batch is one |
/// | `weight` | none | none | one weight per class (C) |
/// | `ignore_index` | none | none | targets of this value count for nothing |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..) with C >= 2
/// - target: class indices, integer, (N, d1, ..) or (N, 1, d1, ..) with values in [0, C)
/// - element weight: how often each pixel counts, broadcastable to (N, d1, ..)
/// - loss: a scalar; without reduction (C), or (N, C) with `per_image`, times the class weights
///   and 0 for a class that does not count. `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of classes that count, or by the sum of their weights; with
/// `per_image` within each image, and then by the number of images in which a class counts. Where
/// nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of a tensor; a class index out of range (on CUDA libtorch asserts on the
/// device instead).
///
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
/// and an image without valid pixels is a 0 in its mean over images. kornia has no `ignore_index`
/// and divides by C whatever the class weights. Both take ten times the memory of the logits and
/// more; ours takes three.
///
/// # Reference
///
/// Berman et al. 2018, "The Lovász-Softmax loss: A tractable surrogate for the optimization of the
/// intersection-over-union measure in neural networks". Follows smp 0.6 `LovaszLoss` in its
/// multiclass mode; `kornia()` follows kornia 0.9 `lovasz_softmax_loss`. See also
/// [`LovaszHingeLoss`].
#[derive(Debug, Clone)]
pub struct LovaszSoftmaxLoss {
    classes: LovaszClasses,
    per_image: bool,
    weight: Option<Kept>,
    ignore_index: Option<i64>,
    reduction: Reduction,
}

impl Default for LovaszSoftmaxLoss {
    fn default() -> Self {
        LovaszSoftmaxLoss {
            classes: LovaszClasses::Present,
            per_image: false,
            weight: None,
            ignore_index: None,
            reduction: Reduction::Mean,
        }
    }
}

impl LovaszSoftmaxLoss {
    /// kornia's: all classes of each image.
    pub fn kornia() -> Self {
        LovaszSoftmaxLoss::default().classes(LovaszClasses::All).per_image(true)
    }

    /// Which classes enter the mean; `Present` by default.
    pub fn classes(mut self, classes: LovaszClasses) -> Self {
        self.classes = classes;
        self
    }

    /// Whether each image is a problem of its own; false by default.
    pub fn per_image(mut self, per_image: bool) -> Self {
        self.per_image = per_image;
        self
    }

    /// One weight per class, of shape (C).
    pub fn weight(mut self, weight: impl Into<Option<Tensor>>) -> Self {
        self.weight = weight.into().map(Kept);
        self
    }

    /// The index that marks pixels to leave out.
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
        const NAME: &str = "LovaszSoftmaxLoss";
        check::reduction(NAME, self.reduction)?;
        let size = input.size();
        let classes = size.get(1).copied().unwrap_or(0);
        check::shape_is(NAME, "input", input, classes >= 2, "[N, C, ..] with C at least 2")?;
        let positions = [&size[..1], &size[2..]].concat();
        let single = [&size[..1], &[1], &size[2..]].concat();
        let ok = target.size() == positions || target.size() == single;
        check::shape_is(NAME, "target", target, ok, &format!("{positions:?} or {single:?}"))?;
        check::device(NAME, "target", target, input)?;
        let kind = match input.f_kind()? {
            Kind::Half | Kind::BFloat16 => Kind::Float,
            kind if check::is_float(kind) => kind,
            got => {
                let (what, expected) = ("input", "floating-point");
                return Err(LossError::Kind { loss: NAME, what, expected, got });
            }
        };
        let target = check::index(NAME, "target", target)?.f_reshape(&positions)?;
        let (target, valid) = match self.ignore_index {
            Some(ignore_index) => {
                let valid = target.f_ne(ignore_index)?;
                (target.f_mul(&valid)?, Some(valid))
            }
            None => (target, None),
        };
        let grid = [size[0], classes, positions[1..].iter().product()];
        let numbers = Tensor::f_arange(classes, (kind, input.device()))?;
        // Selecting among the numbers of the classes refuses any other index.
        let class = numbers.f_index_select(0, &target.f_flatten(0, -1)?)?;
        let class = class.f_view(positions.as_slice())?;
        let weight = weights(NAME, [weight, valid.as_ref()], &class)?;
        let on_grid = |t: &Tensor| t.f_expand(&positions, false)?.f_reshape([grid[0], 1, grid[2]]);
        let weight = weight.as_ref().map(on_grid).transpose()?;
        let class = on_grid(&class)?;

        let probabilities = input.f_softmax(1, kind)?.f_reshape(grid)?;
        let miss = |probabilities: &Tensor, first: i64, count: i64| {
            let foreground =
                class.f_eq_tensor(&numbers.f_narrow(0, first, count)?.f_view([1, count, 1])?)?;
            let own = foreground.f_to_kind(kind)?;
            let errors = probabilities.f_sub(&own)?.f_abs_()?;
            let direction = own.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?;
            Ok(Errors { errors, foreground, direction })
        };
        let extension = extension(&probabilities, weight.as_ref(), self.per_image, miss)?;
        drop(probabilities);
        let counted = match self.classes {
            LovaszClasses::Present => extension.present,
            LovaszClasses::All => extension.total,
        };
        let mut counts = counted.f_gt(0.0)?.f_to_kind(kind)?;
        if let Some(Kept(weight)) = &self.weight {
            check::shape(NAME, "weight", weight, &size[1..2])?;
            check::device(NAME, "weight", weight, input)?;
            counts = counts.f_mul(&check::in_kind(NAME, "weight", weight, kind)?)?;
        }
        reduced(extension.value, &counts, self.reduction)
    }
}

weighted_loss!(LovaszSoftmaxLoss);

option_enum!(LovaszClasses {
    LovaszClasses::Present => "present",
    LovaszClasses::All => "all",
});

named_loss! {
    LovaszSoftmaxLoss: "lovasz_softmax", Logits => Index, "smp `LovaszLoss`",
    [classes, per_image, weight, ignore_index, reduction], aliases ["lovasz"],
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
    per_image: bool,
    errors: impl Fn(&Tensor, i64, i64) -> Result<Errors>,
) -> Result<Extension> {
    let (images, classes, pixels) = scores.size3()?;
    let over: &[i64] = if per_image { &[2] } else { &[0, 2] };
    let sums = |t: &Tensor| t.f_sum_dim_intlist(over, false, None::<Kind>);
    if images * pixels == 0 {
        let value = sums(scores)?;
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
        let linear = sums(&scores.f_mul(&slopes)?)?;
        value = value.f_add(&linear.f_sub(&linear.f_detach()?)?)?;
    }
    Ok(Extension { value, present: cat(present)?, total: cat(total)? })
}

/// What [`sorted`] returns: sums over the last dimension, and a slope for each error.
struct Sorted {
    value: Tensor,
    present: Tensor,
    total: Tensor,
    slope: Option<Tensor>,
}

/// The Lovász extension over the last dimension of `errors`, where each counts `weight` times.
fn sorted(
    errors: Tensor,
    foreground: Tensor,
    weight: Option<Tensor>,
    with_slope: bool,
) -> Result<Sorted> {
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
    Ok(Sorted { value, present: present.f_squeeze_dim(-1)?, total, slope })
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
