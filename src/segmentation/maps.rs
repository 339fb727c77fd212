//! What losses of skeletons and distances start from: a map of each class that counts.

use super::{
    distance::pixel_size,
    region::{Averaging, EmptyClass, Region, Sums, select},
    statistics::{Counting, Overlap, Pixels, Target, Terms, sum},
};
use crate::{Result, check};
use std::ops::RangeInclusive;
use tch::Tensor;

/// An input and its target: K classes that count of N images of P pixels.
pub(crate) struct Maps {
    /// (N, K, P)
    pub(crate) probabilities: Tensor,
    /// One-hot or soft, (N, K, P); 0 where a pixel does not count.
    pub(crate) target: Tensor,
    /// How much a pixel counts, (N, 1, P) or (N, K, P).
    pub(crate) mask: Option<Tensor>,
    /// N, K, d1, ..
    pub(crate) shape: Vec<i64>,
    kept: Option<Vec<i64>>,
}

impl Region {
    /// `axes` says how many dimensions an image may have.
    pub(crate) fn maps(
        &self,
        loss: &'static str,
        input: &Tensor,
        target: &Tensor,
        weight: Option<&Tensor>,
        axes: RangeInclusive<usize>,
    ) -> Result<Maps> {
        let dims = input.dim();
        let ok = dims >= 2 && axes.contains(&(dims - 2));
        let (low, high) = (axes.start(), axes.end());
        check::shape_is(
            loss,
            "input",
            input,
            ok,
            &format!("[N, C, ..] with {low} to {high} dimensions of pixels"),
        )?;
        let kept = self.kept(loss, input)?;
        let counting =
            Counting { mask: weight, ignore_index: &self.ignore_index, terms: Terms::Product };
        let Pixels { grid, probabilities, target, mask } =
            Pixels::of(loss, "input", input, self.apply_nonlin, target, &counting)?;
        let target = match target {
            Target::Index(class) => grid.one_hot(&class, probabilities.f_kind()?)?,
            Target::Dense(dense) => dense,
        };
        let of_kept = |values: Tensor| match &kept {
            Some(kept) => select(values, kept),
            None => Ok(values),
        };
        let (probabilities, target) = (of_kept(probabilities)?, of_kept(target)?);
        let shape = [&[grid.images, probabilities.size()[1]], grid.pixels.as_slice()].concat();
        let mask = mask.map(of_kept).transpose()?;
        let mut maps = Maps { probabilities, target, mask, shape, kept };
        maps.target = maps.counted(&maps.target)?;
        Ok(maps)
    }

    /// Sums that the loss took of these maps itself, (N, K), as rows and columns of scores;
    /// `actual` is above 0 for a class that is there.
    pub(crate) fn sums_of(
        &self,
        loss: &'static str,
        input: &Tensor,
        maps: &Maps,
        [tp, actual]: [Tensor; 2],
        averaging: Averaging,
    ) -> Result<Sums<'_>> {
        let images = maps.shape[0];
        let pixels: i64 = maps.shape[2..].iter().product();
        let valid = match &maps.mask {
            Some(mask) => Some(sum(mask.shallow_clone())?),
            None if images * pixels == 0 => {
                Some(Tensor::f_zeros([images, 1], (tp.f_kind()?, tp.device()))?)
            }
            None => None,
        };
        let predicted = match self.empty_class {
            EmptyClass::FalsePositives => maps.sum(maps.probabilities.shallow_clone())?,
            _ => tp.shallow_clone(),
        };
        let overlap = Overlap { tp, predicted, actual, valid, pixels };
        self.of_kept(loss, input, overlap, maps.kept.as_deref(), averaging)
    }

    /// The loss of what each pixel costs, (N, K, P): a mean for each class that counts. `there`
    /// makes what is above 0 for a class of an image that is there, (N, K).
    pub(crate) fn mean_cost(
        &self,
        loss: &'static str,
        input: &Tensor,
        maps: &Maps,
        cost: Tensor,
        there: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        let averaging = Averaging::default();
        let total = maps.sum(cost)?;
        let there = match self.empty_class {
            EmptyClass::Smooth => total.shallow_clone(),
            _ => there()?,
        };
        let sums = self.sums_of(loss, input, maps, [total, there], averaging)?;
        let valid = sums.valid()?.f_threshold(0.0, 1.0)?;
        sums.reduce_costs(sums.overlap.tp.f_div(&valid)?)
    }
}

impl Maps {
    /// `values` where a pixel counts, 0 elsewhere.
    pub(crate) fn counted(&self, values: &Tensor) -> Result<Tensor> {
        Ok(match &self.mask {
            Some(mask) => values.f_masked_fill(&mask.f_gt(0.0)?.f_logical_not()?, 0)?,
            None => values.shallow_clone(),
        })
    }

    /// (N, K, P) to (N, K), each pixel as much as it counts.
    pub(crate) fn sum(&self, values: Tensor) -> Result<Tensor> {
        sum(match &self.mask {
            Some(mask) => values.f_mul(mask)?,
            None => values,
        })
    }

    /// Which pixels are of each class, (N, K, d1, ..): where `values` (N, K, P) are above 1/2.
    pub(crate) fn inside(&self, values: &Tensor) -> Result<Tensor> {
        Ok(values.f_detach()?.f_gt(0.5)?.f_view(self.shape.as_slice())?)
    }

    /// The classes that count of values (N, C, d1, ..).
    pub(crate) fn of_kept(&self, values: &Tensor) -> Result<Tensor> {
        match &self.kept {
            Some(kept) => Ok(select(values.shallow_clone(), kept)?.f_contiguous()?),
            None => Ok(values.f_contiguous()?),
        }
    }

    /// The size of a pixel along d1, ...
    pub(crate) fn pixel_size(
        &self,
        loss: &'static str,
        spacing: &Option<Vec<f64>>,
    ) -> Result<Vec<f64>> {
        pixel_size(loss, spacing.as_deref(), self.shape.len() - 2)
    }
}
