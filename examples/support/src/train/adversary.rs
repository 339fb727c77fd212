use super::{AdamW, Checkpoint, copy_into, named};
use anyhow::Result;
use tch::{Tensor, nn::VarStore};

/// A network that is trained against another, such as a discriminator, and its optimiser; saved and
/// read together. No average is kept of it, for it is of no use afterwards.
#[derive(Debug)]
pub struct Adversary<N> {
    /// In training.
    pub net: N,
    vs: VarStore,
    optimiser: AdamW,
}

impl<N> Adversary<N> {
    /// The network of these variables.
    pub fn new((net, vs): (N, VarStore), betas: (f64, f64)) -> Self {
        let optimiser = AdamW::new(&vs, 0.0).betas(betas.0, betas.1);
        Adversary { net, vs, optimiser }
    }

    /// Trainable numbers.
    pub fn weights(&self) -> usize {
        self.vs.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// One step of the optimiser.
    pub fn step(&mut self, loss: &Tensor, learning_rate: f64, max_norm: f64) {
        self.optimiser.backward_step_clipped(loss, learning_rate, max_norm);
    }

    /// What `other` makes of the network while its own weights take no gradient, which would be
    /// computed for nothing.
    pub fn frozen<T>(&mut self, other: impl FnOnce(&N) -> T) -> T {
        self.vs.freeze();
        let made = other(&self.net);
        self.vs.unfreeze();
        made
    }

    /// Adds everything to a checkpoint, under `name`.
    pub fn save(&self, name: &str, checkpoint: Checkpoint) -> Checkpoint {
        let checkpoint = checkpoint.with(name, named(&self.vs));
        checkpoint.with(&format!("{name}_optimiser"), self.optimiser.state())
    }

    /// Goes on from [`Adversary::save`].
    pub fn restore(&mut self, name: &str, checkpoint: &Checkpoint) -> Result<()> {
        copy_into(&mut named(&self.vs), &checkpoint.group(name)?)?;
        self.optimiser.load(&checkpoint.group(&format!("{name}_optimiser"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, nn, nn::Module};

    fn make() -> Adversary<nn::Linear> {
        let vs = VarStore::new(Device::Cpu);
        let net = nn::linear(vs.root() / "line", 3, 2, Default::default());
        Adversary::new((net, vs), (0.5, 0.9))
    }

    #[test]
    fn it_goes_on_as_if_it_had_not_stopped() {
        tch::manual_seed(1);
        let x = Tensor::randn([4, 3], (Kind::Float, Device::Cpu));
        let step = |one: &mut Adversary<nn::Linear>| {
            let loss = one.net.forward(&x).square().mean(None::<Kind>);
            one.step(&loss, 0.1, 1.0);
        };
        let mut one = make();
        assert_eq!(one.weights(), 8);
        step(&mut one);
        let mut two = make();
        two.restore("critic", &one.save("critic", Checkpoint::default())).unwrap();
        for one in [&mut one, &mut two] {
            step(one);
        }
        assert_eq!(one.net.forward(&x), two.net.forward(&x));
    }

    #[test]
    fn a_frozen_network_passes_gradients_on_and_takes_none() {
        let mut one = make();
        let x = Tensor::ones([1, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        one.frozen(|net| net.forward(&x).sum(None::<Kind>)).backward();
        assert!(x.grad().defined() && !one.net.ws.grad().defined());
        assert!(one.net.ws.requires_grad());
    }
}
