//! The integration tests of the crate, as one test binary: it is linked once.
//!
//! `goldens` is a binary of its own, because it has a `main` that prints a table.
//! A new file of tests needs a line here; `.ci/rules` reports one that is missing.

mod made;

mod batch;
mod blocks;
mod control;
mod convert;
mod drawing;
mod embeddings;
mod few_steps;
mod goldens_machinery;
mod gpu_faults;
mod gpu_memory;
mod gpu_work;
mod loading;
mod lora;
mod lora_kinds;
mod lora_merge;
mod masks;
mod prompts;
mod synthetic;
mod text_encoders;
mod token_merging;
mod tokenizers;
mod transformers;
mod upscalers;
mod variants;
