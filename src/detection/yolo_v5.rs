//! YOLOv5's loss of a grid detector: target building, box, objectness and class terms.

use super::{
    anchors::{Anchors, ratio, size_tensor},
    boxes::BoxFormat,
    iou::{IouKind, f_bbox_iou},
};
use crate::{
    BceWithLogitsLoss, FocalLoss, Loss, LossError, Result, check, error::unwrap, loss::named_loss,
};
use tch::{Device, Kind, Tensor};

const NAME: &str = "YoloV5Loss";

/// Weights of the three terms of [`YoloV5Loss`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gains {
    /// Of the box term; 0.05 by default.
    pub boxes: f64,
    /// Of the objectness term; 1 by default.
    pub objectness: f64,
    /// Of the class term; 0.5 by default.
    pub classes: f64,
}

impl Default for Gains {
    fn default() -> Self {
        Gains { boxes: 0.05, objectness: 1.0, classes: 0.5 }
    }
}

impl Gains {
    /// YOLOv5's rule for other than 3 levels, 80 classes and 640 pixels:
    ///
    /// ```text
    /// boxes * 3/levels,  classes * (classes/80) * 3/levels,  objectness * (image_size/640)^2 * 3/levels
    /// ```
    pub fn scaled(self, levels: usize, classes: i64, image_size: i64) -> Self {
        let per_level = 3.0 / levels as f64;
        Gains {
            boxes: self.boxes * per_level,
            objectness: self.objectness * (image_size as f64 / 640.0).powi(2) * per_level,
            classes: self.classes * classes as f64 / 80.0 * per_level,
        }
    }
}

/// Which objectness a cell learns when several targets fall on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// That of the last row of the matches, as YOLOv5 on the CPU; on every device.
    #[default]
    Last,
    /// The largest, as YOLOv5 with `sort_obj_iou`.
    Max,
}

/// The loss of a YOLOv5-style detector.
///
/// ```text
/// total = N (g_box Σ_l mean(1 - IoU) + g_obj Σ_l b_l mean BCE(obj, t_obj) + g_cls Σ_l mean BCE(cls, t_cls))
/// box = (2σ(t_xy) - 0.5, (2σ(t_wh))² anchor) in cells,  t_obj = (1-gr) + gr max(IoU, 0), detached
/// ```
///
/// A target is matched on each level with each anchor whose sides it differs from by less than
/// `anchor_t` times, in the cell of its centre and in the up to two neighbours that the centre is
/// nearest to. The box and class terms are means over a level's matches.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gains` | 0.05, 1, 0.5 | box, objectness, class; see [`Gains::scaled`] |
/// | `iou` | `CIoU` | which IoU is the box term and the objectness target |
/// | `gr` | 1 | share of the IoU in the objectness target |
/// | `anchor_t` | 4 | greatest ratio of sides of target and anchor |
/// | `balance` | 4, 1, 0.4 for 3 levels, else 4, 1, 0.25, 0.06, 0.02 | b_l |
/// | `autobalance` | off | adapts b_l by [`YoloV5Loss::f_update_balance`] |
/// | `label_smoothing` | 0 | ε of the class targets: cp = 1 - ε/2, cn = ε/2 |
/// | `focal_gamma` | 0 | above 0 both BCE become focal losses with α 0.25 |
/// | `cls_pos_weight`, `obj_pos_weight` | 1 | weight of the positive term of each BCE |
/// | `duplicates` | `Last` | objectness where targets share a cell |
///
/// # Shapes
///
/// - predictions: per level (N, anchors, H, W, 5 + classes), raw outputs, classes >= 1; they may be
///   permuted views
/// - targets: (n, 6) rows of image (0 to N-1), class, cx, cy, w, h as shares of the image; n may be
///   0; best kept on the CPU, where matching runs
/// - result: see [`YoloV5Losses`]
///
/// # Errors
///
/// Shapes, devices and options; a target row that is not finite or names an image or a class that is
/// not there ([`LossError::Target`] with the row).
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::detection::{Anchors, Gains, YoloV5Loss};
///
/// let anchors = Anchors::new(vec![vec![[12.0, 14.0], [28.0, 30.0]]], vec![8])?;
/// let loss = YoloV5Loss::new(anchors).gains(Gains::default().scaled(1, 3, 64));
/// let head = Tensor::zeros([2, 2, 8, 8, 5 + 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let targets = Tensor::from_slice(&[0f32, 2.0, 0.52, 0.55, 0.2, 0.25]).view([1, 6]);
/// let losses = loss.forward(&[head.shallow_clone()], &targets);
/// losses.total.backward();
/// assert_eq!(losses.report.matches, [6]); // 2 anchors in the cell of the centre and 2 neighbours
/// assert!(losses.report.dropped.is_empty());
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Differences
///
/// Where several targets share a cell YOLOv5 on CUDA writes an arbitrary one; here the result is the
/// same on every device. Matching runs on the host in the kind of the targets; the report says which
/// targets no anchor took and why.
///
/// # Reference
///
/// Follows YOLOv5 7.0 `ComputeLoss`. See also [`Anchors::f_decode`] for the boxes.
#[derive(Debug)]
pub struct YoloV5Loss {
    anchors: Anchors,
    gains: Gains,
    iou: IouKind,
    gr: f64,
    anchor_t: f64,
    balance: Vec<f64>,
    autobalance: bool,
    label_smoothing: f64,
    focal_gamma: f64,
    cls_pos_weight: f64,
    obj_pos_weight: f64,
    duplicates: Duplicates,
}

/// What [`YoloV5Loss::f_forward`] returns.
#[derive(Debug)]
pub struct YoloV5Losses {
    /// The sum of the three terms times the batch size, to call `backward` on.
    pub total: Tensor,
    /// The box term with its gain, detached.
    pub boxes: Tensor,
    /// The objectness term with its gain, detached.
    pub objectness: Tensor,
    /// The class term with its gain, detached.
    pub classes: Tensor,
    /// The objectness loss of each level before balance and gain, detached.
    pub objectness_levels: Vec<Tensor>,
    /// How the targets were matched.
    pub report: MatchReport,
}

/// How the targets of a batch were matched with anchors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MatchReport {
    /// The number of targets.
    pub targets: usize,
    /// The number of matched (anchor, cell) pairs of each level.
    pub matches: Vec<usize>,
    /// Targets that no anchor took, and so teach nothing but background.
    pub dropped: Vec<Dropped>,
}

impl MatchReport {
    /// The share of targets that some anchor took; 1 where there are none.
    pub fn recall(&self) -> f64 {
        match self.targets {
            0 => 1.0,
            targets => 1.0 - self.dropped.len() as f64 / targets as f64,
        }
    }
}

/// A target that was matched with no anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// The row in the targets.
    pub row: usize,
    /// Why.
    pub reason: DropReason,
}

/// Why a target was matched with no anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// Its width or height is not positive.
    EmptyBox,
    /// Its sides differ `anchor_t` times or more from those of every anchor.
    AnchorRatio,
}

/// One target row.
#[derive(Clone, Copy)]
struct Target {
    image: i64,
    class: i64,
    /// cx, cy, w, h as shares of the image.
    cxcywh: [f64; 4],
}

/// The matches of one level, in YOLOv5's order: centre cells, then left, upper, right and lower
/// neighbours; in each by anchor, then by target.
#[derive(Default)]
struct Matches {
    images: Vec<i64>,
    anchors: Vec<i64>,
    rows: Vec<i64>,
    columns: Vec<i64>,
    classes: Vec<i64>,
    /// Centre relative to the cell, width and height, in cells.
    boxes: Vec<f64>,
}

named_loss! {
    apart YoloV5Loss: "yolo_v5", "YOLOv5 `ComputeLoss`", Self::new(Anchors::coco()),
    [
        iou, gr, anchor_t, balance, autobalance, label_smoothing, focal_gamma, cls_pos_weight,
        obj_pos_weight, duplicates
    ],
}

impl YoloV5Loss {
    /// The loss for a head with these anchors, and YOLOv5's options.
    pub fn new(anchors: Anchors) -> Self {
        let balance: &[f64] =
            if anchors.levels() == 3 { &[4.0, 1.0, 0.4] } else { &[4.0, 1.0, 0.25, 0.06, 0.02] };
        let last = balance[balance.len() - 1];
        let balance = (0..anchors.levels()).map(|l| *balance.get(l).unwrap_or(&last)).collect();
        YoloV5Loss {
            anchors,
            gains: Gains::default(),
            iou: IouKind::CIoU,
            gr: 1.0,
            anchor_t: 4.0,
            balance,
            autobalance: false,
            label_smoothing: 0.0,
            focal_gamma: 0.0,
            cls_pos_weight: 1.0,
            obj_pos_weight: 1.0,
            duplicates: Duplicates::Last,
        }
    }

    /// The weights of the three terms.
    pub fn gains(mut self, gains: Gains) -> Self {
        self.gains = gains;
        self
    }

    /// The IoU of the box term and of the objectness target; `CIoU` by default.
    pub fn iou(mut self, iou: IouKind) -> Self {
        self.iou = iou;
        self
    }

    /// The share of the IoU in the objectness target, in [0, 1]; 1 by default.
    pub fn gr(mut self, gr: f64) -> Self {
        self.gr = gr;
        self
    }

    /// The ratio of sides below which a target is matched with an anchor; 4 by default.
    pub fn anchor_t(mut self, anchor_t: f64) -> Self {
        self.anchor_t = anchor_t;
        self
    }

    /// The weight of each level's objectness.
    pub fn balance(mut self, balance: impl Into<Vec<f64>>) -> Self {
        self.balance = balance.into();
        self
    }

    /// Whether [`YoloV5Loss::f_update_balance`] adapts the levels' weights; off by default.
    pub fn autobalance(mut self, autobalance: bool) -> Self {
        self.autobalance = autobalance;
        self
    }

    /// ε of the class targets, in [0, 1]; 0 by default.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// γ of the focal losses that replace both BCE when above 0; 0 by default.
    pub fn focal_gamma(mut self, focal_gamma: f64) -> Self {
        self.focal_gamma = focal_gamma;
        self
    }

    /// The weight of the positive term of the class BCE; 1 by default.
    pub fn cls_pos_weight(mut self, cls_pos_weight: f64) -> Self {
        self.cls_pos_weight = cls_pos_weight;
        self
    }

    /// The weight of the positive term of the objectness BCE; 1 by default.
    pub fn obj_pos_weight(mut self, obj_pos_weight: f64) -> Self {
        self.obj_pos_weight = obj_pos_weight;
        self
    }

    /// Which objectness a cell learns when several targets fall on it; the last by default.
    pub fn duplicates(mut self, duplicates: Duplicates) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// The anchors.
    pub fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// The weight of each level's objectness as it stands, to save with a checkpoint that uses
    /// `autobalance`.
    pub fn current_balance(&self) -> &[f64] {
        &self.balance
    }

    /// The loss of a head's raw outputs against the targets of a batch.
    pub fn f_forward(&self, predictions: &[Tensor], targets: &Tensor) -> Result<YoloV5Losses> {
        self.check_options()?;
        let (batch, classes) = self.anchors.check(NAME, predictions)?;
        let single = targets.f_kind()? != Kind::Double;
        let targets = read_targets(targets, batch, classes)?;
        let device = predictions[0].device();
        let kind = check::accumulated(NAME, "predictions", &predictions[0].f_narrow(0, 0, 0)?)?;
        let options = (kind.f_kind()?, device);

        let class_loss = self.bce(self.cls_pos_weight, options)?;
        let objectness_loss = self.bce(self.obj_pos_weight, options)?;
        let zero = Tensor::f_zeros([0i64; 0], options)?;
        let (mut box_term, mut objectness_term, mut class_term) =
            (zero.shallow_clone(), zero.shallow_clone(), zero);
        let mut objectness_levels = Vec::with_capacity(self.anchors.levels());
        let mut report = MatchReport { targets: targets.len(), ..MatchReport::default() };
        let mut taken = vec![false; targets.len()];

        for (level, prediction) in predictions.iter().enumerate() {
            let matches = self.match_level(level, &prediction.size(), &targets, single, &mut taken);
            report.matches.push(matches.images.len());
            let raw_objectness = prediction.f_select(-1, 4)?;
            let mut target_objectness = Tensor::f_zeros(raw_objectness.size(), options)?;
            if !matches.images.is_empty() {
                let cells = matches.cells(device)?;
                let matched = check::accumulated(
                    NAME,
                    "predictions",
                    &prediction.f_index(&cells.each_ref().map(Some))?,
                )?;
                let boxes = self.boxes(&matched, level, &matches)?;
                let expected = Tensor::f_from_slice(&matches.boxes)?.f_view([-1, 4])?;
                let expected = expected.f_to_kind(options.0)?.f_to_device(device)?;
                let iou = f_bbox_iou(&boxes, &expected, BoxFormat::Cxcywh, self.iou)?;
                box_term = box_term.f_add(&iou.f_rsub_scalar(1.0)?.f_mean(None::<Kind>)?)?;
                target_objectness =
                    self.target_objectness(target_objectness, &iou.f_detach()?, &matches, &cells)?;
                if classes > 1 {
                    let logits = matched.f_narrow(-1, 5, classes)?;
                    let expected = self.target_classes(&logits, &matches)?;
                    class_term = class_term.f_add(&class_loss.f_forward(&logits, &expected)?)?;
                }
            }
            let objectness = objectness_loss.f_forward(&raw_objectness, &target_objectness)?;
            objectness_levels.push(objectness.f_detach()?);
            objectness_term =
                objectness_term.f_add(&objectness.f_mul_scalar(self.balance[level])?)?;
        }

        report.dropped = self.dropped(&targets, &taken);
        let box_term = box_term.f_mul_scalar(self.gains.boxes)?;
        let objectness_term = objectness_term.f_mul_scalar(self.gains.objectness)?;
        let class_term = class_term.f_mul_scalar(self.gains.classes)?;
        let total = box_term.f_add(&objectness_term)?.f_add(&class_term)?;
        Ok(YoloV5Losses {
            total: total.f_mul_scalar(batch as f64)?,
            boxes: box_term.f_detach()?,
            objectness: objectness_term.f_detach()?,
            classes: class_term.f_detach()?,
            objectness_levels,
            report,
        })
    }

    /// [`YoloV5Loss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, predictions: &[Tensor], targets: &Tensor) -> YoloV5Losses {
        unwrap(self.f_forward(predictions, targets))
    }

    /// Adapts the weight of each level's objectness to the losses of a training step; does nothing
    /// unless `autobalance` is on.
    ///
    /// ```text
    /// b_l <- 0.9999 b_l + 0.0001 / L_obj,l;  then all divided by that of the level of stride 16
    /// ```
    ///
    /// Reads the losses back to the host. Where no level has stride 16 the second level is 1, or the
    /// only one.
    pub fn f_update_balance(&mut self, losses: &YoloV5Losses) -> Result<()> {
        if !self.autobalance {
            return Ok(());
        }
        for (balance, loss) in self.balance.iter_mut().zip(&losses.objectness_levels) {
            let loss = f64::try_from(loss.f_to_kind(Kind::Double)?)?;
            *balance = *balance * 0.9999 + 0.0001 / loss;
        }
        let strides = self.anchors.strides();
        let reference = strides.iter().position(|&stride| stride == 16);
        let unit = self.balance[reference.unwrap_or(1.min(strides.len() - 1))];
        self.balance.iter_mut().for_each(|balance| *balance /= unit);
        Ok(())
    }

    fn check_options(&self) -> Result<()> {
        check::at_least_zero(NAME, "gains.boxes", self.gains.boxes)?;
        check::at_least_zero(NAME, "gains.objectness", self.gains.objectness)?;
        check::at_least_zero(NAME, "gains.classes", self.gains.classes)?;
        check::fraction(NAME, "gr", self.gr)?;
        check::param(NAME, "anchor_t", self.anchor_t, self.anchor_t > 1.0, "above 1")?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        check::at_least_zero(NAME, "focal_gamma", self.focal_gamma)?;
        check::at_least_zero(NAME, "cls_pos_weight", self.cls_pos_weight)?;
        check::at_least_zero(NAME, "obj_pos_weight", self.obj_pos_weight)?;
        if self.balance.len() != self.anchors.levels() {
            return Err(LossError::Param {
                loss: NAME,
                option: "balance",
                expected: "one number per level of anchors",
                got: format!("{} for {} levels", self.balance.len(), self.anchors.levels()),
            });
        }
        self.balance.iter().try_for_each(|&b| check::at_least_zero(NAME, "balance", b))
    }

    fn bce(&self, pos_weight: f64, options: (Kind, Device)) -> Result<Box<dyn Loss>> {
        let pos_weight = match pos_weight {
            1.0 => None,
            other => {
                Some(Tensor::f_from_slice(&[other])?.f_to_kind(options.0)?.f_to_device(options.1)?)
            }
        };
        Ok(if self.focal_gamma > 0.0 {
            Box::new(FocalLoss::yolov5().gamma(self.focal_gamma).pos_weight(pos_weight))
        } else {
            Box::new(BceWithLogitsLoss::default().pos_weight(pos_weight))
        })
    }

    fn match_level(
        &self,
        level: usize,
        shape: &[i64],
        targets: &[Target],
        single: bool,
        taken: &mut [bool],
    ) -> Matches {
        // YOLOv5 matches in Float: its roundings decide which cell a centre on a border is in.
        let round = |x: f64| if single { x as f32 as f64 } else { x };
        let stride = self.anchors.strides()[level] as f64;
        let anchors: Vec<[f64; 2]> = self.anchors.sizes()[level]
            .iter()
            .map(|size| size.map(|side| round(side / stride)))
            .collect();
        let (rows, columns) = (shape[2], shape[3]);
        let grid = [columns as f64, rows as f64];

        let mut centres = Vec::new();
        for (anchor, size) in anchors.iter().enumerate() {
            for (row, target) in targets.iter().enumerate() {
                let [cx, cy, w, h] = target.cxcywh;
                let wh = [round(w * grid[0]), round(h * grid[1])];
                if round(ratio(&wh, size)) < self.anchor_t && wh[0] > 0.0 && wh[1] > 0.0 {
                    let xy = [round(cx * grid[0]), round(cy * grid[1])];
                    centres.push((anchor as i64, target, xy, wh));
                    taken[row] = true;
                }
            }
        }

        let near_start = |x: f64| x.rem_euclid(1.0) < 0.5 && x > 1.0;
        let near_end = |x: f64, size: f64| near_start(round(size - x));
        let mut matches = Matches::default();
        for neighbour in [None, Some((0, 1.0)), Some((1, 1.0)), Some((0, -1.0)), Some((1, -1.0))] {
            for &(anchor, target, xy, wh) in &centres {
                let mut from = xy;
                if let Some((axis, side)) = neighbour {
                    let near = if side > 0.0 {
                        near_start(xy[axis])
                    } else {
                        near_end(xy[axis], grid[axis])
                    };
                    if !near {
                        continue;
                    }
                    from[axis] = round(xy[axis] - 0.5 * side);
                }
                let column = (from[0].trunc() as i64).clamp(0, columns - 1);
                let row = (from[1].trunc() as i64).clamp(0, rows - 1);
                matches.images.push(target.image);
                matches.anchors.push(anchor);
                matches.rows.push(row);
                matches.columns.push(column);
                matches.classes.push(target.class);
                let offset = [round(xy[0] - column as f64), round(xy[1] - row as f64)];
                matches.boxes.extend([offset[0], offset[1], wh[0], wh[1]]);
            }
        }
        matches
    }

    /// Predicted boxes (cx, cy relative to the cell, w, h) in cells.
    fn boxes(&self, matched: &Tensor, level: usize, matches: &Matches) -> Result<Tensor> {
        let sigmoid = matched.f_narrow(-1, 0, 4)?.f_sigmoid()?.f_mul_scalar(2.0)?;
        let xy = sigmoid.f_narrow(-1, 0, 2)?.f_sub_scalar(0.5)?;
        let sizes = &self.anchors.sizes()[level];
        let sizes: Vec<[f64; 2]> = matches.anchors.iter().map(|&a| sizes[a as usize]).collect();
        let anchors = size_tensor(&sizes, self.anchors.strides()[level] as f64)?
            .f_to_kind(matched.f_kind()?)?
            .f_to_device(matched.device())?;
        let wh = sigmoid.f_narrow(-1, 2, 2)?.f_square()?.f_mul(&anchors)?;
        Ok(Tensor::f_cat(&[xy, wh], -1)?)
    }

    fn target_objectness(
        &self,
        background: Tensor,
        iou: &Tensor,
        matches: &Matches,
        cells: &[Tensor; 4],
    ) -> Result<Tensor> {
        let quality = iou.f_clamp_min(0.0)?.f_mul_scalar(self.gr)?.f_add_scalar(1.0 - self.gr)?;
        match self.duplicates {
            Duplicates::Last => {
                // Only the last row of a cell is written, so that the order of writes cannot matter.
                let kept = matches.last_of_each_cell();
                let kept = Tensor::f_from_slice(&kept)?.f_to_device(iou.device())?;
                let cells: Vec<Option<Tensor>> = cells
                    .iter()
                    .map(|of| Ok(Some(of.f_index_select(0, &kept)?)))
                    .collect::<Result<_>>()?;
                Ok(background.f_index_put(&cells, &quality.f_index_select(0, &kept)?, false)?)
            }
            Duplicates::Max => {
                let shape = background.size();
                let flat = cells
                    .iter()
                    .zip(&shape)
                    .try_fold(cells[0].f_zeros_like()?, |flat, (of, &size)| {
                        flat.f_mul_scalar(size)?.f_add(of)
                    })?;
                let flat = background
                    .f_view(-1)?
                    .f_internal_scatter_reduce(0, &flat, &quality, "amax", true)?;
                Ok(flat.f_view(&shape[..])?)
            }
        }
    }

    fn target_classes(&self, logits: &Tensor, matches: &Matches) -> Result<Tensor> {
        let negative = self.label_smoothing / 2.0;
        let class = Tensor::f_from_slice(&matches.classes)?.f_to_device(logits.device())?;
        let background = logits.f_detach()?.f_full_like(negative)?;
        Ok(background.f_scatter_value(1, &class.f_unsqueeze(1)?, 1.0 - negative)?)
    }

    fn dropped(&self, targets: &[Target], taken: &[bool]) -> Vec<Dropped> {
        let reason = |target: &Target| {
            let [.., w, h] = target.cxcywh;
            if w > 0.0 && h > 0.0 { DropReason::AnchorRatio } else { DropReason::EmptyBox }
        };
        let left = targets.iter().zip(taken).enumerate().filter(|(_, (_, taken))| !**taken);
        left.map(|(row, (target, _))| Dropped { row, reason: reason(target) }).collect()
    }
}

impl Matches {
    /// Index tensors of image, anchor, row and column.
    fn cells(&self, device: Device) -> Result<[Tensor; 4]> {
        let upload = |values: &[i64]| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(values)?.f_to_device(device)?)
        };
        Ok([
            upload(&self.images)?,
            upload(&self.anchors)?,
            upload(&self.rows)?,
            upload(&self.columns)?,
        ])
    }

    fn last_of_each_cell(&self) -> Vec<i64> {
        let mut last = std::collections::BTreeMap::new();
        for row in 0..self.images.len() {
            let cell = (self.images[row], self.anchors[row], self.rows[row], self.columns[row]);
            last.insert(cell, row as i64);
        }
        last.into_values().collect()
    }
}

fn read_targets(targets: &Tensor, batch: i64, classes: i64) -> Result<Vec<Target>> {
    let dims = targets.size();
    check::shape_is(NAME, "targets", targets, dims.len() == 2 && dims[1] == 6, "[n, 6]")?;
    let values =
        check::in_kind(NAME, "targets", targets, Kind::Double)?.f_to_device(Device::Cpu)?;
    let values = Vec::<f64>::try_from(values.f_contiguous()?.f_view(-1)?)?;
    values
        .chunks_exact(6)
        .enumerate()
        .map(|(row, values)| {
            let wrong = |message: String| LossError::Target { loss: NAME, row, message };
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(wrong(format!("expected finite numbers, got {value}")));
            }
            let (image, class) = (values[0], values[1]);
            if !(0.0..batch as f64).contains(&image) || image.fract() != 0.0 {
                return Err(wrong(format!("expected an image in 0..{batch}, got {image}")));
            }
            if !(0.0..classes as f64).contains(&class) || class.fract() != 0.0 {
                return Err(wrong(format!("expected a class in 0..{classes}, got {class}")));
            }
            let cxcywh = [values[2], values[3], values[4], values[5]];
            Ok(Target { image: image as i64, class: class as i64, cxcywh })
        })
        .collect()
}
