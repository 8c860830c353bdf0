//! Just enough of Rust's lexical structure to tell code from comments, literals and tests.

/// A word or a mark of punctuation (`::` counts as one), and the line that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// The text with every comment and literal blanked out; lines keep their numbers.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        let length = if is_word(before) { None } else { raw_string(rest) };
        let length = length.or_else(|| comment(rest)).or_else(|| string(rest)).or_else(|| character(rest));
        match length {
            Some(length) => {
                code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                before = ' ';
                rest = &rest[length..];
            }
            None => {
                code.push(next);
                before = next;
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn comment(text: &str) -> Option<usize> {
    match text.get(..2)? {
        "//" => Some(text.find('\n').unwrap_or(text.len())),
        "/*" => Some(text.find("*/").map_or(text.len(), |end| end + 2)),
        _ => None,
    }
}

fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)? + close.len();
    Some(text.len() - body.len() + end)
}

fn string(text: &str) -> Option<usize> {
    closing(text.strip_prefix('"')?, '"').map(|end| end + 1)
}

/// A character literal, as opposed to a lifetime.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let is_literal = body.starts_with('\\') || body.chars().nth(1) == Some('\'');
    if is_literal { closing(body, '\'').map(|end| end + 1) } else { None }
}

/// The length up to and with the first `quote` that no backslash precedes.
fn closing(body: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The tokens of `code` (see [`code_only`]).
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push(Token { line, text: &rest[..length] });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// For each line, the first at index 0, whether it belongs to an item under `#[cfg(test)]`. Relies on rustfmt: the
/// item's last line stands at the indentation of its attribute, and begins or ends with a brace or ends with a semicolon.
pub(crate) fn test_lines(code: &str) -> Vec<bool> {
    let mut is_test = Vec::new();
    let mut open: Option<usize> = None;
    for line in code.lines() {
        let indent = line.len() - line.trim_start().len();
        let text = line.trim();
        if open.is_none() && ["#[cfg(test)]", "#[cfg(all(test,"].iter().any(|start| text.starts_with(start)) {
            open = Some(indent);
        }
        is_test.push(open.is_some());
        if open == Some(indent) && (text.starts_with('}') || text.ends_with(['}', ';'])) {
            open = None;
        }
    }
    is_test
}
