//! Reading a part of the model.

use super::{Event, Listener, Pipeline};
use crate::Error;
use crate::lora::Merge;
use crate::params::Params;
use latent_loader::Weights;
use latent_tensor::Device;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

impl Pipeline {
    /// Reads the part of the model below `scope` for a device, and tells the listener about it.
    pub(super) fn load_part<T>(
        &self,
        component: &'static str,
        scope: &str,
        device: &Device,
        load: impl FnOnce(&Params<'_>) -> Result<T, Error>,
        listener: &mut Listener<'_>,
    ) -> Result<T, Error> {
        let weights = self.model.weights.scope(scope);
        read(component, weights, device, self.merge.clone(), load, listener)
    }
}

/// Reads weights for a device, and tells the listener about it.
pub(crate) fn read<T>(
    component: &'static str,
    weights: Weights,
    device: &Device,
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
    let part = load(&Params::new(weights, &on_read).on(device).merged(merge))?;
    if state.borrow().1.is_break() { Err(Error::Cancelled) } else { Ok(part) }
}
