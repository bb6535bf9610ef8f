//! The page in a browser, which is built into the program.

use crate::error::ApiError;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use include_dir::Dir;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::OnceLock;

static FILES: Dir<'static> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/page");

/// What the page may load and where it may send: everything from here alone.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; \
     script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// A file of the page, ready to be sent.
struct PageFile {
    bytes: &'static [u8],
    gzipped: Option<Vec<u8>>,
    etag: String,
    kind: &'static str,
}

/// Every file by its path, compressed when the page is first asked for.
fn files() -> &'static HashMap<String, PageFile> {
    static READY: OnceLock<HashMap<String, PageFile>> = OnceLock::new();
    READY.get_or_init(|| {
        let mut all = HashMap::new();
        add(&FILES, &mut all);
        all
    })
}

fn add(folder: &Dir<'static>, all: &mut HashMap<String, PageFile>) {
    for file in folder.files() {
        let (path, bytes) = (file.path().to_string_lossy().replace('\\', "/"), file.contents());
        let hash: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let gzipped = gzip(bytes).filter(|gzipped| gzipped.len() < bytes.len());
        let kind = kind(&path);
        all.insert(path, PageFile { bytes, gzipped, etag: format!("\"{hash}\""), kind });
    }
    folder.dirs().for_each(|folder| add(folder, all));
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

/// Whether there is a file of the page at a path.
pub(crate) fn has(path: &str) -> bool {
    path == "/" || files().contains_key(path.trim_start_matches('/'))
}

/// The file of a path.
pub(crate) fn serve(path: &str, headers: &HeaderMap) -> Response {
    let name = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
    let Some(file) = files().get(name) else {
        return ApiError::not_found("there is nothing at this address").into_response();
    };
    let accepts = |name: &header::HeaderName, wanted: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(wanted))
    };
    let etag = HeaderValue::from_str(&file.etag).expect("digits");
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    // It is asked each time whether the file has changed: a new version of the program has other ones.
    let caching = HeaderValue::from_static("no-cache");
    let common = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, caching),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    if accepts(&header::IF_NONE_MATCH, &file.etag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(file.kind))];
    match &file.gzipped {
        Some(gzipped) if accepts(&header::ACCEPT_ENCODING, "gzip") => {
            let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            (common, kind, encoding, gzipped.clone()).into_response()
        }
        _ => (common, kind, file.bytes).into_response(),
    }
}
