//! Anchor boxes of a grid detector: sizes per level, k-means on data, decoding of predictions.

use crate::{LossError, Result, check, error::unwrap};
use tch::Tensor;

/// Anchor sizes (width, height) in pixels and the stride of each level of a YOLOv5-style detector.
///
/// # Errors
///
/// Every level needs the same number of anchors, at least one, of positive finite size, and a
/// positive stride.
///
/// # Examples
///
/// ```
/// use tch_losses::detection::Anchors;
///
/// let sizes = [[8.0, 12.0], [16.0, 22.0], [24.0, 33.0], [36.0, 46.0]];
/// let anchors = Anchors::new(sizes.chunks(2).map(<[_]>::to_vec).collect(), vec![8, 16])?;
/// assert_eq!(anchors.levels(), 2);
/// assert_eq!(anchors.best_possible_recall(&[[10.0, 10.0], [400.0, 400.0]], 4.0), 0.5);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
///
/// # Reference
///
/// Redmon and Farhadi 2017, "YOLO9000", for anchors by k-means; the decoding is YOLOv5's.
#[derive(Debug, Clone, PartialEq)]
pub struct Anchors {
    sizes: Vec<Vec<[f64; 2]>>,
    strides: Vec<i64>,
}

const NAME: &str = "Anchors";

impl Anchors {
    /// Anchors of each level, finest level first, with the levels' strides in pixels.
    pub fn new(sizes: Vec<Vec<[f64; 2]>>, strides: Vec<i64>) -> Result<Self> {
        let wrong =
            |option, expected, got: String| LossError::Param { loss: NAME, option, expected, got };
        if sizes.is_empty() || sizes.len() != strides.len() {
            let got = format!("{} and {}", sizes.len(), strides.len());
            return Err(wrong("sizes and strides", "of as many levels, at least one", got));
        }
        if sizes.iter().any(|level| level.is_empty() || level.len() != sizes[0].len()) {
            let counts: Vec<_> = sizes.iter().map(Vec::len).collect();
            return Err(wrong(
                "sizes",
                "as many on each level, at least one",
                format!("{counts:?}"),
            ));
        }
        for &size in sizes.iter().flatten().flatten() {
            check::param(
                NAME,
                "size",
                size,
                size > 0.0 && size.is_finite(),
                "positive and finite",
            )?;
        }
        if let Some(stride) = strides.iter().find(|&&stride| stride <= 0) {
            return Err(wrong("stride", "positive", stride.to_string()));
        }
        Ok(Anchors { sizes, strides })
    }

    /// YOLOv5's anchors for COCO at 640 pixels, strides 8, 16 and 32.
    pub fn coco() -> Self {
        let sizes = [
            [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
            [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
            [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
        ];
        let sizes = sizes.iter().map(|level| level.to_vec()).collect();
        Anchors { sizes, strides: vec![8, 16, 32] }
    }

    /// k-means of box sizes (width, height in pixels), sorted by area and dealt to the levels.
    ///
    /// The distance is 1 - IoU of two boxes with a common corner, so that small boxes count as much
    /// as large ones. The first centres are spread evenly over the boxes sorted by area: the result
    /// depends on the data alone.
    ///
    /// # Errors
    ///
    /// No size is positive and finite, or the strides are refused by [`Anchors::new`].
    pub fn kmeans(sizes: &[[f64; 2]], per_level: usize, strides: &[i64]) -> Result<Self> {
        let usable = |size: &&[f64; 2]| size.iter().all(|&side| side > 0.0 && side.is_finite());
        let mut sizes: Vec<[f64; 2]> = sizes.iter().filter(usable).copied().collect();
        if per_level == 0 || strides.is_empty() {
            let got = format!("{per_level} on {} levels", strides.len());
            let expected = "at least 1 on at least one level";
            return Err(LossError::Param { loss: NAME, option: "per_level", expected, got });
        }
        if sizes.is_empty() {
            let expected = "at least one box of positive size";
            return Err(LossError::Param {
                loss: NAME,
                option: "sizes",
                expected,
                got: "none".into(),
            });
        }
        let area = |size: &[f64; 2]| size[0] * size[1];
        sizes.sort_by(|a, b| area(a).total_cmp(&area(b)));
        let count = per_level * strides.len();
        let mut centres: Vec<[f64; 2]> =
            (0..count).map(|k| sizes[(2 * k + 1) * sizes.len() / (2 * count)]).collect();
        for _ in 0..300 {
            let mut sums = vec![[0.0; 3]; count];
            for size in &sizes {
                let nearest = (0..count)
                    .max_by(|&a, &b| {
                        iou_of_sizes(size, &centres[a]).total_cmp(&iou_of_sizes(size, &centres[b]))
                    })
                    .expect("at least one centre");
                let sum = &mut sums[nearest];
                *sum = [sum[0] + size[0], sum[1] + size[1], sum[2] + 1.0];
            }
            let moved: Vec<[f64; 2]> = sums
                .iter()
                .zip(&centres)
                .map(|(&[w, h, n], &old)| if n > 0.0 { [w / n, h / n] } else { old })
                .collect();
            if moved == centres {
                break;
            }
            centres = moved;
        }
        centres.sort_by(|a, b| area(a).total_cmp(&area(b)));
        Self::new(centres.chunks(per_level).map(<[_]>::to_vec).collect(), strides.to_vec())
    }

    /// The number of levels.
    pub fn levels(&self) -> usize {
        self.strides.len()
    }

    /// The number of anchors of each level.
    pub fn per_level(&self) -> usize {
        self.sizes[0].len()
    }

    /// The anchors of each level, in pixels.
    pub fn sizes(&self) -> &[Vec<[f64; 2]>] {
        &self.sizes
    }

    /// The stride of each level, in pixels.
    pub fn strides(&self) -> &[i64] {
        &self.strides
    }

    /// The share of boxes (width, height in pixels) that some anchor matches within the ratio
    /// `anchor_t`: the recall that a detector trained with it can reach at best.
    pub fn best_possible_recall(&self, sizes: &[[f64; 2]], anchor_t: f64) -> f64 {
        let matched = |size: &[f64; 2]| {
            self.sizes.iter().flatten().any(|anchor| ratio(size, anchor) < anchor_t)
        };
        sizes.iter().filter(|size| matched(size)).count() as f64 / sizes.len().max(1) as f64
    }

    /// Boxes and scores from the raw outputs of a YOLOv5 head.
    ///
    /// ```text
    /// xy = (2 sigmoid(t_xy) - 0.5 + cell) stride,  wh = (2 sigmoid(t_wh))^2 anchor
    /// ```
    ///
    /// # Shapes
    ///
    /// - predictions: per level (N, anchors, H, W, 5 + classes)
    /// - result: (N, boxes of all levels, 5 + classes): cx, cy, w, h in pixels, then the sigmoids of
    ///   objectness and classes; `Half` and `BFloat16` become `Float`
    ///
    /// # Errors
    ///
    /// The number of levels or the shape of a level's predictions.
    pub fn f_decode(&self, predictions: &[Tensor]) -> Result<Tensor> {
        self.check(NAME, predictions)?;
        let levels = predictions.iter().zip(&self.sizes).zip(&self.strides);
        let decoded: Vec<Tensor> = levels
            .map(|((prediction, sizes), &stride)| {
                let raw = check::accumulated(NAME, "predictions", prediction)?.f_sigmoid()?;
                let (batch, height, width, outputs) = match raw.size()[..] {
                    [n, _, h, w, o] => (n, h, w, o),
                    _ => unreachable!("checked"),
                };
                let options = (raw.f_kind()?, raw.device());
                let ys = Tensor::f_arange(height, options)?.f_view([1, 1, height, 1])?;
                let xs = Tensor::f_arange(width, options)?.f_view([1, 1, 1, width])?;
                let cells = Tensor::f_stack(
                    &[
                        xs.f_expand([1, 1, height, width], false)?,
                        ys.f_expand([1, 1, height, width], false)?,
                    ],
                    -1,
                )?;
                let anchors = size_tensor(sizes, 1.0)?.f_to_device(raw.device())?;
                let anchors =
                    anchors.f_to_kind(options.0)?.f_view([1, sizes.len() as i64, 1, 1, 2])?;
                let xy = raw.f_narrow(-1, 0, 2)?.f_mul_scalar(2.0)?.f_sub_scalar(0.5)?;
                let xy = xy.f_add(&cells)?.f_mul_scalar(stride as f64)?;
                let wh = raw.f_narrow(-1, 2, 2)?.f_mul_scalar(2.0)?.f_square()?.f_mul(&anchors)?;
                let scores = raw.f_narrow(-1, 4, outputs - 4)?;
                Ok(Tensor::f_cat(&[xy, wh, scores], -1)?.f_reshape([batch, -1, outputs])?)
            })
            .collect::<Result<_>>()?;
        Ok(Tensor::f_cat(&decoded, 1)?)
    }

    /// [`Anchors::f_decode`], or a panic with its error.
    #[track_caller]
    pub fn decode(&self, predictions: &[Tensor]) -> Tensor {
        unwrap(self.f_decode(predictions))
    }

    /// Checks that there is a (N, anchors, H, W, 5 + classes) per level; returns (N, classes).
    pub(super) fn check(&self, loss: &'static str, predictions: &[Tensor]) -> Result<(i64, i64)> {
        if predictions.len() != self.levels() {
            return Err(LossError::Param {
                loss,
                option: "predictions",
                expected: "one tensor per level of anchors",
                got: format!("{} for {} levels", predictions.len(), self.levels()),
            });
        }
        let (batch, outputs) = match predictions[0].size()[..] {
            [batch, _, _, _, outputs] => (batch, outputs),
            _ => (-1, -1),
        };
        for prediction in predictions {
            let fits = matches!(prediction.size()[..], [n, a, h, w, o]
                if n == batch && a == self.per_level() as i64 && h > 0 && w > 0 && o == outputs && o >= 6);
            let expected = format!(
                "[N, {}, H, W, 5 + classes], N and classes as on level 0",
                self.per_level()
            );
            check::shape_is(loss, "predictions", prediction, fits, &expected)?;
            check::device(loss, "predictions", prediction, &predictions[0])?;
        }
        Ok((batch, outputs - 5))
    }
}

/// Sizes as a Double tensor (n, 2), divided by `unit`.
pub(super) fn size_tensor(sizes: &[[f64; 2]], unit: f64) -> Result<Tensor> {
    let flat: Vec<f64> = sizes.iter().flatten().map(|side| side / unit).collect();
    Ok(Tensor::f_from_slice(&flat)?.f_view([-1, 2])?)
}

/// The larger of the two ratios of sides, each taken as at least 1.
pub(super) fn ratio(size: &[f64; 2], anchor: &[f64; 2]) -> f64 {
    let [w, h] = [size[0] / anchor[0], size[1] / anchor[1]];
    w.max(1.0 / w).max(h).max(1.0 / h)
}

fn iou_of_sizes(a: &[f64; 2], b: &[f64; 2]) -> f64 {
    let inter = a[0].min(b[0]) * a[1].min(b[1]);
    inter / (a[0] * a[1] + b[0] * b[1] - inter)
}
