//! Generators of an encoder, residual blocks and a decoder, and discriminators of patches, of a depth
//! that follows the size of the images.

use serde::{Deserialize, Serialize};
use tch::{
    Tensor,
    nn::{self, Conv2D, Path},
};

/// The size of the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Side of the images that they are trained on.
    pub side: u32,
    /// Channels of the first layer.
    pub width: i64,
}

impl Shape {
    /// How often a generator halves the image.
    fn halvings(self) -> usize {
        if self.side < 32 { 1 } else { 2 }
    }

    /// Residual blocks of a generator.
    fn blocks(self) -> usize {
        match self.side {
            0..32 => 2,
            32..96 => 4,
            96..256 => 6,
            _ => 9,
        }
    }

    /// How often a discriminator halves the image: it looks at patches of 16, 34 or 70 pixels.
    fn patch_halvings(self) -> usize {
        (self.side.max(32).ilog2() as usize - 4).min(3)
    }

    /// Images must have sides that are multiples of this.
    pub fn multiple(self) -> u32 {
        1 << self.halvings()
    }
}

/// A convolution, and instance normalisation without weights of its own behind it.
#[derive(Debug)]
struct Conv {
    conv: Conv2D,
    normalised: bool,
}

impl Conv {
    fn new(path: Path, from: i64, to: i64, size: i64, stride: i64) -> Self {
        let config = nn::ConvConfig {
            stride,
            padding: (size - 1) / 2,
            padding_mode: nn::PaddingMode::Reflect,
            ..Default::default()
        };
        Conv { conv: nn::conv2d(path, from, to, size, config), normalised: true }
    }

    /// Of a discriminator: four pixels wide, padded with zeros.
    fn patch(path: Path, from: i64, to: i64, stride: i64, normalised: bool) -> Self {
        let config = nn::ConvConfig { stride, padding: 1, ..Default::default() };
        Conv { conv: nn::conv2d(path, from, to, 4, config), normalised }
    }

    fn plain(self) -> Self {
        Conv { normalised: false, ..self }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let x = x.apply(&self.conv);
        match self.normalised {
            true => {
                const NONE: Option<Tensor> = None;
                x.instance_norm(NONE, NONE, NONE, NONE, true, 0.1, 1e-5, true)
            }
            false => x,
        }
    }
}

/// From one kind of image to the other.
#[derive(Debug)]
pub struct Generator {
    encoder: Vec<Conv>,
    blocks: Vec<[Conv; 2]>,
    decoder: Vec<Conv>,
    last: Conv,
}

impl Generator {
    fn new(path: &Path, shape: Shape) -> Self {
        // Wide at the border where there is much to see, as in the paper.
        let wide = if shape.side < 64 { 3 } else { 7 };
        let channels = |level: usize| shape.width << level;
        let halvings = shape.halvings();
        let mut encoder = vec![Conv::new(path / "first", 3, channels(0), wide, 1)];
        encoder.extend((0..halvings).map(|level| {
            let path = path / format!("down{level}");
            Conv::new(path, channels(level), channels(level + 1), 3, 2)
        }));
        let deepest = channels(halvings);
        let block = |i: usize| {
            let path = path / format!("block{i}");
            ["first", "second"].map(|name| Conv::new(&path / name, deepest, deepest, 3, 1))
        };
        let decoder = (0..halvings).rev().map(|level| {
            let path = path / format!("up{level}");
            Conv::new(path, channels(level + 1), channels(level), 3, 1)
        });
        Generator {
            encoder,
            blocks: (0..shape.blocks()).map(block).collect(),
            decoder: decoder.collect(),
            last: Conv::new(path / "last", channels(0), 3, wide, 1).plain(),
        }
    }

    /// Images (N, 3, H, W) of the other kind, in [-1, 1] as these.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        let mut x = images.shallow_clone();
        for conv in &self.encoder {
            x = conv.forward(&x).relu_();
        }
        for [first, second] in &self.blocks {
            x = &x + second.forward(&first.forward(&x).relu_());
        }
        for conv in &self.decoder {
            let (_, _, h, w) = x.size4().expect("(N, C, H, W)");
            // Not a transposed convolution, which leaves a pattern of squares.
            x = conv.forward(&x.upsample_nearest2d([2 * h, 2 * w], None, None)).relu_();
        }
        self.last.forward(&x).tanh()
    }
}

/// G: A to B, and F: B to A.
#[derive(Debug)]
pub struct Generators {
    pub to_b: Generator,
    pub to_a: Generator,
}

impl Generators {
    pub fn new(path: &Path, shape: Shape) -> Self {
        let generator = |name: &str| Generator::new(&(path / name), shape);
        Generators { to_b: generator("to_b"), to_a: generator("to_a") }
    }
}

/// Scores of overlapping patches.
#[derive(Debug)]
pub struct Discriminator(Vec<Conv>);

impl Discriminator {
    fn new(path: &Path, shape: Shape) -> Self {
        let width = 2 * shape.width;
        let channels = |level: usize| width << level.min(3);
        let halvings = shape.patch_halvings();
        let mut layers = vec![Conv::patch(path / "first", 3, width, 2, false)];
        layers.extend((1..=halvings).map(|level| {
            let stride = if level < halvings { 2 } else { 1 };
            let path = path / format!("conv{level}");
            Conv::patch(path, channels(level - 1), channels(level), stride, true)
        }));
        layers.push(Conv::patch(path / "score", channels(halvings), 1, 1, false));
        Discriminator(layers)
    }

    /// Scores (N, 1, h, w) of the patches of images (N, 3, H, W).
    pub fn forward(&self, images: &Tensor) -> Tensor {
        let (last, layers) = self.0.split_last().expect("at least two layers");
        let mut x = images.shallow_clone();
        for conv in layers {
            x = conv.forward(&x);
            x = x.maximum(&(&x * 0.2));
        }
        last.forward(&x)
    }
}

/// Of A and of B.
#[derive(Debug)]
pub struct Discriminators {
    pub of_a: Discriminator,
    pub of_b: Discriminator,
}

impl Discriminators {
    pub fn new(path: &Path, shape: Shape) -> Self {
        let discriminator = |name: &str| Discriminator::new(&(path / name), shape);
        Discriminators { of_a: discriminator("of_a"), of_b: discriminator("of_b") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::drawing;
    use tch::{Device, Kind, no_grad};

    #[test]
    fn images_of_all_sizes_fit() {
        let _draws = drawing();
        for (side, scores) in [(8, 2), (16, 6), (20, 8), (32, 14), (64, 14), (128, 14)] {
            let vs = nn::VarStore::new(Device::Cpu);
            let shape = Shape { side, width: 1 };
            let images =
                Tensor::zeros([1, 3, side.into(), side.into()], (Kind::Float, Device::Cpu));
            let generators = Generators::new(&(vs.root() / "g"), shape);
            let made = no_grad(|| generators.to_b.forward(&images));
            assert_eq!(made.size(), images.size());
            let discriminators = Discriminators::new(&(vs.root() / "d"), shape);
            let given = no_grad(|| discriminators.of_a.forward(&made));
            assert_eq!(given.size(), [1, 1, scores, scores], "{side}");
        }
        let vs = nn::VarStore::new(Device::Cpu);
        let shape = Shape { side: 64, width: 1 };
        let generator = Generator::new(&vs.root(), shape);
        let oblong = Tensor::zeros([1, 3, 40, 92], (Kind::Float, Device::Cpu));
        assert_eq!((generator.forward(&oblong).size(), shape.multiple()), (oblong.size(), 4));
    }

    /// What one score is of: the pixels that its gradient reaches.
    #[test]
    fn patches_have_the_size_that_they_should() {
        let _draws = drawing();
        for (side, patch) in [(16, 16), (64, 34), (128, 70)] {
            let vs = nn::VarStore::new(Device::Cpu);
            let discriminator = Discriminator::new(&vs.root(), Shape { side, width: 2 });
            // Normalisation spreads over the whole image: left out.
            let layers = discriminator.0.into_iter().map(Conv::plain).collect();
            let size = [1, 3, 2 * i64::from(side), 2 * i64::from(side)];
            let images = Tensor::randn(size, (Kind::Double, Device::Cpu)).set_requires_grad(true);
            let images_float = images.to_kind(Kind::Float);
            let scores = Discriminator(layers).forward(&images_float);
            let middle = scores.size()[2] / 2;
            scores.select(2, middle).select(2, middle).sum(None::<Kind>).backward();
            let reached =
                images.grad().abs().sum_dim_intlist([0i64, 1, 2].as_slice(), false, None::<Kind>);
            let width = reached.gt(0.0).sum(Kind::Int64).int64_value(&[]);
            assert_eq!(width, patch, "{side}");
        }
    }
}
