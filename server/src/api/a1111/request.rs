//! The body of `txt2img` and `img2img`.

use super::error::refused;
use super::lenient::{LenientBool, LenientFloat, LenientInt};
use crate::error::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The settings of an image, by the webui's names. What is absent is what the model is drawn with. Fields that are not here are
/// ignored, unless they would change the image: then the answer is 422 and names them.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(super) struct WebuiRequest {
    #[schema(example = "a red apple")]
    pub(super) prompt: Option<String>,
    pub(super) negative_prompt: Option<String>,
    /// A random one for -1.
    pub(super) seed: Option<LenientInt>,
    /// A seed whose noise is mixed in; a random one for -1.
    pub(super) subseed: Option<LenientInt>,
    /// How much of it, 0 to 1.
    pub(super) subseed_strength: Option<LenientFloat>,
    /// Whether the image can be tiled along both sides.
    pub(super) tiling: Option<LenientBool>,
    /// A name of `/sdapi/v1/samplers`, or with a schedule, as `DPM++ 2M Karras`.
    pub(super) sampler_name: Option<String>,
    /// Where `sampler_name` is not given.
    pub(super) sampler_index: Option<String>,
    /// A name or label of `/sdapi/v1/schedulers`.
    pub(super) scheduler: Option<String>,
    pub(super) steps: Option<LenientInt>,
    pub(super) cfg_scale: Option<LenientFloat>,
    pub(super) width: Option<LenientInt>,
    pub(super) height: Option<LenientInt>,
    /// Images at once.
    pub(super) batch_size: Option<LenientInt>,
    /// How often so many.
    pub(super) n_iter: Option<LenientInt>,
    pub(super) eta: Option<LenientFloat>,
    pub(super) s_churn: Option<LenientFloat>,
    pub(super) s_noise: Option<LenientFloat>,
    /// How much of an image, or in a second pass, is drawn anew.
    pub(super) denoising_strength: Option<LenientFloat>,
    pub(super) refiner_checkpoint: Option<String>,
    pub(super) refiner_switch_at: Option<LenientFloat>,
    /// `sd_model_checkpoint`, `sd_vae`, `CLIP_stop_at_last_layers`, `randn_source`: those of `/sdapi/v1/options`, for this request.
    #[schema(value_type = Option<Object>)]
    pub(super) override_settings: Option<Map<String, Value>>,
    pub(super) override_settings_restore_afterwards: Option<LenientBool>,
    /// `ControlNet`
    #[schema(value_type = Option<Object>)]
    pub(super) alwayson_scripts: Option<Map<String, Value>>,
    /// Whether the answer has the images. They are in the gallery in any case.
    pub(super) send_images: Option<LenientBool>,

    /// A second pass at a larger size (`txt2img`).
    pub(super) enable_hr: Option<LenientBool>,
    pub(super) hr_scale: Option<LenientFloat>,
    pub(super) hr_upscaler: Option<String>,
    pub(super) hr_second_pass_steps: Option<LenientInt>,
    pub(super) hr_resize_x: Option<LenientInt>,
    pub(super) hr_resize_y: Option<LenientInt>,

    /// One image in base64 (`img2img`).
    pub(super) init_images: Option<Vec<String>>,
    /// White is drawn anew, in base64.
    pub(super) mask: Option<String>,
    pub(super) mask_blur: Option<LenientFloat>,
    pub(super) mask_blur_x: Option<LenientFloat>,
    pub(super) mask_blur_y: Option<LenientFloat>,
    /// 0 the colours around it, 1 the image, 2 noise, 3 nothing.
    pub(super) inpainting_fill: Option<LenientInt>,
    /// Whether the part around the mask is drawn alone, in the size that is asked for.
    pub(super) inpaint_full_res: Option<LenientBool>,
    pub(super) inpaint_full_res_padding: Option<LenientInt>,
    pub(super) inpainting_mask_invert: Option<LenientBool>,
    /// 0 stretch, 1 crop, 2 fit.
    pub(super) resize_mode: Option<LenientInt>,
    /// How closely a model for instructions follows the image.
    pub(super) image_cfg_scale: Option<LenientFloat>,
    pub(super) include_init_images: Option<LenientBool>,
}

/// Reads a body of fields which are all optional. An error names its field.
pub(super) fn read<T: serde::de::DeserializeOwned>(body: &Map<String, Value>) -> Result<T, ApiError> {
    let error = match T::deserialize(body) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    for (name, value) in body {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        if let Err(error) = T::deserialize(&alone) {
            return Err(refused(name, &error.to_string()));
        }
    }
    Err(ApiError::bad_input(format!("the body is not as expected: {error}")))
}

/// The names that stand for no choice.
pub(super) fn chosen(name: Option<&str>) -> Option<&str> {
    name.map(str::trim).filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("none"))
}

/// Whether a name leaves the choice to the program.
pub(super) fn is_automatic(name: &str) -> bool {
    ["automatic", "default", "native", "use same sampler", "use same scheduler"]
        .iter()
        .any(|usual| name.eq_ignore_ascii_case(usual))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_said_of_its_field() {
        let read = |body: Value| read::<WebuiRequest>(body.as_object().unwrap());
        let request = read(json!({ "steps": "20", "width": 64.0, "mask": null, "other": {} })).unwrap();
        assert_eq!(
            (request.steps, request.width, request.mask),
            (Some(LenientInt(20)), Some(LenientInt(64)), None)
        );
        let error = read(json!({ "prompt": "a", "steps": "many" })).unwrap_err();
        assert_eq!(
            (error.field.as_deref(), error.message.as_str()),
            (Some("steps"), "steps: is not a whole number")
        );
        let error = read(json!({ "prompt": ["a"] })).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("prompt"));
    }
}
