//! The gradient penalty of DRAGAN.

use super::{
    gradient::{check_samples, gradient, norm},
    gradient_penalty::excess,
};
use crate::{
    Result, check,
    error::unwrap,
    loss::{named_loss, option_enum},
};
use tch::Tensor;

/// How [`DraganPenalty`] draws its noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DraganNoise {
    /// u ~ U(0, 1), as the author's code and StudioGAN: it only brightens.
    #[default]
    Positive,
    /// u ~ U(-1, 1).
    Symmetric,
}

option_enum!(DraganNoise {
    DraganNoise::Positive => "positive",
    DraganNoise::Symmetric => "symmetric",
});

/// Gradient penalty of a discriminator around real samples (DRAGAN).
///
/// ```text
/// penalty = λ mean_n (‖∇ D(real_n + noise_n)‖₂ - k)²
/// noise_n = ε_n ½ std(real) u,   ε_n ~ U(0, 1) for each sample, u of each element, std of the whole batch
/// ```
///
/// Unlike [`GradientPenalty`](crate::GradientPenalty) it needs no generated samples. Norm and gradients
/// are as there.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `lambda` | 10 | λ |
/// | `target` | 1 | k, the norm without penalty |
/// | `noise` | `Positive` | how u is drawn |
///
/// # Shapes
///
/// - `real`: (N, ..), floating-point
/// - critic: takes that shape, returns any; several scores of a sample are added up. A sample's
///   scores must not depend on other samples: no batch normalisation, no mean over the batch
/// - `noise`: the shape of `real`, added to it as it is
/// - penalty: a scalar; `Half` and `BFloat16` norms are computed and returned in `Float`
///
/// # Reduction
///
/// The mean divides by N. It is 0 for an empty batch.
///
/// # Errors
///
/// Shape, kind or device of `real`, `noise` or the critic's output; `lambda` or `target` below 0; a
/// critic whose output has no graph or does not depend on its input; a call inside `no_grad`; what the
/// critic itself returns.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::adversarial::DraganPenalty;
///
/// // D(x) = ½x² has the gradient x: at 2 + 0.5 that is 10 (2.5 - 1)².
/// let real = Tensor::full([4, 1], 2.0, (Kind::Double, Device::Cpu));
/// let noise = real.full_like(0.5);
/// let critic = |x: &Tensor| x.square() * 0.5;
/// let penalty = DraganPenalty::default().forward_with_noise(critic, &real, &noise);
/// assert!((penalty.double_value(&[]) - 22.5).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// The paper adds normal noise of a variance of its own to each pixel; give such noise to
/// [`DraganPenalty::forward_with_noise`]. torchgan takes one norm for the whole batch.
///
/// # Reference
///
/// Kodali et al. 2017, "On Convergence and Stability of GANs". Follows StudioGAN.
#[derive(Debug, Clone, Copy)]
pub struct DraganPenalty {
    lambda: f64,
    target: f64,
    noise: DraganNoise,
}

impl Default for DraganPenalty {
    fn default() -> Self {
        DraganPenalty { lambda: 10.0, target: 1.0, noise: DraganNoise::Positive }
    }
}

impl DraganPenalty {
    const NAME: &str = "DraganPenalty";

    /// λ, at least 0; 10 by default.
    pub fn lambda(mut self, lambda: f64) -> Self {
        self.lambda = lambda;
        self
    }

    /// k, at least 0; 1 by default.
    pub fn target(mut self, target: f64) -> Self {
        self.target = target;
        self
    }

    /// How the noise is drawn; `Positive` by default.
    pub fn noise(mut self, noise: DraganNoise) -> Self {
        self.noise = noise;
        self
    }

    /// The penalty at `real` and noise drawn from tch's random numbers.
    pub fn f_forward(
        &self,
        critic: impl FnOnce(&Tensor) -> Result<Tensor>,
        real: &Tensor,
    ) -> Result<Tensor> {
        check_samples(Self::NAME, "real", real)?;
        let dims = real.size();
        let at = check::accumulated(Self::NAME, "real", &real.f_detach()?)?;
        let options = (at.f_kind()?, at.device());
        let mut single = vec![1; dims.len()];
        single[0] = dims[0];
        // One number alone has the deviation 0 rather than NaN.
        let deviation = match at.numel() {
            0 | 1 => Tensor::f_zeros([0i64; 0], options)?,
            _ => at.f_std(true)?,
        };
        let mut noise = Tensor::f_rand(&dims, options)?;
        if self.noise == DraganNoise::Symmetric {
            noise = noise.f_mul_scalar_(2.0)?.f_sub_scalar_(1.0)?;
        }
        let share = Tensor::f_rand(&single, options)?.f_mul(&deviation)?.f_mul_scalar(0.5)?;
        self.f_forward_with_noise(critic, real, &noise.f_mul_(&share)?)
    }

    /// The penalty at `real + noise`.
    pub fn f_forward_with_noise(
        &self,
        critic: impl FnOnce(&Tensor) -> Result<Tensor>,
        real: &Tensor,
        noise: &Tensor,
    ) -> Result<Tensor> {
        check::at_least_zero(Self::NAME, "lambda", self.lambda)?;
        check::at_least_zero(Self::NAME, "target", self.target)?;
        check_samples(Self::NAME, "real", real)?;
        check::shape(Self::NAME, "noise", noise, &real.size())?;
        check::device(Self::NAME, "noise", noise, real)?;
        let noise = check::in_kind(Self::NAME, "noise", &noise.f_detach()?, real.f_kind()?)?;
        let at = real.f_detach()?.f_add(&noise)?;
        let norm = norm(Self::NAME, &gradient(Self::NAME, critic, &at)?)?;
        excess(&norm, self.lambda, self.target, false)
    }

    /// [`DraganPenalty::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, critic: impl FnOnce(&Tensor) -> Tensor, real: &Tensor) -> Tensor {
        unwrap(self.f_forward(|x| Ok(critic(x)), real))
    }

    /// [`DraganPenalty::f_forward_with_noise`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_noise(
        &self,
        critic: impl FnOnce(&Tensor) -> Tensor,
        real: &Tensor,
        noise: &Tensor,
    ) -> Tensor {
        unwrap(self.f_forward_with_noise(|x| Ok(critic(x)), real, noise))
    }
}

named_loss! {
    apart DraganPenalty: "dragan_penalty", "Kodali et al. 2017; StudioGAN", Self::default(),
    [lambda, target, noise], aliases ["dragan"],
}
