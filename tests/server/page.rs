//! The page: what is served where, with which headers.

use std::collections::BTreeMap;

use crate::harness::{Server, status};

const PATHS: [(&str, &str); 4] = [
    ("/", "text/html; charset=utf-8"),
    ("/d/notes", "text/html; charset=utf-8"),
    ("/assets/app.js", "text/javascript; charset=utf-8"),
    ("/assets/app.css", "text/css; charset=utf-8"),
];

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

async fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}connection: close\r\n\r\n", server.address);
    let (head, body) = server.raw(&request).await;
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status: status(&head), headers, body }
}

#[tokio::test]
async fn every_file_comes_with_its_type_and_the_policy() {
    let server = Server::memory().await;
    for (path, content_type) in PATHS {
        let answer = ask(&server, "GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.is_empty(), "{path}");
        let header = |name: &str| answer.headers.get(name).map(String::as_str);
        assert_eq!(header("content-type"), Some(content_type), "{path}");
        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
        assert_eq!(header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        assert_eq!(header("cache-control"), Some("no-cache"), "{path}");
        let policy: Vec<&str> = header("content-security-policy").unwrap().split("; ").collect();
        let expected = [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ];
        assert_eq!(policy, expected, "{path}");
    }
    server.stop().await;
}

/// What the page loads is what is served: nothing inline, which the policy would not let run, and nothing from afar.
#[tokio::test]
async fn the_page_names_only_files_that_there_are() {
    let server = Server::memory().await;
    let html = ask(&server, "GET", "/", "").await.body;
    let attributes = ["src=\"", "href=\""].into_iter().flat_map(|attribute| html.split(attribute).skip(1));
    let references = attributes.filter_map(|rest| rest.split('"').next());
    let references: Vec<&str> = references.filter(|reference| !reference.starts_with("data:")).collect();
    assert!(references.contains(&"/assets/app.js") && references.contains(&"/assets/app.css"), "{references:?}");
    for path in references {
        assert_eq!(ask(&server, "GET", path, "").await.status, 200, "{path}");
    }
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("<script>"), "{html}");
    server.stop().await;
}

#[tokio::test]
async fn what_the_browser_has_is_not_sent_again() {
    let server = Server::memory().await;
    let mut tags = Vec::new();
    for (path, _) in PATHS {
        let first = ask(&server, "GET", path, "").await;
        let tag = first.headers["etag"].clone();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 66, "{tag}");
        for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            let again = ask(&server, "GET", path, &format!("if-none-match: {known}\r\n")).await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{path} {known}");
            assert_eq!(again.headers["etag"], tag);
            assert!(again.headers.contains_key("content-security-policy"), "{path}");
        }
        let stale = ask(&server, "GET", path, "if-none-match: \"other\"\r\n").await;
        assert_eq!((stale.status, stale.body), (200, first.body), "{path}");
        tags.push(tag);
    }
    assert_eq!(tags[0], tags[1], "one file");
    tags.dedup();
    assert_eq!(tags.len(), 3, "one tag for each file: {tags:?}");
    server.stop().await;
}

#[tokio::test]
async fn head_tells_the_same_without_the_body() {
    let server = Server::memory().await;
    for (path, _) in PATHS {
        let got = ask(&server, "GET", path, "").await;
        let told = ask(&server, "HEAD", path, "").await;
        assert_eq!((told.status, told.body.as_str()), (200, ""), "{path}");
        assert_eq!(told.headers["content-length"], got.body.len().to_string(), "{path}");
        assert_eq!(told.headers["etag"], got.headers["etag"], "{path}");
    }
    assert_eq!(ask(&server, "POST", "/d/notes", "content-length: 0\r\n").await.status, 405);
    server.stop().await;
}

#[tokio::test]
async fn an_invalid_name_gets_the_page_with_404_and_is_not_repeated_in_it() {
    let server = Server::memory().await;
    let page = ask(&server, "GET", "/", "").await;
    let long = "x".repeat(129);
    let names = ["a%20b", "..%2Fsecret", "%00", "%FF", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "%2E%2E", "a%2Fb", &long];
    for name in names {
        let answer = ask(&server, "GET", &format!("/d/{name}"), "").await;
        assert_eq!(answer.status, 404, "{name}");
        assert_eq!(answer.body, page.body, "{name}");
        assert_eq!(answer.headers["content-security-policy"], page.headers["content-security-policy"]);
        // It is not what the browser has at a valid address.
        let tag = &page.headers["etag"];
        let again = ask(&server, "GET", &format!("/d/{name}"), &format!("if-none-match: {tag}\r\n")).await;
        assert_eq!(again.status, 404, "{name}");
    }
    for name in ["a", "A-Z.0_9~:@", "%41", &long[1..]] {
        assert_eq!(ask(&server, "GET", &format!("/d/{name}"), "").await.status, 200, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn there_is_nothing_beside_the_files() {
    let server = Server::memory().await;
    for path in ["/d", "/d/", "/d/a/b", "/assets", "/assets/", "/assets/app.ts", "/assets/../index.html", "/index.html"]
    {
        let answer = ask(&server, "GET", path, "").await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.headers["content-type"], "application/json", "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_page_is_not_for_foreign_origins_and_hosts() {
    let server = Server::memory().await;
    for (path, _) in PATHS {
        let answer = ask(&server, "GET", path, "origin: https://evil.example\r\n").await;
        assert_eq!(answer.status, 403, "{path}");
        let rebound = format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&server.raw(&rebound).await.0), 403, "{path}");
    }
    server.stop().await;
}
