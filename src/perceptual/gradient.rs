//! Losses of edges.

use super::extractor::{images, kernel};
use crate::{
    MeanOver, Reduction, Result, check,
    loss::{named_loss, option_enum, weighted_loss},
    reduce::{reduce, weights},
};
use tch::Tensor;

/// What finds the edges of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EdgeFilter {
    /// Sobel's two derivatives, of weights that sum to 1 in size (kornia's `normalized`).
    #[default]
    Sobel,
    /// Differences of neighbours to the right and below.
    Difference,
    /// Laplace's second derivative, of the four neighbours.
    Laplacian,
}

option_enum!(EdgeFilter {
    EdgeFilter::Sobel => "sobel",
    EdgeFilter::Difference => "difference",
    EdgeFilter::Laplacian => "laplacian",
});

/// Edge loss: the distance of the derivatives of two images.
///
/// ```text
/// l = √((∂x - ∂t)² + eps²)     for each derivative and pixel
/// ```
///
/// Pixels beyond the border are those at it.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `filter` | `Sobel` | which derivatives |
/// | `eps` | 1e-3 | the loss at no difference |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input, target: images (N, C, H, W) of the same shape
/// - element weight: broadcastable to (N, C, K, H, W) with K the number of derivatives, 2 or 1
/// - loss: a scalar, or (N, C, K, H, W) without reduction; `Half` and `BFloat16` in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of derivatives, or by the sum of their weights; where nothing
/// counts it is 0.
///
/// # Errors
///
/// Shape, kind or device; `eps` not above 0.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{Loss, perceptual::EdgeLoss};
///
/// // A brighter image has the same edges.
/// let image = Tensor::rand([1, 3, 6, 6], (Kind::Double, Device::Cpu));
/// let loss = EdgeLoss::default().forward(&(&image + 0.5), &image).double_value(&[]);
/// assert!((loss - 1e-3).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Sobel's derivatives are those of kornia 0.9 `spatial_gradient`; the root that of Charbonnier et
/// al. 1994, as in Jiang et al. 2020, "Multi-Scale Progressive Fusion Network", for `Laplacian`.
#[derive(Debug, Clone)]
pub struct EdgeLoss {
    filter: EdgeFilter,
    eps: f64,
    reduction: Reduction,
}

impl Default for EdgeLoss {
    fn default() -> Self {
        EdgeLoss { filter: EdgeFilter::Sobel, eps: 1e-3, reduction: Reduction::Mean }
    }
}

impl EdgeLoss {
    /// `Sobel` by default.
    pub fn filter(mut self, filter: EdgeFilter) -> Self {
        self.filter = filter;
        self
    }

    /// The loss at no difference, above 0; 1e-3 by default.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "EdgeLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "eps", self.eps)?;
        check::same_shape(NAME, input, target)?;
        let x = images(NAME, "input", input, None)?;
        let t = check::in_kind(NAME, "target", target, x.f_kind()?)?;
        // The derivative is linear: one pass for both images.
        let edges = derivatives(&x.f_sub(&t)?, self.filter)?;
        let loss = edges.f_square()?.f_add_scalar(self.eps.powi(2))?.f_sqrt()?;
        let weight = weights(NAME, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

/// (N, C, H, W) to (N, C, K, H, W)
fn derivatives(image: &Tensor, filter: EdgeFilter) -> Result<Tensor> {
    const SOBEL: [f64; 18] = [
        -0.125, 0.0, 0.125, -0.25, 0.0, 0.25, -0.125, 0.0, 0.125, // to the right
        -0.125, -0.25, -0.125, 0.0, 0.0, 0.0, 0.125, 0.25, 0.125, // down
    ];
    const DIFFERENCE: [f64; 18] = [
        0.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, //
        0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0,
    ];
    const LAPLACIAN: [f64; 9] = [0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0];
    let numbers: &[f64] = match filter {
        EdgeFilter::Sobel => &SOBEL,
        EdgeFilter::Difference => &DIFFERENCE,
        EdgeFilter::Laplacian => &LAPLACIAN,
    };
    let size = image.size();
    let (count, filters) = (size[0] * size[1], numbers.len() as i64 / 9);
    if image.numel() == 0 {
        let empty = [size[0], size[1], filters, size[2], size[3]];
        return Ok(image
            .f_sum_dim_intlist([2i64, 3].as_slice(), false, image.f_kind()?)?
            .f_view([size[0], size[1], 1, 1, 1])?
            .f_expand(empty, false)?);
    }
    let planes =
        image.f_reshape([count, 1, size[2], size[3]])?.f_replication_pad2d([1, 1, 1, 1])?;
    let kernel = kernel(numbers, &[filters, 1, 3, 3], image)?;
    let edges = planes.f_conv2d(&kernel, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?;
    Ok(edges.f_view([size[0], size[1], filters, size[2], size[3]])?)
}

weighted_loss!(EdgeLoss);

named_loss! {
    EdgeLoss: "edge", Images => Dense, "kornia `spatial_gradient`, Charbonnier",
    [filter, eps, reduction], aliases ["gradient_difference"],
}
