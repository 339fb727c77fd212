//! A small YOLO-style network: strides 8 and 16, a top-down path, one head per stride.

use tch::{
    Tensor,
    nn::{self, Init, ModuleT, Path},
};
use tch_losses::detection::Anchors;

pub const STRIDES: [i64; 2] = [8, 16];
pub const ANCHORS_PER_LEVEL: usize = 3;

/// Convolution without bias, batch normalisation, SiLU.
#[derive(Debug)]
struct Conv {
    conv: nn::Conv2D,
    norm: nn::BatchNorm,
}

impl Conv {
    fn new(path: Path, from: i64, to: i64, size: i64, stride: i64) -> Self {
        let config =
            nn::ConvConfig { stride, padding: size / 2, bias: false, ..Default::default() };
        let norm = nn::BatchNormConfig {
            eps: 1e-3,
            momentum: 0.03,
            ws_init: Init::Const(1.0),
            ..Default::default()
        };
        Conv {
            conv: nn::conv2d(&path / "conv", from, to, size, config),
            norm: nn::batch_norm2d(&path / "norm", to, norm),
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.norm.forward_t(&x.apply(&self.conv), train).silu_()
    }
}

/// A bottleneck with a skip.
#[derive(Debug)]
struct Residual(Conv, Conv);

impl Residual {
    fn new(path: Path, channels: i64) -> Self {
        let inner = channels / 2;
        Residual(
            Conv::new(&path / "down", channels, inner, 1, 1),
            Conv::new(&path / "up", inner, channels, 3, 1),
        )
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        x + self.1.forward(&self.0.forward(x, train), train)
    }
}

/// A strided convolution and residual blocks.
#[derive(Debug)]
struct Stage(Conv, Vec<Residual>);

impl Stage {
    fn new(path: Path, from: i64, to: i64, blocks: usize) -> Self {
        let residuals = (0..blocks).map(|i| Residual::new(&path / "block" / i, to)).collect();
        Stage(Conv::new(&path / "stride", from, to, 3, 2), residuals)
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.1.iter().fold(self.0.forward(x, train), |x, block| block.forward(&x, train))
    }
}

/// Max pooling of three sizes side by side, as a chain of small ones.
#[derive(Debug)]
struct PoolPyramid(Conv, Conv);

impl PoolPyramid {
    fn new(path: Path, channels: i64) -> Self {
        let inner = channels / 2;
        PoolPyramid(
            Conv::new(&path / "in", channels, inner, 1, 1),
            Conv::new(&path / "out", 4 * inner, channels, 1, 1),
        )
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let mut levels = vec![self.0.forward(x, train)];
        for level in 0..3 {
            levels.push(levels[level].max_pool2d([5, 5], [1, 1], [2, 2], [1, 1], false));
        }
        self.1.forward(&Tensor::cat(&levels, 1), train)
    }
}

/// A 3x3 convolution and the raw outputs of each anchor.
#[derive(Debug)]
struct Head {
    conv: Conv,
    output: nn::Conv2D,
    outputs: i64,
}

impl Head {
    /// Biases such that a cell holds an object about as often as in a picture of eight.
    fn new(path: Path, channels: i64, classes: i64, cells: f64) -> Self {
        let outputs = 5 + classes;
        let bound = 1.0 / (channels as f64).sqrt();
        let config = nn::ConvConfig {
            ws_init: Init::Uniform { lo: -bound, up: bound },
            bs_init: Init::Const(0.0),
            ..Default::default()
        };
        let output =
            nn::conv2d(&path / "output", channels, ANCHORS_PER_LEVEL as i64 * outputs, 1, config);
        let bias = output.bs.as_ref().expect("a bias").detach().view([-1, outputs]);
        let _ = bias.select(1, 4).fill_((8.0 / cells).ln());
        let _ = bias.narrow(1, 5, classes).fill_((0.6 / (classes as f64 - 0.99)).ln());
        Head { conv: Conv::new(&path / "conv", channels, channels, 3, 1), output, outputs }
    }

    /// (N, anchors, H, W, 5 + classes), a view.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.conv.forward(x, train).apply(&self.output);
        let (n, _, h, w) = y.size4().expect("four dimensions");
        y.view([n, ANCHORS_PER_LEVEL as i64, self.outputs, h, w]).permute([0, 1, 3, 4, 2])
    }
}

/// The detector.
#[derive(Debug)]
pub struct Detector {
    stem: Conv,
    stages: [Stage; 3],
    pool: PoolPyramid,
    lateral: Conv,
    merge: (Conv, Residual),
    heads: [Head; 2],
}

impl Detector {
    /// `width` multiplies the channels; `side` is the size of the training images in pixels.
    pub fn new(path: &Path, classes: usize, width: f64, side: u32) -> Self {
        let c = |channels: f64| ((channels * width / 8.0).round() as i64).max(1) * 8;
        let (c1, c2, c3, c4) = (c(16.0), c(32.0), c(64.0), c(128.0));
        let cells = |stride: i64| (side as f64 / stride as f64).powi(2);
        let classes = classes as i64;
        Detector {
            stem: Conv::new(path / "stem", 3, c1, 3, 2),
            stages: [
                Stage::new(path / "stage2", c1, c2, 1),
                Stage::new(path / "stage3", c2, c3, 2),
                Stage::new(path / "stage4", c3, c4, 2),
            ],
            pool: PoolPyramid::new(path / "pool", c4),
            lateral: Conv::new(path / "lateral", c4, c3, 1, 1),
            merge: (
                Conv::new(path / "merge" / "conv", 2 * c3, c3, 1, 1),
                Residual::new(path / "merge" / "block", c3),
            ),
            heads: [
                Head::new(path / "head8", c3, classes, cells(STRIDES[0])),
                Head::new(path / "head16", c4, classes, cells(STRIDES[1])),
            ],
        }
    }

    /// Raw outputs of each level for images (N, 3, S, S) in [0, 1], S divisible by 16.
    pub fn forward(&self, images: &Tensor, train: bool) -> Vec<Tensor> {
        // Channels last is a fifth faster on the CPU; convolutions keep the layout of their input.
        let images = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let [stage2, stage3, stage4] = &self.stages;
        let x = stage2.forward(&self.stem.forward(&images, train), train);
        let fine = stage3.forward(&x, train);
        let coarse = self.pool.forward(&stage4.forward(&fine, train), train);
        let up = self.lateral.forward(&coarse, train);
        let (_, _, h, w) = fine.size4().expect("four dimensions");
        let up = up.upsample_nearest2d([h, w], None, None);
        let merged = self.merge.0.forward(&Tensor::cat(&[up, fine], 1), train);
        let merged = self.merge.1.forward(&merged, train);
        vec![self.heads[0].forward(&merged, train), self.heads[1].forward(&coarse, train)]
    }
}

/// Anchors by k-means on box sizes in pixels of the training images.
pub fn anchors(sizes: &[[f64; 2]]) -> tch_losses::Result<Anchors> {
    Anchors::kmeans(sizes, ANCHORS_PER_LEVEL, &STRIDES)
}
