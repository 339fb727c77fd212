//! Precision, recall, density and coverage of generated features.

use super::features;
use crate::{LossError, Result, error::unwrap};
use tch::{Kind, Tensor};

/// What [`manifold_metrics`] returns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ManifoldMetrics {
    /// The share of generated samples inside a ball of a real one: how real they are.
    pub precision: f64,
    /// The share of real samples inside a ball of a generated one: how much is covered.
    pub recall: f64,
    /// How many real balls a generated sample is inside, by k.
    pub density: f64,
    /// The share of real samples whose ball holds a generated one.
    pub coverage: f64,
}

/// Precision, recall, density and coverage by balls that reach to the k-th nearest neighbour.
///
/// ```text
/// r(x) = distance from x to its k-th nearest other sample of its own set
/// precision = mean_j [some i: ‖y_j - x_i‖ < r(x_i)]     recall = mean_i [some j: ‖x_i - y_j‖ < r(y_j)]
/// density = mean_j Σ_i [‖y_j - x_i‖ < r(x_i)] / k       coverage = mean_i [min_j ‖x_i - y_j‖ < r(x_i)]
/// ```
///
/// Distances are computed exactly, 1024 rows at a time: memory grows with the number of samples,
/// not with its square.
///
/// # Shapes
///
/// `real` (N, D) and `generated` (M, D), floating-point; computed in Double.
///
/// # Errors
///
/// Shape or kind; `k` below 1, or not below N and M.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::metrics::manifold_metrics;
///
/// let real = Tensor::randn([300, 3], (Kind::Float, Device::Cpu));
/// // One sample again and again: real, but little of it.
/// let one = real.narrow(0, 0, 1) + Tensor::randn([300, 3], (Kind::Float, Device::Cpu)) * 1e-3;
/// let found = manifold_metrics(&real, &one, 5);
/// assert!(found.precision > 0.99 && found.recall < 0.05 && found.coverage < 0.1);
/// ```
///
/// # Differences
///
/// torch-fidelity has k = 3 and counts a sample at the very edge of a ball as inside; prdc and piq
/// have k = 5.
///
/// # Reference
///
/// Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative
/// Models"; Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models".
pub fn f_manifold_metrics(real: &Tensor, generated: &Tensor, k: i64) -> Result<ManifoldMetrics> {
    const NAME: &str = "manifold_metrics";
    let (real, generated) = features(NAME, real, generated, 2)?;
    if k < 1 || k >= real.size()[0] || k >= generated.size()[0] {
        return Err(LossError::Param {
            loss: NAME,
            option: "k",
            expected: "at least 1 and below the number of samples of each set",
            got: k.to_string(),
        });
    }
    let (of_real, of_generated) = (radii(&real, k)?, radii(&generated, k)?);
    let (mut precision, mut density) = (0.0, 0.0);
    for rows in generated.f_split(ROWS, 0)? {
        let inside = distances(&rows, &real)?.f_lt_tensor(&of_real)?;
        density += count(&inside)?;
        precision += count(&inside.f_any_dim(1, false)?)?;
    }
    let (mut recall, mut coverage, mut first) = (0.0, 0.0, 0);
    for rows in real.f_split(ROWS, 0)? {
        let far = distances(&rows, &generated)?;
        recall += count(&far.f_lt_tensor(&of_generated)?.f_any_dim(1, false)?)?;
        let own = of_real.f_narrow(0, first, rows.size()[0])?;
        coverage += count(&far.f_amin([1i64].as_slice(), false)?.f_lt_tensor(&own)?)?;
        first += rows.size()[0];
    }
    let (n, m) = (real.size()[0] as f64, generated.size()[0] as f64);
    Ok(ManifoldMetrics {
        precision: precision / m,
        recall: recall / n,
        density: density / (k as f64 * m),
        coverage: coverage / n,
    })
}

/// [`f_manifold_metrics`], or a panic with its error.
#[track_caller]
pub fn manifold_metrics(real: &Tensor, generated: &Tensor, k: i64) -> ManifoldMetrics {
    unwrap(f_manifold_metrics(real, generated, k))
}

const ROWS: i64 = 1024;
/// libtorch's number of the way that subtracts, which is exact, rather than multiplies matrices.
const EXACT: i64 = 2;

fn distances(rows: &Tensor, others: &Tensor) -> Result<Tensor> {
    Ok(Tensor::f_cdist(rows, others, 2.0, EXACT)?)
}

/// The distance of each sample to its k-th nearest other one.
fn radii(samples: &Tensor, k: i64) -> Result<Tensor> {
    let of_rows = samples.f_split(ROWS, 0)?.into_iter().map(|rows| -> Result<Tensor> {
        // The nearest is the sample itself.
        Ok(distances(&rows, samples)?.f_kthvalue(k + 1, 1, false)?.0)
    });
    Ok(Tensor::f_cat(&of_rows.collect::<Result<Vec<_>>>()?, 0)?)
}

fn count(yes: &Tensor) -> Result<f64> {
    Ok(yes.f_sum(Kind::Double)?.f_double_value(&[])?)
}
