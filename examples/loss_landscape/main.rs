//! Draws losses as curves: the value and the gradient over an error, a margin or a shift.
//!
//!     cargo run --release --example loss_landscape
//!     cargo run --release --example loss_landscape -- --losses "mse,huber(delta=1),log_cosh" --range=-3,3

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use examples_support::plot::{Chart, curves};
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};
use tch_losses::{
    Loss,
    loss::{Input, Registry, Target},
};

/// Draws the value and the gradient of losses.
#[derive(Debug, Parser)]
#[command(name = "loss_landscape")]
struct Cli {
    /// Losses by name with options in parentheses, separated by commas
    #[arg(long, conflicts_with = "group")]
    losses: Option<String>,
    /// Which of the ready pictures; all of them if neither this nor --losses is given
    #[arg(long, value_enum)]
    group: Vec<Group>,
    /// From where to where, such as -3,3 [that of the group]
    #[arg(long, allow_hyphen_values = true, value_parser = range)]
    range: Option<(f64, f64)>,
    /// Points of a curve
    #[arg(long, default_value_t = 401)]
    points: usize,
    /// Where the pictures go
    #[arg(long, default_value = "runs/loss_landscape")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Errors of real values
    Regression,
    /// Logits of a positive example
    Binary,
    /// Logits of the right class of two
    Classification,
    /// A pixel of the right class of two
    Segmentation,
    /// A box that is shifted off its target
    Boxes,
}

impl Group {
    fn losses(self) -> &'static str {
        match self {
            Group::Regression => {
                "l1, mse, huber(delta=1), log_cosh, charbonnier(eps=0.5), quantile(quantile=0.8)"
            }
            Group::Binary => {
                "bce_with_logits, focal(gamma=2, alpha=none), focal(gamma=0.5, alpha=none), hinge, soft_margin"
            }
            Group::Classification => {
                "cross_entropy, label_smoothing, softmax_focal(gamma=2), generalized_cross_entropy, poly_cross_entropy"
            }
            Group::Segmentation => {
                "cross_entropy, dice, tversky(alpha=0.3, beta=0.7), focal_tversky, lovasz_softmax"
            }
            Group::Boxes => "iou, giou, diou, ciou",
        }
    }

    fn range(self) -> (f64, f64) {
        match self {
            Group::Regression => (-3.0, 3.0),
            Group::Boxes => (-2.5, 2.5),
            _ => (-6.0, 6.0),
        }
    }

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

fn range(text: &str) -> Result<(f64, f64)> {
    let numbers = text.split(',').map(|part| part.trim().parse::<f64>());
    match numbers.collect::<Result<Vec<_>, _>>()?[..] {
        [low, high] if low < high && low.is_finite() && high.is_finite() => Ok((low, high)),
        _ => bail!("expected two finite numbers, the lower one first, such as -3,3"),
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cli.points >= 2, "--points: expected at least 2, got {}", cli.points);
    if let Some(losses) = &cli.losses {
        return draw(&cli, "losses", losses, cli.range.unwrap_or((-4.0, 4.0)));
    }
    let all = Group::value_variants();
    for &group in if cli.group.is_empty() { all } else { &cli.group } {
        draw(&cli, &group.name(), group.losses(), cli.range.unwrap_or(group.range()))?;
    }
    Ok(())
}

/// One picture: the values of all losses, and their gradients.
fn draw(cli: &Cli, name: &str, losses: &str, (low, high): (f64, f64)) -> Result<()> {
    let registry = Registry::default();
    let names = names(losses);
    ensure!(!names.is_empty(), "--losses: no loss is named");
    let (mut values, mut gradients) = (Vec::new(), Vec::new());
    let mut axes: Vec<&str> = Vec::new();
    for &text in &names {
        let loss = registry.parse(text, Device::Cpu)?;
        let plain = text.split(['(', '*', '+']).next().unwrap_or(text).trim();
        let entry = registry
            .find(plain)
            .with_context(|| format!("{text}: write a sum's first loss without a factor"))?;
        let takes = entry.takes.with_context(|| format!("{text} cannot be drawn as a curve"))?;
        let axis = axis(takes).with_context(|| format!("{text} cannot be drawn as a curve"))?;
        if !axes.contains(&axis) {
            axes.push(axis);
        }
        let (mut of_value, mut of_gradient) = (Vec::new(), Vec::new());
        for i in 0..cli.points {
            let x = low + (high - low) * i as f64 / (cli.points - 1) as f64;
            let (value, gradient) = at(loss.as_ref(), takes, x).with_context(|| text.to_owned())?;
            of_value.push((x, value));
            of_gradient.push((x, gradient));
        }
        values.push((text, of_value));
        gradients.push((text, of_gradient));
    }
    let axis = axes.join(", ");
    let path = cli.out.join(format!("{name}.png"));
    let charts = [
        Chart { title: "value", x: &axis, series: &values },
        Chart { title: "gradient", x: &axis, series: &gradients },
    ];
    curves(&path, name, &charts)?;
    println!("{}: {}", path.display(), names.join(", "));
    Ok(())
}

/// Splits at commas outside parentheses and brackets.
fn names(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (i, symbol) in text.char_indices() {
        match symbol {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// What runs along the horizontal axis, for losses that a single number can be given to.
fn axis((input, _): (Input, Target)) -> Option<&'static str> {
    Some(match input {
        Input::Values => "error",
        Input::BinaryLogits | Input::BinaryProbabilities => "logit of a positive",
        Input::Scores => "score of a positive",
        Input::Logits | Input::Probabilities | Input::LogProbabilities => {
            "logit of the right class of two"
        }
        Input::Boxes => "shift by sides of the box",
        Input::Images | Input::Embeddings => return None,
    })
}

/// Value and gradient where the number is `x`.
fn at(loss: &dyn Loss, (taken, target): (Input, Target), x: f64) -> Result<(f64, f64)> {
    let x = Tensor::from(x).set_requires_grad(true);
    let number = |values: &[f64], shape: &[i64]| Tensor::from_slice(values).view(shape);
    // Losses of pixels want a dimension for them; to others of classes it is one more position.
    let classes = || Tensor::cat(&[x.view([1, 1, 1]), number(&[0.0], &[1, 1, 1])], 1);
    let tensor = match taken {
        Input::Values | Input::BinaryLogits | Input::Scores => x.view([1, 1]),
        Input::BinaryProbabilities => x.sigmoid().view([1, 1]),
        Input::Logits => classes(),
        Input::Probabilities => classes().softmax(1, None::<Kind>),
        Input::LogProbabilities => classes().log_softmax(1, None::<Kind>),
        Input::Boxes => {
            number(&[0.0, 0.0, 1.0, 1.0], &[1, 4])
                + x.view([1, 1]) * number(&[1.0, 0.0, 1.0, 0.0], &[1, 4])
        }
        Input::Images | Input::Embeddings => bail!("it takes more than a number"),
    };
    let target = match (target, taken) {
        (Target::Index | Target::IndexOrDense, _) => Tensor::from_slice(&[0i64]).view([1, 1]),
        (_, Input::Boxes) => number(&[0.0, 0.0, 1.0, 1.0], &[1, 4]),
        (_, Input::Logits | Input::Probabilities | Input::LogProbabilities) => {
            number(&[1.0, 0.0], &[1, 2, 1])
        }
        (_, Input::Values) => number(&[0.0], &[1, 1]),
        _ => number(&[1.0], &[1, 1]),
    };
    let value = loss.f_forward(&tensor, &target)?.sum(Kind::Double);
    value.backward();
    let gradient = x.grad();
    let gradient = if gradient.defined() { gradient.double_value(&[]) } else { 0.0 };
    Ok((value.double_value(&[]), gradient))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_formula() {
        let at = |name: &str, x: f64| {
            let registry = Registry::default();
            let loss = registry.parse(name, Device::Cpu).unwrap();
            let takes = registry.find(name.split('(').next().unwrap()).unwrap().takes.unwrap();
            super::at(loss.as_ref(), takes, x).unwrap()
        };
        assert_eq!(at("mse", 3.0), (9.0, 6.0));
        assert_eq!(at("l1", -2.0), (2.0, -1.0));
        let (value, gradient) = at("bce_with_logits", 0.0);
        assert!((value - 2f64.ln()).abs() < 1e-12 && (gradient + 0.5).abs() < 1e-12);
        let (value, gradient) = at("cross_entropy", 0.0);
        assert!((value - 2f64.ln()).abs() < 1e-12 && (gradient + 0.5).abs() < 1e-12);
        assert!((at("giou", 1.0).0 - 1.0).abs() < 1e-12);
        assert_eq!(at("hinge", 0.25).0, 0.75);
    }

    #[test]
    fn every_ready_picture_is_drawn() {
        let out = std::env::temp_dir().join(format!("loss-landscape-{}", std::process::id()));
        let line = format!("loss_landscape --points 21 --out {}", out.display());
        let cli = Cli::parse_from(line.split_whitespace());
        for &group in Group::value_variants() {
            draw(&cli, &group.name(), group.losses(), group.range()).unwrap();
            assert!(out.join(format!("{}.png", group.name())).is_file());
        }
        let error = |losses| draw(&cli, "x", losses, (0.0, 1.0)).unwrap_err();
        assert!(format!("{:#}", error("hubr")).contains("did you mean huber"));
        assert!(format!("{:#}", error("ssim")).contains("cannot be drawn"));
        assert!(error(" , ").to_string().contains("no loss is named"));
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn commas_inside_parentheses_do_not_separate() {
        assert_eq!(names("a(x=1, y=[2, 3]), b"), ["a(x=1, y=[2, 3])", "b"]);
        assert!(range("3,1").is_err() && range("x").is_err());
        assert_eq!(range("-1, 2").unwrap(), (-1.0, 2.0));
    }
}
