//! Soft true positives, false positives and false negatives, summed per class.

use crate::{
    LossError, Result, check,
    error::unwrap,
    fused::{self, Activation, Sums},
    loss::{OptionType, Value, option_enum},
    reduce::Kept,
};
use tch::{Device, Kind, Tensor};

/// What turns the input of a segmentation loss into probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nonlinearity {
    /// The input holds probabilities.
    #[default]
    None,
    /// Softmax over the classes: each pixel has one of at least two classes.
    Softmax,
    /// Sigmoid: each class is there or not.
    Sigmoid,
}

impl Nonlinearity {
    pub(crate) fn check(self, loss: &'static str, classes: i64) -> Result<()> {
        if self != Nonlinearity::Softmax || classes != 1 {
            return Ok(());
        }
        Err(LossError::Param {
            loss,
            option: "apply_nonlin",
            expected: "None or Sigmoid for one class",
            got: "Softmax, which is 1 everywhere".to_owned(),
        })
    }
}

option_enum!(Nonlinearity {
    Nonlinearity::None => "none",
    Nonlinearity::Softmax => "softmax",
    Nonlinearity::Sigmoid => "sigmoid",
});

/// The target values that count for nothing: none, one label or several.
///
/// Made from a label (`255`), a list (`[0, 255]`), an `Option` or a `Vec` of labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IgnoreIndex(pub(crate) Vec<i64>);

impl From<i64> for IgnoreIndex {
    fn from(label: i64) -> Self {
        IgnoreIndex(vec![label])
    }
}

impl From<Option<i64>> for IgnoreIndex {
    fn from(label: Option<i64>) -> Self {
        IgnoreIndex(label.into_iter().collect())
    }
}

impl From<&[i64]> for IgnoreIndex {
    fn from(labels: &[i64]) -> Self {
        IgnoreIndex(labels.to_vec())
    }
}

impl<const N: usize> From<[i64; N]> for IgnoreIndex {
    fn from(labels: [i64; N]) -> Self {
        IgnoreIndex(labels.to_vec())
    }
}

impl From<Vec<i64>> for IgnoreIndex {
    fn from(labels: Vec<i64>) -> Self {
        IgnoreIndex(labels)
    }
}

impl OptionType for IgnoreIndex {
    fn expected() -> String {
        "a label, a list of labels or none".to_owned()
    }

    fn read(value: &Value, device: Device) -> Option<Self> {
        Option::<Vec<i64>>::read(value, device)
            .map(|labels| IgnoreIndex(labels.unwrap_or_default()))
    }

    fn show(&self) -> String {
        match self.0.as_slice() {
            [] => "none".to_owned(),
            [label] => label.show(),
            _ => self.0.show(),
        }
    }
}

/// What [`tp_fp_fn`] counts, and over what.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `loss_mask` | none | how much each pixel counts, (N, ..) or (N, 1, ..) |
/// | `ignore_index` | none | targets of this value, or of these, count for nothing |
/// | `batch` | false | sum over the batch too |
/// | `square` | false | square each pixel's numbers before they are summed |
#[derive(Debug, Clone, Default)]
pub struct StatisticsOptions<'a> {
    loss_mask: Option<&'a Tensor>,
    ignore_index: IgnoreIndex,
    batch: bool,
    square: bool,
}

impl<'a> StatisticsOptions<'a> {
    /// How much each pixel counts, (N, ..) or (N, 1, ..).
    pub fn loss_mask(mut self, loss_mask: impl Into<Option<&'a Tensor>>) -> Self {
        self.loss_mask = loss_mask.into();
        self
    }

    /// The target values that mark what to leave out.
    pub fn ignore_index(mut self, ignore_index: impl Into<IgnoreIndex>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// Whether to sum over the batch too.
    pub fn batch(mut self, batch: bool) -> Self {
        self.batch = batch;
        self
    }

    /// Whether to square each pixel's numbers before they are summed.
    pub fn square(mut self, square: bool) -> Self {
        self.square = square;
        self
    }
}

/// What [`tp_fp_fn`] returns: each (N, C), or (C) summed over the batch.
#[derive(Debug)]
#[non_exhaustive]
pub struct Statistics {
    /// Soft true positives.
    pub tp: Tensor,
    /// Soft false positives.
    pub fp: Tensor,
    /// Soft false negatives.
    pub fn_: Tensor,
}

/// Soft true positives, false positives and false negatives of each class.
///
/// ```text
/// tp = Σ m p y,   fp = Σ m p (1-y),   fn = Σ m (1-p) y      over the pixels of an image
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the mask. With `square` each term,
/// mask included, is squared before it is summed. Differentiable in p, in a soft y and in m.
///
/// # Shapes
///
/// - probabilities: (N, C, d1, ..), floating-point
/// - target: class indices, integer, (N, d1, ..) or (N, 1, d1, ..) with values in [0, C); or
///   one-hot or soft, of any kind, (N, C, d1, ..). With C = 1 both are the map itself
/// - `loss_mask`: (N, d1, ..) or (N, 1, d1, ..), of any kind
/// - each result: (N, C), or (C) with `batch`; `Half` and `BFloat16` are summed and returned in
///   `Float`
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
/// use tch_losses::segmentation::{StatisticsOptions, tp_fp_fn};
///
/// // One image of two pixels and two classes; the second pixel counts half.
/// let probabilities = Tensor::from_slice(&[0.75f64, 0.5, 0.25, 0.5]).view([1, 2, 2]);
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// let mask = Tensor::from_slice(&[1.0f64, 0.5]).view([1, 2]);
/// let counts =
///     tp_fp_fn(&probabilities, &target, StatisticsOptions::default().loss_mask(&mask));
/// let list = |t: Tensor| Vec::<f64>::try_from(t.view(-1)).unwrap();
/// assert_eq!(list(counts.tp), [0.75, 0.25]);
/// assert_eq!(list(counts.fp), [0.25, 0.25]);
/// assert_eq!(list(counts.fn_), [0.25, 0.25]);
/// ```
///
/// # Differences
///
/// nnU-Net returns true negatives too, makes index targets one-hot, and takes floating-point
/// indices; here a floating-point target is one-hot or soft.
///
/// # Reference
///
/// Follows nnU-Net 2.8 `get_tp_fp_fn_tn` and SegLossOdyssey's `get_tp_fp_fn`. See also
/// [`SoftDiceLoss`](crate::SoftDiceLoss).
pub fn f_tp_fp_fn(
    probabilities: &Tensor,
    target: &Tensor,
    options: StatisticsOptions,
) -> Result<Statistics> {
    let counting = Counting {
        mask: options.loss_mask,
        ignore_index: &options.ignore_index,
        terms: if options.square { Terms::Square } else { Terms::Product },
    };
    let none = Nonlinearity::None;
    let sums = overlap("tp_fp_fn", "probabilities", probabilities, none, target, &counting)?;
    let Overlap { tp, predicted, actual, .. } =
        if options.batch { sums.over_batch()? } else { sums };
    let fp = at_least_zero(predicted.f_sub(&tp)?)?;
    let fn_ = at_least_zero(actual.f_sub(&tp)?)?;
    Ok(Statistics { tp, fp, fn_ })
}

/// [`f_tp_fp_fn`], or a panic with its error.
#[track_caller]
pub fn tp_fp_fn(probabilities: &Tensor, target: &Tensor, options: StatisticsOptions) -> Statistics {
    unwrap(f_tp_fp_fn(probabilities, target, options))
}

/// A difference of sums where rounding may not take it below 0; the gradient is that of the
/// difference.
fn at_least_zero(difference: Tensor) -> Result<Tensor> {
    let excess = difference.f_detach()?.f_neg()?.f_relu()?;
    Ok(difference.f_add(&excess)?)
}

/// What overlap losses sum over the pixels, with p the probability, y the target and m the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// `tp = Σ m p y`, `predicted = Σ m p`, `actual = Σ m y`: tp, tp + fp and tp + fn.
    Product,
    /// As `Product` but `tp = Σ m min(p, y)`, which is largest where a soft target is met.
    Minimum,
    /// As `Product` but `predicted = Σ m p²` and `actual = Σ m y²`.
    SquaredDenominator,
    /// As `Product` with each pixel's tp, fp and fn, m included, squared before they are summed.
    Square,
    /// `tp = Σ m (y-p)² y`, `predicted = Σ m (y-p)² (1-y)`, `actual = Σ m y`.
    SquaredError,
}

/// What is counted, and how.
pub(crate) struct Counting<'a> {
    pub(crate) mask: Option<&'a Tensor>,
    pub(crate) ignore_index: &'a IgnoreIndex,
    pub(crate) terms: Terms,
}

/// What overlap losses are made of, each (N, C): see [`Terms`].
///
/// Denominators are sums of the last two, which have no cancellation.
pub(crate) struct Overlap {
    pub(crate) tp: Tensor,
    pub(crate) predicted: Tensor,
    pub(crate) actual: Tensor,
    /// Σ m, (N, C) or (N, 1); `None` where every pixel counts once.
    pub(crate) valid: Option<Tensor>,
    /// The number of pixels of an image.
    pub(crate) pixels: i64,
}

impl Overlap {
    /// The same with each tensor replaced.
    pub(crate) fn map(self, f: impl Fn(Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Overlap {
            tp: f(self.tp)?,
            predicted: f(self.predicted)?,
            actual: f(self.actual)?,
            valid: self.valid.map(&f).transpose()?,
            pixels: self.pixels,
        })
    }

    /// Summed over the batch: (C).
    pub(crate) fn over_batch(self) -> Result<Self> {
        self.map(|sum| Ok(sum.f_sum_dim_intlist(0, false, None::<Kind>)?))
    }
}

/// Checks an input with its target and sums their overlap; `what` names the input in errors.
pub(crate) fn overlap(
    loss: &'static str,
    what: &'static str,
    input: &Tensor,
    nonlinearity: Nonlinearity,
    target: &Tensor,
    counting: &Counting,
) -> Result<Overlap> {
    let grid = Grid::of(loss, what, input)?;
    nonlinearity.check(loss, grid.classes)?;
    match grid.fused(loss, what, input, nonlinearity, target, counting)? {
        Some(overlap) => Ok(overlap),
        None => {
            Pixels::of(loss, what, input, nonlinearity, target, counting)?.overlap(counting.terms)
        }
    }
}

/// Up to so many classes, one-hot targets made by comparison are faster than gathers, which pay for
/// each pixel as much as for several classes, and no larger at the peak of memory, in backward.
const FEW_CLASSES: i64 = 8;

/// An input and its target, checked and in the kind that losses compute in.
pub(crate) struct Pixels {
    pub(crate) grid: Grid,
    /// (N, C, P)
    pub(crate) probabilities: Tensor,
    pub(crate) target: Target,
    /// (N, 1, P), or (N, C, P) where a dense target is ignored; 0 where ignored.
    pub(crate) mask: Option<Tensor>,
}

impl Pixels {
    pub(crate) fn of(
        loss: &'static str,
        what: &'static str,
        input: &Tensor,
        nonlinearity: Nonlinearity,
        target: &Tensor,
        counting: &Counting,
    ) -> Result<Self> {
        let grid = Grid::of(loss, what, input)?;
        nonlinearity.check(loss, grid.classes)?;
        let kind = match input.f_kind()? {
            Kind::Half | Kind::BFloat16 => Kind::Float,
            kind if check::is_float(kind) => kind,
            got => return Err(LossError::Kind { loss, what, expected: "floating-point", got }),
        };
        let target = grid.target(loss, target, input, kind)?;
        // `tp_fp_fn` has nnU-Net's name for what a loss calls weight.
        let name = if what == "input" { "weight" } else { "loss_mask" };
        let mask = counting.mask.map(|mask| grid.mask(loss, name, mask, input, kind));
        let mask = mask.transpose()?;
        let (target, mask) = target.without(&counting.ignore_index.0, mask, kind)?;
        let probabilities = match nonlinearity {
            Nonlinearity::None => input.f_to_kind(kind)?,
            Nonlinearity::Softmax => input.f_softmax(1, kind)?,
            Nonlinearity::Sigmoid => input.f_to_kind(kind)?.f_sigmoid()?,
        };
        let probabilities = probabilities.f_reshape(grid.shape())?;
        Ok(Pixels { grid, probabilities, target, mask })
    }

    /// The sums over the pixels.
    pub(crate) fn overlap(self, terms: Terms) -> Result<Overlap> {
        let Pixels { grid, probabilities, target, mask } = self;
        let kind = probabilities.f_kind()?;
        let valid = match &mask {
            Some(mask) => Some(sum(mask.shallow_clone())?),
            None if grid.images * grid.count() == 0 => {
                Some(Tensor::f_zeros([grid.images, 1], (kind, probabilities.device()))?)
            }
            None => None,
        };
        let few = grid.classes <= FEW_CLASSES && terms != Terms::Square;
        let pixels = grid.count();
        let [tp, predicted, actual] = match target {
            Target::Index(class) if few => {
                let one_hot = grid.one_hot(&class, kind)?;
                of_dense(probabilities, one_hot, mask, terms)?
            }
            Target::Index(class) => grid.of_index(probabilities, &class, mask, terms)?,
            Target::Dense(dense) => of_dense(probabilities, dense, mask, terms)?,
        };
        Ok(Overlap { tp, predicted, actual, valid, pixels })
    }
}

/// A target of P pixels: class indices (N, 1, P), or one-hot or soft (N, C, P).
pub(crate) enum Target {
    Index(Tensor),
    Dense(Tensor),
}

impl Target {
    pub(crate) fn shallow_clone(&self) -> Self {
        match self {
            Target::Index(class) => Target::Index(class.shallow_clone()),
            Target::Dense(dense) => Target::Dense(dense.shallow_clone()),
        }
    }

    /// The target with what is ignored replaced by 0, and a mask that is 0 there too.
    fn without(
        self,
        labels: &[i64],
        mask: Option<Tensor>,
        kind: Kind,
    ) -> Result<(Self, Option<Tensor>)> {
        let (Target::Index(values) | Target::Dense(values)) = &self;
        let mut ignored: Option<Tensor> = None;
        for &label in labels {
            let this = values.f_eq(label)?;
            ignored = Some(match ignored {
                Some(others) => others.f_logical_or(&this)?,
                None => this,
            });
        }
        let Some(ignored) = ignored else { return Ok((self, mask)) };
        let values = values.f_masked_fill(&ignored, 0)?;
        let valid = ignored.f_logical_not()?.f_to_kind(kind)?;
        let mask = match mask {
            Some(mask) => mask.f_mul(&valid)?,
            None => valid,
        };
        let target = match self {
            Target::Index(_) => Target::Index(values),
            Target::Dense(_) => Target::Dense(values),
        };
        Ok((target, Some(mask)))
    }
}

/// The shape of an input: N images of C classes and P pixels.
#[derive(Clone)]
pub(crate) struct Grid {
    pub(crate) images: i64,
    pub(crate) classes: i64,
    pub(crate) pixels: Vec<i64>,
}

impl Grid {
    fn of(loss: &'static str, what: &'static str, input: &Tensor) -> Result<Self> {
        match input.size().as_slice() {
            &[images, classes, ref pixels @ ..] if classes > 0 => {
                Ok(Grid { images, classes, pixels: pixels.to_vec() })
            }
            got => Err(LossError::Shape {
                loss,
                what,
                expected: "[N, C, ..] with C at least 1".to_owned(),
                got: got.to_vec(),
            }),
        }
    }

    /// The overlap in one pass, or `None` where it has to be composed, as with shapes that do not fit.
    fn fused(
        &self,
        loss: &'static str,
        what: &'static str,
        input: &Tensor,
        nonlinearity: Nonlinearity,
        target: &Tensor,
        counting: &Counting,
    ) -> Result<Option<Overlap>> {
        let [plain, single, full] = self.shapes();
        let size = target.size();
        let dense = size == full || (self.classes == 1 && size == plain);
        let of_pixels = |size: &[i64]| size == plain || size == single;
        let fits =
            (dense || of_pixels(&size)) && counting.mask.is_none_or(|mask| of_pixels(&mask.size()));
        let squared = match counting.terms {
            Terms::Product => false,
            // A target of zeros and ones cannot be less than p without being 0.
            Terms::Minimum if !dense => false,
            Terms::SquaredDenominator => true,
            _ => return Ok(None),
        };
        if !fits {
            return Ok(None);
        }
        let ignored = &counting.ignore_index.0;
        let sums = fused::OverlapSums {
            images: self.images as usize,
            classes: self.classes as usize,
            pixels: self.count() as usize,
            activation: match nonlinearity {
                Nonlinearity::None => Activation::None,
                Nonlinearity::Softmax => Activation::Softmax,
                Nonlinearity::Sigmoid => Activation::Sigmoid,
            },
            dense,
            mask: counting.mask,
            ignored,
            squared,
        };
        let kept_target = Kept::of(target);
        let kept_mask = counting.mask.map(Kept::of);
        let (kept_ignored, terms) = (counting.ignore_index.clone(), counting.terms);
        let sums = sums.sums(input, target, move |input| {
            let counting = Counting {
                mask: kept_mask.as_ref().map(|kept| &kept.0),
                ignore_index: &kept_ignored,
                terms,
            };
            let pixels = Pixels::of(loss, what, input, nonlinearity, &kept_target.0, &counting)?;
            let Overlap { tp, predicted, .. } = pixels.overlap(terms)?;
            Ok([tp, predicted])
        })?;
        Ok(sums.map(|Sums { tp, predicted, actual, valid }| Overlap {
            tp,
            predicted,
            actual,
            valid: (counting.mask.is_some() || !ignored.is_empty()).then_some(valid),
            pixels: self.count(),
        }))
    }

    pub(crate) fn count(&self) -> i64 {
        self.pixels.iter().product()
    }

    /// (N, C, P)
    fn shape(&self) -> [i64; 3] {
        [self.images, self.classes, self.count()]
    }

    /// (N, d1, ..), (N, 1, d1, ..) and (N, C, d1, ..)
    fn shapes(&self) -> [Vec<i64>; 3] {
        let with = |first: &[i64]| [first, &self.pixels].concat();
        [with(&[self.images]), with(&[self.images, 1]), with(&[self.images, self.classes])]
    }

    fn target(
        &self,
        loss: &'static str,
        target: &Tensor,
        input: &Tensor,
        kind: Kind,
    ) -> Result<Target> {
        let [plain, single, full] = self.shapes();
        let size = target.size();
        check::device(loss, "target", target, input)?;
        if size == full || (self.classes == 1 && size == plain) {
            let dense = check::in_kind(loss, "target", target, kind)?;
            return Ok(Target::Dense(dense.f_reshape(self.shape())?));
        }
        let ok = size == plain || size == single;
        let expected = format!("{plain:?}, {single:?} or {full:?}");
        check::shape_is(loss, "target", target, ok, &expected)?;
        let class = check::index(loss, "target", target)?.f_to_kind(Kind::Int64)?;
        Ok(Target::Index(class.f_reshape([self.images, 1, self.count()])?))
    }

    fn mask(
        &self,
        loss: &'static str,
        name: &'static str,
        mask: &Tensor,
        input: &Tensor,
        kind: Kind,
    ) -> Result<Tensor> {
        let [plain, single, _] = self.shapes();
        let size = mask.size();
        let ok = size == plain || size == single;
        check::shape_is(loss, name, mask, ok, &format!("{plain:?} or {single:?}"))?;
        check::device(loss, name, mask, input)?;
        let mask = check::in_kind(loss, name, mask, kind)?;
        Ok(mask.f_reshape([self.images, 1, self.count()])?)
    }

    pub(crate) fn one_hot(&self, class: &Tensor, kind: Kind) -> Result<Tensor> {
        let [images, classes, pixels] = self.shape();
        let one_hot = Tensor::f_empty(self.shape(), (kind, class.device()))?;
        let numbers = Tensor::f_arange(classes, (kind, class.device()))?;
        // Selecting among the numbers of the classes refuses any other index.
        let class = numbers.f_index_select(0, &class.f_flatten(0, -1)?)?;
        let class = class.f_view([images, 1, pixels])?;
        Ok(class.f_eq_tensor_out(&one_hot, &numbers.f_view([1, classes, 1])?)?)
    }

    /// tp, predicted and actual of class indices.
    fn of_index(
        &self,
        probabilities: Tensor,
        class: &Tensor,
        mask: Option<Tensor>,
        terms: Terms,
    ) -> Result<[Tensor; 3]> {
        let ones = || -> Result<Tensor> {
            let kind = probabilities.f_kind()?;
            let one = Tensor::f_ones([1, 1, 1], (kind, probabilities.device()))?;
            Ok(one.f_expand([self.images, 1, self.count()], false)?)
        };
        if terms == Terms::SquaredError {
            // Σ m p² of the other classes, and Σ m (1-p)² of the pixel's own.
            let all = sum(times(probabilities.f_square()?, mask.as_ref())?)?;
            let own = probabilities.f_gather(1, class, false)?;
            let missed = own.f_rsub_scalar(1.0)?.f_square()?;
            let hit = self.per_class(times(own.f_square()?, mask.as_ref())?, class)?;
            let tp = self.per_class(times(missed, mask.as_ref())?, class)?;
            let mask = mask.map_or_else(ones, Ok)?;
            return Ok([tp, all.f_sub(&hit)?, self.per_class(mask, class)?]);
        }
        let weighted = times(probabilities.shallow_clone(), mask.as_ref())?;
        // Before the gather: backward then adds this sum's gradient to the gather's in place.
        let predicted = sum(match terms {
            Terms::Square => weighted.f_square()?,
            Terms::SquaredDenominator => weighted.f_mul(&probabilities)?,
            _ => weighted.shallow_clone(),
        })?;
        // What m p holds of the pixel's own class is m p[y].
        let own = weighted.f_gather(1, class, false)?;
        let mask = mask.map_or_else(ones, Ok)?;
        if terms == Terms::Square {
            let missed = self.per_class(mask.f_sub(&own)?.f_square()?, class)?;
            let tp = self.per_class(own.f_square()?, class)?;
            let actual = tp.f_add(&missed)?;
            return Ok([tp, predicted, actual]);
        }
        let actual = self.per_class(mask, class)?;
        Ok([self.per_class(own, class)?, predicted, actual])
    }

    /// Sums one value per pixel, (N, 1, P), into the pixel's class: (N, C).
    ///
    /// Each column of pixels has sums of its own, so that a large volume is not added one by one
    /// to a number too large to take it, and CUDA's atomic additions seldom meet.
    pub(crate) fn per_class(&self, values: Tensor, class: &Tensor) -> Result<Tensor> {
        let columns = self.pixels.last().copied().unwrap_or(1);
        let rows: i64 = self.pixels.iter().rev().skip(1).product();
        let shape = [self.images, rows, columns];
        let bins = [self.images, self.classes, columns];
        let bins = Tensor::f_zeros(bins, (values.f_kind()?, values.device()))?;
        sum(bins.f_scatter_add(1, &class.f_reshape(shape)?, &values.f_reshape(shape)?)?)
    }
}

/// tp, predicted and actual of a one-hot or soft target.
fn of_dense(
    probabilities: Tensor,
    dense: Tensor,
    mask: Option<Tensor>,
    terms: Terms,
) -> Result<[Tensor; 3]> {
    let mask = mask.as_ref();
    if terms == Terms::SquaredError {
        let error = times(dense.f_sub(&probabilities)?.f_square()?, mask)?;
        let all = sum(error.shallow_clone())?;
        let tp = sum(error.f_mul(&dense)?)?;
        return Ok([tp.shallow_clone(), all.f_sub(&tp)?, sum(times(dense, mask)?)?]);
    }
    let weighted = times(probabilities.shallow_clone(), mask)?;
    if terms == Terms::Square {
        let hit = weighted.f_mul(&dense)?;
        let actual = times(dense, mask)?;
        let tp = sum(hit.f_square()?)?;
        let predicted = tp.f_add(&sum(weighted.f_sub(&hit)?.f_square()?)?)?;
        let actual = tp.f_add(&sum(actual.f_sub(&hit)?.f_square()?)?)?;
        return Ok([tp, predicted, actual]);
    }
    // First: backward then adds this sum's gradient to the product's in place.
    let predicted = sum(match terms {
        Terms::SquaredDenominator => weighted.f_mul(&probabilities)?,
        _ => weighted.shallow_clone(),
    })?;
    drop(probabilities);
    let tp = match terms {
        Terms::Minimum => weighted.f_minimum(&times(dense.shallow_clone(), mask)?)?,
        _ => weighted.f_mul(&dense)?,
    };
    drop(weighted);
    let tp = sum(tp)?;
    let actual = match terms {
        Terms::SquaredDenominator => dense.f_square()?,
        _ => dense,
    };
    Ok([tp, predicted, sum(times(actual, mask)?)?])
}

fn times(values: Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    Ok(match mask {
        Some(mask) => values.f_mul(mask)?,
        None => values,
    })
}

/// (N, C, P) to (N, C)
pub(crate) fn sum(values: Tensor) -> Result<Tensor> {
    Ok(values.f_sum_dim_intlist(2, false, None::<Kind>)?)
}
