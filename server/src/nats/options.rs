//! How to reach the broker.

use super::logged_lines::LoggedLines;
use crate::error::ApiError;
use async_nats::{Client, ClientError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a person reads of a login that is refused.
const REFUSED: &str = "the broker refuses this user, password, token or key";

/// Who this program is to the broker. It is never written anywhere.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum BrokerLogin {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user and a password.
    User(String, String),
    /// A token.
    Token(String),
    /// The seed of an NKey.
    NKey(String),
    /// A file of credentials: a JWT and a seed.
    Credentials(PathBuf),
}

impl std::fmt::Debug for BrokerLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrokerLogin(..)")
    }
}

/// How to reach the queue that several machines share.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueOptions {
    /// The broker: `nats://HOST:4222` or `tls://HOST:4222`; several, separated by commas, are those of a cluster.
    pub url: String,
    /// Who this program is.
    pub login: BrokerLogin,
    /// Certificates that sign the broker's, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// This program's own certificate and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The instruction set that all images are drawn with, so that their bytes are the same wherever; any when `None`.
    pub isa: Option<String>,
    /// Time after which the job of a worker that is not heard of goes to another.
    pub ack_wait: Duration,
    /// How often a job is handed out at most; after that many workers that were not heard of again, it is set aside.
    pub max_deliveries: u64,
}

impl QueueOptions {
    /// A queue at an address, with the login that is in the address, if any.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(url: &str) -> Result<QueueOptions, ApiError> {
        let (url, login) = without_login(url)?;
        Ok(QueueOptions {
            url,
            login,
            ca_file: None,
            client_certificate: None,
            isa: None,
            ack_wait: Duration::from_secs(30),
            max_deliveries: 3,
        })
    }

    /// The connection. Once made, it is made again whenever it breaks.
    pub(super) async fn connect(&self, log: Arc<dyn Fn(&str) + Send + Sync>) -> Result<Client, ApiError> {
        let url = self.url.clone();
        let logged = LoggedLines::default();
        let options = self.connect_options().await?.event_callback(move |event| {
            if matches!(event, Event::Connected) {
                logged.settle();
            }
            if let Some(line) = line_of(&event).filter(|line| logged.is_new(line)) {
                log(&format!("{url}: {line}"));
            }
            async {}
        });
        let servers: Vec<&str> = self.url.split(',').collect();
        options.connect(servers).await.map_err(|error| {
            let line = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    REFUSED.to_owned()
                }
                // What is wrong with a certificate is an error of reading and writing to the client.
                kind if kind == ConnectErrorKind::Tls
                    || error.to_string().to_lowercase().contains("certificate") =>
                {
                    format!("the encrypted connection cannot be made: {error}")
                }
                _ => format!("the broker cannot be reached: {error}"),
            };
            ApiError::failed(format!("{}: {line}", self.url))
        })
    }

    async fn connect_options(&self) -> Result<ConnectOptions, ApiError> {
        let mut options = match &self.login {
            BrokerLogin::Anonymous => ConnectOptions::new(),
            BrokerLogin::User(user, password) => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
            BrokerLogin::Token(token) => ConnectOptions::with_token(token.clone()),
            BrokerLogin::NKey(seed) => ConnectOptions::with_nkey(seed.clone()),
            BrokerLogin::Credentials(path) => {
                // The error must not quote the file.
                let opened = ConnectOptions::with_credentials_file(path).await;
                opened
                    .map_err(|error| ApiError::bad_input(format!("{}: {}", path.display(), error.kind())))?
            }
        };
        let own = self.client_certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        for path in self.ca_file.iter().chain(own) {
            // The client's error does not say which file.
            let opened = std::fs::File::open(path);
            opened.map_err(|error| ApiError::bad_input(format!("{}: {error}", path.display())))?;
        }
        if let Some(path) = &self.ca_file {
            options = options.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &self.client_certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let delay = |attempts: usize| Duration::from_millis(100 << attempts.min(5));
        Ok(options
            .name("latent")
            .connection_timeout(Duration::from_secs(5))
            .ping_interval(Duration::from_secs(10))
            .reconnect_delay_callback(delay)
            .retain_servers_order())
    }
}

/// What a person reads of an event of the connection. It is tried again for ever, whatever happened.
fn line_of(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected => Some("the connection is lost; trying again".into()),
        Event::Connected => Some("connected".into()),
        Event::ServerError(ServerError::AuthorizationViolation) => Some(format!("{REFUSED}; trying again")),
        Event::ServerError(error) => Some(error.to_string()),
        // The client has the kinds of its errors as their words alone.
        Event::ClientError(ClientError::Other(words)) if words.contains("authorization") => {
            Some(format!("{REFUSED}; trying again"))
        }
        _ => None,
    }
}

/// An address without the login in it, and the login.
fn without_login(url: &str) -> Result<(String, BrokerLogin), ApiError> {
    let mut login = BrokerLogin::Anonymous;
    let mut servers = Vec::new();
    for server in url.split(',').map(str::trim) {
        let (scheme, rest) = server.split_once("://").unwrap_or(("nats", server));
        let host = match rest.rsplit_once('@') {
            Some((user, host)) => {
                login = match user.split_once(':') {
                    Some((user, password)) => BrokerLogin::User(user.into(), password.into()),
                    None => BrokerLogin::Token(user.into()),
                };
                host
            }
            None => rest,
        };
        let server = format!("{scheme}://{host}");
        let is_known = matches!(scheme, "nats" | "tls") && !host.is_empty();
        if !is_known || server.parse::<async_nats::ServerAddr>().is_err() {
            // What was given may hold a password.
            return Err(ApiError::bad_input(
                "queue: give the address of a NATS server, such as nats://host:4222",
            ));
        }
        servers.push(server);
    }
    Ok((servers.join(","), login))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_address_is_taken_out_of_it() {
        let options = QueueOptions::new("nats://me:secret@host:4222, tls://other").unwrap();
        assert_eq!(options.url, "nats://host:4222,tls://other");
        assert!(
            matches!(&options.login, BrokerLogin::User(user, password) if user == "me" && password == "secret")
        );
        assert!(!format!("{options:?}").contains("secret"));
        assert!(matches!(QueueOptions::new("t0ken@host").unwrap().login, BrokerLogin::Token(_)));
        for wrong in ["", "http://me:secret@host", "nats://", "nats://secret@"] {
            let error = QueueOptions::new(wrong).unwrap_err();
            assert!(!error.message.contains("secret"), "{error}");
        }
    }
}
