//! A history of generated images.

use crate::{LossError, Result, check, error::unwrap, random::split_mix};
use tch::Tensor;

/// A history of generated images for the discriminator's step, so that it does not forget what the
/// generator made some time ago.
///
/// The first `size` images are kept and given back. After that an image is given back as it is, or with
/// probability ½ it takes the place of a kept one, drawn at random, which is given back instead.
///
/// Choices are drawn on the host from a seed of the pool's own: they are the same on every device, wait for
/// none, and leave tch's random numbers alone.
///
/// # Shapes
///
/// - images: (N, ..), on any device; all of one shape but for N
/// - result: the images' shape, detached
///
/// # Errors
///
/// Images without a first dimension, or of another shape, kind or device than those kept.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::adversarial::ImagePool;
///
/// let mut pool = ImagePool::new(2, 0);
/// let images = Tensor::arange(2, (Kind::Float, Device::Cpu)).view([2, 1]);
/// assert_eq!(pool.query(&images), images); // fills the pool
/// let later = pool.query(&(images + 2.0)); // each new, or a kept one
/// assert_eq!((later.size(), pool.len()), (vec![2, 1], 2));
/// ```
///
/// # Reference
///
/// Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images through Adversarial
/// Training". Follows CycleGAN's `ImagePool`, of 50 images.
#[derive(Debug)]
pub struct ImagePool {
    size: usize,
    images: Vec<Tensor>,
    state: u64,
}

impl Default for ImagePool {
    /// 50 images, seed 0.
    fn default() -> Self {
        ImagePool::new(50, 0)
    }
}

impl ImagePool {
    /// An empty pool for `size` images; of size 0 it gives back what it gets.
    pub fn new(size: usize, seed: u64) -> Self {
        ImagePool { size, images: Vec::new(), state: seed }
    }

    /// A pool that goes on from the [`state`](Self::state) and the [`images`](Self::images) of another,
    /// as from a checkpoint. More images than `size` are left out.
    pub fn restore(size: usize, state: u64, mut images: Vec<Tensor>) -> Self {
        images.truncate(size);
        ImagePool { size, images, state }
    }

    /// The kept images, to save.
    pub fn images(&self) -> &[Tensor] {
        &self.images
    }

    /// From which the next choices are drawn, to save: at first the seed.
    pub fn state(&self) -> u64 {
        self.state
    }

    /// How many images are kept.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether no image is kept yet.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Images to show to the discriminator in place of `images`.
    pub fn f_query(&mut self, images: &Tensor) -> Result<Tensor> {
        const NAME: &str = "ImagePool";
        let dims = images.size();
        check::shape_is(NAME, "images", images, !dims.is_empty(), "[N, ..]")?;
        if let Some(kept) = self.images.first() {
            let expected = [&dims[..1], &kept.size()].concat();
            check::shape(NAME, "images", images, &expected)?;
            check::device(NAME, "images", images, kept)?;
            let (kind, got) = (kept.f_kind()?, images.f_kind()?);
            if got != kind {
                let expected = "the kept images'";
                return Err(LossError::Kind { loss: NAME, what: "images", expected, got });
            }
        }
        let images = images.f_detach()?;
        if self.size == 0 {
            return Ok(images);
        }
        let mut given = Vec::with_capacity(dims[0] as usize);
        for index in 0..dims[0] {
            let image = images.f_select(0, index)?;
            // A copy, as the row would keep the whole batch alive.
            if self.images.len() < self.size {
                self.images.push(image.f_detach_copy()?);
                given.push(image);
            } else if self.draw(2) == 0 {
                let place = self.draw(self.size as u64) as usize;
                given.push(std::mem::replace(&mut self.images[place], image.f_detach_copy()?));
            } else {
                given.push(image);
            }
        }
        if given.is_empty() {
            return Ok(images);
        }
        Ok(Tensor::f_stack(&given, 0)?)
    }

    /// [`ImagePool::f_query`], or a panic with its error.
    #[track_caller]
    pub fn query(&mut self, images: &Tensor) -> Tensor {
        unwrap(self.f_query(images))
    }

    /// A whole number below `below`.
    fn draw(&mut self, below: u64) -> u64 {
        let bits = split_mix(&mut self.state);
        ((u128::from(bits) * u128::from(below)) >> 64) as u64
    }
}
