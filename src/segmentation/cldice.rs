//! Soft skeletons and clDice.

use super::{
    region::{
        Aggregate, Average, Averaging, EmptyClass, Region, Smoothing, WeightNorm, one_minus_or_log,
        setters,
    },
    statistics::{IgnoreIndex, Nonlinearity},
};
use crate::{
    Reduction, Result, check,
    error::unwrap,
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// A skeleton of grey images, made of minima and maxima, so that it can be differentiated.
///
/// ```text
/// I_0 = image,  I_k+1 = erode(I_k),  δ_k = relu(I_k - dilate(erode(I_k)))
/// S_0 = δ_0,    S_k+1 = S_k + (1 - S_k) δ_k+1                 after so many iterations
/// ```
///
/// Erosion is the minimum over a pixel and its neighbours along the axes, dilation the maximum over
/// the 3 x 3 (x 3) pixels around it. A structure of radius r needs r iterations; more change
/// nothing but the time.
///
/// # Shapes
///
/// - image: (N, C, H, W) or (N, C, D, H, W), floating-point, values in [0, 1]
/// - skeleton: the image's shape; `Float` for `Half` and `BFloat16`
///
/// # Errors
///
/// Shape or kind of the image; `iterations` below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::segmentation::soft_skeletonize;
///
/// // Of a bar of 3 x 6 pixels the middle row is left, less the ends.
/// let bar = Tensor::ones([1, 1, 3, 6], (tch::Kind::Float, tch::Device::Cpu));
/// let bar = bar.constant_pad_nd([1, 1, 1, 1]);
/// let skeleton = soft_skeletonize(&bar, 2);
/// assert_eq!(skeleton.sum(tch::Kind::Float).double_value(&[]), 4.0);
/// assert_eq!(skeleton.double_value(&[0, 0, 2, 3]), 1.0);
/// ```
///
/// # Reference
///
/// Shit et al. 2021, "clDice: A Novel Topology-Preserving Loss Function for Tubular Structure
/// Segmentation". Follows MONAI 1.6 `soft_skel`. See also [`ClDiceLoss`].
pub fn f_soft_skeletonize(image: &Tensor, iterations: i64) -> Result<Tensor> {
    const NAME: &str = "soft_skeletonize";
    let ok = matches!(image.dim(), 4 | 5);
    check::shape_is(NAME, "image", image, ok, "[N, C, H, W] or [N, C, D, H, W]")?;
    check::param(NAME, "iterations", iterations as f64, iterations >= 0, "at least 0")?;
    let image = check::accumulated(NAME, "image", image)?;
    skeleton(&image, iterations)
}

/// [`f_soft_skeletonize`], or a panic with its error.
#[track_caller]
pub fn soft_skeletonize(image: &Tensor, iterations: i64) -> Tensor {
    unwrap(f_soft_skeletonize(image, iterations))
}

/// Of an image (N, C, H, W) or (N, C, D, H, W).
fn skeleton(image: &Tensor, iterations: i64) -> Result<Tensor> {
    let size = image.size();
    if image.numel() == 0 {
        return Ok(image.shallow_clone());
    }
    let axes = size.len() - 2;
    let one = Tensor::f_ones([1], (image.f_kind()?, image.device()))?;
    // Of the negative an erosion is a dilation.
    let mut negative = image.f_reshape([&[-1, 1], &size[2..]].concat().as_slice())?.f_neg()?;
    let mut skeleton: Option<Tensor> = None;
    for _ in 0..=iterations {
        let mut eroded: Option<Tensor> = None;
        for axis in 0..axes {
            let mut window = vec![1; axes];
            window[axis] = 3;
            let along = dilate(&negative, &window)?;
            eroded = Some(match eroded {
                Some(others) => others.f_maximum(&along)?,
                None => along,
            });
        }
        let Some(eroded) = eroded else { break };
        let opened = dilate(&eroded.f_neg()?, &vec![3; axes])?;
        let delta = opened.f_add(&negative)?.f_neg_()?.f_relu()?;
        skeleton = Some(match skeleton {
            Some(skeleton) => skeleton.f_lerp_tensor(&one, &delta)?,
            None => delta,
        });
        negative = eroded;
    }
    Ok(skeleton.unwrap_or(one).f_view(size.as_slice())?)
}

/// The maximum over a window of 3 or 1 pixels along each axis of (M, 1, ..).
fn dilate(image: &Tensor, window: &[i64]) -> Result<Tensor> {
    if image.requires_grad() {
        let stride = vec![1; window.len()];
        let padding: Vec<i64> = window.iter().map(|length| length / 2).collect();
        return Ok(match window.len() {
            2 => image.f_max_pool2d(window, &stride, &padding, &stride, false)?,
            _ => image.f_max_pool3d(window, &stride, &padding, &stride, false)?,
        });
    }
    // Several times as fast on the CPU where nobody asks which pixel it was.
    let mut image = image.shallow_clone();
    let axes = window.len() as i64;
    for axis in (0..axes).filter(|&axis| window[axis as usize] > 1) {
        let length = image.size()[axis as usize + 2];
        let mut padding = vec![0; 2 * (axes - axis) as usize];
        padding[2 * (axes - axis) as usize - 2..].fill(1);
        let padded = image.f_pad(&padding, "constant", f64::NEG_INFINITY)?;
        let beside = |start| padded.f_narrow(axis + 2, start, length);
        image = beside(0)?.f_maximum(&beside(1)?)?.f_maximum(&beside(2)?)?;
    }
    Ok(image)
}

/// clDice loss of a segmentation: whether the skeleton of each side is in the other.
///
/// ```text
/// l = 1 - 2 T_p T_s / (T_p + T_s + eps)                        for each image and class
/// T_p = (Σ m S(p) y + s_n) / (Σ m S(p) + s_d)                  topological precision
/// T_s = (Σ m S(y) p + s_n) / (Σ m S(y) + s_d)                  topological sensitivity
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel, S the
/// [soft skeleton](soft_skeletonize). Pixels that do not count are 0 in p and y before these have
/// a skeleton. Meant to be added to an overlap loss: alone it does not see how thick things are.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `iterations` | 3 | of the skeleton: at least the greatest radius in pixels |
/// | `smooth_nr`, `smooth_dr` | 1 | s_n and s_d; `smooth` sets both |
/// | `eps` | 1e-4 | added to T_p + T_s; the least denominator of both |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
///
/// `monai()` is `average(Average::Micro)`, MONAI's sums over all classes. For a binary map or one
/// channel add `apply_nonlin(Nonlinearity::Sigmoid)`.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
///
/// Images have two or three dimensions.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{ClDiceLoss, Loss, segmentation::Nonlinearity};
///
/// // A line of 5 pixels, and a prediction with a gap.
/// let row = |pixels: [f64; 5]| {
///     Tensor::from_slice(&pixels).view([1, 1, 1, 5]).constant_pad_nd([1, 1, 1, 1])
/// };
/// let (line, gap) = (row([1., 1., 1., 1., 1.]), row([1., 1., 0., 1., 1.]));
/// let cl_dice = ClDiceLoss::default().apply_nonlin(Nonlinearity::None).smooth(0.0).eps(1e-12);
/// // All of the predicted skeleton is right, 4 of 5 pixels of the true one are found.
/// let loss = cl_dice.forward(&gap, &line).double_value(&[]);
/// assert!((loss - (1.0 - 2.0 * 0.8 / 1.8)).abs() < 1e-6);
/// ```
///
/// # Differences
///
/// The authors' code leaves the first channel out, so that one channel gives a loss of 0 without
/// gradient; MONAI's takes `Half` sums of 512 x 512 pixels as infinite, which gives 1 without
/// gradient. Neither ignores pixels. A prediction and a target without anything cost next to
/// nothing with the default smoothing, and 1 without any. Outside of an image nothing is eroded:
/// what reaches across it from side to side has no skeleton, in all of these.
///
/// # Reference
///
/// Shit et al. 2021, "clDice: A Novel Topology-Preserving Loss Function for Tubular Structure
/// Segmentation". `monai()` follows MONAI 1.6 `SoftclDiceLoss`.
#[derive(Debug, Clone)]
#[doc(alias = "SoftclDiceLoss")]
pub struct ClDiceLoss {
    region: Region,
    averaging: Averaging,
    smoothing: Smoothing,
    iterations: i64,
}

impl Default for ClDiceLoss {
    fn default() -> Self {
        ClDiceLoss {
            region: Region::default(),
            averaging: Averaging::default(),
            smoothing: Smoothing::new(1.0, 1.0, 1e-4),
            iterations: 3,
        }
    }
}

impl ClDiceLoss {
    /// MONAI's `SoftclDiceLoss(softmax=True, to_onehot_y=True)`.
    pub fn monai() -> Self {
        ClDiceLoss::default().average(Average::Micro)
    }

    /// How often the skeleton is eroded, at least 0; 3 by default.
    pub fn iterations(mut self, iterations: i64) -> Self {
        self.iterations = iterations;
        self
    }

    setters!(smoothing);
    setters!(averaging);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "ClDiceLoss";
        self.smoothing.check(NAME)?;
        let ok = self.iterations >= 0;
        check::param(NAME, "iterations", self.iterations as f64, ok, "at least 0")?;
        let maps = self.region.maps(NAME, input, target, weight, 2..=3)?;
        let probabilities = maps.counted(&maps.probabilities)?;
        let sums = |tp: Tensor, actual: Tensor| {
            self.region.sums_of(NAME, input, &maps, [tp, actual], self.averaging)
        };
        // How much of the skeleton of one side is in the other.
        let share = |of: &Tensor, within: &Tensor| {
            let skeleton = skeleton(&of.f_view(maps.shape.as_slice())?, self.iterations)?;
            let skeleton = skeleton.f_view_as(of)?;
            let sums = sums(maps.sum(skeleton.f_mul(within)?)?, maps.sum(skeleton)?)?;
            self.smoothing.ratio(&sums.overlap.tp, &sums.overlap.actual)
        };
        let precision = share(&probabilities, &maps.target)?;
        let sensitivity = share(&maps.target, &probabilities)?;
        let both = precision.f_add(&sensitivity)?.f_add_scalar(self.smoothing.eps)?;
        let score = precision.f_mul(&sensitivity)?.f_mul_scalar(2.0)?.f_div(&both)?;
        let actual = maps.sum(maps.target.shallow_clone())?;
        sums(actual.shallow_clone(), actual)?.reduce(score, one_minus_or_log(false))
    }
}

weighted_loss!(ClDiceLoss);

named_loss! {
    ClDiceLoss: "cl_dice", Logits => IndexOrDense, "topolosses",
    [..region, ..averaging, ..smoothing, iterations],
    presets { "cl_dice_monai" => Self::monai(), "MONAI `SoftclDiceLoss`" },
}
