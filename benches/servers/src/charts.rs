//! Four charts: what is on them, and the figures as they are kept.
//!
//! Each chart is a picture and the figures that it was drawn from, side by side, so that it can be drawn again without
//! measuring.

pub mod axis;
pub mod draw;
pub mod measure;

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::contestant::Contestant;
use crate::rows::Figure;

/// The charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// Against the clients of one document.
    Latency,
    /// Against documents.
    Throughput,
    /// What an operation costs, against the length of its document.
    Length,
    /// Against connections.
    Memory,
}

/// What is drawn with axes of its own: one figure of all contestants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panel {
    pub figure: &'static str,
    /// With its unit.
    pub title: &'static str,
}

/// How far apart values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// By their difference, from zero on.
    Linear,
    /// By their ratio.
    Logarithmic,
}

impl Subject {
    pub const ALL: [Self; 4] = [Self::Latency, Self::Throughput, Self::Length, Self::Memory];

    /// As files and the command line call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::Length => "length",
            Self::Memory => "memory",
        }
    }

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Latency => "Latency by clients of one document: 10 write, 50 operations/s",
            Self::Throughput => "Throughput by documents: one writer each, window 16, and one reader",
            Self::Length => "Cost by document length: 5 documents typed into, 1,000 operations/s in all",
            Self::Memory => "Memory by idle connections, 100 to a document",
        }
    }

    /// What the horizontal axis counts.
    #[must_use]
    pub fn across(self) -> &'static str {
        match self {
            Self::Latency => "clients",
            Self::Throughput => "documents",
            Self::Length => "characters in each document",
            Self::Memory => "connections",
        }
    }

    /// The points of the horizontal axis that are measured.
    #[must_use]
    pub fn places(self) -> &'static [u64] {
        match self {
            Self::Latency => &[10, 30, 100, 300, 1000],
            Self::Throughput => &[1, 10, 100, 1000],
            Self::Length => &[1000, 10_000, 100_000, 1_000_000],
            Self::Memory => &[100, 1000, 3000, 9000],
        }
    }

    #[must_use]
    pub fn panels(self) -> &'static [Panel] {
        match self {
            Self::Latency => &[Panel { figure: "p50", title: "p50, ms" }, Panel { figure: "p99", title: "p99, ms" }],
            Self::Throughput => &[Panel { figure: "rate", title: "operations/s" }],
            Self::Length => &[
                Panel { figure: "cpu", title: "server CPU for each operation, µs" },
                Panel { figure: "p50", title: "p50, ms" },
            ],
            Self::Memory => &[Panel { figure: "memory", title: "resident memory of the server, MiB" }],
        }
    }

    /// The scales of the horizontal and of the vertical axis. What has to be flat, or straight, is drawn from zero.
    #[must_use]
    pub fn scales(self) -> [Scale; 2] {
        match self {
            Self::Latency | Self::Throughput => [Scale::Logarithmic; 2],
            Self::Length => [Scale::Logarithmic, Scale::Linear],
            Self::Memory => [Scale::Linear; 2],
        }
    }

    /// Who takes part, in the order of the legend.
    #[must_use]
    pub fn contestants(self) -> &'static [Contestant] {
        use Contestant::{Broadcaster, Embedded, Hocuspocus, Memory, ShareDb, YWebsocket};
        match self {
            Self::Latency => &[Broadcaster, Embedded, Memory, YWebsocket, Hocuspocus, ShareDb],
            Self::Throughput => &[Broadcaster, Embedded, Memory],
            // The broadcaster has no document.
            Self::Length => &[Embedded, Memory],
            Self::Memory => &[Broadcaster, Embedded],
        }
    }

    /// The picture's name.
    #[must_use]
    pub fn picture(self) -> String {
        format!("servers-{}.svg", self.name())
    }

    /// The name of the figures, one line of JSON for each curve.
    #[must_use]
    pub fn file(self) -> String {
        format!("servers-{}.jsonl", self.name())
    }
}

/// A contestant's name in a picture, which is seen without the text around it.
#[must_use]
pub fn caption(contestant: Contestant) -> String {
    contestant.title().replace("this", "collab-engine")
}

/// The figures of one contestant at one place.
#[derive(Clone, Debug)]
pub struct Measured {
    pub contestant: Contestant,
    pub at: u64,
    pub figures: Vec<Figure>,
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub at: u64,
    pub value: f64,
    /// What is to be known about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A curve: one figure of one contestant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub figure: String,
    pub contestant: String,
    pub points: Vec<Point>,
}

/// All that a picture is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub head: Head,
    pub series: Vec<Series>,
}

/// When and where it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub measured: String,
    /// How long each load was, and what else the machine did.
    pub circumstances: String,
}

/// The curves of a chart, panel by panel; a contestant that was not measured has none.
#[must_use]
pub fn series(subject: Subject, measured: &[Measured]) -> Vec<Series> {
    let curves = subject.panels().iter().flat_map(|panel| subject.contestants().iter().map(move |one| (panel, one)));
    let curve = |(panel, contestant): (&Panel, &Contestant)| {
        let own = measured.iter().filter(|measured| measured.contestant == *contestant);
        let points = own.filter_map(|measured| {
            let figure = measured.figures.iter().find(|figure| figure.name == panel.figure)?;
            Some(Point { at: measured.at, value: figure.value, note: figure.note.to_owned() })
        });
        Series { figure: panel.figure.to_owned(), contestant: contestant.name().to_owned(), points: points.collect() }
    };
    curves.map(curve).filter(|series| !series.points.is_empty()).collect()
}

impl Record {
    /// # Errors
    ///
    /// If they are no figures of a chart.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let mut lines = text.lines();
        let head = serde_json::from_str(lines.next().unwrap_or_default())?;
        Ok(Self { head, series: lines.map(serde_json::from_str).collect::<Result<_, _>>()? })
    }

    /// # Errors
    ///
    /// If a figure is no number.
    pub fn to_lines(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(&self.head)? + "\n";
        for series in &self.series {
            text += &(serde_json::to_string(series)? + "\n");
        }
        Ok(text)
    }

    /// Reads the figures of a chart from a folder.
    ///
    /// # Errors
    ///
    /// If they are not there, or no figures.
    pub fn read(subject: Subject, folder: &Path) -> Result<Self, String> {
        let path = folder.join(subject.file());
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
        Self::parse(&text).map_err(|error| failed(&error))
    }

    /// Puts the figures into a folder.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn write(&self, subject: Subject, folder: &Path) -> Result<(), String> {
        let lines = self.to_lines().map_err(|error| error.to_string())?;
        put(&folder.join(subject.file()), &lines)
    }

    /// Puts the picture into a folder.
    ///
    /// # Errors
    ///
    /// If it cannot be drawn or written.
    pub fn draw(&self, subject: Subject, folder: &Path) -> Result<(), String> {
        put(&folder.join(subject.picture()), &draw::draw(subject, self)?)
    }

    /// What the curves come to, in words.
    #[must_use]
    pub fn remarks(&self, subject: Subject) -> Vec<String> {
        let ends = |series: &Series| Some((series.points.first()?.clone(), series.points.last()?.clone()));
        let of = |panel: &Panel, remark: &dyn Fn(&Point, &Point) -> String| {
            let curves = self.series.iter().filter(|series| series.figure == panel.figure);
            let curve = |series: &Series| {
                let (first, last) = ends(series)?;
                let name = caption(Contestant::named(&series.contestant)?);
                (first.at < last.at).then(|| format!("{name} {}", remark(&first, &last)))
            };
            curves.filter_map(curve).collect::<Vec<_>>().join("; ")
        };
        let [panel, ..] = subject.panels() else { return Vec::new() };
        let remark = |words: &str, panel: &Panel, remark: &dyn Fn(&Point, &Point) -> String| match of(panel, remark) {
            curves if curves.is_empty() => None,
            curves => Some(format!("{words}: {curves}.")),
        };
        let remarks = match subject {
            Subject::Latency | Subject::Throughput => Vec::new(),
            Subject::Length => {
                let ratio = |first: &Point, last: &Point| format!("{:.2}", last.value / first.value);
                let panels = subject.panels().iter();
                panels.map(|panel| remark(&format!("Last by first, {}", panel.title), panel, &ratio)).collect()
            }
            Subject::Memory => {
                let each = |first: &Point, last: &Point| {
                    format!("{:.1}", (last.value - first.value) * 1048.576 / (last.at - first.at) as f64)
                };
                vec![remark("Each further connection, kB", panel, &each)]
            }
        };
        remarks.into_iter().flatten().collect()
    }
}

fn put(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{NOT_HELD, figure};

    fn measured(contestant: Contestant, at: u64, p50: f64) -> Measured {
        let cpu = Figure { note: NOT_HELD, ..figure("cpu", 10.0 * p50, "µs") };
        Measured { contestant, at, figures: vec![figure("p50", p50, "ms"), cpu] }
    }

    fn record() -> Record {
        let measured = [
            measured(Contestant::Memory, 1000, 1.0),
            measured(Contestant::Embedded, 1000, 2.0),
            measured(Contestant::Embedded, 10_000, 3.0),
        ];
        let head = Head { measured: "today".to_owned(), circumstances: "in peace".to_owned() };
        Record { head, series: series(Subject::Length, &measured) }
    }

    #[test]
    fn a_series_is_one_figure_of_one_contestant() {
        let series = record().series;
        let names: Vec<_> = series.iter().map(|series| (series.figure.as_str(), series.contestant.as_str())).collect();
        assert_eq!(names, [("cpu", "embedded"), ("cpu", "memory"), ("p50", "embedded"), ("p50", "memory")]);
        let point = |at, value, note: &str| Point { at, value, note: note.to_owned() };
        assert_eq!(series[0].points, [point(1000, 20.0, NOT_HELD), point(10_000, 30.0, NOT_HELD)]);
        assert_eq!(series[3].points, [point(1000, 1.0, "")]);
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let record = record();
        let lines = record.to_lines().unwrap();
        assert_eq!(lines.lines().count(), 5);
        assert_eq!(Record::parse(&lines).unwrap(), record);
        assert!(Record::parse("").is_err());
        assert!(Record::parse(&lines.replace("embedded", "\"")).is_err());
    }

    #[test]
    fn length_is_told_as_a_ratio_and_memory_by_connection() {
        let remarks = record().remarks(Subject::Length);
        assert_eq!(
            remarks,
            [
                "Last by first, server CPU for each operation, µs: collab-engine, durable 1.50.",
                "Last by first, p50, ms: collab-engine, durable 1.50.",
            ]
        );
        let idle = |at, value| Measured {
            contestant: Contestant::Broadcaster,
            at,
            figures: vec![figure("memory", value, "MiB")],
        };
        let series = series(Subject::Memory, &[idle(100, 10.0), idle(1124, 20.0)]);
        let record = Record { series, ..record() };
        assert_eq!(record.remarks(Subject::Memory), ["Each further connection, kB: bare broadcaster 10.2."]);
        assert_eq!(record.remarks(Subject::Throughput), Vec::<String>::new());
    }
}
