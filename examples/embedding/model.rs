//! A small convolutional network that embeds images of digits, with the vectors that some losses learn.

use crate::data::SIDE;
use tch::{
    Device, Kind, Tensor,
    nn::{self, Init, ModuleT, Path, VarStore},
};

/// The network.
#[derive(Debug)]
pub struct Embedder {
    layers: nn::SequentialT,
    /// One vector a class, (classes, dimensions), for each loss that learns such.
    pub vectors: Vec<Tensor>,
}

impl Embedder {
    /// With embeddings of `dims` dimensions, and so many sets of vectors of `classes` classes; `width`
    /// multiplies the channels inside.
    pub fn new(path: &Path, dims: usize, width: f64, classes: usize, sets: usize) -> Self {
        let channels = |channels: f64| ((channels * width / 8.0).round() as i64).max(1) * 8;
        let (narrow, wide) = (channels(32.0), channels(64.0));
        let mut layers = nn::seq_t();
        for (n, (from, to, stride)) in
            [(1, narrow, 1), (narrow, narrow, 2), (narrow, wide, 1), (wide, wide, 2)]
                .into_iter()
                .enumerate()
        {
            let path = path / format!("layer{n}");
            let config = nn::ConvConfig { stride, padding: 1, bias: false, ..Default::default() };
            let norm = nn::BatchNormConfig { ws_init: Init::Const(1.0), ..Default::default() };
            layers = layers
                .add(nn::conv2d(&path / "conv", from, to, 3, config))
                .add(nn::batch_norm2d(&path / "norm", to, norm))
                .add_fn(Tensor::relu);
        }
        // Halved twice.
        let side = SIDE / 4;
        let layers = layers.add_fn(|x| x.flatten(1, -1)).add(nn::linear(
            path / "head",
            wide * side * side,
            dims as i64,
            Default::default(),
        ));
        let init = Init::Randn { mean: 0.0, stdev: 1.0 };
        let shape = [classes as i64, dims as i64];
        let vectors = (0..sets).map(|n| path.var(&format!("vectors{n}"), &shape, init)).collect();
        Embedder { layers, vectors }
    }

    /// Embeddings (N, dims) of images (N, 1, S, S).
    pub fn forward(&self, images: &Tensor, train: bool) -> Tensor {
        self.layers.forward_t(images, train)
    }

    /// Embeddings of length 1, some hundred images at a time.
    pub fn embed(&self, images: &Tensor) -> Tensor {
        let parts: Vec<Tensor> = images
            .split(256, 0)
            .iter()
            .map(|part| tch::no_grad(|| self.forward(part, false)))
            .collect();
        let embeddings = Tensor::cat(&parts, 0);
        let length = embeddings.square().sum_dim_intlist([1i64].as_slice(), true, None::<Kind>);
        embeddings / length.sqrt().clamp_min(1e-12)
    }
}

/// A network and its variables.
pub fn network(
    device: Device,
    dims: usize,
    width: f64,
    classes: usize,
    sets: usize,
) -> (Embedder, VarStore) {
    let vs = VarStore::new(device);
    (Embedder::new(&vs.root(), dims, width, classes, sets), vs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_have_the_dimensions_asked_for_and_length_1() {
        let (net, vs) = network(Device::Cpu, 5, 0.25, 10, 2);
        let images = Tensor::rand([3, 1, SIDE, SIDE], (Kind::Float, Device::Cpu));
        assert_eq!(net.forward(&images, true).size(), [3, 5]);
        let lengths = net.embed(&images).norm_scalaropt_dim(2.0, [1i64].as_slice(), false);
        assert!((lengths - 1.0).abs().max().double_value(&[]) < 1e-5);
        assert_eq!(net.vectors.len(), 2);
        assert_eq!(vs.variables()["vectors1"].size(), [10, 5]);
    }
}
