//! From the flags of a command that draws to its files: what all such commands share.

mod about;
mod control;
mod hires;
mod job;
mod need;
mod preview;
mod settings;

pub(crate) use job::{Fact, Job};

use crate::args::{DrawingArgs, HiresArgs};
use crate::error::CliError;
use crate::output::Output;
use crate::progress::Progress;
use crate::{check_environment, check_threads, device, interrupt, lora, model, sources, words as learned};
use about::About;
use hires::Second;
use latent_diffusion::families::Model;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Event, Memory, Pipeline, Settings};
use latent_loader::Access;
use preview::Preview;
use std::cell::{Cell, OnceCell};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most pictures of one command.
const MAX_COUNT: usize = 10_000;

/// A command that draws. What is not its own is done by [`run`].
pub(crate) trait Verb: Sync {
    /// Its name, which the pictures' files tell.
    fn name(&self) -> &'static str;

    /// What to draw.
    fn prompt(&self) -> &str;

    /// Flags of all such commands.
    fn args(&self) -> &DrawingArgs;

    /// Flags of a second pass.
    fn hires(&self) -> Option<&HiresArgs> {
        None
    }

    /// Reads what the command is given beside words, and puts the size to draw into the settings.
    fn job(&self, settings: &mut Settings, model: &Model) -> Result<Box<dyn Job>, CliError>;
}

/// Runs a command that draws, until its end or Ctrl-C.
pub(crate) fn run(verb: &dyn Verb) -> Result<(), CliError> {
    check_environment()?;
    let threads = check_threads(verb.args().threads)?;
    let interrupted = interrupt::listen()?;
    latent_kernels::parallel::with_threads(threads, || draw(verb, &interrupted)).map_err(CliError::RunTime)?
}

fn draw(verb: &dyn Verb, interrupted: &AtomicBool) -> Result<(), CliError> {
    let (args, prompt) = (verb.args(), verb.prompt());
    if args.batch_count == 0 || args.batch_count > MAX_COUNT {
        return Err(CliError::BadInput(format!(
            "batch count: {} is not in 1 to {MAX_COUNT}",
            args.batch_count
        )));
    }
    let access = if args.low_memory { Access::Map } else { Access::Read };
    let memory = if args.low_memory || args.vae_tiling { Memory::Little } else { Memory::Plenty };
    let models_dir = args.model.models_dir.as_deref();
    let sources = sources::open(args.model.model.as_deref(), &args.model.sources, models_dir, access)?;
    let mut pipeline = Pipeline::open(sources.checkpoint)?.with_memory(memory);
    if let Some(prediction) = args.model.prediction {
        pipeline = pipeline.with_prediction(prediction);
    }
    if let Some(is_zero) = args.model.zero_snr {
        pipeline = pipeline.with_zero_terminal_snr(is_zero);
    }
    let auto = args.device.device == device::Choice::Auto;
    let first_seed = args.sampling.seed.unwrap_or_else(settings::random_seed);
    let seeds: Vec<u64> = (0..args.batch_count as u64).map(|i| first_seed.wrapping_add(i)).collect();
    let mut settings = settings::settings(&args.sampling, &args.sdxl, pipeline.model());
    // Every error of the input is found here, before anything is drawn.
    settings.seeds = vec![first_seed; args.batch_size.min(args.batch_count)];
    if args.batch_size == 0 {
        return Err(CliError::BadInput("batch size: 0 pictures at once; 1 is usual".into()));
    }
    settings.check(pipeline.model())?;
    if let Some(path) = &args.sdxl.refiner {
        let refiner = model::open(Some(path), models_dir, access)?;
        let refiner = Pipeline::open(refiner.checkpoint)?;
        settings.check_texts(refiner.model())?;
        pipeline.set_refiner(Some((refiner, args.sdxl.refiner_start)))?;
    }
    let job = verb.job(&mut settings, pipeline.model())?;
    let task = job.task();
    settings = task.sized(settings, pipeline.model());
    task.check(&settings, pipeline.model())?;
    let [words, negative_words] =
        lora::apply(&args.model, [prompt, &args.sampling.negative_prompt], &mut pipeline)?;
    learned::apply(&args.model.words, &[&words, &negative_words], &mut pipeline)?;
    let models_dir = args.model.models_dir.as_deref();
    let second = Second::of(verb.hires(), &settings, pipeline.model(), models_dir)?;
    let mut facts = job.facts();
    facts.extend(second.iter().flat_map(Second::facts));
    facts.extend(control::apply(&args.control, &*job, &settings, access, models_dir, &mut pipeline)?);
    let (taesd, fact) = preview::apply(&args.preview, access, &mut pipeline)?;
    facts.extend(fact);
    pipeline.set_device(device::open(&args.device)?);
    let output = Output::new(args.output.as_deref(), prompt)?;
    need::tell(&pipeline, &task, &settings, second.as_ref(), args.verbose)?;
    if let Some(kind) = pipeline.model().distilled {
        let Settings { steps, guidance, sampler, .. } = &settings;
        eprintln!("a {kind} model: steps {steps}, cfg scale {guidance}, sampler {}", sampler.name());
    }
    if args.sampling.seed.is_none() {
        eprintln!("seed {first_seed}");
    }

    let of = |settings: &Settings| Preview::new(&args.preview, taesd.as_deref(), settings, &pipeline);
    let large = second.as_ref().map(|second| second.settings(&settings, pipeline.model())).transpose()?;
    let mut previews = [of(&settings)?, large.as_ref().map(of).transpose()?.flatten()];
    // The pass that is drawn: 0 or 1.
    let pass = Cell::new(0);
    let mut progress = Progress::new(args.verbose);
    let mut listener = |event: Event<'_>| {
        progress.show(&event);
        if matches!(event, Event::Step { step: 0, .. }) {
            sources.hash.begin();
        }
        if let Some(Err(error)) = previews[pass.get()].as_ref().map(|preview| preview.show(&event)) {
            eprintln!("latent: preview: {error}; going on without");
            previews = [None, None];
        }
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let prompts = [words.as_str()];
    let negative = Some(negative_words.as_str()).filter(|text| !text.is_empty());
    let encode = |pipeline: &mut Pipeline| {
        pipeline.encode(&prompts, negative.as_slice(), settings.clip_skip, &mut listener)
    };
    let conditioning = or_on_cpu(&mut pipeline, auto, encode)?;
    pipeline.unload_text_encoder();
    let prepare = |pipeline: &mut Pipeline| pipeline.prepare(&task, &settings, &mut listener);
    let source = or_on_cpu(&mut pipeline, auto, prepare)?;
    // Waited for when it is first needed.
    let hash = OnceCell::new();
    for (group, seeds) in seeds.chunks(args.batch_size).enumerate() {
        settings.seeds = seeds.to_vec();
        let sample = |pipeline: &mut Pipeline| {
            pipeline.sample_source(&source, &conditioning, &settings, &mut listener)
        };
        let mut latents = or_on_cpu(&mut pipeline, auto, sample)?;
        if let Some(second) = &second {
            let enlarge = |pipeline: &mut Pipeline| {
                let device = pipeline.device().clone();
                second.with(&device, |hires| pipeline.enlarge(&latents, &settings, hires, &mut listener))
            };
            let (source, settings) = or_on_cpu(&mut pipeline, auto, enlarge)?;
            pass.set(1);
            let sample = |pipeline: &mut Pipeline| {
                pipeline.sample_source(&source, &conditioning, &settings, &mut listener)
            };
            latents = or_on_cpu(&mut pipeline, auto, sample)?;
            pass.set(0);
        }
        if (group + 1) * args.batch_size >= args.batch_count {
            pipeline.unload_unet();
        }
        let decode = |pipeline: &mut Pipeline| pipeline.decode(&latents, &mut listener);
        let pictures = or_on_cpu(&mut pipeline, auto, decode)?;
        let pictures = job.finish(source.finish(pictures)?)?;
        let hash = hash.get_or_init(|| sources.hash.wait());
        for (i, picture) in pictures.iter().enumerate() {
            let index = group * args.batch_size + i;
            let about = About {
                command: verb.name(),
                settings: &settings,
                prompt,
                negative_prompt: &args.sampling.negative_prompt,
                drawn: second.as_ref().map(|_| settings.size(pipeline.model())).transpose()?,
                model: &sources.name,
                hash: hash.as_deref(),
                seed: seeds[i],
                facts: &facts,
            };
            let path = output.path(index, seeds[i]);
            let texts =
                [("parameters", about.parameters(picture)), ("latent", about.json(picture).to_string())];
            output.write(&path, picture, &texts)?;
            progress_line(&path, seeds[i]);
        }
    }
    progress.finish();
    device::keep_pipelines(pipeline.device());
    Ok(())
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

fn progress_line(path: &std::path::Path, seed: u64) {
    // A reader of the output that went away is no reason to stop drawing.
    let _ =
        std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{} (seed {seed})\n", path.display()));
}
