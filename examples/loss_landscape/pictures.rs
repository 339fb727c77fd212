//! The ready pictures of each group of losses.

use crate::sweep::Sweep;
use clap::ValueEnum;

/// Losses that are drawn together.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Of the file.
    pub name: String,
    pub title: String,
    pub losses: Vec<String>,
    /// A row of the picture for each.
    pub sweeps: Vec<Sweep>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Real values
    Regression,
    /// Two classes
    Classification,
    /// Boxes moved and widened
    Boxes,
    /// Discs moved and resized
    Segmentation,
}

/// The pictures of some groups, or of all.
pub fn of(groups: &[Group]) -> Vec<Picture> {
    let picture = |of: Group, name: &str, title: &str, losses: &[&str], sweeps: &[Sweep]| {
        let (name, title) = (name.to_owned(), title.to_owned());
        let losses = losses.iter().map(|&loss| loss.to_owned()).collect();
        (of, Picture { name, title, losses, sweeps: sweeps.to_vec() })
    };
    let all = [
        picture(
            Group::Regression,
            "regression",
            "Regression losses",
            &[
                "mse",
                "l1",
                "huber",
                "smooth_l1(beta=0.5)",
                "log_cosh",
                "charbonnier(eps=0.5)",
                "quantile(quantile=0.8)",
            ],
            &[Sweep::Error],
        ),
        picture(
            Group::Classification,
            "binary",
            "Losses of a binary decision",
            &[
                "bce_with_logits",
                "focal(alpha=none)",
                "focal(alpha=none, gamma=5)",
                "bce_with_logits(label_smoothing=0.2)",
                "hinge",
                "squared_hinge",
                "mse",
            ],
            &[Sweep::Margin],
        ),
        picture(
            Group::Classification,
            "softmax",
            "Losses of one class of two",
            &[
                "cross_entropy",
                "label_smoothing(label_smoothing=0.2)",
                "softmax_focal",
                "poly_cross_entropy",
                "generalized_cross_entropy",
                "multi_margin",
            ],
            &[Sweep::Margin],
        ),
        picture(
            Group::Boxes,
            "boxes",
            "Losses of a box",
            &["iou", "giou", "diou", "ciou"],
            &[Sweep::Shift, Sweep::Width],
        ),
        picture(
            Group::Segmentation,
            "segmentation",
            "Losses of a disc of radius 10 in 49 x 49 pixels",
            &[
                "cross_entropy",
                "dice",
                "jaccard",
                "tversky(alpha=0.3, beta=0.7)",
                "focal_tversky",
                "generalized_dice",
            ],
            &[Sweep::Disc, Sweep::Radius],
        ),
        picture(
            Group::Segmentation,
            "segmentation_distance",
            "Losses by distance of a disc of radius 10 in 49 x 49 pixels",
            &["boundary", "hausdorff_dt", "hausdorff_er"],
            &[Sweep::Disc, Sweep::Radius],
        ),
    ];
    let wanted = all.into_iter().filter(|(of, _)| groups.is_empty() || groups.contains(of));
    wanted.map(|(_, picture)| picture).collect()
}
