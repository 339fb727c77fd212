"""PyTorch's side of benches/cases/regression.rs: regression losses, norms and losses of variational autoencoders.

PyTorch's own functions where there are such; else the composition that people write.
"""

import math

import torch
import torch.nn.functional as F


def errors(inputs):
    return inputs.logits(), inputs.put(torch.randn(inputs.size))


def l1(inputs):
    return F.l1_loss, errors(inputs)


def mse(inputs):
    return F.mse_loss, errors(inputs)


def rmse(inputs):
    return lambda x, t: F.mse_loss(x, t).sqrt(), errors(inputs)


def huber(inputs):
    return F.huber_loss, errors(inputs)


def smooth_l1(inputs):
    return F.smooth_l1_loss, errors(inputs)


def log_cosh(inputs):
    def loss(x, t):
        d = x - t
        return torch.mean(d + F.softplus(-2.0 * d) - math.log(2.0))

    return loss, errors(inputs)


def charbonnier(inputs):
    return lambda x, t: torch.sqrt((x - t) ** 2 + 1e-6).mean(), errors(inputs)


def balanced_l1(inputs):
    """The paper's two branches."""
    alpha, gamma = 0.5, 1.5
    b = math.exp(gamma / alpha) - 1

    def loss(x, t):
        d = (x - t).abs()
        small = alpha / b * (b * d + 1) * torch.log(b * d + 1) - alpha * d
        return torch.where(d < 1, small, gamma * d + gamma / b - alpha).mean()

    return loss, errors(inputs)


def quantile(inputs):
    def loss(x, t):
        missing = t - x
        return torch.max(0.9 * missing, (0.9 - 1) * missing).mean()

    return loss, errors(inputs)


def mape(inputs):
    return lambda x, t: 100 * ((t - x) / t.abs().clamp(min=1e-7)).abs().mean(), errors(inputs)


def msle(inputs):
    def loss(x, t):
        return F.mse_loss(torch.log1p(x.clamp(min=1e-7)), torch.log1p(t.clamp(min=1e-7)))

    return loss, (inputs.leaf(torch.rand(inputs.size) * 5), inputs.put(torch.rand(inputs.size) * 5))


def poisson_nll(inputs):
    return F.poisson_nll_loss, (inputs.logits(), inputs.put(torch.randint(6, inputs.size).float()))


def gaussian_nll(inputs):
    input, target = errors(inputs)
    return F.gaussian_nll_loss, (input, target, inputs.leaf(torch.rand(inputs.size) + 0.1))


def cosine_similarity(inputs):
    return lambda x, t: (1 - F.cosine_similarity(x, t)).mean(), errors(inputs)


def cosine_embedding(inputs):
    a, b = inputs.logits(), inputs.logits()
    return F.cosine_embedding_loss, (a, b, inputs.put(torch.randint(2, inputs.size[:1]).float() * 2 - 1))


def l1_norm(inputs):
    return lambda x: torch.linalg.vector_norm(x, 1, 1).mean(), (inputs.logits(),)


def l2_norm(inputs):
    return lambda x: torch.linalg.vector_norm(x, 2, 1).mean(), (inputs.logits(),)


def lp_norm(inputs):
    return lambda x: torch.linalg.vector_norm(x, 3, 1).mean(), (inputs.logits(),)


def divergence(mu, logvar):
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(mu)


def kl_standard_normal(inputs):
    return divergence, (inputs.logits(), inputs.logits())


def vae(inputs):
    def loss(x, t, mu, logvar):
        return F.binary_cross_entropy_with_logits(x, t, reduction="sum") / len(x) + divergence(mu, logvar)

    x, t = inputs.logits(), inputs.put(torch.rand(inputs.size))
    mu, logvar = (inputs.leaf(torch.randn(inputs.size[0], 64)) for _ in range(2))
    return loss, (x, t, mu, logvar)


def boxes(inputs):
    input, target = (torch.rand(inputs.size[0], 4) * 0.9 + 0.05 for _ in range(2))
    return inputs.leaf(input), inputs.put(target)


def yolo_box_v1(inputs):
    def loss(x, t):
        centre = F.mse_loss(x[:, :2], t[:, :2], reduction="sum")
        size = F.mse_loss(x[:, 2:].sqrt(), t[:, 2:].sqrt(), reduction="sum")
        return 5 * (centre + size) / len(x)

    return loss, boxes(inputs)


def yolo_box_v2(inputs):
    def loss(x, t):
        scale = 2 - t[:, 2:3] * t[:, 3:4]
        centre = (scale * (x[:, :2] - t[:, :2]) ** 2).sum()
        size = (scale * (x[:, 2:].log() - t[:, 2:].log()) ** 2).sum()
        return (centre + size) / len(x)

    return loss, boxes(inputs)
