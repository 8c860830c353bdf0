//! What is served over HTTP: the WebSocket endpoint, health, metrics, a read-only view of documents, and the page.

mod api;
mod page;

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::Semaphore;

use super::context::Context;
use super::documents::Documents;
use super::origin::OriginRule;
use super::session::{self, Surroundings};
use super::socket::Gauge;

/// Buffer for reading a WebSocket; the default is 128 KiB for each connection.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// So many bytes of frames are written at once, at most; the buffer grows only when it is used.
const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// How much larger than allowed a message may be and still get the refusal that says so, instead of a bare close.
const OVERSIZE_BYTES: usize = 64 << 10;

/// What handlers need.
#[derive(Clone)]
pub(super) struct App {
    pub(super) context: Arc<Context>,
    pub(super) documents: Arc<Documents>,
    pub(super) origins: Arc<OriginRule>,
    /// For requests for all of a document.
    pub(super) turns: Arc<Semaphore>,
}

/// All routes.
pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/d/{name}", get(page::document))
        .route("/assets/app.js", get(page::script))
        .route("/assets/app.css", get(page::style))
        .route("/ws", get(websocket))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .nest("/api/v1", api::routes())
        .fallback(|| async { error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address answers to GET only")
        })
        .layer(from_fn_with_state(app.clone(), check_origin))
        .with_state(app)
}

/// An error as JSON.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}

/// Refuses requests that a foreign web page has made, before anything else looks at them.
async fn check_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let (host, origin) = (only(headers, &header::HOST), only(headers, &header::ORIGIN));
    // An origin that is no text, or that comes twice, is one that is not allowed.
    let origin = origin.map(Option::unwrap_or_default);
    if !app.origins.allows(host.flatten(), origin) {
        let text = "requests from this origin, or for this host, are not served";
        return error(StatusCode::FORBIDDEN, "forbidden_origin", text);
    }
    let mut response = next.run(request).await;
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// A header that may come once. The inner `None` stands for one that comes twice or is no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { None } else { first.to_str().ok() })
}

async fn websocket(
    State(app): State<App>,
    axum::Extension(gauge): axum::Extension<Arc<Gauge>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(reason) = readiness(&app) {
        return error(StatusCode::SERVICE_UNAVAILABLE, reason, "come back later");
    }
    let App { context, documents, .. } = app;
    let bytes_max = context.limits.message_bytes_max as usize + OVERSIZE_BYTES;
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(bytes_max)
        .max_frame_size(bytes_max)
        .on_upgrade(move |socket| session::serve(socket, Surroundings { context, documents, gauge }))
}

async fn health() -> Response {
    Json(json!({ "status": "up" })).into_response()
}

async fn ready(State(app): State<App>) -> Response {
    match readiness(&app) {
        Ok(()) => Json(json!({ "ready": true })).into_response(),
        Err(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reason": reason }))).into_response()
        }
    }
}

/// Whether new sessions make sense, and if not, why not.
fn readiness(app: &App) -> Result<(), &'static str> {
    if app.context.is_stopping() {
        Err("shutdown")
    } else if !*app.context.health.borrow() {
        Err("store_unavailable")
    } else {
        Ok(())
    }
}

async fn metrics(State(app): State<App>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = app.context.metrics.text(app.documents.counts(), app.context.queued_bytes());
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
