//! A small network that adds to a bicubic enlargement what it lacks.

use serde::{Deserialize, Serialize};
use tch::{
    Tensor,
    nn::{self, Init, Path},
};

/// What the network is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub scale: i64,
    pub channels: i64,
    pub blocks: usize,
}

/// Residual blocks at the small size, then a rearrangement of channels to pixels (Shi et al. 2016).
#[derive(Debug)]
pub struct Upscaler {
    scale: i64,
    first: nn::Conv2D,
    blocks: Vec<(nn::Conv2D, nn::Conv2D)>,
    last: nn::Conv2D,
}

impl Upscaler {
    pub fn new(path: &Path, Shape { scale, channels, blocks }: Shape) -> Self {
        let config = nn::ConvConfig { padding: 1, ..Default::default() };
        let conv = |path: Path, from, to| nn::conv2d(path, from, to, 3, config);
        // Nothing is added at first.
        let nothing = nn::ConvConfig { ws_init: Init::Const(0.0), ..config };
        Upscaler {
            scale,
            first: conv(path / "first", 3, channels),
            blocks: (0..blocks)
                .map(|i| {
                    let path = path / "blocks" / i;
                    (conv(&path / 0, channels, channels), conv(&path / 1, channels, channels))
                })
                .collect(),
            last: nn::conv2d(path / "last", channels, 3 * scale * scale, 3, nothing),
        }
    }

    /// Images (N, 3, H, W) in [-1, 1] at `scale` times the size.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        let mut x = images.apply(&self.first).relu();
        for (one, two) in &self.blocks {
            x = &x + x.apply(one).relu().apply(two);
        }
        enlarge(images, self.scale) + x.apply(&self.last).pixel_shuffle(self.scale)
    }
}

/// Bicubic.
pub fn enlarge(images: &Tensor, scale: i64) -> Tensor {
    let size = images.size();
    images.upsample_bicubic2d([scale * size[2], scale * size[3]], false, None, None)
}

/// Bicubic over as many more pixels as the image gets smaller, so that nothing aliases.
pub fn shrink(images: &Tensor, scale: i64) -> Tensor {
    let size = images.size();
    let side = [size[2] / scale, size[3] / scale];
    images.internal_upsample_bicubic2d_aa(side, false, None, None).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn it_begins_as_the_bicubic_enlargement() {
        for scale in [2, 3, 4] {
            let vs = nn::VarStore::new(Device::Cpu);
            let net = Upscaler::new(&vs.root(), Shape { scale, channels: 4, blocks: 2 });
            let images = Tensor::rand([2, 3, 5, 7], (Kind::Float, Device::Cpu));
            let large = net.forward(&images);
            assert_eq!(large.size(), [2, 3, 5 * scale, 7 * scale]);
            assert_eq!(large, enlarge(&images, scale));
            assert_eq!(shrink(&large, scale).size(), images.size());
        }
    }
}
