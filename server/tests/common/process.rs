//! A server in a process of its own, which can be killed and limited: this test binary, started once more.

use super::{Folders, Runner, Served};
use latent_server::Server;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// The variable with the folders of the server that a process is to be.
const FOLDERS: &str = "LATENT_TEST_SERVER";
/// The file in which it writes its address.
const ADDRESS: &str = "address";

/// The process, which is killed when this is dropped.
pub(crate) struct ServerProcess(Child);

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // On Unix this is SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Served {
    /// A server in a process of its own that a shell starts after `limit`, a command.
    pub(crate) fn process(folders: &Folders, limit: &str) -> Served {
        let address = folders.path(ADDRESS);
        let _ = std::fs::remove_file(&address);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limit}; exec \"$@\""), "sh"]).arg(std::env::current_exe().unwrap());
        shell.args(["--exact", "common::process::is_a_server_if_it_is_started_as_one", "--nocapture"]);
        shell.env(FOLDERS, folders.path("")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = ServerProcess(shell.spawn().unwrap());
        loop {
            if let Ok(text) = std::fs::read_to_string(&address) {
                let address = text.parse().unwrap();
                return Served { address, runner: Some(Runner::Process(process)) };
            }
            assert_eq!(process.0.try_wait().unwrap(), None, "the server ended at its start");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// The number of its process.
    pub(crate) fn process_id(&self) -> u32 {
        match &self.runner {
            Some(Runner::Process(process)) => process.0.id(),
            _ => std::process::id(),
        }
    }
}

/// Serves from the folders of the variable until the process is killed.
fn serve(root: &Path) {
    let options = Folders::options_in(root);
    let server = Server::bind(options).unwrap();
    let new = root.join("address.new");
    std::fs::write(&new, server.address().to_string()).unwrap();
    std::fs::rename(new, root.join(ADDRESS)).unwrap();
    server.run(Arc::new(|_| {})).unwrap();
}

/// In a usual run of the tests this shows that no test is a server by mistake.
#[test]
fn is_a_server_if_it_is_started_as_one() {
    if let Some(root) = std::env::var_os(FOLDERS) {
        serve(&PathBuf::from(root));
    }
}
