//! Small networks between images and vectors, of fully connected layers or of convolutions.

use clap::ValueEnum;
use std::fmt::Debug;
use tch::{
    Kind, Tensor,
    nn::{self, Init, ModuleT, Path},
};

/// What the layers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Net {
    /// Fully connected: the faster one for tiny images
    Mlp,
    /// Convolutions, down to 4 x 4
    Conv,
}

/// Images of fewer pixels a side are left to fully connected layers.
const TINY: u32 = 16;
/// The side down to which convolutions go.
const COARSEST: u32 = 4;
/// Greatest factor on the channels of the first convolution.
const WIDEST: i64 = 8;

impl Net {
    /// The one that suits images of that side.
    pub fn of(side: u32) -> Self {
        if side < TINY { Net::Mlp } else { Net::Conv }
    }

    /// Units of a hidden layer, or channels of the first convolution, times `width`.
    fn units(self, width: f64) -> i64 {
        let units = match self {
            Net::Mlp => 256.0,
            Net::Conv => 32.0,
        };
        ((units * width / 8.0).round() as i64).max(1) * 8
    }
}

/// The images that a network is for.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// What its layers are.
    pub net: Net,
    /// Channels of the images.
    pub channels: i64,
    /// Their side in pixels.
    pub side: u32,
    /// Factor on the units or channels inside.
    pub width: f64,
}

impl Shape {
    /// The sides that convolutions go through, from that of the images down.
    fn sides(&self) -> Vec<i64> {
        let mut sides = vec![self.side];
        while sides[sides.len() - 1] > COARSEST {
            sides.push(sides[sides.len() - 1].div_ceil(2));
        }
        sides.into_iter().map(i64::from).collect()
    }

    /// The channels at each of the sides.
    fn widths(&self) -> Vec<i64> {
        let first = self.net.units(self.width);
        (0..self.sides().len() as u32).map(|level| first * 2i64.pow(level).min(WIDEST)).collect()
    }

    fn numbers(&self) -> i64 {
        self.channels * i64::from(self.side * self.side)
    }
}

/// How the layers of an [`Encoder`] are made: as they are, or with a normalisation of their weights.
pub trait Layers {
    /// A fully connected layer.
    fn linear(&self, path: Path, from: i64, to: i64) -> Box<dyn ModuleT>;
    /// A convolution of 3 x 3 with padding 1.
    fn conv(&self, path: Path, from: i64, to: i64, stride: i64) -> Box<dyn ModuleT>;
}

/// Layers as they are.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Layers for Plain {
    fn linear(&self, path: Path, from: i64, to: i64) -> Box<dyn ModuleT> {
        Box::new(nn::linear(path, from, to, Default::default()))
    }

    fn conv(&self, path: Path, from: i64, to: i64, stride: i64) -> Box<dyn ModuleT> {
        Box::new(nn::conv2d(path, from, to, 3, three(stride)))
    }
}

/// The configuration of a convolution of 3 x 3 with padding 1.
pub fn three(stride: i64) -> nn::ConvConfig {
    nn::ConvConfig { stride, padding: 1, ..Default::default() }
}

/// From images (N, C, S, S) to vectors. No layer looks at more than one image, so that it can be a
/// critic under a gradient penalty.
#[derive(Debug)]
pub struct Encoder {
    net: Net,
    body: Vec<Box<dyn ModuleT>>,
    head: Box<dyn ModuleT>,
}

impl Encoder {
    /// A network with `outputs` numbers for an image.
    pub fn new(path: &Path, shape: Shape, outputs: i64, layers: &impl Layers) -> Self {
        let widths = shape.widths();
        let (body, features) = match shape.net {
            Net::Mlp => {
                let hidden = widths[0];
                let first = layers.linear(path / "first", shape.numbers(), hidden);
                (vec![first, layers.linear(path / "second", hidden, hidden)], hidden)
            }
            Net::Conv => {
                let conv = |(level, &to): (usize, &i64)| {
                    let place = path / format!("conv{level}");
                    match level.checked_sub(1) {
                        None => layers.conv(place, shape.channels, to, 1),
                        Some(above) => layers.conv(place, widths[above], to, 2),
                    }
                };
                let last = shape.sides().len() - 1;
                let features = widths[last] * shape.sides()[last].pow(2);
                (widths.iter().enumerate().map(conv).collect(), features)
            }
        };
        Encoder { net: shape.net, body, head: layers.linear(path / "head", features, outputs) }
    }

    /// The vectors (N, outputs).
    pub fn forward(&self, images: &Tensor, train: bool) -> Tensor {
        let mut x = match self.net {
            Net::Mlp => images.flatten(1, -1),
            Net::Conv => images.shallow_clone(),
        };
        for layer in &self.body {
            x = leaky(&layer.forward_t(&x, train));
        }
        self.head.forward_t(&x.flatten(1, -1), train)
    }
}

/// A leaky ReLU of slope 0.2 below 0.
fn leaky(x: &Tensor) -> Tensor {
    x.maximum(&(x * 0.2))
}

/// From vectors (N, inputs) to images (N, C, S, S), before a squashing function.
#[derive(Debug)]
pub struct Decoder {
    shape: Shape,
    first: (nn::Linear, Option<nn::BatchNorm>),
    second: Option<(nn::Linear, Option<nn::BatchNorm>)>,
    ups: Vec<(nn::Conv2D, Option<nn::BatchNorm>)>,
    last: Last,
}

#[derive(Debug)]
enum Last {
    Linear(nn::Linear),
    Conv(nn::Conv2D),
}

impl Decoder {
    /// A network for vectors of `inputs` numbers; `norm` for batch normalisation inside.
    pub fn new(path: &Path, shape: Shape, inputs: i64, norm: bool) -> Self {
        let widths = shape.widths();
        let linear = |name: &str, from, to| nn::linear(path / name, from, to, Default::default());
        let config = nn::BatchNormConfig { ws_init: Init::Const(1.0), ..Default::default() };
        let normed = |name: &str, to| norm.then(|| nn::batch_norm2d(path / name, to, config));
        let normed1 = |name: &str, to| norm.then(|| nn::batch_norm1d(path / name, to, config));
        match shape.net {
            Net::Mlp => {
                let hidden = widths[0];
                let second = (linear("second", hidden, hidden), normed1("second_norm", hidden));
                Decoder {
                    shape,
                    first: (linear("first", inputs, hidden), normed1("first_norm", hidden)),
                    second: Some(second),
                    ups: Vec::new(),
                    last: Last::Linear(linear("last", hidden, shape.numbers())),
                }
            }
            Net::Conv => {
                let (sides, coarsest) = (shape.sides(), widths.len() - 1);
                let numbers = widths[coarsest] * sides[coarsest].pow(2);
                let up = |level: usize| {
                    let (from, to) = (widths[level + 1], widths[level]);
                    let conv = nn::conv2d(path / format!("up{level}"), from, to, 3, three(1));
                    (conv, normed(&format!("up{level}_norm"), to))
                };
                let last = nn::conv2d(path / "last", widths[0], shape.channels, 3, three(1));
                Decoder {
                    shape,
                    first: (
                        linear("first", inputs, numbers),
                        normed("first_norm", widths[coarsest]),
                    ),
                    second: None,
                    ups: (0..coarsest).rev().map(up).collect(),
                    last: Last::Conv(last),
                }
            }
        }
    }

    /// The images (N, C, S, S).
    pub fn forward(&self, vectors: &Tensor, train: bool) -> Tensor {
        let active = |x: Tensor, norm: &Option<nn::BatchNorm>| match norm {
            Some(norm) => norm.forward_t(&x, train).relu(),
            None => x.relu(),
        };
        let side = i64::from(self.shape.side);
        let mut x = vectors.apply(&self.first.0);
        match &self.last {
            Last::Linear(last) => {
                x = active(x, &self.first.1);
                if let Some((linear, norm)) = &self.second {
                    x = active(x.apply(linear), norm);
                }
                x.apply(last).view([-1, self.shape.channels, side, side])
            }
            Last::Conv(last) => {
                let sides = self.shape.sides();
                let coarsest = sides[sides.len() - 1];
                x = active(x.view([vectors.size()[0], -1, coarsest, coarsest]), &self.first.1);
                for ((conv, norm), &side) in self.ups.iter().zip(sides.iter().rev().skip(1)) {
                    let larger = x.upsample_nearest2d([side, side].as_slice(), None, None);
                    x = active(larger.apply(conv), norm);
                }
                x.apply(last)
            }
        }
    }
}

/// Standard normal vectors (n, size), drawn on the CPU so that every device has the same.
pub fn noise(n: i64, size: i64, device: tch::Device) -> Tensor {
    Tensor::randn([n, size], (Kind::Float, tch::Device::Cpu)).to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, nn::VarStore};

    #[test]
    fn images_of_all_sizes_go_there_and_back() {
        for (channels, side) in [(1, 4), (1, 8), (3, 15), (1, 28), (3, 33)] {
            for net in [Net::Mlp, Net::Conv] {
                for norm in [true, false] {
                    let vs = VarStore::new(Device::Cpu);
                    let shape = Shape { net, channels, side, width: 0.25 };
                    let encoder = Encoder::new(&(vs.root() / "e"), shape, 5, &Plain);
                    let decoder = Decoder::new(&(vs.root() / "d"), shape, 5, norm);
                    let images = decoder.forward(&noise(3, 5, Device::Cpu), true);
                    let side = i64::from(side);
                    assert_eq!(images.size(), [3, channels, side, side]);
                    assert_eq!(encoder.forward(&images, true).size(), [3, 5]);
                }
            }
        }
    }

    #[test]
    fn the_slope_below_zero_is_a_fifth() {
        let x = Tensor::from_slice(&[-5.0f32, 0.0, 3.0]);
        assert_eq!(leaky(&x), Tensor::from_slice(&[-1.0f32, 0.0, 3.0]));
    }

    #[test]
    fn the_side_chooses_the_network() {
        assert_eq!([8, 28].map(Net::of), [Net::Mlp, Net::Conv]);
    }
}
