//! A discriminator as a loss.

use super::gan_loss::GanLoss;
use crate::{Loss, LossError, Result, check, loss::Entry};
use std::fmt::{self, Debug};
use tch::Tensor;

/// A discriminator as a loss of what a generator makes: its scores under the generator's objective of a
/// [`GanLoss`].
///
/// ```text
/// loss(input, target) = G(D(target), D(input))
/// ```
///
/// With [`WeightedSum`](crate::WeightedSum) it joins any other loss, as in a super-resolution or a
/// segmentation network trained adversarially. The discriminator has its own step, by
/// [`GanLoss::f_discriminator`].
///
/// # Shapes
///
/// - input: generated samples; target: real ones, looked at only by objectives that need real scores
/// - loss: what the [`GanLoss`] returns
///
/// # Reduction
///
/// That of the [`GanLoss`].
///
/// # Errors
///
/// What the discriminator returns, and the [`GanLoss`]; the device of the target. There is no weighted
/// form.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor, nn, nn::Module};
/// use tch_losses::{Loss, WeightedSum, adversarial::{DiscriminatorLoss, HingeGanLoss}};
/// # use tch_losses::FnLoss;
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let critic = nn::linear(vs.root(), 4, 1, Default::default());
/// # let l1 = FnLoss::new("l1", |x: &Tensor, y: &Tensor| Ok((x - y).abs().mean(None)));
/// let loss = WeightedSum::new().add("l1", 100.0, l1).add(
///     "gan",
///     1.0,
///     DiscriminatorLoss::new(move |x: &Tensor| Ok(critic.forward(x)), HingeGanLoss::default()),
/// );
/// let output = Tensor::zeros([2, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// loss.forward(&output, &Tensor::ones([2, 4], (Kind::Float, Device::Cpu))).backward();
/// assert!(output.grad().defined());
/// ```
pub struct DiscriminatorLoss<C> {
    critic: C,
    gan: Box<dyn GanLoss>,
}

impl<C: Fn(&Tensor) -> Result<Tensor>> DiscriminatorLoss<C> {
    /// The scores of `critic` under the generator's objective of `gan`.
    pub fn new(critic: C, gan: impl GanLoss + 'static) -> Self {
        DiscriminatorLoss { critic, gan: Box::new(gan) }
    }
}

impl<C> Debug for DiscriminatorLoss<C> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("DiscriminatorLoss").field("gan", &self.gan).finish_non_exhaustive()
    }
}

impl<C: Fn(&Tensor) -> Result<Tensor>> Loss for DiscriminatorLoss<C> {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        check::device("DiscriminatorLoss", "target", target, input)?;
        let real = match self.gan.needs_real() {
            true => Some({
                let _guard = tch::no_grad_guard();
                (self.critic)(target)?
            }),
            false => None,
        };
        self.gan.f_generator(real.as_ref(), &(self.critic)(input)?)
    }

    fn f_forward_weighted(
        &self,
        _input: &Tensor,
        _target: &Tensor,
        _weight: &Tensor,
    ) -> Result<Tensor> {
        let message = "scores are not elements of the input; there is no element weight";
        Err(LossError::Unsupported { loss: "DiscriminatorLoss", message })
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let entry = Entry::apart("discriminator", |_| Ok(()));
    vec![entry.of_type("DiscriminatorLoss", module_path!()).follows("a critic and a pair")]
}
