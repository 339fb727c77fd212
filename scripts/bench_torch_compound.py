"""PyTorch's side of benches/cases/compound.rs: kornia, smp, piq, MONAI, nnU-Net, or what people write."""

import torch
from kornia.losses import lovasz_hinge_loss, lovasz_softmax_loss
from segmentation_models_pytorch.losses import LovaszLoss


def lovasz_hinge(inputs):
    return lambda x, t: lovasz_hinge_loss(x, t.squeeze(1)), inputs.hard(torch.float32)


def lovasz_softmax(inputs):
    return LovaszLoss("multiclass"), inputs.classes()


def lovasz_softmax_image(inputs):
    return lovasz_softmax_loss, inputs.classes()
