//! Opens safetensors and GGUF checkpoints and the pickles of PyTorch strictly and hands out named weights. It knows file formats and
//! no models.
//!
//! These layouts are read: one `.safetensors` or `.gguf` file, told by its contents; a *diffusers folder*, in which each component of a model
//! (`unet`, `vae`, `text_encoder`, …) has a sub-folder with a `config.json` and one or several files of weights; the
//! folder of one such component, or of a PEFT adapter; and a model's folder in the Hugging Face cache. [`Checkpoint::joined`] makes one
//! checkpoint of parts of several.
//!
//! A checkpoint is a download from a stranger. Therefore:
//! - nothing in it is ever executed: the pickles of PyTorch are interpreted as data, and one that names anything but the
//!   parts of tensors is refused with what it names;
//! - no length in it is trusted: each is compared with the file before anything is allocated, every product and sum
//!   is checked, and the header is parsed by a visitor that counts as it goes;
//! - the same header never means two things: duplicate names, unknown fields, overlaps, holes and trailing bytes are
//!   refused, as the safetensors format asks and partly beyond what its own library checks;
//! - files are read by ranges, so that a file that shrinks under the program is an error and not a signal; mapping them is
//!   a choice with a price ([`Access::Map`]);
//! - no name in a folder leads out of it, and of a folder that nobody named ([`Checkpoint::open_fenced`]) no link does;
//! - every weight is checked for NaN and infinity when it is read.
//!
//! Opening reads headers only; each tensor is read when it is asked for. What can go wrong is a [`LoadError`]: one
//! line with the file, what was found in it, and what to do.
//!
//! # Example
//!
//! A checkpoint made in memory: 8 bytes of header length, the header, then the values.
//!
//! ```
//! use latent_loader::{Checkpoint, DType, Weights};
//! use std::sync::Arc;
//!
//! let header = br#"{"layer.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend_from_slice(header);
//! file.extend_from_slice(&1.5f32.to_le_bytes());
//! file.extend_from_slice(&(-2.0f32).to_le_bytes());
//!
//! let checkpoint = Checkpoint::from_bytes("tiny model", file)?;
//! assert_eq!(checkpoint.get("layer.weight").unwrap().dtype, DType::F32);
//!
//! // Layers ask for their weights below a scope, and say which shape they expect.
//! let layer = Weights::new(Arc::new(checkpoint)).scope("layer");
//! assert_eq!(layer.get("weight", &[2, 1])?.to_f32()?, [1.5, -2.0]);
//!
//! let error = layer.get("weight", &[3, 1]).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "tiny model: tensor \"layer.weight\" has shape [2, 1] where [3, 1] is needed; \
//!      the file is damaged or of another kind of model",
//! );
//! # Ok::<(), latent_loader::LoadError>(())
//! ```

#![deny(unsafe_code)]

mod adapter;
pub mod block_storage;
mod block_table;
mod byte_source;
mod bytes;
mod cache;
mod checkpoint;
mod config;
mod error;
mod files;
mod finite;
mod folder;
mod gguf;
mod header;
mod joined;
mod limits;
mod map;
mod pickle;
mod pieces;
mod problem;
mod raw;
mod read_buffer;
mod sandbox;
mod scaled;
mod shards;
mod sniff;
mod tensor_form;
mod text;
mod weights;
mod write;

pub use byte_source::ReadRange;
pub use bytes::Bytes;
pub use cache::cached_snapshot;
pub use checkpoint::Checkpoint;
pub use config::{Config, ConfigValue};
pub use error::LoadError;
pub use files::{Access, CheckpointLayout, TensorInfo};
pub use gguf::GgufProblem;
pub use joined::CheckpointPart;
pub use latent_dtype::{DType, F8};
pub use limits::{MAX_HEADER_BYTES, MAX_METADATA_ENTRIES, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS};
pub use pickle::{PickleProblem, RefusedGlobal};
pub use pieces::RunTasks;
pub use problem::HeaderProblem;
pub use raw::RawTensor;
pub use sniff::FileKind;
pub use text::{Plain, Quoted};
pub use weights::Weights;
pub use write::{NewTensor, Writer};

/// The example of the crate's README is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
