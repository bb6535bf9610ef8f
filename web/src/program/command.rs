//! What the page asks for.

use latent_diffusion::{Request, SettingsOverrides};
use serde::Deserialize;

/// A command of the page. As JSON: `{"open": {…}}` or `{"draw": {…}}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum PageCommand {
    /// Opens the file that the worker was given.
    Open(OpenParameters),
    /// Draws an image with the model that is open.
    Draw(DrawParameters),
}

/// The file of a model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenParameters {
    /// Its name, for messages.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
}

/// What to draw. What is `None` is what the model was made for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DrawParameters {
    prompt: String,
    negative_prompt: String,
    pub(crate) seed: u64,
    width: Option<usize>,
    height: Option<usize>,
    steps: Option<usize>,
    guidance: Option<f64>,
}

impl PageCommand {
    pub(crate) fn parse(json: &str) -> Result<PageCommand, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }
}

impl DrawParameters {
    pub(crate) fn request(&self) -> Request {
        let mut overrides = SettingsOverrides::default();
        overrides.width = self.width.map(Some);
        overrides.height = self.height.map(Some);
        overrides.steps = self.steps;
        overrides.guidance = self.guidance;
        let request = Request::new(self.prompt.as_str()).negative_prompt(self.negative_prompt.as_str());
        request.with(|_| overrides).seeds([self.seed])
    }
}
