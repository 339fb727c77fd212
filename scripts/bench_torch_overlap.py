"""PyTorch's side of benches/cases/overlap.rs: MONAI, kornia and smp, or what people write where they have nothing."""

import torch
import torch.nn.functional as F
from kornia.losses import dice_loss, tversky_loss
from monai.losses import DiceLoss, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss, MCCLoss
from segmentation_models_pytorch.losses import DiceLoss as SmpDiceLoss

ONE_HOT = {"softmax": True, "to_onehot_y": True}


def of_monai(loss):
    return lambda x, t: loss(x, t.unsqueeze(1))


def dice(inputs):
    return of_monai(DiceLoss(**ONE_HOT)), inputs.classes()


def dice_kornia_macro(inputs):
    return lambda x, t: dice_loss(x, t, "macro"), inputs.classes()


def dice_smp_ignore(inputs):
    return SmpDiceLoss("multiclass", ignore_index=255), inputs.classes_ignored()


def dice_multilabel(inputs):
    return DiceLoss(sigmoid=True), inputs.hard(torch.float32)


def jaccard(inputs):
    return of_monai(DiceLoss(**ONE_HOT, jaccard=True)), inputs.classes()


def tversky(inputs):
    return lambda x, t: tversky_loss(x, t, 0.3, 0.7), inputs.classes()


def counts(x, t):
    p = x.softmax(1)
    one_hot = F.one_hot(t, x.shape[1]).movedim(-1, 1).to(p.dtype)
    axes = list(range(2, x.ndim))
    return (p * one_hot).sum(axes), (p * (1 - one_hot)).sum(axes), ((1 - p) * one_hot).sum(axes)


def focal_tversky(inputs):
    def loss(x, t):
        tp, fp, fn = counts(x, t)
        return ((1 - (tp + 1e-5) / (tp + 0.3 * fp + 0.7 * fn + 1e-5)) ** 0.75).mean()

    return loss, inputs.classes()


def f_beta(inputs):
    def loss(x, t):
        tp, fp, fn = counts(x, t)
        return (1 - (3.25 * tp + 1e-5) / (3.25 * tp + fp + 2.25 * fn + 1e-5)).mean()

    return loss, inputs.classes()


def log_cosh_dice(inputs):
    def loss(x, t):
        tp, fp, fn = counts(x, t)
        return (1 - (2 * tp + 1e-5) / (2 * tp + fp + fn + 1e-5)).cosh().log().mean()

    return loss, inputs.classes()


def generalized_dice(inputs):
    return of_monai(GeneralizedDiceLoss(**ONE_HOT)), inputs.classes()


def wasserstein_dice(inputs):
    classes = torch.arange(float(inputs.size[1]))
    return GeneralizedWassersteinDiceLoss(inputs.put((classes - classes.view(-1, 1)).abs())), inputs.classes()


def sensitivity_specificity(inputs):
    def loss(x, t):
        p = x.softmax(1)
        one_hot = F.one_hot(t, x.shape[1]).movedim(-1, 1).to(p.dtype)
        axes = list(range(2, x.ndim))
        error = (one_hot - p) ** 2
        sensitivity = (error * one_hot).sum(axes) / (one_hot.sum(axes) + 1)
        specificity = (error * (1 - one_hot)).sum(axes) / ((1 - one_hot).sum(axes) + 1)
        return (0.1 * sensitivity + 0.9 * specificity).mean()

    return loss, inputs.classes()


def mcc(inputs):
    return of_monai(MCCLoss(**ONE_HOT)), inputs.classes()
