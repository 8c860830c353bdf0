//! Actions, messages and operations in words.

use collab_engine::id::SessionId;
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::message::{ClientMessage, HelloAckV2, MessageId, RejectCode, ServerMessage};
use collab_engine::world::{Action, Frame, LinkView, Peer, World};

use super::client_name;

/// What an action does.
pub(super) fn sentence(world: &World, action: &Action) -> String {
    let owner = |session: &SessionId| {
        world.link(*session).map_or_else(|| format!("connection {}", session.0), |link| client_name(link.client))
    };
    match action {
        Action::Insert(client, at) => {
            format!("{} types \"{}\" at {at}", client_name(*client), world.next_text(*client))
        }
        Action::Delete(client, at) => {
            let gone =
                world.peers()[*client].text().chars().nth(*at).map_or_else(String::new, |gone| format!(" \"{gone}\""));
            format!("{} deletes{gone} at {at}", client_name(*client))
        }
        Action::Connect(client) => match resent(&world.peers()[*client]) {
            0 => format!("{} connects", client_name(*client)),
            pending => format!("{} connects, with {pending} pending", client_name(*client)),
        },
        Action::Up(session) => {
            let message = world.link(*session).and_then(|link| link.up.first().map(|message| up(message)));
            format!("the server processes {} of {}", message.unwrap_or_default(), owner(session))
        }
        Action::Send(session) => {
            format!("the server sends {} to {}", frames(&world.next_frames(*session)), owner(session))
        }
        Action::Deliver(session) => {
            let frame = world.link(*session).and_then(|link| link.down.first().map(|frame| down(frame)));
            format!("{} receives {}", owner(session), frame.unwrap_or_default())
        }
        Action::Break(session) => {
            let lost = world.link(*session).map_or(0, |link| link.down.len());
            let lost = if lost > 0 { "; what was on its way to it is lost" } else { "" };
            format!("the connection of {} breaks at its end{lost}", owner(session))
        }
        Action::Notice(session) => {
            let lost = world.link(*session).filter(|link| !link.up.is_empty());
            let lost = lost.map_or_else(String::new, |link| format!("; {} never arrives", messages(&link)));
            format!("the server notices that a connection of {} is gone{lost}", owner(session))
        }
        Action::Sync => format!("the disk syncs: {} durable", entries(unsynced(world))),
        Action::Crash(survivors) => match (unsynced(world), survivors) {
            (0, _) => "the server dies; everything was synced".to_owned(),
            (_, 0) => "the server dies; nothing unsynced survives".to_owned(),
            (count, survivors) => format!("the server dies; {survivors} of {count} unsynced entries survive"),
        },
        Action::Restart => "a server starts on what is on disk".to_owned(),
        Action::Truncate => "a snapshot takes the place of the log before it".to_owned(),
        Action::Foreign => "another server appends an entry behind the durable head".to_owned(),
        Action::Rekey(client) => format!("{} is told to become a new instance", client_name(*client)),
        Action::Reload(client) => {
            format!("the program of {} ends, and begins again with what it had stored", client_name(*client))
        }
        Action::Swap(session) => format!("{} sends its last two messages in the other order", owner(session)),
        Action::Barrier(client) => format!("{} asks to be told when all of this is durable", client_name(*client)),
        Action::FailAppend(survivors) => {
            let count = world.disk().unsynced_count();
            format!("an append fails, and the document stops; {survivors} of {count} entries turn out to be on disk")
        }
        Action::Restore(entries) => {
            format!(
                "the server is stopped, and a backup made at {entries} of {} entries is restored",
                world.disk().log().len()
            )
        }
        Action::Repeat(session) => {
            format!("{} sends its last operation again, though nothing was lost", owner(session))
        }
        Action::Stray(client) => {
            format!("{} connects, and comes out at the server of another document", client_name(*client))
        }
    }
}

/// The same action on the connection that is here what its own was in `before`: sessions are numbered as they open.
pub(super) fn translate(before: &World, action: &Action, here: &World) -> Action {
    let renamed = |session: &SessionId| {
        let Some(link) = before.link(*session) else { return *session };
        let newest_first = |world: &World| -> Vec<SessionId> {
            let own = world.links().filter(|other| other.client == link.client);
            let mut sessions: Vec<_> = own.map(|other| other.session).collect();
            sessions.reverse();
            sessions
        };
        let nth = newest_first(before).iter().position(|other| other == session);
        nth.and_then(|nth| newest_first(here).get(nth).copied()).unwrap_or(*session)
    };
    match action {
        Action::Up(session) => Action::Up(renamed(session)),
        Action::Send(session) => Action::Send(renamed(session)),
        Action::Deliver(session) => Action::Deliver(renamed(session)),
        Action::Break(session) => Action::Break(renamed(session)),
        Action::Notice(session) => Action::Notice(renamed(session)),
        Action::Swap(session) => Action::Swap(renamed(session)),
        Action::Repeat(session) => Action::Repeat(renamed(session)),
        other => other.clone(),
    }
}

/// What is appended and not synced, of all documents.
pub(super) fn unsynced(world: &World) -> usize {
    (0..world.documents()).map(|document| world.disk_of(document).unsynced_count()).sum()
}

fn entries(count: usize) -> String {
    if count == 1 { "1 entry is".to_owned() } else { format!("{count} entries are") }
}

fn resent(peer: &Peer) -> usize {
    match peer {
        Peer::V2(replica) => replica.state.pending().len(),
        Peer::V1(client) => client.pending().len(),
    }
}

fn messages(link: &LinkView<'_>) -> String {
    link.up.iter().map(|message| up(message)).collect::<Vec<_>>().join(", ")
}

pub(super) fn frames(frames: &[Frame]) -> String {
    frames.iter().map(down).collect::<Vec<_>>().join(", ")
}

/// A message to the server.
pub(super) fn up(message: &ClientMessage) -> String {
    match message {
        ClientMessage::Hello(hello) => {
            let seen = hello.last_seen.0;
            match &hello.v2 {
                Some(v2) if v2.replaces.is_some() => format!("hello (seen {seen}, replaces)"),
                Some(v2) if v2.resync => format!("hello (seen {seen}, wants a resync)"),
                _ => format!("hello (seen {seen})"),
            }
        }
        ClientMessage::Op(message) => format!("op {} {}", id(&message.message), op(&message.op)),
        ClientMessage::Sync { nonce } => format!("sync {nonce}"),
    }
}

/// What the server sends.
pub(super) fn down(frame: &Frame) -> String {
    match frame {
        Frame::Close(code) => format!("close {code}"),
        Frame::Message(message) => match &**message {
            ServerMessage::HelloAck(ack) => {
                let last = ack.v2.as_ref().map_or_else(String::new, |HelloAckV2 { last, .. }| format!(", last {last}"));
                format!("hello_ack (head {}{last})", ack.server_seq.0)
            }
            ServerMessage::Echo(echo) => {
                format!("echo {}: {} {} {}", echo.server_seq.0, echo.origin.as_str(), id(&echo.message), op(&echo.op))
            }
            ServerMessage::UnknownEcho(echo) => format!("echo {}: {}", echo.server_seq.0, echo.kind),
            ServerMessage::ResyncText { server_seq, full_text, .. } => {
                format!("resync {}: \"{full_text}\"", server_seq.0)
            }
            ServerMessage::Resync(resync) if resync.parts > 1 => {
                format!("resync {} ({} of {})", resync.server_seq.0, resync.part, resync.parts)
            }
            ServerMessage::Resync(resync) => format!("resync {}", resync.server_seq.0),
            ServerMessage::Ack { message, server_seq, .. } => format!("ack {message} (number {})", server_seq.0),
            ServerMessage::Error { reject, .. } => match reject {
                RejectCode::Known(reject) => format!("error {reject:?}"),
                RejectCode::Other(code) => format!("error {code}"),
            },
            ServerMessage::Synced { nonce, server_seq, .. } => format!("synced {nonce} (number {})", server_seq.0),
        },
    }
}

fn id(message: &MessageId) -> String {
    match message {
        MessageId::Text(name) => name.clone(),
        MessageId::Number(number) => format!("#{number}"),
    }
}

/// An operation, as it stands in the log.
pub(super) fn op(op: &Op) -> String {
    let edit = |edit: &Edit| match edit {
        Edit::Insert { text, .. } => format!("+\"{text}\""),
        Edit::Delete { id, len: 1 } => format!("-{}.{}", id.lamport.0, id.replica.as_str()),
        Edit::Delete { id, len } => format!("-{}.{}×{len}", id.lamport.0, id.replica.as_str()),
    };
    match op {
        Op::Retire { replica } => format!("retires {}", replica.as_str()),
        _ => op.edits().iter().map(edit).collect::<Vec<_>>().join(" "),
    }
}
