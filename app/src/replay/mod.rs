//! Images drawn again by their metadata: single ones, grids and contact sheets.

mod foreign;
mod options;
mod own;
mod search;

pub use options::ReplayOptions;

use crate::AppError;
use crate::contact_sheet::ContactSheet;
use crate::error::Remedy;
use crate::grid::{DrawnGrid, GridAxis, JobGrid, PROMPT};
use crate::image_file::{self, InputImage};
use crate::job::{Job, JobOption, find_option};
use crate::metadata::{self, ImageMetadata, OutputTexts};
use crate::session::{CancelToken, JobEvent, JobObserver, Session};
use latent_diffusion::Image;
use latent_kernels::Isa;
use search::FileSearch;
use serde_json::Value;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Options that the metadata of an image do not list and that can be the side of a grid.
const UNRECORDED_AXES: [&str; 7] =
    ["prompt", "negative-prompt", "seed", "device", "precision", "low-memory", "vae-tiling"];

/// An image that is to be drawn again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replay {
    /// The image file.
    pub file: PathBuf,
    /// Its metadata.
    pub metadata: ImageMetadata,
    /// Its pixels, with their opacity.
    pub before: InputImage,
    /// What draws it; of a grid, what its cells share.
    pub job: Job,
    /// How its images are arranged.
    pub layout: ReplayLayout,
    /// What the metadata record and the job does not follow.
    pub not_followed: Vec<String>,
    /// Whether it began with an image that its file does not hold and that was not given.
    pub needs_image: bool,
    /// One line for each file that is another one than the image was made with.
    pub doubts: Vec<String>,
    /// Whether it may be drawn whatever that takes.
    accepts_cost: bool,
}

/// How the images of a file are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayLayout {
    /// One image.
    Single,
    /// A grid, with what changes from left to right and from top to bottom.
    Grid([Option<GridAxis>; 2]),
    /// All images of a batch in rows. The job has their number.
    ContactSheet,
}

/// An image that was drawn again.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReplayedImage {
    /// The pixels, on white where they are transparent.
    pub image: Image,
    /// The pixels with their opacity, as [`JobImage::rgba`](crate::JobImage).
    pub rgba: Option<Vec<u8>>,
    /// The texts of its file.
    pub texts: OutputTexts,
    /// The seed of the image, or of the first of several.
    pub seed: u64,
    /// Why cells of a grid are empty.
    pub incomplete: Option<AppError>,
}

impl Replay {
    /// Reads an image file, and finds the files that it was made with.
    ///
    /// # Errors
    /// Bad input: a file without metadata, or whose metadata cannot be followed; a file that is not found, or is another
    /// one by its hash.
    pub fn open(options: &ReplayOptions) -> Result<Replay, AppError> {
        let metadata = metadata::read(&options.file)?;
        // Before it may be written over.
        let before = image_file::read(&options.file)?;
        let mut search = FileSearch::of(options);
        let own = metadata.own.clone().filter(|own| own.get("flags").is_some()).map(own::updated);
        let (job, layout, not_followed) = match &own {
            Some(own) => {
                let (job, layout) = arranged(own, options, &mut search)?;
                (job, layout, Vec::new())
            }
            None => {
                let (job, lost) = foreign::job(&metadata, options, &mut search)?;
                (job, ReplayLayout::Single, lost)
            }
        };
        let needs_image = not_followed.iter().any(|line| line == foreign::NEEDS_IMAGE);
        let (file, doubts) = (options.file.clone(), search.doubts);
        let accepts_cost = options.accept_cost;
        Ok(Replay { file, metadata, before, job, layout, not_followed, needs_image, doubts, accepts_cost })
    }

    /// Draws the image, by its job or one that was made from it.
    ///
    /// # Errors
    /// As [`Session::run`] and [`JobGrid::draw`]. Bad input: a drawing that takes more than a usual image does
    /// ([`DrawingCost::is_large`](crate::session::DrawingCost::is_large)), unless the options accept that: a file may be a
    /// stranger's.
    pub fn draw(
        &self,
        job: &Job,
        session: &mut Session,
        cancel: &CancelToken,
        observer: &mut JobObserver<'_>,
    ) -> Result<ReplayedImage, AppError> {
        self.check_cost(job)?;
        match &self.layout {
            ReplayLayout::Single => single(job, session, cancel, observer),
            ReplayLayout::ContactSheet => contact_sheet(job, session, cancel, observer),
            ReplayLayout::Grid(axes) => {
                let drawn = JobGrid::new(job.clone(), axes.clone())?.draw(session, cancel, observer)?;
                let incomplete = drawn.check().err();
                let DrawnGrid { image, texts, seed, .. } = drawn;
                Ok(ReplayedImage { image, rgba: None, texts, seed, incomplete })
            }
        }
    }

    /// Refuses what takes more than a usual image does.
    fn check_cost(&self, job: &Job) -> Result<(), AppError> {
        if self.accepts_cost {
            return Ok(());
        }
        // Another session, on the CPU: what the job's own opens is reported when it draws, and a GPU is opened once.
        let (mut session, mut job) = (Session::new(), job.clone());
        job.set("device", &["cpu"])?;
        job.set("precision", &[])?;
        let cost = match &self.layout {
            ReplayLayout::Grid(axes) => JobGrid::new(job, axes.clone())?.estimate(&mut session)?,
            ReplayLayout::Single | ReplayLayout::ContactSheet => session.estimate(&job)?,
        };
        if !cost.is_large() {
            return Ok(());
        }
        let message = format!("{}: asks for more than a usual image: {cost}", self.file.display());
        Err(AppError::Refused { message, remedy: Remedy::AcceptCost })
    }

    /// Compares the image with the one that was drawn again.
    #[must_use]
    pub fn compare(&self, after: &InputImage) -> ReplayOutcome {
        let before = &self.before;
        let size = |image: &InputImage| (image.image.width, image.image.height);
        if size(before) != size(after) {
            return ReplayOutcome::OtherSize { before: size(before), after: size(after) };
        }
        let (before, after) = (pixels(before), pixels(after));
        if before == after {
            return ReplayOutcome::Same;
        }
        let pairs = before.iter().zip(&after);
        ReplayOutcome::Differs {
            pixels: pairs.clone().filter(|(a, b)| a != b).count(),
            total: before.len(),
            largest: pairs.flat_map(|(a, b)| [0, 1, 2, 3].map(|i| a[i].abs_diff(b[i]))).max().unwrap_or(0),
            reasons: reasons(&self.metadata),
        }
    }
}

/// Colours and opacity of all pixels.
fn pixels(image: &InputImage) -> Vec<[u8; 4]> {
    let alpha = |i: usize| image.alpha.as_ref().map_or(255, |alpha| alpha[i]);
    let colours = image.image.rgb.chunks_exact(3).enumerate();
    colours.map(|(i, rgb)| [rgb[0], rgb[1], rgb[2], alpha(i)]).collect()
}

/// The job and the layout of an image of this program.
fn arranged(
    own: &Value,
    options: &ReplayOptions,
    search: &mut FileSearch<'_>,
) -> Result<(Job, ReplayLayout), AppError> {
    let refuse = |line: &str| Err(AppError::BadInput(format!("{}: {line}", options.file.display())));
    let has_templates =
        ["prompt_template", "negative_prompt_template"].iter().any(|key| own.get(key).is_some());
    if let Some(count) = own.get("sheet") {
        if has_templates {
            return refuse(
                "its images have prompts of wildcards, of which it records the first; replay one of them",
            );
        }
        let mut job = own::job(own, options, search, true)?;
        job.set("batch-count", &[&count.to_string()])?;
        return Ok((job, ReplayLayout::ContactSheet));
    }
    let Some(grid) = own.get("grid") else {
        return Ok((own::job(own, options, search, true)?, ReplayLayout::Single));
    };
    // What a cell used may be the default of its own sampler or model.
    let mut job = own::job(own, options, search, false)?;
    let mut axes = [None, None];
    for (axis, name) in axes.iter_mut().zip(["x", "y"]) {
        let Some(value) = grid.get(name) else { continue };
        let Ok(read) = serde_json::from_value::<GridAxis>(value.clone()) else {
            return refuse("what it records of its grid cannot be read");
        };
        let changes_words = ["seed", "prompt", "negative-prompt"].contains(&read.option.as_str());
        if has_templates && changes_words {
            return refuse("its images have prompts of wildcards, of which it records the first");
        }
        *axis = Some(axis_with_files(read, options, search, &mut job)?);
    }
    Ok((job, ReplayLayout::Grid(axes)))
}

/// An axis with the files that it names. What the first image has of it leaves the job that the cells share.
fn axis_with_files(
    mut axis: GridAxis,
    options: &ReplayOptions,
    search: &mut FileSearch<'_>,
    job: &mut Job,
) -> Result<GridAxis, AppError> {
    let option = find_option(&axis.option).ok().filter(|option| {
        option.name() == axis.option && (option.is_recorded() || UNRECORDED_AXES.contains(&option.name()))
    });
    let Some(option) = option else {
        let (file, name) = (options.file.display(), &axis.option);
        let line = format!("{file}: is a grid of {name}, which this version does not have");
        return Err(AppError::BadInput(line));
    };
    if option.is_list() {
        let mut shared = option.texts(job);
        shared.pop();
        option.set(job, &shared.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    for value in &mut axis.values {
        *value = found(option, value, search)?;
    }
    // The first image that could be drawn may not be that of the first value.
    if option.name() == PROMPT
        && let Some(first) = axis.values.first().filter(|first| !job.prompt.contains(*first))
        && let Some(other) = axis.values.iter().find(|value| job.prompt.contains(*value))
    {
        job.prompt = job.prompt.replace(other, first);
    }
    Ok(axis)
}

/// A value with the file that it names.
fn found(option: &JobOption, value: &str, search: &mut FileSearch<'_>) -> Result<String, AppError> {
    let Some((path, weight)) = option.file_of(value) else { return Ok(value.to_owned()) };
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let path = search.find(option.name(), &name, None)?;
    Ok(format!("{}{weight}", path.display()))
}

fn single(
    job: &Job,
    session: &mut Session,
    cancel: &CancelToken,
    observer: &mut JobObserver<'_>,
) -> Result<ReplayedImage, AppError> {
    let mut drawn = None;
    session.run(job, cancel, &mut |event| match event {
        JobEvent::Image(image) => {
            drawn.get_or_insert(image);
            ControlFlow::Continue(())
        }
        event => observer(event),
    })?;
    let drawn = drawn.ok_or(AppError::Interrupted)?;
    let (image, texts) = (drawn.image.clone(), drawn.texts.clone());
    Ok(ReplayedImage { image, rgba: drawn.rgba.clone(), texts, seed: drawn.seed, incomplete: None })
}

fn contact_sheet(
    job: &Job,
    session: &mut Session,
    cancel: &CancelToken,
    observer: &mut JobObserver<'_>,
) -> Result<ReplayedImage, AppError> {
    let mut sheet = ContactSheet::new(job.batch.count())?;
    let mut seed = None;
    session.run(job, cancel, &mut |event| match event {
        JobEvent::Image(drawn) => {
            seed.get_or_insert(drawn.seed);
            sheet.add(drawn.image.clone(), drawn.texts.clone(), Path::new("sheet"));
            ControlFlow::Continue(())
        }
        event => observer(event),
    })?;
    let drawn = sheet.finish().zip(seed);
    let ((_, image, texts), seed) = drawn.ok_or(AppError::Interrupted)?;
    Ok(ReplayedImage { image, rgba: None, texts, seed, incomplete: None })
}

/// How an image that was drawn again compares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayOutcome {
    /// All pixels are the same.
    Same,
    /// It has another size: width and height in pixels.
    OtherSize {
        /// That of the image in the file.
        before: (usize, usize),
        /// That of the new one.
        after: (usize, usize),
    },
    /// Pixels differ.
    Differs {
        /// Their number.
        pixels: usize,
        /// Pixels of the image.
        total: usize,
        /// The largest difference of a value, of 255.
        largest: u8,
        /// What was different when the image in the file was drawn, if it is one of this program.
        reasons: Vec<String>,
    },
}

/// The end of a line that begins with the file's name.
impl fmt::Display for ReplayOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayOutcome::Same => f.write_str("has the same pixels"),
            ReplayOutcome::OtherSize { before, after } => {
                write!(f, "differs: it is {}x{}, and this {}x{}", before.0, before.1, after.0, after.1)
            }
            ReplayOutcome::Differs { pixels, total, largest, reasons } => {
                write!(f, "differs in {pixels} of {total} pixels, by at most {largest} of 255")?;
                if reasons.is_empty() { Ok(()) } else { write!(f, " ({})", reasons.join("; ")) }
            }
        }
    }
}

/// What was different when our own image was drawn.
fn reasons(metadata: &ImageMetadata) -> Vec<String> {
    let Some(own) = &metadata.own else { return Vec::new() };
    let text = |key: &str| own.get(key).and_then(Value::as_str).unwrap_or("");
    let mut reasons = Vec::new();
    if !text("device").is_empty() && text("device").split(' ').next() != Some("cpu") {
        reasons.push(format!("it was drawn on {}", text("device")));
    }
    let (then, now) = (text("isa"), Isa::best().name());
    if !then.is_empty() && then != now {
        reasons.push(format!("it was drawn with {then}, this with {now}; LATENT_ISA={then} draws as then"));
    }
    let version = env!("CARGO_PKG_VERSION");
    if text("version") != version {
        reasons.push(format!("it is by version {}, this is {version}", text("version")));
    }
    reasons
}
