//! Distances between the surfaces of a predicted and a true segmentation.

use crate::{Result, check, error::unwrap, segmentation::f_distance_transform_edt};
use tch::{Device, Kind, Tensor};

/// The distances between the surfaces of two sets of masks, in the unit of the spacing.
///
/// ```text
/// surface S(m): pixels of m with a neighbour along an axis that is not of m, or is outside
/// d(a → b) = { min over y in S(b) of |x - y| : x in S(a) }     a number for each pixel of S(a)
/// ```
///
/// | method | is |
/// |---|---|
/// | [`hausdorff`](Self::hausdorff) | the greatest of both directions |
/// | [`percentile`](Self::percentile) | the greater of the percentiles of the two directions; HD95 with 95 |
/// | [`average`](Self::average) | the mean of both directions together: ASSD |
/// | [`surface_dice`](Self::surface_dice) | the share of both surfaces that is within a tolerance: NSD |
///
/// Where neither mask has a pixel nothing can be said: NaN, so that a mean can leave it out. Where
/// only one has, distances are infinite and the surface Dice is 0.
///
/// # Shapes
///
/// - prediction and target: masks (.., d1, .., dk), of any kind; what is not 0 counts as one. Of
///   class indices make one-hot masks (N, C, d1, ..) for a number for each image and class
/// - spacing: the size of a pixel along each of the last k dimensions
/// - each method: (..) in `Double`, on the CPU
///
/// # Errors
///
/// Shape or device of the target; a spacing as for
/// [`distance_transform_edt`](crate::segmentation::distance_transform_edt); a percentile outside
/// [0, 100] or a tolerance below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::metrics::SurfaceDistances;
///
/// // Two lines of pixels of 0.5 mm, one of them three pixels longer.
/// let prediction = Tensor::from_slice(&[0i64, 1, 1, 1, 1, 1, 1, 0]).view([1, 8]);
/// let target = Tensor::from_slice(&[0i64, 1, 1, 1, 0, 0, 0, 0]).view([1, 8]);
/// let distances = SurfaceDistances::new(&prediction, &target, &[0.5, 0.5]);
/// assert_eq!(distances.hausdorff().double_value(&[]), 1.5);
/// assert_eq!(distances.percentile(50.0).double_value(&[]), 0.25);
/// // Nine pixels of surface, of which three are 0.5, 1 and 1.5 mm off.
/// assert_eq!(distances.average().double_value(&[]), 3.0 / 9.0);
/// assert_eq!(distances.surface_dice(0.5).double_value(&[]), 7.0 / 9.0);
/// ```
///
/// # Differences
///
/// MONAI returns `Float`, and leaves class 0 out unless told otherwise. medpy takes the percentile
/// of both directions together.
///
/// # Reference
///
/// Follows MONAI 1.6 `compute_hausdorff_distance`, `compute_average_surface_distance` (symmetric)
/// and `compute_surface_dice`.
#[derive(Debug)]
pub struct SurfaceDistances {
    shape: Vec<i64>,
    pairs: Vec<Pair>,
}

/// The distances of one predicted mask and one true one, each direction sorted.
#[derive(Debug, Default)]
struct Pair {
    to_target: Vec<f64>,
    to_prediction: Vec<f64>,
}

impl SurfaceDistances {
    /// The distances between the surfaces of predicted and true masks.
    pub fn f_new(prediction: &Tensor, target: &Tensor, spacing: &[f64]) -> Result<Self> {
        const NAME: &str = "SurfaceDistances";
        check::same_shape(NAME, prediction, target)?;
        let size = prediction.size();
        let axes = spacing.len();
        let expected = format!("of at least {axes} dimensions, as spacing has {axes} numbers");
        check::shape_is(NAME, "prediction", prediction, size.len() >= axes, &expected)?;
        let (shape, lengths) = size.split_at(size.len() - axes);
        let images = [&[-1], lengths].concat();
        let masks = |of: &Tensor| {
            of.f_ne(0)?.f_to_device(Device::Cpu)?.f_view(images.as_slice())?.f_unbind(0)
        };
        let pairs = if prediction.numel() == 0 {
            (0..shape.iter().product()).map(|_| Pair::default()).collect()
        } else {
            let pairs = masks(&prediction.f_contiguous()?)?.into_iter();
            let pairs = pairs.zip(masks(&target.f_contiguous()?)?);
            pairs.map(|pair| Pair::of(pair.into(), spacing)).collect::<Result<_>>()?
        };
        Ok(SurfaceDistances { shape: shape.to_vec(), pairs })
    }

    /// [`SurfaceDistances::f_new`], or a panic with its error.
    #[track_caller]
    pub fn new(prediction: &Tensor, target: &Tensor, spacing: &[f64]) -> Self {
        unwrap(Self::f_new(prediction, target, spacing))
    }

    /// The Hausdorff distance: how far the farthest pixel of one surface is from the other.
    pub fn hausdorff(&self) -> Tensor {
        self.percentile(100.0)
    }

    /// A percentile in [0, 100] instead of the farthest, with linear interpolation.
    pub fn f_percentile(&self, percentile: f64) -> Result<Tensor> {
        let ok = (0.0..=100.0).contains(&percentile);
        check::param("SurfaceDistances", "percentile", percentile, ok, "in [0, 100]")?;
        self.each(|pair| {
            let of = |sorted: &[f64]| quantile(sorted, percentile / 100.0);
            of(&pair.to_target).max(of(&pair.to_prediction))
        })
    }

    /// [`SurfaceDistances::f_percentile`], or a panic with its error.
    #[track_caller]
    pub fn percentile(&self, percentile: f64) -> Tensor {
        unwrap(self.f_percentile(percentile))
    }

    /// The average symmetric surface distance.
    pub fn f_average(&self) -> Result<Tensor> {
        self.each(|pair| {
            let all = || pair.to_target.iter().chain(&pair.to_prediction);
            all().sum::<f64>() / all().count() as f64
        })
    }

    /// [`SurfaceDistances::f_average`], or a panic with its error.
    #[track_caller]
    pub fn average(&self) -> Tensor {
        unwrap(self.f_average())
    }

    /// The share of both surfaces that is at most `tolerance` from the other.
    pub fn f_surface_dice(&self, tolerance: f64) -> Result<Tensor> {
        check::at_least_zero("SurfaceDistances", "tolerance", tolerance)?;
        self.each(|pair| {
            let near = |sorted: &[f64]| sorted.partition_point(|&distance| distance <= tolerance);
            let all = pair.to_target.len() + pair.to_prediction.len();
            (near(&pair.to_target) + near(&pair.to_prediction)) as f64 / all as f64
        })
    }

    /// [`SurfaceDistances::f_surface_dice`], or a panic with its error.
    #[track_caller]
    pub fn surface_dice(&self, tolerance: f64) -> Tensor {
        unwrap(self.f_surface_dice(tolerance))
    }

    fn each(&self, of: impl Fn(&Pair) -> f64) -> Result<Tensor> {
        let values: Vec<f64> = self.pairs.iter().map(of).collect();
        Ok(Tensor::f_from_slice(&values)?.f_view(self.shape.as_slice())?)
    }
}

impl Pair {
    /// Of a predicted and a true mask, `Bool`.
    fn of(masks: [Tensor; 2], spacing: &[f64]) -> Result<Self> {
        let [prediction, target] = cropped(masks)?;
        let (prediction, target) = (edges(&prediction)?, edges(&target)?);
        Ok(Pair {
            to_target: between(&prediction, &target, spacing)?,
            to_prediction: between(&target, &prediction, spacing)?,
        })
    }
}

/// What is left of two masks without the empty space around both.
fn cropped(mut masks: [Tensor; 2]) -> Result<[Tensor; 2]> {
    let either = masks[0].f_logical_or(&masks[1])?;
    for axis in 0..either.dim() as i64 {
        let length = either.size()[axis as usize];
        let slices = either.f_movedim_int(axis, 0)?.f_reshape([length, -1])?;
        let some = Vec::<bool>::try_from(slices.f_any_dim(1, false)?)?;
        let first = some.iter().position(|&some| some).unwrap_or(0);
        let last = some.iter().rposition(|&some| some).unwrap_or(0);
        for mask in &mut masks {
            *mask = mask.f_narrow(axis, first as i64, (last - first + 1) as i64)?;
        }
    }
    Ok(masks)
}

/// The distances of the pixels of one surface to another, sorted.
fn between(surface: &Tensor, other: &Tensor, spacing: &[f64]) -> Result<Vec<f64>> {
    let elsewhere = other.f_logical_not()?.f_to_kind(Kind::Double)?;
    let away = f_distance_transform_edt(&elsewhere, spacing)?;
    let mut distances = Vec::<f64>::try_from(away.f_masked_select(surface)?)?;
    distances.sort_unstable_by(f64::total_cmp);
    Ok(distances)
}

/// The pixels of a mask that have a neighbour along an axis that is not of the mask.
fn edges(mask: &Tensor) -> Result<Tensor> {
    let mut within = mask.shallow_clone();
    for axis in 1..=mask.dim() as i64 {
        let length = mask.size()[mask.dim() - axis as usize];
        let mut padding = vec![0; 2 * axis as usize];
        padding[2 * axis as usize - 2..].fill(1);
        let padded = mask.f_constant_pad_nd(&padding)?;
        for start in [0, 2] {
            within = within.f_logical_and(&padded.f_narrow(-axis, start, length)?)?;
        }
    }
    Ok(mask.f_logical_and(&within.f_logical_not()?)?)
}

/// With linear interpolation; NaN of nothing.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * share;
    let (lower, part) = (place.floor() as usize, place.fract());
    let (value, next) = (sorted[lower], sorted[last.min(lower + 1)]);
    // Equal ones can be infinite.
    if value == next { value } else { value + part * (next - value) }
}
