//! Cross entropy and focal loss of logits (N, C, d1, ..) and class indices.
#![allow(unsafe_code)] // threads write their own pixels of one gradient

use super::{
    data::{CHUNK, Computed, Numbers, Shared, Spread, TILE, near_tile, ranges, tiles},
    node::{Composed, Denominator, Pass, fused_or_composed},
    parallel,
    real::{Real, dot, largest, sum},
    simd::{self, Kernel, Madd},
};
use crate::{MeanOver, Reduction, Result};
use std::ops::Range;
use tch::Tensor;

/// What a pixel loses, with p the softmax and y its class.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SoftmaxFormula {
    /// `-w[y] (1-ε) log p[y] - ε/C Σ_c w[c] log p[c]`
    CrossEntropy { label_smoothing: f64 },
    /// `-w[y] (1-p[y])^γ log p[y]`
    Focal { gamma: f64 },
}

/// The formula over all pixels, reduced.
#[derive(Debug)]
pub(crate) struct SoftmaxCrossEntropy<'a> {
    pub(crate) formula: SoftmaxFormula,
    /// w, (C)
    pub(crate) class_weight: Option<&'a Tensor>,
    pub(crate) ignore_index: i64,
    /// `Mean` divides by the sum of what pixels count: with [`SoftmaxFormula::CrossEntropy`] that is their weight times `w[y]`,
    /// with the other their weight.
    pub(crate) reduction: Reduction,
}

impl SoftmaxCrossEntropy<'_> {
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
            let [batch, classes, ..] = shape[..] else { return None };
            let positions = [&shape[..1], &shape[2..]].concat();
            if target.size() != positions {
                return None;
            }
            let class_weight = match self.class_weight {
                Some(all) => Some(per_class(all, classes as usize)?),
                None => None,
            };
            let mut data = Data {
                logits: Numbers::of(input)?,
                index: Numbers::of(target)?,
                weight: Spread::optional(weight, &positions)?,
                class_weight,
                batch: batch as usize,
                classes: classes as usize,
                pixels: positions[1..].iter().product::<i64>() as usize,
                formula: self.formula,
                ignored: self.ignore_index,
                scale: 1.0,
            };
            let weights = data.weights()?;
            data.scale = denominator.scale(data.batch * data.pixels, || weights);
            Some(data)
        })
    }
}

fn per_class(weight: &Tensor, classes: usize) -> Option<Vec<f64>> {
    let numbers = Numbers::of(weight)?;
    let mut buffer = vec![0.0; numbers.len()];
    (numbers.len() == classes).then(|| numbers.read(0..classes, &mut buffer).to_vec())
}

struct Data<'a> {
    logits: Numbers<'a>,
    index: Numbers<'a>,
    weight: Option<Spread<'a>>,
    class_weight: Option<Vec<f64>>,
    batch: usize,
    classes: usize,
    /// Of an image.
    pixels: usize,
    formula: SoftmaxFormula,
    ignored: i64,
    /// What the sum is multiplied by.
    scale: f64,
}

/// What a thread works in.
struct Scratch<T> {
    /// Exponentials, then gradients: rows of classes, or of pixels where a pixel's classes lie together.
    scores: Vec<T>,
    rows: Rows<T>,
}

/// A number for each pixel of a tile. Where a pixel is ignored its class is -1 and the others are finite.
struct Rows<T> {
    class: [i32; TILE],
    buffer: [T; TILE],
    /// The largest logit.
    largest: [T; TILE],
    /// The logit of the pixel's class less the largest.
    margin: [T; TILE],
    /// `e^margin`, and the sum of the other classes' exponentials: neither is lost in the other.
    chosen: [T; TILE],
    others: [T; TILE],
    /// `Σ_c w[c] (x[c] - largest)`, for smoothed labels.
    even: [T; TILE],
    /// How much the pixel counts.
    counts: [T; TILE],
    losses: [T; TILE],
    /// Exponentials times this are the gradient of the classes but y, whose gradient is `of_class`; smoothed labels come on top.
    across: [T; TILE],
    of_class: [T; TILE],
}

impl<T: Real> Rows<T> {
    fn new() -> Self {
        let zero = [T::ZERO; TILE];
        Rows {
            class: [0; TILE],
            buffer: zero,
            largest: zero,
            margin: zero,
            chosen: zero,
            others: zero,
            even: zero,
            counts: zero,
            losses: zero,
            across: zero,
            of_class: zero,
        }
    }
}

impl Data<'_> {
    /// The sum of what the pixels count; `None` where a class is out of range.
    fn weights(&self) -> Option<f64> {
        let by_class = match self.formula {
            SoftmaxFormula::CrossEntropy { .. } => self.class_weight.as_deref(),
            SoftmaxFormula::Focal { .. } => None,
        };
        let pixels = self.batch * self.pixels;
        let sums = parallel::map(ranges(pixels, CHUNK), pixels / 4, |range| {
            let mut sum = 0.0;
            let (mut class, mut weight) = ([0i32; TILE], [0.0f64; TILE]);
            for tile in tiles(range, TILE) {
                let class =
                    self.index.classes(tile.clone(), self.classes, &[self.ignored], &mut class)?;
                let weight = self.weight.map(|spread| spread.read(tile, &mut weight));
                if weight.is_none() && by_class.is_none() {
                    sum += class.iter().filter(|&&class| class >= 0).count() as f64;
                    continue;
                }
                for (i, &class) in class.iter().enumerate() {
                    if class >= 0 {
                        sum += weight.map_or(1.0, |weight| weight[i])
                            * by_class.map_or(1.0, |by_class| by_class[class as usize]);
                    }
                }
            }
            Some(sum)
        });
        sums.into_iter().sum()
    }
}

impl Pass for Data<'_> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        let to = gradient.map(Shared::of);
        let class_weight: Option<Vec<T>> =
            self.class_weight.as_ref().map(|all| all.iter().map(|&w| T::of(w)).collect());
        let together = self.pixels == 1;
        // Of all images where a pixel's classes lie together, else of one image.
        let pixels = if together { self.batch } else { self.pixels };
        let (length, piece) = near_tile(self.classes, pixels);
        let tiles_of_image = pixels.div_ceil(length);
        let tiles = if together { tiles_of_image } else { tiles_of_image * self.batch };
        let scratch =
            || Scratch { scores: vec![T::ZERO; length * self.classes], rows: Rows::new() };
        let units = self.batch * self.pixels * self.classes;
        let pieces = ranges(tiles, piece);
        let sums = parallel::map_with(pieces, units, scratch, |scratch, piece| {
            let mut total = 0.0;
            for tile in piece {
                let (image, start) = (tile / tiles_of_image, tile % tiles_of_image * length);
                total += simd::run(Tile {
                    data: &self,
                    image,
                    range: start..(start + length).min(pixels),
                    class_weight: class_weight.as_deref(),
                    scratch: &mut *scratch,
                    scale: T::of(self.scale),
                    to,
                });
            }
            total
        });
        sums.iter().sum::<f64>() * self.scale
    }
}

struct Tile<'a, 's, T> {
    data: &'a Data<'a>,
    image: usize,
    range: Range<usize>,
    class_weight: Option<&'a [T]>,
    scratch: &'s mut Scratch<T>,
    scale: T,
    to: Option<Shared<'a>>,
}

impl<T: Computed> Kernel for Tile<'_, '_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(mut self) -> f64 {
        let (data, length) = (self.data, self.range.len());
        let first = self.first();
        // Every class was looked at before.
        let ignored = [data.ignored];
        let class = &mut self.scratch.rows.class;
        data.index.classes(first..first + length, data.classes, &ignored, class);
        let together = data.pixels == 1;
        if together {
            self.exponentials_together::<M>();
        } else {
            self.exponentials::<M>();
        }
        self.per_pixel::<M>();
        if self.to.is_some() {
            if together {
                self.gradient_together();
            } else {
                self.gradient();
            }
        }
        sum(&self.scratch.rows.losses[..length])
    }
}

impl<T: Computed> Tile<'_, '_, T> {
    /// The first pixel among those of all images.
    #[inline(always)]
    fn first(&self) -> usize {
        self.image * self.data.pixels + self.range.start
    }

    /// Where a class of the tile's pixels starts in memory.
    #[inline(always)]
    fn start_of(&self, class: usize) -> usize {
        (self.image * self.data.classes + class) * self.data.pixels + self.range.start
    }

    /// The share of each class in smoothed labels.
    #[inline(always)]
    fn smoothing(&self) -> Option<T> {
        match self.data.formula {
            SoftmaxFormula::CrossEntropy { label_smoothing } if label_smoothing > 0.0 => {
                Some(T::of(label_smoothing / self.data.classes as f64))
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn weight_of(&self, class: usize) -> T {
        match self.class_weight {
            Some(weight) => weight[class],
            None => T::ONE,
        }
    }

    #[inline(always)]
    fn exponentials<M: Madd>(&mut self) {
        let length = self.range.len();
        let smoothed = self.smoothing().is_some();
        for c in 0..self.data.classes {
            let start = self.start_of(c);
            let Scratch { scores, rows } = &mut *self.scratch;
            let x = self.data.logits.read(start..start + length, &mut rows.buffer);
            let row = &mut scores[c * length..(c + 1) * length];
            row.copy_from_slice(x);
            let largest = &mut rows.largest[..length];
            if c == 0 {
                largest.copy_from_slice(x);
            } else {
                for i in 0..length {
                    largest[i] = row[i].max(largest[i]);
                }
            }
        }
        {
            let rows = &mut self.scratch.rows;
            rows.margin[..length].fill(T::ZERO);
            rows.chosen[..length].fill(T::ONE);
            rows.others[..length].fill(T::ZERO);
            rows.even[..length].fill(T::ZERO);
        }
        for c in 0..self.data.classes {
            let weight = self.weight_of(c);
            let Scratch { scores, rows } = &mut *self.scratch;
            let row = &mut scores[c * length..(c + 1) * length];
            let (class, largest) = (&rows.class[..length], &rows.largest[..length]);
            let (margin, chosen) = (&mut rows.margin[..length], &mut rows.chosen[..length]);
            let others = &mut rows.others[..length];
            if smoothed {
                let even = &mut rows.even[..length];
                for i in 0..length {
                    even[i] += weight * (row[i] - largest[i]);
                }
            }
            for i in 0..length {
                let less = row[i] - largest[i];
                let e = less.exp::<M>();
                row[i] = e;
                let is_class = class[i] == c as i32;
                margin[i] = if is_class { less } else { margin[i] };
                chosen[i] = if is_class { e } else { chosen[i] };
                others[i] += if is_class { T::ZERO } else { e };
            }
        }
    }

    #[inline(always)]
    fn exponentials_together<M: Madd>(&mut self) {
        let classes = self.data.classes;
        let smoothed = self.smoothing().is_some();
        for i in 0..self.range.len() {
            let start = (self.range.start + i) * classes;
            let Scratch { scores, rows } = &mut *self.scratch;
            let row = &mut scores[i * classes..(i + 1) * classes];
            for part in (0..classes).step_by(TILE) {
                let end = (part + TILE).min(classes);
                let x = self.data.logits.read(start + part..start + end, &mut rows.buffer);
                row[part..end].copy_from_slice(x);
            }
            let largest = largest(row);
            for x in row.iter_mut() {
                *x = *x - largest;
            }
            if smoothed {
                rows.even[i] = match self.class_weight {
                    Some(weight) => T::of(dot(row, weight)),
                    None => T::of(sum(row)),
                };
            }
            let class = usize::try_from(rows.class[i]).ok();
            rows.margin[i] = class.map_or(T::ZERO, |class| row[class]);
            for x in row.iter_mut() {
                *x = x.exp::<M>();
            }
            rows.chosen[i] = match class {
                Some(class) => std::mem::replace(&mut row[class], T::ZERO),
                None => T::ONE,
            };
            rows.others[i] = T::of(sum(row));
        }
    }

    /// The losses, and what the gradients are made of.
    #[inline(always)]
    fn per_pixel<M: Madd>(&mut self) {
        let length = self.range.len();
        let first = self.first();
        let scale = self.scale;
        let share = self.smoothing();
        let all_weights = match self.class_weight {
            Some(weight) => T::of(sum(weight)),
            None => T::of(self.data.classes as f64),
        };
        let rows = &mut self.scratch.rows;
        let class = &rows.class[..length];
        let counts = &mut rows.counts[..length];
        match &self.data.weight {
            Some(spread) => {
                counts.copy_from_slice(spread.read(first..first + length, &mut rows.buffer));
            }
            None => counts.fill(T::ONE),
        }
        for i in 0..length {
            counts[i] = if class[i] < 0 { T::ZERO } else { counts[i] };
        }
        let weights = &mut rows.buffer[..length];
        match self.class_weight {
            Some(weight) => {
                for i in 0..length {
                    weights[i] = weight[class[i].max(0) as usize];
                }
            }
            None => weights.fill(T::ONE),
        }

        let (margin, chosen) = (&rows.margin[..length], &rows.chosen[..length]);
        let (others, even) = (&rows.others[..length], &rows.even[..length]);
        let losses = &mut rows.losses[..length];
        let (across, of_class) = (&mut rows.across[..length], &mut rows.of_class[..length]);
        for i in 0..length {
            let sum = others[i] + chosen[i];
            let inverse = T::ONE / sum;
            let log = sum.ln::<M>();
            // Exact where the pixel is nearly sure of its class.
            let sure = others[i].min(T::ONE).ln_1p::<M>();
            let is_sure = margin[i] >= T::ZERO && others[i] <= T::ONE;
            let entropy = if is_sure { sure } else { log - margin[i] };
            let miss = others[i] * inverse;
            let (loss, slope, spread) = match self.data.formula {
                SoftmaxFormula::CrossEntropy { label_smoothing } => {
                    let sharp = weights[i] * T::of(1.0 - label_smoothing);
                    match share {
                        None => (sharp * entropy, sharp, T::ZERO),
                        Some(share) => (
                            sharp * entropy + share * (all_weights * log - even[i]),
                            sharp,
                            share * all_weights,
                        ),
                    }
                }
                SoftmaxFormula::Focal { gamma } => {
                    let miss = miss.max(T::TINY);
                    let factor = if gamma == 2.0 {
                        miss * miss
                    } else {
                        (T::of(gamma) * miss.ln::<M>()).exp::<M>()
                    };
                    let hit = chosen[i] * inverse;
                    let slope = factor * (T::ONE + T::of(gamma) * hit * (entropy / miss));
                    (weights[i] * factor * entropy, weights[i] * slope, T::ZERO)
                }
            };
            let count = counts[i] * scale;
            losses[i] = counts[i] * loss;
            across[i] = (slope + spread) * inverse * count;
            of_class[i] = (spread * chosen[i] * inverse - slope * miss) * count;
        }
    }

    #[inline(always)]
    fn gradient(&mut self) {
        let length = self.range.len();
        let even = self.smoothing().map(|share| share * self.scale);
        for c in 0..self.data.classes {
            let (start, weight) = (self.start_of(c), self.weight_of(c));
            let Scratch { scores, rows } = &mut *self.scratch;
            let row = &mut scores[c * length..(c + 1) * length];
            let class = &rows.class[..length];
            let (across, of_class) = (&rows.across[..length], &rows.of_class[..length]);
            for i in 0..length {
                let other = row[i] * across[i];
                row[i] = if class[i] == c as i32 { of_class[i] } else { other };
            }
            if let Some(even) = even {
                let counts = &rows.counts[..length];
                for i in 0..length {
                    row[i] = row[i] - even * weight * counts[i];
                }
            }
            if let Some(to) = self.to {
                // SAFETY: these pixels are this tile's.
                unsafe { to.write(start, row) };
            }
        }
    }

    #[inline(always)]
    fn gradient_together(&mut self) {
        let classes = self.data.classes;
        let even = self.smoothing().map(|share| share * self.scale);
        let Scratch { scores, rows } = &mut *self.scratch;
        let scores = &mut scores[..self.range.len() * classes];
        for (i, row) in scores.chunks_exact_mut(classes).enumerate() {
            let across = rows.across[i];
            for score in row.iter_mut() {
                *score *= across;
            }
            if let Ok(class) = usize::try_from(rows.class[i]) {
                row[class] = rows.of_class[i];
            }
            let Some(even) = even else { continue };
            let count = even * rows.counts[i];
            match self.class_weight {
                Some(weight) => {
                    for (score, &weight) in row.iter_mut().zip(weight) {
                        *score = *score - count * weight;
                    }
                }
                None => row.iter_mut().for_each(|score| *score = *score - count),
            }
        }
        if let Some(to) = self.to {
            // SAFETY: these rows are this tile's.
            unsafe { to.write(self.range.start * classes, scores) };
        }
    }
}
