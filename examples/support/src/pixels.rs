//! Images as the tensors that generators make.

use anyhow::{Context, Result};
use image::RgbImage;
use tch::{Device, Kind, Tensor};

/// Images of one size as (N, 3, H, W) in [-1, 1].
pub fn to_tensor(images: &[RgbImage], device: Device) -> Tensor {
    let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
    let bytes: Vec<u8> = images.iter().flat_map(|image| image.as_raw()).copied().collect();
    let shape = [images.len() as i64, i64::from(height), i64::from(width), 3];
    let bytes = Tensor::from_slice(&bytes).view(shape).to_device(device);
    (bytes.to_kind(Kind::Float) / 127.5 - 1.0).permute([0, 3, 1, 2]).contiguous()
}

/// The images of (N, 3, H, W); values beyond [-1, 1] become the nearest inside.
pub fn to_images(tensor: &Tensor) -> Result<Vec<RgbImage>> {
    let (_, _, height, width) = tensor.size4()?;
    let bytes: Tensor = ((tensor.detach().clamp(-1.0, 1.0) + 1.0) * 127.5).round();
    let bytes = bytes.to_kind(Kind::Uint8).permute([0, 2, 3, 1]).contiguous();
    let bytes = Vec::<u8>::try_from(bytes.to_device(Device::Cpu).view(-1))?;
    let one = (3 * height * width) as usize;
    bytes
        .chunks_exact(one)
        .map(|image| {
            RgbImage::from_raw(width as u32, height as u32, image.to_vec())
                .context("three channels")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn images_come_back_as_they_went() {
        let image = |seed: u32| {
            RgbImage::from_fn(5, 3, |x, y| Rgb([40 * x, 80 * y, seed].map(|v| v as u8)))
        };
        let images = [image(0), image(255)];
        let tensor = to_tensor(&images, Device::Cpu);
        assert_eq!(tensor.size(), [2, 3, 3, 5]);
        assert_eq!(tensor.double_value(&[1, 2, 0, 0]), 1.0);
        assert_eq!(tensor.double_value(&[0, 2, 0, 0]), -1.0);
        assert_eq!(to_images(&tensor).unwrap(), images);
        let bright = to_images(&(tensor + 5.0)).unwrap();
        assert!(bright[0].pixels().all(|pixel| pixel.0 == [255; 3]));
    }
}
