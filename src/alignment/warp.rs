//! Images under an affine map.

use super::similarity::inverse_affine;
use crate::{LossError, Result, check, error::unwrap};
use tch::{Kind, Tensor};

/// What [`f_warp_affine`] sees beyond the border of an image.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Border {
    /// This value everywhere.
    Constant(f64),
    /// The nearest pixel of the image (OpenCV `BORDER_REPLICATE`, scikit-image `edge`).
    #[default]
    Replicate,
    /// The image mirrored at the centre of its last pixel (`BORDER_REFLECT_101`, `reflect`).
    Reflect,
    /// The image mirrored at its edge (`BORDER_REFLECT`, `symmetric`).
    Symmetric,
}

/// Images moved by an affine map of their pixels, with bilinear interpolation.
///
/// ```text
/// output(A x + b) = image(x),   x = (column, row) at the centres of pixels
/// ```
///
/// Differentiable in the images and in the matrix.
///
/// # Shapes
///
/// - `images` (N, C, H, W), floating-point
/// - `matrix` `[A | b]`, (2, 3) or (N, 2, 3), in pixels, as
///   [`Similarity::f_matrix`](super::Similarity::f_matrix) makes it
/// - `size`: height and width of the output
/// - output (N, C, height, width); `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Errors
///
/// Shape, kind or device; a matrix without inverse; an output or image without pixels.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::alignment::{Border, warp_affine};
///
/// // Half a pixel to the right.
/// let image = Tensor::from_slice(&[1.0f64, 3.0, 5.0]).view([1, 1, 1, 3]);
/// let matrix = Tensor::from_slice(&[1.0f64, 0.0, 0.5, 0.0, 1.0, 0.0]).view([2, 3]);
/// let moved = warp_affine(&image, &matrix, (1, 3), Border::Constant(0.0));
/// assert_eq!(Vec::<f64>::try_from(moved.view(-1)).unwrap(), [0.5, 2.0, 4.0]);
/// ```
///
/// # Differences
///
/// OpenCV's `warpAffine` rounds places to a 32nd of a pixel.
///
/// # Reference
///
/// Follows scikit-image 0.26 `warp(image, matrix.inverse, order=1)`.
pub fn f_warp_affine(
    images: &Tensor,
    matrix: &Tensor,
    (height, width): (i64, i64),
    border: Border,
) -> Result<Tensor> {
    const NAME: &str = "warp_affine";
    let dims = images.size();
    let ok = dims.len() == 4 && dims[2] > 0 && dims[3] > 0;
    check::shape_is(NAME, "images", images, ok, "[N, C, H, W] with pixels")?;
    let size = matrix.size();
    let ok = size == [2, 3] || size == [dims[0], 2, 3];
    check::shape_is(NAME, "matrix", matrix, ok, &format!("[2, 3] or [{}, 2, 3]", dims[0]))?;
    check::device(NAME, "matrix", matrix, images)?;
    if height < 1 || width < 1 {
        return Err(LossError::Param {
            loss: NAME,
            option: "size",
            expected: "at least one pixel",
            got: format!("{height} x {width}"),
        });
    }
    let images = check::accumulated(NAME, "images", images)?;
    let kind = images.f_kind()?;
    // Places are computed in Double: over some thousand pixels Float would lose a hundredth of one.
    let back = inverse_affine(NAME, &check::in_kind(NAME, "matrix", matrix, Kind::Double)?)?;
    let back = back.f_reshape([-1, 2, 3])?.f_expand([dims[0], 2, 3], false)?;
    let line = |n: i64| Tensor::f_arange(n, (Kind::Double, images.device()));
    let (x, y) = (
        line(width)?.f_view([1, width])?.f_expand([height, width], false)?,
        line(height)?.f_view([height, 1])?.f_expand([height, width], false)?,
    );
    let pixels = Tensor::f_stack(&[&x, &y, &x.f_ones_like()?], -1)?.f_view([1, -1, 3])?;
    let places = pixels.f_matmul(&back.f_transpose(-2, -1)?)?;

    // libtorch's coordinates run from -1 to 1 between the centres of the outer pixels
    // (`align_corners`), or between the edges.
    let align_corners = border != Border::Symmetric;
    let extent = Tensor::f_from_slice(&[dims[3] as f64, dims[2] as f64])?;
    let extent = extent.f_to_device(images.device())?;
    let scaled = match align_corners {
        true => places.f_mul_scalar(2.0)?.f_div(&extent.f_sub_scalar(1.0)?.f_clamp_min(1.0)?)?,
        false => places.f_mul_scalar(2.0)?.f_add_scalar(1.0)?.f_div(&extent)?,
    };
    let grid = scaled.f_sub_scalar(1.0)?.f_view([dims[0], height, width, 2])?.f_to_kind(kind)?;
    let (padding, outside) = match border {
        Border::Constant(value) => (0, value),
        Border::Replicate => (1, 0.0),
        Border::Reflect | Border::Symmetric => (2, 0.0),
    };
    let sample = |images: &Tensor| images.f_grid_sampler_2d(&grid, 0, padding, align_corners);
    match outside == 0.0 {
        true => Ok(sample(&images)?),
        false => Ok(sample(&images.f_sub_scalar(outside)?)?.f_add_scalar(outside)?),
    }
}

/// [`f_warp_affine`], or a panic with its error.
#[track_caller]
pub fn warp_affine(images: &Tensor, matrix: &Tensor, size: (i64, i64), border: Border) -> Tensor {
    unwrap(f_warp_affine(images, matrix, size, border))
}
