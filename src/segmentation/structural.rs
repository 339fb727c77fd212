//! Correlation-maximised structural similarity loss.

use super::{
    log_pixels::BinaryLogs,
    region::power,
    statistics::{Counting, IgnoreIndex, Nonlinearity, Pixels, Target, Terms},
};
use crate::{
    Reduction, Result, check,
    loss::{named_loss, weighted_loss},
    metrics::{SsimOptions, SsimPadding},
    reduce::ratio,
};
use tch::{Kind, Tensor};

/// Structural similarity loss (SSL) of a segmentation: binary cross entropy of the pixels whose
/// neighbourhood correlates least with that of the target.
///
/// ```text
/// l = Σ f e BCE / Σ f,   f = [e > β max e]
/// e = |(y - μ_y + c) / (σ_y + c) - (p - μ_p + c) / (σ_p + c)|
/// ```
///
/// μ and σ are mean and standard deviation in a Gaussian window around the pixel. Variances below
/// 1e-6 have a root that gives way to a line, whose slope at 0 is finite. The paper adds cross
/// entropy: `WeightedSum::new().add("bce", 0.5, ..).add("ssl", 0.5, ..)`.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `beta` | 0.1 | β, in [0, 1) |
/// | `constant` | 0.01 | c, above 0; the paper's C4 |
/// | `kernel_size` | 3 | side of the window, odd |
/// | `sigma` | 1.5 | of the Gaussian, in pixels |
/// | `detach_error` | false | e is a weight without a gradient |
/// | `apply_nonlin` | `Sigmoid` | what makes probabilities: `Sigmoid`, `Softmax`, or `None` where the input holds them |
/// | `ignore_index` | none | targets of this value, or of these, count for nothing |
///
/// # Shapes
///
/// - input: (N, C, H, W) with sides above half a window
/// - target: class indices, integer, (N, H, W) or (N, 1, H, W) with values in [0, C); or one-hot,
///   of any kind, (N, C, H, W). With C = 1 both are the map itself
/// - element weight, of any kind: how much each pixel counts, (N, H, W) or (N, 1, H, W); those of
///   weight 0 look like background to their neighbours
/// - loss: a scalar. `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// The mean over the pixels and classes for which e is above β times the largest in the batch, or
/// by their weights. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of a tensor; an option out of its range; `Softmax` with one class only; a
/// class index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{Loss, StructuralCorrelationLoss};
///
/// let mask = Tensor::zeros([1, 1, 8, 8], (Kind::Double, Device::Cpu));
/// let _ = mask.narrow(2, 2, 4).narrow(3, 2, 4).fill_(1.0);
/// let loss = StructuralCorrelationLoss::default();
/// let [good, poor] = [4.0, 0.5].map(|gain| loss.forward(&((&mask - 0.5) * gain), &mask));
/// assert!(good.double_value(&[]) < poor.double_value(&[]));
/// ```
///
/// # Differences
///
/// The paper does not say what happens at the border: here maps are reflected. Nor does it say
/// whether e has a gradient: `detach_error`.
///
/// # Reference
///
/// Zhao et al. 2019, "Correlation Maximized Structural Similarity Loss for Semantic Segmentation"
/// (arXiv 1910.08711). See also [`SsimLoss`](crate::SsimLoss).
#[derive(Debug, Clone)]
pub struct StructuralCorrelationLoss {
    beta: f64,
    constant: f64,
    kernel_size: i64,
    sigma: f64,
    detach_error: bool,
    apply_nonlin: Nonlinearity,
    ignore_index: IgnoreIndex,
}

impl Default for StructuralCorrelationLoss {
    fn default() -> Self {
        StructuralCorrelationLoss {
            beta: 0.1,
            constant: 0.01,
            kernel_size: 3,
            sigma: 1.5,
            detach_error: false,
            apply_nonlin: Nonlinearity::Sigmoid,
            ignore_index: IgnoreIndex::default(),
        }
    }
}

impl StructuralCorrelationLoss {
    /// β, in [0, 1); 0.1 by default.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// c, above 0; 0.01 by default.
    pub fn constant(mut self, constant: f64) -> Self {
        self.constant = constant;
        self
    }

    /// Side of the window, odd; 3 by default.
    pub fn kernel_size(mut self, kernel_size: i64) -> Self {
        self.kernel_size = kernel_size;
        self
    }

    /// Of the Gaussian, above 0; 1.5 by default.
    pub fn sigma(mut self, sigma: f64) -> Self {
        self.sigma = sigma;
        self
    }

    /// Whether e has no gradient; false by default.
    pub fn detach_error(mut self, detach_error: bool) -> Self {
        self.detach_error = detach_error;
        self
    }

    /// What turns the input into probabilities; `Sigmoid` by default.
    pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
        self.apply_nonlin = apply_nonlin;
        self
    }

    /// The target values that mark what to leave out: `255`, or `[0, 255]`.
    pub fn ignore_index(mut self, ignore_index: impl Into<IgnoreIndex>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "StructuralCorrelationLoss";
        let options = SsimOptions::new(1.0)
            .kernel_size(self.kernel_size)
            .sigma(self.sigma)
            .padding(SsimPadding::Reflect);
        options.check(NAME)?;
        let (beta, constant) = (self.beta, self.constant);
        check::param(NAME, "beta", beta, (0.0..1.0).contains(&beta), "in [0, 1)")?;
        let ok = constant > 0.0 && constant.is_finite();
        check::param(NAME, "constant", constant, ok, "above 0 and finite")?;
        let (size, least) = (input.size(), self.kernel_size / 2 + 1);
        let ok = size.len() == 4 && size[2] >= least && size[3] >= least;
        let expected = format!("[N, C, H, W] with sides of at least {least}");
        check::shape_is(NAME, "input", input, ok, &expected)?;

        let ignore_index = &self.ignore_index;
        let counting = Counting { mask: weight, ignore_index, terms: Terms::Product };
        let raw = Pixels::of(NAME, "input", input, Nonlinearity::None, target, &counting)?;
        let kind = raw.probabilities.f_kind()?;
        if raw.probabilities.numel() == 0 {
            return Ok(raw.probabilities.f_sum(None::<Kind>)?);
        }
        let mut labels = match &raw.target {
            Target::Index(class) => raw.grid.one_hot(class, kind)?,
            Target::Dense(dense) => dense.shallow_clone(),
        };
        let (mut probabilities, entropy) = match self.apply_nonlin {
            Nonlinearity::Sigmoid => {
                let (logits, none) = (&raw.probabilities, None::<&Tensor>);
                let kept = Reduction::None;
                let entropy =
                    logits.f_binary_cross_entropy_with_logits(&labels, none, none, kept)?;
                (logits.f_sigmoid()?, entropy)
            }
            _ => {
                let BinaryLogs { probabilities, positive, negative } =
                    BinaryLogs::of(NAME, &raw, self.apply_nonlin)?;
                let absent = labels.f_rsub_scalar(1.0)?;
                (probabilities, labels.f_mul(&positive)?.f_add(&absent.f_mul(&negative)?)?)
            }
        };
        let entropy = entropy.f_view(size.as_slice())?;
        if let Some(mask) = &raw.mask {
            let seen = mask.f_ne(0.0)?;
            (probabilities, labels) = (probabilities.f_mul(&seen)?, labels.f_mul(&seen)?);
        }
        let mask = match &raw.mask {
            Some(mask) => {
                let mask = mask.f_expand_as(&labels)?;
                Some(mask.f_reshape(size.as_slice())?)
            }
            None => None,
        };
        let [p, y] = [probabilities, labels].map(|map| map.f_view(size.as_slice()));
        let (p, y) = (p?, y?);
        let windows = options.windows(&p)?;
        let standardised = |map: &Tensor| -> Result<Tensor> {
            let [mean, square] = windows.means([map, &map.f_square()?])?;
            let variance = square.f_sub(&mean.f_square()?)?;
            let deviation = power(&variance, 0.5)?;
            let centred = map.f_sub(&mean)?.f_add_scalar(constant)?;
            Ok(centred.f_div(&deviation.f_add_scalar(constant)?)?)
        };
        let mut error = standardised(&y)?.f_sub(&standardised(&p)?)?.f_abs()?;
        if let Some(mask) = &mask {
            error = error.f_mul(&mask.f_ne(0.0)?)?;
        }
        let apart = error.f_detach()?;
        if self.detach_error {
            error = apart.shallow_clone();
        }
        let mut counts = apart.f_gt_tensor(&apart.f_max()?.f_mul_scalar(beta)?)?.f_to_kind(kind)?;
        if let Some(mask) = &mask {
            counts = counts.f_mul(mask)?;
        }
        let total = error.f_mul(&entropy)?.f_mul(&counts)?.f_sum(None::<Kind>)?;
        ratio(&total, &counts.f_sum(None::<Kind>)?)
    }
}

weighted_loss!(StructuralCorrelationLoss);

named_loss! {
    StructuralCorrelationLoss: "structural_correlation", BinaryLogits => IndexOrDense,
    "Zhao et al. 2019",
    [beta, constant, kernel_size, sigma, detach_error, apply_nonlin, ignore_index],
    aliases ["ssl", "correlation_maximized_structural_similarity"],
}
