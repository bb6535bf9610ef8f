//! `latent serve`: draws for other programs and for the page in a browser.

use crate::args::ServeArgs;
use crate::console::{self, print};
use crate::interrupt;
#[cfg(feature = "nats")]
use crate::server_options::queue_options;
use crate::server_options::{app_error, secret};
use latent_app::AppError;
use latent_loader::Plain;
use latent_server::{Server, ServerOptions};
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) fn run(args: &ServeArgs) -> Result<(), AppError> {
    let server = Server::bind(options(args)?).map_err(app_error)?;
    let stop = server.shutdown_handle();
    interrupt::listen_with(move || stop.request())?;
    print(&format!("http://{}/\n", server.address()))?;
    let log = |line: &str| console::hint(format_args!("latent: {}", Plain(line)));
    server.run(Arc::new(log)).map_err(app_error)
}

fn options(args: &ServeArgs) -> Result<ServerOptions, AppError> {
    let folder = |given: &Option<PathBuf>, default: Option<PathBuf>, flag: &str| {
        let none = || AppError::BadInput(format!("there is no home folder; name a folder by {flag}"));
        given.clone().or(default).ok_or_else(none)
    };
    let pictures = dirs::picture_dir().filter(|folder| folder.is_dir()).map(|folder| folder.join("latent"));
    let pictures = pictures.or_else(|| Some(dirs::data_dir()?.join("latent").join("images")));
    let state =
        dirs::state_dir().or_else(dirs::data_local_dir).map(|folder| folder.join("latent").join("server"));
    let output_dir = folder(&args.output_dir, pictures, "--output-dir")?;
    let mut options = ServerOptions::new(output_dir, folder(&args.state_dir, state, "--state-dir")?);
    options.listen = args.listen;
    options.api_key = key(args)?;
    if !args.listen.ip().is_loopback() && options.api_key.is_none() && !args.no_auth {
        let line =
            "other machines reach this address; give a key by --api-key, or let everybody in by --no-auth";
        return Err(AppError::BadInput(format!("{}: {line}", args.listen)));
    }
    options.no_auth = args.no_auth;
    options.cors.clone_from(&args.cors);
    options.allowed_hosts.clone_from(&args.allow_host);
    let machine = &args.machine;
    options.models_dir.clone_from(&machine.models_dir);
    options.lora_dir.clone_from(&machine.lora_dir);
    options.embd_dir.clone_from(&machine.embd_dir);
    options.wildcards.clone_from(&machine.wildcards);
    options.default_model.clone_from(&args.model);
    options.devices = machine.devices();
    options.threads = machine.threads;
    options.max_memory = machine.max_memory();
    options.max_queue = args.max_queue;
    options.max_queue_per_client = args.max_queue_per_client;
    options.log_prompts = args.log_prompts;
    machine.check()?;
    #[cfg(not(feature = "nats"))]
    if std::env::var_os("LATENT_QUEUE").is_some_and(|queue| !queue.is_empty()) {
        return Err(AppError::BadInput(format!("LATENT_QUEUE: {}", crate::args::WITHOUT_QUEUE)));
    }
    #[cfg(feature = "nats")]
    if let Some(url) = &args.queue {
        let mut queue = queue_options(url, &args.queue_login)?;
        queue.isa.clone_from(&args.require_isa);
        options.queue = Some(queue);
    }
    Ok(options)
}

/// The key, as it was given or in a file.
fn key(args: &ServeArgs) -> Result<Option<String>, AppError> {
    let Some(path) = &args.api_key_file else { return Ok(args.api_key.clone()) };
    secret(path).map(Some)
}
