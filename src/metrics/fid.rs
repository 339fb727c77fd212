//! Fréchet distance of images that arrive batch by batch.

use super::FeatureStatistics;
use crate::{LossError, Result, check, error::unwrap, perceptual::FeatureExtractor};
use std::fmt;
use tch::{Kind, Tensor, no_grad};

const NAME: &str = "Fid";

/// The Fréchet distance of real and generated images (FID) by the features of a network.
///
/// ```text
/// ‖μ₁ - μ₂‖² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁ Σ₂)^½
/// ```
///
/// Maps count by their means over the pixels. Memory does not grow with the number of images.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::{metrics::Fid, perceptual::FnExtractor};
///
/// // The mean colour as the features; `FidInception` for those that everybody uses.
/// let colours = FnExtractor::new("colours", |x: &Tensor| Ok(vec![x.shallow_clone()]));
/// let mut fid = Fid::new(colours, "mean colours");
/// let batch = Tensor::rand([8, 3, 4, 4], (Kind::Float, Device::Cpu));
/// fid.add_real(&batch);
/// fid.add_generated(&(batch + 0.5));
/// let found = fid.result();
/// assert!((found.distance - 3.0 * 0.25).abs() < 1e-5);
/// assert!(found.to_string().ends_with("8 real and 8 generated images, 3 features: mean colours"));
/// ```
///
/// # Reference
///
/// Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule". Follows pytorch-fid 0.3; see
/// [`FeatureStatistics`] for the differences.
#[derive(Debug)]
pub struct Fid {
    extractor: Box<dyn FeatureExtractor>,
    protocol: String,
    real: Option<FeatureStatistics>,
    generated: Option<FeatureStatistics>,
}

/// A distance, and what has to be said with it.
#[derive(Debug, Clone, PartialEq)]
pub struct FidResult {
    /// The distance.
    pub distance: f64,
    /// The number of real images; 0 where loaded statistics do not say it.
    pub real: i64,
    /// The number of generated images; 0 where loaded statistics do not say it.
    pub generated: i64,
    /// The number of features.
    pub dims: i64,
    /// Network, resizing and range of the values.
    pub protocol: String,
}

impl fmt::Display for FidResult {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let count = |n: i64| if n > 0 { n.to_string() } else { "unknown many".to_owned() };
        let (real, generated) = (count(self.real), count(self.generated));
        write!(
            f,
            "FID {:.4} of {real} real and {generated} generated images, {} features: {}",
            self.distance, self.dims, self.protocol
        )
    }
}

impl Fid {
    /// No images yet. `protocol` says which features these are
    /// ([`FidInception::protocol`](super::FidInception::protocol)).
    pub fn new(extractor: impl FeatureExtractor + 'static, protocol: impl Into<String>) -> Self {
        Fid {
            extractor: Box::new(extractor),
            protocol: protocol.into(),
            real: None,
            generated: None,
        }
    }

    /// Statistics of the real images, of an earlier run or from a file; in place of what was added.
    pub fn with_real(mut self, statistics: FeatureStatistics) -> Self {
        self.real = Some(statistics);
        self
    }

    /// Statistics of the generated images; in place of what was added.
    pub fn with_generated(mut self, statistics: FeatureStatistics) -> Self {
        self.generated = Some(statistics);
        self
    }

    /// Adds real images, as the extractor takes them.
    ///
    /// # Errors
    ///
    /// Those of the extractor; more or fewer than one layer of features; features that are not
    /// finite.
    pub fn f_add_real(&mut self, images: &Tensor) -> Result<()> {
        let vectors = self.vectors(images)?;
        add(&mut self.real, &vectors)
    }

    /// [`Fid::f_add_real`], or a panic with its error.
    #[track_caller]
    pub fn add_real(&mut self, images: &Tensor) {
        unwrap(self.f_add_real(images));
    }

    /// Adds generated images, as the extractor takes them.
    ///
    /// # Errors
    ///
    /// As [`Fid::f_add_real`].
    pub fn f_add_generated(&mut self, images: &Tensor) -> Result<()> {
        let vectors = self.vectors(images)?;
        add(&mut self.generated, &vectors)
    }

    /// [`Fid::f_add_generated`], or a panic with its error.
    #[track_caller]
    pub fn add_generated(&mut self, images: &Tensor) {
        unwrap(self.f_add_generated(images));
    }

    /// Statistics of the real images so far.
    pub fn real(&self) -> Option<&FeatureStatistics> {
        self.real.as_ref()
    }

    /// Statistics of the generated images so far.
    pub fn generated(&self) -> Option<&FeatureStatistics> {
        self.generated.as_ref()
    }

    /// The distance of what was added.
    ///
    /// # Errors
    ///
    /// Fewer than two images on a side; loaded statistics of other dimensions.
    pub fn f_result(&self) -> Result<FidResult> {
        let (Some(real), Some(generated)) = (&self.real, &self.generated) else {
            let message = "a distance needs real and generated images";
            return Err(LossError::Unsupported { loss: NAME, message });
        };
        Ok(FidResult {
            distance: real.f_frechet_distance(generated)?,
            real: real.count(),
            generated: generated.count(),
            dims: real.f_mean()?.size()[0],
            protocol: self.protocol.clone(),
        })
    }

    /// [`Fid::f_result`], or a panic with its error.
    #[track_caller]
    pub fn result(&self) -> FidResult {
        unwrap(self.f_result())
    }

    /// The features of each image, (N, D).
    fn vectors(&self, images: &Tensor) -> Result<Tensor> {
        let maps = no_grad(|| self.extractor.f_features(images))?;
        let [map] = &maps[..] else {
            return Err(LossError::Param {
                loss: NAME,
                option: "extractor",
                expected: "of one layer",
                got: format!("{} layers", maps.len()),
            });
        };
        check::shape_is(NAME, "features", map, map.dim() >= 2, "[N, D, ..]")?;
        match map.dim() {
            2 => Ok(map.shallow_clone()),
            _ => Ok(map.f_flatten(2, -1)?.f_mean_dim([2i64].as_slice(), false, None::<Kind>)?),
        }
    }
}

fn add(statistics: &mut Option<FeatureStatistics>, vectors: &Tensor) -> Result<()> {
    let dims = vectors.size()[1];
    statistics.get_or_insert_with(|| FeatureStatistics::new(dims)).f_add(vectors)
}
