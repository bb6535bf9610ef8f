//! Errors as clients of the webui read them.

use crate::error::{ApiError, ErrorCode};
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// An error whose answer has the form of the webui's.
#[derive(Debug)]
pub(super) struct WebuiError(pub(super) ApiError);

/// The body of such an answer.
#[derive(Serialize, ToSchema)]
pub(super) struct WebuiErrorBody {
    /// `HTTPException`
    error: &'static str,
    /// One line for a person.
    detail: String,
    body: &'static str,
    /// The same line.
    errors: String,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// What our options are called in `txt2img` and `img2img`.
pub(super) const OF_DRAWING: &[(&str, &str)] = &[
    ("image", "init_images"),
    ("strength", "denoising_strength"),
    ("sampler", "sampler_name"),
    ("batch_count", "n_iter"),
    ("model", "sd_model_checkpoint"),
    ("vae", "sd_vae"),
    ("clip_skip", "CLIP_stop_at_last_layers"),
    ("rng", "randn_source"),
    ("fill", "inpainting_fill"),
    ("invert", "inpainting_mask_invert"),
    ("only_masked", "inpaint_full_res"),
    ("padding", "inpaint_full_res_padding"),
    ("img_cfg_scale", "image_cfg_scale"),
    ("resize", "resize_mode"),
    ("hires", "enable_hr"),
    ("hires_scale", "hr_scale"),
    ("hires_steps", "hr_second_pass_steps"),
    ("hires_strength", "denoising_strength"),
    ("hires_upscaler", "hr_upscaler"),
    ("refiner", "refiner_checkpoint"),
    ("refiner_start", "refiner_switch_at"),
    ("prompt", "prompt"),
    ("negative_prompt", "negative_prompt"),
    ("batch", "batch_size"),
    ("schedule", "scheduler"),
    ("hires_size", "hr_scale"),
    ("mask", "mask"),
    ("mask_blur", "mask_blur"),
    ("ControlNet", "alwayson_scripts"),
    ("steps", "steps"),
    ("width", "width"),
    ("height", "height"),
    ("cfg_scale", "cfg_scale"),
    ("eta", "eta"),
    ("s_churn", "s_churn"),
    ("s_noise", "s_noise"),
    ("image.png", "init_images"),
    ("mask.png", "mask"),
    ("control.png", "alwayson_scripts"),
    ("canny", "alwayson_scripts"),
    ("control_start_and_end", "alwayson_scripts"),
    ("control_net", "alwayson_scripts"),
    ("control_image", "alwayson_scripts"),
    ("control_start", "alwayson_scripts"),
    ("control_end", "alwayson_scripts"),
    ("control_strength", "alwayson_scripts"),
];

/// The same in `extra-single-image`.
pub(super) const OF_EXTRAS: &[(&str, &str)] =
    &[("scale", "upscaling_resize"), ("model", "upscaler_1"), ("image.png", "image")];

/// Something in the request that cannot be followed: a field, and why.
pub(super) fn refused(field: &str, reason: &str) -> ApiError {
    let mut error = ApiError::bad_input(format!("{field}: {reason}"));
    error.field = Some(field.to_owned());
    error
}

/// An error about an option, about the field of the webui that it came from. Which option it is about is known, or the line
/// begins with it.
pub(super) fn renamed(mut error: ApiError, names: &[(&str, &str)]) -> ApiError {
    let name = |text: &str| text.replace([' ', '-'], "_");
    let (head, rest) = error.message.split_once(": ").unwrap_or_default();
    let option = error.field.clone().unwrap_or_else(|| name(head));
    let Some((_, field)) = names.iter().find(|(own, _)| *own == option) else { return error };
    if name(head) == option {
        error.message = format!("{field}: {rest}");
    }
    error.field = Some((*field).to_owned());
    error
}

impl From<ApiError> for WebuiError {
    fn from(error: ApiError) -> WebuiError {
        WebuiError(error)
    }
}

impl IntoResponse for WebuiError {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ErrorCode::BadInput => StatusCode::UNPROCESSABLE_ENTITY,
            _ => self.0.status(),
        };
        let WebuiError(ApiError { message, field, retry_after, .. }) = self;
        let errors = message.clone();
        let body = WebuiErrorBody { error: "HTTPException", detail: message, body: "", errors, field };
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_field_of_the_webui() {
        let of = |line: &str, option: &str| renamed(ApiError::bad_input(line).at(option), OF_DRAWING);
        let error = of("batch count: 0 is not in 1 to 10000", "batch-count");
        assert_eq!(
            (error.message.as_str(), error.field.as_deref()),
            ("n_iter: 0 is not in 1 to 10000", Some("n_iter"))
        );
        let error = of("steps: is not a number", "steps");
        assert_eq!(
            (error.message.as_str(), error.field.as_deref()),
            ("steps: is not a number", Some("steps"))
        );
        let error = renamed(ApiError::bad_input("image.png: cannot be read"), OF_DRAWING);
        assert_eq!(
            (error.message.as_str(), error.field.as_deref()),
            ("init_images: cannot be read", Some("init_images"))
        );
        let error = renamed(ApiError::bad_input("demo: there is no such file"), OF_DRAWING);
        assert_eq!((error.message.as_str(), error.field), ("demo: there is no such file", None));
        let error = WebuiError::from(refused("tiling", "cannot be drawn")).into_response();
        assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
