//! Probabilities together with their logarithms, for compounds of cross entropy and overlap.

use super::{
    region::{Aggregate, Region, Sums, WeightNorm},
    statistics::{Counting, IgnoreIndex, Nonlinearity, Overlap, Pixels, Target, Terms},
};
use crate::{LossError, Result, reduce::ratio};
use tch::{Kind, Tensor};

/// Probabilities that came as such are held so far from 0 and 1.
pub(super) const LEAST: f64 = 1e-7;

/// The pixels of an input of classes of which each pixel has one, at least two of them.
pub(super) struct LogPixels {
    pub(super) pixels: Pixels,
    /// Logarithms of the probabilities, (N, C, P).
    pub(super) logarithms: Tensor,
    /// (N, d1, ..)
    pub(super) positions: Vec<i64>,
}

impl LogPixels {
    /// One map becomes two classes: what it leaves, then itself.
    pub(super) fn of(
        loss: &'static str,
        input: &Tensor,
        nonlinearity: Nonlinearity,
        target: &Tensor,
        mask: Option<&Tensor>,
        ignore_index: &IgnoreIndex,
    ) -> Result<Self> {
        let counting = Counting { mask, ignore_index, terms: Terms::Product };
        let raw = Pixels::of(loss, "input", input, Nonlinearity::None, target, &counting)?;
        let Pixels { mut grid, probabilities: input_on_grid, target, mask } = raw;
        nonlinearity.check(loss, grid.classes)?;
        let one = grid.classes == 1;
        let pair = |map: &Tensor| Tensor::f_cat(&[map.f_rsub_scalar(1.0)?, map.shallow_clone()], 1);
        let (probabilities, logarithms) = match nonlinearity {
            Nonlinearity::Sigmoid if !one => {
                return Err(LossError::Param {
                    loss,
                    option: "apply_nonlin",
                    expected: "Softmax or None for several classes",
                    got: "Sigmoid".to_owned(),
                });
            }
            Nonlinearity::None => {
                let probabilities = if one { pair(&input_on_grid)? } else { input_on_grid };
                let probabilities = probabilities.f_clamp(LEAST, 1.0 - LEAST)?;
                let logarithms = probabilities.f_log()?;
                (probabilities, logarithms)
            }
            Nonlinearity::Softmax => {
                let logarithms = input_on_grid.f_log_softmax(1, None::<Kind>)?;
                (logarithms.f_exp()?, logarithms)
            }
            Nonlinearity::Sigmoid => {
                let signed = Tensor::f_cat(&[&input_on_grid.f_neg()?, &input_on_grid], 1)?;
                (signed.f_sigmoid()?, signed.f_log_sigmoid()?)
            }
        };
        let target = match target {
            Target::Dense(map) if one => Target::Dense(pair(&map)?),
            target => target,
        };
        // A pixel counts where all of its classes do.
        let mask = match mask {
            Some(mask) if mask.size()[1] > 1 => Some(mask.f_amin(1, true)?),
            mask => mask,
        };
        grid.classes = grid.classes.max(2);
        let size = input.size();
        let positions = [&size[..1], &size[2..]].concat();
        let pixels = Pixels { grid, probabilities, target, mask };
        Ok(LogPixels { pixels, logarithms, positions })
    }

    /// tp and its kin, a row for each image or one for the batch.
    pub(super) fn overlap(&self, aggregate: Aggregate) -> Result<Overlap> {
        let Pixels { grid, probabilities, target, mask } = &self.pixels;
        let pixels = Pixels {
            grid: grid.clone(),
            probabilities: probabilities.shallow_clone(),
            target: target.shallow_clone(),
            mask: mask.as_ref().map(Tensor::shallow_clone),
        };
        let images = grid.images;
        let mut sums = pixels.overlap(Terms::Product)?;
        if aggregate == Aggregate::Batch {
            sums.pixels *= images;
            sums = sums.map(|sum| Ok(sum.f_sum_dim_intlist(0, true, None::<Kind>)?))?;
        }
        Ok(sums)
    }

    /// The mean of a value of each pixel, (N, 1, P), over the pixels that count.
    pub(super) fn mean(&self, of_pixels: &Tensor) -> Result<Tensor> {
        mean(of_pixels, self.pixels.mask.as_ref())
    }
}

/// The mean of values (N, C, P) over the pixels that count, and 0 where none does.
pub(super) fn mean(values: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let total = |t: &Tensor| t.f_sum(None::<Kind>);
    match mask {
        None => Ok(total(values)?.f_div_scalar(values.numel().max(1) as f64)?),
        Some(mask) => {
            let repeats = values.size()[1] as f64 / mask.size()[1] as f64;
            let count = total(mask)?.f_mul_scalar(repeats)?;
            ratio(&total(&values.f_mul(mask)?)?, &count)
        }
    }
}

/// Probabilities p with -log p and -log(1-p), each (N, C, P), for binary cross entropy.
pub(super) struct BinaryLogs {
    pub(super) probabilities: Tensor,
    pub(super) positive: Tensor,
    pub(super) negative: Tensor,
}

impl BinaryLogs {
    /// Those of pixels whose `probabilities` are what the nonlinearity is yet to be applied to.
    pub(super) fn of(loss: &'static str, raw: &Pixels, nonlinearity: Nonlinearity) -> Result<Self> {
        nonlinearity.check(loss, raw.grid.classes)?;
        let raw_map = &raw.probabilities;
        // A probability that is held below 1.
        let log_rest = |p: &Tensor| p.f_clamp_max(1.0 - LEAST)?.f_neg()?.f_log1p()?.f_neg();
        match nonlinearity {
            Nonlinearity::Sigmoid => Ok(BinaryLogs {
                probabilities: raw_map.f_sigmoid()?,
                positive: raw_map.f_log_sigmoid()?.f_neg()?,
                negative: raw_map.f_neg()?.f_log_sigmoid()?.f_neg()?,
            }),
            Nonlinearity::Softmax => {
                let logarithms = raw_map.f_log_softmax(1, None::<Kind>)?;
                let probabilities = logarithms.f_exp()?;
                let negative = log_rest(&probabilities)?;
                Ok(BinaryLogs { probabilities, positive: logarithms.f_neg()?, negative })
            }
            Nonlinearity::None => Ok(BinaryLogs {
                probabilities: raw_map.shallow_clone(),
                positive: raw_map.f_clamp_min(LEAST)?.f_log()?.f_neg()?,
                negative: log_rest(raw_map)?,
            }),
        }
    }
}

/// What becomes of scores as a mean over the classes, then over the rows.
pub(super) fn sums<'a>(
    loss: &'static str,
    region: &'a Region,
    pixels: &LogPixels,
) -> Result<Sums<'a>> {
    let rows = pixels.overlap(region.aggregate)?;
    region.of_rows(loss, &pixels.pixels.probabilities, rows, WeightNorm::Present)
}
