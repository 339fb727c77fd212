//! The built-in digits as tensors, and how they are changed.

use examples_support::{
    augment::Augment,
    builtin::{self, CLASSES, Split},
    rng::Rng,
};
use rand::{Rng as _, seq::SliceRandom};
use tch::{Device, Kind, Tensor};

/// Pixels of a side: the digit's eight, and room to move.
pub const SIDE: i64 = 12;

/// Turned, zoomed, shifted and noisy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Changes {
    pub moves: Augment,
    /// The most that is added to a pixel or taken away.
    pub noise: f64,
}

impl Changes {
    /// Changes each of the images (N, 1, S, S) in its own way.
    pub fn apply(&self, images: &Tensor, rng: &mut Rng) -> Tensor {
        let moved = self.moves.apply(images, rng);
        if self.noise == 0.0 {
            return moved;
        }
        let noise: Vec<f32> = (0..images.numel())
            .map(|_| self.noise as f32 * rng.random_range(-1.0..=1.0f32))
            .collect();
        moved + Tensor::from_slice(&noise).view_as(images).to_device(images.device())
    }
}

/// The digits of a split.
#[derive(Debug)]
pub struct Digits {
    /// (N, 1, S, S) in [0, 1]
    pub images: Tensor,
    /// (N)
    pub labels: Tensor,
    /// The digits of each class.
    of_class: Vec<Vec<i64>>,
}

impl Digits {
    pub fn new(split: Split, device: Device) -> Self {
        let digits = builtin::digits(split);
        let ink: Vec<f32> = digits.iter().flat_map(|d| d.ink.as_flattened()).copied().collect();
        let room = (SIDE - 8) / 2;
        let images = Tensor::from_slice(&ink)
            .view([-1, 1, 8, 8])
            .constant_pad_nd([room; 4])
            .to_device(device);
        let mut of_class = vec![Vec::new(); CLASSES.len()];
        for (i, digit) in digits.iter().enumerate() {
            of_class[digit.class].push(i as i64);
        }
        let labels: Vec<i64> = digits.iter().map(|digit| digit.class as i64).collect();
        Digits { images, labels: Tensor::from_slice(&labels).to_device(device), of_class }
    }

    /// Images and labels of so many digits of each class, drawn without replacement.
    pub fn batch(&self, per_class: usize, rng: &mut Rng) -> (Tensor, Tensor) {
        let mut chosen = Vec::with_capacity(per_class * self.of_class.len());
        for digits in &self.of_class {
            let mut digits = digits.clone();
            let (drawn, _) = digits.partial_shuffle(rng, per_class);
            chosen.extend_from_slice(drawn);
        }
        let chosen = Tensor::from_slice(&chosen).to_device(self.images.device());
        (self.images.index_select(0, &chosen), self.labels.index_select(0, &chosen))
    }
}

/// An image (1, S, S) of ink as brightness, 0 to 255, on paper: ink is dark.
pub fn brightness(image: &Tensor) -> Vec<u8> {
    let light: Tensor = (1.0 - image.clamp(0.0, 1.0)) * 255.0;
    let light = light.round().to_kind(Kind::Uint8).to_device(Device::Cpu).contiguous().view([-1]);
    Vec::<u8>::try_from(light).expect("bytes of an image")
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::rng::seeded;

    pub const CHANGES: Changes = Changes {
        moves: Augment { rotate: 20.0, translate: 0.1, scale: 0.1, jitter: 0.0, fliplr: 0.0 },
        noise: 0.1,
    };

    #[test]
    fn a_batch_has_as_many_of_each_class() {
        let digits = Digits::new(Split::Val, Device::Cpu);
        assert_eq!(digits.images.size(), [360, 1, SIDE, SIDE]);
        let (images, labels) = digits.batch(3, &mut seeded(&[1]));
        assert_eq!(images.size(), [30, 1, SIDE, SIDE]);
        assert_eq!(Vec::<i64>::try_from(labels.bincount::<Tensor>(None, 0)).unwrap(), [3; 10]);
        let again = digits.batch(3, &mut seeded(&[1])).0;
        assert_eq!(images, again);
        // Each digit once.
        let all = digits.batch(30, &mut seeded(&[2])).0.flatten(1, -1);
        assert_eq!(all.unique_dim(0, true, false, false).0.size()[0], 300);
    }

    #[test]
    fn changes_follow_the_seed() {
        let images = Digits::new(Split::Val, Device::Cpu).images.narrow(0, 0, 4);
        let draw = |seed| CHANGES.apply(&images, &mut seeded(&[seed]));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let quiet = Changes { noise: 0.0, ..CHANGES }.apply(&images, &mut seeded(&[1]));
        assert!((draw(1) - quiet).abs().max().double_value(&[]) <= 0.1 + 1e-6);
    }
}
