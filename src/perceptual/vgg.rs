//! The convolutions of VGG networks, by the names of their layers.

use super::extractor::{FeatureExtractor, ImageRange, images};
use crate::{LossError, Result};
use std::fmt;
use tch::{Tensor, nn};

const NAME: &str = "Vgg";

/// Which VGG network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VggKind {
    /// 13 convolutions.
    Vgg16,
    /// 13 convolutions, each followed by batch normalisation.
    Vgg16Bn,
    /// 16 convolutions.
    Vgg19,
    /// 16 convolutions, each followed by batch normalisation.
    Vgg19Bn,
}

impl VggKind {
    /// torchvision's name, which is also that of the weights file.
    pub fn name(self) -> &'static str {
        match self {
            VggKind::Vgg16 => "vgg16",
            VggKind::Vgg16Bn => "vgg16_bn",
            VggKind::Vgg19 => "vgg19",
            VggKind::Vgg19Bn => "vgg19_bn",
        }
    }

    /// The names of its layers, from the first to the last.
    pub fn layers(self) -> Vec<String> {
        let mut names = Vec::new();
        for (block, (_, convolutions)) in (1..).zip(self.blocks()) {
            for i in 1..=convolutions {
                names.push(format!("conv{block}_{i}"));
                if self.batch_norm() {
                    names.push(format!("bn{block}_{i}"));
                }
                names.push(format!("relu{block}_{i}"));
            }
            names.push(format!("pool{block}"));
        }
        names
    }

    fn batch_norm(self) -> bool {
        matches!(self, VggKind::Vgg16Bn | VggKind::Vgg19Bn)
    }

    /// Channels and number of convolutions of each block.
    fn blocks(self) -> [(i64, usize); 5] {
        let deep = if matches!(self, VggKind::Vgg19 | VggKind::Vgg19Bn) { 4 } else { 3 };
        [(64, 2), (128, 2), (256, deep), (512, deep), (512, deep)]
    }
}

/// How a VGG halves its maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// The greatest of four, as it was trained.
    #[default]
    Max,
    /// The mean of four, as Gatys et al. prefer for pictures.
    Average,
}

enum Layer {
    Conv { weight: Tensor, bias: Tensor },
    Norm { weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor },
    Relu,
    Pool,
}

/// The features of VGG16 or VGG19 up to the last layer asked for, frozen.
///
/// Layers are called `conv1_1`, `bn1_1` (where there is batch normalisation), `relu1_1`, .., `pool1`,
/// `conv2_1`, .. up to `pool5`; `block3` is the last `relu` of the third block. Variables have
/// torchvision's names, `features.0.weight` and so on, and no gradient; that of the images flows.
/// Weights are random until [`weights::f_load`](super::weights::f_load) fills them.
///
/// # Shapes
///
/// Images (N, 3, H, W) whose values are in the `range`; each map (N, C, H/2^b, W/2^b), rounded down.
/// `Half` and `BFloat16` images are computed in `Float`.
///
/// # Errors
///
/// A layer that does not exist or comes twice; no layers.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor, nn};
/// use tch_losses::perceptual::{FeatureExtractor, ImageRange, Vgg, VggKind};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let vgg = Vgg::f_new(&vs.root(), VggKind::Vgg16, &["relu1_2", "relu2_2"], ImageRange::Unit)?;
/// let maps = vgg.f_features(&Tensor::rand([1, 3, 32, 48], (Kind::Float, Device::Cpu)))?;
/// assert_eq!(maps[1].size(), [1, 128, 16, 24]);
/// // Nothing beyond relu2_2 is there.
/// assert_eq!(vs.variables().len(), 8);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Differences
///
/// torchvision's ReLU overwrites its input, so that a hook on a convolution or a normalisation
/// sees what comes after the ReLU; here each layer gives its own map.
///
/// # Reference
///
/// Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
/// Recognition". Follows torchvision 0.28 `vgg16`, `vgg16_bn`, `vgg19`, `vgg19_bn`.
pub struct Vgg {
    kind: VggKind,
    range: ImageRange,
    pooling: Pooling,
    layers: Vec<Layer>,
    /// The layers whose maps are given, in order.
    taps: Vec<usize>,
}

impl Vgg {
    /// The network up to the last of `layers`, with its variables under `path`.
    pub fn f_new(
        path: &nn::Path,
        kind: VggKind,
        layers: &[&str],
        range: ImageRange,
    ) -> Result<Self> {
        let names = kind.layers();
        let find = |wanted: &str| {
            let name = match wanted.strip_prefix("block").and_then(|n| n.parse::<usize>().ok()) {
                Some(block @ 1..=5) => format!("relu{block}_{}", kind.blocks()[block - 1].1),
                _ => wanted.to_owned(),
            };
            names.iter().position(|known| *known == name).ok_or_else(|| LossError::Param {
                loss: NAME,
                option: "layers",
                expected: "names such as relu3_3, conv1_1, pool4 or block2",
                got: format!("{wanted}, which {} does not have", kind.name()),
            })
        };
        let taps = layers.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
        let Some(&last) = taps.last() else {
            return Err(LossError::Param {
                loss: NAME,
                option: "layers",
                expected: "at least one",
                got: "none".to_owned(),
            });
        };
        if !taps.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(LossError::Param {
                loss: NAME,
                option: "layers",
                expected: "each once, from the first to the last",
                got: layers.join(", "),
            });
        }
        let features = path / "features";
        let mut channels = 3;
        let layers = (0..=last)
            .map(|i| Layer::new(&(&features / i), &names[i], kind, &mut channels))
            .collect::<Result<Vec<_>>>()?;
        Ok(Vgg { kind, range, pooling: Pooling::Max, layers, taps })
    }

    /// How the maps are halved; `Max` by default.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }
}

impl Layer {
    fn new(path: &nn::Path, name: &str, kind: VggKind, channels: &mut i64) -> Result<Self> {
        let constant = |name: &str, value: f64| -> Result<Tensor> {
            let mut variable = path.f_zeros_no_train(name, &[*channels])?;
            Ok(variable.f_fill_(value)?)
        };
        Ok(match name.as_bytes()[0] {
            b'c' => {
                let block = usize::from(name.as_bytes()[4] - b'1');
                let outputs = kind.blocks()[block].0;
                let mut weight = path.f_zeros_no_train("weight", &[outputs, *channels, 3, 3])?;
                // torchvision's: He et al. 2015, by the number of outputs.
                let _ = weight.f_normal_(0.0, (2.0 / (outputs * 9) as f64).sqrt())?;
                *channels = outputs;
                Layer::Conv { weight, bias: path.f_zeros_no_train("bias", &[outputs])? }
            }
            b'b' => Layer::Norm {
                weight: constant("weight", 1.0)?,
                bias: constant("bias", 0.0)?,
                mean: constant("running_mean", 0.0)?,
                variance: constant("running_var", 1.0)?,
            },
            b'r' => Layer::Relu,
            _ => Layer::Pool,
        })
    }

    fn f_forward(&self, x: &Tensor, pooling: Pooling) -> Result<Tensor> {
        const HALF: ([i64; 2], [i64; 2], [i64; 2]) = ([2, 2], [2, 2], [0, 0]);
        // In the kind of the images: `Double` for a gradient check, say.
        let like = |t: &Tensor| -> Result<Tensor> { Ok(t.f_to_kind(x.f_kind()?)?) };
        Ok(match self {
            Layer::Conv { weight, bias } => {
                x.f_conv2d(&like(weight)?, Some(like(bias)?), [1, 1], [1, 1], [1, 1], 1)?
            }
            Layer::Norm { weight, bias, mean, variance } => x.f_batch_norm(
                Some(like(weight)?),
                Some(like(bias)?),
                Some(like(mean)?),
                Some(like(variance)?),
                false,
                0.0,
                1e-5,
                true,
            )?,
            Layer::Relu => x.f_relu()?,
            Layer::Pool if pooling == Pooling::Max => {
                x.f_max_pool2d(HALF.0, HALF.1, HALF.2, [1, 1], false)?
            }
            Layer::Pool => x.f_avg_pool2d(HALF.0, HALF.1, HALF.2, false, true, None)?,
        })
    }
}

impl FeatureExtractor for Vgg {
    fn f_features(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        let checked = images(NAME, "images", tensor, Some(3))?;
        let size = checked.size();
        let pools = self.layers.iter().filter(|layer| matches!(layer, Layer::Pool)).count();
        let least = 1 << pools;
        if size[2] < least || size[3] < least {
            return Err(LossError::Shape {
                loss: NAME,
                what: "images",
                expected: format!("[N, 3, H, W] with H and W at least {least}"),
                got: size,
            });
        }
        let mut maps = Vec::with_capacity(self.taps.len());
        let mut x = self.range.normalise(&checked)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.f_forward(&x, self.pooling)?;
            if self.taps.contains(&i) {
                maps.push(x.shallow_clone());
            }
        }
        Ok(maps)
    }
}

impl fmt::Debug for Vgg {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = self.kind.layers();
        f.debug_struct("Vgg")
            .field("kind", &self.kind)
            .field("range", &self.range)
            .field("pooling", &self.pooling)
            .field("layers", &self.taps.iter().map(|&i| &names[i]).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
