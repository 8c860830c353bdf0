//! The page: three files that are part of the binary, so that one program is the whole installation. They are built
//! from `client/page`; see docs/testing.md.
//!
//! They are served as they are. A server that people reach over a slow network stands behind a proxy for TLS, which
//! compresses too; and a browser that has them only asks whether they are still the same.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::id::DocId;

/// Scripts, styles and connections of this server alone: nothing inline, nothing evaluated, no frames. So a text that
/// were taken for markup could neither run nor send anything anywhere. `'self'` includes WebSockets of the same host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What goes with every file, besides what goes with every answer.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    // Ask each time: after an update the page and its server must fit.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// One embedded file.
struct File {
    content: &'static str,
    content_type: &'static str,
    /// Strong: names these very bytes.
    etag: HeaderValue,
}

static INDEX: LazyLock<File> =
    LazyLock::new(|| File::new(include_str!("../page/index.html"), "text/html; charset=utf-8"));
static SCRIPT: LazyLock<File> =
    LazyLock::new(|| File::new(include_str!("../page/assets/app.js"), "text/javascript; charset=utf-8"));
static STYLE: LazyLock<File> =
    LazyLock::new(|| File::new(include_str!("../page/assets/app.css"), "text/css; charset=utf-8"));

/// `/`
pub(super) async fn index(request: HeaderMap) -> Response {
    INDEX.answer(&request, StatusCode::OK)
}

/// `/d/{name}`. The page itself tells people what is wrong with a name; programs see the status.
pub(super) async fn document(name: Result<Path<String>, PathRejection>, request: HeaderMap) -> Response {
    let is_valid = name.is_ok_and(|Path(name)| DocId::parse(&name).is_some());
    INDEX.answer(&request, if is_valid { StatusCode::OK } else { StatusCode::NOT_FOUND })
}

/// `/assets/app.js`
pub(super) async fn script(request: HeaderMap) -> Response {
    SCRIPT.answer(&request, StatusCode::OK)
}

/// `/assets/app.css`
pub(super) async fn style(request: HeaderMap) -> Response {
    STYLE.answer(&request, StatusCode::OK)
}

impl File {
    fn new(content: &'static str, content_type: &'static str) -> Self {
        let digest = Sha256::digest(content);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::try_from(format!("\"{hex}\"")).expect("hexadecimal digits are a header's text");
        Self { content, content_type, etag }
    }

    /// The file, or that the browser has it already.
    fn answer(&self, request: &HeaderMap, status: StatusCode) -> Response {
        let is_known = status == StatusCode::OK && self.is_named_by(request);
        let validators = [(header::ETAG, self.etag.clone())];
        if is_known {
            return (StatusCode::NOT_MODIFIED, HEADERS, validators).into_response();
        }
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type))];
        (status, HEADERS, validators, content_type, self.content).into_response()
    }

    /// Whether `If-None-Match` names it. Compared weakly (RFC 9110, section 13.1.2): a proxy that compresses weakens
    /// the tag that it passes on.
    fn is_named_by(&self, request: &HeaderMap) -> bool {
        let own = self.etag.as_bytes();
        let lists = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
        let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == own)
    }
}
