//! The objectives that take scores for logits: min-max, non-saturating, and binary cross entropy
//! with labels.

use super::gan_loss::{GanLoss, Halve, both, cost_of_fake, cost_of_real, one, reduced};
use crate::{Reduction, Result, check, loss::named_loss};
use tch::Tensor;

/// The min-max game of the first GAN, whose generator saturates.
///
/// ```text
/// D: mean softplus(-real) + mean softplus(fake)    = -mean log σ(real) - mean log(1-σ(fake))
/// G: -mean softplus(fake)                          = mean log(1-σ(fake))
/// ```
///
/// Where the discriminator is sure (`fake` far below 0) the generator's gradient vanishes: -3.4e-4 at
/// -8, against -0.9997 of [`NonSaturatingGanLoss`], which has the same fixed points.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// Logits; see [`GanLoss`]. `Half` and `BFloat16` are computed and returned in `Float`.
///
/// # Reduction
///
/// `Mean` divides each term by its number of scores; a term of no scores is 0.
///
/// # Errors
///
/// Kind or device of `fake`; without reduction its shape.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GanLoss, MinMaxGanLoss};
///
/// let fake = Tensor::from_slice(&[-8.0f64]).set_requires_grad(true);
/// let loss = MinMaxGanLoss::default().generator(None, &fake);
/// assert!((loss.double_value(&[]) + (-8.0f64).exp().ln_1p()).abs() < 1e-12);
/// loss.backward();
/// assert!((fake.grad().double_value(&[0]) + 3.35e-4).abs() < 1e-6);
/// ```
///
/// # Differences
///
/// Written with `log` and `sigmoid`, as in many articles, it is infinite from a logit of 17 in
/// `Float`, and its gradient NaN.
///
/// # Reference
///
/// Goodfellow et al. 2014, "Generative Adversarial Nets".
#[derive(Debug, Clone)]
pub struct MinMaxGanLoss {
    reduction: Reduction,
}

impl Default for MinMaxGanLoss {
    fn default() -> Self {
        MinMaxGanLoss { reduction: Reduction::Mean }
    }
}

impl MinMaxGanLoss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl GanLoss for MinMaxGanLoss {
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        discriminator("MinMaxGanLoss", real, fake, self.reduction)
    }

    fn f_generator(&self, _real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
        let fake = one("MinMaxGanLoss", fake, self.reduction)?;
        Ok(cost_of_fake(&fake, self.reduction)?.f_neg()?)
    }
}

named_loss! {
    pair MinMaxGanLoss: "minmax_gan", "Goodfellow et al. 2014", [reduction],
    aliases ["saturating_gan"],
}

/// The logistic objectives with the non-saturating generator, as most GANs of today train.
///
/// ```text
/// D: mean softplus(-real) + mean softplus(fake)
/// G: mean softplus(-fake)                          = -mean log σ(fake)
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// Logits; see [`GanLoss`]. `Half` and `BFloat16` are computed and returned in `Float`.
///
/// # Reduction
///
/// `Mean` divides each term by its number of scores; a term of no scores is 0.
///
/// # Errors
///
/// Kind or device of `fake`; without reduction its shape.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GanLoss, NonSaturatingGanLoss};
///
/// let gan = NonSaturatingGanLoss::default();
/// let (real, fake) = (Tensor::from_slice(&[0.0f64, 1e4]), Tensor::from_slice(&[0.0f64]));
/// let ln2 = std::f64::consts::LN_2;
/// assert!((gan.discriminator(&real, &fake).double_value(&[]) - 1.5 * ln2).abs() < 1e-12);
/// assert!((gan.generator(None, &fake).double_value(&[]) - ln2).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Goodfellow et al. 2014, section 3. Follows StyleGAN2 `D_logistic`, `G_logistic_ns`, and BasicSR's
/// `vanilla` and `wgan_softplus`. See also [`BceGanLoss`] for other labels than 1 and 0.
#[derive(Debug, Clone)]
pub struct NonSaturatingGanLoss {
    reduction: Reduction,
}

impl Default for NonSaturatingGanLoss {
    fn default() -> Self {
        NonSaturatingGanLoss { reduction: Reduction::Mean }
    }
}

impl NonSaturatingGanLoss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl GanLoss for NonSaturatingGanLoss {
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        discriminator("NonSaturatingGanLoss", real, fake, self.reduction)
    }

    fn f_generator(&self, _real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
        let fake = one("NonSaturatingGanLoss", fake, self.reduction)?;
        cost_of_real(&fake, self.reduction)
    }
}

named_loss! {
    pair NonSaturatingGanLoss: "non_saturating_gan", "StyleGAN2 `D_logistic`, `G_logistic_ns`",
    [reduction], aliases ["logistic_gan", "vanilla_gan", "wgan_softplus"],
}

fn discriminator(
    loss: &'static str,
    real: &Tensor,
    fake: &Tensor,
    reduction: Reduction,
) -> Result<Tensor> {
    let (real, fake) = both(loss, real, fake, reduction)?;
    Ok(cost_of_real(&real, reduction)?.f_add(&cost_of_fake(&fake, reduction)?)?)
}

/// Binary cross entropy of the scores with labels, which may be smoothed.
///
/// ```text
/// bce(x, t) = softplus(x) - t x
/// D: mean bce(real, real_label) + mean bce(fake, fake_label)
/// G: mean bce(fake, generator_label)
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `real_label` | 1 | what the discriminator should say of real samples; 0.9 is one-sided smoothing |
/// | `fake_label` | 0 | what it should say of generated ones; 0.1 besides makes it two-sided |
/// | `generator_label` | 1 | what the generator wants it to say |
/// | `halve` | `Neither` | which objectives are multiplied by ½ |
/// | `reduction` | `Mean` | |
///
/// Presets: [`BceGanLoss::pix2pix`].
///
/// # Shapes
///
/// Logits; see [`GanLoss`]. `Half` and `BFloat16` are computed and returned in `Float`.
///
/// # Reduction
///
/// `Mean` divides each term by its number of scores; a term of no scores is 0.
///
/// # Errors
///
/// Kind or device of `fake`; without reduction its shape; a label outside [0, 1].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BceGanLoss, GanLoss};
///
/// let gan = BceGanLoss::default().real_label(0.9);
/// // A logit of ln 9 says 0.9, which is what is asked for: a derivative of 0.
/// let real = Tensor::from_slice(&[9f64.ln()]).set_requires_grad(true);
/// gan.discriminator(&real, &Tensor::from_slice(&[0.0f64])).backward();
/// assert!(real.grad().double_value(&[0]).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// BasicSR and CycleGAN give the generator the smoothed real label too: set `generator_label`. A
/// smoothed fake label makes the discriminator favour samples where the generator has mass and the
/// data have none (Salimans et al. 2016), so one-sided is the usual choice.
///
/// # Reference
///
/// Follows `torch.nn.BCEWithLogitsLoss` as DCGAN, pix2pix and BasicSR's `vanilla` use it. With labels
/// 1 and 0 it is [`NonSaturatingGanLoss`].
#[derive(Debug, Clone)]
pub struct BceGanLoss {
    real_label: f64,
    fake_label: f64,
    generator_label: f64,
    halve: Halve,
    reduction: Reduction,
}

impl Default for BceGanLoss {
    fn default() -> Self {
        BceGanLoss {
            real_label: 1.0,
            fake_label: 0.0,
            generator_label: 1.0,
            halve: Halve::Neither,
            reduction: Reduction::Mean,
        }
    }
}

impl BceGanLoss {
    const NAME: &str = "BceGanLoss";

    /// pix2pix's objectives: the discriminator's is halved.
    pub fn pix2pix() -> Self {
        BceGanLoss::default().halve(Halve::Discriminator)
    }

    /// The discriminator's target for real samples, in [0, 1]; 1 by default.
    pub fn real_label(mut self, real_label: f64) -> Self {
        self.real_label = real_label;
        self
    }

    /// The discriminator's target for generated samples, in [0, 1]; 0 by default.
    pub fn fake_label(mut self, fake_label: f64) -> Self {
        self.fake_label = fake_label;
        self
    }

    /// The generator's target, in [0, 1]; 1 by default.
    pub fn generator_label(mut self, generator_label: f64) -> Self {
        self.generator_label = generator_label;
        self
    }

    /// Which objectives are multiplied by ½; `Neither` by default.
    pub fn halve(mut self, halve: Halve) -> Self {
        self.halve = halve;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn bce(&self, logits: &Tensor, label: f64) -> Result<Tensor> {
        match label {
            1.0 => cost_of_real(logits, self.reduction),
            0.0 => cost_of_fake(logits, self.reduction),
            _ => {
                let label = Tensor::f_scalar_tensor(label, (logits.f_kind()?, logits.device()))?;
                let (label, none) = (label.f_expand_as(logits)?, None::<&Tensor>);
                let bce = logits.f_binary_cross_entropy_with_logits(
                    &label,
                    none,
                    none,
                    Reduction::None,
                )?;
                reduced(bce, self.reduction)
            }
        }
    }
}

impl GanLoss for BceGanLoss {
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        check::fraction(Self::NAME, "real_label", self.real_label)?;
        check::fraction(Self::NAME, "fake_label", self.fake_label)?;
        let (real, fake) = both(Self::NAME, real, fake, self.reduction)?;
        let real = self.bce(&real, self.real_label)?;
        self.halve.of_discriminator(real.f_add(&self.bce(&fake, self.fake_label)?)?)
    }

    fn f_generator(&self, _real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
        check::fraction(Self::NAME, "generator_label", self.generator_label)?;
        let fake = one(Self::NAME, fake, self.reduction)?;
        self.halve.of_generator(self.bce(&fake, self.generator_label)?)
    }
}

named_loss! {
    pair BceGanLoss: "bce_gan", "DCGAN; torch.nn.BCEWithLogitsLoss",
    [real_label, fake_label, generator_label, halve, reduction], aliases ["dcgan"],
    presets { "bce_gan_pix2pix" => Self::pix2pix(), "pix2pix", ["pix2pix_gan"] },
}
