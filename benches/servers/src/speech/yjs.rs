//! The protocol of y-websocket, and that of Hocuspocus, which has the document's name in front of every message.
//!
//! Each client is a Yjs client with an id of its own that types characters one behind the other; servers may merge what
//! several of them typed into one update, so an update is read in full.

use std::ops::RangeInclusive;

use tokio_tungstenite::tungstenite::Message;

use super::{Heard, Operations, Speech};

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const SYNC_REPLY: u64 = 4;
const SYNC_STATUS: u64 = 8;

const STEP_1: u64 = 0;
const STEP_2: u64 = 1;
const UPDATE: u64 = 2;

/// The Yjs client of the first index; Yjs chooses them at random, with five bytes as a rule.
const FIRST_CLIENT: u64 = 1 << 30;

const CONTENT_STRING: u8 = 4;
const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT_ORIGIN: u8 = 0x40;
/// The shared type.
const TEXT: &[u8] = b"text";

/// A client of either server.
#[derive(Debug)]
pub(super) struct Yjs {
    document: String,
    index: usize,
    is_named: bool,
}

impl Yjs {
    pub(super) fn new(document: &str, index: usize, is_named: bool) -> Self {
        Self { document: document.to_owned(), index, is_named }
    }

    fn message(&self, parts: &[&[u8]]) -> Message {
        let mut bytes = Vec::with_capacity(64);
        if self.is_named {
            put_bytes(&mut bytes, self.document.as_bytes());
        }
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Message::binary(bytes)
    }

    /// Asks for everything: the state vector is empty.
    fn step_1(&self) -> Message {
        self.message(&[&[SYNC as u8, STEP_1 as u8, 1, 0]])
    }

    fn read(&self, frame: &[u8], heard: &mut Heard) -> Option<()> {
        let mut reader = Reader(frame);
        if self.is_named {
            reader.bytes()?;
        }
        match reader.number()? {
            SYNC | SYNC_REPLY => match reader.number()? {
                // Nothing that the server has not.
                STEP_1 => heard.replies.push(self.message(&[&[SYNC as u8, STEP_2 as u8, 2, 0, 0]])),
                STEP_2 => heard.has_joined = true,
                UPDATE => self.update(reader.bytes()?, heard)?,
                _ => return None,
            },
            AUTH => heard.replies.push(self.step_1()),
            AWARENESS | SYNC_STATUS => {}
            _ => return None,
        }
        Some(())
    }

    fn update(&self, update: &[u8], heard: &mut Heard) -> Option<()> {
        let mut reader = Reader(update);
        for _ in 0..reader.number()? {
            let structs = reader.number()?;
            let writer = reader.number()?.checked_sub(FIRST_CLIENT)? as usize;
            let mut clock = reader.number()?;
            let first = clock + 1;
            for _ in 0..structs {
                clock += reader.string_item()?;
            }
            if writer == self.index {
                heard.answered = Some(clock);
            }
            heard.operations.push(Operations { writer, numbers: first..=clock });
        }
        Some(())
    }
}

impl Speech for Yjs {
    fn path(&self) -> String {
        format!("/{}", if self.is_named { "" } else { &self.document })
    }

    fn opening(&mut self) -> Vec<Message> {
        if !self.is_named {
            return vec![self.step_1()];
        }
        let mut token = vec![AUTH as u8, 0];
        put_bytes(&mut token, b"token");
        vec![self.message(&[&token])]
    }

    fn hear(&mut self, frame: &Message, heard: &mut Heard) -> Result<(), String> {
        let Message::Binary(bytes) = frame else { return Err(format!("not of the protocol: {frame:?}")) };
        self.read(bytes, heard).ok_or_else(|| format!("not understood: {bytes:?}"))
    }

    fn say(&mut self, numbers: RangeInclusive<u64>) -> Message {
        let clock = numbers.start() - 1;
        let client = FIRST_CLIENT + self.index as u64;
        let mut update = vec![1, 1];
        put_number(&mut update, client);
        put_number(&mut update, clock);
        if clock == 0 {
            update.extend_from_slice(&[CONTENT_STRING, 1]);
            put_bytes(&mut update, TEXT);
        } else {
            update.push(CONTENT_STRING | HAS_ORIGIN);
            put_number(&mut update, client);
            put_number(&mut update, clock - 1);
        }
        put_bytes(&mut update, b"x");
        // Nothing is deleted.
        update.push(0);
        let mut bytes = vec![SYNC as u8, UPDATE as u8];
        put_bytes(&mut bytes, &update);
        self.message(&[&bytes])
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_bytes(bytes: &mut Vec<u8>, part: &[u8]) {
    put_number(bytes, part.len() as u64);
    bytes.extend_from_slice(part);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// How many characters a struct inserts; nothing but inserted text is ever sent.
    fn string_item(&mut self) -> Option<u64> {
        let info = self.byte()?;
        for flag in [HAS_ORIGIN, HAS_RIGHT_ORIGIN] {
            if info & flag != 0 {
                self.number()?;
                self.number()?;
            }
        }
        if info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) == 0 {
            self.number()?;
            self.bytes()?;
        }
        (info & 0x1f == CONTENT_STRING).then_some(())?;
        Some(self.bytes()?.len() as u64)
    }
}
