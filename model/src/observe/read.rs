//! Histories in JSON.

use std::io::{self, BufRead};

use serde_json::Value;

use super::History;

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says so.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// Not JSON.
    #[error("line {line}, column {column}: {what}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// JSON of another shape.
    #[error("{place}: {what}")]
    Shape {
        /// Where.
        place: String,
        /// What is expected there, and what is there.
        what: String,
    },
    /// Nothing to judge.
    #[error("it holds no display: {{\"displays\":[[…],…]}} or one list a line is expected")]
    Empty,
}

/// Reads a history: one object with `displays`, or one display a line.
///
/// # Errors
///
/// What is not a history, with the place.
pub fn read(mut input: impl BufRead) -> Result<History, ReadError> {
    let mut history = History::default();
    let mut line = String::new();
    let mut number = 0;
    while input.read_line(&mut line)? > 0 {
        number += 1;
        if !line.trim().is_empty() {
            match serde_json::from_str::<Value>(&line) {
                Ok(Value::Object(object)) if history.display_count() == 0 && object.contains_key("displays") => {
                    add_all(&mut history, &Value::Object(object))?;
                    require_end(&mut input, number)?;
                    break;
                }
                Ok(value) => add_line(&mut history, &value, number)?,
                // An object may stand over several lines.
                Err(error) if error.is_eof() && history.display_count() == 0 => {
                    input.read_to_string(&mut line)?;
                    let value = serde_json::from_str::<Value>(&line).map_err(|error| json_error(&error, number - 1))?;
                    add_all(&mut history, &value)?;
                    break;
                }
                Err(error) => return Err(json_error(&error, number - 1)),
            }
        }
        line.clear();
    }
    if history.display_count() == 0 { Err(ReadError::Empty) } else { Ok(history) }
}

/// `before`: lines in front of the text that was parsed.
fn json_error(error: &serde_json::Error, before: usize) -> ReadError {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
    ReadError::Json { line: before + error.line(), column: error.column(), what }
}

fn require_end(input: &mut impl BufRead, mut number: usize) -> Result<(), ReadError> {
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        number += 1;
        if !line.trim().is_empty() {
            return Err(shape(format!("line {number}"), "nothing may follow the object with `displays`"));
        }
        line.clear();
    }
    Ok(())
}

fn shape(place: String, what: impl Into<String>) -> ReadError {
    ReadError::Shape { place, what: what.into() }
}

fn add_all(history: &mut History, value: &Value) -> Result<(), ReadError> {
    let Some(displays) = value.get("displays") else {
        return Err(shape("the object".to_owned(), "it has no field `displays`"));
    };
    let Value::Array(displays) = displays else {
        return Err(shape(
            "`displays`".to_owned(),
            format!("an array of lists is expected, and not {}", kind(displays)),
        ));
    };
    (1..).zip(displays).try_for_each(|(number, list)| add_list(history, list, || format!("display {number}")))
}

fn add_line(history: &mut History, value: &Value, number: usize) -> Result<(), ReadError> {
    let list = match value {
        Value::Object(object) => object.get("display").ok_or_else(|| {
            shape(format!("line {number}"), "an object in a line needs a field `display`, which is a list")
        })?,
        other => other,
    };
    add_list(history, list, || format!("line {number}"))
}

fn add_list(history: &mut History, list: &Value, place: impl Fn() -> String) -> Result<(), ReadError> {
    let Value::Array(elements) = list else {
        return Err(shape(place(), format!("a list of element ids is expected, and not {}", kind(list))));
    };
    let is_id = |value: &Value| value.is_string() || value.is_number();
    for (index, element) in (1..).zip(elements) {
        let is_compound = element.as_array().is_some_and(|parts| !parts.is_empty() && parts.iter().all(is_id));
        if !is_id(element) && !is_compound {
            let what = "an id is a string, a number or an array of these";
            return Err(shape(format!("{}, element {index}", place()), format!("{what}, and not {}", kind(element))));
        }
    }
    history.add(elements.iter().map(Value::to_string));
    Ok(())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
