//! The reports hold what was found, in a form that can be read.

use collab_conformance::report::{Kind, Report, write};
use collab_conformance::suite::{Judged, run_all};
use collab_conformance::transcript::Profile;
use serde_json::Value;

use crate::proxy::{Fault, Proxy};
use crate::{Server, scenarios, target};

/// One scenario that passes, one that fails, one that is skipped.
async fn judged() -> Vec<Judged> {
    let server = Server::start().await;
    let down = |_: &mut _, mut message: Value| {
        if message["type"] == "synced" {
            message["nonce"] = "<b>&".into();
        }
        vec![message]
    };
    let proxy = Proxy::start(server.address, Fault { down, ..Fault::NONE }).await;
    let mut chosen = scenarios();
    chosen.retain(|loaded| ["v1-delete", "v2-sync", "v2-terms-of-numbers"].contains(&loaded.name.as_str()));
    let judged = run_all(&chosen, &target(proxy.address), &Profile::ALL, 1, |_| {}).await;
    server.stop().await;
    judged
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_tells_passed_from_failed_from_skipped() {
    let judged = judged().await;
    let report = Report { target: "ws://host/<&>".to_owned(), profiles: Profile::ALL.to_vec(), judged: &judged };

    let json: Value = serde_json::from_str(&write(Kind::Json, &report)).unwrap();
    let count = |verdict: &str| json["counts"][verdict].as_u64().unwrap();
    assert_eq!((count("passed"), count("failed"), count("skipped")), (1, 1, 1));
    let failed = json["scenarios"].as_array().unwrap().iter().find(|one| one["verdict"] == "FAIL").unwrap();
    assert_eq!(failed["id"], "v2-sync");
    assert!(failed["divergence"]["received"].as_str().unwrap().contains("<b>&"), "{failed}");
    let verdict_of = |id: &str| json["requirements"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    assert_eq!(
        (&verdict_of("SYNC-1")["verdict"], &verdict_of("OP-5")["verdict"]),
        (&"failed".into(), &"passed".into())
    );
    assert_eq!(verdict_of("SLOW-1")["verdict"], "untested");

    let junit = write(Kind::Junit, &report);
    assert!(junit.contains(r#"<testsuites tests="3" failures="1" errors="0" skipped="1""#), "{junit}");
    assert!(junit.contains("<skipped message=\"needs the hook restart\"/>") && junit.contains("&lt;b&gt;&amp;"));

    let html = write(Kind::Html, &report);
    for part in
        ["id=\"SYNC-1\"", "id=\"t-v2-sync\" open", "href=\"#t-v1-delete\"", "class=\"diverged\"", "Not run: needs"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(
        !html.contains("<b>&") && !html.contains("host/<&>") && !html.contains("<script") && !html.contains("src=")
    );
}
