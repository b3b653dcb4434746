//! Samples by figure, column and round, and what is said about them: the median over the rounds, with the extremes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A row of a table.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// Compared with the first column, round by round; otherwise said as it is.
    pub(crate) relative: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|v| v.is_finite());
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, least, most })
    }

    fn say(self) -> String {
        format!("{} [{}–{}]", digits(self.median), digits(self.least), digits(self.most))
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }
}

/// As many digits as mean anything.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

pub(crate) struct Table {
    title: &'static str,
    figures: &'static [Figure],
    columns: Vec<&'static str>,
    samples: BTreeMap<(&'static str, &'static str), BTreeMap<usize, f64>>,
}

impl Table {
    pub(crate) fn new(title: &'static str, figures: &'static [Figure], columns: Vec<&'static str>) -> Self {
        Self { title, figures, columns, samples: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, key: &'static str, column: &'static str, round: usize, value: f64) {
        self.samples.entry((key, column)).or_default().insert(round, value);
    }

    pub(crate) fn absolute(&self, key: &'static str, column: &'static str) -> Option<Spread> {
        Spread::of(self.samples.get(&(key, column))?.values().copied().collect())
    }

    /// Each round's sample as a share of the same round's sample in the first column.
    pub(crate) fn ratio(&self, key: &'static str, column: &'static str) -> Option<Spread> {
        let base = self.samples.get(&(key, *self.columns.first()?))?;
        let own = self.samples.get(&(key, column))?;
        Spread::of(own.iter().filter_map(|(round, value)| Some(value / base.get(round)?)).collect())
    }

    fn cell(&self, figure: Figure, column: &'static str) -> String {
        let first = self.columns.first() == Some(&column);
        let spread = if figure.relative && !first { self.ratio(figure.key, column) } else { self.absolute(figure.key, column) };
        spread.map_or_else(|| "–".to_owned(), Spread::say)
    }

    pub(crate) fn print(&self) {
        println!("\n{}", self.title);
        let heading = self.columns.iter().map(|c| (*c).to_owned()).collect();
        let mut rows = vec![(String::new(), heading)];
        for &figure in self.figures {
            let cells: Vec<String> = self.columns.iter().map(|c| self.cell(figure, c)).collect();
            rows.push((figure.title.to_owned(), cells));
        }
        print_aligned(&rows);
    }

    pub(crate) fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            let column = |column: &&'static str| {
                let samples = self.samples.get(&(figure.key, *column));
                let value = json!({
                    "ratio": figure.relative.then(|| self.ratio(figure.key, column).map(Spread::json)),
                    "absolute": self.absolute(figure.key, column).map(Spread::json),
                    "samples": samples.map(|s| s.values().collect::<Vec<_>>()),
                });
                ((*column).to_owned(), value)
            };
            (figure.key.to_owned(), Value::Object(self.columns.iter().map(column).collect()))
        };
        Value::Object(self.figures.iter().map(figure).collect())
    }
}

/// Prints rows of cells in columns as wide as what they hold.
fn print_aligned(rows: &[(String, Vec<String>)]) {
    let first = rows.iter().map(|(title, _)| title.chars().count()).max().unwrap_or(0);
    let width = |n: usize| rows.iter().filter_map(|(_, cells)| Some(cells.get(n)?.chars().count())).max().unwrap_or(0);
    for (title, cells) in rows {
        let cells: Vec<String> = cells.iter().enumerate().map(|(n, c)| format!("{c:>0$}", width(n))).collect();
        println!("  {title:<first$}  {}", cells.join("  "));
    }
}
