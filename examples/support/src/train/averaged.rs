use super::{AdamW, Checkpoint, Ema, copy_into, named};
use anyhow::{Context, Result};
use std::path::Path;
use tch::{Tensor, nn::VarStore};

/// A network in training, the moving average of its weights, which is what is used, and its
/// optimiser; saved and read together.
#[derive(Debug)]
pub struct Averaged<N> {
    /// In training.
    pub net: N,
    /// To use.
    pub average: N,
    vs: VarStore,
    average_vs: VarStore,
    ema: Ema,
    optimiser: AdamW,
}

const AVERAGE: &str = "ema";

impl<N> Averaged<N> {
    /// Two networks of `make`, the average beginning as a copy; the average has `decay` and forgets
    /// the beginning over `ramp` updates.
    pub fn new(make: impl Fn() -> (N, VarStore), decay: f64, ramp: f64, weight_decay: f64) -> Self {
        let ((net, vs), (average, average_vs)) = (make(), make());
        let ema = Ema::new(&average_vs, &vs, decay, ramp);
        let optimiser = AdamW::new(&vs, weight_decay);
        Averaged { net, average, vs, average_vs, ema, optimiser }
    }

    /// As [`AdamW::betas`].
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        self.optimiser = self.optimiser.betas(first, second);
        self
    }

    /// Trainable numbers.
    pub fn weights(&self) -> usize {
        self.vs.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// Updates of the average so far, to save beside a checkpoint.
    pub fn updates(&self) -> i64 {
        self.ema.updates
    }

    /// One step of the optimiser, and the average after it.
    pub fn step(&mut self, loss: &Tensor, learning_rate: f64, max_norm: f64) {
        self.optimiser.backward_step_clipped(loss, learning_rate, max_norm);
        self.ema.update();
    }

    /// A checkpoint of the average: weights to use.
    pub fn to_use(&self, text: String) -> Checkpoint {
        Checkpoint::new(text).with(AVERAGE, named(&self.average_vs))
    }

    /// A checkpoint of everything: what a run goes on from.
    pub fn to_go_on(&self, text: String) -> Checkpoint {
        self.to_use(text).with("model", named(&self.vs)).with("optimiser", self.optimiser.state())
    }

    /// Goes on from [`Averaged::to_go_on`] after `updates` updates.
    pub fn restore(&mut self, checkpoint: &Checkpoint, updates: i64) -> Result<()> {
        copy_into(&mut named(&self.vs), &checkpoint.group("model")?)?;
        copy_into(&mut named(&self.average_vs), &checkpoint.group(AVERAGE)?)?;
        self.optimiser.load(&checkpoint.group("optimiser")?)?;
        self.ema.updates = updates;
        Ok(())
    }
}

/// Copies the average of a checkpoint that was read from `path` into a network, to use it.
pub fn load_average(vs: &VarStore, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
    copy_into(&mut named(vs), &checkpoint.group(AVERAGE)?)
        .with_context(|| format!("cannot load {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, nn, nn::Module};

    fn make() -> (nn::Linear, VarStore) {
        let vs = VarStore::new(Device::Cpu);
        (nn::linear(vs.root() / "line", 3, 2, Default::default()), vs)
    }

    #[test]
    fn a_run_goes_on_as_if_it_had_not_stopped() {
        tch::manual_seed(1);
        let x = Tensor::randn([4, 3], (Kind::Float, Device::Cpu));
        let step = |model: &mut Averaged<nn::Linear>| {
            let loss = model.net.forward(&x).square().mean(None::<Kind>);
            model.step(&loss, 0.1, 1.0);
        };
        let mut one = Averaged::new(make, 0.9, 2.0, 0.01);
        assert_eq!(one.weights(), 8);
        assert_eq!(one.net.forward(&x), one.average.forward(&x));
        step(&mut one);
        let mut two = Averaged::new(make, 0.9, 2.0, 0.01);
        two.restore(&one.to_go_on(String::new()), one.updates()).unwrap();
        for model in [&mut one, &mut two] {
            step(model);
        }
        assert_eq!(one.net.forward(&x), two.net.forward(&x));
        assert_eq!(one.average.forward(&x), two.average.forward(&x));
        assert_ne!(one.net.forward(&x), one.average.forward(&x));

        let (net, vs) = make();
        load_average(&vs, &one.to_use(String::new()), Path::new("best")).unwrap();
        assert_eq!(net.forward(&x), one.average.forward(&x));
    }
}
