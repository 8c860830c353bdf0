//! What is said about a message, and whether one fits. See the section *Patterns* of `FORMAT.md`.
//!
//! A pattern is JSON. An object with a key that begins with `$` is an operator; everything else stands for itself, and
//! an object for any object that has at least its fields.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// Values by the names that steps have given them.
pub type Bindings = BTreeMap<String, Value>;

/// The name under which the document of the run is bound from the start.
pub const DOCUMENT: &str = "doc";

/// An object that does not stand for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator<'a> {
    Any,
    Absent,
    Type(Kind),
    Bind(&'a str, Option<Kind>),
    Use(&'a str),
    Exact(&'a Map<String, Value>),
}

/// The types that `$type` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Integer,
    Boolean,
    Array,
    Object,
}

impl Kind {
    const ALL: [(&'static str, Self); 5] = [
        ("string", Self::String),
        ("integer", Self::Integer),
        ("boolean", Self::Boolean),
        ("array", Self::Array),
        ("object", Self::Object),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Integers are those of JSON-5: not negative, written in digits alone.
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_u64(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// The operator that `value` is; `None` if it stands for itself.
///
/// # Errors
/// One sentence, if it looks like an operator and is none.
pub(crate) fn operator(value: &Value) -> Result<Option<Operator<'_>>, String> {
    let Value::Object(object) = value else { return Ok(None) };
    if !object.keys().any(|key| key.starts_with('$')) {
        return Ok(None);
    }
    let field = |name: &str| object.get(name);
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let kind = text("$type").and_then(Kind::named);
    let found = match object.keys().map(String::as_str).collect::<Vec<_>>()[..] {
        ["$any"] if field("$any") == Some(&Value::Bool(true)) => Some(Operator::Any),
        ["$absent"] if field("$absent") == Some(&Value::Bool(true)) => Some(Operator::Absent),
        ["$type"] => kind.map(Operator::Type),
        ["$bind"] => text("$bind").map(|name| Operator::Bind(name, None)),
        ["$bind", "$type"] => text("$bind").zip(kind).map(|(name, kind)| Operator::Bind(name, Some(kind))),
        ["$use"] => text("$use").map(Operator::Use),
        ["$exact"] => field("$exact").and_then(Value::as_object).map(Operator::Exact),
        _ => None,
    };
    found.map(Some).ok_or_else(|| format!("{value} is no operator"))
}

/// Puts bound values in place of each `$use`.
///
/// # Errors
/// One sentence: a name that is not bound, or another operator than `$use`.
pub fn fill(value: &Value, bindings: &Bindings) -> Result<Value, String> {
    match operator(value)? {
        Some(Operator::Use(name)) => bound(name, bindings).cloned(),
        Some(_) => Err(format!("{value} cannot stand in what is sent")),
        None => match value {
            Value::Object(object) => {
                let fields = object.iter().map(|(key, value)| Ok((key.clone(), fill(value, bindings)?)));
                fields.collect::<Result<_, _>>().map(Value::Object)
            }
            Value::Array(items) => items.iter().map(|item| fill(item, bindings)).collect(),
            scalar => Ok(scalar.clone()),
        },
    }
}

/// Puts the JSON of bound values in place of each `${name}`.
///
/// # Errors
/// One sentence: a name that is not bound, or a `${` without its end.
pub fn fill_text(text: &str, bindings: &Bindings) -> Result<String, String> {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').ok_or_else(|| format!("no }} behind ${{{part}"))?;
        filled += &bound(name, bindings)?.to_string();
        filled += rest;
    }
    Ok(filled)
}

fn bound<'a>(name: &str, bindings: &'a Bindings) -> Result<&'a Value, String> {
    bindings.get(name).ok_or_else(|| format!("`{name}` is not bound"))
}

/// Where a message does not fit its pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The place in the message, as a JSON pointer (RFC 6901).
    pub at: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub received: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { "the message" } else { &self.at };
        write!(f, "{at} should be {}, and is {}", self.expected, self.received)
    }
}

/// Compares a message with a pattern; gives the values that the pattern binds.
///
/// # Errors
/// The first [`Difference`].
pub fn compare(pattern: &Value, message: &Value, bindings: &Bindings) -> Result<Bindings, Difference> {
    let mut matching = Matching { bindings, bound: Bindings::new(), at: String::new() };
    matching.value(pattern, Some(message))?;
    Ok(matching.bound)
}

struct Matching<'a> {
    /// What earlier steps bound: the only names that `$use` may name, so the order of fields does not matter.
    bindings: &'a Bindings,
    bound: Bindings,
    at: String,
}

impl Matching<'_> {
    fn value(&mut self, pattern: &Value, received: Option<&Value>) -> Result<(), Difference> {
        let operator = operator(pattern).map_err(|fault| self.difference(fault, received))?;
        if operator == Some(Operator::Absent) {
            return if received.is_none() { Ok(()) } else { Err(self.difference("absent", received)) };
        }
        let Some(value) = received else { return Err(self.difference(pattern, None)) };
        let fits = match operator {
            Some(Operator::Any | Operator::Absent) => true,
            Some(Operator::Type(kind)) => kind.holds(value),
            Some(Operator::Bind(name, kind)) => {
                self.bound.insert(name.to_owned(), value.clone());
                kind.is_none_or(|kind| kind.holds(value))
            }
            Some(Operator::Use(name)) => match self.bindings.get(name) {
                Some(bound) if bound == value => true,
                Some(bound) => return Err(self.difference(format!("{bound} (`{name}`)"), received)),
                None => false,
            },
            Some(Operator::Exact(fields)) => return self.object(fields, value, true),
            None => match (pattern, value) {
                (Value::Object(fields), _) => return self.object(fields, value, false),
                (Value::Array(items), Value::Array(values)) if items.len() == values.len() => {
                    return (0..).zip(items.iter().zip(values)).try_for_each(|(index, (item, value))| {
                        self.below(&index.to_string(), |matching| matching.value(item, Some(value)))
                    });
                }
                _ => pattern == value,
            },
        };
        if fits { Ok(()) } else { Err(self.difference(pattern, received)) }
    }

    fn object(&mut self, fields: &Map<String, Value>, value: &Value, is_exact: bool) -> Result<(), Difference> {
        let Value::Object(values) = value else { return Err(self.difference("an object", Some(value))) };
        for (key, pattern) in fields {
            self.below(key, |matching| matching.value(pattern, values.get(key)))?;
        }
        match values.iter().find(|(key, _)| is_exact && !fields.contains_key(*key)) {
            Some((key, value)) => self.below(key, |matching| Err(matching.difference("absent", Some(value)))),
            None => Ok(()),
        }
    }

    fn below<T>(&mut self, key: &str, inner: impl FnOnce(&mut Self) -> Result<T, Difference>) -> Result<T, Difference> {
        let length = self.at.len();
        self.at.push('/');
        self.at += &key.replace('~', "~0").replace('/', "~1");
        let result = inner(self);
        self.at.truncate(length);
        result
    }

    fn difference(&self, expected: impl fmt::Display, received: Option<&Value>) -> Difference {
        let received = received.map_or_else(|| "absent".to_owned(), Value::to_string);
        Difference { at: self.at.clone(), expected: expected.to_string(), received }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bindings() -> Bindings {
        Bindings::from([(DOCUMENT.to_owned(), json!("d")), ("id".to_owned(), json!([1, "A"]))])
    }

    #[test]
    fn a_pattern_fits_what_it_describes() {
        let message =
            json!({"type": "x", "n": 7, "ids": [[1, "A"], [2, "B"]], "doc": "d", "on": true, "o": {"a": 1, "b": 2}});
        for pattern in [
            json!({}),
            json!({"type": "x", "n": 7}),
            json!({"n": {"$any": true}, "gone": {"$absent": true}, "doc": {"$use": "doc"}}),
            json!({"n": {"$type": "integer"}, "type": {"$type": "string"}, "on": {"$type": "boolean"}}),
            json!({"ids": {"$type": "array"}, "o": {"$type": "object"}}),
            json!({"ids": [{"$use": "id"}, [{"$any": true}, "B"]], "o": {"b": 2}}),
            json!({"o": {"$exact": {"a": {"$type": "integer"}, "b": 2}}}),
        ] {
            assert_eq!(compare(&pattern, &message, &bindings()), Ok(Bindings::new()), "{pattern}");
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let message = json!({"n": 7, "ids": [1, 2], "o": {"a/b": 1}, "doc": "other", "null": null});
        for (pattern, says) in [
            (json!({"n": 8}), "/n should be 8, and is 7"),
            (json!({"n": "7"}), "/n should be \"7\", and is 7"),
            (json!({"n": {"$type": "string"}}), r#"/n should be {"$type":"string"}, and is 7"#),
            (json!({"n": {"$absent": true}}), "/n should be absent, and is 7"),
            (json!({"null": {"$absent": true}}), "/null should be absent, and is null"),
            (json!({"gone": {"$any": true}}), r#"/gone should be {"$any":true}, and is absent"#),
            (json!({"ids": [1, 3]}), "/ids/1 should be 3, and is 2"),
            (json!({"ids": [1]}), "/ids should be [1], and is [1,2]"),
            (json!({"o": {"$exact": {}}}), "/o/a~1b should be absent, and is 1"),
            (json!({"doc": {"$use": "doc"}}), r#"/doc should be "d" (`doc`), and is "other""#),
            (json!({"n": {"a": 1}}), "/n should be an object, and is 7"),
            (
                json!({"n": {"$bind": "n", "$type": "string"}}),
                r#"/n should be {"$bind":"n","$type":"string"}, and is 7"#,
            ),
        ] {
            let difference = compare(&pattern, &message, &bindings()).unwrap_err();
            assert_eq!(difference.to_string(), says, "{pattern}");
        }
        let difference = compare(&json!({"a": 1}), &json!([]), &bindings()).unwrap_err();
        assert_eq!(difference.to_string(), "the message should be an object, and is []");
    }

    #[test]
    fn a_bound_value_stands_in_what_is_sent() {
        let bound = compare(&json!({"term": {"$bind": "t"}}), &json!({"term": "ab"}), &bindings()).unwrap();
        assert_eq!(fill(&json!({"a": [{"$use": "t"}, 1]}), &bound), Ok(json!({"a": ["ab", 1]})));
        assert_eq!(fill_text("{\"a\":${t},${t}", &bound), Ok("{\"a\":\"ab\",\"ab\"".to_owned()));
        for faulty in [json!({"$use": "u"}), json!([{"$any": true}]), json!({"$us": "t"}), json!({"$any": 1})] {
            assert!(fill(&faulty, &bound).is_err(), "{faulty}");
        }
        assert!(fill_text("${t", &bound).is_err() && fill_text("${u}", &bound).is_err());
    }
}
