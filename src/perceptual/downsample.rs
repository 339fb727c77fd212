//! Ways to halve feature maps, and what a shift of the image does to them.

use super::extractor::{images, kernel};
use crate::{Result, check, error::unwrap};
use tch::{Kind, Tensor};

/// How [`f_downsample`] halves maps.
#[derive(Debug)]
pub enum Downsample {
    /// The mean of 2 x 2 pixels.
    Average,
    /// The greatest of 2 x 2 pixels.
    Max,
    /// A convolution at every other pixel with this kernel (outputs, inputs, side, side), which is
    /// learned (Springenberg et al. 2015); (side - 1) / 2 zeros around the maps, rounded down.
    Strided(Tensor),
    /// The binomial mean of 3 x 3 pixels at every other pixel, zeros around the maps.
    Blur,
    /// The greatest of 2 x 2 pixels around each, then `Blur` (Zhang 2019).
    MaxBlur,
}

/// Maps of half the height and width.
///
/// Differentiable. In this room because it is a choice of the networks that look at images; [`Vgg`]
/// leaves it between two of them ([`Pooling`]).
///
/// [`Vgg`]: super::Vgg
/// [`Pooling`]: super::Pooling
///
/// # Shapes
///
/// Maps (N, C, H, W), floating-point; the result (N, C or outputs, H/2, W/2), rounded down for
/// `Average`, `Max`, a `Strided` kernel of even side and `MaxBlur`, and up for `Blur` and a kernel of
/// odd side. `Half` and `BFloat16` are computed and returned in `Float`.
///
/// # Errors
///
/// Shape, kind or device of the maps or the kernel; maps or a kernel without pixels; sides too
/// short to be halved.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::perceptual::{Downsample, downsample};
///
/// let map = Tensor::from_slice(&[1.0f64, 2.0, 3.0, 6.0]).view([1, 1, 2, 2]);
/// assert_eq!(downsample(&map, &Downsample::Average).double_value(&[0, 0, 0, 0]), 3.0);
/// assert_eq!(downsample(&map, &Downsample::Max).double_value(&[0, 0, 0, 0]), 6.0);
/// ```
///
/// # Reference
///
/// Springenberg et al. 2015, "Striving for Simplicity: The All Convolutional Net"; Zhang 2019,
/// "Making Convolutional Networks Shift-Invariant Again". Follows torch 2.13 and kornia 0.9
/// `blur_pool2d`, `max_blur_pool2d`.
pub fn f_downsample(maps: &Tensor, how: &Downsample) -> Result<Tensor> {
    const NAME: &str = "downsample";
    const TWO: [i64; 2] = [2, 2];
    let maps = images(NAME, "maps", maps, None)?;
    let size = maps.size();
    let least = if matches!(how, Downsample::Blur) { 1 } else { 2 };
    let ok = size[1] > 0 && size[2] >= least && size[3] >= least;
    check::shape_is(NAME, "maps", &maps, ok, "[N, C, H, W] with sides that can be halved")?;
    Ok(match how {
        Downsample::Average => maps.f_avg_pool2d(TWO, TWO, [0, 0], false, true, None)?,
        Downsample::Max => maps.f_max_pool2d(TWO, TWO, [0, 0], [1, 1], false)?,
        Downsample::Strided(weight) => {
            let shape = weight.size();
            let ok = matches!(shape.as_slice(), &[outputs, inputs, h, w]
                if outputs > 0 && inputs == size[1] && h == w && h > 0);
            let expected = format!("[outputs, {}, side, side]", size[1]);
            check::shape_is(NAME, "kernel", weight, ok, &expected)?;
            check::device(NAME, "kernel", weight, &maps)?;
            let (weight, padding) =
                (check::in_kind(NAME, "kernel", weight, maps.f_kind()?)?, (shape[2] - 1) / 2);
            maps.f_conv2d(&weight, None::<Tensor>, TWO, [padding; 2], [1, 1], 1)?
        }
        Downsample::Blur => blur(&maps)?,
        Downsample::MaxBlur => blur(&maps.f_max_pool2d(TWO, [1, 1], [0, 0], [1, 1], false)?)?,
    })
}

/// [`f_downsample`], or a panic with its error.
#[track_caller]
pub fn downsample(maps: &Tensor, how: &Downsample) -> Tensor {
    unwrap(f_downsample(maps, how))
}

fn blur(maps: &Tensor) -> Result<Tensor> {
    const LINE: [f64; 3] = [0.25, 0.5, 0.25];
    let square: Vec<f64> = LINE.iter().flat_map(|a| LINE.map(|b| a * b)).collect();
    let channels = maps.size()[1];
    let weight = kernel(&square, &[1, 1, 3, 3], maps)?.f_expand([channels, 1, 3, 3], false)?;
    Ok(maps.f_conv2d(&weight, None::<Tensor>, [2, 2], [1, 1], [1, 1], channels)?)
}

/// How much what `function` gives changes when its images are shifted.
///
/// ```text
/// change = ‖f(S x) - f(x)‖₂ / ‖f(x)‖₂   for each image and each shift S
/// ```
///
/// S goes around: what leaves the image on one side comes in on the other. 0 is invariance to that
/// shift, and what is 0 before and after has not changed.
///
/// # Shapes
///
/// - `images` (N, ..., H, W), of any kind that `function` takes
/// - `shifts`: pixels down and to the right
/// - `function` gives (N, ..) of the same shape each time
/// - result: (shifts, N) in Double on the CPU
///
/// # Errors
///
/// Shape of the images or of what `function` gives; the errors of `function`.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::perceptual::{Downsample, f_downsample, shift_change};
///
/// let image = Tensor::rand([1, 1, 32, 32], (Kind::Double, Device::Cpu));
/// let change = |how: Downsample| {
///     let maps = |x: &Tensor| f_downsample(x, &how);
///     shift_change(&image, &[(0, 1)], maps).double_value(&[0, 0])
/// };
/// assert!(change(Downsample::Blur) < change(Downsample::Max));
/// // The mean over all pixels knows no shift.
/// let mean = |x: &Tensor| Ok(x.f_mean_dim([2i64, 3].as_slice(), false, None::<Kind>)?);
/// assert!(shift_change(&image, &[(3, 5)], mean).double_value(&[0, 0]) < 1e-12);
/// ```
///
/// # Reference
///
/// The distance of features of Zhang 2019, "Making Convolutional Networks Shift-Invariant Again",
/// relative to their size.
pub fn f_shift_change(
    images: &Tensor,
    shifts: &[(i64, i64)],
    function: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    const NAME: &str = "shift_change";
    check::shape_is(NAME, "images", images, images.dim() >= 3, "[N, .., H, W]")?;
    let count = images.size()[0];
    tch::no_grad(|| {
        let rows = |images: &Tensor| -> Result<Tensor> {
            let given = function(images)?;
            let ok = given.size().first() == Some(&count);
            let expected = format!("[{count}, ..]");
            check::shape_is(NAME, "what the function gives", &given, ok, &expected)?;
            Ok(given.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Double)?)
        };
        let norm = |t: &Tensor| -> Result<Tensor> {
            let rest: i64 = t.size()[1..].iter().product();
            let squares = t.f_reshape([count, rest])?.f_square()?;
            Ok(squares.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?.f_sqrt()?)
        };
        let still = rows(images)?;
        let size = norm(&still)?;
        let change = |&(down, right): &(i64, i64)| -> Result<Tensor> {
            let moved = rows(&images.f_roll([down, right], [-2, -1])?)?;
            check::shape(NAME, "what the function gives", &moved, &still.size())?;
            let gap = norm(&moved.f_sub(&still)?)?;
            Ok(gap.f_div(&size)?.f_masked_fill(&gap.f_eq(0.0)?, 0.0)?)
        };
        match shifts {
            [] => Ok(Tensor::f_zeros([0, count], (Kind::Double, tch::Device::Cpu))?),
            _ => Ok(Tensor::f_stack(&shifts.iter().map(change).collect::<Result<Vec<_>>>()?, 0)?),
        }
    })
}

/// [`f_shift_change`], or a panic with its error.
#[track_caller]
pub fn shift_change(
    images: &Tensor,
    shifts: &[(i64, i64)],
    function: impl Fn(&Tensor) -> Result<Tensor>,
) -> Tensor {
    unwrap(f_shift_change(images, shifts, function))
}
