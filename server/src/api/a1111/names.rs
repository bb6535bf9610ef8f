//! Names of files as the webui writes them: `sub/name.safetensors [0123456789]`.

use super::error::refused;
use crate::error::ApiError;
use crate::models::{BUILT_IN, ModelInfo};
use crate::state::ServerState;
use latent_app::{hash, model_file};
use latent_loader::Checkpoint;

/// The title of a model: its file, and its hash where that is known.
pub(super) fn title(state: &ServerState, model: &ModelInfo) -> String {
    match sha256(state, model) {
        Some(sha256) => format!("{} [{}]", file_name(model), hash::short(&sha256)),
        None => file_name(model),
    }
}

/// Where a file is in its folder. The built-in model has none.
pub(super) fn file_name(model: &ModelInfo) -> String {
    if model.built_in { model.name.clone() } else { model.path_in_folder.clone() }
}

/// The SHA-256 of a model, where it is known.
pub(super) fn sha256(state: &ServerState, model: &ModelInfo) -> Option<String> {
    if let Some(known) = state.webui.sha256(&model.name) {
        return Some(known);
    }
    let own = model.built_in.then(|| model_file::demo_sha256().ok()).flatten()?;
    state.webui.set_sha256(&model.name, &own);
    Some(own)
}

/// The header of a file.
pub(super) fn checkpoint(state: &ServerState, model: &ModelInfo) -> Option<Checkpoint> {
    let path = state.models.find(&model.name).ok().flatten()?;
    Checkpoint::open(&path).ok()
}

/// The model of a title, a name, a file's name, its place in its folder, or a hash.
pub(super) fn model(state: &ServerState, field: &str, given: &str) -> Result<ModelInfo, ApiError> {
    let file = without_hash(given);
    let by_name = state.models.info(file).or_else(|error| {
        // Some clients send the whole path that the webui would have.
        let last = file.rsplit(['/', '\\']).next().filter(|last| *last != file);
        last.map_or(Err(error), |last| state.models.info(last))
    });
    let found = by_name.or_else(|error| match state.webui.model_of_hash(&file.to_lowercase()) {
        Some(name) => state.models.info(&name),
        None => Err(error),
    });
    found.map_err(|error| refused(field, &error.message))
}

/// A model that draws by itself.
pub(super) fn drawing_model(state: &ServerState, field: &str, given: &str) -> Result<ModelInfo, ApiError> {
    let found = model(state, field, given)?;
    if found.draws {
        return Ok(found);
    }
    let why = found.problem.unwrap_or_else(|| format!("is a {}", found.kind.unwrap_or_default()));
    Err(refused(field, &format!("{} cannot draw by itself: {why}", found.name)))
}

/// The model that images are drawn with: that which is set, or the server's.
pub(super) fn current(state: &ServerState, set: Option<&str>) -> Result<ModelInfo, ApiError> {
    let own = state.options.default_model.as_deref().unwrap_or(BUILT_IN);
    model(state, "sd_model_checkpoint", set.unwrap_or(own))
}

/// A file's name without the hash behind it.
fn without_hash(title: &str) -> &str {
    let title = title.trim();
    let cut = title.strip_suffix(']').and_then(|rest| rest.rsplit_once(" ["));
    match cut {
        Some((file, hash)) if hash.len() >= 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            file.trim_end()
        }
        _ => title,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_a_file_with_or_without_a_hash() {
        assert_eq!(without_hash("sub/a b.safetensors [0123456789]"), "sub/a b.safetensors");
        assert_eq!(without_hash(" a [v2]"), "a [v2]");
        assert_eq!(without_hash("a [0123456789"), "a [0123456789");
    }
}
