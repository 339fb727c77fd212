//! Losses by name, fitted to what the network gives: logits of classes, and masks of indices.

use crate::data::classes::IGNORED;
use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};
use tch_losses::{
    FnLoss, Loss, LossParts, WeightedSum,
    loss::{self, Input, Registry, Target, Term},
    segmentation::DeepSupervision,
};

/// What is minimised.
#[derive(Debug)]
pub struct Objective {
    form: Form,
    /// The names of the parts of a sum, or of the scales.
    pub parts: Vec<String>,
}

#[derive(Debug)]
enum Form {
    Sum(WeightedSum),
    Deep(DeepSupervision<WeightedSum>),
}

/// Options that say what a loss makes of its input.
const ACTIVATIONS: [&str; 2] = ["apply_nonlin", "activation"];

impl Objective {
    /// The loss that `text` says, at each of so many `scales`. Losses of probabilities get the softmax
    /// of the logits, those that take no indices get one-hot masks; with `ignored`, pixels of class
    /// [`IGNORED`] count for nothing.
    pub fn new(
        text: &str,
        classes: usize,
        scales: usize,
        device: Device,
        ignored: bool,
    ) -> Result<Self> {
        let make = || -> Result<Objective> {
            let registry = Registry::default();
            let mut sum = WeightedSum::new();
            for term in loss::terms(text)? {
                let loss = fitted(&registry, &term, device, ignored)?;
                sum = sum.add(&term.name, term.coefficient, loss);
            }
            let form = match scales {
                1 => Form::Sum(sum),
                _ => Form::Deep(DeepSupervision::new(sum)),
            };
            let mut objective = Objective { form, parts: Vec::new() };
            // Class weights of another length, no reduction: better said now than in training.
            let side = 16 << scales;
            let logits = (0..scales).map(|scale| {
                let side = side >> scale;
                Tensor::zeros([2, classes as i64, side, side], (Kind::Float, device))
            });
            let target = Tensor::zeros([2, side, side], (Kind::Int64, device));
            let LossParts { total, named } =
                objective.loss(&logits.collect::<Vec<_>>(), &target)?;
            ensure!(total.dim() == 0, "the loss is not one number; it needs a reduction");
            objective.parts = named.into_iter().map(|(name, _)| name).collect();
            Ok(objective)
        };
        make().with_context(|| format!("--loss \"{text}\""))
    }

    /// The loss of logits (N, C, H, W) at each scale, the finest first, against classes (N, H, W).
    pub fn loss(&self, outputs: &[Tensor], target: &Tensor) -> Result<LossParts> {
        Ok(match &self.form {
            Form::Sum(sum) => sum.f_forward_parts(&outputs[0], target)?,
            Form::Deep(deep) => deep.f_forward(outputs, target)?,
        })
    }
}

/// A loss of logits and class indices, made of one that may take something else.
fn fitted(
    registry: &Registry,
    term: &Term,
    device: Device,
    ignored: bool,
) -> Result<impl Loss + use<>> {
    let Term { name, options, .. } = term;
    let mut options = options.clone().device(device);
    let Some(entry) = registry.find(name) else {
        // The error has names like it.
        registry.by_name(name, &options)?;
        bail!("there is no loss {name}");
    };
    let known = entry.options();
    let has = |option: &str| known.iter().any(|(name, _)| name == option);
    let chosen = ACTIVATIONS.iter().any(|option| options.get(option).is_some());
    let Some((mut input, target)) = entry.takes else {
        registry.by_name(name, &options)?;
        bail!("{name} cannot be made by its name");
    };
    if chosen {
        input = Input::Logits;
    } else if input == Input::Probabilities && has(ACTIVATIONS[0]) {
        // Softmax inside the loss, which knows how to do it well.
        options = options.set(ACTIVATIONS[0], "softmax");
        input = Input::Logits;
    }
    let prepare: fn(&Tensor) -> Tensor = match input {
        Input::Logits | Input::BinaryLogits => Tensor::shallow_clone,
        Input::Probabilities | Input::BinaryProbabilities => |x| x.softmax(1, None::<Kind>),
        Input::LogProbabilities => |x| x.log_softmax(1, None::<Kind>),
        other => bail!("{name} takes {other:?}, and the network gives logits of classes"),
    };
    let dense = match target {
        Target::Index | Target::IndexOrDense => false,
        Target::Dense => true,
        other => bail!("{name} takes targets of the kind {other:?}, and masks are classes"),
    };
    let index = i64::from(IGNORED);
    let by_option = ignored && !dense && has("ignore_index");
    if by_option && options.get("ignore_index").is_none() {
        options = options.set("ignore_index", i32::from(IGNORED));
    }
    let inner = registry.by_name(name, &options)?;
    Ok(FnLoss::new(name.clone(), move |logits: &Tensor, target: &Tensor| {
        let input = prepare(logits);
        let (target, weight) = match ignored && !by_option {
            true => {
                let out = target.f_eq(index)?;
                let weight = out.f_logical_not()?.f_to_kind(input.kind())?;
                (target.f_masked_fill(&out, 0)?, Some(weight))
            }
            false => (target.shallow_clone(), None),
        };
        let (target, weight) = match dense {
            true => {
                let hot = target.f_one_hot(input.size()[1])?.f_movedim_int(-1, 1)?;
                (hot.f_to_kind(input.kind())?, weight.map(|w| w.f_unsqueeze(1)).transpose()?)
            }
            false => (target, weight),
        };
        match weight {
            Some(weight) => inner.f_forward_weighted(&input, &target, &weight),
            None => inner.f_forward(&input, &target),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch_losses::{CrossEntropyLoss, SoftDiceLoss, segmentation::Nonlinearity};

    fn logits() -> Tensor {
        let values: Vec<f32> =
            (0..2 * 3 * 8 * 8).map(|i| ((i * 37 % 101) as f32 - 50.0) / 20.0).collect();
        Tensor::from_slice(&values).view([2, 3, 8, 8])
    }

    fn target() -> Tensor {
        let classes: Vec<i64> = (0..2 * 8 * 8).map(|i| i * 29 % 17 % 3).collect();
        Tensor::from_slice(&classes).view([2, 8, 8])
    }

    fn value(text: &str, ignored: bool, logits: &Tensor, target: &Tensor) -> f64 {
        let objective = Objective::new(text, 3, 1, Device::Cpu, ignored).unwrap();
        let logits = logits.shallow_clone();
        objective.loss(&[logits], target).unwrap().total.double_value(&[])
    }

    #[test]
    fn losses_get_what_they_take() {
        let (logits, target) = (logits(), target());
        let value = |text| value(text, false, &logits, &target);
        let ce = CrossEntropyLoss::default().forward(&logits, &target).double_value(&[]);
        let dice = SoftDiceLoss::default().apply_nonlin(Nonlinearity::Softmax);
        let dice = dice.forward(&logits, &target).double_value(&[]);
        assert!((value("ce") - ce).abs() < 1e-6);
        assert!((value("soft_dice") - dice).abs() < 1e-6);
        assert!((value("soft_dice(apply_nonlin=softmax)") - dice).abs() < 1e-6);
        assert!((value("2*soft_dice + 0.5*ce") - (2.0 * dice + 0.5 * ce)).abs() < 1e-6);
        // Binary cross entropy of the softmax against one-hot masks.
        let p = logits.softmax(1, None::<Kind>);
        let hot = target.one_hot(3).movedim_int(-1, 1).to_kind(Kind::Float);
        let bce = p.binary_cross_entropy::<Tensor>(&hot, None, tch::Reduction::Mean);
        assert!((value("bce") - bce.double_value(&[])).abs() < 1e-6);
    }

    #[test]
    fn pixels_left_out_change_nothing() {
        let (logits, target) = (logits(), target());
        let half = target.narrow(2, 0, 4);
        let marked = Tensor::cat(&[&half, &target.narrow(2, 4, 4).fill(i64::from(IGNORED))], 2);
        let other =
            &logits + Tensor::cat(&[logits.narrow(3, 0, 4) * 0.0, logits.narrow(3, 4, 4)], 3);
        for text in
            ["ce", "soft_dice", "soft_dice + softmax_focal", "bce", "focal", "bce_with_logits"]
        {
            let (a, b) = (value(text, true, &logits, &marked), value(text, true, &other, &marked));
            assert!((a - b).abs() < 1e-6, "{text}: {a} and {b}");
            let cut = value(text, false, &logits.narrow(3, 0, 4), &half);
            assert!((a - cut).abs() < 1e-6, "{text}: {a} and {cut}");
        }
    }

    #[test]
    fn coarse_outputs_count_less() {
        let (logits, target) = (logits(), target());
        let objective = Objective::new("ce", 3, 2, Device::Cpu, false).unwrap();
        assert_eq!(objective.parts, ["scale 0", "scale 1"]);
        let coarse = logits.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
        let both = objective.loss(&[logits.shallow_clone(), coarse], &target).unwrap();
        let [fine, coarse] = [0, 1].map(|scale| both.named[scale].1.double_value(&[]));
        assert!((fine - value("ce", false, &logits, &target)).abs() < 1e-6);
        assert!((both.total.double_value(&[]) - (fine + 0.5 * coarse)).abs() < 1e-6);
    }

    #[test]
    fn losses_that_do_not_fit_are_refused() {
        let error =
            |text| format!("{:#}", Objective::new(text, 3, 1, Device::Cpu, false).unwrap_err());
        assert!(error("c").contains("--loss \"c\""), "{}", error("c"));
        assert!(
            error("crossentrop").contains("did you mean cross_entropy"),
            "{}",
            error("crossentrop")
        );
        assert!(error("giou").contains("giou takes Boxes"), "{}", error("giou"));
        assert!(error("yolo_v5").contains("yolo_v5"), "{}", error("yolo_v5"));
        assert!(error("ce(gamma=1)").contains("gamma"), "{}", error("ce(gamma=1)"));
        assert!(error("ce(weight=[1, 2])").contains("weight"), "{}", error("ce(weight=[1, 2])"));
        assert!(error("ce(reduction=none)").contains("a reduction"));
    }
}
