"""Python's side of benches/cases/metric_learning.rs: pytorch-metric-learning and PyTorch.

NT-Xent is the composition that people write, as the package's takes memory by pairs times pairs; so is FaceNet's semi-hard
negative, which the package does not have.
"""

import math
import sys
from unittest import mock

import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.inference import CustomKNN

# The package wants scikit-learn for scores of clusters, which are not asked for here.
CLUSTERS = {name: mock.MagicMock() for name in ("sklearn", "sklearn.metrics")}
sys.modules.update(CLUSTERS)
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator  # noqa: E402

for name in CLUSTERS:
    del sys.modules[name]


def classes(inputs):
    return max(inputs.size[0] // 8, 2)


def labels(inputs):
    return inputs.put(torch.randint(classes(inputs), inputs.size[:1]))


def batch(inputs):
    input = inputs.leaf(torch.randn(inputs.size))
    return input, labels(inputs)


def with_classes(inputs):
    return *batch(inputs), inputs.leaf(torch.randn(classes(inputs), inputs.size[1]))


def contrastive(inputs):
    return losses.ContrastiveLoss(), batch(inputs)


def triplet_all(inputs):
    return losses.TripletMarginLoss(0.2), batch(inputs)


def triplet_all_soft(inputs):
    return losses.TripletMarginLoss(0.2, smooth_loss=True), batch(inputs)


def mined(inputs, miner):
    loss = losses.TripletMarginLoss(0.2)
    return lambda x, t: loss(x, t, miner(x, t)), batch(inputs)


def triplet_batch_hard(inputs):
    return mined(inputs, miners.BatchHardMiner())


def triplet_semi_hard_all(inputs):
    return mined(inputs, miners.TripletMarginMiner(0.2, type_of_triplets="semihard"))


def triplet_semi_hard(inputs):
    """TensorFlow Addons' rule, with a cube of distances."""

    def loss(x, t):
        x = F.normalize(x)
        far = torch.cdist(x, x)
        alike = t[:, None] == t
        positive = alike & ~torch.eye(len(t), dtype=torch.bool, device=x.device)
        to_negatives = far.masked_fill(alike, math.inf)
        beyond = to_negatives[:, None].expand(-1, len(t), -1)
        beyond = beyond.masked_fill(beyond <= far[:, :, None], math.inf).amin(2)
        farthest = far.masked_fill(alike, -math.inf).amax(1, keepdim=True)
        negative = torch.where(beyond.isinf(), farthest, beyond)
        cost = F.relu(far - negative + 0.2)[positive]
        return cost.sum() / (cost > 0).sum()

    return loss, batch(inputs)


def n_pair(inputs):
    return losses.NPairsLoss(), batch(inputs)


def nt_xent(inputs):
    def loss(x, t):
        x = F.normalize(x)
        score = x @ x.T / 0.07
        alike = t[:, None] == t
        positive = alike & ~torch.eye(len(t), dtype=torch.bool, device=x.device)
        others = score.masked_fill(alike, -math.inf).logsumexp(1, keepdim=True)
        return (torch.logaddexp(score, others) - score)[positive].mean()

    return loss, batch(inputs)


def sup_con(inputs):
    return losses.SupConLoss(), batch(inputs)


def circle(inputs):
    return losses.CircleLoss(), batch(inputs)


def multi_similarity(inputs):
    return losses.MultiSimilarityLoss(), batch(inputs)


def of_classes(inputs, make, parameter, view):
    module = make(num_classes=classes(inputs), embedding_size=inputs.size[1]).to(inputs.device)
    delattr(module, parameter)

    def loss(x, t, vectors):
        setattr(module, parameter, view(vectors))
        return module(x, t)

    return loss, with_classes(inputs)


def arc_face(inputs):
    return of_classes(inputs, losses.ArcFaceLoss, "W", torch.t)


def cos_face(inputs):
    return of_classes(inputs, losses.CosFaceLoss, "W", torch.t)


def proxy_nca(inputs):
    return of_classes(inputs, losses.ProxyNCALoss, "proxies", lambda vectors: vectors)


def triplet_margin(inputs):
    return F.triplet_margin_loss, tuple(inputs.leaf(torch.randn(inputs.size)) for _ in range(3))


def retrieval(inputs):
    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(
        include=names, k="max_bin_count", knn_func=CustomKNN(LpDistance(normalize_embeddings=False)), kmeans_func=lambda *_: None
    )

    def metrics(x, t):
        return torch.tensor(calculator.get_accuracy(x, t)[names[2]], dtype=torch.float64)

    return metrics, (inputs.put(torch.randn(inputs.size)), labels(inputs))
