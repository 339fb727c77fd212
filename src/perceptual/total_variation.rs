//! Total variation.

use super::extractor::images;
use crate::{
    MeanOver, Reduction, Result, check, error::unwrap, fused::Variation, loss::named_loss,
    reduce::reduce,
};
use tch::{Kind, Tensor};

/// Which differences are summed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TotalVariation {
    /// `Σ |right - x| + Σ |below - x|`
    #[default]
    Anisotropic,
    /// `Σ ((right - x)² + (below - x)² + eps²)^(β/2) - eps^β`, where both neighbours are there
    Isotropic,
}

crate::loss::option_enum!(TotalVariation {
    TotalVariation::Anisotropic => "anisotropic",
    TotalVariation::Isotropic => "isotropic",
});

/// Total variation of images: how much neighbouring pixels differ.
///
/// ```text
/// anisotropic: Σ |x[i, j+1] - x[i, j]| + Σ |x[i+1, j] - x[i, j]|
/// isotropic:   Σ ((x[i, j+1] - x[i, j])² + (x[i+1, j] - x[i, j])² + eps²)^(β/2) - eps^β
/// ```
///
/// summed over the channels and pixels of an image.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `form` | `Anisotropic` | |
/// | `beta` | 1 | β of the isotropic form; 2 gives squares |
/// | `eps` | 1e-3 | keeps the gradient of the isotropic form finite where an image is flat |
/// | `per_pixel` | false | divide the sums of the two directions by their numbers of differences (the isotropic sum by its own) |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - images (N, C, H, W), in any unit
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of images; without any it is 0. An image of one pixel has none.
///
/// # Errors
///
/// Shape or kind; `beta` or `eps` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::perceptual::TotalVariationLoss;
///
/// let image = Tensor::from_slice(&[0.0f64, 3.0, 4.0, 0.0]).view([1, 1, 2, 2]);
/// let loss = TotalVariationLoss::default().forward(&image).double_value(&[]);
/// assert_eq!(loss, 3.0 + 4.0 + 4.0 + 3.0);
/// ```
///
/// # Differences
///
/// The anisotropic sum is torchmetrics' with the mean over the images rather than the sum, and piq's
/// `l1`; `per_pixel` is kornia's and BasicSR's mean. piq's `l2` takes one root for the whole image,
/// with a NaN gradient where it is flat.
///
/// # Reference
///
/// Rudin et al. 1992; Mahendran and Vedaldi 2015, "Understanding Deep Image Representations by
/// Inverting Them", for β.
#[derive(Debug, Clone)]
pub struct TotalVariationLoss {
    form: TotalVariation,
    beta: f64,
    eps: f64,
    per_pixel: bool,
    reduction: Reduction,
}

impl Default for TotalVariationLoss {
    fn default() -> Self {
        TotalVariationLoss {
            form: TotalVariation::Anisotropic,
            beta: 1.0,
            eps: 1e-3,
            per_pixel: false,
            reduction: Reduction::Mean,
        }
    }
}

impl TotalVariationLoss {
    /// `Anisotropic` by default.
    pub fn form(mut self, form: TotalVariation) -> Self {
        self.form = form;
        self
    }

    /// β of the isotropic form, above 0; 1 by default.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Under the root of the isotropic form, above 0; 1e-3 by default.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether sums are divided by the number of their differences; false by default.
    pub fn per_pixel(mut self, per_pixel: bool) -> Self {
        self.per_pixel = per_pixel;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The total variation of `input`.
    pub fn f_forward(&self, input: &Tensor) -> Result<Tensor> {
        const NAME: &str = "TotalVariationLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "beta", self.beta)?;
        check::above_zero(NAME, "eps", self.eps)?;
        match self.fused(input)? {
            Some(loss) => Ok(loss),
            None => self.composed(input),
        }
    }

    fn fused(&self, input: &Tensor) -> Result<Option<Tensor>> {
        let &[images, channels, height, width] = input.size().as_slice() else { return Ok(None) };
        let images = match self.reduction {
            Reduction::Mean => images,
            Reduction::Sum => 1,
            _ => return Ok(None),
        };
        let scale = |differences: i64| {
            let each = if self.per_pixel { (channels * differences).max(1) } else { 1 };
            1.0 / (images.max(1) * each) as f64
        };
        let variation = match self.form {
            TotalVariation::Anisotropic => Variation::Anisotropic {
                right: scale(height * (width - 1)),
                below: scale((height - 1) * width),
            },
            TotalVariation::Isotropic => Variation::Isotropic {
                beta: self.beta,
                eps: self.eps,
                scale: scale((height - 1) * (width - 1)),
            },
        };
        variation.loss(input, || {
            let loss = self.clone();
            move |input| loss.composed(input)
        })
    }

    fn composed(&self, input: &Tensor) -> Result<Tensor> {
        const NAME: &str = "TotalVariationLoss";
        let x = images(NAME, "input", input, None)?;
        let size = x.size();
        let (height, width) = (size[2], size[3]);
        let step = |dim: i64, length: i64| -> Result<Tensor> {
            let others = (length - 1).max(0);
            Ok(x.f_narrow(dim, length.min(1), others)?.f_sub(&x.f_narrow(dim, 0, others)?)?)
        };
        let sum = |t: Tensor| -> Result<Tensor> {
            let count = t.numel() as f64 / size[0].max(1) as f64;
            let sum = t.f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, None::<Kind>)?;
            Ok(if self.per_pixel { sum.f_div_scalar(count.max(1.0))? } else { sum })
        };
        let (right, below) = (step(3, width)?, step(2, height)?);
        let each = match self.form {
            TotalVariation::Anisotropic => sum(right.f_abs()?)?.f_add(&sum(below.f_abs()?)?)?,
            TotalVariation::Isotropic => {
                let mut squares = right.f_narrow(2, 0, (height - 1).max(0))?.f_square()?;
                let below = below.f_narrow(3, 0, (width - 1).max(0))?;
                let squares =
                    squares.f_add_(&below.f_square()?)?.f_add_scalar_(self.eps.powi(2))?;
                let powers = match self.beta {
                    1.0 => squares.f_sqrt()?,
                    beta => squares.f_pow_tensor_scalar(beta / 2.0)?,
                };
                sum(powers.f_sub_scalar(self.eps.powf(self.beta))?)?
            }
        };
        reduce(each, None, MeanOver::Elements, self.reduction)
    }

    /// [`TotalVariationLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, input: &Tensor) -> Tensor {
        unwrap(self.f_forward(input))
    }
}

named_loss! {
    apart TotalVariationLoss: "total_variation", "torchmetrics `total_variation`", Self::default(),
    [form, beta, eps, per_pixel, reduction], aliases ["tv"],
}
