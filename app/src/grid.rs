//! Images whose settings differ, as one labelled image.

use crate::AppError;
use crate::contact_sheet::ImageGrid;
use crate::job::{Job, JobOption, JobOptionKind, find_option, random_seed};
use crate::metadata::OutputTexts;
use crate::session::{CancelToken, DrawingCost, JobEvent, JobImage, JobObserver, Session};
use latent_diffusion::Image;
use latent_diffusion::prompt::MAX_PROMPT_BYTES;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

/// The option whose values replace words of the prompt: the first is what the others stand for.
pub(crate) const PROMPT: &str = "prompt";
/// Maximum number of values of a side.
const MAX_VALUES: usize = 256;
/// Maximum number of images of a grid, which are all in memory at its end.
const MAX_CELLS: usize = 1024;
/// Options that are not settings of a single image.
const NOT_OF_AN_IMAGE: [&str; 2] = ["batch-count", "batch-size"];

/// One side of a grid: an option of jobs, and the values that it takes one after the other. As text: `steps=10,20`; a
/// value with a comma is in double quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridAxis {
    /// The option's name. Of `prompt`, the first value is looked for in the prompt, and the others replace it.
    #[serde(rename = "flag")]
    pub option: String,
    /// At least one.
    pub values: Vec<String>,
}

impl GridAxis {
    /// A value as it stands beside the images: of a file, its name alone.
    #[must_use]
    pub fn label(&self, value: &str) -> String {
        let name = value.rsplit(['/', '\\']).next().unwrap_or(value);
        let value = name.strip_suffix(".safetensors").unwrap_or(name);
        if self.option == PROMPT { value.to_owned() } else { format!("{} {value}", self.option) }
    }

    fn labels(&self) -> Vec<String> {
        self.values.iter().map(|value| self.label(value)).collect()
    }

    /// Checks the number of values.
    fn check(&self) -> Result<(), String> {
        match self.values.len() {
            0 => Err(format!("{}: there is no value", self.option)),
            count if count > MAX_VALUES => {
                Err(format!("{}: {count} values are too many; the maximum is {MAX_VALUES}", self.option))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for GridAxis {
    type Err = String;

    fn from_str(text: &str) -> Result<GridAxis, String> {
        let (option, values) =
            text.split_once('=').ok_or("give an option and its values, such as steps=10,20")?;
        let option = option.trim().trim_start_matches('-').replace('_', "-");
        let mut parts = vec![String::new()];
        let mut quoted = false;
        for letter in values.chars() {
            match letter {
                '"' => quoted = !quoted,
                ',' if !quoted => parts.push(String::new()),
                _ => parts.last_mut().expect("one at least").push(letter),
            }
        }
        let values: Vec<String> = parts.iter().map(|part| part.trim().to_owned()).collect();
        if quoted {
            return Err("a double quote is not closed".into());
        }
        if option.is_empty() {
            return Err("there is no option before the =".into());
        }
        if values.iter().any(String::is_empty) {
            return Err(format!("{option}: a value is empty"));
        }
        let axis = GridAxis { option, values };
        axis.check().map(|()| axis)
    }
}

/// As [`GridAxis::from_str`] reads it.
impl fmt::Display for GridAxis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted =
            |value: &String| if value.contains(',') { format!("\"{value}\"") } else { value.clone() };
        let values: Vec<String> = self.values.iter().map(quoted).collect();
        write!(f, "{}={}", self.option, values.join(","))
    }
}

/// The jobs of a grid, row by row, which differ in one option or two.
#[derive(Clone, Debug)]
pub struct JobGrid {
    base: Job,
    /// What changes from left to right, and from top to bottom.
    axes: [Option<GridAxis>; 2],
    /// A random seed, if none is given.
    chosen_seed: Option<u64>,
}

/// An image of a grid.
#[derive(Clone, Debug)]
pub struct DrawnCell {
    /// The image.
    pub image: Image,
    /// Its seed.
    pub seed: u64,
    /// The texts of its file, if it had one.
    pub texts: OutputTexts,
}

/// A grid that was drawn.
#[derive(Debug)]
#[non_exhaustive]
pub struct DrawnGrid {
    /// The images with their labels.
    pub image: Image,
    /// The texts of the file: how the first image was made, and what differs in the others.
    pub texts: OutputTexts,
    /// Seed of the first image.
    pub seed: u64,
    /// Why cells are empty.
    pub failed: Vec<AppError>,
    /// Number of cells.
    pub cells: usize,
}

/// A prompt with other words in place of some, measured before it is made: a short prompt may have many of them.
fn replaced(prompt: &str, words: &str, others: &str) -> Result<String, AppError> {
    let count = prompt.matches(words).count();
    let bytes = prompt.len() - count * words.len() + count * others.len();
    if bytes > MAX_PROMPT_BYTES {
        let max = MAX_PROMPT_BYTES >> 10;
        return Err(AppError::BadInput(format!("prompt: becomes larger than {max} KiB; replace less")));
    }
    Ok(prompt.replace(words, others))
}

impl JobGrid {
    /// The grid of a job and of what changes from left to right and from top to bottom. Without a seed it gets a random
    /// one, which all images share.
    ///
    /// # Errors
    /// Bad input: no side, two equal ones, an option that is not a setting of an image, too many images, a batch.
    pub fn new(base: Job, [x, y]: [Option<GridAxis>; 2]) -> Result<JobGrid, AppError> {
        let refuse = |line: String| Err(AppError::BadInput(format!("grid: {line}")));
        if base.batch.count() != 1 {
            return refuse("a cell holds one image; leave the batch count out".into());
        }
        let axes = [x, y];
        for axis in axes.iter().flatten() {
            axis.check().map_err(|line| AppError::BadInput(format!("grid: {line}")))?;
            if axis_option(axis).is_err() || NOT_OF_AN_IMAGE.contains(&axis.option.as_str()) {
                let nearest = find_option(&axis.option).err().and_then(|error| {
                    error.to_string().split_once(", ").map(|(_, nearest)| format!(", {nearest}"))
                });
                let nearest = nearest.unwrap_or_default();
                return refuse(format!("{:?} is not a setting of an image{nearest}", axis.option));
            }
        }
        let count = match &axes {
            [None, None] => return refuse("nothing changes; give a side".into()),
            [Some(x), Some(y)] if x.option == y.option => {
                return refuse(format!("both sides are {}; give two different ones", x.option));
            }
            axes => axes.iter().flatten().map(|axis| axis.values.len()).product::<usize>(),
        };
        if count > MAX_CELLS {
            return refuse(format!("{count} images are too many for one; the maximum is {MAX_CELLS}"));
        }
        base.check_prompts()?;
        let prompt = axes.iter().flatten().find(|axis| axis.option == PROMPT);
        if let Some(value) = prompt.map(|axis| &axis.values[0]).filter(|value| !base.prompt.contains(*value))
        {
            return refuse(format!("{value:?} is not in the prompt; it is what the others stand for"));
        }
        let has_seed =
            base.sampling.seed.is_some() || axes.iter().flatten().any(|axis| axis.option == "seed");
        // One for all, or they would differ in that, too.
        let chosen_seed = (!has_seed).then(random_seed);
        let mut base = base;
        base.sampling.seed = base.sampling.seed.or(chosen_seed);
        let is_varied = base.sampling.variation_strength.is_some()
            || axes.iter().flatten().any(|axis| axis.option == "variation-strength");
        if is_varied && base.sampling.variation_seed.is_none() {
            base.sampling.variation_seed = Some(random_seed());
        }
        Ok(JobGrid { base, axes, chosen_seed })
    }

    /// Number of images.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.axes.iter().flatten().map(|axis| axis.values.len()).product()
    }

    fn columns(&self) -> usize {
        self.axes[0].as_ref().map_or(1, |axis| axis.values.len())
    }

    /// The sides with their values in a cell.
    fn values(&self, cell: usize) -> impl Iterator<Item = (&GridAxis, &str)> {
        let at = [cell % self.columns(), cell / self.columns()];
        self.axes
            .iter()
            .zip(at)
            .filter_map(|(axis, i)| Some((axis.as_ref()?, axis.as_ref()?.values[i].as_str())))
    }

    /// What differs in a cell.
    #[must_use]
    pub fn label(&self, cell: usize) -> String {
        self.values(cell).map(|(axis, value)| axis.label(value)).collect::<Vec<_>>().join(", ")
    }

    /// The job that draws a cell alone.
    ///
    /// # Errors
    /// Bad input: a value that cannot be read.
    pub fn job(&self, cell: usize) -> Result<Job, AppError> {
        let mut job = self.base.clone();
        let mut set = || -> Result<(), AppError> {
            for (axis, value) in self.values(cell) {
                let option = axis_option(axis)?;
                match option.kind() {
                    _ if option.name() == PROMPT => {
                        job.prompt = replaced(&job.prompt, &axis.values[0], value)?;
                    }
                    JobOptionKind::Values => option.set(&mut job, &value.split(',').collect::<Vec<_>>())?,
                    _ => option.add(&mut job, value)?,
                }
            }
            job.check()
        };
        match set() {
            Ok(()) => Ok(job),
            Err(error) => Err(AppError::BadInput(format!("grid: {}: {error}", self.label(cell)))),
        }
    }

    /// What drawing all images takes; nothing for a cell that cannot be drawn.
    ///
    /// # Errors
    /// Bad input, if a cell has a value that cannot be read.
    pub fn estimate(&self, session: &mut Session) -> Result<DrawingCost, AppError> {
        let cells = (0..self.cells()).map(|cell| Ok(session.estimate(&self.job(cell)?).unwrap_or_default()));
        cells
            .collect::<Result<Vec<_>, AppError>>()
            .map(|all| all.into_iter().fold(DrawingCost::default(), DrawingCost::and))
    }

    /// Draws all images. A cell that cannot be drawn stays empty.
    ///
    /// # Errors
    /// Bad input, if a cell has a value that cannot be read; [`AppError::Interrupted`]; the first error, if no cell can be
    /// drawn.
    pub fn draw(
        &self,
        session: &mut Session,
        cancel: &CancelToken,
        observer: &mut JobObserver<'_>,
    ) -> Result<DrawnGrid, AppError> {
        let total = self.cells();
        let jobs = (0..total).map(|cell| self.job(cell)).collect::<Result<Vec<_>, _>>()?;
        if let Some(seed) = self.chosen_seed {
            go_on(observer(JobEvent::SeedChosen(seed)))?;
        }
        let mut cells = Vec::with_capacity(total);
        for (index, job) in jobs.iter().enumerate() {
            session.keep_unet(index + 1 < total);
            let label = self.label(index);
            go_on(observer(JobEvent::GridCell { index, total, label: label.clone() }))?;
            let mut cell = None;
            let drawn = session.run(job, cancel, &mut |event| match event {
                JobEvent::Image(drawn) => {
                    let JobImage { image, seed, texts, .. } = Arc::unwrap_or_clone(drawn);
                    cell = Some(DrawnCell { image, seed, texts });
                    ControlFlow::Continue(())
                }
                event => observer(event),
            });
            match (drawn, cell) {
                (Err(AppError::Interrupted), _) | (Ok(()), None) => return Err(AppError::Interrupted),
                (_, Some(cell)) => cells.push(Ok(cell)),
                (Err(error), None) => {
                    cells.push(Err(error.clone()));
                    go_on(observer(JobEvent::GridCellFailed { label, error }))?;
                }
            }
        }
        self.assemble(cells)
    }

    /// The grid of cells that were drawn, row by row. A cell with an error is empty.
    ///
    /// # Errors
    /// The first error, if no cell was drawn.
    pub fn assemble(&self, cells: Vec<Result<DrawnCell, AppError>>) -> Result<DrawnGrid, AppError> {
        let (total, mut images, mut first, mut failed) = (cells.len(), Vec::new(), None, Vec::new());
        for cell in cells {
            match cell {
                Ok(DrawnCell { image, seed, texts }) => {
                    first.get_or_insert((seed, texts));
                    images.push(Some(image));
                }
                Err(error) => {
                    failed.push(error);
                    images.push(None);
                }
            }
        }
        let Some((seed, texts)) = first else {
            return Err(failed.into_iter().next().unwrap_or(AppError::Interrupted));
        };
        let [above, before] =
            self.axes.each_ref().map(|axis| axis.as_ref().map_or(Vec::new(), GridAxis::labels));
        let image = ImageGrid { cells: images, columns: self.columns(), above, before }.image();
        Ok(DrawnGrid { image, texts: self.texts(texts), seed, failed, cells: total })
    }

    /// The texts of the grid's file: how the first image was made, and what differs in the others.
    fn texts(&self, [(keyword, mut parameters), (own, json)]: OutputTexts) -> OutputTexts {
        parameters.push_str(", Script: X/Y/Z plot");
        let mut grid = json!({});
        for (name, axis) in ["X", "Y"].iter().zip(&self.axes) {
            let Some(axis) = axis else { continue };
            let values = Value::from(axis.values.join(","));
            parameters.push_str(&format!(", {name} Type: {}, {name} Values: {values}", axis.option));
            grid[name.to_lowercase()] = json!(axis);
        }
        // The text is this program's own.
        let mut json: Value = serde_json::from_str(&json).unwrap_or_default();
        json["grid"] = grid;
        [(keyword, parameters), (own, json.to_string())]
    }
}

impl DrawnGrid {
    /// An error, if cells are empty.
    ///
    /// # Errors
    /// A run-time failure with the first reason.
    pub fn check(&self) -> Result<(), AppError> {
        match self.failed.first() {
            Some(error) => {
                let (failed, count) = (self.failed.len(), self.cells);
                Err(AppError::RunTime(format!("grid: {failed} of {count} images are missing: {error}")))
            }
            None => Ok(()),
        }
    }
}

/// The option of an axis, by its very name.
fn axis_option(axis: &GridAxis) -> Result<&'static JobOption, AppError> {
    let option = find_option(&axis.option)?;
    if option.name() == axis.option {
        return Ok(option);
    }
    Err(AppError::BadInput(format!("unknown option, did you mean {:?}?", option.name())))
}

fn go_on(flow: ControlFlow<()>) -> Result<(), AppError> {
    if flow.is_break() { Err(AppError::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_and_its_values() {
        let axis = |text: &str| text.parse::<GridAxis>().map(|axis| (axis.option, axis.values.join("|")));
        let of = |option: &str, values: &str| Ok((option.to_owned(), values.to_owned()));
        assert_eq!(axis("steps=10,20"), of("steps", "10|20"));
        assert_eq!(axis("--cfg_scale= 3 , 7.5"), of("cfg-scale", "3|7.5"));
        assert_eq!(axis("prompt=\"a, b\",c=d"), of("prompt", "a, b|c=d"));
        assert_eq!("prompt=\"a, b\",c=d".parse::<GridAxis>().unwrap().to_string(), "prompt=\"a, b\",c=d");
        for wrong in ["", "steps", "=1", "steps=", "steps=1,,2", "prompt=\"a"] {
            assert!(axis(wrong).is_err(), "{wrong}");
        }
        assert!(axis(&format!("seed={}1", "1,".repeat(MAX_VALUES))).is_err());
    }

    #[test]
    fn labels_name_files_without_their_folders() {
        let axis = |option: &str| GridAxis { option: option.into(), values: Vec::new() };
        assert_eq!(axis("steps").label("10"), "steps 10");
        assert_eq!(axis("model").label("a/b.safetensors"), "model b");
        assert_eq!(axis("prompt").label("red"), "red");
    }

    #[test]
    fn cells_are_jobs() {
        let axes = ["steps=2,3", "prompt=red,green"].map(|text| Some(text.parse().unwrap()));
        let grid = JobGrid::new(Job::txt2img("a red apple"), axes).unwrap();
        assert_eq!((grid.cells(), grid.label(3).as_str()), (4, "steps 3, green"));
        let jobs: Vec<Job> = (0..4).map(|cell| grid.job(cell).unwrap()).collect();
        assert_eq!((jobs[3].sampling.steps, jobs[3].prompt.as_str()), (Some(3), "a green apple"));
        assert!(jobs[0].sampling.seed.is_some() && jobs[0].sampling.seed == jobs[3].sampling.seed);
        // A list grows by the value of a side.
        let mut base = Job::txt2img("a");
        base.set("lora", &["a:0.5"]).unwrap();
        let grid = JobGrid::new(base, [Some("lora=b,c".parse().unwrap()), None]).unwrap();
        assert_eq!(find_option("lora").unwrap().texts(&grid.job(1).unwrap()), ["a:0.5", "c"]);
    }
}
