//! Random changes of a batch of training images, on the device that it is on.

use crate::rng::Rng;
use rand::Rng as _;
use tch::{Kind, Tensor};

/// How far images are changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augment {
    /// Turn by up to so many degrees.
    pub rotate: f64,
    /// Shift by up to this share of the side.
    pub translate: f64,
    /// Zoom by a factor in [1-scale, 1+scale].
    pub scale: f64,
    /// Change contrast and brightness by up to this share.
    pub jitter: f64,
    /// Probability of a left-right flip.
    pub fliplr: f64,
}

impl Augment {
    /// Changes each of the images (N, C, H, W) in [0, 1] in its own way. What comes in at the border
    /// is black for a single channel, and the mirrored image for colours.
    pub fn apply(&self, images: &Tensor, rng: &mut Rng) -> Tensor {
        let (n, c, h, w) = images.size4().expect("(N, C, H, W)");
        let mut maps = Vec::with_capacity(6 * n as usize);
        let mut tones = Vec::with_capacity(2 * n as usize);
        let mut around =
            |reach: f64| if reach > 0.0 { rng.random_range(-reach..=reach) } else { 0.0 };
        for _ in 0..n {
            let (sin, cos) = around(self.rotate).to_radians().sin_cos();
            let zoom = 1.0 + around(self.scale);
            let flip = if 0.5 + around(0.5) < self.fliplr { -1.0 } else { 1.0 };
            // From the output to the input, whose sides go from -1 to 1.
            let (x, y) = (2.0 * around(self.translate), 2.0 * around(self.translate));
            maps.extend([flip * cos / zoom, -flip * sin / zoom, x, sin / zoom, cos / zoom, y]);
            let (contrast, brightness) = (1.0 + around(self.jitter), around(self.jitter));
            tones.extend([contrast, 0.5 * (1.0 - contrast + brightness)]);
        }
        let on_device = |values: &[f64], shape: &[i64]| {
            Tensor::from_slice(values).view(shape).to_kind(Kind::Float).to_device(images.device())
        };
        let grid =
            Tensor::affine_grid_generator(&on_device(&maps, &[n, 2, 3]), [n, c, h, w], false);
        const BILINEAR: i64 = 0;
        const ZEROS: i64 = 0;
        const REFLECTION: i64 = 2;
        let padding = if c == 1 { ZEROS } else { REFLECTION };
        let moved = images.grid_sampler(&grid, BILINEAR, padding, false);
        if self.jitter == 0.0 {
            return moved;
        }
        let tones = on_device(&tones, &[2 * n]).view([n, 2, 1, 1]);
        (moved * tones.narrow(1, 0, 1) + tones.narrow(1, 1, 1)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::seeded;
    use tch::Device;

    const NONE: Augment =
        Augment { rotate: 0.0, translate: 0.0, scale: 0.0, jitter: 0.0, fliplr: 0.0 };

    fn images() -> Tensor {
        Tensor::arange(2 * 3 * 6 * 6, (Kind::Float, Device::Cpu)).view([2, 3, 6, 6]) / 216.0
    }

    fn apart(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn nothing_changes_nothing_and_a_flip_flips() {
        let images = images();
        let rng = &mut seeded(&[1]);
        assert!(apart(&NONE.apply(&images, rng), &images) < 1e-5);
        let flipped = Augment { fliplr: 1.0, ..NONE }.apply(&images, rng);
        assert!(apart(&flipped, &images.flip([3])) < 1e-5);
    }

    #[test]
    fn changes_follow_the_seed_and_stay_in_range() {
        let images = images();
        let augment =
            Augment { rotate: 20.0, translate: 0.2, scale: 0.2, jitter: 0.5, fliplr: 0.5 };
        let draw = |seed| augment.apply(&images, &mut seeded(&[seed]));
        assert_eq!(draw(1), draw(1));
        assert!(apart(&draw(1), &draw(2)) > 0.01);
        let drawn = draw(3);
        assert!(drawn.min().double_value(&[]) >= 0.0 && drawn.max().double_value(&[]) <= 1.0);
        // Each image in its own way.
        let twice = Tensor::cat(&[images.narrow(0, 0, 1), images.narrow(0, 0, 1)], 0);
        let drawn = augment.apply(&twice, &mut seeded(&[4]));
        assert!(apart(&drawn.get(0), &drawn.get(1)) > 0.01);
    }

    #[test]
    fn a_shift_is_a_share_of_the_side() {
        let mut image = Tensor::zeros([1, 1, 40, 40], (Kind::Float, Device::Cpu));
        let _ = image.narrow(2, 18, 4).narrow(3, 18, 4).fill_(1.0);
        image = Augment { translate: 0.25, ..NONE }.apply(&image, &mut seeded(&[5]));
        let total = image.sum(None::<Kind>);
        for dimension in [2, 3] {
            let places = Tensor::arange(40, (Kind::Float, Device::Cpu)) + 0.5;
            let profile =
                image.sum_dim_intlist([0, 1, 5 - dimension].as_slice(), false, None::<Kind>);
            let centre = ((profile * places).sum(None::<Kind>) / &total).double_value(&[]);
            assert!((centre - 20.0).abs() <= 10.01, "{centre}");
        }
        assert!((total.double_value(&[]) - 16.0).abs() < 0.1);
    }
}
