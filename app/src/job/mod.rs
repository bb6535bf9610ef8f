//! What is to be drawn, as plain data: it can be stored, compared, queued and sent as JSON.
//!
//! A setting that is `None`, empty or off was not given: the model's own default holds, and the metadata of the images do
//! not list it. [`OPTIONS`] has the settings by the names that command lines and metadata use.

mod control;
mod data;
mod each;
mod field;
mod files;
mod image_prompt;
mod options;
mod source;
mod task;
#[cfg(test)]
mod tests;
mod text;

pub use control::{ControlOptions, ControlPreprocessor, ControlTypeName};
pub use data::{
    BatchOptions, Job, MemoryOptions, ModelSelection, PreviewOptions, SamplingOptions, SdxlOptions,
    random_seed,
};
pub use field::JobOptionKind;
pub use files::JobFiles;
pub use image_prompt::ImagePromptOptions;
pub(crate) use options::LATENT_UPSCALERS;
pub use options::built_in_upscalers;
pub use options::{JobOption, OPTIONS, find_option};
pub use source::{ImageSource, InlineImage};
pub use task::{EditTask, HiresOptions, Img2imgTask, InpaintTask, JobTask, OutpaintTask, Txt2imgTask};
pub use text::{PixelOffset, PixelSize, SamplerChoice};
