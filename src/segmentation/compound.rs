//! Sums of an overlap loss and others.

use super::{Aggregate, ClDiceLoss, DiceLoss, JaccardLoss, Nonlinearity};
use crate::{
    BceWithLogitsLoss, CrossEntropyLoss, FocalLoss, Loss, LossError, LossParts, MsSsimLoss, Result,
    SoftmaxFocalLoss, SsimLoss, TopKCrossEntropyLoss, check,
    error::unwrap,
    loss::{named_loss, weighted_loss},
    metrics::SsimOptions,
};
use tch::Tensor;

/// What the compounds have in common: a total with named parts, and [`Loss`].
macro_rules! compound {
    ($loss:ident) => {
        impl $loss {
            /// The sum and its parts, each before its coefficient.
            pub fn f_forward_parts(&self, input: &Tensor, target: &Tensor) -> Result<LossParts> {
                self.parts(input, target, None)
            }

            /// The sum and its parts, or a panic with the error.
            #[track_caller]
            pub fn forward_parts(&self, input: &Tensor, target: &Tensor) -> LossParts {
                unwrap(self.f_forward_parts(input, target))
            }

            fn compute(
                &self,
                input: &Tensor,
                target: &Tensor,
                weight: Option<&Tensor>,
            ) -> Result<Tensor> {
                Ok(self.parts(input, target, weight)?.total)
            }
        }

        weighted_loss!($loss);
    };
}

/// A setter for each coefficient, at least 0.
macro_rules! coefficients {
    ($($name:ident: $text:literal),*) => {$(
        #[doc = concat!("The coefficient of ", $text, ", at least 0; 1 by default.")]
        pub fn $name(mut self, $name: f64) -> Self {
            self.$name = $name;
            self
        }
    )*};
}

/// One part of a sum: its name, its coefficient and how it is computed.
type Part<'a> = (&'static str, f64, &'a dyn Fn() -> Result<Tensor>);

fn total(loss: &'static str, parts: &[Part]) -> Result<LossParts> {
    let (mut total, mut named) = (None::<Tensor>, Vec::with_capacity(parts.len()));
    for &(name, coefficient, compute) in parts {
        check::at_least_zero(loss, "a coefficient", coefficient)?;
        let value = compute().map_err(|source| {
            let part = format!("{loss}, {name}");
            LossError::Part { part, source: Box::new(source) }
        })?;
        named.push((name.to_owned(), value.f_detach()?));
        let term = value.f_mul_scalar(coefficient)?;
        total = Some(total.map_or(Ok(term.shallow_clone()), |total| total.f_add(&term))?);
    }
    let total = total.ok_or(LossError::Unsupported { loss, message: "a sum of no losses" })?;
    Ok(LossParts { total, named })
}

fn of(
    loss: &impl Loss,
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
) -> Result<Tensor> {
    match weight {
        Some(weight) => loss.f_forward_weighted(input, target, weight),
        None => loss.f_forward(input, target),
    }
}

/// A target or weight (N, 1, d1, ..) as (N, d1, ..), which is what softmax losses take.
fn without_channel(map: &Tensor, input: &Tensor) -> Result<Tensor> {
    let (size, channels) = (map.size(), input.size().get(1).copied().unwrap_or(1));
    Ok(match size.len() == input.dim() && channels > 1 && size[1] == 1 {
        true => map.f_squeeze_dim(1)?,
        false => map.shallow_clone(),
    })
}

/// A target or weight (N, d1, ..) as (N, 1, d1, ..), which is what sigmoid losses take.
fn with_channel(map: &Tensor, input: &Tensor) -> Result<Tensor> {
    Ok(match map.dim() + 1 == input.dim() {
        true => map.f_unsqueeze(1)?,
        false => map.shallow_clone(),
    })
}

/// A target for cross entropy: one-hot maps of whole numbers are probabilities too.
fn for_entropy(target: &Tensor, input: &Tensor) -> Result<Tensor> {
    let target = without_channel(target, input)?;
    if target.size() != input.size() || check::is_float(target.f_kind()?) {
        return Ok(target);
    }
    check::in_kind("CrossEntropyLoss", "target", &target, input.f_kind()?)
}

/// The Dice part of nnU-Net's compounds, but for the sign.
fn nnunet_dice() -> DiceLoss {
    DiceLoss::default().aggregate(Aggregate::Batch).include_background(false)
}

/// nnU-Net's Dice part is the score below 0, not what is left to 1.
fn signed(dice: Tensor, negative: bool) -> Result<Tensor> {
    Ok(if negative { dice.f_sub_scalar(1.0)? } else { dice })
}

/// Dice loss and cross entropy.
///
/// ```text
/// l = λ_dice Dice + λ_ce CE
/// ```
///
/// | option | default | `monai()` | `nnunet()` | meaning |
/// |---|---|---|---|---|
/// | `dice` | `DiceLoss::default()` | `DiceLoss::monai()` | of the batch, without background | with its own options |
/// | `ce` | `CrossEntropyLoss::default()` | the same | the same | with its own options |
/// | `lambda_dice`, `lambda_ce` | 1 | 1 | 1 | the coefficients |
/// | `negative_dice` | false | false | true | the Dice part is the score below 0, from -1 to 0 |
/// | `ignore_index` | none | none | none | for both parts: targets of this value count for nothing |
#[doc = include_str!("doc/two_softmax.md")]
/// # Reduction
///
/// Each part's own: cross entropy divides by the class weights of the pixels that count, Dice by
/// the number of scores.
///
/// # Errors
///
/// Those of the parts, behind their names; a coefficient below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::DiceCeLoss;
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 255]).view([1, 2]);
/// let loss = DiceCeLoss::default().ignore_index(255).lambda_ce(0.5);
/// let parts = loss.forward_parts(&logits, &target);
/// assert_eq!(parts.named[1].0, "ce");
/// assert!((parts.named[1].1.double_value(&[]) - 2f64.ln()).abs() < 1e-12);
/// // Dice of the pixel that counts: 1 - 1/1.5 for class 0, and 1 for class 1.
/// assert!((parts.named[0].1.double_value(&[]) - 2.0 / 3.0).abs() < 1e-4);
/// ```
///
/// # Differences
///
/// MONAI has no `ignore_index`, and of one map its cross entropy becomes binary: `label_smoothing`
/// is dropped, `weight` is that of the positives. Here that is [`DiceBceLoss`], and one map an
/// error. nnU-Net leaves cross entropy out where nothing counts, as it is NaN there; here it is 0.
///
/// # Reference
///
/// Isensee et al. 2021, "nnU-Net". `monai()` follows MONAI 1.6 `DiceCELoss(softmax=True,
/// to_onehot_y=True)`, `nnunet()` nnU-Net 2.8 `DC_and_CE_loss` as its trainer builds it.
#[derive(Debug, Clone)]
pub struct DiceCeLoss {
    dice: DiceLoss,
    ce: CrossEntropyLoss,
    lambda_dice: f64,
    lambda_ce: f64,
    negative_dice: bool,
    ignore_index: Option<i64>,
}

impl Default for DiceCeLoss {
    fn default() -> Self {
        DiceCeLoss {
            dice: DiceLoss::default(),
            ce: CrossEntropyLoss::default(),
            lambda_dice: 1.0,
            lambda_ce: 1.0,
            negative_dice: false,
            ignore_index: None,
        }
    }
}

impl DiceCeLoss {
    /// MONAI's `DiceCELoss(softmax=True, to_onehot_y=True)`.
    pub fn monai() -> Self {
        DiceCeLoss::default().dice(DiceLoss::monai())
    }

    /// nnU-Net's `DC_and_CE_loss`, as its trainer builds it.
    pub fn nnunet() -> Self {
        DiceCeLoss::default().dice(nnunet_dice()).negative_dice(true)
    }

    /// The Dice part with its options.
    pub fn dice(mut self, dice: DiceLoss) -> Self {
        self.dice = dice;
        self
    }

    /// Cross entropy with its options.
    pub fn ce(mut self, ce: CrossEntropyLoss) -> Self {
        self.ce = ce;
        self
    }

    coefficients!(lambda_dice: "the Dice part", lambda_ce: "cross entropy");

    /// Whether the Dice part is the score below 0; false by default.
    pub fn negative_dice(mut self, negative_dice: bool) -> Self {
        self.negative_dice = negative_dice;
        self
    }

    /// The target value that marks pixels to leave out of both parts.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    fn parts(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<LossParts> {
        let (mut dice, mut ce) = (self.dice.clone(), self.ce.clone());
        if let Some(ignored) = self.ignore_index {
            (dice, ce) = (dice.ignore_index(ignored), ce.ignore_index(ignored));
        }
        let of_dice = || signed(of(&dice, input, target, weight)?, self.negative_dice);
        let of_ce = || {
            let weight = weight.map(|weight| without_channel(weight, input)).transpose()?;
            of(&ce, input, &for_entropy(target, input)?, weight.as_ref())
        };
        let dice: Part = ("dice", self.lambda_dice, &of_dice);
        total("DiceCeLoss", &[dice, ("ce", self.lambda_ce, &of_ce)])
    }
}

compound!(DiceCeLoss);

named_loss! {
    DiceCeLoss: "dice_ce", Logits => IndexOrDense, "MONAI `DiceCELoss`",
    [lambda_dice, lambda_ce, negative_dice, ignore_index],
    presets {
        "dice_ce_monai" => Self::monai(), "MONAI `DiceCELoss`";
        "dice_ce_nnunet" => Self::nnunet(), "nnU-Net `DC_and_CE_loss`";
    },
}

/// Dice loss and binary cross entropy, of one map or of classes that may overlap.
///
/// ```text
/// l = λ_dice Dice + λ_bce BCE
/// ```
///
/// | option | default | `nnunet()` | meaning |
/// |---|---|---|---|
/// | `dice` | `DiceLoss` with `Sigmoid` | of the batch | with its own options |
/// | `bce` | `BceWithLogitsLoss::default()` | the same | with its own options |
/// | `lambda_dice`, `lambda_bce` | 1 | 1 | the coefficients |
/// | `negative_dice` | false | true | the Dice part is the score below 0, from -1 to 0 |
/// | `ignore_index` | none | none | for both parts: targets of this value count for nothing |
#[doc = include_str!("doc/two_sigmoid.md")]
/// # Reduction
///
/// Each part's own: cross entropy divides by the number of elements that count, or by their
/// weights, Dice by the number of scores.
///
/// # Errors
///
/// Those of the parts, behind their names; a coefficient below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{DiceBceLoss, Loss};
///
/// let logits = Tensor::zeros([1, 1, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let mask = Tensor::from_slice(&[1i64, 0]).view([1, 1, 2]);
/// let loss = DiceBceLoss::default().forward(&logits, &mask).double_value(&[]);
/// assert!((loss - (0.5 + 2f64.ln())).abs() < 1e-4);
/// ```
///
/// # Differences
///
/// With a mask nnU-Net divides the sum over the classes by the number of pixels, which is C times
/// as much as without one; here by that of pixels and classes. It keeps the mask in the target's
/// last channel; here it is the weight of [`forward_weighted`](crate::Loss::forward_weighted).
///
/// # Reference
///
/// `nnunet()` follows nnU-Net 2.8 `DC_and_BCE_loss` as its trainer builds it for regions. See also
/// [`DiceCeLoss`], [`ComboLoss`](crate::ComboLoss).
#[derive(Debug, Clone)]
pub struct DiceBceLoss {
    dice: DiceLoss,
    bce: BceWithLogitsLoss,
    lambda_dice: f64,
    lambda_bce: f64,
    negative_dice: bool,
    ignore_index: Option<i64>,
}

impl Default for DiceBceLoss {
    fn default() -> Self {
        DiceBceLoss {
            dice: DiceLoss::default().apply_nonlin(Nonlinearity::Sigmoid),
            bce: BceWithLogitsLoss::default(),
            lambda_dice: 1.0,
            lambda_bce: 1.0,
            negative_dice: false,
            ignore_index: None,
        }
    }
}

impl DiceBceLoss {
    /// nnU-Net's `DC_and_BCE_loss`, as its trainer builds it for regions.
    pub fn nnunet() -> Self {
        let dice = nnunet_dice().include_background(true).apply_nonlin(Nonlinearity::Sigmoid);
        DiceBceLoss::default().dice(dice).negative_dice(true)
    }

    /// The Dice part with its options.
    pub fn dice(mut self, dice: DiceLoss) -> Self {
        self.dice = dice;
        self
    }

    /// Binary cross entropy with its options.
    pub fn bce(mut self, bce: BceWithLogitsLoss) -> Self {
        self.bce = bce;
        self
    }

    coefficients!(lambda_dice: "the Dice part", lambda_bce: "binary cross entropy");

    /// Whether the Dice part is the score below 0; false by default.
    pub fn negative_dice(mut self, negative_dice: bool) -> Self {
        self.negative_dice = negative_dice;
        self
    }

    /// The target value that marks elements to leave out of both parts.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    fn parts(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<LossParts> {
        let (mut dice, mut bce) = (self.dice.clone(), self.bce.clone());
        if let Some(ignored) = self.ignore_index {
            (dice, bce) = (dice.ignore_index(ignored), bce.ignore_index(ignored));
        }
        let target = with_channel(target, input)?;
        let weight = weight.map(|weight| with_channel(weight, input)).transpose()?;
        let of_dice = || signed(of(&dice, input, &target, weight.as_ref())?, self.negative_dice);
        let of_bce = || of(&bce, input, &target, weight.as_ref());
        let dice: Part = ("dice", self.lambda_dice, &of_dice);
        total("DiceBceLoss", &[dice, ("bce", self.lambda_bce, &of_bce)])
    }
}

compound!(DiceBceLoss);

named_loss! {
    DiceBceLoss: "dice_bce", BinaryLogits => Dense, "nnU-Net `DC_and_BCE_loss`",
    [lambda_dice, lambda_bce, negative_dice, ignore_index], aliases ["bce_dice"],
    presets { "dice_bce_nnunet" => Self::nnunet(), "nnU-Net `DC_and_BCE_loss`" },
}

/// Dice loss and focal loss, both of softmax or both of sigmoid.
///
/// ```text
/// l = λ_dice Dice + λ_focal Focal
/// ```
///
/// | option | default | `monai()` | meaning |
/// |---|---|---|---|
/// | `apply_nonlin` | `Softmax` | `Sigmoid` | `Softmax` with [`SoftmaxFocalLoss`], or `Sigmoid` with [`FocalLoss`] |
/// | `dice` | `DiceLoss::default()` | `DiceLoss::monai()` | with its own options but the nonlinearity |
/// | `gamma` | 2 | 2 | γ of the focal part |
/// | `alpha` | none | none | α in [0, 1] of the sigmoid focal part |
/// | `lambda_dice`, `lambda_focal` | 1 | 1 | the coefficients |
/// | `ignore_index` | none | none | for both parts: targets of this value count for nothing |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: for `Softmax` class indices, integer, (N, d1, ..) or (N, 1, d1, ..) with values in
///   [0, C); for `Sigmoid` the input's shape, of any kind, without dimension 1 where that is 1
/// - element weight, of any kind: how much each pixel counts, (N, d1, ..) or (N, 1, d1, ..)
/// - loss: a scalar. `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// Each part's own: the focal one divides by the number of pixels that count, with `Sigmoid` of
/// pixels and classes, Dice by the number of scores.
///
/// # Errors
///
/// Those of the parts, behind their names; a coefficient below 0; `apply_nonlin` `None`, or an
/// `alpha` with `Softmax`.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{DiceFocalLoss, Loss};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// let loss = DiceFocalLoss::default().gamma(1.0).forward(&logits, &target).double_value(&[]);
/// assert!((loss - (0.5 + 0.5 * 2f64.ln())).abs() < 1e-4);
/// ```
///
/// # Differences
///
/// The focal part of MONAI's `DiceFocalLoss(softmax=True)` is of sigmoid all the same; its softmax
/// focal loss by itself divides by C too. `monai()` gives the numbers of `sigmoid=True`.
///
/// # Reference
///
/// Zhu et al. 2019, "AnatomyNet". `monai()` follows MONAI 1.6 `DiceFocalLoss(sigmoid=True)`.
#[derive(Debug, Clone)]
pub struct DiceFocalLoss {
    apply_nonlin: Nonlinearity,
    dice: DiceLoss,
    gamma: f64,
    alpha: Option<f64>,
    lambda_dice: f64,
    lambda_focal: f64,
    ignore_index: Option<i64>,
}

impl Default for DiceFocalLoss {
    fn default() -> Self {
        DiceFocalLoss {
            apply_nonlin: Nonlinearity::Softmax,
            dice: DiceLoss::default(),
            gamma: 2.0,
            alpha: None,
            lambda_dice: 1.0,
            lambda_focal: 1.0,
            ignore_index: None,
        }
    }
}

impl DiceFocalLoss {
    /// MONAI's `DiceFocalLoss(sigmoid=True)`.
    pub fn monai() -> Self {
        DiceFocalLoss::default().dice(DiceLoss::monai()).apply_nonlin(Nonlinearity::Sigmoid)
    }

    /// `Softmax` or `Sigmoid`, for both parts; `Softmax` by default.
    pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
        self.apply_nonlin = apply_nonlin;
        self
    }

    /// The Dice part with its options.
    pub fn dice(mut self, dice: DiceLoss) -> Self {
        self.dice = dice;
        self
    }

    /// γ of the focal part, at least 0; 2 by default.
    pub fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// α of the sigmoid focal part, in [0, 1]; none by default.
    pub fn alpha(mut self, alpha: impl Into<Option<f64>>) -> Self {
        self.alpha = alpha.into();
        self
    }

    coefficients!(lambda_dice: "the Dice part", lambda_focal: "the focal part");

    /// The target value that marks pixels to leave out of both parts.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    fn parts(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<LossParts> {
        const NAME: &str = "DiceFocalLoss";
        let refused = |option, expected, got: String| {
            Err(LossError::Param { loss: NAME, option, expected, got })
        };
        let mut dice = self.dice.clone().apply_nonlin(self.apply_nonlin);
        let mut softmax = SoftmaxFocalLoss::default().gamma(self.gamma);
        let mut sigmoid = FocalLoss::default().gamma(self.gamma).alpha(self.alpha);
        if let Some(ignored) = self.ignore_index {
            dice = dice.ignore_index(ignored);
            softmax = softmax.ignore_index(ignored);
            sigmoid = sigmoid.ignore_index(ignored);
        }
        let softmax_of = || {
            let weight = weight.map(|weight| without_channel(weight, input)).transpose()?;
            of(&softmax, input, &without_channel(target, input)?, weight.as_ref())
        };
        let sigmoid_of = || {
            let weight = weight.map(|weight| with_channel(weight, input)).transpose()?;
            of(&sigmoid, input, &with_channel(target, input)?, weight.as_ref())
        };
        let focal: &dyn Fn() -> Result<Tensor> = match (self.apply_nonlin, self.alpha) {
            (Nonlinearity::None, _) => {
                return refused("apply_nonlin", "Softmax or Sigmoid", "None".to_owned());
            }
            (Nonlinearity::Softmax, Some(alpha)) => {
                return refused("alpha", "none with Softmax", alpha.to_string());
            }
            (Nonlinearity::Softmax, None) => &softmax_of,
            (Nonlinearity::Sigmoid, _) => &sigmoid_of,
        };
        let of_dice = || of(&dice, input, target, weight);
        let dice: Part = ("dice", self.lambda_dice, &of_dice);
        total(NAME, &[dice, ("focal", self.lambda_focal, focal)])
    }
}

compound!(DiceFocalLoss);

named_loss! {
    DiceFocalLoss: "dice_focal", Logits => Index, "MONAI `DiceFocalLoss`",
    [apply_nonlin, gamma, alpha, lambda_dice, lambda_focal, ignore_index],
    presets {
        "dice_focal_monai" (BinaryLogits => Dense) => Self::monai(),
            "MONAI `DiceFocalLoss(sigmoid=True)`";
    },
}

/// Dice loss and cross entropy of the hardest pixels.
///
/// ```text
/// l = λ_dice Dice + λ_ce TopK
/// ```
///
/// | option | default | `nnunet()` | meaning |
/// |---|---|---|---|
/// | `dice` | `DiceLoss::default()` | of the batch, without background | with its own options |
/// | `top_k` | `TopKCrossEntropyLoss::default()`: 10 % | the same | with its own options |
/// | `lambda_dice`, `lambda_ce` | 1 | 1 | the coefficients |
/// | `negative_dice` | false | true | the Dice part is the score below 0, from -1 to 0 |
/// | `ignore_index` | none | none | for both parts: targets of this value count for nothing |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..) with C >= 2
/// - target: class indices, integer, (N, d1, ..) or (N, 1, d1, ..) with values in [0, C)
/// - element weight, of any kind: how much each pixel counts, (N, d1, ..) or (N, 1, d1, ..)
/// - loss: a scalar. `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// Each part's own: cross entropy divides by the number of hardest pixels, Dice by that of scores.
///
/// # Errors
///
/// Those of the parts, behind their names; a coefficient below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{DiceTopKLoss, Loss, TopKCrossEntropyLoss};
///
/// let logits = Tensor::from_slice(&[2.0f64, 0.0, 0.0, 0.0]).view([1, 2, 2]);
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// let loss = DiceTopKLoss::default().top_k(TopKCrossEntropyLoss::default().k(50.0));
/// let parts = loss.forward_parts(&logits, &target);
/// assert!((parts.named[1].1.double_value(&[]) - 2f64.ln()).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// nnU-Net's k percent are of all pixels, ignored ones included.
///
/// # Reference
///
/// `nnunet()` follows nnU-Net 2.8 `DC_and_topk_loss` as its trainer builds it. See also
/// [`TopKCrossEntropyLoss`].
#[derive(Debug, Clone)]
pub struct DiceTopKLoss {
    dice: DiceLoss,
    top_k: TopKCrossEntropyLoss,
    lambda_dice: f64,
    lambda_ce: f64,
    negative_dice: bool,
    ignore_index: Option<i64>,
}

impl Default for DiceTopKLoss {
    fn default() -> Self {
        DiceTopKLoss {
            dice: DiceLoss::default(),
            top_k: TopKCrossEntropyLoss::default(),
            lambda_dice: 1.0,
            lambda_ce: 1.0,
            negative_dice: false,
            ignore_index: None,
        }
    }
}

impl DiceTopKLoss {
    /// nnU-Net's `DC_and_topk_loss`, as its trainer builds it.
    pub fn nnunet() -> Self {
        DiceTopKLoss::default().dice(nnunet_dice()).negative_dice(true)
    }

    /// The Dice part with its options.
    pub fn dice(mut self, dice: DiceLoss) -> Self {
        self.dice = dice;
        self
    }

    /// Cross entropy of the hardest pixels with its options.
    pub fn top_k(mut self, top_k: TopKCrossEntropyLoss) -> Self {
        self.top_k = top_k;
        self
    }

    coefficients!(lambda_dice: "the Dice part", lambda_ce: "cross entropy");

    /// Whether the Dice part is the score below 0; false by default.
    pub fn negative_dice(mut self, negative_dice: bool) -> Self {
        self.negative_dice = negative_dice;
        self
    }

    /// The target value that marks pixels to leave out of both parts.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    fn parts(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<LossParts> {
        let (mut dice, mut top_k) = (self.dice.clone(), self.top_k.clone());
        if let Some(ignored) = self.ignore_index {
            (dice, top_k) = (dice.ignore_index(ignored), top_k.ignore_index(ignored));
        }
        let of_dice = || signed(of(&dice, input, target, weight)?, self.negative_dice);
        let of_top_k = || {
            let weight = weight.map(|weight| without_channel(weight, input)).transpose()?;
            of(&top_k, input, &without_channel(target, input)?, weight.as_ref())
        };
        let dice: Part = ("dice", self.lambda_dice, &of_dice);
        total("DiceTopKLoss", &[dice, ("top_k", self.lambda_ce, &of_top_k)])
    }
}

compound!(DiceTopKLoss);

named_loss! {
    DiceTopKLoss: "dice_top_k", Logits => Index, "nnU-Net `DC_and_topk_loss`",
    [lambda_dice, lambda_ce, negative_dice, ignore_index],
    presets { "dice_top_k_nnunet" => Self::nnunet(), "nnU-Net `DC_and_topk_loss`" },
}

/// Dice loss and clDice loss: how much is found, and how well it hangs together.
///
/// ```text
/// l = (1-α) Dice + α clDice
/// ```
///
/// | option | default | `monai()` | meaning |
/// |---|---|---|---|
/// | `alpha` | 0.5 | 0.5 | α, in [0, 1] |
/// | `apply_nonlin` | `Softmax` | `Softmax` | of both parts; `Sigmoid` for one map |
/// | `dice` | `DiceLoss::default()` | `DiceLoss::monai().smooth(1.0)` | with its own options |
/// | `cl_dice` | `ClDiceLoss::default()` | `ClDiceLoss::monai()` | with its own options |
/// | `ignore_index` | none | none | for both parts: targets of this value count for nothing |
#[doc = include_str!("doc/shapes_scalar.md")]
///
/// Images have two or three dimensions.
///
/// # Reduction
///
/// Each part's own: over the scores.
///
/// # Errors
///
/// Those of the parts, behind their names; `alpha` outside [0, 1].
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{DiceClDiceLoss, segmentation::Nonlinearity};
///
/// let line = Tensor::zeros([1, 1, 7, 9], (Kind::Double, Device::Cpu));
/// let _ = line.narrow(2, 3, 1).narrow(3, 1, 7).fill_(1.0);
/// let loss = DiceClDiceLoss::default().alpha(0.25).apply_nonlin(Nonlinearity::Sigmoid);
/// let parts = loss.forward_parts(&((&line - 0.5) * 10.0), &line);
/// let [dice, cl_dice] = [0, 1].map(|part| parts.named[part].1.double_value(&[]));
/// assert!((parts.total.double_value(&[]) - (0.75 * dice + 0.25 * cl_dice)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// topolosses adds α clDice to a whole Dice loss.
///
/// # Reference
///
/// Shit et al. 2021, "clDice: A Novel Topology-Preserving Loss Function for Tubular Structure
/// Segmentation". `monai()` follows MONAI 1.6 `SoftDiceclDiceLoss(softmax=True, to_onehot_y=True)`.
#[derive(Debug, Clone)]
pub struct DiceClDiceLoss {
    alpha: f64,
    apply_nonlin: Nonlinearity,
    dice: DiceLoss,
    cl_dice: ClDiceLoss,
    ignore_index: Option<i64>,
}

impl Default for DiceClDiceLoss {
    fn default() -> Self {
        DiceClDiceLoss {
            alpha: 0.5,
            apply_nonlin: Nonlinearity::Softmax,
            dice: DiceLoss::default(),
            cl_dice: ClDiceLoss::default(),
            ignore_index: None,
        }
    }
}

impl DiceClDiceLoss {
    /// MONAI's `SoftDiceclDiceLoss(softmax=True, to_onehot_y=True)`.
    pub fn monai() -> Self {
        DiceClDiceLoss::default().dice(DiceLoss::monai().smooth(1.0)).cl_dice(ClDiceLoss::monai())
    }

    /// α, the share of clDice, in [0, 1]; 0.5 by default.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// What turns the input into probabilities, for both parts; `Softmax` by default.
    pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
        self.apply_nonlin = apply_nonlin;
        self
    }

    /// The Dice part with its options.
    pub fn dice(mut self, dice: DiceLoss) -> Self {
        self.dice = dice;
        self
    }

    /// The clDice part with its options.
    pub fn cl_dice(mut self, cl_dice: ClDiceLoss) -> Self {
        self.cl_dice = cl_dice;
        self
    }

    /// The target value that marks pixels to leave out of both parts.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    fn parts(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<LossParts> {
        const NAME: &str = "DiceClDiceLoss";
        check::fraction(NAME, "alpha", self.alpha)?;
        let mut dice = self.dice.clone().apply_nonlin(self.apply_nonlin);
        let mut cl_dice = self.cl_dice.clone().apply_nonlin(self.apply_nonlin);
        if let Some(ignored) = self.ignore_index {
            (dice, cl_dice) = (dice.ignore_index(ignored), cl_dice.ignore_index(ignored));
        }
        let of_dice = || of(&dice, input, target, weight);
        let of_cl_dice = || of(&cl_dice, input, target, weight);
        let dice: Part = ("dice", 1.0 - self.alpha, &of_dice);
        total(NAME, &[dice, ("cl_dice", self.alpha, &of_cl_dice)])
    }
}

compound!(DiceClDiceLoss);

named_loss! {
    DiceClDiceLoss: "dice_cl_dice", Logits => IndexOrDense, "MONAI `SoftDiceclDiceLoss`",
    [alpha, apply_nonlin, ignore_index],
    presets { "dice_cl_dice_monai" => Self::monai(), "MONAI `SoftDiceclDiceLoss`" },
}

/// BASNet's hybrid loss of a map: binary cross entropy, structural similarity and IoU.
///
/// ```text
/// l = λ_bce BCE(x, y) + λ_ssim (1 - SSIM(p, y)) + λ_iou (1 - IoU(p, y)),   p = sigmoid(x)
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `bce` | `BceWithLogitsLoss::default()` | with its own options |
/// | `ssim` | [`SsimOptions::basnet`] | windows of 11 pixels, zeros at the border |
/// | `iou` | `JaccardLoss` without smoothing | with its own options; `apply_nonlin` is `None` |
/// | `lambda_bce`, `lambda_ssim`, `lambda_iou` | 1 | the coefficients |
#[doc = include_str!("doc/hybrid.md")]
/// - element weight, of any kind: how much each pixel counts, (N, H, W) or (N, 1, H, W)
/// - loss: a scalar. `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// Each part's own: over pixels, over windows, over images and classes.
///
/// # Errors
///
/// Those of the parts, behind their names; a coefficient below 0.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::BasnetHybridLoss;
///
/// let mask = Tensor::zeros([1, 1, 16, 16], (Kind::Double, Device::Cpu));
/// let _ = mask.narrow(2, 4, 8).narrow(3, 4, 8).fill_(1.0);
/// let parts = BasnetHybridLoss::default().forward_parts(&((&mask - 0.5) * 100.0), &mask);
/// assert_eq!(parts.named.iter().map(|part| part.0.as_str()).collect::<Vec<_>>(), ["bce", "ssim", "iou"]);
/// assert!(parts.total.double_value(&[]) < 1e-9);
/// ```
///
/// # Differences
///
/// BASNet sums it over the outputs of its network, which is
/// [`DeepSupervision`](super::DeepSupervision) with weights `Same`. Its IoU has no guard against an
/// empty mask.
///
/// # Reference
///
/// Qin et al. 2019, "BASNet: Boundary-Aware Salient Object Detection". See also
/// [`Unet3PlusHybridLoss`].
#[derive(Debug, Clone)]
pub struct BasnetHybridLoss {
    bce: BceWithLogitsLoss,
    ssim: SsimOptions,
    iou: JaccardLoss,
    lambda_bce: f64,
    lambda_ssim: f64,
    lambda_iou: f64,
}

impl Default for BasnetHybridLoss {
    fn default() -> Self {
        BasnetHybridLoss {
            bce: BceWithLogitsLoss::default(),
            ssim: SsimOptions::basnet(),
            iou: JaccardLoss::default().smooth(0.0),
            lambda_bce: 1.0,
            lambda_ssim: 1.0,
            lambda_iou: 1.0,
        }
    }
}

impl BasnetHybridLoss {
    /// Binary cross entropy with its options.
    pub fn bce(mut self, bce: BceWithLogitsLoss) -> Self {
        self.bce = bce;
        self
    }

    /// How structural similarity is computed.
    pub fn ssim(mut self, ssim: SsimOptions) -> Self {
        self.ssim = ssim;
        self
    }

    /// The IoU part with its options.
    pub fn iou(mut self, iou: JaccardLoss) -> Self {
        self.iou = iou;
        self
    }

    coefficients!(
        lambda_bce: "binary cross entropy",
        lambda_ssim: "structural similarity",
        lambda_iou: "the IoU part"
    );

    fn parts(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<LossParts> {
        const NAME: &str = "BasnetHybridLoss";
        let target = with_channel(target, input)?;
        let weight = weight.map(|weight| with_channel(weight, input)).transpose()?;
        let weight = weight.as_ref();
        let p = check::accumulated(NAME, "input", input)?.f_sigmoid()?;
        let ssim = SsimLoss::new(self.ssim);
        let iou = self.iou.clone().apply_nonlin(Nonlinearity::None);
        let of_bce = || of(&self.bce, input, &target, weight);
        let of_ssim = || of(&ssim, &p, &target, weight);
        let of_iou = || of(&iou, &p, &target, weight);
        let bce: Part = ("bce", self.lambda_bce, &of_bce);
        let ssim: Part = ("ssim", self.lambda_ssim, &of_ssim);
        total(NAME, &[bce, ssim, ("iou", self.lambda_iou, &of_iou)])
    }
}

compound!(BasnetHybridLoss);

named_loss! {
    BasnetHybridLoss: "basnet_hybrid", BinaryLogits => Dense, "Qin et al. 2019",
    [lambda_bce, lambda_ssim, lambda_iou], aliases ["basnet"],
}

/// UNet 3+'s hybrid loss of a map: focal loss, structural similarity at several scales and IoU.
///
/// ```text
/// l = λ_focal Focal(x, y) + λ_ms_ssim (1 - MS-SSIM(p, y)) + λ_iou (1 - IoU(p, y)),   p = sigmoid(x)
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `focal` | `FocalLoss::default()`: γ 2, α 0.25 | with its own options |
/// | `ms_ssim` | `MsSsimLoss::default()`: five scales, sides of 161 pixels at least | with its own options |
/// | `iou` | `JaccardLoss` without smoothing | with its own options; `apply_nonlin` is `None` |
/// | `lambda_focal`, `lambda_ms_ssim`, `lambda_iou` | 1 | the coefficients |
#[doc = include_str!("doc/hybrid.md")]
/// - loss: a scalar. `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// Each part's own: over pixels, over images and channels, over images and classes.
///
/// # Errors
///
/// Those of the parts, behind their names; a coefficient below 0; an element weight, which MS-SSIM
/// has no place for.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{MsSsimLoss, Unet3PlusHybridLoss};
///
/// let mask = Tensor::zeros([1, 1, 32, 32], (Kind::Double, Device::Cpu));
/// let _ = mask.narrow(2, 8, 16).narrow(3, 8, 16).fill_(1.0);
/// let loss = Unet3PlusHybridLoss::default().ms_ssim(MsSsimLoss::default().weights([0.4, 0.6]));
/// let parts = loss.forward_parts(&((&mask - 0.5) * 100.0), &mask);
/// assert!(parts.total.double_value(&[]) < 1e-9);
/// ```
///
/// # Reference
///
/// Huang et al. 2020, "UNet 3+: A Full-Scale Connected UNet for Medical Image Segmentation", which
/// says neither γ nor α. See also [`BasnetHybridLoss`].
#[derive(Debug, Clone)]
pub struct Unet3PlusHybridLoss {
    focal: FocalLoss,
    ms_ssim: MsSsimLoss,
    iou: JaccardLoss,
    lambda_focal: f64,
    lambda_ms_ssim: f64,
    lambda_iou: f64,
}

impl Default for Unet3PlusHybridLoss {
    fn default() -> Self {
        Unet3PlusHybridLoss {
            focal: FocalLoss::default(),
            ms_ssim: MsSsimLoss::default(),
            iou: JaccardLoss::default().smooth(0.0),
            lambda_focal: 1.0,
            lambda_ms_ssim: 1.0,
            lambda_iou: 1.0,
        }
    }
}

impl Unet3PlusHybridLoss {
    /// The focal part with its options.
    pub fn focal(mut self, focal: FocalLoss) -> Self {
        self.focal = focal;
        self
    }

    /// Structural similarity with its options.
    pub fn ms_ssim(mut self, ms_ssim: MsSsimLoss) -> Self {
        self.ms_ssim = ms_ssim;
        self
    }

    /// The IoU part with its options.
    pub fn iou(mut self, iou: JaccardLoss) -> Self {
        self.iou = iou;
        self
    }

    coefficients!(
        lambda_focal: "the focal part",
        lambda_ms_ssim: "structural similarity",
        lambda_iou: "the IoU part"
    );

    fn parts(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<LossParts> {
        const NAME: &str = "Unet3PlusHybridLoss";
        if weight.is_some() {
            let message = "MS-SSIM has no weight of single pixels";
            return Err(LossError::Unsupported { loss: NAME, message });
        }
        let target = with_channel(target, input)?;
        let p = check::accumulated(NAME, "input", input)?.f_sigmoid()?;
        let iou = self.iou.clone().apply_nonlin(Nonlinearity::None);
        let of_focal = || self.focal.f_forward(input, &target);
        let of_ms_ssim = || self.ms_ssim.f_forward(&p, &target);
        let of_iou = || iou.f_forward(&p, &target);
        let focal: Part = ("focal", self.lambda_focal, &of_focal);
        let ms_ssim: Part = ("ms_ssim", self.lambda_ms_ssim, &of_ms_ssim);
        total(NAME, &[focal, ms_ssim, ("iou", self.lambda_iou, &of_iou)])
    }
}

compound!(Unet3PlusHybridLoss);

named_loss! {
    Unet3PlusHybridLoss: "unet3plus_hybrid", BinaryLogits => Dense, "Huang et al. 2020",
    [lambda_focal, lambda_ms_ssim, lambda_iou], aliases ["unet3plus"],
}
