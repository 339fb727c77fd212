//! What the values of a mask mean.

use anyhow::{Context, Result, anyhow, bail, ensure};
use image::{DynamicImage, GrayImage, ImageBuffer, RgbImage};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::Path,
    str::FromStr,
};

/// The class index of pixels that are left out.
pub const IGNORED: u8 = 255;
/// More values than this are no classes: a photograph, or a mask saved as a JPEG.
const MOST: usize = 64;

/// A value in a mask: a shade of grey of up to 16 bits, or a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Value(u32);

const COLOUR: u32 = 1 << 24;

impl Value {
    pub fn grey(value: u16) -> Self {
        Value(value.into())
    }

    /// A colour; one without colour is the same as its shade of grey.
    pub fn rgb([r, g, b]: [u8; 3]) -> Self {
        if r == g && g == b {
            return Value(r.into());
        }
        Value(COLOUR | u32::from(r) << 16 | u32::from(g) << 8 | u32::from(b))
    }

    fn is_colour(self) -> bool {
        self.0 & COLOUR != 0
    }

    fn to_rgb(self) -> [u8; 3] {
        let [_, r, g, b] = self.0.to_be_bytes();
        if self.is_colour() { [r, g, b] } else { [b; 3] }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.is_colour() { write!(f, "#{:06x}", self.0 ^ COLOUR) } else { self.0.fmt(f) }
    }
}

impl FromStr for Value {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let value = match text.strip_prefix('#') {
            Some(hex) if hex.len() == 6 => u32::from_str_radix(hex, 16).ok().map(|rgb| {
                let [_, r, g, b] = rgb.to_be_bytes();
                Value::rgb([r, g, b])
            }),
            Some(_) => None,
            None => text.parse().ok().map(Value::grey),
        };
        value.ok_or_else(|| anyhow!("expected a value such as 255 or #ff8000, got `{text}`"))
    }
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for Value {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// A class of `--classes`: `membrane` or `membrane=0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    name: String,
    value: Option<Value>,
}

impl FromStr for Naming {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().parse()?)),
            None => (text.trim(), None),
        };
        ensure!(!name.is_empty(), "a class without a name");
        Ok(Naming { name: name.to_owned(), value })
    }
}

/// A mask as it is in its file.
#[derive(Debug, PartialEq)]
pub struct Values {
    pub size: (u32, u32),
    pub values: Vec<Value>,
}

/// Reads a mask; with a threshold its values are 0 below it and 255 from it on.
pub fn read(path: &Path, threshold: Option<u16>) -> Result<Values> {
    let image = image::open(path).with_context(|| format!("cannot decode {}", path.display()))?;
    let size = (image.width(), image.height());
    let grey = |values: Vec<u8>| values.into_iter().map(|v| Value::grey(v.into())).collect();
    let mut values: Vec<Value> = match image {
        DynamicImage::ImageLuma8(image) => grey(image.into_raw()),
        DynamicImage::ImageLumaA8(image) => {
            image.pixels().map(|p| Value::grey(p[0].into())).collect()
        }
        DynamicImage::ImageLuma16(image) => image.into_raw().into_iter().map(Value::grey).collect(),
        DynamicImage::ImageLumaA16(image) => image.pixels().map(|p| Value::grey(p[0])).collect(),
        image => image.into_rgb8().pixels().map(|pixel| Value::rgb(pixel.0)).collect(),
    };
    if let Some(threshold) = threshold {
        for value in &mut values {
            ensure!(
                !value.is_colour(),
                "{}: --threshold is for shades of grey, and this mask has the colour {value}",
                path.display()
            );
            *value = Value::grey(if value.0 >= threshold.into() { 255 } else { 0 });
        }
    }
    Ok(Values { size, values })
}

impl Values {
    /// The pixels of each value.
    pub fn count(&self) -> BTreeMap<Value, u64> {
        let mut counts = BTreeMap::new();
        for run in self.values.chunk_by(|a, b| a == b) {
            *counts.entry(run[0]).or_default() += run.len() as u64;
        }
        counts
    }
}

/// The classes of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classes {
    pub names: Vec<String>,
    /// What each class is in a mask.
    pub values: Vec<Value>,
    /// Values of pixels to leave out.
    pub ignore: Vec<Value>,
}

impl Classes {
    /// The classes that `--classes` names, or that the values of the masks are; `found` are all values
    /// of all masks.
    pub fn new(naming: Option<&[Naming]>, ignore: &[Value], found: &[Value]) -> Result<Self> {
        let mut found: Vec<Value> =
            found.iter().filter(|value| !ignore.contains(value)).copied().collect();
        found.sort();
        found.dedup();
        let list = |values: &[Value]| {
            let shown: Vec<_> = values.iter().take(12).map(Value::to_string).collect();
            format!("{}{}", shown.join(", "), if values.len() > 12 { ", ..." } else { "" })
        };
        let many = || {
            let remedy = match found.iter().any(|value| value.is_colour()) {
                true => "",
                false => "; --threshold 128 makes two classes of shades of grey",
            };
            format!("the masks have {} values ({}){remedy}", found.len(), list(&found))
        };
        let values = match naming {
            None => {
                ensure!(found.len() <= MOST, "{}; more than {MOST} cannot be classes", many());
                found.clone()
            }
            Some(naming) if naming.iter().all(|class| class.value.is_some()) => {
                naming.iter().filter_map(|class| class.value).collect()
            }
            Some(naming) if naming.iter().any(|class| class.value.is_some()) => {
                bail!("--classes: give a value to every class or to none")
            }
            // Class numbers, of which some may not occur.
            Some(naming) if found.last().is_none_or(|last| (last.0 as usize) < naming.len()) => {
                (0..naming.len() as u16).map(Value::grey).collect()
            }
            Some(naming) => {
                ensure!(
                    found.len() == naming.len(),
                    "--classes names {} classes, and {}",
                    naming.len(),
                    many()
                );
                found.clone()
            }
        };
        let names: Vec<String> = match naming {
            Some(naming) => naming.iter().map(|class| class.name.clone()).collect(),
            None => values.iter().map(Value::to_string).collect(),
        };
        let classes = Classes { names, values, ignore: ignore.to_vec() };
        classes.check()?;
        Ok(classes)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.len() >= 2,
            "at least two classes are needed, and there is {}",
            self.names.first().map_or("none".to_owned(), |name| format!("only {name}"))
        );
        ensure!(self.len() < usize::from(IGNORED), "more than 254 classes");
        let mut seen = HashSet::new();
        if let Some(twice) = self.names.iter().find(|name| !seen.insert(*name)) {
            bail!("--classes: the class {twice} is there twice");
        }
        for (i, value) in self.values.iter().enumerate() {
            if self.values[..i].contains(value) || self.ignore.contains(value) {
                bail!("the value {value} cannot be class {} and something else", self.names[i]);
            }
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether `--classes` and `--ignore`, where they are given, say what these classes are.
    pub fn agree(&self, naming: Option<&[Naming]>, ignore: &[Value]) -> Result<()> {
        let same = |(i, class): (usize, &Naming)| {
            self.names.get(i) == Some(&class.name)
                && class.value.is_none_or(|value| self.values.get(i) == Some(&value))
        };
        let known = || -> String {
            let pairs = self.names.iter().zip(&self.values);
            pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        ensure!(
            naming.is_none_or(|naming| {
                naming.len() == self.len() && naming.iter().enumerate().all(same)
            }),
            "--classes: those of the weights are {}",
            known()
        );
        ensure!(
            ignore.is_empty() || ignore == self.ignore,
            "--ignore: the weights were trained with {:?}",
            self.ignore.iter().map(Value::to_string).collect::<Vec<_>>()
        );
        Ok(())
    }

    /// The class index of a value, [`IGNORED`] for those to leave out, none for unknown ones.
    pub fn index(&self, value: Value) -> Option<u8> {
        if self.ignore.contains(&value) {
            return Some(IGNORED);
        }
        self.values.iter().position(|known| *known == value).map(|i| i as u8)
    }

    /// A mask of class indices.
    pub fn encode(&self, mask: &Values) -> Result<GrayImage> {
        let mut indices = Vec::with_capacity(mask.values.len());
        for run in mask.values.chunk_by(|a, b| a == b) {
            let index = self.index(run[0]).with_context(|| format!("{} is no class", run[0]))?;
            indices.resize(indices.len() + run.len(), index);
        }
        GrayImage::from_raw(mask.size.0, mask.size.1, indices).context("the mask has its size")
    }

    /// A mask as the data have theirs: shades of grey or colours.
    pub fn decode(&self, mask: &GrayImage) -> DynamicImage {
        let (width, height) = mask.dimensions();
        let value = |index: &u8| self.values[usize::from(*index)];
        let values = mask.as_raw().iter().map(value);
        let size = "as many pixels as the mask";
        if self.values.iter().any(|value| value.is_colour()) {
            let rgb = values.flat_map(Value::to_rgb).collect();
            return RgbImage::from_raw(width, height, rgb).expect(size).into();
        }
        if self.values.iter().all(|value| value.0 < 256) {
            let grey = values.map(|value| value.0 as u8).collect();
            return GrayImage::from_raw(width, height, grey).expect(size).into();
        }
        let grey = values.map(|value| value.0 as u16).collect();
        DynamicImage::ImageLuma16(ImageBuffer::from_raw(width, height, grey).expect(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::assert_has;

    fn values(texts: &[&str]) -> Vec<Value> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn named(names: &str, found: &[&str]) -> Result<Classes> {
        let naming: Vec<Naming> = names.split(',').map(|name| name.parse().unwrap()).collect();
        Classes::new(Some(&naming), &[], &values(found))
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        for text in ["0", "255", "65535", "#ff8000", "#010203"] {
            assert_eq!(text.parse::<Value>().unwrap().to_string(), text);
        }
        assert_eq!("#808080".parse::<Value>().unwrap(), Value::grey(128));
        for wrong in ["", "-1", "65536", "#12345", "#gggggg", "red"] {
            assert_has(&wrong.parse::<Value>().unwrap_err().to_string(), &["#ff8000", wrong]);
        }
        assert!(Value::grey(65535) < Value::rgb([0, 0, 1]));
    }

    #[test]
    fn classes_are_found_in_the_data_or_named() {
        let found = Classes::new(None, &values(&["7"]), &values(&["255", "0", "7", "0"])).unwrap();
        assert_eq!(found.names, ["0", "255"]);
        assert_eq!(
            [0, 7, 255, 1].map(|v| found.index(Value::grey(v))),
            [Some(0), Some(255), Some(1), None]
        );
        assert_eq!(named("membrane,cell", &["255", "0"]).unwrap().values, values(&["0", "255"]));
        // Class numbers of which one does not occur.
        assert_eq!(named("a,b,c", &["0", "2"]).unwrap().values, values(&["0", "1", "2"]));
        assert_eq!(named("cell=255,rest=0", &["0"]).unwrap().values, values(&["255", "0"]));
    }

    #[test]
    fn options_may_repeat_what_weights_know() {
        let classes = named("membrane,cell", &["255", "0"]).unwrap();
        let agree = |names: &str, ignore: &[&str]| {
            let naming: Vec<Naming> = names.split(',').map(|name| name.parse().unwrap()).collect();
            classes.agree(Some(&naming), &values(ignore)).map_err(|error| error.to_string())
        };
        assert!(classes.agree(None, &[]).is_ok());
        assert!(agree("membrane,cell", &[]).is_ok() && agree("membrane=0,cell=255", &[]).is_ok());
        for wrong in ["cell,membrane", "membrane", "membrane=1,cell"] {
            assert_has(&agree(wrong, &[]).unwrap_err(), &["membrane=0,cell=255"]);
        }
        assert_has(&agree("membrane,cell", &["7"]).unwrap_err(), &["--ignore"]);
    }

    #[test]
    fn what_cannot_be_classes_is_said() {
        let error = |classes: Result<Classes>| classes.unwrap_err().to_string();
        let shades: Vec<Value> = (0..200).map(Value::grey).collect();
        let text = error(Classes::new(None, &[], &shades));
        assert_has(&text, &["200 values (0, 1, 2,", "--threshold 128"]);
        let text = error(named("a,b", &["0", "128", "255"]));
        assert_has(&text, &["names 2 classes", "3 values (0, 128, 255)"]);
        assert_has(&error(named("a,b=1", &["0"])), &["every class or to none"]);
        assert_has(&error(named("a,a", &["0", "1"])), &["a is there twice"]);
        assert_has(&error(named("a=1,b=1", &["1"])), &["the value 1", "class b"]);
        assert_has(&error(Classes::new(None, &[], &values(&["0"]))), &["two classes", "only 0"]);
        assert_has(&error(Classes::new(None, &[], &[])), &["there is none"]);
    }

    #[test]
    fn masks_go_in_and_come_out_as_they_were() {
        let folder = examples_support::testing::Folder::new("masks");
        for (name, palette) in [
            ("grey.png", values(&["0", "255"])),
            ("deep.png", values(&["0", "1000"])),
            ("colour.png", values(&["0", "#ff8000"])),
        ] {
            let classes = Classes::new(None, &[], &palette).unwrap();
            let mask = GrayImage::from_fn(5, 3, |x, _| image::Luma([u8::from(x > 2)]));
            classes.decode(&mask).save(folder.path(name)).unwrap();
            let read = read(&folder.path(name), None).unwrap();
            assert_eq!(read.count().into_values().collect::<Vec<_>>(), [9, 6], "{name}");
            assert_eq!(classes.encode(&read).unwrap(), mask, "{name}");
        }
        let shades = GrayImage::from_fn(4, 1, |x, _| image::Luma([x as u8 * 60]));
        shades.save(folder.path("shades.png")).unwrap();
        let halved = read(&folder.path("shades.png"), Some(100)).unwrap();
        assert_eq!(halved.values, values(&["0", "0", "255", "255"]));
        let error = read(&folder.path("colour.png"), Some(100)).unwrap_err().to_string();
        assert_has(&error, &["colour.png", "--threshold", "#ff8000"]);
    }
}
