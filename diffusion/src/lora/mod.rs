//! LoRA (Hu et al. 2021, <https://arxiv.org/abs/2106.09685>) and its relatives: small files that change a model's layers.
//!
//! A [`Lora`] holds factors of what is added to weights: `W + weight * alpha / rank * up * down`. [`Merge`] says which
//! factors belong to which weight of a model; the sum is made in `f32` whenever a weight is read, so that the model's
//! file stays as it is. LoCon (convolutions), LoHa and LoKr (<https://arxiv.org/abs/2309.14859>) are other products.

mod factors;
mod merge;
mod names;
mod roles;
mod tags;

pub use merge::{Applied, Merge};
pub use tags::{Tag, take_tags};

use crate::Error;
use factors::Factors;
use latent_loader::Checkpoint;
use roles::Role;
use std::collections::BTreeMap;

/// Largest size of an alpha; real ones are at most about the rank.
const MAX_ALPHA: f32 = 65536.0;

/// An opened LoRA file: what its header tells, found sound. Its numbers are read when they are added.
#[derive(Debug)]
pub struct Lora {
    checkpoint: Checkpoint,
    /// Sorted by name.
    modules: Vec<Module>,
    /// Tensors that are of no known kind.
    others: Vec<String>,
}

/// What is added to one weight.
#[derive(Debug)]
struct Module {
    /// Its name in the file.
    name: String,
    factors: Factors,
    /// `alpha / rank`, or 1.
    scale: f32,
}

impl Lora {
    /// Reads names, shapes and alphas, and checks that they fit together.
    ///
    /// # Errors
    /// [`Error::Lora`]: a file that is no LoRA, lacks a factor, or whose factors cannot be multiplied.
    pub fn open(checkpoint: Checkpoint) -> Result<Lora, Error> {
        let mut found: BTreeMap<&str, BTreeMap<Role, &str>> = BTreeMap::new();
        let mut others = Vec::new();
        for tensor in checkpoint.tensors() {
            match roles::split(&tensor.name) {
                Some((module, role)) => {
                    if let Some(twice) = found.entry(module).or_default().insert(role, &tensor.name) {
                        let reason = format!("{twice:?} and {:?} are the same factor", tensor.name);
                        return Err(wrong(&checkpoint, reason));
                    }
                }
                None => others.push(tensor.name.clone()),
            }
        }
        let modules = found.iter().map(|(name, roles)| Module::new(&checkpoint, name, roles));
        let modules = modules.collect::<Result<Vec<_>, Error>>()?;
        if modules.is_empty() {
            return Err(wrong(
                &checkpoint,
                "is no LoRA: no tensor has a name of one, such as lora_down".into(),
            ));
        }
        Ok(Lora { checkpoint, modules, others })
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.checkpoint.label()
    }

    /// How many weights it changes in a model that has all of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Never: such a file is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// The models that it seems to be for, from the width of the text that its cross-attentions read.
    #[must_use]
    pub fn base(&self) -> Option<&'static str> {
        let is_key = |name: &str| name.ends_with("attn2_to_k") || name.ends_with("attn2.to_k");
        let width = self.modules.iter().find(|m| is_key(&m.name)).map(|m| m.factors.dims()[1]);
        match width {
            Some(768) => Some("Stable Diffusion 1.x"),
            Some(1024) => Some("Stable Diffusion 2.x"),
            Some(2048) => Some("SDXL"),
            Some(1280) => Some("the SDXL refiner"),
            Some(_) => None,
            None if self.modules.iter().any(|m| m.name.starts_with("lora_te2_")) => Some("SDXL"),
            None if self.modules.iter().any(|m| m.name.contains("double_blocks")) => Some("Flux"),
            None => None,
        }
    }

    /// Adds `weight` times the change of a module to a weight.
    fn add(&self, module: usize, weight: f32, to: &mut [f32]) -> Result<(), Error> {
        let module = &self.modules[module];
        module.factors.add(&self.checkpoint, weight * module.scale, to)
    }
}

impl Module {
    fn new(checkpoint: &Checkpoint, name: &str, roles: &BTreeMap<Role, &str>) -> Result<Module, Error> {
        let explain = |reason: String| wrong(checkpoint, format!("{name}: {reason}"));
        let factors = Factors::new(checkpoint, roles).map_err(explain)?;
        let scale = match (roles.get(&Role::Alpha), factors.rank()) {
            (Some(tensor), Some(rank)) => alpha(checkpoint, tensor)? / rank as f32,
            _ => 1.0,
        };
        Ok(Module { name: name.to_owned(), factors, scale })
    }
}

/// Reads an alpha, a single number.
fn alpha(checkpoint: &Checkpoint, tensor: &str) -> Result<f32, Error> {
    if checkpoint.get(tensor).is_none_or(|info| info.elements() != 1) {
        return Err(wrong(checkpoint, format!("{tensor} is not a single number")));
    }
    let value = checkpoint.read(tensor)?.to_f32()?[0];
    if value.is_finite() && value.abs() <= MAX_ALPHA {
        return Ok(value);
    }
    Err(wrong(
        checkpoint,
        format!("{tensor} is {value}; at most {MAX_ALPHA} is sensible, so the file is damaged"),
    ))
}

fn wrong(checkpoint: &Checkpoint, reason: String) -> Error {
    Error::Lora { file: checkpoint.label().to_owned(), reason }
}
