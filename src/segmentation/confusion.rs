//! Losses that look at the true negatives too: sensitivity-specificity and Matthews correlation.

use super::{
    region::{Aggregate, Average, Averaging, EmptyClass, Region, WeightNorm, setters},
    statistics::{IgnoreIndex, Nonlinearity, Overlap, Terms},
};
use crate::{
    Reduction, Result, check,
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Sensitivity-specificity loss of a segmentation: the mean squared error over the class, and over
/// the rest.
///
/// ```text
/// l = r Σ m (y-p)² y / (Σ m y + s) + (1-r) Σ m (y-p)² (1-y) / (Σ m (1-y) + s)
///                                                       for each image and class
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `r` | 0.1 | r, what sensitivity counts; specificity counts 1-r |
/// | `smooth` | 1 | s |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, SensitivitySpecificityLoss};
///
/// // Three pixels of class 0 and one of class 1; p = 1/2 everywhere.
/// let logits = Tensor::zeros([1, 2, 4], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 0, 0, 1]).view([1, 4]);
/// let loss = SensitivitySpecificityLoss::default().forward(&logits, &target).double_value(&[]);
/// let class_0 = 0.1 * 0.75 / 4.0 + 0.9 * 0.25 / 2.0;
/// let class_1 = 0.1 * 0.25 / 2.0 + 0.9 * 0.75 / 4.0;
/// assert!((loss - (class_0 + class_1) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// In SegLossOdyssey's `SSLoss` the names of the two parts are swapped, not the parts; its value
/// is this one.
///
/// # Reference
///
/// Brosch et al. 2015, "Deep Convolutional Encoder Networks for Multiple Sclerosis Lesion
/// Segmentation".
#[derive(Debug, Clone)]
#[doc(alias = "SSLoss")]
pub struct SensitivitySpecificityLoss {
    region: Region,
    averaging: Averaging,
    r: f64,
    smooth: f64,
}

impl Default for SensitivitySpecificityLoss {
    fn default() -> Self {
        SensitivitySpecificityLoss {
            region: Region::default(),
            averaging: Averaging::default(),
            r: 0.1,
            smooth: 1.0,
        }
    }
}

impl SensitivitySpecificityLoss {
    /// r, in [0, 1]; 0.1 by default.
    pub fn r(mut self, r: f64) -> Self {
        self.r = r;
        self
    }

    /// s, at least 0; 1 by default.
    pub fn smooth(mut self, smooth: f64) -> Self {
        self.smooth = smooth;
        self
    }

    setters!(averaging);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "SensitivitySpecificityLoss";
        check::fraction(NAME, "r", self.r)?;
        check::at_least_zero(NAME, "smooth", self.smooth)?;
        let (terms, averaging) = (Terms::SquaredError, self.averaging);
        let sums = self.region.sums(NAME, input, target, weight, terms, averaging)?;
        let Overlap { tp: missed, predicted: false_alarms, actual, .. } = &sums.overlap;
        let part = |error: &Tensor, among: &Tensor, share: f64| -> Result<Tensor> {
            // Without smoothing the error among no pixels is 0.
            let among = among.f_add_scalar(self.smooth)?.f_clamp_min(1e-8)?;
            Ok(error.f_mul_scalar(share)?.f_div(&among)?)
        };
        let others = sums.valid()?.f_sub(actual)?;
        let loss =
            part(missed, actual, self.r)?.f_add(&part(false_alarms, &others, 1.0 - self.r)?)?;
        sums.reduce(loss.f_rsub_scalar(1.0)?, |score| Ok(score.f_rsub_scalar(1.0)?))
    }
}

weighted_loss!(SensitivitySpecificityLoss);

named_loss! {
    SensitivitySpecificityLoss: "sensitivity_specificity", Logits => IndexOrDense,
    "Brosch et al. 2015", [..region, ..averaging, r, smooth],
}

/// Matthews correlation coefficient loss of a segmentation.
///
/// ```text
/// l = 1 - (tp tn - fp fn + s_n) / sqrt((tp+fp) (tp+fn) (tn+fp) (tn+fn) + s_d)
///                                                      for each image and class
/// ```
///
/// tp, fp and fn are those of [`DiceLoss`](crate::DiceLoss), tn = Σ m (1-p) (1-y). 0 is an exact
/// match, 1 what chance gives, 2 the opposite of the target.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `smooth_nr` | 0 | s_n |
/// | `smooth_dr` | 1e-5 | s_d |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
///
/// A class that fills an image is as undefined as one that is absent: `empty_class` is about both,
/// and `FalsePositives` is then the mean of 1-p. `WeightNorm::None` gives MONAI's numbers with
/// weights.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, MccLoss, segmentation::Nonlinearity};
///
/// // tp = tn = 1.5, fp = fn = 0.5: (2.25 - 0.25) / 4
/// let p = Tensor::from_slice(&[0.75f64, 0.75, 0.25, 0.25]).view([1, 1, 4]);
/// let target = Tensor::from_slice(&[1i64, 1, 0, 0]).view([1, 1, 4]);
/// let loss = MccLoss::default().apply_nonlin(Nonlinearity::None).forward(&p, &target);
/// assert!((loss.double_value(&[]) - 0.5).abs() < 1e-6);
/// ```
///
/// # Differences
///
/// Where the target is empty or full, MONAI's loss is 1 with a zero gradient unless it is met
/// exactly; `empty_class(EmptyClass::FalsePositives)` teaches there. smp's `MCCLoss` takes
/// probabilities of one class alone and is NaN for logits, half kinds, and 0.5 for an empty mask
/// that is met.
///
/// # Reference
///
/// Abhishek and Hamarneh 2021, "Matthews Correlation Coefficient Loss for Deep Convolutional
/// Networks: Application to Skin Lesion Segmentation". Follows MONAI 1.6 `MCCLoss`.
#[derive(Debug, Clone)]
pub struct MccLoss {
    region: Region,
    averaging: Averaging,
    smooth_nr: f64,
    smooth_dr: f64,
}

impl Default for MccLoss {
    fn default() -> Self {
        MccLoss {
            region: Region::default(),
            averaging: Averaging::default(),
            smooth_nr: 0.0,
            smooth_dr: 1e-5,
        }
    }
}

impl MccLoss {
    /// s_n, at least 0; 0 by default.
    pub fn smooth_nr(mut self, smooth_nr: f64) -> Self {
        self.smooth_nr = smooth_nr;
        self
    }

    /// s_d, at least 0; 1e-5 by default.
    pub fn smooth_dr(mut self, smooth_dr: f64) -> Self {
        self.smooth_dr = smooth_dr;
        self
    }

    setters!(averaging);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "MccLoss";
        check::at_least_zero(NAME, "smooth_nr", self.smooth_nr)?;
        check::at_least_zero(NAME, "smooth_dr", self.smooth_dr)?;
        let (terms, averaging) = (Terms::Product, self.averaging);
        let mut sums = self.region.sums(NAME, input, target, weight, terms, averaging)?;
        let score = self.correlation(&sums.overlap, &sums.valid()?)?;
        if self.region.empty_class != EmptyClass::Smooth {
            // A class that is everywhere is treated as its complement, which is nowhere.
            let all = sums.valid()?;
            let Overlap { predicted, actual, .. } = &mut sums.overlap;
            let full = actual.f_ge_tensor(&all)?;
            *predicted = all.f_sub(predicted)?.f_where_self(&full, predicted)?;
            *actual = actual.f_masked_fill(&full, 0.0)?;
        }
        sums.reduce(score, |score| Ok(score.f_rsub_scalar(1.0)?))
    }

    /// The coefficient, of shares of the pixels rather than of counts, whose fourth power
    /// would overflow.
    fn correlation(&self, overlap: &Overlap, valid: &Tensor) -> Result<Tensor> {
        let Overlap { tp, predicted, actual, .. } = overlap;
        // No pixels at all would divide by 0.
        let all = valid.f_threshold(0.0, 1.0)?;
        let share = |count: &Tensor| count.f_div(&all);
        let (p, y) = (share(predicted)?, share(actual)?);
        // tp tn - fp fn = tp all - predicted actual
        let covariance = share(tp)?.f_sub(&p.f_mul(&y)?)?;
        let per_square = all.f_square()?.f_reciprocal()?;
        let numerator = covariance.f_add(&per_square.f_mul_scalar(self.smooth_nr)?)?;
        let variance = |share: &Tensor| share.f_rsub_scalar(1.0)?.f_mul(share);
        let smooth = per_square.f_square()?.f_mul_scalar(self.smooth_dr)?;
        let variances = variance(&p)?.f_mul(&variance(&y)?)?.f_add(&smooth)?;
        let score = numerator.f_div(&variances.f_clamp_min(1e-30)?.f_sqrt()?)?;
        // An exact match scores 1 even where the class is nowhere or everywhere.
        let exact = predicted.f_eq_tensor(tp)?.f_logical_and(&actual.f_eq_tensor(tp)?)?;
        Ok(score.f_masked_fill(&exact, 1.0)?)
    }
}

weighted_loss!(MccLoss);

named_loss! {
    MccLoss: "mcc", Logits => IndexOrDense, "MONAI `MCCLoss`",
    [..region, ..averaging, smooth_nr, smooth_dr],
    aliases ["matthews"],
}
