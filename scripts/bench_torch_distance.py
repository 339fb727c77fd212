"""PyTorch's side of benches/cases/distance.rs: scipy's transform, MONAI and kornia, or what people write around scipy."""

import numpy as np
import torch
import torch.nn.functional as F
from kornia.losses import HausdorffERLoss
from monai.losses import BoundaryLoss, HausdorffDTLoss, SoftclDiceLoss
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

ONE_HOT = {"softmax": True, "to_onehot_y": True}


def smooth(noise):
    pool, kernel = (F.avg_pool2d, 9) if noise.ndim == 4 else (F.avg_pool3d, 5)
    return pool(pool(noise, kernel, 1, kernel // 2), kernel, 1, kernel // 2)


def blobs(inputs):
    return inputs.put(smooth(torch.rand(inputs.size).unsqueeze(1)).squeeze(1) > 0.5)


def cells(inputs):
    images, height, width = inputs.size
    numbers = torch.arange(16).view(4, 4) + 1
    kept = torch.rand(images, 4, 4) < 0.8
    grown = (numbers * kept).repeat_interleave(height // 4, 1).repeat_interleave(width // 4, 2)
    rim = F.pad(torch.ones(height // 4 - 4, width // 4 - 4, dtype=torch.int64), [2] * 4)
    return inputs.put(grown * rim.repeat(4, 4))


def regions(inputs):
    logits = inputs.logits()
    return logits, index(inputs)


def index(inputs):
    noise = torch.rand(inputs.size)
    return inputs.put(smooth(noise.flatten(0, 1).unsqueeze(1)).view_as(noise).argmax(1))


def transform(masks, spacing=None):
    """scipy's, image by image, on the CPU."""
    of_host = masks.cpu().numpy()
    maps = np.stack([ndimage.distance_transform_edt(mask, spacing) for mask in of_host])
    return torch.from_numpy(maps).float().to(masks.device)


def edt(inputs):
    return transform, (blobs(inputs),)


edt_volume = edt


def edt_spacing(inputs):
    return lambda masks: transform(masks, [3, 0.7]), (blobs(inputs),)


def edt_signed(inputs):
    return lambda masks: transform(~masks) - transform(masks), (blobs(inputs),)


def hd95(inputs):
    masks = blobs(inputs), blobs(inputs)
    return lambda a, b: compute_hausdorff_distance(a.unsqueeze(1), b.unsqueeze(1), include_background=True, percentile=95), masks


def unet_weight_map(inputs):
    def weights(labels):
        maps = []
        for image in labels.cpu().numpy():
            weight = np.where(image == 0, image.size / (2 * (image == 0).sum()), image.size / (2 * (image > 0).sum()))
            distances = np.stack([ndimage.distance_transform_edt(image != label) for label in np.unique(image)[1:]], -1)
            distances.sort(-1)
            maps.append(weight + (image == 0) * 10 * np.exp(-((distances[..., 0] + distances[..., 1]) ** 2) / 50))
        return torch.from_numpy(np.stack(maps)).float().to(labels.device)

    return weights, (cells(inputs),)


def of_monai(loss):
    return lambda x, t: loss(x, t.unsqueeze(1))


def cl_dice(inputs):
    return of_monai(SoftclDiceLoss(**ONE_HOT)), regions(inputs)


cl_dice_volume = cl_dice


def boundary(inputs):
    return of_monai(BoundaryLoss(**ONE_HOT)), regions(inputs)


def boundary_map(inputs):
    logits, target = regions(inputs)
    masks = F.one_hot(target, inputs.size[1]).movedim(-1, 1)
    map = BoundaryLoss().compute_distance_map(masks).to(logits.device)
    return lambda x, map: (x.softmax(1) * map).mean(), (logits, map)


def hausdorff_dt(inputs):
    return of_monai(HausdorffDTLoss(**ONE_HOT)), regions(inputs)


def hausdorff_er(inputs):
    loss = HausdorffERLoss()
    return lambda x, t: loss(x.softmax(1), t.unsqueeze(1)), regions(inputs)


def penalties(masks):
    """1 next to the boundary of a mask, 0 for its deepest pixel."""
    maps = []
    for mask in masks.cpu().numpy():
        depth = ndimage.distance_transform_edt(mask) if not mask.all() else np.zeros(mask.shape)
        reverted = (depth.max() - depth) * mask
        maps.append(reverted / max(reverted.max(), 1e-12))
    return torch.from_numpy(np.stack(maps)).float().to(masks.device)


def dist_binary_dice(inputs):
    def loss(x, t):
        p, y = x.softmax(1)[:, 1], t == 1
        factor = 1 + penalties(y) + penalties(~y)
        axes = list(range(1, p.ndim))
        dice = (2 * (p * y * factor).sum(axes) + 1e-5) / (p.sum(axes) + y.sum(axes) + 1e-5)
        return -dice.mean()

    return loss, regions(inputs)


def distance_penalized_ce(inputs):
    def loss(x, t):
        factor = 1 + sum(penalties(t == label) for label in range(x.shape[1]))
        return (F.cross_entropy(x, t, reduction="none") * factor).mean()

    return loss, regions(inputs)


def contour(labels):
    """Pixels with a neighbour of another class."""
    on = torch.zeros_like(labels, dtype=torch.bool)
    for axis in range(1, labels.ndim):
        length = labels.shape[axis] - 1
        differ = labels.narrow(axis, 0, length) != labels.narrow(axis, 1, length)
        on.narrow(axis, 0, length).logical_or_(differ)
        on.narrow(axis, 1, length).logical_or_(differ)
    return on


def shape_aware(inputs):
    def loss(x, t):
        factor = 1 + transform(~contour(t)) * contour(x.argmax(1))
        return (F.cross_entropy(x, t, reduction="none") * factor).mean()

    return loss, regions(inputs)
