//! Class probabilities of an image of any size: overlapping windows, blended.

use crate::{model::UNet, options};
use anyhow::{Result, ensure};
use image::{GrayImage, RgbImage};
use tch::{Device, Kind, Tensor, no_grad_guard};

/// How an image is cut up.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    side: usize,
    overlap: f64,
    /// Sides that the network takes are multiples of this.
    multiple: usize,
    turns: bool,
}

impl Windows {
    /// Windows for a network of `depth`, trained on tiles of `tile` pixels.
    pub fn new(options: &options::Windows, tile: usize, depth: usize) -> Result<Self> {
        let multiple = 1 << depth;
        let side = options.window.unwrap_or(2 * tile);
        ensure!(
            side >= multiple && side.is_multiple_of(multiple),
            "--window: expected a multiple of {multiple}, got {side}"
        );
        ensure!(
            (0.0..=0.9).contains(&options.overlap),
            "--overlap: expected from 0 to 0.9, got {}",
            options.overlap
        );
        Ok(Windows { side, overlap: options.overlap, multiple, turns: options.turns })
    }

    /// Probabilities (classes, H, W) of an image.
    pub fn probabilities(&self, net: &UNet, image: &RgbImage, device: Device) -> Tensor {
        let _guard = no_grad_guard();
        let (height, width) = (i64::from(image.height()), i64::from(image.width()));
        let image = Tensor::from_slice(image.as_raw()).view([1, height, width, 3]);
        let image = pixels(&image, device);
        self.blend(&image, |tile| {
            let classify = |tile: &Tensor| {
                net.forward(tile, false)[0].softmax(1, Kind::Float).to_device(Device::Cpu)
            };
            if self.turns { turned(tile, classify) } else { classify(tile) }
        })
    }

    /// The blend of what `classify` makes of each window of (1, C, H, W): (C', H, W) on the CPU.
    fn blend(&self, image: &Tensor, classify: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let (_, _, height, width) = image.size4().expect("an image");
        let (rows, window_height) = self.cut(height as usize);
        let (columns, window_width) = self.cut(width as usize);
        let (below, right) =
            ((window_height as i64 - height).max(0), (window_width as i64 - width).max(0));
        let image = image.replication_pad2d([0, right, 0, below]);
        let (tall, wide) = (height + below, width + right);
        let weight = self.ramp(window_height).unsqueeze(1) * self.ramp(window_width);
        let mut total: Option<Tensor> = None;
        let cover = Tensor::zeros([tall, wide], (Kind::Float, Device::Cpu));
        let window = |t: &Tensor, top: usize, left: usize| {
            let t = t.narrow(-2, top as i64, window_height as i64);
            t.narrow(-1, left as i64, window_width as i64)
        };
        for &top in &rows {
            for &left in &columns {
                let found = classify(&window(&image, top, left)).squeeze_dim(0);
                let total = total.get_or_insert_with(|| {
                    Tensor::zeros([found.size()[0], tall, wide], (Kind::Float, Device::Cpu))
                });
                let _ = window(total, top, left).g_add_(&(found * &weight));
                let _ = window(&cover, top, left).g_add_(&weight);
            }
        }
        let blended = total.expect("at least one window") / cover;
        blended.narrow(1, 0, height).narrow(2, 0, width)
    }

    /// Where windows begin along a side, and how long they are: evenly spread, so that they overlap by
    /// at least the share wanted.
    fn cut(&self, length: usize) -> (Vec<usize>, usize) {
        let window = self.side.min(length.next_multiple_of(self.multiple));
        let room = length.saturating_sub(window);
        let stride = (window as f64 * (1.0 - self.overlap)).max(1.0);
        let steps = (room as f64 / stride).ceil() as usize;
        let start = |i: usize| (room * i + steps / 2).checked_div(steps).unwrap_or(0);
        ((0..=steps).map(start).collect(), window)
    }

    /// How much the pixels along a window count: less towards its ends, where little is seen of what
    /// is around.
    fn ramp(&self, window: usize) -> Tensor {
        let fade = (window as f64 * self.overlap / 2.0).max(1.0);
        let weight = |i: usize| {
            let inwards = i.min(window - 1 - i) as f64 + 0.5;
            (inwards / fade).min(1.0) as f32
        };
        Tensor::from_slice(&(0..window).map(weight).collect::<Vec<f32>>())
    }
}

/// Images (N, H, W, 3) of bytes as (N, 3, H, W) in [0, 1] on the device, channels last in memory, which
/// is faster on the CPU.
pub fn pixels(images: &Tensor, device: Device) -> Tensor {
    images.to_device(device).to_kind(Kind::Float).permute([0, 3, 1, 2]) / 255.0
}

/// The mean over the eight flips and quarter turns.
fn turned(tile: &Tensor, classify: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let mut sum: Option<Tensor> = None;
    for flip in [false, true] {
        for turns in 0..4 {
            let seen = if flip { tile.flip([3]) } else { tile.shallow_clone() };
            let seen = classify(&seen.rot90(turns, [2, 3])).rot90(-turns, [2, 3]);
            let seen = if flip { seen.flip([3]) } else { seen };
            sum = Some(match sum {
                Some(sum) => sum + seen,
                None => seen,
            });
        }
    }
    sum.expect("eight views") / 8.0
}

/// The most probable class of each pixel.
pub fn argmax(probabilities: &Tensor) -> Result<GrayImage> {
    let (_, height, width) = probabilities.size3()?;
    let classes = probabilities.argmax(0, false).to_kind(Kind::Uint8).flatten(0, 1);
    let classes = Vec::<u8>::try_from(classes)?;
    Ok(GrayImage::from_raw(width as u32, height as u32, classes).expect("a class a pixel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(side: usize, overlap: f64, turns: bool) -> Windows {
        let options = options::Windows { window: Some(side), overlap, turns };
        Windows::new(&options, 0, 3).unwrap()
    }

    #[test]
    fn windows_cover_every_pixel_and_overlap_enough() {
        for side in [8, 16, 64] {
            for overlap in [0.0, 0.25, 0.5, 0.9] {
                for length in 1..200 {
                    let (starts, window) = windows(side, overlap, false).cut(length);
                    assert_eq!(starts[0], 0);
                    let last = starts[starts.len() - 1] + window;
                    assert!(window % 8 == 0 && window <= side);
                    assert!(last == length || (starts.len() == 1 && last >= length));
                    for pair in starts.windows(2) {
                        let shared = (pair[0] + window) as f64 - pair[1] as f64;
                        assert!(shared + 1.0 >= overlap * window as f64, "{starts:?}");
                    }
                    // No more windows than needed.
                    assert!(
                        starts.len() as f64
                            <= 2.0 + length as f64 / ((1.0 - overlap) * window as f64)
                    );
                }
            }
        }
    }

    #[test]
    fn what_looks_the_same_in_every_window_is_blended_to_itself() {
        for (height, width) in [(5, 7), (16, 16), (33, 20), (50, 90)] {
            let image = Tensor::rand([1, 3, height, width], (Kind::Float, Device::Cpu));
            for side in [8, 16, 32] {
                for overlap in [0.0, 0.3, 0.7] {
                    let blended =
                        windows(side, overlap, false).blend(&image, Tensor::shallow_clone);
                    assert_eq!(blended.size(), [3, height, width]);
                    let apart = (blended - image.squeeze_dim(0)).abs().max().double_value(&[]);
                    assert!(apart < 1e-6, "{height} x {width} in {side}: {apart}");
                }
            }
        }
    }

    #[test]
    fn neighbours_go_over_into_each_other() {
        // Two windows of which one says 0 and the other 1.
        let image = Tensor::zeros([1, 1, 8, 24], (Kind::Float, Device::Cpu));
        let calls = std::cell::Cell::new(0.0);
        let blended = windows(16, 0.5, false).blend(&image, |tile| {
            calls.set(calls.get() + 1.0);
            tile + (calls.get() - 1.0)
        });
        let row = Vec::<f32>::try_from(blended.select(0, 0).select(0, 4)).unwrap();
        assert!(row[..8].iter().all(|&v| v == 0.0) && row[16..].iter().all(|&v| v == 1.0));
        assert!(row.windows(2).all(|pair| pair[1] >= pair[0]) && row[11] > 0.0 && row[11] < 0.5);
    }

    #[test]
    fn turns_are_turned_back() {
        let tile = Tensor::rand([1, 2, 8, 8], (Kind::Float, Device::Cpu));
        let apart = (turned(&tile, Tensor::shallow_clone) - &tile).abs().max().double_value(&[]);
        assert!(apart < 1e-6);
        // What is said of the upper left corner of each view is said of all four corners in the end.
        let corner = turned(&tile, |seen| {
            let marked = seen.zeros_like();
            let _ = marked.narrow(2, 0, 1).narrow(3, 0, 1).fill_(1.0);
            marked
        });
        let at = |y, x| corner.double_value(&[0, 0, y, x]);
        assert_eq!(
            [at(0, 0), at(0, 7), at(7, 0), at(7, 7), at(3, 3)],
            [0.25, 0.25, 0.25, 0.25, 0.0]
        );
    }

    #[test]
    fn wrong_windows_name_themselves() {
        let wrong = |window, overlap| {
            let options = options::Windows { window: Some(window), overlap, turns: false };
            Windows::new(&options, 64, 3).unwrap_err().to_string()
        };
        assert!(wrong(60, 0.5).contains("--window: expected a multiple of 8, got 60"));
        assert!(wrong(64, 1.0).contains("--overlap"));
    }
}
