//! A read-only view of the stored documents. Asking for one never creates it, and does not load it either.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;
use tracing::error;

use super::{App, error};
use crate::id::{DocId, ServerSeq};
use crate::operator::archive::document_lines;
use crate::server::error::LoadError;
use crate::server::link::{Command, Description};
use crate::server::load::{self, Restored};
use crate::storage::Store;

/// Most documents in one answer.
const LIMIT_MAX: usize = 1000;

/// How much of an answer the connection is given at a time. The rest stays here, and with it the request's turn.
const PIECE_BYTES: usize = 64 << 10;

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

async fn document(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Response> {
    let doc = DocId::parse(&id).ok_or_else(invalid_id)?;
    let (description, is_live) = match ask(&app, &doc, Command::Describe).await {
        Some(description) => (description, true),
        None => (stored(&app, &doc, turn(&app).await?, |restored| describe(&restored)).await?.0, false),
    };
    if description.head == ServerSeq(0) {
        return Err(unknown());
    }
    Ok(Json(description_json(&doc, &description, is_live)).into_response())
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

/// The text of a document.
#[derive(Debug, Serialize)]
struct Text<'a> {
    doc_id: &'a DocId,
    server_seq: ServerSeq,
    text: String,
}

async fn text(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Response> {
    let doc = DocId::parse(&id).ok_or_else(invalid_id)?;
    let turn = turn(&app).await?;
    let ((server_seq, text), turn) = match ask(&app, &doc, Command::Text).await {
        Some(text) => (text, turn),
        None => stored(&app, &doc, turn, |restored| (restored.content.head, restored.content.document.text())).await?,
    };
    if server_seq == ServerSeq(0) {
        return Err(unknown());
    }
    let json = serde_json::to_vec(&Text { doc_id: &doc, server_seq, text }).map_err(|error| unavailable(&error))?;
    Ok(in_pieces("application/json", json.into(), turn))
}

/// The document as lines of an archive, with all that is durable at this moment.
async fn export(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Response> {
    let doc = DocId::parse(&id).ok_or_else(invalid_id)?;
    let name = doc.clone();
    let lines = move |Restored { content, .. }: Restored| {
        (content.head > ServerSeq(0)).then(|| document_lines(&name, &content))
    };
    // From the store, also if it is in memory: a document that people type in is not held up.
    let (lines, turn) = stored(&app, &doc, turn(&app).await?, lines).await?;
    let lines = lines.ok_or_else(unknown)?;
    Ok(in_pieces("application/x-ndjson", lines.into(), turn))
}

/// Waits for one of the turns of those who ask for all of a document: whoever holds one may have the server hold that
/// document once or twice more, and its answer until the last of it is taken.
async fn turn(app: &App) -> Result<OwnedSemaphorePermit, Response> {
    let patience = app.context.config.timeouts.load;
    let turn = timeout(patience, Arc::clone(&app.turns).acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(overloaded)
}

/// An answer that keeps its turn until the connection has taken it.
fn in_pieces(content_type: &'static str, answer: Bytes, turn: OwnedSemaphorePermit) -> Response {
    let length = HeaderValue::from(answer.len());
    let pieces = stream::unfold((answer, turn), async |(mut rest, turn)| {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        (!piece.is_empty()).then(|| (Ok::<_, Infallible>(piece), (rest, turn)))
    });
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type)), (header::CONTENT_LENGTH, length)];
    (headers, Body::from_stream(pieces)).into_response()
}

/// Asks a document that is in memory.
async fn ask<T>(app: &App, doc: &DocId, question: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
    let lease = app.documents.live(doc)?;
    let (reply, answer) = oneshot::channel();
    lease.handle.queue.send(question(reply)).await.ok()?;
    answer.await.ok()
}

/// Reads a document from the store, and makes of it what is asked for. The turn ends with the reading, even if nobody waits
/// for that any more.
async fn stored<T: Send + 'static>(
    app: &App,
    doc: &DocId,
    turn: OwnedSemaphorePermit,
    then: impl FnOnce(Restored) -> T + Send + 'static,
) -> Result<(T, OwnedSemaphorePermit), Response> {
    let (name, limits) = (doc.clone(), app.context.limits.clone());
    let policy = app.context.config.snapshots.clone();
    let read = move |store: &dyn Store| (load::load(store, &name, &limits, &policy).map(then), turn);
    match app.context.read(read).await {
        Some((Ok(made), turn)) => Ok((made, turn)),
        Some((Err(error), _)) => Err(unavailable(&error)),
        None => Err(unavailable(&LoadError::CutShort { doc: doc.clone() })),
    }
}

fn describe(restored: &Restored) -> Description {
    Description { log_start: restored.log_start, ..Description::of(&restored.content) }
}

fn unknown() -> Response {
    error(StatusCode::NOT_FOUND, "unknown_document", "there is no document of this name")
}

fn overloaded() -> Response {
    let text = "as many requests for documents as may be are being answered";
    let refusal = error(StatusCode::SERVICE_UNAVAILABLE, "overloaded", text);
    ([(header::RETRY_AFTER, HeaderValue::from_static("5"))], refusal).into_response()
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
