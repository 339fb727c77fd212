//! The same training with several losses, side by side.

use crate::{
    options::Train,
    report,
    train::{Data, LAST, Run, Trained},
};
use anyhow::Result;
use examples_support::{
    files::{self, Existing},
    interrupt::Interrupt,
    plot::{self, Lines, Panel},
};
use std::fmt::Write;

/// Trains with each loss and the same seed, and writes compare.png and compare.csv.
pub fn run(options: &Train, losses: &[String], interrupt: &Interrupt) -> Result<()> {
    let data = Data::open(options)?;
    let classes = data.training.data.classes.len();
    // A loss that does not exist is told before the first is trained.
    for loss in losses {
        crate::objective::Objective::new(loss, classes, tch::Device::Cpu)?;
    }
    let folder = options.runs.join("classifier").join(&options.name);
    let mut all = Vec::new();
    for (loss, name) in losses.iter().zip(names(&options.name, losses)) {
        let existing = match options.existing() {
            // Those that were not begun begin now.
            Existing::Resume if !folder.with_file_name(&name).join(LAST).exists() => {
                Existing::Refuse
            }
            existing => existing,
        };
        println!();
        let run = Run::new(options, &name, loss, &data, existing)?;
        let Some(trained) = run.train(&data, interrupt)? else { return Ok(()) };
        all.push((&loss[..], trained));
    }
    files::write(&folder.join("compare.csv"), table(&all, true).as_bytes())?;
    picture(&folder.join("compare.png"), &all)?;
    println!("\n{}\nin {}: compare.png, compare.csv", table(&all, false), folder.display());
    Ok(())
}

/// A name for the run of each loss: that of the comparison, and the loss in letters that a folder may
/// have.
fn names(name: &str, losses: &[String]) -> Vec<String> {
    let plain = |loss: &String| {
        let letters: String = loss
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' })
            .collect();
        letters.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
    };
    let mut names: Vec<String> = Vec::new();
    for loss in losses {
        let base = format!("{name}-{}", plain(loss));
        let taken = names.iter().filter(|other| **other == base).count();
        names.push(if taken > 0 { format!("{base}-{}", taken + 1) } else { base });
    }
    names
}

/// Accuracy and calibration after the last epoch, a row for each loss.
fn table(all: &[(&str, Trained)], csv: bool) -> String {
    let width = all.iter().map(|(loss, _)| loss.chars().count()).max().unwrap_or(0).max(4);
    let mut text = match csv {
        true => "loss,accuracy,nll,ece,mce,confidence\n".to_owned(),
        false => format!("{:width$}  accuracy     NLL     ECE     MCE  confidence\n", "loss"),
    };
    for (loss, Trained { outcome, .. }) in all {
        let mce = outcome.calibration.mce().unwrap_or(0.0);
        let (accuracy, nll) = (outcome.accuracy(), outcome.nll);
        let (ece, confidence) = (outcome.ece(), outcome.confidence());
        let _ = match csv {
            true => writeln!(
                text,
                "\"{loss}\",{accuracy:.5},{nll:.5},{ece:.5},{mce:.5},{confidence:.5}"
            ),
            false => writeln!(
                text,
                "{loss:width$}  {accuracy:8.4}  {nll:.4}  {ece:.4}  {mce:.4}  {confidence:10.4}"
            ),
        };
    }
    text
}

/// Curves of all losses in one row, their reliability diagrams below.
fn picture(path: &std::path::Path, all: &[(&str, Trained)]) -> Result<()> {
    let charts = [
        ("Validation accuracy", "accuracy"),
        ("Negative log likelihood", "nll"),
        ("Expected calibration error", "ece"),
    ];
    let series = charts.map(|(_, column)| {
        all.iter().map(|(loss, trained)| (*loss, trained.table.series(column))).collect::<Vec<_>>()
    });
    let titles: Vec<String> = all
        .iter()
        .map(|(loss, trained)| format!("{loss}: {}", report::calibration_title(&trained.outcome)))
        .collect();
    let curves = charts.iter().zip(&series).map(|((title, _), series)| {
        let lines = series.iter().map(|(loss, points)| (*loss, &points[..]));
        Panel::Lines(Lines { x: "epoch", ..Lines::new(title, lines) })
    });
    let diagrams = all
        .iter()
        .zip(&titles)
        .map(|((_, trained), title)| report::reliability(title, &trained.outcome));
    plot::page(path, "Losses compared", 3, &curves.chain(diagrams).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_gets_a_folder_of_its_own() {
        let losses =
            ["ce", "focal(gamma=1.5)", "focal (gamma=1.5)", "ce+0.5*mse"].map(str::to_owned);
        let want = ["a-ce", "a-focal_gamma_1.5", "a-focal_gamma_1.5-2", "a-ce_0.5_mse"];
        assert_eq!(names("a", &losses), want);
    }
}
