"""PyTorch's side of benches/cases/classification.rs: the kin of cross entropy.

timm's losses and PyTorch's own functions where there are such; else the composition that people write.
"""

import torch
import torch.nn.functional as F
from timm import loss as timm


def probabilities(inputs):
    return inputs.leaf(torch.randn(inputs.size).softmax(1))


def distribution(inputs):
    return inputs.put(torch.rand(inputs.size).softmax(1))


def signs(inputs):
    return inputs.logits(), inputs.put(torch.randint(2, inputs.size).float() * 2 - 1)


def normalised(p):
    """As Keras has it."""
    return (p / p.sum(1, keepdim=True)).clip(1e-7, 1 - 1e-7)


def categorical_cross_entropy(inputs):
    return lambda p, t: F.nll_loss(normalised(p).log(), t), (probabilities(inputs), inputs.put(inputs.index()))


def categorical_cross_entropy_dense(inputs):
    return lambda p, t: -(t * normalised(p).log()).sum(1).mean(), (probabilities(inputs), distribution(inputs))


def categorical_focal(inputs):
    def loss(p, t):
        p = normalised(p)
        return ((1 - p) ** 2 * 0.25 * (-t * p.log())).sum(1).mean()

    return loss, (probabilities(inputs), distribution(inputs))


def binary_focal(inputs):
    def loss(p, t):
        bce = F.binary_cross_entropy(p.clip(1e-7, 1 - 1e-7), t, reduction="none")
        return ((1 - (t * p + (1 - t) * (1 - p))) ** 2 * bce).mean()

    p = inputs.leaf(torch.randn(inputs.size).sigmoid())
    return loss, (p, inputs.put((torch.rand(inputs.size) < 0.1).float()))


def nll(inputs):
    return F.nll_loss, (inputs.leaf(torch.randn(inputs.size).log_softmax(1)), inputs.put(inputs.index()))


def soft_target(inputs):
    return timm.SoftTargetCrossEntropy(), (inputs.logits(), distribution(inputs))


def one_vs_rest(inputs):
    return timm.BinaryCrossEntropy(), inputs.classes()


def generalized_cross_entropy(inputs):
    def loss(x, t):
        p = x.softmax(1).gather(1, t.unsqueeze(1)).squeeze(1)
        return ((1 - p**0.7) / 0.7).mean()

    return loss, inputs.classes()


def poly_cross_entropy(inputs):
    return timm.PolyCrossEntropy(), inputs.classes()


def poly_bce(inputs):
    return timm.PolyBinaryCrossEntropy(), inputs.hard(torch.float32)


def asymmetric_multi_label(inputs):
    return timm.AsymmetricLossMultiLabel(), inputs.hard(torch.float32)


def asymmetric_single_label(inputs):
    return timm.AsymmetricLossSingleLabel(), inputs.classes()


def balanced_bce(inputs):
    def loss(x, t):
        beta = 1 - t.mean()
        return -(beta * t * F.logsigmoid(x) + (1 - beta) * (1 - t) * F.logsigmoid(-x)).mean()

    return loss, inputs.hard(torch.float32)


def jsd_cross_entropy(inputs):
    return timm.JsdCrossEntropy(), inputs.classes()


def matrix_cross_entropy(inputs):
    matrix = inputs.put(torch.rand(inputs.size[1], inputs.size[1]))

    def loss(p, t):
        one_hot = F.one_hot(t, p.shape[1]).to(p.dtype)
        p = p.clip(1e-7, 1)
        e = p.exp()
        return (one_hot @ matrix.T * e - one_hot * (p.log2() + e)).sum(1).mean()

    return loss, (probabilities(inputs), inputs.put(inputs.index()))


def kl_div(inputs):
    x = inputs.leaf(torch.randn(inputs.size).log_softmax(1))
    return lambda x, t: F.kl_div(x, t, reduction="batchmean"), (x, distribution(inputs))


def jensen_shannon(p, q):
    log_m = ((p + q) / 2).log()
    return (F.kl_div(log_m, p, reduction="batchmean") + F.kl_div(log_m, q, reduction="batchmean")) / 2


def js_div(inputs):
    return lambda x, q: jensen_shannon(x.softmax(1), q), (inputs.logits(), distribution(inputs))


def js_div_probabilities(inputs):
    return jensen_shannon, (probabilities(inputs), distribution(inputs))


def hardest(x, t, ignore_index):
    """As nnU-Net's TopKLoss."""
    losses = F.cross_entropy(x, t, ignore_index=ignore_index, reduction="none").view(-1)
    return torch.topk(losses, losses.numel() // 10, sorted=False)[0].mean()


def top_k(inputs):
    return lambda x, t: hardest(x, t, -100), inputs.classes()


def top_k_ignore(inputs):
    """Of the pixels that count, which takes a boolean mask and a look at how many there are."""

    def loss(x, t):
        losses = F.cross_entropy(x, t, ignore_index=255, reduction="none")[t != 255]
        return torch.topk(losses, losses.numel() // 10, sorted=False)[0].mean()

    return loss, inputs.classes_ignored()


def hinge(inputs):
    return lambda x, t: (1 - x * t).clamp(min=0).mean(), signs(inputs)


def squared_hinge(inputs):
    return lambda x, t: (1 - x * t).clamp(min=0).square().mean(), signs(inputs)


def soft_margin(inputs):
    return F.soft_margin_loss, signs(inputs)


def hinge_embedding(inputs):
    return F.hinge_embedding_loss, signs(inputs)


def categorical_hinge(inputs):
    """As Keras has it."""

    def loss(x, t):
        t = F.one_hot(t, x.shape[1]).to(x.dtype)
        return (((1 - t) * x).amax(1) - (t * x).sum(1) + 1).clamp(min=0).mean()

    return loss, inputs.classes()


def multi_margin(inputs):
    return F.multi_margin_loss, inputs.classes()


def multi_label_soft_margin(inputs):
    return F.multilabel_soft_margin_loss, inputs.hard(torch.float32)


def multi_label_margin(inputs):
    x, labels = inputs.logits(), torch.rand(inputs.size).argsort(1)
    labels[:, 3] = -1
    return F.multilabel_margin_loss, (x, inputs.put(labels))


def margin_ranking(inputs):
    a, b = inputs.logits(), inputs.logits()
    target = inputs.put(torch.randint(2, inputs.size).float() * 2 - 1)
    return lambda a, b, t: F.margin_ranking_loss(a, b, t, 0.5), (a, b, target)
