//! Generalised cross entropy.

use super::{divergence::Distribution, target::Classes};
use crate::{
    Reduction, Result, check,
    fused::{Composed, SoftmaxCrossEntropy, SoftmaxFormula},
    loss::{named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

/// Cross entropy that noisy labels harm less: between cross entropy (q to 0) and mean absolute error
/// (q = 1).
///
/// ```text
/// l = (1 - p[y]^q) / q
/// ```
///
/// | option | default | `keras()` | meaning |
/// |---|---|---|---|
/// | `q` | 0.7 | 0.7 | in (0, 1] |
/// | `input` | `Logits` | `Probabilities` | what the input is; logits go through a softmax over dimension 1 |
/// | `ignore_index` | -100 | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C)
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `q` outside (0, 1]; a class index out of range (on
/// CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GeneralizedCrossEntropyLoss, Loss};
///
/// let (logits, target) = (Tensor::from_slice(&[0.0f64, 0.0]).view([1, 2]), Tensor::from_slice(&[0i64]));
/// let loss = GeneralizedCrossEntropyLoss::default().forward(&logits, &target);
/// assert!((loss.double_value(&[]) - (1.0 - 0.5f64.powf(0.7)) / 0.7).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Keras takes probabilities only, and its gradient `-p^(q-1)` is infinite at 0 (NaN for the other
/// classes): here it stays what it is at 1e-7 below that, and the loss goes on as a straight line.
///
/// # Reference
///
/// Zhang and Sabuncu 2018, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
/// Labels", without its truncated form; q = 0.7 is the paper's. `keras()` follows Keras 3
/// `CategoricalGeneralizedCrossEntropy`.
#[derive(Debug, Clone)]
pub struct GeneralizedCrossEntropyLoss {
    q: f64,
    input: Distribution,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for GeneralizedCrossEntropyLoss {
    fn default() -> Self {
        GeneralizedCrossEntropyLoss {
            q: 0.7,
            input: Distribution::Logits,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

/// Where the loss of a probability becomes straight.
const STRAIGHT_BELOW: f64 = 1e-7;

impl GeneralizedCrossEntropyLoss {
    /// Keras' `CategoricalGeneralizedCrossEntropy`, of probabilities; q has no default there.
    pub fn keras() -> Self {
        GeneralizedCrossEntropyLoss::default().input(Distribution::Probabilities)
    }

    /// q, in (0, 1].
    pub fn q(mut self, q: f64) -> Self {
        self.q = q;
        self
    }

    /// What the input is; logits by default.
    pub fn input(mut self, input: Distribution) -> Self {
        self.input = input;
        self
    }

    /// The index that marks targets to leave out; -100 by default.
    pub fn ignore_index(mut self, ignore_index: i64) -> Self {
        self.ignore_index = ignore_index;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "GeneralizedCrossEntropyLoss";
        let q = self.q;
        check::reduction(NAME, self.reduction)?;
        check::param(NAME, "q", q, q > 0.0 && q <= 1.0, "in (0, 1]")?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        match self.input {
            Distribution::Logits => {
                let kernel = SoftmaxCrossEntropy {
                    formula: SoftmaxFormula::Power { q },
                    class_weight: None,
                    ignore_index: self.ignore_index,
                    reduction: self.reduction,
                };
                kernel.loss(self, [input, target], weight)
            }
            _ => self.composed(input, target, weight),
        }
    }
}

impl Composed for GeneralizedCrossEntropyLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "GeneralizedCrossEntropyLoss";
        let q = self.q;
        let input = check::accumulated(NAME, "input", input)?;
        let classes = Classes::new(NAME, &input, target, self.ignore_index)?;
        let of_log = |log: &Tensor| log.f_mul_scalar(q)?.f_expm1()?.f_div_scalar(-q);
        let loss = match self.input {
            Distribution::Logits => of_log(&classes.pick(&input.f_log_softmax(1, None::<Kind>)?)?)?,
            Distribution::LogProbabilities => of_log(&classes.pick(&input)?)?,
            Distribution::Probabilities => {
                let p = classes.pick(&input)?;
                let below = p.f_neg()?.f_add_scalar(STRAIGHT_BELOW)?.f_relu()?;
                let curved = of_log(&p.f_clamp_min(STRAIGHT_BELOW)?.f_log()?)?;
                curved.f_add(&below.f_mul_scalar(STRAIGHT_BELOW.powf(q - 1.0))?)?
            }
        };
        classes.reduce(NAME, loss, weight, self.reduction)
    }
}

weighted_loss!(GeneralizedCrossEntropyLoss);

named_loss! {
    GeneralizedCrossEntropyLoss: "generalized_cross_entropy", Logits => Index,
    "Zhang and Sabuncu 2018", [q, input, ignore_index, reduction], aliases ["gce"],
    presets { "categorical_generalized_cross_entropy" (Probabilities => Index) => Self::keras(),
        "Keras `CategoricalGeneralizedCrossEntropy`" },
}
