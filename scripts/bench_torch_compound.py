"""PyTorch's side of benches/cases/compound.rs: kornia, smp, piq, MONAI, nnU-Net, or what people write."""

import piq
import torch
import torch.nn.functional as F
from kornia.losses import lovasz_hinge_loss, lovasz_softmax_loss
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceFocalLoss, SoftDiceclDiceLoss
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss, DC_and_topk_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from segmentation_models_pytorch.losses import LovaszLoss
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.ops import sigmoid_focal_loss


def lovasz_hinge(inputs):
    return lambda x, t: lovasz_hinge_loss(x, t.squeeze(1)), inputs.hard(torch.float32)


def lovasz_softmax(inputs):
    return LovaszLoss("multiclass"), inputs.classes()


def lovasz_softmax_image(inputs):
    return lovasz_softmax_loss, inputs.classes()


def images(inputs):
    target = torch.rand(inputs.size)
    input = inputs.leaf(target * 0.7 + torch.rand(inputs.size) * 0.3)
    return input, inputs.put(target)


def ssim(inputs):
    return lambda x, y: 1 - piq.ssim(x, y, downsample=False), images(inputs)


def ssim_reflect(inputs):
    return lambda x, y: 1 - structural_similarity_index_measure(x, y, data_range=1.0), images(inputs)


def ms_ssim(inputs):
    return lambda x, y: 1 - piq.multi_scale_ssim(x, y), images(inputs)


def one_hot(target, like):
    return F.one_hot(target, like.shape[1]).movedim(-1, 1).to(like.dtype)


def unified_focal(inputs):
    """As the authors write it, for softmax and several classes."""

    def loss(x, t):
        p, y = x.softmax(1).clamp(1e-7, 1 - 1e-7), one_hot(t, x)
        entropy = -y * p.log()
        focal = (0.4 * (1 - p[:, :1]) ** 0.5 * entropy[:, :1]).sum(1) + (0.6 * entropy[:, 1:]).sum(1)
        axes = list(range(2, x.ndim))
        tp, fp, fn = (p * y).sum(axes), (p * (1 - y)).sum(axes), ((1 - p) * y).sum(axes)
        rest = 1 - (tp + 1e-7) / (tp + 0.6 * fn + 0.4 * fp + 1e-7)
        tversky = torch.cat([rest[:, :1], rest[:, 1:] ** 0.5], 1)
        return (focal.mean() + tversky.mean()) / 2

    return loss, inputs.classes()


def exp_log(inputs):
    def loss(x, t):
        logp = x.log_softmax(1)
        p, y = logp.exp(), one_hot(t, x)
        axes = list(range(2, x.ndim))
        dice = (2 * (p * y).sum(axes) + 1) / (p.sum(axes) + y.sum(axes) + 1)
        counts = y.sum([0, *axes])
        weight = (counts.sum() / counts.clamp(min=1)).sqrt()
        cross = (-logp.gather(1, t.unsqueeze(1)).squeeze(1)) ** 0.3 * weight[t]
        return 0.8 * ((-dice.log()) ** 0.3).mean() + 0.2 * cross.mean()

    return loss, inputs.classes()


def combo(inputs):
    def loss(x, t):
        p = x.sigmoid()
        axes = [0, *range(2, x.ndim)]
        dice = (2 * (p * t).sum(axes) + 1) / (p.sum(axes) + t.sum(axes) + 1)
        return 0.25 * F.binary_cross_entropy_with_logits(x, t) - 0.5 * dice.mean()

    return loss, inputs.hard(torch.float32)


def gaussian(size, like):
    line = torch.exp(-((torch.arange(size, device=like.device, dtype=like.dtype) - size // 2) ** 2) / 4.5)
    return torch.outer(line, line) / line.sum() ** 2


def structural_correlation(inputs):
    def loss(x, t):
        p, channels = x.sigmoid(), x.shape[1]
        kernel = gaussian(3, x).expand(channels, 1, 3, 3)
        blur = lambda m: F.conv2d(F.pad(m, [1] * 4, mode="reflect"), kernel, groups=channels)

        def standardised(m):
            mean = blur(m)
            variance = (blur(m * m) - mean * mean).clamp(min=0)
            deviation = variance.clamp(min=1e-6) ** -0.5 * variance
            return (m - mean + 0.01) / (deviation + 0.01)

        e = (standardised(t) - standardised(p)).abs()
        chosen = (e > 0.1 * e.detach().max()).to(x.dtype)
        entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
        return (e * entropy * chosen).sum() / chosen.sum()

    return loss, inputs.hard(torch.float32)


def with_channel(inputs):
    logits, target = inputs.classes()
    return logits, target.unsqueeze(1)


def dice_ce(inputs):
    return DiceCELoss(softmax=True, to_onehot_y=True), with_channel(inputs)


NNUNET = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}


def dice_ce_nnunet(inputs):
    return DC_and_CE_loss(dict(NNUNET), {}, dice_class=MemoryEfficientSoftDiceLoss), with_channel(inputs)


def dice_bce(inputs):
    return DC_and_BCE_loss({}, {**NNUNET, "do_bg": True}), inputs.hard(torch.float32)


def dice_focal(inputs):
    return DiceFocalLoss(sigmoid=True), inputs.hard(torch.float32)


def dice_top_k(inputs):
    loss = DC_and_topk_loss(dict(NNUNET), {"k": 10})
    return lambda x, t: loss(x, t.float()), with_channel(inputs)


def dice_cl_dice(inputs):
    return SoftDiceclDiceLoss(softmax=True, to_onehot_y=True), with_channel(inputs)


def iou(p, y):
    axes = list(range(2, p.ndim))
    inter = (p * y).sum(axes)
    return (1 - inter / (p.sum(axes) + y.sum(axes) - inter)).mean()


def basnet_hybrid(inputs):
    """With the SSIM of pytorch-ssim, which pads with zeros."""

    def loss(x, t):
        p, channels = x.sigmoid(), x.shape[1]
        kernel = gaussian(11, x).expand(channels, 1, 11, 11)
        blur = lambda m: F.conv2d(m, kernel, padding=5, groups=channels)
        a, b = blur(p), blur(t)
        aa, bb, ab = blur(p * p) - a * a, blur(t * t) - b * b, blur(p * t) - a * b
        ssim = (2 * a * b + 1e-4) * (2 * ab + 9e-4) / ((a * a + b * b + 1e-4) * (aa + bb + 9e-4))
        return F.binary_cross_entropy_with_logits(x, t) + 1 - ssim.mean() + iou(p, t)

    return loss, inputs.hard(torch.float32)


def unet3plus_hybrid(inputs):
    target = (torch.rand(inputs.size) > 0.5).float()
    logits = inputs.leaf(target * 4 - 2 + torch.randn(inputs.size) * 0.5)

    def loss(x, t):
        p = x.sigmoid()
        return sigmoid_focal_loss(x, t, reduction="mean") + 1 - piq.multi_scale_ssim(p, t) + iou(p, t)

    return loss, (logits, inputs.put(target))


def deep_supervision(inputs):
    images, classes, side, _ = inputs.size
    outputs = [inputs.leaf(torch.randn(images, classes, side // by, side // by) * 2) for by in [1, 2, 4, 8]]
    loss = DeepSupervisionLoss(DiceCELoss(softmax=True, to_onehot_y=True))
    target = inputs.put(inputs.index()).unsqueeze(1)
    return lambda *args: loss(list(args[:-1]), args[-1].float()), (*outputs, target)
