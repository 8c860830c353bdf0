//! The way to a world as a message-sequence chart: a lane for each client, the server, the disk.

use std::collections::{BTreeMap, VecDeque};

use collab_engine::id::SessionId;
use collab_engine::world::{Action, LinkView, World};

use super::say::{down, frames, sentence, unsynced, up};
use super::{SyncState, client_name};
use crate::engine::chart::{At, Chart};

/// What is under way on one connection: the row it was sent in, and its label.
#[derive(Default)]
struct UnderWay {
    client: usize,
    up: VecDeque<(usize, String)>,
    down: VecDeque<(usize, String)>,
}

struct Drawing {
    chart: Chart,
    server: usize,
    links: BTreeMap<SessionId, UnderWay>,
}

pub(super) fn chart(states: &[SyncState], actions: &[Action]) -> Chart {
    let clients = states.first().map_or(0, |state| state.world.peers().len());
    let mut lanes: Vec<_> = (0..clients).map(client_name).collect();
    lanes.extend(["server".to_owned(), "disk".to_owned()]);
    let violated = states.last().and_then(|state| state.violated);
    let rows = actions.len() + usize::from(violated.is_some());
    let mut drawing = Drawing { chart: Chart::new(lanes, rows), server: clients, links: BTreeMap::new() };
    for (row, (pair, action)) in states.windows(2).zip(actions).enumerate() {
        let (before, after) = (&pair[0].world, &pair[1].world);
        drawing.mark(row, before, action);
        drawing.disk(row, before, action, after);
        drawing.messages(row, before, action, after);
    }
    let end = actions.len().saturating_sub(1);
    for (_, link) in std::mem::take(&mut drawing.links) {
        drawing.lose(end, link);
    }
    if let Some(property) = violated {
        drawing.chart.cross(At { lane: clients, row: rows - 1 }, format!("violates {}", property.name()));
    }
    drawing.chart
}

fn durable(world: &World) -> String {
    let heads = (0..world.documents()).map(|document| world.disk_of(document).head().0.to_string());
    format!("durable up to {}", heads.collect::<Vec<_>>().join(", "))
}

impl Drawing {
    /// What is not a message.
    fn mark(&mut self, row: usize, world: &World, action: &Action) {
        let at = |lane| At { lane, row };
        // The lane says who: the sentence without its subject is enough.
        let label = |subject: &str| {
            let sentence = sentence(world, action);
            sentence.strip_prefix(subject).map_or(sentence.clone(), |rest| rest.trim_start().to_owned())
        };
        match action {
            Action::Insert(client, _)
            | Action::Delete(client, _)
            | Action::Connect(client)
            | Action::Reload(client)
            | Action::Barrier(client)
            | Action::Stray(client) => {
                self.chart.mark(at(*client), label(&client_name(*client)));
            }
            Action::Rekey(client) => self.chart.mark(at(*client), "must become a new instance"),
            Action::Break(session) => {
                let client = world.link(*session).map_or(0, |link| link.client);
                self.chart.cross(at(client), "connection breaks");
            }
            Action::Repeat(session) => {
                let client = world.link(*session).map_or(0, |link| link.client);
                self.chart.mark(at(client), "sends its last operation again");
            }
            Action::FailAppend(survivors) => {
                self.chart.cross(at(self.server + 1), format!("append fails, {survivors} survive"));
            }
            Action::Restore(entries) => self.chart.cross(at(self.server + 1), format!("backup of {entries} entries")),
            Action::Swap(session) => {
                let client = world.link(*session).map_or(0, |link| link.client);
                self.chart.mark(at(client), "sends in the other order");
            }
            Action::Notice(session) => {
                let client = world.link(*session).map_or_else(String::new, |link| client_name(link.client));
                self.chart.mark(at(self.server), format!("notices: {client} is gone"));
            }
            Action::Crash(_) => self.chart.cross(at(self.server), label("the server")),
            Action::Restart => self.chart.mark(at(self.server), "starts from the disk"),
            Action::Foreign => self.chart.mark(at(self.server + 1), "another server appends"),
            Action::Up(_) | Action::Send(_) | Action::Deliver(_) | Action::Sync | Action::Truncate => {}
        }
    }

    /// What goes between the server and its disk.
    fn disk(&mut self, row: usize, before: &World, action: &Action, after: &World) {
        let (server, disk) = (At { lane: self.server, row }, At { lane: self.server + 1, row });
        match action {
            Action::Sync => self.chart.arrow(disk, server, durable(after)),
            Action::Truncate => self.chart.arrow(server, disk, "snapshot, log cut"),
            Action::Up(_) if unsynced(after) > unsynced(before) => {
                self.chart.arrow(server, disk, "append");
            }
            _ => {}
        }
    }

    fn messages(&mut self, row: usize, before: &World, action: &Action, after: &World) {
        for link in after.links() {
            self.links.entry(link.session).or_default().client = link.client;
        }
        let mut links = std::mem::take(&mut self.links);
        for (session, under_way) in &mut links {
            self.upwards(row, under_way, action, *session, (before, after));
            self.downwards(row, under_way, action, *session, (before, after));
        }
        links.retain(|session, _| after.link(*session).is_some());
        self.links = links;
    }

    fn upwards(
        &mut self,
        row: usize,
        way: &mut UnderWay,
        action: &Action,
        session: SessionId,
        (before, after): (&World, &World),
    ) {
        let len = |world: &World| world.link(session).map_or(0, |link| link.up.len());
        let (client, server) = (way.client, self.server);
        if *action == Action::Up(session)
            && let Some((sent, label)) = way.up.pop_front()
        {
            self.chart.arrow(At { lane: client, row: sent }, At { lane: server, row }, label);
        }
        if *action == Action::Swap(session) && len(before) >= 2 {
            way.up.swap(len(before) - 1, len(before) - 2);
        }
        let rest = len(before) - usize::from(*action == Action::Up(session)).min(len(before));
        if len(after) < rest {
            for (sent, label) in way.up.drain(..) {
                self.chart.lost(At { lane: client, row: sent }, At { lane: server, row }, label);
            }
        }
        let fresh = after.link(session).into_iter().flat_map(|link| link.up.into_iter().skip(rest));
        way.up.extend(fresh.map(|message| (row, up(message))));
    }

    fn downwards(
        &mut self,
        row: usize,
        way: &mut UnderWay,
        action: &Action,
        session: SessionId,
        (before, after): (&World, &World),
    ) {
        let waiting = |link: Option<LinkView<'_>>| link.map_or(0, |link| link.down.len());
        let (client, server) = (At { lane: way.client, row }, self.server);
        match action {
            Action::Send(sent) if *sent == session => {
                let sent = before.next_frames(session);
                let is_under_way = waiting(after.link(session)) >= waiting(before.link(session)) + sent.len();
                if is_under_way {
                    way.down.extend(sent.iter().map(|frame| (row, down(frame))));
                } else if !sent.is_empty() {
                    self.chart.arrow(At { lane: server, row }, client, frames(&sent));
                }
            }
            Action::Deliver(delivered) if *delivered == session => {
                if let Some((sent, label)) = way.down.pop_front() {
                    self.chart.arrow(At { lane: server, row: sent }, client, label);
                }
            }
            _ => {}
        }
        if waiting(after.link(session)) < way.down.len() {
            for (sent, label) in way.down.drain(..) {
                self.chart.lost(At { lane: server, row: sent }, client, label);
            }
        }
    }

    /// What is still under way at the end.
    fn lose(&mut self, row: usize, link: UnderWay) {
        let server = self.server;
        for (sent, label) in link.up {
            self.chart.lost(At { lane: link.client, row: sent }, At { lane: server, row: row.max(sent) }, label);
        }
        for (sent, label) in link.down {
            self.chart.lost(At { lane: server, row: sent }, At { lane: link.client, row: row.max(sent) }, label);
        }
    }
}
