//! Flags of `latent serve`.

use super::machine::MachineArgs;
use latent_server::DEFAULT_PORT;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// `latent serve`
#[derive(clap::Args)]
#[command(
    after_help = "Jobs that were accepted are drawn also after the server was stopped, or crashed. Ctrl-C and SIGTERM wait for \
                  the jobs that run; a second one interrupts them, and they run again after the next start."
)]
pub(crate) struct ServeArgs {
    /// Address to listen at, with or without a port; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7860", value_parser = parse_address)]
    pub(crate) listen: SocketAddr,
    /// Key that clients must give; needed where other machines reach the address
    #[arg(long, value_name = "KEY", env = "LATENT_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// File that holds the key
    #[arg(long, value_name = "FILE", conflicts_with = "api_key")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Let everybody in who reaches the address
    #[arg(long, conflicts_with_all = ["api_key", "api_key_file"])]
    pub(crate) no_auth: bool,
    /// Origin of another site whose pages may use the server (scheme, host and port); may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors: Vec<String>,
    /// Name under which the server is reached, besides localhost and addresses; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Folder that images are written to [default: latent in the folder of pictures]
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Folder that the queue is kept in [default: latent/server in the folder of programs' state]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Name of the model of jobs that name none [default: the built-in demo model]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Jobs that may wait
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub(crate) max_queue: usize,
    /// Jobs of one client that may wait
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub(crate) max_queue_per_client: usize,
    /// Write prompts into the log
    #[arg(long)]
    pub(crate) log_prompts: bool,
    /// NATS server with JetStream whose workers draw in place of this machine: nats://HOST:4222 or tls://HOST:4222
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "URL", env = "LATENT_QUEUE", hide_env_values = true)]
    pub(crate) queue: Option<String>,
    /// Instruction set of the workers, so that images have the same bytes whoever draws them: scalar, avx2, avx512 or neon [default: any]
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "NAME", value_parser = ["scalar", "avx2", "avx512", "neon"], requires = "queue")]
    pub(crate) require_isa: Option<String>,
    #[cfg(feature = "nats")]
    #[command(flatten)]
    pub(crate) queue_login: super::queue::QueueLoginArgs,
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let ip = if text == "localhost" { Ok(Ipv4Addr::LOCALHOST.into()) } else { text.parse::<IpAddr>() };
    match (ip, text.strip_prefix("localhost:").and_then(|port| port.parse().ok())) {
        (Ok(ip), _) => Ok(SocketAddr::new(ip, DEFAULT_PORT)),
        (_, Some(port)) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ => Err("give an address and a port, such as 127.0.0.1:7860 or 0.0.0.0:7860".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_its_port() {
        let of = |text: &str| parse_address(text).map(|address| address.to_string());
        assert_eq!(of("127.0.0.1").as_deref(), Ok("127.0.0.1:7860"));
        assert_eq!(of("localhost:80").as_deref(), Ok("127.0.0.1:80"));
        assert_eq!(of("::1").as_deref(), Ok("[::1]:7860"));
        assert_eq!(of("[::]:1").as_deref(), Ok("[::]:1"));
        assert!(of("example.org").is_err() && of("").is_err());
    }
}
