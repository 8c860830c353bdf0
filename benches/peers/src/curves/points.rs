//! What was measured, and the file it is kept in.

use serde::{Deserialize, Serialize};

/// A line of a chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub chart: String,
    pub panel: usize,
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// All lines of all charts.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// When and where.
    pub measured: String,
    pub lines: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    measured: String,
}

impl Points {
    /// A line of a chart in each row, behind one that says when and where.
    pub fn to_text(&self) -> String {
        let head = serde_json::to_string(&Head { measured: self.measured.clone() });
        let rows = self.lines.iter().map(serde_json::to_string);
        std::iter::once(head).chain(rows).map(|row| row.expect("plain data") + "\n").collect()
    }

    pub fn read(text: &str) -> serde_json::Result<Self> {
        let mut rows = text.lines();
        let Head { measured } = serde_json::from_str(rows.next().unwrap_or_default())?;
        Ok(Self { measured, lines: rows.map(serde_json::from_str).collect::<Result<_, _>>()? })
    }

    /// The lines of a panel, in their order.
    pub fn of(&self, chart: &str, panel: usize) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.chart == chart && line.panel == panel)
    }
}

/// To one decimal, which is more than another run would say again.
pub fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let line = |panel, points| Line { chart: "a.svg".into(), panel, name: "local".into(), points };
        let lines = vec![line(0, vec![(1e3, 98.1), (1e7, 1_234.5)]), line(1, Vec::new())];
        let points = Points { measured: "today, \"here\"".into(), lines };
        assert_eq!(points.to_text().lines().count(), 3);
        assert_eq!(Points::read(&points.to_text()).unwrap(), points);
        assert_eq!(points.of("a.svg", 1).count(), 1);
        assert_eq!(points.of("b.svg", 1).count(), 0);
        assert!(Points::read("").is_err() && Points::read("{\"measured\":\"x\"}\nnothing").is_err());
    }
}
