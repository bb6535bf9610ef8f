//! What is read at most. Real files stay far below.

/// Maximum length of a header, in bytes: ten times that of the largest models.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Maximum number of dimensions of a tensor: convolutions have 4, video models 5.
pub const MAX_RANK: usize = 8;
/// Maximum length of a name, in bytes; real ones stay under 200.
pub const MAX_NAME_BYTES: usize = 1024;
/// Maximum number of tensors of a file or folder; the largest models have some thousands.
pub const MAX_TENSORS: usize = 100_000;
/// Maximum number of metadata entries; trainers write about a hundred.
pub const MAX_METADATA_ENTRIES: usize = 10_000;

/// Maximum length of a configuration, in bytes: real ones have a few thousand.
pub(crate) const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Maximum number of sub-folders that are looked at; a pipeline has about seven.
pub(crate) const MAX_COMPONENTS: usize = 64;
/// Maximum number of shards of a component: 256 of 5 GB.
pub(crate) const MAX_SHARDS: usize = 256;
