//! Results by epoch: named columns, kept in memory, written as CSV.

use crate::files;
use anyhow::{Context, Result, ensure};
use std::{fmt::Write, path::Path};

/// Rows of numbers under named columns, of which the first is `epoch`.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Option<f64>>>,
}

impl Table {
    /// A table of no rows; `epoch` is added in front of the columns.
    pub fn new(columns: impl IntoIterator<Item = String>) -> Self {
        let columns = std::iter::once("epoch".to_owned()).chain(columns);
        // A name may be anything a user calls a class.
        let columns = columns.map(|name| name.replace([',', '"', '\n', '\r'], " ")).collect();
        Table { columns, rows: Vec::new() }
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Adds an epoch; `values` are in the order of the columns after `epoch`.
    pub fn push(&mut self, epoch: usize, values: impl IntoIterator<Item = Option<f64>>) {
        let row: Vec<_> = std::iter::once(Some(epoch as f64)).chain(values).collect();
        assert_eq!(row.len(), self.columns.len(), "a value for every column");
        self.rows.push(row);
    }

    /// Epochs and values of a column, without those that are missing.
    pub fn series(&self, column: &str) -> Vec<(f64, f64)> {
        let Some(at) = self.columns.iter().position(|name| name == column) else {
            return Vec::new();
        };
        self.rows.iter().filter_map(|row| Some((row[0]?, row[at]?))).collect()
    }

    /// The last value of a column.
    pub fn last(&self, column: &str) -> Option<f64> {
        self.series(column).last().map(|point| point.1)
    }

    /// Writes the file atomically.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = self.columns.join(",") + "\n";
        for row in &self.rows {
            let values: Vec<String> =
                row.iter().map(|value| value.map_or(String::new(), short)).collect();
            writeln!(text, "{}", values.join(","))?;
        }
        files::write(path, text.as_bytes())
    }

    /// Reads a file that [`Table::write`] wrote.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        let columns: Vec<String> = header.split(',').map(str::to_owned).collect();
        let rows = lines.enumerate().map(|(i, line)| {
            let values = line.split(',').map(|value| match value {
                "" => Some(None),
                value => value.parse().ok().map(Some),
            });
            let row = values.collect::<Option<Vec<Option<f64>>>>();
            row.filter(|row| row.len() == columns.len() && row[0].is_some())
                .with_context(|| format!("{shown}:{}: not a row of results", i + 2))
        });
        let rows = rows.collect::<Result<_>>()?;
        Ok(Table { columns, rows })
    }

    /// Takes over the rows of a file up to an epoch; it must have the same columns.
    pub fn read(&mut self, path: &Path, epochs: usize) -> Result<()> {
        let mut other = Self::open(path)?;
        ensure!(
            other.columns == self.columns,
            "{} has the columns {}, and this run has {}",
            path.display(),
            other.columns.join(","),
            self.columns.join(",")
        );
        other.rows.retain(|row| row[0].is_some_and(|epoch| epoch <= epochs as f64));
        self.rows = other.rows;
        Ok(())
    }
}

/// Six significant digits.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    if !(0..=12).contains(&digits) {
        return format!("{value:.5e}");
    }
    let text = format!("{value:.*}", digits as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, assert_has};

    #[test]
    fn numbers_are_written_with_six_digits() {
        let texts = [0.0, 3.0, 0.123456789, 12345.678, 1e-9, -0.00025, 2e9, 100.0].map(short);
        assert_eq!(
            texts,
            ["0", "3", "0.123457", "12345.7", "1.00000e-9", "-0.00025", "2.00000e9", "100"]
        );
    }

    #[test]
    fn a_table_comes_back_as_it_was_written() {
        let folder = Folder::new("table");
        let path = folder.path("results.csv");
        let empty = Table::new(["loss", "dice a,b"].map(str::to_owned));
        let mut table = empty.clone();
        table.push(1, [Some(0.5), None]);
        table.push(2, [Some(0.25), Some(0.75)]);
        table.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "epoch,loss,dice a b\n1,0.5,\n2,0.25,0.75\n");
        let mut again = empty.clone();
        again.read(&path, 9).unwrap();
        assert_eq!(again, table);
        assert_eq!(again.series("dice a b"), [(2.0, 0.75)]);
        assert_eq!((again.last("loss"), again.last("none")), (Some(0.25), None));
        again.read(&path, 1).unwrap();
        assert_eq!(again.series("loss"), [(1.0, 0.5)]);

        let mut other = Table::new(["loss".to_owned()]);
        let error = other.read(&path, 9).unwrap_err().to_string();
        assert_has(&error, &["has the columns epoch,loss,dice a b, and this run has epoch,loss"]);
        folder.text("results.csv", "epoch,loss\n1,0.5\n2,x\n");
        assert_has(&other.read(&path, 9).unwrap_err().to_string(), &["results.csv:3: not a row"]);
    }
}
