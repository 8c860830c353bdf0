//! What stands in what is sent: bound values, numbers computed from them, long strings.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::operator::{Operator, Use, operator};

/// Values by the names that steps have given them.
pub type Bindings = BTreeMap<String, Value>;

/// The name under which the document of the run is bound from the start.
pub const DOCUMENT: &str = "doc";

/// How long a repeated string or array may become.
const REPEATED_MAX: usize = 1 << 26;

/// Puts values in place of the operators.
///
/// # Errors
/// One sentence: a name that is not bound, or an operator that only patterns have.
pub fn fill(value: &Value, bindings: &Bindings) -> Result<Value, String> {
    match operator(value)? {
        Some(found) => evaluate(&found, bindings)?.ok_or_else(|| format!("{value} cannot stand in what is sent")),
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

/// The value that an operator stands for; `None` for one that only says something about values.
pub(crate) fn evaluate(operator: &Operator<'_>, bindings: &Bindings) -> Result<Option<Value>, String> {
    match operator {
        Operator::Use(used) => evaluate_use(used, bindings).map(Some),
        Operator::Repeat(what, times) => repeat(&fill(what, bindings)?, times, bindings).map(Some),
        Operator::Text(text) => fill_names(text, bindings, false).map(|text| Some(Value::String(text))),
        _ => Ok(None),
    }
}

fn evaluate_use(used: &Use<'_>, bindings: &Bindings) -> Result<Value, String> {
    let value = bound(used.name, bindings)?;
    if used.times.is_none() && used.plus.is_none() {
        return Ok(value.clone());
    }
    let number = value.as_i64().ok_or_else(|| format!("`{}` is no number", used.name))?;
    let plus = used.plus.map_or(Ok(0), |plus| integer(plus, bindings))?;
    let sum = number.checked_mul(used.times.unwrap_or(1)).and_then(|product| product.checked_add(plus));
    sum.map(Value::from).ok_or_else(|| format!("a number computed from `{}` is too large", used.name))
}

fn repeat(what: &Value, times: &Value, bindings: &Bindings) -> Result<Value, String> {
    let times = count(times, bindings)?;
    let length = what.as_str().map_or(1, str::len);
    if length.saturating_mul(times) > REPEATED_MAX {
        return Err(format!("{times} times is too often"));
    }
    Ok(match what {
        Value::String(text) => Value::String(text.repeat(times)),
        other => Value::Array(vec![other.clone(); times]),
    })
}

/// A number, or an operator that stands for one.
///
/// # Errors
/// One sentence.
pub(crate) fn integer(value: &Value, bindings: &Bindings) -> Result<i64, String> {
    fill(value, bindings)?.as_i64().ok_or_else(|| format!("{value} is no integer"))
}

/// The same, not negative.
///
/// # Errors
/// One sentence.
pub(crate) fn count(value: &Value, bindings: &Bindings) -> Result<usize, String> {
    usize::try_from(integer(value, bindings)?).map_err(|_| format!("{value} is negative"))
}

/// A text: a string, or a list of strings and `$repeat`, one behind the other. In a string the JSON of a bound value
/// takes the place of each `${name}`.
///
/// # Errors
/// One sentence: a name that is not bound, a `${` without its end, or something else than text.
pub fn fill_text(text: &Value, bindings: &Bindings) -> Result<String, String> {
    let piece = |piece: &Value| match (piece, operator(piece)?) {
        (Value::String(text), _) => fill_names(text, bindings, true),
        (_, Some(Operator::Repeat(Value::String(_), _))) => {
            fill(piece, bindings).map(|text| text.as_str().unwrap_or_default().to_owned())
        }
        _ => Err(format!("{piece} is no text")),
    };
    match text {
        Value::Array(pieces) => pieces.iter().map(piece).collect(),
        single => piece(single),
    }
}

/// The bytes that a text writes as pairs of hexadecimal digits; white space may stand between.
///
/// # Errors
/// One sentence.
pub(crate) fn fill_hex(text: &Value, bindings: &Bindings) -> Result<Vec<u8>, String> {
    let text = fill_text(text, bindings)?;
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => {
            Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => Err("bytes are pairs of hexadecimal digits".to_owned()),
    }
}

/// With `as_json` a string is put with its quotes, as everything else is; without, a string as it is.
fn fill_names(text: &str, bindings: &Bindings, as_json: bool) -> Result<String, String> {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').ok_or_else(|| format!("no }} behind ${{{part}"))?;
        match bound(name, bindings)? {
            Value::String(text) if !as_json => filled += text,
            value => filled += &value.to_string(),
        }
        filled += rest;
    }
    Ok(filled)
}

fn bound<'a>(name: &str, bindings: &'a Bindings) -> Result<&'a Value, String> {
    bindings.get(name).ok_or_else(|| format!("`{name}` is not bound"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bindings() -> Bindings {
        Bindings::from([("t".to_owned(), json!("ab")), ("n".to_owned(), json!(7)), ("m".to_owned(), json!(3))])
    }

    #[test]
    fn a_bound_value_stands_in_what_is_sent() {
        for (value, filled) in [
            (json!({"a": [{"$use": "t"}, 1]}), json!({"a": ["ab", 1]})),
            (json!({"$use": "n", "$plus": -2}), json!(5)),
            (json!({"$use": "n", "$times": 10, "$plus": {"$use": "m", "$plus": 1}}), json!(74)),
            (json!({"$repeat": ["é", 3]}), json!("ééé")),
            (json!({"$repeat": [{"a": {"$use": "n"}}, {"$use": "m", "$plus": -1}]}), json!([{"a": 7}, {"a": 7}])),
            (json!({"$text": "${t}-${n}"}), json!("ab-7")),
        ] {
            assert_eq!(fill(&value, &bindings()), Ok(filled), "{value}");
        }
    }

    #[test]
    fn what_has_no_value_is_refused() {
        for faulty in [
            json!({"$use": "u"}),
            json!([{"$any": true}]),
            json!({"$us": "t"}),
            json!({"$any": 1}),
            json!({"$use": "t", "$plus": 1}),
            json!({"$use": "n", "$plus": "1"}),
            json!({"$use": "n", "$times": i64::MAX}),
            json!({"$use": "n", "$min": 1}),
            json!({"$repeat": ["a", -1]}),
            json!({"$repeat": ["a", 1_u64 << 40]}),
            json!({"$text": "${u}"}),
        ] {
            assert!(fill(&faulty, &bindings()).is_err(), "{faulty}");
        }
    }

    #[test]
    fn a_text_is_put_together() {
        let text = |value: Value| fill_text(&value, &bindings());
        assert_eq!(text(json!("{\"a\":${t},${t}")), Ok("{\"a\":\"ab\",\"ab\"".to_owned()));
        assert_eq!(text(json!(["[", {"$repeat": ["[", 3]}, "${n}"])), Ok("[[[[7".to_owned()));
        for faulty in [json!("${t"), json!("${u}"), json!(1), json!({"$use": "t"}), json!({"$repeat": [[], 1]})] {
            assert!(text(faulty.clone()).is_err(), "{faulty}");
        }
        assert_eq!(fill_hex(&json!("03 e8fF"), &bindings()), Ok(vec![3, 0xe8, 0xff]));
        assert!(fill_hex(&json!("03e"), &bindings()).is_err() && fill_hex(&json!("0g"), &bindings()).is_err());
    }
}
