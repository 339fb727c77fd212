//! The same training with one loss after another, and a table of what they reach.

use crate::{
    evaluate::{Outcome, Scores},
    options::Train,
    overlay,
    report::borrowed,
    train::{self, Sets},
    weights,
    windows::Windows,
};
use anyhow::{Result, ensure};
use examples_support::{
    files,
    interrupt::Interrupt,
    losses::{file_name, split},
    plot::{self, Chart},
    run::{LAST, RESULTS, RunOptions},
    table::Table,
};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// A name, and the points of a line.
type Series = (String, Vec<(f64, f64)>);

/// Trains with each loss in runs/segmenter/NAME/LOSS.
pub fn run(options: &Train, interrupt: &Interrupt) -> Result<()> {
    let losses = split(options.compare.as_deref().unwrap_or_default());
    ensure!(losses.len() >= 2, "--compare: expected at least two losses, separated by commas");
    let sets = Sets::open(options)?;
    let folders: Vec<String> = losses.iter().map(|loss| file_name(loss)).collect();
    // Everything that can be wrong is said before the first run begins.
    for (i, (loss, folder)) in losses.iter().zip(&folders).enumerate() {
        ensure!(!folders[..i].contains(folder), "--compare: {loss} is there twice");
        train::objective(&with(options, loss), &sets.train, tch::Device::Cpu)?;
    }
    let mut found = Vec::new();
    for (loss, name) in losses.iter().zip(&folders) {
        let (folder, resume) = options.run.part("segmenter", name)?;
        println!("\n{loss}, in {}", folder.display());
        let options = with(options, loss);
        let outcome = match resume && finished(&folder, options.epochs())? {
            true => {
                let windows = Windows::new(&options.windows, options.tile(), options.depth)?;
                Some(train::conclude(&folder, &sets.val, &windows, options.run.device()?)?)
            }
            false => train::in_folder(&options, &sets, folder.clone(), resume, interrupt)?,
        };
        match outcome {
            Some(outcome) => found.push((loss.clone(), folder, outcome)),
            None => return Ok(()),
        }
    }
    let RunOptions { runs, name, .. } = &options.run;
    write(&runs.join("segmenter").join(name), name, &sets, &found)
}

fn with(options: &Train, loss: &str) -> Train {
    let run = RunOptions { name: file_name(loss), ..options.run.clone() };
    Train { loss: loss.to_owned(), run, ..options.clone() }
}

fn finished(folder: &Path, epochs: usize) -> Result<bool> {
    Ok(weights::read(&folder.join(LAST))?.1.epochs_done >= epochs)
}

/// compare.csv, the table on standard output, compare.png and compare_curves.png.
fn write(
    folder: &Path,
    title: &str,
    sets: &Sets,
    found: &[(String, PathBuf, Outcome)],
) -> Result<()> {
    let rows: Vec<(&str, &Scores)> =
        found.iter().map(|(loss, _, outcome)| (&loss[..], &outcome.scores)).collect();
    files::write(&folder.join("compare.csv"), csv(&rows).as_bytes())?;
    println!("\n{}", text(&rows));
    let columns: Vec<_> =
        found.iter().map(|(loss, _, outcome)| (loss.clone(), &outcome.predictions[..])).collect();
    overlay::comparison(&folder.join("compare.png"), &sets.val, &columns, sets.train.ground())?;
    let series = |column: &str| -> Result<Vec<Series>> {
        let read = |(loss, folder, _): &(String, PathBuf, Outcome)| {
            Ok((loss.clone(), Table::open(&folder.join(RESULTS))?.series(column)))
        };
        found.iter().map(read).collect()
    };
    let rarest = rarest(&sets.train.counts());
    let name = &sets.train.classes().names[rarest];
    let (mean, rare) = (series("dice")?, series(&format!("dice {name}"))?);
    let (mean, rare) = (borrowed(&mean), borrowed(&rare));
    let rare_title = format!("Validation Dice of {name}");
    let charts = [
        Chart { title: "Validation Dice, mean over the classes", x: "epoch", series: &mean },
        Chart { title: &rare_title, x: "epoch", series: &rare },
    ];
    plot::curves(&folder.join("compare_curves.png"), title, &charts)?;
    println!(
        "in {}: compare.csv, compare.png, compare_curves.png, and the folder of each run",
        folder.display()
    );
    Ok(())
}

fn rarest(counts: &[u64]) -> usize {
    (0..counts.len()).min_by_key(|&class| counts[class]).unwrap_or(0)
}

const SCORES: [&str; 4] = ["dice", "iou", "hd95", "cldice"];

fn csv(rows: &[(&str, &Scores)]) -> String {
    let mut text = "loss,accuracy,dice,iou".to_owned();
    for class in &rows[0].1.classes {
        let name = class.name.replace([',', '"', '\n'], " ");
        SCORES.iter().for_each(|score| _ = write!(text, ",{score} {name}"));
    }
    text.push('\n');
    for (loss, scores) in rows {
        let number = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.6}"));
        let _ = write!(text, "\"{}\"", loss.replace('"', "\"\""));
        let mut values = vec![scores.accuracy, scores.dice, scores.iou];
        for class in &scores.classes {
            values.extend([class.dice, class.iou, class.hd95, class.cldice]);
        }
        values.into_iter().for_each(|value| _ = write!(text, ",{}", number(value)));
        text.push('\n');
    }
    text
}

/// Means, and the scores of each class where there are few.
fn text(rows: &[(&str, &Scores)]) -> String {
    let width = rows.iter().map(|(loss, _)| loss.chars().count()).max().unwrap_or(0).max(4);
    let few = rows[0].1.classes.len() <= 3;
    let mut text = format!("{:width$}  {:>6}  {:>6}", "loss", "Dice", "IoU");
    let classes = |scores: &Scores| if few { scores.classes.clone() } else { Vec::new() };
    let names: Vec<String> = classes(rows[0].1).into_iter().map(|class| class.name).collect();
    let columns: Vec<(String, usize)> = names
        .iter()
        .flat_map(|name| ["Dice", "HD95", "clDice"].map(|score| format!("{name} {score}")))
        .map(|title| (title.clone(), title.chars().count().max(6)))
        .collect();
    columns.iter().for_each(|(title, width)| _ = write!(text, "  {title:>width$}"));
    for (loss, scores) in rows {
        let share = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.4}"));
        let _ =
            write!(text, "\n{loss:width$}  {:>6}  {:>6}", share(scores.dice), share(scores.iou));
        let values = classes(scores).into_iter().flat_map(|class| {
            let hd95 = class.hd95.map_or("-".to_owned(), |v| format!("{v:.2}"));
            [share(class.dice), hd95, share(class.cldice)]
        });
        for (value, (_, width)) in values.zip(&columns) {
            let _ = write!(text, "  {value:>width$}");
        }
    }
    text
}
