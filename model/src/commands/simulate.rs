//! `collab-model simulate`: random walks through configurations that are beyond exhaustion.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::engine::Explorable;
use crate::engine::bounds::{Bounds, Visit};
use crate::engine::run::thousands;
use crate::engine::story::{minimise, tell};
use crate::engine::walk::{Dice, Walked, walk};

use super::check::save;
use super::refuse;

/// What is walked through if no bounds are given.
const BEYOND: &str = "sync --clients 3 --clients-v1 1 --ops 4 --run-len 2 --breaks 3 --crashes 2 --truncations 2 \
                      --foreign 1 --rekeys 1 --reloads 1 --in-flight 2";

/// Walks at random through a configuration, also one that is far too large to be exhausted.
///
/// A violation is shortened and told. Exit code 0: none was met, which proves nothing. 1: one was. 2: usage.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    bounds: Bounds,
    /// What the walks depend on [default: another one each time; it is printed].
    #[arg(long)]
    seed: Option<u64>,
    /// Walks [default: 1000, or as many as the minutes allow].
    #[arg(long, value_name = "N")]
    walks: Option<u64>,
    /// Steps of a walk, at the most.
    #[arg(long, value_name = "N", default_value_t = 400)]
    steps: usize,
    /// How long to walk.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Write the story of a violation to a file that `replay` takes.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// Runs the command.
pub fn run(mut args: Args) -> ExitCode {
    if args.bounds.is_empty() {
        args.bounds = match Bounds::parse(BEYOND) {
            Ok(bounds) => bounds,
            Err(problem) => return refuse(&problem),
        };
    }
    if let Err(problem) = args.bounds.validate() {
        return refuse(&problem);
    }
    if args.minutes.is_some_and(|minutes| !(minutes > 0.0 && minutes < 1e6)) {
        return refuse("--minutes wants a number above 0");
    }
    let bounds = args.bounds.clone();
    bounds.visit(Simulate(args))
}

struct Simulate(Args);

impl Visit for Simulate {
    type Output = ExitCode;

    fn visit<M: Explorable>(self, model: M) -> ExitCode {
        let args = self.0;
        let seed = args.seed.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
        let walks_max = args.walks.unwrap_or(if args.minutes.is_some() { u64::MAX } else { 1000 });
        let end = args.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
        println!("{}\nseed {seed}", args.bounds.describe());
        let (begin, mut shown) = (Instant::now(), Shown::default());
        let (mut walks, mut steps) = (0, 0);
        while walks < walks_max && end.is_none_or(|end| begin.elapsed() < end) {
            // Each walk has a seed of its own, so that a failing one can be had alone.
            let own = seed.wrapping_add(walks);
            walks += 1;
            match walk(&model, &mut Dice::new(own), args.steps) {
                Walked::Sound(length) => steps += length as u64,
                Walked::Violated(path) => {
                    shown.clear();
                    println!(
                        "Walk {walks} came to a violation in {} steps: --seed {own} --walks 1 repeats it.",
                        path.len()
                    );
                    let path = minimise(&model, &path);
                    let story = tell(&model, &path, false);
                    let saved = args.save.as_deref().and_then(|file| save(file, &story, &args.bounds));
                    story.print(&args.bounds, saved.as_deref());
                    return ExitCode::FAILURE;
                }
            }
            shown.tick(begin, walks, steps);
        }
        shown.clear();
        println!(
            "{} walks, {} steps, {:.1} s: nothing was violated. That is no proof; the walks came by",
            thousands(walks),
            thousands(steps),
            begin.elapsed().as_secs_f64()
        );
        for (what, times) in model.watch().met() {
            let times = if times > 0 { thousands(times) } else { "never".to_owned() };
            println!("  {:<75} {times:>12}", what.name);
        }
        ExitCode::SUCCESS
    }
}

/// Shows on standard error how far it is, if that is a terminal.
#[derive(Default)]
struct Shown {
    last: Duration,
}

impl Shown {
    fn tick(&mut self, begin: Instant, walks: u64, steps: u64) {
        let elapsed = begin.elapsed();
        if elapsed - self.last < Duration::from_millis(500) || !std::io::stderr().is_terminal() {
            return;
        }
        self.last = elapsed;
        let rate = steps as f64 / elapsed.as_secs_f64();
        eprint!(
            "\r\x1b[K  {} walks, {} steps, {}/s, {} s",
            thousands(walks),
            thousands(steps),
            thousands(rate as u64),
            elapsed.as_secs()
        );
        let _ = std::io::stderr().flush();
    }

    fn clear(&self) {
        if self.last > Duration::ZERO {
            eprint!("\r\x1b[K");
        }
    }
}
