//! Cross entropy and focal loss of logits (N, C, d1, ..) and class indices.
#![allow(unsafe_code)] // threads write their own pixels of one gradient

use super::{
    classes::{Grid, Index, Stretch, per_class},
    data::{Computed, Numbers, Shared, Spread, TILE},
    node::{Composed, Denominator, Pass, fused_or_composed},
    real::{Real, dot, largest, sum},
    simd::{self, Kernel, Madd},
};
use crate::{MeanOver, Reduction, Result};
use tch::Tensor;

/// What a pixel loses, with p the softmax and y its class.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SoftmaxFormula {
    /// `-w[y] (1-ε) log p[y] - ε/C Σ_c w[c] log p[c]`
    CrossEntropy { label_smoothing: f64 },
    /// `-w[y] (1-p[y])^γ log p[y]`
    Focal { gamma: f64 },
    /// `w[y] (1 - p[y]^q) / q`
    Power { q: f64 },
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
            let (grid, positions) = Grid::of(&input.size())?;
            if target.size() != positions {
                return None;
            }
            let class_weight = match self.class_weight {
                Some(all) => Some(per_class(all, grid.classes)?),
                None => None,
            };
            let numbers = Numbers::of(target)?;
            let index = Index { numbers, classes: grid.classes, ignored: self.ignore_index };
            let weight = Spread::optional(weight, &positions)?;
            let by_class = match self.formula {
                SoftmaxFormula::CrossEntropy { .. } => class_weight.as_deref(),
                SoftmaxFormula::Focal { .. } | SoftmaxFormula::Power { .. } => None,
            };
            let counts = index.count(weight, by_class)?;
            let scale = denominator.scale(grid.all_pixels(), || counts);
            let logits = Numbers::of(input)?;
            let formula = self.formula;
            Some(Data { logits, index, weight, class_weight, grid, formula, scale })
        })
    }
}

struct Data<'a> {
    logits: Numbers<'a>,
    index: Index<'a>,
    weight: Option<Spread<'a>>,
    class_weight: Option<Vec<f64>>,
    grid: Grid,
    formula: SoftmaxFormula,
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

impl Pass for Data<'_> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        let to = gradient.map(Shared::of);
        let class_weight: Option<Vec<T>> =
            self.class_weight.as_ref().map(|all| all.iter().map(|&w| T::of(w)).collect());
        let classes = self.grid.classes;
        let scratch =
            |length| Scratch { scores: vec![T::ZERO; length * classes], rows: Rows::new() };
        let total = self.grid.sum(classes, scratch, |scratch, stretch| {
            simd::run(Tile {
                data: &self,
                stretch,
                class_weight: class_weight.as_deref(),
                scratch,
                scale: T::of(self.scale),
                to,
            })
        });
        total * self.scale
    }
}

struct Tile<'a, 's, T> {
    data: &'a Data<'a>,
    stretch: Stretch,
    class_weight: Option<&'a [T]>,
    scratch: &'s mut Scratch<T>,
    scale: T,
    to: Option<Shared<'a>>,
}

impl<T: Computed> Kernel for Tile<'_, '_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(mut self) -> f64 {
        let length = self.stretch.len();
        // Every class was looked at before.
        self.data.index.read(self.stretch.pixels(), &mut self.scratch.rows.class);
        let together = self.data.grid.is_together();
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
    /// The share of each class in smoothed labels.
    #[inline(always)]
    fn smoothing(&self) -> Option<T> {
        match self.data.formula {
            SoftmaxFormula::CrossEntropy { label_smoothing } if label_smoothing > 0.0 => {
                Some(T::of(label_smoothing / self.data.grid.classes as f64))
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
        let length = self.stretch.len();
        let smoothed = self.smoothing().is_some();
        for c in 0..self.data.grid.classes {
            let Scratch { scores, rows } = &mut *self.scratch;
            let row = &mut scores[c * length..(c + 1) * length];
            self.data.logits.copy(self.stretch.line(c), row);
            let largest = &mut rows.largest[..length];
            if c == 0 {
                largest.copy_from_slice(row);
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
        for c in 0..self.data.grid.classes {
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
        let classes = self.data.grid.classes;
        let smoothed = self.smoothing().is_some();
        for i in 0..self.stretch.len() {
            let Scratch { scores, rows } = &mut *self.scratch;
            let row = &mut scores[i * classes..(i + 1) * classes];
            self.data.logits.copy(self.stretch.line(i), row);
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
        let length = self.stretch.len();
        let scale = self.scale;
        let share = self.smoothing();
        let all_weights = match self.class_weight {
            Some(weight) => T::of(sum(weight)),
            None => T::of(self.data.grid.classes as f64),
        };
        let rows = &mut self.scratch.rows;
        let class = &rows.class[..length];
        let counts = &mut rows.counts[..length];
        match &self.data.weight {
            Some(spread) => {
                counts.copy_from_slice(spread.read(self.stretch.pixels(), &mut rows.buffer));
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
                SoftmaxFormula::Power { q } => {
                    let less = (T::of(-q) * entropy).exp_m1::<M>();
                    let loss = weights[i] * less * T::of(-1.0 / q);
                    (loss, weights[i] * (T::ONE + less), T::ZERO)
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
        let length = self.stretch.len();
        let even = self.smoothing().map(|share| share * self.scale);
        for c in 0..self.data.grid.classes {
            let weight = self.weight_of(c);
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
                unsafe { to.write(self.stretch.line(c).start, row) };
            }
        }
    }

    #[inline(always)]
    fn gradient_together(&mut self) {
        let classes = self.data.grid.classes;
        let even = self.smoothing().map(|share| share * self.scale);
        let Scratch { scores, rows } = &mut *self.scratch;
        let scores = &mut scores[..self.stretch.len() * classes];
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
            unsafe { to.write(self.stretch.line(0).start, scores) };
        }
    }
}
