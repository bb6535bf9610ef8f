//! Compiled pipelines on disk, where the backend can (Vulkan).

use super::GpuError;
use std::fs;
use std::path::{Path, PathBuf};

/// The driver's cache of compiled pipelines, and its file.
pub(super) struct PipelineCache {
    cache: wgpu::PipelineCache,
    file: PathBuf,
}

impl PipelineCache {
    /// The cache of an adapter in a folder. `None` where the adapter has none.
    pub(super) fn open(
        device: &wgpu::Device,
        info: &wgpu::AdapterInfo,
        folder: &Path,
    ) -> Option<PipelineCache> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let file = folder.join(format!("{}.bin", wgpu::util::pipeline_cache_key(info)?));
        // A file that does not exist or cannot be read counts as an empty one.
        let data = fs::read(&file).ok();
        let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: data.as_deref(), fallback: true };
        // SAFETY: only `save` writes the file, whole or not at all, with the data that the driver returned for the same
        // adapter; wgpu checks its header, and drivers check theirs.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(PipelineCache { cache, file })
    }

    pub(super) fn get(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes the cache to its file, which is replaced in one step.
    ///
    /// # Errors
    /// A folder that cannot be made or written.
    pub(super) fn save(&self) -> Result<(), GpuError> {
        let Some(data) = self.cache.get_data() else { return Ok(()) };
        replace_file(&self.file, &data)
    }
}

/// Writes a file in one step.
///
/// # Errors
/// A folder that cannot be made or written.
pub(super) fn replace_file(file: &Path, data: &[u8]) -> Result<(), GpuError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    // Another process may write at the same time; the last one wins.
    let part = file.with_extension(format!("{}.part", std::process::id()));
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&part, data))
        .and_then(|()| fs::rename(&part, file));
    written.map_err(|error| GpuError::Failed { message: format!("{}: {error}", file.display()) })
}
