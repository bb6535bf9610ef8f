//! The program's integration tests, as one test binary: it links the program's libraries once.
//!
//! `bad_files` is a binary of its own, because it measures the processes that it starts.
//! A new file of tests needs a line here; `.ci/rules` reports one that is missing.

mod common;

mod adapters;
mod addon_names;
mod bad_input;
mod bench;
mod control;
mod convert;
mod doctor;
mod enlarged;
mod f8;
mod faults;
mod few_steps;
mod fuzz_replay;
mod fuzz_seeds;
mod gguf;
mod gpu;
mod grid;
mod hidden_characters;
mod images;
mod inspect;
mod inspect_manifests;
mod killed;
mod klein;
mod light_controls;
mod lora;
mod lora_forms;
mod metadata;
mod models;
mod not_finite;
mod odd_models;
mod odd_prompts;
mod opacity;
mod outputs;
mod pickles;
mod precision;
mod prompt_files;
mod prompts;
mod replay;
mod samplers;
mod sdxl;
mod seeds;
mod serve;
mod streams;
mod sweep;
mod threads;
mod transformers;
mod upscale;
mod variation;
mod words;
