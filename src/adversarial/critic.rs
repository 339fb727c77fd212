//! How Wasserstein critics are trained: more often than the generator, with clipped weights.

use crate::{Result, check, error::unwrap};
use tch::nn::VarStore;

/// Which steps train the generator, where the critic is trained on every one.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `n_critic` | 5 | steps of the critic to one of the generator; 0 counts as 1 |
/// | `warm_up` | 0 | steps of the critic alone at the start |
///
/// # Examples
///
/// ```
/// use tch_losses::adversarial::CriticSchedule;
///
/// let schedule = CriticSchedule::default().n_critic(3).warm_up(2);
/// let steps: Vec<u64> = (0..12).filter(|&step| schedule.trains_generator(step)).collect();
/// assert_eq!(steps, [4, 7, 10]);
/// ```
///
/// # Reference
///
/// Arjovsky et al. 2017, algorithm 1 (`n_critic` 5). With [`WassersteinGanLoss`](super::WassersteinGanLoss)
/// the critic's loss is an estimate of a distance only while the critic is near its optimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CriticSchedule {
    n_critic: u64,
    warm_up: u64,
}

impl Default for CriticSchedule {
    fn default() -> Self {
        CriticSchedule { n_critic: 5, warm_up: 0 }
    }
}

impl CriticSchedule {
    /// Steps of the critic to one of the generator; 5 by default.
    pub fn n_critic(mut self, n_critic: u64) -> Self {
        self.n_critic = n_critic;
        self
    }

    /// Steps of the critic alone at the start; 0 by default.
    pub fn warm_up(mut self, warm_up: u64) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Whether the generator is trained after the critic's step `step`, counted from 0.
    pub fn trains_generator(&self, step: u64) -> bool {
        let period = self.n_critic.max(1);
        step.checked_sub(self.warm_up).is_some_and(|step| step % period == period - 1)
    }
}

/// Clips every trainable variable to [-c, c], biases and normalisation layers included, as the
/// Wasserstein GAN does after each step of its critic.
///
/// Buffers, such as running means, stay as they are. Call it between the optimiser's step and the next
/// forward pass: a graph that was built before can no longer be differentiated. [`GradientPenalty`] and
/// [`SpectralNorm`] constrain the critic more gently.
///
/// [`GradientPenalty`]: crate::GradientPenalty
/// [`SpectralNorm`]: super::SpectralNorm
///
/// # Errors
///
/// `c` below 0 or not finite.
///
/// # Examples
///
/// ```
/// use tch::{Device, nn};
/// use tch_losses::adversarial::clip_weights;
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let critic = nn::linear(vs.root(), 9, 1, Default::default());
/// clip_weights(&vs, 0.01);
/// assert!(critic.ws.abs().max().double_value(&[]) <= 0.01);
/// ```
pub fn f_clip_weights(vs: &VarStore, c: f64) -> Result<()> {
    check::at_least_zero("clip_weights", "c", c)?;
    let _guard = tch::no_grad_guard();
    for mut variable in vs.trainable_variables() {
        let _ = variable.f_clamp_(-c, c)?;
    }
    Ok(())
}

/// [`f_clip_weights`], or a panic with its error.
#[track_caller]
pub fn clip_weights(vs: &VarStore, c: f64) {
    unwrap(f_clip_weights(vs, c));
}
