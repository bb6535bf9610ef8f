//! By what something about a checkpoint was found out.

use std::fmt;

/// By what something about a checkpoint was found out. Displayed, it is a phrase such as "the metadata".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// The configuration of a folder's scheduler.
    SchedulerConfig,
    /// The configuration of a folder's pipeline.
    ModelConfig,
    /// The metadata in the file's header.
    Metadata,
    /// The presence of a marker tensor.
    MarkerTensor,
    /// The standard deviation of a norm's biases.
    NormSpread,
    /// The embedding of the guidance scale in the UNet.
    GuidanceEmbedding,
    /// The name of the file.
    FileName,
    /// Nothing in the file: what is usual in its family.
    FamilyDefault,
}

impl Evidence {
    /// A phrase for people: "the metadata".
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Evidence::SchedulerConfig => "the scheduler's configuration",
            Evidence::ModelConfig => "the pipeline's configuration",
            Evidence::Metadata => "the metadata",
            Evidence::MarkerTensor => "a mark among the tensors",
            Evidence::NormSpread => "the spread of the last attention's norm",
            Evidence::GuidanceEmbedding => "its guidance embedding",
            Evidence::FileName => "the file's name",
            Evidence::FamilyDefault => "what is usual in its family",
        }
    }

    /// Whether the evidence is in the tensors and metadata of the file, and not in its name or in files next to it.
    pub(crate) fn is_in_file(self) -> bool {
        !matches!(self, Evidence::FileName | Evidence::SchedulerConfig | Evidence::ModelConfig)
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
