//! What is said about a message, and whether one fits. See the section *Patterns* of `FORMAT.md`.
//!
//! A pattern is JSON. An object with a key that begins with `$` is an operator; everything else stands for itself, and
//! an object for any object that has at least its fields.

use std::fmt;

use serde_json::{Map, Value};

use crate::operator::{Bind, Operator, operator};
use crate::value::{Bindings, evaluate, integer};

/// How many characters of a value a difference shows.
const SHOWN_MAX: usize = 600;

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

/// The beginning of a text that may be long, and how long it is.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
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
        match operator(pattern).map_err(|fault| self.difference(fault, received))? {
            Some(operator) => self.operator(&operator, pattern, received),
            None => match (pattern, received) {
                (Value::Object(fields), Some(value)) => self.object(fields, value, false),
                (Value::Array(items), Some(Value::Array(values))) if items.len() == values.len() => {
                    (0..).zip(items.iter().zip(values)).try_for_each(|(index, (item, value))| {
                        self.below(&index.to_string(), |matching| matching.value(item, Some(value)))
                    })
                }
                (_, Some(value)) if pattern == value => Ok(()),
                _ => Err(self.difference(pattern, received)),
            },
        }
    }

    fn operator(
        &mut self,
        operator: &Operator<'_>,
        pattern: &Value,
        received: Option<&Value>,
    ) -> Result<(), Difference> {
        match (operator, received) {
            (Operator::Bind(bind), _) => return self.bind(bind, pattern, received),
            (Operator::Exact(fields), Some(value)) => return self.object(fields, value, true),
            _ => {}
        }
        let wanted = evaluate(operator, self.bindings).map_err(|fault| self.difference(fault, received))?;
        let fits = match (operator, received) {
            (Operator::Absent, _) => received.is_none(),
            (Operator::OneOf(patterns), _) => patterns.iter().any(|pattern| self.value(pattern, received).is_ok()),
            (Operator::Any, Some(_)) => true,
            (Operator::Type(kind), Some(value)) => kind.holds(value),
            (Operator::Range(from, to), Some(value)) => self.is_within(from, to, value),
            (Operator::Not(pattern), Some(_)) => self.value(pattern, received).is_err(),
            (Operator::Contains(patterns), Some(Value::Array(items))) => {
                patterns.iter().all(|pattern| items.iter().any(|item| self.value(pattern, Some(item)).is_ok()))
            }
            (_, Some(value)) => wanted.as_ref() == Some(value),
            (_, None) => false,
        };
        match wanted {
            _ if fits => Ok(()),
            Some(wanted) => Err(self.difference(format_args!("{wanted} ({})", named(operator)), received)),
            None if *operator == Operator::Absent => Err(self.difference("absent", received)),
            None => Err(self.difference(pattern, received)),
        }
    }

    fn bind(&mut self, bind: &Bind<'_>, pattern: &Value, received: Option<&Value>) -> Result<(), Difference> {
        let Some(value) = received.or(bind.default) else { return Err(self.difference(pattern, None)) };
        if let Some(condition) = &bind.fits {
            self.operator(condition, pattern, Some(value))?;
        }
        self.bound.insert(bind.name.to_owned(), value.clone());
        Ok(())
    }

    fn is_within(&self, from: &Value, to: &Value, value: &Value) -> bool {
        let Some(number) = value.as_i64() else { return false };
        let bound = |bound: &Value| if bound.is_null() { Ok(number) } else { integer(bound, self.bindings) };
        bound(from).is_ok_and(|from| from <= number) && bound(to).is_ok_and(|to| number <= to)
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
        let received = received.map_or_else(|| "absent".to_owned(), |value| shortened(&value.to_string()));
        Difference { at: self.at.clone(), expected: shortened(&expected.to_string()), received }
    }
}

/// Where a value that is expected comes from.
fn named(operator: &Operator<'_>) -> String {
    match operator {
        Operator::Use(used) if used.times.is_none() && used.plus.is_none() => format!("`{}`", used.name),
        Operator::Use(used) => format!("computed from `{}`", used.name),
        Operator::Text(text) => format!("`{text}`"),
        _ => "repeated".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::value::DOCUMENT;

    fn bindings() -> Bindings {
        Bindings::from([
            (DOCUMENT.to_owned(), json!("d")),
            ("id".to_owned(), json!([1, "A"])),
            ("six".to_owned(), json!(6)),
        ])
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
            json!({"n": {"$range": [7, 7]}, "gone": {"$oneOf": [1, {"$absent": true}]}, "type": {"$not": "y"}}),
            json!({"n": {"$range": [null, {"$use": "six", "$plus": 1}]}, "ids": {"$contains": [[2, "B"], {"$use": "id"}]}}),
            json!({"n": {"$use": "six", "$plus": 1}, "type": {"$text": "x"}, "doc": {"$repeat": ["d", 1]}}),
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
            (json!({"n": {"$use": "six", "$times": 2}}), "/n should be 12 (computed from `six`), and is 7"),
            (json!({"n": {"$range": [8, null]}}), r#"/n should be {"$range":[8,null]}, and is 7"#),
            (json!({"n": {"$not": {"$type": "integer"}}}), r#"/n should be {"$not":{"$type":"integer"}}, and is 7"#),
            (json!({"n": {"$oneOf": [6, 8]}}), r#"/n should be {"$oneOf":[6,8]}, and is 7"#),
            (json!({"ids": {"$contains": [1, 3]}}), r#"/ids should be {"$contains":[1,3]}, and is [1,2]"#),
            (json!({"doc": {"$type": "term"}}), r#"/doc should be {"$type":"term"}, and is "other""#),
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
    fn a_name_gets_what_is_there_or_its_default() {
        let message = json!({"limits": {"inflight_max": 9}});
        let pattern = json!({"limits": {
            "inflight_max": {"$bind": "inflight", "$default": 256, "$range": [1, null]},
            "answers_max": {"$bind": "answers", "$default": 512}}});
        let bound = compare(&pattern, &message, &bindings()).unwrap();
        assert_eq!(bound, Bindings::from([("inflight".to_owned(), json!(9)), ("answers".to_owned(), json!(512))]));
        let message = json!({"limits": {"inflight_max": 0}});
        assert!(compare(&pattern, &message, &bindings()).is_err());
    }

    #[test]
    fn what_is_long_is_shortened() {
        let long = "é".repeat(SHOWN_MAX + 1);
        assert!(shortened(&long).ends_with("é… (1202 bytes)") && shortened("é") == "é");
    }
}
