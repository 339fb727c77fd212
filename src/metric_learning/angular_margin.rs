//! Softmax losses with a margin on the angle between an embedding and its class: ArcFace and CosFace.

use super::pairs::{class_vectors, unit};
use crate::{
    Reduction, Result, check,
    classification::Classes,
    loss::{Entry, Reader, weighted_loss},
    reduce::Kept,
    regression::root,
};
use tch::{Kind, Tensor};

/// Cross entropy of scaled cosines, where that of the right class is replaced.
fn of_cosines(
    loss: &'static str,
    [input, target]: [&Tensor; 2],
    vectors: &Kept,
    (scale, ignore_index): (f64, i64),
    weight: Option<&Tensor>,
    reduction: Reduction,
    right: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    check::reduction(loss, reduction)?;
    check::above_zero(loss, "scale", scale)?;
    let embeddings = check::accumulated(loss, "input", input)?;
    let vectors = class_vectors(loss, "weight", &vectors.0, &embeddings)?;
    let cosine = unit(&embeddings)?.f_matmul(&unit(&vectors)?.f_transpose(0, 1)?)?;
    let classes = Classes::new(loss, &cosine, target, ignore_index)?;
    let right = right(&classes.pick(&cosine)?)?.f_unsqueeze(1)?;
    let logits = cosine.f_scatter(1, &classes.along_classes()?, &right)?.f_mul_scalar(scale)?;
    let each = classes.pick(&logits.f_log_softmax(1, None::<Kind>)?)?.f_neg()?;
    classes.reduce(loss, each, weight, reduction)
}

/// ArcFace: cross entropy of cosines, with a margin added to the angle of the right class.
///
/// ```text
/// l = -log( e^(s φ(θ_y)) / (e^(s φ(θ_y)) + Σ_(c≠y) e^(s cos θ_c)) )    θ_c = angle of x and w_c
/// φ(θ) = cos(θ + m)         where θ <= π - m
///        cos θ - m sin m    beyond, so that it goes on falling
/// ```
///
/// The vectors w of the classes are learned: hand over a variable of your `VarStore`, and the optimiser
/// that trains the network trains it too.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight` | | w, one vector a class (C, D), of any lengths |
/// | `margin` | 0.5 | m in radians, in [0, π) |
/// | `scale` | 64 | s, above 0 |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: embeddings (N, D)
/// - target: integer (N) with values in [0, C)
/// - element weight: broadcastable to (N)
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the input, the target or a weight; an option out of its range; a class index
/// out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::{Device, Tensor, nn::{Init, VarStore}};
/// use tch_losses::{ArcFaceLoss, Loss};
///
/// let vs = VarStore::new(Device::Cpu);
/// let weight = vs.root().var("classes", &[3, 2], Init::Const(1.0));
/// let loss = ArcFaceLoss::new(&weight).margin(0.25).scale(2.0);
/// // At an angle of 0 from every class: cos 0.25 of the right one, 1 of the others.
/// let embeddings = Tensor::from_slice(&[4.0f64, 4.0]).view([1, 2]);
/// let value = loss.forward(&embeddings, &Tensor::from_slice(&[1i64])).double_value(&[]);
/// let right = (2.0 * 0.25f64.cos()).exp();
/// assert!((value + (right / (right + 2.0 * 2.0f64.exp())).ln()).abs() < 1e-6);
/// ```
///
/// # Differences
///
/// pytorch-metric-learning takes degrees, 28.6 by default, which is 0.4992: see
/// [`ArcFaceLoss::margin_degrees`]. It goes through arc cosines, whose gradient is infinite where an
/// embedding lies on its class; this goes through cos θ cos m - sin θ sin m.
///
/// # Reference
///
/// Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition". Follows
/// pytorch-metric-learning 2.9 `ArcFaceLoss`. See also [`CosFaceLoss`].
#[derive(Debug, Clone)]
pub struct ArcFaceLoss {
    weight: Kept,
    margin: f64,
    scale: f64,
    ignore_index: i64,
    reduction: Reduction,
}

impl ArcFaceLoss {
    const NAME: &'static str = "ArcFaceLoss";

    /// The loss of the vectors of the classes, (C, D).
    pub fn new(weight: &Tensor) -> Self {
        ArcFaceLoss {
            weight: Kept(weight.shallow_clone()),
            margin: 0.5,
            scale: 64.0,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }

    /// m in radians, in [0, π); 0.5 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// m in degrees.
    pub fn margin_degrees(self, degrees: f64) -> Self {
        self.margin(degrees.to_radians())
    }

    /// s, above 0; 64 by default.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
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

    pub(super) fn read(mut self, options: &Reader) -> Result<Self> {
        options.read("margin", &mut self.margin)?;
        options.read("scale", &mut self.scale)?;
        options.read("ignore_index", &mut self.ignore_index)?;
        options.read("reduction", &mut self.reduction)?;
        Ok(self)
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let ok = (0.0..std::f64::consts::PI).contains(&self.margin);
        check::param(Self::NAME, "margin", self.margin, ok, "in [0, π)")?;
        let (sin, cos) = self.margin.sin_cos();
        let options = (self.scale, self.ignore_index);
        let right = |cosine: &Tensor| -> Result<Tensor> {
            let sine = root(&cosine.f_square()?.f_rsub_scalar(1.0)?.f_clamp_min(0.0)?)?;
            let moved = cosine.f_mul_scalar(cos)?.f_sub(&sine.f_mul_scalar(sin)?)?;
            let beyond = cosine.f_sub_scalar(self.margin * sin)?;
            Ok(moved.f_where_self(&cosine.f_ge(-cos)?, &beyond)?)
        };
        of_cosines(
            Self::NAME,
            [input, target],
            &self.weight,
            options,
            weight,
            self.reduction,
            right,
        )
    }

    pub(crate) fn entries() -> Vec<Entry> {
        let entry = Entry::apart("arc_face", |options| {
            ArcFaceLoss::new(&Tensor::new()).read(options).map(drop)
        });
        vec![
            entry
                .of_type("ArcFaceLoss", module_path!())
                .follows("pytorch-metric-learning `ArcFaceLoss`"),
        ]
    }
}

weighted_loss!(ArcFaceLoss);

/// CosFace: cross entropy of cosines, with a margin taken from the cosine of the right class.
///
/// ```text
/// l = -log( e^(s (cos θ_y - m)) / (e^(s (cos θ_y - m)) + Σ_(c≠y) e^(s cos θ_c)) )
/// ```
///
/// θ_c is the angle of x and w_c. The vectors w of the classes are learned: hand over a variable of your
/// `VarStore`.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight` | | w, one vector a class (C, D), of any lengths |
/// | `margin` | 0.35 | m, at least 0 |
/// | `scale` | 64 | s, above 0 |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: embeddings (N, D)
/// - target: integer (N) with values in [0, C)
/// - element weight: broadcastable to (N)
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the input, the target or a weight; an option out of its range; a class index
/// out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CosFaceLoss, Loss};
///
/// let weight = Tensor::from_slice(&[1.0f64, 0.0, 0.0, 1.0]).view([2, 2]);
/// let loss = CosFaceLoss::new(&weight).margin(0.25).scale(2.0);
/// let embeddings = Tensor::from_slice(&[3.0f64, 4.0]).view([1, 2]);
/// let value = loss.forward(&embeddings, &Tensor::from_slice(&[1i64])).double_value(&[]);
/// let (right, wrong) = ((2.0 * (0.8 - 0.25f64)).exp(), (2.0 * 0.6f64).exp());
/// assert!((value + (right / (right + wrong)).ln()).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Wang et al. 2018, "CosFace: Large Margin Cosine Loss for Deep Face Recognition". Follows
/// pytorch-metric-learning 2.9 `CosFaceLoss`. See also [`ArcFaceLoss`].
#[derive(Debug, Clone)]
pub struct CosFaceLoss {
    weight: Kept,
    margin: f64,
    scale: f64,
    ignore_index: i64,
    reduction: Reduction,
}

impl CosFaceLoss {
    const NAME: &'static str = "CosFaceLoss";

    /// The loss of the vectors of the classes, (C, D).
    pub fn new(weight: &Tensor) -> Self {
        CosFaceLoss {
            weight: Kept(weight.shallow_clone()),
            margin: 0.35,
            scale: 64.0,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }

    /// m, at least 0; 0.35 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// s, above 0; 64 by default.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
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

    pub(super) fn read(mut self, options: &Reader) -> Result<Self> {
        options.read("margin", &mut self.margin)?;
        options.read("scale", &mut self.scale)?;
        options.read("ignore_index", &mut self.ignore_index)?;
        options.read("reduction", &mut self.reduction)?;
        Ok(self)
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        check::at_least_zero(Self::NAME, "margin", self.margin)?;
        let options = (self.scale, self.ignore_index);
        let right = |cosine: &Tensor| -> Result<Tensor> { Ok(cosine.f_sub_scalar(self.margin)?) };
        of_cosines(
            Self::NAME,
            [input, target],
            &self.weight,
            options,
            weight,
            self.reduction,
            right,
        )
    }

    pub(crate) fn entries() -> Vec<Entry> {
        let entry = Entry::apart("cos_face", |options| {
            CosFaceLoss::new(&Tensor::new()).read(options).map(drop)
        });
        vec![
            entry
                .of_type("CosFaceLoss", module_path!())
                .follows("pytorch-metric-learning `CosFaceLoss`"),
        ]
    }
}

weighted_loss!(CosFaceLoss);
