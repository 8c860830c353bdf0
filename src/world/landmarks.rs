//! What walks and models should come by: a check that never meets a situation says nothing about it.

use std::collections::BTreeSet;

use super::{Action, Frame, Peer, Shared, World};
use crate::id::SessionId;
use crate::protocol::client::Pending;
use crate::protocol::feed::{Feed, Next};
use crate::protocol::message::{ClientMessage, ServerMessage, Version};

/// Something worth having met on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Landmark {
    /// A message that was sent again was answered without a second number.
    ResubmissionAnswered,
    /// The same by the window of version 1.
    WindowHit,
    /// A resync came while own operations were pending.
    ResyncWithPending,
    /// A resync came that was behind the head.
    ResyncBehindHead,
    /// An own operation that a resync covers was answered behind it, in version 2.
    OwnAnsweredBehindResync,
    /// The same in version 1.
    OwnEchoedBehindResync,
    /// A session was taken over.
    TakenOver,
    /// A message was refused.
    Refused,
    /// A session was served from the log.
    ReplayFromLog,
    /// The log was cut before a session had caught up.
    TruncatedCatchUp,
    /// It was cut while own operations behind a resync were still to be answered.
    TruncatedBehindResync,
    /// A session fell off the ring.
    SlowConsumer,
    /// A rekey of a client with something pending, none of which was accepted.
    RekeyedWithNothingAccepted,
    /// A rekey of a client of which something pending was accepted.
    RekeyedWithSomethingAccepted,
    /// A program ended while a message that it had sent was not answered, and began again.
    ReloadedWithPending,
    /// A conflict with something tentative, whose sessions went on.
    Conflict,
    /// The same, and a session was closed because of what it had been told.
    ConflictClosed,
    /// An effect waits.
    Waiting,
    /// What waited took effect.
    Released,
    /// A crash lost what was accepted.
    LostInCrash,
    /// A version 1 client joined inside an entry.
    JoinedInsideEntry,
}

impl Landmark {
    /// Every one.
    pub const ALL: [Self; 21] = [
        Self::ResubmissionAnswered,
        Self::WindowHit,
        Self::ResyncWithPending,
        Self::ResyncBehindHead,
        Self::OwnAnsweredBehindResync,
        Self::OwnEchoedBehindResync,
        Self::TakenOver,
        Self::Refused,
        Self::ReplayFromLog,
        Self::TruncatedCatchUp,
        Self::TruncatedBehindResync,
        Self::SlowConsumer,
        Self::RekeyedWithNothingAccepted,
        Self::RekeyedWithSomethingAccepted,
        Self::ReloadedWithPending,
        Self::Conflict,
        Self::ConflictClosed,
        Self::Waiting,
        Self::Released,
        Self::LostInCrash,
        Self::JoinedInsideEntry,
    ];
}

impl World {
    /// What an action that led from here to `after` came by.
    pub fn landmarks(&self, action: &Action, after: &Self) -> BTreeSet<Landmark> {
        let mut met = BTreeSet::new();
        match action {
            Action::Up(session) => met.extend(self.met_by_message(*session, after)),
            Action::Send(session) => self.met_by_sending(*session, after, &mut met),
            Action::Deliver(session) => met.extend(self.met_by_delivery(*session)),
            Action::Foreign if self.disk().has_unsynced() => {
                let was_closed = after.server_sessions() < self.server_sessions();
                met.insert(if was_closed { Landmark::ConflictClosed } else { Landmark::Conflict });
            }
            Action::Reload(client) => {
                let Peer::V2(replica) = &self.peers[*client] else { return met };
                let is_open = |pending: &Pending| pending.sent_as.is_some() && pending.settled.is_none();
                met.extend(replica.state.pending().any(is_open).then_some(Landmark::ReloadedWithPending));
            }
            Action::Crash(survivors) if *survivors < self.disk().unsynced_count() => {
                met.insert(Landmark::LostInCrash);
            }
            _ => {}
        }
        let waiting = |world: &Self| world.server().map(|state| state.content().document.waiting_count());
        if let (Some(before), Some(after)) = (waiting(self), waiting(after)) {
            met.extend((before < after).then_some(Landmark::Waiting));
            met.extend((before > after).then_some(Landmark::Released));
        }
        met
    }

    fn server_sessions(&self) -> usize {
        self.server().map_or(0, crate::protocol::server::ServerState::session_count)
    }

    fn met_by_message(&self, session: SessionId, after: &World) -> Option<Landmark> {
        let link = self.links.get(&session)?;
        let node = self.sites[link.site].node.as_ref()?;
        let head = |world: &Self| world.server().map(crate::protocol::server::ServerState::tentative_head);
        let was_closed = after.server_sessions() < self.server_sessions();
        match &**link.up.front()? {
            ClientMessage::Hello(_) if was_closed => {
                // A refused one leaves the others alone.
                let feeds = &after.sites[link.site].node.as_ref()?.feeds;
                let is_closed = |(other, feed): (&SessionId, &Shared<Feed>)| feeds.get(other) != Some(feed);
                let takes_over = node.feeds.iter().any(is_closed);
                Some(if takes_over { Landmark::TakenOver } else { Landmark::Refused })
            }
            _ if was_closed => Some(Landmark::Refused),
            ClientMessage::Op(_) if head(self) == head(after) => {
                let version = node.feeds.get(&session)?.version();
                Some(if version == Version::V1 { Landmark::WindowHit } else { Landmark::ResubmissionAnswered })
            }
            _ => None,
        }
    }

    fn met_by_sending(&self, session: SessionId, after: &World, met: &mut BTreeSet<Landmark>) {
        let Some(site) = self.links.get(&session).map(|link| &self.sites[link.site]) else { return };
        let Some(node) = &site.node else { return };
        let Some(feed) = node.feeds.get(&session) else { return };
        let mut asked = Feed::clone(feed);
        match asked.next(&node.ring, &self.limits) {
            Next::ReadLog { after } if site.disk.read(after).is_some() => {
                let is_inside = site.disk.read(after).is_some_and(|entry| entry.before() < after);
                met.insert(if is_inside { Landmark::JoinedInsideEntry } else { Landmark::ReplayFromLog });
            }
            Next::ReadLog { .. } => {
                asked.truncated();
                let is_closed = matches!(asked.next(&node.ring, &self.limits), Next::Close(_));
                met.insert(if is_closed { Landmark::TruncatedBehindResync } else { Landmark::TruncatedCatchUp });
            }
            Next::Close(close) if close.reason == "slow_consumer" => {
                met.insert(Landmark::SlowConsumer);
            }
            Next::Entry { entry, after } if entry.before() < after => {
                met.insert(Landmark::JoinedInsideEntry);
            }
            _ => {}
        }
        let cursor = |world: &Self| {
            let link = world.links.get(&session)?;
            world.sites[link.site].node.as_ref()?.feeds.get(&session).map(|feed| feed.cursor())
        };
        let moved = cursor(after) > cursor(self);
        let Some(Frame::Message(message)) = after.links.get(&session).and_then(|link| link.down.back()) else { return };
        match &**message {
            // An answer to a question does not move the cursor.
            ServerMessage::Ack { .. } if moved => {
                met.insert(Landmark::OwnAnsweredBehindResync);
            }
            ServerMessage::Echo(echo) if moved && feed.version() == Version::V1 => {
                let is_covered = |frame: &Frame| match frame {
                    Frame::Message(message) => {
                        matches!(&**message, ServerMessage::ResyncText { server_seq, .. } if *server_seq >= echo.server_seq)
                    }
                    Frame::Close(_) => false,
                };
                let link = &after.links[&session];
                let last_seen = match &after.peers[link.client] {
                    Peer::V1(v1) => v1.last_seen(),
                    Peer::V2(replica) => replica.state.last_seen(),
                };
                if link.down.iter().any(is_covered) || last_seen >= echo.server_seq {
                    met.insert(Landmark::OwnEchoedBehindResync);
                }
            }
            ServerMessage::Resync(resync) if resync.server_seq < node.ring.head() => {
                met.insert(Landmark::ResyncBehindHead);
            }
            _ => {}
        }
    }

    fn met_by_delivery(&self, session: SessionId) -> Option<Landmark> {
        let link = self.links.get(&session)?;
        let Peer::V2(replica) = &self.peers[link.client] else { return None };
        let mut open = replica.state.pending().filter(|pending| pending.settled.is_none()).peekable();
        open.peek()?;
        let Frame::Message(message) = link.down.front()? else { return None };
        match &**message {
            ServerMessage::Resync(_) => Some(Landmark::ResyncWithPending),
            ServerMessage::HelloAck(ack) if replica.state.is_rekeying() => {
                let last = ack.v2.as_ref()?.replaced_last.unwrap_or(0);
                let was_accepted = open.any(|pending| pending.number <= last);
                Some(match was_accepted {
                    true => Landmark::RekeyedWithSomethingAccepted,
                    false => Landmark::RekeyedWithNothingAccepted,
                })
            }
            _ => None,
        }
    }
}
