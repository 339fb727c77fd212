use super::{Area, COLOURS, caption, short, text};
use anyhow::Result;
use plotters::prelude::*;

/// Confidence against accuracy in bins, and how many elements each bin holds.
#[derive(Debug, Clone)]
pub struct Reliability<'a> {
    /// Above the panel.
    pub title: &'a str,
    /// From low to high confidence.
    pub bars: Vec<Bar>,
}

/// A bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// The least confidence.
    pub low: f64,
    /// The greatest confidence.
    pub high: f64,
    /// The share of all elements that is in the bin.
    pub share: f64,
    /// Mean confidence and accuracy; nothing where the bin is empty.
    pub mean: Option<(f64, f64)>,
}

impl Reliability<'_> {
    pub(super) fn draw(&self, area: &Area) -> Result<()> {
        let (upper, lower) = area.split_vertically(115);
        self.shares(&upper)?;
        self.accuracies(&lower)
    }

    fn shares(&self, area: &Area) -> Result<()> {
        let most = self.bars.iter().map(|bar| bar.share).fold(0., f64::max).max(1e-9);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, caption(self.title))
            .margin(10)
            .margin_bottom(2)
            .x_label_area_size(4)
            .y_label_area_size(72)
            .build_cartesian_2d(0. ..1., 0. ..1.1 * most)
            .map_err(text)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_labels(3)
            .y_desc("share")
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 13))
            .y_label_formatter(&|y| short(*y))
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .draw()
            .map_err(text)?;
        let grey = RGBColor(150, 150, 150).mix(1.);
        let bars = self.bars.iter().map(|bar| block([(bar.low, 0.), (bar.high, bar.share)], grey));
        chart.draw_series(bars).map_err(text)?;
        Ok(())
    }

    fn accuracies(&self, area: &Area) -> Result<()> {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_top(2)
            .x_label_area_size(40)
            .y_label_area_size(72)
            .build_cartesian_2d(0. ..1., 0. ..1.)
            .map_err(text)?;
        chart
            .configure_mesh()
            .x_desc("confidence")
            .y_desc("accuracy")
            .x_labels(6)
            .y_labels(6)
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 13))
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .draw()
            .map_err(text)?;
        let [blue, orange] = [COLOURS[0], COLOURS[1]];
        // Below both; between them where the accuracy is greater, and where the confidence is.
        type Ends = fn(f64, f64) -> (f64, f64);
        let parts: [(&str, RGBAColor, Ends); 3] = [
            ("accuracy", blue.mix(1.), |confidence, accuracy| (0., accuracy.min(confidence))),
            ("above the confidence", blue.mix(0.5), |confidence, accuracy| (confidence, accuracy)),
            ("below the confidence", orange.mix(0.5), |confidence, accuracy| {
                (accuracy, confidence)
            }),
        ];
        for (name, colour, ends) in parts {
            let bars = self.bars.iter().filter_map(|bar| {
                let (confidence, accuracy) = bar.mean?;
                let (from, to) = ends(confidence, accuracy);
                (from <= to).then(|| block([(bar.low, from), (bar.high, to)], colour))
            });
            chart.draw_series(bars).map_err(text)?.label(name).legend(move |(x, y)| {
                Rectangle::new([(x + 4, y - 4), (x + 14, y + 5)], colour.filled())
            });
        }
        let black = RGBColor(60, 60, 60);
        let diagonal = [(0., 0.), (1., 1.)];
        chart.draw_series(DashedLineSeries::new(diagonal, 6, 5, black.into())).map_err(text)?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 12))
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(200, 200, 200))
            .draw()
            .map_err(text)
    }
}

/// A filled bar with a little room to its neighbours.
fn block(corners: [(f64, f64); 2], colour: RGBAColor) -> Rectangle<(f64, f64)> {
    let mut block = Rectangle::new(corners, colour.filled());
    block.set_margin(0, 0, 1, 1);
    block
}
