//! What a training loop needs beside a loss: an optimiser whose state can be saved, a moving average
//! of the weights, a schedule, checkpoints.

mod adamw;
mod adversary;
mod averaged;
mod checkpoint;
mod ema;

pub use adamw::AdamW;
pub use adversary::Adversary;
pub use averaged::{Averaged, load_average};
pub use checkpoint::{Checkpoint, copy_into, named};
pub use ema::Ema;

use anyhow::{Result, bail};
use tch::Device;

/// The learning rate at `step` of `steps`: linear warm-up, then half a cosine down to `last` times
/// `peak`.
pub fn cosine(peak: f64, last: f64, warmup: usize, step: usize, steps: usize) -> f64 {
    let progress = step as f64 / steps.max(1) as f64;
    let cosine = last + (1.0 - last) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
    let ramp = ((step + 1) as f64 / warmup.max(1) as f64).min(1.0);
    peak * cosine * ramp
}

/// `auto`, `cpu`, `cuda` or `cuda:N`; the caller loads CUDA before.
pub fn device(name: &str) -> Result<Device> {
    let cuda = |index: usize| {
        let there = tch::Cuda::device_count().max(0) as usize;
        if index >= there {
            bail!("--device {name}: libtorch sees {there} CUDA devices");
        }
        Ok(Device::Cuda(index))
    };
    match name.split_once(':') {
        None if name == "auto" => Ok(Device::cuda_if_available()),
        None if name == "cpu" => Ok(Device::Cpu),
        None if name == "cuda" => cuda(0),
        Some(("cuda", index)) if index.parse::<usize>().is_ok() => cuda(index.parse()?),
        _ => bail!("--device: expected auto, cpu, cuda or cuda:N, got `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_warms_up_and_comes_down() {
        let lr = |step| cosine(2.0, 0.1, 10, step, 100);
        assert!((lr(0) - 0.2).abs() < 1e-12);
        assert!(lr(9) > lr(8) && lr(50) < lr(10));
        assert!((lr(100) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn device_names() {
        assert_eq!(device("cpu").unwrap(), Device::Cpu);
        assert!(device("gpu").unwrap_err().to_string().contains("got `gpu`"));
        assert!(device("cuda:x").unwrap_err().to_string().contains("got `cuda:x`"));
    }
}
