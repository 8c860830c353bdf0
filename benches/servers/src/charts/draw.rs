//! Draws a chart: a heading, a legend, panels side by side, remarks.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::axis::Axis;
use super::{Panel, Record, Scale, Series, Subject, caption};
use crate::contestant::Contestant;
use crate::rows::{LOAD_FULL, NOT_HELD};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 960;
/// Of the panels.
const HEIGHT: u32 = 380;
/// Of heading and legend.
const HEAD: i32 = 72;
/// Of a line below the panels.
const LINE: i32 = 16;
/// Kept clear on both sides of what is written.
const MARGIN: i32 = 16;

const FONT: &str = "sans-serif";
const DARK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const LIGHT: RGBColor = RGBColor(0x66, 0x66, 0x66);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

/// Colours that people tell apart however they see them (Okabe and Ito).
fn colour(contestant: Contestant) -> RGBColor {
    match contestant {
        Contestant::Broadcaster => RGBColor(0x55, 0x55, 0x55),
        Contestant::Embedded => RGBColor(0x00, 0x72, 0xb2),
        Contestant::Traced => RGBColor(0x56, 0xb4, 0xe9),
        Contestant::Memory => RGBColor(0x00, 0x9e, 0x73),
        Contestant::YWebsocket => RGBColor(0xe6, 0x9f, 0x00),
        Contestant::Hocuspocus => RGBColor(0xd5, 0x5e, 0x00),
        Contestant::ShareDb => RGBColor(0xcc, 0x79, 0xa7),
    }
}

/// Draws the chart as SVG.
///
/// # Errors
///
/// If the library refuses something, or the figures are of somebody unknown.
pub fn draw(subject: Subject, record: &Record) -> Result<String, String> {
    let remarks = remarks(subject, record);
    let mut svg = String::new();
    let height = HEAD as u32 + HEIGHT + remarks.len() as u32 * LINE as u32 + LINE as u32 / 2;
    {
        let picture = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        picture.fill(&WHITE).map_err(words)?;
        let (head, rest) = picture.split_vertically(HEAD);
        let (body, foot) = rest.split_vertically(HEIGHT as i32);
        write(&head, subject.title(), (MARGIN, 12), 23, DARK)?;
        legend(&head, record)?;
        for (area, panel) in body.split_evenly((1, subject.panels().len())).iter().zip(subject.panels()) {
            draw_panel(area, subject, *panel, record)?;
        }
        for (line, remark) in (0..).zip(&remarks) {
            write(&foot, remark, (MARGIN, line * LINE), 13, LIGHT)?;
        }
        picture.present().map_err(words)?;
    }
    Ok(svg)
}

fn words(error: impl Display) -> String {
    format!("the chart cannot be drawn: {error}")
}

fn known(series: &Series) -> Result<Contestant, String> {
    Contestant::named(&series.contestant).ok_or_else(|| format!("nobody is called {}", series.contestant))
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: u32, colour: RGBColor) -> Result<(), String> {
    area.draw(&Text::new(text, at, (FONT, size).into_font().color(&colour))).map_err(words)
}

/// What is to be said below the panels: what curves and signs mean, then when and where it was measured.
fn remarks(subject: Subject, record: &Record) -> Vec<String> {
    let is_noted =
        |note: &&str| record.series.iter().flat_map(|series| &series.points).any(|point| point.note == *note);
    let mut remarks = record.remarks(subject);
    let notes: Vec<&str> = [NOT_HELD, LOAD_FULL].into_iter().filter(is_noted).collect();
    if !notes.is_empty() {
        remarks.push(format!("Hollow points: {}.", notes.join(" or ")));
    }
    remarks.extend([format!("Measured on {}.", record.head.measured), record.head.circumstances.clone()]);
    remarks
}

/// One line with the name of each contestant in its colour.
fn legend(area: &Area<'_>, record: &Record) -> Result<(), String> {
    const DASH: i32 = 22;
    let (mut at, middle) = (MARGIN, 52);
    let mut shown = Vec::new();
    for series in &record.series {
        let contestant = known(series)?;
        if shown.contains(&contestant) {
            continue;
        }
        shown.push(contestant);
        let style = colour(contestant);
        area.draw(&Rectangle::new([(at, middle - 2), (at + DASH, middle + 1)], style.filled())).map_err(words)?;
        let name = caption(contestant);
        write(area, &name, (at + DASH + 6, middle - 8), 16, DARK)?;
        // Letters of this size are seven wide on average.
        at += DASH + 6 + 7 * name.len() as i32 + MARGIN;
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, subject: Subject, panel: Panel, record: &Record) -> Result<(), String> {
    let curves: Vec<&Series> = record.series.iter().filter(|series| series.figure == panel.figure).collect();
    let [scale_across, scale_up] = subject.scales();
    // Where ratios are read off, the same height is the same value in all panels.
    let is_shared = |series: &&Series| scale_up == Scale::Logarithmic || series.figure == panel.figure;
    let values = record.series.iter().filter(is_shared).flat_map(|series| &series.points);
    let values: Vec<f64> = values.map(|point| point.value).collect();
    let (across, up) = (Axis::across(scale_across, subject.places()), Axis::up(scale_up, &values));
    let mut builder = ChartBuilder::on(area);
    builder.margin_left(8).margin_right(24).margin_top(8).margin_bottom(8);
    builder.x_label_area_size(46).y_label_area_size(74);
    let mut chart = builder.build_cartesian_2d(across.clone(), up.clone()).map_err(words)?;
    let small = || (FONT, 15).into_font().color(&DARK);
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(GRID).light_line_style(TRANSPARENT).axis_style(LIGHT);
    mesh.x_label_style(small()).y_label_style(small()).axis_desc_style((FONT, 16).into_font().color(&DARK));
    mesh.x_desc(subject.across()).y_desc(panel.title);
    mesh.draw().map_err(words)?;
    for series in curves {
        let colour = colour(known(series)?);
        let places = series.points.iter().filter_map(|point| {
            let place = (across.place(point.at as f64)?, up.place(point.value)?);
            Some((place, point.note.is_empty()))
        });
        let places: Vec<_> = places.collect();
        let line = LineSeries::new(places.iter().map(|(place, _)| *place), colour.stroke_width(2));
        chart.draw_series(line).map_err(words)?;
        for (place, is_filled) in places {
            let inside = if is_filled { colour } else { WHITE };
            let dots = [Circle::new(place, 4, inside.filled()), Circle::new(place, 4, colour.stroke_width(2))];
            chart.draw_series(dots).map_err(words)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::{Head, Point};

    /// All contestants, rising by a tenth from place to place.
    fn record(subject: Subject) -> Record {
        let curve = |panel: &Panel, place: usize, contestant: &Contestant| Series {
            figure: panel.figure.to_owned(),
            contestant: contestant.name().to_owned(),
            points: (1..)
                .zip(subject.places())
                .map(|(step, at)| Point {
                    at: *at,
                    value: (1 + place) as f64 + f64::from(step) / 10.0,
                    note: String::new(),
                })
                .collect(),
        };
        let curves = |panel| subject.contestants().iter().enumerate().map(move |(place, one)| curve(panel, place, one));
        let head = Head { measured: "a day <ago>".to_owned(), circumstances: "2 s a load".to_owned() };
        Record { head, series: subject.panels().iter().flat_map(curves).collect() }
    }

    fn polylines(svg: &str, contestant: Contestant) -> Vec<&str> {
        let RGBColor(red, green, blue) = colour(contestant);
        let stroke = format!("stroke=\"#{red:02X}{green:02X}{blue:02X}\"");
        svg.lines().filter(|line| line.starts_with("<polyline") && line.contains(&stroke)).collect()
    }

    #[test]
    fn each_series_is_a_line_through_all_its_points() {
        for subject in Subject::ALL {
            let svg = draw(subject, &record(subject)).unwrap();
            assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
            for contestant in subject.contestants() {
                let lines = polylines(&svg, *contestant);
                assert_eq!(lines.len(), subject.panels().len(), "{subject:?}, {contestant:?}: {svg}");
                for line in lines {
                    let points = line.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
                    assert_eq!(points.split_whitespace().count(), subject.places().len(), "{line}");
                }
                assert!(svg.contains(&caption(*contestant)), "{contestant:?}");
            }
        }
    }

    #[test]
    fn what_is_written_names_axes_units_day_and_machine() {
        let svg = draw(Subject::Latency, &record(Subject::Latency)).unwrap();
        for text in ["p50, ms", "p99, ms", "clients", "1,000", "a day &lt;ago&gt;", "2 s a load"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(!svg.contains("Hollow"));
    }

    #[test]
    fn a_point_that_was_not_held_is_hollow_and_explained() {
        let mut record = record(Subject::Memory);
        let hollow = |record: &Record| draw(Subject::Memory, record).unwrap().matches("fill=\"#FFFFFF\"").count();
        let before = hollow(&record);
        record.series[0].points[1].note = NOT_HELD.to_owned();
        assert_eq!(hollow(&record), before + 1);
        assert!(draw(Subject::Memory, &record).unwrap().contains("Hollow points: not held."));
    }

    #[test]
    fn figures_of_somebody_unknown_are_not_drawn() {
        let mut record = record(Subject::Memory);
        record.series[0].contestant = "nobody".to_owned();
        assert!(draw(Subject::Memory, &record).is_err());
    }
}
