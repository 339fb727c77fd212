//! U-Net's weights of pixels.

use super::distance::{f_distance_transform_edt, pixel_size};
use crate::{Result, check, error::unwrap};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};

/// What [`unet_weight_map`] weighs.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `w0` | 10 | the weight of a gap of no width |
/// | `sigma` | 5 | σ, how wide a gap can be |
/// | `class_weights` | balanced | w_c of the background and of the instances |
/// | `spacing` | 1 | the size of a pixel along d1, .. |
#[derive(Debug, Clone)]
pub struct WeightMapOptions {
    w0: f64,
    sigma: f64,
    class_weights: Option<[f64; 2]>,
    spacing: Option<Vec<f64>>,
}

impl Default for WeightMapOptions {
    fn default() -> Self {
        WeightMapOptions { w0: 10.0, sigma: 5.0, class_weights: None, spacing: None }
    }
}

impl WeightMapOptions {
    /// The weight of a gap of no width, at least 0; 10 by default.
    pub fn w0(mut self, w0: f64) -> Self {
        self.w0 = w0;
        self
    }

    /// σ, above 0, in the unit of the spacing; 5 by default.
    pub fn sigma(mut self, sigma: f64) -> Self {
        self.sigma = sigma;
        self
    }

    /// w_c of the background and of the instances; `None` balances the two in each image.
    pub fn class_weights(mut self, class_weights: impl Into<Option<[f64; 2]>>) -> Self {
        self.class_weights = class_weights.into();
        self
    }

    /// The size of a pixel along d1, ..; 1 by default.
    pub fn spacing(mut self, spacing: impl Into<Vec<f64>>) -> Self {
        self.spacing = Some(spacing.into());
        self
    }
}

/// U-Net's weights of pixels, by which cross entropy learns the narrow gaps between instances.
///
/// ```text
/// w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))² / (2 σ²))       the second part in the background only
/// d1, d2: distance to the nearest and to the second nearest instance
/// ```
///
/// Unless given, w_c balances background and instances in each image: it is the number of pixels by
/// twice those of its kind, so that the two kinds sum to the same and the mean is 1 (of one kind
/// alone, 1/2). With fewer than two instances the second part is 0.
///
/// Made for a data loader: it reads the labels back and takes a distance transform for each
/// instance.
///
/// # Shapes
///
/// - instances: labels, integer, (N, d1, ..), one to three dimensions of pixels; 0 is the background
/// - weights: (N, d1, ..) in `Float`, on the labels' device
///
/// # Errors
///
/// Shape or kind of the labels; an option out of its range.
///
/// # Examples
///
/// ```
/// use tch::{Kind, Tensor};
/// use tch_losses::{CrossEntropyLoss, Loss};
/// use tch_losses::segmentation::{WeightMapOptions, unet_weight_map};
///
/// // Two cells with a gap of two pixels, and background beside them.
/// let instances = Tensor::from_slice(&[1i64, 1, 0, 0, 2, 2, 0, 0]).view([1, 8]);
/// let options = WeightMapOptions::default().class_weights([1.0, 2.0]);
/// let weight = unet_weight_map(&instances, options);
/// let gap = 1.0 + 10.0 * (-(1f64 + 2.).powi(2) / 50.0).exp();
/// assert!((weight.double_value(&[0, 2]) - gap).abs() < 1e-6);
/// assert_eq!(weight.double_value(&[0, 0]), 2.0);
///
/// // The target is which pixels are of a cell; the mean divides by the weights.
/// let target = instances.gt(0).to_kind(Kind::Int64);
/// let logits = Tensor::zeros([1, 2, 8], (Kind::Float, tch::Device::Cpu));
/// let loss = CrossEntropyLoss::default().forward_weighted(&logits, &target, &weight);
/// assert!((loss.double_value(&[]) - std::f64::consts::LN_2).abs() < 1e-6);
/// ```
///
/// # Differences
///
/// The paper does not say how w_c balances, nor what the distances are inside of an instance.
///
/// # Reference
///
/// Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation".
pub fn f_unet_weight_map(instances: &Tensor, options: WeightMapOptions) -> Result<Tensor> {
    const NAME: &str = "unet_weight_map";
    let WeightMapOptions { w0, sigma, class_weights, spacing } = options;
    check::at_least_zero(NAME, "w0", w0)?;
    check::param(NAME, "sigma", sigma, sigma > 0.0 && sigma.is_finite(), "above 0 and finite")?;
    for weight in class_weights.into_iter().flatten() {
        check::at_least_zero(NAME, "class_weights", weight)?;
    }
    let dims = instances.dim();
    let ok = (2..=4).contains(&dims);
    let expected = "[N, ..] with 1 to 3 dimensions of pixels";
    check::shape_is(NAME, "instances", instances, ok, expected)?;
    let spacing = pixel_size(NAME, spacing.as_deref(), dims - 1)?;
    let labels = check::index(NAME, "instances", instances)?;
    let device = labels.device();
    if labels.numel() == 0 {
        return Ok(Tensor::f_zeros(labels.size(), (Kind::Float, device))?);
    }

    let background = labels.f_eq(0)?;
    let of_class = |[background_weight, instance_weight]: [Tensor; 2]| {
        background_weight.f_where_self(&background, &instance_weight)
    };
    let weight = match class_weights {
        Some(weights) => {
            let [a, b] = weights.map(|weight| Tensor::f_full([1], weight, (Kind::Float, device)));
            of_class([a?, b?])?
        }
        None => {
            let pixels: Vec<i64> = (1..dims as i64).collect();
            let share = background.f_to_kind(Kind::Float)?.f_mean_dim(
                pixels.as_slice(),
                true,
                None::<Kind>,
            )?;
            let balanced = |share: Tensor| share.f_mul_scalar(2.0)?.f_reciprocal();
            of_class([balanced(share.shallow_clone())?, balanced(share.f_rsub_scalar(1.0)?)?])?
        }
    };
    let gaps = (0..labels.size()[0])
        .map(|image| gap(&labels.f_get(image)?, &spacing))
        .collect::<Result<Vec<_>>>()?;
    let border = Tensor::f_stack(&gaps, 0)?
        .f_square()?
        .f_mul_scalar(-0.5 / (sigma * sigma))?
        .f_exp()?
        .f_mul_scalar(w0)?;
    Ok(weight.f_add(&border.f_mul(&background)?)?)
}

/// [`f_unet_weight_map`], or a panic with its error.
#[track_caller]
pub fn unet_weight_map(instances: &Tensor, options: WeightMapOptions) -> Tensor {
    unwrap(f_unet_weight_map(instances, options))
}

/// d1 + d2 of an image of labels (d1, ..), in `Float`.
fn gap(labels: &Tensor, spacing: &[f64]) -> Result<Tensor> {
    let values = Vec::<i64>::try_from(labels.f_reshape([-1])?)?;
    let instances: BTreeSet<i64> = values.into_iter().filter(|&label| label != 0).collect();
    let far = Tensor::f_full([1], f64::INFINITY, (Kind::Float, labels.device()))?;
    let mut nearest = far.f_expand(labels.size(), false)?;
    let mut second = nearest.shallow_clone();
    for instance in instances {
        let distance = f_distance_transform_edt(&labels.f_ne(instance)?, spacing)?;
        second = second.f_minimum(&nearest.f_maximum(&distance)?)?;
        nearest = nearest.f_minimum(&distance)?;
    }
    Ok(nearest.f_add(&second)?)
}
