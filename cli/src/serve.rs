//! `latent serve`: draws for other programs and for the page in a browser.

use crate::args::ServeArgs;
use crate::console::{self, print};
use crate::interrupt;
use latent_app::AppError;
use latent_app::device::{DeviceChoice, DeviceOptions};
use latent_loader::Plain;
use latent_server::error::{ApiError, ErrorCode};
use latent_server::{Server, ServerOptions};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of a megabyte of `--max-memory`.
const MB: u64 = 1_000_000;

pub(crate) fn run(args: &ServeArgs) -> Result<(), AppError> {
    let server = Server::bind(options(args)?).map_err(app_error)?;
    let stop = server.shutdown_handle();
    interrupt::listen_with(move || stop.request())?;
    print(&format!("http://{}/\n", server.address()))?;
    let log = |line: &str| console::hint(format_args!("latent: {}", Plain(line)));
    server.run(Arc::new(log)).map_err(app_error)
}

fn app_error(error: ApiError) -> AppError {
    match error.code {
        ErrorCode::BadInput => AppError::BadInput(error.message),
        _ => AppError::RunTime(error.message),
    }
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
    options.models_dir.clone_from(&args.models_dir);
    options.lora_dir.clone_from(&args.lora_dir);
    options.embd_dir.clone_from(&args.embd_dir);
    options.wildcards.clone_from(&args.wildcards);
    options.default_model.clone_from(&args.model);
    let device = |device: &DeviceChoice| DeviceOptions::new(Some(*device), None, None);
    options.devices = args.device.iter().map(device).collect();
    options.threads = args.threads;
    options.max_memory = args.max_memory.map(|mb| mb * MB);
    options.max_queue = args.max_queue;
    options.max_queue_per_client = args.max_queue_per_client;
    options.log_prompts = args.log_prompts;
    check_folders(args)?;
    Ok(options)
}

/// Refuses folders that do not exist, before the first job would.
fn check_folders(args: &ServeArgs) -> Result<(), AppError> {
    let given = [
        ("--models-dir", &args.models_dir),
        ("--lora-dir", &args.lora_dir),
        ("--embd-dir", &args.embd_dir),
        ("--wildcards", &args.wildcards),
    ];
    for (flag, folder) in given {
        if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(AppError::BadInput(format!("{flag}: {}: no such folder", folder.display())));
        }
    }
    Ok(())
}

/// The key, as it was given or in a file.
fn key(args: &ServeArgs) -> Result<Option<String>, AppError> {
    let Some(path) = &args.api_key_file else { return Ok(args.api_key.clone()) };
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    match text.trim() {
        "" => Err(refuse("holds no key".into())),
        key => Ok(Some(key.to_owned())),
    }
}
