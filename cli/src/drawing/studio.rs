//! One command that draws after the other, on a model that stays open.

use super::about::About;
use super::hires::Second;
use super::preview::{self, Preview};
use super::prompts::Prompts;
use super::{Drawn, Fact, Sink, Verb, control, need, settings};
use crate::args::DrawingArgs;
use crate::hash::BackgroundHash;
use crate::progress::Progress;
use crate::{device, model, sources};
use latent_app::AppError;
use latent_diffusion::taesd::TaesdFile;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Event, Pipeline, Settings, VaeTiling};
use latent_loader::Access;
use std::cell::{Cell, OnceCell};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most images of one command.
const MAX_COUNT: usize = 10_000;

/// Draws what commands say. A model stays open from one to the next, as long as they name the same.
pub(crate) struct Studio<'a> {
    interrupted: &'a AtomicBool,
    /// Whether more commands are to come: then the UNet stays in memory, too.
    pub(crate) more: bool,
    opened: Option<Opened>,
}

/// A model with all that its flags add to it.
struct Opened {
    /// The flags, and what prompts say of files.
    flags: String,
    name: String,
    hash: BackgroundHash,
    /// Waited for when it is first needed.
    digits: OnceCell<Option<String>>,
    pipeline: Pipeline,
    taesd: Option<Arc<TaesdFile>>,
    fact: Option<Fact>,
}

impl<'a> Studio<'a> {
    /// With nothing open yet. `interrupted` ends whatever is drawn.
    pub(crate) fn new(interrupted: &'a AtomicBool) -> Studio<'a> {
        Studio { interrupted, more: false, opened: None }
    }

    /// Draws the images of a command.
    pub(crate) fn draw(&mut self, verb: &dyn Verb, sink: &mut Sink<'_>) -> Result<(), AppError> {
        let (args, prompt) = (verb.args(), verb.prompt());
        let seeds = seeds(args)?;
        // Every error of the input is found here, before anything is drawn.
        let templates = [prompt, args.sampling.negative_prompt.as_str()];
        let prompts = Prompts::resolve(&args.model.words, templates, &seeds)?;
        let flags = flags(args, &prompts);
        let opened = match self.opened.take() {
            Some(opened) if opened.flags == flags => opened,
            _ => Opened::new(args, &prompts, flags, args.batch_size.min(seeds.len()))?,
        };
        let Opened { name, hash, digits, pipeline, taesd, fact, .. } = self.opened.insert(opened);
        let mut settings = settings::settings(&args.sampling, &args.sdxl, pipeline.model());
        settings.seeds = seeds[..args.batch_size.min(seeds.len())].to_vec();
        let job = verb.job(&mut settings, pipeline.model())?;
        let task = job.task();
        settings = task.sized(settings, pipeline.model());
        task.check(&settings, pipeline.model())?;
        let models_dir = args.model.models_dir.as_deref();
        let second = Second::of(verb.hires(), &settings, pipeline.model(), models_dir)?;
        let second_steps = second.as_ref().map_or(0, |second| second.steps(&settings));
        prompts.check(settings.steps, second_steps)?;
        let mut facts = job.facts();
        facts.extend(second.iter().flat_map(Second::facts));
        facts.extend(control::apply(&args.control, &*job, &settings, access(args), models_dir, pipeline)?);
        facts.extend(fact.clone());
        let files = args.given.files(prompts.used(&args.model)?, models_dir)?;
        need::tell(pipeline, &task, &settings, second.as_ref(), args.verbose)?;
        if let Some(kind) = pipeline.model().distillation {
            let Settings { steps, guidance, sampler, .. } = &settings;
            eprintln!("a {kind} model: steps {steps}, cfg scale {guidance}, sampler {}", sampler.name());
        }
        if args.sampling.seed.is_none() {
            eprintln!("seed {}", seeds[0]);
        }

        let of = |settings: &Settings| Preview::new(&args.preview, taesd.as_deref(), settings, pipeline);
        let large = second.as_ref().map(|second| second.settings(&settings, pipeline.model())).transpose()?;
        let mut previews = [of(&settings)?, large.as_ref().map(of).transpose()?.flatten()];
        // The pass that is drawn: 0 or 1.
        let pass = Cell::new(0);
        let mut progress = Progress::new(args.verbose);
        let mut listener = |event: Event<'_>| {
            progress.show(&event);
            if matches!(event, Event::Step { step: 0, .. }) {
                hash.begin();
                files.begin();
            }
            let preview = previews[pass.get()].as_ref();
            if let Some(Err(error)) = preview.map(|preview| progress.suspend(|| preview.show(&event))) {
                eprintln!("latent: preview: {error}; going on without");
                previews = [None, None];
            }
            let stop = self.interrupted.load(Ordering::Relaxed);
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let auto = args.device.device == device::Choice::Auto;
        let prepare = |pipeline: &mut Pipeline| pipeline.prepare(&task, &settings, &mut listener);
        let source = or_on_cpu(pipeline, auto, prepare)?;
        let (mut encoded, files_json) = (None, OnceCell::new());
        for (group, seeds) in seeds.chunks(args.batch_size).enumerate() {
            settings.seeds = seeds.to_vec();
            let first = group * args.batch_size;
            let block = prompts.block(first, args.batch_size);
            let conditioning = match encoded.take() {
                Some(conditioning) if first > block.start => conditioning,
                _ => or_on_cpu(pipeline, auto, |pipeline| {
                    prompts.encode(block.clone(), pipeline, &settings, second_steps, &mut listener)
                })?,
            };
            let all = &*encoded.insert(conditioning);
            let conditioning = all.of_images(first - block.start..first - block.start + seeds.len());
            let sample = |pipeline: &mut Pipeline| {
                pipeline.sample_prepared(&source, &conditioning, &settings, &mut listener)
            };
            let mut latents = or_on_cpu(pipeline, auto, sample)?;
            if let Some(second) = &second {
                let enlarge = |pipeline: &mut Pipeline| {
                    let device = pipeline.device().clone();
                    second.with(&device, |hires| pipeline.enlarge(&latents, &settings, hires, &mut listener))
                };
                let (source, settings) = or_on_cpu(pipeline, auto, enlarge)?;
                pass.set(1);
                let sample = |pipeline: &mut Pipeline| {
                    pipeline.sample_prepared(&source, &conditioning.second_pass(), &settings, &mut listener)
                };
                latents = or_on_cpu(pipeline, auto, sample)?;
                pass.set(0);
            }
            if !self.more && (group + 1) * args.batch_size >= args.batch_count {
                pipeline.unload_denoiser();
            }
            let decode = |pipeline: &mut Pipeline| pipeline.decode(&latents, &mut listener);
            let images = or_on_cpu(pipeline, auto, decode)?;
            let images = job.finish(source.finish(images)?)?;
            let digits = digits.get_or_init(|| hash.wait());
            let files = files_json.get_or_init(|| files.json());
            for (i, image) in images.into_iter().enumerate() {
                let index = first + i;
                let [prompt, negative_prompt] = prompts.told(index);
                let about = About {
                    command: verb.name(),
                    settings: &settings,
                    prompt,
                    negative_prompt,
                    drawn: second.as_ref().map(|_| settings.size(pipeline.model())).transpose()?,
                    model: name,
                    hash: digits.as_deref(),
                    seed: seeds[i],
                    facts: &facts,
                    flags: args.given.flags(),
                    files,
                    device: pipeline.device(),
                };
                let texts = about.texts(&image, |json| prompts.tell_templates(json, index));
                sink(Drawn { index, seed: seeds[i], texts, image })?;
            }
        }
        progress.finish();
        device::keep_pipelines(pipeline.device());
        Ok(())
    }
}

/// The seeds of a command's images, counting up.
fn seeds(args: &DrawingArgs) -> Result<Vec<u64>, AppError> {
    let count = args.batch_count;
    if count == 0 || count > MAX_COUNT {
        return Err(AppError::BadInput(format!("batch count: {count} is not in 1 to {MAX_COUNT}")));
    }
    if args.batch_size == 0 {
        return Err(AppError::BadInput("batch size: 0 images at once; 1 is usual".into()));
    }
    let first = args.sampling.seed.unwrap_or_else(settings::random_seed);
    Ok((0..count as u64).map(|i| first.wrapping_add(i)).collect())
}

/// Everything that decides what [`Opened::new`] opens.
fn flags(args: &DrawingArgs, prompts: &Prompts<'_>) -> String {
    let DrawingArgs { model, sdxl, preview, device, low_memory, vae_tiling, .. } = args;
    let refiner = (&sdxl.refiner, sdxl.refiner_start);
    let memory = (low_memory, vae_tiling);
    format!("{:?}", (model, &preview.taesd, device, memory, refiner, prompts.files(&model.words)))
}

fn access(args: &DrawingArgs) -> Access {
    if args.low_memory { Access::Map } else { Access::Read }
}

impl Opened {
    /// Opens what a command names, to draw so many images at once. No weight is read yet.
    fn new(
        args: &DrawingArgs,
        prompts: &Prompts<'_>,
        flags: String,
        at_once: usize,
    ) -> Result<Opened, AppError> {
        let access = access(args);
        let memory = if args.low_memory || args.vae_tiling { VaeTiling::Bands } else { VaeTiling::Off };
        let models_dir = args.model.models_dir.as_deref();
        let sources = sources::open(args.model.model.as_deref(), &args.model.sources, models_dir, access)?;
        let mut pipeline = Pipeline::open(sources.checkpoint)?.with_vae_tiling(memory);
        if let Some(prediction) = args.model.prediction {
            pipeline = pipeline.with_prediction(prediction);
        }
        if let Some(is_zero) = args.model.zero_snr {
            pipeline = pipeline.with_zero_terminal_snr(is_zero);
        }
        let mut settings = settings::settings(&args.sampling, &args.sdxl, pipeline.model());
        settings.seeds = vec![0; at_once];
        settings.check(pipeline.model())?;
        if let Some(path) = &args.sdxl.refiner {
            let refiner = model::open(Some(path), models_dir, access)?;
            let refiner = Pipeline::open(refiner.checkpoint)?;
            settings.check_texts(refiner.model())?;
            pipeline.set_refiner(Some((refiner, args.sdxl.refiner_start)))?;
        }
        prompts.open(&args.model, &mut pipeline)?;
        let (taesd, fact) = preview::apply(&args.preview, access, &mut pipeline)?;
        pipeline.set_device(device::open(&args.device)?);
        let (name, hash, digits) = (sources.name, sources.hash, OnceCell::new());
        Ok(Opened { flags, name, hash, digits, pipeline, taesd, fact })
    }
}

/// Runs a stage. Where a GPU fails that was taken without being asked for, the CPU begins the stage anew and draws the rest.
fn or_on_cpu<R>(
    pipeline: &mut Pipeline,
    auto: bool,
    mut stage: impl FnMut(&mut Pipeline) -> Result<R, latent_diffusion::Error>,
) -> Result<R, latent_diffusion::Error> {
    match stage(pipeline) {
        Err(error) if auto && error.is_gpu_fault() => {
            eprintln!("latent: {error}; going on on the CPU");
            pipeline.set_device(Device::Cpu);
            stage(pipeline)
        }
        result => result,
    }
}
