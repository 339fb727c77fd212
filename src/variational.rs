//! Losses of variational autoencoders.

use crate::{
    LossError, LossParts, Reduction, Result, check,
    error::unwrap,
    fused,
    loss::{Entry, named_loss, option_enum},
    regression::largest_exponent,
};
use tch::{Kind, Tensor};

pub(crate) fn entries() -> Vec<Entry> {
    [KlStandardNormal::entries(), VaeLoss::entries()].concat()
}

/// How a term of a [`VaeLoss`] is made one number.
///
/// It decides what β means: with a sum over a sample, as in the bound on the likelihood, a larger
/// image weighs more against the same latent variables; with `Mean` each term is divided by a size of
/// its own, so that β must change with both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ElboReduction {
    /// Summed over each sample, averaged over the batch: the evidence lower bound.
    #[default]
    BatchMean,
    /// Averaged over everything: divided by the number of elements of the term.
    Mean,
    /// Summed over everything.
    Sum,
    /// Left as it is, an element each.
    None,
}

option_enum!(ElboReduction {
    ElboReduction::BatchMean => "batchmean",
    ElboReduction::Mean => "mean",
    ElboReduction::Sum => "sum",
    ElboReduction::None => "none",
});

impl ElboReduction {
    /// What turns the sum over a term of `elements`, `samples` of them independent, into its value.
    fn factor(self, samples: i64, elements: usize) -> f64 {
        match self {
            ElboReduction::BatchMean => 1.0 / samples.max(1) as f64,
            ElboReduction::Mean => 1.0 / elements.max(1) as f64,
            ElboReduction::Sum | ElboReduction::None => 1.0,
        }
    }
}

/// Kullback-Leibler divergence of a normal distribution with diagonal covariance from the standard one.
///
/// ```text
/// KL = ½ (μ² + σ² - log σ² - 1)    for each latent variable, σ² = exp(logvar)
/// ```
///
/// A logvar above 70 counts as 70 and has no gradient (600 in `Double`, 11 in `Half`), so that
/// everything stays finite; below there is no bound.
///
/// `free_bits` is a number of nats that each latent variable may carry for nothing: its mean over the
/// batch counts as at least λ, which keeps the posterior from collapsing onto the prior.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `BatchMean` | see [`ElboReduction`] |
/// | `free_bits` | 0 | λ, at least 0; 0 with the reduction `None` |
///
/// # Shapes
///
/// - μ, logvar: floating-point, the same shape (N, ..)
/// - loss: a scalar, or the shape of μ without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `BatchMean` divides the sum by N, `Mean` by the number of latent variables of the batch. For an
/// empty batch the loss is 0.
///
/// # Errors
///
/// Shape, kind or device of logvar; `free_bits` below 0, or above with the reduction `None`.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::KlStandardNormal;
///
/// let mu = Tensor::from_slice(&[1.0f64, 0.0, 0.0, 0.0]).view([2, 2]);
/// let kl = KlStandardNormal::default().forward(&mu, &mu.zeros_like());
/// assert_eq!(kl.double_value(&[]), 0.5 / 2.0);
/// // The second latent variable carries 0 nats where 0.1 are free.
/// let free = KlStandardNormal::default().free_bits(0.1).forward(&mu, &mu.zeros_like());
/// assert_eq!(free.double_value(&[]), 0.25 + 0.1);
/// ```
///
/// # Differences
///
/// Much code averages over batch and latent variables alike, which divides the divergence by the size
/// of the latent space: that is `Mean`. As written, `-½ Σ (1 + logvar - μ² - exp(logvar))`
/// overflows in `Float` for a logvar of 89, and rounds a small divergence to 1e-7, even below 0.
///
/// # Reference
///
/// Kingma and Welling 2014, "Auto-Encoding Variational Bayes", appendix B; Kingma et al. 2016,
/// "Improving Variational Inference with Inverse Autoregressive Flow" for `free_bits`. Follows PyTorch
/// 2.13 `torch.distributions.kl_divergence` of two `Normal`. See also [`VaeLoss`].
#[derive(Debug, Clone, Copy, Default)]
pub struct KlStandardNormal {
    reduction: ElboReduction,
    free_bits: f64,
}

impl KlStandardNormal {
    /// `BatchMean` by default.
    pub fn reduction(mut self, reduction: ElboReduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// λ, in nats, at least 0; 0 by default.
    pub fn free_bits(mut self, free_bits: f64) -> Self {
        self.free_bits = free_bits;
        self
    }

    /// The divergence of the distribution with mean `mu` and variance `exp(logvar)`.
    pub fn f_forward(&self, mu: &Tensor, logvar: &Tensor) -> Result<Tensor> {
        const NAME: &str = "KlStandardNormal";
        check::at_least_zero(NAME, "free_bits", self.free_bits)?;
        let free = self.free_bits > 0.0;
        let ok = !free || self.reduction != ElboReduction::None;
        check::param(NAME, "free_bits", self.free_bits, ok, "0 with the reduction None")?;
        let size = mu.size();
        check::shape_is(NAME, "mu", mu, !size.is_empty(), "[N, ..]")?;
        check::shape(NAME, "logvar", logvar, &size)?;
        check::device(NAME, "logvar", logvar, mu)?;
        let most = largest_exponent(logvar.f_kind()?);
        let mu = check::accumulated(NAME, "mu", mu)?;
        let logvar = check::in_kind(NAME, "logvar", logvar, mu.f_kind()?)?;

        // Of a variance near 1, expm1 keeps what the difference to 1 would lose.
        // To look is quicker than the gradient of a clamp.
        let largest = check::on_host(&logvar, Tensor::f_max)?;
        let within = largest.is_some_and(|largest| largest <= most);
        let logvar = if within { logvar } else { logvar.f_clamp_max(most)? };
        let factor = self.reduction.factor(size[0], mu.numel());
        if within
            && !free
            && self.reduction != ElboReduction::None
            && let Some(loss) = fused::from_standard_normal(&mu, &logvar, 0.5 * factor)?
        {
            return Ok(loss);
        }
        let twice = mu.f_mul(&mu)?.f_add_(&logvar.f_expm1()?)?.f_sub_(&logvar)?;
        drop(logvar);
        if self.reduction == ElboReduction::None {
            return Ok(twice.f_mul_scalar(0.5)?);
        }
        if !free {
            return Ok(twice.f_sum(None::<Kind>)?.f_mul_scalar(0.5 * factor)?);
        }
        let samples = size[0].max(1) as f64;
        let each = twice.f_sum_dim_intlist(0, false, None::<Kind>)?.f_mul_scalar(0.5 / samples)?;
        let kept = each.f_clamp_min(self.free_bits)?.f_sum(None::<Kind>)?;
        Ok(kept.f_mul_scalar(size[0] as f64 * factor)?)
    }

    /// [`KlStandardNormal::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, mu: &Tensor, logvar: &Tensor) -> Tensor {
        unwrap(self.f_forward(mu, logvar))
    }
}

named_loss! {
    apart KlStandardNormal: "kl_standard_normal", "torch.distributions.kl_divergence",
    Self::default(), [reduction, free_bits],
}

/// How a [`VaeLoss`] compares what the decoder makes with what the encoder saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reconstruction {
    /// Squared error: a normal likelihood of variance ½.
    #[default]
    Mse,
    /// Absolute error: a Laplace likelihood of scale 1.
    L1,
    /// Binary cross entropy of probabilities.
    Bce,
    /// Binary cross entropy of logits.
    BceWithLogits,
}

option_enum!(Reconstruction {
    Reconstruction::Mse => "mse",
    Reconstruction::L1 => "l1",
    Reconstruction::Bce => "bce",
    Reconstruction::BceWithLogits => "bce_with_logits",
});

impl Reconstruction {
    fn sum(self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        let sum = Reduction::Sum;
        Ok(match self {
            Reconstruction::Mse => input.f_mse_loss(target, sum)?,
            Reconstruction::L1 => input.f_sub(target)?.f_abs()?.f_sum(None::<Kind>)?,
            Reconstruction::Bce => input.f_binary_cross_entropy(target, None::<&Tensor>, sum)?,
            Reconstruction::BceWithLogits => {
                let none = None::<&Tensor>;
                input.f_binary_cross_entropy_with_logits(target, none, none, sum)?
            }
        })
    }
}

/// Loss of a variational autoencoder: reconstruction and β times the divergence from the prior.
///
/// ```text
/// l = reconstruction(x, t) + β KL(N(μ, σ²) ‖ N(0, 1))
/// ```
///
/// Both terms are reduced alike by default, so that β 1 is the evidence lower bound.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reconstruction` | `Mse` | see [`Reconstruction`] |
/// | `beta` | 1 | β, at least 0; 4 in the β-VAE paper |
/// | `free_bits` | 0 | λ of [`KlStandardNormal`] |
/// | `reduction` | `BatchMean` | of both terms; see [`ElboReduction`] |
/// | `kl_reduction` | that of both | another one for the divergence, as some code has |
///
/// # Shapes
///
/// - input: the reconstruction, floating-point (N, ..)
/// - target: the input's shape; floating-point, integer or bool
/// - μ, logvar: floating-point, the same shape (N, ..)
/// - each part: a scalar; `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// `BatchMean` divides each sum by N, `Mean` by the number of elements of the term. For an empty batch
/// the loss is 0.
///
/// # Errors
///
/// Shape, kind or device of a tensor; another N for the latent variables; `beta` or `free_bits` below
/// 0; the reduction `None`; for `Bce` a probability outside [0, 1] (on CUDA libtorch asserts on the
/// device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Reconstruction, VaeLoss};
///
/// let (logits, target) = (Tensor::zeros([2, 3], tch::kind::DOUBLE_CPU), Tensor::ones([2, 3], tch::kind::DOUBLE_CPU));
/// let mu = Tensor::from_slice(&[1.0f64, 0.0]).view([2, 1]);
/// let vae = VaeLoss::default().reconstruction(Reconstruction::BceWithLogits).beta(4.0);
/// let parts = vae.forward(&logits, &target, &mu, &mu.zeros_like());
/// let expected = 3.0 * std::f64::consts::LN_2 + 4.0 * 0.25;
/// assert!((parts.total.double_value(&[]) - expected).abs() < 1e-12);
/// assert_eq!((parts.named[1].0.as_str(), parts.named[1].1.double_value(&[])), ("kl", 0.25));
/// ```
///
/// # Differences
///
/// PyTorch's example sums both terms: `Sum`. An averaged reconstruction beside a `BatchMean`
/// divergence, which many notebooks have, weighs the prior as much more as an image has elements.
///
/// # Reference
///
/// Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; Higgins et al. 2017, "beta-VAE". See
/// also [`KlStandardNormal`].
#[derive(Debug, Clone, Copy)]
pub struct VaeLoss {
    reconstruction: Reconstruction,
    beta: f64,
    free_bits: f64,
    reduction: ElboReduction,
    kl_reduction: Option<ElboReduction>,
}

impl Default for VaeLoss {
    fn default() -> Self {
        VaeLoss {
            reconstruction: Reconstruction::Mse,
            beta: 1.0,
            free_bits: 0.0,
            reduction: ElboReduction::BatchMean,
            kl_reduction: None,
        }
    }
}

impl VaeLoss {
    /// What the reconstruction is compared by; `Mse` by default.
    pub fn reconstruction(mut self, reconstruction: Reconstruction) -> Self {
        self.reconstruction = reconstruction;
        self
    }

    /// β, at least 0; 1 by default.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// λ, in nats, at least 0; 0 by default.
    pub fn free_bits(mut self, free_bits: f64) -> Self {
        self.free_bits = free_bits;
        self
    }

    /// Of both terms; `BatchMean` by default.
    pub fn reduction(mut self, reduction: ElboReduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Of the divergence, if it is to be another one.
    pub fn kl_reduction(mut self, kl_reduction: impl Into<Option<ElboReduction>>) -> Self {
        self.kl_reduction = kl_reduction.into();
        self
    }

    /// The sum, and its parts `reconstruction` and `kl` before β.
    pub fn f_forward(
        &self,
        input: &Tensor,
        target: &Tensor,
        mu: &Tensor,
        logvar: &Tensor,
    ) -> Result<LossParts> {
        const NAME: &str = "VaeLoss";
        check::at_least_zero(NAME, "beta", self.beta)?;
        let kl_reduction = self.kl_reduction.unwrap_or(self.reduction);
        if [self.reduction, kl_reduction].contains(&ElboReduction::None) {
            return Err(LossError::Param {
                loss: NAME,
                option: "reduction",
                expected: "BatchMean, Mean or Sum",
                got: "None".to_owned(),
            });
        }
        let size = input.size();
        check::shape_is(NAME, "input", input, !size.is_empty(), "[N, ..]")?;
        check::same_shape(NAME, input, target)?;
        let samples = mu.size().first() == size.first();
        check::shape_is(NAME, "mu", mu, samples, &format!("[{}, ..]", size[0]))?;
        check::device(NAME, "mu", mu, input)?;
        let input = check::accumulated(NAME, "input", input)?;
        let target = check::in_kind(NAME, "target", target, input.f_kind()?)?;

        let factor = self.reduction.factor(size[0], input.numel());
        let reconstruction = self.reconstruction.sum(&input, &target)?.f_mul_scalar(factor)?;
        let kl = KlStandardNormal { reduction: kl_reduction, free_bits: self.free_bits };
        let kl = kl.f_forward(mu, logvar)?;
        Ok(LossParts {
            total: reconstruction.f_add(&kl.f_mul_scalar(self.beta)?)?,
            named: vec![
                ("reconstruction".to_owned(), reconstruction.f_detach()?),
                ("kl".to_owned(), kl.f_detach()?),
            ],
        })
    }

    /// [`VaeLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(
        &self,
        input: &Tensor,
        target: &Tensor,
        mu: &Tensor,
        logvar: &Tensor,
    ) -> LossParts {
        unwrap(self.f_forward(input, target, mu, logvar))
    }
}

named_loss! {
    apart VaeLoss: "vae", "Kingma and Welling 2014", Self::default(),
    [reconstruction, beta, free_bits, reduction, kl_reduction], aliases ["beta_vae", "elbo"],
}
