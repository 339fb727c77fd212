//! Small data sets on disk for the tests.

use crate::options::{Cli, Command, Data};
use clap::Parser;
use examples_support::testing::Folder;
use image::{GrayImage, Luma, Rgb, RgbImage};

/// The data options of a command line.
pub fn data(more: &str) -> Data {
    let line = format!("segmenter train {more}");
    match Cli::try_parse_from(line.split_whitespace()).expect("a command line").command {
        Command::Train(options) => options.data,
        other => panic!("{other:?}"),
    }
}

/// The data options for a folder.
pub fn options(folder: &Folder, more: &str) -> Data {
    data(&format!("--data {} {more}", folder.root().display()))
}

/// A message without the path of the folder.
pub fn text_of(folder: &Folder, message: &str) -> String {
    message.replace(&format!("{}/", folder.root().display()), "")
}

/// Writes a mask.
pub fn mask(folder: &Folder, file: &str, width: u32, height: u32, value: impl Fn(u32, u32) -> u8) {
    let mask = GrayImage::from_fn(width, height, |x, y| Luma([value(x, y)]));
    mask.save(folder.place(file)).expect("an image format");
}

/// `n` images of 40 x 30 that are dark where their masks are 0, in a quarter of the pixels, else
/// bright where the masks are 255.
pub fn pairs(name: &str, n: usize) -> Folder {
    let folder = Folder::new(name);
    for i in 0..n {
        let dark = move |x: u32, y: u32| (x + 3 * i as u32) / 5 % 4 == 0 && y < 30;
        mask(&folder, &format!("masks/{i}.png"), 40, 30, |x, y| if dark(x, y) { 0 } else { 255 });
        RgbImage::from_fn(40, 30, |x, y| Rgb([if dark(x, y) { 40 } else { 200 }; 3]))
            .save(folder.place(&format!("images/{i}.png")))
            .expect("an image format");
    }
    folder
}
