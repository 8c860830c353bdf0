//! Reading JSON strictly: objects as fields, and the few kinds of values that messages are made of.
//!
//! serde_json does the lexing. It tolerates duplicate keys, `1.0` for an integer and any nesting that it can skip; what
//! is added here does not.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{DEPTH_MAX, KEYS_MAX, Malformed};
use crate::id::INTEGER_MAX;
use crate::protocol::message::MessageId;
use crate::protocol::reject::Reject;

/// What is wrong, and where, from the inside out.
#[derive(Debug)]
pub(super) struct Fault {
    reject: Reject,
    place: String,
    what: Cow<'static, str>,
    message: Option<u64>,
}

impl Fault {
    pub(super) fn malformed(what: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Reject::Malformed, what)
    }

    pub(super) fn of(reject: Reject, what: impl Into<Cow<'static, str>>) -> Self {
        Self { reject, place: String::new(), what: what.into(), message: None }
    }

    /// Says in which field or item it is.
    pub(super) fn at(mut self, place: &str) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{place}{dot}{}", self.place);
        self
    }

    /// Says which message is refused, if it is one of the protocol: of one that is malformed nothing is believed.
    pub(super) fn of_message(mut self, message: &MessageId) -> Self {
        self.message = match message {
            MessageId::Number(number) if self.reject != Reject::Malformed => Some(*number),
            MessageId::Number(_) | MessageId::Text(_) => None,
        };
        self
    }
}

impl From<Fault> for Malformed {
    fn from(fault: Fault) -> Self {
        let Fault { reject, place, what, message } = fault;
        let what = if place.is_empty() { what.into_owned() } else { format!("{place}: {what}") };
        Self { reject, what, message }
    }
}

/// Reads one value that was split off before. `expected` says what a value of another type is told.
fn parse<'a, S: DeserializeSeed<'a>>(json: &'a str, seed: S, expected: &'static str) -> Result<S::Value, Fault> {
    let value = seed.deserialize(&mut serde_json::Deserializer::from_str(json));
    value.map_err(|error| match error.classify() {
        Category::Data => Fault::malformed(expected),
        _ => syntax(&error),
    })
}

/// serde_json's own words for broken syntax, which quote nothing out of the frame.
fn syntax(error: &serde_json::Error) -> Fault {
    Fault::malformed(format!("not JSON: {error}"))
}

/// Reads an object or an array with nothing but white space around it. Its own errors say what is wrong.
fn parse_nested<'a, S: DeserializeSeed<'a>>(json: &'a str, seed: S) -> Result<S::Value, Fault> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| match error.classify() {
        Category::Data => {
            let text = error.to_string();
            Fault::malformed(text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned()))
        }
        _ => syntax(&error),
    })
}

/// An integer from 0 to 2^53 − 1, written without sign, fraction and exponent.
struct Integer;

impl<'de> DeserializeSeed<'de> for Integer {
    type Value = u64;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for Integer {
    type Value = u64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INTEGER)
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
        if value <= INTEGER_MAX { Ok(value) } else { Err(E::custom(INTEGER)) }
    }
}

const INTEGER: &str = "must be an integer from 0 to 9007199254740991";
const STRING: &str = "must be a string";

/// A string, borrowed where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STRING)
    }
    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

/// `[lamport, "replica"]`.
struct Pair;

impl<'de> DeserializeSeed<'de> for Pair {
    type Value = (u64, Cow<'de, str>);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Pair {
    type Value = (u64, Cow<'de, str>);
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let lamport = seq.next_element_seed(Integer)?;
        let replica = seq.next_element_seed(Text)?;
        match (lamport, replica, seq.next_element_seed(Unknown { depth: DEPTH_MAX })?) {
            (Some(lamport), Some(replica), None) => Ok((lamport, replica)),
            _ => Err(A::Error::custom("an id has two items")),
        }
    }
}

/// A value that nobody asked for: walked and forgotten. `depth` is the level that an array or object here would be on.
struct Unknown {
    depth: u8,
}

impl Unknown {
    fn deeper<E: serde::de::Error>(&self) -> Result<u8, E> {
        let inside = (self.depth <= DEPTH_MAX).then(|| self.depth + 1);
        inside.ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Unknown {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unknown {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        while seq.next_element_seed(Unknown { depth })?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut keys = Vec::new();
        while let Some(key) = map.next_key_seed(Text)? {
            fits(&key, keys.iter())?;
            keys.push(key);
            map.next_value_seed(Unknown { depth })?;
        }
        Ok(())
    }
}

/// Whether an object may have one more key, namely this.
fn fits<'a, E: serde::de::Error>(
    key: &str,
    mut earlier: impl ExactSizeIterator<Item = &'a Cow<'a, str>>,
) -> Result<(), E> {
    if earlier.len() == KEYS_MAX {
        return Err(E::custom("too many keys in one object"));
    }
    if earlier.any(|other| other == key) { Err(E::custom("a key occurs twice in one object")) } else { Ok(()) }
}

/// The fields of one object that are not yet read.
pub(super) struct Fields<'a> {
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
    depth: u8,
}

struct Object;

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(8);
        while let Some(key) = map.next_key_seed(Text)? {
            fits(&key, entries.iter().map(|(key, _)| key))?;
            entries.push((key, map.next_value()?));
        }
        Ok(entries)
    }
}

impl<'a> Fields<'a> {
    /// Splits a whole frame.
    pub(super) fn of_frame(json: &'a str) -> Result<Self, Fault> {
        Self::of(json, 1)
    }

    /// Splits the object that is written on level `depth`.
    pub(super) fn of(json: &'a str, depth: u8) -> Result<Self, Fault> {
        match json.trim_ascii_start().as_bytes().first() {
            None | Some(b'{') => parse_nested(json, Object).map(|entries| Self { entries, depth }),
            Some(_) => Err(Fault::malformed("must be an object")),
        }
    }

    /// The level of what is inside.
    pub(super) fn inside(&self) -> u8 {
        self.depth + 1
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key == name)
    }

    /// Takes a field out, as it is written.
    pub(super) fn optional(&mut self, name: &str) -> Option<&'a str> {
        let index = self.entries.iter().position(|(key, _)| key == name)?;
        Some(self.entries.swap_remove(index).1.get())
    }

    pub(super) fn required(&mut self, name: &str) -> Result<&'a str, Fault> {
        self.optional(name).ok_or_else(|| Fault::malformed("is missing").at(name))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Cow<'a, str>, Fault> {
        parse(self.required(name)?, Text, STRING).map_err(|fault| fault.at(name))
    }

    pub(super) fn text_if_any(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
        if self.has(name) { self.text(name).map(Some) } else { Ok(None) }
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<u64, Fault> {
        parse(self.required(name)?, Integer, INTEGER).map_err(|fault| fault.at(name))
    }

    pub(super) fn integer_if_any(&mut self, name: &str) -> Result<Option<u64>, Fault> {
        if self.has(name) { self.integer(name).map(Some) } else { Ok(None) }
    }

    pub(super) fn pair(&mut self, name: &str) -> Result<(u64, Cow<'a, str>), Fault> {
        parse(self.required(name)?, Pair, "must be [lamport, \"replica\"]").map_err(|fault| fault.at(name))
    }

    /// A flag that is false where it is absent.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Fault> {
        match self.optional(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Fault::malformed("must be true or false").at(name)),
        }
    }

    /// Splits a field that is an object.
    pub(super) fn object(&mut self, name: &str) -> Result<Fields<'a>, Fault> {
        Fields::of(self.required(name)?, self.inside()).map_err(|fault| fault.at(name))
    }

    /// Calls `item` with every item of a field that is an array.
    pub(super) fn list(&mut self, name: &str, item: &mut dyn FnMut(&'a str) -> Result<(), Fault>) -> Result<(), Fault> {
        each(self.required(name)?, item).map_err(|fault| fault.at(name))
    }

    /// Ends reading: whatever is left is unknown and must still be well formed.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let depth = self.inside();
        for (_, json) in &self.entries {
            parse_nested(json.get(), Unknown { depth }).map_err(|fault| fault.at("an unknown field"))?;
        }
        Ok(())
    }
}

/// Calls `item` with every item of an array, as it is written.
pub(super) fn each<'a>(json: &'a str, item: &mut dyn FnMut(&'a str) -> Result<(), Fault>) -> Result<(), Fault> {
    if !json.starts_with('[') {
        return Err(Fault::malformed("must be an array"));
    }
    let mut fault = None;
    let walked = parse_nested(json, List { item, fault: &mut fault });
    fault.map_or(walked, Err)
}

/// An item of an array that is a string.
pub(super) fn text_item(json: &str) -> Result<Cow<'_, str>, Fault> {
    parse(json, Text, STRING)
}

/// An item of an array that is an integer.
pub(super) fn integer_item(json: &str) -> Result<u64, Fault> {
    parse(json, Integer, INTEGER)
}

struct List<'f, 'a> {
    item: &'f mut dyn FnMut(&'a str) -> Result<(), Fault>,
    fault: &'f mut Option<Fault>,
}

impl<'a> DeserializeSeed<'a> for List<'_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for List<'_, 'a> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(json) = seq.next_element::<&'a RawValue>()? {
            if let Err(fault) = (self.item)(json.get()) {
                *self.fault = Some(fault.at(&format!("[{index}]")));
                return Err(A::Error::custom("refused"));
            }
            index += 1;
        }
        Ok(())
    }
}
