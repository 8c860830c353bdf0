//! A read-only view of the stored documents. Asking for one never creates it, and does not load it either.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing::error;

use super::{App, error};
use crate::id::{DocId, ServerSeq};
use crate::operator::archive::document_lines;
use crate::server::error::LoadError;
use crate::server::link::{Command, Description};
use crate::server::load::{self, Restored};

/// Most documents in one answer.
const LIMIT_MAX: usize = 1000;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/documents", get(documents))
        .route("/documents/{id}", get(document))
        .route("/documents/{id}/text", get(text))
        .route("/documents/{id}/export", get(export))
}

/// Which part of the list is wanted.
#[derive(Debug, Deserialize)]
struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

async fn documents(State(app): State<App>, page: Result<Query<Page>, QueryRejection>) -> Response {
    let Ok(Query(page)) = page else {
        return error(StatusCode::BAD_REQUEST, "invalid_query", "`after` is a document id, `limit` a number");
    };
    let limit = page.limit.unwrap_or(100);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return error(StatusCode::BAD_REQUEST, "invalid_query", "`limit` must be between 1 and 1000");
    }
    let after = match page.after.as_deref().map(DocId::parse) {
        Some(None) => return invalid_id(),
        Some(Some(after)) => Some(after),
        None => None,
    };
    match app.context.read(move |store| store.documents(after.as_ref(), limit)).await {
        Some(Ok(documents)) => {
            let next = (documents.len() == limit).then(|| documents.last().map(DocId::as_str)).flatten();
            Json(json!({ "documents": documents, "next": next })).into_response()
        }
        Some(Err(error)) => unavailable(&error),
        None => unavailable(&"the list was cut short"),
    }
}

async fn document(State(app): State<App>, Path(id): Path<String>) -> Response {
    let Some(doc) = DocId::parse(&id) else { return invalid_id() };
    let live = ask(&app, &doc, Command::Describe).await;
    let (description, is_live) = match live {
        Some(description) => (description, true),
        None => match stored(&app, &doc).await {
            Ok(restored) => (describe(&restored), false),
            Err(error) => return unavailable(&error),
        },
    };
    if description.head == ServerSeq(0) {
        return unknown();
    }
    Json(description_json(&doc, &description, is_live)).into_response()
}

fn description_json(doc: &DocId, description: &Description, is_live: bool) -> Value {
    json!({
        "doc_id": doc,
        "server_seq": description.head,
        "log_start": description.log_start,
        "sessions": description.sessions,
        "elements": description.elements,
        "waiting": description.waiting,
        "clients": description.clients,
        "terms": description.terms,
        "term": description.term.map(|term| term.to_string()),
        "loaded": is_live,
    })
}

async fn text(State(app): State<App>, Path(id): Path<String>) -> Response {
    let Some(doc) = DocId::parse(&id) else { return invalid_id() };
    let (server_seq, text) = match ask(&app, &doc, Command::Text).await {
        Some(text) => text,
        None => match stored(&app, &doc).await {
            Ok(Restored { content, .. }) => (content.head, content.document.text()),
            Err(error) => return unavailable(&error),
        },
    };
    if server_seq == ServerSeq(0) {
        return unknown();
    }
    Json(json!({ "doc_id": doc, "server_seq": server_seq, "text": text })).into_response()
}

/// The document as lines of an archive, with all that is durable at this moment.
async fn export(State(app): State<App>, Path(id): Path<String>) -> Response {
    let Some(doc) = DocId::parse(&id) else { return invalid_id() };
    // From the store, also if it is in memory: a document that people type in is not held up.
    match stored(&app, &doc).await {
        Ok(restored) if restored.content.head == ServerSeq(0) => unknown(),
        Ok(Restored { content, .. }) => match app.context.blocking(move || document_lines(&doc, &content)).await {
            Ok(lines) => ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response(),
            Err(error) => unavailable(&error),
        },
        Err(error) => unavailable(&error),
    }
}

/// Asks a document that is in memory.
async fn ask<T>(app: &App, doc: &DocId, question: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
    let lease = app.documents.live(doc)?;
    let (reply, answer) = oneshot::channel();
    lease.handle.queue.send(question(reply)).await.ok()?;
    answer.await.ok()
}

/// Reads a document that is not in memory.
async fn stored(app: &App, doc: &DocId) -> Result<Restored, LoadError> {
    let (name, limits) = (doc.clone(), app.context.limits.clone());
    let policy = app.context.config.snapshots.clone();
    let read = app.context.read(move |store| load::load(store, &name, &limits, &policy)).await;
    read.unwrap_or_else(|| Err(LoadError::CutShort { doc: doc.clone() }))
}

fn describe(restored: &Restored) -> Description {
    Description { log_start: restored.log_start, ..Description::of(&restored.content) }
}

fn unknown() -> Response {
    error(StatusCode::NOT_FOUND, "unknown_document", "there is no document of this name")
}

fn invalid_id() -> Response {
    let text = "a document id has 1 to 128 of the characters A-Z a-z 0-9 . _ ~ : @ -";
    error(StatusCode::BAD_REQUEST, "invalid_document_id", text)
}

/// The log says what is wrong; whoever asks need not know the server's files.
fn unavailable(cause: &dyn std::fmt::Display) -> Response {
    error!(%cause, "a request could not be answered");
    error(StatusCode::SERVICE_UNAVAILABLE, "store_error", "the document cannot be read at the moment")
}
