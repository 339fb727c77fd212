//! The command line.

use crate::data::Changes;
use anyhow::{Result, ensure};
use clap::Parser;
use examples_support::{
    augment::Augment,
    losses,
    run::{RunOptions, at_least, positive, within},
};
use std::path::PathBuf;

/// What `--compare` compares if it is not told: the minings, and a loss without any.
const COMPARED: &str = "triplet(margin=0.2), triplet(margin=0.2, average=all), \
    triplet(mining=semi_hard, margin=0.2), triplet(mining=semi_hard_all, margin=0.2), \
    triplet(mining=batch_hard, margin=0.2), triplet_batch_hard, \
    triplet(mining=distance_weighted, margin=0.2), sup_con";

/// Trains embeddings of handwritten digits; leaves curves, a map and weights in runs/embedding/NAME.
#[derive(Debug, Clone, Parser)]
#[command(name = "embedding", args_override_self = true)]
pub struct Options {
    /// The loss, by name, with options, or a sum: `triplet(mining=semi_hard)`, `sup_con + 0.1*arc_face`;
    /// the example `catalogue` lists them
    #[arg(long, default_value = "triplet(mining=semi_hard, margin=0.2)")]
    pub loss: String,
    /// Train with each of these losses, separated by commas, in runs/embedding/NAME/LOSS, and compare
    /// them [the minings of triplet, sup_con]
    #[arg(long, conflicts_with = "loss", num_args = 0..=1, default_missing_value = COMPARED)]
    pub compare: Option<String>,
    /// Do not train: say how good best.safetensors or last.safetensors of a run is
    #[arg(long, conflicts_with_all = ["loss", "compare"])]
    pub weights: Option<PathBuf>,
    #[command(flatten)]
    pub run: RunOptions,
    #[arg(long, default_value_t = 20)]
    pub epochs: usize,
    /// Steps of an epoch
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// Digits of each class in a batch
    #[arg(long, default_value_t = 8)]
    pub per_class: usize,
    /// Dimensions of an embedding
    #[arg(long, default_value_t = 16)]
    pub dims: usize,
    /// Factor on the channels of the network
    #[arg(long, default_value_t = 1.0)]
    pub width: f64,
    /// Greatest learning rate
    #[arg(long, default_value_t = 3e-3)]
    pub lr: f64,
    /// The last learning rate as a share of --lr
    #[arg(long, default_value_t = 0.02)]
    pub lr_last: f64,
    #[arg(long, default_value_t = 0.05)]
    pub weight_decay: f64,
    /// Greatest norm of the gradient
    #[arg(long, default_value_t = 5.0)]
    pub clip_grad: f64,
    /// Decay of the moving average of the weights
    #[arg(long, default_value_t = 0.99)]
    pub ema: f64,
    /// Turn by up to so many degrees, training and held-out digits alike
    #[arg(long, default_value_t = 35.0)]
    pub rotate: f64,
    /// Shift by up to this share of the side
    #[arg(long, default_value_t = 0.08)]
    pub translate: f64,
    /// Zoom by a factor in [1-SCALE, 1+SCALE]
    #[arg(long, default_value_t = 0.2)]
    pub scale: f64,
    /// Add up to this much to each pixel, or take it away
    #[arg(long, default_value_t = 0.15)]
    pub noise: f64,
    /// Threads of libtorch on the CPU; digits are too small to share out
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
}

impl Options {
    /// The losses to compare, if that is what is to be done.
    pub fn compare(&self) -> Option<Result<Vec<String>>> {
        self.compare.as_ref().map(|text| {
            let losses = losses::split(text);
            ensure!(
                losses.len() > 1,
                "--compare: expected two or more losses with commas between, got `{text}`"
            );
            Ok(losses)
        })
    }

    pub fn changes(&self) -> Changes {
        let Options { rotate, translate, scale, noise, .. } = *self;
        Changes { moves: Augment { rotate, translate, scale, jitter: 0.0, fliplr: 0.0 }, noise }
    }

    pub fn check(&self) -> Result<()> {
        for (option, value) in
            [("epochs", self.epochs), ("steps", self.steps), ("threads", self.threads)]
        {
            at_least(option, value as i64, 1)?;
        }
        within("per-class", self.per_class as f64, 2.0, 100.0)?;
        within("dims", self.dims as f64, 2.0, 4096.0)?;
        positive("lr", self.lr)?;
        within("width", self.width, 0.05, 16.0)?;
        within("lr-last", self.lr_last, 0.0, 1.0)?;
        within("weight-decay", self.weight_decay, 0.0, 1e3)?;
        within("clip-grad", self.clip_grad, 0.0, f64::INFINITY)?;
        within("ema", self.ema, 0.0, 1.0)?;
        within("rotate", self.rotate, 0.0, 180.0)?;
        within("translate", self.translate, 0.0, 1.0)?;
        within("scale", self.scale, 0.0, 0.9)?;
        within("noise", self.noise, 0.0, 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_has_losses_of_its_own_and_needs_two() {
        let options = Options::parse_from(["embedding", "--compare"]);
        let losses = options.compare().unwrap().unwrap();
        assert_eq!(losses.len(), 8);
        assert_eq!(losses[2], "triplet(mining=semi_hard, margin=0.2)");
        let one = Options::parse_from(["embedding", "--compare", "sup_con"]);
        assert!(one.compare().unwrap().unwrap_err().to_string().contains("two or more"));
        assert!(Options::parse_from(["embedding"]).compare().is_none());
    }
}
