//! Message-sequence charts: lanes and events in, SVG out. Time runs downwards, one row for each step.
//!
//! The drawing brings its own colours, light on dark, because stateright's page is dark.

use std::fmt::Write;

const LANE_WIDTH: usize = 190;
const ROW_HEIGHT: usize = 26;
const TOP: usize = 44;
const MARGIN: usize = 84;
/// Longer labels are cut: they would run into the next lane.
const LABEL_MAX: usize = 30;

/// A place: which lane, at which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The lane, from the left.
    pub lane: usize,
    /// The step, from 0.
    pub row: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Arrow { from: At, to: At, label: String },
    Lost { from: At, towards: At, label: String },
    Mark { at: At, label: String },
    Cross { at: At, label: String },
}

/// A chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chart {
    lanes: Vec<String>,
    rows: usize,
    events: Vec<Event>,
}

impl Chart {
    /// A chart of named lanes and so many steps.
    pub fn new(lanes: Vec<String>, rows: usize) -> Self {
        Self { lanes, rows, events: Vec::new() }
    }

    /// A message that arrived.
    pub fn arrow(&mut self, from: At, to: At, label: impl Into<String>) {
        self.events.push(Event::Arrow { from, to, label: label.into() });
    }

    /// A message that was lost on its way, or is still under way at the end: the line ends half way.
    pub fn lost(&mut self, from: At, towards: At, label: impl Into<String>) {
        self.events.push(Event::Lost { from, towards, label: label.into() });
    }

    /// Something that happens on a lane.
    pub fn mark(&mut self, at: At, label: impl Into<String>) {
        self.events.push(Event::Mark { at, label: label.into() });
    }

    /// Something that goes wrong on a lane.
    pub fn cross(&mut self, at: At, label: impl Into<String>) {
        self.events.push(Event::Cross { at, label: label.into() });
    }

    /// The chart as an SVG element.
    pub fn to_svg(&self) -> String {
        let width = 2 * MARGIN + self.lanes.len() * LANE_WIDTH;
        let height = TOP + (self.rows + 1) * ROW_HEIGHT;
        let mut svg = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' \
             style='width:100%;max-width:{width}px;height:auto;background:#142b46' font-family='sans-serif' font-size='12'><title>message-sequence chart</title>"
        );
        self.draw_lanes(&mut svg, height);
        for row in 0..self.rows {
            let y = y(row) + 4;
            let _ = write!(svg, "<text x='6' y='{y}' fill='#8fa3b3'>{}</text>", row + 1);
        }
        // Lines first, so that no line strikes through a label.
        self.events.iter().for_each(|event| draw_line(&mut svg, event));
        self.events.iter().for_each(|event| self.draw_label(&mut svg, event));
        svg.push_str("</svg>");
        svg
    }

    fn draw_lanes(&self, svg: &mut String, height: usize) {
        for (lane, name) in self.lanes.iter().enumerate() {
            let (x, bottom) = (x(lane), height - 8);
            let _ = write!(
                svg,
                "<line x1='{x}' y1='30' x2='{x}' y2='{bottom}' stroke='#5b7f99'/>\
                 <text x='{x}' y='20' text-anchor='middle' font-weight='bold' fill='#e7ecef'>{}</text>",
                escape(name)
            );
        }
    }

    fn draw_label(&self, svg: &mut String, event: &Event) {
        // Messages leave the lanes of the left half rightwards: there what a lane does stands on its left.
        let beside = |at: At| match 2 * at.lane < self.lanes.len() {
            true => ((x(at.lane) - 10, y(at.row) + 4), "end"),
            false => ((x(at.lane) + 11, y(at.row) + 4), "start"),
        };
        let ((x, y), anchor, colour, label) = match event {
            Event::Arrow { from, to, label } => {
                let (x, y) = middle(*from, *to);
                ((x, y - 4), "middle", "#e7ecef", label)
            }
            Event::Lost { from, towards, label } => {
                // Over the half that is drawn.
                let (end_x, end_y) = middle(*from, *towards);
                let (x, y) = (usize::midpoint(x(from.lane), end_x), usize::midpoint(y(from.row), end_y));
                ((x, y - 4), "middle", "#f2a65a", label)
            }
            Event::Mark { at, label } => {
                let (place, anchor) = beside(*at);
                (place, anchor, "#f2e27a", label)
            }
            Event::Cross { at, label } => {
                let (place, anchor) = beside(*at);
                (place, anchor, "#ff7b72", label)
            }
        };
        // The halo keeps a label readable where lines cross it.
        let _ = write!(
            svg,
            "<text x='{x}' y='{y}' text-anchor='{anchor}' fill='{colour}' stroke='#142b46' stroke-width='4' \
             paint-order='stroke'>{}</text>",
            escape(&shorten(label))
        );
    }
}

fn x(lane: usize) -> usize {
    MARGIN + LANE_WIDTH / 2 + lane * LANE_WIDTH
}

fn y(row: usize) -> usize {
    TOP + row * ROW_HEIGHT + ROW_HEIGHT / 2
}

/// The middle between two places.
fn middle(from: At, to: At) -> (usize, usize) {
    (usize::midpoint(x(from.lane), x(to.lane)), usize::midpoint(y(from.row), y(to.row)))
}

fn draw_line(svg: &mut String, event: &Event) {
    match event {
        Event::Arrow { from, to, .. } => {
            let (x1, y1, x2, y2) = (x(from.lane), y(from.row), x(to.lane), y(to.row));
            let _ = write!(svg, "<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='#9fd3f0' stroke-width='1.5'/>");
            draw_head(svg, (x1, y1), (x2, y2));
        }
        Event::Lost { from, towards, .. } => {
            let (x1, y1, (x2, y2)) = (x(from.lane), y(from.row), middle(*from, *towards));
            let _ = write!(
                svg,
                "<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='#f2a65a' stroke-width='1.5' stroke-dasharray='5 3'/>"
            );
            draw_cross(svg, (x2, y2), 4, "#f2a65a");
        }
        Event::Mark { at, .. } => {
            let _ = write!(svg, "<circle cx='{}' cy='{}' r='4' fill='#f2e27a'/>", x(at.lane), y(at.row));
        }
        Event::Cross { at, .. } => {
            draw_cross(svg, (x(at.lane), y(at.row)), 6, "#ff7b72");
        }
    }
}

fn draw_cross(svg: &mut String, (x, y): (usize, usize), size: usize, colour: &str) {
    let (left, right, top, bottom) = (x - size, x + size, y - size, y + size);
    let _ = write!(
        svg,
        "<path d='M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}' stroke='{colour}' stroke-width='2.5'/>"
    );
}

/// The head of an arrow, turned as its line is.
fn draw_head(svg: &mut String, (x1, y1): (usize, usize), (x2, y2): (usize, usize)) {
    let angle = (y2 as f64 - y1 as f64).atan2(x2 as f64 - x1 as f64).to_degrees();
    let _ =
        write!(svg, "<path d='M0 0L-9 -4L-9 4Z' fill='#9fd3f0' transform='translate({x2} {y2}) rotate({angle:.1})'/>");
}

fn shorten(label: &str) -> String {
    if label.chars().count() <= LABEL_MAX {
        return label.to_owned();
    }
    label.chars().take(LABEL_MAX - 1).chain(std::iter::once('…')).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in XML at all.
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_cut() {
        let mut chart = Chart::new(vec!["<A>".into()], 1);
        chart.mark(At { lane: 0, row: 0 }, "types \"<&\u{1}\" at a place that is far too far to the right");
        let svg = chart.to_svg();
        assert!(svg.contains("&lt;A&gt;"));
        assert!(svg.contains("types &quot;&lt;&amp;\u{fffd}&quot;") && svg.contains('…'));
        assert!(!svg.contains("<A>") && !svg.contains('\u{1}'));
    }
}
