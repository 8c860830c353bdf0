//! What walks and models should come by: a check that never meets a situation says nothing about it.

use std::collections::BTreeSet;

use super::{Action, Frame, Peer, Shared, World};
use crate::id::{ServerSeq, SessionId};
use crate::protocol::client::{Pending, Status};
use crate::protocol::feed::{Feed, Next};
use crate::protocol::message::{ClientMessage, MessageId, ServerMessage, Version};

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
    /// A barrier was asked for while something was tentative.
    BarrierBehindTentative,
    /// A barrier was answered.
    BarrierAnswered,
    /// A failed append left something that was accepted on the disk.
    UncertainSurvived,
    /// A failed append lost what was accepted.
    UncertainLost,
    /// A client knew what a restored backup lacked.
    AstrayAfterRestore,
    /// Such a client became a new instance.
    RekeyedAfterRestore,
    /// The same, and made something again that it had made before the backup was restored.
    RemadeAfterRestore,
    /// A client went on after a backup was restored as if nothing had happened: the backup had all that it knew.
    WentOnAfterRestore,
    /// An operation that was answered, or about to be, came once more and was answered again.
    RepeatAnswered,
    /// A client that came out at the server of another document was refused.
    StrayRefused,
    /// One sync was of two documents.
    SyncedTogether,
    /// A client had to wait with a message until an earlier one was answered.
    InFlightFull,
    /// The ring let go of an entry.
    RingFull,
    /// The window of version 1 let go of a message.
    WindowFull,
    /// A message was refused because too many operations waited.
    WaitingFull,
    /// A session had so many answers waiting that it was not read.
    AnswersFull,
    /// A client that joined had missed too much for a replay.
    ReplayTooLong,
    /// A term was forgotten.
    TermsFull,
}

impl Landmark {
    /// Every one.
    pub const ALL: [Self; 39] = [
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
        Self::BarrierBehindTentative,
        Self::BarrierAnswered,
        Self::UncertainSurvived,
        Self::UncertainLost,
        Self::AstrayAfterRestore,
        Self::RekeyedAfterRestore,
        Self::RemadeAfterRestore,
        Self::WentOnAfterRestore,
        Self::RepeatAnswered,
        Self::StrayRefused,
        Self::SyncedTogether,
        Self::InFlightFull,
        Self::RingFull,
        Self::WindowFull,
        Self::WaitingFull,
        Self::AnswersFull,
        Self::ReplayTooLong,
        Self::TermsFull,
    ];
}

impl World {
    /// What an action that led from here to `after` came by.
    pub fn landmarks(&self, action: &Action, after: &Self) -> BTreeSet<Landmark> {
        let mut met = BTreeSet::new();
        match action {
            Action::Up(session) => {
                met.extend(self.met_by_message(*session, after));
                met.extend(self.met_by_barrier(*session));
            }
            Action::Send(session) if self.config.in_flight_max == 0 => {
                // Sent and delivered in one: what the two steps come by is seen from between them.
                let mut sent = self.clone();
                sent.send(*session);
                self.met_by_sending(*session, &sent, &mut met);
                met.extend(sent.met_by_delivery(*session));
                met.extend(sent.met_by_late_delivery(*session, after));
            }
            Action::Send(session) => self.met_by_sending(*session, after, &mut met),
            Action::Deliver(session) => {
                met.extend(self.met_by_delivery(*session));
                met.extend(self.met_by_late_delivery(*session, after));
            }
            Action::Sync if self.sites.iter().filter(|site| site.disk.has_unsynced()).count() > 1 => {
                met.insert(Landmark::SyncedTogether);
            }
            Action::FailAppend(survivors) => {
                met.extend((*survivors > 0).then_some(Landmark::UncertainSurvived));
                let is_lost = *survivors < self.disk().unsynced_count();
                met.extend(is_lost.then_some(Landmark::UncertainLost));
            }
            Action::Restore(_) => {
                let is_astray = |peer: &Peer| peer.v2().is_some_and(|replica| replica.is_astray);
                met.extend(after.peers.iter().any(is_astray).then_some(Landmark::AstrayAfterRestore));
            }
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
        self.met_limits(after, &mut met);
        met
    }

    /// Limits that were reached.
    fn met_limits(&self, after: &Self, met: &mut BTreeSet<Landmark>) {
        let waits_for_room = |peer: &Peer| {
            let Some(replica) = peer.v2() else { return false };
            *replica.state.status() == Status::Live && replica.state.pending().any(|own| own.sent_as.is_none())
        };
        met.extend(after.peers.iter().any(waits_for_room).then_some(Landmark::InFlightFull));
        for (before, after) in self.sites.iter().zip(&after.sites) {
            let (Some(old), Some(new)) = (&before.node, &after.node) else { continue };
            let is_later = after.disk.head() > before.disk.head();
            let is_full = |limit: u32, old: usize, new: usize| is_later && old == new && new == limit as usize;
            let (was, is) = (old.state.content(), new.state.content());
            let has_v1 = new.ring.head() > old.ring.head() && was.window != is.window;
            let limits = &self.limits;
            let full = [
                (is_full(limits.ring_entries_max, old.ring.len(), new.ring.len()), Landmark::RingFull),
                (has_v1 && is_full(limits.v1_window_max, was.window.len(), is.window.len()), Landmark::WindowFull),
                (
                    was.terms != is.terms && is_full(limits.terms_max, was.terms.len(), is.terms.len()),
                    Landmark::TermsFull,
                ),
                (new.feeds.values().any(|feed| !feed.has_room(limits)), Landmark::AnswersFull),
            ];
            met.extend(full.into_iter().filter_map(|(is_met, landmark)| is_met.then_some(landmark)));
        }
    }

    fn met_by_barrier(&self, session: SessionId) -> Option<Landmark> {
        let link = self.links.get(&session)?;
        let is_barrier = matches!(**link.up.front()?, ClientMessage::Sync { .. });
        let has_tentative = self.sites[link.site].disk.has_unsynced();
        (is_barrier && has_tentative).then_some(Landmark::BarrierBehindTentative)
    }

    /// What is met long after what led to it.
    fn met_by_late_delivery(&self, session: SessionId, after: &Self) -> Option<Landmark> {
        let link = self.links.get(&session)?;
        let site = self.site_of(link.client);
        let message = match link.down.front()? {
            Frame::Message(message) => &**message,
            Frame::Close(_) => return (link.site != site).then_some(Landmark::StrayRefused),
        };
        let (old, new) = (self.peers[link.client].v2()?, after.peers[link.client].v2()?);
        let is_settled = |number: u64| old.state.pending().all(|own| own.number != number || own.settled.is_some());
        match message {
            ServerMessage::Synced { .. } => Some(Landmark::BarrierAnswered),
            ServerMessage::Ack { message, .. } if is_settled(*message) => Some(Landmark::RepeatAnswered),
            _ if old.is_astray && !new.is_astray => Some(match new.state.pending().len() {
                0 => Landmark::RekeyedAfterRestore,
                _ => Landmark::RemadeAfterRestore,
            }),
            ServerMessage::HelloAck(ack) if self.sites[site].histories > 0 && !old.is_astray => {
                let goes_on = old.state.last_seen() > ServerSeq(0) && ack.server_seq >= old.state.last_seen();
                (goes_on && !old.state.is_rekeying()).then_some(Landmark::WentOnAfterRestore)
            }
            _ => None,
        }
    }

    /// Whether a session is to be sent the state next.
    fn is_resynced(&self, session: SessionId) -> bool {
        let feed = self.links.get(&session).and_then(|link| self.sites[link.site].node.as_ref()?.feeds.get(&session));
        feed.is_some_and(|feed| feed.needs_resync())
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
            ClientMessage::Hello(hello) if after.is_resynced(session) => {
                let is_kept = hello.last_seen > ServerSeq(0) && hello.last_seen >= node.state.log_start();
                let asks = hello.v2.as_ref().is_some_and(|v2| v2.resync);
                (is_kept && !asks && hello.last_seen < node.state.tentative_head()).then_some(Landmark::ReplayTooLong)
            }
            ClientMessage::Op(op) if was_closed && matches!(op.message, MessageId::Text(_)) => {
                // An honest version 1 client is refused for nothing else.
                let is_full =
                    node.state.content().document.waiting_count() > 0 || self.sites[link.site].disk.has_unsynced();
                Some(if is_full { Landmark::WaitingFull } else { Landmark::Refused })
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
