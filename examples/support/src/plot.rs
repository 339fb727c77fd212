//! Curves as a PNG.

use crate::{FONT, files, png};
use anyhow::{Context, Result, anyhow, ensure};
use image::RgbImage;
use plotters::{
    coord::Shift,
    prelude::*,
    style::{FontStyle, register_font},
};
use std::{path::Path, sync::Once};

/// One panel.
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    /// Above the panel.
    pub title: &'a str,
    /// Under the horizontal axis.
    pub x: &'a str,
    /// Name and points of each line; points that are not finite are left out.
    pub series: &'a [(&'a str, Vec<(f64, f64)>)],
}

const PANEL: (u32, u32) = (520, 400);

/// Draws the charts side by side and writes a PNG atomically.
pub fn curves(path: &Path, title: &str, charts: &[Chart]) -> Result<()> {
    ensure!(!charts.is_empty(), "{}: no chart to draw", path.display());
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // Fails only if the bytes are no font, and then the first text below does too.
        let _ = register_font("sans-serif", FontStyle::Normal, FONT);
    });
    let (width, height) = (PANEL.0 * charts.len() as u32, PANEL.1 + 40);
    let mut pixels = vec![0u8; 3 * width as usize * height as usize];
    draw(&mut pixels, (width, height), title, charts)
        .with_context(|| format!("cannot draw {}", path.display()))?;
    let image = RgbImage::from_raw(width, height, pixels).context("the buffer has the size")?;
    files::write(path, &png(&image)?)
}

fn draw(pixels: &mut [u8], size: (u32, u32), title: &str, charts: &[Chart]) -> Result<()> {
    let area = BitMapBackend::with_buffer(pixels, size).into_drawing_area();
    area.fill(&WHITE).map_err(text)?;
    let area = area.titled(title, ("sans-serif", 20)).map_err(text)?;
    for (panel, chart) in area.split_evenly((1, charts.len())).iter().zip(charts) {
        draw_panel(panel, chart)?;
    }
    area.present().map_err(text)
}

fn draw_panel(panel: &DrawingArea<BitMapBackend, Shift>, chart: &Chart) -> Result<()> {
    let series: Vec<(&str, Vec<(f64, f64)>)> = chart
        .series
        .iter()
        .map(|(name, points)| {
            let finite = points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
            (*name, finite.copied().collect())
        })
        .collect();
    let all = || series.iter().flat_map(|(_, points)| points);
    let xs = span(all().map(|p| p.0), 0.);
    // Room above the curves for the legend.
    let ys = span(all().map(|p| p.1), 0.06);
    let mut chart_area = ChartBuilder::on(panel)
        .caption(chart.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(xs, ys)
        .map_err(text)?;
    chart_area
        .configure_mesh()
        .x_desc(chart.x)
        .x_labels(8)
        .y_labels(8)
        .label_style(("sans-serif", 12))
        .axis_desc_style(("sans-serif", 13))
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()
        .map_err(text)?;
    for (i, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        chart_area
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
            .map_err(text)?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        if let [point] = points[..] {
            // A line of one point shows nothing.
            chart_area.draw_series([Circle::new(point, 3, colour.filled())]).map_err(text)?;
        }
    }
    chart_area
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 12))
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .draw()
        .map_err(text)
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
fn span(values: impl Iterator<Item = f64>, margin: f64) -> std::ops::Range<f64> {
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
}
