"""PyTorch's side of benches/cases/images.rs: piq, kornia, torchmetrics, focal-frequency-loss, and what people write."""

import kornia
import piq
import torch
from focal_frequency_loss import FocalFrequencyLoss
from torchmetrics.functional.image import total_variation as of_torchmetrics


def pair(inputs):
    return inputs.leaf(torch.rand(inputs.size)), inputs.put(torch.rand(inputs.size))


def psnr(inputs):
    return lambda x, t: -piq.psnr(x, t), pair(inputs)


def edge(inputs):
    gradient = kornia.filters.spatial_gradient
    return lambda x, t: ((gradient(x) - gradient(t)) ** 2 + 1e-6).sqrt().mean(), pair(inputs)


def focal_frequency(inputs):
    return FocalFrequencyLoss(), pair(inputs)


def gram(inputs):
    def matrix(x):
        n, c, h, w = x.shape
        rows = x.view(n, c, h * w)
        return rows.bmm(rows.transpose(1, 2)) / (c * h * w)

    return lambda x, t: torch.nn.functional.mse_loss(matrix(x), matrix(t)), pair(inputs)


def total_variation(inputs):
    return lambda x: of_torchmetrics(x, reduction="mean"), (inputs.leaf(torch.rand(inputs.size)),)


def total_variation_isotropic(inputs):
    def loss(x):
        right, below = x[..., :-1, 1:] - x[..., :-1, :-1], x[..., 1:, :-1] - x[..., :-1, :-1]
        return ((right**2 + below**2 + 1e-6).sqrt() - 1e-3).sum() / len(x)

    return loss, (inputs.leaf(torch.rand(inputs.size)),)
