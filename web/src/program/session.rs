//! The model that is open, and the device that it draws on.

use super::command::{DrawParameters, OpenParameters, PageCommand};
use super::event::PageEvent;
use super::host::{self, ChosenFile};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::tensor::{DType, Device};
use latent_diffusion::{Event, LatentRgb, Latents, Pipeline, Settings};
use latent_kernels::gpu::{Gpu, GpuOptions, adapters};
use std::ops::ControlFlow;

/// What stays between the commands of a page.
#[derive(Default)]
pub(crate) struct BrowserSession {
    device: Option<Device>,
    pipeline: Option<Pipeline>,
}

impl BrowserSession {
    /// Carries out a command; what it fails with is one line for a person.
    pub(crate) fn carry_out(&mut self, command: PageCommand) -> Result<(), String> {
        match command {
            PageCommand::Open(file) => self.open(&file),
            PageCommand::Draw(parameters) => self.draw(&parameters),
        }
    }

    fn open(&mut self, file: &OpenParameters) -> Result<(), String> {
        // The model before gives its memory back first.
        self.pipeline = None;
        let checkpoint =
            Checkpoint::from_ranges(&file.name, file.bytes, ChosenFile).map_err(|error| error.to_string())?;
        let mut pipeline = Pipeline::open(checkpoint).map_err(|error| error.to_string())?;
        let device = self.device()?;
        pipeline.set_device(device.clone());
        let settings = Settings::of(pipeline.model());
        let (width, height) = pipeline.model().resolution;
        let (adapter, dtype) = match &device {
            Device::Gpu { gpu, dtype } => (Some(gpu.name()), *dtype),
            _ => (None, DType::F32),
        };
        PageEvent::Opened {
            family: pipeline.model().family.label,
            width,
            height,
            multiple: pipeline.model().size_multiple(),
            steps: settings.steps,
            guidance: settings.guidance,
            adapter,
            dtype: dtype.to_string(),
        }
        .send();
        self.pipeline = Some(pipeline);
        Ok(())
    }

    /// The GPU that the browser gives, opened anew where the last one was lost; the CPU where it gives none.
    fn device(&mut self) -> Result<Device, String> {
        if let Some(device) = &self.device {
            return Ok(device.clone());
        }
        let device = match adapters().first() {
            None => Device::Cpu,
            Some(adapter) => {
                let gpu = Gpu::open(adapter, &GpuOptions::default()).map_err(|error| error.to_string())?;
                let dtype = if gpu.has_f16() { DType::F16 } else { DType::F32 };
                Device::gpu(&gpu, dtype).map_err(|error| error.to_string())?
            }
        };
        Ok(self.device.insert(device).clone())
    }

    fn draw(&mut self, parameters: &DrawParameters) -> Result<(), String> {
        let device = self.device()?;
        let pipeline = self.pipeline.as_mut().ok_or("no model is open")?;
        if *pipeline.device() != device {
            pipeline.set_device(device);
        }
        let rgb = pipeline.model().family.latent_format.rgb;
        let mut listener = |event: Event<'_>| {
            post(event, &rgb);
            if host::is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let images = match parameters.request().draw(pipeline, &mut listener) {
            Ok(images) => images,
            Err(error) => {
                if error.is_gpu_fault() {
                    // The next image is drawn on a GPU that is opened anew.
                    self.device = None;
                }
                return Err(error.to_string());
            }
        };
        for image in images {
            PageEvent::Drawn { seed: parameters.seed, width: image.width, height: image.height }
                .send_image(&image);
        }
        Ok(())
    }
}

/// Posts an event of the pipeline, with a preview after each step.
fn post(event: Event<'_>, rgb: &LatentRgb) {
    match event {
        Event::Loading { read, total, .. } => PageEvent::Loading { read, total }.send(),
        Event::Block { block, total, .. } => PageEvent::Block { block, total }.send(),
        Event::Step { step, total, denoised, .. } => {
            PageEvent::Step { step, total }.send();
            // Step 0 has no prediction yet. What cannot be read ends the run by itself.
            let latents = denoised.and_then(|denoised| Latents::from_channels_last(denoised).ok());
            if let Some(Ok(preview)) = latents.map(|latents| rgb.image(&latents, 0)) {
                PageEvent::Preview { width: preview.width, height: preview.height }.send_image(&preview);
            }
        }
        _ => {}
    }
}
