//! The engine of the overlap losses: what is summed, what a class that is absent costs, and how
//! the scores of classes and images become one loss.

use super::statistics::{Counting, IgnoreIndex, Nonlinearity, Overlap, Terms, overlap};
use crate::{
    LossError, Reduction, Result, check,
    loss::{Reader, option_enum},
    reduce::ratio,
};
use tch::{Kind, Tensor};

/// Over what the pixels of an overlap loss are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregate {
    /// Each image has its own scores.
    #[default]
    PerImage,
    /// One score for the whole batch: small objects and empty images weigh as much as their pixels.
    Batch,
}

option_enum!(Aggregate {
    Aggregate::PerImage => "per_image",
    Aggregate::Batch => "batch",
});

/// Whether each class has a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Average {
    /// A score for each class.
    #[default]
    Macro,
    /// One score of the classes' sums, each times its class weight.
    Micro,
}

option_enum!(Average { Average::Macro => "macro", Average::Micro => "micro" });

/// What a class costs that the target does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptyClass {
    /// What the formula says: `s_n / (.. + s_d)`, so 0 for a class that is not predicted, about 1
    /// with next to no gradient for one that is.
    #[default]
    Smooth,
    /// Nothing: the class leaves the mean.
    Skip,
    /// Nothing, but the class stays in the mean.
    Zero,
    /// The mean probability of the class, so that false positives are unlearned.
    FalsePositives,
}

option_enum!(EmptyClass {
    EmptyClass::Smooth => "smooth",
    EmptyClass::Skip => "skip",
    EmptyClass::Zero => "zero",
    EmptyClass::FalsePositives => "false_positives",
});

/// What the mean over the classes divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightNorm {
    /// The sum of the weights of the classes that count, which are all but the skipped ones.
    #[default]
    Present,
    /// The sum of all class weights.
    All,
    /// The number of classes that count: doubling the weights doubles the loss.
    None,
}

option_enum!(WeightNorm {
    WeightNorm::Present => "present",
    WeightNorm::All => "all",
    WeightNorm::None => "none",
});

/// What every overlap loss is told: who counts, and for how much.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) apply_nonlin: Nonlinearity,
    pub(crate) aggregate: Aggregate,
    pub(crate) include_background: bool,
    pub(crate) classes: Option<Vec<i64>>,
    pub(crate) ignore_index: IgnoreIndex,
    pub(crate) empty_class: EmptyClass,
    pub(crate) class_weights: Option<Vec<f64>>,
    pub(crate) reduction: Reduction,
}

impl Default for Region {
    fn default() -> Self {
        Region {
            apply_nonlin: Nonlinearity::Softmax,
            aggregate: Aggregate::PerImage,
            include_background: true,
            classes: None,
            ignore_index: IgnoreIndex::default(),
            empty_class: EmptyClass::Smooth,
            class_weights: None,
            reduction: Reduction::Mean,
        }
    }
}

/// How the classes become one loss.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Averaging {
    pub(crate) average: Average,
    pub(crate) weight_norm: WeightNorm,
}

impl Averaging {
    pub(crate) fn read(&mut self, options: &Reader) -> Result<()> {
        options.read("average", &mut self.average)?;
        options.read("weight_norm", &mut self.weight_norm)
    }
}

/// What keeps the ratio of an overlap loss in bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Smoothing {
    pub(crate) smooth_nr: f64,
    pub(crate) smooth_dr: f64,
    pub(crate) eps: f64,
}

impl Smoothing {
    pub(crate) fn new(smooth_nr: f64, smooth_dr: f64, eps: f64) -> Self {
        Smoothing { smooth_nr, smooth_dr, eps }
    }

    pub(crate) fn read(&mut self, options: &Reader) -> Result<()> {
        options.read("smooth_nr", &mut self.smooth_nr)?;
        options.read("smooth_dr", &mut self.smooth_dr)?;
        options.read("eps", &mut self.eps)
    }

    pub(crate) fn check(&self, loss: &'static str) -> Result<()> {
        check::at_least_zero(loss, "smooth_nr", self.smooth_nr)?;
        check::at_least_zero(loss, "smooth_dr", self.smooth_dr)?;
        let ok = self.eps >= 1e-30 && self.eps.is_finite();
        check::param(loss, "eps", self.eps, ok, "at least 1e-30 and finite")
    }

    /// `(numerator + s_n) / max(denominator + s_d, eps)`
    pub(crate) fn ratio(&self, numerator: &Tensor, denominator: &Tensor) -> Result<Tensor> {
        let numerator = numerator.f_add_scalar(self.smooth_nr)?;
        let denominator = denominator.f_add_scalar(self.smooth_dr)?.f_clamp_min(self.eps)?;
        Ok(numerator.f_div(&denominator)?)
    }

    /// `(h tp + s_n) / max(h tp + a fp + b fn + s_d, eps)`: Dice with h 2, a = b = 1, and its kin.
    pub(crate) fn similarity(&self, sums: &Overlap, [h, a, b]: [f64; 3]) -> Result<Tensor> {
        // fp = predicted - tp and fn = actual - tp, whose difference is not taken.
        let times = |sum: &Tensor, factor: f64| match factor {
            1.0 => Ok(sum.shallow_clone()),
            factor => sum.f_mul_scalar(factor),
        };
        let mut denominator = times(&sums.predicted, a)?.f_add(&times(&sums.actual, b)?)?;
        if h != a + b {
            denominator = denominator.f_add(&times(&sums.tp, h - a - b)?)?;
        }
        self.ratio(&times(&sums.tp, h)?, &denominator)
    }
}

impl Region {
    pub(crate) fn read(&mut self, options: &Reader) -> Result<()> {
        options.read("apply_nonlin", &mut self.apply_nonlin)?;
        options.read("aggregate", &mut self.aggregate)?;
        options.read("include_background", &mut self.include_background)?;
        options.read("classes", &mut self.classes)?;
        options.read("ignore_index", &mut self.ignore_index)?;
        options.read("empty_class", &mut self.empty_class)?;
        options.read("class_weights", &mut self.class_weights)?;
        options.read("reduction", &mut self.reduction)
    }

    /// The sums of an input and its target, a row for each image or one for the batch, a column for
    /// each class kept or one for all of them.
    pub(crate) fn sums(
        &self,
        loss: &'static str,
        input: &Tensor,
        target: &Tensor,
        weight: Option<&Tensor>,
        terms: Terms,
        averaging: Averaging,
    ) -> Result<Sums<'_>> {
        let kept = self.kept(loss, input)?;
        let counting = Counting { mask: weight, ignore_index: &self.ignore_index, terms };
        let mut sums = overlap(loss, "input", input, self.apply_nonlin, target, &counting)?;
        if let Some(kept) = &kept {
            sums = sums.map(|sum| select(sum, kept))?;
        }
        self.of_kept(loss, input, sums, kept.as_deref(), averaging)
    }

    /// The sums of the classes kept, taken by the loss itself.
    pub(crate) fn of_kept(
        &self,
        loss: &'static str,
        input: &Tensor,
        mut sums: Overlap,
        kept: Option<&[i64]>,
        averaging: Averaging,
    ) -> Result<Sums<'_>> {
        check::reduction(loss, self.reduction)?;
        let weights = self.weights(loss, kept, input, &sums.tp)?;
        if self.aggregate == Aggregate::Batch {
            sums.pixels *= input.size()[0];
            sums = sums.map(|sum| Ok(sum.f_sum_dim_intlist(0, true, None::<Kind>)?))?;
        }
        let sums = Sums { region: self, averaging, overlap: sums, weights };
        match averaging.average {
            Average::Macro => Ok(sums),
            Average::Micro => sums.over_classes(),
        }
    }

    /// Sums made by other means, already over what `aggregate` says: a row for each image or one, a
    /// column for each class.
    pub(crate) fn of_rows(
        &self,
        loss: &'static str,
        input: &Tensor,
        rows: Overlap,
        weight_norm: WeightNorm,
    ) -> Result<Sums<'_>> {
        check::reduction(loss, self.reduction)?;
        let kept = self.kept(loss, input)?;
        let weights = self.weights(loss, kept.as_deref(), input, &rows.tp)?;
        let overlap = match &kept {
            Some(kept) => rows.map(|sum| select(sum, kept))?,
            None => rows,
        };
        let averaging = Averaging { average: Average::Macro, weight_norm };
        Ok(Sums { region: self, averaging, overlap, weights })
    }

    /// The classes that have a score; `None` for all.
    pub(crate) fn kept(&self, loss: &'static str, input: &Tensor) -> Result<Option<Vec<i64>>> {
        let classes = input.size().get(1).copied().unwrap_or(0);
        let first = i64::from(!self.include_background);
        let refused = |option, expected, got| LossError::Param { loss, option, expected, got };
        let kept: Vec<i64> = match &self.classes {
            None if self.include_background => return Ok(None),
            None => (first..classes).collect(),
            Some(listed) if listed.iter().all(|class| (0..classes).contains(class)) => {
                listed.iter().copied().filter(|&class| class >= first).collect()
            }
            Some(listed) => {
                let got = format!("{listed:?} of {classes}");
                return Err(refused("classes", "classes of the input", got));
            }
        };
        match (kept.is_empty(), self.include_background) {
            (false, _) => Ok(Some(kept)),
            (true, true) => Err(refused("classes", "at least one class", "none".to_owned())),
            (true, false) => {
                let expected = "true where no other class is left";
                Err(refused("include_background", expected, "false".to_owned()))
            }
        }
    }

    /// The weights of the classes kept, (1, classes kept).
    fn weights(
        &self,
        loss: &'static str,
        kept: Option<&[i64]>,
        input: &Tensor,
        like: &Tensor,
    ) -> Result<Option<Tensor>> {
        let Some(weights) = &self.class_weights else { return Ok(None) };
        let (classes, got) = (input.size()[1], weights.len() as i64);
        if got != classes {
            let (what, expected) = ("class_weights", format!("[{classes}]"));
            return Err(LossError::Shape { loss, what, expected, got: vec![got] });
        }
        for &weight in weights {
            check::at_least_zero(loss, "class_weights", weight)?;
        }
        let weights = match kept {
            None => Tensor::f_from_slice(weights)?,
            Some(kept) => {
                let kept: Vec<f64> = kept.iter().map(|&class| weights[class as usize]).collect();
                Tensor::f_from_slice(&kept)?
            }
        };
        let weights = weights.f_unsqueeze(0)?.f_to_kind(like.f_kind()?)?;
        Ok(Some(weights.f_to_device(like.device())?))
    }
}

/// The columns of the classes kept; one column stands for all.
pub(crate) fn select(sum: Tensor, kept: &[i64]) -> Result<Tensor> {
    if sum.size()[1] == 1 {
        return Ok(sum);
    }
    let (first, count) = (kept[0], kept.len() as i64);
    if kept.iter().zip(first..).all(|(&class, expected)| class == expected) {
        return Ok(sum.f_narrow(1, first, count)?);
    }
    let kept = Tensor::f_from_slice(kept)?.f_to_device(sum.device())?;
    Ok(sum.f_index_select(1, &kept)?)
}

/// The sums that the scores of a loss are made of, (rows, columns), and how they become a loss.
pub(crate) struct Sums<'a> {
    pub(crate) region: &'a Region,
    pub(crate) averaging: Averaging,
    pub(crate) overlap: Overlap,
    /// Class weights, (1, columns).
    pub(crate) weights: Option<Tensor>,
}

impl Sums<'_> {
    /// The sums of the classes, each times its weight: (rows, 1).
    pub(crate) fn over_classes(self) -> Result<Self> {
        let columns = self.overlap.tp.size();
        let valid = Some(self.valid()?);
        let overlap = Overlap { valid, ..self.overlap }.map(|sum| {
            let weighted = match &self.weights {
                Some(weights) => sum.f_mul(weights)?,
                None => sum.f_expand(columns.as_slice(), false)?,
            };
            Ok(weighted.f_sum_dim_intlist(1, true, None::<Kind>)?)
        })?;
        let averaging = Averaging { average: Average::Micro, ..self.averaging };
        Ok(Sums { region: self.region, averaging, overlap, weights: None })
    }

    /// How many pixels count, (rows, 1) or (rows, columns).
    pub(crate) fn valid(&self) -> Result<Tensor> {
        let Overlap { tp, valid, pixels, .. } = &self.overlap;
        match valid {
            Some(valid) => Ok(valid.shallow_clone()),
            None => {
                let rows = [tp.size()[0], 1];
                Ok(Tensor::f_full(rows, *pixels as f64, (tp.f_kind()?, tp.device()))?)
            }
        }
    }

    /// The loss of scores, (rows, columns), of which 1 is the best and 0 the worst.
    pub(crate) fn reduce(
        &self,
        score: Tensor,
        shape: impl Fn(Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let score = match self.region.empty_class {
            EmptyClass::FalsePositives => {
                let share = self.false_positives()?.f_rsub_scalar(1.0)?;
                score.f_where_self(&self.present()?, &share)?
            }
            _ => score,
        };
        self.reduce_shaped(shape(score)?)
    }

    /// The loss of what each score costs, (rows, columns).
    pub(crate) fn reduce_costs(&self, cost: Tensor) -> Result<Tensor> {
        self.reduce_shaped(match self.region.empty_class {
            EmptyClass::FalsePositives => {
                cost.f_where_self(&self.present()?, &self.false_positives()?)?
            }
            _ => cost,
        })
    }

    fn present(&self) -> Result<Tensor> {
        Ok(self.overlap.actual.f_gt(0.0)?)
    }

    /// The mean probability.
    fn false_positives(&self) -> Result<Tensor> {
        ratio(&self.overlap.predicted, &self.valid()?)
    }

    fn reduce_shaped(&self, mut loss: Tensor) -> Result<Tensor> {
        let kind = loss.f_kind()?;
        let region = self.region;
        // 1 for a score that counts, 0 for one of no pixels or of a class that is skipped.
        let mut counts = match &self.overlap.valid {
            Some(valid) => Some(valid.f_gt(0.0)?.f_to_kind(kind)?.f_expand_as(&loss)?),
            None => None,
        };
        match region.empty_class {
            EmptyClass::Zero => loss = loss.f_mul(&self.present()?.f_to_kind(kind)?)?,
            EmptyClass::Skip => {
                let present = self.present()?.f_to_kind(kind)?;
                counts = Some(match counts {
                    Some(counts) => counts.f_mul(&present)?,
                    None => present,
                });
            }
            EmptyClass::Smooth | EmptyClass::FalsePositives => {}
        }
        let shares = match (&counts, &self.weights) {
            (Some(counts), Some(weights)) => Some(counts.f_mul(weights)?),
            (Some(counts), None) => Some(counts.shallow_clone()),
            (None, Some(weights)) => Some(weights.f_expand_as(&loss)?),
            (None, None) => None,
        };
        if let Some(shares) = &shares {
            loss = loss.f_mul(shares)?;
        }
        match (region.reduction, shares) {
            (Reduction::Sum, _) => Ok(loss.f_sum(None::<Kind>)?),
            (Reduction::Mean, None) => {
                let elements = loss.numel().max(1);
                Ok(loss.f_sum(None::<Kind>)?.f_div_scalar(elements as f64)?)
            }
            (Reduction::Mean, Some(shares)) => self.mean(&loss, &shares, counts),
            _ => self.unreduced(loss),
        }
    }

    /// The mean over the classes of each row, then over the rows in which something counts.
    fn mean(&self, loss: &Tensor, shares: &Tensor, counts: Option<Tensor>) -> Result<Tensor> {
        let over_classes = |values: &Tensor| values.f_sum_dim_intlist(1, false, None::<Kind>);
        let counts = match counts {
            Some(counts) => counts,
            None => loss.f_ones_like()?,
        };
        let some = over_classes(&counts)?.f_gt(0.0)?.f_to_kind(loss.f_kind()?)?;
        let whole = match (self.averaging.weight_norm, &self.weights) {
            (WeightNorm::Present, _) => over_classes(shares)?,
            (WeightNorm::None, _) => over_classes(&counts)?,
            (WeightNorm::All, Some(weights)) => some.f_mul(&weights.f_sum(None::<Kind>)?)?,
            (WeightNorm::All, None) => some.f_mul_scalar(loss.size()[1] as f64)?,
        };
        let rows = ratio(&over_classes(loss)?, &whole)?;
        ratio(&rows.f_sum(None::<Kind>)?, &some.f_sum(None::<Kind>)?)
    }

    /// (N, classes), (classes), (N) or a scalar.
    fn unreduced(&self, mut loss: Tensor) -> Result<Tensor> {
        if self.averaging.average == Average::Micro {
            loss = loss.f_squeeze_dim(1)?;
        }
        if self.region.aggregate == Aggregate::Batch {
            loss = loss.f_squeeze_dim(0)?;
        }
        Ok(loss)
    }
}

/// Setters of the options that the overlap losses share, for the fields of those names.
macro_rules! setters {
    (region) => {
        /// What turns the input into probabilities; `Softmax` by default.
        pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
            self.region.apply_nonlin = apply_nonlin;
            self
        }

        /// Whether each image has its own scores; `PerImage` by default.
        pub fn aggregate(mut self, aggregate: Aggregate) -> Self {
            self.region.aggregate = aggregate;
            self
        }

        /// Whether class 0 counts; true by default.
        pub fn include_background(mut self, include_background: bool) -> Self {
            self.region.include_background = include_background;
            self
        }

        /// The classes that count; all by default.
        pub fn classes(mut self, classes: impl Into<Vec<i64>>) -> Self {
            self.region.classes = Some(classes.into());
            self
        }

        /// The target values that mark what to leave out: `255`, or `[0, 255]`.
        pub fn ignore_index(mut self, ignore_index: impl Into<IgnoreIndex>) -> Self {
            self.region.ignore_index = ignore_index.into();
            self
        }

        /// What a class costs that the target does not hold; `Smooth` by default.
        pub fn empty_class(mut self, empty_class: EmptyClass) -> Self {
            self.region.empty_class = empty_class;
            self
        }

        /// A weight for each class of the input, at least 0.
        pub fn class_weights(mut self, class_weights: impl Into<Vec<f64>>) -> Self {
            self.region.class_weights = Some(class_weights.into());
            self
        }

        /// `Mean` by default.
        pub fn reduction(mut self, reduction: Reduction) -> Self {
            self.region.reduction = reduction;
            self
        }
    };
    (smoothing) => {
        /// Both s_n and s_d.
        pub fn smooth(self, smooth: f64) -> Self {
            self.smooth_nr(smooth).smooth_dr(smooth)
        }

        /// s_n, added to the numerator; at least 0.
        pub fn smooth_nr(mut self, smooth_nr: f64) -> Self {
            self.smoothing.smooth_nr = smooth_nr;
            self
        }

        /// s_d, added to the denominator; at least 0.
        pub fn smooth_dr(mut self, smooth_dr: f64) -> Self {
            self.smoothing.smooth_dr = smooth_dr;
            self
        }

        /// The least value of the denominator; above 0.
        pub fn eps(mut self, eps: f64) -> Self {
            self.smoothing.eps = eps;
            self
        }
    };
    (averaging) => {
        /// Whether each class has a score; `Macro` by default.
        pub fn average(mut self, average: Average) -> Self {
            self.averaging.average = average;
            self
        }

        /// What the mean over the classes divides by; `Present` by default.
        pub fn weight_norm(mut self, weight_norm: WeightNorm) -> Self {
            self.averaging.weight_norm = weight_norm;
            self
        }
    };
    (alpha_beta) => {
        /// α, the price of a false positive; at least 0.
        pub fn alpha(mut self, alpha: f64) -> Self {
            self.alpha = alpha;
            self
        }

        /// β, the price of a false negative; at least 0.
        pub fn beta(mut self, beta: f64) -> Self {
            self.beta = beta;
            self
        }
    };
    (squared_pred) => {
        /// Whether the denominator is of squares; false by default.
        pub fn squared_pred(mut self, squared_pred: bool) -> Self {
            self.squared_pred = squared_pred;
            self
        }
    };
    (soft_label) => {
        /// Whether tp is `Σ m min(p, y)`, which a soft target itself makes best; false by default.
        pub fn soft_label(mut self, soft_label: bool) -> Self {
            self.soft_label = soft_label;
            self
        }
    };
    (log_loss) => {
        /// Whether the loss is `-log` of the score rather than 1 less the score; false by default.
        pub fn log_loss(mut self, log_loss: bool) -> Self {
            self.log_loss = log_loss;
            self
        }
    };
}
pub(crate) use setters;

/// `1 - score`, or `-log(max(score, 1e-7))`.
pub(crate) fn one_minus_or_log(log_loss: bool) -> impl Fn(Tensor) -> Result<Tensor> {
    move |score| {
        Ok(match log_loss {
            true => score.f_clamp_min(1e-7)?.f_log()?.f_neg()?,
            false => score.f_rsub_scalar(1.0)?,
        })
    }
}

/// Where [`power`] turns into a line: about where `1 - score` is lost to rounding in `Float`.
const NEAR_ZERO: f64 = 1e-6;

/// `x^power` of x >= 0 with a finite slope at 0, also where `power` is below 1.
pub(crate) fn power(x: &Tensor, power: f64) -> Result<Tensor> {
    if power >= 1.0 {
        return Ok(x.f_clamp_min(0.0)?.f_pow_tensor_scalar(power)?);
    }
    // Below the bound the first factor is constant: a line through 0 that meets the curve.
    let slope = x.f_clamp_min(NEAR_ZERO)?.f_pow_tensor_scalar(power - 1.0)?;
    Ok(slope.f_mul(&x.f_clamp_min(0.0)?)?)
}
