//! Statistics of features, and the Fréchet distance of two sets of them (FID).

use crate::{LossError, Result, check, error::unwrap};
use std::path::Path;
use tch::{Device, Kind, Tensor, no_grad};

const NAME: &str = "FeatureStatistics";

/// Mean and covariance of features that arrive batch by batch, in Double.
///
/// The covariance is kept as a factor, `Rᵀ R = Σ (x - μ)(x - μ)ᵀ`, which loses nothing where the
/// mean is large beside the deviations, and is exact for fewer samples than dimensions. Memory does
/// not grow with the number of samples: it is that of four D x D matrices at most.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::metrics::FeatureStatistics;
///
/// let features = Tensor::randn([500, 8], (Kind::Float, Device::Cpu));
/// let mut real = FeatureStatistics::new(8);
/// for batch in features.split(100, 0) {
///     real.add(&batch);
/// }
/// let mut moved = FeatureStatistics::new(8);
/// moved.add(&(&features + 2.0));
/// // The same covariance, and means that are 2 apart in each of 8 dimensions.
/// assert!((real.frechet_distance(&moved) - 32.0).abs() < 1e-4);
/// assert!(real.frechet_distance(&real).abs() < 1e-9);
/// ```
///
/// # Differences
///
/// pytorch-fid and torch-fidelity take the square root of `Σ₁ Σ₂`, which is off by some 1e-3 for
/// fewer samples than dimensions, and of equal sets not 0; torchmetrics adds up outer products.
///
/// # Reference
///
/// Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule". Saved statistics are those
/// of pytorch-fid 0.3.
#[derive(Debug)]
pub struct FeatureStatistics {
    /// 0 where it is not known: statistics of others' making.
    count: i64,
    mean: Tensor,
    /// (rows, D) with Rᵀ R the scatter; the covariance where the count is not known.
    factor: Tensor,
    pending: Vec<Tensor>,
    pending_rows: i64,
}

impl FeatureStatistics {
    /// No samples yet, of `dims` dimensions.
    pub fn new(dims: i64) -> Self {
        let none = |size: &[i64]| Tensor::zeros(size, (Kind::Double, Device::Cpu));
        FeatureStatistics {
            count: 0,
            mean: none(&[dims.max(0)]),
            factor: none(&[0, dims.max(0)]),
            pending: Vec::new(),
            pending_rows: 0,
        }
    }

    fn dims(&self) -> i64 {
        self.mean.size()[0]
    }

    /// The number of samples; 0 for statistics that were loaded without it.
    pub fn count(&self) -> i64 {
        self.count + self.pending_rows
    }

    /// Adds features (N, D) of any floating-point kind and on any device.
    ///
    /// # Errors
    ///
    /// Another shape or kind; features that are not finite; statistics whose number of samples is
    /// not known.
    pub fn f_add(&mut self, features: &Tensor) -> Result<()> {
        let dims = self.dims();
        let ok = matches!(features.size().as_slice(), &[_, d] if d == dims);
        check::shape_is(NAME, "features", features, ok, &format!("[N, {dims}]"))?;
        self.known()?;
        let kind = features.f_kind()?;
        if !check::is_float(kind) {
            let (what, expected) = ("features", "floating-point");
            return Err(LossError::Kind { loss: NAME, what, expected, got: kind });
        }
        let rows = features.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?;
        if rows.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            let message = "features must be finite, and some are not";
            return Err(LossError::Unsupported { loss: NAME, message });
        }
        self.pending_rows += rows.size()[0];
        self.pending.push(rows);
        // One factorisation for as many rows as there are dimensions costs least.
        if self.pending_rows >= dims { self.settle() } else { Ok(()) }
    }

    /// [`FeatureStatistics::f_add`], or a panic with its error.
    #[track_caller]
    pub fn add(&mut self, features: &Tensor) {
        unwrap(self.f_add(features));
    }

    fn known(&self) -> Result<()> {
        if self.count == 0 && self.factor.size()[0] > 0 {
            let message = "the loaded statistics do not say of how many samples they are";
            return Err(LossError::Unsupported { loss: NAME, message });
        }
        Ok(())
    }

    /// Takes the pending rows into mean and factor.
    fn settle(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = Tensor::f_cat(&self.pending, 0)?;
        let mean = rows.f_mean_dim([0i64].as_slice(), false, Kind::Double)?;
        let centred = rows.f_sub(&mean)?;
        let other = (self.pending_rows, mean, centred);
        self.pending.clear();
        self.pending_rows = 0;
        self.merge(other)
    }

    /// Adds `count` samples of that mean and factor.
    fn merge(&mut self, (count, mean, factor): (i64, Tensor, Tensor)) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let total = self.count + count;
        let gap = mean.f_sub(&self.mean)?;
        let between = (self.count as f64 * count as f64 / total as f64).sqrt();
        let gap_row = gap.f_mul_scalar(between)?.f_unsqueeze(0)?;
        let stacked = Tensor::f_cat(&[&self.factor, &factor, &gap_row], 0)?;
        self.factor = match stacked.size()[0] > self.dims() {
            true => Tensor::f_linalg_qr(&stacked, "r")?.1,
            false => stacked,
        };
        self.mean = self.mean.f_add(&gap.f_mul_scalar(count as f64 / total as f64)?)?;
        self.count = total;
        Ok(())
    }

    /// Settled copies of count, mean and factor.
    fn settled(&self) -> Result<FeatureStatistics> {
        let mut settled = FeatureStatistics {
            count: self.count,
            mean: self.mean.shallow_clone(),
            factor: self.factor.shallow_clone(),
            pending: self.pending.iter().map(Tensor::shallow_clone).collect(),
            pending_rows: self.pending_rows,
        };
        settled.settle()?;
        Ok(settled)
    }

    /// Adds the samples of `other`.
    ///
    /// # Errors
    ///
    /// Another number of dimensions; statistics whose number of samples is not known.
    pub fn f_merge(&mut self, other: &FeatureStatistics) -> Result<()> {
        check::shape(NAME, "the other's mean", &other.mean, &self.mean.size())?;
        self.known()?;
        other.known()?;
        self.settle()?;
        let other = other.settled()?;
        self.merge((other.count, other.mean, other.factor))
    }

    /// A with `Aᵀ A` the covariance, and the mean.
    fn covariance_factor(&self) -> Result<(Tensor, Tensor)> {
        let settled = self.settled()?;
        let factor = match settled.count {
            0 if settled.factor.size()[0] > 0 => settled.factor,
            0 | 1 => {
                let message = "a covariance needs at least two samples";
                return Err(LossError::Unsupported { loss: NAME, message });
            }
            count => settled.factor.f_div_scalar(((count - 1) as f64).sqrt())?,
        };
        Ok((factor, settled.mean))
    }

    /// The mean (D), in Double on the CPU.
    pub fn f_mean(&self) -> Result<Tensor> {
        Ok(self.settled()?.mean)
    }

    /// The unbiased covariance (D, D), in Double on the CPU.
    ///
    /// # Errors
    ///
    /// Fewer than two samples.
    pub fn f_covariance(&self) -> Result<Tensor> {
        let (factor, _) = self.covariance_factor()?;
        Ok(factor.f_transpose(0, 1)?.f_matmul(&factor)?)
    }

    /// The Fréchet distance of the normal distributions with these means and covariances.
    ///
    /// ```text
    /// ‖μ₁ - μ₂‖² + tr Σ₁ + tr Σ₂ - 2 ‖A₁ A₂ᵀ‖_*,   Aᵀ A = Σ
    /// ```
    ///
    /// The nuclear norm is `tr (Σ₁ Σ₂)^½`, also for singular covariances.
    ///
    /// # Errors
    ///
    /// Other dimensions, or fewer than two samples in one of them.
    pub fn f_frechet_distance(&self, other: &FeatureStatistics) -> Result<f64> {
        check::shape(NAME, "the other's mean", &other.mean, &self.mean.size())?;
        no_grad(|| {
            let ((a, mean_a), (b, mean_b)) =
                (self.covariance_factor()?, other.covariance_factor()?);
            let (_, singular, _) = a.f_matmul(&b.f_transpose(0, 1)?)?.f_svd(true, false)?;
            let of = |t: &Tensor| -> Result<f64> {
                Ok(t.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])?)
            };
            let cross = singular.f_sum(Kind::Double)?.f_double_value(&[])?;
            Ok(of(&mean_a.f_sub(&mean_b)?)? + of(&a)? + of(&b)? - 2.0 * cross)
        })
    }

    /// [`FeatureStatistics::f_frechet_distance`], or a panic with its error.
    #[track_caller]
    pub fn frechet_distance(&self, other: &FeatureStatistics) -> f64 {
        unwrap(self.f_frechet_distance(other))
    }

    /// Writes `mu` and `sigma` as pytorch-fid does, and the number of samples `n`.
    ///
    /// # Errors
    ///
    /// Fewer than two samples; a file that cannot be written.
    pub fn f_save(&self, path: impl AsRef<Path>) -> Result<()> {
        let count = Tensor::f_from_slice(&[self.count()])?;
        let arrays = [("mu", self.f_mean()?), ("sigma", self.f_covariance()?), ("n", count)];
        let path = path.as_ref();
        Tensor::write_npz(&arrays, path).map_err(|error| at(path, &error.to_string()))
    }

    /// Reads an .npz of `mu` and `sigma`, of ours or of pytorch-fid.
    ///
    /// # Errors
    ///
    /// A file that is not there or holds something else.
    pub fn f_load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let arrays = Tensor::read_npz(path).map_err(|error| at(path, &error.to_string()))?;
        let find = |name: &str| arrays.iter().find(|(key, _)| key == name).map(|(_, array)| array);
        let (Some(mean), Some(covariance)) = (find("mu"), find("sigma")) else {
            return Err(at(path, "it holds no arrays `mu` and `sigma`"));
        };
        let dims = mean.size().first().copied().unwrap_or(0);
        check::shape(NAME, "mu", mean, &[dims])?;
        check::shape(NAME, "sigma", covariance, &[dims, dims])?;
        let covariance = covariance.f_to_kind(Kind::Double)?;
        let (values, vectors) = covariance.f_linalg_eigh("L")?;
        // What rounding makes of a zero has a root that is none.
        let noise = values.f_max()?.f_double_value(&[])?.max(0.0) * dims as f64 * f64::EPSILON;
        let values = values.f_threshold(noise, 0.0)?;
        let count = find("n").and_then(|n| n.f_int64_value(&[0]).ok()).unwrap_or(0);
        let scatter = if count > 1 { (count - 1) as f64 } else { 1.0 };
        let roots = values.f_mul_scalar(scatter)?.f_sqrt()?.f_unsqueeze(1)?;
        Ok(FeatureStatistics {
            count,
            mean: mean.f_to_kind(Kind::Double)?,
            factor: vectors.f_transpose(0, 1)?.f_mul(&roots)?,
            pending: Vec::new(),
            pending_rows: 0,
        })
    }
}

/// An error about a file.
fn at(path: &Path, message: &str) -> LossError {
    LossError::Other(format!("{NAME}: {}: {message}", path.display()).into())
}
