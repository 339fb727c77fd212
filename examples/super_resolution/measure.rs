//! How good an enlargement is.

use crate::{
    data::Photo,
    model::{enlarge, shrink},
};
use anyhow::{Context, Result};
use std::path::Path;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};
use tch_losses::{
    Loss,
    metrics::{SsimOptions, f_psnr, f_ssim},
    perceptual::{ImageRange, LpipsLoss, LpipsNet, weights},
};

/// Means over photographs, of RGB values without a border left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Scores {
    pub psnr: f64,
    pub ssim: f64,
    /// Mean length of the brightness gradient by that of the truth: below 1 is too soft.
    pub sharpness: f64,
    pub lpips: Option<f64>,
}

/// What measures LPIPS, if there are weights.
#[derive(Debug)]
pub struct Lpips(Option<LpipsLoss>);

impl Lpips {
    pub fn open(path: Option<&Path>, device: Device) -> Result<Self> {
        let Some(path) = path else { return Ok(Lpips(None)) };
        let mut vs = VarStore::new(device);
        let lpips = LpipsLoss::f_new(&vs.root(), LpipsNet::Alex, ImageRange::Symmetric)?;
        weights::f_load(&mut vs, path, false).context("--lpips")?;
        Ok(Lpips(Some(lpips)))
    }
}

/// Scores of what `enlarged` makes of the shrunk photographs.
pub fn scores(
    photos: &[Photo],
    scale: i64,
    lpips: &Lpips,
    enlarged: impl Fn(&Tensor) -> Tensor,
) -> Result<Scores> {
    let mut sum = Scores { lpips: lpips.0.as_ref().map(|_| 0.0), ..Scores::default() };
    for photo in photos {
        let truth = &photo.pixels;
        let image = no_grad(|| enlarged(&shrink(truth, scale))).clamp(-1.0, 1.0);
        let number = |t: Tensor| t.mean(Kind::Double).double_value(&[]);
        sum.psnr += number(f_psnr(&image, truth, 2.0)?);
        sum.ssim += number(f_ssim(&image, truth, SsimOptions::new(2.0))?);
        sum.sharpness += gradient(&image) / gradient(truth).max(1e-12);
        if let (Some(sum), Some(lpips)) = (&mut sum.lpips, &lpips.0) {
            *sum += number(lpips.f_forward(&image, truth)?);
        }
    }
    let mean = |sum: f64| sum / photos.len().max(1) as f64;
    Ok(Scores {
        psnr: mean(sum.psnr),
        ssim: mean(sum.ssim),
        sharpness: mean(sum.sharpness),
        lpips: sum.lpips.map(mean),
    })
}

pub fn of_bicubic(photos: &[Photo], scale: i64, lpips: &Lpips) -> Result<Scores> {
    scores(photos, scale, lpips, |small| enlarge(small, scale))
}

/// The mean length of the brightness gradient.
fn gradient(image: &Tensor) -> f64 {
    let grey = image.mean_dim([1i64].as_slice(), false, None::<Kind>);
    let size = grey.size();
    let (height, width) = (size[1] - 1, size[2] - 1);
    let at = |y: i64, x: i64| grey.narrow(1, y, height).narrow(2, x, width);
    let (right, below): (Tensor, Tensor) = (at(0, 1) - at(0, 0), at(1, 0) - at(0, 0));
    (right.square() + below.square()).sqrt().mean(Kind::Double).double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_enlargement_is_as_sharp_as_the_truth() {
        tch::manual_seed(0);
        let pixels = Tensor::rand([1, 3, 16, 24], (Kind::Float, Device::Cpu)) * 2.0 - 1.0;
        let photos = [Photo { name: String::new(), pixels: pixels.copy() }];
        let none = Lpips::open(None, Device::Cpu).unwrap();
        let same = scores(&photos, 2, &none, |_| pixels.copy()).unwrap();
        assert_eq!((same.psnr, same.sharpness, same.lpips), (f64::INFINITY, 1.0, None));
        assert!((same.ssim - 1.0).abs() < 1e-6);
        let soft = of_bicubic(&photos, 2, &none).unwrap();
        assert!(soft.sharpness < 0.6 && soft.psnr < 20.0 && soft.ssim < 0.8, "{soft:?}");
    }
}
