//! Several checkpoints as one: the parts of a model that are in files of their own.

use crate::files::CheckpointFiles;
use crate::tensor_form::TensorForm;
use crate::{Checkpoint, CheckpointLayout, TensorInfo};
use std::collections::BTreeMap;

/// What a joined checkpoint takes of one of several.
#[derive(Debug)]
pub struct CheckpointPart {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its tensors that are taken: new name, and name in the checkpoint.
    pub tensors: BTreeMap<String, String>,
    /// Its configurations that are taken: new component, and component in the checkpoint.
    pub configs: BTreeMap<String, String>,
}

impl Checkpoint {
    /// One checkpoint of parts of several, of layout [`CheckpointLayout::Joined`]. Of two tensors or configurations of the
    /// same new name, that of the earlier part is taken. Label and metadata are those of the first part; an error names
    /// the file of the tensor that it is about.
    ///
    /// # Panics
    /// If there are no parts.
    #[must_use]
    pub fn joined(parts: Vec<CheckpointPart>) -> Checkpoint {
        let first = &parts.first().expect("there is a part").checkpoint;
        let (label, mut whole) = (first.label().to_owned(), CheckpointFiles::new(first.access()));
        whole.metadata = first.metadata().clone();
        let mut tensors: BTreeMap<String, TensorInfo> = BTreeMap::new();
        for part in parts {
            let before = whole.sources.len();
            for (name, in_file) in part.tensors {
                if let Some(tensor) = part.checkpoint.get(&in_file)
                    && !tensors.contains_key(&name)
                {
                    let source = before + tensor.source;
                    let mut tensor = TensorInfo { name: name.clone(), source, ..tensor.clone() };
                    if let TensorForm::Scaled(scale) = &mut tensor.form {
                        scale.source += before;
                    }
                    tensors.insert(name, tensor);
                }
            }
            for (component, in_file) in part.configs {
                if let Some(config) = part.checkpoint.config(&in_file) {
                    whole.configs.entry(component).or_insert_with(|| config.clone());
                }
            }
            let files = part.checkpoint.into_files();
            whole.header_bytes += files.header_bytes;
            whole.file_bytes += files.file_bytes;
            whole.sources.extend(files.sources);
        }
        whole.tensors = tensors.into_values().collect();
        Checkpoint::new(label, CheckpointLayout::Joined, whole)
    }

    /// The file in which a tensor that is not there would be looked for: that of its neighbours of the same component.
    pub(crate) fn file_for(&self, name: &str) -> &str {
        let component = name.find('.').map_or(name, |dot| &name[..=dot]);
        let neighbour = self.tensors().find(|tensor| tensor.name.starts_with(component));
        match neighbour.filter(|_| self.layout() == CheckpointLayout::Joined) {
            Some(tensor) => self.file_of(tensor),
            None => self.label(),
        }
    }
}
