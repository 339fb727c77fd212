//! An image moved so that points of it come to lie on points of another.

use crate::{
    options::{Align, Method},
    pictures::{difference, image, tensor},
};
use anyhow::{Context, Result, ensure};
use examples_support::{draw, files, images::decode, png};
use std::path::Path;
use tch::{Kind, Tensor};
use tch_losses::alignment::{
    Border, ProcrustesOptions, Similarity, f_procrustes, f_umeyama, f_warp_affine,
};

pub fn run(options: &Align) -> Result<()> {
    let (from, onto) = points(&options.points)?;
    let (source, target) = (decode(&options.source)?, decode(&options.target)?);
    let scale = !options.no_scale;
    let found = match options.method {
        Method::Umeyama => f_umeyama(&from, &onto, scale),
        Method::Procrustes => f_procrustes(&from, &onto, ProcrustesOptions::default().scale(scale))
            .map(|found| found.transform),
    };
    let found = found.with_context(|| options.points.display().to_string())?;
    println!("{}", described(&found, &from, &onto)?);
    let size = (i64::from(target.height()), i64::from(target.width()));
    let pixels = tensor(&source).to_kind(Kind::Float);
    let moved = f_warp_affine(&pixels, &found.f_matrix()?, size, Border::Constant(0.0));
    let moved = image(&moved.with_context(|| options.source.display().to_string())?)?;
    files::write(&options.out, &png(&moved)?)?;
    let check = beside(&options.out);
    let (gap, factor) = difference(&moved, &target);
    let cells = [
        (target, "target".to_owned()),
        (moved, "source, moved".to_owned()),
        (gap, format!("difference, {factor} times")),
    ];
    files::write(&check, &png(&draw::grid(&cells, 3, 400))?)?;
    println!("{}, and beside the target in {}", options.out.display(), check.display());
    Ok(())
}

/// `aligned.png` as `aligned_check.png`.
fn beside(path: &Path) -> std::path::PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}_check.png"))
}

/// Points (N, 2) of the source and of the target, in Double.
fn points(path: &Path) -> Result<(Tensor, Tensor)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut numbers: Vec<f64> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let separators = |c: char| c.is_whitespace() || c == ',' || c == ';';
        let row: Option<Vec<f64>> = line
            .split(separators)
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().ok().filter(|number: &f64| number.is_finite()))
            .collect();
        let row = row.filter(|row| row.len() == 4);
        let row = row.with_context(|| {
            format!(
                "{}:{}: expected four numbers, x and y in the source and in the target, got `{line}`",
                path.display(),
                i + 1
            )
        })?;
        numbers.extend(row);
    }
    ensure!(
        numbers.len() >= 8,
        "{}: expected at least two points, got {}",
        path.display(),
        numbers.len() / 4
    );
    let all = Tensor::from_slice(&numbers).view([-1, 2, 2]);
    Ok((all.select(1, 0).contiguous(), all.select(1, 1).contiguous()))
}

/// What the map does, and how far it leaves the points apart.
fn described(found: &Similarity, from: &Tensor, onto: &Tensor) -> Result<String> {
    let r = |i, j| found.rotation.double_value(&[i, j]);
    let mirrored = r(0, 0) * r(1, 1) - r(0, 1) * r(1, 0) < 0.0;
    let gaps = (found.f_apply(from)? - onto).square().sum_dim_intlist(1, false, Kind::Double);
    Ok(format!(
        "scale {:.5}, turned {:.3} degrees clockwise{}, shifted by ({:.2}, {:.2}); \
         {} points, {:.3} pixels apart (root of the mean square), at most {:.3}",
        found.scale.double_value(&[]),
        r(1, 0).atan2(r(0, 0)).to_degrees(),
        if mirrored { " and mirrored" } else { "" },
        found.translation.double_value(&[0]),
        found.translation.double_value(&[1]),
        gaps.size()[0],
        gaps.mean(Kind::Double).sqrt().double_value(&[]),
        gaps.max().sqrt().double_value(&[]),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Cli, Command};
    use clap::Parser;
    use examples_support::testing::{Folder, assert_has};
    use image::{Rgb, RgbImage};

    fn align(folder: &Folder, more: &str) -> Result<()> {
        let root = folder.root().display().to_string();
        let line = format!(
            "evaluate align ROOT/source.png ROOT/target.png --points ROOT/points.csv --out ROOT/out.png{more}"
        );
        match Cli::parse_from(line.split(' ').map(|word| word.replace("ROOT", &root))).command {
            Command::Align(options) => run(&options),
            other => panic!("{other:?}"),
        }
    }

    /// A smooth picture, seen from `(x, y) -> place`.
    fn picture(width: u32, height: u32, place: impl Fn(f64, f64) -> (f64, f64)) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = place(f64::from(x), f64::from(y));
            let value = 128.0 + 50.0 * (x * 0.11).sin() + 50.0 * (y * 0.17).cos();
            Rgb([value as u8, (255.0 - value) as u8, (x + y).clamp(0.0, 255.0) as u8])
        })
    }

    #[test]
    fn the_moved_source_is_the_target() {
        let folder = Folder::new("align");
        picture(80, 60, |x, y| (x, y)).save(folder.path("source.png")).unwrap();
        // The target's (x, y) is the source's (y + 10, 50 - x) / 1.25 or so: a quarter turn.
        let back = |x: f64, y: f64| (y / 1.25 + 10.0, 50.0 - x / 1.25);
        picture(50, 40, back).save(folder.path("target.png")).unwrap();
        let mut text = "# source, target\n".to_owned();
        for (x, y) in [(0.0, 0.0), (49.0, 0.0), (0.0, 39.0), (30.0, 20.0)] {
            let (a, b) = back(x, y);
            text += &format!("{a}, {b}, {x} {y}\n\n");
        }
        folder.text("points.csv", &text);
        align(&folder, "").unwrap();
        let open = |name: &str| image::open(folder.path(name)).unwrap().to_rgb8();
        let (moved, target) = (open("out.png"), open("target.png"));
        assert_eq!(moved.dimensions(), target.dimensions());
        let (_, factor) = difference(&moved, &target);
        let worst =
            moved.as_raw().iter().zip(target.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 4 && factor == 16.0, "{worst}");
        assert!(folder.path("out_check.png").exists());
        let (from, onto) = points(&folder.path("points.csv")).unwrap();
        let found = f_umeyama(&from, &onto, true).unwrap();
        let text = described(&found, &from, &onto).unwrap();
        assert_has(&text, &["scale 1.25000, turned 90.000 degrees", "4 points, 0.000 pixels"]);
        let stiff = described(&f_umeyama(&from, &onto, false).unwrap(), &from, &onto).unwrap();
        assert_has(&stiff, &["scale 1.00000"]);
        align(&folder, " --no-scale --method procrustes").unwrap();
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let folder = Folder::new("points");
        folder.image("source.png", 8, 8);
        folder.image("target.png", 8, 8);
        let text = |points: &str| {
            folder.text("points.csv", points);
            format!("{:#}", align(&folder, "").unwrap_err())
        };
        assert_has(&text("1 2 3 4\n\n1,2,3"), &["points.csv:3: expected four numbers", "`1,2,3`"]);
        assert_has(&text("1 2 3 nan"), &["points.csv:1:"]);
        assert_has(&text("1 2 3 4"), &["points.csv: expected at least two points, got 1"]);
        assert_has(&text("1 2 3 4\n1 2 5 6"), &["points.csv: ", "all in one place"]);
        std::fs::remove_file(folder.path("source.png")).unwrap();
        assert_has(&text("1 2 3 4\n5 6 7 8"), &["source.png"]);
        std::fs::remove_file(folder.path("points.csv")).unwrap();
        assert_has(
            &format!("{:#}", align(&folder, "").unwrap_err()),
            &["cannot read", "points.csv"],
        );
    }
}
