//! Networks that give feature maps.

use crate::{LossError, Result, check};
use std::fmt::{self, Debug};
use tch::{Device, Kind, Tensor};

/// What gives feature maps of images: a [`Vgg`](super::Vgg), or anything else.
///
/// The maps of one layer must have the same shape for images of the same size, the batch first.
pub trait FeatureExtractor: Debug {
    /// The feature maps of `images` (N, C, H, W), from the first layer asked for to the last.
    fn f_features(&self, images: &Tensor) -> Result<Vec<Tensor>>;
}

impl<E: FeatureExtractor + ?Sized> FeatureExtractor for Box<E> {
    fn f_features(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        (**self).f_features(images)
    }
}

impl<E: FeatureExtractor + ?Sized> FeatureExtractor for std::rc::Rc<E> {
    fn f_features(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        (**self).f_features(images)
    }
}

/// A closure that gives feature maps, such as a network of one's own.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::perceptual::{FnExtractor, PerceptualLoss};
/// use tch_losses::Loss;
///
/// // Halves of the resolution as the features.
/// let halves = FnExtractor::new("halves", |x: &Tensor| {
///     let half = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
///     Ok(vec![half.shallow_clone(), half.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?])
/// });
/// let image = Tensor::zeros([1, 1, 4, 4], (tch::Kind::Double, tch::Device::Cpu));
/// let loss = PerceptualLoss::new(halves).forward(&(&image + 0.5), &image);
/// assert_eq!(loss.double_value(&[]), 0.25 + 0.25);
/// ```
pub struct FnExtractor<F> {
    name: String,
    function: F,
}

impl<F: Fn(&Tensor) -> Result<Vec<Tensor>>> FnExtractor<F> {
    /// An extractor that calls `function(images)`; `name` is what errors and `Debug` show.
    pub fn new(name: impl Into<String>, function: F) -> Self {
        FnExtractor { name: name.into(), function }
    }
}

impl<F> Debug for FnExtractor<F> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("FnExtractor").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F: Fn(&Tensor) -> Result<Vec<Tensor>>> FeatureExtractor for FnExtractor<F> {
    fn f_features(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        (self.function)(images)
            .map_err(|source| LossError::Part { part: self.name.clone(), source: Box::new(source) })
    }
}

/// Feature maps of a target that does not change, computed once.
#[derive(Debug)]
pub struct Features(pub(super) Vec<Tensor>);

impl Features {
    /// The maps of `images`, detached.
    pub(super) fn of(extractor: &dyn FeatureExtractor, images: &Tensor) -> Result<Self> {
        let maps = tch::no_grad(|| extractor.f_features(images))?;
        Ok(Features(maps))
    }

    /// The maps, from the first layer to the last.
    pub fn maps(&self) -> &[Tensor] {
        &self.0
    }
}

/// Maps of the input beside those of the target: as many, and each of the same shape.
pub(super) fn paired<'a>(
    loss: &'static str,
    input: &'a [Tensor],
    target: &'a Features,
    same_size: bool,
) -> Result<Vec<(&'a Tensor, &'a Tensor)>> {
    if input.len() != target.0.len() || input.is_empty() {
        return Err(LossError::Param {
            loss,
            option: "target features",
            expected: "as many layers as the extractor gives, at least one",
            got: format!("{} of {}", target.0.len(), input.len()),
        });
    }
    let pairs: Vec<_> = input.iter().zip(&target.0).collect();
    for (input, target) in &pairs {
        check::device(loss, "target features", target, input)?;
        if same_size {
            check::shape(loss, "target features", target, &input.size())?;
        } else {
            let (a, b) = (input.size(), target.size());
            let ok = b.len() > 2 && a.len() > 2 && b[1] == a[1] && (b[0] == a[0] || b[0] == 1);
            check::shape_is(
                loss,
                "target features",
                target,
                ok,
                "the input's images and channels",
            )?;
        }
    }
    Ok(pairs)
}

/// The weight of each layer: those given, or 1.
pub(super) fn layer_weights(
    loss: &'static str,
    given: Option<&[f64]>,
    layers: usize,
) -> Result<Vec<f64>> {
    let weights = given.map_or_else(|| vec![1.0; layers], <[f64]>::to_vec);
    if weights.len() != layers || !weights.iter().all(|weight| weight.is_finite()) {
        return Err(LossError::Param {
            loss,
            option: "layer_weights",
            expected: "one finite number for each layer",
            got: format!("{weights:?} for {layers} layers"),
        });
    }
    Ok(weights)
}

/// What the values of an image mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageRange {
    /// From 0 to 1.
    Unit,
    /// From -1 to 1.
    Symmetric,
    /// From 0 to 255.
    Bytes,
    /// Already less the mean of ImageNet, by its deviation.
    Normalised,
}

impl ImageRange {
    /// Images (N, 3, H, W) less ImageNet's mean by its deviation.
    pub(super) fn normalise(self, images: &Tensor) -> Result<Tensor> {
        const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
        const STD: [f64; 3] = [0.229, 0.224, 0.225];
        // x = scale · value + shift in [0, 1]
        let (scale, shift) = match self {
            ImageRange::Unit => (1.0, 0.0),
            ImageRange::Symmetric => (0.5, 0.5),
            ImageRange::Bytes => (1.0 / 255.0, 0.0),
            ImageRange::Normalised => return Ok(images.shallow_clone()),
        };
        let row = |numbers: [f64; 3]| -> Result<Tensor> {
            let row = Tensor::f_from_slice(&numbers)?.f_view([1, 3, 1, 1])?;
            Ok(row.f_to_kind(images.f_kind()?)?.f_to_device(images.device())?)
        };
        let factor = row(STD.map(|std| scale / std))?;
        let offset = row([0, 1, 2].map(|i| (shift - MEAN[i]) / STD[i]))?;
        Ok(offset.f_addcmul(images, &factor)?)
    }
}

/// Images (N, channels, H, W) in the kind that networks compute in.
pub(super) fn images(
    name: &'static str,
    what: &'static str,
    tensor: &Tensor,
    channels: Option<i64>,
) -> Result<Tensor> {
    let size = tensor.size();
    let ok = size.len() == 4 && channels.is_none_or(|channels| size[1] == channels);
    let expected = match channels {
        Some(channels) => format!("[N, {channels}, H, W]"),
        None => "[N, C, H, W]".to_owned(),
    };
    check::shape_is(name, what, tensor, ok, &expected)?;
    check::accumulated(name, what, tensor)
}

/// A kernel on the device and in the kind of `like`.
pub(super) fn kernel(numbers: &[f64], size: &[i64], like: &Tensor) -> Result<Tensor> {
    let kernel = Tensor::f_from_slice(numbers)?.f_view(size)?;
    let (kind, device): (Kind, Device) = (like.f_kind()?, like.device());
    Ok(kernel.f_to_kind(kind)?.f_to_device(device)?)
}
