//! The server's side: what goes into a document's state machine, and what is carried out of what comes out.

use std::collections::btree_map::Entry as Slot;

use super::{Frame, Node, Shared, World, bounds};
use crate::id::{ServerSeq, SessionId};
use crate::invariants::Violation;
use crate::protocol::codec::{echoes, split_state};
use crate::protocol::feed::{Feed, Found, Next};
use crate::protocol::message::{ServerMessage, Version};
use crate::protocol::reject::Close;
use crate::protocol::server::{Input, Output};

impl World {
    pub(super) fn up(&mut self, session: SessionId) {
        let Some(link) = self.links.get_mut(&session).filter(|link| !link.up.is_empty()) else { return };
        let site = link.site;
        if let Some(message) = link.to_mut().up.pop_front() {
            self.step_server(site, Input::Message { session, message: message.into_inner() });
        }
    }

    pub(super) fn step_server(&mut self, site: usize, input: Input) {
        let Some(node) = &mut self.sites[site].node else { return };
        let mut out = Vec::new();
        node.state.to_mut().step(input, &mut out);
        for output in out {
            self.carry_out(site, output);
        }
    }

    pub(super) fn carry_out(&mut self, site: usize, output: Output) {
        let site = &mut self.sites[site];
        let Some(node) = &mut site.node else { return };
        match output {
            Output::Append(entry) => {
                let (first, is_stopped) = (entry.first, node.state.is_stopped());
                site.disk.to_mut().append(entry);
                if is_stopped {
                    self.violated(Violation::SecondWriter { first });
                }
            }
            Output::Publish(entry) => node.ring.to_mut().push(entry),
            Output::Join { session, plan } => {
                let bounded = bounds::check_plan(&plan, &self.limits);
                node.feeds.insert(session, Shared::new(Feed::joined(plan)));
                bounded.unwrap_or_else(|violation| self.violated(violation));
            }
            Output::Answer { session, after, message } => {
                if let Some(feed) = node.feeds.get_mut(&session) {
                    feed.to_mut().answer(after, message);
                }
            }
            Output::Refuse { session, after, error, close } => match node.feeds.entry(session) {
                Slot::Occupied(mut feed) => feed.get_mut().to_mut().refuse(after, error, close),
                Slot::Vacant(none) => {
                    none.insert(Shared::new(Feed::refused(site.doc.clone(), after, error, close)));
                }
            },
            Output::Close { session, close } => {
                let refused = || Shared::new(Feed::refused(site.doc.clone(), ServerSeq(0), None, close.clone()));
                node.feeds.entry(session).or_insert_with(refused).to_mut().close(close.clone());
            }
            Output::Discard { after } => node.feeds.values_mut().for_each(|feed| feed.to_mut().discard(after)),
            Output::Broken(violation) => self.violated(violation),
        }
    }

    pub(super) fn send(&mut self, session: SessionId) {
        let Some(site) = self.links.get(&session).map(|link| &mut self.sites[link.site]) else { return };
        let Some(Node { state, ring, feeds, kept }) = &mut site.node else { return };
        let Some(feed) = feeds.get_mut(&session) else { return };
        let feed = feed.to_mut();
        let mut next = feed.next(ring, &self.limits);
        if let Next::ReadLog { after } = next {
            next = match site.disk.read(after) {
                Some(entry) => feed.take(entry, &self.limits),
                None => {
                    feed.truncated();
                    feed.next(ring, &self.limits)
                }
            };
        }
        let mut frames = Vec::new();
        match next {
            Next::Message(message) => frames.push(message),
            Next::Entry { entry, after } => {
                let echoes = echoes(&site.doc, feed.version(), &entry, after, &self.limits);
                frames = echoes.into_iter().map(ServerMessage::Echo).collect();
            }
            Next::Resync if feed.version() == Version::V1 => {
                feed.resynced(state.content().head);
                frames.push(state.resync_text());
            }
            Next::Resync => {
                let fits = |made: &Shared<super::Made>| made.0 >= feed.cursor() && ring.after(made.0) != Found::Fallen;
                let make = || {
                    let (at, term, document) = state.resync_state();
                    Shared::new((at, term, document.state()))
                };
                let made = kept.take().filter(fits).unwrap_or_else(make);
                let (at, term, plain) = &*made;
                feed.resynced(*at);
                let parts = split_state(&site.doc, *at, *term, plain, self.limits.message_bytes_max as usize);
                frames.extend(parts.into_iter().map(ServerMessage::Resync));
                *kept = self.config.shares_resyncs.then_some(made);
            }
            Next::Close(close) => return self.close(session, &close),
            Next::ReadLog { .. } | Next::Idle => {}
        }
        if let Some(link) = self.links.get_mut(&session) {
            let frames = frames.into_iter().map(|message| Frame::Message(Shared::new(message)));
            link.to_mut().down.extend(frames);
        }
    }

    fn close(&mut self, session: SessionId, close: &Close) {
        if let Some(link) = self.links.get_mut(&session) {
            link.to_mut().down.push_back(Frame::Close(close.code.number()));
        }
        self.end_session(session);
    }

    /// The server's end of a connection is gone.
    pub(super) fn end_session(&mut self, session: SessionId) {
        let Some(link) = self.links.get_mut(&session).map(Shared::to_mut) else { return };
        link.is_server_open = false;
        link.up.clear();
        let site = link.site;
        self.step_server(site, Input::Closed(session));
        if let Some(node) = &mut self.sites[site].node {
            node.feeds.remove(&session);
        }
    }

    /// One sync, of everything that was appended.
    pub(super) fn sync(&mut self) {
        for site in 0..self.sites.len() {
            if self.sites[site].disk.has_unsynced() {
                let synced = self.sites[site].disk.to_mut().sync(&self.limits);
                synced.unwrap_or_else(|violation| self.violated(violation));
                let head = self.sites[site].disk.head();
                self.step_server(site, Input::Durable(head));
            }
        }
    }
}
