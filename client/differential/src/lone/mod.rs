//! A replica alone with a server that is honest most of the time, and an application that edits.

mod lies;
mod server;
mod strangers;

use std::io::{self, Write};

use collab_engine::id::DocId;
use collab_engine::protocol::client::{Input, LOCAL_BATCH_MAX, LOCAL_RUN_MAX, Output, Saved, Status, Timer};
use collab_engine::protocol::codec::encode_server;
use collab_engine::protocol::message::ServerMessage;
use serde_json::json;

use crate::recorder::Recorder;
use crate::rng::Rng;
use server::{Server, Stored, identity};
use strangers::any_text;

/// One in so many replicas makes an edit that is too long for one operation.
const LONG_EDIT_IN: usize = 200;

/// Writes down `steps` steps, or a few more, of the lone replica of a seed and an index.
///
/// # Errors
/// If `out` cannot be written to.
pub fn write(seed: u64, index: u64, steps: usize, out: &mut dyn Write) -> io::Result<()> {
    // A world of the same seed and index must not be driven by the same numbers.
    let mut rng = Rng::new(seed, index | 1 << 63);
    let doc = DocId::parse("notes").expect("the name is legal");
    let of = json!({"kind": "lone", "seed": seed, "index": index, "steps": steps});
    let replica = Recorder::new(&of, doc.clone(), identity(&mut rng), out)?;
    // How often nothing can be believed: of some servers never, of others half of the time.
    let lies_in = *rng.pick(&[usize::MAX, 40, 12, 4]);
    let mut lone =
        Lone { replica, server: Server::new(doc), rng, lies_in, timer: 0, backup: None, profile: None, said: None };
    lone.step(Input::Start)?;
    let is_long = lone.rng.one_in(LONG_EDIT_IN);
    if is_long {
        lone.server.shred(LOCAL_BATCH_MAX + 2);
    }
    for _ in 0..steps {
        lone.anything()?;
    }
    if is_long {
        lone.long_edits()?;
    }
    lone.replica.finish().map(drop)
}

struct Lone<'o> {
    replica: Recorder<'o>,
    server: Server,
    rng: Rng,
    lies_in: usize,
    timer: u64,
    backup: Option<Stored>,
    /// What the replica had saved some time ago.
    profile: Option<Saved>,
    /// What the server said last.
    said: Option<ServerMessage>,
}

impl Lone<'_> {
    fn step(&mut self, input: Input) -> io::Result<()> {
        let outputs = self.replica.step(input)?;
        self.carry_out(outputs)
    }

    fn carry_out(&mut self, outputs: Vec<Output>) -> io::Result<()> {
        let mut hangs_up = false;
        for output in outputs {
            match output {
                Output::Send(message) => self.server.hear(message),
                Output::Disconnect => hangs_up = true,
                Output::SetTimer { timer: Timer::Reconnect(timer), .. } => self.timer = timer,
                Output::Connect | Output::Event(_) => {}
            }
        }
        if hangs_up && !self.rng.one_in(8) { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> io::Result<()> {
        self.server.hang_up(&mut self.rng);
        let code = match self.rng.below(60) {
            0 => Some(4001),
            1..=30 => None,
            _ => Some(*self.rng.pick(&[1000, 1001, 1002, 1003, 1006, 1008, 1009, 1011, 1012, 1013, 4000])),
        };
        let jitter = *self.rng.pick(&[0, 1, 32_768, 65_535]);
        self.step(Input::Closed { code, jitter })
    }

    fn anything(&mut self) -> io::Result<()> {
        match self.rng.below(100) {
            0..=24 => self.edit(),
            25 => {
                let nonce = self.rng.below(4) as u64;
                self.step(Input::Sync { nonce })
            }
            26..=28 => self.close(),
            29 | 30 => self.out_of_place(),
            31 => self.server_backup(),
            32 => self.reload(),
            _ => match self.replica.state().status() {
                Status::Offline => {
                    let timer = if self.rng.one_in(9) { self.rng.below(9) as u64 } else { self.timer };
                    self.step(Input::TimerFired(Timer::Reconnect(timer)))
                }
                Status::Connecting if !self.server.is_spoken_to() => {
                    let fresh = identity(&mut self.rng);
                    self.step(Input::Opened { fresh })
                }
                _ => self.server_speaks(),
            },
        }
    }

    fn server_speaks(&mut self) -> io::Result<()> {
        if self.rng.one_in(self.lies_in) {
            return self.server_lies();
        }
        if self.rng.one_in(25) {
            let number = self.server.judged();
            let refusal = lies::refusal(&self.server.doc, number, &mut self.rng);
            return self.say(refusal);
        }
        match self.server.next(&mut self.rng) {
            Some(message) => self.say(message),
            None => Ok(()),
        }
    }

    fn say(&mut self, message: ServerMessage) -> io::Result<()> {
        let outputs = self.replica.hear(&message)?;
        self.said = Some(message);
        self.carry_out(outputs)
    }

    fn say_text(&mut self, text: &str) -> io::Result<()> {
        let outputs = self.replica.hear_text(text)?;
        self.carry_out(outputs)
    }

    fn server_lies(&mut self) -> io::Result<()> {
        let (next, rng) = (self.server.next(&mut self.rng), &mut self.rng);
        match (rng.below(8), next) {
            (0, _) => {
                let text = lies::odd_frame(rng);
                self.say_text(&text)
            }
            (1, Some(message)) => {
                let text = lies::misspelt(&message, rng);
                self.say_text(&text)
            }
            // It is left out: what comes next leaves a gap.
            (2, Some(_)) => Ok(()),
            (3, _) => match &self.said {
                Some(again) => {
                    let text = encode_server(again);
                    self.say_text(&text)
                }
                None => Ok(()),
            },
            (_, Some(message)) => {
                let own = self.replica.state().identity().client.clone();
                let bent = lies::bent(message, &own, rng);
                self.say(bent)
            }
            (_, None) => Ok(()),
        }
    }

    /// The server is stopped and goes on with what it had an hour ago.
    fn server_backup(&mut self) -> io::Result<()> {
        match self.backup.take() {
            Some(backup) if self.rng.one_in(2) => {
                self.close()?;
                self.server.restore(backup);
                Ok(())
            }
            _ => {
                self.backup = Some(self.server.stored.clone());
                Ok(())
            }
        }
    }

    /// The program ends and begins again: with what it had saved, with what it had saved some time ago, as from a
    /// backup of a browser's profile, or, in vain, with something that contradicts itself.
    fn reload(&mut self) -> io::Result<()> {
        let mut saved = self.replica.state().saved();
        match self.rng.below(8) {
            0 | 1 => {
                self.profile = Some(saved);
                return Ok(());
            }
            2 | 3 => saved = self.profile.take().unwrap_or(saved),
            4 => saved.next_number = self.rng.below(3) as u64,
            5 if !saved.pending.is_empty() => drop(saved.pending.remove(self.rng.below(saved.pending.len()))),
            _ => {}
        }
        if self.replica.restore(&self.server.doc, &saved)? {
            self.server.hang_up(&mut self.rng);
            self.step(Input::Start)?;
        }
        Ok(())
    }

    /// What the caller of a replica must not do, or what comes too late.
    fn out_of_place(&mut self) -> io::Result<()> {
        let input = match self.rng.below(4) {
            0 => Input::Start,
            1 => Input::Opened { fresh: identity(&mut self.rng) },
            2 => Input::TimerFired(Timer::Reconnect(self.rng.below(20) as u64)),
            _ => Input::Malformed,
        };
        self.step(input)
    }

    fn edit(&mut self) -> io::Result<()> {
        let len = self.replica.text().len();
        // Now and then beyond the end.
        let reach = if self.rng.one_in(20) { 3 } else { 0 };
        if self.rng.one_in(15) && self.inside_a_pair()? {
            return Ok(());
        }
        if self.rng.one_in(3) {
            let at = self.rng.below(len + 1);
            let len = self.rng.below((len - at).min(6) + 1 + reach);
            return self.step(Input::Delete { at, len });
        }
        // Half of it is typed on at one place, so that runs grow.
        let at = if self.rng.one_in(2) { len } else { self.rng.below(len + 1 + reach) };
        let text = if self.rng.one_in(40) { String::new() } else { any_text(&mut self.rng) };
        self.step(Input::Insert { at, text })
    }

    /// Asks for an edit inside a character of two UTF-16 units; answers whether there is one.
    fn inside_a_pair(&mut self) -> io::Result<bool> {
        let text = self.replica.text();
        let astral: Vec<usize> = (0..text.len()).filter(|at| text[*at].len_utf16() == 2).collect();
        if astral.is_empty() {
            return Ok(false);
        }
        let at = crate::json::units(&text[..*self.rng.pick(&astral)]);
        let line = match self.rng.below(3) {
            0 => json!({"type": "insert", "at": at + 1, "text": "x"}),
            1 => json!({"type": "delete", "at": at + 1, "len": 1}),
            _ => json!({"type": "delete", "at": at, "len": 1}),
        };
        self.replica.invalid_edit(&line)?;
        Ok(true)
    }

    /// A deletion of what may be more runs than one batch holds, and a text of more than one operation.
    fn long_edits(&mut self) -> io::Result<()> {
        let len = self.replica.text().len();
        self.step(Input::Delete { at: 0, len })?;
        let text: String = ['a', '😀'].into_iter().cycle().take(LOCAL_RUN_MAX + 3).collect();
        self.step(Input::Insert { at: 0, text })?;
        self.step(Input::Delete { at: 5, len: LOCAL_RUN_MAX })
    }
}
