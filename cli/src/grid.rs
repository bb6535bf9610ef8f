//! `latent grid`: images whose settings differ, as one labelled image.

mod axis;

pub(crate) use axis::Axis;
use axis::PROMPT;

use crate::args::{Args, Command, GridArgs, Txt2imgArgs};
use crate::drawing::{Drawn, Studio, Texts, in_threads, is_given, random_seed, tell};
use crate::one_line;
use crate::output::Output;
use clap::{ArgAction, ArgMatches, CommandFactory};
use latent_app::AppError;
use latent_app::contact_sheet::ImageGrid;
use latent_diffusion::Image;
use latent_loader::Plain;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;

/// Most images of a grid, which are all in memory at its end.
const MAX_CELLS: usize = 1024;

/// Flags that say nothing of a single image.
const NO_AXES: [&str; 7] = ["batch-count", "batch-size", "grid", "output", "preview", "threads", "verbose"];

/// Runs the command. What is wrong in one cell leaves that one empty.
pub(crate) fn run(args: &GridArgs) -> Result<(), AppError> {
    let refuse = |line: String| Err(AppError::BadInput(format!("grid: {line}")));
    let plain = &args.words.drawing;
    if plain.batch_count != 1 || plain.grid {
        return refuse("a cell holds one image; leave --batch-count and --grid out".into());
    }
    let (x, y) = (args.x.clone().unwrap_or_default(), args.y.clone().unwrap_or_default());
    if x.flag == y.flag {
        return refuse(format!("both sides are {}; give two flags", x.flag));
    }
    if let Some(flag) = [&x, &y].map(|axis| axis.flag.as_str()).iter().find(|flag| NO_AXES.contains(flag)) {
        return refuse(format!("--{flag} is no setting of an image"));
    }
    let count = x.values.len() * y.values.len();
    if count > MAX_CELLS {
        return refuse(format!("{count} images are too many for one; {MAX_CELLS} are the most"));
    }
    let cells = Cells::new(args, [x, y])?;
    let commands = (0..count).map(|i| cells.command(i)).collect::<Result<Vec<_>, _>>()?;
    in_threads(plain, |interrupted| {
        let output = plain.output.clone().unwrap_or_else(|| PathBuf::from("grid-{seed}.png"));
        let output = Output::new(Some(&output), "")?.with_quality(plain.quality);
        if let Some(seed) = cells.seed {
            eprintln!("seed {seed}");
        }
        let mut studio = Studio::new(interrupted);
        let mut grid = Grid { images: vec![None; count], first: None, failed: Vec::new() };
        for (i, command) in commands.iter().enumerate() {
            studio.more = i + 1 < count;
            eprintln!("{} of {count}: {}", i + 1, cells.label(i));
            let mut sink = |drawn: Drawn| {
                grid.first.get_or_insert((drawn.seed, drawn.texts));
                grid.images[i] = Some(drawn.image);
                Ok(())
            };
            match studio.draw(command, &mut sink) {
                Err(AppError::Interrupted) => return Err(AppError::Interrupted),
                Err(error) => grid.fail(cells.label(i), error),
                Ok(()) => {}
            }
        }
        grid.write(&cells.axes, &output)
    })
}

/// The commands of the cells, row by row.
struct Cells {
    /// The flags that they share.
    flags: Vec<OsString>,
    prompt: String,
    axes: [Axis; 2],
    /// A random seed, if no flag names one.
    seed: Option<u64>,
}

impl Cells {
    fn new(args: &GridArgs, axes: [Axis; 2]) -> Result<Cells, AppError> {
        let words = &args.words;
        let prompt = words.prompt.as_ref().or(words.prompt_flag.as_ref()).cloned().unwrap_or_default();
        if let Some(axis) = axes.iter().find(|axis| axis.flag == PROMPT)
            && !prompt.contains(&axis.values[0])
        {
            let line =
                format!("grid: {:?} is not in the prompt; it is what the others stand for", axis.values[0]);
            return Err(AppError::BadInput(line));
        }
        let matches = Args::command().get_matches_from(std::env::args_os());
        let grid = matches.subcommand().map(|(_, grid)| grid).expect("the command that runs");
        let mut flags = given(grid, &axes);
        let has_seed = words.drawing.sampling.seed.is_some() || axes.iter().any(|axis| axis.flag == "seed");
        // One for all, or they would differ in that, too.
        let seed = (!has_seed).then(random_seed);
        flags.extend(seed.map(|seed| format!("--seed={seed}").into()));
        Ok(Cells { flags, prompt, axes, seed })
    }

    /// An axis's flag with its value in a cell.
    fn values(&self, cell: usize) -> impl Iterator<Item = (&Axis, &str)> {
        let [x, y] = &self.axes;
        let columns = x.values.len();
        let at = [(x, cell % columns), (y, cell / columns)];
        at.into_iter()
            .filter(|(axis, _)| !axis.flag.is_empty())
            .map(|(axis, i)| (axis, axis.values[i].as_str()))
    }

    fn label(&self, cell: usize) -> String {
        self.values(cell).map(|(axis, value)| axis.label(value)).collect::<Vec<_>>().join(", ")
    }

    /// Reads the command line that draws a cell alone.
    fn command(&self, cell: usize) -> Result<Txt2imgArgs, AppError> {
        let mut line = vec!["latent".into(), "txt2img".into()];
        line.extend(self.flags.iter().cloned());
        let mut prompt = self.prompt.clone();
        for (axis, value) in self.values(cell) {
            match axis.flag.as_str() {
                PROMPT => prompt = prompt.replace(&axis.values[0], value),
                flag => line.push(format!("--{flag}={value}").into()),
            }
        }
        line.push(format!("--prompt={prompt}").into());
        match Args::read(line) {
            Ok(Args { command: Command::Txt2img(args) }) => Ok(*args),
            Ok(_) => Err(AppError::BadInput(format!("grid: {} is no flag of txt2img", self.label(cell)))),
            Err(error) => {
                Err(AppError::BadInput(format!("grid: {}: {}", self.label(cell), one_line(&error))))
            }
        }
    }
}

/// The flags of a command line that are txt2img's, but for the axes'.
fn given(matches: &ArgMatches, axes: &[Axis]) -> Vec<OsString> {
    let command = Args::command();
    let txt2img = command.find_subcommand("txt2img").expect("a command of this program");
    let mut flags = Vec::new();
    for arg in txt2img.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| *long != PROMPT) else { continue };
        let id = arg.get_id().as_str();
        let added = matches!(arg.get_action(), ArgAction::Append);
        let is_axis = axes.iter().any(|axis| axis.flag == long);
        if !is_given(matches, id) || (is_axis && !added) {
            continue;
        }
        if !arg.get_action().takes_values() {
            flags.push(format!("--{long}").into());
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            let mut flag = OsString::from(format!("--{long}="));
            flag.push(value);
            flags.push(flag);
        }
    }
    flags
}

/// The images that are there.
struct Grid {
    images: Vec<Option<Image>>,
    /// Seed of the first, and what its file would tell.
    first: Option<(u64, Texts)>,
    failed: Vec<AppError>,
}

impl Grid {
    fn fail(&mut self, label: String, error: AppError) {
        eprintln!("latent: {}", Plain(&format!("{label}: {error}")));
        self.failed.push(error);
    }

    /// Writes what there is. An error, if anything is lacking.
    fn write(mut self, axes: &[Axis; 2], output: &Output) -> Result<(), AppError> {
        let count = self.images.len();
        if let Some((seed, texts)) = self.first.take() {
            let labels = |axis: &Axis| match axis.flag.as_str() {
                "" => Vec::new(),
                _ => axis.values.iter().map(|value| axis.label(value)).collect(),
            };
            let [above, before] = axes.each_ref().map(labels);
            let columns = axes[0].values.len();
            let sheet = ImageGrid { cells: self.images, columns, above, before };
            let path = output.path(0, seed);
            crate::warn(output.write(&path, &sheet.image(), &told(texts, axes))?);
            tell(&path, &format!("seed {seed}"));
        }
        match (self.failed.len(), self.failed.into_iter().next()) {
            (failed, Some(error)) if failed < count => {
                Err(AppError::RunTime(format!("grid: {failed} of {count} images are missing: {error}")))
            }
            (_, Some(error)) => Err(error),
            (_, None) => Ok(()),
        }
    }
}

/// What the file tells: how the first image was made, and what differs in the others.
fn told([(keyword, mut parameters), (own, json)]: Texts, axes: &[Axis; 2]) -> Texts {
    parameters.push_str(", Script: X/Y/Z plot");
    let mut grid = json!({});
    for (name, axis) in ["X", "Y"].iter().zip(axes).filter(|(_, axis)| !axis.flag.is_empty()) {
        let values = Value::from(axis.values.join(","));
        parameters.push_str(&format!(", {name} Type: {}, {name} Values: {values}", axis.flag));
        grid[name.to_lowercase()] = json!({ "flag": axis.flag, "values": axis.values });
    }
    // The text is this program's own.
    let mut json: Value = serde_json::from_str(&json).unwrap_or_default();
    json["grid"] = grid;
    [(keyword, parameters), (own, json.to_string())]
}
