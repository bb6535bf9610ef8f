//! One command that draws after the other, on a model that stays open.

use super::about::About;
use super::preview::{self, Preview};
use super::{Drawn, Fact, Sink, Verb, control, settings};
use crate::args::DrawingArgs;
use crate::error::CliError;
use crate::hash::Hash;
use crate::progress::Progress;
use crate::{device, lora, model, sources, words as learned};
use latent_diffusion::lora::take_tags;
use latent_diffusion::taesd::TaesdFile;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Event, Memory, Pipeline, Settings};
use latent_loader::Access;
use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most pictures of one command.
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
    hash: Hash,
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

    /// Draws the pictures of a command.
    pub(crate) fn draw(&mut self, verb: &dyn Verb, sink: &mut Sink<'_>) -> Result<(), CliError> {
        let (args, prompt) = (verb.args(), verb.prompt());
        if args.batch_count == 0 || args.batch_count > MAX_COUNT {
            return Err(CliError::BadInput(format!(
                "batch count: {} is not in 1 to {MAX_COUNT}",
                args.batch_count
            )));
        }
        if args.batch_size == 0 {
            return Err(CliError::BadInput("batch size: 0 pictures at once; 1 is usual".into()));
        }
        let first_seed = args.sampling.seed.unwrap_or_else(settings::random_seed);
        let seeds: Vec<u64> = (0..args.batch_count as u64).map(|i| first_seed.wrapping_add(i)).collect();
        // Every error of the input is found here, before anything is drawn.
        let flags = flags(verb)?;
        let opened = match self.opened.take() {
            Some(opened) if opened.flags == flags => opened,
            _ => Opened::new(verb, flags, args.batch_size.min(args.batch_count))?,
        };
        let Opened { name, hash, digits, pipeline, taesd, fact, .. } = self.opened.insert(opened);
        let mut settings = settings::settings(&args.sampling, &args.sdxl, pipeline.model());
        settings.seeds = vec![first_seed; args.batch_size.min(args.batch_count)];
        let job = verb.job(&mut settings, pipeline.model())?;
        let task = job.task();
        settings = task.sized(settings, pipeline.model());
        task.check(&settings, pipeline.model())?;
        let [words, negative_words] = [prompt, &args.sampling.negative_prompt].map(take_tags);
        let (words, negative_words) = (words?.0, negative_words?.0);
        let mut facts = job.facts();
        let models_dir = args.model.models_dir.as_deref();
        facts.extend(control::apply(&args.control, &*job, &settings, access(args), models_dir, pipeline)?);
        facts.extend(fact.clone());
        if let Some(kind) = pipeline.model().distilled {
            let Settings { steps, guidance, sampler, .. } = &settings;
            eprintln!("a {kind} model: steps {steps}, cfg scale {guidance}, sampler {}", sampler.name());
        }
        if args.sampling.seed.is_none() {
            eprintln!("seed {first_seed}");
        }

        let mut preview = Preview::new(&args.preview, taesd.as_deref(), &settings, pipeline)?;
        let mut progress = Progress::new(args.verbose);
        let mut listener = |event: Event<'_>| {
            progress.show(&event);
            if matches!(event, Event::Step { step: 0, .. }) {
                hash.begin();
            }
            if let Some(Err(error)) = preview.as_ref().map(|preview| preview.show(&event)) {
                eprintln!("latent: preview: {error}; going on without");
                preview = None;
            }
            let stop = self.interrupted.load(Ordering::Relaxed);
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let auto = args.device.device == device::Choice::Auto;
        let prompts = [words.as_str()];
        let negative = Some(negative_words.as_str()).filter(|text| !text.is_empty());
        let encode = |pipeline: &mut Pipeline| {
            pipeline.encode(&prompts, negative.as_slice(), settings.clip_skip, &mut listener)
        };
        let conditioning = or_on_cpu(pipeline, auto, encode)?;
        pipeline.unload_text_encoder();
        let prepare = |pipeline: &mut Pipeline| pipeline.prepare(&task, &settings, &mut listener);
        let source = or_on_cpu(pipeline, auto, prepare)?;
        for (group, seeds) in seeds.chunks(args.batch_size).enumerate() {
            settings.seeds = seeds.to_vec();
            let sample = |pipeline: &mut Pipeline| {
                pipeline.sample_source(&source, &conditioning, &settings, &mut listener)
            };
            let latents = or_on_cpu(pipeline, auto, sample)?;
            if !self.more && (group + 1) * args.batch_size >= args.batch_count {
                pipeline.unload_unet();
            }
            let decode = |pipeline: &mut Pipeline| pipeline.decode(&latents, &mut listener);
            let pictures = or_on_cpu(pipeline, auto, decode)?;
            let pictures = job.finish(source.finish(pictures)?)?;
            let digits = digits.get_or_init(|| hash.wait());
            for (i, picture) in pictures.iter().enumerate() {
                let about = About {
                    command: verb.name(),
                    settings: &settings,
                    prompt,
                    negative_prompt: &args.sampling.negative_prompt,
                    model: name,
                    hash: digits.as_deref(),
                    seed: seeds[i],
                    facts: &facts,
                };
                let index = group * args.batch_size + i;
                sink(Drawn { index, seed: seeds[i], texts: about.texts(picture), picture: picture.clone() })?;
            }
        }
        progress.finish();
        device::keep_pipelines(pipeline.device());
        Ok(())
    }
}

/// Everything that decides what [`Opened::new`] opens.
fn flags(verb: &dyn Verb) -> Result<String, CliError> {
    let DrawingArgs { model, sampling, sdxl, preview, device, low_memory, .. } = verb.args();
    let prompts = [verb.prompt(), &sampling.negative_prompt];
    let tags = [take_tags(prompts[0])?.1, take_tags(prompts[1])?.1];
    // Learned words are opened where prompts name them.
    let words = (!model.words.is_empty()).then_some(prompts);
    let refiner = (&sdxl.refiner, sdxl.refiner_start);
    Ok(format!("{:?}", (model, &preview.taesd, device, low_memory, refiner, tags, words)))
}

fn access(args: &DrawingArgs) -> Access {
    if args.low_memory { Access::Map } else { Access::Read }
}

impl Opened {
    /// Opens what a command names, to draw so many pictures at once. No weight is read yet.
    fn new(verb: &dyn Verb, flags: String, at_once: usize) -> Result<Opened, CliError> {
        let (args, prompt) = (verb.args(), verb.prompt());
        let access = access(args);
        let memory = if args.low_memory { Memory::Little } else { Memory::Plenty };
        let models_dir = args.model.models_dir.as_deref();
        let sources = sources::open(args.model.model.as_deref(), &args.model.sources, models_dir, access)?;
        let mut pipeline = Pipeline::open(sources.checkpoint)?.with_memory(memory);
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
        let prompts = [prompt, &args.sampling.negative_prompt];
        let words = lora::apply(&args.model, prompts, &mut pipeline)?;
        learned::apply(&args.model.words, &words.each_ref().map(String::as_str), &mut pipeline)?;
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
