//! Which web pages may drive this server.
//!
//! A browser lets any page open a WebSocket to any host and tells the server the page's `Origin`. Without a rule a
//! page on the internet could edit the documents of a server on the visitor's own machine; by DNS rebinding (a
//! hostile name that resolves to 127.0.0.1) even with an origin that equals the host. Programs send no `Origin`.

/// The rule, fixed at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OriginRule {
    /// Only these, letter for letter.
    Listed(Vec<String>),
    /// Only pages of the host that the request itself names, which must be loopback if `loopback_only`.
    SameHost { loopback_only: bool },
}

impl OriginRule {
    /// Whether a request with these headers is served.
    pub(super) fn allows(&self, host: Option<&str>, origin: Option<&str>) -> bool {
        match self {
            Self::Listed(allowed) => origin.is_none_or(|origin| allowed.iter().any(|known| known == origin)),
            Self::SameHost { loopback_only } => {
                let is_local = !loopback_only || host.is_some_and(is_loopback);
                is_local && origin.is_none_or(|origin| is_of_host(origin, host))
            }
        }
    }
}

/// Whether `origin` is a page of `host`, which is `name` or `name:port` as in the `Host` header.
fn is_of_host(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| host.is_some_and(|host| authority.eq_ignore_ascii_case(host)))
}

/// Whether a `Host` header names this machine by a name that no foreign DNS server answers for.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    is_port && (name == "127.0.0.1" || name == "[::1]" || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_origin_is_matched_letter_for_letter() {
        let rule = OriginRule::Listed(vec!["https://app.example".to_owned()]);
        assert!(rule.allows(Some("x"), Some("https://app.example")));
        assert!(rule.allows(Some("x"), None));
        let others = [
            "http://app.example",
            "https://evil-app.example",
            "https://app.example.evil.example",
            "https://app.example:8443",
            "https://app.example.",
            "https://APP.example",
            "null",
            "",
        ];
        for other in others {
            assert!(!rule.allows(Some("app.example"), Some(other)), "{other}");
        }
    }

    #[test]
    fn without_a_list_only_pages_of_the_same_host_are_served() {
        let rule = OriginRule::SameHost { loopback_only: false };
        assert!(rule.allows(Some("docs.example:8000"), Some("http://docs.example:8000")));
        assert!(rule.allows(Some("docs.example"), Some("https://docs.example")));
        assert!(rule.allows(Some("docs.example"), None));
        for other in
            ["https://evil.example", "https://docs.example.evil.example", "https://docs.example:1", "null", "file://"]
        {
            assert!(!rule.allows(Some("docs.example"), Some(other)), "{other}");
        }
        assert!(!rule.allows(None, Some("https://docs.example")));
    }

    #[test]
    fn a_loopback_server_answers_to_loopback_names_only() {
        let rule = OriginRule::SameHost { loopback_only: true };
        for host in ["127.0.0.1", "127.0.0.1:8000", "localhost", "LocalHost:8000", "[::1]", "[::1]:8000"] {
            assert!(rule.allows(Some(host), None), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.", "localhost:", "[::1]:x", ""]
        {
            assert!(!rule.allows(Some(host), Some(&format!("http://{host}"))), "{host}");
            assert!(!rule.allows(Some(host), None), "{host}");
        }
        assert!(!rule.allows(None, None));
    }
}
