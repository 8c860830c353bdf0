//! A step in words.

use super::state::{Down, Edit, Handler, Line, State, Step, Up, Which};
use super::text::Insert;
use super::{Defect, ReferenceModel};

/// The name of a client.
pub(super) fn name(client: u8) -> char {
    char::from(b'A' + client)
}

/// What a step is, without what it does.
pub fn short_sentence(step: Step) -> String {
    let line = |client: u8, which: Which| match which {
        Which::Current => name(client).to_string(),
        Which::Old => format!("{}'s old connection", name(client)),
    };
    match step {
        Step::Type(client, at) => format!("{} types at position {at}", name(client)),
        Step::Connect(client) => format!("{} connects", name(client)),
        Step::Deliver(client) => format!("{} processes the next message", name(client)),
        Step::Notice(client) => format!("{} notices that its connection was closed", name(client)),
        Step::Take(client, which) => format!("the server takes the next message of {}", line(client, which)),
        Step::ReadHead(client, which) => format!("the server reads the head for {}", line(client, which)),
        Step::Replay(client, which) => format!("the server reads what {} missed", line(client, which)),
        Step::Broadcast(client, which) => format!("the server hands out the echo of {}", line(client, which)),
        Step::Forget(client) => format!("the server notices that {}'s old connection is broken", name(client)),
        Step::Write => "the log gets to the disk".to_owned(),
        Step::Break(client) => format!("{}'s connection breaks", name(client)),
        Step::Restart => "the server restarts".to_owned(),
    }
}

/// What a step does, as a sentence, from the states before and after it.
pub fn sentence(model: &ReferenceModel, before: &State, step: Step, after: &State) -> String {
    let siblings = model.siblings();
    let shows = |state: &State, client: u8| state.clients[client as usize].text.string(siblings);
    match step {
        Step::Type(client, at) => {
            let typed = after.clients[client as usize].pending.last().copied();
            let typed = typed.map_or_else(String::new, |edit| value(edit.insert));
            let place = match (at as usize).checked_sub(1) {
                None => "at the beginning".to_owned(),
                Some(before_it) => behind(model, before, client, before_it),
            };
            let sent = if after.clients[client as usize].line.is_some() { "" } else { ", offline" };
            format!("{} types {typed} {place}{sent}. It shows {:?}.", name(client), shows(after, client))
        }
        Step::Connect(client) => {
            let last_seen = before.clients[client as usize].last_seen;
            let again = edits(&before.clients[client as usize].pending);
            let sends = if again.is_empty() { String::new() } else { format!(", and sends {again}") };
            format!("{} connects: hello, last_seen {last_seen}{sends}.", name(client))
        }
        Step::Deliver(client) => {
            let got = before.line(client, Which::Current).and_then(|line| line.down.front());
            let got = got.map_or_else(String::new, message);
            format!("{} gets {got}. It shows {:?}.", name(client), shows(after, client))
        }
        Step::Notice(client) => format!("{} notices that its connection was closed.", name(client)),
        Step::Take(client, which) => taken(model, before, (client, which), after),
        Step::ReadHead(client, _) => {
            format!("For {} the server reads the head, {}, and sends hello_ack.", name(client), model.head(before))
        }
        Step::Replay(client, which) => format!(
            "For {} the server reads what it missed: {}.",
            name(client),
            queued(before.line(client, which), after.line(client, which))
        ),
        Step::Broadcast(client, which) => {
            let number = match before.line(client, which).map(|line| line.handler) {
                Some(Handler::Numbered(number)) => number,
                _ => 0,
            };
            format!("The server hands out echo {number}{}.", closings(before, after))
        }
        Step::Forget(client) => format!("The server notices that {}'s old connection is broken.", name(client)),
        Step::Write => write(model, before, after),
        Step::Break(client) => {
            let lost = before.line(client, Which::Current).map_or_else(String::new, lost);
            format!("{}'s connection breaks{lost}.", name(client))
        }
        Step::Restart => {
            let length = after.log.len();
            format!("The server restarts. Its log has {length} {}.", if length == 1 { "entry" } else { "entries" })
        }
    }
}

/// A state as a short table.
pub fn table(model: &ReferenceModel, state: &State) -> String {
    let mut rows = vec![
        format!("log      {}", edits(&state.log)),
        format!("disk     {}", if model.has_disk() { edits(&state.disk) } else { "there is none".to_owned() }),
    ];
    for (index, client) in (0..).zip(&state.clients) {
        let shows = client.text.string(model.siblings());
        rows.push(format!("{}        shows {shows:?}, last_seen {}", name(index), client.last_seen));
        if !client.pending.is_empty() {
            rows.push(format!("         pending: {}", edits(&client.pending)));
        }
        match &client.line {
            None => rows.push("         not connected".to_owned()),
            Some(line) if line.is_closed => rows.push("         its connection was closed by the server".to_owned()),
            Some(line) => {
                rows.extend(line.down.iter().map(|got| format!("         on the way to it: {}", message(got))));
            }
        }
    }
    if let Some(property) = state.violated {
        rows.push(format!("broken   {}", property.name()));
    }
    rows.join("\n")
}

pub(super) fn value(insert: Insert) -> String {
    format!("{:?}", insert.value.to_string())
}

fn edits<'a>(edits: impl IntoIterator<Item = &'a Edit>) -> String {
    edits.into_iter().map(|edit| value(edit.insert)).collect::<Vec<_>>().join(" and ")
}

fn behind(model: &ReferenceModel, before: &State, client: u8, at: usize) -> String {
    let shown = before.clients[client as usize].text.shown(model.siblings());
    let Some(left) = shown.get(at) else { return String::new() };
    let naming = if left.id.is_none() { ", whose id it does not know: it names the beginning" } else { "" };
    format!("behind {:?}{naming}", left.value.to_string())
}

pub(super) fn message(message: &Down) -> String {
    match message {
        Down::HelloAck(head) => format!("hello_ack, head {head}"),
        Down::Echo { number, edit, is_answer: false } => format!("echo {number} of {}", value(edit.insert)),
        Down::Echo { number, edit, is_answer: true } => format!("echo {number} of {}, again", value(edit.insert)),
        Down::Resync { number, text, elements } => {
            let ids = if elements.is_some() { "with ids" } else { "without ids" };
            format!("a resync at {number}, {text:?}, {ids}")
        }
    }
}

/// What a step queued for a connection.
fn queued(before: Option<&Line>, after: Option<&Line>) -> String {
    let Some(after) = after else { return "nobody is there".to_owned() };
    if after.is_closed {
        return "more echoes than its queue has places, so it closes the connection".to_owned();
    }
    let known = before.map_or(0, |line| line.down.len());
    let new: Vec<String> = after.down.iter().skip(known).map(message).collect();
    if new.is_empty() { "nobody is there".to_owned() } else { new.join(", then ") }
}

fn taken(model: &ReferenceModel, before: &State, (client, which): (u8, Which), after: &State) -> String {
    let old = if which == Which::Old { ", from its old connection" } else { "" };
    let name = name(client);
    let (line, after_line) = (before.line(client, which), after.line(client, which));
    match line.and_then(|line| line.up.front()) {
        Some(Up::Hello(_)) if model.has(Defect::SplitJoin) => {
            format!("The server takes {name}'s hello{old}: from now on it queues echoes for {name}.")
        }
        Some(Up::Hello(_)) => format!("The server takes {name}'s hello{old}. It queues {}.", queued(line, after_line)),
        Some(Up::Edit(edit)) if after.log.len() > before.log.len() => {
            let known = before.log.iter().any(|known| known.origin == edit.origin && known.message == edit.message);
            let again = if known { ", which its log holds already" } else { "" };
            let number = after.log.len();
            let echoed = if model.has(Defect::EarlyEcho) && !model.has(Defect::SplitBroadcast) {
                format!(" and queues its echo for everybody{}", closings(before, after))
            } else {
                String::new()
            };
            format!("The server takes {name}'s {}{old}{again}: it becomes number {number}{echoed}.", value(edit.insert))
        }
        Some(Up::Edit(edit)) => {
            let answer = match queued(line, after_line).as_str() {
                "nobody is there" => "and drops it without an answer".to_owned(),
                answer => format!("and queues {answer}"),
            };
            format!("The server takes {name}'s {}{old}, which its log holds already, {answer}.", value(edit.insert))
        }
        None => String::new(),
    }
}

fn write(model: &ReferenceModel, before: &State, after: &State) -> String {
    let (first, last) = (before.disk.len() + 1, after.disk.len());
    let what = if first == last { format!("Number {first} is") } else { format!("Numbers {first} to {last} are") };
    let is_echoed = !model.has(Defect::EarlyEcho) && !model.has(Defect::SplitBroadcast);
    let echoed =
        if is_echoed { format!(", and echoed to everybody{}", closings(before, after)) } else { String::new() };
    format!("{what} durable{echoed}.")
}

/// Whose connections a step closed.
fn closings(before: &State, after: &State) -> String {
    let is_closed = |state: &State, client: u8| state.line(client, Which::Current).is_some_and(|line| line.is_closed);
    let closed =
        (0..after.clients.len() as u8).filter(|client| is_closed(after, *client) && !is_closed(before, *client));
    closed.map(|client| format!("; {}'s queue is full, so it closes {0}", name(client))).collect()
}

fn lost(line: &Line) -> String {
    let lost: Vec<String> = line.down.iter().map(message).collect();
    if lost.is_empty() { String::new() } else { format!("; lost on the way to it: {}", lost.join(", ")) }
}
