//! Scores of pairs of images.

use crate::{
    options::Compare,
    pictures::{Gauge, Picture, difference, read, stream_pairs},
    scores::{Metric, Scorer, Scores},
};
use anyhow::{Result, bail, ensure};
use examples_support::{
    draw, files,
    images::{entries, list},
    issues::{self, Issue},
    png,
    progress::Pass,
    train,
};
use image::{RgbImage, imageops};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

/// One pair: its name, its files and what it scores. Names and numbers are all that is kept of it.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub files: (PathBuf, PathBuf),
    pub scores: Scores,
}

/// All pairs, and what could not be compared.
#[derive(Debug, Default)]
pub struct Outcome {
    pub rows: Vec<Row>,
    pub issues: Vec<Issue>,
}

pub fn run(options: &Compare) -> Result<()> {
    let scorer = Scorer::new(options.lpips, &options.weights, train::device(&options.device)?)?;
    let outcome = evaluate(options, &scorer, &Gauge::default())?;
    if let Some(why) = &scorer.without_lpips {
        println!("{why}");
    }
    if !outcome.rows.is_empty() {
        println!("{}", table(&outcome.rows, options.by, options.worst));
        let worst = worst(&outcome.rows, options.by, options.worst);
        if !worst.is_empty() {
            files::write(&options.picture, &png(&side_by_side(&worst)?)?)?;
            println!("the worst pairs side by side in {}", options.picture.display());
        }
    }
    if let Some(path) = &options.csv {
        files::write(path, csv(&outcome.rows).as_bytes())?;
        println!("a row a pair in {}", path.display());
    }
    if let Some(path) = &options.json {
        files::write(path, json(&outcome)?.as_bytes())?;
        println!("everything in {}", path.display());
    }
    ensure!(outcome.issues.is_empty(), "{}", issues::left_out(&outcome.issues, outcome.rows.len()));
    Ok(())
}

/// Finds, reads and scores the pairs.
pub fn evaluate(options: &Compare, scorer: &Scorer, gauge: &Gauge) -> Result<Outcome> {
    let (pairs, mut issues) = pairs(&options.a, &options.b)?;
    let pass = Pass::new("pairs", pairs.len());
    let files: Vec<_> = pairs.iter().map(|(_, files)| files.clone()).collect();
    let mut rows = Vec::with_capacity(pairs.len());
    for (done, (read, (name, files))) in
        stream_pairs(files, options.workers, gauge).zip(pairs).enumerate()
    {
        match read.and_then(|[a, b]| same_size(&files.1, a, b)) {
            Ok([a, b]) => rows.push(Row { name, files, scores: scorer.scores(&a, &b)? }),
            Err(issue) => issues.push(issue),
        }
        pass.done(done + 1);
    }
    Ok(Outcome { rows, issues })
}

fn same_size(file: &Path, a: Picture, b: Picture) -> Result<[Picture; 2], Issue> {
    let (first, second) = (a.dimensions(), b.dimensions());
    if first == second && first.0 > 0 && first.1 > 0 {
        return Ok([a, b]);
    }
    let message =
        format!("it is {} x {}, and the other {} x {}", second.0, second.1, first.0, first.1);
    Err(Issue { file: file.to_owned(), line: None, message })
}

type Named = (String, (PathBuf, PathBuf));

/// Two images, or the images of the same names in two folders; names have no ending.
fn pairs(a: &Path, b: &Path) -> Result<(Vec<Named>, Vec<Issue>)> {
    for path in [a, b] {
        ensure!(path.exists(), "{}: no such image or folder", path.display());
    }
    match (a.is_dir(), b.is_dir()) {
        (false, false) => {
            let name = b.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok((vec![(name, (a.to_owned(), b.to_owned()))], Vec::new()))
        }
        (true, true) => {
            let mut issues = Vec::new();
            let (of_a, mut of_b) = (named(a, &mut issues)?, named(b, &mut issues)?);
            let mut pairs = Vec::with_capacity(of_a.len());
            let missing = |file: PathBuf, folder: &Path| Issue {
                file,
                line: None,
                message: format!("there is no image of that name in {}", folder.display()),
            };
            for (name, file) in of_a {
                match of_b.remove(&name) {
                    Some(other) => pairs.push((name, (file, other))),
                    None => issues.push(missing(file, b)),
                }
            }
            issues.extend(of_b.into_values().map(|file| missing(file, a)));
            Ok((pairs, issues))
        }
        _ => bail!("expected two images or two folders: {} and {}", a.display(), b.display()),
    }
}

/// The images under a folder by their path in it, without ending.
fn named(folder: &Path, issues: &mut Vec<Issue>) -> Result<BTreeMap<String, PathBuf>> {
    let files = list(folder)?;
    let empty = files.is_empty() && entries(folder)?.is_empty();
    ensure!(!empty, "{}: there is nothing in this folder", folder.display());
    ensure!(!files.is_empty(), "{}: no .jpg, .jpeg or .png in this folder", folder.display());
    let mut named = BTreeMap::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file).with_extension("");
        let name = name.to_string_lossy().replace('\\', "/");
        match named.get(&name) {
            None => drop(named.insert(name, file)),
            Some(first) => {
                let first: &PathBuf = first;
                let message = format!("{} has the same name", first.display());
                issues.push(Issue { file, line: None, message });
            }
        }
    }
    Ok(named)
}

/// The pairs that score worst, the worst first; equal ones are not among them.
fn worst(rows: &[Row], by: Metric, count: usize) -> Vec<&Row> {
    let badness = |row: &&Row| row.scores[by as usize].map(|value| by.badness(value));
    let mut rows: Vec<&Row> =
        rows.iter().filter(|row| badness(row).is_some_and(|b| b > f64::NEG_INFINITY)).collect();
    rows.sort_by(|a, b| badness(b).unwrap_or(0.0).total_cmp(&badness(a).unwrap_or(0.0)));
    rows.truncate(count);
    rows
}

/// What one score is over all pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Summary {
    /// Pairs that have the score.
    pairs: usize,
    /// Pairs that are equal, whose PSNR is infinite and left out of the mean.
    infinite: usize,
    mean: Option<f64>,
    worst: Option<f64>,
}

fn summary(rows: &[Row], metric: Metric) -> Summary {
    let values: Vec<f64> = rows.iter().filter_map(|row| row.scores[metric as usize]).collect();
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let worse = |a: f64, b: f64| if metric.badness(a) > metric.badness(b) { a } else { b };
    Summary {
        pairs: values.len(),
        infinite: values.len() - finite.len(),
        mean: (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64),
        worst: finite.iter().copied().reduce(worse),
    }
}

fn table(rows: &[Row], by: Metric, count: usize) -> String {
    let mut text = format!("{:<8}  {:>6}  {:>9}  {:>9}\n", "", "pairs", "mean", "worst");
    for metric in Metric::ALL {
        let summary = summary(rows, metric);
        let value = |value: Option<f64>| value.map_or("-".to_owned(), |v| metric.text(v));
        let equal = match summary.infinite {
            0 => String::new(),
            n => format!("  ({n} equal, not in the mean)"),
        };
        let _ = writeln!(
            text,
            "{:<8}  {:>6}  {:>9}  {:>9}{equal}",
            metric.title(),
            summary.pairs,
            value(summary.mean),
            value(summary.worst)
        );
    }
    let worst = worst(rows, by, count);
    if rows.len() > 1 && !worst.is_empty() {
        let _ = writeln!(text, "worst by {}:", by.title());
        for row in worst {
            let _ = writeln!(text, "  {}  {}", row.name, scores(&row.scores));
        }
    }
    text.trim_end().to_owned()
}

/// `PSNR dB 31.20, SSIM 0.9120`
fn scores(scores: &Scores) -> String {
    let there = Metric::ALL.into_iter().zip(scores).filter_map(|(metric, score)| {
        score.map(|value| format!("{} {}", metric.title(), metric.text(value)))
    });
    there.collect::<Vec<_>>().join(", ")
}

fn csv(rows: &[Row]) -> String {
    let mut text = format!("name,{}\n", Metric::ALL.map(Metric::name).join(","));
    for row in rows {
        let quoted = row.name.contains([',', '"', '\n', '\r']);
        let name = match quoted {
            true => format!("\"{}\"", row.name.replace('"', "\"\"")),
            false => row.name.clone(),
        };
        let values = row.scores.map(|score| score.map_or(String::new(), |value| value.to_string()));
        let _ = writeln!(text, "{name},{}", values.join(","));
    }
    text
}

fn json(outcome: &Outcome) -> Result<String> {
    let by_name = |of: &dyn Fn(Metric) -> Result<serde_json::Value>| -> Result<serde_json::Value> {
        let fields = Metric::ALL.map(|metric| Ok((metric.name().to_owned(), of(metric)?)));
        Ok(serde_json::Value::Object(fields.into_iter().collect::<Result<_>>()?))
    };
    let pair = |row: &Row| -> Result<serde_json::Value> {
        // JSON has no infinity.
        let score = |metric: Metric| {
            Ok(serde_json::to_value(row.scores[metric as usize].filter(|value| value.is_finite()))?)
        };
        Ok(serde_json::json!({
            "name": row.name,
            "a": row.files.0,
            "b": row.files.1,
            "equal": row.scores[Metric::Psnr as usize] == Some(f64::INFINITY),
            "scores": by_name(&score)?,
        }))
    };
    let left_out = outcome
        .issues
        .iter()
        .map(|issue| serde_json::json!({ "file": issue.file, "reason": issue.message }));
    let all = serde_json::json!({
        "summary": by_name(&|metric| Ok(serde_json::to_value(summary(&outcome.rows, metric))?))?,
        "pairs": outcome.rows.iter().map(pair).collect::<Result<Vec<_>>>()?,
        "left_out": left_out.collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&all)?)
}

/// Each pair in a row: the two images, and where they differ.
fn side_by_side(rows: &[&Row]) -> Result<RgbImage> {
    const CELL: u32 = 320;
    let mut cells = Vec::new();
    for row in rows {
        let read =
            |path: &Path| read(path, &Gauge::default()).map_err(|issue| anyhow::anyhow!("{issue}"));
        let (a, b) = (read(&row.files.0)?, read(&row.files.1)?);
        let (gap, factor) = difference(&a, &b);
        cells.push((enlarged(&a, CELL), row.name.clone()));
        cells.push((enlarged(&b, CELL), scores(&row.scores)));
        cells.push((enlarged(&gap, CELL), format!("difference, {factor} times")));
    }
    Ok(draw::grid(&cells, 3, CELL))
}

/// A small image with each pixel as many pixels wide and high as fit into `side`.
fn enlarged(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let times = (side / width.max(height).max(1)).max(1);
    imageops::resize(image, width * times, height * times, imageops::FilterType::Nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        options::{Cli, Command},
        pictures::bound,
    };
    use clap::Parser;
    use examples_support::testing::{Folder, assert_has};
    use image::Rgb;

    fn options(folder: &Folder, line: &str) -> Compare {
        let root = folder.root().display().to_string();
        let line = format!("evaluate compare {line} --picture ROOT/worst.png --weights ROOT/none");
        let words: Vec<String> = line.split(' ').map(|word| word.replace("ROOT", &root)).collect();
        match Cli::parse_from(words).command {
            Command::Compare(options) => options,
            other => panic!("{other:?}"),
        }
    }

    /// A picture with something to see, `noise` away from itself.
    fn picture(side: u32, noise: u8) -> RgbImage {
        RgbImage::from_fn(side, side, |x, y| {
            let wave = (f64::from(x) * 0.21).sin() * (f64::from(y) * 0.13).cos();
            let value = (128.0 + 90.0 * wave) as u8;
            let grain = if (x * 7 + y * 13) % 5 < 2 { noise } else { 0 };
            Rgb([value.saturating_add(grain), value, 255 - value])
        })
    }

    fn save(folder: &Folder, name: &str, image: &RgbImage) {
        image.save(folder.place(name)).unwrap();
    }

    #[test]
    fn pairs_are_scored_and_the_worst_are_drawn() {
        let folder = Folder::new("compare");
        for (name, noise) in [("one", 10), ("two", 40), ("deep/three", 0)] {
            save(&folder, &format!("a/{name}.png"), &picture(170, 0));
            save(&folder, &format!("b/{name}.png"), &picture(170, noise));
        }
        let line = "ROOT/a ROOT/b --csv ROOT/pairs.csv --json ROOT/pairs.json --worst 2";
        run(&options(&folder, line)).unwrap();
        let csv = std::fs::read_to_string(folder.path("pairs.csv")).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "name,psnr,ssim,ms_ssim,lpips");
        assert_has(lines[1], &["deep/three,inf,1,1,"]);
        let one: Vec<&str> = lines[2].split(',').collect();
        assert_eq!((one[0], one[4]), ("one", ""));
        // 10 in two fifths of the pixels of one of three channels.
        let expected = 10.0 * (255.0f64.powi(2) / (100.0 * 0.4 / 3.0)).log10();
        assert!((one[1].parse::<f64>().unwrap() - expected).abs() < 0.2, "{csv} {expected}");
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path("pairs.json")).unwrap()).unwrap();
        assert_eq!(json["summary"]["psnr"]["infinite"], 1);
        assert_eq!(json["summary"]["lpips"]["pairs"], 0);
        assert_eq!(json["pairs"][0]["equal"], true);
        assert!(json["pairs"][0]["scores"]["psnr"].is_null());
        let drawn = image::open(folder.path("worst.png")).unwrap();
        assert_eq!((drawn.width(), drawn.height()), (3 * 326 + 6, 2 * 344 + 6));
        let scorer = Scorer::new(None, Path::new("none"), tch::Device::Cpu).unwrap();
        let rows = evaluate(&options(&folder, line), &scorer, &Gauge::default()).unwrap().rows;
        let names: Vec<&str> =
            worst(&rows, Metric::Psnr, 2).iter().map(|row| &row.name[..]).collect();
        assert_eq!(names, ["two", "one"]);
        assert_has(
            &table(&rows, Metric::Psnr, 2),
            &[
                "PSNR dB        3",
                "(1 equal, not in the mean)",
                "LPIPS          0          -",
                "worst by PSNR dB:\n  two  PSNR dB",
            ],
        );
    }

    #[test]
    fn two_images_are_a_pair_whatever_their_names() {
        let folder = Folder::new("two");
        save(&folder, "x.png", &picture(20, 0));
        save(&folder, "y.png", &picture(20, 9));
        run(&options(&folder, "ROOT/x.png ROOT/y.png")).unwrap();
        assert!(folder.path("worst.png").exists());
    }

    #[test]
    fn what_cannot_be_compared_is_listed_and_the_rest_is_evaluated() {
        let folder = Folder::new("issues");
        for name in ["good", "size", "broken", "left"] {
            save(&folder, &format!("a/{name}.png"), &picture(16, 0));
        }
        save(&folder, "b/good.png", &picture(16, 9));
        save(&folder, "b/size.png", &picture(15, 0));
        save(&folder, "b/right.png", &picture(16, 0));
        save(&folder, "b/good.jpg", &picture(16, 0));
        folder.text("b/broken.png", "no image");
        let error = run(&options(&folder, "ROOT/a ROOT/b --csv ROOT/p.csv")).unwrap_err();
        assert_has(
            &error.to_string(),
            &[
                "5 files were left out, and 1 evaluated:",
                "size.png: it is 15 x 15, and the other 16 x 16",
                "broken.png: ",
                "left.png: there is no image of that name in",
                "right.png: there is no image of that name in",
                "has the same name",
            ],
        );
        assert_eq!(std::fs::read_to_string(folder.path("p.csv")).unwrap().lines().count(), 2);
        let text = |line: &str| format!("{:#}", run(&options(&folder, line)).unwrap_err());
        assert_has(&text("ROOT/none ROOT/b"), &["none: no such image or folder"]);
        assert_has(&text("ROOT/a ROOT/b/good.png"), &["expected two images or two folders"]);
        assert_has(
            &text("ROOT/a ROOT/b --lpips vgg"),
            &["lpips_vgg.safetensors: there is no such file", "export_weights.py lpips_vgg"],
        );
        std::fs::create_dir(folder.path("empty")).unwrap();
        assert_has(&text("ROOT/a ROOT/empty"), &["there is nothing in this folder"]);
    }

    #[test]
    fn ten_thousand_pairs_are_never_held_together() {
        const MANY: usize = 10_000;
        let folder = Folder::new("many");
        let (a, b) = (picture(8, 0), picture(8, 20));
        save(&folder, "a/0.png", &a);
        save(&folder, "b/0.png", &b);
        for i in 1..MANY {
            for side in ["a", "b"] {
                let from = folder.path(&format!("{side}/0.png"));
                std::fs::hard_link(from, folder.path(&format!("{side}/{i}.png"))).unwrap();
            }
        }
        let gauge = Gauge::default();
        let options = options(&folder, "ROOT/a ROOT/b --lpips none");
        let scorer = Scorer::new(options.lpips, &options.weights, tch::Device::Cpu).unwrap();
        let outcome = evaluate(&options, &scorer, &gauge).unwrap();
        assert_eq!((outcome.rows.len(), outcome.issues.len()), (MANY, 0));
        assert!(gauge.most() <= 2 * bound(options.workers), "{} were held", gauge.most());
        let first = outcome.rows[0].scores;
        assert!(outcome.rows.iter().all(|row| row.scores == first));
    }
}
