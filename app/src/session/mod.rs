//! Runs jobs, one after the other, on a model that stays open between them.

mod batch;
mod control;
mod cost;
mod delivery;
mod enlargement;
mod event;
mod image_prompt;
mod monitor;
mod opacity;
mod open;
mod plan;
mod preview;
mod record;
mod recorded_files;
mod region;
mod room;
mod run;
mod second_pass;
mod settings;
mod several_gpus;
mod work;

pub use cost::DrawingCost;
pub(crate) use enlargement::is_raw;
pub use event::{CancelToken, JobEvent, JobImage, JobObserver};
pub(crate) use record::TAG_ORDER;
pub(crate) use recorded_files::TAGGED_LORA;
pub use run::Session;
