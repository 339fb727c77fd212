//! Encoder and decoder.

use examples_support::nets::{Decoder, Encoder, Plain, Shape};
use tch::{Tensor, nn::Path};

/// A normal distribution for each image, and images from its numbers.
#[derive(Debug)]
pub struct Vae {
    encoder: Encoder,
    decoder: Decoder,
}

impl Vae {
    pub fn new(path: &Path, shape: Shape, latent: i64) -> Self {
        Vae {
            encoder: Encoder::new(&(path / "encoder"), shape, 2 * latent, &Plain),
            decoder: Decoder::new(&(path / "decoder"), shape, latent, false),
        }
    }

    /// Mean and logarithm of the variance (N, latent) for images (N, C, S, S) in [-1, 1].
    pub fn encode(&self, images: &Tensor, train: bool) -> (Tensor, Tensor) {
        let both = self.encoder.forward(images, train).chunk(2, 1);
        (both[0].shallow_clone(), both[1].shallow_clone())
    }

    /// Logits of images (N, C, S, S).
    pub fn decode(&self, latent: &Tensor, train: bool) -> Tensor {
        self.decoder.forward(latent, train)
    }

    /// Images in [-1, 1].
    pub fn images(&self, latent: &Tensor) -> Tensor {
        self.decode(latent, false).sigmoid() * 2.0 - 1.0
    }
}

/// A number of the distribution with that mean and variance.
pub fn drawn(mean: &Tensor, log_variance: &Tensor, noise: &Tensor) -> Tensor {
    mean + (log_variance * 0.5).exp() * noise
}
