//! Reading the weights of a network.

use crate::event::Listener;
use crate::lora::Merge;
use crate::params::Params;
use crate::stage::LoadedNetwork;
use crate::{Error, Event};
use latent_loader::Weights;
use latent_tensor::{Device, Precision};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Loads a network from weights to a device, with products in a precision where that is the CPU, and reports the bytes that were read to the listener.
pub(crate) fn load<T>(
    component: LoadedNetwork,
    weights: Weights,
    (device, precision): (&Device, Precision),
    merge: Option<Arc<Merge>>,
    load: impl FnOnce(&Params<'_>) -> Result<T, Error>,
    listener: &mut Listener<'_>,
) -> Result<T, Error> {
    let total = weights.total_bytes();
    let state = RefCell::new((0, ControlFlow::Continue(()), listener));
    let on_read = |bytes: u64| {
        let (read, flow, listener) = &mut *state.borrow_mut();
        *read += bytes;
        if flow.is_continue() {
            *flow = listener(Event::Loading { component, read: *read, total });
        }
    };
    let network = load(
        &Params::new(weights, &on_read).on(device).in_precision(component.precision(precision)).merged(merge),
    )?;
    if state.borrow().1.is_break() { Err(Error::Cancelled) } else { Ok(network) }
}
