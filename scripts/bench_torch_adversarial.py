"""PyTorch's side of benches/cases/adversarial.rs: what training loops of GANs write."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def normal(inputs):
    return inputs.leaf(torch.randn(inputs.size))


def scores(inputs):
    return normal(inputs), normal(inputs)


def gan_minmax(inputs):
    return lambda r, f: (F.softplus(-r).mean() + F.softplus(f).mean()) - F.softplus(f).mean(), scores(inputs)


def gan_non_saturating(inputs):
    return lambda r, f: (F.softplus(-r).mean() + F.softplus(f).mean()) + F.softplus(-f).mean(), scores(inputs)


def gan_bce(inputs):
    def loss(r, f):
        bce = F.binary_cross_entropy_with_logits
        label = lambda x, value: torch.full((), value, device=x.device).expand_as(x)
        return bce(r, label(r, 0.9)) + bce(f, label(f, 0.0)) + bce(f, label(f, 1.0))

    return loss, scores(inputs)


def gan_least_squares(inputs):
    return lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean() + 0.5 * ((f - 1) ** 2).mean(), scores(inputs)


def gan_wasserstein(inputs):
    return lambda r, f: (f.mean() - r.mean()) - f.mean(), scores(inputs)


def gan_hinge(inputs):
    return lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean() - f.mean(), scores(inputs)


def gan_rasgan(inputs):
    def loss(r, f):
        d = F.softplus(-(r - f.mean())).mean() + F.softplus(f - r.mean()).mean()
        return d + F.softplus(-(f - r.mean())).mean() + F.softplus(r - f.mean()).mean()

    return loss, scores(inputs)


def gan_ralsgan(inputs):
    def loss(r, f):
        d = ((r - f.mean() - 1) ** 2).mean() + ((f - r.mean() + 1) ** 2).mean()
        return d + ((f - r.mean() - 1) ** 2).mean() + ((r - f.mean() + 1) ** 2).mean()

    return loss, scores(inputs)


def critic(x, first, second):
    x = F.leaky_relu(F.conv2d(x, first, stride=2, padding=1))
    return F.leaky_relu(F.conv2d(x, second, stride=2, padding=1)).mean([1, 2, 3])


def slope(x, *kernels):
    x = x.detach().requires_grad_()
    result = critic(x, *kernels)
    return torch.autograd.grad(result, x, torch.ones_like(result), create_graph=True)[0]


def penalised(inputs):
    kernels = inputs.kernel(32, inputs.size[1], 4, 4), inputs.kernel(64, 32, 4, 4)
    return *kernels, inputs.put(torch.randn(inputs.size)), inputs.put(torch.randn(inputs.size))


def r1(inputs):
    return lambda first, second, real, _: 5 * slope(real, first, second).square().sum([1, 2, 3]).mean(), penalised(inputs)


def dragan(inputs):
    def loss(first, second, real, noise):
        return 10 * ((slope(real + noise, first, second).flatten(1).norm(2, 1) - 1) ** 2).mean()

    return loss, penalised(inputs)


def path_length(inputs):
    def loss(latents, weight, noise):
        images = (latents @ weight).tanh().view(noise.shape)
        noise = noise / (noise.shape[2] * noise.shape[3]) ** 0.5
        (grad,) = torch.autograd.grad((images * noise).sum(), latents, create_graph=True)
        lengths = grad.square().sum(1).sqrt()
        average = torch.zeros((), device=lengths.device).lerp(lengths.mean(), 0.01)
        return 2 * (lengths - average).square().mean()

    latents = inputs.put(torch.randn(inputs.size[0], 64)).requires_grad_()
    weight = inputs.kernel(64, inputs.size[1] * inputs.size[2] * inputs.size[3])
    return loss, (latents, weight, inputs.put(torch.randn(inputs.size)))


def spectral_conv(inputs):
    x, weight = normal(inputs), inputs.kernel(2 * inputs.size[1], inputs.size[1], 4, 4)
    layer = nn.Conv2d(inputs.size[1], 2 * inputs.size[1], 4, stride=2, padding=1).to(inputs.device)
    layer = spectral_norm(layer)
    parametrization = layer.parametrizations.weight
    with torch.no_grad():
        parametrization.original.copy_(weight)
        layer.bias.zero_()
        for vector in (parametrization[0]._u, parametrization[0]._v):
            vector.fill_(len(vector) ** -0.5)
    return lambda x, _: layer(x).square().mean(), (x, parametrization.original)


def feature_matching(inputs):
    return lambda x, t: (x.mean(0) - t.mean(0)).abs().mean(), (normal(inputs), inputs.put(torch.randn(inputs.size)))


def distance(x, y):
    x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    return (x - y).norm(dim=-1).div(2).arcsin().pow(2).mul(2)


def spherical_distance(inputs):
    return lambda x, t: distance(x, t).mean(), (normal(inputs), inputs.put(torch.randn(inputs.size)))


def prompt(inputs):
    weights = inputs.put(torch.tensor([1, -0.5, 2, 1]))

    def loss(x, prompts):
        return (distance(x[:, None], prompts[None]) * weights).sum(1).mean()

    return loss, (normal(inputs), inputs.put(torch.randn(4, inputs.size[1])))


def latent_anchor(inputs):
    return lambda x, t: F.mse_loss(x, t) / 2, (normal(inputs), inputs.put(torch.randn(inputs.size)))


def layer_matching(inputs):
    def loss(*layers):
        return 10 * sum(F.l1_loss(fake, real.detach()) for fake, real in zip(layers[:4], layers[4:]))

    fake = [normal(inputs) for _ in range(4)]
    return loss, (*fake, *(inputs.put(torch.randn(inputs.size)) for _ in range(4)))


def cycle_gan(inputs):
    def loss(cycled_a, cycled_b, same_a, same_b, real_a, real_b, scores_a, scores_b):
        gan = sum(F.mse_loss(s, torch.ones((), device=s.device).expand_as(s)) for s in (scores_a, scores_b))
        cycle = F.l1_loss(cycled_a, real_a) * 10 + F.l1_loss(cycled_b, real_b) * 10
        return gan + cycle + F.l1_loss(same_a, real_a) * 5 + F.l1_loss(same_b, real_b) * 5

    made = [inputs.leaf(torch.rand(inputs.size)) for _ in range(4)]
    real = [inputs.put(torch.rand(inputs.size)) for _ in range(2)]
    judged = [inputs.leaf(torch.randn(inputs.size[0], 1, 30, 30)) for _ in range(2)]
    return loss, (*made, *real, *judged)


def vae_gan_encoder(inputs):
    def loss(features, real, mu, logvar):
        prior = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1).mean()
        return prior + 0.5 * (features - real.detach()).square().flatten(1).sum(1).mean()

    features, real = normal(inputs), inputs.put(torch.randn(inputs.size))
    return loss, (features, real, *(inputs.leaf(torch.randn(inputs.size[0], 128)) for _ in range(2)))
