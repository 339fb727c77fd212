//! The objectives of VAE/GAN.

use super::{
    gradient::check_samples,
    parts::{self, fake_term, real_term},
};
use crate::{
    KlStandardNormal, LossError, Reduction, Result, check,
    error::unwrap,
    loss::{LossParts, named_loss},
};
use tch::Tensor;

/// The three objectives of VAE/GAN, a variational autoencoder whose reconstructions are compared in the
/// features of a discriminator.
///
/// ```text
/// encoder        prior + likelihood
/// decoder        γ likelihood + gan(D(x_rec)) + gan(D(x_gen))
/// discriminator  mean softplus(-D(x)) + mean softplus(D(x_rec)) + mean softplus(D(x_gen))
/// prior      = mean_n ½ Σ (μ² + σ² - log σ² - 1)                      KlStandardNormal
/// likelihood = mean_n ½ Σ (f(x_rec) - f(x))²                          -log N(f(x) | f(x_rec), 1), constant left out
/// gan(logit) = -mean softplus(logit), or mean softplus(-logit) when `non_saturating`
/// ```
///
/// f are features of the discriminator; those of the real images are detached. Each network has a step of
/// its own.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gamma` | 0.01 | γ, how much the decoder is to reconstruct |
/// | `non_saturating` | false | the decoder's adversarial terms |
///
/// # Shapes
///
/// - `mu`, `logvar`: (N, ..), the same shape
/// - features: (N, ..), the same shape
/// - scores: logits of any shape
/// - objectives: scalars; of encoder and decoder as [`LossParts`], the parts before their weights. `Half`
///   and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// Prior and likelihood are sums over a sample and means over the N; the other means divide by the number of
/// scores. Of nothing they are 0.
///
/// # Errors
///
/// Shapes, kinds and devices; `gamma` below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::adversarial::VaeGanLoss;
///
/// let row = |values: &[f64]| Tensor::from_slice(values).view([1, -1]);
/// let (mu, logvar) = (row(&[1.0, 0.0]), row(&[0.0, 0.0]));
/// let (made, real) = (row(&[2.0, 0.0]), row(&[0.0, 0.0]));
/// let parts = VaeGanLoss::default().encoder(&mu, &logvar, &made, &real);
/// assert_eq!(parts.total.double_value(&[]), 0.5 + 2.0);
/// ```
///
/// # Differences
///
/// The algorithm in the paper descends L_GAN for the discriminator and -L_GAN for the decoder, where its
/// equation gives L_GAN the other sign; the signs here make the discriminator tell real from made. The
/// author's code weighs the three terms of the discriminator ½, ¼, ¼.
///
/// # Reference
///
/// Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric"; γ as in the
/// author's code.
#[derive(Debug, Clone, Copy)]
pub struct VaeGanLoss {
    gamma: f64,
    non_saturating: bool,
}

impl Default for VaeGanLoss {
    fn default() -> Self {
        VaeGanLoss { gamma: 0.01, non_saturating: false }
    }
}

impl VaeGanLoss {
    const NAME: &str = "VaeGanLoss";

    /// γ, at least 0; 0.01 by default.
    pub fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// Whether the decoder's adversarial terms are the non-saturating ones; false by default.
    pub fn non_saturating(mut self, non_saturating: bool) -> Self {
        self.non_saturating = non_saturating;
        self
    }

    /// The encoder's objective: the parts `prior` and `likelihood`.
    pub fn f_encoder(
        &self,
        mu: &Tensor,
        logvar: &Tensor,
        made: &Tensor,
        real: &Tensor,
    ) -> Result<LossParts> {
        let prior = KlStandardNormal::default().f_forward(mu, logvar).map_err(|source| {
            LossError::Part { part: "prior".to_owned(), source: Box::new(source) }
        })?;
        let likelihood = self.likelihood(made, real)?;
        LossParts::of(Self::NAME, vec![("prior", 1.0, prior), ("likelihood", 1.0, likelihood)])
    }

    /// The decoder's objective: the parts `likelihood`, `gan_reconstructed` and `gan_generated`.
    pub fn f_decoder(
        &self,
        made: &Tensor,
        real: &Tensor,
        reconstructed_scores: &Tensor,
        generated_scores: &Tensor,
    ) -> Result<LossParts> {
        check::at_least_zero(Self::NAME, "gamma", self.gamma)?;
        let gan = |what, scores| match self.non_saturating {
            true => real_term(Self::NAME, what, scores),
            false => Ok(fake_term(Self::NAME, what, scores)?.f_neg()?),
        };
        let terms = vec![
            ("likelihood", self.gamma, self.likelihood(made, real)?),
            ("gan_reconstructed", 1.0, gan("reconstructed scores", reconstructed_scores)?),
            ("gan_generated", 1.0, gan("generated scores", generated_scores)?),
        ];
        LossParts::of(Self::NAME, terms)
    }

    /// The discriminator's objective, of its scores of real, reconstructed and generated images.
    pub fn f_discriminator(
        &self,
        real: &Tensor,
        reconstructed: &Tensor,
        generated: &Tensor,
    ) -> Result<Tensor> {
        parts::discriminator(Self::NAME, real, reconstructed, generated)
    }

    fn likelihood(&self, made: &Tensor, real: &Tensor) -> Result<Tensor> {
        check_samples(Self::NAME, "real features", real)?;
        check::shape(Self::NAME, "made features", made, &real.size())?;
        check::device(Self::NAME, "made features", made, real)?;
        let samples = real.size()[0].max(1) as f64;
        let made = check::accumulated(Self::NAME, "made features", made)?;
        let real = check::in_kind(Self::NAME, "real features", &real.f_detach()?, made.f_kind()?)?;
        Ok(made.f_mse_loss(&real, Reduction::Sum)?.f_mul_scalar(0.5 / samples)?)
    }

    /// [`VaeGanLoss::f_encoder`], or a panic with its error.
    #[track_caller]
    pub fn encoder(&self, mu: &Tensor, logvar: &Tensor, made: &Tensor, real: &Tensor) -> LossParts {
        unwrap(self.f_encoder(mu, logvar, made, real))
    }

    /// [`VaeGanLoss::f_decoder`], or a panic with its error.
    #[track_caller]
    pub fn decoder(
        &self,
        made: &Tensor,
        real: &Tensor,
        reconstructed_scores: &Tensor,
        generated_scores: &Tensor,
    ) -> LossParts {
        unwrap(self.f_decoder(made, real, reconstructed_scores, generated_scores))
    }

    /// [`VaeGanLoss::f_discriminator`], or a panic with its error.
    #[track_caller]
    pub fn discriminator(
        &self,
        real: &Tensor,
        reconstructed: &Tensor,
        generated: &Tensor,
    ) -> Tensor {
        unwrap(self.f_discriminator(real, reconstructed, generated))
    }
}

named_loss! {
    apart VaeGanLoss: "vae_gan", "Larsen et al. 2016", Self::default(), [gamma, non_saturating],
}
