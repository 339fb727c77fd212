//! The same training with several losses, side by side.

use crate::{
    judge::Judge,
    objective::Objective,
    options::Train,
    train::{self, Run, Trained},
};
use anyhow::{Result, ensure};
use examples_support::{
    draw, files,
    interrupt::Interrupt,
    losses::file_name,
    plot::{self, Lines, Panel},
    png,
};
use std::{fmt::Write, path::Path};

/// Trains with each loss and the same seed, and writes compare.png, frechet.png and compare.csv.
pub fn run(options: &Train, losses: &[String], interrupt: &Interrupt) -> Result<()> {
    options.check()?;
    // What can be wrong is said before the first is trained.
    let mut begun = Vec::new();
    for loss in losses {
        let (name, objective) = (file_name(loss), Objective::new(&options.whole(loss))?);
        ensure!(
            begun.iter().all(|(_, other, _)| *other != name),
            "--compare: {loss} is there twice"
        );
        begun.push((&loss[..], name, objective));
    }
    let data = train::open(options)?;
    let folder = options.run.runs.join("gan").join(&options.run.name);
    let mut judge = None;
    let mut all = Vec::new();
    for (loss, name, objective) in begun {
        println!();
        let (run_folder, resume) = options.run.part("gan", &name)?;
        if judge.is_none() {
            judge = Some(Judge::open(&options.run.runs, &data)?);
        }
        let of_all = judge.as_ref().and_then(Option::as_ref);
        let run = Run::new(options, &data, of_all, objective, run_folder, resume)?;
        let Some(trained) = run.train_as_far_as_possible(interrupt)? else { return Ok(()) };
        all.push((loss, trained));
    }
    let judge = judge.flatten();
    files::write(&folder.join("compare.csv"), csv(&all, judge.as_ref()).as_bytes())?;
    samples(&folder.join("compare.png"), &all)?;
    curves(&folder.join("frechet.png"), &all)?;
    println!(
        "\n{}\nin {}: compare.png, frechet.png, compare.csv",
        table(&all, judge.as_ref()),
        folder.display()
    );
    Ok(())
}

/// What came of a run that is no generator of the images.
fn note(trained: &Trained, judge: Option<&Judge>) -> String {
    let collapsed = judge.and_then(|judge| judge.collapse(&trained.verdict?));
    trained.diverged.clone().or(collapsed).unwrap_or_default()
}

/// The last of each loss, a row each, and what is found for images that are known.
fn table(all: &[(&str, Trained)], judge: Option<&Judge>) -> String {
    let names = all.iter().map(|(loss, _)| loss.chars().count());
    let width = names.chain(["held-out images".len()]).max().unwrap_or(0);
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut text =
        format!("{:width$}  Fréchet  inception  classes  Wasserstein  gradient  seconds\n", "loss");
    let mut row = |name: &str, verdict: Option<[f64; 3]>, rest: [Option<f64>; 3], note: &str| {
        let [frechet, inception, classes] = [0, 1, 2].map(|i| verdict.map(|verdict| verdict[i]));
        let line = format!(
            "{name:width$}  {:>7}  {:>9}  {:>7}  {:>11}  {:>8}  {:>7}  {note}",
            number(frechet, 1),
            number(inception, 2),
            number(classes, 1),
            number(rest[0], 3),
            number(rest[1], 2),
            number(rest[2], 1)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    };
    for (loss, trained) in all {
        let verdict = trained.verdict.map(|v| [v.frechet, v.inception, v.classes]);
        let last = |column: &str| trained.table.last(column);
        let rest = [last("wasserstein"), last("gradient_norm"), Some(trained.seconds)];
        row(loss, verdict, rest, &note(trained, judge));
    }
    if let Some(judge) = judge {
        for (name, v) in [("held-out images", judge.held_out), ("uniform noise", judge.noise)] {
            row(name, Some([v.frechet, v.inception, v.classes]), [None; 3], "");
        }
    }
    text
}

fn csv(all: &[(&str, Trained)], judge: Option<&Judge>) -> String {
    let mut text =
        "loss,frechet,inception_score,classes,wasserstein,gradient_norm,seconds,note\n".to_owned();
    for (loss, trained) in all {
        let number = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.4}"));
        let verdict = trained.verdict;
        let values = [
            verdict.map(|v| v.frechet),
            verdict.map(|v| v.inception),
            verdict.map(|v| v.classes),
            trained.table.last("wasserstein"),
            trained.table.last("gradient_norm"),
            Some(trained.seconds),
        ];
        let values = values.map(number).join(",");
        let _ =
            writeln!(text, "\"{loss}\",{values},\"{}\"", note(trained, judge).replace('"', "'"));
    }
    text
}

/// The sample sheets, side by side.
fn samples(path: &Path, all: &[(&str, Trained)]) -> Result<()> {
    let cells = all.iter().map(|(loss, trained)| {
        // The distance first: what is too long is cut at its end.
        let frechet = trained.verdict.map_or(String::new(), |v| format!("{:.1}  ", v.frechet));
        (trained.samples.clone(), format!("{frechet}{loss}"))
    });
    let cells: Vec<_> = cells.collect();
    let cell = cells.iter().map(|(image, _)| image.width()).max().unwrap_or(1);
    files::write(path, &png(&draw::grid(&cells, 4, cell))?)
}

/// The Fréchet distances by epoch, and what the critics said.
fn curves(path: &Path, all: &[(&str, Trained)]) -> Result<()> {
    let charts = [
        ("Fréchet distance", "frechet"),
        ("Score of real less score of generated", "wasserstein"),
        ("Norm of the critic's gradient", "gradient_norm"),
    ];
    let series = charts.map(|(_, column)| {
        all.iter().map(|(loss, trained)| (*loss, trained.table.series(column))).collect::<Vec<_>>()
    });
    let panels = charts.iter().zip(&series).map(|((title, _), series)| {
        let lines = series.iter().map(|(loss, points)| (*loss, &points[..]));
        Panel::Lines(Lines { x: "epoch", legend: false, ..Lines::new(title, lines) })
    });
    let names: Vec<&str> = all.iter().map(|(loss, _)| *loss).collect();
    let panels: Vec<Panel> = panels.collect();
    plot::page_with_legend(path, "Losses compared", &names, 3, &panels)
}
