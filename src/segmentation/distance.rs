//! Exact Euclidean distance transforms.

use crate::{LossError, Result, check, error::unwrap};
use std::{
    ops::{Add, Mul, Neg},
    thread,
};
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
/// parabolas, by `tch::get_num_threads()` threads. On CUDA, lines of up to 512 pixels are compared
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

fn transform(name: &'static str, mask: &Tensor, spacing: &[f64], side: Side) -> Result<Tensor> {
    let ok = !spacing.is_empty() && spacing.iter().all(|&s| s > 0.0 && s.is_finite());
    if !ok {
        return Err(LossError::Param {
            loss: name,
            option: "spacing",
            expected: "one number above 0 for each dimension of an image",
            got: format!("{spacing:?}"),
        });
    }
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
            let inside = Vec::<bool>::try_from(mask.f_reshape([-1])?)?;
            let distance = match kind {
                Kind::Double => Tensor::f_from_slice(&on_host::<f64>(&inside, &geometry, side))?,
                _ => Tensor::f_from_slice(&on_host::<f32>(&inside, &geometry, side))?,
            };
            Ok(distance.f_view(size.as_slice())?.f_to_device(device)?)
        }
    }
}

/// The lengths of an image and its pixel's size, of which a common `scale` is taken out.
struct Geometry {
    lengths: Vec<usize>,
    spacing: Vec<f64>,
    scale: f64,
}

impl Geometry {
    fn new(lengths: &[i64], spacing: &[f64]) -> Self {
        let isotropic = spacing.iter().all(|&s| s == spacing[0]);
        Geometry {
            lengths: lengths.iter().map(|&length| length as usize).collect(),
            spacing: if isotropic { vec![1.0; spacing.len()] } else { spacing.to_vec() },
            scale: if isotropic { spacing[0] } else { 1.0 },
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
}

impl Real for f64 {
    const INFINITY: f64 = f64::INFINITY;

    fn of(value: f64) -> f64 {
        value
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
    let outside = if side == Side::Both { T::INFINITY } else { T::ZERO };
    let begin = |inside: bool| if inside { -T::INFINITY } else { outside };
    let end = |squared: T| {
        let distance = squared.magnitude().into().sqrt() * geometry.scale;
        Out::of(if squared < T::ZERO && side == Side::Both { -distance } else { distance })
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

/// A thread is not worth starting for fewer pixels.
const FEW: usize = 1 << 14;

impl Lines {
    /// Takes distances along the first dimension of each image, which becomes its last: after a
    /// pass for each dimension they are in order again, and each thread writes one piece.
    fn pass<T: Real, From: Copy + Sync, To: Send>(
        self,
        from: &[From],
        to: &mut [To],
        load: impl Fn(From) -> T + Sync,
        store: impl Fn(T) -> To + Sync,
    ) {
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        let threads = threads.min(to.len() / FEW).max(1);
        let share = (to.len() / self.length).div_ceil(threads);
        let work = |first: usize, piece: &mut [To]| self.piece(from, first, piece, &load, &store);
        thread::scope(|scope| {
            let mut pieces = to.chunks_mut(share * self.length).enumerate();
            let own = pieces.next();
            for (i, piece) in pieces {
                let work = &work;
                scope.spawn(move || work(i * share, piece));
            }
            if let Some((_, piece)) = own {
                work(0, piece);
            }
        });
    }

    /// The lines from `first` on that `to` has room for.
    fn piece<T: Real, From: Copy, To>(
        self,
        from: &[From],
        first: usize,
        to: &mut [To],
        load: impl Fn(From) -> T,
        store: impl Fn(T) -> To,
    ) {
        let Lines { length, spacing, count } = self;
        // An odd number of cache lines, so that a column of the block is in different sets.
        let stride = (length.div_ceil(16) | 1) * 16;
        let mut block = vec![T::ZERO; stride * BLOCK];
        let mut measure = Measure { spacing, heights: Vec::new(), parabolas: Vec::new() };
        let mut next = first;
        let end = first + to.len() / length;
        let mut to = to.chunks_exact_mut(length);
        while next < end {
            let (image, column) = (next / count, next % count);
            let width = BLOCK.min(count - column).min(end - next);
            let rows = from[image * length * count..][..length * count].chunks_exact(count);
            for (i, row) in rows.enumerate() {
                for (j, &value) in row[column..column + width].iter().enumerate() {
                    block[j * stride + i] = load(value);
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
    heights: Vec<T>,
    parabolas: Vec<Parabola>,
}

/// Up to so many pixels away, comparing with all of them is faster than an envelope.
const NEAR: usize = 32;

/// How many pixels are compared at once.
const LANES: usize = 16;

impl<T: Real> Measure<T> {
    /// The nearest pixel of another side is never beyond the end of a run of one sign, so each run
    /// is by itself.
    fn line(&mut self, line: &mut [T]) {
        let mut start = 0;
        while start < line.len() {
            let first = line[start];
            let alike = |value: &T| (*value < T::ZERO) == (first < T::ZERO) && *value != T::ZERO;
            let run = line[start..].iter().take_while(|value| alike(value)).count();
            let end = start + run;
            if run > 0 {
                let other_before = start > 0;
                let other_after = end < line.len();
                self.run(&mut line[start..end], other_before, other_after);
            }
            start = end.max(start + 1);
        }
    }

    fn run(&mut self, run: &mut [T], other_before: bool, other_after: bool) {
        let negative = run[0] < T::ZERO;
        let length = run.len();
        self.heights.clear();
        self.heights.resize(NEAR, T::INFINITY);
        self.heights.extend(run.iter().map(|value| value.magnitude()));
        self.heights.resize(length + 2 * NEAR + LANES, T::INFINITY);

        // By way of the pixel and of those beside the run.
        let (mut lowest, mut farthest) = (T::INFINITY, T::ZERO);
        let away = |pixels: usize, there: bool| {
            if there { T::of(pixels as f64 * self.spacing) } else { T::INFINITY }
        };
        for (i, (value, &height)) in run.iter_mut().zip(&self.heights[NEAR..]).enumerate() {
            let border = away(i + 1, other_before).least(away(length - i, other_after));
            lowest = lowest.least(height);
            *value = height.least(border * border);
            farthest = farthest.most(*value);
        }
        // By way of the others of the run.
        if lowest < T::INFINITY {
            let reach = farthest.into().sqrt() / self.spacing;
            if reach <= NEAR as f64 {
                self.compare(run);
            } else {
                self.envelope(run, other_before, other_after);
            }
        }
        if negative {
            for value in run {
                *value = -*value;
            }
        }
    }

    fn compare(&self, run: &mut [T]) {
        for (start, values) in run.chunks_mut(LANES).enumerate() {
            let here = NEAR + start * LANES;
            let mut lanes = [T::ZERO; LANES];
            lanes[..values.len()].copy_from_slice(values);
            for step in 1..=NEAR {
                let far = T::of(step as f64 * self.spacing);
                let far = far * far;
                if lanes.iter().all(|&value| value <= far) {
                    break;
                }
                let before = &self.heights[here - step..][..LANES];
                let after = &self.heights[here + step..][..LANES];
                for ((value, &before), &after) in lanes.iter_mut().zip(before).zip(after) {
                    *value = value.least(before.least(after) + far);
                }
            }
            values.copy_from_slice(&lanes[..values.len()]);
        }
    }

    fn envelope(&mut self, run: &mut [T], other_before: bool, other_after: bool) {
        let Measure { spacing, heights, parabolas } = self;
        let place = |i: usize| i as f64 * *spacing;
        let border = |i: usize| Parabola { height: 0.0, place: place(i) };
        let of_pixels = heights[NEAR..][..run.len()]
            .iter()
            .enumerate()
            .filter(|&(_, &height)| height < T::INFINITY)
            .map(|(i, &height)| Parabola { height: height.into(), place: place(i + 1) });
        let all = other_before
            .then(|| border(0))
            .into_iter()
            .chain(of_pixels)
            .chain(other_after.then(|| border(run.len() + 1)));
        parabolas.clear();
        for parabola in all {
            while let &[.., left, middle] = parabolas.as_slice() {
                if !middle.hidden(left, parabola) {
                    break;
                }
                parabolas.pop();
            }
            parabolas.push(parabola);
        }

        let mut rest = parabolas.iter().peekable();
        let Some(mut lowest) = rest.next() else { return };
        for (i, value) in run.iter_mut().enumerate() {
            let x = place(i + 1);
            let mut least = lowest.at(x);
            while let Some(next) = rest.peek() {
                let of_next = next.at(x);
                if of_next > least {
                    break;
                }
                (lowest, least) = (next, of_next);
                rest.next();
            }
            *value = T::of(least);
        }
    }
}

/// The squared distances `height + (x - place)²`.
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
