//! Flags of a queue that several machines share.

use super::machine::MachineArgs;
use std::path::PathBuf;

/// How to reach the queue. What is secret comes from a file or the environment.
#[derive(clap::Args)]
#[command(next_help_heading = "Queue of several machines")]
pub(crate) struct QueueLoginArgs {
    /// User of the broker, with --queue-password-file or the variable LATENT_QUEUE_PASSWORD
    #[arg(long, value_name = "NAME", env = "LATENT_QUEUE_USER", hide_env_values = true)]
    pub(crate) queue_user: Option<String>,
    /// File that holds the user's password
    #[arg(long, value_name = "FILE", requires = "queue_user")]
    pub(crate) queue_password_file: Option<PathBuf>,
    /// File that holds a token, in place of a user; also in the variable LATENT_QUEUE_TOKEN
    #[arg(long, value_name = "FILE", conflicts_with = "queue_user")]
    pub(crate) queue_token_file: Option<PathBuf>,
    /// File that holds the seed of an NKey
    #[arg(long, value_name = "FILE", conflicts_with_all = ["queue_user", "queue_token_file"])]
    pub(crate) queue_nkey_file: Option<PathBuf>,
    /// Credentials file: a JWT and a seed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["queue_user", "queue_token_file", "queue_nkey_file"])]
    pub(crate) queue_creds: Option<PathBuf>,
    /// Certificates that sign the broker's, in place of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) queue_ca: Option<PathBuf>,
    /// This program's own certificate
    #[arg(long, value_name = "FILE", requires = "queue_key")]
    pub(crate) queue_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "queue_cert")]
    pub(crate) queue_key: Option<PathBuf>,
}

/// `latent worker`
#[derive(clap::Args)]
#[command(
    after_help = "Ctrl-C and SIGTERM give what is drawn back at once, and another worker draws it. Nothing but the queue is \
                  listened to, and no file is opened but those of the folders. --embd-dir and --wildcards must be the same on all \
                  machines."
)]
pub(crate) struct WorkerArgs {
    /// NATS server with JetStream: nats://HOST:4222 or tls://HOST:4222; several, separated by commas, are those of a cluster
    #[arg(long, value_name = "URL", env = "LATENT_QUEUE", hide_env_values = true)]
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Name of the worker [default: those of the machine and the process]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Seconds after which the job of a worker that is not heard of goes to another; the first worker of a model sets it
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) ack_wait: u64,
    /// Workers that may be lost with a job before it is set aside
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) max_deliveries: u64,
    #[command(flatten)]
    pub(crate) login: QueueLoginArgs,
}

/// `latent workers`
#[derive(clap::Args)]
pub(crate) struct WorkersArgs {
    /// NATS server with JetStream
    #[arg(long, value_name = "URL", env = "LATENT_QUEUE", hide_env_values = true)]
    pub(crate) queue: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) login: QueueLoginArgs,
}
