//! The losses 1 - IoU, 1 - GIoU, 1 - DIoU and 1 - CIoU of predicted boxes.

use super::{
    BoxFormat, IouKind,
    iou::{aligned, check_aligned},
};
use crate::{
    MeanOver, Reduction, Result, check,
    fused::{BoxOverlap, Composed},
    loss::{named_loss, weighted_loss},
    reduce::{reduce, weights},
};
use tch::Tensor;

/// `1 - X`, reduced: what the losses below do.
#[derive(Clone, Copy)]
struct IouLoss {
    name: &'static str,
    kind: IouKind,
    format: BoxFormat,
    reduction: Reduction,
}

impl IouLoss {
    const BOXES: [&str; 2] = ["input", "target"];

    fn compute(self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        check::reduction(self.name, self.reduction)?;
        check_aligned(self.name, Self::BOXES, input, target)?;
        BoxOverlap { kind: self.kind, format: self.format }.loss(
            &self,
            [input, target],
            weight,
            self.reduction,
        )
    }
}

impl Composed for IouLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let iou = aligned(self.name, Self::BOXES, input, target, self.format, self.kind)?;
        let loss = iou.f_rsub_scalar(1.0)?;
        let weight = weights(self.name, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

macro_rules! iou_losses {
    ($($loss:ident: $kind:ident, $name:literal, $follows:literal { $(#[$purpose:meta])+ } { $(#[$examples:meta])+ })+) => {$(
        $(#[$purpose])+
        ///
        /// | option | default | meaning |
        /// |---|---|---|
        /// | `format` | `Xyxy` | layout of both tensors of boxes |
        /// | `reduction` | `Mean` | |
        ///
        /// # Shapes
        ///
        /// - input: predicted boxes (.., 4), in any unit
        /// - target: the input's shape, in the same unit
        /// - element weight: broadcastable to (..), one number per box
        /// - loss: a scalar, or (..) without reduction; `Half` and `BFloat16` are computed and
        ///   returned in `Float`
        ///
        /// # Reduction
        ///
        /// `Mean` divides by the number of boxes, or by the sum of their weights. Where there is no
        /// box it is 0.
        ///
        /// # Errors
        ///
        /// A last dimension other than 4; shape, kind or device of the target or a weight.
        ///
        $(#[$examples])+
        #[derive(Debug, Clone)]
        pub struct $loss {
            format: BoxFormat,
            reduction: Reduction,
        }

        impl Default for $loss {
            fn default() -> Self {
                $loss { format: BoxFormat::Xyxy, reduction: Reduction::Mean }
            }
        }

        impl $loss {
            /// The layout of the boxes, `Xyxy` by default.
            pub fn format(mut self, format: BoxFormat) -> Self {
                self.format = format;
                self
            }

            /// `Mean` by default.
            pub fn reduction(mut self, reduction: Reduction) -> Self {
                self.reduction = reduction;
                self
            }

            fn compute(
                &self,
                input: &Tensor,
                target: &Tensor,
                weight: Option<&Tensor>,
            ) -> Result<Tensor> {
                let Self { format, reduction } = *self;
                let (name, kind) = (stringify!($loss), IouKind::$kind);
                IouLoss { name, kind, format, reduction }.compute(input, target, weight)
            }
        }

        weighted_loss!($loss);

        named_loss! { $loss: $name, Boxes => Dense, $follows, [format, reduction] }
    )+};
}

iou_losses! {
    IoULoss: Iou, "iou", "1 - torchvision `box_iou`" {
        /// IoU loss of predicted boxes.
        ///
        /// ```text
        /// l = 1 - I / U
        /// ```
        ///
        /// I and U are the areas of the intersection and the union. A box apart from its target has
        /// the loss 1 and no gradient: the other kinds are for that.
    } {
        /// # Examples
        ///
        /// ```
        /// use tch::Tensor;
        /// use tch_losses::{IoULoss, Loss};
        ///
        /// let pred = Tensor::from_slice(&[0.0f64, 0.0, 2.0, 2.0]).view([1, 4]);
        /// let target = Tensor::from_slice(&[1.0f64, 0.0, 3.0, 2.0]).view([1, 4]);
        /// let loss = IoULoss::default().forward(&pred, &target);
        /// assert!((loss.double_value(&[]) - 2.0 / 3.0).abs() < 1e-12);
        /// ```
        ///
        /// # Differences
        ///
        /// No term is added to a denominator; see [`bbox_iou`](crate::bbox_iou) for what is done
        /// about boxes without area.
        ///
        /// # Reference
        ///
        /// The linear form of Yu et al. 2016, "UnitBox". Follows 1 - torchvision 0.28 `box_iou`.
        /// See also [`GIoULoss`].
    }

    GIoULoss: GIoU, "giou", "torchvision `generalized_box_iou_loss`" {
        /// Generalised IoU loss of predicted boxes.
        ///
        /// ```text
        /// l = 1 - I / U + (C - U) / C
        /// ```
        ///
        /// I and U are the areas of the intersection and the union, C that of the smallest box
        /// around both. The loss is in [0, 2) and draws boxes together that are apart.
    } {
        /// # Examples
        ///
        /// ```
        /// use tch::Tensor;
        /// use tch_losses::{GIoULoss, Loss};
        ///
        /// let pred = Tensor::from_slice(&[0.0f64, 0.0, 1.0, 1.0]).view([1, 4]);
        /// let target = Tensor::from_slice(&[1.0f64, 1.0, 2.0, 2.0]).view([1, 4]);
        /// let loss = GIoULoss::default().forward(&pred, &target);
        /// assert_eq!(loss.double_value(&[]), 1.5);
        /// ```
        ///
        /// # Differences
        ///
        /// torchvision adds 1e-7 to both denominators and gives a box that is inverted both ways a
        /// positive area; see [`bbox_iou`](crate::bbox_iou).
        ///
        /// # Reference
        ///
        /// Rezatofighi et al. 2019, "Generalized Intersection over Union". Follows torchvision 0.28
        /// `generalized_box_iou_loss`, whose default is no reduction. See also [`DIoULoss`].
    }

    DIoULoss: DIoU, "diou", "torchvision `distance_box_iou_loss`" {
        /// Distance IoU loss of predicted boxes.
        ///
        /// ```text
        /// l = 1 - I / U + ρ² / c²
        /// ```
        ///
        /// I and U are the areas of the intersection and the union, ρ the distance of the centres,
        /// c the diagonal of the smallest box around both. The loss is in [0, 2).
    } {
        /// # Examples
        ///
        /// ```
        /// use tch::Tensor;
        /// use tch_losses::{DIoULoss, Loss};
        ///
        /// let pred = Tensor::from_slice(&[0.0f64, 0.0, 1.0, 1.0]).view([1, 4]);
        /// let target = Tensor::from_slice(&[1.0f64, 1.0, 2.0, 2.0]).view([1, 4]);
        /// let loss = DIoULoss::default().forward(&pred, &target);
        /// assert_eq!(loss.double_value(&[]), 1.25);
        /// ```
        ///
        /// # Differences
        ///
        /// torchvision adds 1e-7 to both denominators; see [`bbox_iou`](crate::bbox_iou).
        ///
        /// # Reference
        ///
        /// Zheng et al. 2020, "Distance-IoU Loss". Follows torchvision 0.28
        /// `distance_box_iou_loss`, whose default is no reduction. See also [`CIoULoss`].
    }

    CIoULoss: CIoU, "ciou", "torchvision `complete_box_iou_loss`" {
        /// Complete IoU loss of predicted boxes: overlap, distance and aspect ratio.
        ///
        /// ```text
        /// l = 1 - I / U + ρ² / c² + α v
        /// v = 4/π² (atan(wg / hg) - atan(w / h))²,   α = v / (1 - I / U + v), a constant
        /// ```
        ///
        /// I and U are the areas of the intersection and the union, ρ the distance of the centres,
        /// c the diagonal of the smallest box around both, w and h the sides of the predicted box,
        /// wg and hg those of the target. α is detached: no gradient goes through it.
    } {
        /// # Examples
        ///
        /// ```
        /// use tch::Tensor;
        /// use tch_losses::{BoxFormat, CIoULoss, Loss};
        ///
        /// let pred = Tensor::from_slice(&[5.0f64, 5.0, 10.0, 10.0]).view([1, 4]);
        /// let target = Tensor::from_slice(&[5.0f64, 5.0, 10.0, 5.0]).view([1, 4]);
        /// let loss = CIoULoss::default().format(BoxFormat::Cxcywh).forward(&pred, &target);
        /// let v = 4.0 * ((2f64.atan() - 1f64.atan()) / std::f64::consts::PI).powi(2);
        /// assert!((loss.double_value(&[]) - (0.5 + v * v / (0.5 + v))).abs() < 1e-12);
        /// ```
        ///
        /// # Differences
        ///
        /// torchvision gives NaN for a box without area, and its `eps` reaches only α. Here w, h,
        /// wg and hg are at least c/1000 in v, so that its gradient is bounded; see
        /// [`bbox_iou`](crate::bbox_iou). The authors' code sets α to 0 where the IoU is below 0.5.
        ///
        /// # Reference
        ///
        /// Zheng et al. 2020, "Distance-IoU Loss". Follows torchvision 0.28
        /// `complete_box_iou_loss`, whose default is no reduction. See also [`DIoULoss`].
    }
}
