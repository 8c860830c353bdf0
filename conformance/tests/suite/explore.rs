//! Exploring: our server can always be explained, broken ones are found out, and what is found stands by itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use collab_conformance::check;
use collab_conformance::oracle::{Explored, Judgement, Plan, Scenario, Session, explore, fresh_seed};
use collab_conformance::outcome::Verdict;
use collab_conformance::protocol;
use collab_conformance::run::{Target, run};
use collab_conformance::transcript::{Profile, Transcript};
use futures_util::StreamExt;
use futures_util::stream;

use crate::faults;
use crate::proxy::{Fault, Proxy};
use crate::{Server, target};

/// How many sessions are held with our server, of each seed.
const SESSIONS: u64 = 150;
/// Within how many sessions a broken server is found out.
const SESSIONS_OF_BROKEN: u64 = 60;
/// How many broken servers are explored at a time.
const SERVERS: usize = 8;
/// What exploring does not notice: it sends no frames that are not text, and no JSON that only a lax parser takes.
/// The last is noticed only when somebody joins between two messages of a client that does not wait.
const UNNOTICED: [&str; 3] = ["binary-is-text", "lenient-json", "waiting-forgotten"];
/// Noticed like the others, but by what never comes: each try to shorten it waits for the deadline.
const SILENT: [&str; 4] = ["echo-not-to-sender", "echo-to-sender-only", "no-take-over", "second-hello-ignored"];

fn plan(seed: u64, sessions: u64) -> Plan {
    Plan { seed, sessions: Some(sessions), time: None, clients: 4, acts: 60, profiles: Profile::ALL.to_vec() }
}

fn tell(session: &Session) {
    match &session.judgement {
        Judgement::Consistent => {}
        Judgement::Failed(failure) => println!("seed {}: {}", session.seed, failure.story),
        Judgement::Undecided(why) => println!("seed {}: {why}", session.seed),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_server_can_always_be_explained() {
    let server = Server::start().await;
    for seed in [1, fresh_seed()] {
        println!("the first seed is {seed}");
        let Explored { sum, .. } = explore(&target(server.address), &plan(seed, SESSIONS), tell).await.unwrap();
        assert_eq!((sum.consistent, sum.undecided, sum.failed), (SESSIONS, 0, 0));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_version_1_alone_is_explored_in_it() {
    let server = Server::start().await;
    let plan = Plan { profiles: vec![Profile::V1], ..plan(1, 20) };
    let Explored { sum, .. } = explore(&target(server.address), &plan, tell).await.unwrap();
    assert_eq!(sum.consistent, 20);
    server.stop().await;
}

/// Explores a broken server. Gives whether it was found out, and the scenario that says so.
async fn find_out(fault: Fault) -> (bool, Option<Scenario>) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address, fault).await;
    // Enough for what it does right, however busy the machine; what never comes is waited for so long.
    let broken = Target { deadline: Duration::from_secs(4), ..target(proxy.address) };
    let explored = explore(&broken, &plan(1, SESSIONS_OF_BROKEN), |_| {}).await;
    // A server that cannot even be asked about itself is found out too.
    let Ok(Explored { sum, scenario }) = explored else { return (true, None) };
    if let Some(scenario) = &scenario {
        let transcript: Transcript = serde_json::from_str(&scenario.json).unwrap();
        assert_eq!(check::faults(&scenario.name, &transcript, &protocol::ids()), Vec::<String>::new());
        let good = run(&transcript, &target(server.address)).await.verdict;
        assert_eq!(good, Verdict::Pass, "{}: {}", fault.name, scenario.json);
        let bad = run(&transcript, &broken).await.verdict;
        assert!(matches!(bad, Verdict::Fail(_)), "{}: {}", fault.name, scenario.json);
    }
    drop(proxy);
    server.stop().await;
    (sum.failed > 0, scenario)
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_servers_are_found_out_and_the_scenarios_of_it_stand_by_themselves() {
    let asked = faults::ALL.iter().filter(|fault| !UNNOTICED.contains(&fault.name) && !SILENT.contains(&fault.name));
    let explored = stream::iter(asked).map(async |fault| (fault.name, find_out(*fault).await));
    let explored: Vec<_> = explored.buffer_unordered(SERVERS).collect().await;
    let (mut missed, mut scenarios) = (Vec::new(), BTreeSet::new());
    for (name, (is_found, scenario)) in explored {
        missed.extend((!is_found).then_some(name));
        scenarios.extend(scenario.map(|_| name));
    }
    assert_eq!(missed, Vec::<&str>::new(), "not found out within {SESSIONS_OF_BROKEN} sessions");
    assert!(scenarios.len() >= 18, "only these end in a scenario: {scenarios:?}");
}

/// Who judges by scenarios must not share the code of the judged.
#[test]
fn only_the_oracle_uses_the_engine() {
    fn look(directory: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("oracle") {
                look(&path, found);
            } else if path.is_file() && std::fs::read_to_string(&path).unwrap().contains("collab_engine") {
                found.push(path.display().to_string());
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    look(&source, &mut found);
    assert_eq!(found, Vec::<String>::new());
    assert!(std::fs::read_to_string(source.join("oracle/hidden.rs")).unwrap().contains("collab_engine"));
}
