"""PyTorch's side of benches/cases/compound.rs: kornia, smp, piq, MONAI, nnU-Net, or what people write."""

import piq
import torch
from kornia.losses import lovasz_hinge_loss, lovasz_softmax_loss
from segmentation_models_pytorch.losses import LovaszLoss
from torchmetrics.functional.image import structural_similarity_index_measure


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
