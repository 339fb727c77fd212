//! Topology-aware loss of masks.

use super::{PerceptualLoss, extractor::FeatureExtractor};
use crate::{BceWithLogitsLoss, Loss, Result, check, loss::Entry, perceptual::extractor::images};
use tch::Tensor;

/// Topology-aware loss: binary cross entropy, and what a network sees of a mask's shape.
///
/// ```text
/// l = BCE(x, t) + μ Σ_n 1/(M_n W_n H_n) Σ_m ‖l_n^m(t) - l_n^m(σ(x))‖²
/// ```
///
/// over the maps m of the layers n, which the paper has as relu1_2, relu2_2 and relu3_4 of VGG19. The
/// mask goes into the network three times, as its colours.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `mu` | 0.1 | μ |
///
/// # Shapes
///
/// - input: logits (N, 1, H, W); target: the same shape, in [0, 1]
/// - element weight, of the cross entropy alone: broadcastable to the input
/// - loss: a scalar; `Half` and `BFloat16` in `Float`
///
/// # Reduction
///
/// The mean of each term: over the pixels, and over the images.
///
/// # Errors
///
/// Shape, kind or device of the target; `mu` below 0; what the extractor refuses.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor, nn};
/// use tch_losses::perceptual::{ImageRange, TopologyAwareLoss, Vgg, VggKind};
/// use tch_losses::Loss;
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let layers = ["relu1_2", "relu2_2", "relu3_4"];
/// let vgg = Vgg::f_new(&vs.root(), VggKind::Vgg19, &layers, ImageRange::Unit)?;
/// let mask = Tensor::rand([1, 1, 16, 16], (Kind::Float, Device::Cpu)).gt(0.5);
/// let sure = (mask.to_kind(Kind::Float) - 0.5) * 100.0;
/// let loss = TopologyAwareLoss::new(vgg).forward(&sure, &mask);
/// assert!(loss.double_value(&[]) < 1e-6);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Differences
///
/// topolosses 0.2 `MosinLoss` loses the target on its way: its loss is the same for a mask and its
/// opposite.
///
/// # Reference
///
/// Mosinska et al. 2018, "Beyond the Pixel-Wise Loss for Topology-Aware Delineation", without the
/// iterative refinement.
#[derive(Debug)]
pub struct TopologyAwareLoss<E> {
    features: PerceptualLoss<E>,
    mu: f64,
}

impl<E: FeatureExtractor> TopologyAwareLoss<E> {
    const NAME: &'static str = "TopologyAwareLoss";

    /// A loss of the maps that `extractor` gives of images with values in [0, 1].
    pub fn new(extractor: E) -> Self {
        TopologyAwareLoss { features: PerceptualLoss::new(extractor), mu: 0.1 }
    }

    /// μ, at least 0; 0.1 by default.
    pub fn mu(mut self, mu: f64) -> Self {
        self.mu = mu;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        check::at_least_zero(Self::NAME, "mu", self.mu)?;
        let logits = images(Self::NAME, "input", input, Some(1))?;
        check::same_shape(Self::NAME, input, target)?;
        let target = check::in_kind(Self::NAME, "target", target, logits.f_kind()?)?;
        let bce = BceWithLogitsLoss::default();
        let bce = match weight {
            Some(weight) => bce.f_forward_weighted(&logits, &target, weight)?,
            None => bce.f_forward(&logits, &target)?,
        };
        let coloured = |mask: &Tensor| mask.f_expand([-1, 3, -1, -1], false);
        let seen =
            self.features.f_forward(&coloured(&logits.f_sigmoid()?)?, &coloured(&target)?)?;
        Ok(bce.f_add(&seen.f_mul_scalar(self.mu)?)?)
    }
}

impl<E: FeatureExtractor> Loss for TopologyAwareLoss<E> {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        self.compute(input, target, None)
    }

    fn f_forward_weighted(
        &self,
        input: &Tensor,
        target: &Tensor,
        weight: &Tensor,
    ) -> Result<Tensor> {
        self.compute(input, target, Some(weight))
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let entry = Entry::apart("topology_aware", |options| options.read("mu", &mut 0.1));
    vec![entry.of_type("TopologyAwareLoss", module_path!()).follows("Mosinska et al. 2018")]
}
