//! Writing JSON into one string, without an intermediate tree.

use std::fmt::Write as _;

use super::plain::plain_len;
use crate::id::ElementId;

/// Digits of the largest integer.
const DIGITS_MAX: usize = 20;

/// One message, as far as it is written.
pub(super) struct Writer(String);

impl Writer {
    /// Starts a message; `capacity` is a guess at its size.
    pub(super) fn message(kind: &str, capacity: usize) -> Self {
        let mut writer = Self(String::with_capacity(capacity));
        writer.0.push('{');
        writer.text("type", kind);
        writer
    }

    /// Starts with nothing, to find out how long an item and the comma before it are.
    pub(super) fn fragment() -> Self {
        Self(String::new())
    }

    /// How many bytes are written.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Ends what was started with nothing: one item, without the comma before it.
    pub(super) fn finish_item(mut self) -> String {
        self.0.remove(0);
        self.0
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    /// Sets off from what came before. No string ends in an opening bracket: it ends in a quote.
    pub(super) fn item(&mut self) {
        if !matches!(self.0.as_bytes().last(), Some(b'{' | b'[' | b':')) {
            self.0.push(',');
        }
    }

    /// Writes a field's name, which needs no escaping.
    pub(super) fn key(&mut self, name: &str) {
        self.item();
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        self.string(value);
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        self.integer(value);
    }

    pub(super) fn display(&mut self, name: &str, value: impl std::fmt::Display) {
        self.key(name);
        // Writing to a string does not fail; what is displayed here needs no escaping.
        let _ = write!(self.0, "\"{value}\"");
    }

    pub(super) fn element(&mut self, name: &str, id: &ElementId) {
        self.key(name);
        self.open('[');
        self.integer(id.lamport.0);
        self.item();
        self.string(id.replica.as_str());
        self.close(']');
    }

    /// Writes JSON as it is.
    pub(super) fn raw(&mut self, json: &str) {
        self.0.push_str(json);
    }

    /// Opens an object or an array, as the value of a key or as an item of an array.
    pub(super) fn open(&mut self, bracket: char) {
        self.item();
        self.0.push(bracket);
    }

    pub(super) fn close(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    /// Writes the digits, which is much faster than the library's way: that pads and signs.
    pub(super) fn integer(&mut self, value: u64) {
        let (mut digits, mut at, mut rest) = ([b'0'; DIGITS_MAX], DIGITS_MAX, value);
        while at > 0 {
            at -= 1;
            digits[at] += (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.0.push_str(str::from_utf8(&digits[at..]).unwrap_or_default());
    }

    /// Writes a string with the shortest escapes, so that nobody's message grows by being passed on.
    pub(super) fn string(&mut self, value: &str) {
        self.0.push('"');
        let mut rest = value;
        loop {
            let (plain, behind) = rest.split_at(plain_len(rest));
            self.0.push_str(plain);
            // What is escaped is ASCII, so what is behind it begins a character.
            let Some(byte) = behind.bytes().next() else { break };
            self.escape(byte);
            rest = &behind[1..];
        }
        self.0.push('"');
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'"' => self.0.push_str("\\\""),
            b'\\' => self.0.push_str("\\\\"),
            0x08 => self.0.push_str("\\b"),
            b'\t' => self.0.push_str("\\t"),
            b'\n' => self.0.push_str("\\n"),
            0x0c => self.0.push_str("\\f"),
            b'\r' => self.0.push_str("\\r"),
            _ => {
                let _ = write!(self.0, "\\u{byte:04x}");
            }
        }
    }
}

/// How many digits an integer is written with.
pub(super) fn digit_count(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |power| power as usize + 1)
}

/// How many bytes a byte of a string takes in JSON.
pub(super) fn escaped_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    }
}
