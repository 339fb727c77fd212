//! Margins of several classes to all others.

use super::{
    data::{Computed, Numbers, Part, Spread, TILE, pieces, tiles, total},
    node::{Composed, Denominator, Pass, fused_or_composed},
    parallel,
    real::{Real, sum},
    simd::{self, Kernel, Madd},
};
use crate::{MeanOver, Reduction, Result, check};
use std::ops::Range;
use tch::Tensor;

/// `Σ_j Σ_i max(0, 1 - x[y_j] + x[i]) / C` of scores (N, C), over the labels y_j of a sample before its first -1 and the classes i that
/// are none of them. Composed also where a label is out of range. Shapes are checked already.
pub(crate) fn label_margins(
    loss: &impl Composed,
    [input, target]: [&Tensor; 2],
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    fused_or_composed(loss, [input, target], weight, &[], || {
        let [samples, classes] = input.size()[..] else { return None };
        if !check::is_index(target.kind()) {
            return None;
        }
        let labels = Numbers::of(target)?;
        let mut buffer = [0i32; TILE];
        for tile in tiles(0..labels.len(), TILE) {
            labels.classes(tile, classes as usize, &[NO_LABEL], &mut buffer)?;
        }
        Some(Data {
            scores: Numbers::of(input)?,
            labels,
            weight: Spread::optional(weight, &[samples])?,
            samples: samples as usize,
            classes: classes as usize,
            denominator: Denominator::of(reduction, MeanOver::Weights)?,
        })
    })
}

/// Ends the labels of a sample.
const NO_LABEL: i64 = -1;

struct Data<'a> {
    scores: Numbers<'a>,
    /// (N, C)
    labels: Numbers<'a>,
    weight: Option<Spread<'a>>,
    samples: usize,
    classes: usize,
    denominator: Denominator,
}

impl Pass for Data<'_> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        const SAMPLES: usize = 16;
        let scale = self.denominator.scale(self.samples, || total(self.weight, self.samples));
        let scratch = || Scratch::<T>::new(self.classes);
        let all = self.samples * self.classes;
        let chunks = pieces(all, SAMPLES * self.classes, gradient);
        let sums = parallel::map_with(chunks, 2 * all, scratch, |scratch, (range, part)| {
            simd::run(Chunk { data: &self, range, part, scratch, scale })
        });
        sums.iter().sum::<f64>() * scale
    }
}

/// A number for each class of a sample.
struct Scratch<T> {
    scores: Vec<T>,
    labels: Vec<i32>,
    /// 0 for the sample's labels, 1 for the others.
    others: Vec<T>,
    short: Vec<T>,
    on: Vec<T>,
    slopes: Vec<T>,
}

impl<T: Real> Scratch<T> {
    fn new(classes: usize) -> Self {
        let zeros = || vec![T::ZERO; classes];
        let (scores, others, short) = (zeros(), zeros(), zeros());
        let labels = vec![0; classes];
        Scratch { scores, labels, others, short, on: zeros(), slopes: zeros() }
    }
}

struct Chunk<'a, 's, T> {
    data: &'a Data<'a>,
    /// Of the elements of all samples.
    range: Range<usize>,
    part: Option<Part<'a>>,
    scratch: &'s mut Scratch<T>,
    scale: f64,
}

impl<T: Computed> Kernel for Chunk<'_, '_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(mut self) -> f64 {
        let Data { scores: input, labels, weight, classes, .. } = self.data;
        let Scratch { scores, labels: buffer, others, short, on, slopes } = self.scratch;
        let (start, classes) = (self.range.start, *classes);
        let mut total = 0.0;
        for first in self.range.step_by(classes) {
            let here = first..first + classes;
            // Every label was looked at before.
            labels.classes(here.clone(), classes, &[NO_LABEL], buffer);
            let labels = buffer.iter().map_while(|&label| usize::try_from(label).ok());
            input.copy(here, scores);
            others.fill(T::ONE);
            labels.clone().for_each(|label| others[label] = T::ZERO);
            slopes.fill(T::ZERO);
            let mut loss = 0.0;
            for label in labels {
                let own = T::ONE - scores[label];
                for i in 0..classes {
                    let margin = own + scores[i];
                    on[i] = if margin > T::ZERO { others[i] } else { T::ZERO };
                    short[i] = on[i] * margin;
                    slopes[i] += on[i];
                }
                loss += sum(short);
                slopes[label] = slopes[label] - T::of(sum(on));
            }
            let sample = first / classes;
            let mut one = [T::ZERO];
            let count = match weight {
                Some(spread) => spread.read(sample..sample + 1, &mut one)[0],
                None => T::ONE,
            };
            let share = count.to_f64() / classes as f64;
            total += share * loss;
            if let Some(part) = &mut self.part {
                let factor = T::of(share * self.scale);
                slopes.iter_mut().for_each(|slope| *slope *= factor);
                let within = first - start..first - start + classes;
                part.tile(within.clone(), short).copy_from_slice(slopes);
                part.wrote(within, slopes);
            }
        }
        total
    }
}
