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
//! Each by its name too: [`loss::by_name`], [`loss::parse`], [`loss::catalogue`]. [`WeightedSum`] adds losses up, [`FnLoss`]
//! makes one of a closure.
//!
//! ## Real values
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`L1Loss`] | torch.nn.L1Loss | `l = \|x - t\|` |
//! | [`MseLoss`] | torch.nn.MSELoss | `l = (x - t)²` |
//! | [`RmseLoss`] | the root of torch.nn.MSELoss | `l = √(Σ w (x - t)² / Σ w)` |
//! | [`HuberLoss`] | torch.nn.HuberLoss | `l = ½ d² up to δ, δ (d - ½ δ) beyond` |
//! | [`SmoothL1Loss`] | torch.nn.SmoothL1Loss | `l = ½ d² / β up to β, d - ½ β beyond` |
//! | [`LogCoshLoss`] | Keras `LogCosh` | `l = log cosh(x - t)` |
//! | [`CharbonnierLoss`] | Lai et al. 2017 | `l = √((x - t)² + ε²)` |
//! | [`BalancedL1Loss`] | Pang et al. 2019 | `l = α β/b (b d/β + 1) ln(b d/β + 1) - α d, of slope γ beyond β` |
//! | [`QuantileLoss`] | Koenker and Bassett 1978 | `l = max(q (t - x), (q - 1) (t - x))` |
//! | [`MapeLoss`] | Keras `MeanAbsolutePercentageError` | `l = 100 \|x - t\| / max(\|t\|, ε)` |
//! | [`MsleLoss`] | Keras `MeanSquaredLogarithmicError` | `l = (ln(1 + max(x, ε)) - ln(1 + max(t, ε)))²` |
//! | [`PoissonNllLoss`] | torch.nn.PoissonNLLLoss | `l = exp(x) - t x` |
//! | [`GaussianNllLoss`] | torch.nn.GaussianNLLLoss | `l = ½ (log v + (μ - t)² / v)` |
//! | [`CosineSimilarityLoss`] | 1 - torch.nn.CosineSimilarity | `l = 1 - cos` |
//! | [`CosineEmbeddingLoss`] | torch.nn.CosineEmbeddingLoss | `l = 1 - cos for pairs, max(0, cos - margin) for others` |
//!
//! ## Classification
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`CrossEntropyLoss`] | torch.nn.CrossEntropyLoss | `l = -w[y] log softmax(x)[y]` |
//! | [`LabelSmoothing`] | timm `LabelSmoothingCrossEntropy` | `l = (1-ε) (-log p[y]) + ε mean_c(-log p[c])` |
//! | [`SoftTargetCrossEntropy`] | timm `SoftTargetCrossEntropy` | `l = -Σ_c y[c] log p[c]` |
//! | [`NllLoss`] | torch.nn.NLLLoss | `l = -w[y] x[y]` |
//! | [`CategoricalCrossEntropyLoss`] | Keras `CategoricalCrossentropy`, `SparseCategoricalCrossentropy` | `l = -Σ_c w[c] t[c] log q[c]` |
//! | [`TopKCrossEntropyLoss`] | nnU-Net `TopKLoss` | `l = mean of the n largest w[y] CE(x, y)` |
//! | [`GeneralizedCrossEntropyLoss`] | Zhang and Sabuncu 2018 | `l = (1 - p[y]^q) / q` |
//! | [`PolyCrossEntropyLoss`] | timm `PolyCrossEntropy` | `l = -Σ_c t[c] log p[c] + ε₁ (1 - Σ_c t[c] p[c])` |
//! | [`AsymmetricLossSingleLabel`] | timm `AsymmetricLossSingleLabel` | `l = -t[y] (1-p[y])^γ₊ log p[y] - Σ_{c≠y} t[c] p[c]^γ₋ log p[c]` |
//! | [`JsdCrossEntropy`] | timm `JsdCrossEntropy` | `l = CE(x_1, y) + α/K Σ_k KL(p_k \|\| m)` |
//! | [`MatrixCrossEntropyLoss`] | this crate's definition of the article's formula | `l = -Σ_i t[i] log2 o[i] + Σ_i (A t)[i] e^o[i] - Σ_i t[i] e^o[i]` |
//! | [`BceWithLogitsLoss`] | torch.nn.BCEWithLogitsLoss | `l = w_p t softplus(-x) + (1-t) softplus(x)` |
//! | [`BceLoss`] | torch.nn.BCELoss | `l = -t log p - (1-t) log(1-p)` |
//! | [`BalancedBceWithLogitsLoss`] | Xie and Tu 2015; pytorch-toolbelt `BalancedBCEWithLogitsLoss` with beta=per_batch | `l = β t softplus(-x) + (1-β) (1-t) softplus(x)` |
//! | [`OneVsRestBceLoss`] | timm `BinaryCrossEntropy` | `l[c] = BCE(x[c], t[c])` |
//! | [`PolyBceWithLogitsLoss`] | timm `PolyBinaryCrossEntropy` | `l = α_t ((1-p_t)^γ BCE(x, t) + ε₁ (1-p_t)^(γ+1))` |
//! | [`AsymmetricLossMultiLabel`] | timm `AsymmetricLossMultiLabel` | `l = -(1-p_t)^γ_t (w_p t log p + (1-t) log q)` |
//! | [`FocalLoss`] | torchvision `sigmoid_focal_loss` | `l = α_t (1-p_t)^γ BCE(x, t)` |
//! | [`BinaryFocalCrossEntropyLoss`] | Keras `BinaryFocalCrossentropy` | `l = α_t (1-p_t)^γ BCE(p limited to [clip, 1-clip], t)` |
//! | [`SoftmaxFocalLoss`] | Lin et al. 2017 | `l = -α[y] (1-p[y])^γ log p[y]` |
//! | [`CategoricalFocalCrossEntropyLoss`] | Keras `CategoricalFocalCrossentropy` | `l = -Σ_c α t[c] (1-q[c])^γ log q[c]` |
//! | [`KlDivLoss`] | torch.nn.KLDivLoss | `l = t (log t - x)` |
//! | [`JsDivLoss`] | Lin 1991 | `l = (KL(p \|\| m) + KL(q \|\| m)) / 2` |
//! | [`HingeLoss`] | Keras `Hinge` | `l = max(0, margin - y x)` |
//! | [`CategoricalHingeLoss`] | Keras `CategoricalHinge` | `l = max(0, margin + max_c (1-y[c]) x[c] - Σ_c y[c] x[c])` |
//! | [`HingeEmbeddingLoss`] | torch.nn.HingeEmbeddingLoss | `l = x for pairs, max(0, margin - x) for others` |
//! | [`MarginRankingLoss`] | torch.nn.MarginRankingLoss | `l = max(0, margin - y (x1 - x2))` |
//! | [`MultiMarginLoss`] | torch.nn.MultiMarginLoss | `l = w[y]/C Σ_{c≠y} max(0, margin - x[y] + x[c])^p` |
//! | [`SoftMarginLoss`] | torch.nn.SoftMarginLoss | `l = log(1 + exp(-y x))` |
//! | [`MultiLabelMarginLoss`] | torch.nn.MultiLabelMarginLoss | `l = 1/C Σ_{j in labels} Σ_{c not in labels} max(0, 1 - (x[j] - x[c]))` |
//! | [`MultiLabelSoftMarginLoss`] | torch.nn.MultiLabelSoftMarginLoss | `l = 1/C Σ_c w[c] (y[c] softplus(-x[c]) + (1-y[c]) softplus(x[c]))` |
//!
//! ## Segmentation
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`SoftDiceLoss`] | SegLossOdyssey `SoftDiceLoss` | `l = -(2 tp + s) / (2 tp + fp + fn + s)` |
//! | [`DiceLoss`] | MONAI `DiceLoss` | `l = 1 - (2 tp + s_n) / max(2 tp + fp + fn + s_d, eps)` |
//! | [`JaccardLoss`] | MONAI `DiceLoss(jaccard=True)` | `l = 1 - (tp + s_n) / max(tp + fp + fn + s_d, eps)` |
//! | [`TverskyLoss`] | MONAI `TverskyLoss` | `l = 1 - (tp + s_n) / max(tp + α fp + β fn + s_d, eps)` |
//! | [`LovaszHingeLoss`] | smp `LovaszLoss` | `l = Σ_i relu(e_i) ΔJ_i` |
//! | [`LovaszSoftmaxLoss`] | smp `LovaszLoss` | `l_c = Σ_i e_i ΔJ_i` |
//! | [`AsymmetricFocalLoss`] | Yeung et al. 2022 | `l = -δ log p[y]` |
//! | [`AsymmetricFocalTverskyLoss`] | MONAI `AsymmetricFocalTverskyLoss` | `1 - T_0, (1 - T_c)^(1-γ)` |
//! | [`UnifiedFocalLoss`] | Yeung et al. 2022 | `l = λ F + (1-λ) T` |
//! | [`ExponentialLogarithmicLoss`] | Wong et al. 2018 | `l = w_dice mean_c (-log D_c)^γ_dice + w_cross mean_i w_y (-log p_y)^γ_cross` |
//! | [`ComboLoss`] | Taghanaki et al. 2019 | `l = -α mean(β y log p + (1-β) (1-y) log(1-p)) - (1-α) mean_c D_c` |
//! | [`StructuralCorrelationLoss`] | Zhao et al. 2019 | `l = Σ f e BCE / Σ f` |
//! | [`DiceCeLoss`] | MONAI `DiceCELoss` | `l = λ_dice Dice + λ_ce CE` |
//! | [`DiceBceLoss`] | nnU-Net `DC_and_BCE_loss` | `l = λ_dice Dice + λ_bce BCE` |
//! | [`DiceFocalLoss`] | MONAI `DiceFocalLoss` | `l = λ_dice Dice + λ_focal Focal` |
//! | [`DiceTopKLoss`] | nnU-Net `DC_and_topk_loss` | `l = λ_dice Dice + λ_ce TopK` |
//! | [`DiceClDiceLoss`] | MONAI `SoftDiceclDiceLoss` | `l = (1-α) Dice + α clDice` |
//! | [`BasnetHybridLoss`] | Qin et al. 2019 | `l = λ_bce BCE(x, y) + λ_ssim (1 - SSIM(p, y)) + λ_iou (1 - IoU(p, y))` |
//! | [`Unet3PlusHybridLoss`] | Huang et al. 2020 | `l = λ_focal Focal(x, y) + λ_ms_ssim (1 - MS-SSIM(p, y)) + λ_iou (1 - IoU(p, y))` |
//! | [`segmentation::DeepSupervision`] | MONAI `DeepSupervisionLoss`, nnU-Net `DeepSupervisionWrapper` | `total = Σ_l w_l loss(output_l, target as large as output_l)` |
//! | [`FocalTverskyLoss`] | Abraham and Khan 2019 | `l = (1 - T)^κ` |
//! | [`FBetaLoss`] | Hashemi et al. 2018 | `l = 1 - ((1+β²) tp + s_n) / max((1+β²) tp + fp + β² fn + s_d, eps)` |
//! | [`LogCoshDiceLoss`] | Jadon 2020 | `l = log(cosh(d))` |
//! | [`GeneralizedDiceLoss`] | Sudre et al. 2017 | `l = 1 - (2 Σ_c w_c tp_c + s_n) / max(Σ_c w_c (2 tp_c + fp_c + fn_c) + s_d, eps)` |
//! | [`GeneralizedWassersteinDiceLoss`] | MONAI `GeneralizedWassersteinDiceLoss` | `l = 1 - 2 Σ α (1-W) / (2 Σ α (1-W) + Σ W), W = Σ_c M[y, c] p_c` |
//! | [`SensitivitySpecificityLoss`] | Brosch et al. 2015 | `l = r Σ m (y-p)² y / (Σ m y + s) + (1-r) Σ m (y-p)² (1-y) / (Σ m (1-y) + s)` |
//! | [`MccLoss`] | MONAI `MCCLoss` | `l = 1 - (tp tn - fp fn + s_n) / sqrt((tp+fp) (tp+fn) (tn+fp) (tn+fn) + s_d)` |
//! | [`ClDiceLoss`] | topolosses | `l = 1 - 2 T_p T_s / (T_p + T_s + eps)` |
//! | [`BoundaryLoss`] | MONAI `BoundaryLoss` | `l = Σ m p φ / Σ m` |
//! | [`HausdorffDtLoss`] | Karimi and Salcudean 2019 | `l = Σ m (p - y)² (D_p^α + D_y^α) / Σ m` |
//! | [`HausdorffErLoss`] | Karimi and Salcudean 2019 | `l = Σ m Σ_k (k+1)^α e_k+1 / Σ m` |
//! | [`DistBinaryDiceLoss`] | SegLossOdyssey `DistBinaryDiceLoss` | `l = -dc` |
//! | [`DistancePenalizedCrossEntropyLoss`] | Caliva et al. 2019 | `l = -(1 + φ) log p[y]` |
//! | [`ShapeAwareLoss`] | Hayder et al. 2017, Jadon 2020 | `l = -(1 + E) log p[y]` |
//!
//! ## Boxes and detectors
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`IoULoss`] | 1 - torchvision `box_iou` | `l = 1 - I / U` |
//! | [`GIoULoss`] | torchvision `generalized_box_iou_loss` | `l = 1 - I / U + (C - U) / C` |
//! | [`DIoULoss`] | torchvision `distance_box_iou_loss` | `l = 1 - I / U + ρ² / c²` |
//! | [`CIoULoss`] | torchvision `complete_box_iou_loss` | `l = 1 - I / U + ρ² / c² + α v` |
//! | [`detection::YoloBoxLoss`] | YOLOv1 | `l = λ s [(x - x')² + (y - y')² + (f(w) - f(w'))² + (f(h) - f(h'))²]` |
//! | [`detection::YoloV5Loss`] | YOLOv5 `ComputeLoss` | `box + objectness + class` |
//!
//! ## Adversarial training
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`MinMaxGanLoss`] | Goodfellow et al. 2014 | `D: mean softplus(-real) + mean softplus(fake); G: -mean softplus(fake)` |
//! | [`NonSaturatingGanLoss`] | StyleGAN2 `D_logistic`, `G_logistic_ns` | `D as min-max; G: mean softplus(-fake)` |
//! | [`BceGanLoss`] | DCGAN; torch.nn.BCEWithLogitsLoss | `D: bce(real, 1) + bce(fake, 0)` |
//! | [`LeastSquaresGanLoss`] | Mao et al. 2017 | `D: ½ mean (real - b)² + ½ mean (fake - a)²` |
//! | [`WassersteinGanLoss`] | Arjovsky et al. 2017 | `D: mean fake - mean real` |
//! | [`HingeGanLoss`] | Miyato et al. 2018; StudioGAN | `D: mean max(0, 1 - real) + mean max(0, 1 + fake)` |
//! | [`RelativisticGanLoss`] | Jolicoeur-Martineau 2019 | `each score less the mean of the other kind` |
//! | [`adversarial::DiscriminatorLoss`] | a critic and a pair | `loss(input, target) = G(D(target), D(input))` |
//! | [`GradientPenalty`] | WGAN-GP | `penalty = λ mean_n (‖∇ D(x̂_n)‖₂ - γ)²` |
//! | [`adversarial::R1Penalty`] | Mescheder et al. 2018 | `penalty = γ/2 mean_n ‖∇ D(x_n)‖₂²` |
//! | [`adversarial::DraganPenalty`] | Kodali et al. 2017; StudioGAN | `penalty = λ mean_n (‖∇ D(real_n + noise_n)‖₂ - k)²` |
//! | [`adversarial::PathLengthPenalty`] | StyleGAN2-ADA | `mean (length - a)²` |
//! | [`adversarial::FeatureMatchingLoss`] | StudioGAN `feature_matching_loss` | `loss = mean_d \|mean_n f(fake_n)_d - mean_m f(real_m)_d\|` |
//! | [`adversarial::LayerMatchingLoss`] | pix2pixHD | `loss = λ Σ_l w_l mean \|f_l(fake) - f_l(real)\|` |
//! | [`adversarial::CycleConsistencyLoss`] | CycleGAN | `loss = λ_a mean \|F(G(a)) - a\| + λ_b mean \|G(F(b)) - b\|` |
//! | [`adversarial::CycleGanLoss`] | CycleGAN | `total = gan_a + gan_b + λ_a cycle_a + λ_b cycle_b + λ_idt (λ_a identity_a + λ_b identity_b)` |
//! | [`adversarial::Pix2PixLoss`] | pix2pix | `total = gan + λ l1` |
//! | [`adversarial::AlphaGanLoss`] | Rosca et al. 2017 | `D: mean softplus(-D(x)) + mean softplus(D(x_rec)) + mean softplus(D(x_gen))` |
//! | [`adversarial::VaeGanLoss`] | Larsen et al. 2016 | `encoder, decoder and discriminator objectives` |
//! | [`adversarial::SphericalDistanceLoss`] | VQGAN-CLIP `spherical_dist_loss` | `loss = 2 asin(½ ‖â - t̂‖)² = ½ θ²` |
//! | [`adversarial::PromptLoss`] | VQGAN-CLIP `Prompt` | `loss = Σ_p w_p mean_n d(input_n, target_p)` |
//! | [`adversarial::LatentAnchorLoss`] | VQGAN-CLIP `init_weight` | `loss = init_weight / 2 · mean (z - z_0)²` |
//!
//! ## Images
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`perceptual::PerceptualLoss`] | Johnson et al. 2016 | `l = Σ_j w_j ‖φ_j(x) - φ_j(t)‖² / (C_j H_j W_j)` |
//! | [`perceptual::StyleLoss`] | Gatys et al. 2016, piq `StyleLoss` | `l = Σ_j w_j Σ (G_j(x) - G_j(t))² / d_j` |
//! | [`perceptual::ContentStyleLoss`] | Gatys et al. 2016 | `l = α content(x, content picture) + β style(x, style picture)` |
//! | [`perceptual::TopologyAwareLoss`] | Mosinska et al. 2018 | `l = BCE(x, t) + μ Σ_n 1/(M_n W_n H_n) Σ_m ‖l_n^m(t) - l_n^m(σ(x))‖²` |
//! | [`perceptual::LpipsLoss`] | lpips 0.1.4 `LPIPS` | `l = Σ_j mean_hw Σ_c w_jc (φ̂_j(x) - φ̂_j(t))²` |
//! | [`perceptual::TotalVariationLoss`] | torchmetrics `total_variation` | `anisotropic: Σ \|x[i, j+1] - x[i, j]\| + Σ \|x[i+1, j] - x[i, j]\|` |
//! | [`perceptual::EdgeLoss`] | kornia `spatial_gradient`, Charbonnier | `l = √((∂x - ∂t)² + eps²)` |
//! | [`perceptual::FocalFrequencyLoss`] | focal-frequency-loss | `l = w \|F(x) - F(t)\|²` |
//!
//! ## Embeddings
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`ContrastiveLoss`] | pytorch-metric-learning `ContrastiveLoss` | `l = max(0, d - m_p) of pairs of one class, max(0, m_n - d) of two` |
//! | [`TripletMarginLoss`] | torch.nn.TripletMarginLoss | `l = max(0, d(a, p) - d(a, n) + margin)` |
//! | [`TripletLoss`] | pytorch-metric-learning `TripletMarginLoss` and miners, FaceNet, Hermans et al. 2017 | `the same, of triplets found in the batch` |
//! | [`NPairLoss`] | pytorch-metric-learning `NPairsLoss` | `l = log Σ_k e^(a·p_k) - a·p` |
//! | [`NtXentLoss`] | pytorch-metric-learning `NTXentLoss` | `l = -log (e^(s_p/τ) / (e^(s_p/τ) + Σ_n e^(s_n/τ)))` |
//! | [`SupConLoss`] | pytorch-metric-learning `SupConLoss` | `l = log Σ_a e^(s_a/τ) - mean_p s_p/τ` |
//! | [`CircleLoss`] | pytorch-metric-learning `CircleLoss` | `l = log(1 + Σ_n e^(γ α_n (s_n - m)) Σ_p e^(-γ α_p (s_p - 1 + m)))` |
//! | [`MultiSimilarityLoss`] | pytorch-metric-learning `MultiSimilarityLoss` | `l = log(1 + Σ_p e^(-α (s_p - λ))) / α + log(1 + Σ_n e^(β (s_n - λ))) / β` |
//! | [`ArcFaceLoss`] | pytorch-metric-learning `ArcFaceLoss` | `l = CE of s cos θ, with s cos(θ_y + m)` |
//! | [`CosFaceLoss`] | pytorch-metric-learning `CosFaceLoss` | `l = CE of s cos θ, with s (cos θ_y - m)` |
//! | [`ProxyNcaLoss`] | pytorch-metric-learning `ProxyNCALoss` | `l = ‖x - p_y‖² + log Σ_c e^(-‖x - p_c‖²)` |
//! | [`CenterLoss`] | Wen et al. 2016 | `l = ½ ‖x - c_y‖²` |
//!
//! ## Variational autoencoders
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`KlStandardNormal`] | torch.distributions.kl_divergence | `KL = ½ (μ² + σ² - log σ² - 1)` |
//! | [`VaeLoss`] | Kingma and Welling 2014 | `l = reconstruction(x, t) + β KL(N(μ, σ²) ‖ N(0, 1))` |
//!
//! ## Image metrics as losses
//!
//! | loss | follows | formula |
//! |---|---|---|
//! | [`metrics::PsnrLoss`] | piq `psnr`, negated | `l = 10 log10(mse / R² + eps)` |
//! | [`SsimLoss`] | piq `SSIMLoss` | `l = 1 - (2 μx μy + c1) (2 σxy + c2) / ((μx² + μy² + c1) (σx² + σy² + c2))` |
//! | [`MsSsimLoss`] | piq `MultiScaleSSIMLoss` | `l = 1 - SSIM_M^w_M Π_(i<M) CS_i^w_i` |
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
//! - Losses can be differentiated twice; they read nothing back from a device and change no input.
//! - On the CPU many compute value and gradient in one pass: [`fused`].
//!
//! # Features
//!
//! - `link-cuda`: the final binary needs `libtorch_cuda`, so that CUDA is found with nothing else to
//!   do. Without it call [`cuda::load`] first.
//! - `download-libtorch`, `python-extension`, `doc-only`: forwarded to `tch`.

mod check;
mod error;
mod pairwise;
mod random;
mod reduce;

pub mod adversarial;
pub mod alignment;
pub mod autograd;
pub mod classification;
pub mod cuda;
pub mod detection;
pub mod fused;
pub mod loss;
pub mod metric_learning;
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
pub use metric_learning::{
    ArcFaceLoss, CenterLoss, CircleLoss, ContrastiveLoss, CosFaceLoss, MultiSimilarityLoss,
    NPairLoss, NtXentLoss, ProxyNcaLoss, SupConLoss, TripletLoss, TripletMarginLoss,
};
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
