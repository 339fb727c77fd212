//! Inception v3 as the Fréchet distance uses it.

use super::resize::{Resize, f_resize};
use crate::{
    LossError, Result, check,
    perceptual::{FeatureExtractor, ImageRange},
};
use std::fmt;
use tch::{Kind, Tensor, nn};

const NAME: &str = "FidInception";
/// The side that images are resized to.
const SIDE: i64 = 299;

/// What [`FidInception`] gives of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InceptionLayer {
    /// 64 maps after the first max pooling.
    Pool1,
    /// 192 maps after the second max pooling.
    Pool2,
    /// 768 maps before the reduction to 8 x 8 pixels.
    Mixed6e,
    /// 2048 features, the means of the last maps: those of FID.
    Pool3,
    /// 1008 logits without the bias of the last layer: those of the inception score.
    LogitsUnbiased,
    /// 1008 logits.
    Logits,
}

impl InceptionLayer {
    /// How many features it has.
    pub fn dims(self) -> i64 {
        match self {
            InceptionLayer::Pool1 => 64,
            InceptionLayer::Pool2 => 192,
            InceptionLayer::Mixed6e => 768,
            InceptionLayer::Pool3 => 2048,
            InceptionLayer::LogitsUnbiased | InceptionLayer::Logits => 1008,
        }
    }

    /// How many of the four stages it needs.
    fn stages(self) -> usize {
        (self as usize + 1).min(4)
    }

    /// The shortest side of an image of which something is left.
    fn least_side(self) -> i64 {
        [11, 27, 43, 75][self.stages() - 1]
    }
}

/// How images are brought into the size and range that Inception is fed with.
///
/// Numbers of different modes cannot be compared: a distance names its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FidMode {
    /// pytorch-fid: bilinear to 299 x 299 pixels, `2 x - 1`.
    #[default]
    PytorchFid,
    /// clean-fid: antialiased bicubic to 299 x 299 pixels, limited to the range,
    /// `(255 x - 128) / 128`.
    Clean,
    /// The first implementation and torch-fidelity: TensorFlow 1's bilinear to 299 x 299 pixels,
    /// `(255 x - 128) / 128`.
    Tensorflow1,
    /// In the size that they have, `2 x - 1`.
    AsTheyAre,
}

impl FidMode {
    fn resize(self) -> Option<Resize> {
        match self {
            FidMode::PytorchFid => Some(Resize::Bilinear),
            FidMode::Clean => Some(Resize::BicubicAntialiased),
            FidMode::Tensorflow1 => Some(Resize::BilinearTensorflow1),
            FidMode::AsTheyAre => None,
        }
    }

    /// Factor and summand that take a range to what the network is fed with.
    fn scaling(self, range: ImageRange) -> Result<(f64, f64)> {
        let about_128 = matches!(self, FidMode::Clean | FidMode::Tensorflow1);
        // Bytes by half, less 1.
        let half = if about_128 { 128.0 } else { 127.5 };
        Ok(match range {
            ImageRange::Bytes => (1.0 / half, -1.0),
            ImageRange::Unit => (255.0 / half, -1.0),
            ImageRange::Symmetric => (127.5 / half, 127.5 / half - 1.0),
            ImageRange::Normalised => {
                return Err(LossError::Param {
                    loss: NAME,
                    option: "range",
                    expected: "Unit, Symmetric or Bytes",
                    got: format!("{range:?}"),
                });
            }
        })
    }

    /// Images as the network is fed with them: resized, and about 0.
    ///
    /// Images that were prepared one by one, since they differ in size, go through a network of
    /// [`FidMode::AsTheyAre`] and [`ImageRange::Symmetric`] as they are.
    ///
    /// # Shapes
    ///
    /// Images (N, C, H, W) of any real kind in the `range`; the result (N, C, 299, 299) in Float, or
    /// Double for Double.
    ///
    /// # Errors
    ///
    /// Shape or kind; images without pixels; a `range` of `Normalised`.
    pub fn f_prepare(self, images: &Tensor, range: ImageRange) -> Result<Tensor> {
        let (factor, summand) = self.scaling(range)?;
        check::shape_is(NAME, "images", images, images.dim() == 4, "[N, C, H, W]")?;
        let kind = if images.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let images = check::in_kind(NAME, "images", images, kind)?;
        let resized = match self.resize() {
            Some(how) => f_resize(&images, (SIDE, SIDE), how)?,
            None => images,
        };
        let scaled = match (factor, summand) {
            (1.0, 0.0) => resized,
            _ => resized.f_mul_scalar(factor)?.f_add_scalar(summand)?,
        };
        match self {
            // The cubic goes beyond black and white.
            FidMode::Clean => Ok(scaled.f_clamp(-1.0, 255.0 / 128.0 - 1.0)?),
            _ => Ok(scaled),
        }
    }
}

impl fmt::Display for FidMode {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            FidMode::PytorchFid => "as pytorch-fid: bilinear to 299 x 299, values 2 x - 1",
            FidMode::Clean => {
                "as clean-fid: antialiased bicubic to 299 x 299, values (255 x - 128) / 128"
            }
            FidMode::Tensorflow1 => {
                "as TensorFlow 1: bilinear from the corner to 299 x 299, values (255 x - 128) / 128"
            }
            FidMode::AsTheyAre => "in their own size, values 2 x - 1",
        })
    }
}

/// The Inception v3 of FID, frozen: TensorFlow's network of 2015 with its 1008 outputs.
///
/// It differs from torchvision's where it averages (pixels beyond the border do not count) and in
/// the last block (which takes maxima where it should average); features of one mean nothing in
/// the other. Variables have torchvision's names, `Conv2d_1a_3x3.conv.weight`,
/// `Mixed_5b.branch1x1.bn.running_mean` and so on, and no gradient; that of the images flows.
/// Weights are random until [`weights::f_load`](crate::perceptual::weights::f_load) fills them from
/// what `scripts/export_weights.py inception_fid` makes, with `rest` true: no layer beyond the last
/// that is asked for is made.
///
/// # Shapes
///
/// Images (N, 3, H, W) whose values are in the `range`; maps (N, 64, 73, 73), (N, 192, 35, 35),
/// (N, 768, 17, 17), (N, 2048, 1, 1) and logits (N, 1008), the maps of other sizes with
/// [`FidMode::AsTheyAre`]. `Half`, `BFloat16` and integers are computed in `Float`.
///
/// # Errors
///
/// No layers, or not each once from the first to the last; shape or kind of the images; with
/// `AsTheyAre` sides below 75 (11, 27, 43 for the first three layers).
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor, nn};
/// use tch_losses::metrics::{FidInception, FidMode, InceptionLayer};
/// use tch_losses::perceptual::{FeatureExtractor, ImageRange};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let layers = [InceptionLayer::Pool1, InceptionLayer::Pool2];
/// let net = FidInception::f_new(&vs.root(), &layers, ImageRange::Unit)?.mode(FidMode::Clean);
/// let maps = net.f_features(&Tensor::rand([1, 3, 32, 48], (Kind::Float, Device::Cpu)))?;
/// assert_eq!(maps[0].size(), [1, 64, 73, 73]);
/// assert_eq!(maps[1].size(), [1, 192, 35, 35]);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Reference
///
/// Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision". Follows
/// pytorch-fid 0.3 `InceptionV3` and torch-fidelity 0.4 `FeatureExtractorInceptionV3`.
pub struct FidInception {
    range: ImageRange,
    mode: FidMode,
    layers: Vec<InceptionLayer>,
    stages: Vec<Vec<Layer>>,
    fc: Option<[Tensor; 2]>,
}

impl FidInception {
    /// The network up to the last of `layers`, with its variables under `path`.
    pub fn f_new(path: &nn::Path, layers: &[InceptionLayer], range: ImageRange) -> Result<Self> {
        let ascending = layers.windows(2).all(|pair| pair[0] < pair[1]);
        let Some(&last) = layers.last().filter(|_| ascending) else {
            return Err(LossError::Param {
                loss: NAME,
                option: "layers",
                expected: "at least one, each once, from the first to the last",
                got: format!("{layers:?}"),
            });
        };
        FidMode::default().scaling(range)?;
        let stages = (0..last.stages()).map(|i| stage(path, i)).collect::<Result<_>>()?;
        let fc = match last > InceptionLayer::Pool3 {
            true => {
                let (path, dims) = (path / "fc", InceptionLayer::Pool3.dims());
                let mut weight = path.f_zeros_no_train("weight", &[last.dims(), dims])?;
                let _ = weight.f_normal_(0.0, (1.0 / dims as f64).sqrt())?;
                Some([weight, path.f_zeros_no_train("bias", &[last.dims()])?])
            }
            false => None,
        };
        let mode = FidMode::default();
        Ok(FidInception { range, mode, layers: layers.to_vec(), stages, fc })
    }

    /// How images are resized and scaled; `PytorchFid` by default.
    pub fn mode(mut self, mode: FidMode) -> Self {
        self.mode = mode;
        self
    }

    /// What a number computed from these features has to say: the network and the mode.
    pub fn protocol(&self) -> String {
        let names: Vec<String> = self.layers.iter().map(|layer| format!("{layer:?}")).collect();
        format!("Inception v3 of FID, {}; images {}", names.join(" and "), self.mode)
    }
}

impl FeatureExtractor for FidInception {
    fn f_features(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let size = images.size();
        let least = match (self.mode, self.layers.last()) {
            (FidMode::AsTheyAre, Some(last)) => last.least_side(),
            _ => 1,
        };
        let ok = matches!(size.as_slice(), &[_, 3, h, w] if h >= least && w >= least);
        let expected = format!("[N, 3, H, W] with H and W at least {least}");
        check::shape_is(NAME, "images", images, ok, &expected)?;
        let mut x = self.mode.f_prepare(images, self.range)?;
        let mut maps = Vec::with_capacity(self.layers.len());
        for (i, stage) in self.stages.iter().enumerate() {
            x = run(stage, &x)?;
            if i == 3 {
                x = x.f_mean_dim([2i64, 3].as_slice(), true, None::<Kind>)?;
            }
            if self.layers.iter().any(|&layer| layer as usize == i) {
                maps.push(x.shallow_clone());
            }
        }
        if let Some([weight, bias]) = &self.fc {
            let kind = x.f_kind()?;
            let weight = weight.f_to_kind(kind)?;
            let logits = x.f_flatten(1, 3)?.f_matmul(&weight.f_transpose(0, 1)?)?;
            if self.layers.contains(&InceptionLayer::LogitsUnbiased) {
                maps.push(logits.shallow_clone());
            }
            if self.layers.contains(&InceptionLayer::Logits) {
                maps.push(logits.f_add(&bias.f_to_kind(kind)?)?);
            }
        }
        Ok(maps)
    }
}

impl fmt::Debug for FidInception {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("FidInception")
            .field("range", &self.range)
            .field("mode", &self.mode)
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

enum Layer {
    Convolution(Convolution),
    /// The greatest of 3 x 3 at every other pixel.
    Halve,
    /// The mean of the 3 x 3 pixels around each, of those that there are.
    Average,
    /// The greatest of them.
    Max,
    /// What several paths give, one after another along the channels.
    Branches(Vec<Vec<Layer>>),
}

/// Without bias, then batch normalisation and ReLU.
struct Convolution {
    weight: Tensor,
    /// Scale, shift, mean and variance of the normalisation.
    norm: [Tensor; 4],
    stride: i64,
    padding: [i64; 2],
}

fn run(layers: &[Layer], x: &Tensor) -> Result<Tensor> {
    let mut x = x.shallow_clone();
    for layer in layers {
        x = layer.f_forward(&x)?;
    }
    Ok(x)
}

impl Layer {
    fn f_forward(&self, x: &Tensor) -> Result<Tensor> {
        const SIDE: [i64; 2] = [3, 3];
        Ok(match self {
            Layer::Convolution(convolution) => convolution.f_forward(x)?,
            Layer::Halve => x.f_max_pool2d(SIDE, [2, 2], [0, 0], [1, 1], false)?,
            Layer::Average => x.f_avg_pool2d(SIDE, [1, 1], [1, 1], false, false, None)?,
            Layer::Max => x.f_max_pool2d(SIDE, [1, 1], [1, 1], [1, 1], false)?,
            Layer::Branches(branches) => {
                let outputs =
                    branches.iter().map(|branch| run(branch, x)).collect::<Result<Vec<_>>>()?;
                Tensor::f_cat(&outputs, 1)?
            }
        })
    }
}

impl Convolution {
    fn f_forward(&self, x: &Tensor) -> Result<Tensor> {
        // In the kind of the images: `Double` for a gradient check, say.
        let like = |t: &Tensor| -> Result<Tensor> { Ok(t.f_to_kind(x.f_kind()?)?) };
        let [scale, shift, mean, variance] = &self.norm;
        let stride = [self.stride; 2];
        let convolved =
            x.f_conv2d(&like(&self.weight)?, None::<Tensor>, stride, self.padding, [1, 1], 1)?;
        let normalised = convolved.f_batch_norm(
            Some(like(scale)?),
            Some(like(shift)?),
            Some(like(mean)?),
            Some(like(variance)?),
            false,
            0.0,
            1e-3,
            true,
        )?;
        Ok(normalised.f_relu()?)
    }
}

/// A convolution under `path / name`, padded to keep the size unless it is a `stride` of 2.
fn convolution(
    path: &nn::Path,
    name: &str,
    [inputs, outputs]: [i64; 2],
    [height, width]: [i64; 2],
    stride: i64,
    padded: bool,
) -> Result<Layer> {
    let path = path / name;
    let mut weight =
        (&path / "conv").f_zeros_no_train("weight", &[outputs, inputs, height, width])?;
    // He et al. 2015, by the number of inputs.
    let _ = weight.f_normal_(0.0, (2.0 / (inputs * height * width) as f64).sqrt())?;
    let norm = &path / "bn";
    let constant = |name: &str, value: f64| -> Result<Tensor> {
        let mut variable = norm.f_zeros_no_train(name, &[outputs])?;
        Ok(variable.f_fill_(value)?)
    };
    let norm = [
        constant("weight", 1.0)?,
        constant("bias", 0.0)?,
        constant("running_mean", 0.0)?,
        constant("running_var", 1.0)?,
    ];
    let padding = if padded { [height / 2, width / 2] } else { [0, 0] };
    Ok(Layer::Convolution(Convolution { weight, norm, stride, padding }))
}

/// A square convolution that keeps the size.
fn square(path: &nn::Path, name: &str, channels: [i64; 2], side: i64) -> Result<Layer> {
    convolution(path, name, channels, [side; 2], 1, true)
}

/// A convolution of another shape that keeps the size.
fn oblong(path: &nn::Path, name: &str, channels: [i64; 2], sides: [i64; 2]) -> Result<Layer> {
    convolution(path, name, channels, sides, 1, true)
}

/// A convolution of 3 x 3 without padding.
fn bare(path: &nn::Path, name: &str, channels: [i64; 2], stride: i64) -> Result<Layer> {
    convolution(path, name, channels, [3, 3], stride, false)
}

fn stage(path: &nn::Path, number: usize) -> Result<Vec<Layer>> {
    Ok(match number {
        0 => vec![
            bare(path, "Conv2d_1a_3x3", [3, 32], 2)?,
            bare(path, "Conv2d_2a_3x3", [32, 32], 1)?,
            square(path, "Conv2d_2b_3x3", [32, 64], 3)?,
            Layer::Halve,
        ],
        1 => vec![
            square(path, "Conv2d_3b_1x1", [64, 80], 1)?,
            bare(path, "Conv2d_4a_3x3", [80, 192], 1)?,
            Layer::Halve,
        ],
        2 => vec![
            block_a(&(path / "Mixed_5b"), 192, 32)?,
            block_a(&(path / "Mixed_5c"), 256, 64)?,
            block_a(&(path / "Mixed_5d"), 288, 64)?,
            block_b(&(path / "Mixed_6a"))?,
            block_c(&(path / "Mixed_6b"), 128)?,
            block_c(&(path / "Mixed_6c"), 160)?,
            block_c(&(path / "Mixed_6d"), 160)?,
            block_c(&(path / "Mixed_6e"), 192)?,
        ],
        _ => vec![
            block_d(&(path / "Mixed_7a"))?,
            block_e(&(path / "Mixed_7b"), 1280, Layer::Average)?,
            block_e(&(path / "Mixed_7c"), 2048, Layer::Max)?,
        ],
    })
}

/// 35 x 35 pixels.
fn block_a(path: &nn::Path, inputs: i64, pooled: i64) -> Result<Layer> {
    Ok(Layer::Branches(vec![
        vec![square(path, "branch1x1", [inputs, 64], 1)?],
        vec![
            square(path, "branch5x5_1", [inputs, 48], 1)?,
            square(path, "branch5x5_2", [48, 64], 5)?,
        ],
        vec![
            square(path, "branch3x3dbl_1", [inputs, 64], 1)?,
            square(path, "branch3x3dbl_2", [64, 96], 3)?,
            square(path, "branch3x3dbl_3", [96, 96], 3)?,
        ],
        vec![Layer::Average, square(path, "branch_pool", [inputs, pooled], 1)?],
    ]))
}

/// From 35 x 35 to 17 x 17 pixels.
fn block_b(path: &nn::Path) -> Result<Layer> {
    Ok(Layer::Branches(vec![
        vec![bare(path, "branch3x3", [288, 384], 2)?],
        vec![
            square(path, "branch3x3dbl_1", [288, 64], 1)?,
            square(path, "branch3x3dbl_2", [64, 96], 3)?,
            bare(path, "branch3x3dbl_3", [96, 96], 2)?,
        ],
        vec![Layer::Halve],
    ]))
}

/// 17 x 17 pixels.
fn block_c(path: &nn::Path, inner: i64) -> Result<Layer> {
    let (row, column) = ([1, 7], [7, 1]);
    Ok(Layer::Branches(vec![
        vec![square(path, "branch1x1", [768, 192], 1)?],
        vec![
            square(path, "branch7x7_1", [768, inner], 1)?,
            oblong(path, "branch7x7_2", [inner, inner], row)?,
            oblong(path, "branch7x7_3", [inner, 192], column)?,
        ],
        vec![
            square(path, "branch7x7dbl_1", [768, inner], 1)?,
            oblong(path, "branch7x7dbl_2", [inner, inner], column)?,
            oblong(path, "branch7x7dbl_3", [inner, inner], row)?,
            oblong(path, "branch7x7dbl_4", [inner, inner], column)?,
            oblong(path, "branch7x7dbl_5", [inner, 192], row)?,
        ],
        vec![Layer::Average, square(path, "branch_pool", [768, 192], 1)?],
    ]))
}

/// From 17 x 17 to 8 x 8 pixels.
fn block_d(path: &nn::Path) -> Result<Layer> {
    Ok(Layer::Branches(vec![
        vec![
            square(path, "branch3x3_1", [768, 192], 1)?,
            bare(path, "branch3x3_2", [192, 320], 2)?,
        ],
        vec![
            square(path, "branch7x7x3_1", [768, 192], 1)?,
            oblong(path, "branch7x7x3_2", [192, 192], [1, 7])?,
            oblong(path, "branch7x7x3_3", [192, 192], [7, 1])?,
            bare(path, "branch7x7x3_4", [192, 192], 2)?,
        ],
        vec![Layer::Halve],
    ]))
}

/// 8 x 8 pixels; the two blocks differ in their pooling.
fn block_e(path: &nn::Path, inputs: i64, pooling: Layer) -> Result<Layer> {
    let split = |name: &str| -> Result<Layer> {
        Ok(Layer::Branches(vec![
            vec![oblong(path, &format!("{name}a"), [384, 384], [1, 3])?],
            vec![oblong(path, &format!("{name}b"), [384, 384], [3, 1])?],
        ]))
    };
    Ok(Layer::Branches(vec![
        vec![square(path, "branch1x1", [inputs, 320], 1)?],
        vec![square(path, "branch3x3_1", [inputs, 384], 1)?, split("branch3x3_2")?],
        vec![
            square(path, "branch3x3dbl_1", [inputs, 448], 1)?,
            square(path, "branch3x3dbl_2", [448, 384], 3)?,
            split("branch3x3dbl_3")?,
        ],
        vec![pooling, square(path, "branch_pool", [inputs, 192], 1)?],
    ]))
}
