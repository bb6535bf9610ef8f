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
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum vectors of an embedding. Files in use have up to 75; more would not fit a chunk of a prompt.
const MAX_VECTORS: usize = 1024;

/// Beginning of the names of the tensors of textual inversions that a LoRA file bundles: `bundle_emb.NAME.`
pub(crate) const BUNDLED: &str = "bundle_emb.";

/// What follows the name of a bundled textual inversion, which may contain dots.
const BUNDLED_ENDINGS: [&str; 4] = [".string_to_param.*", ".emb_params", ".clip_l", ".clip_g"];

/// An opened file of a textual inversion, or one that a LoRA bundles: what its header contains, checked. Its values are read
/// when a model takes it.
#[derive(Debug)]
pub struct TextualInversion {
    checkpoint: Arc<Checkpoint>,
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
        let checkpoint = Arc::new(checkpoint);
        let all = checkpoint.tensors().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        TextualInversion::of(name, &checkpoint, all)
    }

    /// Those that are bundled in a LoRA file, in the order of their names.
    ///
    /// # Errors
    /// As [`TextualInversion::open`].
    pub(crate) fn bundled(checkpoint: &Arc<Checkpoint>) -> Result<Vec<TextualInversion>, Error> {
        let mut found: BTreeMap<&str, Vec<(&str, &TensorInfo)>> = BTreeMap::new();
        for tensor in checkpoint.tensors() {
            let Some(rest) = tensor.name.strip_prefix(BUNDLED) else { continue };
            let ending = BUNDLED_ENDINGS.iter().find_map(|ending| rest.strip_suffix(ending));
            let name = ending.or(rest.split_once('.').map(|(name, _)| name)).unwrap_or(rest);
            let below = rest[name.len()..].trim_start_matches('.');
            found.entry(name).or_default().push((below, tensor));
        }
        found.into_iter().map(|(name, all)| TextualInversion::of(name, checkpoint, all)).collect()
    }

    /// From tensors, each with the name that it has in a file of its own.
    fn of(
        name: &str,
        checkpoint: &Arc<Checkpoint>,
        all: Vec<(&str, &TensorInfo)>,
    ) -> Result<TextualInversion, Error> {
        let wrong = |reason: String| Err(wrong(checkpoint, reason));
        let pair: Vec<_> = all.iter().filter(|(name, _)| matches!(*name, "clip_l" | "clip_g")).collect();
        let single: Vec<_> = all.iter().filter(|(name, _)| is_single(name)).collect();
        let found: Vec<(&str, &TensorInfo)> = match (&pair[..], &single[..], &all[..]) {
            ([_, ..], _, _) => pair.into_iter().copied().collect(),
            ([], [one], _) => vec![**one],
            ([], [], [one]) if one.1.shape.len() <= 2 => vec![*one],
            ([], [], _) => {
                return wrong(
                    "is not a textual inversion: it holds neither emb_params nor clip_l and clip_g".into(),
                );
            }
            ([], [first, second, ..], _) => {
                return wrong(format!(
                    "holds several words, {:?} and {:?}; one file holds one word",
                    first.0, second.0
                ));
            }
        };
        let mut tables = Vec::new();
        let mut vectors = None;
        for (_, tensor) in &found {
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
        let own = found.iter().map(|(tensor, _)| *tensor).filter(|tensor| tensor.starts_with('<'));
        let names = [name].into_iter().chain(own.filter(|own| *own != name)).map(str::to_owned).collect();
        let checkpoint = checkpoint.clone();
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
