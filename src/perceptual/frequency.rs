//! Focal frequency loss.

use super::extractor::images;
use crate::{
    MeanOver, Reduction, Result, check,
    loss::{named_loss, weighted_loss},
    reduce::{reduce, weights},
};
use tch::Tensor;

/// Focal frequency loss: the distance of two images' spectra, where they differ most counting most.
///
/// ```text
/// l = w |F(x) - F(t)|²,   w = |F(x) - F(t)|^α / max |F(x) - F(t)|^α, a constant
/// ```
///
/// F is the orthonormal Fourier transform of a channel, the maximum that of an image's channel.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `alpha` | 1 | α; 0 weighs all frequencies alike |
/// | `patch_factor` | 1 | the image is cut into so many patches a side |
/// | `average_spectrum` | false | compare the mean spectra of the batch |
/// | `log_matrix` | false | `w = log(1 + |..|^α)` before it is divided |
/// | `batch_matrix` | false | the maximum is that of the batch |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input, target: images (N, C, H, W) of the same shape; H and W divisible by `patch_factor`
/// - element weight: broadcastable to the unreduced loss
/// - loss: a scalar, or (N, P, C, H/f, W/f) with P = f² patches (N = 1 for `average_spectrum`)
///   without reduction; `Half` and `BFloat16` in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of frequencies, or by the sum of their weights; where nothing
/// counts it is 0.
///
/// # Errors
///
/// Shape, kind or device; `alpha` below 0; a `patch_factor` that does not divide the sides.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{Loss, perceptual::FocalFrequencyLoss};
///
/// // A difference in brightness is one frequency, of weight 1: (0.5 · 4)² over 16.
/// let image = Tensor::rand([1, 1, 4, 4], (Kind::Double, Device::Cpu));
/// let loss = FocalFrequencyLoss::default().forward(&(&image + 0.5), &image).double_value(&[]);
/// assert!((loss - 4.0 / 16.0).abs() < 1e-9);
/// ```
///
/// # Reference
///
/// Jiang et al. 2021, "Focal Frequency Loss for Image Reconstruction and Synthesis". Follows
/// focal-frequency-loss 0.3.
#[derive(Debug, Clone)]
pub struct FocalFrequencyLoss {
    alpha: f64,
    patch_factor: i64,
    average_spectrum: bool,
    log_matrix: bool,
    batch_matrix: bool,
    reduction: Reduction,
}

impl Default for FocalFrequencyLoss {
    fn default() -> Self {
        FocalFrequencyLoss {
            alpha: 1.0,
            patch_factor: 1,
            average_spectrum: false,
            log_matrix: false,
            batch_matrix: false,
            reduction: Reduction::Mean,
        }
    }
}

impl FocalFrequencyLoss {
    /// α, at least 0; 1 by default.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Patches a side, at least 1; 1 by default.
    pub fn patch_factor(mut self, patch_factor: i64) -> Self {
        self.patch_factor = patch_factor;
        self
    }

    /// Whether the mean spectra of the batch are compared; false by default.
    pub fn average_spectrum(mut self, average_spectrum: bool) -> Self {
        self.average_spectrum = average_spectrum;
        self
    }

    /// Whether the weights are `log(1 + ..)`; false by default.
    pub fn log_matrix(mut self, log_matrix: bool) -> Self {
        self.log_matrix = log_matrix;
        self
    }

    /// Whether the weights are divided by the maximum of the batch; false by default.
    pub fn batch_matrix(mut self, batch_matrix: bool) -> Self {
        self.batch_matrix = batch_matrix;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "FocalFrequencyLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "alpha", self.alpha)?;
        check::same_shape(NAME, input, target)?;
        let x = images(NAME, "input", input, None)?;
        let t = check::in_kind(NAME, "target", target, x.f_kind()?)?;
        let (size, factor) = (x.size(), self.patch_factor);
        let ok = factor >= 1 && size[2] % factor == 0 && size[3] % factor == 0;
        let expected = "at least 1 and a divisor of both sides";
        check::param(NAME, "patch_factor", factor as f64, ok, expected)?;

        // The transform is linear: that of the difference is the difference of theirs.
        let (height, width) = (size[2] / factor, size[3] / factor);
        let patches = x
            .f_sub(&t)?
            .f_view([size[0], size[1], factor, height, factor, width])?
            .f_permute([0, 2, 4, 1, 3, 5])?
            .f_reshape([size[0], factor * factor, size[1], height, width])?;
        let patches = match self.average_spectrum && size[0] > 0 {
            true => patches.f_mean_dim([0i64].as_slice(), true, None::<tch::Kind>)?,
            false => patches,
        };
        if patches.numel() == 0 {
            return reduce(patches, None, MeanOver::Weights, self.reduction);
        }
        let spectrum = patches.f_fft_fft2(None::<&[i64]>, [-2i64, -1].as_slice(), "ortho")?;
        let power = spectrum.f_view_as_real()?.f_square()?;
        let power = power.f_sum_dim_intlist([-1i64].as_slice(), false, None::<tch::Kind>)?;
        let matrix = power.f_detach()?.f_pow_tensor_scalar(self.alpha / 2.0)?;
        let matrix = if self.log_matrix { matrix.f_log1p()? } else { matrix };
        let most = match self.batch_matrix {
            true => matrix.f_max()?,
            false => matrix.f_amax([-2i64, -1].as_slice(), true)?,
        };
        // Where nothing differs every weight is 0/0, and counts 0.
        let matrix = matrix.f_div(&most.f_threshold(0.0, 1.0)?)?;
        let loss = power.f_mul(&matrix)?;
        let weight = weights(NAME, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(FocalFrequencyLoss);

named_loss! {
    FocalFrequencyLoss: "focal_frequency", Images => Dense, "focal-frequency-loss",
    [alpha, patch_factor, average_spectrum, log_matrix, batch_matrix, reduction],
}
