//! Spectral normalisation of a layer's weight.

use crate::{LossError, Result, check, error::unwrap};
use std::borrow::Borrow;
use tch::{Tensor, nn};

const NAME: &str = "SpectralNorm";

/// Options of [`SpectralNorm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpectralNormConfig {
    /// The dimension of the outputs: 0, or 1 for a transposed convolution.
    pub dim: usize,
    /// Steps of the power method in each training pass, at least 1; 1 by default.
    pub n_power_iterations: usize,
    /// A vector as short as this keeps its last direction; 1e-12 by default.
    pub eps: f64,
}

impl Default for SpectralNormConfig {
    fn default() -> Self {
        SpectralNormConfig { dim: 0, n_power_iterations: 1, eps: 1e-12 }
    }
}

/// Divides a weight by an estimate of its largest singular value, so that the layer is
/// 1-Lipschitz.
///
/// ```text
/// training  u <- W v / ‖W v‖,  v <- Wᵀu / ‖Wᵀu‖      n_power_iterations times, without a gradient
/// always    W / σ,  σ = uᵀ W v                         differentiated through W, with u and v fixed
/// ```
///
/// W is the weight with `dim` in front and the rest flattened. u and v start at random, are brought near
/// by 15 steps of the power method, and are kept in the `VarStore` as `_u` and `_v`, which are saved and
/// loaded and not trained. With `train` false they stay as they are. Several passes may be part of one
/// loss, as in `D(real) - D(fake)`: each keeps the vectors that it used.
///
/// [`spectral_linear`], [`spectral_conv2d`] and [`spectral_conv_transpose2d`] make layers.
///
/// # Shapes
///
/// - weight: two dimensions or more
/// - result: the weight's shape and kind; of `Half` and `BFloat16` weights σ is computed in `Float`
///
/// # Errors
///
/// Shape or kind of the weight; options out of their range.
///
/// # Examples
///
/// ```
/// use tch::{Device, Tensor, nn};
/// use tch_losses::adversarial::SpectralNorm;
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let weight = Tensor::from_slice(&[0.5f64, 4.0]).diag(0);
/// let norm = SpectralNorm::new(vs.root(), &weight, Default::default());
/// let normalised = norm.forward_t(&weight, false);
/// assert!((normalised.double_value(&[1, 1]) - 1.0).abs() < 1e-9);
/// assert!((normalised.double_value(&[0, 0]) - 0.125).abs() < 1e-9);
/// ```
///
/// # Differences
///
/// A weight of zeros stays zeros where PyTorch gives NaN, and learns on. A weight of one dimension,
/// which PyTorch divides by its norm, is an error.
///
/// # Reference
///
/// Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks". Follows PyTorch 2.13
/// `torch.nn.utils.parametrizations.spectral_norm`.
#[derive(Debug)]
pub struct SpectralNorm {
    u: Tensor,
    v: Tensor,
    config: SpectralNormConfig,
}

impl SpectralNorm {
    /// Vectors for `weight`, kept at `path` as `_u` and `_v`.
    pub fn f_new<'a>(
        path: impl Borrow<nn::Path<'a>>,
        weight: &Tensor,
        config: SpectralNormConfig,
    ) -> Result<Self> {
        let SpectralNormConfig { dim, n_power_iterations, eps } = config;
        check::at_least_zero(NAME, "eps", eps)?;
        let steps = n_power_iterations as f64;
        check::param(NAME, "n_power_iterations", steps, steps >= 1.0, "at least 1")?;
        let dims = weight.size().len();
        check::shape_is(NAME, "weight", weight, dims >= 2, "[out, in, ..]")?;
        check::param(NAME, "dim", dim as f64, dim < dims, "a dimension of the weight")?;

        let _guard = tch::no_grad_guard();
        let weight = weight.f_detach()?;
        let matrix = matrix(&weight, dim)?;
        let options = (matrix.f_kind()?, matrix.device());
        let random = |length: i64| {
            let vector = Tensor::f_randn([length], options)?;
            unit(&vector, &vector, eps)
        };
        let (height, width) = matrix.size2().map_err(LossError::Torch)?;
        let (mut u, mut v) = (random(height)?, random(width)?);
        for _ in 0..15 {
            u = unit(&matrix.f_matmul(&v)?, &u, eps)?;
            v = unit(&matrix.f_tr()?.f_matmul(&u)?, &v, eps)?;
        }
        let kind = weight.f_kind()?;
        let path = path.borrow();
        Ok(SpectralNorm {
            u: path.add("_u", u.f_to_kind(kind)?, false),
            v: path.add("_v", v.f_to_kind(kind)?, false),
            config,
        })
    }

    /// [`SpectralNorm::f_new`], or a panic with its error.
    #[track_caller]
    pub fn new<'a>(
        path: impl Borrow<nn::Path<'a>>,
        weight: &Tensor,
        config: SpectralNormConfig,
    ) -> Self {
        unwrap(SpectralNorm::f_new(path, weight, config))
    }

    /// `weight / σ`; in training after a step of the power method.
    pub fn f_forward_t(&self, weight: &Tensor, train: bool) -> Result<Tensor> {
        let SpectralNormConfig { dim, n_power_iterations, eps } = self.config;
        let dims = weight.size();
        check::shape_is(NAME, "weight", weight, dims.len() > dim.max(1), "[out, in, ..]")?;
        let matrix = matrix(weight, dim)?;
        let fits = matrix.size() == [self.u.size(), self.v.size()].concat();
        check::shape_is(NAME, "weight", weight, fits, "that it was made for")?;
        check::device(NAME, "weight", weight, &self.u)?;
        let kind = matrix.f_kind()?;
        // Copies: a later pass writes to the buffers, and this one's graph needs what it used.
        let mut u = self.u.f_detach_copy()?.f_to_kind(kind)?;
        let mut v = self.v.f_detach_copy()?.f_to_kind(kind)?;
        if train {
            let _guard = tch::no_grad_guard();
            for step in 0..n_power_iterations {
                if step > 0 {
                    v = unit(&matrix.f_tr()?.f_matmul(&u)?, &v, eps)?;
                }
                u = unit(&matrix.f_matmul(&v)?, &u, eps)?;
            }
        }
        // The last product of the power method is the first of σ = (Wᵀu)·v: one pass over W less.
        let image = matrix.f_tr()?.f_matmul(&u)?;
        if train {
            let _guard = tch::no_grad_guard();
            v = unit(&image.f_detach()?, &v, eps)?;
            self.u.shallow_clone().f_copy_(&u)?;
            self.v.shallow_clone().f_copy_(&v)?;
        }
        let sigma = image.f_dot(&v)?;
        Ok(weight.f_div(&sigma.f_masked_fill(&sigma.f_eq(0.0)?, 1.0)?)?)
    }

    /// [`SpectralNorm::f_forward_t`], or a panic with its error.
    #[track_caller]
    pub fn forward_t(&self, weight: &Tensor, train: bool) -> Tensor {
        unwrap(self.f_forward_t(weight, train))
    }
}

/// The weight with `dim` in front and the rest flattened.
fn matrix(weight: &Tensor, dim: usize) -> Result<Tensor> {
    let weight = check::accumulated(NAME, "weight", weight)?;
    Ok(weight.f_movedim_int(dim as i64, 0)?.f_flatten(1, -1)?)
}

/// A vector of length 1, or `last` where it has no direction.
fn unit(vector: &Tensor, last: &Tensor, eps: f64) -> Result<Tensor> {
    let norm = vector.f_norm()?;
    Ok(vector.f_div(&norm)?.f_where_self(&norm.f_gt(eps)?, last)?)
}

/// A layer whose weight is divided by its spectral norm, as [`spectral_linear`],
/// [`spectral_conv2d`] and [`spectral_conv_transpose2d`] make it.
///
/// Its variables have the names that PyTorch's `parametrizations.spectral_norm` gives them
/// (`parametrizations.weight.original`, `parametrizations.weight.0._u`, ...), so that checkpoints
/// carry over.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor, nn, nn::ModuleT};
/// use tch_losses::adversarial::{spectral_conv2d, spectral_linear};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let config = nn::ConvConfig { stride: 2, padding: 1, ..Default::default() };
/// let critic = nn::seq_t()
///     .add(spectral_conv2d(vs.root() / "conv", 3, 8, 4, config))
///     .add_fn(|x| x.leaky_relu().flat_view())
///     .add(spectral_linear(vs.root() / "score", 8 * 4 * 4, 1, Default::default()));
/// let images = Tensor::randn([2, 3, 8, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(critic.forward_t(&images, true).size(), [2, 1]);
/// ```
#[derive(Debug)]
pub struct SpectralLayer {
    /// The weight that is trained, before it is divided.
    pub ws: Tensor,
    /// The bias, which is not normalised.
    pub bs: Option<Tensor>,
    norm: SpectralNorm,
    operation: Operation,
}

#[derive(Debug)]
enum Operation {
    Linear,
    Conv2d(nn::ConvConfig),
    ConvTranspose2d(nn::ConvTransposeConfig),
}

impl SpectralLayer {
    fn f_new(
        path: &nn::Path,
        (size, ws_init): (&[i64], nn::Init),
        bias: Option<(i64, nn::Init)>,
        dim: usize,
        operation: Operation,
    ) -> Result<Self> {
        let bs = match bias {
            Some((length, init)) => Some(path.f_var("bias", &[length], init)?),
            None => None,
        };
        let path = path.sub("parametrizations").sub("weight");
        let ws = path.f_var("original", size, ws_init)?;
        let config = SpectralNormConfig { dim, ..Default::default() };
        let norm = SpectralNorm::f_new(path.sub(0), &ws, config)?;
        Ok(SpectralLayer { ws, bs, norm, operation })
    }

    /// The layer's output; in training after a step of the power method.
    pub fn f_forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let (ws, bs) = (self.norm.f_forward_t(&self.ws, train)?, self.bs.as_ref());
        Ok(match &self.operation {
            Operation::Linear => xs.f_linear(&ws, bs)?,
            Operation::Conv2d(config) => {
                let nn::ConvConfig { stride, padding, dilation, groups, .. } = *config;
                match config.padding_mode {
                    nn::PaddingMode::Zeros => {
                        xs.f_conv2d(&ws, bs, stride, padding, dilation, groups)?
                    }
                    mode => mode
                        .f_pad(xs, &[padding; 4])?
                        .f_conv2d(&ws, bs, stride, 0, dilation, groups)?,
                }
            }
            Operation::ConvTranspose2d(config) => xs.f_conv_transpose2d(
                &ws,
                bs,
                config.stride,
                config.padding,
                config.output_padding,
                config.groups,
                config.dilation,
            )?,
        })
    }
}

impl nn::ModuleT for SpectralLayer {
    /// [`SpectralLayer::f_forward_t`], or a panic with its error.
    #[track_caller]
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        unwrap(self.f_forward_t(xs, train))
    }
}

/// `nn::linear` with spectral normalisation; see [`SpectralLayer`].
pub fn f_spectral_linear<'a>(
    path: impl Borrow<nn::Path<'a>>,
    in_dim: i64,
    out_dim: i64,
    config: nn::LinearConfig,
) -> Result<SpectralLayer> {
    let bound = 1.0 / (in_dim as f64).sqrt();
    let bs_init = config.bs_init.unwrap_or(nn::Init::Uniform { lo: -bound, up: bound });
    SpectralLayer::f_new(
        path.borrow(),
        (&[out_dim, in_dim], config.ws_init),
        config.bias.then_some((out_dim, bs_init)),
        0,
        Operation::Linear,
    )
}

/// `nn::conv2d` with spectral normalisation; see [`SpectralLayer`].
///
/// # Errors
///
/// Groups that do not divide the channels; what libtorch refuses.
pub fn f_spectral_conv2d<'a>(
    path: impl Borrow<nn::Path<'a>>,
    in_dim: i64,
    out_dim: i64,
    ksize: i64,
    config: nn::ConvConfig,
) -> Result<SpectralLayer> {
    let per_group = per_group(in_dim, config.groups)?;
    SpectralLayer::f_new(
        path.borrow(),
        (&[out_dim, per_group, ksize, ksize], config.ws_init),
        config.bias.then_some((out_dim, config.bs_init)),
        0,
        Operation::Conv2d(config),
    )
}

/// `nn::conv_transpose2d` with spectral normalisation; see [`SpectralLayer`].
///
/// # Errors
///
/// Groups that do not divide the channels; what libtorch refuses.
pub fn f_spectral_conv_transpose2d<'a>(
    path: impl Borrow<nn::Path<'a>>,
    in_dim: i64,
    out_dim: i64,
    ksize: i64,
    config: nn::ConvTransposeConfig,
) -> Result<SpectralLayer> {
    let per_group = per_group(out_dim, config.groups)?;
    SpectralLayer::f_new(
        path.borrow(),
        (&[in_dim, per_group, ksize, ksize], config.ws_init),
        config.bias.then_some((out_dim, config.bs_init)),
        1,
        Operation::ConvTranspose2d(config),
    )
}

fn per_group(channels: i64, groups: i64) -> Result<i64> {
    let ok = groups >= 1 && channels % groups == 0;
    let expected = "at least 1 and a divisor of the channels";
    check::param("SpectralLayer", "groups", groups as f64, ok, expected)?;
    Ok(channels / groups)
}

/// [`f_spectral_linear`], or a panic with its error.
#[track_caller]
pub fn spectral_linear<'a>(
    path: impl Borrow<nn::Path<'a>>,
    in_dim: i64,
    out_dim: i64,
    config: nn::LinearConfig,
) -> SpectralLayer {
    unwrap(f_spectral_linear(path, in_dim, out_dim, config))
}

/// [`f_spectral_conv2d`], or a panic with its error.
#[track_caller]
pub fn spectral_conv2d<'a>(
    path: impl Borrow<nn::Path<'a>>,
    in_dim: i64,
    out_dim: i64,
    ksize: i64,
    config: nn::ConvConfig,
) -> SpectralLayer {
    unwrap(f_spectral_conv2d(path, in_dim, out_dim, ksize, config))
}

/// [`f_spectral_conv_transpose2d`], or a panic with its error.
#[track_caller]
pub fn spectral_conv_transpose2d<'a>(
    path: impl Borrow<nn::Path<'a>>,
    in_dim: i64,
    out_dim: i64,
    ksize: i64,
    config: nn::ConvTransposeConfig,
) -> SpectralLayer {
    unwrap(f_spectral_conv_transpose2d(path, in_dim, out_dim, ksize, config))
}
