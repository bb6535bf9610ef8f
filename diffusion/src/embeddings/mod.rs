//! Textual inversion (Gal et al. 2022, <https://arxiv.org/abs/2208.01618>): words that were learned from images.
//!
//! A [`TextualInversion`] is a small file of vectors, which take the place of a word's vectors from the token table.
//! [`LearnedEmbeddings`] are those of a model: their names are found among the tokens of a prompt and replaced by ids past
//! the vocabulary, which the text encoders look up in the files' vectors.

mod learned;
mod names;

pub use learned::LearnedEmbeddings;
pub use names::named;

use crate::Error;
use latent_loader::{Checkpoint, TensorInfo};

/// Maximum vectors of an embedding. Files in use have up to 75; more would not fit a chunk of a prompt.
const MAX_VECTORS: usize = 1024;

/// An opened file of a textual inversion: what its header contains, checked. Its values are read when a model takes it.
#[derive(Debug)]
pub struct TextualInversion {
    checkpoint: Checkpoint,
    names: Vec<String>,
    vectors: usize,
    /// Names of its tensors and the width of their vectors: one for each text encoder.
    tables: Vec<(String, usize)>,
}

impl TextualInversion {
    /// Reads names and shapes. `name` is how prompts call it, which is the file's stem; where the file has a name of its own
    /// (`<cat-toy>`), that is understood too.
    ///
    /// # Errors
    /// [`Error::Embedding`]: a file that is not a textual inversion, contains several, or whose parts do not fit together.
    pub fn open(name: &str, checkpoint: Checkpoint) -> Result<TextualInversion, Error> {
        let wrong = |reason: String| Err(wrong(&checkpoint, reason));
        let all: Vec<&TensorInfo> = checkpoint.tensors().collect();
        let pair: Vec<_> = all.iter().filter(|t| matches!(t.name.as_str(), "clip_l" | "clip_g")).collect();
        let single: Vec<_> = all.iter().filter(|tensor| is_single(&tensor.name)).collect();
        let found: Vec<&TensorInfo> = match (&pair[..], &single[..], &all[..]) {
            ([_, ..], _, _) => pair.into_iter().copied().collect(),
            ([], [one], _) => vec![one],
            ([], [], [one]) if one.shape.len() <= 2 => vec![one],
            ([], [], _) => {
                return wrong(
                    "is not a textual inversion: it holds neither emb_params nor clip_l and clip_g".into(),
                );
            }
            ([], [first, second, ..], _) => {
                let (first, second) = (&first.name, &second.name);
                return wrong(format!(
                    "holds several words, {first:?} and {second:?}; one file holds one word"
                ));
            }
        };
        let mut tables = Vec::new();
        let mut vectors = None;
        for tensor in found {
            let (rows, width) = match tensor.shape[..] {
                [width] => (1, width),
                [rows, width] => (rows, width),
                _ => (0, 0),
            };
            if !tensor.dtype.is_weight() || rows == 0 || width == 0 || rows > MAX_VECTORS {
                return wrong(format!(
                    "{:?} is {} {:?}, not 1 to {MAX_VECTORS} vectors",
                    tensor.name,
                    tensor.dtype.header_name(),
                    tensor.shape
                ));
            }
            if *vectors.get_or_insert(rows) != rows {
                return wrong("clip_l and clip_g have different numbers of vectors".into());
            }
            tables.push((tensor.name.clone(), width));
        }
        let own = tables.iter().map(|(tensor, _)| tensor.as_str()).filter(|tensor| tensor.starts_with('<'));
        let names = [name].into_iter().chain(own.filter(|own| *own != name)).map(str::to_owned).collect();
        Ok(TextualInversion { names, vectors: vectors.unwrap_or(0), tables, checkpoint })
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.checkpoint.label()
    }

    /// How prompts call it.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of tokens that it takes in a prompt.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.vectors
    }

    /// Its vectors for a text encoder of this width, one after the other; `None` if it has none.
    fn read(&self, width: usize) -> Result<Option<Vec<f32>>, Error> {
        let Some((name, _)) = self.tables.iter().find(|(_, own)| *own == width) else { return Ok(None) };
        let raw = self.checkpoint.read(name)?;
        if let Some(index) = raw.find_non_finite() {
            let reason = format!("tensor {name:?} is NaN or infinite at index {index}; the file is damaged");
            return Err(wrong(&self.checkpoint, reason));
        }
        Ok(Some(raw.to_f32()?))
    }

    /// The error for a model whose text encoders have these widths.
    fn other_family(&self, label: &str, widths: &[usize]) -> Error {
        let list = |widths: Vec<String>| widths.join(" and ");
        let own = list(self.tables.iter().map(|(_, width)| width.to_string()).collect());
        let widths = list(widths.iter().map(usize::to_string).collect());
        let reason = format!(
            "is a textual inversion of width {own}, and the text encoders of this {label} model have the width {widths}"
        );
        wrong(&self.checkpoint, reason)
    }
}

/// Names of the tensor in files of one text encoder: the webui's, its old ones, diffusers'.
fn is_single(name: &str) -> bool {
    name == "emb_params" || name == "*" || name.starts_with('<') || name.starts_with("string_to_param")
}

fn wrong(checkpoint: &Checkpoint, reason: String) -> Error {
    Error::Embedding { file: checkpoint.label().to_owned(), reason }
}
