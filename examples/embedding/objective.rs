//! Losses by name, fitted to embeddings and classes.

use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};
use tch_losses::{
    Loss, WeightedSum,
    loss::{self, Input, Registry, Target, Term},
    metric_learning::f_proxy_loss_by_name,
};

/// What is minimised.
#[derive(Debug)]
pub struct Objective(WeightedSum);

impl Objective {
    /// The loss that `text` says. Those that learn a vector for each class take one of `vectors` each, in
    /// their order.
    pub fn new(text: &str, vectors: &[Tensor], device: Device) -> Result<Self> {
        let make = || -> Result<Self> {
            let registry = Registry::default();
            let mut vectors = vectors.iter();
            let mut sum = WeightedSum::new();
            for term in loss::terms(text)? {
                let loss = match learns_vectors(&registry, &term) {
                    true => {
                        let vectors = vectors.next().context("as many vectors as terms")?;
                        f_proxy_loss_by_name(&term.name, &term.options, vectors)?
                    }
                    false => of_embeddings(&registry, &term, device)?,
                };
                sum = sum.add(&term.name, term.coefficient, loss);
            }
            Ok(Objective(sum))
        };
        make().with_context(|| format!("--loss \"{text}\""))
    }

    /// How many of the losses that `text` says learn a vector for each class. An error if one does not
    /// exist, or does not fit embeddings: better now than in training.
    pub fn vectors(text: &str, dims: usize, classes: usize) -> Result<usize> {
        let on_cpu = (Kind::Float, Device::Cpu);
        let check = || -> Result<usize> {
            let registry = Registry::default();
            let terms = loss::terms(text)?;
            let count = terms.iter().filter(|term| learns_vectors(&registry, term)).count();
            let shape = [classes as i64, dims as i64];
            let vectors: Vec<Tensor> = (0..count).map(|_| Tensor::ones(shape, on_cpu)).collect();
            let objective = Objective::new(text, &vectors, Device::Cpu)?;
            let embeddings = Tensor::ones([4, dims as i64], on_cpu);
            let _ = objective.loss(&embeddings, &Tensor::from_slice(&[0i64, 0, 1, 1]))?;
            Ok(count)
        };
        check().with_context(|| format!("--loss \"{text}\""))
    }

    /// The loss of embeddings (N, D) against classes (N).
    pub fn loss(&self, embeddings: &Tensor, classes: &Tensor) -> Result<Tensor> {
        let loss = self.0.f_forward(embeddings, classes)?;
        let size = loss.size();
        ensure!(size.is_empty(), "it gives {size:?} numbers and not one; reduction=mean does");
        Ok(loss)
    }
}

/// Whether a loss learns a vector for each class.
fn learns_vectors(registry: &Registry, term: &Term) -> bool {
    registry.find(&term.name).is_some_and(|entry| {
        ["arc_face", "cos_face", "proxy_nca", "center"].contains(&entry.name.as_str())
    })
}

fn of_embeddings(registry: &Registry, term: &Term, device: Device) -> Result<Box<dyn Loss>> {
    let loss = registry.by_name(&term.name, &term.options.clone().device(device))?;
    match registry.find(&term.name).and_then(|entry| entry.takes) {
        Some((Input::Embeddings, Target::Index)) => Ok(loss),
        Some((input, target)) => bail!(
            "{} takes {input:?} and {target:?}, and here there are Embeddings and Index",
            term.name
        ),
        None => bail!("{} takes more than embeddings and classes", term.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::assert_has;
    use tch_losses::{ArcFaceLoss, SupConLoss};

    #[test]
    fn sums_take_vectors_in_their_order() {
        let draw = |rows| Tensor::randn([rows, 3], (Kind::Float, Device::Cpu));
        let (embeddings, classes) = (draw(4), Tensor::from_slice(&[0i64, 1, 0, 1]));
        let vectors = [draw(5), draw(5)];
        let text = "sup_con + 0.5*arc_face(scale=8) + 2*ArcFaceLoss(scale=4)";
        assert_eq!(Objective::vectors(text, 3, 5).unwrap(), 2);
        let objective = Objective::new(text, &vectors, Device::Cpu).unwrap();
        let loss = objective.loss(&embeddings, &classes).unwrap().double_value(&[]);
        let of = |loss: &dyn Loss| loss.forward(&embeddings, &classes).double_value(&[]);
        let expected = of(&SupConLoss::default())
            + 0.5 * of(&ArcFaceLoss::new(&vectors[0]).scale(8.0))
            + 2.0 * of(&ArcFaceLoss::new(&vectors[1]).scale(4.0));
        assert!((loss - expected).abs() < 1e-4, "{loss} and {expected}");
    }

    #[test]
    fn losses_that_do_not_fit_are_refused_before_training() {
        let error = |text: &str| format!("{:#}", Objective::vectors(text, 3, 5).unwrap_err());
        assert_has(&error("tripletz"), &["--loss \"tripletz\"", "did you mean triplet"]);
        assert_has(&error("ce"), &["takes Logits"]);
        assert_has(&error("cosine_similarity"), &["takes Embeddings and Dense"]);
        assert_has(&error("triplet_margin"), &["takes more than an input and a target"]);
        assert_has(&error("triplet(mining=hardest)"), &["expected mining to be all, batch_all"]);
        assert_has(&error("sup_con(reduction=none)"), &["[4] numbers", "reduction=mean"]);
        assert_has(&error("arc_face(margin=7)"), &["expected margin in [0, π), got 7"]);
        assert_has(&error("triplet +"), &["expected the name of a loss"]);
    }
}
