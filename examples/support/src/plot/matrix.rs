use super::{Area, picture, text};
use anyhow::{Result, ensure};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::path::Path;

/// A confusion matrix as a PNG: a row for each actual class, shaded by the share of the row, with its
/// counts. `counts` are row by row.
pub fn confusion(path: &Path, title: &str, classes: &[String], counts: &[u64]) -> Result<()> {
    let n = classes.len();
    ensure!(n > 0 && counts.len() == n * n, "{}: {n} x {n} counts to draw", path.display());
    let names: Vec<String> = classes.iter().map(|name| shortened(name)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) as i32;
    let cell = (640 / n as i32).clamp(14, 64);
    let size = (cell - 4).clamp(9, 15);
    let label = 12 + letters(longest, size);
    let flat = letters(longest, size) < cell - 4;
    let digits = counts.iter().max().map_or(1, |most| most.to_string().len() as i32);
    // Numbers only where they are legible.
    let number = Some((cell * 15 / (10 * digits.max(2))).min(16)).filter(|&s| s >= 8);
    let layout = Layout { cell, size, number, flat, left: 30 + label, top: 50 };
    let side = cell * n as i32;
    let width = (layout.left + side + 24).max(360);
    let height = layout.top + side + if flat { size + 12 } else { label } + 30;
    picture(path, (width as u32, height as u32), |area| {
        layout.draw(area, title, &names, counts, (width, height))
    })
}

struct Layout {
    cell: i32,
    size: i32,
    number: Option<i32>,
    /// Whether the names of the columns are written flat.
    flat: bool,
    left: i32,
    top: i32,
}

impl Layout {
    fn draw(
        &self,
        area: &Area,
        title: &str,
        names: &[String],
        counts: &[u64],
        (width, height): (i32, i32),
    ) -> Result<()> {
        let &Layout { cell, size, number, flat, left, top } = self;
        let n = names.len() as i32;
        let font = |size: i32| TextStyle::from(("sans-serif", size).into_font());
        let at = |h, v| Pos::new(h, v);
        let write = |words: &str, place: (i32, i32), style: &TextStyle| {
            area.draw(&Text::new(words.to_owned(), place, style.clone())).map_err(text)
        };
        let middle = font(20).pos(at(HPos::Center, VPos::Top));
        write(title, (width / 2, 12), &middle)?;
        let axis = font(14).pos(at(HPos::Center, VPos::Bottom));
        write("predicted", (left + cell * n / 2, height - 6), &axis)?;
        let upright = ("sans-serif", 14).into_font().transform(FontTransform::Rotate270);
        let upright = TextStyle::from(upright).pos(at(HPos::Center, VPos::Top));
        write("actual", (8, top + cell * n / 2), &upright)?;

        let row_name = font(size).pos(at(HPos::Right, VPos::Center));
        let turned = ("sans-serif", size).into_font().transform(FontTransform::Rotate270);
        let column_name = TextStyle::from(turned).pos(at(HPos::Right, VPos::Center));
        let flat_name = font(size).pos(at(HPos::Center, VPos::Top));
        for (i, name) in names.iter().enumerate() {
            let centre = cell * i as i32 + cell / 2;
            write(name, (left - 6, top + centre), &row_name)?;
            let under = top + cell * n + 6;
            write(name, (left + centre, under), if flat { &flat_name } else { &column_name })?;
        }
        for (at_cell, &count) in counts.iter().enumerate() {
            let (row, column) = (at_cell as i32 / n, at_cell as i32 % n);
            let whole: u64 = counts[(row * n) as usize..((row + 1) * n) as usize].iter().sum();
            let share = if whole > 0 { count as f64 / whole as f64 } else { 0. };
            let colour = shade(share, row == column);
            let (x, y) = (left + column * cell, top + row * cell);
            let corners = [(x, y), (x + cell - 1, y + cell - 1)];
            area.draw(&Rectangle::new(corners, colour.filled())).map_err(text)?;
            if let (Some(number), true) = (number, count > 0) {
                let RGBColor(r, g, b) = colour;
                let dark = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) < 140_000;
                let ink = if dark { &WHITE } else { &BLACK };
                let style = font(number).pos(at(HPos::Center, VPos::Center)).color(ink);
                write(&count.to_string(), (x + cell / 2, y + cell / 2), &style)?;
            }
        }
        Ok(())
    }
}

/// The width of so many letters of the monospaced font.
fn letters(count: i32, size: i32) -> i32 {
    count * size * 54 / 100
}

/// Blue where the class was found, orange where it was not; the root makes few mistakes visible.
fn shade(share: f64, right: bool) -> RGBColor {
    let (full, share) =
        if right { ([0., 114., 178.], share) } else { ([213., 94., 0.], share.sqrt()) };
    let mix = |to: f64| (247. + (to - 247.) * share).round() as u8;
    RGBColor(mix(full[0]), mix(full[1]), mix(full[2]))
}

fn shortened(name: &str) -> String {
    const MOST: usize = 18;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, assert_has};

    #[test]
    fn matrices_of_all_sizes_are_drawn() {
        let folder = Folder::new("matrix");
        for n in [1, 2, 10, 40] {
            let names: Vec<String> = (0..n).map(|i| format!("a class of name {i}")).collect();
            let counts: Vec<u64> =
                (0..n * n).map(|i| if i % (n + 1) == 0 { 99 * n as u64 } else { 1 }).collect();
            let path = folder.path("m.png");
            confusion(&path, "Confusion", &names, &counts).unwrap();
            let image = image::open(&path).unwrap().to_rgb8();
            let blue = image.pixels().filter(|p| p[2] > 150 && p[0] < 100).count();
            assert!(blue > 50 * n, "{n}: {blue}");
        }
        let error = confusion(&folder.path("m.png"), "", &["a".to_owned()], &[1, 2]).unwrap_err();
        assert_has(&error.to_string(), &["m.png: 1 x 1 counts"]);
    }

    #[test]
    fn shades_begin_pale_and_end_full() {
        assert_eq!(shade(0., true), RGBColor(247, 247, 247));
        assert_eq!(shade(1., true), RGBColor(0, 114, 178));
        assert_eq!(shade(1., false), RGBColor(213, 94, 0));
    }
}
