//! A generator that colours, and a discriminator of grey and coloured images.

use tch::{
    Tensor,
    nn::{self, ModuleT, Path, SequentialT},
};
use tch_losses::adversarial::{spectral_conv2d, spectral_linear};

/// Four convolutions at full resolution. The noise is laid under every pixel, so that all pixels of an
/// image can agree.
#[derive(Debug)]
pub struct Generator {
    layers: Vec<nn::Conv2D>,
    noise: i64,
}

impl Generator {
    pub fn new(path: &Path, noise: i64, width: i64) -> Self {
        let channels = [1 + noise, width, width, width, 3];
        let conv = |i: usize| {
            let config = nn::ConvConfig { padding: 1, ..Default::default() };
            nn::conv2d(path / format!("conv{i}"), channels[i], channels[i + 1], 3, config)
        };
        Generator { layers: (0..4).map(conv).collect(), noise }
    }

    /// Standard normal numbers for `images` images.
    pub fn noise(&self, images: &Tensor) -> Tensor {
        Tensor::randn([images.size()[0], self.noise], (images.kind(), images.device()))
    }

    /// Coloured images (N, 3, S, S) in [-1, 1] of grey ones (N, 1, S, S).
    pub fn forward(&self, grey: &Tensor, noise: &Tensor) -> Tensor {
        let size = grey.size();
        let noise = noise.view([size[0], self.noise, 1, 1]);
        let noise = noise.expand([size[0], self.noise, size[2], size[3]], false);
        let mut x = Tensor::cat(&[grey, &noise], 1);
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                x = leaky(&x);
            }
            x = x.apply(layer);
        }
        // Beyond 1, for black is at -1: where the tanh is flat, the absolute error of a few bright pixels
        // does not move an image that is all black.
        x.tanh() * 1.2
    }
}

/// Convolutions that halve the image, then one score. No batch normalisation: penalties want the score
/// of an image to depend on that image alone.
#[derive(Debug)]
pub struct Discriminator(SequentialT);

/// The side down to which images are halved.
const COARSEST: i64 = 4;

impl Discriminator {
    /// Of images of `side` pixels, a multiple of 8; `spectral` normalises the layers.
    pub fn new(path: &Path, side: i64, width: i64, spectral: bool) -> Self {
        let mut layers = nn::seq_t();
        let (mut from, mut to, mut side, mut depth) = (4, width, side, 0);
        while side > COARSEST && side % 2 == 0 {
            let path = path / format!("conv{depth}");
            let config = nn::ConvConfig { stride: 2, padding: 1, ..Default::default() };
            layers = match spectral {
                true => layers.add(spectral_conv2d(path, from, to, 4, config)),
                false => layers.add(Plain(nn::conv2d(path, from, to, 4, config))),
            };
            layers = layers.add_fn(leaky);
            (from, to, side, depth) = (to, (2 * to).min(8 * width), side / 2, depth + 1);
        }
        layers = layers.add_fn(Tensor::flat_view);
        let path = path / "score";
        let features = from * side * side;
        layers = match spectral {
            true => layers.add(spectral_linear(path, features, 1, Default::default())),
            false => layers.add(Plain(nn::linear(path, features, 1, Default::default()))),
        };
        Discriminator(layers)
    }

    /// Scores (N, 1) of pairs of a grey and a coloured image, (N, 4, S, S).
    pub fn forward(&self, pairs: &Tensor) -> Tensor {
        self.0.forward_t(pairs, true)
    }
}

/// A layer that is the same in training and in use.
#[derive(Debug)]
struct Plain<M>(M);

impl<M: nn::Module> ModuleT for Plain<M> {
    fn forward_t(&self, xs: &Tensor, _train: bool) -> Tensor {
        self.0.forward(xs)
    }
}

fn leaky(x: &Tensor) -> Tensor {
    x.maximum(&(x * 0.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::drawing;
    use tch::{Device, Kind};

    #[test]
    fn images_of_all_sides_fit() {
        let _draws = drawing();
        for (side, spectral, noise) in [(8, false, 4), (16, true, 4), (24, false, 0), (40, true, 1)]
        {
            let vs = nn::VarStore::new(Device::Cpu);
            let generator = Generator::new(&(vs.root() / "g"), noise, 4);
            let discriminator = Discriminator::new(&(vs.root() / "d"), side, 4, spectral);
            let grey = Tensor::zeros([2, 1, side, side], (Kind::Float, Device::Cpu));
            let made = generator.forward(&grey, &generator.noise(&grey));
            assert_eq!(made.size(), [2, 3, side, side]);
            assert_eq!(discriminator.forward(&Tensor::cat(&[grey, made], 1)).size(), [2, 1]);
        }
    }
}
