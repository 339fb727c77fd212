//! What ways to halve feature maps make of a shift of the image.
//!
//!     cargo run --release --example pooling
//!     cargo run --release --example pooling -- --images photos --size 160 --levels 4
//!
//! Each level is a convolution with seeded random weights, a ReLU and the halving; only the halving
//! differs. A shift by 2^levels pixels moves the maps by one of theirs.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use examples_support::{
    builtin::{Scenes, Split},
    failure::Failure,
    images::{decode, list},
    plot::{self, Chart},
    resample::resize,
    rng::seeded,
};
use image::RgbImage;
use rand::Rng as _;
use std::path::PathBuf;
use tch::{Kind, Tensor};
use tch_losses::{
    LossError,
    perceptual::{Downsample, f_downsample, f_shift_change},
};

/// Prints and draws how much feature maps change when the image is shifted.
#[derive(Debug, Parser)]
#[command(name = "pooling", args_override_self = true)]
struct Cli {
    /// A folder of images; built-in scenes if not given
    #[arg(long)]
    images: Option<PathBuf>,
    /// How many images
    #[arg(long, default_value_t = 16)]
    count: usize,
    /// Side of the images in pixels
    #[arg(long, default_value_t = 96)]
    size: u32,
    /// How often the maps are halved
    #[arg(long, default_value_t = 3)]
    levels: usize,
    /// Seed of the weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The picture
    #[arg(long, default_value = "runs/pooling/shifts.png")]
    out: PathBuf,
}

const CHANNELS: i64 = 16;

fn main() -> Result<(), Failure> {
    Ok(run(&Cli::parse())?)
}

fn run(cli: &Cli) -> Result<()> {
    ensure!((1..=6).contains(&cli.levels), "--levels: expected 1 to 6, got {}", cli.levels);
    let least = 4 << cli.levels;
    ensure!(
        (least..=4096).contains(&cli.size),
        "--size: expected {least} to 4096 for {} levels, got {}",
        cli.levels,
        cli.size
    );
    ensure!(cli.count > 0, "--count: expected at least 1, got 0");
    let images = images(cli)?;
    let stride = 1i64 << cli.levels;
    let shifts: Vec<(i64, i64)> = (1..=stride).map(|right| (0, right)).collect();
    let mut found = Vec::new();
    for way in Way::ALL {
        let net = Net::new(way, cli.levels, cli.seed);
        let of_maps = mean(&f_shift_change(&images, &shifts, |x| net.contrast(x))?)?;
        let of_means = mean(&f_shift_change(&images, &shifts, |x| net.means(x))?)?;
        found.push((way, of_maps, of_means));
    }
    println!("{}", table(&found, images.size()[0], cli));
    let series = |of: fn(&Found) -> &Vec<f64>| -> Vec<(&'static str, Vec<(f64, f64)>)> {
        let points = |values: &Vec<f64>| (1..).map(f64::from).zip(values.iter().copied()).collect();
        found.iter().map(|row| (row.0.name(), points(of(row)))).collect()
    };
    let (maps, means) = (series(|row| &row.1), series(|row| &row.2));
    let charts = [
        Chart { title: "Change of the maps", x: "shift in pixels", series: &maps },
        Chart { title: "Change of the maps' means", x: "shift in pixels", series: &means },
    ];
    plot::curves(&cli.out, "Halving of maps and shifts of the image", &charts)?;
    println!("{}", cli.out.display());
    Ok(())
}

/// A way to halve, the changes of the maps and those of their means, shift by shift.
type Found = (Way, Vec<f64>, Vec<f64>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Average,
    Max,
    Strided,
    Blur,
    MaxBlur,
}

impl Way {
    const ALL: [Way; 5] = [Way::Average, Way::Max, Way::Strided, Way::Blur, Way::MaxBlur];

    fn name(self) -> &'static str {
        match self {
            Way::Average => "average",
            Way::Max => "max",
            Way::Strided => "strided",
            Way::Blur => "blur",
            Way::MaxBlur => "max, blur",
        }
    }
}

/// Levels of convolution, ReLU and halving.
struct Net(Vec<(Tensor, Downsample)>);

impl Net {
    fn new(way: Way, levels: usize, seed: u64) -> Self {
        let kernel = |stream: u64, level: usize, inputs: i64| {
            let mut rng = seeded(&[seed, stream, level as u64]);
            let count = CHANNELS * inputs * 9;
            // Of He's variance.
            let bound = (6.0 / (inputs * 9) as f32).sqrt();
            let numbers: Vec<f32> = (0..count).map(|_| rng.random_range(-bound..bound)).collect();
            Tensor::from_slice(&numbers).view([CHANNELS, inputs, 3, 3])
        };
        let level = |level: usize| {
            let halving = match way {
                Way::Average => Downsample::Average,
                Way::Max => Downsample::Max,
                Way::Strided => Downsample::Strided(kernel(1, level, CHANNELS)),
                Way::Blur => Downsample::Blur,
                Way::MaxBlur => Downsample::MaxBlur,
            };
            (kernel(0, level, if level == 0 { 3 } else { CHANNELS }), halving)
        };
        Net((0..levels).map(level).collect())
    }

    fn maps(&self, images: &Tensor) -> Result<Tensor, LossError> {
        let mut x = images.shallow_clone();
        for (kernel, halving) in &self.0 {
            let convolved = x.f_conv2d(kernel, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1)?;
            x = f_downsample(&convolved.f_relu()?, halving)?;
            // A strided convolution is a layer of its own.
            if matches!(halving, Downsample::Strided(_)) {
                x = x.f_relu()?;
            }
        }
        Ok(x)
    }

    fn means(&self, images: &Tensor) -> Result<Tensor, LossError> {
        Ok(self.maps(images)?.f_mean_dim([2i64, 3].as_slice(), true, None::<Kind>)?)
    }

    /// The maps about their means: what is the same everywhere does not count.
    fn contrast(&self, images: &Tensor) -> Result<Tensor, LossError> {
        let maps = self.maps(images)?;
        Ok(maps.f_sub(&maps.f_mean_dim([2i64, 3].as_slice(), true, None::<Kind>)?)?)
    }
}

/// (N, 3, size, size) with values from 0 to 1.
fn images(cli: &Cli) -> Result<Tensor> {
    let images: Vec<RgbImage> = match &cli.images {
        None => {
            let scenes = Scenes { split: Split::Val, size: (cli.size, cli.size), seed: 0 };
            (0..cli.count as u64).map(|i| scenes.scene(i).image).collect()
        }
        Some(folder) => {
            let files = list(folder).context("--images")?;
            ensure!(
                !files.is_empty(),
                "--images {}: no .jpg, .jpeg or .png in this folder",
                folder.display()
            );
            let files = files.iter().take(cli.count);
            files
                .map(|file| Ok(resize(&decode(file)?, cli.size, cli.size)))
                .collect::<Result<_>>()?
        }
    };
    let side = i64::from(cli.size);
    let tensor = |image: &RgbImage| {
        Tensor::from_slice(image.as_raw()).view([side, side, 3]).permute([2, 0, 1])
    };
    let tensors: Vec<Tensor> = images.iter().map(tensor).collect();
    Ok(Tensor::stack(&tensors, 0).to_kind(Kind::Float) / 255.0)
}

/// The mean over the images, shift by shift.
fn mean(change: &Tensor) -> Result<Vec<f64>> {
    let means = change.f_mean_dim([1i64].as_slice(), false, Kind::Double)?;
    Ok(Vec::try_from(&means)?)
}

fn table(found: &[Found], images: i64, cli: &Cli) -> String {
    let stride = 1 << cli.levels;
    let columns: Vec<usize> = [1, 2, stride / 2, stride]
        .into_iter()
        .filter(|&shift| shift >= 1 && shift <= stride)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut text = format!(
        "{images} images of {0} x {0}, {1} levels, weights of seed {2}: change of the maps about their \
         means, and of the means, by a shift of so many pixels\n",
        cli.size, cli.levels, cli.seed
    );
    let head: Vec<String> =
        columns.iter().map(|shift| format!("{:>6}", format!("{shift} px"))).collect();
    text += &format!("{:<10} {}   means {}\n", "", head.join(" "), head.join(" "));
    for (way, maps, means) in found {
        let cells = |values: &[f64]| {
            let cells = columns.iter().map(|shift| format!("{:>6.3}", values[shift - 1]));
            cells.collect::<Vec<_>>().join(" ")
        };
        text += &format!("{:<10} {}         {}\n", way.name(), cells(maps), cells(means));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::{Folder, assert_has};

    fn cli(folder: &Folder, more: &str) -> Cli {
        let root = folder.root().display().to_string();
        let line = format!("pooling --count 3 --size 64 --out ROOT/shifts.png {more}");
        Cli::parse_from(line.split_whitespace().map(|word| word.replace("ROOT", &root)))
    }

    #[test]
    fn a_table_and_a_picture_of_every_way() {
        let folder = Folder::new("pooling");
        run(&cli(&folder, "")).unwrap();
        let drawn = image::open(folder.path("shifts.png")).unwrap();
        assert_eq!(drawn.width(), 2 * 520);
        folder.image("photos/a.png", 70, 90);
        run(&cli(&folder, "--images ROOT/photos --levels 1 --seed 3")).unwrap();
    }

    #[test]
    fn blur_changes_less_than_the_means_of_its_pixels_and_these_less_than_their_greatest() {
        let folder = Folder::new("order");
        let images = images(&cli(&folder, "")).unwrap();
        let change = |way| {
            let net = Net::new(way, 2, 0);
            let change = f_shift_change(&images, &[(0, 1)], |x| net.contrast(x)).unwrap();
            mean(&change).unwrap()[0]
        };
        let (blur, average) = (change(Way::Blur), change(Way::Average));
        let (max, max_blur) = (change(Way::Max), change(Way::MaxBlur));
        assert!(blur < average && max_blur < max, "{blur} {average} {max} {max_blur}");
    }

    #[test]
    fn mistakes_are_named() {
        let folder = Folder::new("mistakes");
        let text = |more: &str| format!("{:#}", run(&cli(&folder, more)).unwrap_err());
        assert_has(&text("--levels 0"), &["--levels: expected 1 to 6, got 0"]);
        assert_has(&text("--levels 5"), &["--size: expected 128 to 4096 for 5 levels, got 64"]);
        assert_has(&text("--count 0"), &["--count"]);
        assert_has(&text("--images ROOT"), &["no .jpg, .jpeg or .png in this folder"]);
        assert_has(&text("--images ROOT/none"), &["--images: cannot list"]);
    }
}
