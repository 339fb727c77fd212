//! Deep supervision: one loss at several scales.

use crate::{
    Loss, LossError, LossParts, Result, check,
    error::unwrap,
    loss::{Entry, OptionType, Reader, Value},
};
use tch::{Device, Kind, Tensor};

/// How much the output of each scale counts, the finest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum SupervisionWeights {
    /// `max(2^-l, 1/16)`: 1, 1/2, 1/4, 1/8, 1/16, 1/16, ..
    #[default]
    Exp,
    /// 1 each.
    Same,
    /// 1 for the finest, 1/2 for the others.
    Two,
    /// `2^-l` but 0 for the coarsest, scaled to sum 1; 1 for a single output.
    NnUnet,
    /// These, one for each output.
    Custom(Vec<f64>),
}

impl SupervisionWeights {
    fn of(&self, levels: usize) -> Result<Vec<f64>> {
        let halves = |l: usize| 0.5f64.powi(l.min(1000) as i32);
        let weights: Vec<f64> = match self {
            SupervisionWeights::Exp => (0..levels).map(|l| halves(l).max(0.0625)).collect(),
            SupervisionWeights::Same => vec![1.0; levels],
            SupervisionWeights::Two => {
                (0..levels).map(|l| if l == 0 { 1.0 } else { 0.5 }).collect()
            }
            SupervisionWeights::NnUnet => {
                let count = levels.saturating_sub(1).max(1);
                let total: f64 = (0..count).map(halves).sum();
                (0..levels).map(|l| if l < count { halves(l) / total } else { 0.0 }).collect()
            }
            SupervisionWeights::Custom(weights) => weights.clone(),
        };
        if weights.len() != levels || levels == 0 {
            let expected = "one for each output, and an output at least";
            let got = format!("{} for {levels} outputs", weights.len());
            return Err(LossError::Param { loss: NAME, option: "weights", expected, got });
        }
        for &weight in &weights {
            check::at_least_zero(NAME, "weights", weight)?;
        }
        Ok(weights)
    }
}

impl OptionType for SupervisionWeights {
    fn expected() -> String {
        "exp, same, two, nnunet or a list of numbers".to_owned()
    }

    fn read(value: &Value, device: Device) -> Option<Self> {
        match value.to_string().as_str() {
            "exp" => Some(SupervisionWeights::Exp),
            "same" => Some(SupervisionWeights::Same),
            "two" => Some(SupervisionWeights::Two),
            "nnunet" => Some(SupervisionWeights::NnUnet),
            _ => Vec::<f64>::read(value, device).map(SupervisionWeights::Custom),
        }
    }

    fn show(&self) -> String {
        match self {
            SupervisionWeights::Exp => "exp".to_owned(),
            SupervisionWeights::Same => "same".to_owned(),
            SupervisionWeights::Two => "two".to_owned(),
            SupervisionWeights::NnUnet => "nnunet".to_owned(),
            SupervisionWeights::Custom(weights) => weights.show(),
        }
    }
}

const NAME: &str = "DeepSupervision";

/// One loss of the outputs of a network at several scales, against one target.
///
/// ```text
/// total = Σ_l w_l loss(output_l, target as large as output_l)
/// ```
///
/// Targets and weights become smaller by taking the nearest pixel, which keeps labels labels: class
/// indices, one-hot maps and masks alike. An output of weight 0 is not computed.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `loss` | no default | of one output |
/// | `weights` | `Exp` | w, see [`SupervisionWeights`] |
///
/// # Shapes
///
/// - outputs: (N, C, d1, ..) each, of any sizes, the finest first
/// - target: (N, d1, ..) or (N, C', d1, ..), as the loss takes it
/// - element weight: as the target
/// - total: what the loss returns, reduced
///
/// # Reduction
///
/// That of the loss, at each scale.
///
/// # Errors
///
/// The error of a scale behind its name; no output; another number of weights than of outputs, or
/// one below 0; a target whose dimensions are not those of the outputs or one less.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{CrossEntropyLoss, segmentation::{DeepSupervision, SupervisionWeights}};
///
/// let loss = DeepSupervision::new(CrossEntropyLoss::default()).weights(SupervisionWeights::NnUnet);
/// let outputs = [16, 8, 4].map(|side| Tensor::zeros([1, 2, side, side], (Kind::Double, Device::Cpu)));
/// let target = Tensor::zeros([1, 16, 16], (Kind::Int64, Device::Cpu));
/// let parts = loss.forward(&outputs, &target);
/// // 2/3 of the first and 1/3 of the second; the last does not count.
/// assert!((parts.total.double_value(&[]) - 2f64.ln()).abs() < 1e-12);
/// assert_eq!(parts.named[1].0, "scale 1");
/// ```
///
/// # Differences
///
/// MONAI takes the first weights of a longer list. nnU-Net's trainer makes the smaller targets in
/// its data loader (`forward_targets`), and divides by 0 for a single output.
///
/// # Reference
///
/// Lee et al. 2015, "Deeply-Supervised Nets". Follows MONAI 1.6 `DeepSupervisionLoss` and nnU-Net
/// 2.8 `DeepSupervisionWrapper`.
#[derive(Debug, Clone)]
pub struct DeepSupervision<L> {
    loss: L,
    weights: SupervisionWeights,
}

impl<L: Loss> DeepSupervision<L> {
    /// That loss at each scale, weighing `Exp`.
    pub fn new(loss: L) -> Self {
        DeepSupervision { loss, weights: SupervisionWeights::Exp }
    }

    /// How much each scale counts; `Exp` by default.
    pub fn weights(mut self, weights: SupervisionWeights) -> Self {
        self.weights = weights;
        self
    }

    /// The sum over the scales, and the loss of each before its weight.
    pub fn f_forward(&self, outputs: &[Tensor], target: &Tensor) -> Result<LossParts> {
        self.sum(outputs, |_, output| {
            self.loss.f_forward(output, &as_large("target", target, output)?)
        })
    }

    /// [`DeepSupervision::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, outputs: &[Tensor], target: &Tensor) -> LossParts {
        unwrap(self.f_forward(outputs, target))
    }

    /// The sum over the scales where each element counts `weight` times.
    pub fn f_forward_weighted(
        &self,
        outputs: &[Tensor],
        target: &Tensor,
        weight: &Tensor,
    ) -> Result<LossParts> {
        self.sum(outputs, |_, output| {
            let target = as_large("target", target, output)?;
            self.loss.f_forward_weighted(output, &target, &as_large("weight", weight, output)?)
        })
    }

    /// [`DeepSupervision::f_forward_weighted`], or a panic with its error.
    #[track_caller]
    pub fn forward_weighted(
        &self,
        outputs: &[Tensor],
        target: &Tensor,
        weight: &Tensor,
    ) -> LossParts {
        unwrap(self.f_forward_weighted(outputs, target, weight))
    }

    /// The sum over the scales, each with a target of its own.
    pub fn f_forward_targets(&self, outputs: &[Tensor], targets: &[Tensor]) -> Result<LossParts> {
        if outputs.len() != targets.len() {
            let got = format!("{} for {} outputs", targets.len(), outputs.len());
            let expected = "one for each output";
            return Err(LossError::Param { loss: NAME, option: "targets", expected, got });
        }
        self.sum(outputs, |level, output| self.loss.f_forward(output, &targets[level]))
    }

    /// [`DeepSupervision::f_forward_targets`], or a panic with its error.
    #[track_caller]
    pub fn forward_targets(&self, outputs: &[Tensor], targets: &[Tensor]) -> LossParts {
        unwrap(self.f_forward_targets(outputs, targets))
    }

    fn sum(
        &self,
        outputs: &[Tensor],
        evaluate: impl Fn(usize, &Tensor) -> Result<Tensor>,
    ) -> Result<LossParts> {
        let (mut total, mut named) = (None::<Tensor>, vec![]);
        for (level, weight) in self.weights.of(outputs.len())?.into_iter().enumerate() {
            // All weights may be 0, but a total there must be.
            if weight == 0.0 && (level > 0 || total.is_some()) {
                continue;
            }
            let part = format!("scale {level}");
            let value = evaluate(level, &outputs[level]).map_err(|source| LossError::Part {
                part: part.clone(),
                source: Box::new(source),
            })?;
            named.push((part, value.f_detach()?));
            let term = value.f_mul_scalar(weight)?;
            total = Some(match total {
                Some(total) => total.f_add(&term)?,
                None => term,
            });
        }
        match total {
            Some(total) => Ok(LossParts { total, named }),
            None => Err(LossError::Unsupported { loss: NAME, message: "there is no output" }),
        }
    }
}

impl DeepSupervision<crate::DiceLoss> {
    /// Listed in the catalogue, though it takes outputs and not an input.
    pub(crate) fn entries() -> Vec<Entry> {
        let describe = |options: &Reader| {
            let mut weights = SupervisionWeights::default();
            options.read("weights", &mut weights)
        };
        let entry = Entry::apart("deep_supervision", describe)
            .of_type("DeepSupervision", module_path!())
            .follows("MONAI `DeepSupervisionLoss`, nnU-Net `DeepSupervisionWrapper`");
        vec![entry]
    }
}

/// A target or weight with the pixels of an output: the nearest of its own.
fn as_large(what: &'static str, map: &Tensor, output: &Tensor) -> Result<Tensor> {
    let (size, wanted) = (map.size(), output.size());
    let spatial = wanted.len().saturating_sub(2);
    let ok = size.len() > spatial && size.len() <= wanted.len() && wanted.len() >= 2;
    let expected = format!("of {} or {} dimensions", wanted.len().saturating_sub(1), wanted.len());
    check::shape_is(NAME, what, map, ok, &expected)?;
    let mut resized = map.shallow_clone();
    for (dim, &to) in (size.len() - spatial..).zip(&wanted[2..]) {
        let from = size[dim];
        // A weight of one row or column broadcasts as it is.
        if from == to || from == 1 {
            continue;
        }
        check::shape_is(NAME, what, map, from > 0, "with pixels where the output has some")?;
        // Of the pixel whose middle falls in it: floor((i + 1/2) from / to), in whole numbers.
        let middles = Tensor::f_arange(to, (Kind::Int64, map.device()))?
            .f_mul_scalar(2 * from)?
            .f_add_scalar(from)?;
        let nearest = middles.f_divide_scalar_mode(2 * to, "floor")?;
        resized = resized.f_index_select(dim as i64, &nearest)?;
    }
    Ok(resized)
}
