//! Who may use the server: keys, the hosts that it is called by, and the origins of pages.

mod brake;

use crate::error::{ApiError, ErrorCode};
use axum::http::{HeaderMap, Method, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use brake::GuessBrake;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// The cookie of a browser that gave the key.
pub const COOKIE: &str = "latent_session";

/// The hash of a secret. It has no `==`, so that it is compared in constant time alone.
#[derive(Debug)]
struct SecretHash([u8; 32]);

/// Who may use the server.
#[derive(Debug)]
pub struct AccessRules {
    key: Option<AccessKey>,
    cors: Vec<String>,
    hosts: Vec<String>,
    brake: GuessBrake,
}

#[derive(Debug)]
struct AccessKey {
    /// Digests are compared, so that the time says nothing of the key, nor of its length.
    digest: SecretHash,
    /// What the cookie holds: it follows from the key and a random number of this installation.
    session: String,
}

impl AccessRules {
    /// AccessRules with a key, or for all. `salt` is a random number of this installation.
    #[must_use]
    pub fn new(key: Option<&str>, salt: &[u8], cors: &[String], hosts: &[String]) -> AccessRules {
        let key = key.map(|key| AccessKey { digest: digest(&[key.as_bytes()]), session: session(key, salt) });
        let lower = |all: &[String]| all.iter().map(|one| one.trim_end_matches('/').to_lowercase()).collect();
        AccessRules { key, cors: lower(cors), hosts: lower(hosts), brake: GuessBrake::default() }
    }

    /// Whether a key is needed.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        self.key.is_some()
    }

    /// The value of the cookie, for a client that gives the key; an empty one where no key is needed.
    ///
    /// # Errors
    /// As [`AccessRules::check_key`].
    pub fn log_in(&self, client: IpAddr, key: &str) -> Result<String, ApiError> {
        let Some(own) = &self.key else { return Ok(String::new()) };
        self.check_given(own, client, key).map(|()| own.session.clone())
    }

    /// Checks the host that a request is for: a page of another site may let its own name point at this machine
    /// (DNS rebinding), so that only names that are known, and addresses, are answered.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`], or several hosts.
    pub fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
        // Which of several counts, a proxy may see in another way.
        if headers.get_all(header::HOST).iter().count() > 1 {
            return Err(ApiError::bad_input("the request names several hosts"));
        }
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
    /// [`ErrorCode::Unauthorized`], or [`ErrorCode::TooManyAttempts`] where the client's address gave too many wrong keys.
    pub fn check_key(&self, client: IpAddr, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(own) = &self.key else { return Ok(()) };
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut sessions = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
        let of = |session: &str| digest(&[session.as_bytes()]);
        // A cookie cannot be guessed, and a browser may have one of an older key: it is not counted.
        if sessions.any(|session| is_same(&of(session), &of(&own.session))) {
            return Ok(());
        }
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match given.and_then(key_of) {
            Some(key) => self.check_given(own, client, &key),
            None => Err(ApiError::new(ErrorCode::Unauthorized, "give the server's key")),
        }
    }

    fn check_given(&self, own: &AccessKey, client: IpAddr, key: &str) -> Result<(), ApiError> {
        let is_right = is_same(&digest(&[key.as_bytes()]), &own.digest);
        if let Err(seconds) = self.brake.note(client, is_right, Instant::now()) {
            let line = format!("too many wrong keys came from this address; try again in {seconds} s");
            let mut error = ApiError::new(ErrorCode::TooManyAttempts, line);
            error.retry_after = Some(seconds);
            return Err(error);
        }
        if is_right {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::Unauthorized, "this is not the server's key"))
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

fn digest(parts: &[&[u8]]) -> SecretHash {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    SecretHash(hasher.finalize().into())
}

fn session(key: &str, salt: &[u8]) -> String {
    let keyed = digest(&[b"latent session", salt, key.as_bytes()]);
    keyed.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_same(a: &SecretHash, b: &SecretHash) -> bool {
    a.0.ct_eq(&b.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        pairs.iter().map(|(key, value)| (name(key), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_is_taken_in_three_ways() {
        let access = AccessRules::new(Some("secret"), b"salt", &[], &[]);
        let is_let_in = |pairs: &[(&str, &str)]| access.check_key(CLIENT, &headers(pairs)).is_ok();
        assert!(is_let_in(&[("authorization", "Bearer secret")]));
        let basic = format!("Basic {}", STANDARD.encode("anybody:secret"));
        assert!(is_let_in(&[("authorization", &basic)]));
        let cookie = format!("other=1; {COOKIE}={}", access.log_in(CLIENT, "secret").unwrap());
        assert!(is_let_in(&[("cookie", &cookie)]));
        for wrong in ["", "s", "secre", "secret ", "secret\0", "Secret", &"secret".repeat(10_000)] {
            assert_eq!(access.log_in(CLIENT, wrong).unwrap_err().code, ErrorCode::Unauthorized, "{wrong}");
        }
        for wrong in ["Bearer secre", "Bearer ", "Basic !", "secret", "Basic c2VjcmV0"] {
            assert!(!is_let_in(&[("authorization", wrong)]), "{wrong}");
        }
        assert!(!is_let_in(&[]) && !is_let_in(&[("cookie", "latent_session=secret")]));
    }

    /// A comparison that ends at the first difference would show a guest how much of the key is right. So it is hashes that are
    /// compared, of one length whatever the key's, and by `subtle`: they have no other comparison.
    #[test]
    fn keys_are_compared_by_hashes_in_constant_time() {
        let of = |key: &str| digest(&[key.as_bytes()]);
        assert!(is_same(&of("secret"), &of("secret")) && !is_same(&of("secret"), &of("secreT")));
        let lengths = ["", "s", &"s".repeat(100_000)].map(|key| of(key).0.len());
        assert_eq!(lengths, [32; 3]);
        let choice: subtle::Choice = of("a").0.ct_eq(&of("b").0);
        assert!(!bool::from(choice));
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
