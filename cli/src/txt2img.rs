//! `latent txt2img`: words to pictures.

use crate::args::Txt2imgArgs;
use crate::error::CliError;
use crate::output::Output;
use crate::progress::Progress;
use crate::{check_environment, check_threads, device, lora, model};
use latent_diffusion::names::Named;
use latent_diffusion::rng::RngKind;
use latent_diffusion::schedule::Kind;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Event, Memory, Pipeline, Settings};
use latent_loader::Access;
use serde_json::json;
use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most pictures of one command.
const MAX_COUNT: usize = 10_000;

pub(crate) fn run(args: Txt2imgArgs) -> Result<(), CliError> {
    check_environment()?;
    let threads = check_threads(args.threads)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || {
        // The second time, do not wait for the step to end.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .map_err(|error| CliError::RunTime(format!("cannot listen for Ctrl-C: {error}")))?;
    latent_kernels::parallel::with_threads(threads, || draw(&args, &interrupted))
        .map_err(CliError::RunTime)?
}

fn draw(args: &Txt2imgArgs, interrupted: &AtomicBool) -> Result<(), CliError> {
    let prompt = args.prompt.as_ref().or(args.prompt_flag.as_ref()).map_or("", String::as_str);
    if args.batch_count == 0 || args.batch_count > MAX_COUNT {
        return Err(CliError::BadInput(format!(
            "batch count: {} is not in 1 to {MAX_COUNT}",
            args.batch_count
        )));
    }
    let (access, memory) =
        if args.low_memory { (Access::Map, Memory::Little) } else { (Access::Read, Memory::Plenty) };
    let model = model::open(args.model.as_deref(), args.models_dir.as_deref(), access)?;
    let mut pipeline = Pipeline::open(model.checkpoint)?.with_memory(memory);
    if let Some(prediction) = args.prediction {
        pipeline = pipeline.with_prediction(prediction);
    }
    let auto = args.device.device == device::Choice::Auto;
    let first_seed = args.seed.unwrap_or_else(random_seed);
    let seeds: Vec<u64> = (0..args.batch_count as u64).map(|i| first_seed.wrapping_add(i)).collect();
    let mut settings = settings(args);
    // Every error of the input is found here, before anything is drawn.
    settings.seeds = vec![first_seed; args.batch_size.min(args.batch_count)];
    if args.batch_size == 0 {
        return Err(CliError::BadInput("batch size: 0 pictures at once; 1 is usual".into()));
    }
    settings.check(pipeline.model())?;
    let words = lora::apply(args, prompt, &mut pipeline)?;
    pipeline.set_device(device::open(&args.device)?);
    let output = Output::new(args.output.as_deref(), prompt)?;
    if args.seed.is_none() {
        eprintln!("seed {first_seed}");
    }

    let mut progress = Progress::new(args.verbose);
    let mut listener = |event: Event<'_>| {
        progress.show(&event);
        if matches!(event, Event::Step { step: 0, .. }) {
            model.hash.begin();
        }
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let prompts = [words.as_str()];
    let negative = Some(args.negative_prompt.as_str()).filter(|text| !text.is_empty());
    let encode = |pipeline: &mut Pipeline| {
        pipeline.encode(&prompts, negative.as_slice(), args.clip_skip, &mut listener)
    };
    let conditioning = or_on_cpu(&mut pipeline, auto, encode)?;
    pipeline.unload_text_encoder();
    // Waited for when it is first needed.
    let hash = OnceCell::new();
    for (group, seeds) in seeds.chunks(args.batch_size).enumerate() {
        settings.seeds = seeds.to_vec();
        let sample = |pipeline: &mut Pipeline| pipeline.sample(&conditioning, &settings, &mut listener);
        let latents = or_on_cpu(&mut pipeline, auto, sample)?;
        if (group + 1) * args.batch_size >= args.batch_count {
            pipeline.unload_unet();
        }
        let decode = |pipeline: &mut Pipeline| pipeline.decode(&latents, &mut listener);
        let pictures = or_on_cpu(&mut pipeline, auto, decode)?;
        let hash = hash.get_or_init(|| model.hash.wait());
        for (i, picture) in pictures.iter().enumerate() {
            let index = group * args.batch_size + i;
            let about = About {
                args,
                settings: &settings,
                prompt,
                model: &model.name,
                hash: hash.as_deref(),
                seed: seeds[i],
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

fn settings(args: &Txt2imgArgs) -> Settings {
    let (sampler, named_schedule) = args.sampler;
    let usual = if sampler.name() == "dpm++2m" { Kind::Karras } else { Kind::Normal };
    Settings {
        width: args.width,
        height: args.height,
        steps: args.steps,
        guidance: args.cfg_scale,
        sampler,
        schedule: args.scheduler.or(named_schedule).unwrap_or(usual),
        form: args.compat,
        rng: args.rng,
        eta: None,
        seeds: Vec::new(),
        clip_skip: args.clip_skip,
        ..Settings::default()
    }
}

/// A seed of 32 bits, as the webui draws them, from the clock and the process.
fn random_seed() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    // One round of SplitMix64 spreads the bits.
    let mut z = time ^ (u64::from(std::process::id()) << 40);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) & 0xFFFF_FFFF
}

/// What the webui calls a generator.
fn rng_label(rng: RngKind) -> &'static str {
    match rng {
        RngKind::Cpu => "CPU",
        RngKind::Cuda => "NV",
    }
}

/// What the webui calls a schedule: its name with a capital.
fn schedule_label(schedule: Kind) -> String {
    let name = schedule.name();
    name[..1].to_uppercase() + &name[1..]
}

/// How a picture was made.
struct About<'a> {
    args: &'a Txt2imgArgs,
    settings: &'a Settings,
    prompt: &'a str,
    model: &'a str,
    hash: Option<&'a str>,
    seed: u64,
}

impl About<'_> {
    /// The webui's text, which every reader of such pictures knows.
    fn parameters(&self, picture: &latent_diffusion::Picture) -> String {
        let Settings { steps, guidance, sampler, schedule, clip_skip, rng, .. } = self.settings;
        let mut text = self.prompt.to_owned();
        if !self.args.negative_prompt.is_empty() {
            text.push_str(&format!("\nNegative prompt: {}", self.args.negative_prompt));
        }
        let (width, height) = (picture.width, picture.height);
        text.push_str(&format!(
            "\nSteps: {steps}, Sampler: {}, Schedule type: {}",
            sampler.label(),
            schedule_label(*schedule)
        ));
        text.push_str(&format!(", CFG scale: {guidance}, Seed: {}, Size: {width}x{height}", self.seed));
        if let Some(hash) = &self.hash {
            text.push_str(&format!(", Model hash: {hash}"));
        }
        text.push_str(&format!(", Model: {}", self.model));
        if *clip_skip > 1 {
            text.push_str(&format!(", Clip skip: {clip_skip}"));
        }
        text.push_str(&format!(", RNG: {}, Version: latent {}", rng_label(*rng), env!("CARGO_PKG_VERSION")));
        text
    }

    /// Everything needed to draw the picture again.
    fn json(&self, picture: &latent_diffusion::Picture) -> serde_json::Value {
        let settings = self.settings;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "command": "txt2img",
            "prompt": self.prompt,
            "negative_prompt": self.args.negative_prompt,
            "width": picture.width,
            "height": picture.height,
            "steps": settings.steps,
            "cfg_scale": settings.guidance,
            "seed": self.seed,
            "sampler": settings.sampler.name(),
            "scheduler": settings.schedule.name(),
            "compat": settings.form().name(),
            "rng": settings.rng.name(),
            "clip_skip": settings.clip_skip,
            "model": self.model,
            "model_hash": self.hash,
        })
    }
}
