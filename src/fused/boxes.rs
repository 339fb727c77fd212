//! IoU, GIoU, DIoU and CIoU of boxes as `detection::iou` composes them, and the losses 1 less them.

use super::{
    data::{Computed, Numbers, Part, Spread, TILE, pieces, tiles, total},
    node::{Composed, Denominator, Pass, fused_or_composed},
    parallel,
    real::{Real, sign, sum},
    simd::{self, Kernel, Madd},
};
use crate::{
    MeanOver, Reduction, Result, autograd,
    detection::{self, BoxFormat, IouKind},
};
use std::{marker::PhantomData, ops::Range};
use tch::{Device, Kind, Tensor};

/// Which overlap, of boxes laid out how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BoxOverlap {
    pub(crate) kind: IouKind,
    pub(crate) format: BoxFormat,
}

impl BoxOverlap {
    /// `loss`, which is 1 less the overlap of each box with its target, reduced. Boxes are checked already.
    pub(crate) fn loss(
        self,
        loss: &impl Composed,
        [input, target]: [&Tensor; 2],
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        fused_or_composed(loss, [input, target], weight, &[], || {
            let pairs = Pairs::of([input, target], weight, reduction)?;
            Some(Losses { overlap: self, pairs })
        })
    }

    /// The overlap of boxes (.., 4) in the same places, or `None` where it has to be composed. Boxes are checked already.
    pub(crate) fn aligned(self, boxes1: &Tensor, boxes2: &Tensor) -> Result<Option<Tensor>> {
        let size = boxes1.size();
        self.values(boxes1, boxes2, &size[..size.len() - 1], None)
    }

    /// The overlap of boxes (N, 4) with (M, 4), or `None` where it has to be composed. Boxes are checked already.
    pub(crate) fn pairwise(self, boxes1: &Tensor, boxes2: &Tensor) -> Result<Option<Tensor>> {
        let columns = boxes2.size()[0];
        self.values(boxes1, boxes2, &[boxes1.size()[0], columns], Some(columns as usize))
    }

    /// Overlaps without a graph: with `columns` every box with every other.
    fn values(
        self,
        boxes1: &Tensor,
        boxes2: &Tensor,
        shape: &[i64],
        columns: Option<usize>,
    ) -> Result<Option<Tensor>> {
        let recorded = boxes1.requires_grad() && autograd::is_recording();
        if recorded || boxes1.device() != Device::Cpu {
            return Ok(None);
        }
        let (boxes1, boxes2) = (boxes1.f_contiguous()?, boxes2.f_contiguous()?);
        if !super::applies(&boxes1, [Some(&boxes2)]) {
            return Ok(None);
        }
        let (Some(first), Some(second)) = (Numbers::of(&boxes1), Numbers::of(&boxes2)) else {
            return Ok(None);
        };
        super::count_one();
        let values = Values { overlap: self, boxes1: first, boxes2: second, columns };
        Ok(match boxes1.f_kind()? {
            Kind::Double => values.all::<f64>(shape)?,
            _ => values.all::<f32>(shape)?,
        })
    }
}

/// Boxes that are worked on at once.
pub(super) const BOXES: usize = TILE / 4;

/// Boxes, or pairs of them, in one piece of work.
const CHUNK: usize = 16 * BOXES;

/// A box with its gradient as units of [`parallel::map`], and a pair of boxes without.
const UNITS: (usize, usize) = (4, 2);

/// A number of each box of a tile.
type Row<T> = [T; BOXES];

/// The four numbers of boxes.
type Boxes<T> = [Row<T>; 4];

/// What `detection::iou` calls so, along one axis.
#[derive(Clone, Copy)]
struct Sides<V> {
    size1: V,
    size2: V,
    start: V,
    end: V,
}

/// The derivatives of an overlap along one axis, that by `size1` for sides above 0.
#[derive(Clone, Copy)]
struct Slopes<V> {
    size1: V,
    start: V,
    end: V,
}

/// 0 for a number below it. Not for NaN, unlike the smaller and the larger of [`Real`].
#[inline(always)]
fn relu<T: Real>(x: T) -> T {
    at_least(x, T::ZERO)
}

#[inline(always)]
fn at_least<T: Real>(x: T, least: T) -> T {
    if x < least { least } else { x }
}

/// `slope`, and 0 where relu of something was 0.
#[inline(always)]
fn through<T: Real>(relu: T, slope: T) -> T {
    if relu <= T::ZERO { T::ZERO } else { slope }
}

impl<T: Real> Sides<T> {
    /// Of boxes that are `[first, second]` along the axis.
    #[inline(always)]
    fn new(format: BoxFormat, [first1, second1]: [T; 2], [first2, second2]: [T; 2]) -> Self {
        let (first, second) = (first1 - first2, second2 - second1);
        match format {
            BoxFormat::Xyxy => Sides {
                size1: relu(second1 - first1),
                size2: relu(second2 - first2),
                start: first,
                end: second,
            },
            BoxFormat::Xywh => Sides {
                size1: relu(second1),
                size2: relu(second2),
                start: first,
                end: second - first,
            },
            BoxFormat::Cxcywh => {
                let half = second * T::of(0.5);
                Sides {
                    size1: relu(second1),
                    size2: relu(second2),
                    start: half + first,
                    end: half - first,
                }
            }
        }
    }
}

impl<T: Real> Slopes<T> {
    /// By `[first1, second1]`.
    #[inline(always)]
    fn of_box(self, format: BoxFormat) -> [T; 2] {
        let Slopes { size1, start, end } = self;
        match format {
            BoxFormat::Xyxy => [start - size1, size1 - end],
            BoxFormat::Xywh => [start - end, size1 - end],
            BoxFormat::Cxcywh => [start - end, size1 - T::of(0.5) * (start + end)],
        }
    }
}

/// The overlap of a pair and its derivatives: lengths are doubled and areas fourfold, as in `detection::iou`.
#[inline(always)]
fn overlap<T: Real, M: Madd>(kind: IouKind, [x, y]: [Sides<T>; 2]) -> (T, [Slopes<T>; 2]) {
    let (empty, tiny) = detection::limits(T::KIND);
    let (empty, tiny, two, four) = (T::of(empty), T::of(tiny), T::of(2.0), T::of(4.0));

    let apart = [x.start.abs() + x.end.abs(), y.start.abs() + y.end.abs()];
    let both = [x.size1 + x.size2, y.size1 + y.size2];
    let common = [relu(both[0] - apart[0]), relu(both[1] - apart[1])];
    let hull = [both[0] + apart[0], both[1] + apart[1]];

    let intersection = common[0] * common[1];
    let union = (x.size1 * y.size1 + x.size2 * y.size2) * four - intersection;
    let some = if union <= empty { T::ZERO } else { T::ONE / union };
    let iou = if union <= empty { T::ZERO } else { intersection / union };

    let mut value = iou;
    let mut by_union = -(iou * some);
    let mut by_hull = [T::ZERO; 2];
    let mut by_centre = [T::ZERO; 2];
    let mut by_size = [T::ZERO; 2];
    match kind {
        IouKind::Iou => {}
        IouKind::GIoU => {
            let area = hull[0] * hull[1];
            let some = if area <= empty { T::ZERO } else { T::ONE / area };
            let penalty = if area <= empty { T::ZERO } else { (union - area) / area };
            value += penalty;
            by_union += some;
            let by_area = -(T::ONE + penalty) * some;
            by_hull = [by_area * hull[1], by_area * hull[0]];
        }
        IouKind::DIoU | IouKind::CIoU => {
            let centre = [x.start - x.end, y.start - y.end];
            let distance = centre[0] * centre[0] + centre[1] * centre[1];
            let diagonal = hull[0] * hull[0] + hull[1] * hull[1] + tiny;
            let some = two / diagonal;
            let penalty = distance / diagonal;
            value = value - penalty;
            by_centre = [-(some * centre[0]), -(some * centre[1])];
            let some = some * penalty;
            by_hull = [some * hull[0], some * hull[1]];
            if kind == IouKind::CIoU {
                let floor = diagonal.sqrt() * T::of(detection::THINNEST);
                let (w1, h1) = (at_least(x.size1, floor), at_least(y.size1, floor));
                let (w2, h2) = (at_least(x.size2, floor), at_least(y.size2, floor));
                // The difference of the angles as one angle.
                let turn = ((w2 * h1 - w1 * h2) / (w1 * w2 + h1 * h2)).atan::<M>();
                let scale = T::of(detection::ASPECT);
                let v = turn * turn * scale;
                let minus_alpha = -(v / (at_least(T::ONE - iou, tiny) + v) * scale);
                value += turn * turn * minus_alpha;
                let steep = two * turn * minus_alpha / (w1 * w1 + h1 * h1);
                by_size = [
                    if x.size1 < floor { T::ZERO } else { -(steep * h1) },
                    if y.size1 < floor { T::ZERO } else { steep * w1 },
                ];
            }
        }
    }

    let by_intersection = some - by_union;
    let slopes = |axis: usize, sides: Sides<T>, other: T| {
        let by_common = through(common[axis], by_intersection * common[1 - axis]);
        let by_apart = by_hull[axis] - by_common;
        let by_both = by_hull[axis] + by_common;
        Slopes {
            size1: through(sides.size1, by_both + four * by_union * other + by_size[axis]),
            start: by_apart * sign(sides.start) + by_centre[axis],
            end: by_apart * sign(sides.end) - by_centre[axis],
        }
    };
    (value, [slopes(0, x, y.size1), slopes(1, y, x.size1)])
}

/// Pairs of boxes and what comes of them.
struct Tile<T> {
    sides: [Sides<Row<T>>; 2],
    values: Row<T>,
    slopes: [Slopes<Row<T>>; 2],
}

impl<T: Real> Tile<T> {
    #[inline(always)]
    fn new() -> Self {
        let row = [T::ZERO; BOXES];
        Tile {
            sides: [Sides { size1: row, size2: row, start: row, end: row }; 2],
            values: row,
            slopes: [Slopes { size1: row, start: row, end: row }; 2],
        }
    }

    /// Overlaps of `length` pairs.
    #[inline(always)]
    fn fill<M: Madd>(
        &mut self,
        BoxOverlap { kind, format }: BoxOverlap,
        boxes1: impl Fn(usize) -> [T; 4],
        boxes2: &Boxes<T>,
        length: usize,
    ) {
        let length = length.min(BOXES);
        // A loop for each format and kind, so that each is without branches.
        macro_rules! sides {
            ($format:expr) => {
                for i in 0..length {
                    let [x1, y1, right1, bottom1] = boxes1(i);
                    let [x2, y2, right2, bottom2] = boxes2.each_ref().map(|row| row[i]);
                    let x = Sides::new($format, [x1, right1], [x2, right2]);
                    let y = Sides::new($format, [y1, bottom1], [y2, bottom2]);
                    self.sides[0].put(i, x);
                    self.sides[1].put(i, y);
                }
            };
        }
        match format {
            BoxFormat::Xyxy => sides!(BoxFormat::Xyxy),
            BoxFormat::Xywh => sides!(BoxFormat::Xywh),
            BoxFormat::Cxcywh => sides!(BoxFormat::Cxcywh),
        }
        macro_rules! overlaps {
            ($kind:expr) => {
                for i in 0..length {
                    let sides = [self.sides[0].at(i), self.sides[1].at(i)];
                    let (value, [x, y]) = overlap::<T, M>($kind, sides);
                    self.values[i] = value;
                    self.slopes[0].put(i, x);
                    self.slopes[1].put(i, y);
                }
            };
        }
        match kind {
            IouKind::Iou => overlaps!(IouKind::Iou),
            IouKind::GIoU => overlaps!(IouKind::GIoU),
            IouKind::DIoU => overlaps!(IouKind::DIoU),
            IouKind::CIoU => overlaps!(IouKind::CIoU),
        }
    }

    /// The gradients of boxes1, each `factors` times that of the overlap.
    #[inline(always)]
    fn gradients(&self, format: BoxFormat, factors: &Row<T>, to: &mut [T]) {
        let (to, _) = to.as_chunks_mut::<4>();
        let length = to.len().min(BOXES);
        macro_rules! gradients {
            ($format:expr) => {
                for i in 0..length {
                    let [x, right] = self.slopes[0].at(i).of_box($format);
                    let [y, bottom] = self.slopes[1].at(i).of_box($format);
                    to[i] = [x, y, right, bottom].map(|slope| slope * factors[i]);
                }
            };
        }
        match format {
            BoxFormat::Xyxy => gradients!(BoxFormat::Xyxy),
            BoxFormat::Xywh => gradients!(BoxFormat::Xywh),
            BoxFormat::Cxcywh => gradients!(BoxFormat::Cxcywh),
        }
    }
}

impl<T: Real> Sides<Row<T>> {
    #[inline(always)]
    fn at(&self, i: usize) -> Sides<T> {
        let Sides { size1, size2, start, end } = self;
        Sides { size1: size1[i], size2: size2[i], start: start[i], end: end[i] }
    }

    #[inline(always)]
    fn put(&mut self, i: usize, sides: Sides<T>) {
        self.size1[i] = sides.size1;
        self.size2[i] = sides.size2;
        self.start[i] = sides.start;
        self.end[i] = sides.end;
    }
}

impl<T: Real> Slopes<Row<T>> {
    #[inline(always)]
    fn at(&self, i: usize) -> Slopes<T> {
        Slopes { size1: self.size1[i], start: self.start[i], end: self.end[i] }
    }

    #[inline(always)]
    fn put(&mut self, i: usize, slopes: Slopes<T>) {
        self.size1[i] = slopes.size1;
        self.start[i] = slopes.start;
        self.end[i] = slopes.end;
    }
}

/// The boxes of a tile, their four numbers apart.
#[inline(always)]
pub(super) fn load<T: Computed>(boxes: &Numbers<'_>, tile: &Range<usize>, to: &mut Boxes<T>) {
    let mut buffer = [T::ZERO; TILE];
    let (boxes, _) = boxes.read(4 * tile.start..4 * tile.end, &mut buffer).as_chunks::<4>();
    let [a, b, c, d] = to;
    for (i, numbers) in boxes.iter().enumerate().take(BOXES) {
        [a[i], b[i], c[i], d[i]] = *numbers;
    }
}

/// Boxes, their targets, and how much each pair counts.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) boxes: Numbers<'a>,
    pub(super) targets: Numbers<'a>,
    pub(super) weight: Option<Spread<'a>>,
    denominator: Denominator,
}

impl<'a> Pairs<'a> {
    /// Of boxes (.., 4) of one shape.
    pub(super) fn of(
        [input, target]: [&'a Tensor; 2],
        weight: Option<&'a Tensor>,
        reduction: Reduction,
    ) -> Option<Self> {
        let shape = input.size();
        Some(Pairs {
            boxes: Numbers::of(input)?,
            targets: Numbers::of(target)?,
            weight: Spread::optional(weight, &shape[..shape.len() - 1])?,
            denominator: Denominator::of(reduction, MeanOver::Weights)?,
        })
    }

    /// `factor` times the reduced losses. `work` sums those of a range of pairs, and multiplies their gradient by what it is given.
    pub(super) fn reduce(
        self,
        factor: f64,
        gradient: Option<&mut Tensor>,
        work: impl Fn(Range<usize>, Option<Part<'_>>, f64) -> f64 + Sync,
    ) -> f64 {
        let pairs = self.boxes.len() / 4;
        let scale = factor * self.denominator.scale(pairs, || total(self.weight, pairs));
        let chunks = pieces(4 * pairs, 4 * CHUNK, gradient);
        let sums = parallel::map(chunks, UNITS.0 * pairs, |(numbers, part)| {
            work(numbers.start / 4..numbers.end / 4, part, scale)
        });
        sums.iter().sum::<f64>() * scale
    }
}

struct Losses<'a> {
    overlap: BoxOverlap,
    pairs: Pairs<'a>,
}

impl Pass for Losses<'_> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        let Losses { overlap, pairs } = self;
        pairs.reduce(1.0, gradient, |range, part, scale| {
            simd::run(LossChunk::<T> { overlap, pairs, range, part, scale, real: PhantomData })
        })
    }
}

struct LossChunk<'a, T> {
    overlap: BoxOverlap,
    pairs: Pairs<'a>,
    range: Range<usize>,
    part: Option<Part<'a>>,
    scale: f64,
    real: PhantomData<T>,
}

impl<T: Computed> Kernel for LossChunk<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(mut self) -> f64 {
        let (overlap, Pairs { boxes, targets, weight, .. }) = (self.overlap, self.pairs);
        let (mut boxes1, mut boxes2) = ([[T::ZERO; BOXES]; 4], [[T::ZERO; BOXES]; 4]);
        let (mut weights, mut buffer) = ([T::ONE; BOXES], [T::ZERO; TILE]);
        let mut factors = [T::of(-self.scale); BOXES];
        let mut pairs = Tile::new();
        let mut total = 0.0;
        let start = self.range.start;
        for tile in tiles(self.range, BOXES) {
            let length = tile.len();
            load(&boxes, &tile, &mut boxes1);
            load(&targets, &tile, &mut boxes2);
            let first = |i: usize| boxes1.each_ref().map(|row| row[i]);
            pairs.fill::<M>(overlap, first, &boxes2, length);
            let losses = &mut pairs.values[..length];
            for loss in losses.iter_mut() {
                *loss = T::ONE - *loss;
            }
            if let Some(weight) = &weight {
                let weights = &weight.read(tile.clone(), &mut weights)[..length];
                let scale = T::of(-self.scale);
                for ((loss, factor), &weight) in losses.iter_mut().zip(&mut factors).zip(weights) {
                    *loss *= weight;
                    *factor = scale * weight;
                }
            }
            total += sum(losses);
            if let Some(part) = &mut self.part {
                let within = 4 * (tile.start - start)..4 * (tile.end - start);
                let to = part.tile(within.clone(), &mut buffer);
                pairs.gradients(overlap.format, &factors, to);
                part.wrote(within, &buffer);
            }
        }
        total
    }
}

/// Boxes and others, in the same places or each with each of `columns`.
#[derive(Clone, Copy)]
struct Values<'a> {
    overlap: BoxOverlap,
    boxes1: Numbers<'a>,
    boxes2: Numbers<'a>,
    columns: Option<usize>,
}

impl Values<'_> {
    fn all<T: Computed>(self, shape: &[i64]) -> Result<Option<Tensor>> {
        let mut values = Tensor::f_empty(shape, (T::KIND, Device::Cpu))?;
        let pairs = values.numel();
        let columns = self.columns.unwrap_or(1);
        let rows = (CHUNK / columns).max(1);
        let Some(part) = Part::of(&mut values) else { return Ok(None) };
        let parts = part.split(rows * columns).into_iter().enumerate();
        parallel::map(parts, UNITS.1 * pairs, |(chunk, part)| {
            let rows = chunk * rows..((chunk + 1) * rows).min(pairs / columns);
            simd::run(ValueChunk::<T> { values: self, rows, part, real: PhantomData });
        });
        Ok(Some(values))
    }
}

struct ValueChunk<'a, T> {
    values: Values<'a>,
    rows: Range<usize>,
    part: Part<'a>,
    real: PhantomData<T>,
}

impl<T: Computed> Kernel for ValueChunk<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<M: Madd>(self) {
        let Values { overlap, boxes1, boxes2, columns } = self.values;
        let (mut first, mut second) = ([[T::ZERO; BOXES]; 4], [[T::ZERO; BOXES]; 4]);
        let mut pairs = Tile::new();
        let mut part = self.part;
        let Some(values) = T::of_part(&mut part) else { return };
        let Range { start, end } = self.rows;
        let Some(columns) = columns else {
            for tile in tiles(start..end, BOXES) {
                load(&boxes1, &tile, &mut first);
                load(&boxes2, &tile, &mut second);
                let first = |i: usize| first.each_ref().map(|row| row[i]);
                pairs.fill::<M>(overlap, first, &second, tile.len());
                let to = &mut values[tile.start - start..tile.end - start];
                to.copy_from_slice(&pairs.values[..tile.len()]);
            }
            return;
        };
        for tile in tiles(0..columns, BOXES) {
            load(&boxes2, &tile, &mut second);
            for row in start..end {
                let mut buffer = [T::ZERO; 4];
                let numbers = boxes1.read(4 * row..4 * row + 4, &mut buffer);
                let one = [numbers[0], numbers[1], numbers[2], numbers[3]];
                pairs.fill::<M>(overlap, |_| one, &second, tile.len());
                let at = (row - start) * columns;
                let to = &mut values[at + tile.start..at + tile.end];
                to.copy_from_slice(&pairs.values[..tile.len()]);
            }
        }
    }
}
