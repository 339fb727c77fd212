//! Losses by name, fitted to what a classifier gives: logits of classes, and class indices.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use tch_losses::{
    FnLoss, Loss, WeightedSum,
    loss::{self, Input, Registry, Target, Term},
};

/// What is minimised.
#[derive(Debug)]
pub struct Objective {
    sum: WeightedSum,
    /// How logits become probabilities.
    pub link: Link,
}

/// How logits become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// One class against all others.
    Softmax,
    /// Each class by itself, then scaled so that they sum to 1; for losses of binary decisions.
    Sigmoid,
}

impl Link {
    /// Logarithms of the probabilities, along dimension 1.
    pub fn log_probabilities(self, logits: &Tensor) -> Tensor {
        match self {
            Link::Softmax => logits.log_softmax(1, None::<Kind>),
            Link::Sigmoid => logits.log_sigmoid().log_softmax(1, None::<Kind>),
        }
    }
}

impl Objective {
    /// The loss that `text` says. Losses of probabilities get the softmax or the sigmoid of the logits,
    /// those of dense targets get them one-hot, those of signs -1 and 1.
    pub fn new(text: &str, classes: usize, device: Device) -> Result<Self> {
        let make = || -> Result<Objective> {
            let registry = Registry::default();
            let (mut sum, mut binary) = (WeightedSum::new(), true);
            for term in loss::terms(text)? {
                let (loss, of_binary) = fitted(&registry, &term, device)?;
                binary &= of_binary;
                sum = sum.add(&term.name, term.coefficient, loss);
            }
            let link = if binary { Link::Sigmoid } else { Link::Softmax };
            let objective = Objective { sum, link };
            // Class weights of another length, a loss without reduction: better now than in training.
            let logits = Tensor::zeros([2, classes as i64], (Kind::Float, device));
            let classes = Tensor::from_slice(&[0i64, 1]).to_device(device);
            let _ = objective.loss(&logits, &classes)?;
            Ok(objective)
        };
        make().with_context(|| format!("--loss \"{text}\""))
    }

    /// The loss of logits (N, C) against classes (N).
    pub fn loss(&self, logits: &Tensor, target: &Tensor) -> Result<Tensor> {
        let loss = self.sum.f_forward(logits, target)?;
        let size = loss.size();
        ensure!(size.is_empty(), "it gives {size:?} numbers and not one; reduction=mean does");
        Ok(loss)
    }
}

/// A loss of logits and class indices, made of one that may take something else; and whether it is one
/// of binary decisions.
fn fitted(registry: &Registry, term: &Term, device: Device) -> Result<(impl Loss + use<>, bool)> {
    let options = term.options.clone().device(device);
    let inner = registry.by_name(&term.name, &options)?;
    let entry = registry.find(&term.name);
    let (input, target) = entry.and_then(|entry| entry.takes).context("made by its name")?;
    let softmax = |x: &Tensor| x.softmax(1, None::<Kind>);
    let (prepare, binary): (fn(&Tensor) -> Tensor, bool) = match input {
        Input::Logits => (Tensor::shallow_clone, false),
        Input::Scores => (Tensor::shallow_clone, false),
        Input::BinaryLogits => (Tensor::shallow_clone, true),
        Input::BinaryProbabilities => (Tensor::sigmoid, true),
        // With values, such as for the squared error, this is the Brier score.
        Input::Probabilities | Input::Values => (softmax, false),
        Input::LogProbabilities => (|x| x.log_softmax(1, None::<Kind>), false),
        Input::Boxes | Input::Images | Input::Embeddings => {
            bail!("{} takes {input:?}, and a classifier gives logits of classes", term.name)
        }
    };
    let loss = FnLoss::new(term.name.clone(), move |logits: &Tensor, class: &Tensor| {
        let input = prepare(logits);
        let one_hot = || class.f_one_hot(logits.size()[1])?.f_to_kind(input.kind());
        let target = match target {
            Target::Index | Target::IndexOrDense => class.shallow_clone(),
            Target::Dense => one_hot()?,
            Target::Sign => one_hot()?.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?,
        };
        inner.f_forward(&input, &target)
    });
    Ok((loss, binary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::assert_has;
    use tch_losses::{CrossEntropyLoss, FocalLoss};

    fn logits() -> Tensor {
        Tensor::from_slice(&[1.0f32, -0.5, 0.3, 0.1, 2.0, -1.0]).view([2, 3])
    }

    fn classes() -> Tensor {
        Tensor::from_slice(&[2i64, 1])
    }

    fn value(text: &str) -> f64 {
        let objective = Objective::new(text, 3, Device::Cpu).unwrap();
        objective.loss(&logits(), &classes()).unwrap().double_value(&[])
    }

    #[track_caller]
    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }

    #[test]
    fn losses_get_what_they_take() {
        let (logits, classes) = (logits(), classes());
        let hot = classes.one_hot(3).to_kind(Kind::Float);
        let ce = CrossEntropyLoss::default().forward(&logits, &classes).double_value(&[]);
        let focal = FocalLoss::default().forward(&logits, &hot).double_value(&[]);
        close(value("ce"), ce);
        close(value("focal"), focal);
        close(value("ce + 0.5*focal"), ce + 0.5 * focal);
        close(value("bce"), value("bce_with_logits"));
        close(value("multi_margin"), {
            let margins: [f64; 4] =
                [1.0 - 0.3 + 1.0, 1.0 - 0.3 - 0.5, 1.0 - 2.0 + 0.1, 1.0 - 2.0 - 1.0];
            margins.iter().map(|margin| margin.max(0.0)).sum::<f64>() / 3.0 / 2.0
        });
        let p = logits.softmax(1, None::<Kind>);
        let brier = (&p - &hot).square().mean(None::<Kind>).double_value(&[]);
        close(value("mse"), brier);
        let signs = &hot * 2.0 - 1.0;
        let hinge: Tensor = 1.0 - signs * &logits;
        let hinge = hinge.relu().mean(None::<Kind>).double_value(&[]);
        close(value("hinge"), hinge);
        close(value("nll"), ce);
    }

    #[test]
    fn probabilities_follow_the_kind_of_the_loss() {
        let link = |text| Objective::new(text, 3, Device::Cpu).unwrap().link;
        assert_eq!(link("ce"), Link::Softmax);
        assert_eq!(link("bce_with_logits + focal"), Link::Sigmoid);
        assert_eq!(link("ce + focal"), Link::Softmax);
        for link in [Link::Softmax, Link::Sigmoid] {
            let sums =
                link.log_probabilities(&logits()).exp().sum_dim_intlist(1, false, None::<Kind>);
            close(sums.min().double_value(&[]), 1.0);
            close(sums.max().double_value(&[]), 1.0);
        }
        let p = logits().sigmoid();
        let p = &p / p.sum_dim_intlist(1, true, None::<Kind>);
        let apart = (Link::Sigmoid.log_probabilities(&logits()).exp() - p).abs().max();
        close(apart.double_value(&[]), 0.0);
    }

    #[test]
    fn losses_that_do_not_fit_are_refused_before_training() {
        let error = |text: &str| format!("{:#}", Objective::new(text, 3, Device::Cpu).unwrap_err());
        assert_has(&error("foacl"), &["--loss \"foacl\"", "did you mean focal"]);
        assert_has(&error("giou"), &["giou takes Boxes"]);
        assert_has(&error("yolo_v5"), &["takes more than an input and a target"]);
        assert_has(&error("ce(weight=[1, 2])"), &["weight of shape [3], got [2]"]);
        assert_has(&error("ce(gamma=1)"), &["no option `gamma`"]);
        assert_has(&error("ce(reduction=none)"), &["[2] numbers", "reduction=mean"]);
        assert_has(&error("ce +"), &["expected the name of a loss"]);
    }
}
