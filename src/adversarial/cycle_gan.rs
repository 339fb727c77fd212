//! The generator's objectives of CycleGAN.

use super::{
    gan_loss::GanLoss,
    least_squares::LeastSquaresGanLoss,
    parts::{l1, scalar},
};
use crate::{
    Result, check,
    error::unwrap,
    loss::{LossParts, named_loss},
};
use tch::Tensor;

/// Cycle consistency: there and back gives the image that one set out from.
///
/// ```text
/// loss = λ_a mean |F(G(a)) - a| + λ_b mean |G(F(b)) - b|
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `lambda_a` | 10 | λ_a |
/// | `lambda_b` | 10 | λ_b |
///
/// # Shapes
///
/// - `real`: images a and b, which may differ in shape
/// - `cycled`: F(G(a)) and G(F(b)), of the shape of a and of b
/// - loss: a scalar; `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// Each mean divides by the number of its elements; of nothing it is 0.
///
/// # Errors
///
/// Shapes, kinds and devices; `lambda_a` or `lambda_b` below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::adversarial::CycleConsistencyLoss;
///
/// let (a, b) = (Tensor::from_slice(&[1.0f64, 2.0]), Tensor::from_slice(&[0.5f64]));
/// let loss = CycleConsistencyLoss::default().forward([&a, &b], [&(&a + 0.1), &(&b - 0.3)]);
/// assert!((loss.double_value(&[]) - 10.0 * (0.1 + 0.3)).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks".
/// See also [`CycleGanLoss`], which has it for a part.
#[derive(Debug, Clone, Copy)]
pub struct CycleConsistencyLoss {
    lambda_a: f64,
    lambda_b: f64,
}

impl Default for CycleConsistencyLoss {
    fn default() -> Self {
        CycleConsistencyLoss { lambda_a: 10.0, lambda_b: 10.0 }
    }
}

impl CycleConsistencyLoss {
    const NAME: &str = "CycleConsistencyLoss";

    /// The weight of the cycle from a, at least 0; 10 by default.
    pub fn lambda_a(mut self, lambda_a: f64) -> Self {
        self.lambda_a = lambda_a;
        self
    }

    /// The weight of the cycle from b, at least 0; 10 by default.
    pub fn lambda_b(mut self, lambda_b: f64) -> Self {
        self.lambda_b = lambda_b;
        self
    }

    /// The loss of images a and b and what came back of them.
    pub fn f_forward(&self, real: [&Tensor; 2], cycled: [&Tensor; 2]) -> Result<Tensor> {
        check::at_least_zero(Self::NAME, "lambda_a", self.lambda_a)?;
        check::at_least_zero(Self::NAME, "lambda_b", self.lambda_b)?;
        let [a, b] = cycle(Self::NAME, real, cycled)?;
        Ok(a.f_mul_scalar(self.lambda_a)?.f_add(&b.f_mul_scalar(self.lambda_b)?)?)
    }

    /// [`CycleConsistencyLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, real: [&Tensor; 2], cycled: [&Tensor; 2]) -> Tensor {
        unwrap(self.f_forward(real, cycled))
    }
}

named_loss! {
    apart CycleConsistencyLoss: "cycle_consistency", "CycleGAN", Self::default(),
    [lambda_a, lambda_b],
}

fn cycle(loss: &'static str, real: [&Tensor; 2], cycled: [&Tensor; 2]) -> Result<[Tensor; 2]> {
    Ok([
        l1(loss, ("cycled a", cycled[0]), ("real a", real[0]))?,
        l1(loss, ("cycled b", cycled[1]), ("real b", real[1]))?,
    ])
}

/// What [`CycleGanLoss`] looks at: pairs of a and b, with the generators G: a → b and F: b → a.
#[derive(Debug, Clone, Copy)]
pub struct CycleBatch<'a> {
    /// Images a and b.
    pub real: [&'a Tensor; 2],
    /// F(G(a)) and G(F(b)).
    pub cycled: [&'a Tensor; 2],
    /// F(a) and G(b), for the identity term; none to leave it out.
    pub same: Option<[&'a Tensor; 2]>,
    /// The scores of F(b) by the discriminator of a, and of G(a) by that of b.
    pub fake_scores: [&'a Tensor; 2],
    /// The scores of a and of b, for objectives that need them ([`GanLoss::needs_real`]).
    pub real_scores: Option<[&'a Tensor; 2]>,
}

/// The objective of CycleGAN's two generators, with named parts.
///
/// ```text
/// total = gan_a + gan_b + λ_a cycle_a + λ_b cycle_b + λ_idt (λ_a identity_a + λ_b identity_b)
/// gan_a = G(D_a(F(b)))     cycle_a = mean |F(G(a)) - a|     identity_a = mean |F(a) - a|
/// gan_b = G(D_b(G(a)))     cycle_b = mean |G(F(b)) - b|     identity_b = mean |G(b) - b|
/// ```
///
/// Each discriminator has its own step, by [`CycleGanLoss::f_discriminator`], on generated images from an
/// [`ImagePool`](super::ImagePool).
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gan` | [`LeastSquaresGanLoss::cyclegan`] | the adversarial objectives |
/// | `lambda_a`, `lambda_b` | 10 | weights of the cycles, and of the identities |
/// | `lambda_identity` | 0.5 | λ_idt; the identity terms need a and b of the same number of channels |
///
/// # Shapes
///
/// - see [`CycleBatch`]; cycled and identity images have the shape of the real ones
/// - result: [`LossParts`] of scalars; the parts are before their weights
///
/// # Reduction
///
/// Each mean divides by the number of its elements; of nothing it is 0.
///
/// # Errors
///
/// Shapes, kinds and devices; a weight below 0; what the adversarial objective returns, and one without
/// reduction.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::adversarial::{CycleBatch, CycleGanLoss};
///
/// let (a, b) = (Tensor::from_slice(&[1.0f64]), Tensor::from_slice(&[2.0f64]));
/// let scores = Tensor::from_slice(&[0.0f64]);
/// let parts = CycleGanLoss::default().forward(&CycleBatch {
///     real: [&a, &b],
///     cycled: [&(&a + 0.1), &b],
///     same: Some([&(&a + 0.2), &b]),
///     fake_scores: [&scores, &(&scores + 1.0)],
///     real_scores: None,
/// });
/// let expected = 1.0 + 0.0 + 10.0 * 0.1 + 0.5 * 10.0 * 0.2;
/// assert!((parts.total.double_value(&[]) - expected).abs() < 1e-12);
/// assert_eq!(parts.named[2].0, "cycle_a");
/// ```
///
/// # Reference
///
/// Zhu et al. 2017. Follows pytorch-CycleGAN-and-pix2pix, where D_A is the discriminator of b, and λ_B
/// the weight of the identity of b by G.
#[derive(Debug)]
pub struct CycleGanLoss {
    gan: Box<dyn GanLoss>,
    lambda_a: f64,
    lambda_b: f64,
    lambda_identity: f64,
}

impl Default for CycleGanLoss {
    fn default() -> Self {
        CycleGanLoss {
            gan: Box::new(LeastSquaresGanLoss::cyclegan()),
            lambda_a: 10.0,
            lambda_b: 10.0,
            lambda_identity: 0.5,
        }
    }
}

impl CycleGanLoss {
    const NAME: &str = "CycleGanLoss";

    /// The adversarial objectives; CycleGAN's least squares by default.
    pub fn gan(mut self, gan: impl GanLoss + 'static) -> Self {
        self.gan = Box::new(gan);
        self
    }

    /// The weight of the cycle from a, at least 0; 10 by default.
    pub fn lambda_a(mut self, lambda_a: f64) -> Self {
        self.lambda_a = lambda_a;
        self
    }

    /// The weight of the cycle from b, at least 0; 10 by default.
    pub fn lambda_b(mut self, lambda_b: f64) -> Self {
        self.lambda_b = lambda_b;
        self
    }

    /// The weight of the identity terms beside the cycles, at least 0; 0.5 by default.
    pub fn lambda_identity(mut self, lambda_identity: f64) -> Self {
        self.lambda_identity = lambda_identity;
        self
    }

    /// The objective of one discriminator, of its scores of real and of pooled images.
    pub fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        self.gan.f_discriminator(real, fake)
    }

    /// The generators' objective and its parts.
    pub fn f_forward(&self, batch: &CycleBatch) -> Result<LossParts> {
        const NAME: &str = CycleGanLoss::NAME;
        let (lambda_a, lambda_b, share) = (self.lambda_a, self.lambda_b, self.lambda_identity);
        check::at_least_zero(NAME, "lambda_a", lambda_a)?;
        check::at_least_zero(NAME, "lambda_b", lambda_b)?;
        check::at_least_zero(NAME, "lambda_identity", share)?;
        let gan = |side: usize| {
            let real = batch.real_scores.map(|scores| scores[side]);
            scalar(NAME, self.gan.f_generator(real, batch.fake_scores[side])?)
        };
        let [cycle_a, cycle_b] = cycle(NAME, batch.real, batch.cycled)?;
        let mut terms = vec![
            ("gan_a", 1.0, gan(0)?),
            ("gan_b", 1.0, gan(1)?),
            ("cycle_a", lambda_a, cycle_a),
            ("cycle_b", lambda_b, cycle_b),
        ];
        if let Some([a, b]) = batch.same {
            let [real_a, real_b] = batch.real;
            let identity_a = l1(NAME, ("identity of a", a), ("real a", real_a))?;
            let identity_b = l1(NAME, ("identity of b", b), ("real b", real_b))?;
            terms.push(("identity_a", share * lambda_a, identity_a));
            terms.push(("identity_b", share * lambda_b, identity_b));
        }
        LossParts::of(NAME, terms)
    }

    /// [`CycleGanLoss::f_discriminator`], or a panic with its error.
    #[track_caller]
    pub fn discriminator(&self, real: &Tensor, fake: &Tensor) -> Tensor {
        unwrap(self.f_discriminator(real, fake))
    }

    /// [`CycleGanLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, batch: &CycleBatch) -> LossParts {
        unwrap(self.f_forward(batch))
    }
}

named_loss! {
    apart CycleGanLoss: "cycle_gan", "CycleGAN", Self::default(),
    [lambda_a, lambda_b, lambda_identity],
}
