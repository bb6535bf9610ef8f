//! Who is let in: each kind of login and of encryption, with a front and a worker that use it.

use super::{Lines, Worker, broker, front_with, queue, worker_options};
use crate::common::{Folders, small};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latent_server::nats::{BrokerLogin, QueueOptions, list_workers};
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What is in no error and no line of a log.
const SECRET: &str = "a-secret";

/// A job is drawn through the queue.
fn draws(queue: &QueueOptions) {
    let (folders, lines) = (Folders::new(), Lines::default());
    let served = front_with(&folders, queue.clone(), &lines);
    let mut options = worker_options(&queue.url, "one");
    options.queue = queue.clone();
    let worker = Worker::start_with_log(options, &lines);
    let ended = served.ended(&served.submit("txt2img", small("a sun")));
    assert_eq!(ended["state"], "done", "{ended}");
    drop((worker, served));
    assert!(!lines.all().iter().any(|line| line.contains(SECRET)), "{:#?}", lines.all());
}

/// Nobody is let in, and the line says why.
fn is_refused(queue: QueueOptions, why: &str) {
    let error = list_workers(queue).unwrap_err().message;
    assert!(error.contains(why) && !error.contains(SECRET), "{error}");
}

fn with(queue: &QueueOptions, login: BrokerLogin) -> QueueOptions {
    let mut queue = queue.clone();
    queue.login = login;
    queue
}

const REFUSED: &str = "the broker refuses this user, password, token or key";

#[test]
fn users_and_tokens_are_let_in() {
    let user = || BrokerLogin::User("me".into(), SECRET.into());
    let token = || BrokerLogin::Token(SECRET.into());
    let cases = [
        (format!("authorization {{ user: me, password: {SECRET} }}"), user(), token()),
        (format!("authorization {{ token: {SECRET} }}"), token(), user()),
    ];
    for (config, right, wrong) in cases {
        let Some(broker) = broker::start_with_config(&config) else { return };
        let queue = queue(&broker.url());
        draws(&with(&queue, right));
        is_refused(with(&queue, wrong), REFUSED);
        is_refused(queue, REFUSED);
    }
}

#[test]
fn the_seed_of_an_nkey_is_let_in() {
    let [right, wrong] = [(); 2].map(|()| KeyPair::new_user());
    let config = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", right.public_key());
    let Some(broker) = broker::start_with_config(&config) else { return };
    let login = |pair: &KeyPair| BrokerLogin::NKey(pair.seed().unwrap());
    let queue = queue(&broker.url());
    draws(&with(&queue, login(&right)));
    is_refused(with(&queue, login(&wrong)), REFUSED);
    is_refused(with(&queue, BrokerLogin::NKey(SECRET.into())), "key");
}

/// A signed token about a key, as `nsc` makes it.
fn token(issuer: &KeyPair, subject: &KeyPair, about: &Value) -> String {
    let mut about = about.clone();
    about["version"] = 2.into();
    let claims = json!({
        "jti": "test", "iat": 1_600_000_000, "iss": issuer.public_key(), "name": "test",
        "sub": subject.public_key(), "nats": about,
    });
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn account(operator: &KeyPair, account: &KeyPair, has_storage: bool) -> String {
    let mut limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    if has_storage {
        for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
            limits[limit] = (-1).into();
        }
    }
    token(operator, account, &json!({ "type": "account", "limits": limits }))
}

#[test]
fn a_file_of_credentials_is_let_in() {
    let operator = KeyPair::new_operator();
    let [own, system] = [(); 2].map(|()| KeyPair::new_account());
    let [user, stranger] = [(); 2].map(|()| KeyPair::new_user());
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n{}: {}\n{}: {}\n}}\n",
        token(&operator, &operator, &json!({ "type": "operator" })),
        system.public_key(),
        own.public_key(),
        account(&operator, &own, true),
        system.public_key(),
        account(&operator, &system, false),
    );
    let Some(broker) = broker::start_with_config(&config) else { return };
    let about = json!({ "type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
    let folders = Folders::new();
    let file = |name: &str, token: &str, seed: &str| {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(folders.path(name), text).unwrap();
        BrokerLogin::Credentials(folders.path(name))
    };
    let queue = queue(&broker.url());
    let token = token(&own, &user, &about);
    draws(&with(&queue, file("right.creds", &token, &user.seed().unwrap())));
    // A token of somebody else, and files that are none.
    is_refused(with(&queue, file("stolen.creds", &token, &stranger.seed().unwrap())), REFUSED);
    is_refused(with(&queue, file("damaged.creds", &token, SECRET)), "damaged.creds");
    is_refused(with(&queue, BrokerLogin::Credentials(folders.path("none.creds"))), "none.creds");
}

/// A certificate or key that was made for tests, valid from 2020 to 2119: an authority, and two that it signed for 127.0.0.1.
fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/nats/tls").join(name)
}

#[test]
fn an_encrypted_connection_needs_the_authority_and_where_it_is_asked_for_an_own_certificate() {
    let config = |verify: bool| {
        let [certificate, key, authority] = ["broker.pem", "broker.key", "ca.pem"].map(pem);
        format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {authority:?}, verify: {verify} }}"
        )
    };
    let Some(mut broker) = broker::start_with_config(&config(false)) else { return };
    let mut queue = queue(&broker.url().replace("nats://", "tls://"));
    is_refused(queue.clone(), "the encrypted connection cannot be made");
    queue.ca_file = Some(pem("ca.pem"));
    draws(&queue);
    broker.configure(&config(true));
    broker.restart();
    is_refused(queue.clone(), "the encrypted connection cannot be made");
    queue.client_certificate = Some((pem("client.pem"), pem("client.key")));
    draws(&queue);
    queue.ca_file = Some(pem("none.pem"));
    is_refused(queue, "none.pem");
}
