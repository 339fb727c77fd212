//! Losses of scores (N, C, d1, ..) that are a sum over a pixel's classes: cross entropy with dense targets, and margins.
#![allow(unsafe_code)] // threads write their own pixels of one gradient

use super::{
    classes::{Grid, Index, Stretch, per_class},
    data::{Computed, Numbers, Shared, Spread, TILE, total},
    node::{Composed, Denominator, Pass, fused_or_composed},
    real::{Real, largest, sum},
    simd::{self, Kernel, Madd},
};
use crate::{MeanOver, Reduction, Result, check};
use tch::Tensor;

/// What the terms of a pixel's classes need to know of all its scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pivot {
    Largest,
    Sum,
    /// The score of the pixel's class.
    Own,
}

/// A term for each class of a pixel, of its score x and its target t: one-hot or dense, smoothed, and times the class weight.
pub(crate) trait Terms: Copy + Send + Sync {
    const PIVOT: Pivot;
    /// Whether `Mean` divides by the class weights of index targets.
    const COUNTS_WEIGHTS: bool;

    /// `[u, v, l]`, which [`Terms::pixel`] gets the sums of.
    fn term<T: Real, M: Madd>(self, x: T, t: T, pivot: T) -> [T; 3];

    /// The loss, and `[a, b, c]` with which its slope of a score is `a u + b v + c`.
    fn pixel<T: Real, M: Madd>(self, sums: [T; 3], pivot: T, classes: T) -> (T, [T; 3]);
}

/// `-Σ_c t[c] log p[c]`, p the softmax
#[derive(Debug, Clone, Copy)]
pub(crate) struct SoftmaxTerms;

impl Terms for SoftmaxTerms {
    const PIVOT: Pivot = Pivot::Largest;
    const COUNTS_WEIGHTS: bool = true;

    #[inline(always)]
    fn term<T: Real, M: Madd>(self, x: T, t: T, largest: T) -> [T; 3] {
        let less = x - largest;
        [less.exp::<M>(), t, t * less]
    }

    #[inline(always)]
    fn pixel<T: Real, M: Madd>(self, [total, mass, inner]: [T; 3], _: T, _: T) -> (T, [T; 3]) {
        (mass * total.ln::<M>() - inner, [mass / total, -T::ONE, T::ZERO])
    }
}

/// `-Σ_c t[c] log q[c]`, q the score over the sum of all, limited to [clip, 1-clip]
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormalisedTerms {
    pub(crate) clip: f64,
}

/// What a sum of probabilities is divided by: where all are 0 there is nothing to normalise.
#[inline(always)]
fn share<T: Real>(total: T) -> T {
    if total > T::ZERO { T::ONE / total } else { T::ONE }
}

impl Terms for NormalisedTerms {
    const PIVOT: Pivot = Pivot::Sum;
    const COUNTS_WEIGHTS: bool = true;

    #[inline(always)]
    fn term<T: Real, M: Madd>(self, x: T, t: T, total: T) -> [T; 3] {
        let (least, most) = (T::of(self.clip), T::of(1.0 - self.clip));
        let q = x * share(total);
        let limited = if q < least { least } else { q };
        let limited = if limited > most { most } else { limited };
        let free = if limited == q { t } else { T::ZERO };
        [free / limited, free, -t * limited.ln::<M>()]
    }

    #[inline(always)]
    fn pixel<T: Real, M: Madd>(self, [_, free, loss]: [T; 3], total: T, _: T) -> (T, [T; 3]) {
        let share = share(total);
        let normalised = if total > T::ZERO { free * share } else { T::ZERO };
        (loss, [-share, T::ZERO, normalised])
    }
}

/// `t[y]/C Σ_{c≠y} max(0, margin - x[y] + x[c])`, or of the squares
#[derive(Debug, Clone, Copy)]
pub(crate) struct MarginTerms {
    pub(crate) margin: f64,
    pub(crate) squared: bool,
}

impl Terms for MarginTerms {
    const PIVOT: Pivot = Pivot::Own;
    const COUNTS_WEIGHTS: bool = false;

    #[inline(always)]
    fn term<T: Real, M: Madd>(self, x: T, t: T, own: T) -> [T; 3] {
        let short = (T::of(self.margin) - own + x).max(T::ZERO);
        // A class of weight 0 is as good as another: the sums are multiplied by it.
        let short = if t == T::ZERO { short } else { T::ZERO };
        let on = if short > T::ZERO { T::ONE } else { T::ZERO };
        if self.squared { [short + short, t, short * short] } else { [on, t, short] }
    }

    #[inline(always)]
    fn pixel<T: Real, M: Madd>(
        self,
        [slopes, weight, loss]: [T; 3],
        _: T,
        classes: T,
    ) -> (T, [T; 3]) {
        let share = T::ONE / classes;
        (weight * share * loss, [weight * share, -share * slopes, T::ZERO])
    }
}

/// The loss over all pixels, reduced.
#[derive(Debug)]
pub(crate) struct ClassTerms<'a, F> {
    pub(crate) terms: F,
    /// (C)
    pub(crate) class_weight: Option<&'a Tensor>,
    pub(crate) label_smoothing: f64,
    pub(crate) ignore_index: i64,
    /// `Mean` divides by what the pixels count: their weight, with index targets that are not ignored, times the class weight if
    /// [`Terms::COUNTS_WEIGHTS`].
    pub(crate) reduction: Reduction,
}

impl<F: Terms> ClassTerms<'_, F> {
    /// `loss`, which this is; composed also where a class is out of range. Options are checked already.
    pub(crate) fn loss(
        &self,
        loss: &impl Composed,
        [input, target]: [&Tensor; 2],
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        fused_or_composed(loss, [input, target], weight, &[self.class_weight], || {
            let denominator = Denominator::of(self.reduction, MeanOver::Weights)?;
            let shape = input.size();
            let (grid, positions) = Grid::of(&shape)?;
            let class_weight = match self.class_weight {
                Some(all) => per_class(all, grid.classes)?,
                None => vec![1.0; grid.classes],
            };
            let weight = Spread::optional(weight, &positions)?;
            let numbers = Numbers::of(target)?;
            let dense = check::is_float(target.kind());
            if target.size() != if dense { shape } else { positions } {
                return None;
            }
            let pixels = grid.all_pixels();
            let (target, scale) = if dense {
                if F::PIVOT == Pivot::Own {
                    return None;
                }
                (Target::Dense(numbers), denominator.scale(pixels, || total(weight, pixels)))
            } else {
                let index = Index { numbers, classes: grid.classes, ignored: self.ignore_index };
                let by_class = (F::COUNTS_WEIGHTS && self.class_weight.is_some())
                    .then_some(class_weight.as_slice());
                let counts = index.count(weight, by_class)?;
                (Target::Index(index), denominator.scale(pixels, || counts))
            };
            Some(Data {
                terms: self.terms,
                input: Numbers::of(input)?,
                target,
                weight,
                class_weight,
                smoothing: self.label_smoothing,
                grid,
                scale,
            })
        })
    }
}

#[derive(Clone, Copy)]
enum Target<'a> {
    Dense(Numbers<'a>),
    Index(Index<'a>),
}

struct Data<'a, F> {
    terms: F,
    input: Numbers<'a>,
    target: Target<'a>,
    /// Of a pixel.
    weight: Option<Spread<'a>>,
    class_weight: Vec<f64>,
    smoothing: f64,
    grid: Grid,
    /// What the sum is multiplied by.
    scale: f64,
}

impl<F: Terms> Pass for Data<'_, F> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        let to = gradient.map(Shared::of);
        let class_weight: Vec<T> = self.class_weight.iter().map(|&w| T::of(w)).collect();
        let Grid { classes, .. } = self.grid;
        let scratch = |length: usize| Scratch {
            scores: vec![T::ZERO; length * classes],
            targets: vec![T::ZERO; length * classes],
            losses: vec![T::ZERO; length.max(classes)],
            pixels: Pixels::new(),
        };
        let total = self.grid.sum(2 * classes, scratch, |scratch, stretch| {
            let (data, class_weight) = (&self, &class_weight[..]);
            if self.grid.is_together() {
                simd::run(Tile::<_, _, true> { data, stretch, class_weight, scratch, to })
            } else {
                simd::run(Tile::<_, _, false> { data, stretch, class_weight, scratch, to })
            }
        });
        total * self.scale
    }
}

/// What a thread works in: lines of a pixel's classes where those lie together, else of a class's pixels.
struct Scratch<T> {
    /// The scores, then u of [`Terms::term`], then the gradient.
    scores: Vec<T>,
    /// The targets, then v.
    targets: Vec<T>,
    /// Of one line.
    losses: Vec<T>,
    pixels: Pixels<T>,
}

/// A number for each pixel of a tile.
struct Pixels<T> {
    class: [i32; TILE],
    pivot: [T; TILE],
    sums: [[T; TILE]; 3],
    /// a, b and c of [`Terms::pixel`].
    slopes: [[T; TILE]; 3],
    /// How much the pixel counts.
    counts: [T; TILE],
    losses: [T; TILE],
}

impl<T: Real> Pixels<T> {
    fn new() -> Self {
        let zero = [T::ZERO; TILE];
        Pixels {
            class: [0; TILE],
            pivot: zero,
            sums: [zero; 3],
            slopes: [zero; 3],
            counts: zero,
            losses: zero,
        }
    }
}

/// A number for each element of a line, or one for all of them.
#[derive(Clone, Copy)]
struct Along<'a, T> {
    one: bool,
    number: T,
    numbers: &'a [T],
}

impl<'a, T: Copy> Along<'a, T> {
    /// Of `numbers`, that of the line if it is to be `one` for all, else the first `length`.
    #[inline(always)]
    fn new(one: bool, numbers: &'a [T], line: usize, length: usize) -> Self {
        let (number, numbers) = match one {
            true => (numbers[line], &numbers[..0]),
            false => (numbers[0], &numbers[..length]),
        };
        Along { one, number, numbers }
    }

    #[inline(always)]
    fn at(&self, i: usize) -> T {
        if self.one { self.number } else { self.numbers[i] }
    }
}

struct Tile<'a, 's, T, F, const TOGETHER: bool> {
    data: &'a Data<'a, F>,
    stretch: Stretch,
    class_weight: &'a [T],
    scratch: &'s mut Scratch<T>,
    to: Option<Shared<'a>>,
}

impl<T: Computed, F: Terms, const TOGETHER: bool> Kernel for Tile<'_, '_, T, F, TOGETHER> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(mut self) -> f64 {
        self.read();
        self.pivot();
        self.terms::<M>();
        self.per_pixel::<M>();
        self.gradient();
        sum(&self.scratch.pixels.losses[..self.stretch.len()])
    }
}

/// Adds the numbers of a line up, for each pixel.
#[inline(always)]
fn gather<const TOGETHER: bool, T: Real>(numbers: &[T], line: usize, sums: &mut [T]) {
    if TOGETHER {
        sums[line] = T::of(sum(numbers));
    } else {
        for (sum, &number) in sums.iter_mut().zip(numbers) {
            *sum += number;
        }
    }
}

impl<T: Computed, F: Terms, const TOGETHER: bool> Tile<'_, '_, T, F, TOGETHER> {
    /// How many lines there are, and how long they are.
    #[inline(always)]
    fn lines(&self) -> (usize, usize) {
        let (pixels, classes) = (self.stretch.len(), self.data.grid.classes);
        if TOGETHER { (pixels, classes) } else { (classes, pixels) }
    }

    #[inline(always)]
    fn read(&mut self) {
        let (lines, length) = self.lines();
        let data = self.data;
        let Scratch { scores, targets, pixels, .. } = &mut *self.scratch;
        let class = &mut pixels.class;
        if let Target::Index(index) = data.target {
            // Every class was looked at before.
            index.read(self.stretch.pixels(), class);
        }
        let sharp = T::of(1.0 - data.smoothing);
        let even = T::of(data.smoothing / data.grid.classes as f64);
        for line in 0..lines {
            let here = self.stretch.line(line);
            data.input.copy(here.clone(), &mut scores[line * length..(line + 1) * length]);
            let targets = &mut targets[line * length..(line + 1) * length];
            match data.target {
                Target::Dense(numbers) => numbers.copy(here, targets),
                Target::Index(_) => {
                    let class = Along::new(TOGETHER, class, line, length);
                    for (i, target) in targets.iter_mut().enumerate() {
                        let c = if TOGETHER { i } else { line };
                        *target = if class.at(i) == c as i32 { T::ONE } else { T::ZERO };
                    }
                }
            }
            let weight = Along::new(!TOGETHER, self.class_weight, line, length);
            for (i, target) in targets.iter_mut().enumerate() {
                *target = weight.at(i) * (*target * sharp + even);
            }
        }
    }

    #[inline(always)]
    fn pivot(&mut self) {
        let (lines, length) = self.lines();
        let Scratch { scores, pixels, .. } = &mut *self.scratch;
        let pivot = &mut pixels.pivot[..self.stretch.len()];
        if F::PIVOT == Pivot::Own {
            for (i, (pivot, &class)) in pivot.iter_mut().zip(&pixels.class).enumerate() {
                let class = class.max(0) as usize;
                let (line, along) = if TOGETHER { (i, class) } else { (class, i) };
                *pivot = scores[line * length + along];
            }
            return;
        }
        let start = if F::PIVOT == Pivot::Sum { T::ZERO } else { scores[0] };
        pivot.fill(start);
        for line in 0..lines {
            let row = &scores[line * length..(line + 1) * length];
            match F::PIVOT {
                Pivot::Sum => gather::<TOGETHER, T>(row, line, pivot),
                _ if TOGETHER => pivot[line] = largest(row),
                _ if line == 0 => pivot.copy_from_slice(row),
                _ => {
                    for (pivot, &x) in pivot.iter_mut().zip(row) {
                        *pivot = x.max(*pivot);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn terms<M: Madd>(&mut self) {
        let (lines, length) = self.lines();
        let terms = self.data.terms;
        let Scratch { scores, targets, losses, pixels } = &mut *self.scratch;
        for sums in &mut pixels.sums {
            sums[..self.stretch.len()].fill(T::ZERO);
        }
        let [first, second, third] = &mut pixels.sums;
        let losses = &mut losses[..length];
        for line in 0..lines {
            let row = &mut scores[line * length..(line + 1) * length];
            let target = &mut targets[line * length..(line + 1) * length];
            let pivot = Along::new(TOGETHER, &pixels.pivot, line, length);
            for i in 0..length {
                let [u, v, l] = terms.term::<T, M>(row[i], target[i], pivot.at(i));
                row[i] = u;
                target[i] = v;
                losses[i] = l;
            }
            gather::<TOGETHER, T>(row, line, first);
            gather::<TOGETHER, T>(target, line, second);
            gather::<TOGETHER, T>(losses, line, third);
        }
    }

    #[inline(always)]
    fn per_pixel<M: Madd>(&mut self) {
        let length = self.stretch.len();
        let (terms, scale) = (self.data.terms, T::of(self.data.scale));
        let classes = T::of(self.data.grid.classes as f64);
        let pixels = &mut self.scratch.pixels;
        let counts = &mut pixels.counts[..length];
        match &self.data.weight {
            Some(spread) => {
                let weight = spread.read(self.stretch.pixels(), &mut pixels.losses);
                counts.copy_from_slice(weight);
            }
            None => counts.fill(T::ONE),
        }
        if let Target::Index(_) = self.data.target {
            let class = &pixels.class[..length];
            for i in 0..length {
                counts[i] = if class[i] < 0 { T::ZERO } else { counts[i] };
            }
        }
        let losses = &mut pixels.losses[..length];
        let pivot = &pixels.pivot[..length];
        let [first, second, third] = &pixels.sums;
        let (first, second, third) = (&first[..length], &second[..length], &third[..length]);
        let [a, b, c] = &mut pixels.slopes;
        let (a, b, c) = (&mut a[..length], &mut b[..length], &mut c[..length]);
        for i in 0..length {
            let sums = [first[i], second[i], third[i]];
            let (loss, slopes) = terms.pixel::<T, M>(sums, pivot[i], classes);
            losses[i] = counts[i] * loss;
            let count = counts[i] * scale;
            a[i] = slopes[0] * count;
            b[i] = slopes[1] * count;
            c[i] = slopes[2] * count;
        }
    }

    #[inline(always)]
    fn gradient(&mut self) {
        let Some(to) = self.to else { return };
        let (lines, length) = self.lines();
        let Scratch { scores, targets, pixels, .. } = &mut *self.scratch;
        let [a, b, c] = &pixels.slopes;
        for line in 0..lines {
            let row = &mut scores[line * length..(line + 1) * length];
            let target = &targets[line * length..(line + 1) * length];
            let a = Along::new(TOGETHER, a, line, length);
            let b = Along::new(TOGETHER, b, line, length);
            let c = Along::new(TOGETHER, c, line, length);
            for i in 0..length {
                row[i] = row[i] * a.at(i) + target[i] * b.at(i) + c.at(i);
            }
            // SAFETY: these pixels are this tile's.
            unsafe { to.write(self.stretch.line(line).start, row) };
        }
    }
}
