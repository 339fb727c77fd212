//! clDice of masks.

use crate::{
    Result, check,
    error::unwrap,
    segmentation::{f_distance_transform_edt, f_soft_skeletonize},
};
use tch::{Kind, Tensor};

/// clDice of predicted and true masks: whether the skeleton of each is in the other.
///
/// ```text
/// clDice = 2 T_p T_s / (T_p + T_s)
/// T_p = |S(prediction) ∩ target| / |S(prediction)|      topological precision
/// T_s = |S(target) ∩ prediction| / |S(target)|          topological sensitivity
/// ```
///
/// S is the morphological skeleton, which [`soft_skeletonize`](crate::segmentation::soft_skeletonize)
/// gives of a mask, with as many iterations as its thickest part needs. A skeleton by thinning, which
/// is connected, gives somewhat other numbers.
///
/// Where neither mask has a pixel nothing can be said: NaN, so that a mean can leave it out; NaN too
/// where a mask has no skeleton as it reaches across the image. Where one mask alone is empty it is 0.
///
/// # Shapes
///
/// - prediction and target: masks (N, C, H, W) or (N, C, D, H, W) of any kind; what is not 0 counts
///   as one
/// - result: (N, C) in `Double`
///
/// # Errors
///
/// Shape or device of a mask.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::metrics::cl_dice;
///
/// // A line of 5 pixels, and a prediction with a gap.
/// let row = |pixels: [i64; 5]| {
///     Tensor::from_slice(&pixels).view([1, 1, 1, 5]).constant_pad_nd([1, 1, 1, 1])
/// };
/// let score = cl_dice(&row([1, 1, 0, 1, 1]), &row([1, 1, 1, 1, 1]));
/// assert!((score.double_value(&[0, 0]) - 2.0 * 0.8 / 1.8).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Shit et al. 2021, "clDice: A Novel Topology-Preserving Loss Function for Tubular Structure
/// Segmentation". See also [`ClDiceLoss`](crate::ClDiceLoss).
pub fn f_cl_dice(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    const NAME: &str = "cl_dice";
    let dims = prediction.dim();
    let ok = matches!(dims, 4 | 5);
    check::shape_is(NAME, "prediction", prediction, ok, "[N, C, H, W] or [N, C, D, H, W]")?;
    check::same_shape(NAME, prediction, target)?;
    let pixels: Vec<i64> = (2..dims as i64).collect();
    let count = |mask: &Tensor| mask.f_sum_dim_intlist(pixels.as_slice(), false, Kind::Double);
    let masks = [prediction.f_ne(0)?, target.f_ne(0)?];
    let share = |of: &Tensor, within: &Tensor| -> Result<Tensor> {
        let skeleton = skeleton(of)?;
        Ok(count(&skeleton.f_mul(within)?)?.f_div(&count(&skeleton)?)?)
    };
    let precision = share(&masks[0], &masks[1])?;
    let sensitivity = share(&masks[1], &masks[0])?;
    let sum = precision.f_add(&sensitivity)?;
    let harmonic = precision.f_mul(&sensitivity)?.f_mul_scalar(2.0)?.f_div(&sum)?;
    let [some, other] = [count(&masks[0])?.f_gt(0.0)?, count(&masks[1])?.f_gt(0.0)?];
    let apart = sum.f_eq(0.0)?.f_logical_or(&some.f_logical_xor(&other)?)?;
    Ok(harmonic.f_masked_fill(&apart, 0.0)?)
}

/// [`f_cl_dice`], or a panic with its error.
#[track_caller]
pub fn cl_dice(prediction: &Tensor, target: &Tensor) -> Tensor {
    unwrap(f_cl_dice(prediction, target))
}

/// The morphological skeleton of `Bool` masks.
fn skeleton(mask: &Tensor) -> Result<Tensor> {
    let image = mask.f_to_kind(Kind::Float)?;
    if mask.numel() == 0 {
        return Ok(image);
    }
    // An erosion takes the pixels off that are one step along an axis from the outside.
    let axes = mask.dim() - 2;
    let depth = f_distance_transform_edt(mask, &vec![1.0; axes])?;
    let depth = depth.f_masked_fill(&depth.f_isinf()?, 0.0)?.f_max()?.f_double_value(&[])?;
    let steps = (axes as f64).sqrt() * depth;
    f_soft_skeletonize(&image, steps.ceil() as i64)
}
