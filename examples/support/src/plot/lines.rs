use super::{Area, COLOURS, short, span, text};
use anyhow::Result;
use plotters::prelude::*;
use std::ops::Range;

/// Lines in a system of axes.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    /// Above the panel.
    pub title: &'a str,
    /// Under the horizontal axis.
    pub x: &'a str,
    /// Beside the vertical axis; nothing if empty.
    pub y: &'a str,
    /// What the vertical axis shows; all points if not given.
    pub ys: Option<Range<f64>>,
    /// Name and points of each line. A point that is not finite is a gap.
    pub series: Vec<(&'a str, &'a [(f64, f64)])>,
}

impl<'a> Lines<'a> {
    /// Lines with the axes named in what follows.
    pub fn new(
        title: &'a str,
        series: impl IntoIterator<Item = (&'a str, &'a [(f64, f64)])>,
    ) -> Self {
        Lines { title, x: "", y: "", ys: None, series: series.into_iter().collect() }
    }

    pub(super) fn draw(&self, area: &Area) -> Result<()> {
        let finite = |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite();
        let all = || self.series.iter().flat_map(|(_, points)| *points).filter(finite);
        let xs = span(all().map(|p| p.0), 0.);
        let ys = self.ys.clone().unwrap_or_else(|| span(all().map(|p| p.1), 0.06));
        let legend = freest_corner(all(), &xs, &ys);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(if self.y.is_empty() { 60 } else { 72 })
            .build_cartesian_2d(xs.clone(), ys.clone())
            .map_err(text)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
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
        // The axes themselves, where they are inside.
        for (line, inside) in [
            ([(xs.start, 0.), (xs.end, 0.)], ys.start < 0. && ys.end > 0.),
            ([(0., ys.start), (0., ys.end)], xs.start < 0. && xs.end > 0.),
        ] {
            if inside {
                chart
                    .draw_series([PathElement::new(line, RGBColor(170, 170, 170))])
                    .map_err(text)?;
            }
        }
        for (i, (name, points)) in self.series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            // A second round of the colours is dashed.
            let dashed = (i / COLOURS.len()) % 2 == 1;
            let stroke = colour.stroke_width(2);
            let mut name = Some(*name);
            for run in points.split(|p| !finite(&p)).filter(|run| !run.is_empty()) {
                let run = cut(run, &ys);
                let drawn = if dashed {
                    chart.draw_series(DashedLineSeries::new(run.iter().copied(), 8, 5, stroke))
                } else {
                    chart.draw_series(LineSeries::new(run.iter().copied(), stroke))
                };
                let drawn = drawn.map_err(text)?;
                if let Some(name) = name.take() {
                    drawn.label(name).legend(move |(x, y)| {
                        let ends = if dashed { [x + 7, x + 11] } else { [x + 9, x + 9] };
                        let piece =
                            |a, b| PathElement::new([(a, y), (b, y)], colour.stroke_width(3));
                        EmptyElement::at((0, 0)) + piece(x, ends[0]) + piece(ends[1], x + 18)
                    });
                }
                if let [point] = run[..] {
                    // A line of one point shows nothing.
                    chart.draw_series([Circle::new(point, 3, colour.filled())]).map_err(text)?;
                }
            }
        }
        chart
            .configure_series_labels()
            .position(legend)
            .label_font(("sans-serif", 12))
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(200, 200, 200))
            .draw()
            .map_err(text)
    }
}

/// Points far outside pulled to just outside, for the backend counts in pixels of 32 bits.
fn cut(points: &[(f64, f64)], ys: &Range<f64>) -> Vec<(f64, f64)> {
    let room = 4. * (ys.end - ys.start);
    points.iter().map(|&(x, y)| (x, y.clamp(ys.start - room, ys.end + room))).collect()
}

/// The corner with the fewest points: where the legend hides least.
fn freest_corner<'a>(
    points: impl Iterator<Item = &'a (f64, f64)> + Clone,
    xs: &Range<f64>,
    ys: &Range<f64>,
) -> SeriesLabelPosition {
    let share = |v: f64, range: &Range<f64>| (v - range.start) / (range.end - range.start);
    let crowd = |right: bool, upper: bool| {
        let inside = |p: &&(f64, f64)| {
            let (x, y) = (share(p.0, xs), share(p.1, ys));
            (if right { x > 0.7 } else { x < 0.3 }) && (if upper { y > 0.7 } else { y < 0.3 })
        };
        points.clone().filter(inside).count()
    };
    [
        (crowd(true, true), SeriesLabelPosition::UpperRight),
        (crowd(true, false), SeriesLabelPosition::LowerRight),
        (crowd(false, true), SeriesLabelPosition::UpperLeft),
        (crowd(false, false), SeriesLabelPosition::LowerLeft),
    ]
    .into_iter()
    .min_by_key(|(points, _)| *points)
    .map_or(SeriesLabelPosition::UpperRight, |(_, corner)| corner)
}
