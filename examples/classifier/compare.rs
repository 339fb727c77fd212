//! The same training with several losses, side by side.

use crate::{
    options::Train,
    report,
    train::{Data, Run, Trained},
};
use anyhow::{Result, ensure};
use examples_support::{
    files,
    interrupt::Interrupt,
    losses::file_name,
    plot::{self, Lines, Panel},
};
use std::{fmt::Write, path::Path};

/// Trains with each loss and the same seed, and writes compare.png and compare.csv.
pub fn run(options: &Train, losses: &[String], interrupt: &Interrupt) -> Result<()> {
    let data = Data::open(options)?;
    // What can be wrong is said before the first is trained.
    let mut begun = Vec::new();
    for loss in losses {
        let (name, objective) = (file_name(loss), data.objective(loss)?);
        ensure!(
            begun.iter().all(|(_, other, _)| *other != name),
            "--compare: {loss} is there twice"
        );
        begun.push((loss, name, objective));
    }
    let folder = options.run.runs.join("classifier").join(&options.run.name);
    let mut all = Vec::new();
    for (loss, name, objective) in begun {
        println!();
        let (run_folder, resume) = options.run.part("classifier", &name)?;
        let run = Run::new(options, &data, loss, objective, run_folder, resume)?;
        let Some(trained) = run.train(interrupt)? else { return Ok(()) };
        all.push((&loss[..], trained));
    }
    files::write(&folder.join("compare.csv"), table(&all, true).as_bytes())?;
    picture(&folder.join("compare.png"), &all)?;
    println!("\n{}\nin {}: compare.png, compare.csv", table(&all, false), folder.display());
    Ok(())
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
fn picture(path: &Path, all: &[(&str, Trained)]) -> Result<()> {
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
        Panel::Lines(Lines { x: "epoch", legend: false, ..Lines::new(title, lines) })
    });
    let diagrams = all
        .iter()
        .zip(&titles)
        .map(|((_, trained), title)| report::reliability(title, &trained.outcome));
    let names: Vec<&str> = all.iter().map(|(loss, _)| *loss).collect();
    let panels: Vec<Panel> = curves.chain(diagrams).collect();
    plot::page_with_legend(path, "Losses compared", &names, 3, &panels)
}
