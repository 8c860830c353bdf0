//! The rules of docs/protocol.md, read from the page itself, as it was when the runner was built.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Whom a rule binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    /// Servers alone.
    Server,
    /// Clients alone.
    Client,
    /// Servers and clients.
    Both,
    /// Nobody directly: a deviation or a property, which rests on rules.
    Nobody,
}

/// One rule, deviation or property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its stable id.
    pub id: String,
    /// Whom it binds.
    pub binds: Binds,
    /// `MUST`, `SHOULD` or `MAY`; empty if it binds nobody.
    pub strength: String,
    /// The title of the section that it stands in.
    pub section: String,
    /// What it says, in one line.
    pub text: String,
}

impl Requirement {
    /// Whether it says something about servers.
    pub fn binds_servers(&self) -> bool {
        matches!(self.binds, Binds::Server | Binds::Both)
    }

    /// Whether a server that breaks it is no server of the protocol.
    pub fn is_server_must(&self) -> bool {
        self.binds_servers() && self.strength == "MUST"
    }
}

static ALL: LazyLock<Vec<Requirement>> = LazyLock::new(|| read(include_str!("../../docs/protocol.md")));

/// Everything that has an id, in the order of the page.
pub fn requirements() -> &'static [Requirement] {
    &ALL
}

/// The one with this id.
pub fn requirement(id: &str) -> Option<&'static Requirement> {
    ALL.iter().find(|requirement| requirement.id == id)
}

/// All ids.
pub fn ids() -> BTreeSet<&'static str> {
    ALL.iter().map(|requirement| requirement.id.as_str()).collect()
}

fn read(page: &str) -> Vec<Requirement> {
    let mut found: Vec<Requirement> = Vec::new();
    let mut section = "";
    let mut goes_on = false;
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        }
        if let Some(requirement) = begin(line, section) {
            found.push(requirement);
            goes_on = true;
        } else if line.starts_with("  ") && goes_on {
            if let Some(last) = found.last_mut() {
                last.text += " ";
                last.text += line.trim();
            }
        } else {
            goes_on = false;
        }
    }
    found
}

/// The first line of an item: `- **NUM-1** (server, MUST) …` or `1. **DEV-1 Siblings** …`.
fn begin(line: &str, section: &str) -> Option<Requirement> {
    let item = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let bold = item.trim_start_matches("- ").trim_start().strip_prefix("**")?;
    let (head, text) = bold.split_once("**")?;
    let (id, name) = head.split_once(' ').unwrap_or((head, ""));
    if !is_id(id) {
        return None;
    }
    let text = format!("{name}{}", if name.is_empty() { text.trim_start() } else { text });
    let rule = text.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    let (binds, strength) = match rule.and_then(|(who, _)| who.split_once(", ")) {
        Some(("server", strength)) => (Binds::Server, strength),
        Some(("client", strength)) => (Binds::Client, strength),
        Some(("both", strength)) => (Binds::Both, strength),
        _ => (Binds::Nobody, ""),
    };
    let said = rule.filter(|_| binds != Binds::Nobody).map_or(text.as_str(), |(_, said)| said);
    Some(Requirement {
        id: id.to_owned(),
        binds,
        strength: strength.to_owned(),
        section: section.to_owned(),
        text: said.to_owned(),
    })
}

fn is_id(word: &str) -> bool {
    let Some((group, number)) = word.split_once('-') else { return false };
    let is_group = group.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    is_group && group.starts_with(|c: char| c.is_ascii_uppercase()) && number.parse::<u32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_deviations_and_properties_are_found() {
        let page = "## 5. The sequence\n\n- **ORD-1** (both, MUST) Of two children\n  the one. (UTF-8.)\n\n  Text.\n\
                    - **ERR-5** (client, SHOULD) Back off.\n1. **DEV-1 Siblings: newest first** (ORD-1). The reference\n   \
                    sorted.\n- **P-9 Progress**: rest.\n**no rule**\n- **accepted**: word\n";
        let found = read(page);
        let ids: Vec<&str> = found.iter().map(|requirement| requirement.id.as_str()).collect();
        assert_eq!(ids, ["ORD-1", "ERR-5", "DEV-1", "P-9"]);
        assert_eq!(found[0].text, "Of two children the one. (UTF-8.)");
        assert_eq!((found[0].section.as_str(), found[0].is_server_must()), ("5. The sequence", true));
        assert_eq!((found[1].binds, found[1].strength.as_str()), (Binds::Client, "SHOULD"));
        assert_eq!(found[2].text, "Siblings: newest first (ORD-1). The reference sorted.");
        assert_eq!((found[3].binds, found[3].text.as_str()), (Binds::Nobody, "Progress: rest."));
    }

    #[test]
    fn the_page_has_its_rules() {
        let servers = requirements().iter().filter(|requirement| requirement.is_server_must()).count();
        assert!(requirements().len() > 100 && servers > 60, "{} and {servers}", requirements().len());
        assert!(requirement("NUM-1").is_some_and(|rule| rule.text.contains("each number once and for ever")));
        assert_eq!(ids().len(), requirements().len(), "an id stands twice");
    }
}
