//! How good embeddings are on held-out digits.

use crate::{
    data::{Changes, Digits},
    map,
    model::Embedder,
    options::Options,
    weights,
};
use anyhow::Result;
use examples_support::{builtin::Split, rng::seeded};
use std::path::Path;
use tch::{Device, Tensor};
use tch_losses::metrics::{RetrievalMetrics, retrieval_metrics};

/// How often the held-out digits are changed; each time they are a gallery of their own, so that no digit
/// finds itself in another pose.
const GALLERIES: u64 = 4;
/// Held-out digits are changed in the same way in every run.
const SEED: u64 = 0xE_BED;

/// The held-out digits, changed.
#[derive(Debug)]
pub struct Galleries {
    images: Vec<Tensor>,
    labels: Tensor,
}

/// Means over the galleries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    pub recall_at_1: f64,
    pub map_at_r: f64,
    pub r_precision: f64,
}

impl Galleries {
    pub fn new(changes: &Changes, device: Device) -> Self {
        let digits = Digits::new(Split::Val, device);
        let images = (0..GALLERIES)
            .map(|n| changes.apply(&digits.images, &mut seeded(&[SEED, n])))
            .collect();
        Galleries { images, labels: digits.labels }
    }

    /// Of a network.
    pub fn scores(&self, net: &Embedder) -> Scores {
        self.of(|images| net.embed(images))
    }

    /// Of the pixels as they are.
    pub fn of_pixels(&self) -> Scores {
        self.of(|images| images.flatten(1, -1))
    }

    fn of(&self, embed: impl Fn(&Tensor) -> Tensor) -> Scores {
        let found: Vec<RetrievalMetrics> = self
            .images
            .iter()
            .map(|images| retrieval_metrics(&embed(images), &self.labels, &[1]))
            .collect();
        let mean = |of: &dyn Fn(&RetrievalMetrics) -> f64| {
            found.iter().map(of).sum::<f64>() / found.len() as f64
        };
        Scores {
            recall_at_1: mean(&|found| found.recall[0].1),
            map_at_r: mean(&|found| found.map_at_r),
            r_precision: mean(&|found| found.r_precision),
        }
    }

    /// Images and labels of the first gallery.
    pub fn first(&self) -> (&Tensor, &Tensor) {
        (&self.images[0], &self.labels)
    }
}

pub fn run(path: &Path, options: &Options) -> Result<()> {
    options.check()?;
    let device = options.run.device()?;
    tch::set_num_threads(options.threads.min(1024) as i32);
    let (net, _vs, meta) = weights::load(path, device)?;
    let galleries = Galleries::new(&options.changes(), device);
    println!("pixels: {}\n{}: {}", galleries.of_pixels(), meta.loss, galleries.scores(&net));
    let picture = path.with_file_name("map.png");
    map::write(&picture, &meta.loss, &net, &galleries)?;
    println!("{}", picture.display());
    Ok(())
}

impl std::fmt::Display for Scores {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            f,
            "recall@1 {:.4}  MAP@R {:.4}  R-precision {:.4}",
            self.recall_at_1, self.map_at_r, self.r_precision
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn pixels_find_digits_that_are_not_moved_and_lose_those_that_are() {
        let scores = |more: &[&str]| {
            let line = ["embedding"].iter().chain(more);
            Galleries::new(&Options::parse_from(line).changes(), Device::Cpu).of_pixels()
        };
        let still = scores(&["--rotate", "0", "--translate", "0", "--scale", "0", "--noise", "0"]);
        assert!(still.recall_at_1 > 0.9, "{still}");
        assert!(scores(&[]).recall_at_1 < still.recall_at_1 - 0.1);
    }
}
