//! The same training with several losses, side by side.

use crate::{
    evaluate::Outcome,
    objective::Objective,
    options::Options,
    report,
    train::{self, Run},
};
use anyhow::{Result, ensure};
use examples_support::{
    files,
    interrupt::Interrupt,
    losses::file_name,
    plot::{self, Lines, Panel},
};

/// Trains with each loss, from the same seed, and writes samples.png, colours.png, compare.png and
/// compare.csv.
pub fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let losses = options.losses()?;
    let (device, test) = train::prepare(options)?;
    // What can be wrong is said before the first is trained.
    let mut begun = Vec::new();
    for loss in &losses {
        let (name, objective) = (file_name(loss), Objective::new(loss, device)?);
        ensure!(
            begun.iter().all(|(_, other, _)| *other != name),
            "--compare: {loss} is there twice"
        );
        begun.push((loss, name, objective));
    }
    let folder = options.run.runs.join("colorize").join(&options.run.name);
    let mut all = Vec::new();
    for (loss, name, objective) in begun {
        println!();
        let place = options.run.part("colorize", &name)?;
        let run = Run::new(options, &test, loss, objective, place, device)?;
        let Some(trained) = run.train(interrupt)? else { return Ok(()) };
        all.push((&loss[..], trained));
    }
    let outcomes: Vec<(&str, &Outcome)> =
        all.iter().map(|(loss, trained)| (*loss, &trained.outcome)).collect();
    files::write(&folder.join("compare.csv"), report::table(&outcomes, true).as_bytes())?;
    let made: Vec<_> = all
        .iter()
        .map(|(loss, trained)| (*loss, &trained.generator.average, trained.adversarial))
        .collect();
    report::samples(&folder.join("samples.png"), &test, &made)?;
    report::colours(&folder.join("colours.png"), &outcomes)?;

    let charts = [
        ("Share of the shapes near a colour", "near", Some(0.0..1.0)),
        ("Distance from the nearest colour", "distance", None),
        ("Spread of the colours", "spread", None),
    ];
    let series = charts.each_ref().map(|(_, column, _)| {
        all.iter().map(|(loss, trained)| (*loss, trained.table.series(column))).collect::<Vec<_>>()
    });
    let panels: Vec<Panel> = charts
        .into_iter()
        .zip(&series)
        .map(|((title, _, ys), series)| {
            let lines = series.iter().map(|(loss, points)| (*loss, &points[..]));
            Panel::Lines(Lines { x: "epoch", legend: false, ys, ..Lines::new(title, lines) })
        })
        .collect();
    let names: Vec<&str> = all.iter().map(|(loss, _)| *loss).collect();
    plot::page_with_legend(&folder.join("compare.png"), "Losses compared", &names, 3, &panels)?;
    println!(
        "\n{}\nin {}: samples.png, colours.png, compare.png, compare.csv",
        report::table(&outcomes, false),
        folder.display()
    );
    Ok(())
}
