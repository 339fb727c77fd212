//! Non-maximum suppression: of boxes that overlap much, the best.

use super::{BoxFormat, IouKind, f_pairwise_iou};
use crate::{LossError, Result, check, error::unwrap};
use std::{
    cmp::Ordering,
    ops::{Add, Div, Mul, Range, Sub},
};
use tch::{Device, Kind, Tensor};

/// Keeps, of boxes that overlap more than `iou_threshold`, the one of the best score.
///
/// ```text
/// IoU(a, b) = I / (A_a + A_b - I),  0 where neither box has an area
/// by falling score (of equal scores the lower index first):
///     keep a box unless IoU(box, one already kept) > iou_threshold
/// ```
///
/// # Shapes
///
/// `boxes` `[N, 4]` as left, top, right, bottom in any unit and `scores` `[N]`, floating-point.
/// Returns the indices of the kept boxes, `[K]`, Int64, by falling score, on the device of `boxes`.
/// Half and BFloat16 boxes are compared in Float. `N` may be 0. Memory is bounded: never an
/// `N x N` matrix.
///
/// # Errors
///
/// When a shape or a kind is another, the tensors are on different devices, `iou_threshold` is not
/// in [0, 1], a coordinate is NaN or infinite, or a score is NaN. Infinite scores are sorted.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::detection::f_nms;
///
/// // The second box overlaps the first by 0.8, the third one by 0.
/// let boxes = [0f32, 0.0, 10.0, 10.0, 0.0, 0.0, 10.0, 8.0, 20.0, 0.0, 30.0, 10.0];
/// let boxes = Tensor::from_slice(&boxes).view([3, 4]);
/// let scores = Tensor::from_slice(&[0.6f32, 0.9, 0.7]);
/// assert_eq!(Vec::<i64>::try_from(f_nms(&boxes, &scores, 0.5)?)?, [1, 2]);
/// assert_eq!(Vec::<i64>::try_from(f_nms(&boxes, &scores, 0.9)?)?, [1, 2, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Differences
///
/// Same boxes as torchvision 0.28 `nms` on the CPU, and the same on every device: the order of
/// equal scores is defined, and the overlap, rounded to the kind of the boxes, is compared with the
/// threshold as given (torchvision rounds the threshold on CUDA only). NaN is an error.
///
/// # Reference
///
/// Follows torchvision 0.28 `nms`. On accelerators, the fixpoint of Zheng et al., "Enhancing
/// Geometric Factors in Model Learning and Inference for Object Detection and Instance
/// Segmentation", 2020, arXiv:2005.03572.
///
/// See also [`nms`], which panics, and [`f_batched_nms`].
pub fn f_nms(boxes: &Tensor, scores: &Tensor, iou_threshold: f64) -> Result<Tensor> {
    suppress("NMS", boxes, scores, None, iou_threshold)
}

/// As [`f_nms`].
///
/// # Panics
///
/// With the message of the error.
#[track_caller]
pub fn nms(boxes: &Tensor, scores: &Tensor, iou_threshold: f64) -> Tensor {
    unwrap(f_nms(boxes, scores, iou_threshold))
}

/// [`f_nms`] within each class: boxes of different classes never suppress each other.
///
/// The rule is that of [`f_nms`]. Each class is handled by itself, so that the cost is quadratic
/// only within a class.
///
/// # Shapes
///
/// As [`f_nms`]; `classes` `[N]` of any integer kind. With the image in the number of the class
/// (`image * num_classes + class`), one call handles a batch of images. The kept indices are by falling
/// score over all classes.
///
/// # Errors
///
/// As [`f_nms`], and when `classes` is not `[N]` or not of an integer kind.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::detection::f_batched_nms;
///
/// let boxes = Tensor::from_slice(&[0f32, 0.0, 10.0, 10.0]).repeat([3, 1]);
/// let scores = Tensor::from_slice(&[0.6f32, 0.7, 0.9]);
/// let classes = Tensor::from_slice(&[4i64, 1, 1]);
/// let kept = f_batched_nms(&boxes, &scores, &classes, 0.5)?;
/// assert_eq!(Vec::<i64>::try_from(kept)?, [2, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Differences
///
/// Same boxes as torchvision 0.28 `batched_nms`, which may shift each class to its own place on the
/// plane and so lose digits of the coordinates; here they stay as they are.
///
/// # Reference
///
/// Follows torchvision 0.28 `batched_nms`.
pub fn f_batched_nms(
    boxes: &Tensor,
    scores: &Tensor,
    classes: &Tensor,
    iou_threshold: f64,
) -> Result<Tensor> {
    suppress("batched NMS", boxes, scores, Some(classes), iou_threshold)
}

/// As [`f_batched_nms`].
///
/// # Panics
///
/// With the message of the error.
#[track_caller]
pub fn batched_nms(
    boxes: &Tensor,
    scores: &Tensor,
    classes: &Tensor,
    iou_threshold: f64,
) -> Tensor {
    unwrap(f_batched_nms(boxes, scores, classes, iou_threshold))
}

fn suppress(
    name: &'static str,
    boxes: &Tensor,
    scores: &Tensor,
    classes: Option<&Tensor>,
    iou_threshold: f64,
) -> Result<Tensor> {
    let size = boxes.size();
    check::shape_is(name, "boxes", boxes, size.len() == 2 && size[1] == 4, "[N, 4]")?;
    check::shape(name, "scores", scores, &size[..1])?;
    check::device(name, "scores", scores, boxes)?;
    check::fraction(name, "iou_threshold", iou_threshold)?;
    let corners = check::accumulated(name, "boxes", boxes)?.f_detach()?;
    let scores = check::accumulated(name, "scores", scores)?.f_detach()?;
    let classes = classes.map(|classes| -> Result<Tensor> {
        check::shape(name, "classes", classes, &size[..1])?;
        check::device(name, "classes", classes, boxes)?;
        Ok(check::index(name, "classes", classes)?.f_to_kind(Kind::Int64)?)
    });
    let classes = classes.transpose()?;
    let infinite = corners.f_isfinite()?.f_logical_not()?;
    none_of(name, "boxes", "of finite coordinates", &infinite, "NaN or an infinity")?;
    none_of(name, "scores", "that are numbers", &scores.f_isnan()?, "NaN")?;
    if size[0] == 0 {
        return Ok(Tensor::f_empty([0], (Kind::Int64, boxes.device()))?);
    }
    match boxes.device() {
        Device::Cpu => on_host(&corners, &scores, classes.as_ref(), iou_threshold),
        _ => on_device(&corners, &scores, classes.as_ref(), iou_threshold, PAIRS),
    }
}

/// An error that names the first row where `bad` is true.
fn none_of(
    loss: &'static str,
    option: &'static str,
    expected: &'static str,
    bad: &Tensor,
    got: &str,
) -> Result<()> {
    let rows = bad.f_nonzero()?;
    if rows.size()[0] == 0 {
        return Ok(());
    }
    let got = format!("{got} in row {}", rows.f_int64_value(&[0, 0])?);
    Err(LossError::Param { loss, option, expected, got })
}

// On the host.

/// Boxes of a number `T`, one array a coordinate, so that a block is compared at once.
struct Block<T> {
    left: [T; LANES],
    top: [T; LANES],
    right: [T; LANES],
    bottom: [T; LANES],
    area: [T; LANES],
}

const LANES: usize = 16;

trait Real:
    Copy
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + tch::kind::Element
{
    /// A union of at most this is no area, as in `pairwise_iou`.
    const TINY: Self;
}

impl Real for f32 {
    const TINY: f32 = 1e-20;
}

impl Real for f64 {
    const TINY: f64 = 1e-200;
}

fn on_host(
    boxes: &Tensor,
    scores: &Tensor,
    classes: Option<&Tensor>,
    iou_threshold: f64,
) -> Result<Tensor> {
    let order = by_score(scores)?;
    let classes = by_class(&order, classes)?;
    let kept = match boxes.f_kind()? {
        Kind::Float => kept(boxes, &order, &classes, round_down(iou_threshold))?,
        _ => kept(boxes, &order, &classes, iou_threshold)?,
    };
    let kept: Vec<i64> =
        order.iter().zip(kept).filter(|(_, kept)| *kept).map(|(&row, _)| row.into()).collect();
    Ok(Tensor::f_from_slice(&kept)?)
}

/// The rows by falling score, of equal scores the lower row first.
fn by_score(scores: &Tensor) -> Result<Vec<u32>> {
    let scores = Vec::<f64>::try_from(scores.f_to_kind(Kind::Double)?)?;
    let count = u32::try_from(scores.len()).map_err(|_| LossError::Unsupported {
        loss: "NMS",
        message: "more boxes than 32 bits can count",
    })?;
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_unstable_by(|&a, &b| {
        let [of_a, of_b] = [a, b].map(|row| scores[row as usize]);
        of_b.partial_cmp(&of_a).unwrap_or(Ordering::Equal).then(a.cmp(&b))
    });
    Ok(order)
}

/// Ranks by score, class after class.
struct Classes {
    ranks: Vec<u32>,
    /// Where in `ranks` each class but the first begins.
    begins: Vec<usize>,
}

fn by_class(order: &[u32], classes: Option<&Tensor>) -> Result<Classes> {
    let mut ranks: Vec<u32> = (0..order.len() as u32).collect();
    let Some(classes) = classes else { return Ok(Classes { ranks, begins: Vec::new() }) };
    let classes = Vec::<i64>::try_from(classes)?;
    let class = |rank: u32| classes[order[rank as usize] as usize];
    ranks.sort_unstable_by_key(|&rank| (class(rank), rank));
    let begins = (1..ranks.len()).filter(|&i| class(ranks[i]) != class(ranks[i - 1])).collect();
    Ok(Classes { ranks, begins })
}

/// The greatest Float that is not above `value`, which is in [0, 1]: a Float is above one where it
/// is above the other.
fn round_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { f32::from_bits(near.to_bits() - 1) } else { near }
}

/// How many boxes are copied from the tensor at once.
const PIECE: usize = 4096;

/// Whether the box of each rank is kept.
fn kept<T: Real>(
    boxes: &Tensor,
    order: &[u32],
    classes: &Classes,
    iou_threshold: T,
) -> Result<Vec<bool>> {
    let mut kept = vec![false; order.len()];
    let mut begins = classes.begins.iter().peekable();
    let mut blocks: Vec<Block<T>> = Vec::new();
    let mut count = 0;
    for (piece, ranks) in classes.ranks.chunks(PIECE).enumerate() {
        let rows: Vec<i64> = ranks.iter().map(|&rank| order[rank as usize].into()).collect();
        let corners = boxes.f_index_select(0, &Tensor::f_from_slice(&rows)?)?.f_view([-1])?;
        let corners = Vec::<T>::try_from(corners)?;
        for (i, (&rank, corners)) in ranks.iter().zip(corners.chunks_exact(4)).enumerate() {
            if begins.next_if_eq(&&(piece * PIECE + i)).is_some() {
                blocks.clear();
                count = 0;
            }
            let [left, top, right, bottom] = [corners[0], corners[1], corners[2], corners[3]];
            let area = (right - left) * (bottom - top);
            let candidate = [left, top, right, bottom, area];
            if blocks.iter().any(|block| block.suppresses(candidate, iou_threshold)) {
                continue;
            }
            kept[rank as usize] = true;
            let lane = count % LANES;
            count += 1;
            if lane == 0 {
                blocks.push(Block::default());
            }
            if let Some(block) = blocks.last_mut() {
                block.left[lane] = left;
                block.top[lane] = top;
                block.right[lane] = right;
                block.bottom[lane] = bottom;
                block.area[lane] = area;
            }
        }
    }
    Ok(kept)
}

impl<T: Real> Default for Block<T> {
    /// Points at the origin, which overlap with nothing.
    fn default() -> Self {
        let zeros = [T::default(); LANES];
        Self { left: zeros, top: zeros, right: zeros, bottom: zeros, area: zeros }
    }
}

impl<T: Real> Block<T> {
    fn suppresses(&self, [left, top, right, bottom, area]: [T; 5], iou_threshold: T) -> bool {
        let max = |a: T, b: T| if a > b { a } else { b };
        let min = |a: T, b: T| if a < b { a } else { b };
        let zero = T::default();
        let mut found = false;
        for i in 0..LANES {
            let width = max(min(self.right[i], right) - max(self.left[i], left), zero);
            let height = max(min(self.bottom[i], bottom) - max(self.top[i], top), zero);
            let inter = width * height;
            let union = self.area[i] + area - inter;
            found |= (inter / union > iou_threshold) & (union > T::TINY);
        }
        found
    }
}

// On an accelerator.

/// How many pairs of boxes are compared at once.
const PAIRS: Pairs = Pairs { rows: 1024, columns: 2048 };

#[derive(Clone, Copy)]
struct Pairs {
    rows: i64,
    columns: i64,
}

fn on_device(
    boxes: &Tensor,
    scores: &Tensor,
    classes: Option<&Tensor>,
    iou_threshold: f64,
    pairs: Pairs,
) -> Result<Tensor> {
    let count = boxes.size()[0];
    let (_, order) = scores.f_sort_stable(true, 0, true)?;
    let Some(classes) = classes else {
        let boxes = boxes.f_index_select(0, &order)?;
        let kept = fixpoint(&boxes, &vec![0; count as usize], iou_threshold, pairs)?;
        return Ok(order.f_masked_select(&kept)?);
    };
    // Row `ranks[i]` of the order by score is row `i` of the order by class, then score.
    let (sorted, ranks) = classes.f_index_select(0, &order)?.f_sort_stable(true, 0, false)?;
    let rows = order.f_index_select(0, &ranks)?;
    let boxes = boxes.f_index_select(0, &rows)?;
    let kept = fixpoint(&boxes, &Vec::<i64>::try_from(sorted)?, iou_threshold, pairs)?;
    let (ranks, _) = ranks.f_masked_select(&kept)?.f_sort(0, false)?;
    Ok(order.f_index_select(0, &ranks)?)
}

/// Which boxes are kept, of boxes by class, then falling score. Blocks of rows are settled one
/// after another; what a block keeps suppresses the rest of its last class.
fn fixpoint(boxes: &Tensor, classes: &[i64], iou_threshold: f64, pairs: Pairs) -> Result<Tensor> {
    let threshold = match boxes.kind() {
        Kind::Float => f64::from(round_down(iou_threshold)),
        _ => iou_threshold,
    };
    let device = boxes.device();
    let class = Tensor::f_from_slice(classes)?.f_to_device(device)?;
    let total = classes.len();
    let kept = Tensor::f_ones([total as i64], (Kind::Bool, device))?;
    let mut start = 0;
    while start < total {
        let end = total.min(start + pairs.rows as usize);
        let rows = |tensor: &Tensor, range: Range<usize>| {
            tensor.f_narrow(0, range.start as i64, range.len() as i64)
        };
        let own = rows(boxes, start..end)?;
        let group = rows(&class, start..end)?;
        let mut free = rows(&kept, start..end)?;
        let same = group.f_unsqueeze(1)?.f_eq_tensor(&group)?;
        let beats = overlapping(&own, &own, threshold)?.f_logical_and(&same)?.f_triu(1)?;
        // A box is kept when no kept one before it beats it. The first box is right at once, each
        // round makes at least one more right, and where nothing changes all are.
        let mut settled = free.shallow_clone();
        loop {
            let beaten = beats.f_logical_and(&settled.f_unsqueeze(1)?)?.f_any_dim(0, false)?;
            let next = free.f_logical_and(&beaten.f_logical_not()?)?;
            let same = next.f_equal(&settled)?;
            settled = next;
            if same {
                break;
            }
        }
        free.f_copy_(&settled)?;

        let last = classes[end - 1];
        let stop = end + classes[end..].partition_point(|&class| class == last);
        start = end;
        if stop == end {
            continue;
        }
        let winners = settled.f_logical_and(&group.f_eq(last)?)?.f_nonzero()?.f_squeeze_dim(1)?;
        let winners = own.f_index_select(0, &winners)?;
        let mut from = end;
        while from < stop {
            let to = stop.min(from + pairs.columns as usize);
            let beaten = overlapping(&winners, &rows(boxes, from..to)?, threshold)?;
            let spared = beaten.f_any_dim(0, false)?.f_logical_not()?;
            let _ = rows(&kept, from..to)?.f_logical_and_(&spared)?;
            from = to;
        }
    }
    Ok(kept)
}

/// Which of `a` `[N, 4]` overlap which of `b` `[M, 4]` by more than the threshold, `[N, M]`.
fn overlapping(a: &Tensor, b: &Tensor, threshold: f64) -> Result<Tensor> {
    Ok(f_pairwise_iou(a, b, BoxFormat::Xyxy, IouKind::Iou)?.f_gt(threshold)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(seed: i64, count: i64, whole: bool) -> Tensor {
        tch::manual_seed(seed);
        let rand = || Tensor::rand([count, 2], (Kind::Double, Device::Cpu));
        let (at, size) = (rand() * 50.0, rand() * 12.0);
        let boxes = Tensor::cat(&[&at, &(&at + size)], 1);
        if whole { (boxes / 4.0).round() } else { boxes }
    }

    fn rows(kept: Tensor) -> Vec<i64> {
        Vec::try_from(kept).expect("indices")
    }

    /// The path of accelerators, run on the CPU; blocks of one row up to all rows at once.
    #[test]
    fn both_paths_keep_the_same() {
        let mut suppressed = 0;
        for seed in 0..12 {
            let count = 1 + seed * 13;
            let whole = seed % 2 == 0;
            let boxes = boxes(seed, count, whole);
            // Whole boxes get equal scores too.
            let scores = Tensor::rand([count], (Kind::Double, Device::Cpu));
            let scores = if whole { (scores * 4.0).round() } else { scores };
            let classes = Tensor::randint(5, [count], (Kind::Int64, Device::Cpu));
            for classes in [None, Some(&classes)] {
                for kind in [Kind::Double, Kind::Float] {
                    let (boxes, scores) = (boxes.to_kind(kind), scores.to_kind(kind));
                    for threshold in [0.0, 0.3, 0.7] {
                        let host = rows(on_host(&boxes, &scores, classes, threshold).unwrap());
                        suppressed += count as usize - host.len();
                        for (rows_at_once, columns) in [(1, 2), (7, 5), (32, 64), (1024, 4096)] {
                            if count > 20 * rows_at_once {
                                continue;
                            }
                            let pairs = Pairs { rows: rows_at_once, columns };
                            let device =
                                on_device(&boxes, &scores, classes, threshold, pairs).unwrap();
                            assert_eq!(rows(device), host, "{count} {kind:?} {threshold}");
                        }
                    }
                }
            }
        }
        assert!(suppressed > 1000, "{suppressed}");
    }

    #[test]
    fn a_chain_that_settles_one_box_a_round() {
        // Each box overlaps the next by 1/3 only: of a chain every other one is kept.
        let left: Vec<f64> = (0..100).map(f64::from).collect();
        let left = Tensor::from_slice(&left);
        let (zeros, ones) = (left.zeros_like(), left.ones_like());
        let boxes = Tensor::stack(&[&left, &zeros, &(&left + 2.0), &ones], 1);
        let scores = -left;
        let expected: Vec<i64> = (0..100).step_by(2).collect();
        assert_eq!(rows(on_host(&boxes, &scores, None, 0.3).unwrap()), expected);
        let kept = on_device(&boxes, &scores, None, 0.3, PAIRS).unwrap();
        assert_eq!(rows(kept), expected);
    }

    #[test]
    fn tiny_boxes_have_no_area_on_either_path() {
        for (kind, side, count) in [
            (Kind::Float, 1e-11, 2),
            (Kind::Float, 1e-9, 1),
            (Kind::Double, 1e-101, 2),
            (Kind::Double, 1e-99, 1),
        ] {
            let boxes = Tensor::from_slice(&[0.0, 0.0, side, side]).to_kind(kind).repeat([2, 1]);
            let scores = Tensor::from_slice(&[0.1, 0.2]);
            let host = rows(on_host(&boxes, &scores, None, 0.5).unwrap());
            assert_eq!(host.len(), count, "{kind:?} {side}");
            assert_eq!(rows(on_device(&boxes, &scores, None, 0.5, PAIRS).unwrap()), host);
        }
    }

    #[test]
    fn round_down_is_below_by_less_than_one_float() {
        for value in [0.0, 0.1, 0.3, 0.45, 0.5, 0.7, 1.0, 1.0 / 3.0, 1e-300] {
            let down = round_down(value);
            let up = f32::from_bits(down.to_bits() + 1);
            assert!(f64::from(down) <= value && value < f64::from(up), "{value}");
        }
    }
}
