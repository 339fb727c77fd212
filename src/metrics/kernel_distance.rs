//! Kernel distance of two sets of features (KID).

use super::features;
use crate::{Result, check, error::unwrap};
use tch::{Kind, Tensor};

const NAME: &str = "kernel_distance";

/// How [`f_kernel_distance`] compares.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `degree` | 3 | of the polynomial |
/// | `gamma` | 1/D | factor on the inner product |
/// | `coef0` | 1 | added to it |
/// | `subsets` | 100 | how often a subset of each set is drawn |
/// | `subset_size` | 1000 | their size, or that of the smaller set if that is less |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelDistanceOptions {
    degree: f64,
    gamma: Option<f64>,
    coef0: f64,
    subsets: usize,
    subset_size: i64,
}

impl Default for KernelDistanceOptions {
    fn default() -> Self {
        KernelDistanceOptions {
            degree: 3.0,
            gamma: None,
            coef0: 1.0,
            subsets: 100,
            subset_size: 1000,
        }
    }
}

impl KernelDistanceOptions {
    /// The degree of the polynomial; 3 by default.
    pub fn degree(mut self, degree: f64) -> Self {
        self.degree = degree;
        self
    }

    /// The factor on the inner product; 1/D by default.
    pub fn gamma(mut self, gamma: impl Into<Option<f64>>) -> Self {
        self.gamma = gamma.into();
        self
    }

    /// What is added to the inner product; 1 by default.
    pub fn coef0(mut self, coef0: f64) -> Self {
        self.coef0 = coef0;
        self
    }

    /// How many subsets are drawn; 100 by default.
    pub fn subsets(mut self, subsets: usize) -> Self {
        self.subsets = subsets;
        self
    }

    /// The size of a subset; 1000 by default.
    pub fn subset_size(mut self, subset_size: i64) -> Self {
        self.subset_size = subset_size;
        self
    }
}

/// Mean and standard deviation over the subsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelDistance {
    /// Mean of the squared distances; unbiased, so that it can be below 0.
    pub mean: f64,
    /// Their standard deviation, that of a population.
    pub std: f64,
}

/// The unbiased squared maximum mean discrepancy of two sets under a polynomial kernel.
///
/// ```text
/// Σ_{i≠j} k(x_i, x_j) / (N (N-1)) + Σ_{i≠j} k(y_i, y_j) / (M (M-1)) - 2 Σ_ij k(x_i, y_j) / (N M)
/// k(x, y) = (γ x·y + c)^degree
/// ```
///
/// # Shapes
///
/// `real` (N, D) and `generated` (M, D), floating-point, N and M at least 2; computed in Double.
///
/// # Errors
///
/// Shape or kind.
pub fn f_polynomial_mmd(
    real: &Tensor,
    generated: &Tensor,
    options: KernelDistanceOptions,
) -> Result<f64> {
    let (x, y) = features(NAME, real, generated, 2)?;
    let gamma = options.gamma.unwrap_or(1.0 / x.size()[1].max(1) as f64);
    let kernel = |a: &Tensor, b: &Tensor| -> Result<Tensor> {
        let inner = a.f_matmul(&b.f_transpose(0, 1)?)?;
        Ok(inner
            .f_mul_scalar(gamma)?
            .f_add_scalar(options.coef0)?
            .f_pow_tensor_scalar(options.degree)?)
    };
    let number = |t: Tensor| -> Result<f64> { Ok(t.f_double_value(&[])?) };
    let within = |a: &Tensor| -> Result<f64> {
        let all = kernel(a, a)?;
        let others = number(all.f_sum(Kind::Double)?)? - number(all.f_trace()?)?;
        let count = a.size()[0] as f64;
        Ok(others / (count * (count - 1.0)))
    };
    let between = number(kernel(&x, &y)?.f_mean(Kind::Double)?)?;
    Ok(within(&x)? + within(&y)? - 2.0 * between)
}

/// [`f_polynomial_mmd`], or a panic with its error.
#[track_caller]
pub fn polynomial_mmd(real: &Tensor, generated: &Tensor, options: KernelDistanceOptions) -> f64 {
    unwrap(f_polynomial_mmd(real, generated, options))
}

/// Kernel distance (KID): [`f_polynomial_mmd`] of random subsets.
///
/// The subsets are drawn with tch's random numbers, without replacement within a subset.
///
/// # Shapes
///
/// `real` (N, D) and `generated` (M, D), floating-point, N and M at least 2; computed in Double.
///
/// # Errors
///
/// Shape or kind; no subsets, or subsets of fewer than two samples.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::metrics::{KernelDistanceOptions, kernel_distance};
///
/// let draw = || Tensor::randn([400, 6], (Kind::Float, Device::Cpu));
/// let options = KernelDistanceOptions::default().subsets(20).subset_size(200);
/// let near = kernel_distance(&draw(), &draw(), options).mean;
/// let far = kernel_distance(&draw(), &(draw() + 1.0), options).mean;
/// assert!(near.abs() < 0.1 && far > 1.0);
/// ```
///
/// # Differences
///
/// torch-fidelity draws with a seed of its own, 2020, and refuses fewer samples than
/// `subset_size`; clean-fid takes what there is, as here.
///
/// # Reference
///
/// Bińkowski et al. 2018, "Demystifying MMD GANs". Follows torch-fidelity 0.4.
pub fn f_kernel_distance(
    real: &Tensor,
    generated: &Tensor,
    options: KernelDistanceOptions,
) -> Result<KernelDistance> {
    let (real, generated) = features(NAME, real, generated, 2)?;
    check::param(NAME, "subsets", options.subsets as f64, options.subsets > 0, "at least 1")?;
    let size = options.subset_size;
    check::param(NAME, "subset_size", size as f64, size >= 2, "at least 2")?;
    let size = size.min(real.size()[0]).min(generated.size()[0]);
    let subset = |of: &Tensor| -> Result<Tensor> {
        let order = Tensor::f_randperm(of.size()[0], (Kind::Int64, of.device()))?;
        Ok(of.f_index_select(0, &order.f_narrow(0, 0, size)?)?)
    };
    let distances = (0..options.subsets)
        .map(|_| f_polynomial_mmd(&subset(&real)?, &subset(&generated)?, options))
        .collect::<Result<Vec<f64>>>()?;
    let count = distances.len() as f64;
    let mean = distances.iter().sum::<f64>() / count;
    let variance = distances.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / count;
    Ok(KernelDistance { mean, std: variance.sqrt() })
}

/// [`f_kernel_distance`], or a panic with its error.
#[track_caller]
pub fn kernel_distance(
    real: &Tensor,
    generated: &Tensor,
    options: KernelDistanceOptions,
) -> KernelDistance {
    unwrap(f_kernel_distance(real, generated, options))
}
