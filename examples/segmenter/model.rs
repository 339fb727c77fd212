//! A U-Net (Ronneberger, Fischer and Brox 2015) with padding and normalisation.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{
    Tensor,
    nn::{self, Init, ModuleT, Path},
};

/// Normalisation of the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// By the statistics of the batch, those of training in use
    Batch,
    /// By each tile's own
    Instance,
}

/// What is needed to build the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub classes: usize,
    /// Channels of the first level.
    pub width: i64,
    /// How often the resolution is halved.
    pub depth: usize,
    pub norm: Norm,
    /// Whether levels below the first have outputs of their own.
    pub deep_supervision: bool,
}

/// Levels with outputs, at most: below an eighth of the resolution thin things are not to be seen.
pub const OUTPUTS: usize = 4;

#[derive(Debug)]
enum NormLayer {
    Batch(nn::BatchNorm),
    Instance { scale: Tensor, shift: Tensor },
}

/// Convolution without bias, normalisation, ReLU.
#[derive(Debug)]
struct Conv {
    conv: nn::Conv2D,
    norm: NormLayer,
}

impl Conv {
    fn new(path: Path, from: i64, to: i64, norm: Norm) -> Self {
        let config = nn::ConvConfig { padding: 1, bias: false, ..Default::default() };
        let place = &path / "norm";
        let norm = match norm {
            Norm::Batch => {
                let config =
                    nn::BatchNormConfig { ws_init: Init::Const(1.0), ..Default::default() };
                NormLayer::Batch(nn::batch_norm2d(place, to, config))
            }
            Norm::Instance => NormLayer::Instance {
                scale: place.var("weight", &[to], Init::Const(1.0)),
                shift: place.var("bias", &[to], Init::Const(0.0)),
            },
        };
        Conv { conv: nn::conv2d(&path / "conv", from, to, 3, config), norm }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = x.apply(&self.conv);
        let mut x = match &self.norm {
            NormLayer::Batch(norm) => norm.forward_t(&x, train),
            NormLayer::Instance { scale, shift } => {
                let none = None::<Tensor>;
                x.instance_norm(
                    Some(scale),
                    Some(shift),
                    none.as_ref(),
                    none.as_ref(),
                    true,
                    0.1,
                    1e-5,
                    true,
                )
            }
        };
        x.relu_()
    }
}

/// Two convolutions.
#[derive(Debug)]
struct Block(Conv, Conv);

impl Block {
    fn new(path: Path, from: i64, to: i64, norm: Norm) -> Self {
        Block(Conv::new(&path / "first", from, to, norm), Conv::new(&path / "second", to, to, norm))
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.1.forward(&self.0.forward(x, train), train)
    }
}

/// A level on the way up.
#[derive(Debug)]
struct Up {
    grow: nn::ConvTranspose2D,
    block: Block,
}

/// The network.
#[derive(Debug)]
pub struct UNet {
    down: Vec<Block>,
    /// From the finest level.
    up: Vec<Up>,
    /// From the finest level.
    heads: Vec<nn::Conv2D>,
}

impl UNet {
    pub fn new(path: &Path, shape: Shape) -> Self {
        let Shape { width, depth, norm, deep_supervision, classes } = shape;
        let channels = |level: usize| width << level;
        let down = (0..=depth).map(|level| {
            let from = if level == 0 { 3 } else { channels(level - 1) };
            Block::new(path / "down" / level, from, channels(level), norm)
        });
        let up = (0..depth).map(|level| {
            let (here, below) = (channels(level), channels(level + 1));
            let path = path / "up" / level;
            let config = nn::ConvTransposeConfig { stride: 2, ..Default::default() };
            Up {
                grow: nn::conv_transpose2d(&path / "grow", below, here, 2, config),
                block: Block::new(&path / "block", 2 * here, here, norm),
            }
        });
        let outputs = if deep_supervision { depth.min(OUTPUTS) } else { 1 };
        let heads = (0..outputs).map(|level| {
            let path = path / "head" / level;
            nn::conv2d(path, channels(level), classes as i64, 1, Default::default())
        });
        UNet { down: down.collect(), up: up.collect(), heads: heads.collect() }
    }

    /// Logits (N, classes, H, W) of images (N, 3, H, W) in [0, 1], H and W divisible by 2^depth. In
    /// training those of half, a quarter, ... of the resolution follow where there is deep
    /// supervision.
    pub fn forward(&self, images: &Tensor, train: bool) -> Vec<Tensor> {
        let mut x = images - 0.5;
        let mut levels = Vec::with_capacity(self.down.len());
        for (level, block) in self.down.iter().enumerate() {
            if level > 0 {
                x = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
            }
            x = block.forward(&x, train);
            levels.push(x.shallow_clone());
        }
        let mut outputs = Vec::with_capacity(self.heads.len());
        let wanted = if train { self.heads.len() } else { 1 };
        for (level, up) in self.up.iter().enumerate().rev() {
            let joined = Tensor::cat(&[&x.apply(&up.grow), &levels[level]], 1);
            x = up.block.forward(&joined, train);
            if level < wanted {
                outputs.push(x.apply(&self.heads[level]));
            }
        }
        outputs.reverse();
        outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, nn::VarStore};

    #[test]
    fn outputs_have_the_sizes_of_their_levels() {
        for norm in [Norm::Batch, Norm::Instance] {
            for (deep_supervision, levels) in [(false, 1), (true, 3)] {
                let vs = VarStore::new(Device::Cpu);
                let shape = Shape { classes: 5, width: 4, depth: 3, norm, deep_supervision };
                let net = UNet::new(&vs.root(), shape);
                let images = Tensor::rand([2, 3, 40, 24], (Kind::Float, Device::Cpu));
                let sizes: Vec<_> = net.forward(&images, true).iter().map(Tensor::size).collect();
                let want: Vec<_> =
                    (0..levels).map(|level| vec![2, 5, 40 >> level, 24 >> level]).collect();
                assert_eq!(sizes, want);
                assert_eq!(net.forward(&images, false).len(), 1);
                // Every weight has a gradient.
                let sum = |outputs: Vec<Tensor>| -> Tensor {
                    outputs.iter().map(|output| output.square().sum(None::<Kind>)).sum()
                };
                sum(net.forward(&images, true)).backward();
                assert!(vs.trainable_variables().iter().all(|weight| weight.grad().defined()));
            }
        }
    }
}
