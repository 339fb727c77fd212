//! Squared errors of boxes as the first YOLOs have them.

use super::{
    boxes::{BOXES, Pairs, load},
    data::{Computed, Part, TILE, tiles},
    node::{Composed, Pass, fused_or_composed},
    real::{Real, sum},
    simd::{self, Kernel, Madd},
};
use crate::{
    Reduction, Result,
    detection::{BoxSize, SHORTEST_SIDE},
};
use std::{marker::PhantomData, ops::Range};
use tch::Tensor;

/// `factor s [(x - x')² + (y - y')² + (f(w) - f(w'))² + (f(h) - f(h'))²]` of boxes and their targets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BoxErrors {
    /// f
    pub(crate) size: BoxSize,
    pub(crate) factor: f64,
    /// Whether s is `2 - w' h'`, not 1.
    pub(crate) small_boxes: bool,
}

impl BoxErrors {
    /// `loss`, which is this of each box, reduced. Boxes are checked already.
    pub(crate) fn loss(
        self,
        loss: &impl Composed,
        [input, target]: [&Tensor; 2],
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        fused_or_composed(loss, [input, target], weight, &[], || {
            let pairs = Pairs::of([input, target], weight, reduction)?;
            Some(Data { errors: self, pairs })
        })
    }
}

/// f of a side, and its slope.
trait Side: Send + Sync {
    fn of<T: Real, M: Madd>(side: T) -> (T, T);
}

struct Root;
struct Log;
struct Linear;

impl Side for Root {
    #[inline(always)]
    fn of<T: Real, M: Madd>(side: T) -> (T, T) {
        let (size, shortest) = (side.abs(), T::of(SHORTEST_SIDE));
        let steepness = T::ONE / (if size < shortest { shortest } else { size }).sqrt();
        let share = if size < shortest { T::ONE } else { T::of(0.5) };
        (side * steepness, share * steepness)
    }
}

impl Side for Log {
    #[inline(always)]
    fn of<T: Real, M: Madd>(side: T) -> (T, T) {
        let (size, shortest) = (side.abs(), T::of(SHORTEST_SIDE));
        let size = if size < shortest { shortest } else { size };
        let steepness = T::ONE / size;
        let log = size.ln::<M>() + T::of(1.0 - SHORTEST_SIDE.ln());
        (side * steepness * log, steepness)
    }
}

impl Side for Linear {
    #[inline(always)]
    fn of<T: Real, M: Madd>(side: T) -> (T, T) {
        (side, T::ONE)
    }
}

#[derive(Clone, Copy)]
struct Data<'a> {
    errors: BoxErrors,
    pairs: Pairs<'a>,
}

impl Pass for Data<'_> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        self.pairs.reduce(self.errors.factor, gradient, |range, part, scale| {
            macro_rules! run {
                ($side:ty) => {
                    simd::run(Chunk::<T, $side> { data: self, range, part, scale, of: PhantomData })
                };
            }
            match self.errors.size {
                BoxSize::Root => run!(Root),
                BoxSize::Log => run!(Log),
                BoxSize::Linear => run!(Linear),
            }
        })
    }
}

struct Chunk<'a, T, S> {
    data: Data<'a>,
    range: Range<usize>,
    part: Option<Part<'a>>,
    scale: f64,
    of: PhantomData<(T, S)>,
}

impl<T: Computed, S: Side> Kernel for Chunk<'_, T, S> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(mut self) -> f64 {
        let Data { errors, pairs: Pairs { boxes, targets, weight, .. } } = self.data;
        let row = [T::ZERO; BOXES];
        let (mut input, mut target, mut slopes) = ([row; 4], [row; 4], [row; 4]);
        let (mut weights, mut losses, mut buffer) = (row, row, [T::ZERO; TILE]);
        let (scale, two) = (T::of(self.scale), T::of(2.0));
        let mut total = 0.0;
        let start = self.range.start;
        for tile in tiles(self.range, BOXES) {
            let length = tile.len();
            load(&boxes, &tile, &mut input);
            load(&targets, &tile, &mut target);
            let mut factors = [T::ONE; BOXES];
            if errors.small_boxes {
                for i in 0..length {
                    factors[i] = two - target[2][i] * target[3][i];
                }
            }
            if let Some(weight) = &weight {
                let weights = &weight.read(tile.clone(), &mut weights)[..length];
                for (factor, &weight) in factors.iter_mut().zip(weights) {
                    *factor *= weight;
                }
            }
            for i in 0..length {
                let [x, y, width, height] = input.each_ref().map(|row| row[i]);
                let [to_x, to_y, to_width, to_height] = target.each_ref().map(|row| row[i]);
                let (x, y) = (x - to_x, y - to_y);
                let ((width, steep_width), (height, steep_height)) =
                    (S::of::<T, M>(width), S::of::<T, M>(height));
                let width = width - S::of::<T, M>(to_width).0;
                let height = height - S::of::<T, M>(to_height).0;
                losses[i] = factors[i] * ((x * x + y * y) + (width * width + height * height));
                let twice = two * scale * factors[i];
                slopes[0][i] = twice * x;
                slopes[1][i] = twice * y;
                slopes[2][i] = twice * width * steep_width;
                slopes[3][i] = twice * height * steep_height;
            }
            total += sum(&losses[..length]);
            if let Some(part) = &mut self.part {
                let within = 4 * (tile.start - start)..4 * (tile.end - start);
                let (to, _) = part.tile(within.clone(), &mut buffer).as_chunks_mut::<4>();
                for (i, to) in to.iter_mut().enumerate().take(BOXES) {
                    *to = slopes.each_ref().map(|row| row[i]);
                }
                part.wrote(within, &buffer);
            }
        }
        total
    }
}
