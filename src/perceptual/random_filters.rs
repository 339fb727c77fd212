//! Random filters of several sizes, where there is no trained network.

use super::extractor::{FeatureExtractor, ImageRange, images, kernel};
use crate::{LossError, Result, random::split_mix};
use std::cell::RefCell;
use tch::Tensor;

const NAME: &str = "RandomFilters";
/// The size from which a product of spectra is faster than a convolution.
const WIDE: i64 = 15;

/// One layer of random filters of several sizes, each followed by a ReLU: features without weights.
///
/// ```text
/// φ_k = relu(w_k ∗ x),   w_k uniform in ±√2 / k: (channels, 3, k, k), for each k of the sizes
/// ```
///
/// Gram matrices of such maps say enough of a stationary texture for [`StyleLoss`](super::StyleLoss) to
/// make gravel, grass or bricks of noise with nothing to download. They know nothing of things: for the
/// content of a picture, take a trained [`Vgg`](super::Vgg).
///
/// | option | default | meaning |
/// |---|---|---|
/// | `sizes` | 3, 5, 7, 11, 15, 23, 37, 55 | k, the sides of the filters: odd, each once, rising; a map for each |
/// | `channels` | 32 | filters of each size; 128 in the paper |
/// | `seed` | 0 | of the filters |
/// | `range` | `Unit` | what the values of the images mean |
///
/// A seed gives the same filters on every machine and device, whatever tch's own generator did, and
/// those of a size do not depend on the other sizes. They are made with the first images and kept.
///
/// # Shapes
///
/// Images (N, 3, H, W), both sides above half of the greatest size, for the images continue by
/// reflection; each map (N, channels, H, W). `Half` and `BFloat16` images are computed in `Float`.
///
/// # Errors
///
/// Shape or kind of the images; `sizes` that are even, come twice or fall; no size; no channel.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::Loss;
/// use tch_losses::perceptual::{FeatureExtractor, RandomFilters, StyleLoss};
///
/// let filters = RandomFilters::default().sizes([3, 5, 11]).channels(16).seed(7);
/// let picture = Tensor::rand([1, 3, 24, 32], (Kind::Float, Device::Cpu));
/// let maps = filters.f_features(&picture)?;
/// assert_eq!((maps.len(), maps[2].size()), (3, vec![1, 16, 24, 32]));
/// // The same texture, elsewhere.
/// let style = StyleLoss::new(filters);
/// assert!(style.forward(&picture.flip([3]), &picture).double_value(&[]) < style.forward(&(&picture * 0.5), &picture).double_value(&[]));
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Reference
///
/// Ustyuzhaninov et al. 2016, "Texture Synthesis Using Shallow Convolutional Networks with Random
/// Filters", the multi-scale model.
#[derive(Debug)]
pub struct RandomFilters {
    sizes: Vec<i64>,
    channels: i64,
    seed: u64,
    range: ImageRange,
    /// In the kind and on the device of the last images.
    made: RefCell<Vec<Tensor>>,
}

impl Default for RandomFilters {
    fn default() -> Self {
        RandomFilters {
            sizes: vec![3, 5, 7, 11, 15, 23, 37, 55],
            channels: 32,
            seed: 0,
            range: ImageRange::Unit,
            made: RefCell::default(),
        }
    }
}

impl RandomFilters {
    /// The sides of the filters, odd and rising; 3 to 55 by default.
    pub fn sizes(self, sizes: impl Into<Vec<i64>>) -> Self {
        RandomFilters { sizes: sizes.into(), made: RefCell::default(), ..self }
    }

    /// Filters of each size; 32 by default.
    pub fn channels(self, channels: i64) -> Self {
        RandomFilters { channels, made: RefCell::default(), ..self }
    }

    /// 0 by default.
    pub fn seed(self, seed: u64) -> Self {
        RandomFilters { seed, made: RefCell::default(), ..self }
    }

    /// What the values of the images mean; `Unit` by default.
    pub fn range(mut self, range: ImageRange) -> Self {
        self.range = range;
        self
    }

    /// The filters for images like these.
    fn filters(&self, like: &Tensor) -> Result<Vec<Tensor>> {
        let mut made = self.made.borrow_mut();
        let kind = like.f_kind()?;
        let fits = made.first().is_some_and(|filter| {
            filter.device() == like.device() && filter.f_kind().is_ok_and(|own| own == kind)
        });
        if !fits {
            *made = self.sizes.iter().map(|&k| self.filter(k, like)).collect::<Result<_>>()?;
        }
        Ok(made.iter().map(Tensor::shallow_clone).collect())
    }

    /// (channels, 3, k, k) with the variance of He et al. 2015, which a ReLU keeps.
    fn filter(&self, k: i64, like: &Tensor) -> Result<Tensor> {
        let mut state = self.seed ^ (k as u64).rotate_left(32);
        let bound = std::f64::consts::SQRT_2 / k as f64;
        // 53 bits are what a Double holds.
        let uniform = || (split_mix(&mut state) >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        let count = (self.channels * 3 * k * k) as usize;
        let numbers: Vec<f64> =
            std::iter::repeat_with(uniform).take(count).map(|number| bound * number).collect();
        kernel(&numbers, &[self.channels, 3, k, k], like)
    }
}

impl FeatureExtractor for RandomFilters {
    fn f_features(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        let param = |option, expected, got| LossError::Param { loss: NAME, option, expected, got };
        let rising = self.sizes.windows(2).all(|pair| pair[0] < pair[1]);
        let odd = self.sizes.iter().all(|&k| k > 0 && k % 2 == 1 && k < 1 << 12);
        let Some(&largest) = self.sizes.last().filter(|_| rising && odd) else {
            let expected = "odd numbers below 4096, each once, from the least to the greatest";
            return Err(param("sizes", expected, format!("{:?}", self.sizes)));
        };
        if !(1..1 << 16).contains(&self.channels) {
            return Err(param("channels", "1 to 65535", self.channels.to_string()));
        }
        let checked = images(NAME, "images", tensor, Some(3))?;
        let (size, half) = (checked.size(), largest / 2);
        if size[2] <= half || size[3] <= half {
            return Err(LossError::Shape {
                loss: NAME,
                what: "images",
                expected: format!("[N, 3, H, W] with H and W above {half}"),
                got: size,
            });
        }
        let x = self.range.normalise(&checked)?;
        let map = |filter: &Tensor| -> Result<Tensor> {
            let half = filter.size()[3] / 2;
            let padded = x.f_reflection_pad2d([half; 4])?;
            let map = match filter.size()[3] >= WIDE {
                true => by_spectra(&padded, filter)?,
                false => padded.f_conv2d(filter, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?,
            };
            Ok(map.f_relu()?)
        };
        self.filters(&x)?.iter().map(map).collect()
    }
}

/// The convolution of x (N, C, H, W) without padding, by the Fourier transform.
fn by_spectra(x: &Tensor, filter: &Tensor) -> Result<Tensor> {
    let (size, side) = (x.size(), filter.size()[3]);
    let (plane, dims) = ([size[2], size[3]], [2i64, 3]);
    let spectrum =
        |t: &Tensor| -> Result<Tensor> { Ok(t.f_fft_rfft2(plane.as_slice(), dims, "backward")?) };
    let (x, filter) = (spectrum(x)?, spectrum(filter)?.f_conj_physical()?);
    let channel =
        |c: i64| -> Result<Tensor> { Ok(x.f_narrow(1, c, 1)?.f_mul(&filter.f_select(1, c)?)?) };
    let mut sum = channel(0)?;
    for c in 1..size[1] {
        sum = sum.f_add(&channel(c)?)?;
    }
    // What wraps around ends up beyond the last place where the filter fits.
    let map = sum.f_fft_irfft2(plane.as_slice(), dims, "backward")?;
    Ok(map.f_narrow(2, 0, plane[0] - side + 1)?.f_narrow(3, 0, plane[1] - side + 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn filter(filters: &RandomFilters, at: usize) -> Tensor {
        let like = Tensor::zeros([1], (Kind::Double, Device::Cpu));
        filters.filters(&like).unwrap().swap_remove(at)
    }

    #[test]
    fn filters_depend_on_seed_and_size_alone() {
        let filters = || RandomFilters::default().sizes([3, 7]).channels(64);
        tch::manual_seed(1);
        let seven = filter(&filters(), 1);
        tch::manual_seed(2);
        assert_eq!(seven, filter(&filters().sizes([1, 7, 9]), 1));
        assert_ne!(seven, filter(&filters().seed(1), 1));
        assert_eq!(seven.get(0), filter(&filters().channels(1), 1).get(0));
        // Those of a published version stay.
        let first = filter(&filters(), 0);
        assert_eq!(first.double_value(&[0, 0, 0, 0]), FIRST);
        // Uniform of that variance: an error of a few hundredths in 1728 numbers.
        let (low, high) = (first.min().double_value(&[]), first.max().double_value(&[]));
        let bound = 2f64.sqrt() / 3.0;
        assert!(low >= -bound && low < -0.99 * bound && high < bound && high > 0.99 * bound);
        let variance = first.var(true).double_value(&[]);
        assert!((variance * 27.0 / 2.0 - 1.0).abs() < 0.08, "{variance}");
    }

    const FIRST: f64 = -0.177_963_074_305_183_93;

    #[test]
    fn spectra_give_the_convolution() {
        tch::manual_seed(3);
        let options = (Kind::Double, Device::Cpu);
        for (height, width) in [(9, 12), (5, 5)] {
            let x = Tensor::randn([2, 3, height, width], options).set_requires_grad(true);
            let filter = Tensor::randn([4, 3, 5, 5], options);
            let direct = x.conv2d(&filter, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1);
            let map = by_spectra(&x, &filter).unwrap();
            let gradient = |map: &Tensor| {
                Tensor::run_backward(&[map.square().sum(None::<Kind>)], &[&x], false, false)
                    .remove(0)
            };
            let gap = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
            assert!(map.size() == direct.size() && gap(&map, &direct) < 1e-12);
            assert!(gap(&gradient(&map), &gradient(&direct)) < 1e-10);
        }
    }

    #[test]
    fn kinds_are_followed() {
        let filters = RandomFilters::default().sizes([3]).channels(2);
        for kind in [Kind::Double, Kind::Float, Kind::Double] {
            let images = Tensor::ones([2, 3, 4, 5], (kind, Device::Cpu));
            let maps = filters.f_features(&images).unwrap();
            assert_eq!((maps[0].kind(), maps[0].size()), (kind, vec![2, 2, 4, 5]));
        }
    }
}
