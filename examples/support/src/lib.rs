//! What the examples share: built-in data, image files, batches made ahead, progress, curves, drawing,
//! safe files, interruption.

pub mod ahead;
pub mod augment;
pub mod builtin;
pub mod draw;
pub mod failure;
pub mod features;
pub mod files;
pub mod images;
pub mod interrupt;
pub mod issues;
pub mod labelled;
pub mod losses;
pub mod nets;
pub mod parallel;
pub mod pixels;
pub mod plot;
pub mod progress;
pub mod resample;
pub mod rng;
pub mod run;
pub mod table;
pub mod testing;
pub mod train;

/// The font of every picture: Hack, a monospaced face under the MIT and Bitstream Vera licences.
const FONT: &[u8] = epaint_default_fonts::HACK_REGULAR;

/// An image as the bytes of a PNG file, for [`files::write`].
pub fn png(image: &image::RgbImage) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)?;
    Ok(bytes)
}
