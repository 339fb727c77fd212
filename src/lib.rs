//! The computer-vision losses that PyTorch users have, for training loops on [`tch`] (libtorch).
//!
//! A loss is a value with options; [`Loss::forward`] takes predictions first, then the target:
//!
//! ```
//! use tch::{Device, Kind, Tensor, nn, nn::Module, nn::OptimizerConfig};
//! use tch_losses::{FocalLoss, Loss};
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let net = nn::linear(vs.root() / "head", 32, 1, Default::default());
//! let mut optimizer = nn::AdamW::default().build(&vs, 1e-2)?;
//! let focal = FocalLoss::default().alpha(0.25).gamma(2.0);
//! let xs = Tensor::randn([256, 32], (Kind::Float, vs.device()));
//! let ys = xs.sum_dim_intlist(1, true, None).gt(1.0);
//! let mut losses = vec![];
//! for _epoch in 1..=20 {
//!     let loss = focal.forward(&net.forward(&xs), &ys);
//!     optimizer.backward_step(&loss);
//!     losses.push(loss.double_value(&[]));
//! }
//! assert!(losses[19] < losses[0]);
//! # Ok::<(), tch::TchError>(())
//! ```
//!
//! # Losses
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`CrossEntropyLoss`] | `torch.nn.CrossEntropyLoss` | `-w[y] log softmax(x)[y]` |
//! | [`LabelSmoothing`] | timm `LabelSmoothingCrossEntropy` | `(1-ε) nll + ε mean(-log p)` |
//! | [`BceWithLogitsLoss`] | `torch.nn.BCEWithLogitsLoss` | `w t softplus(-x) + (1-t) softplus(x)` |
//! | [`BceLoss`] | `torch.nn.BCELoss` | `-t log p - (1-t) log(1-p)` |
//! | [`FocalLoss`] | torchvision `sigmoid_focal_loss`, YOLOv5 | `α_t (1-p_t)^γ BCE` |
//! | [`SoftmaxFocalLoss`] | Lin et al. 2017 | `-α[y] (1-p[y])^γ log p[y]` |
//! | [`SoftDiceLoss`] | nnU-Net `SoftDiceLoss` | `-(2tp+s)/(2tp+fp+fn+s)` |
//! | [`IoULoss`], [`GIoULoss`], [`DIoULoss`], [`CIoULoss`] | torchvision `*_box_iou_loss` | `1 - IoU + penalty` |
//! | [`GradientPenalty`] | WGAN-GP | `λ mean (norm(∇D(x̂)) - γ)²` |
//! | [`detection::YoloV5Loss`] | YOLOv5 `ComputeLoss` | box + objectness + class |
//! | [`WeightedSum`], [`FnLoss`] | | sums of losses, closures as losses |
//!
//! Beside them: [`bbox_iou`] and [`pairwise_iou`], [`detection::nms`], [`detection::Anchors`],
//! [`segmentation::tp_fp_fn`], [`metrics::CocoEval`].
//!
//! # Conventions
//!
//! - Each function comes twice, as in `tch`: `f_forward` returns a [`LossError`] of one line where
//!   `forward` panics with that line at the caller.
//! - [`Loss::forward_weighted`] says how much each element counts; a mask is a weight of zeros and
//!   ones. `Mean` is `sum(weight * loss) / sum(weight)`, and 0 where nothing counts.
//! - `Half` and `BFloat16` inputs are computed and returned in `Float`; gradients come back in the
//!   input's kind.
//! - Losses are made of differentiable operations, so they can be differentiated twice; they read
//!   nothing back to the host and change no input.
//!
//! # Features
//!
//! - `link-cuda`: the final binary needs `libtorch_cuda`, so that CUDA is found with nothing else to
//!   do. Without it call [`cuda::load`] first.
//! - `download-libtorch`, `python-extension`, `doc-only`: forwarded to `tch`.

mod check;
mod error;
mod reduce;

pub mod adversarial;
pub mod alignment;
pub mod classification;
pub mod cuda;
pub mod detection;
pub mod loss;
pub mod metrics;
pub mod perceptual;
pub mod regression;
pub mod segmentation;
pub mod variational;

pub use adversarial::{
    BceGanLoss, GanLoss, GradientPenalty, HingeGanLoss, LeastSquaresGanLoss, MinMaxGanLoss,
    NonSaturatingGanLoss, RelativisticGanLoss, WassersteinGanLoss, f_gradient_penalty, gan_by_name,
    gradient_penalty,
};
pub use classification::{
    AsymmetricLossMultiLabel, AsymmetricLossSingleLabel, BalancedBceWithLogitsLoss, BceLoss,
    BceWithLogitsLoss, BinaryFocalCrossEntropyLoss, CategoricalCrossEntropyLoss,
    CategoricalFocalCrossEntropyLoss, CategoricalHingeLoss, CrossEntropyLoss, FocalLoss,
    GeneralizedCrossEntropyLoss, HingeEmbeddingLoss, HingeLoss, JsDivLoss, JsdCrossEntropy,
    KlDivLoss, LabelSmoothing, MarginRankingLoss, MatrixCrossEntropyLoss, MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss, MultiMarginLoss, NllLoss, OneVsRestBceLoss, PolyBceWithLogitsLoss,
    PolyCrossEntropyLoss, SoftMarginLoss, SoftTargetCrossEntropy, SoftmaxFocalLoss,
    TopKCrossEntropyLoss,
};
pub use detection::{
    BoxFormat, CIoULoss, DIoULoss, GIoULoss, IoULoss, IouKind, bbox_iou, f_bbox_iou,
    f_pairwise_iou, pairwise_iou,
};
pub use error::{LossError, Result};
pub use loss::{FnLoss, Loss, LossParts, WeightedSum};
pub use metrics::{MsSsimLoss, SsimLoss};
pub use reduce::MeanOver;
pub use regression::{
    BalancedL1Loss, CharbonnierLoss, CosineEmbeddingLoss, CosineSimilarityLoss, GaussianNllLoss,
    HuberLoss, L1Loss, LogCoshLoss, MapeLoss, MseLoss, MsleLoss, PoissonNllLoss, QuantileLoss,
    RmseLoss, SmoothL1Loss,
};
pub use segmentation::{
    AsymmetricFocalLoss, AsymmetricFocalTverskyLoss, BasnetHybridLoss, BoundaryLoss, ClDiceLoss,
    ComboLoss, DiceBceLoss, DiceCeLoss, DiceClDiceLoss, DiceFocalLoss, DiceLoss, DiceTopKLoss,
    DistBinaryDiceLoss, DistancePenalizedCrossEntropyLoss, ExponentialLogarithmicLoss, FBetaLoss,
    FocalTverskyLoss, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss, HausdorffDtLoss,
    HausdorffErLoss, JaccardLoss, LogCoshDiceLoss, LovaszHingeLoss, LovaszSoftmaxLoss, MccLoss,
    SensitivitySpecificityLoss, ShapeAwareLoss, SoftDiceLoss, StructuralCorrelationLoss,
    TverskyLoss, Unet3PlusHybridLoss, UnifiedFocalLoss,
};
pub use tch::Reduction;
pub use variational::{ElboReduction, KlStandardNormal, Reconstruction, VaeLoss};
