//! Where an axis begins and ends, and what is written along it.

use std::ops::{Range, RangeInclusive};

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::Scale;
use crate::table::number;

/// More marks than this get in each other's way.
const MARKS_MAX: usize = 8;

/// Room before the first and behind the last value of a horizontal axis, as a share of its length.
const MARGIN: f64 = 0.04;

/// An axis, in the units of the picture: logarithms, if its scale is that.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    scale: Scale,
    pub begin: f64,
    pub end: f64,
    /// Where something is written.
    pub marks: Vec<f64>,
}

impl Axis {
    /// A horizontal axis, marked at its values; a linear one begins at zero and is marked at round values.
    #[must_use]
    pub fn across(scale: Scale, values: &[u64]) -> Self {
        let values: Vec<f64> = values.iter().map(|value| *value as f64).collect();
        if scale == Scale::Linear {
            return Self::up(scale, &values);
        }
        let marks: Vec<f64> = values.iter().filter_map(|value| place(scale, *value)).collect();
        let (low, high) = ends(&marks);
        let margin = (high - low).max(1.0) * MARGIN;
        Self { scale, begin: low - margin, end: high + margin, marks }
    }

    /// A vertical axis around these values, from a round one to a round one.
    #[must_use]
    pub fn up(scale: Scale, values: &[f64]) -> Self {
        match scale {
            Scale::Linear => {
                let (_, high) = ends(values);
                let step = round_values(-9..=12).find(|step| step * MARKS_MAX as f64 >= high).unwrap_or(high);
                let steps = (high / step).ceil().max(1.0);
                let marks = (0..=steps as u32).map(|mark| f64::from(mark) * step);
                Self { scale, begin: 0.0, end: steps * step, marks: marks.collect() }
            }
            Scale::Logarithmic => {
                let values: Vec<f64> = values.iter().copied().filter(|value| *value > 0.0).collect();
                let (low, high) = ends(&values);
                let begin = round_values(-9..=12).take_while(|value| *value <= low).last().unwrap_or(low);
                let end = round_values(-9..=12).find(|value| *value >= high && *value > begin).unwrap_or(high);
                let mut marks: Vec<f64> = round_values(-9..=12).filter(|value| (begin..=end).contains(value)).collect();
                if marks.len() > MARKS_MAX {
                    marks.retain(|mark| mark.log10().fract() == 0.0);
                }
                let marks = marks.into_iter().map(f64::log10).collect();
                Self { scale, begin: begin.log10(), end: end.log10(), marks }
            }
        }
    }

    /// Where a value is, unless it has no place.
    #[must_use]
    pub fn place(&self, value: f64) -> Option<f64> {
        place(self.scale, value)
    }

    /// What is written at a mark.
    #[must_use]
    pub fn label(&self, mark: f64) -> String {
        let value = if self.scale == Scale::Logarithmic { 10_f64.powf(mark) } else { mark };
        // Without what multiplying by tenths has left.
        let value = (value * 1e6).round() / 1e6;
        if value >= 1000.0 { number(value) } else { value.to_string() }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let share = (place - self.begin) / (self.end - self.begin);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Marks are few and all of one kind.
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.begin..self.end
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, mark: &f64) -> String {
        self.label(*mark)
    }
}

fn place(scale: Scale, value: f64) -> Option<f64> {
    match scale {
        Scale::Linear => Some(value),
        Scale::Logarithmic => (value > 0.0).then(|| value.log10()),
    }
}

/// The least and the greatest; from nothing, something that can be drawn.
fn ends(values: &[f64]) -> (f64, f64) {
    let ends = values.iter().fold(None, |ends, value| {
        let (low, high) = ends.unwrap_or((*value, *value));
        Some((value.min(low), value.max(high)))
    });
    ends.unwrap_or((1.0, 1.0))
}

/// 1, 2 and 5 times powers of ten, rising.
fn round_values(exponents: RangeInclusive<i32>) -> impl Iterator<Item = f64> {
    // Read, not multiplied: 0.1 is the number that is written so.
    let value = |exponent: i32, digit: u8| format!("{digit}e{exponent}").parse().unwrap_or(f64::NAN);
    exponents.flat_map(move |exponent| [1, 2, 5].map(|digit| value(exponent, digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.marks.iter().map(|mark| axis.label(*mark)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_above_its_greatest_value() {
        let axis = Axis::up(Scale::Linear, &[3.0, 17.0]);
        assert_eq!((axis.begin, axis.end, labels(&axis).as_str()), (0.0, 20.0, "0 5 10 15 20"));
        assert_eq!(labels(&Axis::up(Scale::Linear, &[0.27])), "0 0.05 0.1 0.15 0.2 0.25 0.3");
        assert_eq!(labels(&Axis::across(Scale::Linear, &[100, 9000])), "0 2,000 4,000 6,000 8,000 10,000");
    }

    #[test]
    fn a_logarithmic_axis_has_few_round_marks() {
        let axis = Axis::up(Scale::Logarithmic, &[0.3, 7.0]);
        assert_eq!(labels(&axis), "0.2 0.5 1 2 5 10");
        assert_eq!((axis.label(axis.begin), axis.label(axis.end)), ("0.2".to_owned(), "10".to_owned()));
        assert_eq!(labels(&Axis::up(Scale::Logarithmic, &[0.3, 7000.0])), "1 10 100 1,000 10,000");
        // Nothing of it is at nought, and one value is no range.
        assert_eq!(axis.place(0.0), None);
        assert_eq!(labels(&Axis::up(Scale::Logarithmic, &[0.0, 5.0])), "5 10");
        assert_eq!(labels(&Axis::up(Scale::Logarithmic, &[])), "1 2");
    }

    #[test]
    fn a_horizontal_logarithmic_axis_is_marked_where_it_was_measured() {
        let axis = Axis::across(Scale::Logarithmic, &[10, 30, 1000]);
        assert_eq!(labels(&axis), "10 30 1,000");
        assert!(axis.begin < 1.0 && axis.end > 3.0, "{axis:?}");
    }
}
