//! Pictures of numbers as PNG: curves, reliability diagrams, confusion matrices.

mod lines;
mod matrix;
mod reliability;

pub use lines::Lines;
pub use matrix::confusion;
pub use reliability::{Bar, Reliability};

use crate::{FONT, files, png};
use anyhow::{Context, Result, anyhow, ensure};
use image::RgbImage;
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};
use std::{ops::Range, path::Path, sync::Once};

/// One panel of curves.
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    /// Above the panel.
    pub title: &'a str,
    /// Under the horizontal axis.
    pub x: &'a str,
    /// Name and points of each line; points that are not finite are left out.
    pub series: &'a [(&'a str, Vec<(f64, f64)>)],
}

/// One panel of a page.
#[derive(Debug, Clone)]
pub enum Panel<'a> {
    /// Lines in a system of axes.
    Lines(Lines<'a>),
    /// Confidence against accuracy.
    Reliability(Reliability<'a>),
}

const PANEL: (u32, u32) = (520, 400);
const TITLE: u32 = 40;

/// Draws the charts side by side and writes a PNG atomically.
pub fn curves(path: &Path, title: &str, charts: &[Chart]) -> Result<()> {
    let panels: Vec<Panel> = charts
        .iter()
        .map(|chart| {
            let series = chart.series.iter().map(|(name, points)| (*name, &points[..]));
            Panel::Lines(Lines { x: chart.x, ..Lines::new(chart.title, series) })
        })
        .collect();
    page(path, title, charts.len(), &panels)
}

/// Draws the panels in rows of `columns` and writes a PNG atomically.
pub fn page(path: &Path, title: &str, columns: usize, panels: &[Panel]) -> Result<()> {
    page_with_legend(path, title, &[], columns, panels)
}

/// As [`page`], with the names of the lines under the title, for panels whose lines are the same.
pub fn page_with_legend(
    path: &Path,
    title: &str,
    legend: &[&str],
    columns: usize,
    panels: &[Panel],
) -> Result<()> {
    ensure!(!panels.is_empty(), "{}: no chart to draw", path.display());
    let columns = columns.clamp(1, panels.len());
    let rows = panels.len().div_ceil(columns);
    let width = PANEL.0 * columns as u32;
    let places = places(legend, width as i32);
    let head = TITLE as i32 + places.last().map_or(0, |place| place.1 + LINE);
    let size = (width, PANEL.1 * rows as u32 + head as u32);
    picture(path, size, |area| {
        let (upper, lower) = area.split_vertically(head);
        let middle = Pos::new(HPos::Center, VPos::Top);
        let style = TextStyle::from(("sans-serif", 20).into_font()).pos(middle);
        upper.draw(&Text::new(title, (width as i32 / 2, 10), style)).map_err(text)?;
        let style = TextStyle::from(("sans-serif", 13).into_font());
        for (i, (name, (x, y))) in legend.iter().zip(places).enumerate() {
            let y = y + TITLE as i32;
            for piece in lines::Style::of(i).sample((x, y + 6)) {
                upper.draw(&piece).map_err(text)?;
            }
            upper.draw(&Text::new(*name, (x + 24, y), style.clone())).map_err(text)?;
        }
        for (area, panel) in lower.split_evenly((rows, columns)).iter().zip(panels) {
            match panel {
                Panel::Lines(lines) => lines.draw(area)?,
                Panel::Reliability(reliability) => reliability.draw(area)?,
            }
        }
        Ok(())
    })
}

/// Height of a line of a legend.
const LINE: i32 = 20;

/// Where the names of a legend begin, in lines of that width.
fn places(legend: &[&str], width: i32) -> Vec<(i32, i32)> {
    const MARGIN: i32 = 24;
    let (mut x, mut y) = (MARGIN, 0);
    let place = |name: &&str| {
        let needed = 24 + 8 * name.chars().count() as i32 + MARGIN;
        if x > MARGIN && x + needed > width {
            (x, y) = (MARGIN, y + LINE);
        }
        let place = (x, y);
        x += needed;
        place
    };
    legend.iter().map(place).collect()
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// A PNG of what `draw` draws on white.
fn picture(path: &Path, size: (u32, u32), draw: impl FnOnce(&Area) -> Result<()>) -> Result<()> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // Fails only if the bytes are no font, and then the first text below does too.
        let _ = register_font("sans-serif", FontStyle::Normal, FONT);
    });
    let mut pixels = vec![0u8; 3 * size.0 as usize * size.1 as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        let drawn = area.fill(&WHITE).map_err(text).and_then(|()| draw(&area));
        drawn
            .and_then(|()| area.present().map_err(text))
            .with_context(|| format!("cannot draw {}", path.display()))?;
    }
    let image = RgbImage::from_raw(size.0, size.1, pixels).context("the buffer has the size")?;
    files::write(path, &png(&image)?)
}

/// Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
];

/// From the least to the greatest value, never empty, with a part of it as margin on both sides.
fn span(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return 0. ..1.;
    }
    if high - low <= 1e-9 * high.abs() {
        let half = (0.1 * high.abs()).max(0.5);
        return low - half..high + half;
    }
    let room = margin * (high - low);
    low - room..high + room
}

/// A size of letters at which the title fits over a panel.
fn caption(title: &str) -> FontDesc<'static> {
    let fits = PANEL.0 as usize * 100 / (56 * title.chars().count().max(1));
    ("sans-serif", fits.clamp(8, 16) as i32).into_font()
}

/// A tick label without trailing zeros.
fn short(value: f64) -> String {
    if value != 0. && (value.abs() < 1e-3 || value.abs() >= 1e5) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

// Drawing errors borrow the buffer, so only their text can leave.
fn text(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn spans_and_labels() {
        assert_eq!(span([1., 3.].into_iter(), 0.5), 0. ..4.);
        assert_eq!(span([].into_iter(), 0.5), 0. ..1.);
        assert_eq!(span([2.].into_iter(), 0.5), 1.5..2.5);
        assert_eq!(short(0.25), "0.25");
        assert_eq!(short(-0.00000), "0");
        assert_eq!(short(30.), "30");
        assert_eq!(short(0.00012), "1.2e-4");
    }

    #[test]
    fn panels_are_drawn_even_without_data() {
        let path = std::env::temp_dir().join(format!("curves-{}.png", std::process::id()));
        let losses = [("box", vec![(1., 3.), (2., 2.), (3., 1.5)]), ("nan", vec![(1., f64::NAN)])];
        let scores = [("mAP", vec![(1., 0.5)])];
        let charts = [
            Chart { title: "Loss", x: "epoch", series: &losses },
            Chart { title: "Score", x: "epoch", series: &scores },
            Chart { title: "Nothing", x: "epoch", series: &[] },
        ];
        curves(&path, "A run", &charts).unwrap();
        let image = image::open(&path).unwrap().to_rgb8();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(image.dimensions(), (3 * PANEL.0, PANEL.1 + 40));
        let blue = image.pixels().filter(|p| p.0 == [0, 114, 178]).count();
        assert!(blue > 300, "{blue} pixels of the first line");
        assert!(curves(&path, "", &[]).is_err());
    }

    #[test]
    fn pages_have_rows_of_panels() {
        let folder = Folder::new("page");
        let path = folder.path("page.png");
        let line: Vec<(f64, f64)> =
            (-30..=30).map(|i| (f64::from(i) / 10., f64::from(i).exp())).collect();
        let gap = [(0., 1.), (1., f64::INFINITY), (2., 3.)];
        let series = (0..9).map(|_| ("line", &line[..])).chain([("gap", &gap[..])]);
        let lines = Lines { y: "value", ys: Some(-1. ..4.), ..Lines::new("Lines", series) };
        let bar = |low: f64, mean| Bar { low, high: low + 0.5, share: 0.5, mean };
        let bars = vec![bar(0., None), bar(0.5, Some((0.8, 0.7)))];
        let reliability = Panel::Reliability(Reliability { title: "ECE 0.1", bars });
        let panels = [Panel::Lines(lines), reliability.clone(), reliability];
        let legend = ["line"; 40];
        page_with_legend(&path, "A page", &legend, 2, &panels).unwrap();
        let taller = image::open(&path).unwrap().height();
        assert_eq!(taller, 2 * PANEL.1 + TITLE + 4 * LINE as u32);
        page(&path, "A page", 2, &panels).unwrap();
        let image = image::open(&path).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (2 * PANEL.0, 2 * PANEL.1 + TITLE));
        let blue = image.pixels().filter(|p| p.0 == [0, 114, 178]).count();
        assert!(blue > 10_000, "{blue} pixels of bars");
    }
}
