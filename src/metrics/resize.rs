//! Images in another size.

use crate::{LossError, Result, check, error::unwrap};
use tch::{Kind, Tensor};

const NAME: &str = "resize";

/// How [`f_resize`] computes a pixel of the new image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resize {
    /// From the two nearest pixels along each axis, whatever the reduction: PyTorch's
    /// `interpolate(mode="bilinear", align_corners=False)`, which pytorch-fid uses. Aliases where it
    /// shrinks.
    #[default]
    Bilinear,
    /// A triangle as wide as the reduction: Pillow's `BILINEAR` on float channels.
    BilinearAntialiased,
    /// A cubic (a = -1/2) as wide as the reduction: Pillow's `BICUBIC` on float channels, which
    /// clean-fid uses. Goes beyond the range of the values near edges.
    BicubicAntialiased,
    /// As `Bilinear`, with places counted from the corner pixel's centre: TensorFlow 1, which the
    /// first FID used and torch-fidelity keeps.
    BilinearTensorflow1,
}

/// Images in another size.
///
/// ```text
/// output[i] = Σ_j k((c_i - c_j) / w) input[j] / Σ_j k((c_i - c_j) / w)   along each axis
/// c_i = (i + ½) old / new,   c_j = j + ½,   w = max(old / new, 1); without antialiasing w = 1
/// ```
///
/// Differentiable; nothing is rounded or limited to a range.
///
/// # Shapes
///
/// - `images` (N, C, H, W), of any real kind
/// - `size`: the new height and width
/// - result (N, C, height, width), in Float, or Double for Double
///
/// # Errors
///
/// Shape or kind; a side of 0, before or after.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::metrics::{Resize, resize};
///
/// let stripes = Tensor::from_slice(&[0u8, 100, 0, 100, 0, 100, 0, 100]).view([1, 1, 1, 8]);
/// let row = |how| Vec::<f32>::try_from(resize(&stripes, (1, 2), how).view(-1)).unwrap();
/// // Antialiasing leaves grey, and the nearest two pixels whatever they are.
/// assert!(row(Resize::BilinearAntialiased).iter().all(|v| (v - 50.0).abs() < 4.0));
/// assert_eq!(row(Resize::Bilinear), [50.0, 50.0]);
/// assert_eq!(row(Resize::BilinearTensorflow1), [0.0, 0.0]);
/// ```
///
/// # Differences
///
/// Pillow computes in float32 between its two passes; on bytes it rounds too, which changes FID.
///
/// # Reference
///
/// Parmar et al. 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation". Follows
/// Pillow 13, clean-fid 0.1.35, torch 2.13 and torch-fidelity 0.4.
pub fn f_resize(images: &Tensor, (height, width): (i64, i64), how: Resize) -> Result<Tensor> {
    let size = images.size();
    let ok = matches!(size.as_slice(), &[_, _, h, w] if h > 0 && w > 0);
    check::shape_is(NAME, "images", images, ok, "[N, C, H, W] with pixels")?;
    if height < 1 || width < 1 {
        return Err(LossError::Param {
            loss: NAME,
            option: "size",
            expected: "at least one pixel",
            got: format!("{height} x {width}"),
        });
    }
    let kind = if images.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
    let images = check::in_kind(NAME, "images", images, kind)?;
    if images.numel() == 0 {
        return Ok(images.f_reshape([size[0], size[1], height, width])?);
    }
    let new = [height, width];
    Ok(match how {
        Resize::Bilinear => images.f_upsample_bilinear2d(new, false, None, None)?,
        Resize::BilinearAntialiased => {
            images.f_internal_upsample_bilinear2d_aa(new, false, None, None)?
        }
        Resize::BicubicAntialiased => {
            images.f_internal_upsample_bicubic2d_aa(new, false, None, None)?
        }
        Resize::BilinearTensorflow1 => from_corner(&from_corner(&images, 3, width)?, 2, height)?,
    })
}

/// [`f_resize`], or a panic with its error.
#[track_caller]
pub fn resize(images: &Tensor, size: (i64, i64), how: Resize) -> Tensor {
    unwrap(f_resize(images, size, how))
}

/// `length` samples along `dim`, from the first pixel in steps of old / new.
fn from_corner(images: &Tensor, dim: i64, length: i64) -> Result<Tensor> {
    let old = images.size()[dim as usize];
    // TensorFlow's step is a float32, which decides where a place is next to a pixel.
    let step = f64::from((old as f64 / length as f64) as f32);
    let place = Tensor::f_arange(length, (Kind::Double, images.device()))?.f_mul_scalar(step)?;
    let low = place.f_floor()?.f_clamp_max(old - 1)?;
    let part = place.f_sub(&low)?.f_to_kind(images.f_kind()?)?;
    let low = low.f_to_kind(Kind::Int64)?;
    let high = low.f_add_scalar(1)?.f_clamp_max(old - 1)?;
    let mut shape = [1i64; 4];
    shape[dim as usize] = length;
    let (low, high) = (images.f_index_select(dim, &low)?, images.f_index_select(dim, &high)?);
    Ok(low.f_add(&high.f_sub(&low)?.f_mul(&part.f_view(shape)?)?)?)
}
