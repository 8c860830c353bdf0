//! The figures as tables in Markdown, and the goals.

use std::fmt::Write;

use serde::Serialize;

use crate::contestant::Contestant;
use crate::rows::{Figure, Row};

/// The figures of one contestant in one row.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub row: &'static str,
    pub contestant: &'static str,
    pub figures: Vec<Figure>,
    /// Why there are none.
    pub failed: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    pub measured: Vec<Measured>,
}

/// What a goal asks of a figure.
#[derive(Clone, Copy, Debug)]
enum Asks {
    /// At most so many times the broadcaster's.
    MostTimes(f64),
    /// At least so many times the broadcaster's.
    LeastTimes(f64),
    Most(f64),
    Least(f64),
    /// At least so many times another figure of the same row.
    LeastOf(&'static str, f64),
}

/// The goals that the figures are held to. As fast as the first: less than a tenth is what two parts of one run differ by.
const GOALS: &[(Row, Contestant, &str, Asks)] = &[
    (Row::OneAtATime, Contestant::Memory, "rate", Asks::LeastTimes(0.7)),
    (Row::Hundred, Contestant::Embedded, "p99", Asks::MostTimes(1.3)),
    (Row::ThousandAt10, Contestant::Embedded, "p99", Asks::MostTimes(1.3)),
    (Row::ThousandAt640, Contestant::Embedded, "p99", Asks::MostTimes(1.3)),
    (Row::Documents, Contestant::Embedded, "rate", Asks::LeastTimes(0.7)),
    (Row::Window, Contestant::Memory, "all", Asks::Least(100_000.0)),
    (Row::Window, Contestant::Embedded, "all", Asks::Least(50_000.0)),
    (Row::LongWindow, Contestant::Memory, "last 2,000", Asks::LeastOf("first 2,000", 0.9)),
    (Row::LongWindow, Contestant::Embedded, "last 2,000", Asks::LeastOf("first 2,000", 0.9)),
    (Row::ManyIdle, Contestant::Embedded, "each connection", Asks::Most(20.0)),
    (Row::Paper, Contestant::Embedded, "the first", Asks::Most(10.0)),
    (Row::ComeBack, Contestant::Embedded, "all in sync", Asks::Most(1000.0)),
];

impl Results {
    fn figure(&self, row: Row, contestant: Contestant, name: &str) -> Option<&Figure> {
        let mut measured = self.measured.iter();
        let measured = measured.find(|measured| measured.row == row.name() && measured.contestant == contestant.name());
        measured?.figures.iter().find(|figure| figure.name == name)
    }

    fn failed(&self, row: Row, contestant: Contestant) -> Option<&str> {
        let mut measured = self.measured.iter();
        let measured = measured.find(|measured| measured.row == row.name() && measured.contestant == contestant.name());
        measured?.failed.as_deref()
    }

    /// One line for each figure, one column for each contestant, in brackets the ratio to the broadcaster.
    #[must_use]
    pub fn table(&self) -> String {
        let is_in =
            |contestant: &&Contestant| self.measured.iter().any(|measured| measured.contestant == contestant.name());
        let contestants: Vec<&Contestant> = Contestant::ALL.iter().filter(is_in).collect();
        let mut table = String::from("| |");
        contestants.iter().for_each(|contestant| table += &format!(" {} |", contestant.title()));
        table += "\n|---|";
        table += &"---|".repeat(contestants.len());
        for row in Row::ALL {
            for name in self.names(row) {
                let unit =
                    self.measured.iter().flat_map(|measured| &measured.figures).find(|figure| figure.name == name);
                let unit = unit.map_or("", |figure| figure.unit);
                let separator = if unit.is_empty() { "" } else { ", " };
                let _ = write!(table, "\n| {}: {name}{separator}{unit} |", row.title());
                for contestant in &contestants {
                    table += &self.cell(row, **contestant, name);
                }
            }
        }
        table
    }

    fn names(&self, row: Row) -> Vec<&'static str> {
        let mut names = Vec::new();
        let measured = self.measured.iter().filter(|measured| measured.row == row.name());
        for figure in measured.flat_map(|measured| &measured.figures) {
            if !names.contains(&figure.name) {
                names.push(figure.name);
            }
        }
        names
    }

    fn cell(&self, row: Row, contestant: Contestant, name: &str) -> String {
        let Some(figure) = self.figure(row, contestant, name) else {
            return self.failed(row, contestant).map_or_else(|| " – |".to_owned(), |_| " failed |".to_owned());
        };
        let base = self.figure(row, Contestant::Broadcaster, name).map(|base| base.value);
        let has_ratio =
            contestant != Contestant::Broadcaster && !["cores", "deliveries", "connections", ""].contains(&figure.unit);
        let ratio = base.filter(|base| has_ratio && *base > 0.0);
        let ratio = ratio.map_or_else(String::new, |base| format!(" ({:.2})", figure.value / base));
        let note = if figure.note.is_empty() { String::new() } else { format!(", {}", figure.note) };
        format!(" {}{ratio}{note} |", number(figure.value))
    }

    /// The goals, and whether they are met.
    #[must_use]
    pub fn goals(&self) -> String {
        let mut table = String::from("| goal | contestant | figure | asked for | |\n|---|---|---|---|---|");
        for (row, contestant, name, asks) in GOALS {
            let Some(figure) = self.figure(*row, *contestant, name) else { continue };
            let base = self.figure(*row, Contestant::Broadcaster, name).map(|base| base.value);
            let times = |times: f64| base.map(|base| base * times);
            let (limit, is_least) = match asks {
                Asks::MostTimes(ratio) => (times(*ratio), false),
                Asks::LeastTimes(ratio) => (times(*ratio), true),
                Asks::Most(limit) => (Some(*limit), false),
                Asks::Least(limit) => (Some(*limit), true),
                Asks::LeastOf(other, ratio) => {
                    (self.figure(*row, *contestant, other).map(|figure| figure.value * ratio), true)
                }
            };
            let Some(limit) = limit else { continue };
            let is_met = if is_least { figure.value >= limit } else { figure.value <= limit };
            let is_met = is_met && figure.note != crate::rows::NOT_HELD;
            let _ = write!(
                table,
                "\n| {}: {name}, {} | {} | {} | {} {} | {} |",
                row.title(),
                figure.unit,
                contestant.title(),
                number(figure.value),
                if is_least { "at least" } else { "at most" },
                number(limit),
                if is_met { "met" } else { "**not met**" },
            );
        }
        table
    }
}

/// Three figures that count, thousands apart.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        value if value >= 100.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(broadcaster: f64, embedded: f64) -> Results {
        let measured = |contestant: Contestant, value| Measured {
            row: Row::Hundred.name(),
            contestant: contestant.name(),
            figures: vec![Figure { name: "p99", value, unit: "ms", note: "" }],
            failed: None,
        };
        let measured = vec![measured(Contestant::Broadcaster, broadcaster), measured(Contestant::Embedded, embedded)];
        Results { measured }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.031, 12.34, 123.4, 1234.5, 1_234_567.0].map(number).join(" "),
            "0 0.03 12.3 123 1,234 1,234,567"
        );
    }

    #[test]
    fn ratios_and_goals_are_of_the_broadcaster() {
        let within = results(2.0, 2.6);
        assert!(within.table().ends_with("| 2.00 | 2.60 (1.30) |"), "{}", within.table());
        assert!(within.goals().ends_with("| 2.60 | at most 2.60 | met |"), "{}", within.goals());
        let beyond = results(2.0, 2.7);
        assert!(beyond.goals().ends_with("| 2.70 | at most 2.60 | **not met** |"), "{}", beyond.goals());
    }
}
