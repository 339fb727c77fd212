//! Mean average precision of a detector, by the rules of COCO or of YOLOv5.

use crate::{LossError, Result, check};
use std::{cmp::Ordering, fmt, ops::Range};
use tch::{Kind, Tensor};

const NAME: &str = "CocoEval";

/// One predicted box.
///
/// The box is kept as left, top, width, height, as COCO files have it: areas and overlaps are then
/// computed from the same numbers as pycocotools uses. Any unit will do as long as all boxes share
/// it; the area ranges of [`CocoEval`] are in square pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// The class, counted from 0.
    pub class: usize,
    /// Left, top, width, height.
    pub xywh: [f64; 4],
    /// How sure the detector is; only the order of scores matters.
    pub score: f64,
}

impl Detection {
    /// A detection from left, top, width, height.
    pub fn xywh(class: usize, xywh: [f64; 4], score: f64) -> Self {
        Self { class, xywh, score }
    }

    /// A detection from two corners: left, top, right, bottom.
    pub fn xyxy(class: usize, xyxy: [f64; 4], score: f64) -> Self {
        Self { class, xywh: sides(xyxy), score }
    }

    /// The detections of one image from a detector's tensors.
    ///
    /// # Shapes
    ///
    /// `boxes` `[N, 4]` as left, top, right, bottom and `scores` `[N]`, floating-point; `classes`
    /// `[N]`, integer and not negative. On any device: this copies them to the host.
    ///
    /// # Errors
    ///
    /// When a shape or a kind is another, or a class is negative.
    ///
    /// # Examples
    ///
    /// ```
    /// use tch::Tensor;
    /// use tch_losses::metrics::Detection;
    ///
    /// let boxes = Tensor::from_slice(&[10f32, 20.0, 40.0, 60.0]).view([1, 4]);
    /// let (scores, classes) = (Tensor::from_slice(&[0.5f32]), Tensor::from_slice(&[3i64]));
    /// let found = Detection::from_tensors(&boxes, &scores, &classes)?;
    /// assert_eq!(found, [Detection::xyxy(3, [10.0, 20.0, 40.0, 60.0], 0.5)]);
    /// # Ok::<(), tch_losses::LossError>(())
    /// ```
    pub fn from_tensors(
        boxes: &Tensor,
        scores: &Tensor,
        classes: &Tensor,
    ) -> Result<Vec<Detection>> {
        let (boxes, classes) = boxes_and_classes("Detection::from_tensors", boxes, classes)?;
        let rows = boxes.len() as i64;
        check::shape("Detection::from_tensors", "scores", scores, &[rows])?;
        let scores = to_f64("Detection::from_tensors", "scores", scores)?;
        let parts = classes.into_iter().zip(boxes).zip(scores);
        Ok(parts.map(|((class, xyxy), score)| Detection::xyxy(class, xyxy, score)).collect())
    }
}

/// One true box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroundTruth {
    /// The class, counted from 0.
    pub class: usize,
    /// Left, top, width, height.
    pub xywh: [f64; 4],
    /// The box holds a crowd: any number of detections inside it count neither for nor against the
    /// detector (COCO's `iscrowd`).
    pub crowd: bool,
    /// The area that decides whether the object is small, medium or large; width times height when
    /// `None`. COCO's files give the area of the object's outline here.
    pub area: Option<f64>,
}

impl GroundTruth {
    /// A single object from left, top, width, height.
    pub fn xywh(class: usize, xywh: [f64; 4]) -> Self {
        Self { class, xywh, crowd: false, area: None }
    }

    /// A single object from two corners: left, top, right, bottom.
    pub fn xyxy(class: usize, xyxy: [f64; 4]) -> Self {
        Self::xywh(class, sides(xyxy))
    }

    /// Says whether the box holds a crowd.
    pub fn crowd(self, crowd: bool) -> Self {
        Self { crowd, ..self }
    }

    /// Gives the object's own area, where it is not width times height.
    pub fn area(self, area: f64) -> Self {
        Self { area: Some(area), ..self }
    }

    /// The true boxes of one image from tensors: `boxes` `[N, 4]` as left, top, right, bottom,
    /// floating-point, and `classes` `[N]`, integer and not negative.
    ///
    /// # Errors
    ///
    /// When a shape or a kind is another, or a class is negative.
    pub fn from_tensors(boxes: &Tensor, classes: &Tensor) -> Result<Vec<GroundTruth>> {
        let (boxes, classes) = boxes_and_classes("GroundTruth::from_tensors", boxes, classes)?;
        Ok(classes.into_iter().zip(boxes).map(|(class, xyxy)| Self::xyxy(class, xyxy)).collect())
    }
}

fn sides([left, top, right, bottom]: [f64; 4]) -> [f64; 4] {
    [left, top, right - left, bottom - top]
}

fn to_f64(caller: &'static str, what: &'static str, tensor: &Tensor) -> Result<Vec<f64>> {
    if !check::is_float(tensor.f_kind()?) {
        let got = tensor.kind();
        return Err(LossError::Kind { loss: caller, what, expected: "floating-point", got });
    }
    Ok(Vec::<f64>::try_from(tensor.f_to_kind(Kind::Double)?.f_reshape([-1])?)?)
}

fn boxes_and_classes(
    caller: &'static str,
    boxes: &Tensor,
    classes: &Tensor,
) -> Result<(Vec<[f64; 4]>, Vec<usize>)> {
    let size = boxes.size();
    check::shape_is(caller, "boxes", boxes, size.len() == 2 && size[1] == 4, "[N, 4]")?;
    check::shape(caller, "classes", classes, &size[..1])?;
    let corners = to_f64(caller, "boxes", boxes)?;
    let classes = check::index(caller, "classes", classes)?;
    let classes = Vec::<i64>::try_from(classes.f_to_kind(Kind::Int64)?)?;
    let classes = classes.into_iter().map(|class| {
        usize::try_from(class).map_err(|_| LossError::Param {
            loss: caller,
            option: "classes",
            expected: "counted from 0",
            got: class.to_string(),
        })
    });
    let boxes = corners.chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]).collect();
    Ok((boxes, classes.collect::<Result<_>>()?))
}

/// How detections are matched to true boxes, and how a precision-recall curve becomes one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MatchRule {
    /// By score first: each detection, best score first, takes the free true box it overlaps most.
    /// AP is the mean of the precision at 101 recalls. What papers report.
    #[default]
    Coco,
    /// By overlap first: each detection looks only at the true box it overlaps most, and the best
    /// score gets that box. AP is the area under the interpolated curve that starts at precision 1
    /// and falls to 0 at recall 1, so that a perfect detector gets 0.995. Knows no crowds (they are
    /// left out) and no object sizes. What YOLOv5 prints.
    Yolov5,
}

/// A range of object sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Every object.
    All,
    /// Up to 32 x 32 pixels.
    Small,
    /// From 32 x 32 to 96 x 96 pixels.
    Medium,
    /// From 96 x 96 pixels.
    Large,
}

/// Mean average precision and recall of a detector over a data set, exactly as pycocotools
/// computes them for boxes.
///
/// In each image, for each class, size range and overlap threshold `t`:
///
/// ```text
/// detections   by score, equal scores in the order given, the best max_dets of them
/// overlap      I / (A_detection + A_truth - I);  I / A_detection with a crowd
/// match        the best overlap >= min(t, 1 - 1e-10) among true boxes still free
///              (of equal overlaps the later box; a crowd is always free)
/// left out     true boxes that are crowds or out of the size range, detections matched to them
///              (only when no counted box matches) and unmatched ones out of the size range
/// ```
///
/// Then over all images, detections by score, with `N` counted true boxes:
///
/// ```text
/// precision_i  TP_i / (TP_i + FP_i + 2^-52)             recall_i   TP_i / N
/// AP           mean over r = 0, 0.01, ..., 1 of max { precision_i : recall_i >= r }, 0 if none
/// AR           the last recall
/// mAP          mean of AP over classes with N > 0 and thresholds 0.50, 0.55, ..., 0.95
/// ```
///
/// # Units
///
/// Boxes in pixels (the size ranges are 32 x 32 and 96 x 96 pixels); an object exactly on a bound
/// belongs to both ranges. A detection of negative width or height overlaps nothing. Memory is 52
/// bytes a detection with the default options: boxes are not kept.
///
/// # Errors
///
/// From [`add`](Self::add), which then has added nothing: a class out of range; a coordinate, area
/// or score that is NaN or infinite; a true box of negative width, height or area; an option out of
/// range.
///
/// # Examples
///
/// ```
/// use tch_losses::metrics::{CocoEval, Detection, GroundTruth};
///
/// let mut eval = CocoEval::new(2);
/// // One image: class 0 is found, with an overlap of 0.8; class 1 is not.
/// let found = [Detection::xyxy(0, [0.0, 0.0, 10.0, 8.0], 0.9)];
/// let truth = [
///     GroundTruth::xyxy(0, [0.0, 0.0, 10.0, 10.0]),
///     GroundTruth::xyxy(1, [20.0, 20.0, 50.0, 50.0]),
/// ];
/// eval.add(&found, &truth)?;
/// let summary = eval.summarize();
/// // Class 0 counts at 7 of 10 thresholds, class 1 at none.
/// assert!((summary.map.unwrap() - 0.35).abs() < 1e-12);
/// assert!((summary.map50.unwrap() - 0.5).abs() < 1e-12);
/// assert_eq!(summary.per_class[1].ap, Some(0.0));
/// assert_eq!(summary.map_large, None); // nothing here is large
/// println!("{summary}");
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Differences
///
/// Same numbers as pycocotools 2.0.11 to the last bit, except that: images count in the order of
/// `add` (pycocotools: by image id), which shows only when scores are equal; classes are `0..n`; a
/// value without true boxes is `None` (pycocotools: -1, and so it is printed); `map` is taken at
/// the largest of `max_dets` (pycocotools: at 100, or -1 where 100 is not among them); no true box
/// counts as unmatched because its annotation id is 0.
///
/// # Reference
///
/// Lin et al., "Microsoft COCO: Common Objects in Context", 2014, arXiv:1405.0312; follows
/// pycocotools 2.0.11 `COCOeval` with `iouType="bbox"`, and yolov5 7.0 for [`MatchRule::Yolov5`].
#[derive(Debug, Clone)]
pub struct CocoEval {
    options: Options,
    classes: Vec<Matches>,
    images: usize,
}

#[derive(Debug, Clone)]
struct Options {
    rule: MatchRule,
    iou: Vec<f64>,
    recall: Vec<f64>,
    max_dets: [usize; 3],
    areas: [[f64; 2]; 4],
}

/// What became of the detections of one class.
#[derive(Debug, Clone, Default)]
struct Matches {
    score: Vec<f64>,
    /// Place by score among the detections of the class in the same image.
    place: Vec<u32>,
    /// `[detection, area, threshold]`
    outcome: Vec<Outcome>,
    /// Counted true boxes by area.
    truths: [usize; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Hit,
    Miss,
    LeftOut,
}

impl CocoEval {
    /// An empty evaluation of `classes` classes with COCO's options.
    pub fn new(classes: usize) -> Self {
        let side = |pixels: f64| pixels * pixels;
        let options = Options {
            rule: MatchRule::default(),
            iou: linspace(0.5, 0.95, 10),
            recall: linspace(0.0, 1.0, 101),
            max_dets: [1, 10, 100],
            areas: [
                [0.0, side(1e5)],
                [0.0, side(32.0)],
                [side(32.0), side(96.0)],
                [side(96.0), side(1e5)],
            ],
        };
        Self { options, classes: vec![Matches::default(); classes], images: 0 }
    }

    /// How detections are matched and curves averaged; COCO's rule if not set.
    #[track_caller]
    pub fn rule(self, rule: MatchRule) -> Self {
        self.set(|options| options.rule = rule)
    }

    /// Overlaps from which a detection counts, each in (0, 1]; 0.50, 0.55, ..., 0.95 if not set.
    /// `map50` and `map75` need exactly 0.5 and 0.75 among them.
    #[track_caller]
    pub fn iou_thresholds(self, thresholds: impl Into<Vec<f64>>) -> Self {
        self.set(|options| options.iou = thresholds.into())
    }

    /// Recalls at which the precision is read, ascending in [0, 1]; 0, 0.01, ..., 1 if not set.
    #[track_caller]
    pub fn recall_thresholds(self, recalls: impl Into<Vec<f64>>) -> Self {
        self.set(|options| options.recall = recalls.into())
    }

    /// How many detections of a class count in an image, ascending; 1, 10, 100 if not set. The
    /// precision and the recall by area are taken at the last; YOLOv5 uses 300.
    #[track_caller]
    pub fn max_dets(self, max_dets: [usize; 3]) -> Self {
        self.set(|options| options.max_dets = max_dets)
    }

    /// Least and greatest area (both belong to the range) of all, small, medium and large objects,
    /// in square pixels.
    #[track_caller]
    pub fn area_ranges(self, ranges: [[f64; 2]; 4]) -> Self {
        self.set(|options| options.areas = ranges)
    }

    #[track_caller]
    fn set(mut self, change: impl FnOnce(&mut Options)) -> Self {
        let images = self.images;
        assert!(
            images == 0,
            "{NAME}: expected options before the first image, got {images} images"
        );
        change(&mut self.options);
        self
    }

    /// How many images were added.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Adds one image: what was found in it and what is there. Both may be empty.
    ///
    /// # Errors
    ///
    /// See [`CocoEval`]; the image is then not added.
    pub fn add(&mut self, detections: &[Detection], ground_truth: &[GroundTruth]) -> Result<()> {
        self.options.check()?;
        self.check(detections, ground_truth)?;
        self.images += 1;
        let mut found: Vec<&Detection> = detections.iter().collect();
        found.sort_by(|a, b| a.class.cmp(&b.class).then(descending(a.score, b.score)));
        let mut truth: Vec<&GroundTruth> = ground_truth.iter().collect();
        truth.sort_by_key(|truth| truth.class);

        let (mut found, mut truth) = (&found[..], &truth[..]);
        while let Some(class) = [found.first().map(|d| d.class), truth.first().map(|g| g.class)]
            .into_iter()
            .flatten()
            .min()
        {
            let (these, rest) = found.split_at(found.partition_point(|d| d.class == class));
            found = rest;
            let (those, rest) = truth.split_at(truth.partition_point(|g| g.class == class));
            truth = rest;
            let these = &these[..these.len().min(self.options.max_dets[2])];
            self.classes[class].add(&self.options, these, those);
        }
        Ok(())
    }

    fn check(&self, detections: &[Detection], ground_truth: &[GroundTruth]) -> Result<()> {
        let classes = self.classes.len();
        let bad =
            |option, expected, got| Err(LossError::Param { loss: NAME, option, expected, got });
        for (i, detection) in detections.iter().enumerate() {
            if detection.class >= classes {
                let got = format!("class {} of {classes} in detection {i}", detection.class);
                return bad("classes", "counted from 0 and below the number of classes", got);
            }
            if !(detection.score.is_finite() && finite(detection.xywh)) {
                let got = format!("{detection:?} as detection {i}");
                return bad("scores and boxes", "finite", got);
            }
        }
        for (i, truth) in ground_truth.iter().enumerate() {
            if truth.class >= classes {
                let got = format!("class {} of {classes} in true box {i}", truth.class);
                return bad("classes", "counted from 0 and below the number of classes", got);
            }
            let [_, _, width, height] = truth.xywh;
            let area = truth.area.unwrap_or(0.0);
            if !(finite(truth.xywh) && area.is_finite()) {
                return bad("true boxes", "finite", format!("{truth:?} as true box {i}"));
            }
            if width < 0.0 || height < 0.0 || area < 0.0 {
                let got = format!("{truth:?} as true box {i}");
                return bad("true boxes", "of no negative width, height or area", got);
            }
        }
        Ok(())
    }

    /// The metrics over all images added so far.
    pub fn summarize(&self) -> CocoSummary {
        CocoSummary::new(self)
    }
}

impl Options {
    fn check(&self) -> Result<()> {
        let check = |option, ok, expected, got: String| match ok {
            true => Ok(()),
            false => Err(LossError::Param { loss: NAME, option, expected, got }),
        };
        let ok = !self.iou.is_empty() && self.iou.iter().all(|&t| t > 0.0 && t <= 1.0);
        check("iou_thresholds", ok, "one or more, each in (0, 1]", format!("{:?}", self.iou))?;
        let ok = !self.recall.is_empty()
            && self.recall.is_sorted()
            && self.recall.iter().all(|r| (0.0..=1.0).contains(r));
        let got = format!("{:?}", self.recall);
        check("recall_thresholds", ok, "one or more, ascending in [0, 1]", got)?;
        let ok = self.max_dets[0] > 0 && self.max_dets.is_sorted();
        check("max_dets", ok, "positive and ascending", format!("{:?}", self.max_dets))?;
        let ok = self.areas.iter().all(|[least, greatest]| least <= greatest);
        check("area_ranges", ok, "least <= greatest", format!("{:?}", self.areas))
    }

    /// The size ranges that the rule tells apart.
    fn areas(&self) -> &[[f64; 2]] {
        match self.rule {
            MatchRule::Coco => &self.areas,
            MatchRule::Yolov5 => &self.areas[..1],
        }
    }
}

impl Matches {
    /// Adds one image: detections by falling score and already cut, true boxes in their order.
    fn add(&mut self, options: &Options, found: &[&Detection], truth: &[&GroundTruth]) {
        let overlaps: Vec<f64> =
            found.iter().flat_map(|d| truth.iter().map(|g| overlap(d, g))).collect();
        let outcomes = match options.rule {
            MatchRule::Coco => self.by_score(options, found, truth, &overlaps),
            MatchRule::Yolov5 => self.by_overlap(options, found, truth, &overlaps),
        };
        self.outcome.extend(outcomes);
        self.score.extend(found.iter().map(|d| d.score));
        self.place.extend(0..found.len() as u32);
    }

    fn by_score(
        &mut self,
        options: &Options,
        found: &[&Detection],
        truth: &[&GroundTruth],
        overlaps: &[f64],
    ) -> Vec<Outcome> {
        let (areas, thresholds) = (&options.areas, options.iou.len());
        let mut outcomes = vec![Outcome::Miss; found.len() * areas.len() * thresholds];
        for (a, range) in areas.iter().enumerate() {
            let outside = |area: f64| area < range[0] || area > range[1];
            let (counted, left_out): (Vec<usize>, Vec<usize>) =
                (0..truth.len()).partition(|&g| !truth[g].crowd && !outside(truth_area(truth[g])));
            self.truths[a] += counted.len();
            for (t, &threshold) in options.iou.iter().enumerate() {
                let mut free = vec![true; truth.len()];
                for (d, detection) in found.iter().enumerate() {
                    let row = &overlaps[d * truth.len()..][..truth.len()];
                    // The best of the free boxes; of equal ones the later.
                    let best = |boxes: &[usize]| {
                        let least = threshold.min(1.0 - 1e-10);
                        let able = boxes.iter().copied();
                        let able = able.filter(|&g| (free[g] || truth[g].crowd) && row[g] >= least);
                        able.max_by(|&g, &h| row[g].total_cmp(&row[h]))
                    };
                    let (hit, outcome) = match best(&counted) {
                        Some(g) => (Some(g), Outcome::Hit),
                        None => match best(&left_out) {
                            Some(g) => (Some(g), Outcome::LeftOut),
                            None if outside(area(detection.xywh)) => (None, Outcome::LeftOut),
                            None => (None, Outcome::Miss),
                        },
                    };
                    if let Some(g) = hit {
                        free[g] = false;
                    }
                    outcomes[(d * areas.len() + a) * thresholds + t] = outcome;
                }
            }
        }
        outcomes
    }

    fn by_overlap(
        &mut self,
        options: &Options,
        found: &[&Detection],
        truth: &[&GroundTruth],
        overlaps: &[f64],
    ) -> Vec<Outcome> {
        let single: Vec<usize> = (0..truth.len()).filter(|&g| !truth[g].crowd).collect();
        self.truths[0] += single.len();
        let thresholds = options.iou.len();
        let mut taken = vec![false; truth.len() * thresholds];
        let mut outcomes = vec![Outcome::Miss; found.len() * thresholds];
        for d in 0..found.len() {
            let row = &overlaps[d * truth.len()..][..truth.len()];
            // The first of equal ones.
            let best = single.iter().rev().max_by(|&&g, &&h| row[g].total_cmp(&row[h]));
            let Some(&g) = best else { break };
            for (t, &threshold) in options.iou.iter().enumerate() {
                if row[g] >= threshold && !taken[g * thresholds + t] {
                    taken[g * thresholds + t] = true;
                    outcomes[d * thresholds + t] = Outcome::Hit;
                }
            }
        }
        outcomes
    }
}

fn finite(xywh: [f64; 4]) -> bool {
    let [x, y, width, height] = xywh;
    [x + width, y + height, width * height].into_iter().all(f64::is_finite)
}

fn area([_, _, width, height]: [f64; 4]) -> f64 {
    width * height
}

fn truth_area(truth: &GroundTruth) -> f64 {
    truth.area.unwrap_or(area(truth.xywh))
}

/// Intersection over union; over the detection alone when the true box is a crowd.
fn overlap(found: &Detection, truth: &GroundTruth) -> f64 {
    let (d, g) = (found.xywh, truth.xywh);
    let side = |i: usize| (d[i] + d[i + 2]).min(g[i] + g[i + 2]) - d[i].max(g[i]);
    let (width, height) = (side(0), side(1));
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let inter = width * height;
    let union = if truth.crowd { area(d) } else { area(d) + area(g) - inter };
    // Areas of sides below 1e-154 vanish.
    if union > 0.0 { inter / union } else { 0.0 }
}

fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

/// numpy's `linspace`, to the last bit.
fn linspace(start: f64, stop: f64, count: usize) -> Vec<f64> {
    let step = (stop - start) / (count - 1) as f64;
    let inner = (0..count - 1).map(|i| i as f64 * step + start);
    inner.chain([stop]).collect()
}

/// numpy's `mean`, to the last bit: halves are summed apart, and blocks of 128 in eight lanes.
fn mean(values: &[f64]) -> Option<f64> {
    fn sum(values: &[f64]) -> f64 {
        if values.len() <= 128 {
            let mut chunks = values.chunks_exact(8);
            let first = if values.len() < 8 { None } else { chunks.next() };
            let Some(first) = first else { return values.iter().sum() };
            let mut lanes = [0.0; 8];
            lanes.copy_from_slice(first);
            for chunk in &mut chunks {
                lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
            }
            let [a, b, c, d, e, f, g, h] = lanes;
            let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
            return chunks.remainder().iter().fold(sum, |sum, value| sum + value);
        }
        let half = values.len() / 2;
        let (left, right) = values.split_at(half - half % 8);
        sum(left) + sum(right)
    }
    if values.is_empty() { None } else { Some(sum(values) / values.len() as f64) }
}

/// The metrics of a data set; `None` where there is no true box to measure them on.
///
/// Prints as COCO's table of twelve lines, with -1 for `None`.
#[derive(Debug, Clone)]
pub struct CocoSummary {
    /// Average precision over classes and overlap thresholds: COCO's AP.
    pub map: Option<f64>,
    /// Average precision over classes at an overlap of 0.5.
    pub map50: Option<f64>,
    /// Average precision over classes at an overlap of 0.75.
    pub map75: Option<f64>,
    /// As `map`, for small objects.
    pub map_small: Option<f64>,
    /// As `map`, for medium objects.
    pub map_medium: Option<f64>,
    /// As `map`, for large objects.
    pub map_large: Option<f64>,
    /// Average recall over classes and overlap thresholds with the first of `max_dets` detections
    /// of a class in an image: 1.
    pub ar1: Option<f64>,
    /// As `ar1`, with the second of `max_dets`: 10.
    pub ar10: Option<f64>,
    /// As `ar1`, with the last of `max_dets`: 100.
    pub ar100: Option<f64>,
    /// As `ar100`, for small objects.
    pub ar_small: Option<f64>,
    /// As `ar100`, for medium objects.
    pub ar_medium: Option<f64>,
    /// As `ar100`, for large objects.
    pub ar_large: Option<f64>,
    /// Each class by itself.
    pub per_class: Vec<ClassSummary>,
    table: Curves,
}

/// The metrics of one class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassSummary {
    /// Average precision over overlap thresholds.
    pub ap: Option<f64>,
    /// Average precision at an overlap of 0.5.
    pub ap50: Option<f64>,
    /// Average recall over overlap thresholds with the last of `max_dets`.
    pub ar: Option<f64>,
    /// How many true boxes count: no crowds.
    pub ground_truths: usize,
    /// How many detections there are, with the last of `max_dets`.
    pub detections: usize,
}

impl CocoSummary {
    fn new(eval: &CocoEval) -> Self {
        let options = eval.options.clone();
        let curves = eval.classes.iter().map(|matches| {
            let mut order: Vec<usize> = (0..matches.score.len()).collect();
            order.sort_by(|&a, &b| descending(matches.score[a], matches.score[b]));
            let areas = 0..options.areas().len();
            areas.map(|area| ClassCurves::new(&options, matches, &order, area)).collect()
        });
        let table = Curves { classes: curves.collect(), options };
        let every = 0..table.classes.len();
        let all: Vec<usize> = (0..table.options.iou.len()).collect();
        let at = |iou: f64| -> Vec<usize> {
            all.iter().copied().filter(|&t| table.options.iou[t] == iou).collect()
        };
        let (at50, at75) = (at(0.5), at(0.75));
        let map = |area: Area| table.ap(every.clone(), area, &all);
        let recall = |area: Area, limit: usize| table.ar(every.clone(), area, limit);
        Self {
            map: map(Area::All),
            map50: table.ap(every.clone(), Area::All, &at50),
            map75: table.ap(every.clone(), Area::All, &at75),
            map_small: map(Area::Small),
            map_medium: map(Area::Medium),
            map_large: map(Area::Large),
            ar1: recall(Area::All, 0),
            ar10: recall(Area::All, 1),
            ar100: recall(Area::All, 2),
            ar_small: recall(Area::Small, 2),
            ar_medium: recall(Area::Medium, 2),
            ar_large: recall(Area::Large, 2),
            per_class: every
                .clone()
                .map(|class| ClassSummary {
                    ap: table.ap(class..class + 1, Area::All, &all),
                    ap50: table.ap(class..class + 1, Area::All, &at50),
                    ar: table.ar(class..class + 1, Area::All, 2),
                    ground_truths: eval.classes[class].truths[0],
                    detections: eval.classes[class].score.len(),
                })
                .collect(),
            table,
        }
    }

    /// The precision-recall curve of one class at the overlap threshold of that index (0 is 0.5 if
    /// not set otherwise), with the last of `max_dets`. `None` when there is no true box.
    pub fn curve(&self, class: usize, threshold: usize, area: Area) -> Option<Curve<'_>> {
        let curves = self.table.get(class, area)?;
        let recall = &self.table.options.recall[..];
        let row = threshold * recall.len()..(threshold + 1) * recall.len();
        let (precision, score) = (curves.precision.get(row.clone())?, curves.score.get(row)?);
        Some(Curve { recall, precision, score })
    }

    /// The recall of one class at the overlap threshold of that index with each of `max_dets`.
    /// `None` when there is no true box.
    pub fn recall(&self, class: usize, threshold: usize, area: Area) -> Option<[f64; 3]> {
        let row = self.table.get(class, area)?.recall.get(threshold * 3..threshold * 3 + 3)?;
        row.try_into().ok()
    }

    /// The overlap thresholds, in the order of their indices.
    pub fn iou_thresholds(&self) -> &[f64] {
        &self.table.options.iou
    }
}

impl fmt::Display for CocoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { iou, max_dets: [few, some, most], .. } = &self.table.options;
        let span = match &iou[..] {
            [first, .., last] => format!("{first:.2}:{last:.2}"),
            all => format!("{:.2}", all.first().unwrap_or(&0.0)),
        };
        let rows = [
            ("AP", &span[..], "all", most, self.map),
            ("AP", "0.50", "all", most, self.map50),
            ("AP", "0.75", "all", most, self.map75),
            ("AP", &span, "small", most, self.map_small),
            ("AP", &span, "medium", most, self.map_medium),
            ("AP", &span, "large", most, self.map_large),
            ("AR", &span, "all", few, self.ar1),
            ("AR", &span, "all", some, self.ar10),
            ("AR", &span, "all", most, self.ar100),
            ("AR", &span, "small", most, self.ar_small),
            ("AR", &span, "medium", most, self.ar_medium),
            ("AR", &span, "large", most, self.ar_large),
        ];
        write!(f, "metric  overlap    objects  per image   value")?;
        for (metric, overlap, objects, per_image, value) in rows {
            let value = value.unwrap_or(-1.0);
            write!(f, "\n{metric:<7} {overlap:<10} {objects:<7} {per_image:>10}  {value:>6.3}")?;
        }
        Ok(())
    }
}

/// A precision-recall curve: three columns of equal length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve<'a> {
    /// The recalls at which the curve is read.
    pub recall: &'a [f64],
    /// The best precision with at least that recall; 0 where the detector never gets there.
    pub precision: &'a [f64],
    /// The lowest score that is needed for that recall; 0 where the detector never gets there.
    pub score: &'a [f64],
}

/// The curves of all classes, `[class][area]`; `None` without true boxes.
#[derive(Debug, Clone)]
struct Curves {
    options: Options,
    classes: Vec<Vec<Option<ClassCurves>>>,
}

impl Curves {
    fn get(&self, class: usize, area: Area) -> Option<&ClassCurves> {
        self.classes.get(class)?.get(area as usize)?.as_ref()
    }

    fn present(&self, classes: Range<usize>, area: Area) -> Vec<&ClassCurves> {
        classes.filter_map(|class| self.get(class, area)).collect()
    }

    /// Average precision. The values are summed in pycocotools' order: threshold, recall, class.
    fn ap(&self, classes: Range<usize>, area: Area, thresholds: &[usize]) -> Option<f64> {
        let curves = self.present(classes, area);
        let recall = &self.options.recall;
        let mut values = Vec::new();
        for &t in thresholds {
            let rows = curves.iter().map(|curves| &curves.precision[t * recall.len()..]);
            let rows: Vec<&[f64]> = rows.collect();
            match self.options.rule {
                MatchRule::Coco => {
                    (0..recall.len()).for_each(|r| values.extend(rows.iter().map(|row| row[r])));
                }
                MatchRule::Yolov5 => values.extend(rows.iter().map(|row| trapezoid(recall, row))),
            }
        }
        mean(&values)
    }

    fn ar(&self, classes: Range<usize>, area: Area, limit: usize) -> Option<f64> {
        let curves = self.present(classes, area);
        let thresholds = 0..self.options.iou.len();
        let values = thresholds.flat_map(|t| curves.iter().map(move |c| c.recall[t * 3 + limit]));
        mean(&values.collect::<Vec<f64>>())
    }
}

fn trapezoid(x: &[f64], y: &[f64]) -> f64 {
    x.windows(2).zip(y.windows(2)).map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum()
}

/// The curves of one class in one size range.
#[derive(Debug, Clone)]
struct ClassCurves {
    /// `[threshold, recall]`
    precision: Vec<f64>,
    /// `[threshold, recall]`
    score: Vec<f64>,
    /// `[threshold, max_dets]`
    recall: Vec<f64>,
}

impl ClassCurves {
    /// `order` is that of falling scores.
    fn new(options: &Options, matches: &Matches, order: &[usize], area: usize) -> Option<Self> {
        let truths = matches.truths[area];
        if truths == 0 {
            return None;
        }
        let cells = options.areas().len() * options.iou.len();
        let mut curves = Self { precision: Vec::new(), score: Vec::new(), recall: Vec::new() };
        let (mut recall, mut precision) = (Vec::new(), Vec::new());
        for t in 0..options.iou.len() {
            let cell = area * options.iou.len() + t;
            recall.clear();
            precision.clear();
            let (mut hits, mut misses) = (0.0, 0.0);
            let mut hits_by_limit = [0usize; 3];
            for &d in order {
                match matches.outcome[d * cells + cell] {
                    Outcome::Hit => {
                        hits += 1.0;
                        for (count, &limit) in hits_by_limit.iter_mut().zip(&options.max_dets) {
                            *count += usize::from((matches.place[d] as usize) < limit);
                        }
                    }
                    Outcome::Miss => misses += 1.0,
                    Outcome::LeftOut => {}
                }
                recall.push(hits / truths as f64);
                precision.push(hits / (misses + hits + f64::EPSILON));
            }
            curves.recall.extend(hits_by_limit.map(|hits| hits as f64 / truths as f64));
            for i in (1..precision.len()).rev() {
                precision[i - 1] = precision[i].max(precision[i - 1]);
            }
            for &wanted in &options.recall {
                let i = recall.partition_point(|&recall| recall < wanted);
                curves.score.push(order.get(i).map_or(0.0, |&d| matches.score[d]));
                curves.precision.push(match options.rule {
                    MatchRule::Coco => precision.get(i).copied().unwrap_or(0.0),
                    MatchRule::Yolov5 => interpolated(&recall, &precision, wanted),
                });
            }
        }
        Some(curves)
    }
}

/// The curve through (0, best precision), the points given and (1, 0), at one recall; where it
/// drops at a recall, the end of the drop. 0 for a detector that found nothing.
fn interpolated(recall: &[f64], precision: &[f64], wanted: f64) -> f64 {
    if recall.is_empty() {
        return 0.0;
    }
    // Number of points of the curve at or left of `wanted`, without the two added ones.
    let left = recall.partition_point(|&recall| recall <= wanted);
    let (x0, y0) = match left {
        0 => (0.0, 1.0),
        _ => (recall[left - 1], precision[left - 1]),
    };
    if wanted >= 1.0 {
        return 0.0;
    }
    let (x1, y1) = match recall.get(left) {
        Some(&x1) => (x1, precision[left]),
        None => (1.0, 0.0),
    };
    (y1 - y0) / (x1 - x0) * (wanted - x0) + y0
}
