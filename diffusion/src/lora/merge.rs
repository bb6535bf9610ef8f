//! Several LoRAs and one model: what is added to which weight.

use super::names::{self, KnownLayers, LoraTarget, TargetPlace};
use super::{Lora, LoraModule, Strength, transformer_layers};
use crate::Error;
use crate::params::layout::transpose;
use crate::params::{Params, WeightEdit};
use crate::tensor_names::lora_layers::LoraNetwork;
use crate::tensor_names::network_names::NetworkKind;
use latent_loader::{DType, RawTensor, Weights};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What the canonical names of a UNet begin with.
const UNET: &str = "unet.";
/// Largest absolute value of the weight of a LoRA.
const MAX_WEIGHT: f32 = 100.0;

/// What is added to the weights of a model when they are read, by canonical name.
#[derive(Debug, Default)]
pub struct Merge {
    changes: BTreeMap<String, Vec<WeightedModule>>,
}

/// A module of a LoRA, as it is added to one tensor.
#[derive(Debug)]
struct WeightedModule {
    lora: Arc<Lora>,
    module: usize,
    weight: f32,
    max_rank: Option<usize>,
    /// How the layer's weight is in the tensor.
    place: TargetPlace,
    /// Which rows of the layer these are.
    rows: Range<usize>,
}

/// What LoRAs are merged into.
struct MergedModel<'a> {
    weights: &'a Weights,
    known: KnownLayers,
    /// Its diffusion transformer, if it has one.
    transformer: Option<NetworkKind>,
    /// Whether it has a transformer or a UNet, and not text encoders alone.
    has_network: bool,
    /// What messages call it.
    label: &'a str,
}

/// The tensors that a module changes: each with its canonical name.
struct ChangedTensors<'a> {
    tensors: Vec<(String, &'a LoraTarget)>,
    /// Rows of the layer.
    rows: usize,
}

/// How much of a LoRA fits a model. It is displayed as `FILE: 190 of 192 applied`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The file.
    pub file: String,
    /// Weights that it changes.
    pub applied: usize,
    /// Weights that it would change.
    pub total: usize,
    /// Names in the file that fit no layer of the model.
    pub unmatched: Vec<String>,
}

impl Merge {
    /// Looks for the layers of each LoRA among a model's weights. `label` is what messages call the model. No values are
    /// read.
    ///
    /// # Errors
    /// [`Error::Lora`]: a LoRA that fits no layer, or whose shapes are those of another kind of model, or a weight outside of
    /// -100 to 100.
    pub fn new<S: Copy + Into<Strength>>(
        loras: &[(Arc<Lora>, S)],
        weights: &Weights,
        label: &str,
    ) -> Result<(Merge, Vec<Applied>), Error> {
        let mut known = names::known(weights);
        transformer_layers::add(&mut known, weights);
        let transformer = transformer_layers::kind(weights);
        let has_network = transformer.is_some() || weights.names().any(|name| name.starts_with(UNET));
        let model = MergedModel { weights, known, transformer, has_network, label };
        let (mut merge, mut reports) = (Merge::default(), Vec::new());
        for (lora, weight) in loras {
            let strength: Strength = (*weight).into();
            let is_wrong = |weight: &f32| weight.is_nan() || weight.abs() > MAX_WEIGHT;
            if let Some(weight) = [strength.unet, strength.text].into_iter().find(is_wrong) {
                let reason = format!("the weight {weight} must be -{MAX_WEIGHT} to {MAX_WEIGHT}");
                return Err(Error::Lora { file: lora.label().to_owned(), reason });
            }
            reports.push(merge.add(lora, strength, &model)?);
        }
        Ok((merge, reports))
    }

    fn add(
        &mut self,
        lora: &Arc<Lora>,
        strength: Strength,
        model: &MergedModel<'_>,
    ) -> Result<Applied, Error> {
        let mut unmatched = lora.others.clone();
        let mut applied = 0;
        let is_other = |network: &LoraNetwork| model.has_network && !network.may_fit(model.transformer);
        if let Some(network) = lora.network().filter(is_other) {
            let own = lora.family_label().unwrap_or(network.label());
            let line = format!("is a LoRA for {own}, which does not fit this {} model", model.label);
            return Err(Error::Lora { file: lora.label().to_owned(), reason: line });
        }
        for (index, module) in lora.modules.iter().enumerate() {
            let Some(ChangedTensors { tensors, rows }) = model.changed(lora, module)? else {
                let what = if module.is_bias { " (bias)" } else { "" };
                unmatched.push(format!("{}{what}", module.name));
                continue;
            };
            applied += 1;
            for (name, target) in tensors {
                let weight = strength.of(&name);
                if weight != 0.0 {
                    let (lora, place, max_rank) = (lora.clone(), target.place.clone(), strength.max_rank);
                    let rows = target.rows.clone().unwrap_or(0..rows);
                    let added = WeightedModule { lora, module: index, weight, max_rank, place, rows };
                    self.changes.entry(name).or_default().push(added);
                }
            }
        }
        if applied == 0 {
            let reason =
                format!("none of its {} layers is in the model, such as {}", lora.len(), unmatched[0]);
            return Err(other_family(lora, model.label, &reason));
        }
        let total = lora.modules.len();
        Ok(Applied { file: lora.label().to_owned(), applied, total, unmatched })
    }

    /// A weight with what is added to it, in `f32`; unchanged if nothing is.
    ///
    /// # Errors
    /// A LoRA that cannot be read, or a sum that is not finite.
    pub fn apply(&self, name: &str, raw: RawTensor) -> Result<RawTensor, Error> {
        let Some(changes) = self.changes.get(name) else { return Ok(raw) };
        let mut values = raw.to_f32()?;
        for added in changes {
            let (rows, len) = (raw.shape.first().copied().unwrap_or(1), values.len());
            let Lora { checkpoint, modules, .. } = &*added.lora;
            let change = &modules[added.module].change;
            let apply =
                |to: &mut [f32]| change.apply(checkpoint, added.weight, added.max_rank, &added.rows, to);
            let columns = len / rows.max(1);
            match &added.place {
                TargetPlace::Whole => apply(&mut values)?,
                TargetPlace::Rows(range) => {
                    apply(&mut values[range.start * columns..range.end * columns])?;
                }
                TargetPlace::Swapped => {
                    values.rotate_left(len / 2);
                    apply(&mut values)?;
                    values.rotate_left(len / 2);
                }
                TargetPlace::Transposed => {
                    let mut layer = transpose(&values, [rows, columns], 1);
                    apply(&mut layer)?;
                    values = transpose(&layer, [columns, rows], 1);
                }
            }
            if !values.iter().all(|value| value.is_finite()) {
                let reason = format!("{name} is NaN or infinite after it was added");
                return Err(Error::Lora { file: added.lora.label().to_owned(), reason });
            }
        }
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(RawTensor { dtype: DType::F32, shape: raw.shape, data: data.into() })
    }
}

impl MergedModel<'_> {
    /// What a module changes; `None` if the model lacks it.
    fn changed(&self, lora: &Lora, module: &LoraModule) -> Result<Option<ChangedTensors<'_>>, Error> {
        // Where a file does not say which text encoder it means, it is the one that its shapes fit.
        let mut named = names::lookup(&module.name).into_iter().filter_map(|name| {
            let targets = self.known.get(&name)?;
            let (tensors, shape) = names::found(targets, module.is_bias, self.weights)?;
            Some((targets, tensors, shape))
        });
        let Some(first) = named.next() else { return Ok(None) };
        let fits = |(.., shape): &(_, _, Vec<usize>)| module.change.fits(shape);
        let fitting = if fits(&first) { Some(first.clone()) } else { named.find(fits) };
        let Some((targets, tensors, shape)) = fitting else {
            let dims = module.change.dims().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string()));
            let (dims, shape) = (dims.join("x"), first.2);
            let reason = format!("{} changes {dims} where the model has {shape:?}", module.name);
            return Err(other_family(lora, self.label, &reason));
        };
        if targets.len() > 1 && !module.change.is_by_rows() {
            let reason = format!(
                "{} changes all rows of a layer together, which this model's file has as {} layers; give the model as a file of \
                 the original layout",
                module.name,
                targets.len()
            );
            return Err(Error::Lora { file: lora.label().to_owned(), reason });
        }
        Ok(Some(ChangedTensors { tensors: tensors.into_iter().zip(targets).collect(), rows: shape[0] }))
    }
}

impl WeightEdit for Merge {
    fn apply(&self, name: &str, raw: RawTensor) -> Result<RawTensor, Error> {
        Merge::apply(self, name, raw)
    }

    fn changes(&self, name: &str) -> bool {
        self.changes.contains_key(name)
    }
}

impl<'a> Params<'a> {
    /// The same layers, changed by LoRAs.
    #[must_use]
    pub fn merged(self, merge: Option<Arc<Merge>>) -> Params<'a> {
        self.edited(merge.map(|merge| merge as Arc<dyn WeightEdit>))
    }
}

fn other_family(lora: &Lora, label: &str, reason: &str) -> Error {
    let own = lora.family_label().map_or(String::new(), |own| format!("seems to be a LoRA for {own}; "));
    let reason = format!("{own}does not fit this {label} model: {reason}");
    Error::Lora { file: lora.label().to_owned(), reason }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {} applied", self.file, self.applied, self.total)?;
        let shown = self.unmatched.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        match self.unmatched.len() {
            0 => Ok(()),
            1..=3 => write!(f, "; no layer of the model fits {shown}"),
            n => write!(f, "; no layer of the model fits {shown} and {} more", n - 3),
        }
    }
}
