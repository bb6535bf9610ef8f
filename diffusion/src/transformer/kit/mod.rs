//! The parts that diffusion transformers are built from (Peebles and Xie, Scalable Diffusion Models with Transformers, 2022;
//! Esser et al., Scaling Rectified Flow Transformers for High-Resolution Image Synthesis, 2024).
//!
//! An image is a sequence of tokens, one for each patch ([`patches`]), beside the tokens of its text ([`tokens`]). Each part says
//! what shapes it takes; `width` is the width of the network, `heads` times the width of a head.

mod attention;
mod embedding;
mod final_layer;
mod joint_block;
mod mlp;
mod modulation;
mod patches;
mod positions;
mod single_block;
mod tokens;

pub(super) use attention::{AttentionContext, AttentionShape, Projections, attend};
pub(super) use embedding::{EmbeddingMlp, SINUSOIDS, embedded_time};
pub(super) use final_layer::FinalLayer;
pub(super) use joint_block::{ImageModulations, JointBlock, JointBlockShape, Modulator, TextModulations};
pub(super) use mlp::MlpShape;
pub(super) use modulation::{Modulation, ShiftScale, SubLayer, chunks};
pub(super) use patches::{patchify, unpatchify};
pub(super) use positions::grid;
pub(super) use single_block::{SingleBlock, SingleBlockNames};
pub(super) use tokens::{batched, first_tokens, join, join_batch, repeated, sequence_dims};
