//! The objects of a scenario that do not stand for themselves. See the section *Operators* of `FORMAT.md`.

use serde_json::{Map, Value};

/// An object with a key that begins with `$`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operator<'a> {
    Any,
    Absent,
    Type(Kind),
    /// From and to, both included; `null` for no bound.
    Range(&'a Value, &'a Value),
    Bind(Bind<'a>),
    Use(Use<'a>),
    /// A string, or anything else for an array of it; how often.
    Repeat(&'a Value, &'a Value),
    /// A string with bound values in it.
    Text(&'a str),
    Exact(&'a Map<String, Value>),
    OneOf(&'a [Value]),
    Not(&'a Value),
    Contains(&'a [Value]),
}

/// Gives a name to what is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bind<'a> {
    pub(crate) name: &'a str,
    /// What it must be beyond being there.
    pub(crate) fits: Option<Box<Operator<'a>>>,
    /// What is bound if the field is absent.
    pub(crate) default: Option<&'a Value>,
}

/// Stands for a bound value, or for a number that is computed from one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Use<'a> {
    pub(crate) name: &'a str,
    pub(crate) times: Option<i64>,
    pub(crate) plus: Option<&'a Value>,
}

/// The types that `$type` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Integer,
    Boolean,
    Array,
    Object,
    Term,
}

impl Kind {
    const ALL: [(&'static str, Self); 6] = [
        ("string", Self::String),
        ("integer", Self::Integer),
        ("boolean", Self::Boolean),
        ("array", Self::Array),
        ("object", Self::Object),
        ("term", Self::Term),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Integers are those of JSON-5: not negative, written in digits alone.
    pub(crate) fn holds(self, value: &Value) -> bool {
        let is_term = |text: &str| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_u64(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
            Self::Term => value.as_str().is_some_and(is_term),
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
    let mut fields: Vec<(&str, &Value)> = object.iter().map(|(key, value)| (key.as_str(), value)).collect();
    fields.sort_unstable_by_key(|(key, _)| *key);
    let found = bind(&fields).or_else(|| used(&fields).map(Operator::Use)).or_else(|| single(&fields));
    found.map(Some).ok_or_else(|| format!("{value} is no operator"))
}

fn field<'a>(fields: &[(&str, &'a Value)], name: &str) -> Option<&'a Value> {
    fields.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
}

fn bind<'a>(fields: &[(&str, &'a Value)]) -> Option<Operator<'a>> {
    let name = field(fields, "$bind")?.as_str()?;
    let rest: Vec<_> = fields.iter().copied().filter(|(key, _)| !matches!(*key, "$bind" | "$default")).collect();
    let fits = if rest.is_empty() {
        None
    } else {
        let fits = single(&rest)?;
        let is_condition =
            matches!(fits, Operator::Type(_) | Operator::Range(..) | Operator::Not(_) | Operator::OneOf(_));
        Some(Box::new(is_condition.then_some(fits)?))
    };
    Some(Operator::Bind(Bind { name, fits, default: field(fields, "$default") }))
}

fn used<'a>(fields: &[(&str, &'a Value)]) -> Option<Use<'a>> {
    let name = field(fields, "$use")?.as_str()?;
    let known = fields.iter().all(|(key, _)| matches!(*key, "$use" | "$times" | "$plus"));
    let times = match field(fields, "$times") {
        Some(times) => Some(times.as_i64()?),
        None => None,
    };
    let plus = field(fields, "$plus");
    let is_number = |value: &Value| value.is_i64() || matches!(operator(value), Ok(Some(Operator::Use(_))));
    (known && plus.is_none_or(is_number)).then_some(Use { name, times, plus })
}

fn single<'a>(fields: &[(&str, &'a Value)]) -> Option<Operator<'a>> {
    let [(key, value)] = *fields else { return None };
    let is_true = *value == Value::Bool(true);
    let pair = || match value.as_array()?.as_slice() {
        [first, second] => Some((first, second)),
        _ => None,
    };
    let list = || value.as_array().map(Vec::as_slice).filter(|list| !list.is_empty());
    match key {
        "$any" => is_true.then_some(Operator::Any),
        "$absent" => is_true.then_some(Operator::Absent),
        "$type" => value.as_str().and_then(Kind::named).map(Operator::Type),
        "$range" => pair().map(|(from, to)| Operator::Range(from, to)),
        "$repeat" => pair().map(|(what, times)| Operator::Repeat(what, times)),
        "$text" => value.as_str().map(Operator::Text),
        "$exact" => value.as_object().map(Operator::Exact),
        "$oneOf" => list().map(Operator::OneOf),
        "$not" => Some(Operator::Not(value)),
        "$contains" => list().map(Operator::Contains),
        _ => None,
    }
}
