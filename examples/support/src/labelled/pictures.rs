use super::{
    DataOptions, Dataset,
    store::{Store, set_threads},
};
use crate::{rng::Rng, run::RunOptions};
use anyhow::Result;
use image::{Rgb, RgbImage, imageops};
use rand::seq::SliceRandom;
use std::hash::{DefaultHasher, Hash, Hasher};
use tch::{Device, Kind, Tensor};

/// Side of images from folders, unless another is asked for.
const SIDE: u32 = 32;

/// What generators and autoencoders train on.
#[derive(Debug)]
pub struct Images {
    /// To train on.
    pub training: Pictures,
    /// Held out.
    pub validation: Pictures,
    /// Names of the classes; a single one where the images have none.
    pub classes: Vec<String>,
    /// Where they are.
    pub device: Device,
}

impl Images {
    /// Reads the images that the options name, as squares of `side` pixels or of their own size, and
    /// sets the threads of libtorch to `threads` or to what is best for them.
    pub fn open(
        data: &DataOptions,
        run: &RunOptions,
        side: Option<u32>,
        threads: Option<usize>,
    ) -> Result<Self> {
        let device = run.device()?;
        let (training, validation) = Dataset::open_any(&data.spec(run.seed))?;
        println!("train: {}\nval:   {}", training.summary(), validation.summary());
        let own = training.size().map_or(SIDE, |(width, height)| width.min(height));
        let (side, classes) = (side.unwrap_or(own), training.classes.clone());
        let skip = data.skip_unreadable;
        set_threads(threads, side);
        let open = |data| Pictures::open(&Store::fill(data, side, skip)?, device);
        Ok(Images { training: open(training)?, validation: open(validation)?, classes, device })
    }
}

/// All images of a split on a device, as generators and autoencoders want them: in [-1, 1].
#[derive(Debug)]
pub struct Pictures {
    bytes: Tensor,
    classes: Tensor,
    digest: u64,
}

impl Pictures {
    /// The images of `store`, a byte a number.
    pub fn open(store: &Store, device: Device) -> Result<Self> {
        let (n, side) = (store.data.len(), i64::from(store.side));
        let mut bytes = Vec::new();
        for i in 0..n {
            bytes.extend_from_slice(&store.get(i)?);
        }
        let classes: Vec<i64> = store.data.items.iter().map(|item| item.class as i64).collect();
        let mut hasher = DefaultHasher::new();
        (side, &bytes, &classes).hash(&mut hasher);
        let shape = [n as i64, store.data.channels as i64, side, side];
        Ok(Pictures {
            bytes: Tensor::from_slice(&bytes).view(shape).to_device(device),
            classes: Tensor::from_slice(&classes).to_device(device),
            digest: hasher.finish(),
        })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.bytes.size()[0] as usize
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels of an image.
    pub fn channels(&self) -> i64 {
        self.bytes.size()[1]
    }

    /// Pixels of a side.
    pub fn side(&self) -> i64 {
        self.bytes.size()[3]
    }

    /// A number that other images would most probably not have.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Images (N, C, S, S) in [-1, 1] and classes (N) at these places.
    pub fn at(&self, places: &[i64]) -> (Tensor, Tensor) {
        let places = Tensor::from_slice(places).to_device(self.bytes.device());
        let of = |tensor: &Tensor| tensor.index_select(0, &places);
        (signed(&of(&self.bytes)), of(&self.classes))
    }

    /// All images and classes in their order, `size` a time.
    pub fn chunks(&self, size: i64) -> impl Iterator<Item = (Tensor, Tensor)> {
        let parts = self.bytes.split(size, 0).into_iter().zip(self.classes.split(size, 0));
        parts.map(|(bytes, classes)| (signed(&bytes), classes))
    }

    /// Places in random order, without end.
    pub fn order(&self, rng: Rng) -> Order {
        Order { all: (0..self.len() as i64).collect(), left: 0, rng }
    }
}

fn signed(bytes: &Tensor) -> Tensor {
    bytes.to_kind(Kind::Float) / 127.5 - 1.0
}

/// Places of images in random order, without end: each once before any comes again.
#[derive(Debug)]
pub struct Order {
    all: Vec<i64>,
    left: usize,
    rng: Rng,
}

impl Order {
    /// The next `n` places.
    pub fn take(&mut self, n: usize) -> Vec<i64> {
        let next = |_| {
            if self.left == 0 {
                self.all.shuffle(&mut self.rng);
                self.left = self.all.len();
            }
            self.left -= 1;
            self.all[self.left]
        };
        (0..n).map(next).collect()
    }
}

/// Images (N, C, S, S) in [-1, 1] as one picture, in rows of `columns`, each enlarged to about `cell`
/// pixels a side without smoothing.
pub fn sheet(images: &Tensor, columns: usize, cell: u32) -> Result<RgbImage> {
    const GAP: u32 = 2;
    let (n, channels, side) =
        (images.size()[0] as u32, images.size()[1] as usize, images.size()[3]);
    let bytes = ((images.detach() + 1.0) * 127.5).round().clamp(0.0, 255.0).to_kind(Kind::Uint8);
    let bytes = Vec::<u8>::try_from(bytes.to_device(Device::Cpu).contiguous().view(-1))?;
    let (side, columns) = (side as u32, (columns.max(1) as u32).min(n.max(1)));
    let (zoom, plane) = ((cell / side.max(1)).max(1), (side * side) as usize);
    let pitch = zoom * side + GAP;
    let size = (columns * pitch + GAP, n.div_ceil(columns) * pitch + GAP);
    let mut out = RgbImage::from_pixel(size.0, size.1, Rgb([90; 3]));
    for (i, pixels) in (0u32..).zip(bytes.chunks_exact(channels * plane)) {
        let small = RgbImage::from_fn(side, side, |x, y| {
            let at = (y * side + x) as usize;
            Rgb([0, 1, 2].map(|c: usize| pixels[c.min(channels - 1) * plane + at]))
        });
        let filter = imageops::FilterType::Nearest;
        let large = imageops::resize(&small, zoom * side, zoom * side, filter);
        let place = (GAP + i % columns * pitch, GAP + i / columns * pitch);
        imageops::replace(&mut out, &large, place.0.into(), place.1.into());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        labelled::{Dataset, Item, Source},
        rng::seeded,
    };
    use image::{GrayImage, Luma};

    fn pictures() -> Pictures {
        let item = |i: u8| Item {
            image: Source::Grey(GrayImage::from_pixel(2, 2, Luma([51 * i]))),
            class: usize::from(i % 2),
        };
        let data = Dataset {
            classes: vec!["a".to_owned(), "b".to_owned()],
            items: (0..6).map(item).collect(),
            origin: String::new(),
            channels: 1,
        };
        Pictures::open(&Store::fill(data, 2, false).unwrap(), Device::Cpu).unwrap()
    }

    #[test]
    fn numbers_go_from_minus_one_to_one() {
        let pictures = pictures();
        let (images, classes) = pictures.at(&[0, 5, 1]);
        assert_eq!(images.size(), [3, 1, 2, 2]);
        let values = [0, 1, 2].map(|i| images.double_value(&[i, 0, 1, 1]));
        assert!((values[0] + 1.0).abs() < 1e-6 && (values[1] - 1.0).abs() < 1e-6, "{values:?}");
        assert!((values[2] + 0.6).abs() < 1e-6, "{values:?}");
        assert_eq!(classes, Tensor::from_slice(&[0i64, 1, 1]));
        let counts: Vec<i64> = pictures.chunks(4).map(|(images, _)| images.size()[0]).collect();
        assert_eq!(counts, [4, 2]);
    }

    #[test]
    fn every_place_comes_once_before_any_comes_again() {
        let mut order = pictures().order(seeded(&[1]));
        let mut places = [order.take(4), order.take(2)].concat();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4, 5]);
        assert_eq!(order.take(15).len(), 15);
    }

    #[test]
    fn a_sheet_shows_the_images_enlarged() {
        let (images, _) = pictures().at(&[0, 5, 1]);
        let sheet = sheet(&images, 2, 7).unwrap();
        // Two columns and two rows of 6 pixels with gaps of 2.
        assert_eq!(sheet.dimensions(), (18, 18));
        let at = |x, y| sheet.get_pixel(x, y)[0];
        assert_eq!([at(2, 2), at(10, 7), at(7, 10), at(12, 12), at(0, 0)], [0, 255, 51, 90, 90]);
    }
}
