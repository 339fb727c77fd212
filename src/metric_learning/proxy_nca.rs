//! Proxy-NCA: a learned proxy for each class.

use super::pairs::{class_vectors, unit};
use crate::{
    Reduction, Result, check,
    classification::Classes,
    loss::{Entry, Reader, weighted_loss},
    reduce::Kept,
};
use tch::{Kind, Tensor};

/// Proxy-NCA: an embedding should be nearer to the proxy of its class than to those of the others.
///
/// ```text
/// l = -log( e^(-s ‖x - p_y‖²) / Σ_c e^(-s ‖x - p_c‖²) )
/// ```
///
/// The proxies are learned: hand over a variable of your `VarStore`.
///
/// | option | default | `paper()` | meaning |
/// |---|---|---|---|
/// | `proxies` | | | p, one a class (C, D) |
/// | `softmax_scale` | 1 | 1 | s, above 0 |
/// | `normalize` | true | true | embeddings and proxies of length 1 |
/// | `exclude_positive` | false | true | whether the sum leaves out y; then the loss may be below 0 |
/// | `ignore_index` | -100 | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | `Mean` | |
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
/// Shape, kind or device of the input, the target, the proxies or a weight; `softmax_scale` not above 0;
/// `exclude_positive` with one class; a class index out of range (on CUDA libtorch asserts on the device
/// instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, ProxyNcaLoss};
///
/// let proxies = Tensor::from_slice(&[1.0f64, 0.0, 0.0, 1.0]).view([2, 2]);
/// let embeddings = Tensor::from_slice(&[5.0f64, 0.0]).view([1, 2]);
/// let value = |loss: ProxyNcaLoss| {
///     loss.forward(&embeddings, &Tensor::from_slice(&[0i64])).double_value(&[])
/// };
/// assert!((value(ProxyNcaLoss::new(&proxies)) - (1.0 + (-2.0f64).exp()).ln()).abs() < 1e-12);
/// assert!((value(ProxyNcaLoss::paper(&proxies)) + 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// The paper's sum is over the proxies of the other classes, pytorch-metric-learning's over all.
///
/// # Reference
///
/// Movshovitz-Attias et al. 2017, "No Fuss Distance Metric Learning using Proxies". Follows
/// pytorch-metric-learning 2.9 `ProxyNCALoss`.
#[derive(Debug, Clone)]
pub struct ProxyNcaLoss {
    proxies: Kept,
    softmax_scale: f64,
    normalize: bool,
    exclude_positive: bool,
    ignore_index: i64,
    reduction: Reduction,
}

impl ProxyNcaLoss {
    /// The loss of the proxies of the classes, (C, D).
    pub fn new(proxies: &Tensor) -> Self {
        ProxyNcaLoss {
            proxies: Kept(proxies.shallow_clone()),
            softmax_scale: 1.0,
            normalize: true,
            exclude_positive: false,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }

    /// As the paper: the sum is over the other classes.
    pub fn paper(proxies: &Tensor) -> Self {
        ProxyNcaLoss::new(proxies).exclude_positive(true)
    }

    /// s, above 0; 1 by default.
    pub fn softmax_scale(mut self, softmax_scale: f64) -> Self {
        self.softmax_scale = softmax_scale;
        self
    }

    /// Whether embeddings and proxies are made of length 1; true by default.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// Whether the sum leaves out the right class.
    pub fn exclude_positive(mut self, exclude_positive: bool) -> Self {
        self.exclude_positive = exclude_positive;
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
        options.read("softmax_scale", &mut self.softmax_scale)?;
        options.read("normalize", &mut self.normalize)?;
        options.read("exclude_positive", &mut self.exclude_positive)?;
        options.read("ignore_index", &mut self.ignore_index)?;
        options.read("reduction", &mut self.reduction)?;
        Ok(self)
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "ProxyNcaLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "softmax_scale", self.softmax_scale)?;
        let mut embeddings = check::accumulated(NAME, "input", input)?;
        let mut proxies = class_vectors(NAME, "proxies", &self.proxies.0, &embeddings)?;
        let enough = !self.exclude_positive || proxies.size()[0] > 1;
        let expected = "[C, D] with C at least 2, for exclude_positive";
        check::shape_is(NAME, "proxies", &proxies, enough, expected)?;
        if self.normalize {
            (embeddings, proxies) = (unit(&embeddings)?, unit(&proxies)?);
        }
        // ‖x‖² is the same for each proxy, and does not change the quotient.
        let squares =
            proxies.f_mul(&proxies)?.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
        let logits = embeddings
            .f_matmul(&proxies.f_transpose(0, 1)?)?
            .f_mul_scalar(2.0)?
            .f_sub(&squares)?
            .f_mul_scalar(self.softmax_scale)?;
        let classes = Classes::new(NAME, &logits, target, self.ignore_index)?;
        let right = classes.pick(&logits)?;
        let sum = match self.exclude_positive {
            true => classes.put(&logits, f64::NEG_INFINITY)?,
            false => logits,
        };
        let each = sum.f_logsumexp([1i64].as_slice(), false)?.f_sub(&right)?;
        classes.reduce(NAME, each, weight, self.reduction)
    }

    pub(crate) fn entries() -> Vec<Entry> {
        let entry = Entry::apart("proxy_nca", |options| {
            ProxyNcaLoss::new(&Tensor::new()).read(options).map(drop)
        });
        vec![
            entry
                .of_type("ProxyNcaLoss", module_path!())
                .follows("pytorch-metric-learning `ProxyNCALoss`"),
        ]
    }
}

weighted_loss!(ProxyNcaLoss);
