use super::checkpoint::named;
use tch::{Kind, Tensor, nn::VarStore, no_grad_guard};

/// An exponential moving average of the weights and the running statistics, kept in the variables of
/// a second network.
///
/// ```text
/// average <- d average + (1-d) weight,   d = decay (1 - exp(-updates/ramp))
/// ```
#[derive(Debug)]
pub struct Ema {
    pairs: Vec<(Tensor, Tensor)>,
    decay: f64,
    ramp: f64,
    /// Updates so far, to save with a checkpoint.
    pub updates: i64,
}

impl Ema {
    /// Averages `source` into `average`, which has the same variables and begins as a copy.
    pub fn new(average: &VarStore, source: &VarStore, decay: f64, ramp: f64) -> Self {
        let both = named(average).into_iter().zip(named(source));
        let pairs: Vec<_> = both
            .map(|((name, average), (source_name, source))| {
                assert_eq!(name, source_name, "two networks of one shape");
                (average, source)
            })
            .collect();
        let _guard = no_grad_guard();
        for (average, source) in &pairs {
            average.shallow_clone().copy_(source);
        }
        Ema { pairs, decay, ramp, updates: 0 }
    }

    /// Takes the weights of one more step in.
    pub fn update(&mut self) {
        self.updates += 1;
        let decay = self.decay * (1.0 - (-self.updates as f64 / self.ramp).exp());
        let _guard = no_grad_guard();
        for (average, source) in &mut self.pairs {
            if matches!(average.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
                let _ = average.lerp_(source, 1.0 - decay);
            } else {
                average.copy_(source);
            }
        }
    }
}
