//! Losses by name: of values or images, pairs of adversarial objectives, and sums of them.

use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};
use tch_losses::{
    GanLoss, Loss, LossError, WeightedSum,
    adversarial::Pix2PixLoss,
    loss::{self, Input, Options, Registry, Value},
};

/// What is minimised.
#[derive(Debug)]
pub struct Objective {
    adversarial: Option<Adversarial>,
    /// Terms that compare with the true image.
    direct: Option<WeightedSum>,
}

#[derive(Debug)]
enum Adversarial {
    Pair(f64, Box<dyn GanLoss>),
    Pix2Pix(f64, Pix2PixLoss),
}

/// The pair that `adversarial` stands for.
const ADVERSARIAL: &str = "non_saturating";

impl Objective {
    /// The loss that `text` says.
    pub fn new(text: &str, device: Device) -> Result<Self> {
        let make = || -> Result<Objective> {
            let registry = Registry::default();
            let mut objective = Objective { adversarial: None, direct: None };
            for term in loss::terms(text)? {
                let options = term.options.device(device);
                let name = if term.name == "adversarial" { ADVERSARIAL } else { &term.name };
                let adversarial = match registry.gan_by_name(name, &options) {
                    _ if is_pix2pix(&registry, name) => {
                        Some(Adversarial::Pix2Pix(term.coefficient, pix2pix(&options)?))
                    }
                    Ok(pair) => Some(Adversarial::Pair(term.coefficient, pair)),
                    Err(LossError::Name { .. }) => None,
                    Err(error) => return Err(error.into()),
                };
                if adversarial.is_some() {
                    ensure!(
                        objective.adversarial.is_none(),
                        "there is more than one adversarial term"
                    );
                    objective.adversarial = adversarial;
                    continue;
                }
                let loss = registry.by_name(name, &options)?;
                match registry.find(name).and_then(|entry| entry.takes) {
                    Some((Input::Values | Input::Images, _)) => {}
                    takes => bail!("{name} takes {takes:?}, and a generator makes images"),
                }
                let direct = objective.direct.take().unwrap_or_default();
                objective.direct = Some(direct.add(name, term.coefficient, loss));
            }
            objective.probe(device)?;
            Ok(objective)
        };
        make().with_context(|| format!("--loss \"{text}\""))
    }

    /// A loss without reduction, an option out of range: better now than in training.
    fn probe(&self, device: Device) -> Result<()> {
        let images = Tensor::zeros([2, 3, 16, 16], (Kind::Float, device));
        let scores = Tensor::zeros([2, 1], (Kind::Float, device));
        let mut values = vec![self.generator(&images, &images, Some(&scores), Some(&scores))?];
        if self.is_adversarial() {
            values.push(self.discriminator(&scores, &scores)?);
        }
        for size in values.iter().map(Tensor::size) {
            ensure!(size.is_empty(), "it gives {size:?} numbers and not one; reduction=mean does");
        }
        Ok(())
    }

    /// Whether there is a discriminator to train.
    pub fn is_adversarial(&self) -> bool {
        self.adversarial.is_some()
    }

    /// Whether the generator's objective needs the scores of real images.
    pub fn needs_real(&self) -> bool {
        matches!(&self.adversarial, Some(Adversarial::Pair(_, pair)) if pair.needs_real())
    }

    /// The discriminator's objective.
    pub fn discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        Ok(match &self.adversarial {
            Some(Adversarial::Pair(_, pair)) => pair.f_discriminator(real, fake)?,
            Some(Adversarial::Pix2Pix(_, pix2pix)) => pix2pix.f_discriminator(real, fake)?,
            None => bail!("there is no discriminator without an adversarial loss"),
        })
    }

    /// The generator's objective, of images made and true in [-1, 1], and of the scores of real and of
    /// generated images if it is adversarial.
    pub fn generator(
        &self,
        made: &Tensor,
        target: &Tensor,
        real: Option<&Tensor>,
        fake: Option<&Tensor>,
    ) -> Result<Tensor> {
        // Losses of images take them in [0, 1].
        let (made, target) = (unit(made), unit(target));
        let mut terms = Vec::new();
        if let Some(direct) = &self.direct {
            terms.push(direct.f_forward(&made, &target)?);
        }
        if let Some(adversarial) = &self.adversarial {
            let fake = fake.context("an adversarial loss without scores")?;
            terms.push(match adversarial {
                Adversarial::Pair(weight, pair) => pair.f_generator(real, fake)? * *weight,
                Adversarial::Pix2Pix(weight, pix2pix) => {
                    pix2pix.f_forward(&made, &target, real, fake)?.total * *weight
                }
            });
        }
        terms.into_iter().reduce(|a, b| a + b).context("a sum of no losses")
    }
}

/// From [-1, 1] to [0, 1].
pub fn unit(x: &Tensor) -> Tensor {
    (x + 1.0) * 0.5
}

fn is_pix2pix(registry: &Registry, name: &str) -> bool {
    registry.find(name).is_some_and(|entry| entry.name == "pix2pix")
}

/// pix2pix takes more than an input and a target, so the registry does not make it.
fn pix2pix(options: &Options) -> Result<Pix2PixLoss> {
    let only = |options: Options| options.set("lambda_l1", 0.0).device(Device::Cpu);
    ensure!(
        only(options.clone()) == only(Options::new()),
        "pix2pix has the option lambda_l1 and no other"
    );
    let loss = Pix2PixLoss::default();
    match options.get("lambda_l1") {
        None => Ok(loss),
        Some(Value::Number(lambda)) => Ok(loss.lambda_l1(*lambda)),
        Some(other) => bail!("pix2pix: lambda_l1: expected a number, got {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::assert_has;

    fn value(text: &str) -> f64 {
        let objective = Objective::new(text, Device::Cpu).unwrap();
        let made = Tensor::full([2, 3, 4, 4], 0.5, (Kind::Double, Device::Cpu));
        let scores = Tensor::from_slice(&[1.0f64, -2.0]);
        let value = objective.generator(&made, &(&made - 0.4), Some(&scores), Some(&scores));
        value.unwrap().double_value(&[])
    }

    #[track_caller]
    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} and {b}");
    }

    #[test]
    fn sums_of_losses_and_objectives_by_name() {
        close(value("l2"), 0.04);
        close(value("l1"), 0.2);
        close(value("hinge"), 0.5);
        close(value("2*hinge + 0.5*l1"), 1.1);
        close(value("adversarial"), value("non_saturating"));
        close(value("pix2pix(lambda_l1=10)"), value("bce_gan") + 2.0);
        close(value("pix2pix"), value("bce_gan") + 20.0);
        let is = |text: &str| {
            let objective = Objective::new(text, Device::Cpu).unwrap();
            (objective.is_adversarial(), objective.needs_real())
        };
        assert_eq!(
            ["l1", "wgan", "relativistic"].map(is),
            [(false, false), (true, false), (true, true)]
        );
    }

    #[test]
    fn losses_that_do_not_fit_are_refused_before_training() {
        let error = |text: &str| format!("{:#}", Objective::new(text, Device::Cpu).unwrap_err());
        assert_has(&error("l3"), &["--loss \"l3\""]);
        assert_has(&error("giou"), &["giou takes", "makes images"]);
        assert_has(&error("hinge + wgan"), &["more than one adversarial term"]);
        assert_has(&error("l1(gamma=1)"), &["no option `gamma`"]);
        assert_has(&error("wgan(gamma=1)"), &["no option `gamma`"]);
        assert_has(&error("l1(reduction=none)"), &["reduction=mean"]);
        assert_has(&error("pix2pix(gamma=1)"), &["lambda_l1"]);
        assert_has(&error("l1 +"), &["expected the name of a loss"]);
    }
}
