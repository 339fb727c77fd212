//! Structural similarity of images, at one scale and at several.

use super::window::Window;
use crate::{
    MeanOver, Reduction, Result, check,
    error::unwrap,
    loss::{Reader, named_loss, option_enum, weighted_loss},
    reduce::{reduce, weights},
};
use tch::{Kind, Tensor};

/// The weights of the windows of [`ssim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SsimWindow {
    /// A Gaussian, cut off at `kernel_size` and scaled to sum 1.
    #[default]
    Gaussian,
    /// All pixels alike.
    Uniform,
}

/// What [`ssim`] does at the border, where a window does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SsimPadding {
    /// Only whole windows count: the map is `kernel_size - 1` smaller.
    #[default]
    Valid,
    /// Images continue by reflection, the border pixel not repeated.
    Reflect,
    /// Images continue with zeros.
    Zeros,
}

/// How [`ssim`] and [`ms_ssim`] compare images.
///
/// | option | default | `torchmetrics()` | `skimage()` | `basnet()` | meaning |
/// |---|---|---|---|---|---|
/// | `data_range` | no default | | | 1 | the largest value less the smallest that a pixel can have |
/// | `kernel_size` | 11 | 11 | 7 | 11 | side of the window, odd |
/// | `sigma` | 1.5 | 1.5 | | 1.5 | of the Gaussian, in pixels |
/// | `window` | `Gaussian` | `Gaussian` | `Uniform` | `Gaussian` | |
/// | `k1`, `k2` | 0.01, 0.03 | | | | c1 = (k1 R)², c2 = (k2 R)² of a data range R |
/// | `padding` | `Valid` | `Reflect` | `Valid` | `Zeros` | what to do at the border |
/// | `sample_covariance` | false | false | true | false | variances times n / (n-1) for n pixels of a window |
/// | `downsample` | false | false | false | false | first average squares of round(side / 256) pixels |
///
/// The defaults are those of Wang et al. 2004.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SsimOptions {
    data_range: f64,
    kernel_size: i64,
    sigma: f64,
    window: SsimWindow,
    k1: f64,
    k2: f64,
    padding: SsimPadding,
    sample_covariance: bool,
    downsample: bool,
}

impl SsimOptions {
    /// Wang et al. 2004, for pixels in a range of that length: 1, 255, or 2 for -1 to 1.
    pub fn new(data_range: f64) -> Self {
        SsimOptions {
            data_range,
            kernel_size: 11,
            sigma: 1.5,
            window: SsimWindow::Gaussian,
            k1: 0.01,
            k2: 0.03,
            padding: SsimPadding::Valid,
            sample_covariance: false,
            downsample: false,
        }
    }

    /// The defaults of torchmetrics, and of kornia with a window of 11: reflection at the border.
    pub fn torchmetrics(data_range: f64) -> Self {
        SsimOptions::new(data_range).padding(SsimPadding::Reflect)
    }

    /// The defaults of scikit-image: uniform windows of 7 pixels, sample covariance.
    pub fn skimage(data_range: f64) -> Self {
        SsimOptions::new(data_range)
            .window(SsimWindow::Uniform)
            .kernel_size(7)
            .sample_covariance(true)
    }

    /// That of BASNet's hybrid loss: probabilities, with zeros around them.
    pub fn basnet() -> Self {
        SsimOptions::new(1.0).padding(SsimPadding::Zeros)
    }

    /// Side of the window, odd; 11 by default.
    pub fn kernel_size(mut self, kernel_size: i64) -> Self {
        self.kernel_size = kernel_size;
        self
    }

    /// Of the Gaussian, above 0; 1.5 by default.
    pub fn sigma(mut self, sigma: f64) -> Self {
        self.sigma = sigma;
        self
    }

    /// `Gaussian` by default.
    pub fn window(mut self, window: SsimWindow) -> Self {
        self.window = window;
        self
    }

    /// Steadies the comparison of means, above 0; 0.01 by default.
    pub fn k1(mut self, k1: f64) -> Self {
        self.k1 = k1;
        self
    }

    /// Steadies the comparison of variances, above 0; 0.03 by default.
    pub fn k2(mut self, k2: f64) -> Self {
        self.k2 = k2;
        self
    }

    /// `Valid` by default.
    pub fn padding(mut self, padding: SsimPadding) -> Self {
        self.padding = padding;
        self
    }

    /// Whether variances are those of a sample; false by default.
    pub fn sample_covariance(mut self, sample_covariance: bool) -> Self {
        self.sample_covariance = sample_covariance;
        self
    }

    /// Whether images of 384 pixels and more are made smaller first; false by default.
    pub fn downsample(mut self, downsample: bool) -> Self {
        self.downsample = downsample;
        self
    }

    pub(crate) fn check(&self, loss: &'static str) -> Result<()> {
        let positive = |option, value: f64| {
            check::param(
                loss,
                option,
                value,
                value > 0.0 && value.is_finite(),
                "above 0 and finite",
            )
        };
        positive("data_range", self.data_range)?;
        positive("sigma", self.sigma)?;
        positive("k1", self.k1)?;
        positive("k2", self.k2)?;
        let odd = (1..10_000).contains(&self.kernel_size) && self.kernel_size % 2 == 1;
        check::param(loss, "kernel_size", self.kernel_size as f64, odd, "odd and from 1 to 9999")?;
        let one = self.sample_covariance && self.kernel_size == 1;
        check::param(loss, "kernel_size", 1.0, !one, "above 1 for a sample covariance")
    }

    fn radius(&self) -> i64 {
        self.kernel_size / 2
    }

    /// The least side of a map.
    fn smallest(&self) -> i64 {
        match self.padding {
            SsimPadding::Valid => self.kernel_size,
            SsimPadding::Reflect => self.radius() + 1,
            SsimPadding::Zeros => 1,
        }
    }

    /// How many pixels of a side become one.
    fn shrinking(&self, size: &[i64]) -> i64 {
        match self.downsample {
            true => {
                let side = size[2].min(size[3]);
                ((side as f64 / 256.0).round_ties_even() as i64).max(1)
            }
            false => 1,
        }
    }

    fn read(&mut self, reader: &Reader) -> Result<()> {
        reader.read("data_range", &mut self.data_range)?;
        reader.read("kernel_size", &mut self.kernel_size)?;
        reader.read("sigma", &mut self.sigma)?;
        reader.read("window", &mut self.window)?;
        reader.read("k1", &mut self.k1)?;
        reader.read("k2", &mut self.k2)?;
        reader.read("padding", &mut self.padding)?;
        reader.read("sample_covariance", &mut self.sample_covariance)?;
        reader.read("downsample", &mut self.downsample)
    }

    /// A weight of the pixels of `input` as one of the windows of `map`.
    fn of_windows(
        &self,
        loss: &'static str,
        weight: &Tensor,
        input: &Tensor,
        map: &Tensor,
    ) -> Result<Tensor> {
        let size = input.size();
        check::broadcastable(loss, "weight", weight, &size)?;
        check::device(loss, "weight", weight, input)?;
        let mut weight = check::in_kind(loss, "weight", weight, map.f_kind()?)?;
        let shrinking = self.shrinking(&size);
        if shrinking > 1 {
            weight = shrunk(&weight.f_expand(&size, false)?, shrinking)?;
        }
        for (dim, length) in [(-2, map.size()[2]), (-1, map.size()[3])] {
            let own = weight.size().into_iter().rev().nth(-dim as usize - 1).unwrap_or(1);
            if own > length {
                weight = weight.f_narrow(dim, (own - length) / 2, length)?;
            }
        }
        Ok(weight)
    }

    /// The weights of a window along one side, summing to 1.
    fn weights(&self, like: &Tensor) -> Result<Tensor> {
        let (size, options) = (self.kernel_size, (like.f_kind()?, like.device()));
        match self.window {
            SsimWindow::Uniform => Ok(Tensor::f_full(size, 1.0 / size as f64, options)?),
            SsimWindow::Gaussian => {
                let from_centre = Tensor::f_arange(size, options)?.f_sub_scalar(self.radius())?;
                let exponent = from_centre.f_square()?.f_mul_scalar(-0.5 / self.sigma.powi(2))?;
                Ok(exponent.f_softmax(0, None::<Kind>)?)
            }
        }
    }

    /// The means of maps (N, C, H, W) like `like` around each pixel.
    pub(crate) fn windows(&self, like: &Tensor) -> Result<Window> {
        Ok(Window { weights: self.weights(like)?, padding: self.padding })
    }

    /// Luminance and contrast terms at each pixel, of images with pixels.
    fn terms(&self, input: &Tensor, target: &Tensor) -> Result<Terms> {
        // Means of x, y, x² + y² and (x-y)² say all: a difference from 1 is computed as such, so
        // that like images lose nothing to rounding, and an image is 1 to itself.
        let difference = input.f_sub(target)?.f_square()?;
        let squares = input.f_square()?.f_add(&target.f_square()?)?;
        let maps = [input, target, &squares, &difference];
        let [x, y, mean_squares, mean_difference] = self.windows(input)?.means(maps)?;
        drop((squares, difference));
        let c1 = (self.k1 * self.data_range).powi(2);
        let c2 = (self.k2 * self.data_range).powi(2);
        let of_means = x.f_sub(&y)?.f_square()?;
        let means = x.f_square()?.f_add(&y.f_square()?)?;
        let mut of_variance = mean_difference.f_sub(&of_means)?;
        let mut variance = mean_squares.f_sub(&means)?;
        // Rounding may not take it below 0.
        let below = variance.f_detach()?.f_clamp_max(0.0)?;
        let _ = variance.f_sub_(&below)?;
        drop(below);
        if self.sample_covariance {
            let pixels = self.kernel_size.pow(2) as f64;
            for moment in [&mut of_variance, &mut variance] {
                let _ = moment.f_mul_scalar_(pixels / (pixels - 1.0))?;
            }
        }
        let (means, variance) = (means.f_add_scalar(c1)?, variance.f_add_scalar_(c2)?);
        let from_one = |mut share: Tensor| share.f_neg_()?.f_add_scalar_(1.0);
        Ok(Terms {
            luminance: from_one(of_means.f_div(&means)?)?,
            contrast: from_one(of_variance.f_div(&variance)?)?,
        })
    }
}

struct Terms {
    /// `(2 μx μy + c1) / (μx² + μy² + c1)`
    luminance: Tensor,
    /// `(2 σxy + c2) / (σx² + σy² + c2)`
    contrast: Tensor,
}

/// Two images of one shape in the kind that is computed in.
fn images(
    loss: &'static str,
    input: &Tensor,
    target: &Tensor,
    smallest: i64,
) -> Result<(Tensor, Tensor)> {
    let size = input.size();
    let ok = size.len() == 4 && size[2] >= smallest && size[3] >= smallest;
    let expected = format!("[N, C, H, W] with sides of at least {smallest}");
    check::shape_is(loss, "input", input, ok, &expected)?;
    check::same_shape(loss, input, target)?;
    let kind = if input.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
    Ok((check::in_kind(loss, "input", input, kind)?, check::in_kind(loss, "target", target, kind)?))
}

fn map(
    loss: &'static str,
    input: &Tensor,
    target: &Tensor,
    options: &SsimOptions,
) -> Result<Tensor> {
    options.check(loss)?;
    let shrinking = if input.dim() == 4 { options.shrinking(&input.size()) } else { 1 };
    let (mut input, mut target) = images(loss, input, target, shrinking * options.smallest())?;
    if input.numel() == 0 {
        // No images, and a map of none.
        let border =
            if options.padding == SsimPadding::Valid { options.kernel_size - 1 } else { 0 };
        let (_, _, height, width) = input.size4()?;
        let side = |side: i64| side / shrinking - border;
        return Ok(input.f_narrow(2, 0, side(height))?.f_narrow(3, 0, side(width))?);
    }
    if shrinking > 1 {
        (input, target) = (shrunk(&input, shrinking)?, shrunk(&target, shrinking)?);
    }
    let Terms { luminance, contrast } = options.terms(&input, &target)?;
    Ok(luminance.f_mul(&contrast)?)
}

fn shrunk(image: &Tensor, by: i64) -> Result<Tensor> {
    let none: [i64; 0] = [];
    Ok(image.f_avg_pool2d([by, by], none, [0, 0], false, true, None)?)
}

fn over_pixels(map: &Tensor) -> Result<Tensor> {
    Ok(map.f_mean_dim([2i64, 3].as_slice(), false, None::<Kind>)?)
}

/// Structural similarity of two images, channel by channel: 1 for the same, 0 for unrelated ones.
///
/// ```text
/// SSIM = mean of (2 μx μy + c1) (2 σxy + c2) / ((μx² + μy² + c1) (σx² + σy² + c2))
/// ```
///
/// Means μ, variances σ² and the covariance are those of a window around each pixel. Differentiable;
/// [`SsimLoss`] is `1 - SSIM`.
///
/// # Shapes
///
/// - input, target: images (N, C, H, W), floating-point or integer
/// - result: (N, C); its mean is the number that is usually given. `Half`, `BFloat16` and integers
///   are computed and returned in `Float`
///
/// # Errors
///
/// Shape, kind or device of an image; images smaller than a window, or for `Reflect` not larger
/// than half a window; a `data_range`, `sigma`, `k1` or `k2` not above 0; an even `kernel_size`.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::metrics::{SsimOptions, ssim};
///
/// // Flat images have no variance, which leaves (2ab + c1) / (a² + b² + c1).
/// let [a, b] = [0.25, 0.75].map(|v| Tensor::full([1, 1, 16, 16], v, (Kind::Double, Device::Cpu)));
/// let value = ssim(&a, &b, SsimOptions::new(1.0)).double_value(&[0, 0]);
/// assert!((value - (2.0 * 0.25 * 0.75 + 1e-4) / (0.0625 + 0.5625 + 1e-4)).abs() < 1e-9);
/// assert_eq!(ssim(&a, &a, SsimOptions::new(1.0)).double_value(&[0, 0]), 1.0);
/// ```
///
/// # Differences
///
/// Libraries differ at the border. The default gives the numbers of piq with `downsample=False`, of
/// scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`, and of kornia
/// with `padding="valid"`, `window_size=11` and `eps=0`; `SsimOptions::torchmetrics` those of
/// torchmetrics and of kornia's `padding="same"`; `SsimOptions::skimage` scikit-image's defaults.
/// torchmetrics takes the range of the batch where none is given, and the window from `sigma`,
/// whatever `kernel_size` says. piq averages pixels first unless told not to (`downsample`).
///
/// # Reference
///
/// Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity".
/// Follows piq 0.8 `ssim`. See also [`ssim_map`] and [`ms_ssim`].
pub fn f_ssim(input: &Tensor, target: &Tensor, options: SsimOptions) -> Result<Tensor> {
    over_pixels(&map("ssim", input, target, &options)?)
}

/// [`f_ssim`], or a panic with its error.
#[track_caller]
pub fn ssim(input: &Tensor, target: &Tensor, options: SsimOptions) -> Tensor {
    unwrap(f_ssim(input, target, options))
}

/// Structural similarity around each pixel; [`ssim`] is its mean over them.
///
/// # Shapes
///
/// - input, target: as [`ssim`]
/// - result: (N, C, H, W), with `Valid` padding the whole windows alone
///
/// # Errors
///
/// As [`ssim`].
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::metrics::{SsimOptions, SsimPadding, ssim_map};
///
/// let image = Tensor::rand([1, 3, 20, 24], (Kind::Float, Device::Cpu));
/// let options = SsimOptions::new(1.0);
/// assert_eq!(ssim_map(&image, &image, options).size(), [1, 3, 10, 14]);
/// let options = options.padding(SsimPadding::Reflect);
/// assert_eq!(ssim_map(&image, &image, options).size(), [1, 3, 20, 24]);
/// ```
pub fn f_ssim_map(input: &Tensor, target: &Tensor, options: SsimOptions) -> Result<Tensor> {
    map("ssim_map", input, target, &options)
}

/// [`f_ssim_map`], or a panic with its error.
#[track_caller]
pub fn ssim_map(input: &Tensor, target: &Tensor, options: SsimOptions) -> Tensor {
    unwrap(f_ssim_map(input, target, options))
}

/// The weights that Wang et al. 2003 found for five scales, the finest first.
pub const MS_SSIM_WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// Structural similarity at several scales, channel by channel.
///
/// ```text
/// MS-SSIM = SSIM_M^w_M Π_(i<M) CS_i^w_i,   CS = mean of (2 σxy + c2) / (σx² + σy² + c2)
/// ```
///
/// Each scale halves the one before; of the coarsest the whole SSIM counts. A scale whose mean is
/// not above 0 makes the result 0, without a gradient.
///
/// # Shapes
///
/// - input, target: images (N, C, H, W), floating-point or integer
/// - result: (N, C). `Half`, `BFloat16` and integers are computed and returned in `Float`
///
/// # Errors
///
/// As [`ssim`]; no weights, more than 16, or one below 0; sides below
/// `(kernel_size - 1) 2^(M-1) + 1` for M scales: 161 for 5 of them and a window of 11, half of that
/// with `Reflect` padding.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::metrics::{MS_SSIM_WEIGHTS, SsimOptions, f_ms_ssim, ms_ssim, ssim};
///
/// let a = Tensor::arange(176 * 176, (Kind::Double, Device::Cpu)).sin().view([1, 1, 176, 176]);
/// let options = SsimOptions::new(2.0);
/// assert_eq!(ms_ssim(&a, &a, options, &MS_SSIM_WEIGHTS).double_value(&[0, 0]), 1.0);
/// // One scale is SSIM.
/// let b = &a * 0.5;
/// let one = ms_ssim(&a, &b, options, &[1.0]).double_value(&[0, 0]);
/// assert!((one - ssim(&a, &b, options).double_value(&[0, 0])).abs() < 1e-12);
/// let error = f_ms_ssim(&a.narrow(2, 0, 160), &b, options, &MS_SSIM_WEIGHTS).unwrap_err();
/// assert!(error.to_string().contains("sides of at least 161"));
/// ```
///
/// # Differences
///
/// piq repeats a row and a column before halving where either side is odd; here each side for
/// itself, which is the same where both are odd or both even. torchmetrics drops the last of an odd
/// side, takes means over the channels before the powers, and wants sides above 160 whatever
/// the scales. Powers of a negative mean are NaN in torchmetrics with `normalize=None`, and piq's
/// gradient is NaN there.
///
/// # Reference
///
/// Wang et al. 2003, "Multiscale structural similarity for image quality assessment". Follows piq
/// 0.8 `multi_scale_ssim`. See also [`MsSsimLoss`].
pub fn f_ms_ssim(
    input: &Tensor,
    target: &Tensor,
    options: SsimOptions,
    weights: &[f64],
) -> Result<Tensor> {
    of_scales("ms_ssim", input, target, &options, weights)
}

/// [`f_ms_ssim`], or a panic with its error.
#[track_caller]
pub fn ms_ssim(input: &Tensor, target: &Tensor, options: SsimOptions, weights: &[f64]) -> Tensor {
    unwrap(f_ms_ssim(input, target, options, weights))
}

fn of_scales(
    loss: &'static str,
    input: &Tensor,
    target: &Tensor,
    options: &SsimOptions,
    weights: &[f64],
) -> Result<Tensor> {
    options.check(loss)?;
    check::param(loss, "weights", weights.len() as f64, !weights.is_empty(), "at least one")?;
    check::param(loss, "weights", weights.len() as f64, weights.len() <= 16, "at most 16 scales")?;
    for &weight in weights {
        check::at_least_zero(loss, "weights", weight)?;
    }
    let coarsest = weights.len() - 1;
    let smallest = (options.smallest() - 1) * (1 << coarsest) + 1;
    let (mut input, mut target) = images(loss, input, target, smallest)?;
    if input.numel() == 0 {
        return over_pixels(&input);
    }
    // Powers by logarithms, of what is above 0 alone: their slope at 0 would be infinite.
    let (mut sum, mut above) = (None::<Tensor>, None::<Tensor>);
    for (scale, &weight) in weights.iter().enumerate() {
        if scale > 0 {
            (input, target) = (halved(&input)?, halved(&target)?);
        }
        let Terms { luminance, contrast } = options.terms(&input, &target)?;
        let mean = over_pixels(&match scale == coarsest {
            true => luminance.f_mul(&contrast)?,
            false => contrast,
        })?;
        let nothing = mean.f_le(f64::from(f32::MIN_POSITIVE))?;
        let term = mean.f_masked_fill(&nothing, 1.0)?.f_log()?.f_mul_scalar(weight)?;
        let kept = nothing.f_logical_not()?;
        sum = Some(sum.map_or(Ok(term.shallow_clone()), |sum| sum.f_add(&term))?);
        above = Some(above.map_or(Ok(kept.shallow_clone()), |above| above.f_logical_and(&kept))?);
    }
    match (sum, above) {
        (Some(sum), Some(above)) => Ok(sum.f_exp()?.f_mul(&above)?),
        _ => over_pixels(&input), // not without weights, which were checked
    }
}

/// Half as high and wide; of an odd side the first row or column counts twice.
fn halved(image: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = image.size4()?;
    match (height % 2, width % 2) {
        (0, 0) => shrunk(image, 2),
        (top, left) => shrunk(&image.f_replication_pad2d([left, 0, top, 0])?, 2),
    }
}

/// `1 - SSIM` of two images, pixel by pixel.
///
/// ```text
/// l = 1 - (2 μx μy + c1) (2 σxy + c2) / ((μx² + μy² + c1) (σx² + σy² + c2))
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `options` | Wang et al. 2004 for pixels in [0, 1] | [`SsimOptions`] |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input, target: images (N, C, H, W), floating-point or integer
/// - element weight: broadcastable to the images; with `Valid` padding the border, where no window
///   has its centre, does not enter, and with `downsample` weights are averaged as pixels are
/// - loss: a scalar; without reduction that of [`ssim_map`]. `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of windows, or by the sum of their weights. Where nothing counts it
/// is 0.
///
/// # Errors
///
/// As [`ssim`]; shape, kind or device of a weight.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{Loss, SsimLoss, metrics::{SsimOptions, ssim}};
///
/// let image = |seed: f64| {
///     (Tensor::arange(400, (Kind::Double, Device::Cpu)) * seed).sin().view([1, 1, 20, 20])
/// };
/// let options = SsimOptions::new(2.0);
/// let loss = SsimLoss::new(options).forward(&image(1.0), &image(2.0)).double_value(&[]);
/// let value = ssim(&image(1.0), &image(2.0), options).double_value(&[0, 0]);
/// assert!((loss - (1.0 - value)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// kornia's `ssim_loss` is half of it, clamped to [0, 1]. piq has one value an image without
/// reduction, and averages pixels first unless told not to.
///
/// # Reference
///
/// Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity".
/// Follows piq 0.8 `SSIMLoss`. See also [`MsSsimLoss`] and [`ssim`].
#[derive(Debug, Clone)]
pub struct SsimLoss {
    options: SsimOptions,
    reduction: Reduction,
}

impl Default for SsimLoss {
    fn default() -> Self {
        SsimLoss::new(SsimOptions::new(1.0))
    }
}

impl SsimLoss {
    /// `1 - SSIM` with those options.
    pub fn new(options: SsimOptions) -> Self {
        SsimLoss { options, reduction: Reduction::Mean }
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "SsimLoss";
        check::reduction(NAME, self.reduction)?;
        let loss = map(NAME, input, target, &self.options)?.f_rsub_scalar(1.0)?;
        let weight = match weight {
            Some(weight) => Some(self.options.of_windows(NAME, weight, input, &loss)?),
            None => None,
        };
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(SsimLoss);

named_loss! {
    SsimLoss: "ssim", Images => Dense, "piq `SSIMLoss`", [..options, reduction],
    aliases ["structural_similarity"],
    presets {
        "ssim_torchmetrics" => Self::new(SsimOptions::torchmetrics(1.0)),
            "torchmetrics `structural_similarity_index_measure`";
    },
}

/// `1 - MS-SSIM` of two images, channel by channel.
///
/// ```text
/// l = 1 - SSIM_M^w_M Π_(i<M) CS_i^w_i
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `options` | Wang et al. 2004 for pixels in [0, 1] | [`SsimOptions`] |
/// | `weights` | [`MS_SSIM_WEIGHTS`] | of the scales, the finest first |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input, target: images (N, C, H, W), floating-point or integer, with sides as [`ms_ssim`] wants
/// - element weight: broadcastable to (N, C)
/// - loss: a scalar, or (N, C) without reduction. `Half` and `BFloat16` are computed and returned
///   in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of images times channels, or by the sum of their weights. Where
/// nothing counts it is 0.
///
/// # Errors
///
/// As [`ms_ssim`]; shape, kind or device of a weight.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{Loss, MsSsimLoss};
///
/// // Two scales are enough for small images: sides of 21 pixels and more.
/// let image = Tensor::rand([1, 3, 32, 24], (Kind::Float, Device::Cpu));
/// let loss = MsSsimLoss::default().weights([0.4, 0.6]);
/// assert_eq!(loss.forward(&image, &image).double_value(&[]), 0.0);
/// ```
///
/// # Differences
///
/// Those of [`ms_ssim`]. kornia's `MS_SSIMLoss` is another loss: windows of several sizes at one
/// scale, and an L1 term.
///
/// # Reference
///
/// Wang et al. 2003, "Multiscale structural similarity for image quality assessment". Follows piq
/// 0.8 `MultiScaleSSIMLoss`. See also [`SsimLoss`].
#[derive(Debug, Clone)]
pub struct MsSsimLoss {
    options: SsimOptions,
    weights: Vec<f64>,
    reduction: Reduction,
}

impl Default for MsSsimLoss {
    fn default() -> Self {
        MsSsimLoss::new(SsimOptions::new(1.0))
    }
}

impl MsSsimLoss {
    /// `1 - MS-SSIM` with those options.
    pub fn new(options: SsimOptions) -> Self {
        MsSsimLoss { options, weights: MS_SSIM_WEIGHTS.to_vec(), reduction: Reduction::Mean }
    }

    /// Of the scales, the finest first, each at least 0; [`MS_SSIM_WEIGHTS`] by default.
    pub fn weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.weights = weights.into();
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "MsSsimLoss";
        check::reduction(NAME, self.reduction)?;
        let value = of_scales(NAME, input, target, &self.options, &self.weights)?;
        let loss = value.f_rsub_scalar(1.0)?;
        let weight = weights(NAME, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(MsSsimLoss);

named_loss! {
    MsSsimLoss: "ms_ssim", Images => Dense, "piq `MultiScaleSSIMLoss`",
    [..options, weights, reduction], aliases ["multi_scale_ssim"],
}

option_enum!(SsimWindow { SsimWindow::Gaussian => "gaussian", SsimWindow::Uniform => "uniform" });
option_enum!(SsimPadding {
    SsimPadding::Valid => "valid",
    SsimPadding::Reflect => "reflect",
    SsimPadding::Zeros => "zeros",
});
