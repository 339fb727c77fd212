//! The overlap of boxes: IoU, GIoU, DIoU and CIoU, aligned or pairwise, by one kernel.

use super::boxes::{BoxFormat, check_boxes, product};
use crate::{Reduction, Result, check, error::unwrap, fused::BoxOverlap};
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
/// - a union or an enclosing box of area up to 1e-20 in `Float`, 1e-200 in `Double`, is empty: it
///   gives an IoU or a GIoU penalty of 0, so that the IoU of a point with itself is 0
/// - the sides in v are at least c/1000, or its gradient would have no bound
/// - edges in one place have the mean of the gradients on either side, and boxes that touch that of
///   boxes apart, as in torchvision
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
    if let Some(iou) = (BoxOverlap { kind, format }).pairwise(boxes1, boxes2)? {
        return Ok(iou);
    }
    let boxes1 = check::accumulated(NAME, "boxes1", boxes1)?;
    let boxes2 = check::in_kind(NAME, "boxes2", boxes2, boxes1.f_kind()?)?;
    let boxes1 = boxes1.f_transpose(0, 1)?.f_unsqueeze(2)?;
    let boxes2 = boxes2.f_transpose(0, 1)?.f_unsqueeze(1)?;
    kernel(boxes1, boxes2, format, kind)
}

/// [`f_pairwise_iou`], or a panic with its error.
#[track_caller]
pub fn pairwise_iou(boxes1: &Tensor, boxes2: &Tensor, format: BoxFormat, kind: IouKind) -> Tensor {
    unwrap(f_pairwise_iou(boxes1, boxes2, format, kind))
}

/// Checks for boxes (.., 4) in the same places.
pub(super) fn check_aligned(
    name: &'static str,
    [what1, what2]: [&'static str; 2],
    boxes1: &Tensor,
    boxes2: &Tensor,
) -> Result<()> {
    check_boxes(name, what1, boxes1)?;
    check::shape(name, what2, boxes2, &boxes1.size())?;
    check::device(name, what2, boxes2, boxes1)
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
    check_aligned(name, [what1, what2], boxes1, boxes2)?;
    if let Some(iou) = (BoxOverlap { kind, format }).aligned(boxes1, boxes2)? {
        return Ok(iou);
    }
    let boxes1 = check::accumulated(name, what1, boxes1)?;
    let boxes2 = check::in_kind(name, what2, boxes2, boxes1.f_kind()?)?;
    let (boxes1, boxes2) = (boxes1.f_movedim_int(-1, 0)?, boxes2.f_movedim_int(-1, 0)?);
    kernel(boxes1, boxes2, format, kind)
}

/// What counts as no area, fourfold as areas are in the kernels, and what keeps a diagonal from 0.
pub(crate) fn limits(kind: Kind) -> (f64, f64) {
    if kind == Kind::Double { (4e-200, 1e-210) } else { (4e-20, 1e-30) }
}

/// v by the squared difference of the angles.
pub(crate) const ASPECT: f64 = 4.0 / (PI * PI);

/// The shortest side in v by the doubled diagonal.
pub(crate) const THINNEST: f64 = 0.5e-3;

/// The overlap of boxes (4, ..) that broadcast to one another. `fused::BoxOverlap` is its twin.
fn kernel(boxes1: Tensor, boxes2: Tensor, format: BoxFormat, kind: IouKind) -> Result<Tensor> {
    let (empty, tiny) = limits(boxes1.f_kind()?);
    let Sides { size1, size2, start, end } = Sides::new(boxes1, boxes2, format)?;

    // Along an axis, with both = w1 + w2 and apart = |Δx1| + |Δx2|, the overlap is half of
    // both - apart, the enclosing side half of both + apart, and the distance of the centres half
    // of Δx1 + Δx2. The halves are left out: lengths are doubled below, areas fourfold. With sides
    // of at least 0, an inverted box overlaps nothing and no centre is outside the enclosing box.
    let distance = match kind {
        IouKind::DIoU | IouKind::CIoU => Some(sum(start.f_mse_loss(&end, Reduction::None)?)?),
        _ => None,
    };
    // In place where autograd keeps no copy: matrices of pairs are large.
    let mut apart = absolute(start)?;
    let _ = apart.f_add_(&absolute(end)?)?;
    let mut both = size1.f_add(&size2)?;
    let hull = if kind == IouKind::Iou { None } else { Some(both.f_add(&apart)?) };
    let intersection = product(&both.f_sub_(&apart)?.f_relu_()?, 0)?;
    drop((both, apart));
    let mut areas = product(&size1, 0)?.f_add(&product(&size2, 0)?)?;
    let union = areas.f_mul_scalar_(4.0)?.f_sub_(&intersection)?;
    let iou = quotient(&intersection, &union, empty)?;
    let Some(hull) = hull else { return Ok(iou) };
    drop((areas, intersection));
    let Some(distance) = distance else {
        drop((size1, size2));
        let area = product(&hull, 0)?;
        return Ok(iou.f_add(&quotient(&union.f_sub(&area)?, &area, empty)?)?);
    };
    drop(union);
    let diagonal = sum(hull.f_square()?)?.f_add_scalar(tiny)?;
    let diou = iou.f_sub(&distance.f_div(&diagonal)?)?;
    if kind == IouKind::DIoU {
        return Ok(diou);
    }

    let floor = diagonal.f_detach()?.f_sqrt()?.f_mul_scalar(THINNEST)?;
    drop((hull, distance, diagonal));
    let turn = aspect(size2, &floor)?.f_sub(&aspect(size1, &floor)?)?.f_square()?;
    drop(floor);
    let minus_alpha = minus_alpha(&turn.f_detach()?, &iou.f_detach()?, tiny)?;
    Ok(diou.f_addcmul(&turn, &minus_alpha)?)
}

fn absolute(mut lengths: Tensor) -> Result<Tensor> {
    Ok(if lengths.requires_grad() { lengths.f_abs()? } else { lengths.f_abs_()? })
}

/// A quotient that is 0, with the gradient 0, where the denominator is at most `empty`.
fn quotient(numerator: &Tensor, denominator: &Tensor, empty: f64) -> Result<Tensor> {
    let none = denominator.f_le(empty)?;
    Ok(numerator.f_div(&denominator.f_masked_fill(&none, f64::INFINITY)?)?)
}

/// -α v by the squared difference of the angles, `turn`.
fn minus_alpha(turn: &Tensor, iou: &Tensor, tiny: f64) -> Result<Tensor> {
    let mut v = turn.f_mul_scalar(ASPECT)?;
    let mut rest = iou.f_rsub_scalar(1.0)?;
    let _ = rest.f_clamp_min_(tiny)?.f_add_(&v)?;
    Ok(v.f_div_(&rest)?.f_mul_scalar_(-ASPECT)?)
}

/// What the kinds are made of; the first dimension is the axes x and y.
struct Sides {
    /// Width and height of boxes1, at least 0.
    size1: Tensor,
    /// Width and height of boxes2, at least 0.
    size2: Tensor,
    /// Left and top of boxes1 less those of boxes2.
    start: Tensor,
    /// Right and bottom of boxes2 less those of boxes1.
    end: Tensor,
}

impl Sides {
    fn new(boxes1: Tensor, boxes2: Tensor, format: BoxFormat) -> Result<Sides> {
        // Coordinates first and contiguous: every operation then runs along whole vectors.
        let half = |boxes: &[Tensor], i: usize| boxes[i].f_contiguous();
        let size = |first: &Tensor, second: &Tensor| match format {
            BoxFormat::Xyxy => second.f_sub(first)?.f_relu_(),
            _ => second.f_relu(),
        };
        let (boxes1, boxes2) = (boxes1.f_chunk(2, 0)?, boxes2.f_chunk(2, 0)?);
        let (first1, second1) = (half(&boxes1, 0)?, half(&boxes1, 1)?);
        let size1 = size(&first1, &second1)?;
        let first2 = half(&boxes2, 0)?;
        let first = first1.f_sub(&first2)?;
        drop(first1);
        let second2 = half(&boxes2, 1)?;
        let size2 = size(&first2, &second2)?;
        drop(first2);
        let second = second2.f_sub(&second1)?;
        drop((second1, second2));
        // Edges of boxes far from the origin are never formed, only their differences.
        let (start, end) = match format {
            BoxFormat::Xyxy => (first, second),
            BoxFormat::Xywh => {
                let end = second.f_sub(&first)?;
                (first, end)
            }
            BoxFormat::Cxcywh => {
                let half = second.f_mul_scalar(0.5)?;
                (half.f_add(&first)?, half.f_sub(&first)?)
            }
        };
        Ok(Sides { size1, size2, start, end })
    }
}

/// The sum over the two axes.
fn sum(pair: Tensor) -> Result<Tensor> {
    Ok(pair.f_sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)?)
}

/// The angle of a box's diagonal, its sides at least `floor`.
fn aspect(size: Tensor, floor: &Tensor) -> Result<Tensor> {
    let sides = size.f_clamp_min_tensor(floor)?.f_unbind(0)?;
    Ok(sides[0].f_div(&sides[1])?.f_atan()?)
}
