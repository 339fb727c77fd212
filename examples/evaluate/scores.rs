//! What two images of the same size score.

use crate::{options::Lpips, pictures::tensor};
use anyhow::{Context, Result};
use clap::ValueEnum;
use image::RgbImage;
use std::path::Path;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};
use tch_losses::{
    Loss,
    metrics::{MS_SSIM_WEIGHTS, SsimOptions, f_ms_ssim, f_psnr, f_ssim},
    perceptual::{ImageRange, LpipsLoss, LpipsNet, weights},
};

/// A score of a pair, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Metric {
    Psnr,
    Ssim,
    MsSsim,
    Lpips,
}

impl Metric {
    pub const ALL: [Metric; 4] = [Metric::Psnr, Metric::Ssim, Metric::MsSsim, Metric::Lpips];

    /// The name of the column.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Psnr => "psnr",
            Metric::Ssim => "ssim",
            Metric::MsSsim => "ms_ssim",
            Metric::Lpips => "lpips",
        }
    }

    /// How it is called where people read it.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Psnr => "PSNR dB",
            Metric::Ssim => "SSIM",
            Metric::MsSsim => "MS-SSIM",
            Metric::Lpips => "LPIPS",
        }
    }

    pub fn text(self, value: f64) -> String {
        if self == Metric::Psnr { format!("{value:.2}") } else { format!("{value:.4}") }
    }

    /// The least side of an image, in pixels.
    fn least(self, lpips: Option<&LpipsNet>) -> u32 {
        match (self, lpips) {
            (Metric::Psnr, _) => 1,
            (Metric::Ssim, _) => 11,
            (Metric::MsSsim, _) => 161,
            (Metric::Lpips, Some(LpipsNet::Vgg)) => 16,
            (Metric::Lpips, _) => 63,
        }
    }

    /// A number that is greater the worse the score is.
    pub fn badness(self, value: f64) -> f64 {
        if self == Metric::Lpips { value } else { -value }
    }
}

/// The scores of a pair; none where an image is too small for it or LPIPS has no weights.
pub type Scores = [Option<f64>; 4];

/// What computes them.
pub struct Scorer {
    device: Device,
    lpips: Option<(LpipsNet, LpipsLoss)>,
    /// Why there is no LPIPS.
    pub without_lpips: Option<String>,
}

impl Scorer {
    /// LPIPS by `wanted`, or by AlexNet where its weights are in `folder`.
    pub fn new(wanted: Option<Lpips>, folder: &Path, device: Device) -> Result<Self> {
        let mut scorer = Scorer { device, lpips: None, without_lpips: None };
        let Some((net, name)) = wanted.unwrap_or(Lpips::Alex).net() else { return Ok(scorer) };
        let path = folder.join(format!("{name}.safetensors"));
        if wanted.is_none() && !path.exists() {
            scorer.without_lpips = Some(format!(
                "LPIPS is left out: there is no {}; make it with: python scripts/export_weights.py {name}",
                path.display()
            ));
            return Ok(scorer);
        }
        let mut vs = VarStore::new(device);
        let loss = LpipsLoss::f_new(&vs.root(), net, ImageRange::Bytes)?;
        weights::f_load(&mut vs, &path, false).with_context(|| format!("--lpips: {name}"))?;
        scorer.lpips = Some((net, loss));
        Ok(scorer)
    }

    /// The scores of two images of the same size.
    pub fn scores(&self, a: &RgbImage, b: &RgbImage) -> Result<Scores> {
        let bytes = |image: &RgbImage| tensor(image).to_device(self.device);
        let (a_bytes, b_bytes) = (bytes(a), bytes(b));
        let side = a.width().min(a.height());
        let options = SsimOptions::new(255.0);
        no_grad(|| {
            let mut scores = [None; 4];
            for (metric, score) in Metric::ALL.into_iter().zip(&mut scores) {
                if side < metric.least(self.lpips.as_ref().map(|(net, _)| net)) {
                    continue;
                }
                let mean = |values: Tensor| Some(values.mean(None::<Kind>).double_value(&[]));
                *score = match (metric, &self.lpips) {
                    (Metric::Psnr, _) => mean(f_psnr(&a_bytes, &b_bytes, 255.0)?),
                    (Metric::Ssim, _) => mean(f_ssim(&a_bytes, &b_bytes, options)?),
                    (Metric::MsSsim, _) => {
                        mean(f_ms_ssim(&a_bytes, &b_bytes, options, &MS_SSIM_WEIGHTS)?)
                    }
                    (Metric::Lpips, Some((_, lpips))) => {
                        let float = |t: &Tensor| t.to_kind(Kind::Float);
                        mean(lpips.f_forward(&float(&a_bytes), &float(&b_bytes))?)
                    }
                    (Metric::Lpips, None) => None,
                };
            }
            Ok(scores)
        })
    }
}
