//! What was sampled, as a table and as a picture.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::server::Sample;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 120.0;
/// Room on the left for what the greatest value is.
const LEFT: f64 = 110.0;

/// Writes `soak.csv` and `soak.svg` into a folder.
pub(crate) fn write(folder: &Path, samples: &[Sample]) {
    fs::create_dir_all(folder).unwrap();
    let mut table = "seconds,memory_kb,files,disk_kb\n".to_owned();
    for Sample { seconds, memory_kb, files, disk_kb } in samples {
        let _ = writeln!(table, "{seconds:.1},{memory_kb},{files},{disk_kb}");
    }
    fs::write(folder.join("soak.csv"), table).unwrap();
    fs::write(folder.join("soak.svg"), picture(samples)).unwrap();
}

/// What of a sample a curve shows.
type Value = fn(&Sample) -> u64;

/// A curve below the other, over the same time.
fn picture(samples: &[Sample]) -> String {
    let curves: [(&str, Value); 3] = [
        ("memory, MB", |sample| sample.memory_kb / 1024),
        ("open files", |sample| sample.files),
        ("disk, MB", |sample| sample.disk_kb / 1024),
    ];
    let (width, height) = (LEFT + WIDTH + 20.0, (HEIGHT + 40.0) * 3.0 + 30.0);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='sans-serif' font-size='13'>\
         <rect width='{width}' height='{height}' fill='white'/>\n"
    );
    let end = samples.last().map_or(1.0, |sample| sample.seconds.max(1.0));
    for (index, (name, value)) in curves.into_iter().enumerate() {
        let top = 20.0 + index as f64 * (HEIGHT + 40.0);
        let bottom = top + HEIGHT;
        let peak = samples.iter().map(value).max().unwrap_or(1).max(1);
        let point = |sample: &Sample| {
            let x = LEFT + sample.seconds / end * WIDTH;
            format!("{x:.1},{:.1} ", bottom - value(sample) as f64 / peak as f64 * HEIGHT)
        };
        let points: String = samples.iter().map(point).collect();
        let _ = writeln!(
            svg,
            "<text x='6' y='{:.0}'>{name}</text><text x='6' y='{:.0}' fill='#666'>up to {peak}</text>\
             <path d='M{LEFT} {top}V{bottom}H{:.0}' fill='none' stroke='#999'/>\
             <polyline points='{points}' fill='none' stroke='#1f6feb' stroke-width='1.2'/>",
            top + 14.0,
            top + 32.0,
            LEFT + WIDTH,
        );
    }
    let minutes = end / 60.0;
    let _ =
        writeln!(svg, "<text x='{LEFT}' y='{:.0}' fill='#666'>0 to {minutes:.0} minutes</text></svg>", height - 8.0);
    svg
}
