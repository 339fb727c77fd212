//! Which colours a generator gives shapes that it has not seen.

use crate::{
    data::{COLOURS, Shapes},
    model::Generator,
    objective::unit,
    options::Options,
};
use anyhow::Result;
use tch::{Device, Kind, Tensor, no_grad};

/// Within this distance of a colour, a shape has that colour.
pub const NEAR: f64 = 0.3;
/// Noises that each shape of the pictures is coloured with.
pub const DRAWS: i64 = 3;

/// Shapes that no run is trained on, and noise that is the same for all.
#[derive(Debug)]
pub struct Test {
    pub grey: Tensor,
    pub cover: Tensor,
    noise: Tensor,
}

/// The colours of what a generator made.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The share of shapes of which the pixels are within [`NEAR`] of one of the two colours.
    pub near: f64,
    /// The share of orange among those; none if there are none.
    pub orange: Option<f64>,
    /// From the nearest colour, in the mean.
    pub distance: f64,
    /// The standard deviation of the colours of the shapes.
    pub spread: f64,
    /// Where the colour of each shape is on the way from orange, 0, to blue, 1.
    pub places: Vec<f64>,
}

impl Test {
    pub fn new(options: &Options, device: Device) -> Self {
        let shapes =
            Shapes { seed: [options.run.seed, 1], side: options.img, share: options.share };
        let batch = shapes.batch(0, options.test);
        tch::manual_seed(options.run.seed as i64);
        let noise = [DRAWS, options.test as i64, options.noise];
        Test {
            grey: batch.tensors(device).0,
            cover: batch.cover(device),
            // On the host, so that it is the same on every device.
            noise: Tensor::randn(noise, (Kind::Float, Device::Cpu)).to_device(device),
        }
    }

    /// What the generator makes of the first `count` shapes, with the noise of a draw.
    pub fn made(&self, generator: &Generator, draw: i64, count: i64) -> Tensor {
        let (grey, noise) = (self.grey.narrow(0, 0, count), self.noise.get(draw));
        no_grad(|| generator.forward(&grey, &noise.narrow(0, 0, count)))
    }

    pub fn evaluate(&self, generator: &Generator) -> Result<Outcome> {
        Outcome::of(&self.made(generator, 0, self.grey.size()[0]), &self.cover)
    }
}

impl Outcome {
    /// Of images in [-1, 1] and the share of each pixel that the shape covers.
    pub fn of(images: &Tensor, cover: &Tensor) -> Result<Self> {
        let images = unit(images).to_kind(Kind::Double);
        // Pixels at the border of a shape are of no colour.
        let inside = cover.ge(0.999).to_kind(Kind::Double);
        let mean = |x: &Tensor| {
            let sum = |x: &Tensor| x.sum_dim_intlist([2i64, 3].as_slice(), false, None::<Kind>);
            sum(&(x * &inside)) / sum(&inside)
        };
        let colour = |rgb: [f32; 3]| {
            let rgb = Tensor::from_slice(&rgb).view([1, 3, 1, 1]).to_kind(Kind::Double);
            rgb.to_device(images.device())
        };
        let colours = COLOURS.map(colour);
        // The root of the mean over the pixels, so that half orange and half blue is near to neither.
        let distances = colours.each_ref().map(|colour| {
            let squares = (&images - colour).square().sum_dim_intlist(1, true, None::<Kind>);
            mean(&squares).sqrt().view(-1)
        });
        let (distance, nearest) = Tensor::stack(&distances, 0).min_dim(0, false);
        let near = distance.le(NEAR);
        let count = near.sum(Kind::Double).double_value(&[]);
        let orange = (&near * nearest.eq(0)).sum(Kind::Double).double_value(&[]);

        let means = mean(&images);
        let centre = means.mean_dim([0i64].as_slice(), true, None::<Kind>);
        let squares = (&means - centre).square().sum_dim_intlist(1, false, None::<Kind>);
        let [start, way] = [colours[0].view([1, 3]), (&colours[1] - &colours[0]).view([1, 3])];
        let places = ((means - start) * &way).sum_dim_intlist(1, false, None::<Kind>)
            / way.square().sum(None::<Kind>);
        Ok(Outcome {
            near: near.to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]),
            orange: (count > 0.0).then(|| orange / count),
            distance: distance.mean(None::<Kind>).double_value(&[]),
            spread: squares.mean(None::<Kind>).sqrt().double_value(&[]),
            places: Vec::try_from(places.to_device(Device::Cpu))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::painted;

    #[test]
    fn colours_are_told_apart_and_mixtures_are_neither() {
        let shapes = Shapes { seed: [0, 0], side: 16, share: 0.5 };
        let cover = shapes.batch(0, 6).cover(Device::Cpu);
        let of = |images: &Tensor| Outcome::of(images, &cover).unwrap();
        let [orange, blue] = [0, 1].map(|colour| painted(&cover, colour));
        let all = of(&blue);
        assert_eq!((all.near, all.orange), (1.0, Some(0.0)));
        assert!(all.distance < 1e-6 && all.spread < 1e-6);
        assert!(all.places.iter().all(|place| (place - 1.0).abs() < 1e-6));

        let both = of(&Tensor::cat(&[orange.narrow(0, 0, 2), blue.narrow(0, 2, 4)], 0));
        assert_eq!((both.near, both.orange), (1.0, Some(2.0 / 6.0)));
        assert!(both.spread > 0.4);

        let mean = of(&((&orange + &blue) / 2.0));
        assert_eq!((mean.near, mean.orange), (0.0, None));
        assert!(
            (mean.distance - 0.536).abs() < 2e-3
                && mean.places.iter().all(|p| (p - 0.5).abs() < 1e-6)
        );

        // Orange on the left, blue on the right: the mean colour would hide it less than the pixels do.
        let halves = Tensor::cat(&[orange.narrow(3, 0, 8), blue.narrow(3, 8, 8)], 3);
        assert!(of(&halves).near < 1.0);
    }
}
