//! The trait [`GanLoss`], pairs of objectives by name, and what the pairs share.

use crate::{
    LossError, MeanOver, Reduction, Result, check,
    classification::softplus,
    error::unwrap,
    loss::{Options, Registry, option_enum},
    reduce::reduce,
};
use std::fmt::Debug;
use tch::Tensor;

/// The objectives of a discriminator and a generator, both to be minimised.
///
/// They take the discriminator's raw scores of real and of generated samples: logits, without a
/// sigmoid. In the discriminator's step generate without a graph, or detach the generated samples,
/// so that the generator gets no gradient:
///
/// ```
/// use tch::{Device, Kind, Tensor, nn, nn::Module, nn::OptimizerConfig};
/// use tch_losses::{adversarial::gan_by_name, loss::Options};
///
/// let (of_d, of_g) = (nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu));
/// let critic = nn::linear(of_d.root(), 2, 1, Default::default());
/// let generator = nn::linear(of_g.root(), 3, 2, Default::default());
/// let mut adam_d = nn::Adam::default().build(&of_d, 1e-3)?;
/// let mut adam_g = nn::Adam::default().build(&of_g, 1e-3)?;
/// let gan = gan_by_name("hinge", &Options::new())?;
///
/// for _step in 0..3 {
///     let real = Tensor::randn([8, 2], (Kind::Float, Device::Cpu));
///     let fake = generator.forward(&Tensor::randn([8, 3], (Kind::Float, Device::Cpu)));
///     let (real_scores, fake_scores) = (critic.forward(&real), critic.forward(&fake.detach()));
///     adam_d.backward_step(&gan.discriminator(&real_scores, &fake_scores));
///
///     let real_scores = gan.needs_real().then(|| tch::no_grad(|| critic.forward(&real)));
///     adam_g.backward_step(&gan.generator(real_scores.as_ref(), &critic.forward(&fake)));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Shapes
///
/// Scores of any shape, one or many a sample. `real` and `fake` may differ in size, but for
/// objectives that compare element with element and without reduction.
///
/// # Reduction
///
/// `Mean` divides the real and the fake term each by its own number of scores; a term of no scores
/// is 0.
pub trait GanLoss: Debug {
    /// The discriminator's objective, of its scores of real and of generated samples.
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor>;

    /// The generator's objective, of the discriminator's scores of generated samples, and of those
    /// of real ones where [`GanLoss::needs_real`] says so.
    fn f_generator(&self, real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor>;

    /// Whether the generator's objective needs the scores of real samples.
    fn needs_real(&self) -> bool {
        false
    }

    /// [`GanLoss::f_discriminator`], or a panic with its error.
    #[track_caller]
    fn discriminator(&self, real: &Tensor, fake: &Tensor) -> Tensor {
        unwrap(self.f_discriminator(real, fake))
    }

    /// [`GanLoss::f_generator`], or a panic with its error.
    #[track_caller]
    fn generator(&self, real: Option<&Tensor>, fake: &Tensor) -> Tensor {
        unwrap(self.f_generator(real, fake))
    }
}

impl<G: GanLoss + ?Sized> GanLoss for Box<G> {
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        (**self).f_discriminator(real, fake)
    }

    fn f_generator(&self, real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
        (**self).f_generator(real, fake)
    }

    fn needs_real(&self) -> bool {
        (**self).needs_real()
    }
}

/// The pair of objectives of a name: `hinge`, `wgan`, `lsgan`, ...
///
/// The names are in [`loss::catalogue`](crate::loss::catalogue), marked as pairs; `gan` at the end
/// may be left out. A caller's own are registered with
/// [`Entry::pair`](crate::loss::Entry::pair) and made by [`Registry::gan_by_name`].
///
/// # Errors
///
/// As [`loss::by_name`](crate::loss::by_name).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::adversarial::gan_by_name;
///
/// let gan = gan_by_name("least_squares", &"halve=neither".parse()?)?;
/// let value = gan.generator(None, &Tensor::from_slice(&[3.0f64, 1.0]));
/// assert_eq!(value.double_value(&[]), 2.0);
///
/// let error = gan_by_name("hinj", &Default::default()).unwrap_err().to_string();
/// assert!(error.contains("did you mean hinge_gan"), "{error}");
/// # Ok::<(), tch_losses::LossError>(())
/// ```
pub fn gan_by_name(name: &str, options: &Options) -> Result<Box<dyn GanLoss>> {
    Registry::default().gan_by_name(name, options)
}

/// Which of the two objectives are multiplied by ½.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Halve {
    /// Neither.
    #[default]
    Neither,
    /// The discriminator's, as CycleGAN and pix2pix slow it down.
    Discriminator,
    /// Both.
    Both,
}

option_enum!(Halve {
    Halve::Neither => "neither",
    Halve::Discriminator => "discriminator",
    Halve::Both => "both",
});

impl Halve {
    pub(super) fn of_discriminator(self, value: Tensor) -> Result<Tensor> {
        match self {
            Halve::Neither => Ok(value),
            Halve::Discriminator | Halve::Both => Ok(value.f_mul_scalar(0.5)?),
        }
    }

    pub(super) fn of_generator(self, value: Tensor) -> Result<Tensor> {
        match self {
            Halve::Neither | Halve::Discriminator => Ok(value),
            Halve::Both => Ok(value.f_mul_scalar(0.5)?),
        }
    }
}

/// The scores of both kinds of sample, in the kind that losses compute in.
pub(super) fn both(
    loss: &'static str,
    real: &Tensor,
    fake: &Tensor,
    reduction: Reduction,
) -> Result<(Tensor, Tensor)> {
    check::reduction(loss, reduction)?;
    check::device(loss, "fake", fake, real)?;
    if reduction == Reduction::None {
        check::shape(loss, "fake", fake, &real.size())?;
    }
    let real = check::accumulated(loss, "real", real)?;
    let fake = check::accumulated(loss, "fake", fake)?;
    let (expected, got) = (real.f_kind()?, fake.f_kind()?);
    if got != expected {
        let expected = "the real scores'";
        return Err(LossError::Kind { loss, what: "fake", expected, got });
    }
    Ok((real, fake))
}

/// The scores of generated samples, in the kind that losses compute in.
pub(super) fn one(loss: &'static str, fake: &Tensor, reduction: Reduction) -> Result<Tensor> {
    check::reduction(loss, reduction)?;
    check::accumulated(loss, "fake", fake)
}

/// The scores of real samples, which a generator's objective cannot do without.
pub(super) fn needed<'a>(loss: &'static str, real: Option<&'a Tensor>) -> Result<&'a Tensor> {
    real.ok_or(LossError::Unsupported {
        loss,
        message: "the generator's objective needs the scores of real samples too",
    })
}

pub(super) fn reduced(unreduced: Tensor, reduction: Reduction) -> Result<Tensor> {
    reduce(unreduced, None, MeanOver::Elements, reduction)
}

/// `softplus(-x)`, reduced: what a logit costs that should be large.
pub(super) fn cost_of_real(logits: &Tensor, reduction: Reduction) -> Result<Tensor> {
    // Negated last, so that no tensor of negated gradients is made.
    Ok(reduced(logits.f_log_sigmoid()?, reduction)?.f_neg()?)
}

/// `softplus(x)`, reduced: what a logit costs that should be small.
pub(super) fn cost_of_fake(logits: &Tensor, reduction: Reduction) -> Result<Tensor> {
    reduced(softplus(logits)?, reduction)
}
