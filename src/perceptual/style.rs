//! Gram matrices, and the losses of style and of content with style.

use super::{
    PerceptualLoss,
    extractor::{FeatureExtractor, Features, layer_weights, paired},
};
use crate::{
    Loss, LossError, MeanOver, Reduction, Result, check,
    error::unwrap,
    loss::{Entry, option_enum},
    reduce::reduce,
};
use std::rc::Rc;
use tch::{Kind, Tensor};

/// What a Gram matrix of C channels and M pixels, and the distance of two, are divided by.
///
/// A style weight means nothing without it: the values differ by factors of 1e4 to 1e8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GramNorm {
    /// `G = F Fᵀ / (C M)` and the mean of the squares: `Σ (G - A)² / C²`. Independent of the size
    /// of the picture (PyTorch's tutorial, BasicSR).
    #[default]
    Normalised,
    /// `G = F Fᵀ` and `Σ (G - A)² / (4 C² M²)`, as Gatys et al.
    Gatys,
    /// `G = F Fᵀ` and the mean of the squares, as piq.
    Raw,
}

option_enum!(GramNorm {
    GramNorm::Normalised => "normalised",
    GramNorm::Gatys => "gatys",
    GramNorm::Raw => "raw",
});

/// The Gram matrices of feature maps: which channels are strong in the same places.
///
/// ```text
/// G = F Fᵀ / d,   F the map as C rows of M pixels;   d = C M for `Normalised`, else 1
/// ```
///
/// # Shapes
///
/// `maps` (N, C, d1, ..) to (N, C, C), one matrix an image; `Half` and `BFloat16` are multiplied and
/// returned in `Float`.
///
/// # Errors
///
/// Fewer than three dimensions; a kind that is not floating-point.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::perceptual::{GramNorm, gram_matrix};
///
/// let maps = Tensor::from_slice(&[1.0f64, 2.0, 3.0, 4.0]).view([1, 2, 2]);
/// let gram = gram_matrix(&maps, GramNorm::Raw);
/// assert_eq!(Vec::<f64>::try_from(gram.view(-1)).unwrap(), [5.0, 11.0, 11.0, 25.0]);
/// ```
pub fn f_gram_matrix(maps: &Tensor, norm: GramNorm) -> Result<Tensor> {
    const NAME: &str = "gram_matrix";
    let size = maps.size();
    check::shape_is(NAME, "maps", maps, size.len() >= 3, "[N, C, ..]")?;
    let rows = check::accumulated(NAME, "maps", maps)?;
    let pixels: i64 = size[2..].iter().product();
    let rows = rows.f_reshape([size[0], size[1], pixels])?;
    let gram = rows.f_bmm(&rows.f_transpose(1, 2)?)?;
    Ok(match norm {
        GramNorm::Normalised => gram.f_div_scalar(((size[1] * pixels) as f64).max(1.0))?,
        GramNorm::Gatys | GramNorm::Raw => gram,
    })
}

/// [`f_gram_matrix`], or a panic with its error.
#[track_caller]
pub fn gram_matrix(maps: &Tensor, norm: GramNorm) -> Tensor {
    unwrap(f_gram_matrix(maps, norm))
}

/// Style or texture loss: the distance of Gram matrices.
///
/// ```text
/// l = Σ_j w_j Σ (G_j(x) - G_j(t))² / d_j     for each image, over the layers j
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `layer_weights` | 1 each | w; Gatys et al. have 1/5 for each of five |
/// | `norm` | `Normalised` | what divides G and the squares, see [`GramNorm`] |
/// | `reduction` | `Mean` | |
///
/// The style picture may have another size than the input, and be one for a whole batch.
///
/// # Shapes
///
/// - input: images (N, C, H, W); target: (N, C, H', W') or (1, C, H', W')
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of images; without any it is 0.
///
/// # Errors
///
/// Device of the target; another number of channels or images; a number of weights other than that
/// of the layers; what the extractor refuses. There is no element weight.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::perceptual::{FnExtractor, GramNorm, StyleLoss};
/// use tch_losses::Loss;
///
/// let pixels = FnExtractor::new("pixels", |x: &Tensor| Ok(vec![x.shallow_clone()]));
/// let loss = StyleLoss::new(pixels).norm(GramNorm::Raw);
/// let (x, t) = (Tensor::ones([1, 2, 1, 2], (Kind::Double, Device::Cpu)), Tensor::zeros([1, 2, 3, 3], (Kind::Double, Device::Cpu)));
/// // All four entries of the matrix are 2 and 0.
/// assert_eq!(loss.forward(&x, &t).double_value(&[]), 4.0);
/// ```
///
/// # Differences
///
/// tch's example of style transfer counts the images of a batch as channels.
///
/// # Reference
///
/// Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks". `Raw` follows piq
/// 0.8 `StyleLoss`. See also [`ContentStyleLoss`].
#[derive(Debug)]
pub struct StyleLoss<E> {
    extractor: E,
    layer_weights: Option<Vec<f64>>,
    norm: GramNorm,
    reduction: Reduction,
}

/// [`StyleLoss`] under the name that texture synthesis has for it.
pub type TextureLoss<E> = StyleLoss<E>;

impl<E: FeatureExtractor> StyleLoss<E> {
    const NAME: &'static str = "StyleLoss";

    /// A loss of the maps that `extractor` gives.
    pub fn new(extractor: E) -> Self {
        StyleLoss {
            extractor,
            layer_weights: None,
            norm: GramNorm::Normalised,
            reduction: Reduction::Mean,
        }
    }

    /// One weight for each layer; 1 by default.
    pub fn layer_weights(mut self, layer_weights: impl Into<Vec<f64>>) -> Self {
        self.layer_weights = Some(layer_weights.into());
        self
    }

    /// What the matrices are divided by; `Normalised` by default.
    pub fn norm(mut self, norm: GramNorm) -> Self {
        self.norm = norm;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The maps of a target that stays the same, for [`StyleLoss::f_forward_with`].
    pub fn f_features(&self, target: &Tensor) -> Result<Features> {
        Features::of(&self.extractor, target)
    }

    /// The loss against kept maps of the target.
    pub fn f_forward_with(&self, input: &Tensor, target: &Features) -> Result<Tensor> {
        self.of_maps(&self.extractor.f_features(input)?, target)
    }

    /// [`StyleLoss::f_forward_with`], or a panic with its error.
    #[track_caller]
    pub fn forward_with(&self, input: &Tensor, target: &Features) -> Tensor {
        unwrap(self.f_forward_with(input, target))
    }

    fn of_maps(&self, input: &[Tensor], target: &Features) -> Result<Tensor> {
        check::reduction(Self::NAME, self.reduction)?;
        let pairs = paired(Self::NAME, input, target, false)?;
        let weights = layer_weights(Self::NAME, self.layer_weights.as_deref(), pairs.len())?;
        let mut total: Option<Tensor> = None;
        for ((input, target), weight) in pairs.into_iter().zip(weights) {
            let gram = f_gram_matrix(input, self.norm)?;
            let target = f_gram_matrix(target, self.norm)?.f_to_kind(gram.f_kind()?)?;
            let size = input.size();
            let pixels: i64 = size[2..].iter().product();
            let divisor = match self.norm {
                GramNorm::Gatys => 4.0 * (pixels.max(1) as f64).powi(2),
                GramNorm::Normalised | GramNorm::Raw => 1.0,
            };
            let gap = gram.f_sub(&target)?.f_square()?.f_flatten(1, -1)?;
            let mean = gap.f_mean_dim([1i64].as_slice(), false, None::<Kind>)?;
            let term = mean.f_mul_scalar(weight / divisor)?;
            total = Some(match total {
                Some(total) => total.f_add(&term)?,
                None => term,
            });
        }
        let total = total.ok_or(LossError::Unsupported {
            loss: Self::NAME,
            message: "the extractor gave no layer",
        })?;
        reduce(total, None, MeanOver::Elements, self.reduction)
    }
}

impl<E: FeatureExtractor> Loss for StyleLoss<E> {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        check::device(Self::NAME, "target", target, input)?;
        self.f_forward_with(input, &self.f_features(target)?)
    }
}

/// The loss of style transfer: the content of one picture in the style of another.
///
/// ```text
/// l = α content(x, content picture) + β style(x, style picture)
/// ```
///
/// with one pass of the network for both: the extractor gives the layers of content first, then
/// those of style, or says which by `content_layers` and `style_layers`.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `alpha` | 1 | α, the weight of the content |
/// | `beta` | 1e3 | β, the weight of the style; what it means depends on `norm` |
/// | `content_layers`, `style_layers` | all | which of the extractor's maps count, from 0 |
/// | `content_weights`, `style_weights` | 1 each | one weight for each of those |
/// | `norm` | `Normalised` | what divides the Gram matrices, see [`GramNorm`] |
///
/// # Shapes
///
/// Images (N, C, H, W); the style picture (N or 1, C, H', W').
///
/// # Errors
///
/// As [`PerceptualLoss`] and [`StyleLoss`]; a layer that the extractor does not give.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor, nn};
/// use tch_losses::perceptual::{ContentStyleLoss, ImageRange, Vgg, VggKind};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let layers = ["relu1_1", "relu2_1", "relu2_2"];
/// let vgg = Vgg::f_new(&vs.root(), VggKind::Vgg19, &layers, ImageRange::Unit)?;
/// let loss = ContentStyleLoss::new(vgg).content_layers([2]).style_layers([0, 1]);
/// let picture = || Tensor::rand([1, 3, 16, 16], (Kind::Float, Device::Cpu));
/// let (content, style) = (picture(), picture());
/// let targets = loss.f_targets(&content, &style)?;
/// let parts = loss.f_forward(&content, &targets)?;
/// assert_eq!(parts.content.double_value(&[]), 0.0);
/// assert!(parts.style.double_value(&[]) > 0.0);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Reference
///
/// Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks".
#[derive(Debug)]
pub struct ContentStyleLoss<E> {
    extractor: Rc<E>,
    content: PerceptualLoss<Rc<E>>,
    style: StyleLoss<Rc<E>>,
    content_layers: Option<Vec<usize>>,
    style_layers: Option<Vec<usize>>,
    alpha: f64,
    beta: f64,
}

/// What [`ContentStyleLoss::f_forward`] returns.
#[derive(Debug)]
pub struct ContentStyleLosses {
    /// The weighted sum, to call `backward` on.
    pub total: Tensor,
    /// The content loss before its weight, detached.
    pub content: Tensor,
    /// The style loss before its weight, detached.
    pub style: Tensor,
}

/// The maps of a content and a style picture, computed once.
#[derive(Debug)]
pub struct ContentStyleTargets {
    content: Features,
    style: Features,
}

impl<E: FeatureExtractor> ContentStyleLoss<E> {
    const NAME: &'static str = "ContentStyleLoss";

    /// A loss of the maps that `extractor` gives.
    pub fn new(extractor: E) -> Self {
        let extractor = Rc::new(extractor);
        ContentStyleLoss {
            content: PerceptualLoss::new(extractor.clone()),
            style: StyleLoss::new(extractor.clone()),
            extractor,
            content_layers: None,
            style_layers: None,
            alpha: 1.0,
            beta: 1e3,
        }
    }

    /// α, the weight of the content; 1 by default.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// β, the weight of the style; 1000 by default.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Which of the extractor's maps are of content, from 0; all by default.
    pub fn content_layers(mut self, layers: impl Into<Vec<usize>>) -> Self {
        self.content_layers = Some(layers.into());
        self
    }

    /// Which of the extractor's maps are of style, from 0; all by default.
    pub fn style_layers(mut self, layers: impl Into<Vec<usize>>) -> Self {
        self.style_layers = Some(layers.into());
        self
    }

    /// One weight for each layer of content; 1 by default.
    pub fn content_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.content = self.content.layer_weights(weights);
        self
    }

    /// One weight for each layer of style; 1 by default.
    pub fn style_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.style = self.style.layer_weights(weights);
        self
    }

    /// What the Gram matrices are divided by; `Normalised` by default.
    pub fn norm(mut self, norm: GramNorm) -> Self {
        self.style = self.style.norm(norm);
        self
    }

    fn pick(maps: &[Tensor], layers: Option<&[usize]>) -> Result<Vec<Tensor>> {
        let all: Vec<usize> = (0..maps.len()).collect();
        let layers = layers.unwrap_or(&all);
        let map = |&layer: &usize| {
            maps.get(layer).map(Tensor::shallow_clone).ok_or_else(|| LossError::Param {
                loss: Self::NAME,
                option: "layers",
                expected: "numbers of maps that the extractor gives, from 0",
                got: format!("{layer} of {}", maps.len()),
            })
        };
        layers.iter().map(map).collect()
    }

    /// The maps of the content and the style picture.
    pub fn f_targets(&self, content: &Tensor, style: &Tensor) -> Result<ContentStyleTargets> {
        let of_content = Features::of(&*self.extractor, content)?;
        // One picture for both is looked at once.
        let other = match std::ptr::eq(content, style) {
            true => None,
            false => Some(Features::of(&*self.extractor, style)?),
        };
        let of_style = other.as_ref().unwrap_or(&of_content).maps();
        Ok(ContentStyleTargets {
            style: Features(Self::pick(of_style, self.style_layers.as_deref())?),
            content: Features(Self::pick(of_content.maps(), self.content_layers.as_deref())?),
        })
    }

    /// The loss of `input`, and its parts.
    pub fn f_forward(
        &self,
        input: &Tensor,
        targets: &ContentStyleTargets,
    ) -> Result<ContentStyleLosses> {
        let finite = self.alpha.is_finite() && self.beta.is_finite();
        check::param(Self::NAME, "alpha or beta", self.alpha * self.beta, finite, "finite")?;
        let maps = self.extractor.f_features(input)?;
        let of_content = Self::pick(&maps, self.content_layers.as_deref())?;
        let of_style = Self::pick(&maps, self.style_layers.as_deref())?;
        let content = self.content.of_maps(&of_content, &targets.content)?;
        let style = self.style.of_maps(&of_style, &targets.style)?;
        let total = content.f_mul_scalar(self.alpha)?.f_add(&style.f_mul_scalar(self.beta)?)?;
        Ok(ContentStyleLosses { total, content: content.f_detach()?, style: style.f_detach()? })
    }

    /// [`ContentStyleLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, targets: &ContentStyleTargets) -> ContentStyleLosses {
        unwrap(self.f_forward(input, targets))
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let style = Entry::apart("style", |options| {
        options.read("layer_weights", &mut None::<Vec<f64>>)?;
        options.read("norm", &mut GramNorm::default())?;
        let mut reduction = Reduction::Mean;
        options.read("reduction", &mut reduction)
    });
    let both = Entry::apart("content_style", |options| {
        options.read("alpha", &mut 1.0)?;
        options.read("beta", &mut 1e3)?;
        options.read("norm", &mut GramNorm::default())
    });
    vec![
        style
            .of_type("StyleLoss", module_path!())
            .follows("Gatys et al. 2016, piq `StyleLoss`")
            .aliases(&["texture", "gram"]),
        both.of_type("ContentStyleLoss", module_path!()).follows("Gatys et al. 2016"),
    ]
}
