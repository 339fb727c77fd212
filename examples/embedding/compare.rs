//! The same training with several losses, side by side.

use crate::{
    evaluate::Scores,
    map,
    objective::Objective,
    options::Options,
    train::{Data, Run, Trained},
};
use anyhow::{Result, ensure};
use examples_support::{
    builtin::CLASSES,
    draw, files,
    interrupt::Interrupt,
    losses::file_name,
    plot::{self, Lines, Panel},
    png,
};
use std::{fmt::Write, path::Path};

/// Trains with each loss and the same seed, and writes compare.csv, compare.png and maps.png.
pub fn run(options: &Options, losses: &[String], interrupt: &Interrupt) -> Result<()> {
    let data = Data::open(options)?;
    // What can be wrong is said before the first is trained.
    let mut begun: Vec<(&String, String, usize)> = Vec::new();
    for loss in losses {
        let (name, sets) =
            (file_name(loss), Objective::vectors(loss, options.dims, CLASSES.len())?);
        ensure!(
            begun.iter().all(|(_, other, _)| *other != name),
            "--compare: {loss} is there twice"
        );
        begun.push((loss, name, sets));
    }
    let folder = options.run.runs.join("embedding").join(&options.run.name);
    let mut all = Vec::new();
    for (loss, name, sets) in begun {
        println!();
        let (run_folder, resume) = options.run.part("embedding", &name)?;
        let run = Run::new(options, &data, loss, sets, run_folder, resume)?;
        let Some(trained) = run.train(interrupt)? else { return Ok(()) };
        all.push((&loss[..], trained));
    }
    let pixels = data.galleries.of_pixels();
    files::write(&folder.join("compare.csv"), table(pixels, &all, true).as_bytes())?;
    curves(&folder.join("compare.png"), &all)?;
    maps(&folder.join("maps.png"), &data, &all)?;
    let table = table(pixels, &all, false);
    println!("\n{table}\nin {}: compare.csv, compare.png, maps.png", folder.display());
    Ok(())
}

/// Scores after the last epoch, a row for each loss.
fn table(pixels: Scores, all: &[(&str, Trained)], csv: bool) -> String {
    let width = all.iter().map(|(loss, _)| loss.chars().count()).max().unwrap_or(0).max(6);
    let mut text = match csv {
        true => "loss,recall_at_1,map_at_r,r_precision,seconds\n".to_owned(),
        false => format!("{:width$}  recall@1   MAP@R  R-precision  seconds\n", "loss"),
    };
    let trained = all.iter().map(|(loss, trained)| (*loss, trained.scores, trained.time));
    for (loss, scores, time) in [("pixels", pixels, Default::default())].into_iter().chain(trained)
    {
        let Scores { recall_at_1: recall, map_at_r: map, r_precision } = scores;
        let seconds = time.as_secs_f64();
        let _ = match csv {
            true => writeln!(text, "\"{loss}\",{recall:.5},{map:.5},{r_precision:.5},{seconds:.1}"),
            false => writeln!(
                text,
                "{loss:width$}  {recall:8.4}  {map:.4}  {r_precision:11.4}  {seconds:7.1}"
            ),
        };
    }
    text
}

/// Curves of all losses.
fn curves(path: &Path, all: &[(&str, Trained)]) -> Result<()> {
    let charts = [("Recall@1", "recall_at_1"), ("MAP@R", "map_at_r")];
    let series = charts.map(|(_, column)| {
        all.iter().map(|(loss, trained)| (*loss, trained.table.series(column))).collect::<Vec<_>>()
    });
    let panels: Vec<Panel> = charts
        .iter()
        .zip(&series)
        .map(|((title, _), series)| {
            let lines = series.iter().map(|(loss, points)| (*loss, &points[..]));
            Panel::Lines(Lines { x: "epoch", legend: false, ..Lines::new(title, lines) })
        })
        .collect();
    let names: Vec<&str> = all.iter().map(|(loss, _)| *loss).collect();
    plot::page_with_legend(path, "Held-out digits", &names, 2, &panels)
}

/// The maps of all losses.
fn maps(path: &Path, data: &Data, all: &[(&str, Trained)]) -> Result<()> {
    const CELL: u32 = 620;
    let maps = all.iter().map(|(loss, trained)| {
        let caption = format!("{loss}: recall@1 {:.3}", trained.scores.recall_at_1);
        Ok((map::draw("", &trained.net, &data.galleries)?, caption))
    });
    let maps = maps.collect::<Result<Vec<_>>>()?;
    files::write(path, &png(&draw::grid(&maps, 3, CELL))?)
}
