//! Scores (N, C, d1, ..) in tiles of pixels, and the classes of pixels.

use super::{
    data::{CHUNK, Numbers, Spread, TILE, near_tile, ranges, tiles},
    parallel,
};
use std::ops::Range;
use tch::Tensor;

/// How scores lie in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) images: usize,
    pub(super) classes: usize,
    /// Of an image.
    pub(super) pixels: usize,
}

impl Grid {
    /// Of scores (N, C, d1, ..), and the shape (N, d1, ..) of a number for each pixel.
    pub(super) fn of(shape: &[i64]) -> Option<(Self, Vec<i64>)> {
        let [images, classes, ref sizes @ ..] = *shape else { return None };
        let pixels = sizes.iter().product::<i64>();
        let grid =
            Grid { images: images as usize, classes: classes as usize, pixels: pixels as usize };
        Some((grid, [&[images], sizes].concat()))
    }

    /// Whether the classes of a pixel lie together; else the pixels of a class do.
    #[inline(always)]
    pub(super) fn is_together(self) -> bool {
        self.pixels == 1
    }

    /// Pixels of all images.
    pub(super) fn all_pixels(self) -> usize {
        self.images * self.pixels
    }

    /// The sum of what `work` gives for each tile, which has `rows` numbers for each pixel at hand. `scratch` is for pixels at most so
    /// many.
    pub(super) fn sum<S>(
        self,
        rows: usize,
        scratch: impl Fn(usize) -> S + Sync,
        work: impl Fn(&mut S, Stretch) -> f64 + Sync,
    ) -> f64 {
        // Of all images where a pixel's classes lie together, else of one image.
        let pixels = if self.is_together() { self.images } else { self.pixels };
        let (length, piece) = near_tile(rows, pixels);
        let tiles_of_image = pixels.div_ceil(length);
        let tiles = if self.is_together() { tiles_of_image } else { tiles_of_image * self.images };
        let units = self.all_pixels() * self.classes;
        let pieces = ranges(tiles, piece);
        let sums = parallel::map_with(
            pieces,
            units,
            || scratch(length),
            |scratch, piece| {
                piece.fold(0.0, |total, tile| {
                    let (image, start) = (tile / tiles_of_image, tile % tiles_of_image * length);
                    let range = start..(start + length).min(pixels);
                    total + work(scratch, Stretch { grid: self, image, range })
                })
            },
        );
        sums.iter().sum()
    }
}

/// The pixels of a tile.
pub(super) struct Stretch {
    grid: Grid,
    image: usize,
    range: Range<usize>,
}

impl Stretch {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// Among the pixels of all images.
    #[inline(always)]
    pub(super) fn pixels(&self) -> Range<usize> {
        let first = self.image * self.grid.pixels;
        first + self.range.start..first + self.range.end
    }

    /// Where the scores of the tile's `line`th pixel lie in memory if they are together, else those of its `line`th class.
    #[inline(always)]
    pub(super) fn line(&self, line: usize) -> Range<usize> {
        let Grid { classes, pixels, .. } = self.grid;
        if self.grid.is_together() {
            let start = (self.range.start + line) * classes;
            start..start + classes
        } else {
            let start = (self.image * classes + line) * pixels + self.range.start;
            start..start + self.range.len()
        }
    }
}

/// One number per class, (C).
pub(super) fn per_class(weight: &Tensor, classes: usize) -> Option<Vec<f64>> {
    let numbers = Numbers::of(weight)?;
    let mut buffer = vec![0.0; classes];
    (weight.size() == [classes as i64]).then(|| numbers.read(0..classes, &mut buffer).to_vec())
}

/// The class of each pixel.
#[derive(Clone, Copy)]
pub(super) struct Index<'a> {
    pub(super) numbers: Numbers<'a>,
    pub(super) classes: usize,
    pub(super) ignored: i64,
}

impl Index<'_> {
    /// The classes of a range of all pixels, -1 where they are ignored; `None` where one is out of range.
    #[inline(always)]
    pub(super) fn read<'b>(&self, range: Range<usize>, buffer: &'b mut [i32]) -> Option<&'b [i32]> {
        self.numbers.classes(range, self.classes, &[self.ignored], buffer)
    }

    /// The sum of what pixels count, `weight` times the number of their class; `None` where a class is out of range.
    pub(super) fn count(
        &self,
        weight: Option<Spread<'_>>,
        by_class: Option<&[f64]>,
    ) -> Option<f64> {
        let pixels = self.numbers.len();
        let sums = parallel::map(ranges(pixels, CHUNK), pixels / 4, |range| {
            let mut sum = 0.0;
            let (mut class, mut buffer) = ([0i32; TILE], [0.0f64; TILE]);
            for tile in tiles(range, TILE) {
                let class = self.read(tile.clone(), &mut class)?;
                let weight = weight.map(|spread| spread.read(tile, &mut buffer));
                if weight.is_none() && by_class.is_none() {
                    sum += class.iter().filter(|&&class| class >= 0).count() as f64;
                    continue;
                }
                for (i, &class) in class.iter().enumerate() {
                    if class >= 0 {
                        sum += weight.map_or(1.0, |weight| weight[i])
                            * by_class.map_or(1.0, |by_class| by_class[class as usize]);
                    }
                }
            }
            Some(sum)
        });
        sums.into_iter().sum()
    }
}
