//! The cases of the benchmarks: each a loss of this crate on inputs that `scripts/bench_torch.py`
//! draws alike. `table.txt` lists them with their sizes.

mod adversarial;
mod classification;
mod compound;
mod distance;
mod images;
mod metric_learning;
mod overlap;
mod regression;

use tch::{Device, Kind, Tensor};
use tch_losses::{
    BceLoss, BceWithLogitsLoss, CIoULoss, CrossEntropyLoss, DIoULoss, FocalLoss, GIoULoss,
    GradientPenalty, IoULoss, LabelSmoothing, Loss, Reduction, SoftDiceLoss, SoftmaxFocalLoss,
    detection::{Anchors, BoxFormat, Gains, IouKind, YoloV5Loss, batched_nms, nms, pairwise_iou},
    segmentation::Nonlinearity,
};

/// The cases and their sizes.
pub fn table() -> impl Iterator<Item = (&'static str, [&'static str; 3])> {
    let lines = include_str!("table.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [case, small, usual, large] => (case, [small, usual, large]),
            _ => panic!("table.txt: expected a case and three sizes, got '{line}'"),
        }
    })
}

/// The numbers of a size such as `2x19x16x16`.
pub fn size(text: &str) -> Option<Vec<i64>> {
    text.split('x').map(|number| number.parse().ok()).collect()
}

/// `cpu`, `cuda` or `cuda:N`.
pub fn device(name: &str) -> Device {
    tch_losses::cuda::load();
    match name.split_once(':').unwrap_or((name, "0")) {
        ("cpu", "0") => Device::Cpu,
        ("cuda", index) => Device::Cuda(index.parse().expect("a number after cuda:")),
        _ => panic!("expected cpu, cuda or cuda:N, got {name}"),
    }
}

/// What is measured: a forward pass, and where there are leaves the gradients of its result.
pub struct Job {
    forward: Box<dyn Fn() -> Tensor>,
    leaves: Vec<Tensor>,
}

/// The cases that have a file of their own, one a line.
#[rustfmt::skip]
const FAMILIES: &[fn(&str, &Inputs) -> Option<Job>] = &[
    adversarial::job,
    classification::case,
    compound::job,
    distance::job,
    images::job,
    metric_learning::job,
    overlap::job,
    regression::case,
];

impl Job {
    /// The case of that name at a size, or nothing for a name that is not there.
    pub fn new(case: &str, size: &[i64], device: Device) -> Option<Job> {
        tch::manual_seed(0);
        let inputs = Inputs { size, device };
        Some(match case {
            "cross_entropy" | "cross_entropy_pixels" => inputs.classes(CrossEntropyLoss::default()),
            "cross_entropy_smoothing" => {
                inputs.classes(CrossEntropyLoss::default().label_smoothing(0.1))
            }
            "cross_entropy_probabilities" => {
                let logits = inputs.logits();
                let target = inputs.put(Tensor::rand(size, CPU).softmax(1, Kind::Float));
                job(CrossEntropyLoss::default(), logits, target)
            }
            "cross_entropy_pixels_ignore" => {
                inputs.classes_ignored(CrossEntropyLoss::default().ignore_index(255))
            }
            "cross_entropy_pixels_weight" => {
                let weight = inputs.put(Tensor::rand(size[1], CPU));
                inputs.classes_ignored(CrossEntropyLoss::default().ignore_index(255).weight(weight))
            }
            "cross_entropy_pixels_smoothing" => inputs.classes_ignored(
                CrossEntropyLoss::default().ignore_index(255).label_smoothing(0.1),
            ),
            "label_smoothing" => inputs.classes(LabelSmoothing::default()),
            "softmax_focal" | "softmax_focal_pixels" | "softmax_focal_pixels_one_hot" => {
                inputs.classes(SoftmaxFocalLoss::default())
            }
            "dice_softmax" | "dice_softmax_frugal" => inputs.classes(SoftDiceLoss::nnunet()),
            "dice_sigmoid" => inputs.hard(
                SoftDiceLoss::default().apply_nonlin(Nonlinearity::Sigmoid).batch_dice(true),
                Kind::Float,
            ),
            "bce_with_logits" => inputs.soft(BceWithLogitsLoss::default()),
            "bce_with_logits_pos_weight" => {
                let pos_weight = inputs.put(Tensor::rand(size[1], CPU) * 5.0);
                inputs.soft(BceWithLogitsLoss::default().pos_weight(pos_weight))
            }
            "bce" => {
                let input = inputs.leaf(Tensor::randn(size, CPU).sigmoid());
                job(BceLoss::default(), input, inputs.put(Tensor::rand(size, CPU)))
            }
            "focal" => inputs.hard(focal_mean(), Kind::Float),
            "focal_index" => inputs.hard(focal_mean(), Kind::Int64),
            "focal_soft" => inputs.soft(focal_mean()),
            "focal_yolov5" => inputs.hard(FocalLoss::yolov5(), Kind::Float),
            "iou" => inputs.boxes(IoULoss::default()),
            "giou" => inputs.boxes(GIoULoss::default()),
            "diou" => inputs.boxes(DIoULoss::default()),
            "ciou" => inputs.boxes(CIoULoss::default()),
            "pairwise_iou" => {
                let (a, b) = (inputs.corners(), inputs.corners());
                forward_only(move || pairwise_iou(&a, &b, BoxFormat::Xyxy, IouKind::Iou))
            }
            "nms" => {
                let (boxes, scores) = (inputs.corners(), inputs.put(Tensor::rand(size, CPU)));
                forward_only(move || nms(&boxes, &scores, 0.5))
            }
            "batched_nms" => {
                let (boxes, scores) = (inputs.corners(), inputs.put(Tensor::rand(size, CPU)));
                let classes = inputs.put(Tensor::randint(80, size, (Kind::Int64, Device::Cpu)));
                forward_only(move || batched_nms(&boxes, &scores, &classes, 0.5))
            }
            "yolo_v5" => inputs.yolo_v5(),
            "gradient_penalty_linear" => {
                let (inner, outer) = (inputs.kernel(&[size[1], 256]), inputs.kernel(&[256, 1]));
                let leaves = vec![inner.shallow_clone(), outer.shallow_clone()];
                inputs
                    .gradient_penalty(leaves, move |x| x.matmul(&inner).leaky_relu().matmul(&outer))
            }
            "gradient_penalty_conv" => {
                let (first, second) =
                    (inputs.kernel(&[32, size[1], 4, 4]), inputs.kernel(&[64, 32, 4, 4]));
                let leaves = vec![first.shallow_clone(), second.shallow_clone()];
                inputs.gradient_penalty(leaves, move |x| {
                    let halved = |x: &Tensor, kernel: &Tensor| {
                        x.conv2d(kernel, None::<Tensor>, 2, 1, 1, 1).leaky_relu()
                    };
                    halved(&halved(x, &first), &second).mean_dim(
                        [1i64, 2, 3].as_slice(),
                        false,
                        None,
                    )
                })
            }
            _ => return FAMILIES.iter().find_map(|family| family(case, &inputs)),
        })
    }

    /// One forward and backward pass; returns the result.
    pub fn step(&self) -> Tensor {
        let result = (self.forward)();
        if !self.leaves.is_empty() {
            drop(Tensor::run_backward(&[&result], &self.leaves, false, false));
        }
        result
    }

    /// Where a copy of what the backward pass finds a gradient for goes.
    pub fn room(&self) -> Vec<Tensor> {
        self.leaves.iter().map(Tensor::zeros_like).collect()
    }

    /// Reads each input that gets a gradient once, and writes as much: no pass can take less, so far as memory bounds it.
    pub fn copy_to(&self, room: &mut [Tensor]) {
        tch::no_grad(|| {
            for (to, leaf) in room.iter_mut().zip(&self.leaves) {
                to.copy_(leaf);
            }
        });
    }
}

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

fn job(loss: impl Loss + 'static, input: Tensor, target: Tensor) -> Job {
    let leaves = vec![input.shallow_clone()];
    Job { forward: Box::new(move || loss.forward(&input, &target)), leaves }
}

fn forward_only(forward: impl Fn() -> Tensor + 'static) -> Job {
    Job { forward: Box::new(forward), leaves: vec![] }
}

fn focal_mean() -> FocalLoss {
    FocalLoss::torchvision().reduction(Reduction::Mean)
}

/// Draws inputs on the CPU, in the order that `scripts/bench_torch.py` does.
struct Inputs<'a> {
    size: &'a [i64],
    device: Device,
}

impl Inputs<'_> {
    fn put(&self, tensor: Tensor) -> Tensor {
        tensor.to_device(self.device)
    }

    fn leaf(&self, tensor: Tensor) -> Tensor {
        self.put(tensor).set_requires_grad(true)
    }

    fn logits(&self) -> Tensor {
        self.leaf(Tensor::randn(self.size, CPU) * 2.0)
    }

    fn kernel(&self, size: &[i64]) -> Tensor {
        self.leaf(Tensor::randn(size, CPU) * 0.05)
    }

    /// (N, C, ..) to (N, ..)
    fn index(&self) -> Tensor {
        let size = [&self.size[..1], &self.size[2..]].concat();
        Tensor::randint(self.size[1], &size, (Kind::Int64, Device::Cpu))
    }

    fn classes(&self, loss: impl Loss + 'static) -> Job {
        let logits = self.logits();
        job(loss, logits, self.put(self.index()))
    }

    /// A fifth of the targets is 255.
    fn classes_ignored(&self, loss: impl Loss + 'static) -> Job {
        let logits = self.logits();
        let index = self.index();
        let ignored = Tensor::rand(index.size(), CPU).lt(0.2);
        job(loss, logits, self.put(index.masked_fill(&ignored, 255)))
    }

    fn soft(&self, loss: impl Loss + 'static) -> Job {
        let logits = self.logits();
        job(loss, logits, self.put(Tensor::rand(self.size, CPU)))
    }

    /// A tenth of the targets is 1, the rest is 0.
    fn hard(&self, loss: impl Loss + 'static, kind: Kind) -> Job {
        let logits = self.logits();
        job(loss, logits, self.put(Tensor::rand(self.size, CPU).lt(0.1).to_kind(kind)))
    }

    /// Boxes of 20 to 120 pixels on an image of 640.
    fn corners(&self) -> Tensor {
        let size = [self.size[0], 2];
        let first = Tensor::rand(size, CPU) * 520.0;
        let extent = Tensor::rand(size, CPU) * 100.0 + 20.0;
        self.put(Tensor::cat(&[&first, &(&first + extent)], 1))
    }

    /// Predictions a few pixels off.
    fn boxes(&self, loss: impl Loss + 'static) -> Job {
        let target = self.corners();
        let noise = self.put(Tensor::randn([self.size[0], 4], CPU) * 3.0);
        job(loss, (&target + noise).set_requires_grad(true), target)
    }

    /// Outputs of a head for 80 classes, and 8 boxes an image.
    fn yolo_v5(&self) -> Job {
        let [batch, side] = [self.size[0], self.size[1]];
        let level =
            |stride| self.leaf(Tensor::randn([batch, 3, side / stride, side / stride, 85], CPU));
        let heads = [8, 16, 32].map(level);
        let image = Tensor::arange(batch, CPU).repeat_interleave_self_int(8, 0, None).view([-1, 1]);
        let class = Tensor::randint(80, [8 * batch, 1], CPU);
        let centre = Tensor::rand([8 * batch, 2], CPU) * 0.9 + 0.05;
        let extent = Tensor::rand([8 * batch, 2], CPU) * 0.4 + 0.05;
        let targets = Tensor::cat(&[image, class, centre, extent], 1);
        let loss = YoloV5Loss::new(Anchors::coco()).gains(Gains::default().scaled(3, 80, side));
        let leaves = heads.each_ref().map(Tensor::shallow_clone).into();
        Job { forward: Box::new(move || loss.forward(&heads, &targets).total), leaves }
    }

    fn gradient_penalty(
        &self,
        leaves: Vec<Tensor>,
        critic: impl Fn(&Tensor) -> Tensor + 'static,
    ) -> Job {
        let [real, fake] = [0, 1].map(|_| self.put(Tensor::randn(self.size, CPU)));
        let mixing = self.put(Tensor::rand(self.size[0], CPU));
        let penalty = GradientPenalty::default();
        let forward = move || penalty.forward_with_mixing(&critic, &real, &fake, &mixing);
        Job { forward: Box::new(forward), leaves }
    }
}
