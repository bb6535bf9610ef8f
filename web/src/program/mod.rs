//! What the worker calls.

mod command;
mod event;
mod host;
mod session;

use command::PageCommand;
use event::PageEvent;
use session::BrowserSession;
use std::cell::RefCell;
use wasm_bindgen::prelude::wasm_bindgen;

thread_local! {
    static COMMAND: RefCell<Option<String>> = const { RefCell::new(None) };
    static SESSION: RefCell<BrowserSession> = RefCell::new(BrowserSession::default());
}

/// Prepares the program, once.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| host::log(&panic.to_string())));
    latent_kernels::gpu::set_pause(host::pause);
}

/// Leaves a command for [`run`]: the JSON of a [`PageCommand`].
#[wasm_bindgen]
pub fn ask(command: String) {
    COMMAND.set(Some(command));
}

/// Carries out the command of [`ask`]. The page must call it as a promise, and not while another is carried out.
#[wasm_bindgen]
pub fn run() {
    let Some(text) = COMMAND.take() else { return };
    let outcome = PageCommand::parse(&text)
        .and_then(|command| SESSION.with_borrow_mut(|session| session.carry_out(command)));
    match outcome {
        Ok(()) => PageEvent::Done.send(),
        Err(message) => PageEvent::Failed { message: &message }.send(),
    }
}
