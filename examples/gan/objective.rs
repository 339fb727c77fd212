//! Adversarial objectives by name, with what keeps their critic smooth.

use anyhow::{Context, Result, bail, ensure};
use tch::{Kind, Tensor};
use tch_losses::{
    GradientPenalty, LossError,
    adversarial::{DraganNoise, DraganPenalty, GanLoss, R1Penalty, R2Penalty, gan_by_name},
    loss::{Options, Registry, Term, Value, terms},
};

/// What critic and generator minimise.
#[derive(Debug)]
pub struct Objective {
    /// As it was written.
    pub text: String,
    pub pair: Box<dyn GanLoss>,
    pub penalties: Vec<Penalty>,
    /// Whether the critic's layers are divided by their spectral norms.
    pub spectral_norm: bool,
    /// To what the critic's weights are clipped.
    pub clip: Option<f64>,
    /// Whether the critic's objective estimates a distance, for which it must be near its optimum.
    pub wasserstein: bool,
}

/// What is added to the critic's objective.
#[derive(Debug)]
pub enum Penalty {
    Gradient(GradientPenalty),
    R1(R1Penalty),
    R2(R2Penalty),
    Dragan(DraganPenalty),
}

/// Names of papers for a pair and what it is used with.
const SHORT: [(&str, &str); 3] = [
    ("wgan_gp", "wasserstein + gp"),
    ("sngan", "hinge + spectral_norm"),
    ("r3gan", "rpgan + r1 + r2"),
];

const ADDITIONS: &str = "gp, r1, r2, dragan, spectral_norm and clip";

impl Objective {
    /// The objective that `text` says: a pair, then additions.
    pub fn new(text: &str) -> Result<Self> {
        Self::made(text).with_context(|| format!("--loss \"{text}\""))
    }

    fn made(text: &str) -> Result<Self> {
        let mut all = terms(text)?;
        let short = SHORT.iter().find(|(name, _)| all[0].name.replace('-', "_") == *name);
        if let Some((_, long)) = short {
            let mut long = terms(long)?;
            // Options belong to what the paper added.
            long[1].options = all.remove(0).options;
            long.append(&mut all);
            all = long;
        }
        let first = all.remove(0);
        ensure!(first.coefficient == 1.0, "{}: a factor changes nothing but --lr", first.name);
        let pair = gan_by_name(&first.name, &first.options)?;
        let known = Registry::default();
        let wasserstein =
            known.find(&first.name).or_else(|| known.find(&format!("{}_gan", first.name)));
        let wasserstein = wasserstein.is_some_and(|e| e.type_name == "WassersteinGanLoss");
        let mut made = Objective {
            text: text.to_owned(),
            pair,
            penalties: Vec::new(),
            spectral_norm: false,
            clip: None,
            wasserstein,
        };
        for term in all {
            made.add(&term)?;
        }
        if wasserstein && !made.spectral_norm && made.penalties.is_empty() {
            // A critic without any bound would grow for ever.
            made.clip.get_or_insert(0.01);
        }
        made.check()?;
        Ok(made)
    }

    fn add(&mut self, term: &Term) -> Result<()> {
        let name = &term.name[..];
        ensure!(term.coefficient == 1.0, "{name}: expected an option instead of a factor");
        let number = |option: &str| number(term, option);
        let yes = |option: &str| match term.options.get(option) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(got) => bail!("{name}: {option}: expected true or false, got {got}"),
        };
        match name {
            "gp" | "gradient_penalty" => {
                known(term, &["lambda", "target", "one_sided"])?;
                let penalty = GradientPenalty::default()
                    .lambda(number("lambda")?.unwrap_or(10.0))
                    .target(number("target")?.unwrap_or(1.0))
                    .one_sided(yes("one_sided")?.unwrap_or(false));
                self.penalties.push(Penalty::Gradient(penalty));
            }
            "r1" | "r1_penalty" | "r2" | "r2_penalty" => {
                known(term, &["gamma", "halve"])?;
                let penalty = R1Penalty::default()
                    .gamma(number("gamma")?.unwrap_or(1.0))
                    .halve(yes("halve")?.unwrap_or(true));
                let of = if name.starts_with("r1") { Penalty::R1 } else { Penalty::R2 };
                self.penalties.push(of(penalty));
            }
            "dragan" | "dragan_penalty" => {
                known(term, &["lambda", "target", "noise"])?;
                let noise = match term.options.get("noise").map(Value::to_string).as_deref() {
                    None | Some("positive") => DraganNoise::Positive,
                    Some("symmetric") => DraganNoise::Symmetric,
                    Some(got) => bail!("{name}: noise: expected positive or symmetric, got {got}"),
                };
                let penalty = DraganPenalty::default()
                    .lambda(number("lambda")?.unwrap_or(10.0))
                    .target(number("target")?.unwrap_or(1.0))
                    .noise(noise);
                self.penalties.push(Penalty::Dragan(penalty));
            }
            "spectral_norm" | "sn" => {
                known(term, &[])?;
                self.spectral_norm = true;
            }
            "clip" => {
                known(term, &["c"])?;
                self.clip = Some(number("c")?.unwrap_or(0.01));
            }
            _ => {
                bail!("there is no `{name}` to add to a pair of objectives; there are {ADDITIONS}")
            }
        }
        Ok(())
    }

    /// Tries everything once: options out of range are better told now than in training.
    fn check(&self) -> Result<()> {
        let images = Tensor::zeros([2, 3], tch::kind::FLOAT_CPU);
        let weight = Tensor::ones([3, 1], tch::kind::FLOAT_CPU).set_requires_grad(true);
        let critic = |x: &Tensor| Ok(x.matmul(&weight));
        let scores = images.matmul(&weight);
        let values = [
            self.pair.f_discriminator(&scores, &scores)?,
            self.pair.f_generator(Some(&scores), &scores)?,
        ];
        for value in values {
            let size = value.size();
            ensure!(size.is_empty(), "it gives {size:?} numbers and not one; reduction=mean does");
        }
        let _ = self.penalty(critic, &images, &images)?;
        if let Some(c) = self.clip {
            ensure!(c > 0.0 && c.is_finite(), "clip: c: expected above 0, got {c}");
        }
        Ok(())
    }

    /// The sum of the penalties; 0 if there are none.
    pub fn penalty(
        &self,
        critic: impl Fn(&Tensor) -> Result<Tensor, LossError>,
        real: &Tensor,
        fake: &Tensor,
    ) -> Result<Tensor> {
        let mut sum = Tensor::zeros([], (Kind::Float, real.device()));
        for penalty in &self.penalties {
            sum += match penalty {
                Penalty::Gradient(penalty) => penalty.f_forward(&critic, real, fake)?,
                Penalty::R1(penalty) => penalty.f_forward(&critic, real)?,
                Penalty::R2(penalty) => penalty.f_forward(&critic, fake)?,
                Penalty::Dragan(penalty) => penalty.f_forward(&critic, real)?,
            };
        }
        Ok(sum)
    }

    /// Whether clipping alone keeps the critic smooth.
    pub fn clipped(&self) -> bool {
        self.clip.is_some() && self.penalties.is_empty() && !self.spectral_norm
    }
}

fn number(term: &Term, option: &str) -> Result<Option<f64>> {
    match term.options.get(option) {
        None => Ok(None),
        Some(Value::Number(value)) => Ok(Some(*value)),
        Some(got) => bail!("{}: {option}: expected a number, got {got}", term.name),
    }
}

/// An error if the term has other options than these.
fn known(term: &Term, options: &[&str]) -> Result<()> {
    let keep = |kept: Options, option: &&str| match term.options.get(option) {
        Some(value) => kept.set(*option, value.clone()),
        None => kept,
    };
    let there = if options.is_empty() { "none".to_owned() } else { options.join(", ") };
    ensure!(
        options.iter().fold(Options::new(), keep) == term.options,
        "{}: an option that is not there; its options: {there}",
        term.name
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::{assert_has, drawing};

    #[test]
    fn every_pair_of_the_catalogue_is_an_objective() {
        let _draws = drawing();
        let registry = Registry::default();
        let pairs: Vec<_> = registry.entries().iter().filter(|entry| entry.is_pair()).collect();
        assert!(pairs.len() > 10);
        for entry in pairs {
            Objective::new(&entry.name).unwrap();
            Objective::new(&format!("{} + gp + spectral_norm", entry.name)).unwrap();
        }
    }

    #[test]
    fn papers_name_a_pair_and_what_is_added() {
        let _draws = drawing();
        let gp = Objective::new("wgan_gp(lambda=5)").unwrap();
        assert!(gp.wasserstein && gp.clip.is_none());
        assert!(matches!(gp.penalties[..], [Penalty::Gradient(_)]));
        let same = Objective::new("wasserstein + gradient_penalty(lambda=5)").unwrap();
        let debug = |objective: &Objective| format!("{:?}", objective.penalties);
        assert_eq!(debug(&gp), debug(&same));
        assert_ne!(debug(&gp), debug(&Objective::new("wgan_gp").unwrap()));
        assert!(Objective::new("sngan").unwrap().spectral_norm);
        assert_eq!(Objective::new("r3gan").unwrap().penalties.len(), 2);
        assert!(Objective::new("wgan").unwrap().clipped());
        assert_eq!(Objective::new("wgan + clip(c=0.1)").unwrap().clip, Some(0.1));
        assert_eq!(Objective::new("wgan + sn").unwrap().clip, None);
        assert!(!Objective::new("hinge").unwrap().clipped());
    }

    #[test]
    fn what_is_wrong_is_told_before_training() {
        let _draws = drawing();
        let error = |text: &str| format!("{:#}", Objective::new(text).unwrap_err());
        assert_has(&error("hinj"), &["--loss \"hinj\"", "did you mean hinge"]);
        assert_has(&error("hinge + gpp"), &["no `gpp` to add", "dragan"]);
        assert_has(&error("hinge + gp(gamma=1)"), &["gp: an option", "lambda, target, one_sided"]);
        assert_has(&error("hinge + gp(lambda=-1)"), &["lambda"]);
        assert_has(&error("hinge + gp(lambda=x)"), &["lambda: expected a number, got x"]);
        assert_has(&error("hinge + dragan(noise=loud)"), &["positive or symmetric"]);
        assert_has(&error("hinge(gamma=1)"), &["no option `gamma`"]);
        assert_has(&error("hinge(reduction=none)"), &["reduction=mean"]);
        assert_has(&error("bce(real_label=2)"), &["real_label"]);
        assert_has(&error("wgan + clip(c=0)"), &["clip: c"]);
        assert_has(&error("hinge + 2*gp"), &["instead of a factor"]);
    }
}
