//! Generalised Dice, plain and with a penalty, and generalised Wasserstein Dice.

use super::{
    region::{Aggregate, Average, Averaging, EmptyClass, Region, Smoothing, Sums, setters},
    statistics::{Counting, IgnoreIndex, Nonlinearity, Overlap, Pixels, Target, Terms, sum},
};
use crate::{
    LossError, Reduction, Result, check,
    loss::{named_loss, option_enum, weighted_loss},
};
use tch::{Kind, Tensor};

/// How much a class weighs in [`GeneralizedDiceLoss`], by its volume Y = Σ m y.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VolumeWeight {
    /// 1/Y²
    #[default]
    Square,
    /// 1/Y
    Simple,
    /// 1
    Uniform,
}

option_enum!(VolumeWeight {
    VolumeWeight::Square => "square",
    VolumeWeight::Simple => "simple",
    VolumeWeight::Uniform => "uniform",
});

/// What a class without volume weighs in [`GeneralizedDiceLoss`], for which 1/Y is infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AbsentWeight {
    /// As much as the heaviest class that is there.
    #[default]
    Max,
    /// Nothing.
    Zero,
}

option_enum!(AbsentWeight { AbsentWeight::Max => "max", AbsentWeight::Zero => "zero" });

/// Generalised Dice loss of a segmentation: one Dice of all classes, the small ones weighing more.
///
/// ```text
/// l = 1 - (2 Σ_c w_c tp_c + s_n) / max(Σ_c w_c (2 tp_c + fp_c + fn_c) + s_d, eps)    for each image
/// w_c = 1 / Y_c²,   Y_c = Σ m y
/// with a penalty k:   l / (1 + k (1-l))
/// ```
///
/// tp, fp, fn and m are those of [`DiceLoss`](crate::DiceLoss).
///
/// | option | default | `monai()` | meaning |
/// |---|---|---|---|
/// | `w_type` | `Square` | `Square` | w, see [`VolumeWeight`] |
/// | `absent` | `Max` | `Max` | w of a class that is not there, see [`AbsentWeight`] |
/// | `penalty` | none | none | k; `penalty()` makes it 2.5 |
/// | `smooth_nr`, `smooth_dr` | 1e-10 | 1e-5 | s_n and s_d; `smooth` sets both |
/// | `eps` | 1e-30 | 1e-30 | the least denominator |
/// | `soft_label` | false | false | `tp = Σ m min(p, y)`, for soft targets |
///
/// | option | default | meaning |
/// |---|---|---|
#[doc = include_str!("doc/region.md")]
///
/// `class_weights` multiply w. `empty_class` is about an image in which no class is there.
#[doc = include_str!("doc/shapes.md")]
/// # Reduction
///
/// `Mean` divides by the number of images of which some pixel counts; without any it is 0. The
/// reduction `None` leaves (N), or a scalar with `Batch`.
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GeneralizedDiceLoss, Loss};
///
/// // Three pixels of class 0 and one of class 1; p = 1/2 everywhere.
/// let logits = Tensor::zeros([1, 2, 4], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 0, 0, 1]).view([1, 4]);
/// let gdl = GeneralizedDiceLoss::default();
/// // w = 1/9 and 1: 1 - (2 (1.5/9 + 0.5)) / ((3+2)/9 + (1+2))
/// let expected = 1.0 - (3.0 / 9.0 + 1.0) / (5.0 / 9.0 + 3.0);
/// assert!((gdl.forward(&logits, &target).double_value(&[]) - expected).abs() < 1e-9);
/// let penalised = gdl.penalty(2.5).forward(&logits, &target).double_value(&[]);
/// assert!((penalised - expected / (1.0 + 2.5 * (1.0 - expected))).abs() < 1e-9);
/// ```
///
/// # Differences
///
/// w is about 1/Y², so that the sums of an image of large classes are as small as MONAI's
/// smoothing, which then shrinks the loss; the default here does not. In an image without any class
/// MONAI's loss and gradient are 0; `empty_class(EmptyClass::FalsePositives)` teaches there too.
/// SegLossOdyssey's weights of an absent class swamp all others, and its penalty is of the
/// negative score (-0.098 where the paper has 0.257).
///
/// # Reference
///
/// Sudre et al. 2017, "Generalised Dice overlap as a deep learning loss function for highly
/// unbalanced segmentations"; Yang et al. 2019, "Major Vessel Segmentation on X-ray Coronary
/// Angiography using Deep Networks with a Novel Penalty Loss Function" for the penalty.
/// `monai()` follows MONAI 1.6 `GeneralizedDiceLoss`.
#[derive(Debug, Clone)]
pub struct GeneralizedDiceLoss {
    region: Region,
    smoothing: Smoothing,
    w_type: VolumeWeight,
    absent: AbsentWeight,
    penalty: Option<f64>,
    soft_label: bool,
}

impl Default for GeneralizedDiceLoss {
    fn default() -> Self {
        GeneralizedDiceLoss {
            region: Region::default(),
            smoothing: Smoothing::new(1e-10, 1e-10, 1e-30),
            w_type: VolumeWeight::Square,
            absent: AbsentWeight::Max,
            penalty: None,
            soft_label: false,
        }
    }
}

impl GeneralizedDiceLoss {
    /// MONAI's `GeneralizedDiceLoss(softmax=True, to_onehot_y=True)`.
    pub fn monai() -> Self {
        GeneralizedDiceLoss::default().smooth(1e-5)
    }

    /// The penalty generalised Dice of Yang et al. 2019: k 2.5.
    pub fn penalized() -> Self {
        GeneralizedDiceLoss::default().penalty(2.5)
    }

    /// w by the volume of a class; `Square` by default.
    pub fn w_type(mut self, w_type: VolumeWeight) -> Self {
        self.w_type = w_type;
        self
    }

    /// w of a class that is not there; `Max` by default.
    pub fn absent(mut self, absent: AbsentWeight) -> Self {
        self.absent = absent;
        self
    }

    /// k, at least 0; none by default.
    pub fn penalty(mut self, penalty: impl Into<Option<f64>>) -> Self {
        self.penalty = penalty.into();
        self
    }

    setters!(soft_label);
    setters!(smoothing);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "GeneralizedDiceLoss";
        self.smoothing.check(NAME)?;
        let k = self.penalty.unwrap_or(0.0);
        check::at_least_zero(NAME, "penalty", k)?;
        let terms = if self.soft_label { Terms::Minimum } else { Terms::Product };
        let averaging = Averaging::default();
        let sums = self.region.sums(NAME, input, target, weight, terms, averaging)?;
        let mut weights = self.weights(&sums.overlap.actual)?;
        if let Some(class_weights) = &sums.weights {
            weights = weights.f_mul(class_weights)?;
        }
        let Overlap { tp, predicted, actual, .. } = &sums.overlap;
        let over_classes = |values: Tensor| -> Result<Tensor> {
            Ok(values.f_mul(&weights)?.f_sum_dim_intlist(1, true, None::<Kind>)?)
        };
        let score = self.smoothing.ratio(
            &over_classes(tp.f_mul_scalar(2.0)?)?,
            &over_classes(predicted.f_add(actual)?)?,
        )?;
        sums.over_classes()?.reduce(score, |score| {
            let loss = score.f_rsub_scalar(1.0)?;
            match self.penalty {
                Some(k) => Ok(loss.f_div(&score.f_mul_scalar(k)?.f_add_scalar(1.0)?)?),
                None => Ok(loss),
            }
        })
    }

    /// w of volumes (rows, classes).
    fn weights(&self, volume: &Tensor) -> Result<Tensor> {
        let absent = volume.f_le(0.0)?;
        // Absent classes must not divide by 0, in backward either.
        let volume = volume.f_masked_fill(&absent, 1.0)?;
        let weights = match self.w_type {
            VolumeWeight::Square => volume.f_square()?.f_reciprocal()?,
            VolumeWeight::Simple => volume.f_reciprocal()?,
            VolumeWeight::Uniform => volume.f_ones_like()?,
        };
        let present = weights.f_masked_fill(&absent, 0.0)?;
        match (self.w_type, self.absent) {
            (VolumeWeight::Uniform, AbsentWeight::Max) => Ok(weights),
            (_, AbsentWeight::Zero) => Ok(present),
            (_, AbsentWeight::Max) => {
                let heaviest = present.f_amax(1i64, true)?;
                Ok(heaviest.f_where_self(&absent, &present)?)
            }
        }
    }
}

weighted_loss!(GeneralizedDiceLoss);

named_loss! {
    GeneralizedDiceLoss: "generalized_dice", Logits => IndexOrDense, "Sudre et al. 2017",
    [..region, ..smoothing, w_type, absent, penalty, soft_label],
    aliases ["gdl", "generalised_dice"],
    presets {
        "generalized_dice_monai" => Self::monai(), "MONAI `GeneralizedDiceLoss`";
        "penalty_generalized_dice" => Self::penalized(), "Yang et al. 2019";
    },
}

/// How much a class weighs in [`GeneralizedWassersteinDiceLoss`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WassersteinWeighting {
    /// α = 1 but for the background, class 0, whose α is 0.
    #[default]
    Foreground,
    /// α = 1 / (1 + Y) by the class's volume Y = Σ m y, in the denominator too.
    Volume,
}

option_enum!(WassersteinWeighting {
    WassersteinWeighting::Foreground => "foreground",
    WassersteinWeighting::Volume => "volume",
});

/// Generalised Wasserstein Dice loss: mistakes between classes that are near cost less.
///
/// ```text
/// W = Σ_c M[y, c] p_c                                              of a pixel of class y
/// l = 1 - (2 Σ m α_y (1-W) + s_n) / max(2 Σ m α_y (1-W) + Σ m W + s_d, eps)
///                                                                  for each image
/// ```
///
/// p are the probabilities, m the weight of a pixel, M the distances between classes, divided by
/// the largest. With `Volume` the denominator is `Σ m α_y (2-W) + s_d`. A soft target counts as
/// its classes, each for its share.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `dist_matrix` | none | M, C rows of C distances, at least 0; none is 1 between any two classes |
/// | `weighting` | `Foreground` | α, see [`WassersteinWeighting`]; MONAI's "default" and "GDL" |
/// | `smooth_nr`, `smooth_dr` | 1e-5 | s_n and s_d; `smooth` sets both |
/// | `eps` | 1e-8 | the least denominator |
/// | `apply_nonlin` | `Softmax` | what makes probabilities of the input, which sum to 1 |
/// | `aggregate` | `PerImage` | `Batch`: summed over the batch too |
/// | `ignore_index` | none | targets of this value, or of these, count for nothing |
/// | `empty_class` | `Smooth` | what an image costs that is all background |
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/shapes.md")]
/// # Reduction
///
/// `Mean` divides by the number of images of which some pixel counts; without any it is 0. The
/// reduction `None` leaves (N), or a scalar with `Batch`.
///
/// # Errors
///
/// As [`DiceLoss`](crate::DiceLoss); `dist_matrix` of another shape, with a negative number or
/// without a positive one; `apply_nonlin(Sigmoid)`.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GeneralizedWassersteinDiceLoss, Loss};
///
/// // Classes 1 and 2 are alike; one pixel of class 1, p = 1/3 for each class.
/// let near = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.5], [1.0, 0.5, 0.0]];
/// let loss = GeneralizedWassersteinDiceLoss::default().dist_matrix(near.map(Vec::from)).smooth(0.0);
/// let logits = Tensor::zeros([1, 3, 1], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[1i64]).view([1, 1]);
/// // W = (1 + 0 + 0.5) / 3 = 0.5: 1 - 2 * 0.5 / (2 * 0.5 + 0.5)
/// assert!((loss.forward(&logits, &target).double_value(&[]) - 1.0 / 3.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// MONAI up to 1.5 mixes the images of a batch. MONAI has neither an ignored label, nor soft
/// targets, nor weights of pixels, and its memory is about C² numbers a pixel.
///
/// # Reference
///
/// Fidon et al. 2017, "Generalised Wasserstein Dice Score for Imbalanced Multi-class Segmentation
/// using Holistic Convolutional Networks"; Tilborghs et al. 2020, arXiv 2007.15546, for `Volume`.
/// Follows MONAI 1.6 `GeneralizedWassersteinDiceLoss`.
#[derive(Debug, Clone)]
pub struct GeneralizedWassersteinDiceLoss {
    dist_matrix: Option<Vec<Vec<f64>>>,
    weighting: WassersteinWeighting,
    smoothing: Smoothing,
    apply_nonlin: Nonlinearity,
    aggregate: Aggregate,
    ignore_index: IgnoreIndex,
    empty_class: EmptyClass,
    reduction: Reduction,
}

impl Default for GeneralizedWassersteinDiceLoss {
    fn default() -> Self {
        GeneralizedWassersteinDiceLoss {
            dist_matrix: None,
            weighting: WassersteinWeighting::Foreground,
            smoothing: Smoothing::new(1e-5, 1e-5, 1e-8),
            apply_nonlin: Nonlinearity::Softmax,
            aggregate: Aggregate::PerImage,
            ignore_index: IgnoreIndex::default(),
            empty_class: EmptyClass::Smooth,
            reduction: Reduction::Mean,
        }
    }
}

impl GeneralizedWassersteinDiceLoss {
    /// M, a row for each class.
    pub fn dist_matrix(mut self, dist_matrix: impl Into<Vec<Vec<f64>>>) -> Self {
        self.dist_matrix = Some(dist_matrix.into());
        self
    }

    /// α; `Foreground` by default.
    pub fn weighting(mut self, weighting: WassersteinWeighting) -> Self {
        self.weighting = weighting;
        self
    }

    /// What turns the input into probabilities, `Softmax` or `None`; `Softmax` by default.
    pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
        self.apply_nonlin = apply_nonlin;
        self
    }

    /// Whether each image has its own score; `PerImage` by default.
    pub fn aggregate(mut self, aggregate: Aggregate) -> Self {
        self.aggregate = aggregate;
        self
    }

    /// The target values that mark what to leave out: `255`, or `[0, 255]`.
    pub fn ignore_index(mut self, ignore_index: impl Into<IgnoreIndex>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// What an image costs that is all background; `FalsePositives` is its mean W.
    pub fn empty_class(mut self, empty_class: EmptyClass) -> Self {
        self.empty_class = empty_class;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    setters!(smoothing);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "GeneralizedWassersteinDiceLoss";
        self.smoothing.check(NAME)?;
        if self.apply_nonlin == Nonlinearity::Sigmoid {
            return Err(LossError::Param {
                loss: NAME,
                option: "apply_nonlin",
                expected: "Softmax or None",
                got: "Sigmoid".to_owned(),
            });
        }
        check::reduction(NAME, self.reduction)?;
        let (mask, ignore_index) = (weight, &self.ignore_index);
        let counting = Counting { mask, ignore_index, terms: Terms::Product };
        let pixels = Pixels::of(NAME, "input", input, self.apply_nonlin, target, &counting)?;
        let distances = self.distances(NAME, &pixels)?;
        let mut sums = Nearness::of(pixels, distances)?;
        if self.aggregate == Aggregate::Batch {
            sums = sums.over_batch()?;
        }
        let Nearness { near, volume, error, valid, count } = sums;
        let over_classes = |values: Tensor| values.f_sum_dim_intlist(1, true, None::<Kind>);
        let alpha = self.alpha(&volume)?;
        let tp = over_classes(near.f_mul(&alpha)?)?;
        let actual = over_classes(volume.f_mul(&alpha)?)?;
        let twice = tp.f_mul_scalar(2.0)?;
        let rest = match self.weighting {
            WassersteinWeighting::Foreground => twice.f_add(&error)?,
            WassersteinWeighting::Volume => actual.f_add(&tp)?,
        };
        let score = self.smoothing.ratio(&twice, &rest)?;
        let region = Region {
            aggregate: self.aggregate,
            empty_class: self.empty_class,
            reduction: self.reduction,
            ..Region::default()
        };
        let averaging = Averaging { average: Average::Micro, ..Averaging::default() };
        let overlap = Overlap { tp, predicted: error, actual, valid, pixels: count };
        let sums = Sums { region: &region, averaging, overlap, weights: None };
        sums.reduce(score, |score| Ok(score.f_rsub_scalar(1.0)?))
    }

    /// M over its largest number, beside the probabilities.
    fn distances(&self, loss: &'static str, pixels: &Pixels) -> Result<Option<Tensor>> {
        let Some(rows) = &self.dist_matrix else { return Ok(None) };
        let classes = pixels.grid.classes as usize;
        if rows.len() != classes || rows.iter().any(|row| row.len() != classes) {
            let columns = rows.iter().map(Vec::len).find(|&columns| columns != classes);
            return Err(LossError::Shape {
                loss,
                what: "dist_matrix",
                expected: format!("[{classes}, {classes}]"),
                got: vec![rows.len() as i64, columns.unwrap_or(classes) as i64],
            });
        }
        let flat = rows.concat();
        for &distance in &flat {
            check::at_least_zero(loss, "dist_matrix", distance)?;
        }
        let largest = flat.iter().copied().fold(0.0, f64::max);
        check::param(loss, "dist_matrix", largest, largest > 0.0, "with a distance above 0")?;
        let p = &pixels.probabilities;
        let matrix = Tensor::f_from_slice(&flat)?.f_div_scalar(largest)?;
        let matrix = matrix.f_view([classes as i64, classes as i64])?;
        Ok(Some(matrix.f_to_kind(p.f_kind()?)?.f_to_device(p.device())?))
    }

    /// α of volumes (rows, classes).
    fn alpha(&self, volume: &Tensor) -> Result<Tensor> {
        Ok(match self.weighting {
            WassersteinWeighting::Foreground => {
                let classes = volume.size()[1];
                Tensor::f_arange(classes, (volume.f_kind()?, volume.device()))?.f_clamp_max(1.0)?
            }
            WassersteinWeighting::Volume => volume.f_add_scalar(1.0)?.f_reciprocal()?,
        })
    }
}

/// Sums of how near the predicted classes of the pixels are to the true ones.
struct Nearness {
    /// Σ m (1-W) of each class, (rows, classes).
    near: Tensor,
    /// Σ m of each class.
    volume: Tensor,
    /// Σ m W, (rows, 1).
    error: Tensor,
    /// Σ m, (rows, 1); `None` where every pixel counts once.
    valid: Option<Tensor>,
    /// The number of pixels of a row.
    count: i64,
}

impl Nearness {
    fn of(pixels: Pixels, distances: Option<Tensor>) -> Result<Self> {
        let Pixels { grid, probabilities, target, mask } = pixels;
        // A pixel of which one class is ignored counts for nothing.
        let mask = match mask {
            Some(mask) => Some(mask.f_amin(1i64, true)?),
            None if grid.images * grid.count() == 0 => {
                let shape = [grid.images, 1, grid.count()];
                Some(Tensor::f_zeros(shape, (probabilities.f_kind()?, probabilities.device()))?)
            }
            None => None,
        };
        let masked = |values: Tensor| match &mask {
            Some(mask) => values.f_mul(mask),
            None => Ok(values),
        };
        let apart = distances.is_some();
        // W of each class that could be the true one; without M the likeness, 1 - W, which is p.
        let of_classes = match distances {
            Some(distances) => distances.f_matmul(&probabilities)?,
            None => probabilities,
        };
        let (sums, volume) = match target {
            Target::Index(class) => {
                let own = of_classes.f_gather(1, &class, false)?;
                let ones = own.f_ones_like()?;
                let volume = grid.per_class(masked(ones)?, &class)?;
                (grid.per_class(masked(own)?, &class)?, volume)
            }
            Target::Dense(dense) => {
                let own = of_classes.f_mul(&dense)?;
                (sum(masked(own)?)?, sum(masked(dense)?)?)
            }
        };
        let others = volume.f_sub(&sums)?;
        let (near, far) = if apart { (others, sums) } else { (sums, others) };
        let error = far.f_sum_dim_intlist(1, true, None::<Kind>)?;
        let valid = mask.map(sum).transpose()?;
        Ok(Nearness { near, volume, error, valid, count: grid.count() })
    }

    fn over_batch(self) -> Result<Self> {
        let over_batch = |values: Tensor| values.f_sum_dim_intlist(0, true, None::<Kind>);
        Ok(Nearness {
            count: self.count * self.near.size()[0],
            near: over_batch(self.near)?,
            volume: over_batch(self.volume)?,
            error: over_batch(self.error)?,
            valid: self.valid.map(over_batch).transpose()?,
        })
    }
}

weighted_loss!(GeneralizedWassersteinDiceLoss);

named_loss! {
    GeneralizedWassersteinDiceLoss: "generalized_wasserstein_dice", Logits => IndexOrDense,
    "MONAI `GeneralizedWassersteinDiceLoss`",
    [..smoothing, dist_matrix, weighting, apply_nonlin, aggregate, ignore_index, empty_class, reduction],
    aliases ["gwdl", "wasserstein_dice"],
}
