//! Exact Euclidean distance transforms.

use crate::{LossError, Result, check, error::unwrap, fused::parallel};
use std::ops::{Add, Mul, Neg};
use tch::{Device, Kind, Tensor, kind::Element};

/// The exact Euclidean distance of each nonzero pixel to the nearest zero pixel.
///
/// ```text
/// d(x) = min { |x - y| : mask(y) = 0 },   |x - y|² = Σ_i (spacing_i (x_i - y_i))²
/// ```
///
/// Zero pixels have distance 0. An image without any zero pixel has distance infinity: there is
/// nothing to measure to.
///
/// The last `spacing.len()` dimensions are those of an image, 2 or 3 of them as a rule, and
/// `spacing` is the size of a pixel along each; all dimensions before them are a batch.
///
/// On the CPU, squared distances are taken along one dimension after another as lower envelopes of
/// parabolas, by libtorch's threads. On CUDA, lines of up to 512 pixels are compared
/// with themselves on the device, without waiting for it; longer ones are done on the host and
/// copied back.
///
/// # Shapes
///
/// - mask: (.., d1, .., dk) of any kind; what is not 0 counts as one
/// - spacing: k numbers above 0
/// - result: the mask's shape; `Double` for a `Double` mask, `Float` for any other
///
/// # Errors
///
/// A mask with fewer dimensions than `spacing`; a spacing that is empty, not above 0 or not finite.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::segmentation::distance_transform_edt;
///
/// let mask = Tensor::from_slice(&[1i64, 1, 1, 0, 1, 1]).view([2, 3]);
/// let distance = distance_transform_edt(&mask, &[1.0, 1.0]).view(-1);
/// let expected = [1.0, 2f32.sqrt(), 5f32.sqrt(), 0.0, 1.0, 2.0];
/// assert_eq!(Vec::<f32>::try_from(distance).unwrap(), expected);
///
/// // Rows 3 mm apart.
/// let distance = distance_transform_edt(&mask, &[3.0, 1.0]).view(-1);
/// assert_eq!(Vec::<f32>::try_from(distance).unwrap()[0], 3.0);
/// ```
///
/// # Differences
///
/// scipy measures to a pixel outside of the image where there is no zero pixel, takes one image at
/// a time, and returns float64 for every mask.
///
/// # Reference
///
/// Maurer, Qi and Raghavan 2003, "A Linear Time Algorithm for Computing Exact Euclidean Distance
/// Transforms of Binary Images in Arbitrary Dimensions"; Felzenszwalb and Huttenlocher 2012,
/// "Distance Transforms of Sampled Functions". Follows scipy `ndimage.distance_transform_edt`. See
/// also [`signed_distance_transform_edt`].
pub fn f_distance_transform_edt(mask: &Tensor, spacing: &[f64]) -> Result<Tensor> {
    transform("distance_transform_edt", mask, spacing, Side::Inside)
}

/// [`f_distance_transform_edt`], or a panic with its error.
#[track_caller]
pub fn distance_transform_edt(mask: &Tensor, spacing: &[f64]) -> Tensor {
    unwrap(f_distance_transform_edt(mask, spacing))
}

/// The exact Euclidean distance of each pixel to the nearest pixel of the other side, negative
/// inside of the mask.
///
/// ```text
/// d(x) =  min { |x - y| : mask(y) ≠ 0 }   where mask(x) = 0
///        -min { |x - y| : mask(y) = 0 }   elsewhere
/// ```
///
/// This is `EDT(1 - mask) - EDT(mask)`, and its absolute value their sum, in the time of one. An
/// image that is all zero or all nonzero has no boundary to measure to: its distances are
/// infinite, of the sign above.
///
/// Shapes, devices and errors are those of
/// [`distance_transform_edt`](f_distance_transform_edt).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::segmentation::signed_distance_transform_edt;
///
/// let mask = Tensor::from_slice(&[0i64, 0, 1, 1, 1]);
/// let distance = signed_distance_transform_edt(&mask, &[0.5]);
/// assert_eq!(Vec::<f64>::try_from(distance).unwrap(), [1.0, 0.5, -0.5, -1.0, -1.5]);
/// ```
pub fn f_signed_distance_transform_edt(mask: &Tensor, spacing: &[f64]) -> Result<Tensor> {
    transform("signed_distance_transform_edt", mask, spacing, Side::Both)
}

/// [`f_signed_distance_transform_edt`], or a panic with its error.
#[track_caller]
pub fn signed_distance_transform_edt(mask: &Tensor, spacing: &[f64]) -> Tensor {
    unwrap(f_signed_distance_transform_edt(mask, spacing))
}

/// Which pixels have a distance: those of the mask, or all.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Inside,
    Both,
}

fn check_spacing(loss: &'static str, spacing: &[f64], axes: usize) -> Result<()> {
    let ok = spacing.len() == axes && spacing.iter().all(|&s| s > 0.0 && s.is_finite());
    if axes > 0 && ok {
        return Ok(());
    }
    Err(LossError::Param {
        loss,
        option: "spacing",
        expected: "one number above 0 for each dimension of an image",
        got: format!("{spacing:?}"),
    })
}

/// The `spacing` option of a loss for images of so many dimensions: 1 unless it is given.
pub(crate) fn pixel_size(
    loss: &'static str,
    spacing: Option<&[f64]>,
    axes: usize,
) -> Result<Vec<f64>> {
    let spacing = spacing.map_or_else(|| vec![1.0; axes], <[f64]>::to_vec);
    check_spacing(loss, &spacing, axes)?;
    Ok(spacing)
}

/// The signed distances of `Bool` masks in `kind`; 0 where an image has no boundary.
pub(crate) fn signed(inside: &Tensor, spacing: &[f64], kind: Kind) -> Result<Tensor> {
    let inside =
        if kind == Kind::Double { inside.f_to_kind(kind)? } else { inside.shallow_clone() };
    finite(f_signed_distance_transform_edt(&inside, spacing)?)
}

/// Distances that are 0 where there is nothing to measure to.
pub(crate) fn finite(mut distance: Tensor) -> Result<Tensor> {
    let infinite = distance.f_isinf()?;
    Ok(distance.f_masked_fill_(&infinite, 0.0)?)
}

/// Which pixels are of each class, (N, C, d1, ..): of class indices (N, d1, ..), integer, or of
/// one-hot or soft classes (N, C, d1, ..), floating-point or bool. Other indices are of no class.
pub(crate) fn of_classes(loss: &'static str, target: &Tensor, classes: i64) -> Result<Tensor> {
    check::param(loss, "classes", classes as f64, classes > 0, "at least 1")?;
    if !check::is_index(target.f_kind()?) {
        let ok = target.size().get(1) == Some(&classes) && target.dim() > 2;
        check::shape_is(loss, "target", target, ok, &format!("[N, {classes}, d1, ..]"))?;
        return Ok(target.f_gt(0.5)?);
    }
    check::shape_is(loss, "target", target, target.dim() > 1, "[N, d1, ..]")?;
    let mut shape = vec![1; target.dim() + 1];
    shape[1] = classes;
    let numbers = Tensor::f_arange(classes, (Kind::Int64, target.device()))?;
    Ok(target.f_unsqueeze(1)?.f_eq_tensor(&numbers.f_view(shape.as_slice())?)?)
}

fn transform(name: &'static str, mask: &Tensor, spacing: &[f64], side: Side) -> Result<Tensor> {
    check_spacing(name, spacing, spacing.len())?;
    let size = mask.size();
    let axes = spacing.len();
    let expected = format!("of at least {axes} dimensions, as spacing has {axes} numbers");
    check::shape_is(name, "mask", mask, size.len() >= axes, &expected)?;
    let kind = if mask.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
    if mask.numel() == 0 {
        return Ok(Tensor::f_empty(&size, (kind, mask.device()))?);
    }
    let mask = mask.f_ne(0)?;
    let geometry = Geometry::new(&size[size.len() - axes..], spacing);
    match mask.device() {
        Device::Cuda(_) if geometry.longest() <= SHORT => {
            on_device(&mask, &geometry, side, kind, PAIRS)
        }
        device => {
            let distance = Tensor::f_empty(&size, (kind, Device::Cpu))?;
            let pixels: i64 = size[size.len() - axes..].iter().product();
            // A few images at a time, whose numbers stay in the cache.
            let together = (TOGETHER / pixels).max(1);
            let masks = mask.f_reshape([-1, pixels])?.f_split(together, 0)?;
            let distances = distance.f_view([-1, pixels])?.f_split(together, 0)?;
            for (mask, mut distance) in masks.iter().zip(distances) {
                let inside = Vec::<bool>::try_from(mask.f_reshape([-1])?)?;
                let of_some = match kind {
                    Kind::Double => Tensor::f_from_slice(&on_host::<f64>(&inside, &geometry, side)),
                    _ => Tensor::f_from_slice(&on_host::<f32>(&inside, &geometry, side)),
                };
                distance.f_copy_(&of_some?.f_view_as(&distance)?)?;
            }
            Ok(distance.f_to_device(device)?)
        }
    }
}

/// How many pixels are measured at once, unless an image has more.
const TOGETHER: i64 = 1 << 18;

/// The lengths of an image, and its pixel's size in units of `scale`.
struct Geometry {
    lengths: Vec<usize>,
    spacing: Vec<f64>,
    scale: f64,
}

impl Geometry {
    fn new(lengths: &[i64], spacing: &[f64]) -> Self {
        let scale = spacing.iter().copied().fold(0.0, f64::max);
        Geometry {
            lengths: lengths.iter().map(|&length| length as usize).collect(),
            spacing: spacing.iter().map(|&s| s / scale).collect(),
            scale,
        }
    }

    fn axes(&self) -> impl DoubleEndedIterator<Item = (usize, f64)> {
        self.lengths.iter().copied().zip(self.spacing.iter().copied())
    }

    fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// Whether every squared distance is an integer that `Float` holds.
    fn fits_float(&self) -> bool {
        let diagonal: f64 = self.lengths.iter().map(|&length| (length as f64).powi(2)).sum();
        self.spacing.iter().all(|&s| s == 1.0) && diagonal <= f64::from(1 << 24)
    }
}

// On the host.

/// A number that squared distances are kept in.
trait Real:
    Element
    + Copy
    + Send
    + Sync
    + PartialOrd
    + Into<f64>
    + Add<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
{
    const INFINITY: Self;

    fn of(value: f64) -> Self;

    fn root(self) -> Self;

    fn magnitude(self) -> Self {
        if self < Self::ZERO { -self } else { self }
    }

    fn least(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    fn most(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

impl Real for f32 {
    const INFINITY: f32 = f32::INFINITY;

    fn of(value: f64) -> f32 {
        value as f32
    }

    fn root(self) -> f32 {
        self.sqrt()
    }
}

impl Real for f64 {
    const INFINITY: f64 = f64::INFINITY;

    fn of(value: f64) -> f64 {
        value
    }

    fn root(self) -> f64 {
        self.sqrt()
    }
}

fn on_host<Out: Real>(inside: &[bool], geometry: &Geometry, side: Side) -> Vec<Out> {
    if geometry.fits_float() {
        passes::<f32, Out>(inside, geometry, side)
    } else {
        passes::<f64, Out>(inside, geometry, side)
    }
}

/// One pass for each dimension, over squared distances whose sign tells the sides apart: below 0
/// inside of the mask, above 0 outside, and 0 where no distance is wanted.
fn passes<T: Real, Out: Real>(inside: &[bool], geometry: &Geometry, side: Side) -> Vec<Out> {
    let beginnings = [if side == Side::Both { T::INFINITY } else { T::ZERO }, -T::INFINITY];
    let begin = |inside: bool| beginnings[usize::from(inside)];
    let scale = Out::of(geometry.scale);
    let inner_scale = if side == Side::Both { -scale } else { scale };
    let end = |squared: T| {
        let distance = Out::of(squared.magnitude().into()).root();
        distance * if squared < T::ZERO { inner_scale } else { scale }
    };

    let pixels: usize = geometry.lengths.iter().product();
    let lines = |(length, spacing)| Lines { length, spacing, count: pixels / length };
    let mut axes = geometry.axes().map(lines);
    let mut result = vec![Out::ZERO; inside.len()];
    let (Some(first), last) = (axes.next(), axes.next_back()) else { return result };
    let Some(last) = last else {
        first.pass(inside, &mut result, begin, end);
        return result;
    };
    let mut squared = vec![T::ZERO; inside.len()];
    first.pass(inside, &mut squared, begin, |squared| squared);
    for middle in axes {
        let mut next = vec![T::ZERO; inside.len()];
        middle.pass(&squared, &mut next, |squared| squared, |squared| squared);
        squared = next;
    }
    last.pass(&squared, &mut result, |squared| squared, end);
    result
}

/// The lines along the first dimension of an image.
#[derive(Clone, Copy)]
struct Lines {
    length: usize,
    spacing: f64,
    count: usize,
}

/// How many lines are copied at once, so that whole cache lines are read.
const BLOCK: usize = 16;

/// How many blocks are one piece of work.
const BLOCKS: usize = 4;

/// A pixel as units of [`parallel::map_with`].
const UNITS: usize = 4;

/// What a thread works in.
struct Scratch<T> {
    block: Vec<T>,
    measure: Measure<T>,
}

impl Lines {
    /// Takes distances along the first dimension of each image, which becomes its last: after a
    /// pass for each dimension they are in order again, and each thread writes pieces of its own.
    fn pass<T: Real, From: Copy + Sync, To: Send>(
        self,
        from: &[From],
        to: &mut [To],
        load: impl Fn(From) -> T + Sync,
        store: impl Fn(T) -> To + Sync,
    ) {
        // An odd number of cache lines, so that a column of the block is in different sets.
        let stride = (self.length.div_ceil(16) | 1) * 16;
        let scratch = || Scratch {
            block: vec![T::ZERO; stride * BLOCK],
            measure: Measure::new(self.length, self.spacing),
        };
        let lines = BLOCKS * BLOCK;
        let units = UNITS * to.len();
        let pieces = to.chunks_mut(lines * self.length).enumerate();
        parallel::map_with(pieces, units, scratch, |scratch, (i, to)| {
            self.piece(from, i * lines, to, scratch, &load, &store);
        });
    }

    /// The lines from `first` on that `to` has room for.
    fn piece<T: Real, From: Copy, To>(
        self,
        from: &[From],
        first: usize,
        to: &mut [To],
        scratch: &mut Scratch<T>,
        load: impl Fn(From) -> T,
        store: impl Fn(T) -> To,
    ) {
        let Lines { length, count, .. } = self;
        let Scratch { block, measure } = scratch;
        let stride = block.len() / BLOCK;
        let mut next = first;
        let end = first + to.len() / length;
        let mut to = to.chunks_exact_mut(length);
        while next < end {
            let (image, column) = (next / count, next % count);
            let width = BLOCK.min(count - column).min(end - next);
            let rows = from[image * length * count..][..length * count].chunks_exact(count);
            for (i, row) in rows.enumerate() {
                let row = &row[column..column + width];
                let column = block[i..].iter_mut().step_by(stride);
                for (value, &from) in column.zip(row) {
                    *value = load(from);
                }
            }
            for (line, to) in block.chunks_exact_mut(stride).take(width).zip(&mut to) {
                let line = &mut line[..length];
                measure.line(line);
                for (to, &value) in to.iter_mut().zip(line.iter()) {
                    *to = store(value);
                }
            }
            next += width;
        }
    }
}

/// Lowers the squared distances of lines to those by way of the other pixels of the line.
struct Measure<T> {
    spacing: f64,
    /// The squared distance of so many pixels.
    squares: Vec<T>,
    /// The squared distances that a line comes with, without sign, with `NEAR` more at each end.
    heights: Vec<T>,
    parabolas: Vec<Parabola>,
}

/// Up to so many pixels away, comparing with all of them is faster than an envelope.
const NEAR: usize = 32;

/// How many pixels are compared at once.
const LANES: usize = 16;

impl<T: Real> Measure<T> {
    fn new(length: usize, spacing: f64) -> Self {
        Measure {
            spacing,
            squares: (0..=length.max(NEAR))
                .map(|pixels| T::of((pixels as f64 * spacing).powi(2)))
                .collect(),
            heights: vec![T::INFINITY; length + 2 * NEAR + LANES],
            parabolas: Vec::with_capacity(length + 2),
        }
    }

    /// The nearest pixel of another side is never beyond the end of a run of one sign, so each run
    /// is by itself.
    fn line(&mut self, line: &mut [T]) {
        for (height, value) in self.heights[NEAR..].iter_mut().zip(line.iter()) {
            *height = value.magnitude();
        }
        let mut start = 0;
        while start < line.len() {
            let first = line[start];
            if first == T::ZERO {
                start += 1;
                continue;
            }
            let negative = first < T::ZERO;
            let alike = |value: &&T| (**value < T::ZERO) == negative && **value != T::ZERO;
            let end = start + line[start..].iter().take_while(alike).count();
            let borders = Borders { before: start > 0, after: end < line.len() };
            let run = &mut line[start..end];
            self.run(run, start, borders);
            if negative {
                for value in run {
                    *value = -*value;
                }
            }
            start = end;
        }
    }

    fn run(&mut self, run: &mut [T], start: usize, borders: Borders) {
        // By way of the pixel itself and of those beside the run.
        let heights = &self.heights[NEAR + start..][..run.len()];
        run.copy_from_slice(heights);
        if borders.before {
            for (value, &square) in run.iter_mut().zip(&self.squares[1..]) {
                *value = value.least(square);
            }
        }
        if borders.after {
            for (value, &square) in run.iter_mut().rev().zip(&self.squares[1..]) {
                *value = value.least(square);
            }
        }
        // By way of the others.
        if heights.iter().copied().fold(T::INFINITY, T::least) < T::INFINITY {
            if run.iter().copied().fold(T::ZERO, T::most) <= self.squares[NEAR] {
                self.compare(run, start);
            } else {
                self.envelope(run, start, borders);
            }
        }
    }

    /// Compares with pixels of other sides too: they are no nearer than those beside the run.
    fn compare(&self, run: &mut [T], start: usize) {
        for (first, values) in (NEAR + start..).step_by(LANES).zip(run.chunks_mut(LANES)) {
            let mut lanes = [T::ZERO; LANES];
            lanes[..values.len()].copy_from_slice(values);
            for (step, &square) in self.squares[..NEAR].iter().enumerate().skip(1) {
                if lanes.iter().copied().fold(T::ZERO, T::most) <= square {
                    break;
                }
                let before = &self.heights[first - step..][..LANES];
                let after = &self.heights[first + step..][..LANES];
                for ((value, &before), &after) in lanes.iter_mut().zip(before).zip(after) {
                    *value = value.least(before.least(after) + square);
                }
            }
            values.copy_from_slice(&lanes[..values.len()]);
        }
    }

    fn envelope(&mut self, run: &mut [T], start: usize, borders: Borders) {
        let unit = self.spacing * self.spacing;
        let parabolas = &mut self.parabolas;
        parabolas.clear();
        let mut add = |height: f64, place: usize| {
            let new = Parabola { height: height / unit, place: place as f64 };
            while let &[.., left, middle] = parabolas.as_slice() {
                if !middle.hidden(left, new) {
                    break;
                }
                parabolas.pop();
            }
            parabolas.push(new);
        };
        if borders.before {
            add(0.0, 0);
        }
        for (i, &height) in self.heights[NEAR + start..][..run.len()].iter().enumerate() {
            if height < T::INFINITY {
                add(height.into(), i + 1);
            }
        }
        if borders.after {
            add(0.0, run.len() + 1);
        }

        let mut rest = parabolas.iter().peekable();
        let Some(mut lowest) = rest.next() else { return };
        for (i, value) in run.iter_mut().enumerate() {
            let x = (i + 1) as f64;
            let mut least = lowest.at(x);
            while let Some(next) = rest.peek() {
                let of_next = next.at(x);
                if of_next > least {
                    break;
                }
                (lowest, least) = (next, of_next);
                rest.next();
            }
            *value = T::of(least * unit);
        }
    }
}

/// Whether a pixel of another side is next to a run, before and after it.
#[derive(Clone, Copy)]
struct Borders {
    before: bool,
    after: bool,
}

/// The squared distances `height + (x - place)²`, in pixels.
#[derive(Clone, Copy)]
struct Parabola {
    height: f64,
    place: f64,
}

impl Parabola {
    fn at(&self, x: f64) -> f64 {
        let far = x - self.place;
        far * far + self.height
    }

    /// Whether it is nowhere the lowest of three, of which it is the one in the middle.
    fn hidden(&self, left: Parabola, right: Parabola) -> bool {
        let (a, b) = (self.place - left.place, right.place - self.place);
        let c = a + b;
        c * self.height - b * left.height - a * right.height >= a * b * c
    }
}

// On an accelerator.

/// The longest line that is compared with itself on the device.
const SHORT: usize = 512;

/// How many pairs of pixels are compared at once.
const PAIRS: i64 = 1 << 24;

fn on_device(
    inside: &Tensor,
    geometry: &Geometry,
    side: Side,
    kind: Kind,
    pairs: i64,
) -> Result<Tensor> {
    let exact = if geometry.fits_float() { Kind::Float } else { Kind::Double };
    let distance = |inside: &Tensor| -> Result<Tensor> {
        let zeros = Tensor::f_zeros(inside.size(), (exact, inside.device()))?;
        let mut squared = zeros.f_masked_fill(inside, f64::INFINITY)?;
        let first = inside.dim() - geometry.lengths.len();
        for (axis, (&length, &spacing)) in
            geometry.lengths.iter().zip(&geometry.spacing).enumerate()
        {
            let axis = (first + axis) as i64;
            let length = length as i64;
            let places =
                Tensor::f_arange(length, (exact, inside.device()))?.f_mul_scalar(spacing)?;
            let apart = places.f_unsqueeze(1)?.f_sub(&places)?.f_square()?;
            let lines = squared.f_movedim_int(axis, -1)?;
            let size = lines.size();
            let lines = lines.f_reshape([-1, 1, length])?;
            let lowered = lines
                .f_split((pairs / (length * length)).max(1), 0)?
                .iter()
                .map(|lines| lines.f_add(&apart)?.f_amin([-1].as_slice(), false))
                .collect::<Result<Vec<_>, _>>()?;
            squared =
                Tensor::f_cat(&lowered, 0)?.f_view(size.as_slice())?.f_movedim_int(-1, axis)?;
        }
        Ok(squared.f_sqrt()?.f_mul_scalar(geometry.scale)?.f_to_kind(kind)?.f_contiguous()?)
    };
    let own = distance(inside)?;
    match side {
        Side::Inside => Ok(own),
        Side::Both => {
            let other = distance(&inside.f_logical_not()?)?;
            Ok(own.f_neg()?.f_where_self(inside, &other)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the device computes, on the CPU, in pieces of a few lines.
    #[test]
    fn comparing_lines_with_themselves_gives_what_envelopes_give() {
        let generator = Tensor::rand([2, 9, 14, 70], (Kind::Double, Device::Cpu));
        for share in [0.05, 0.5, 0.97, 1.1] {
            for spacing in [&[1.0, 1.0, 1.0][..], &[0.7, 0.7], &[2.5, 1.0, 0.3]] {
                for side in [Side::Inside, Side::Both] {
                    let mask = generator.lt(share);
                    let size = mask.size();
                    let geometry = Geometry::new(&size[size.len() - spacing.len()..], spacing);
                    let host = transform("edt", &mask, spacing, side).unwrap();
                    let device = on_device(&mask, &geometry, side, Kind::Float, 20_000).unwrap();
                    assert_eq!(device.size(), host.size());
                    let close = device.isclose(&host, 1e-6, 0.0, false).all();
                    assert_eq!(close.int64_value(&[]), 1, "{share} {spacing:?} {side:?}");
                }
            }
        }
    }
}
