//! The API of AUTOMATIC1111's webui, which many programs speak: its addresses and fields over the same queue.
//!
//! A field is followed, or it is refused by name if it would change the image, or it is ignored. `fields.rs` and the files that it
//! calls make a job of a request.

mod answer;
mod control;
mod controlnet;
mod draw;
mod error;
mod extras;
mod fields;
mod hires;
mod images;
mod init;
mod job;
mod lenient;
mod lists;
mod names;
mod neutral;
mod png_info;
mod progress;
mod request;
mod scripts;
mod settings;
mod system;

use crate::state::ServerState;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Its routes.
#[must_use]
pub fn router() -> OpenApiRouter<ServerState> {
    OpenApiRouter::new()
        .routes(routes!(draw::txt2img))
        .routes(routes!(draw::img2img))
        .routes(routes!(settings::options, settings::set_options))
        .routes(routes!(progress::progress))
        .routes(routes!(progress::interrupt))
        .routes(routes!(progress::skip))
        .routes(routes!(lists::sd_models))
        .routes(routes!(lists::samplers))
        .routes(routes!(lists::schedulers))
        .routes(routes!(lists::upscalers))
        .routes(routes!(lists::latent_upscale_modes))
        .routes(routes!(lists::sd_vae))
        .routes(routes!(lists::sd_modules))
        .routes(routes!(lists::loras))
        .routes(routes!(lists::embeddings))
        .routes(routes!(lists::realesrgan_models))
        .routes(routes!(lists::hypernetworks))
        .routes(routes!(lists::face_restorers))
        .routes(routes!(lists::prompt_styles))
        .routes(routes!(lists::extensions))
        .routes(routes!(lists::scripts))
        .routes(routes!(lists::script_info))
        .routes(routes!(png_info::png_info))
        .routes(routes!(extras::single))
        .routes(routes!(extras::batch))
        .routes(routes!(controlnet::version))
        .routes(routes!(controlnet::models))
        .routes(routes!(controlnet::modules))
        .routes(routes!(controlnet::control_types))
        .routes(routes!(controlnet::settings))
        .routes(routes!(controlnet::detect))
        .routes(routes!(system::cmd_flags))
        .routes(routes!(system::memory))
        .routes(routes!(system::refresh_checkpoints))
        .routes(routes!(system::refresh_loras))
        .routes(routes!(system::refresh_vae))
        .routes(routes!(system::refresh_embeddings))
        .routes(routes!(system::unload))
        .routes(routes!(system::reload))
        .routes(routes!(system::interrogate))
}
