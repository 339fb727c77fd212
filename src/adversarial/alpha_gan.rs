//! The objectives of α-GAN.

use super::{
    gan_loss::reduced,
    parts::{self, fake_term, l1, real_term},
};
use crate::{
    Reduction, Result, check,
    error::unwrap,
    loss::{LossParts, named_loss},
};
use tch::Tensor;

/// The four objectives of α-GAN, a variational autoencoder whose two densities are judged by
/// discriminators: one of images, D, and one of codes, C.
///
/// ```text
/// D: mean softplus(-D(x)) + mean softplus(D(x_rec)) + mean softplus(D(x_gen))
/// C: mean softplus(-C(z)) + mean softplus(C(ẑ))
/// G: λ mean |x_rec - x| + R(D(x_rec)) + R(D(x_gen))
/// E: λ mean |x_rec - x| + R(C(ẑ))
/// R(logit) = mean (-log σ(logit) + log(1-σ(logit))) = -mean logit
/// ```
///
/// ẑ is the code of an image x, x_rec what the generator makes of it, and x_gen what it makes of a z of the
/// prior. Each of the four networks has a step of its own. In the discriminators' steps what they are shown
/// is detached; in the generator's step ẑ is.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `lambda` | 10 | λ |
///
/// # Shapes
///
/// - scores: logits of any shape
/// - image, reconstruction: the same shape
/// - objectives: scalars; G and E as [`LossParts`] of `reconstruction` and the adversarial parts before
///   their weights. `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// Each mean divides by the number of its elements; of nothing it is 0.
///
/// # Errors
///
/// Kinds of the scores; shape, kind and device of the reconstruction; `lambda` below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::adversarial::AlphaGanLoss;
///
/// let alpha = AlphaGanLoss::default().lambda(2.0);
/// let (image, reconstruction) = (Tensor::from_slice(&[1.0f64]), Tensor::from_slice(&[0.5f64]));
/// let [of_reconstruction, of_generated] = [3.0f64, -1.0].map(|logit| Tensor::from_slice(&[logit]));
/// let parts = alpha.generator(&image, &reconstruction, &of_reconstruction, &of_generated);
/// assert_eq!(parts.total.double_value(&[]), 2.0 * 0.5 - 3.0 + 1.0);
/// ```
///
/// # Differences
///
/// The first version of the paper has the prior's and the posterior's terms of C swapped in its algorithm.
/// Some reproductions give the generator and the encoder the non-saturating `-log σ` for R. ‖x_rec - x‖₁ is a
/// mean here, as in the reproductions.
///
/// # Reference
///
/// Rosca et al. 2017, "Variational Approaches for Auto-Encoding Generative Adversarial Networks".
#[derive(Debug, Clone, Copy)]
pub struct AlphaGanLoss {
    lambda: f64,
}

impl Default for AlphaGanLoss {
    fn default() -> Self {
        AlphaGanLoss { lambda: 10.0 }
    }
}

impl AlphaGanLoss {
    const NAME: &str = "AlphaGanLoss";

    /// λ, at least 0; 10 by default.
    pub fn lambda(mut self, lambda: f64) -> Self {
        self.lambda = lambda;
        self
    }

    /// D's objective, of its scores of real, reconstructed and generated images.
    pub fn f_discriminator(
        &self,
        real: &Tensor,
        reconstructed: &Tensor,
        generated: &Tensor,
    ) -> Result<Tensor> {
        parts::discriminator(Self::NAME, real, reconstructed, generated)
    }

    /// C's objective, of its scores of codes of the prior and of the encoder.
    pub fn f_code_discriminator(&self, prior: &Tensor, encoded: &Tensor) -> Result<Tensor> {
        let prior = real_term(Self::NAME, "prior", prior)?;
        Ok(prior.f_add(&fake_term(Self::NAME, "encoded", encoded)?)?)
    }

    /// G's objective: the parts `reconstruction`, `gan_reconstructed` and `gan_generated`.
    pub fn f_generator(
        &self,
        image: &Tensor,
        reconstruction: &Tensor,
        reconstructed_scores: &Tensor,
        generated_scores: &Tensor,
    ) -> Result<LossParts> {
        let (lambda, l1) = self.reconstruction(image, reconstruction)?;
        let reconstructed = ratio(Self::NAME, "reconstructed scores", reconstructed_scores)?;
        let generated = ratio(Self::NAME, "generated scores", generated_scores)?;
        let terms = vec![
            ("reconstruction", lambda, l1),
            ("gan_reconstructed", 1.0, reconstructed),
            ("gan_generated", 1.0, generated),
        ];
        LossParts::of(Self::NAME, terms)
    }

    /// E's objective, with C's scores of its codes: the parts `reconstruction` and `gan_code`.
    pub fn f_encoder(
        &self,
        image: &Tensor,
        reconstruction: &Tensor,
        encoded_scores: &Tensor,
    ) -> Result<LossParts> {
        let (lambda, l1) = self.reconstruction(image, reconstruction)?;
        let code = ratio(Self::NAME, "encoded scores", encoded_scores)?;
        let terms = vec![("reconstruction", lambda, l1), ("gan_code", 1.0, code)];
        LossParts::of(Self::NAME, terms)
    }

    fn reconstruction(&self, image: &Tensor, reconstruction: &Tensor) -> Result<(f64, Tensor)> {
        check::at_least_zero(Self::NAME, "lambda", self.lambda)?;
        let made = ("reconstruction", reconstruction);
        Ok((self.lambda, l1(Self::NAME, made, ("image", image))?))
    }

    /// [`AlphaGanLoss::f_discriminator`], or a panic with its error.
    #[track_caller]
    pub fn discriminator(
        &self,
        real: &Tensor,
        reconstructed: &Tensor,
        generated: &Tensor,
    ) -> Tensor {
        unwrap(self.f_discriminator(real, reconstructed, generated))
    }

    /// [`AlphaGanLoss::f_code_discriminator`], or a panic with its error.
    #[track_caller]
    pub fn code_discriminator(&self, prior: &Tensor, encoded: &Tensor) -> Tensor {
        unwrap(self.f_code_discriminator(prior, encoded))
    }

    /// [`AlphaGanLoss::f_generator`], or a panic with its error.
    #[track_caller]
    pub fn generator(
        &self,
        image: &Tensor,
        reconstruction: &Tensor,
        reconstructed_scores: &Tensor,
        generated_scores: &Tensor,
    ) -> LossParts {
        unwrap(self.f_generator(image, reconstruction, reconstructed_scores, generated_scores))
    }

    /// [`AlphaGanLoss::f_encoder`], or a panic with its error.
    #[track_caller]
    pub fn encoder(
        &self,
        image: &Tensor,
        reconstruction: &Tensor,
        encoded_scores: &Tensor,
    ) -> LossParts {
        unwrap(self.f_encoder(image, reconstruction, encoded_scores))
    }
}

named_loss! {
    apart AlphaGanLoss: "alpha_gan", "Rosca et al. 2017", Self::default(), [lambda],
}

/// R: the logarithm of the ratio of the densities, which is the negated logit.
fn ratio(loss: &'static str, what: &'static str, logits: &Tensor) -> Result<Tensor> {
    Ok(reduced(check::accumulated(loss, what, logits)?, Reduction::Mean)?.f_neg()?)
}
