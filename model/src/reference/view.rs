//! The reference's model for the commands: in sentences, tables and charts.

use std::collections::VecDeque;

use super::narrate::{message, name, value};
use super::{Line, ReferenceModel, State, Step, Up, Which, sentence, table};
use crate::engine::chart::{At, Chart};
use crate::engine::watch::Watch;
use crate::engine::{Explorable, Kind};

impl Explorable for ReferenceModel {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn violation(&self, state: &State) -> Option<(&'static str, String)> {
        let texts: Vec<String> = state.clients.iter().map(|client| client.text.string(self.siblings())).collect();
        let evidence = format!("the log has {} entries, and the clients show {texts:?}", state.log.len());
        state.violated.map(|property| (property.name(), evidence))
    }

    fn enabled(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        self.enable(state, &mut steps);
        steps
    }

    fn kind(&self, step: &Step) -> Kind {
        match step {
            Step::Type(..) => Kind::Edit,
            Step::Break(_) | Step::Restart => Kind::Fault,
            _ => Kind::Progress,
        }
    }

    fn unsettled(&self, state: &State) -> Option<String> {
        let head = self.head(state);
        let unsettled = (0..).zip(&state.clients).find_map(|(index, client)| {
            if client.line.is_none() {
                Some(format!("{} is not connected", name(index)))
            } else if client.pending.is_empty() {
                (client.last_seen != head).then(|| format!("{} has seen {}, of {head}", name(index), client.last_seen))
            } else {
                Some(format!("{} has something pending", name(index)))
            }
        });
        unsettled.filter(|_| state.violated.is_none())
    }

    fn sentence(&self, before: &State, step: &Step) -> String {
        let mut after = before.clone();
        self.apply(&mut after, *step);
        sentence(self, before, *step, &after)
    }

    fn table(&self, state: &State) -> String {
        table(self, state)
    }

    fn chart(&self, states: &[State], steps: &[Step]) -> Chart {
        let clients = states.first().map_or(0, |state| state.clients.len());
        let mut lanes: Vec<String> = (0..clients as u8).map(|client| format!("client {}", name(client))).collect();
        lanes.extend(["server".to_owned(), "disk".to_owned()]);
        let violated = states.last().and_then(|state| state.violated);
        let chart = Chart::new(lanes, steps.len() + usize::from(violated.is_some()));
        let mut drawing = Drawing { chart, ways: vec![Way::default(); clients] };
        for (row, (pair, step)) in states.windows(2).zip(steps).enumerate() {
            drawing.step(row, &pair[0], *step, &pair[1]);
        }
        for client in 0..clients {
            let way = std::mem::take(&mut drawing.ways[client]);
            drawing.lose(steps.len().saturating_sub(1), client, way);
        }
        if let Some(property) = violated {
            let at = At { lane: clients, row: steps.len() };
            drawing.chart.cross(at, format!("violates {}", property.name()));
        }
        drawing.chart
    }
}

/// What is under way to and from a client: the row in which it was sent, and its label.
#[derive(Clone, Debug, Default)]
struct Way {
    up: VecDeque<(usize, String)>,
    down: VecDeque<(usize, String)>,
    /// On the broken connection, to the server.
    old: VecDeque<(usize, String)>,
}

struct Drawing {
    chart: Chart,
    ways: Vec<Way>,
}

impl Drawing {
    fn step(&mut self, row: usize, before: &State, step: Step, after: &State) {
        let (server, disk) = (self.ways.len(), self.ways.len() + 1);
        let at = |lane: usize| At { lane, row };
        match step {
            Step::Type(client, place) => self.chart.mark(at(client.into()), format!("types at {place}")),
            Step::Connect(client) => self.chart.mark(at(client.into()), "connects"),
            Step::Notice(client) => self.chart.mark(at(client.into()), "notices: it was closed"),
            Step::Break(client) => self.chart.cross(at(client.into()), "connection breaks"),
            Step::Restart => self.chart.cross(at(server), "restarts"),
            Step::Write => self.chart.arrow(at(server), at(disk), format!("durable up to {}", after.disk.len())),
            Step::Forget(client) => self.chart.mark(at(server), format!("notices: {} is gone", name(client))),
            Step::ReadHead(client, _) => self.chart.mark(at(server), format!("reads the head for {}", name(client))),
            Step::Replay(client, _) => self.chart.mark(at(server), format!("reads the log for {}", name(client))),
            Step::Broadcast(..) => self.chart.mark(at(server), "hands out an echo"),
            Step::Take(..) | Step::Deliver(_) => {}
        }
        for client in 0..self.ways.len() {
            self.messages(row, (client, step), (before, after));
        }
    }

    /// Draws what reached its end in this step, and notes what was sent.
    fn messages(&mut self, row: usize, (client, step): (usize, Step), (before, after): (&State, &State)) {
        let server = At { lane: self.ways.len(), row };
        let (here, index) = (At { lane: client, row }, client as u8);
        let mut way = std::mem::take(&mut self.ways[client]);
        let (mut taken, mut delivered) = (0, 0);
        if step == Step::Take(index, Which::Current) {
            taken = 1;
            let sent = way.up.pop_front();
            sent.into_iter().for_each(|(row, label)| self.chart.arrow(At { lane: client, row }, server, label));
        }
        if step == Step::Take(index, Which::Old) {
            let sent = way.old.pop_front();
            sent.into_iter().for_each(|(row, label)| self.chart.arrow(At { lane: client, row }, server, label));
        }
        if step == Step::Deliver(index) {
            delivered = 1;
            let sent = way.down.pop_front();
            sent.into_iter().for_each(|(row, label)| self.chart.arrow(At { lane: server.lane, row }, here, label));
        }
        let is_open = |line: &&Line| !line.is_closed;
        let old_line = before.line(index, Which::Current).filter(is_open);
        match after.line(index, Which::Current).filter(is_open) {
            Some(line) => {
                let (ups, downs) = old_line.map_or((0, 0), |old| (old.up.len() - taken, old.down.len() - delivered));
                way.up.extend(line.up.iter().skip(ups).map(|message| (row, upwards(message))));
                way.down.extend(line.down.iter().skip(downs).map(|got| (row, message(got))));
            }
            None => {
                if step == Step::Break(index) && after.clients[client].old.is_some() {
                    way.old = std::mem::take(&mut way.up);
                }
                let old = std::mem::take(&mut way.old);
                self.lose(row, client, std::mem::replace(&mut way, Way { old, ..Way::default() }));
            }
        }
        if after.clients[client].old.is_none() {
            let gone = Way { old: std::mem::take(&mut way.old), ..Way::default() };
            self.lose(row, client, gone);
        }
        self.ways[client] = way;
    }

    /// Draws what never arrives.
    fn lose(&mut self, row: usize, client: usize, way: Way) {
        let server = self.ways.len();
        for (sent, label) in way.up.into_iter().chain(way.old) {
            self.chart.lost(At { lane: client, row: sent }, At { lane: server, row }, label);
        }
        for (sent, label) in way.down {
            self.chart.lost(At { lane: server, row: sent }, At { lane: client, row }, label);
        }
    }
}

fn upwards(message: &Up) -> String {
    match message {
        Up::Hello(last_seen) => format!("hello, last_seen {last_seen}"),
        Up::Edit(edit) => format!("edit {}", value(edit.insert)),
    }
}
