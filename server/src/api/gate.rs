//! What every request passes: host, origin, key; and the headers of every answer.

use crate::api::ClientAddress;
use crate::auth::is_preflight;
use crate::error::ApiError;
use crate::page;
use crate::state::ServerState;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Addresses that need no key, besides the page.
const OPEN: [&str; 2] = ["/healthz", "/api/v1/login"];

/// Headers that every page of an allowed origin may send.
const ALLOWED_HEADERS: &str = "authorization, content-type";
/// Bytes of the list of headers that a page may ask for.
const MAX_ASKED_BYTES: usize = 1024;

/// Lets a request pass or refuses it.
pub(super) async fn check(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    state.metrics.requests.add(1);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed =
        origin.filter(|origin| origin.to_str().is_ok_and(|text| state.access.is_allowed_origin(text)));
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let is_script = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode != "navigate");
    let mut response = match let_in(&state, &request) {
        Err(error) => {
            state.metrics.refused.add(1);
            super::refusal(request.uri().path(), error)
        }
        Ok(()) if is_preflight(request.method(), request.headers()) => StatusCode::NO_CONTENT.into_response(),
        Ok(()) => next.run(request).await,
    };
    let headers = response.headers_mut();
    // The page asks for the key itself; a browser's own dialog would be in its way.
    if is_script {
        headers.remove(header::WWW_AUTHENTICATE);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(origin) = allowed {
        add_cors(headers, origin, asked.as_ref());
    } else {
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    }
    // What the API answers is for nobody's disk, unless it says so itself.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn let_in(state: &ServerState, request: &Request) -> Result<(), ApiError> {
    let (headers, uri) = (request.headers(), request.uri());
    state.access.check_host(headers, uri)?;
    state.access.check_origin(headers, uri)?;
    // A browser asks before it sends the key.
    if is_preflight(request.method(), headers) {
        return Ok(());
    }
    let path = uri.path();
    let is_page = matches!(*request.method(), Method::GET | Method::HEAD) && page::has(path);
    if is_page || OPEN.contains(&path) {
        return Ok(());
    }
    state.access.check_key(ClientAddress::of(request.extensions()).0, headers)
}

fn add_cors(headers: &mut HeaderMap, origin: HeaderValue, asked: Option<&HeaderValue>) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let methods = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    // Clients have headers of their own, such as OpenAI's `x-stainless-os`: nothing here depends on them, and who may send
    // a request at all is the origin's matter.
    let allowed = asked.filter(|asked| is_list_of_names(asked)).cloned();
    let allowed = allowed.unwrap_or(HeaderValue::from_static(ALLOWED_HEADERS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.append(header::VARY, HeaderValue::from_static("access-control-request-headers"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

/// Whether it is a short list of names of headers.
fn is_list_of_names(list: &HeaderValue) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b',' | b' ');
    !list.is_empty() && list.len() <= MAX_ASKED_BYTES && list.as_bytes().iter().all(is_of_name)
}
