//! What the flags of servers and of workers have in common.

#[cfg(feature = "nats")]
use crate::args::QueueLoginArgs;
use latent_app::AppError;
use latent_server::error::{ApiError, ErrorCode};
#[cfg(feature = "nats")]
use latent_server::nats::{BrokerLogin, QueueOptions};
use std::path::Path;

pub(crate) fn app_error(error: ApiError) -> AppError {
    match error.code {
        ErrorCode::BadInput => AppError::BadInput(error.message),
        _ => AppError::RunTime(error.message),
    }
}

/// What a file holds, without spaces around it.
pub(crate) fn secret(path: &Path) -> Result<String, AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    match text.trim() {
        "" => Err(refuse("holds no key".into())),
        key => Ok(key.to_owned()),
    }
}

/// How to reach the queue.
#[cfg(feature = "nats")]
pub(crate) fn queue_options(url: &str, login: &QueueLoginArgs) -> Result<QueueOptions, AppError> {
    let mut options = QueueOptions::new(url).map_err(app_error)?;
    let of_environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let read = |path: &Option<std::path::PathBuf>| path.as_deref().map(secret).transpose();
    let password = read(&login.queue_password_file)?.or_else(|| of_environment("LATENT_QUEUE_PASSWORD"));
    let token = read(&login.queue_token_file)?.or_else(|| of_environment("LATENT_QUEUE_TOKEN"));
    if let Some(path) = &login.queue_creds {
        options.login = BrokerLogin::Credentials(path.clone());
    } else if let Some(seed) = read(&login.queue_nkey_file)? {
        options.login = BrokerLogin::NKey(seed);
    } else if let Some(user) = &login.queue_user {
        let none = "give the user's password by --queue-password-file or LATENT_QUEUE_PASSWORD";
        let password = password.ok_or_else(|| AppError::BadInput(format!("--queue-user: {none}")))?;
        options.login = BrokerLogin::User(user.clone(), password);
    } else if let Some(token) = token {
        options.login = BrokerLogin::Token(token);
    }
    options.ca_file.clone_from(&login.queue_ca);
    options.client_certificate = login.queue_cert.clone().zip(login.queue_key.clone());
    Ok(options)
}
