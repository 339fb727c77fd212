//! Grey shapes that are of one of two colours, composed on the fly.

use examples_support::rng::{Rng, seeded};
use rand::Rng as _;
use std::f32::consts::{PI, TAU};
use tch::{Device, Kind, Tensor};

/// Orange and blue, in [0, 1], as bright as each other.
pub const COLOURS: [[f32; 3]; 2] = [[0.85, 0.253, 0.15], [0.12, 0.48, 0.90]];

/// The brightness of both.
pub fn grey() -> f32 {
    luma(COLOURS[0])
}

fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// An endless set of shapes, each made from its number alone.
#[derive(Debug, Clone, Copy)]
pub struct Shapes {
    /// Other seeds, other shapes; the parts of [`seeded`].
    pub seed: [u64; 2],
    /// Width and height in pixels.
    pub side: u32,
    /// The share that is orange.
    pub share: f64,
}

/// Some shapes and their colours.
#[derive(Debug, Clone)]
pub struct Batch {
    side: i64,
    cover: Vec<f32>,
    colours: Vec<usize>,
}

/// The stream of numbers that shapes are drawn from, apart from those of training itself.
const STREAM: u64 = 0x5348;

impl Shapes {
    /// The shapes from number `first` on.
    pub fn batch(&self, first: usize, count: usize) -> Batch {
        let pixels = (self.side * self.side) as usize;
        let mut batch = Batch {
            side: i64::from(self.side),
            cover: Vec::with_capacity(count * pixels),
            colours: Vec::with_capacity(count),
        };
        for index in first..first + count {
            let [a, b] = self.seed;
            let mut rng = seeded(&[STREAM, a, b, index as u64]);
            let shape = Shape::random(&mut rng);
            batch.cover.extend((0..pixels as u32).map(|i| shape.cover(i, self.side)));
            batch.colours.push(usize::from(rng.random::<f64>() >= self.share));
        }
        batch
    }
}

impl Batch {
    /// The share of each pixel that the shape covers, (N, 1, S, S).
    pub fn cover(&self, device: Device) -> Tensor {
        let count = self.colours.len() as i64;
        Tensor::from_slice(&self.cover).view([count, 1, self.side, self.side]).to_device(device)
    }

    /// In which of [`COLOURS`] each shape is.
    #[cfg(test)]
    pub fn colours(&self) -> &[usize] {
        &self.colours
    }

    /// Grey images (N, 1, S, S) and the true ones (N, 3, S, S), in [-1, 1], on black.
    pub fn tensors(&self, device: Device) -> (Tensor, Tensor) {
        let cover = self.cover(device);
        let rgb: Vec<f32> = self.colours.iter().flat_map(|&colour| COLOURS[colour]).collect();
        let rgb = Tensor::from_slice(&rgb).view([-1, 3, 1, 1]).to_device(device);
        (signed(&cover * f64::from(grey())), signed(&cover * rgb))
    }
}

/// From [0, 1] to [-1, 1].
fn signed(x: Tensor) -> Tensor {
    x * 2.0 - 1.0
}

/// The same shapes all in one colour, in [-1, 1].
pub fn painted(cover: &Tensor, colour: usize) -> Tensor {
    let rgb = Tensor::from_slice(&COLOURS[colour]).view([1, 3, 1, 1]);
    signed(cover * rgb.to_device(cover.device()).to_kind(Kind::Float))
}

/// A shape in a square of side 1.
#[derive(Debug)]
struct Shape {
    kind: u32,
    centre: [f32; 2],
    radius: f32,
    turn: (f32, f32),
}

impl Shape {
    fn random(rng: &mut Rng) -> Self {
        let radius = rng.random_range(0.22..0.36f32);
        let mut place = || rng.random_range(radius..=1.0 - radius);
        let centre = [place(), place()];
        let turn = rng.random_range(0.0..TAU).sin_cos();
        Shape { kind: rng.random_range(0..4), centre, radius, turn }
    }

    /// Whether a point is inside.
    fn has(&self, x: f32, y: f32) -> bool {
        let (x, y) = ((x - self.centre[0]) / self.radius, (y - self.centre[1]) / self.radius);
        let (sin, cos) = self.turn;
        let (u, v) = (cos * x - sin * y, sin * x + cos * y);
        let r = x.hypot(y);
        match self.kind {
            // A disc, a ring, a square, a triangle.
            0 => r < 0.9,
            1 => (0.45..1.0).contains(&r),
            2 => u.abs().max(v.abs()) < 0.72,
            _ => (0..3).all(|side| {
                let (sin, cos) = (side as f32 * 2.0 * PI / 3.0).sin_cos();
                cos * u + sin * v < 0.5
            }),
        }
    }

    /// The share of pixel `i` of a square of `side` pixels that is inside.
    fn cover(&self, i: u32, side: u32) -> f32 {
        const POINTS: u32 = 4;
        let at = |pixel: u32, point: u32| {
            (pixel as f32 + (point as f32 + 0.5) / POINTS as f32) / side as f32
        };
        let inside = (0..POINTS * POINTS)
            .filter(|p| self.has(at(i % side, p % POINTS), at(i / side, p / POINTS)))
            .count();
        inside as f32 / (POINTS * POINTS) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: Shapes = Shapes { seed: [0, 0], side: 16, share: 0.5 };

    #[test]
    fn nothing_in_the_grey_image_tells_the_colour() {
        let byte = |colour| (255.0 * luma(colour)).round();
        assert_eq!(byte(COLOURS[0]), byte(COLOURS[1]));
        let apart: f32 = COLOURS[0].iter().zip(COLOURS[1]).map(|(a, b)| (a - b).powi(2)).sum();
        // The mean of the two is far from both.
        assert!(apart.sqrt() / 2.0 > 0.5, "{apart}");
    }

    #[test]
    fn shapes_depend_on_seed_and_number_alone() {
        let batch = SHAPES.batch(3, 2);
        assert_eq!(batch.cover, SHAPES.batch(3, 2).cover);
        assert_eq!(batch.cover[256..], SHAPES.batch(4, 1).cover);
        assert_ne!(batch.cover, Shapes { seed: [0, 1], ..SHAPES }.batch(3, 2).cover);
    }

    #[test]
    fn shapes_have_pixels_to_measure_and_colours_of_the_share() {
        for share in [0.0, 0.3, 1.0] {
            let batch = Shapes { share, ..SHAPES }.batch(0, 400);
            let orange = batch.colours().iter().filter(|colour| **colour == 0).count();
            assert!((orange as f64 / 400.0 - share).abs() < 0.07, "{orange} for {share}");
            let whole = |shape: &[f32]| shape.iter().filter(|cover| **cover == 1.0).count();
            let least = batch.cover.chunks_exact(256).map(whole).min();
            assert!(least >= Some(4), "{least:?}");
        }
    }

    #[test]
    fn the_grey_image_is_that_of_the_coloured_one() {
        let batch = SHAPES.batch(0, 8);
        let (grey, real) = batch.tensors(Device::Cpu);
        assert_eq!((grey.size(), real.size()), (vec![8, 1, 16, 16], vec![8, 3, 16, 16]));
        let weights = Tensor::from_slice(&[0.299f32, 0.587, 0.114]).view([1, 3, 1, 1]);
        let luma = (&real * weights).sum_dim_intlist(1, true, None::<Kind>);
        assert!((luma - grey).abs().max().double_value(&[]) < 2e-3);
        let first = painted(&batch.cover(Device::Cpu), batch.colours()[0]);
        assert!((first.get(0) - real.get(0)).abs().max().double_value(&[]) < 1e-6);
    }
}
