//! The gradient penalty of Wasserstein GANs.

use super::gradient::{check_samples, gradient, norm};
use crate::{
    LossError, MeanOver, Reduction, Result, check, error::unwrap, loss::named_loss, reduce::reduce,
};
use tch::{Kind, Tensor};

const NAME: &str = "GradientPenalty";

/// Gradient penalty of a critic (WGAN-GP).
///
/// ```text
/// penalty = λ mean_n (‖∇ D(x̂_n)‖₂ - γ)²
/// x̂_n = ε_n real_n + (1-ε_n) fake_n,   ε_n ~ U(0, 1) for each sample
/// ```
///
/// The norm is over all that belongs to a sample. Where the gradient is 0 the norm is 0 and has
/// gradient 0, of every order; elsewhere it is exact. `backward` on the penalty fills the gradients
/// of the critic's parameters; `real` and `fake` are detached and get none.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `lambda` | 10 | λ |
/// | `target` | 1 | γ, the norm without penalty |
/// | `one_sided` | false | penalise only norms above γ |
///
/// # Shapes
///
/// - `real`, `fake`: the same shape (N, ..) and floating-point kind
/// - critic: takes that shape, returns any; several scores of a sample are added up. A sample's
///   scores must not depend on other samples: no batch normalisation, no mean over the batch. libtorch has
///   no second derivative of `cdist`: with it `backward` on the penalty fails
/// - `mixing`: ε, (N) or (N, 1, ..)
/// - penalty: a scalar; `Half` and `BFloat16` norms are computed and returned in `Float`
///
/// # Reduction
///
/// The mean divides by N. It is 0 for an empty batch.
///
/// # Errors
///
/// Shape, kind or device of `fake`, `mixing` or the critic's output; `lambda` or `target` below 0;
/// a critic whose output has no graph or does not depend on its input; a call inside `no_grad`;
/// what the critic itself returns.
///
/// # Examples
///
/// ```
/// use tch::{Kind, Device, Tensor};
/// use tch_losses::GradientPenalty;
///
/// // D(x) = w·x has gradient w everywhere: 10 (5 - 1)², and 2·10 (5 - 1) w/5 for w.
/// let w = Tensor::from_slice(&[3.0f64, 4.0]).set_requires_grad(true);
/// let real = Tensor::randn([8, 2], (Kind::Double, Device::Cpu));
/// let fake = Tensor::randn([8, 2], (Kind::Double, Device::Cpu));
/// let penalty = GradientPenalty::default().forward(|x| x.matmul(&w), &real, &fake);
/// assert!((penalty.double_value(&[]) - 160.0).abs() < 1e-9);
/// penalty.backward();
/// assert!((w.grad().double_value(&[0]) - 48.0).abs() < 1e-9);
/// ```
///
/// # Differences
///
/// Copies of this penalty take the norm over dimension 1 alone (BasicSR), one norm for the whole
/// batch (torchgan), or add an epsilon to the gradient (CycleGAN); those give other numbers. tch by
/// itself crashes on a critic without a graph, and returns an undefined gradient for one that does
/// not use its input.
///
/// # Reference
///
/// Gulrajani et al. 2017, "Improved Training of Wasserstein GANs"; one-sided: Petzka et al. 2018,
/// "On the regularization of Wasserstein GANs". Follows the `torch.autograd.grad(..,
/// create_graph=True)` idiom of PyTorch 2.13. See also [`gradient_penalty`], with the defaults.
#[derive(Debug, Clone, Copy)]
pub struct GradientPenalty {
    lambda: f64,
    target: f64,
    one_sided: bool,
}

impl Default for GradientPenalty {
    fn default() -> Self {
        GradientPenalty { lambda: 10.0, target: 1.0, one_sided: false }
    }
}

impl GradientPenalty {
    /// λ, at least 0; 10 by default.
    pub fn lambda(mut self, lambda: f64) -> Self {
        self.lambda = lambda;
        self
    }

    /// γ, at least 0; 1 by default.
    pub fn target(mut self, target: f64) -> Self {
        self.target = target;
        self
    }

    /// Whether norms below γ go without penalty; false by default.
    pub fn one_sided(mut self, one_sided: bool) -> Self {
        self.one_sided = one_sided;
        self
    }

    /// The penalty at points between `real` and `fake`, drawn from tch's random numbers.
    pub fn f_forward(
        &self,
        critic: impl FnOnce(&Tensor) -> Result<Tensor>,
        real: &Tensor,
        fake: &Tensor,
    ) -> Result<Tensor> {
        let samples = real.size().first().copied().unwrap_or(0);
        let kind = if real.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let mixing = Tensor::f_rand([samples], (kind, real.device()))?;
        self.f_forward_with_mixing(critic, real, fake, &mixing)
    }

    /// The penalty at `mixing * real + (1 - mixing) * fake`.
    pub fn f_forward_with_mixing(
        &self,
        critic: impl FnOnce(&Tensor) -> Result<Tensor>,
        real: &Tensor,
        fake: &Tensor,
        mixing: &Tensor,
    ) -> Result<Tensor> {
        check::at_least_zero(NAME, "lambda", self.lambda)?;
        check::at_least_zero(NAME, "target", self.target)?;
        let gradient = gradient(NAME, critic, &between(real, fake, mixing)?)?;
        excess(&norm(NAME, &gradient)?, self.lambda, self.target, self.one_sided)
    }

    /// [`GradientPenalty::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(
        &self,
        critic: impl FnOnce(&Tensor) -> Tensor,
        real: &Tensor,
        fake: &Tensor,
    ) -> Tensor {
        unwrap(self.f_forward(|x| Ok(critic(x)), real, fake))
    }

    /// [`GradientPenalty::f_forward_with_mixing`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_mixing(
        &self,
        critic: impl FnOnce(&Tensor) -> Tensor,
        real: &Tensor,
        fake: &Tensor,
        mixing: &Tensor,
    ) -> Tensor {
        unwrap(self.f_forward_with_mixing(|x| Ok(critic(x)), real, fake, mixing))
    }
}

named_loss! {
    apart GradientPenalty: "gradient_penalty", "WGAN-GP", Self::default(),
    [lambda, target, one_sided],
}

/// [`GradientPenalty`] with its defaults, λ 10 and γ 1, as a function.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let real = Tensor::randn([8, 2], (Kind::Float, Device::Cpu));
/// let penalty = tch_losses::f_gradient_penalty(|x| Ok(x.f_select(1, 0)?), &real, &(&real * 2.0))?;
/// assert_eq!(penalty.double_value(&[]), 0.0);
/// // A critic without a graph is an error.
/// let error = tch_losses::f_gradient_penalty(|x| Ok(x.detach()), &real, &real).unwrap_err();
/// assert!(error.to_string().contains("the critic's output has no graph"));
/// # Ok::<(), tch_losses::LossError>(())
/// ```
pub fn f_gradient_penalty(
    critic: impl FnOnce(&Tensor) -> Result<Tensor>,
    real: &Tensor,
    fake: &Tensor,
) -> Result<Tensor> {
    GradientPenalty::default().f_forward(critic, real, fake)
}

/// [`f_gradient_penalty`], or a panic with its error.
#[track_caller]
pub fn gradient_penalty(
    critic: impl FnOnce(&Tensor) -> Tensor,
    real: &Tensor,
    fake: &Tensor,
) -> Tensor {
    GradientPenalty::default().forward(critic, real, fake)
}

/// `λ mean (norm - γ)²`, or of what the norms exceed γ by.
pub(super) fn excess(norm: &Tensor, lambda: f64, target: f64, one_sided: bool) -> Result<Tensor> {
    let mut excess = norm.f_sub_scalar(target)?;
    if one_sided {
        excess = excess.f_relu()?;
    }
    let mean = reduce(excess.f_square()?, None, MeanOver::Elements, Reduction::Mean)?;
    Ok(mean.f_mul_scalar(lambda)?)
}

/// Points between `real` and `fake`.
fn between(real: &Tensor, fake: &Tensor, mixing: &Tensor) -> Result<Tensor> {
    check_samples(NAME, "real", real)?;
    let (dims, kind) = (real.size(), real.f_kind()?);
    check::shape(NAME, "fake", fake, &dims)?;
    check::device(NAME, "fake", fake, real)?;
    let got = fake.f_kind()?;
    if got != kind {
        let expected = "the real samples'";
        return Err(LossError::Kind { loss: NAME, what: "fake", expected, got });
    }
    let mut single = vec![1; dims.len()];
    single[0] = dims[0];
    let size = mixing.size();
    let ok = size == single || size == dims[..1];
    check::shape_is(NAME, "mixing", mixing, ok, &format!("{:?} or {single:?}", &dims[..1]))?;
    check::device(NAME, "mixing", mixing, real)?;
    let mixing = check::in_kind(NAME, "mixing", &mixing.f_detach()?, kind)?.f_reshape(&single)?;
    Ok(fake.f_detach()?.f_lerp_tensor(&real.f_detach()?, &mixing)?)
}
