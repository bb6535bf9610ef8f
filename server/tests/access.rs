//! Who is let in.

use crate::common::{Folders, Served, small};
use latent_server::{Server, ServerOptions};
use serde_json::json;

fn with_key(folders: &Folders) -> ServerOptions {
    let mut options = folders.options();
    options.api_key = Some("secret".into());
    options
}

#[test]
fn an_address_that_others_reach_needs_a_key() {
    let folders = Folders::new();
    let mut options = folders.options();
    options.listen = "0.0.0.0:0".parse().unwrap();
    let refused = Server::bind(options.clone()).unwrap_err();
    assert!(refused.message.contains("key"), "{refused}");
    options.no_auth = true;
    assert!(Server::bind(options).is_ok());
}

#[test]
fn a_key_opens_everything_but_the_page() {
    let folders = Folders::new();
    let served = Served::start(with_key(&folders));
    assert_eq!((served.get("/healthz").status, served.get("/").status), (200, 200));
    for path in
        ["/api/v1/info", "/api/v1/models", "/metrics", "/openapi.json", "/api/v1/images/a.png", "/nothing"]
    {
        let refused = served.get(path);
        assert_eq!((refused.status, refused.code().as_str()), (401, "unauthorized"), "{path}");
        assert!(refused.header("www-authenticate").unwrap().starts_with("Basic"));
        let given = served.send("GET", path, &[("authorization", "Bearer secret")], b"");
        assert_ne!(given.status, 401, "{path}");
    }
    let script = served.send("GET", "/api/v1/info", &[("sec-fetch-mode", "cors")], b"");
    assert_eq!((script.status, script.header("www-authenticate")), (401, None));
    assert_eq!(served.post("/api/v1/login", &json!({ "key": "guess" })).status, 401);
    let login = served.post("/api/v1/login", &json!({ "key": "secret" }));
    let cookie = login.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let cookies = [("cookie", cookie.as_str())];
    assert_eq!(served.send("GET", "/api/v1/info", &cookies, b"").json()["auth_required"], true);
    drop(served);
    // The cookie holds after a restart.
    let served = Served::start(with_key(&folders));
    assert_eq!(served.send("GET", "/api/v1/info", &cookies, b"").status, 200);
}

#[test]
fn guessing_keys_is_braked_and_the_right_key_passes() {
    let folders = Folders::new();
    let served = Served::start(with_key(&folders));
    let login = |key: &str| served.post("/api/v1/login", &json!({ "key": key }));
    let cookie = login("secret").header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let with = |name: &str, value: &str| served.send("GET", "/v1/models", &[(name, value)], b"");
    let guesses: Vec<_> = (0..40)
        .map(|i| {
            let key = format!("guess {i}");
            if i % 2 == 0 { login(&key) } else { with("authorization", &format!("Bearer {key}")) }
        })
        .collect();
    let is_braked = |answer: &crate::common::Answer| {
        let seconds = answer.header("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
        answer.status == 429 && seconds.is_some_and(|seconds| (1..=61).contains(&seconds))
    };
    assert!(guesses[..20].iter().all(|answer| answer.status == 401));
    assert!(guesses[20..].iter().all(is_braked), "{:?}", guesses[20]);
    assert_eq!(guesses[20].code(), "too_many_attempts");
    // What comes without a key is asked for one, and what is right passes: all clients of a proxy have its address.
    assert_eq!(served.get("/v1/models").status, 401);
    assert_eq!(with("authorization", "Bearer secret").status, 200);
    assert_eq!((with("cookie", &cookie).status, login("secret").status), (200, 200));
    assert!(is_braked(&login("guess")));
}

#[test]
fn other_hosts_and_pages_of_other_sites_are_refused() {
    let folders = Folders::new();
    let mut options = folders.options();
    options.cors = vec!["https://ui.example".into()];
    options.allowed_hosts = vec!["box.lan".into()];
    let served = Served::start(options);
    let status = |headers: &[(&str, &str)]| served.send("GET", "/api/v1/info", headers, b"").status;
    assert_eq!(status(&[("host", "evil.example")]), 403);
    assert_eq!(status(&[("host", "box.lan")]), 200);
    assert_eq!(status(&[("origin", "http://evil.example")]), 403);
    assert_eq!(status(&[("origin", &format!("http://{}", served.address))]), 200);
    assert_eq!(status(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]), 403);
    let body = json!({ "verb": "txt2img", "options": small("a") }).to_string();
    let evil = [("origin", "null"), ("content-type", "text/plain")];
    assert_eq!(served.send("POST", "/api/v1/jobs", &evil, body.as_bytes()).status, 403);
    let allowed = served.send("GET", "/api/v1/info", &[("origin", "https://ui.example")], b"");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://ui.example"));
    let asks = [("origin", "https://ui.example"), ("access-control-request-method", "POST")];
    let preflight = served.send("OPTIONS", "/api/v1/jobs", &asks, b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods").is_some()), (204, true));
    assert_eq!(served.get("/api/v1/info").header("access-control-allow-origin"), None);
}

#[test]
fn a_page_of_an_allowed_origin_may_send_the_headers_that_it_names() {
    let folders = Folders::new();
    let mut options = folders.options();
    options.cors = vec!["https://ui.example".into()];
    let served = Served::start(options);
    let ask = |origin: &str, names: &str| {
        let asks = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", names),
        ];
        let answer = served.send("OPTIONS", "/v1/images/generations", &asks, b"");
        (answer.status, answer.header("access-control-allow-headers").map(str::to_owned))
    };
    // Those of OpenAI's client in a browser.
    let names = "authorization,content-type,x-stainless-arch,x-stainless-retry-count,x-stainless-os";
    assert_eq!(ask("https://ui.example", names), (204, Some(names.into())));
    let usual = Some("authorization, content-type".to_owned());
    for odd in ["", "a;b", "*", &"x-a,".repeat(1000)] {
        assert_eq!(ask("https://ui.example", odd), (204, usual.clone()), "{odd}");
    }
    assert_eq!(ask("https://evil.example", names), (403, None));
}

#[test]
fn the_page_is_sent_with_its_policy_and_once() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let page = served.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'self'"));
    let etag = page.header("etag").unwrap();
    assert_eq!(served.send("GET", "/", &[("if-none-match", etag)], b"").status, 304);
    assert_eq!(served.get("/index.html").bytes, page.bytes);
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/nothing.js", "//etc/passwd"] {
        assert_eq!(served.get(path).status, 404, "{path}");
    }
}
