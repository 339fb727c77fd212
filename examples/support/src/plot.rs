//! Curves as a PNG.

use std::path::Path;

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

/// Draws the charts side by side and writes a PNG atomically.
pub fn curves(path: &Path, title: &str, charts: &[Chart]) -> anyhow::Result<()> {
    todo!()
}
