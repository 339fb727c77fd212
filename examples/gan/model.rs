//! Generator and critic.

use examples_support::nets::{Decoder, Encoder, Layers, Plain, Shape, three};
use tch::{
    Tensor,
    nn::{ModuleT, Path},
};
use tch_losses::adversarial::{spectral_conv2d, spectral_linear};

/// From noise (N, latent) to images (N, C, S, S) in [-1, 1].
#[derive(Debug)]
pub struct Generator(Decoder);

impl Generator {
    pub fn new(path: &Path, shape: Shape, latent: i64, batch_norm: bool) -> Self {
        Generator(Decoder::new(path, shape, latent, batch_norm))
    }

    pub fn forward(&self, noise: &Tensor, train: bool) -> Tensor {
        self.0.forward(noise, train).tanh()
    }
}

/// From images (N, C, S, S) to scores (N, 1).
#[derive(Debug)]
pub struct Critic(Encoder);

impl Critic {
    pub fn new(path: &Path, shape: Shape, spectral_norm: bool) -> Self {
        Critic(match spectral_norm {
            true => Encoder::new(path, shape, 1, &Spectral),
            false => Encoder::new(path, shape, 1, &Plain),
        })
    }

    /// `train` takes a step of the power method, if there are spectral norms.
    pub fn forward(&self, images: &Tensor, train: bool) -> Tensor {
        self.0.forward(images, train)
    }
}

/// Layers whose weights are divided by their spectral norms.
struct Spectral;

impl Layers for Spectral {
    fn linear(&self, path: Path, from: i64, to: i64) -> Box<dyn ModuleT> {
        Box::new(spectral_linear(path, from, to, Default::default()))
    }

    fn conv(&self, path: Path, from: i64, to: i64, stride: i64) -> Box<dyn ModuleT> {
        Box::new(spectral_conv2d(path, from, to, 3, three(stride)))
    }
}
