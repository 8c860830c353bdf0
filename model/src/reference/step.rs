//! The reference's transitions, and what each may break.

use std::collections::VecDeque;

use collab_engine::invariants::Property as Name;

use super::state::{Client, Down, Edit, Handler, Line, State, Step, Up, Which};
use super::text::{Id, Insert, Text};
use super::{Defect, ReferenceModel};

impl ReferenceModel {
    /// The steps that are neither edits nor faults.
    pub(super) fn progress(&self, state: &State, steps: &mut Vec<Step>) {
        for index in 0..state.clients.len() as u8 {
            let client = &state.clients[index as usize];
            match &client.line {
                None => steps.push(Step::Connect(index)),
                Some(line) if line.is_closed => steps.push(Step::Notice(index)),
                Some(line) => {
                    if !line.down.is_empty() {
                        steps.push(Step::Deliver(index));
                    }
                    steps.extend(self.handled(state, index, Which::Current, line));
                }
            }
            if let Some(old) = &client.old {
                steps.extend(self.handled(state, index, Which::Old, old));
                steps.push(Step::Forget(index));
            }
        }
        if self.has_disk() && state.disk.len() < state.log.len() {
            steps.push(Step::Write);
        }
    }

    /// What the server's handler of a connection does next.
    fn handled(&self, state: &State, client: u8, which: Which, line: &Line) -> Option<Step> {
        match line.handler {
            Handler::New | Handler::Ready => (!line.up.is_empty()).then_some(Step::Take(client, which)),
            Handler::Joined(_) => Some(Step::ReadHead(client, which)),
            Handler::Acked(_) => Some(Step::Replay(client, which)),
            Handler::Numbered(number) => (number <= self.head(state)).then_some(Step::Broadcast(client, which)),
        }
    }

    /// Everything that may happen; nothing behind a state that breaks a property.
    pub(super) fn enable(&self, state: &State, steps: &mut Vec<Step>) {
        if state.violated.is_none() {
            self.progress(state, steps);
            self.edits_and_faults(state, steps);
        }
    }

    /// Whether nothing is left to happen but edits and faults. That the server forgets a broken connection changes
    /// nothing.
    pub(super) fn is_at_rest(&self, state: &State) -> bool {
        let mut steps = Vec::new();
        self.progress(state, &mut steps);
        steps.iter().all(|step| matches!(step, Step::Forget(_)))
    }

    fn edits_and_faults(&self, state: &State, steps: &mut Vec<Step>) {
        for (index, client) in (0..).zip(&state.clients) {
            if client.typed < self.bounds.edits {
                let length = client.text.shown(self.siblings()).len() as u8;
                steps.extend((0..=length).map(|at| Step::Type(index, at)));
            }
            if client.line.is_some() && client.old.is_none() && state.breaks > 0 {
                steps.push(Step::Break(index));
            }
        }
        if state.restarts > 0 {
            steps.push(Step::Restart);
        }
    }

    /// How much of the log may be spoken of.
    pub fn head(&self, state: &State) -> u8 {
        let visible = if self.has(Defect::EarlyEcho) { &state.log } else { &state.disk };
        visible.len() as u8
    }

    pub(super) fn apply(&self, state: &mut State, step: Step) {
        match step {
            Step::Type(client, at) => self.type_at(state, client, at as usize),
            Step::Connect(client) => connect(&mut state.clients[client as usize]),
            Step::Deliver(client) => self.deliver(state, client as usize),
            Step::Notice(client) => state.clients[client as usize].line = None,
            Step::Take(client, which) => self.take(state, client, which),
            Step::ReadHead(client, which) => self.read_head(state, client, which),
            Step::Replay(client, which) => self.replay(state, client, which),
            Step::Broadcast(client, which) => self.broadcast_one(state, client, which),
            Step::Forget(client) => state.clients[client as usize].old = None,
            Step::Write => self.write(state),
            Step::Break(client) => {
                state.breaks -= 1;
                let client = &mut state.clients[client as usize];
                client.old = client.line.take().filter(|line| !line.is_closed);
                if let Some(old) = &mut client.old {
                    old.down.clear();
                }
            }
            Step::Restart => self.restart(state),
        }
        self.judge(state);
    }

    fn type_at(&self, state: &mut State, index: u8, at: usize) {
        let client = &mut state.clients[index as usize];
        let shown = client.text.shown(self.siblings());
        // Behind a character without an id there is only the root to name.
        let parent = at.checked_sub(1).and_then(|before| shown[before].id);
        client.clock += 1;
        client.typed += 1;
        let value = char::from(if index == 0 { b'a' } else { b'x' } + client.typed - 1);
        let insert = Insert { id: Id { lamport: client.clock, client: index }, parent, value };
        let edit = Edit { origin: index, message: client.typed, insert };
        client.text.integrate(insert);
        client.pending.push(edit);
        if let Some(line) = client.line.as_mut().filter(|line| !line.is_closed) {
            line.up.push_back(Up::Edit(edit));
        }
        let shown = client.text.shown(self.siblings());
        if shown.get(at).is_none_or(|shown| shown.id != Some(insert.id)) {
            state.violated = Some(Name::Intention);
        }
    }

    fn take(&self, state: &mut State, client: u8, which: Which) {
        let line = state.line_mut(client, which).expect("a step names a connection that is there");
        match line.up.pop_front() {
            Some(Up::Hello(last_seen)) => {
                line.handler = Handler::Joined(last_seen);
                if !self.has(Defect::SplitJoin) {
                    self.read_head(state, client, which);
                    self.replay(state, client, which);
                }
            }
            Some(Up::Edit(edit)) => {
                let same = |known: &Edit| known.origin == edit.origin && known.message == edit.message;
                match state.log.iter().position(same) {
                    Some(at) if !self.has(Defect::NoSuppression) => self.answer(state, (client, which), at as u8 + 1),
                    found => self.number(state, (client, which), edit, found.is_some()),
                }
            }
            None => {}
        }
    }

    fn number(&self, state: &mut State, (client, which): (u8, Which), edit: Edit, is_known: bool) {
        state.log.push(edit);
        let number = state.log.len() as u8;
        if is_known {
            state.violated = Some(Name::ExactlyOnce);
        }
        if self.has(Defect::SplitBroadcast) {
            if let Some(line) = state.line_mut(client, which) {
                line.handler = Handler::Numbered(number);
            }
        } else if self.has(Defect::EarlyEcho) {
            self.broadcast(state, number);
        }
    }

    /// Answers a message that was taken before: its echo, again, to its sender alone. One that is not durable is still
    /// to be echoed to everybody.
    fn answer(&self, state: &mut State, (client, which): (u8, Which), number: u8) {
        if !self.has(Defect::SilentResync) && number <= self.head(state) {
            let edit = state.log[number as usize - 1];
            self.queue(state, (client, which), Down::Echo { number, edit, is_answer: true });
        }
    }

    fn read_head(&self, state: &mut State, client: u8, which: Which) {
        let head = self.head(state);
        self.queue(state, (client, which), Down::HelloAck(head));
        if let Some(line) = state.line_mut(client, which)
            && let Handler::Joined(last_seen) = line.handler
        {
            line.handler = Handler::Acked(last_seen);
        }
    }

    fn replay(&self, state: &mut State, client: u8, which: Which) {
        let Some(line) = state.line_mut(client, which) else { return };
        let Handler::Acked(last_seen) = line.handler else { return };
        line.handler = Handler::Ready;
        let head = self.head(state);
        if last_seen == 0 || last_seen >= head || head - last_seen > self.bounds.replay_max {
            let edits = &state.log[..head as usize];
            let inserts: Vec<Insert> = edits.iter().map(|edit| edit.insert).collect();
            let text = Text::from_iter(inserts.iter().copied()).string(self.siblings());
            let elements = (!self.has(Defect::TextOnlyResync)).then_some(inserts);
            self.queue(state, (client, which), Down::Resync { number: head, text, elements });
        } else {
            for number in last_seen + 1..=head {
                let edit = state.log[number as usize - 1];
                self.queue(state, (client, which), Down::Echo { number, edit, is_answer: false });
            }
        }
    }

    fn broadcast_one(&self, state: &mut State, client: u8, which: Which) {
        let Some(line) = state.line_mut(client, which) else { return };
        let Handler::Numbered(number) = line.handler else { return };
        line.handler = Handler::Ready;
        self.broadcast(state, number);
    }

    fn broadcast(&self, state: &mut State, number: u8) {
        let edit = state.log[number as usize - 1];
        for client in 0..state.clients.len() as u8 {
            if state.line(client, Which::Current).is_some_and(|line| line.handler != Handler::New) {
                self.queue(state, (client, Which::Current), Down::Echo { number, edit, is_answer: false });
            }
        }
    }

    /// Queues a message for a connection; what goes to a broken one goes nowhere.
    fn queue(&self, state: &mut State, (client, which): (u8, Which), message: Down) {
        let Some(line) = state.line_mut(client, which).filter(|line| which == Which::Current && !line.is_closed) else {
            return;
        };
        let echoes = line.down.iter().filter(|message| matches!(message, Down::Echo { .. })).count();
        let is_echo = matches!(message, Down::Echo { .. });
        if is_echo && self.has(Defect::FixedQueue) && echoes >= self.bounds.queue_places {
            line.is_closed = true;
            line.up.clear();
            line.down.clear();
            line.handler = Handler::New;
            line.expected = None;
        } else {
            line.down.push_back(message);
        }
    }

    fn write(&self, state: &mut State) {
        let before = state.disk.len();
        state.disk = state.log.clone();
        if !self.has(Defect::EarlyEcho) && !self.has(Defect::SplitBroadcast) {
            for number in before + 1..=state.disk.len() {
                self.broadcast(state, number as u8);
            }
        }
    }

    fn restart(&self, state: &mut State) {
        state.restarts -= 1;
        for client in &mut state.clients {
            client.line = None;
            client.old = None;
        }
        state.log = if self.has(Defect::EmptyRestart) { Vec::new() } else { state.disk.clone() };
        if state.log.len() < state.disk.len().max(state.told as usize) {
            state.violated = Some(Name::Recovery);
        }
    }

    fn deliver(&self, state: &mut State, index: usize) {
        let client = &mut state.clients[index];
        let Some(line) = &mut client.line else { return };
        match line.down.pop_front() {
            Some(Down::HelloAck(head)) => state.told = state.told.max(head),
            Some(Down::Resync { number, text, elements }) => {
                line.expected = Some(number + 1);
                client.last_seen = number;
                client.text = elements.map_or_else(|| Text::nameless(text), Text::from_iter);
                client.pending.iter().for_each(|edit| client.text.integrate(edit.insert));
                client.clock = client.clock.max(client.text.lamport_max());
                state.told = state.told.max(number);
            }
            // A client that has joined from nothing waits for its resync, which covers what is echoed before.
            Some(Down::Echo { is_answer: false, .. }) if line.expected.is_none() => {}
            Some(Down::Echo { number, edit, is_answer }) => {
                if !is_answer {
                    if line.expected != Some(number) {
                        state.violated = Some(Name::OrderedDelivery);
                    }
                    line.expected = Some(number + 1);
                    client.last_seen = number;
                }
                client.text.integrate(edit.insert);
                client.clock = client.clock.max(edit.insert.id.lamport);
                let is_own = edit.origin as usize == index;
                client.pending.retain(|known| !is_own || known.message != edit.message);
                state.told = state.told.max(number);
            }
            None => {}
        }
    }

    /// Finds what the step broke, unless that is known already.
    fn judge(&self, state: &mut State) {
        if state.violated.is_none() && state.told as usize > state.disk.len() {
            state.violated = Some(Name::SeenIsDurable);
        }
        if state.violated.is_none() && state.clients.iter().any(|client| !self.is_replay(state, client)) {
            state.violated = Some(Name::ReplicaState);
        }
        if state.violated.is_none() && self.is_at_rest(state) {
            let head = self.head(state);
            if state.clients.iter().any(|client| !client.pending.is_empty()) {
                state.violated = Some(Name::NoWedge);
            } else if state.clients.iter().any(|client| client.last_seen != head) {
                state.violated = Some(Name::Progress);
            }
        }
    }

    /// Whether a client shows the log up to its `last_seen` and its pending edits.
    fn is_replay(&self, state: &State, client: &Client) -> bool {
        let seen = state.log.iter().take(client.last_seen as usize);
        let expected: Text = seen.chain(&client.pending).map(|edit| edit.insert).collect();
        client.text.string(self.siblings()) == expected.string(self.siblings())
    }
}

/// Opens a connection: hello, then what is pending, again.
fn connect(client: &mut Client) {
    let mut up = VecDeque::from([Up::Hello(client.last_seen)]);
    up.extend(client.pending.iter().copied().map(Up::Edit));
    let expected = (client.last_seen > 0).then_some(client.last_seen + 1);
    client.line = Some(Line { up, down: VecDeque::new(), handler: Handler::New, expected, is_closed: false });
}
