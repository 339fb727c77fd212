//! LPIPS, the learned perceptual distance.

use super::{
    Vgg, VggKind,
    extractor::{FeatureExtractor, ImageRange, images, kernel},
};
use crate::{
    Loss, MeanOver, Reduction, Result, check, loss::Entry, reduce::reduce, regression::root,
};
use std::fmt::Debug;
use tch::{Kind, Tensor, nn};

/// The network under [`LpipsLoss`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LpipsNet {
    /// AlexNet: the better metric.
    Alex,
    /// VGG16: the better loss to train with.
    Vgg,
}

impl LpipsNet {
    /// Channels of the five layers.
    fn channels(self) -> [i64; 5] {
        match self {
            LpipsNet::Alex => [64, 192, 384, 256, 256],
            LpipsNet::Vgg => [64, 128, 256, 512, 512],
        }
    }
}

/// Learned perceptual distance of images (LPIPS, version 0.1).
///
/// ```text
/// l = Σ_j mean_hw Σ_c w_jc (φ̂_j(x) - φ̂_j(t))²,   φ̂ = φ / (‖φ‖_c + 1e-10)
/// ```
///
/// for each image, over five layers j; the norm is over the channels of a pixel. Where a pixel has no
/// features at all its gradient is 0.
///
/// Variables are `trunk.features.N.weight`, `.bias` with torchvision's numbers, and `lin.0.weight` to
/// `lin.4.weight`, all without gradient. Fill them by [`weights::f_load`](super::weights::f_load)
/// from what `scripts/export_weights.py lpips_alex` or `lpips_vgg` makes: with random ones the
/// distance means nothing.
///
/// # Shapes
///
/// - input, target: images (N, 3, H, W) with values in the `range`, at least 63 pixels a side for
///   `Alex`, 16 for `Vgg`
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of images; without any it is 0.
///
/// # Errors
///
/// Shape, kind or device; images that are too small. There is no element weight.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor, nn};
/// use tch_losses::perceptual::{ImageRange, LpipsLoss, LpipsNet};
/// use tch_losses::Loss;
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let lpips = LpipsLoss::f_new(&vs.root(), LpipsNet::Alex, ImageRange::Unit)?;
/// let image = Tensor::rand([1, 3, 64, 64], (Kind::Float, Device::Cpu));
/// assert_eq!(lpips.forward(&image, &image).double_value(&[]), 0.0);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Differences
///
/// lpips takes values in [-1, 1] and says nothing where they are in [0, 1], which gives a quarter of
/// the distance; here the range is said. lpips and piq have a NaN gradient where a pixel has no
/// features.
///
/// # Reference
///
/// Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".
/// Follows lpips 0.1.4.
#[derive(Debug)]
pub struct LpipsLoss {
    trunk: Box<dyn FeatureExtractor>,
    heads: Vec<Tensor>,
    range: ImageRange,
    reduction: Reduction,
}

const NAME: &str = "LpipsLoss";

impl LpipsLoss {
    /// The distance by `net`, with its variables under `path`, of images in that `range`.
    pub fn f_new(path: &nn::Path, net: LpipsNet, range: ImageRange) -> Result<Self> {
        let trunk = path / "trunk";
        let trunk: Box<dyn FeatureExtractor> = match net {
            LpipsNet::Alex => Box::new(Alex::f_new(&trunk)?),
            LpipsNet::Vgg => {
                let layers = ["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"];
                Box::new(Vgg::f_new(&trunk, VggKind::Vgg16, &layers, ImageRange::Normalised)?)
            }
        };
        let lin = path / "lin";
        let head = |(i, channels): (usize, i64)| -> Result<Tensor> {
            let mut weight = (&lin / i).f_zeros_no_train("weight", &[1, channels, 1, 1])?;
            Ok(weight.f_fill_(1.0 / channels as f64)?)
        };
        let heads = net.channels().into_iter().enumerate().map(head).collect::<Result<_>>()?;
        Ok(LpipsLoss { trunk, heads, range, reduction: Reduction::Mean })
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Images in [-1, 1] as the trunk wants them.
    fn scaled(&self, images: &Tensor) -> Result<Tensor> {
        const SHIFT: [f64; 3] = [-0.030, -0.088, -0.188];
        const SCALE: [f64; 3] = [0.458, 0.448, 0.450];
        let symmetric = match self.range {
            ImageRange::Unit => images.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?,
            ImageRange::Bytes => images.f_div_scalar(127.5)?.f_sub_scalar(1.0)?,
            ImageRange::Symmetric => images.shallow_clone(),
            ImageRange::Normalised => return Ok(images.shallow_clone()),
        };
        let shift = kernel(&SHIFT, &[1, 3, 1, 1], images)?;
        Ok(symmetric.f_sub(&shift)?.f_div(&kernel(&SCALE, &[1, 3, 1, 1], images)?)?)
    }
}

/// Features by their norm over the channels of a pixel.
fn unit(features: &Tensor) -> Result<Tensor> {
    let square = features.f_square()?.f_sum_dim_intlist([1i64].as_slice(), true, None::<Kind>)?;
    let zero = square.f_eq(0.0)?;
    let norm = root(&square)?.f_add_scalar(1e-10)?;
    // Where the features are 0, so is their slope.
    Ok(features.f_div(&norm.f_masked_fill(&zero, 1.0)?)?)
}

impl Loss for LpipsLoss {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        check::reduction(NAME, self.reduction)?;
        check::same_shape(NAME, input, target)?;
        let input = images(NAME, "input", input, Some(3))?;
        let target = check::in_kind(NAME, "target", target, input.f_kind()?)?;
        let of_input = self.trunk.f_features(&self.scaled(&input)?)?;
        let of_target = self.trunk.f_features(&self.scaled(&target)?)?;
        let mut total =
            Tensor::f_zeros(input.size()[..1].to_vec(), (input.f_kind()?, input.device()))?;
        for ((x, t), head) in of_input.iter().zip(&of_target).zip(&self.heads) {
            let gap = unit(x)?.f_sub(&unit(t)?)?.f_square()?;
            let head = head.f_to_kind(gap.f_kind()?)?;
            let pixels =
                gap.f_mul(&head)?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
            total =
                total.f_add(&pixels.f_mean_dim([1i64, 2].as_slice(), false, None::<Kind>)?)?;
        }
        reduce(total, None, MeanOver::Elements, self.reduction)
    }
}

/// The features of AlexNet after each of its five ReLUs, with torchvision's names.
#[derive(Debug)]
struct Alex(Vec<[Tensor; 2]>);

impl Alex {
    /// Number in torchvision's `features`, inputs, outputs and kernel of each convolution.
    const CONVOLUTIONS: [(usize, i64, i64, i64); 5] =
        [(0, 3, 64, 11), (3, 64, 192, 5), (6, 192, 384, 3), (8, 384, 256, 3), (10, 256, 256, 3)];

    fn f_new(path: &nn::Path) -> Result<Self> {
        let features = path / "features";
        let layers = Self::CONVOLUTIONS.map(|(number, inputs, outputs, side)| -> Result<_> {
            let path = &features / number;
            let mut weight = path.f_zeros_no_train("weight", &[outputs, inputs, side, side])?;
            let _ = weight.f_normal_(0.0, (2.0 / (inputs * side * side) as f64).sqrt())?;
            Ok([weight, path.f_zeros_no_train("bias", &[outputs])?])
        });
        Ok(Alex(layers.into_iter().collect::<Result<_>>()?))
    }
}

impl FeatureExtractor for Alex {
    fn f_features(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let size = images.size();
        let ok = size[2] >= 63 && size[3] >= 63;
        check::shape_is(NAME, "images", images, ok, "[N, 3, H, W] with H and W at least 63")?;
        let mut x = images.shallow_clone();
        let mut maps = Vec::with_capacity(5);
        for (i, [weight, bias]) in self.0.iter().enumerate() {
            if i == 1 || i == 2 {
                x = x.f_max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false)?;
            }
            let (stride, padding) = [(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)][i];
            let like = |t: &Tensor| t.f_to_kind(x.kind());
            x = x
                .f_conv2d(
                    &like(weight)?,
                    Some(like(bias)?),
                    [stride, stride],
                    [padding, padding],
                    [1, 1],
                    1,
                )?
                .f_relu()?;
            maps.push(x.shallow_clone());
        }
        Ok(maps)
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let entry = Entry::apart("lpips", |options| {
        let mut reduction = Reduction::Mean;
        options.read("reduction", &mut reduction)
    });
    vec![entry.of_type("LpipsLoss", module_path!()).follows("lpips 0.1.4 `LPIPS`")]
}
