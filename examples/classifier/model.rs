//! A small residual network for images of any size.

use tch::{
    Kind, Tensor,
    nn::{self, Init, ModuleT, Path},
};

/// Convolution without bias, batch normalisation.
#[derive(Debug)]
struct Conv {
    conv: nn::Conv2D,
    norm: nn::BatchNorm,
}

impl Conv {
    fn new(path: Path, from: i64, to: i64, stride: i64) -> Self {
        let config = nn::ConvConfig { stride, padding: 1, bias: false, ..Default::default() };
        let norm = nn::BatchNormConfig { ws_init: Init::Const(1.0), ..Default::default() };
        Conv {
            conv: nn::conv2d(&path / "conv", from, to, 3, config),
            norm: nn::batch_norm2d(&path / "norm", to, norm),
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.norm.forward_t(&x.apply(&self.conv), train)
    }
}

/// Two convolutions with a skip.
#[derive(Debug)]
struct Residual(Conv, Conv);

impl Residual {
    fn new(path: Path, channels: i64) -> Self {
        let conv = |name: &str| Conv::new(&path / name, channels, channels, 1);
        Residual(conv("first"), conv("second"))
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.0.forward(x, train).silu_();
        (x + self.1.forward(&y, train)).silu_()
    }
}

/// The classifier.
#[derive(Debug)]
pub struct Classifier {
    stem: Conv,
    stages: Vec<(Option<Conv>, Residual)>,
    head: nn::Linear,
}

/// The side down to which the image is halved.
const COARSEST: u32 = 4;

impl Classifier {
    /// For images of `channels` channels and `side` pixels; `width` multiplies the channels inside.
    pub fn new(path: &Path, channels: i64, side: u32, classes: usize, width: f64) -> Self {
        let c = |channels: f64| ((channels * width / 8.0).round() as i64).max(1) * 8;
        let mut to = c(32.0);
        // Photographs have little to tell at full resolution.
        let stride = if side >= 64 { 2 } else { 1 };
        let stem = Conv::new(path / "stem", channels, to, stride);
        let mut stages = vec![(None, Residual::new(path / "stage0" / "block", to))];
        let mut side = side / stride as u32;
        while side > COARSEST {
            let from = to;
            to = c(256.0).min(2 * from);
            let stage = path / format!("stage{}", stages.len());
            let down = Conv::new(&stage / "down", from, to, 2);
            stages.push((Some(down), Residual::new(&stage / "block", to)));
            side = side.div_ceil(2);
        }
        let head = nn::linear(path / "head", to, classes as i64, Default::default());
        Classifier { stem, stages, head }
    }

    /// Logits (N, classes) of images (N, C, S, S) in [0, 1].
    pub fn forward(&self, images: &Tensor, train: bool) -> Tensor {
        let mut x = self.stem.forward(images, train).silu_();
        for (down, block) in &self.stages {
            if let Some(down) = down {
                x = down.forward(&x, train).silu_();
            }
            x = block.forward(&x, train);
        }
        x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>).apply(&self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn images_of_all_sizes_fit() {
        for (channels, side) in [(1, 4), (1, 8), (1, 28), (3, 33), (3, 64), (3, 100)] {
            let vs = nn::VarStore::new(Device::Cpu);
            let net = Classifier::new(&vs.root(), channels, side, 7, 0.25);
            let side = i64::from(side);
            let images = Tensor::zeros([2, channels, side, side], (Kind::Float, Device::Cpu));
            assert_eq!(net.forward(&images, true).size(), [2, 7]);
        }
    }
}
