//! Rules about source files.

use crate::code::{Token, code_only, test_lines, tokens};
use crate::{Offences, Tree};

const LINES_MAX: usize = 600;

/// Where clocks, sockets, files, tasks and randomness may be named.
const SHELL: [&str; 6] = ["server", "storage", "client", "cli", "operator", "trace"];
const SHELL_CRATES: [&str; 8] =
    ["tokio", "tokio_tungstenite", "axum", "hyper", "reqwest", "rand", "getrandom", "tracing_subscriber"];
const SHELL_STD: [&str; 6] = ["time", "net", "fs", "thread", "process", "env"];

pub(crate) fn check(tree: &Tree, offences: &mut Offences) {
    for (path, text) in tree {
        let Some(text) = text else { continue };
        if is_written_by_hand(path) {
            whitespace(path, text, offences);
            marks(path, text, offences);
        }
        if path.ends_with(".rs") {
            rust(path, text, offences);
        }
    }
    unreached_files(tree, offences);
    shell_dependencies(tree, offences);
}

/// Not so the page: tools build it into the server's sources.
fn is_written_by_hand(path: &str) -> bool {
    if path.starts_with("src/server/page/") {
        return false;
    }
    let extensions = ["rs", "toml", "md", "ts", "tsx", "js", "html", "css", "sh", "yml"];
    extensions.iter().any(|extension| path.rsplit('.').next() == Some(extension)) || path.starts_with(".ci/")
}

fn is_core(path: &str) -> bool {
    let Some(module) = path.strip_prefix("src/").and_then(|path| path.split(['/', '.']).next()) else { return false };
    !SHELL.contains(&module) && module != "main" && module != "bin"
}

fn rust(path: &str, text: &str, offences: &mut Offences) {
    let lines = text.lines().count();
    if lines > LINES_MAX {
        offences.add(path, LINES_MAX + 1, format_args!("{lines} lines; a file stops at {LINES_MAX}, and aims at 400"));
    }
    commented_out(path, text, offences);
    let code = code_only(text);
    let tokens = tokens(&code);
    unfinished(path, &tokens, offences);
    if !path.starts_with("src/") || path.ends_with("/tests.rs") || path.contains("/tests/") {
        return;
    }
    let is_test = test_lines(&code);
    let shipped: Vec<Token<'_>> = tokens.into_iter().filter(|token| !is_test[token.line - 1]).collect();
    unwraps(path, &shipped, offences);
    if is_core(path) {
        impure_names(path, &shipped, offences);
        for token in shipped.iter().filter(|token| token.text.starts_with("disallowed_") && path != "src/lib.rs") {
            offences.add(path, token.line, "only the shell may switch off what clippy.toml bans");
        }
    }
}

fn whitespace(path: &str, text: &str, offences: &mut Offences) {
    let last = text.lines().count();
    if !text.is_empty() && !text.ends_with('\n') {
        offences.add(path, last, "no end of line at the end of the file");
    }
    if text.ends_with("\n\n") {
        offences.add(path, last, "empty line at the end of the file");
    }
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.ends_with('\r') {
            offences.add(path, number, "carriage return");
        } else if line.ends_with([' ', '\t']) {
            offences.add(path, number, "blank at the end of the line");
        } else if line.contains('\t') {
            offences.add(path, number, "tab");
        }
    }
}

fn marks(path: &str, text: &str, offences: &mut Offences) {
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|parts| parts.concat());
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| marks.iter().any(|mark| mark == word)) {
            offences.add(path, number, format_args!("left open: {word}"));
        }
    }
}

fn unfinished(path: &str, tokens: &[Token<'_>], offences: &mut Offences) {
    for pair in tokens.windows(2) {
        if ["todo", "unimplemented", "dbg"].contains(&pair[0].text) && pair[1].text == "!" {
            offences.add(path, pair[0].line, format_args!("`{}!`", pair[0].text));
        }
    }
}

fn unwraps(path: &str, tokens: &[Token<'_>], offences: &mut Offences) {
    for call in tokens.windows(3) {
        if call[0].text == "." && call[1].text == "unwrap" && call[2].text == "(" {
            offences.add(path, call[1].line, "`unwrap` outside tests: `expect` states the local reason");
        }
    }
}

fn commented_out(path: &str, text: &str, offences: &mut Offences) {
    let starts = ["let ", "use ", "pub ", "return ", "return;", "#[", "impl ", "mod "];
    for (number, line) in (1..).zip(text.lines()) {
        let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
        if comment.starts_with(['/', '!']) || comment.contains('`') {
            continue;
        }
        let comment = comment.trim();
        let is_statement = comment.ends_with(';') && starts.iter().any(|start| comment.starts_with(start));
        let is_call = comment.ends_with(");") && !comment.split('(').next().unwrap_or_default().contains(' ');
        let is_block = comment.ends_with(" {") || ["}", "})", "});", "};", "},"].contains(&comment);
        if is_statement || is_call || is_block || comment.starts_with("#[") {
            offences.add(path, number, "code that is commented out");
        }
    }
}

/// The core names no crate of the shell, and none of the modules of `std` that reach outside the program.
fn impure_names(path: &str, tokens: &[Token<'_>], offences: &mut Offences) {
    let mut name = |line, name| offences.add(path, line, format_args!("the core names `{name}`; only the shell may"));
    let text_at = |at: usize| tokens.get(at).map_or("", |token| token.text);
    for (at, token) in tokens.iter().enumerate() {
        let before = if at == 0 { "" } else { text_at(at - 1) };
        let after = text_at(at + 1);
        if SHELL_CRATES.contains(&token.text) && before != "::" && (after == "::" || before == "use") {
            name(token.line, token.text.to_owned());
        }
        if !["std", "core"].contains(&token.text) || after != "::" {
            continue;
        }
        for module in modules(&tokens[at + 2..]) {
            if SHELL_STD.contains(&module.text) {
                name(module.line, format!("{}::{}", token.text, module.text));
            }
        }
    }
}

/// The modules named right behind `std::`: one, or those at the top of a group in braces.
fn modules<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    if tokens.first().is_none_or(|token| token.text != "{") {
        return tokens.first().copied().into_iter().collect();
    }
    let mut modules = Vec::new();
    let mut depth = 0;
    for pair in tokens.windows(2) {
        match pair[0].text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && ["{", ","].contains(&pair[0].text) {
            modules.push(pair[1]);
        }
    }
    modules
}

/// A file that no `mod` names is not compiled, and nobody is told.
fn unreached_files(tree: &Tree, offences: &mut Offences) {
    let mut declared = std::collections::BTreeSet::new();
    for text in tree.iter().filter(|(path, _)| path.ends_with(".rs")).filter_map(|(_, text)| text.as_deref()) {
        let code = code_only(text);
        let tokens = tokens(&code);
        let modules = tokens.windows(3).filter(|tokens| tokens[0].text == "mod" && tokens[2].text == ";");
        declared.extend(modules.map(|tokens| tokens[1].text.to_owned()));
    }
    for path in tree.keys().filter(|path| path.starts_with("src/") && path.ends_with(".rs")) {
        let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = stem.rsplit('/').next().unwrap_or(stem);
        let is_root = path == "src/lib.rs" || module == "main" || path.starts_with("src/bin/");
        if !is_root && !declared.contains(module) {
            offences.add(path, 1, format_args!("no `mod {module}` names this file: it is not compiled"));
        }
    }
}

/// Without features there is the core alone: what only the shell may name is no dependency then.
fn shell_dependencies(tree: &Tree, offences: &mut Offences) {
    let Some(Some(manifest)) = tree.get("Cargo.toml") else { return };
    let mut table = "";
    for (number, line) in (1..).zip(manifest.lines()) {
        if line.starts_with('[') {
            table = line;
        }
        let name = line.split([' ', '=', '.']).next().unwrap_or_default();
        let is_shell = SHELL_CRATES.contains(&name.replace('-', "_").as_str());
        if table == "[dependencies]" && is_shell && !line.contains("optional = true") {
            offences.add(
                "Cargo.toml",
                number,
                format_args!("`{name}` belongs to the shell: optional, under a feature"),
            );
        }
    }
}
