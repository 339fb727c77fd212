use super::checkpoint::{copy_into, named};
use anyhow::Result;
use tch::{Kind, Tensor, nn::VarStore, no_grad_guard};

/// AdamW with decoupled weight decay (Loshchilov and Hutter 2019) on the weights of more than one
/// dimension; biases and normalisation are not decayed. tch's own cannot save its state.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    steps: i64,
    weight_decay: f64,
    betas: (f64, f64),
}

#[derive(Debug)]
struct Slot {
    name: String,
    weight: Tensor,
    mean: Tensor,
    square: Tensor,
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPS: f64 = 1e-8;

impl AdamW {
    /// An optimiser of the trainable variables of `vs`.
    pub fn new(vs: &VarStore, weight_decay: f64) -> Self {
        let trainable = named(vs).into_iter().filter(|(_, weight)| weight.requires_grad());
        let slots = trainable
            .map(|(name, weight)| {
                let (mean, square) = (weight.detach().zeros_like(), weight.detach().zeros_like());
                Slot { name, weight, mean, square }
            })
            .collect();
        AdamW { slots, steps: 0, weight_decay, betas: BETAS }
    }

    /// How slowly the averages of gradients and of their squares forget; 0.9 and 0.999 by default.
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        self.betas = (first, second);
        self
    }

    /// Sets the gradients to zero, computes those of `loss`, scales them to a norm of at most
    /// `max_norm`, and steps.
    pub fn backward_step_clipped(&mut self, loss: &Tensor, learning_rate: f64, max_norm: f64) {
        for slot in &mut self.slots {
            slot.weight.zero_grad();
        }
        loss.backward();
        let _guard = no_grad_guard();
        let graded: Vec<&mut Slot> =
            self.slots.iter_mut().filter(|slot| slot.weight.grad().defined()).collect();
        let squares: Vec<Tensor> =
            graded.iter().map(|slot| slot.weight.grad().square().sum(Kind::Float)).collect();
        if squares.is_empty() {
            return;
        }
        let norm = Tensor::stack(&squares, 0).sum(None::<Kind>).sqrt();
        let scale = (max_norm / (norm + 1e-6)).clamp_max(1.0);
        self.steps += 1;
        let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(self.steps).unwrap_or(i32::MAX));
        let (first, second) = (correction(self.betas.0), correction(self.betas.1));
        for slot in graded {
            let grad = slot.weight.grad() * &scale;
            let _ = slot.mean.lerp_(&grad, 1.0 - self.betas.0);
            let _ = slot.square.lerp_(&grad.square(), 1.0 - self.betas.1);
            if slot.weight.dim() > 1 {
                let _ = slot.weight.g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
            }
            let root = (&slot.square / second).sqrt_() + EPS;
            let _ = slot.weight.g_sub_(&(&slot.mean / root * (learning_rate / first)));
        }
    }

    /// What a later run needs to go on.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = vec![("steps".to_owned(), Tensor::from(self.steps))];
        for slot in &self.slots {
            state.push((format!("mean.{}", slot.name), slot.mean.shallow_clone()));
            state.push((format!("square.{}", slot.name), slot.square.shallow_clone()));
        }
        state
    }

    /// Takes over a saved state.
    pub fn load(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let steps = Tensor::from(0i64);
        let mut places = vec![("steps".to_owned(), steps.shallow_clone())];
        for slot in &self.slots {
            places.push((format!("mean.{}", slot.name), slot.mean.shallow_clone()));
            places.push((format!("square.{}", slot.name), slot.square.shallow_clone()));
        }
        copy_into(&mut places, state)?;
        self.steps = steps.int64_value(&[]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, nn};

    fn quadratic() -> (VarStore, Tensor) {
        let vs = VarStore::new(Device::Cpu);
        let x = vs.root().var("x", &[3, 2], nn::Init::Const(2.0));
        (vs, x)
    }

    #[test]
    fn agrees_with_the_optimiser_of_tch() {
        use tch::nn::OptimizerConfig;
        for (beta1, beta2) in [BETAS, (0.0, 0.99)] {
            let (ours, x) = quadratic();
            let (theirs, y) = quadratic();
            let mut a = AdamW::new(&ours, 0.1).betas(beta1, beta2);
            let b = nn::AdamW { wd: 0.1, beta1, beta2, ..nn::AdamW::default() };
            let mut b = b.build(&theirs, 0.05).unwrap();
            let target = Tensor::from_slice(&[1f32, -1., 3., 0.5, 2., 7.]).view([3, 2]);
            for _ in 0..20 {
                a.backward_step_clipped(&(&x - &target).square().sum(None::<Kind>), 0.05, 1e9);
                b.backward_step(&(&y - &target).square().sum(None::<Kind>));
            }
            let distance = (&x - &y).abs().max().double_value(&[]);
            assert!(distance < 1e-5, "{distance}");
        }
    }

    #[test]
    fn goes_on_from_a_saved_state_as_if_it_had_not_stopped() {
        let run = |stop: bool| {
            let (vs, x) = quadratic();
            let mut optimiser = AdamW::new(&vs, 0.01);
            for step in 0..10 {
                if stop && step == 5 {
                    let state: Vec<_> =
                        optimiser.state().into_iter().map(|(n, t)| (n, t.copy())).collect();
                    optimiser = AdamW::new(&vs, 0.01);
                    optimiser.load(&state).unwrap();
                }
                optimiser.backward_step_clipped(&x.square().sum(None::<Kind>), 0.1, 10.0);
            }
            x.detach().copy()
        };
        assert_eq!(run(false), run(true));
    }
}
