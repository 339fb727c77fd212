//! How a loss is evaluated at one point of a range, and what its range is.

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use std::ops::Range;
use tch::{Device, Kind, Tensor};
use tch_losses::{
    Loss,
    loss::{self, Entry, Input, Registry, Target},
};

/// What is varied, and what the losses are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sweep {
    /// A prediction against the target 0
    Error,
    /// The logit of the right class above that of the other, of two classes
    Margin,
    /// A box moved along its diagonal from the true one
    Shift,
    /// A box that shares its left side with the true one, wider or narrower
    Width,
    /// A predicted disc moved sideways from the true one
    Disc,
    /// A predicted disc larger or smaller than the true one
    Radius,
}

/// Value and gradient over a range.
#[derive(Debug)]
pub struct Swept {
    pub values: Vec<(f64, f64)>,
    pub gradients: Vec<(f64, f64)>,
}

const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);
/// The true box: left, top, right, bottom.
const BOX: [f64; 4] = [20.0, 20.0, 60.0, 52.0];
/// Side of the segmented image, radius of the disc, logits per pixel of distance to its edge.
const SIDE: i64 = 49;
const RADIUS: f64 = 10.0;
const SLOPE: f64 = 2.0;

impl Sweep {
    /// Under the horizontal axis.
    pub fn axis(self) -> &'static str {
        match self {
            Sweep::Error => "error x: prediction - target",
            Sweep::Margin => "margin x: logit of the right class - other",
            Sweep::Shift => "shift x of the box, in diagonals",
            Sweep::Width => "width x of the box, as a factor of the true one",
            Sweep::Disc => "shift x of the predicted disc, in radii",
            Sweep::Radius => "radius x of the predicted disc, as a factor",
        }
    }

    pub fn range(self) -> Range<f64> {
        match self {
            Sweep::Error => -3.0..3.0,
            Sweep::Margin => -5.0..5.0,
            Sweep::Shift | Sweep::Disc => -2.0..2.0,
            Sweep::Width => 0.1..3.0,
            Sweep::Radius => 0.1..2.2,
        }
    }

    /// The input and the target that stand for `x`.
    fn at(self, x: &Tensor, name: &str, takes: (Input, Target)) -> Result<(Tensor, Tensor)> {
        match (self, takes) {
            (Sweep::Error, (Input::Values, Target::Dense)) => {
                let x = x.view([1, 1]);
                let target = x.zeros_like();
                Ok((x, target))
            }
            (Sweep::Margin, (input, target)) => {
                margin(x, input, target).with_context(|| refusal(self, name, input))
            }
            (Sweep::Shift | Sweep::Width, (Input::Boxes, Target::Dense)) => {
                let truth = Tensor::from_slice(&BOX).view([1, 4]);
                let [left, top, right, bottom] = BOX;
                let (width, height) = (right - left, bottom - top);
                let change = match self {
                    Sweep::Shift => x * Tensor::from_slice(&[width, height, width, height]),
                    _ => (x - 1.0) * Tensor::from_slice(&[0.0, 0.0, width, 0.0]),
                };
                Ok((&truth + change.view([1, 4]), truth))
            }
            (Sweep::Disc | Sweep::Radius, (input, target)) => {
                let (shift, radius) = match self {
                    Sweep::Disc => (x * RADIUS, Tensor::from(RADIUS)),
                    _ => (x.zeros_like(), x * RADIUS),
                };
                disc(&shift, &radius, input, target).with_context(|| refusal(self, name, input))
            }
            (sweep, (input, _)) => bail!(refusal(sweep, name, input)),
        }
    }
}

fn refusal(sweep: Sweep, name: &str, input: Input) -> String {
    format!("{name} takes {input:?}, and is not drawn over the {}", sweep.axis())
}

/// One element with the margin `x`: two classes of which 0 is right, or one that is there.
fn margin(x: &Tensor, input: Input, target: Target) -> Option<(Tensor, Tensor)> {
    let one = x.view([1, 1]);
    let two = Tensor::cat(&[&one / 2.0, &one / -2.0], 1);
    let single = matches!(target, Target::Dense | Target::Sign);
    let input = match input {
        Input::Logits => two,
        Input::BinaryLogits | Input::Scores if single => one,
        Input::BinaryLogits | Input::Scores => two,
        Input::Probabilities => two.softmax(1, None::<Kind>),
        Input::LogProbabilities => two.log_softmax(1, None::<Kind>),
        Input::BinaryProbabilities | Input::Values if single => one.sigmoid(),
        Input::BinaryProbabilities | Input::Values => two.sigmoid(),
        Input::Boxes | Input::Images | Input::Embeddings => return None,
    };
    let signs = Tensor::from_slice(&[1.0, -1.0]).narrow(0, 0, input.size()[1]).view([1, -1]);
    let target = match target {
        Target::Index | Target::IndexOrDense => Tensor::zeros([1], (Kind::Int64, Device::Cpu)),
        Target::Dense => signs.relu(),
        Target::Sign => signs,
    };
    Some((input, target))
}

/// An image of a disc with a soft edge, `shift` pixels to the right of the true one.
fn disc(shift: &Tensor, radius: &Tensor, input: Input, target: Target) -> Option<(Tensor, Tensor)> {
    let middle = (SIDE / 2) as f64;
    let places = Tensor::arange(SIDE, OPTIONS) - middle;
    let (ys, xs) = (places.view([SIDE, 1]), places.view([1, SIDE]));
    let distance = |shift: &Tensor| ((&xs - shift).square() + ys.square() + 1e-12).sqrt();
    let logit = (SLOPE * (radius - distance(shift))).view([1, 1, SIDE, SIDE]);
    let two = Tensor::cat(&[&logit / -2.0, &logit / 2.0], 1);
    let truth = distance(&shift.zeros_like()).le(RADIUS);
    let (input, single) = match input {
        Input::Logits => (two, false),
        Input::Probabilities => (two.softmax(1, None::<Kind>), false),
        Input::LogProbabilities => (two.log_softmax(1, None::<Kind>), false),
        Input::BinaryLogits | Input::Scores => (logit, true),
        Input::BinaryProbabilities | Input::Values => (logit.sigmoid(), true),
        Input::Boxes | Input::Images | Input::Embeddings => return None,
    };
    let index = truth.to_kind(Kind::Int64).unsqueeze(0);
    let dense = match single {
        true => truth.to_kind(Kind::Double).view([1, 1, SIDE, SIDE]),
        false => index.one_hot(2).permute([0, 3, 1, 2]).to_kind(Kind::Double),
    };
    let target = match target {
        Target::Index => index,
        Target::IndexOrDense if !single => index,
        Target::IndexOrDense | Target::Dense => dense,
        Target::Sign => dense * 2.0 - 1.0,
    };
    Some((input, target))
}

fn takes(entry: &Entry) -> Result<(Input, Target)> {
    entry.takes.with_context(|| format!("{} cannot be made by its name", entry.name))
}

/// The sweep that the first loss of a sum is usually drawn over.
pub fn usual(registry: &Registry, text: &str) -> Result<Sweep> {
    let terms = loss::terms(text)?;
    let term = terms.first().context("no loss")?;
    registry.by_name(&term.name, &term.options)?;
    let entry = registry.find(&term.name).context("made by its name")?;
    Ok(match (takes(entry)?.0, entry.module.ends_with("segmentation")) {
        (_, true) => Sweep::Disc,
        (Input::Boxes, _) => Sweep::Shift,
        (Input::Values, _) => Sweep::Error,
        _ => Sweep::Margin,
    })
}

/// Value and gradient of the loss that `text` says, by autograd.
pub fn sweep(
    registry: &Registry,
    text: &str,
    sweep: Sweep,
    range: &Range<f64>,
    points: usize,
) -> Result<Swept> {
    type Part = (f64, String, (Input, Target), Box<dyn Loss>);
    let mut parts: Vec<Part> = Vec::new();
    for term in loss::terms(text)? {
        let made = registry.by_name(&term.name, &term.options)?;
        let entry = registry.find(&term.name).context("made by its name")?;
        parts.push((term.coefficient, term.name, takes(entry)?, made));
    }
    let mut swept = Swept { values: Vec::new(), gradients: Vec::new() };
    for i in 0..points {
        let at = range.start + (range.end - range.start) * i as f64 / (points - 1) as f64;
        let x = Tensor::from(at).set_requires_grad(true);
        let mut total = &x * 0.0;
        for (coefficient, name, takes, loss) in &parts {
            let (input, target) = sweep.at(&x, name, *takes)?;
            let value = loss.f_forward(&input, &target)?;
            ensure!(
                value.numel() == 1,
                "{name} gives {:?} numbers; reduction=mean makes one",
                value.size()
            );
            total += value.view([]) * *coefficient;
        }
        swept.values.push((at, total.double_value(&[])));
        let gradients = Tensor::f_run_backward(&[&total], &[&x], false, false)?;
        swept.gradients.push((at, gradients[0].double_value(&[])));
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, over: Sweep, x: f64) -> (f64, f64) {
        let registry = Registry::default();
        let swept = sweep(&registry, text, over, &(x..x + 1.0), 3).unwrap();
        (swept.values[0].1, swept.gradients[0].1)
    }

    #[track_caller]
    fn close(got: (f64, f64), want: (f64, f64)) {
        assert!((got.0 - want.0).abs() < 1e-9 && (got.1 - want.1).abs() < 1e-9, "{got:?} {want:?}");
    }

    #[test]
    fn values_and_gradients_are_those_of_the_formulas() {
        close(at("mse", Sweep::Error, -1.5), (2.25, -3.0));
        close(at("l1 + 0.5*mse", Sweep::Error, 2.0), (4.0, 3.0));
        close(at("hinge", Sweep::Margin, 0.25), (0.75, -1.0));
        let sigmoid = 1.0 / (1.0 + 0.7f64.exp());
        for logistic in ["ce", "bce_with_logits", "bce", "nll", "soft_margin"] {
            close(at(logistic, Sweep::Margin, 0.7), (-(1.0 - sigmoid).ln(), -sigmoid));
        }
        // Half a diagonal aside, a quarter of each is common.
        let union = |x: f64| 2.0 - (1.0 - x).powi(2);
        close(at("iou", Sweep::Shift, 0.5), (1.0 - 0.25 / union(0.5), 2.0 / union(0.5).powi(2)));
        close(at("iou", Sweep::Width, 0.5), (0.5, -1.0));
    }

    #[test]
    fn a_disc_far_away_is_all_wrong_and_one_in_place_is_not() {
        for loss in ["dice", "jaccard", "soft_dice"] {
            let far = at(loss, Sweep::Disc, 3.5).0 - at(loss, Sweep::Disc, 0.0).0;
            assert!(far > 0.3, "{loss}: {far}");
            let near = at(loss, Sweep::Disc, 0.3).1;
            assert!(near > 0.0, "{loss}: {near}");
            let (small, large) = (at(loss, Sweep::Radius, 0.5).1, at(loss, Sweep::Radius, 1.5).1);
            assert!(small < 0.0 && large > 0.0, "{loss}: {small}, {large}");
        }
    }

    #[test]
    fn losses_are_drawn_over_what_is_usual() {
        let usual = |text| usual(&Registry::default(), text).unwrap();
        assert_eq!(usual("huber(delta=2) + l1"), Sweep::Error);
        assert_eq!(usual("focal"), Sweep::Margin);
        assert_eq!(usual("giou"), Sweep::Shift);
        assert_eq!(usual("dice"), Sweep::Disc);
    }
}
