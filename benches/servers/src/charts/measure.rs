//! Measures one place of a chart.

use std::time::Duration;

use super::Subject;
use crate::contestant::{Contestant, Programs, Server};
use crate::load::{self, Load, Pace};
use crate::rows::{self, Figure, figure};
use crate::speech;

/// Before anything counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// Documents that are typed into at the same time, so that the shortest do not grow much while it is measured.
const LONG_DOCUMENTS: usize = 5;
const LONG_RATE: f64 = 1000.0;
/// Characters of a paste: so long a document has one run for each so many.
const PASTE: u64 = 100;

/// How many idle connections a document has.
const IDLE_CLIENTS: u64 = 100;

/// Measures a contestant at a place of the horizontal axis, on a server of its own.
///
/// # Errors
///
/// If nothing could be measured.
pub async fn measure(
    subject: Subject,
    contestant: Contestant,
    at: u64,
    programs: &Programs,
    length: Duration,
) -> Result<Vec<Figure>, String> {
    let server = Server::start(contestant, programs).map_err(|error| error.to_string())?;
    let load = Load { documents: 1, clients: 2, writers: 1, pace: Pace::Window, window: 200, warm_up: WARM_UP, length };
    match subject {
        Subject::Latency => {
            let load = Load { clients: at as usize, writers: 10, pace: Pace::Rate(50.0), ..load };
            let (outcome, _) = load::run(&server, "latency", &load).await?;
            rows::report(&outcome);
            let note = rows::load_note(&outcome);
            let latencies = [figure("p50", outcome.p50_ms, "ms"), figure("p99", outcome.p99_ms, "ms")];
            Ok(latencies.map(|figure| Figure { note, ..figure }).into())
        }
        Subject::Throughput => {
            let load = Load { documents: at as usize, window: 16, ..load };
            let (outcome, _) = load::run(&server, "throughput", &load).await?;
            rows::report(&outcome);
            let note = rows::load_note(&outcome);
            Ok(vec![Figure { note, ..figure("rate", outcome.operations_per_second, "operations/s") }])
        }
        Subject::Length => long(&server, at, &load).await,
        Subject::Memory => {
            let documents = at.div_ceil(IDLE_CLIENTS);
            let _peers = load::join(&server, "idle", documents as usize, (at / documents) as usize).await?;
            Ok(vec![figure("memory", server.usage().memory_kb as f64 / 1024.0, "MiB")])
        }
    }
}

/// Typing in the middle of documents with so many characters.
async fn long(server: &Server, characters: u64, load: &Load) -> Result<Vec<Figure>, String> {
    let pasting = Load {
        documents: LONG_DOCUMENTS,
        clients: 1,
        pace: Pace::Count(characters / PASTE),
        window: 64,
        warm_up: Duration::ZERO,
        length: Duration::from_secs(60),
        ..*load
    };
    let (pasted, _) = load::run_as(server, "long", &pasting, &|document, _| speech::paster(document, PASTE)).await?;
    if !pasted.is_whole() {
        return Err(format!("{} pastes lost: {:?}", pasted.lost, pasted.reasons));
    }
    let typing = Load { documents: LONG_DOCUMENTS, pace: Pace::Rate(LONG_RATE), ..*load };
    let typist = |document: &str, index: usize| speech::typist(document, index, characters);
    let (outcome, _) = load::run_as(server, "long", &typing, &typist).await?;
    rows::report(&outcome);
    let note = rows::load_note(&outcome);
    let figures = [figure("cpu", outcome.server_cpu_us, "µs"), figure("p50", outcome.p50_ms, "ms")];
    Ok(figures.map(|figure| Figure { note, ..figure }).into())
}
