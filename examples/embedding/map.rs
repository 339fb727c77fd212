//! A map of embeddings: each digit at its place in the plane of the two widest directions.

use crate::{data, evaluate::Galleries, model::Embedder};
use anyhow::{Context, Result, ensure};
use examples_support::{builtin::CLASSES, draw, files, png};
use image::{Rgb, RgbImage};
use std::path::Path;
use tch::{Device, Kind, Tensor};

const SIDE: u32 = 900;
const HEAD: u32 = 54;
/// Pixels of the map for one of a digit.
const ZOOM: u32 = 3;

/// The coordinates of embeddings (N, D) along their first two principal components, (N, 2), and the share
/// of the variance that these have.
pub fn plane(embeddings: &Tensor) -> Result<(Tensor, f64)> {
    let x = embeddings.to_device(Device::Cpu).to_kind(Kind::Double);
    let x = &x - x.f_mean_dim([0i64].as_slice(), true, None::<Kind>)?;
    let (values, vectors) = x.tr().f_matmul(&x)?.f_linalg_eigh("U")?;
    let dims = values.size()[0];
    ensure!(dims >= 2, "a map needs embeddings of two dimensions or more");
    let widest = vectors.f_narrow(1, dims - 2, 2)?.f_flip([1])?;
    // Signs are arbitrary: the greatest part of each direction is positive.
    let (_, greatest) = widest.f_abs()?.f_max_dim(0, true)?;
    let widest = &widest * widest.f_gather(0, &greatest, false)?.f_sign()?;
    let share = |of: Tensor| of.clamp_min(0.0).sum(Kind::Double).double_value(&[]);
    let total = share(values.shallow_clone()).max(f64::MIN_POSITIVE);
    Ok((x.f_matmul(&widest)?, share(values.f_narrow(0, dims - 2, 2)?) / total))
}

/// The map of the first gallery.
pub fn draw(title: &str, net: &Embedder, galleries: &Galleries) -> Result<RgbImage> {
    let (images, labels) = galleries.first();
    let (plane, share) = plane(&net.embed(images))?;
    let mut map = RgbImage::from_pixel(SIDE, SIDE + HEAD, Rgb([255; 3]));
    let black = Rgb([0; 3]);
    let title = format!("{title}   ({:.0} % of the variance)", 100.0 * share);
    let title = title.trim_start();
    let fits = 18. * (SIDE as f32 - 24.) / draw::text_width(18., title);
    draw::text(&mut map, 12., 8., fits.min(18.), black, title);
    for (class, name) in CLASSES.iter().enumerate() {
        let left = 12 + 60 * class as u32;
        for (x, y) in (0..14).flat_map(|x| (0..14).map(move |y| (left + x, 32 + y))) {
            map.put_pixel(x, y, draw::colour(class));
        }
        draw::text(&mut map, left as f32 + 20., 30., 18., black, name);
    }
    let side = ZOOM * data::SIDE as u32;
    let places = Vec::<f64>::try_from(plane.contiguous().view([-1]))?;
    let reach = places.iter().fold(1e-12, |reach: f64, place| reach.max(place.abs()));
    let at = |place: f64| {
        let room = f64::from(SIDE - side);
        ((0.5 + 0.5 * place / reach) * room).round() as u32
    };
    let classes = Vec::<i64>::try_from(labels.to_device(Device::Cpu))?;
    for (i, class) in classes.into_iter().enumerate() {
        let colour = draw::colour(usize::try_from(class).context("a class")?);
        let bytes = data::brightness(&images.get(i as i64));
        let (left, top) = (at(places[2 * i]), HEAD + at(-places[2 * i + 1]));
        for y in 0..side {
            for x in 0..side {
                let light = bytes[(y / ZOOM * data::SIDE as u32 + x / ZOOM) as usize];
                // Noise in the paper would hide who is behind.
                if light < 140 {
                    map.put_pixel(left + x, top + y, colour);
                }
            }
        }
    }
    Ok(map)
}

/// Writes [`draw`]'s picture.
pub fn write(path: &Path, title: &str, net: &Embedder, galleries: &Galleries) -> Result<()> {
    files::write(path, &png(&draw(title, net, galleries)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::Changes, model::network};
    use examples_support::augment::Augment;

    #[test]
    fn the_plane_is_that_of_the_widest_directions() {
        // A cross in the second and fourth dimension, and a little in the third.
        let x = Tensor::from_slice(
            &[
                [0.0, 5.0, 0.0, 0.0],
                [0.0, -5.0, 0.0, 0.0],
                [0.0, 0.0, 0.0, 2.0],
                [0.0, 0.0, 0.0, -2.0],
                [0.0, 0.0, 0.1, 0.0],
                [0.0, 0.0, -0.1, 0.0],
            ]
            .concat(),
        );
        let x = x.view([6, 4]);
        let (plane, share) = plane(&(&x + 7.0)).unwrap();
        assert!((share - 58.0 / 58.02).abs() < 1e-9, "{share}");
        for (direction, of) in [(0, 1), (1, 3)] {
            let apart = plane.select(1, direction) - x.select(1, of);
            assert!(apart.abs().max().double_value(&[]) < 1e-9);
        }
        // Everything at one point is a map too.
        assert!(super::plane(&Tensor::ones([5, 3], (Kind::Float, Device::Cpu))).is_ok());
    }

    #[test]
    fn digits_are_drawn_in_their_colours() {
        let moves = Augment { rotate: 9.0, translate: 0.0, scale: 0.0, jitter: 0.0, fliplr: 0.0 };
        let galleries = Galleries::new(&Changes { moves, noise: 0.0 }, Device::Cpu);
        let (net, _vs) = network(Device::Cpu, 4, 0.25, 10, 0);
        let map = draw("title", &net, &galleries).unwrap();
        for class in 0..10 {
            let colour = draw::colour(class);
            let below = map.enumerate_pixels().filter(|(_, y, p)| *y > HEAD && **p == colour);
            assert!(below.count() > 50, "{class}");
        }
    }
}
