//! Binary cross entropy and focal loss, of logits and of probabilities.

use super::{
    data::{CHUNK, Computed, Numbers, Part, Spread, TILE, pieces, ranges, tiles, total},
    node::{Composed, Denominator, Pass, fused_or_composed},
    parallel,
    real::{Real, sum},
    simd::{self, Kernel, Madd},
};
use crate::{MeanOver, Reduction, Result};
use std::{marker::PhantomData, ops::Range};
use tch::Tensor;

/// What a loss is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scores {
    Logits,
    /// In [0, 1], and limited to [clip, 1-clip] in binary cross entropy.
    Probabilities {
        clip: f64,
    },
}

/// `α_t (1-p_t)^γ BCE(x, t)` over all elements: without `gamma` and `alpha` it is binary cross entropy.
#[derive(Debug)]
pub(crate) struct BinaryCrossEntropy<'a> {
    pub(crate) scores: Scores,
    pub(crate) gamma: f64,
    pub(crate) alpha: Option<f64>,
    /// Of logits only.
    pub(crate) pos_weight: Option<&'a Tensor>,
    pub(crate) label_smoothing: f64,
    pub(crate) ignore_index: Option<i64>,
    /// Of the loss itself, beside the weight that comes with the target.
    pub(crate) own_weight: Option<&'a Tensor>,
    pub(crate) mean_over: MeanOver,
    pub(crate) reduction: Reduction,
}

impl BinaryCrossEntropy<'_> {
    /// Binary cross entropy without options.
    pub(crate) fn new(scores: Scores, reduction: Reduction) -> Self {
        BinaryCrossEntropy {
            scores,
            gamma: 0.0,
            alpha: None,
            pos_weight: None,
            label_smoothing: 0.0,
            ignore_index: None,
            own_weight: None,
            mean_over: MeanOver::Weights,
            reduction,
        }
    }

    /// `loss`, which this is; composed also where a probability is none. Shapes and options are checked already.
    pub(crate) fn loss(
        &self,
        loss: &impl Composed,
        [input, target]: [&Tensor; 2],
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        let others = [self.pos_weight, self.own_weight];
        fused_or_composed(loss, [input, target], weight, &others, || {
            let weight = match (self.own_weight, weight) {
                (Some(_), Some(_)) => return None,
                (own, other) => own.or(other),
            };
            let shape = input.size();
            let scores = Numbers::of(input)?;
            if matches!(self.scores, Scores::Probabilities { .. }) && !are_probabilities(scores) {
                return None;
            }
            Some(Data {
                scores,
                target: Numbers::of(target)?,
                pos_weight: Spread::optional(self.pos_weight, &shape)?,
                weight: Spread::optional(weight, &shape)?,
                formula: Formula {
                    scores: self.scores,
                    gamma: self.gamma,
                    alpha: self.alpha,
                    label_smoothing: self.label_smoothing,
                    ignore_index: self.ignore_index,
                },
                denominator: Denominator::of(self.reduction, self.mean_over)?,
            })
        })
    }
}

#[derive(Clone, Copy)]
struct Formula {
    scores: Scores,
    gamma: f64,
    alpha: Option<f64>,
    label_smoothing: f64,
    ignore_index: Option<i64>,
}

#[derive(Clone, Copy)]
struct Data<'a> {
    scores: Numbers<'a>,
    target: Numbers<'a>,
    pos_weight: Option<Spread<'a>>,
    weight: Option<Spread<'a>>,
    formula: Formula,
    denominator: Denominator,
}

impl Pass for Data<'_> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        let elements = self.scores.len();
        let scale = self.denominator.scale(elements, || self.weights::<T>());
        let chunks = pieces(elements, CHUNK, gradient);
        let sums =
            parallel::map(chunks, elements, |(range, part)| self.chunk::<T>(range, part, scale));
        sums.iter().sum::<f64>() * scale
    }
}

impl Data<'_> {
    /// The sum of what counts, how much.
    fn weights<T: Computed>(&self) -> f64 {
        let elements = self.scores.len();
        if self.formula.ignore_index.is_none() {
            return total(self.weight, elements);
        }
        let sums = parallel::map(ranges(elements, CHUNK), elements / 4, |range| {
            simd::run(Count::<T> { data: *self, range, real: PhantomData })
        });
        sums.iter().sum()
    }

    fn chunk<T: Computed>(self, range: Range<usize>, part: Option<Part<'_>>, scale: f64) -> f64 {
        macro_rules! run {
            ($power:ty) => {
                match self.formula.scores {
                    Scores::Logits => run!($power, Logits, Logits),
                    Scores::Probabilities { clip } => {
                        run!($power, Probabilities, Probabilities { clip })
                    }
                }
            };
            ($power:ty, $score:ty, $of:expr) => {
                simd::run(Chunk::<T, $power, $score> {
                    score: $of,
                    data: self,
                    range,
                    part,
                    scale,
                    real: PhantomData,
                })
            };
        }
        match self.formula.gamma {
            0.0 => run!(Zero),
            1.0 => run!(One),
            1.5 => run!(OneAndHalf),
            2.0 => run!(Two),
            _ => run!(Any),
        }
    }
}

/// Whether all numbers are in [0, 1].
fn are_probabilities(numbers: Numbers<'_>) -> bool {
    let elements = numbers.len();
    let within = parallel::map(ranges(elements, CHUNK), elements / 4, |range| match numbers {
        Numbers::Double(_) => simd::run(Within::<f64> { numbers, range, real: PhantomData }),
        _ => simd::run(Within::<f32> { numbers, range, real: PhantomData }),
    });
    within.into_iter().all(|within| within)
}

struct Within<'a, T> {
    numbers: Numbers<'a>,
    range: Range<usize>,
    real: PhantomData<T>,
}

impl<T: Computed> Kernel for Within<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<M: Madd>(self) -> bool {
        let mut buffer = [T::ZERO; TILE];
        let mut within = true;
        for tile in tiles(self.range, TILE) {
            for &x in self.numbers.read(tile, &mut buffer) {
                within &= (x >= T::ZERO) & (x <= T::ONE);
            }
        }
        within
    }
}

/// Binary cross entropy of a score and its slope; `1 - p_t`, above 0, and its slope as a share of it.
struct Scored<T> {
    loss: T,
    slope: T,
    miss: T,
    relative: T,
}

trait Score: Copy + Send + Sync {
    fn of<T: Real, M: Madd>(self, x: T, t: T, pos_weight: T) -> Scored<T>;
}

#[derive(Clone, Copy)]
struct Logits;

impl Score for Logits {
    #[inline(always)]
    fn of<T: Real, M: Madd>(self, x: T, t: T, pos_weight: T) -> Scored<T> {
        let (two, half) = (T::of(2.0), T::of(0.5));
        let e = (-x.abs()).exp::<M>();
        let log = e.ln_1p::<M>();
        let larger = T::ONE / (T::ONE + e);
        let smaller = e * larger;
        // Sums of terms of one sign: nothing cancels, however small.
        let (p, q) = if x < T::ZERO { (smaller, larger) } else { (larger, smaller) };
        let positive = pos_weight * t;
        let negative = T::ONE - t;
        // 1 - p_t from the probability of the less likely class, and the share that the target leaves it.
        let likely = t > half;
        let sign = if likely { -T::ONE } else { T::ONE };
        let share = if likely { negative } else { t };
        let (less, more) = if likely { (q, p) } else { (p, q) };
        let miss = (less + share * (more - less)).max(T::TINY);
        Scored {
            loss: positive * ((-x).max(T::ZERO) + log) + negative * (x.max(T::ZERO) + log),
            slope: negative * p - positive * q,
            miss,
            relative: sign * (less / miss) * more * (T::ONE - two * share),
        }
    }
}

#[derive(Clone, Copy)]
struct Probabilities {
    clip: f64,
}

/// `-ln x` of x in [0, 1], 100 at most as libtorch has it.
#[inline(always)]
fn entropy<T: Real, M: Madd>(x: T) -> T {
    const LIFT: f64 = 1.8446744073709552e19; // 2^64
    let subnormal = x < T::TINY;
    let lifted = if subnormal { x * T::of(LIFT) } else { x };
    let back = if subnormal { T::of(64.0 * std::f64::consts::LN_2) } else { T::ZERO };
    let most = T::of(100.0);
    let entropy = (back - lifted.max(T::TINY).ln::<M>()).min(most);
    if x > T::ZERO { entropy } else { most }
}

impl Score for Probabilities {
    #[inline(always)]
    fn of<T: Real, M: Madd>(self, x: T, t: T, _: T) -> Scored<T> {
        let (least, most) = (T::of(self.clip), T::of(1.0 - self.clip));
        let within = (x >= least) & (x <= most);
        let p = x.max(least).min(most);
        let q = T::ONE - p;
        // Of the larger of the two the logarithm is near 0: from what is left to 1.
        let less = if p < q { p } else { q };
        let (rare, common) = (entropy::<T, M>(less), -(-less).ln_1p::<M>());
        let (of_p, of_q) = if p < q { (rare, common) } else { (common, rare) };
        // libtorch's bound of the denominator, which it has in Float.
        let slope = (p - t) / (p * q).max(T::of(1e-12f32.into()));
        let turn = T::ONE - T::of(2.0) * t;
        let miss = x.madd::<M>(turn, t).max(T::TINY);
        Scored {
            loss: t * of_p + (T::ONE - t) * of_q,
            slope: if within { slope } else { T::ZERO },
            miss,
            relative: turn / miss,
        }
    }
}

/// `miss^γ`
trait Power: Send + Sync {
    const FOCAL: bool = true;
    fn power<T: Real, M: Madd>(miss: T, gamma: T) -> T;
}

macro_rules! power {
    ($name:ident, $focal:literal, $m:ident, |$miss:ident, $gamma:ident| $power:expr) => {
        struct $name;
        impl Power for $name {
            const FOCAL: bool = $focal;
            #[inline(always)]
            fn power<T: Real, $m: Madd>($miss: T, $gamma: T) -> T {
                $power
            }
        }
    };
}
power!(Zero, false, M, |_miss, _gamma| T::ONE);
power!(One, true, M, |miss, _gamma| miss);
power!(OneAndHalf, true, M, |miss, _gamma| miss * miss.sqrt());
power!(Two, true, M, |miss, _gamma| miss * miss);
power!(Any, true, M, |miss, gamma| (gamma * miss.ln::<M>()).exp::<M>());

/// Tiles of the operands, where they have to be converted.
struct Buffers<T> {
    target: [T; TILE],
    pos_weight: [T; TILE],
    weight: [T; TILE],
}

impl<T: Real> Buffers<T> {
    #[inline(always)]
    fn new() -> Self {
        let zero = [T::ZERO; TILE];
        Buffers { target: zero, pos_weight: zero, weight: zero }
    }
}

impl Data<'_> {
    /// How much each element of a tile counts, if not 1; and its target, 0 where it is ignored.
    #[inline(always)]
    fn counts<'b, T: Computed>(
        &'b self,
        tile: &Range<usize>,
        target: &'b mut [T; TILE],
        weight: &'b mut [T; TILE],
    ) -> (&'b [T], Option<&'b [T]>) {
        let Some(ignored) = self.formula.ignore_index else {
            let weight = match &self.weight {
                Some(spread) => Some(spread.read(tile.clone(), weight)),
                None => None,
            };
            return (self.target.read(tile.clone(), target), weight);
        };
        let ignored = T::of(ignored as f64);
        let length = tile.len();
        let mut raw = [T::ZERO; TILE];
        let raw = &self.target.read(tile.clone(), &mut raw)[..length];
        let mut own = [T::ONE; TILE];
        if let Some(spread) = &self.weight {
            let mut buffer = [T::ZERO; TILE];
            own[..length].copy_from_slice(spread.read(tile.clone(), &mut buffer));
        }
        let (target, weight) = (&mut target[..length], &mut weight[..length]);
        for i in 0..length {
            let counts = raw[i] != ignored;
            target[i] = if counts { raw[i] } else { T::ZERO };
            weight[i] = if counts { own[i] } else { T::ZERO };
        }
        (target, Some(weight))
    }
}

struct Count<'a, T> {
    data: Data<'a>,
    range: Range<usize>,
    real: PhantomData<T>,
}

impl<T: Computed> Kernel for Count<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(self) -> f64 {
        let mut buffers = Buffers::<T>::new();
        let mut total = 0.0;
        for tile in tiles(self.range, TILE) {
            let (_, weight) = self.data.counts(&tile, &mut buffers.target, &mut buffers.weight);
            total += weight.map_or(tile.len() as f64, |weight| sum(weight));
        }
        total
    }
}

struct Chunk<'a, T, P, S> {
    score: S,
    data: Data<'a>,
    range: Range<usize>,
    part: Option<Part<'a>>,
    scale: f64,
    real: PhantomData<(T, P)>,
}

impl<T: Computed, P: Power, S: Score> Kernel for Chunk<'_, T, P, S> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(mut self) -> f64 {
        let formula = self.data.formula;
        let smoothing = T::of(formula.label_smoothing);
        let half_smoothing = T::of(formula.label_smoothing / 2.0);
        // No branch in the loop below, or it would not vectorise.
        let (steep, level) = match formula.alpha {
            Some(alpha) => (T::of(2.0 * alpha - 1.0), T::of(1.0 - alpha)),
            None => (T::ZERO, T::ONE),
        };
        let gamma = T::of(formula.gamma);
        let scale = T::of(self.scale);

        let mut buffers = Buffers::<T>::new();
        let ones = [T::ONE; TILE];
        let (mut scores, mut to) = ([T::ZERO; TILE], [T::ZERO; TILE]);
        let (mut losses, mut slopes) = ([T::ZERO; TILE], [T::ZERO; TILE]);
        let mut total = 0.0;
        let start = self.range.start;
        for tile in tiles(self.range, TILE) {
            let length = tile.len();
            let x = &self.data.scores.read(tile.clone(), &mut scores)[..length];
            let (y, weight) = self.data.counts(&tile, &mut buffers.target, &mut buffers.weight);
            let y = &y[..length];
            let losses = &mut losses[..length];
            let slopes = &mut slopes[..length];
            let pos_weight = match &self.data.pos_weight {
                Some(spread) => spread.read(tile.clone(), &mut buffers.pos_weight),
                None => &ones,
            };
            let pos_weight = &pos_weight[..length];
            for i in 0..length {
                let (x, t) = (x[i], y[i] - y[i] * smoothing + half_smoothing);
                let Scored { mut loss, mut slope, miss, relative } =
                    self.score.of::<T, M>(x, t, pos_weight[i]);
                if P::FOCAL {
                    let factor = P::power::<T, M>(miss, gamma);
                    slope = factor * (slope + gamma * loss * relative);
                    loss = factor * loss;
                }
                let alpha = t.madd::<M>(steep, level);
                loss = alpha * loss;
                slope = alpha * slope;
                losses[i] = loss;
                slopes[i] = slope * scale;
            }
            if let Some(weight) = weight {
                let weight = &weight[..length];
                for i in 0..length {
                    losses[i] *= weight[i];
                    slopes[i] *= weight[i];
                }
            }
            total += sum(losses);
            if let Some(part) = &mut self.part {
                let within = tile.start - start..tile.end - start;
                part.tile(within.clone(), &mut to).copy_from_slice(slopes);
                part.wrote(within, &to);
            }
        }
        total
    }
}
