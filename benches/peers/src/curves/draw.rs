//! Draws a chart: logarithms on both axes.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::combinators::{BindKeyPoints, IntoLogRange};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::points::{Line, Points};
use super::sweep::Chart;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const PANEL_WIDTH: u32 = 420;
const LEGEND_WIDTH: u32 = 290;
const HEIGHT: u32 = 440;
const TITLE_HEIGHT: u32 = 36;
const FOOT_HEIGHT: u32 = 24;

/// Okabe and Ito's, which the colour-blind tell apart too.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(90, 90, 90),
];

/// The chart as SVG.
pub fn chart(chart: &Chart, points: &Points) -> String {
    let mut svg = String::new();
    let width = PANEL_WIDTH * chart.panels.len() as u32 + LEGEND_WIDTH;
    draw(&SVGBackend::with_string(&mut svg, (width, HEIGHT)).into_drawing_area(), chart, points)
        .expect("a string takes all that is drawn");
    svg
}

type Result<'a> = std::result::Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(root: &Area<'a>, chart: &Chart, points: &Points) -> Result<'a> {
    root.fill(&WHITE)?;
    let (head, rest) = root.split_vertically(TITLE_HEIGHT);
    head.draw(&Text::new(chart.title, (14, 12), ("sans-serif", 20).into_font()))?;
    let (body, foot) = rest.split_vertically(HEIGHT - TITLE_HEIGHT - FOOT_HEIGHT);
    foot.draw(&Text::new(points.measured.as_str(), (14, 4), ("sans-serif", 12).into_font().color(&BLACK.mix(0.6))))?;
    let lines: Vec<Vec<&Line>> = (0..chart.panels.len()).map(|panel| points.of(chart.file, panel).collect()).collect();
    let names = names(lines.iter().flatten().copied());
    let values = |lines: &mut dyn Iterator<Item = &Line>, of: fn(&(f64, f64)) -> f64| {
        around(lines.flat_map(|line| &line.points).map(of))
    };
    let y = values(&mut lines.iter().flatten().copied(), |point| point.1);
    let mut left = body;
    for (lines, title) in lines.iter().zip(chart.panels) {
        let (area, behind) = left.split_horizontally(PANEL_WIDTH);
        let x = values(&mut lines.iter().copied(), |point| point.0);
        panel(&area, chart, title, (x, y.clone()), lines, &names)?;
        left = behind;
    }
    legend(&left, &names)
}

/// Each once, in the order in which they come.
fn names<'a>(lines: impl Iterator<Item = &'a Line>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for line in lines {
        if !names.contains(&line.name.as_str()) {
            names.push(line.name.as_str());
        }
    }
    names
}

/// A range on a logarithmic axis around all values.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    if least <= most { least * 0.8..most * 1.25 } else { 1.0..10.0 }
}

/// Where a logarithmic axis is marked: at powers of ten, and at twice and five times these if it is short.
fn marks(range: &Range<f64>) -> Vec<f64> {
    let decades = (range.end / range.start).log10();
    let digits: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let all = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)));
    all.filter(|mark| range.contains(mark)).collect()
}

/// A number of characters or nanoseconds, with commas.
fn grouped(value: &f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn panel<'a>(
    area: &Area<'a>,
    chart: &Chart,
    title: &str,
    (x, y): (Range<f64>, Range<f64>),
    lines: &[&Line],
    names: &[&str],
) -> Result<'a> {
    let (x_marks, y_marks) = (marks(&x), marks(&y));
    let mut plot = ChartBuilder::on(area)
        .margin(8)
        .margin_right(22)
        .caption(title, ("sans-serif", 14))
        .set_label_area_size(LabelAreaPosition::Left, 62)
        .set_label_area_size(LabelAreaPosition::Bottom, 44)
        .build_cartesian_2d(x.log_scale().with_key_points(x_marks), y.log_scale().with_key_points(y_marks))?;
    plot.configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_desc_style(("sans-serif", 13))
        .label_style(("sans-serif", 12))
        .x_label_formatter(&grouped)
        .y_label_formatter(&grouped)
        .x_desc(chart.x)
        .y_desc(chart.y)
        .draw()?;
    for line in lines {
        let (colour, is_filled) = style(&line.name, names);
        plot.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        let mark = if is_filled { colour.filled() } else { colour.stroke_width(2) };
        plot.draw_series(line.points.iter().map(|point| Circle::new(*point, 4, mark)))?;
    }
    Ok(())
}

/// The colour of a line, and whether its marks are filled: this project's are.
fn style(name: &str, names: &[&str]) -> (RGBColor, bool) {
    let index = names.iter().position(|other| *other == name).unwrap_or(0);
    (COLOURS[index % COLOURS.len()], name.starts_with("collab-engine"))
}

fn legend<'a>(area: &Area<'a>, names: &[&str]) -> Result<'a> {
    let font = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    for (row, name) in names.iter().enumerate() {
        let y = 48 + 24 * row as i32;
        let (colour, is_filled) = style(name, names);
        area.draw(&PathElement::new([(0, y), (28, y)], colour.stroke_width(2)))?;
        let mark = if is_filled { colour.filled() } else { colour.stroke_width(2) };
        area.draw(&Circle::new((14, y), 4, mark))?;
        area.draw(&Text::new(*name, (36, y), font.clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sweep::CHARTS;
    use super::*;

    #[test]
    fn marks_are_powers_of_ten_or_halves_and_fifths() {
        assert_eq!(marks(&(800.0..1.25e7)), [1e3, 1e4, 1e5, 1e6, 1e7]);
        assert_eq!(marks(&(40.0..600.0)), [50.0, 100.0, 200.0, 500.0]);
    }

    #[test]
    fn numbers_are_grouped() {
        let text = [1.0, 999.6, 10_000.0, 1_234_567.0].map(|value| grouped(&value));
        assert_eq!(text, ["1", "1,000", "10,000", "1,234,567"]);
    }

    #[test]
    fn a_range_holds_all_values_and_there_is_one_without_any() {
        let range = around([30.0, 2_000.0, 7.0].into_iter());
        assert!(range.contains(&7.0) && range.contains(&2_000.0) && range.start > 0.0);
        assert!(around(std::iter::empty()).start > 0.0);
    }

    #[test]
    fn a_chart_shows_title_axes_names_and_where_it_was_measured() {
        for spec in &CHARTS {
            let line = |name: &str| Line {
                chart: spec.file.into(),
                panel: spec.panels.len() - 1,
                name: name.into(),
                points: vec![(1e3, 90.0), (1e4, 120.0)],
            };
            let lines = vec![line("collab-engine, local"), line("another")];
            let svg = chart(spec, &Points { measured: "then and there".into(), lines });
            let words = [spec.title, spec.x, spec.y, "collab-engine, local", "another", "then and there", "10,000"];
            for words in words.iter().chain(spec.panels) {
                assert!(svg.contains(words), "{}: {words}", spec.file);
            }
            assert!(svg.matches("<polyline").count() >= 2, "two lines");
        }
    }
}
