"""The distance cases of bench_torch.py: scipy's transform, and the losses of the packages that call it."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage


def blobs(inputs):
    noise = torch.rand(inputs.size).unsqueeze(1)
    pool, kernel = (F.avg_pool2d, 9) if noise.ndim == 4 else (F.avg_pool3d, 5)
    smooth = lambda x: pool(x, kernel, 1, kernel // 2)
    return inputs.put(smooth(smooth(noise)).squeeze(1) > 0.5)


def transform(masks, spacing=None):
    """scipy's, image by image, on the CPU."""
    masks = masks.cpu().numpy()
    maps = np.stack([ndimage.distance_transform_edt(mask, spacing) for mask in masks])
    return torch.from_numpy(maps).float()


def edt(inputs):
    return lambda mask: transform(mask).to(mask.device), (blobs(inputs),)


edt_volume = edt


def edt_spacing(inputs):
    return lambda mask: transform(mask, [3, 1, 0.7][: mask.ndim - 1]).to(mask.device), (blobs(inputs),)


def edt_signed(inputs):
    return lambda mask: (transform(~mask) - transform(mask)).to(mask.device), (blobs(inputs),)
