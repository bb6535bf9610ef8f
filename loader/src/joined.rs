//! Several checkpoints as one: the parts of a model that lie in files of their own.

use crate::checkpoint::Parts;
use crate::{Checkpoint, Layout, TensorInfo};
use std::collections::BTreeMap;

/// What one of several checkpoints gives to the whole.
#[derive(Debug)]
pub struct Piece {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its tensors that are taken: new name, and name in the checkpoint.
    pub tensors: BTreeMap<String, String>,
    /// Its configurations that are taken: new component, and component in the checkpoint.
    pub configs: BTreeMap<String, String>,
}

impl Checkpoint {
    /// One checkpoint of the pieces of several, of layout [`Layout::Joined`]. Of two tensors or configurations of the same
    /// new name, that of the earlier piece counts. Label and metadata are those of the first piece; an error tells the
    /// file of the tensor that it is about.
    ///
    /// # Panics
    /// Without any piece.
    #[must_use]
    pub fn joined(pieces: Vec<Piece>) -> Checkpoint {
        let first = &pieces.first().expect("there is a piece").checkpoint;
        let (label, mut whole) = (first.label().to_owned(), Parts::new(first.access()));
        whole.metadata = first.metadata().clone();
        let mut tensors: BTreeMap<String, TensorInfo> = BTreeMap::new();
        for piece in pieces {
            let before = whole.sources.len();
            for (name, in_file) in piece.tensors {
                if let Some(tensor) = piece.checkpoint.get(&in_file)
                    && !tensors.contains_key(&name)
                {
                    let source = before + tensor.source;
                    let tensor = TensorInfo { name: name.clone(), source, ..tensor.clone() };
                    tensors.insert(name, tensor);
                }
            }
            for (component, in_file) in piece.configs {
                if let Some(config) = piece.checkpoint.config(&in_file) {
                    whole.configs.entry(component).or_insert_with(|| config.clone());
                }
            }
            let parts = piece.checkpoint.into_parts();
            whole.header_bytes += parts.header_bytes;
            whole.file_bytes += parts.file_bytes;
            whole.sources.extend(parts.sources);
        }
        whole.tensors = tensors.into_values().collect();
        Checkpoint::new(label, Layout::Joined, whole)
    }

    /// The file in which a tensor that is not there would be looked for: that of its neighbours of the same component.
    pub(crate) fn file_for(&self, name: &str) -> &str {
        let component = name.find('.').map_or(name, |dot| &name[..=dot]);
        let neighbour = self.tensors().find(|tensor| tensor.name.starts_with(component));
        match neighbour.filter(|_| self.layout() == Layout::Joined) {
            Some(tensor) => self.file_of(tensor),
            None => self.label(),
        }
    }
}
