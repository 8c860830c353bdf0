//! Proof that the scenarios can fail: for each broken server, which of them do.
//!
//! `broken.json` holds the lists, and the requirements that none of these servers breaks, with the reason. Where a
//! scenario or a server is added, `CONFORMANCE_ACCEPT=1` writes the lists anew; what is written is to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use collab_conformance::outcome::{Divergence, Verdict};
use collab_conformance::protocol;
use collab_conformance::run::Target;
use collab_conformance::step::Action;
use collab_conformance::suite::{Judged, run_all};
use collab_conformance::transcript::{Loaded, Profile};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::faults;
use crate::proxy::{Fault, Proxy};
use crate::{Server, process, scenarios, target};

/// How long a broken server may keep the runner waiting. Enough for what it does right.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long the right one may: nothing ends at this deadline but what has failed, however busy the machine is.
const PATIENT: Duration = Duration::from_secs(60);
/// How many scenarios wait for it at a time, of one server.
const JOBS: usize = 64;
/// How many servers are judged at a time.
const SERVERS: usize = 6;

/// What `broken.json` holds.
#[derive(Deserialize, Serialize)]
struct Expected {
    /// By the name of the server, the scenarios that fail.
    servers: BTreeMap<String, BTreeSet<String>>,
    /// Requirements that no server here breaks: why.
    unbroken: BTreeMap<String, String>,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/broken.json")
}

fn expected() -> Expected {
    serde_json::from_str(&std::fs::read_to_string(file()).unwrap()).unwrap()
}

/// The scenarios that people wrote. Those that the model wrote are many and alike: what they notice is shown where they
/// come from (docs/testing.md, "Every transition on the real server").
fn written_by_hand() -> impl Iterator<Item = Arc<Loaded>> {
    scenarios().into_iter().filter(|loaded| loaded.folder != "generated")
}

/// The scenarios that are asked of broken servers. Not those of clients that do not read: a proxy changes the timing that
/// they are about; nor those that wait long for what is right. Those of limits only if the fault concerns them.
fn asked(fault: Fault) -> Vec<Arc<Loaded>> {
    let is_asked = |loaded: &Arc<Loaded>| {
        let claims = |profile| loaded.transcript.profiles.contains(&profile);
        let is_quick = !claims(Profile::Slow) && (fault.is_of_limits || !claims(Profile::Limits));
        let mut waits = false;
        loaded.transcript.walk(|step| {
            waits |= matches!(
                step.action,
                Action::Expect { wait_s: Some(_), .. } | Action::ExpectClose { wait_s: Some(_), .. }
            );
        });
        loaded.transcript.hooks().is_empty() && is_quick && !waits
    };
    written_by_hand().filter(is_asked).collect()
}

/// The scenarios that end the server.
fn with_hooks() -> Vec<Arc<Loaded>> {
    written_by_hand().filter(|loaded| !loaded.transcript.hooks().is_empty()).collect()
}

async fn judge(fault: Fault, deadline: Duration, slots: Arc<Semaphore>) -> Vec<Judged> {
    let _slot = slots.acquire().await.unwrap();
    let server = Server::start().await;
    let proxy = Proxy::start(server.address, fault).await;
    let target = Target { deadline, ..target(proxy.address) };
    let judged = run_all(&asked(fault), &target, &Profile::ALL, JOBS, |_| {}).await;
    drop(proxy);
    server.stop().await;
    judged
}

/// The scenarios that fail, and where.
fn failures(judged: &[Judged]) -> BTreeMap<String, Divergence> {
    let failed = judged.iter().filter_map(|judged| match &judged.outcome.verdict {
        Verdict::Fail(divergence) => Some((judged.loaded.name.clone(), divergence.clone())),
        _ => None,
    });
    failed.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_is_not_the_fault() {
    let judged = judge(Fault::NONE, PATIENT, Arc::new(Semaphore::new(1))).await;
    let failures = failures(&judged);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_server_fails_where_it_must() {
    let slots = Arc::new(Semaphore::new(SERVERS));
    let spawn = |fault: &Fault| {
        let deadline = if fault.is_of_limits { DEADLINE * 3 } else { DEADLINE };
        (fault.name, tokio::spawn(judge(*fault, deadline, Arc::clone(&slots))))
    };
    let running: Vec<_> = faults::ALL.iter().map(spawn).collect();
    let mut servers = BTreeMap::new();
    for (name, running) in running {
        servers.insert(name.to_owned(), failures(&running.await.unwrap()));
    }
    servers.insert("output-before-durable".to_owned(), failures(&process::judge(&with_hooks(), false).await));
    let mut expected = expected();
    if std::env::var_os("CONFORMANCE_ACCEPT").is_some() {
        let names =
            |(name, failed): (&String, &BTreeMap<String, Divergence>)| (name.clone(), failed.keys().cloned().collect());
        expected.servers = servers.iter().map(names).collect();
        std::fs::write(file(), serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
    }
    assert_eq!(servers.keys().collect::<Vec<_>>(), expected.servers.keys().collect::<Vec<_>>());
    // It may fail more: on a busy machine it misses a deadline here and there.
    let mut wrong = String::new();
    for (name, failed) in &servers {
        assert!(!failed.is_empty(), "nothing notices {name}");
        for passed in expected.servers[name].iter().filter(|id| !failed.contains_key(*id)) {
            wrong += &format!("{name} passes {passed}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let broken = servers.values().flat_map(BTreeMap::values).flat_map(|divergence| divergence.tests.clone()).collect();
    assert_every_requirement_is_broken(&broken, &expected.unbroken);
}

fn assert_every_requirement_is_broken(broken: &BTreeSet<String>, unbroken: &BTreeMap<String, String>) {
    let all = scenarios();
    let named: BTreeSet<&String> = all.iter().flat_map(|loaded| &loaded.transcript.requirements).collect();
    let is_of_server = |id: &str| protocol::requirement(id).is_some_and(protocol::Requirement::is_server_must);
    let never: Vec<_> =
        named.iter().filter(|id| is_of_server(id) && !broken.contains(**id) && !unbroken.contains_key(**id)).collect();
    assert!(never.is_empty(), "no broken server breaks {never:?}, and no reason is given");
    let idle: Vec<_> = unbroken.keys().filter(|id| broken.contains(*id) || !named.contains(id)).collect();
    assert!(idle.is_empty(), "a reason is given for {idle:?}, which some server breaks or no scenario names");
}
