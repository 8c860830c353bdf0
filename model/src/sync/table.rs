//! A world as a small table.

use std::fmt::Write;

use collab_engine::oplog::Entry;
use collab_engine::protocol::client::Status;
use collab_engine::world::{LinkView, Peer, World};

use super::say::{down, op, up};
use super::{SyncState, client_name};

pub(super) fn table(state: &SyncState) -> String {
    let world = &state.world;
    let mut table = String::new();
    if let Some(property) = state.violated {
        let _ = writeln!(table, "VIOLATED   {}: {}\n", property.name(), state.evidence.text());
    }
    let _ = writeln!(table, "{:<10} {:<10} {:<10} {:>4}  pending", "", "text", "status", "seen");
    for (client, peer) in world.peers().iter().enumerate() {
        let _ = writeln!(table, "{:<10} {}", client_name(client), row(world, client, peer));
    }
    for document in 0..world.documents() {
        add_document(&mut table, world, document);
    }
    for link in world.links() {
        let _ = writeln!(table, "{:<10} {}", format!("link {}", link.session.0), describe(&link));
    }
    table
}

/// A document's server and disk.
fn add_document(table: &mut String, world: &World, document: usize) {
    let of = if world.documents() > 1 { format!(" {}", document + 1) } else { String::new() };
    let server = world.server_of(document).map_or_else(
        || "down".to_owned(),
        |server| {
            let content = server.content();
            format!("{:<10} {:<10} {:>4}", quoted(&content.document.text()), "up", content.head.0)
        },
    );
    let _ = writeln!(table, "{:<10} {server}", format!("server{of}"));
    let disk = world.disk_of(document);
    let log: Vec<_> = disk.log().iter().map(|each| entry(each)).collect();
    let log = if log.is_empty() { "empty".to_owned() } else { log.join(", ") };
    let _ = writeln!(table, "{:<10} {log}", format!("log{of}"));
    let start = disk.log_start().0;
    let cut = if start > 0 { format!("; cut behind {start}") } else { String::new() };
    let _ = writeln!(table, "{:<10} {} not synced{cut}", format!("disk{of}"), disk.unsynced_count());
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn row(world: &World, client: usize, peer: &Peer) -> String {
    let left = match world.edits_left()[client] {
        0 => String::new(),
        1 => "  (1 edit left)".to_owned(),
        left => format!("  ({left} edits left)"),
    };
    let text = quoted(&peer.text());
    let (status, seen, pending): (String, u64, Vec<String>) = match peer {
        Peer::V2(replica) => {
            let status = match replica.state.status() {
                Status::Ended(_) => "ended".to_owned(),
                status => format!("{status:?}").to_lowercase(),
            };
            let pending = replica.state.pending().map(|pending| format!("#{} {}", pending.number, op(&pending.op)));
            (status, replica.state.last_seen().0, pending.collect())
        }
        Peer::V1(v1) => {
            let is_linked = world.links().any(|link| link.client == client && link.is_client_open);
            let status = if is_linked { "version 1" } else { "offline" };
            (status.to_owned(), v1.last_seen().0, v1.pending().map(op).collect())
        }
    };
    let pending = if pending.is_empty() { "-".to_owned() } else { pending.join(", ") };
    format!("{text:<10} {status:<10} {seen:>4}  {pending}{left}")
}

fn entry(entry: &Entry) -> String {
    format!("{}:{} {}", entry.last().0, entry.origin.as_str(), op(&entry.op))
}

fn describe(link: &LinkView<'_>) -> String {
    let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
    let ends = match (link.is_client_open, link.is_server_open) {
        (true, true) => "",
        (false, _) => ", gone at the client",
        (true, false) => ", closed by the server",
    };
    let ups = list(link.up.iter().map(|message| up(message)).collect());
    let downs = list(link.down.iter().map(|frame| down(frame)).collect());
    format!("of {}{ends}: to the server {ups}; to the client {downs}", client_name(link.client))
}
