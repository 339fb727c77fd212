//! How near two sets of images are, and how good one is on its own.

use crate::{
    features::{Net, Preparation},
    options::{Features, Fid, Is, Mode},
    pictures::{Gauge, stream},
};
use anyhow::{Context, Result, bail, ensure};
use examples_support::{
    files,
    images::{extension, list},
    issues::{self, Issue},
    progress::Pass,
};
use std::path::{Path, PathBuf};
use tch::Tensor;
use tch_losses::{
    metrics::{self, FeatureStatistics, FidResult, InceptionLayer, InceptionScoreSums},
    perceptual::FeatureExtractor,
};

pub fn fid(options: &Fid) -> Result<()> {
    let mut issues = Vec::new();
    let result = distance(options, &Gauge::default(), &mut issues)?;
    println!("{result}");
    let few = [result.real, result.generated].into_iter().filter(|&n| n > 0).min();
    if few.is_some_and(|few| few <= result.dims) {
        println!(
            "fewer images than features: the distance is too large; compare it with those of as many images only"
        );
    }
    if let Some(path) = &options.json {
        let json = serde_json::json!({
            "fid": result.distance,
            "real": result.real,
            "generated": result.generated,
            "dims": result.dims,
            "protocol": result.protocol,
            "left_out": reasons(&issues),
        });
        files::write(path, serde_json::to_string_pretty(&json)?.as_bytes())?;
        println!("the result in {}", path.display());
    }
    let done = usize::try_from(result.real + result.generated)?;
    ensure!(issues.is_empty(), "{}", issues::left_out(&issues, done));
    Ok(())
}

/// The distance of the two sets; what could not be read goes to `issues`.
fn distance(options: &Fid, gauge: &Gauge, issues: &mut Vec<Issue>) -> Result<FidResult> {
    let layer = [InceptionLayer::Pool1, InceptionLayer::Pool2, InceptionLayer::Mixed6e]
        .into_iter()
        .chain([InceptionLayer::Pool3])
        .find(|layer| layer.dims() == options.dims);
    let Some(layer) = layer else {
        bail!("--dims: expected 64, 192, 768 or 2048, got {}", options.dims);
    };
    // Before the network is there: whatever is wrong with the sets is said at once.
    let sources = [&options.real, &options.generated];
    let [real, generated] = [Source::open(sources[0])?, Source::open(sources[1])?];
    let mode = options.features.mode.unwrap_or(Mode::PytorchFid);
    let net = Net::open(&options.features, layer, mode.fid())?;
    let reading = Reading {
        preparation: net.preparation,
        device: net.device,
        options: &options.features,
        gauge,
    };
    let mut fid = metrics::Fid::new(net.extractor, net.protocol);
    for (number, source) in [real, generated].into_iter().enumerate() {
        match source {
            Source::Statistics(statistics) if number == 0 => fid = fid.with_real(statistics),
            Source::Statistics(statistics) => fid = fid.with_generated(statistics),
            Source::Images(paths) => {
                let name = ["real", "generated"][number];
                reading.batches(name, paths, issues, |_, batch| match number {
                    0 => Ok(fid.f_add_real(batch)?),
                    _ => Ok(fid.f_add_generated(batch)?),
                })?;
            }
        }
    }
    for (path, statistics) in
        [(&options.save_real, fid.real()), (&options.save_generated, fid.generated())]
    {
        if let (Some(path), Some(statistics)) = (path, statistics) {
            files::write_with(path, |temporary| Ok(statistics.f_save(temporary)?))?;
            println!("statistics in {}", path.display());
        }
    }
    let too_few = || match issues.is_empty() {
        true => format!("{} and {}", sources[0].display(), sources[1].display()),
        false => issues::left_out(issues, 0),
    };
    fid.f_result().with_context(too_few)
}

/// Where a set of images comes from.
enum Source {
    Images(Vec<PathBuf>),
    Statistics(FeatureStatistics),
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        ensure!(path.exists(), "{}: no such folder or .npz of statistics", path.display());
        if path.is_file() {
            ensure!(
                extension(path) == "npz",
                "{}: expected a folder of images or an .npz of statistics",
                path.display()
            );
            return Ok(Source::Statistics(FeatureStatistics::f_load(path)?));
        }
        let images = list(path)?;
        ensure!(!images.is_empty(), "{}: no .jpg, .jpeg or .png in this folder", path.display());
        Ok(Source::Images(images))
    }
}

/// How images are read into batches.
struct Reading<'a> {
    preparation: Preparation,
    device: tch::Device,
    options: &'a Features,
    gauge: &'a Gauge,
}

impl Reading<'_> {
    /// Gives `with` batches and the numbers of their images among `paths`; a batch and what is read
    /// ahead is all that is in memory.
    fn batches(
        &self,
        name: &str,
        paths: Vec<PathBuf>,
        issues: &mut Vec<Issue>,
        mut with: impl FnMut(&[usize], &Tensor) -> Result<()>,
    ) -> Result<()> {
        let count = paths.len();
        let pass = Pass::new(name, count);
        let (mut numbers, mut batch) = (Vec::new(), Vec::new());
        for (number, read) in stream(paths, self.options.workers, self.gauge).enumerate() {
            match read {
                Ok(picture) => {
                    let file = || format!("image {number}");
                    let tensor = self.preparation.tensor(&picture, self.device);
                    batch.push(tensor.with_context(file)?);
                    numbers.push(number);
                }
                Err(issue) => issues.push(issue),
            }
            if batch.len() == self.options.batch || (number + 1 == count && !batch.is_empty()) {
                with(&numbers, &Tensor::cat(&batch, 0))?;
                numbers.clear();
                batch.clear();
            }
            pass.done(number + 1);
        }
        Ok(())
    }
}

pub fn inception_score(options: &Is) -> Result<()> {
    let mut issues = Vec::new();
    let (score, count, protocol) = score(options, &Gauge::default(), &mut issues)?;
    println!(
        "inception score {:.4} ± {:.4} of {count} images in {} splits: {protocol}",
        score.mean, score.std, options.splits
    );
    if let Some(path) = &options.json {
        let json = serde_json::json!({
            "mean": score.mean,
            "std": score.std,
            "images": count,
            "splits": options.splits,
            "protocol": protocol,
            "left_out": reasons(&issues),
        });
        files::write(path, serde_json::to_string_pretty(&json)?.as_bytes())?;
        println!("the result in {}", path.display());
    }
    ensure!(issues.is_empty(), "{}", issues::left_out(&issues, count));
    Ok(())
}

/// The score, the number of images that it is of, and how it was computed.
fn score(
    options: &Is,
    gauge: &Gauge,
    issues: &mut Vec<Issue>,
) -> Result<(metrics::InceptionScore, usize, String)> {
    let Source::Images(paths) = Source::open(&options.images)? else {
        bail!("{}: expected a folder of images", options.images.display());
    };
    let files = paths.len();
    ensure!(
        (1..=files).contains(&options.splits),
        "--splits: expected from 1 to the number of images, {files}, got {}",
        options.splits
    );
    let mode = options.features.mode.unwrap_or(Mode::Tensorflow1);
    let net = Net::open(&options.features, InceptionLayer::LogitsUnbiased, mode.fid())?;
    let reading = Reading {
        preparation: net.preparation,
        device: net.device,
        options: &options.features,
        gauge,
    };
    let mut sums = InceptionScoreSums::f_new(options.splits as i64)?;
    let mut count = 0;
    reading.batches("images", paths, issues, |numbers, batch| {
        let maps = tch::no_grad(|| net.extractor.f_features(batch))?;
        let [logits] = &maps[..] else { bail!("expected one layer, got {}", maps.len()) };
        for (row, &number) in (0..).zip(numbers) {
            let split = sums.split_of(number as i64, files as i64);
            sums.f_add(split, &logits.narrow(0, row, 1))?;
        }
        count += numbers.len();
        Ok(())
    })?;
    let too_few = || match issues.is_empty() {
        true => format!("--splits {}", options.splits),
        false => issues::left_out(issues, count),
    };
    Ok((sums.f_score().with_context(too_few)?, count, net.protocol))
}

fn reasons(issues: &[Issue]) -> Vec<serde_json::Value> {
    let reason = |issue: &Issue| serde_json::json!({ "file": issue.file, "reason": issue.message });
    issues.iter().map(reason).collect()
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
    use image::{Rgb, RgbImage};

    fn command(folder: &Folder, line: &str) -> Command {
        let root = folder.root().display().to_string();
        let words = line.split(' ').map(|word| word.replace("ROOT", &root));
        Cli::parse_from(std::iter::once("evaluate".to_owned()).chain(words)).command
    }

    fn run(folder: &Folder, line: &str) -> Result<()> {
        match command(folder, line) {
            Command::Fid(options) => fid(&options),
            Command::Is(options) => inception_score(&options),
            other => panic!("{other:?}"),
        }
    }

    /// Images of several sizes, `shade` brighter.
    fn fill(folder: &Folder, name: &str, count: u32, shade: u8) {
        for i in 0..count {
            let (width, height) = (8 + i % 3, 9 + i % 2);
            let pixel = |x, y| {
                let value = ((x * (i + 3) + y * 7 * (i % 5 + 1)) % 160) as u8;
                Rgb([value + shade, value / 2 + shade, shade])
            };
            let image = RgbImage::from_fn(width, height, pixel);
            image.save(folder.place(&format!("{name}/{i}.png"))).unwrap();
        }
    }

    fn result(folder: &Folder, file: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.path(file)).unwrap()).unwrap()
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself_and_saved_statistics_are_the_set() {
        let folder = Folder::new("fid");
        fill(&folder, "a", 20, 0);
        fill(&folder, "b", 24, 60);
        let random = "--features random --device cpu";
        run(&folder, &format!("fid ROOT/a ROOT/a {random} --json ROOT/same.json")).unwrap();
        assert!(result(&folder, "same.json")["fid"].as_f64().unwrap().abs() < 1e-8);
        let save = "--save-real ROOT/a.npz --save-generated ROOT/b.npz --json ROOT/ab.json";
        run(&folder, &format!("fid ROOT/a ROOT/b {random} {save} --batch 7")).unwrap();
        let found = result(&folder, "ab.json");
        let distance = found["fid"].as_f64().unwrap();
        assert!(distance > 0.01, "{found}");
        assert_eq!((found["real"].as_i64(), found["generated"].as_i64()), (Some(20), Some(24)));
        assert_has(found["protocol"].as_str().unwrap(), &["random features of seed 0", "32 x 32"]);
        for line in ["fid ROOT/a.npz ROOT/b", "fid ROOT/a ROOT/b.npz", "fid ROOT/a.npz ROOT/b.npz"]
        {
            run(&folder, &format!("{line} {random} --workers 3 --json ROOT/again.json")).unwrap();
            let again = result(&folder, "again.json")["fid"].as_f64().unwrap();
            // The covariance of a file has lost what rounding took from its smallest values.
            assert!(
                (again - distance).abs() < 1e-5 * (1.0 + distance),
                "{line}: {again} {distance}"
            );
        }
        run(&folder, &format!("fid ROOT/a ROOT/b {random} --seed 1 --json ROOT/other.json"))
            .unwrap();
        assert!((result(&folder, "other.json")["fid"].as_f64().unwrap() - distance).abs() > 1e-6);
    }

    #[test]
    fn a_score_is_computed_and_unreadable_images_are_listed() {
        let folder = Folder::new("is");
        fill(&folder, "a", 12, 20);
        folder.text("a/5.png", "no image");
        let line = "is ROOT/a --features random --splits 3 --device cpu --json ROOT/is.json";
        let error = run(&folder, line).unwrap_err().to_string();
        assert_has(&error, &["1 file was left out, and 11 evaluated:", "5.png: "]);
        let found = result(&folder, "is.json");
        assert_eq!(found["images"].as_i64(), Some(11));
        let mean = found["mean"].as_f64().unwrap();
        assert!((1.0..=10.0).contains(&mean), "{found}");
        assert_has(found["left_out"][0]["file"].as_str().unwrap(), &["5.png"]);
    }

    #[test]
    fn without_weights_the_line_names_the_file_and_the_command() {
        let folder = Folder::new("weights");
        fill(&folder, "a", 3, 0);
        for line in ["fid ROOT/a ROOT/a", "is ROOT/a --splits 1"] {
            let line = format!("{line} --weights ROOT/inception_fid.safetensors --device cpu");
            let error = format!("{:#}", run(&folder, &line).unwrap_err());
            assert_has(
                &error,
                &[
                    "inception_fid.safetensors: there is no such file",
                    "python scripts/export_weights.py inception_fid --checkpoint FILE",
                    "--features random",
                ],
            );
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let folder = Folder::new("mistakes");
        fill(&folder, "a", 3, 0);
        folder.text("x.txt", "");
        std::fs::create_dir(folder.path("empty")).unwrap();
        let random = "--features random --device cpu";
        let text =
            |line: &str| format!("{:#}", run(&folder, &format!("{line} {random}")).unwrap_err());
        assert_has(&text("fid ROOT/a ROOT/none"), &["none: no such folder"]);
        assert_has(&text("fid ROOT/a ROOT/x.txt"), &["x.txt: expected a folder of images"]);
        assert_has(&text("fid ROOT/a ROOT/empty"), &["empty: no .jpg, .jpeg or .png"]);
        assert_has(&text("fid ROOT/a ROOT/a --dims 3"), &["--dims: expected 64, 192"]);
        assert_has(&text("fid ROOT/a ROOT/a --batch 0"), &["--batch: expected at least 1"]);
        assert_has(&text("is ROOT/a --splits 4"), &["--splits: expected from 1 to", "3, got 4"]);
        folder.text("one/1.png", "no image");
        folder.image("one/2.png", 9, 9);
        assert_has(
            &text("fid ROOT/a ROOT/one"),
            &["1.png: ", "a covariance needs at least two samples"],
        );
    }

    #[test]
    fn ten_thousand_images_are_never_held_together() {
        const MANY: usize = 10_000;
        let folder = Folder::new("thousands");
        fill(&folder, "first", 6, 0);
        std::fs::create_dir(folder.path("all")).unwrap();
        for i in 0..MANY {
            let from = folder.path(&format!("first/{}.png", i % 6));
            std::fs::hard_link(from, folder.path(&format!("all/{i}.png"))).unwrap();
        }
        let line = "fid ROOT/all ROOT/first --features random --device cpu --batch 64";
        let Command::Fid(options) = command(&folder, line) else { panic!("{line}") };
        let (gauge, mut issues) = (Gauge::default(), Vec::new());
        let found = distance(&options, &gauge, &mut issues).unwrap();
        assert_eq!((found.real, found.generated, issues.len()), (MANY as i64, 6, 0));
        assert!(gauge.most() <= bound(options.features.workers), "{} were held", gauge.most());
        let line = "is ROOT/all --features random --device cpu --batch 64";
        let Command::Is(options) = command(&folder, line) else { panic!("{line}") };
        let gauge = Gauge::default();
        let (_, count, _) = score(&options, &gauge, &mut issues).unwrap();
        assert_eq!(count, MANY);
        assert!(gauge.most() <= bound(options.features.workers), "{} were held", gauge.most());
    }
}
