use super::{Area, COLOURS, caption, short, span, text};
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
    /// Whether the panel says which line is which.
    pub legend: bool,
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
        let series = series.into_iter().collect();
        Lines { title, x: "", y: "", legend: true, ys: None, series }
    }

    pub(super) fn draw(&self, area: &Area) -> Result<()> {
        let finite = |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite();
        let all = || self.series.iter().flat_map(|(_, points)| *points).filter(finite);
        let xs = span(all().map(|p| p.0), 0.);
        let ys = self.ys.clone().unwrap_or_else(|| span(all().map(|p| p.1), 0.06));
        let longest = self.series.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let size = (0.1 + 0.017 * longest as f64, 0.06 + 0.046 * self.series.len() as f64);
        let legend = freest_corner(all(), &xs, &ys, (size.0.min(1.), size.1.min(1.)));
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, caption(self.title))
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
            .x_label_formatter(&|x| tick(*x, &xs))
            .y_label_formatter(&|y| tick(*y, &ys))
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
            let line = Style::of(i);
            let (stroke, mut name) = (line.colour.stroke_width(2), Some(*name));
            for run in visible(points, &ys) {
                let drawn = if line.dashed {
                    chart.draw_series(DashedLineSeries::new(run.iter().copied(), 8, 5, stroke))
                } else {
                    chart.draw_series(LineSeries::new(run.iter().copied(), stroke))
                };
                let drawn = drawn.map_err(text)?;
                if let Some(name) = name.take() {
                    drawn.label(name).legend(move |at| {
                        let [left, right] = line.sample(at);
                        EmptyElement::at((0, 0)) + left + right
                    });
                }
                if let [point] = run[..] {
                    // A line of one point shows nothing.
                    chart
                        .draw_series([Circle::new(point, 3, line.colour.filled())])
                        .map_err(text)?;
                }
            }
        }
        if !self.legend {
            return Ok(());
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

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    colour: RGBColor,
    dashed: bool,
}

impl Style {
    /// Of the line of that number; a second round of the colours is dashed.
    pub(super) fn of(i: usize) -> Self {
        Style { colour: COLOURS[i % COLOURS.len()], dashed: (i / COLOURS.len()) % 2 == 1 }
    }

    /// 18 pixels of the line, for a legend.
    pub(super) fn sample(self, (x, y): (i32, i32)) -> [PathElement<(i32, i32)>; 2] {
        let ends = if self.dashed { [x + 7, x + 11] } else { [x + 9, x + 9] };
        let piece = |a, b| PathElement::new([(a, y), (b, y)], self.colour.stroke_width(3));
        [piece(x, ends[0]), piece(ends[1], x + 18)]
    }
}

/// The parts of a line that are finite and within `ys`, cut where they leave it.
fn visible(points: &[(f64, f64)], ys: &Range<f64>) -> Vec<Vec<(f64, f64)>> {
    let finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
    let inside = |y: f64| y >= ys.start && y <= ys.end;
    let mut runs: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for (i, &point) in points.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| points[i]).filter(finite);
        if !finite(&point) {
            runs.push(Vec::new());
            continue;
        }
        if let Some(before) = before {
            // Where the piece from the point before crosses the lower and the upper border.
            let slope = point.1 - before.1;
            let mut crossings: Vec<(f64, f64)> = [ys.start, ys.end]
                .into_iter()
                .map(|y| ((y - before.1) / slope, y))
                .filter(|(share, _)| *share > 0. && *share < 1.)
                .collect();
            crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (share, y) in crossings {
                let run = runs.last_mut().expect("never empty");
                let leaves = !run.is_empty();
                run.push((before.0 + share * (point.0 - before.0), y));
                if leaves {
                    runs.push(Vec::new());
                }
            }
        }
        if inside(point.1) {
            runs.last_mut().expect("never empty").push(point);
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// A tick label; what rounding left of 0 is 0.
fn tick(value: f64, range: &Range<f64>) -> String {
    short(if value.abs() < 1e-9 * (range.end - range.start) { 0. } else { value })
}

/// The corner with the fewest points: where a legend of that size, as shares of the panel, hides least.
fn freest_corner<'a>(
    points: impl Iterator<Item = &'a (f64, f64)> + Clone,
    xs: &Range<f64>,
    ys: &Range<f64>,
    size: (f64, f64),
) -> SeriesLabelPosition {
    let share = |v: f64, range: &Range<f64>| (v - range.start) / (range.end - range.start);
    let crowd = |right: bool, upper: bool| {
        let inside = |p: &&(f64, f64)| {
            let (x, y) = (share(p.0, xs), share(p.1, ys));
            (if right { x > 1. - size.0 } else { x < size.0 })
                && (if upper { y > 1. - size.1 } else { y < size.1 })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_border() {
        let ys = 0. ..2.;
        let line = [(0., 1.), (1., 3.), (2., 3.), (3., 1.), (4., f64::NAN), (5., -1.), (6., 3.)];
        let want =
            [vec![(0., 1.), (0.5, 2.)], vec![(2.5, 2.), (3., 1.)], vec![(5.25, 0.), (5.75, 2.)]];
        assert_eq!(visible(&line, &ys), want);
        assert_eq!(visible(&[(0., 2.), (1., 0.)], &ys), [[(0., 2.), (1., 0.)]]);
        assert_eq!(visible(&[(0., 5.), (1., 5.)], &ys), Vec::<Vec<_>>::new());
    }

    #[test]
    fn ticks_near_zero_are_zero() {
        assert_eq!(tick(-2.2e-16, &(-1. ..0.1)), "0");
        assert_eq!(tick(1e-5, &(0. ..1e-4)), "1.0e-5");
    }
}
