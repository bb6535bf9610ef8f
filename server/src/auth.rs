//! Who may use the server: keys, the hosts that it is called by, and the origins of pages.

use crate::error::{ApiError, ErrorCode};
use axum::http::{HeaderMap, Method, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// The cookie of a browser that gave the key.
pub const COOKIE: &str = "latent_session";

type Digest32 = [u8; 32];

/// Who may use the server.
#[derive(Debug)]
pub struct AccessRules {
    key: Option<AccessKey>,
    cors: Vec<String>,
    hosts: Vec<String>,
}

#[derive(Debug)]
struct AccessKey {
    /// Digests are compared, so that the time says nothing of the key, nor of its length.
    digest: Digest32,
    /// What the cookie holds: it follows from the key and a random number of this installation.
    session: String,
}

impl AccessRules {
    /// AccessRules with a key, or for all. `salt` is a random number of this installation.
    #[must_use]
    pub fn new(key: Option<&str>, salt: &[u8], cors: &[String], hosts: &[String]) -> AccessRules {
        let key = key.map(|key| AccessKey { digest: digest(&[key.as_bytes()]), session: session(key, salt) });
        let lower = |all: &[String]| all.iter().map(|one| one.trim_end_matches('/').to_lowercase()).collect();
        AccessRules { key, cors: lower(cors), hosts: lower(hosts) }
    }

    /// Whether a key is needed.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        self.key.is_some()
    }

    /// The value of the cookie, for a client that gives the key.
    #[must_use]
    pub fn log_in(&self, key: &str) -> Option<String> {
        let own = self.key.as_ref()?;
        is_same(&digest(&[key.as_bytes()]), &own.digest).then(|| own.session.clone())
    }

    /// Checks the host that a request is for: a page of another site may let its own name point at this machine
    /// (DNS rebinding), so that only names that are known, and addresses, are answered.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`].
    pub fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
        let host = host(headers, uri).map(str::to_lowercase);
        let name = host.as_deref().map_or("", without_port);
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        if is_address || is_local || self.hosts.iter().any(|known| known == name) {
            return Ok(());
        }
        let line = "this server is not known by that host name; it can be allowed when the server is started";
        Err(ApiError::new(ErrorCode::Forbidden, line))
    }

    /// Checks where the page is from that sent a request. Browsers say so wherever it matters.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`].
    pub fn check_origin(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
        let refused = || ApiError::new(ErrorCode::Forbidden, "pages of other sites may not use this server");
        let Some(origin) = headers.get(header::ORIGIN) else {
            let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
            let is_page = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
            // A link on another site may lead here; an image or a script in it may not.
            return if site == Some("cross-site") && !is_page { Err(refused()) } else { Ok(()) };
        };
        let origin = origin.to_str().unwrap_or_default().to_lowercase();
        if self.is_allowed_origin(&origin) {
            return Ok(());
        }
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let own = host(headers, uri).map(str::to_lowercase);
        if authority.is_some() && authority == own.as_deref() { Ok(()) } else { Err(refused()) }
    }

    /// Whether pages of an origin were allowed.
    #[must_use]
    pub fn is_allowed_origin(&self, origin: &str) -> bool {
        self.cors.iter().any(|allowed| allowed == "*" || *allowed == origin.to_lowercase())
    }

    /// Checks the key of a request: as `Bearer`, as the password of `Basic`, or as the cookie.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`].
    pub fn check_key(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(own) = &self.key else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if given.and_then(key_of).is_some_and(|key| is_same(&digest(&[key.as_bytes()]), &own.digest)) {
            return Ok(());
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut sessions = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
        let of = |session: &str| digest(&[session.as_bytes()]);
        if sessions.any(|session| is_same(&of(session), &of(&own.session))) {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::Unauthorized, "give the server's key"))
    }
}

/// Whether an answer may be read by the page that asked, and what a browser asks before.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The host that a request is for.
pub(crate) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).or_else(|| Some(uri.authority()?.as_str()))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            if name.contains(':') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

/// The key of an `Authorization` header.
fn key_of(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        return Some(text.split_once(':')?.1.to_owned());
    }
    None
}

fn digest(parts: &[&[u8]]) -> Digest32 {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn session(key: &str, salt: &[u8]) -> String {
    let keyed = digest(&[b"latent session", salt, key.as_bytes()]);
    keyed.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_same(a: &Digest32, b: &Digest32) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        pairs.iter().map(|(key, value)| (name(key), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_is_taken_in_three_ways() {
        let access = AccessRules::new(Some("secret"), b"salt", &[], &[]);
        let is_let_in = |pairs: &[(&str, &str)]| access.check_key(&headers(pairs)).is_ok();
        assert!(is_let_in(&[("authorization", "Bearer secret")]));
        let basic = format!("Basic {}", STANDARD.encode("anybody:secret"));
        assert!(is_let_in(&[("authorization", &basic)]));
        let cookie = format!("other=1; {COOKIE}={}", access.log_in("secret").unwrap());
        assert!(is_let_in(&[("cookie", &cookie)]));
        assert_eq!(access.log_in("secre"), None);
        for wrong in ["Bearer secre", "Bearer ", "Basic !", "secret", "Basic c2VjcmV0"] {
            assert!(!is_let_in(&[("authorization", wrong)]), "{wrong}");
        }
        assert!(!is_let_in(&[]) && !is_let_in(&[("cookie", "latent_session=secret")]));
    }

    #[test]
    fn other_hosts_and_other_sites_are_refused() {
        let access = AccessRules::new(None, b"", &["https://ui.example".into()], &["box.lan".into()]);
        let host = |host: &str| access.check_host(&headers(&[("host", host)]), &Uri::default()).is_ok();
        for good in ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "192.168.1.5", "box.lan", "BOX.lan:80"]
        {
            assert!(host(good), "{good}");
        }
        for bad in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7860", ""] {
            assert!(!host(bad), "{bad}");
        }
        let origin = |origin: &str| {
            let pairs = [("host", "localhost:7860"), ("origin", origin)];
            access.check_origin(&headers(&pairs), &Uri::default()).is_ok()
        };
        assert!(origin("http://localhost:7860") && origin("https://ui.example"));
        for bad in ["http://evil.example", "null", "http://localhost:1", "https://ui.example.evil"] {
            assert!(!origin(bad), "{bad}");
        }
        let fetched = headers(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]);
        assert!(access.check_origin(&fetched, &Uri::default()).is_err());
    }
}
