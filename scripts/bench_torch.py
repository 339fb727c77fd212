"""PyTorch's side of scripts/bench: answers the commands of benches/side_by_side.rs, one a line.

    bench_torch.py eager|compile DEVICE THREADS

Each case is the function that people use, or what they write where there is none, on the inputs that
benches/cases/mod.rs draws too.
"""

import math
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from timm.loss import LabelSmoothingCrossEntropy
from torchvision import ops

import bench_torch_adversarial
import bench_torch_classification
import bench_torch_compound
import bench_torch_distance
import bench_torch_images
import bench_torch_metric_learning
import bench_torch_overlap
import bench_torch_regression


class Inputs:
    """Draws on the CPU, in the order that benches/cases/mod.rs does."""

    def __init__(self, size, device):
        self.size, self.device = size, device

    def put(self, tensor):
        return tensor.to(self.device)

    def leaf(self, tensor):
        return self.put(tensor).requires_grad_()

    def logits(self):
        return self.leaf(torch.randn(self.size) * 2)

    def kernel(self, *size):
        return self.leaf(torch.randn(size) * 0.05)

    def index(self):
        return torch.randint(self.size[1], [self.size[0], *self.size[2:]])

    def classes(self):
        return self.logits(), self.put(self.index())

    def classes_ignored(self):
        logits, index = self.logits(), self.index()
        return logits, self.put(index.masked_fill(torch.rand(index.shape) < 0.2, 255))

    def soft(self):
        return self.logits(), self.put(torch.rand(self.size))

    def hard(self, dtype):
        return self.logits(), self.put((torch.rand(self.size) < 0.1).to(dtype))

    def corners(self):
        first = torch.rand(self.size[0], 2) * 520
        extent = torch.rand(self.size[0], 2) * 100 + 20
        return self.put(torch.cat([first, first + extent], 1))

    def boxes(self):
        target = self.corners()
        return (target + self.put(torch.randn(self.size[0], 4) * 3)).requires_grad_(), target

    def scored(self):
        return self.corners(), self.put(torch.rand(self.size))

    def yolo_v5(self):
        batch, side = self.size
        heads = [self.leaf(torch.randn(batch, 3, side // s, side // s, 85)) for s in STRIDES]
        image = torch.arange(float(batch)).repeat_interleave(8).view(-1, 1)
        label = torch.randint(80, [8 * batch, 1]).float()
        centre = torch.rand(8 * batch, 2) * 0.9 + 0.05
        extent = torch.rand(8 * batch, 2) * 0.4 + 0.05
        return *heads, self.put(torch.cat([image, label, centre, extent], 1))

    def critic(self, *kernels):
        return *kernels, self.put(torch.randn(self.size)), self.put(torch.randn(self.size)), self.put(torch.rand(self.size[0]))


def cross_entropy(inputs):
    return F.cross_entropy, inputs.classes()


def cross_entropy_smoothing(inputs):
    return lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), inputs.classes()


def cross_entropy_probabilities(inputs):
    logits = inputs.logits()
    return F.cross_entropy, (logits, inputs.put(torch.rand(inputs.size).softmax(1)))


def cross_entropy_pixels_ignore(inputs):
    return lambda x, t: F.cross_entropy(x, t, ignore_index=255), inputs.classes_ignored()


def cross_entropy_pixels_weight(inputs):
    weight = inputs.put(torch.rand(inputs.size[1]))
    return lambda x, t: F.cross_entropy(x, t, weight, ignore_index=255), inputs.classes_ignored()


def cross_entropy_pixels_smoothing(inputs):
    return lambda x, t: F.cross_entropy(x, t, ignore_index=255, label_smoothing=0.1), inputs.classes_ignored()


def label_smoothing(inputs):
    return LabelSmoothingCrossEntropy(0.1), inputs.classes()


def softmax_focal(inputs):
    def loss(x, t):
        logp = x.log_softmax(1).gather(1, t.unsqueeze(1)).squeeze(1)
        return (-((1 - logp.exp()) ** 2) * logp).mean()

    return loss, inputs.classes()


def softmax_focal_pixels_one_hot(inputs):
    def loss(x, t):
        logp = x.log_softmax(1)
        one_hot = F.one_hot(t, x.shape[1]).movedim(-1, 1).to(x.dtype)
        return (one_hot * (-((1 - logp.exp()) ** 2) * logp)).sum(1).mean()

    return loss, inputs.classes()


def dice_softmax(inputs):
    """As nnU-Net's SoftDiceLoss: tp, fp and fn of a one-hot target."""

    def loss(x, t):
        p = x.softmax(1)
        with torch.no_grad():
            one_hot = torch.zeros(x.shape, dtype=torch.bool, device=x.device).scatter_(1, t.unsqueeze(1), 1)
        axes = [0, *range(2, x.ndim)]
        tp = (p * one_hot).sum(axes)
        fp = (p * ~one_hot).sum(axes)
        fn = ((1 - p) * one_hot).sum(axes)
        dice = (2 * tp + 1e-5) / (2 * tp + fp + fn + 1e-5).clip(1e-8)
        return -dice[1:].mean()

    return loss, inputs.classes()


def dice_softmax_frugal(inputs):
    """As nnU-Net's MemoryEfficientSoftDiceLoss, which its trainer takes."""

    def loss(x, t):
        p = x.softmax(1)[:, 1:]
        axes = list(range(2, x.ndim))
        with torch.no_grad():
            one_hot = torch.zeros(x.shape, dtype=torch.bool, device=x.device).scatter_(1, t.unsqueeze(1), 1)[:, 1:]
            actual = one_hot.sum(axes).sum(0)
        tp = (p * one_hot).sum(axes).sum(0)
        predicted = p.sum(axes).sum(0)
        return -((2 * tp + 1e-5) / (actual + predicted + 1e-5).clip(1e-8)).mean()

    return loss, inputs.classes()


def dice_sigmoid(inputs):
    def loss(x, t):
        p = x.sigmoid()
        axes = [0, *range(2, x.ndim)]
        tp, fp, fn = (p * t).sum(axes), (p * (1 - t)).sum(axes), ((1 - p) * t).sum(axes)
        return -((2 * tp + 1) / (2 * tp + fp + fn + 1).clip(1e-8)).mean()

    return loss, inputs.hard(torch.float32)


def bce_with_logits(inputs):
    return F.binary_cross_entropy_with_logits, inputs.soft()


def bce_with_logits_pos_weight(inputs):
    pos_weight = inputs.put(torch.rand(inputs.size[1]) * 5)
    return lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=pos_weight), inputs.soft()


def bce(inputs):
    input = inputs.leaf(torch.randn(inputs.size).sigmoid())
    return F.binary_cross_entropy, (input, inputs.put(torch.rand(inputs.size)))


def focal(inputs):
    return lambda x, t: ops.sigmoid_focal_loss(x, t, reduction="mean"), inputs.hard(torch.float32)


def focal_index(inputs):
    return lambda x, t: ops.sigmoid_focal_loss(x, t.float(), reduction="mean"), inputs.hard(torch.int64)


def focal_soft(inputs):
    return lambda x, t: ops.sigmoid_focal_loss(x, t, reduction="mean"), inputs.soft()


def focal_yolov5(inputs):
    return lambda x, t: ops.sigmoid_focal_loss(x, t, gamma=1.5, reduction="mean"), inputs.hard(torch.float32)


def iou(inputs):
    def loss(a, b):
        lower, upper = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
        sides = (upper - lower).clamp(min=0)
        inter = sides[:, 0] * sides[:, 1]
        return (1 - inter / (ops.box_area(a) + ops.box_area(b) - inter + 1e-7)).mean()

    return loss, inputs.boxes()


def giou(inputs):
    return lambda a, b: ops.generalized_box_iou_loss(a, b, reduction="mean"), inputs.boxes()


def diou(inputs):
    return lambda a, b: ops.distance_box_iou_loss(a, b, reduction="mean"), inputs.boxes()


def ciou(inputs):
    return lambda a, b: ops.complete_box_iou_loss(a, b, reduction="mean"), inputs.boxes()


def pairwise_iou(inputs):
    return ops.box_iou, (inputs.corners(), inputs.corners())


def nms(inputs):
    return lambda boxes, scores: ops.nms(boxes, scores, 0.5), inputs.scored()


def batched_nms(inputs):
    boxes, scores = inputs.scored()
    classes = inputs.put(torch.randint(80, inputs.size))
    return lambda *args: ops.batched_nms(*args, 0.5), (boxes, scores, classes)


STRIDES = [8, 16, 32]
ANCHORS = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]


def ciou_of_centres(a, b):
    """Boxes cx, cy, w, h."""
    (ac, asize), (bc, bsize) = a.split(2, 1), b.split(2, 1)
    lower_a, upper_a, lower_b, upper_b = ac - asize / 2, ac + asize / 2, bc - bsize / 2, bc + bsize / 2
    inter = (torch.min(upper_a, upper_b) - torch.max(lower_a, lower_b)).clamp(0).prod(1)
    result = inter / (asize.prod(1) + bsize.prod(1) - inter + 1e-7)
    hull = torch.max(upper_a, upper_b) - torch.min(lower_a, lower_b)
    distance = (ac - bc).square().sum(1) / (hull.square().sum(1) + 1e-7)
    v = 4 / math.pi**2 * ((bsize[:, 0] / bsize[:, 1]).atan() - (asize[:, 0] / asize[:, 1]).atan()).square()
    with torch.no_grad():
        alpha = v / (1 - result + v + 1e-7)
    return result - distance - alpha * v


def yolo_v5(inputs):
    """The loss as it is described: anchors by ratio of sides, up to three cells a match, CIoU."""
    side = inputs.size[1]
    sizes = inputs.put(torch.tensor(ANCHORS, dtype=torch.float32))
    shifts = inputs.put(torch.tensor([[0, 0], [0.5, 0], [0, 0.5], [-0.5, 0], [0, -0.5]]))

    def match(targets, anchors, height, width):
        grid = targets.new_tensor([width, height])
        xy, wh = targets[:, 2:4] * grid, targets[:, 4:6] * grid
        ratio = wh / anchors[:, None]
        anchor, row = (torch.max(ratio, 1 / ratio).amax(2) < 4).nonzero(as_tuple=True)
        xy, wh = xy[row], wh[row]
        back = grid - xy
        near = torch.cat([torch.ones_like(xy[:, :1], dtype=torch.bool), (xy % 1 < 0.5) & (xy > 1), (back % 1 < 0.5) & (back > 1)], 1)
        shift, match = near.T.nonzero(as_tuple=True)
        cell = (xy[match] - shifts[shift]).long()
        x, y = cell[:, 0].clamp(0, width - 1), cell[:, 1].clamp(0, height - 1)
        row, anchor = row[match], anchor[match]
        expected = torch.cat([xy[match] - torch.stack([x, y], 1), wh[match]], 1)
        return targets[row, 0].long(), anchor, y, x, targets[row, 1].long(), expected

    def loss(*args):
        *heads, targets = args
        boxes, objects, labels = 0, 0, 0
        for head, anchors, stride, balance in zip(heads, sizes, STRIDES, [4, 1, 0.4]):
            anchors = anchors / stride
            image, anchor, y, x, label, expected = match(targets, anchors, *head.shape[2:4])
            quality = torch.zeros_like(head[..., 4])
            if len(image) > 0:
                matched = head[image, anchor, y, x]
                xy = matched[:, :2].sigmoid() * 2 - 0.5
                wh = (matched[:, 2:4].sigmoid() * 2) ** 2 * anchors[anchor]
                overlap = ciou_of_centres(torch.cat([xy, wh], 1), expected)
                boxes = boxes + (1 - overlap).mean()
                quality[image, anchor, y, x] = overlap.detach().clamp(0)
                one_hot = torch.zeros_like(matched[:, 5:])
                one_hot[torch.arange(len(label), device=label.device), label] = 1
                labels = labels + F.binary_cross_entropy_with_logits(matched[:, 5:], one_hot)
            objects = objects + balance * F.binary_cross_entropy_with_logits(head[..., 4], quality)
        return len(heads[0]) * (0.05 * boxes + (side / 640) ** 2 * objects + 0.5 * labels)

    return loss, inputs.yolo_v5()


def penalty(critic, real, fake, mixing):
    mixing = mixing.view(-1, *[1] * (real.ndim - 1))
    between = (mixing * real + (1 - mixing) * fake).requires_grad_()
    scores = critic(between)
    gradient = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)[0]
    return 10 * ((gradient.flatten(1).norm(2, 1) - 1) ** 2).mean()


def gradient_penalty_linear(inputs):
    def loss(inner, outer, *rest):
        return penalty(lambda x: F.leaky_relu(x @ inner) @ outer, *rest)

    return loss, inputs.critic(inputs.kernel(inputs.size[1], 256), inputs.kernel(256, 1))


def gradient_penalty_conv(inputs):
    def loss(first, second, *rest):
        def critic(x):
            x = F.leaky_relu(F.conv2d(x, first, stride=2, padding=1))
            return F.leaky_relu(F.conv2d(x, second, stride=2, padding=1)).mean([1, 2, 3])

        return penalty(critic, *rest)

    return loss, inputs.critic(inputs.kernel(32, inputs.size[1], 4, 4), inputs.kernel(64, 32, 4, 4))


SAME = {"cross_entropy_pixels": cross_entropy, "softmax_focal_pixels": softmax_focal}


# The cases that have a file of their own, one a line.
FAMILIES = [
    bench_torch_adversarial,
    bench_torch_classification,
    bench_torch_compound,
    bench_torch_distance,
    bench_torch_images,
    bench_torch_metric_learning,
    bench_torch_overlap,
    bench_torch_regression,
]


class Job:
    def __init__(self, case, size, device, compiled):
        torch.manual_seed(0)
        case = SAME.get(case) or globals().get(case) or next(getattr(f, case) for f in FAMILIES if hasattr(f, case))
        self.function, self.inputs = case(Inputs([int(number) for number in size.split("x")], device))
        if compiled:
            torch.compiler.reset()
            self.function = torch.compile(self.function, dynamic=False)
        self.leaves = [tensor for tensor in self.inputs if tensor.requires_grad]

    def step(self):
        with torch.set_grad_enabled(bool(self.leaves)):
            result = self.function(*self.inputs)
        if self.leaves:
            torch.autograd.grad(result, self.leaves)
        return result


def times(job, device, passes):
    seconds = []
    for _ in range(passes):
        start = time.perf_counter()
        job.step()
        if device != "cpu":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak(job, device):
    if device != "cpu":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        job.step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # the driver starts a process for each case then
    before = memory("VmRSS")
    job.step()
    return max(memory("VmHWM") - before, 0)


def memory(line):
    """A line of /proc/self/status, in bytes."""
    with open("/proc/self/status") as file:
        return next(int(text.split()[1]) * 1024 for text in file if text.startswith(line + ":"))


def main():
    mode, device, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    # What others print must not look like an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, job = None, None
    for line in sys.stdin:
        command, case, size, *passes = line.split()
        try:
            if name != (case, size):
                job = None
                job, name = Job(case, size, device, mode == "compile"), (case, size)
            if command == "value":
                number = job.step().double().sum().item()
            elif command == "time":
                number = times(job, device, int(passes[0]))
            else:
                number = peak(job, device)
            print("ok", number, file=answers)
        except Exception as error:
            name, job = None, None
            print("error", " ".join(f"{type(error).__name__}: {error}".split())[:300], file=answers)


if __name__ == "__main__":
    main()
