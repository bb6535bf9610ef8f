//! What each fuzz target does with an input, and what must hold whatever the input is: no panic, errors of one short
//! line, and what was read reads the same again.
//!
//! Nothing here needs a fuzzer: `cli/tests/fuzz_replay.rs` includes this file and runs it on the committed inputs.

#![allow(dead_code, reason = "the replay and the fuzzer each use all of it, the docs none")]

pub mod bytes;
pub mod folder;
pub mod gguf;
pub mod header;
pub mod image_file;
pub mod lora;
pub mod metadata;
pub mod pickle;
pub mod prompt;
pub mod tokenizer;

/// A target's name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 9] = [
    ("header", header::run),
    ("gguf", gguf::run),
    ("folder", folder::run),
    ("lora", lora::run),
    ("tokenizer", tokenizer::run),
    ("prompt", prompt::run),
    ("image", image_file::run),
    ("metadata", metadata::run),
    ("pickle", pickle::run),
];

/// Asserts what holds for the text of every error.
pub fn assert_one_line(error: &dyn std::fmt::Display) {
    let line = error.to_string();
    assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?}");
    assert!(line.len() < 16_000, "a message of {} bytes", line.len());
}
