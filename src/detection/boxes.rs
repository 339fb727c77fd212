//! Axis-aligned boxes: formats, areas, clipping.

use crate::{LossError, Result, check, error::unwrap};
use tch::Tensor;

/// How the last dimension of a tensor of boxes is laid out.
///
/// ```text
/// Xyxy    x1 y1 x2 y2    left, top, right, bottom
/// Xywh    x1 y1 w  h     left, top, width, height
/// Cxcywh  cx cy w  h     centre, width, height
/// ```
///
/// Coordinates are continuous: a box from 0 to 10 is 10 wide. The unit (pixels, cells, shares of
/// the image) is the caller's, the same for all boxes of a call. A box whose right is left of its
/// left, or whose bottom is above its top, is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    #[default]
    Xyxy,
    /// Left, top, width, height.
    Xywh,
    /// Centre, width, height.
    Cxcywh,
}

/// Checks for floating-point boxes (.., 4).
pub(super) fn check_boxes(name: &'static str, what: &'static str, boxes: &Tensor) -> Result<()> {
    check::shape_is(name, what, boxes, boxes.size().last() == Some(&4), "[.., 4]")?;
    match boxes.f_kind()? {
        kind if check::is_float(kind) => Ok(()),
        got => Err(LossError::Kind { loss: name, what, expected: "floating-point", got }),
    }
}

/// The two pairs that a box is made of, each (.., 2).
fn pairs(boxes: &Tensor) -> Result<(Tensor, Tensor)> {
    Ok((boxes.f_narrow(-1, 0, 2)?, boxes.f_narrow(-1, 2, 2)?))
}

/// Boxes in another format.
///
/// # Shapes
///
/// Boxes (.., 4), to boxes of the same shape and kind.
///
/// # Errors
///
/// A last dimension other than 4; integer boxes.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::detection::{BoxFormat, boxes};
///
/// let corners = Tensor::from_slice(&[10.0f64, 20.0, 40.0, 30.0]);
/// let centre = boxes::convert(&corners, BoxFormat::Xyxy, BoxFormat::Cxcywh);
/// assert_eq!(Vec::<f64>::try_from(centre).unwrap(), [25.0, 25.0, 30.0, 10.0]);
/// ```
///
/// # Reference
///
/// Follows torchvision 0.28 `box_convert`.
pub fn f_convert(boxes: &Tensor, from: BoxFormat, to: BoxFormat) -> Result<Tensor> {
    use BoxFormat::*;
    check_boxes("convert", "boxes", boxes)?;
    let (first, second) = pairs(boxes)?;
    let half = || second.f_mul_scalar(0.5);
    let (first, second) = match (from, to) {
        (Xyxy, Xyxy) | (Xywh, Xywh) | (Cxcywh, Cxcywh) => return Ok(boxes.shallow_clone()),
        (Xyxy, Xywh) => (first.shallow_clone(), second.f_sub(&first)?),
        // By lerp, as the sum of big coordinates would overflow in Half.
        (Xyxy, Cxcywh) => (first.f_lerp(&second, 0.5)?, second.f_sub(&first)?),
        (Xywh, Xyxy) => (first.shallow_clone(), first.f_add(&second)?),
        (Xywh, Cxcywh) => (first.f_add(&half()?)?, second),
        (Cxcywh, Xyxy) => (first.f_sub(&half()?)?, first.f_add(&half()?)?),
        (Cxcywh, Xywh) => (first.f_sub(&half()?)?, second),
    };
    Ok(Tensor::f_cat(&[first, second], -1)?)
}

/// [`f_convert`], or a panic with its error.
#[track_caller]
pub fn convert(boxes: &Tensor, from: BoxFormat, to: BoxFormat) -> Tensor {
    unwrap(f_convert(boxes, from, to))
}

/// The area of each box, in squares of the boxes' unit.
///
/// ```text
/// area = max(w, 0) max(h, 0)
/// ```
///
/// # Shapes
///
/// Boxes (.., 4), to areas (..). `Half` and `BFloat16` are computed and returned in `Float`: a box
/// of 256 pixels square is beyond `Half`.
///
/// # Errors
///
/// A last dimension other than 4; integer boxes.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::detection::{BoxFormat, boxes};
///
/// let corners = Tensor::from_slice(&[10.0f64, 20.0, 40.0, 30.0, 9.0, 9.0, 5.0, 5.0]).view([2, 4]);
/// let area = boxes::area(&corners, BoxFormat::Xyxy);
/// assert_eq!(Vec::<f64>::try_from(area).unwrap(), [300.0, 0.0]);
/// ```
///
/// # Differences
///
/// torchvision gives a box that is inverted both ways a positive area.
///
/// # Reference
///
/// Follows torchvision 0.28 `box_area`.
pub fn f_area(boxes: &Tensor, format: BoxFormat) -> Result<Tensor> {
    check_boxes("area", "boxes", boxes)?;
    let (first, second) = pairs(&check::accumulated("area", "boxes", boxes)?)?;
    let size = if format == BoxFormat::Xyxy { second.f_sub(&first)? } else { second };
    product(&size.f_clamp_min(0.0)?, -1)
}

/// [`f_area`], or a panic with its error.
#[track_caller]
pub fn area(boxes: &Tensor, format: BoxFormat) -> Tensor {
    unwrap(f_area(boxes, format))
}

/// Width times height: the product over a dimension of length 2.
pub(super) fn product(pair: &Tensor, dim: i64) -> Result<Tensor> {
    let sides = pair.f_unbind(dim)?;
    Ok(sides[0].f_mul(&sides[1])?)
}

/// Corner boxes cut to an image of `width` by `height`, in the boxes' unit.
///
/// A box outside the image becomes one of no area on its edge.
///
/// # Shapes
///
/// Boxes (.., 4) in [`BoxFormat::Xyxy`], to boxes of the same shape and kind.
///
/// # Errors
///
/// A last dimension other than 4; integer boxes; a negative or infinite `width` or `height`.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::detection::boxes;
///
/// let corners = Tensor::from_slice(&[-5.0f64, 20.0, 700.0, 490.0]);
/// let inside = boxes::clip(&corners, 640.0, 480.0);
/// assert_eq!(Vec::<f64>::try_from(inside).unwrap(), [0.0, 20.0, 640.0, 480.0]);
/// ```
///
/// # Reference
///
/// Follows torchvision 0.28 `clip_boxes_to_image`, with width before height.
pub fn f_clip(boxes: &Tensor, width: f64, height: f64) -> Result<Tensor> {
    const NAME: &str = "clip";
    check_boxes(NAME, "boxes", boxes)?;
    check::at_least_zero(NAME, "width", width)?;
    check::at_least_zero(NAME, "height", height)?;
    let axes = boxes.f_unflatten(-1, [2, 2])?.f_unbind(-1)?;
    let (x, y) = (axes[0].f_clamp(0.0, width)?, axes[1].f_clamp(0.0, height)?);
    Ok(Tensor::f_stack(&[x, y], -1)?.f_flatten(-2, -1)?)
}

/// [`f_clip`], or a panic with its error.
#[track_caller]
pub fn clip(boxes: &Tensor, width: f64, height: f64) -> Tensor {
    unwrap(f_clip(boxes, width, height))
}
