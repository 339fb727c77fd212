//! The overlap of boxes: IoU, GIoU, DIoU and CIoU, aligned or pairwise, by one kernel.

use super::boxes::{BoxFormat, check_boxes, product};
use crate::{Result, check, error::unwrap};
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// What [`bbox_iou`] and [`pairwise_iou`] compute: IoU, or IoU less a penalty.
///
/// ```text
/// Iou   I / U
/// GIoU  I / U - (C - U) / C
/// DIoU  I / U - ρ² / c²
/// CIoU  I / U - ρ² / c² - α v,   v = 4/π² (atan(w2/h2) - atan(w1/h1))²,   α = v / (1 - I/U + v)
/// ```
///
/// I and U are the areas of the intersection and the union, C and c the area and the diagonal of
/// the smallest box around both, ρ the distance of the centres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IouKind {
    /// Intersection over union, in [0, 1]; no gradient between boxes that are apart.
    #[default]
    Iou,
    /// Generalised IoU, in (-1, 1] (Rezatofighi et al. 2019).
    GIoU,
    /// Distance IoU, in (-1, 1] (Zheng et al. 2020).
    DIoU,
    /// Complete IoU: DIoU less the difference of the aspect ratios (Zheng et al. 2020).
    CIoU,
}

/// The overlap of each box with the box in the same place.
///
/// See [`IouKind`] for the formulas. α is a constant for the gradient.
///
/// # Shapes
///
/// - boxes1: (.., 4), floating-point
/// - boxes2: the shape of boxes1, in the same unit; the result is in the kind of boxes1
/// - result: (..); `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Errors
///
/// A last dimension other than 4; another shape, kind or device of boxes2; integer boxes1.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::detection::{BoxFormat, IouKind, bbox_iou};
///
/// let pred = Tensor::from_slice(&[0.0f64, 0.0, 2.0, 2.0]);
/// let target = Tensor::from_slice(&[1.0f64, 1.0, 3.0, 3.0]);
/// let iou = |kind| bbox_iou(&pred, &target, BoxFormat::Xyxy, kind).double_value(&[]);
/// assert_eq!(iou(IouKind::Iou), 1.0 / 7.0);
/// assert_eq!(iou(IouKind::GIoU), 1.0 / 7.0 - 2.0 / 9.0);
/// assert_eq!(iou(IouKind::DIoU), 1.0 / 7.0 - 2.0 / 18.0);
/// assert_eq!(iou(IouKind::CIoU), iou(IouKind::DIoU)); // both are square
/// ```
///
/// # Differences
///
/// torchvision and YOLOv5 add 1e-7 to every denominator, which for boxes in shares of the image
/// shows: two equal boxes of side 0.001 have an IoU of 0.91 there, and of 1 here. Values and
/// gradients are finite here for points, lines, inverted boxes (empty) and boxes far apart, with
/// sizes and distances up to 1e18 in `Float` and 1e100 in `Double`:
///
/// - a union or an enclosing box of area under 1e-20 in `Float`, 1e-200 in `Double`, is empty: it
///   gives an IoU or a GIoU penalty of 0, and so has a box without area with itself
/// - the sides in v are at least c/1000, or its gradient would have no bound
/// - edges that touch have the gradient of edges that overlap; torchvision's is 0
///
/// # Reference
///
/// Follows torchvision 0.28 `generalized_box_iou_loss`, `distance_box_iou_loss` and
/// `complete_box_iou_loss` (1 minus the result), and YOLOv5's `bbox_iou`. See also
/// [`pairwise_iou`].
pub fn f_bbox_iou(
    boxes1: &Tensor,
    boxes2: &Tensor,
    format: BoxFormat,
    kind: IouKind,
) -> Result<Tensor> {
    aligned("bbox_iou", ["boxes1", "boxes2"], boxes1, boxes2, format, kind)
}

/// [`f_bbox_iou`], or a panic with its error.
#[track_caller]
pub fn bbox_iou(boxes1: &Tensor, boxes2: &Tensor, format: BoxFormat, kind: IouKind) -> Tensor {
    unwrap(f_bbox_iou(boxes1, boxes2, format, kind))
}

/// The overlap of every box of one set with every box of another.
///
/// See [`IouKind`] for the formulas; entry (i, j) is what [`bbox_iou`] gives for the boxes i and j.
///
/// # Shapes
///
/// - boxes1: (N, 4), floating-point
/// - boxes2: (M, 4), in the same unit; the result is in the kind of boxes1
/// - result: (N, M); `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Errors
///
/// A shape other than (N, 4); another kind or device of boxes2; integer boxes1.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::detection::{BoxFormat, IouKind, pairwise_iou};
///
/// let boxes1 = Tensor::from_slice(&[0.0f64, 0.0, 2.0, 2.0]).view([1, 4]);
/// let boxes2 = Tensor::from_slice(&[0.0f64, 0.0, 2.0, 1.0, 2.0, 0.0, 4.0, 2.0]).view([2, 4]);
/// let iou = pairwise_iou(&boxes1, &boxes2, BoxFormat::Xyxy, IouKind::Iou);
/// assert_eq!(iou.size(), [1, 2]);
/// assert_eq!(Vec::<f64>::try_from(iou.view(-1)).unwrap(), [0.5, 0.0]);
/// ```
///
/// # Differences
///
/// torchvision gives NaN for two boxes without area; see [`bbox_iou`] for the rest.
///
/// # Reference
///
/// Follows torchvision 0.28 `box_iou`, `generalized_box_iou`, `distance_box_iou` and
/// `complete_box_iou`.
pub fn f_pairwise_iou(
    boxes1: &Tensor,
    boxes2: &Tensor,
    format: BoxFormat,
    kind: IouKind,
) -> Result<Tensor> {
    const NAME: &str = "pairwise_iou";
    for (what, boxes) in [("boxes1", boxes1), ("boxes2", boxes2)] {
        check::shape_is(NAME, what, boxes, matches!(boxes.size()[..], [_, 4]), "[N, 4]")?;
    }
    check::device(NAME, "boxes2", boxes2, boxes1)?;
    let boxes1 = check::accumulated(NAME, "boxes1", boxes1)?;
    let boxes2 = check::in_kind(NAME, "boxes2", boxes2, boxes1.f_kind()?)?;
    let boxes1 = boxes1.f_transpose(0, 1)?.f_contiguous()?.f_unsqueeze(2)?;
    let boxes2 = boxes2.f_transpose(0, 1)?.f_contiguous()?.f_unsqueeze(1)?;
    kernel(&boxes1, &boxes2, format, kind)
}

/// [`f_pairwise_iou`], or a panic with its error.
#[track_caller]
pub fn pairwise_iou(boxes1: &Tensor, boxes2: &Tensor, format: BoxFormat, kind: IouKind) -> Tensor {
    unwrap(f_pairwise_iou(boxes1, boxes2, format, kind))
}

/// [`f_bbox_iou`] under the caller's name.
pub(super) fn aligned(
    name: &'static str,
    [what1, what2]: [&'static str; 2],
    boxes1: &Tensor,
    boxes2: &Tensor,
    format: BoxFormat,
    kind: IouKind,
) -> Result<Tensor> {
    check_boxes(name, what1, boxes1)?;
    check::shape(name, what2, boxes2, &boxes1.size())?;
    check::device(name, what2, boxes2, boxes1)?;
    let boxes1 = check::accumulated(name, what1, boxes1)?;
    let boxes2 = check::in_kind(name, what2, boxes2, boxes1.f_kind()?)?;
    let boxes1 = boxes1.f_movedim_int(-1, 0)?.f_contiguous()?;
    let boxes2 = boxes2.f_movedim_int(-1, 0)?.f_contiguous()?;
    kernel(&boxes1, &boxes2, format, kind)
}

/// The overlap of boxes (4, ..) that broadcast to one another.
fn kernel(boxes1: &Tensor, boxes2: &Tensor, format: BoxFormat, kind: IouKind) -> Result<Tensor> {
    let tiny = if boxes1.f_kind()? == Kind::Double { 1e-200 } else { 1e-20 };
    let Pair { size1, size2, overlap, offset } = Pair::new(boxes1, boxes2, format, kind)?;
    let intersection = product(&overlap.f_clamp_min(0.0)?, 0)?;
    let union = product(&size1, 0)?.f_add(&product(&size2, 0)?)?.f_sub(&intersection)?;
    // An infinite denominator gives an empty box the quotient 0 and the gradient 0.
    let iou = intersection.f_div(&union.f_threshold(tiny, f64::INFINITY)?)?;
    if kind == IouKind::Iou {
        return Ok(iou);
    }

    // Along an axis, the enclosing side and the signed overlap add up to the two sides.
    let hull = size1.f_add(&size2)?.f_sub(&overlap)?;
    let Some(offset) = offset else {
        let area = product(&hull, 0)?;
        let penalty = area.f_sub(&union)?.f_div(&area.f_threshold(tiny, f64::INFINITY)?)?;
        return Ok(iou.f_sub(&penalty)?);
    };
    let diagonal = square_norm(&hull)?.f_add_scalar(tiny)?;
    let diou = iou.f_sub(&square_norm(&offset)?.f_div(&diagonal)?)?;
    if kind == IouKind::DIoU {
        return Ok(diou);
    }

    let floor = diagonal.f_detach()?.f_sqrt()?.f_mul_scalar(1e-3)?;
    let turn = aspect(&size2, &floor)?.f_sub(&aspect(&size1, &floor)?)?.f_square()?;
    let v = turn.f_detach()?.f_mul_scalar(4.0 / (PI * PI))?;
    let alpha = v.f_div(&iou.f_detach()?.f_rsub_scalar(1.0)?.f_clamp_min(tiny)?.f_add(&v)?)?;
    Ok(diou.f_addcmul(&turn, &alpha.f_mul_scalar(-4.0 / (PI * PI))?)?)
}

/// What the kinds are made of; the first dimension is the axes x and y.
struct Pair {
    /// Width and height of boxes1, at least 0.
    size1: Tensor,
    /// Width and height of boxes2, at least 0.
    size2: Tensor,
    /// Sides of the intersection, negative where the boxes are apart.
    overlap: Tensor,
    /// From the centres of boxes2 to those of boxes1, for the kinds that need it.
    offset: Option<Tensor>,
}

impl Pair {
    fn new(boxes1: &Tensor, boxes2: &Tensor, format: BoxFormat, kind: IouKind) -> Result<Pair> {
        let distant = matches!(kind, IouKind::DIoU | IouKind::CIoU);
        let [first1, second1] = halves(boxes1)?;
        let [first2, second2] = halves(boxes2)?;
        if format == BoxFormat::Cxcywh {
            // Centres far from the origin are subtracted first, where corners would be rounded.
            let offset = first1.f_sub(&first2)?;
            let reach = second1.f_add(&second2)?.f_mul_scalar(0.5)?.f_sub(&offset.f_abs()?)?;
            return Ok(Pair {
                overlap: second1.f_minimum(&second2)?.f_minimum(&reach)?,
                size1: second1.f_clamp_min(0.0)?,
                size2: second2.f_clamp_min(0.0)?,
                offset: distant.then_some(offset),
            });
        }
        let corner = |first: &Tensor, second: Tensor| -> Result<Tensor> {
            Ok(if format == BoxFormat::Xywh { first.f_add(&second)? } else { second })
        };
        let (second1, second2) = (corner(&first1, second1)?, corner(&first2, second2)?);
        let offset = match distant {
            true => Some(first1.f_sub(&first2)?.f_lerp(&second1.f_sub(&second2)?, 0.5)?),
            false => None,
        };
        Ok(Pair {
            overlap: second1.f_minimum(&second2)?.f_sub(&first1.f_maximum(&first2)?)?,
            size1: second1.f_sub(&first1)?.f_clamp_min(0.0)?,
            size2: second2.f_sub(&first2)?.f_clamp_min(0.0)?,
            offset,
        })
    }
}

fn halves(boxes: &Tensor) -> Result<[Tensor; 2]> {
    let parts = boxes.f_chunk(2, 0)?;
    Ok([parts[0].shallow_clone(), parts[1].shallow_clone()])
}

fn square_norm(pair: &Tensor) -> Result<Tensor> {
    Ok(pair.f_square()?.f_sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)?)
}

/// The angle of a box's diagonal, its sides at least `floor`.
fn aspect(size: &Tensor, floor: &Tensor) -> Result<Tensor> {
    let sides = size.f_clamp_min_tensor(floor)?.f_unbind(0)?;
    Ok(sides[0].f_atan2(&sides[1])?)
}
