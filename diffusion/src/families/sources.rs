//! A model whose parts come from several files.

use super::family::Family;
use super::model_parts::named_scale;
use super::probe::index::{QWEN3, T5, TEXT, TEXT_2, UNET, VAE};
use super::probe::{Evidence, Probe, file_name};
use super::{registry, text_encoders};
use crate::Error;
use crate::tensor_names::prefixes::TensorPart;
use crate::text::LanguageModelRole;
use latent_loader::{Checkpoint, CheckpointPart};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Table whose width is that of a text encoder, below its scope.
const TOKEN_TABLE: &str = "text_model.embeddings.token_embedding.weight";

/// Where the parts of a model come from. Each checkpoint may be of any layout and contain more than is taken from it.
#[derive(Debug, Default)]
pub struct Sources {
    /// The model: whole, or with parts that are lacking or replaced.
    pub model: Option<Checkpoint>,
    /// Contains the UNet or transformer, in place of the model's.
    pub unet: Option<Checkpoint>,
    /// Contains the VAE, in place of the model's.
    pub vae: Option<Checkpoint>,
    /// Contain text encoders, in place of the model's. Their names and widths decide which is which.
    pub text_encoders: Vec<Checkpoint>,
    /// Another model, which gives what is still lacking.
    pub parts_from: Option<Checkpoint>,
}

/// A model's parts as one checkpoint.
#[derive(Debug)]
#[non_exhaustive]
pub struct JoinedModel {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Lines about files that seem to be of another family, though nothing in them proves it.
    pub doubts: Vec<String>,
}

impl Sources {
    /// Makes one checkpoint of the parts. [`Model::detect`](super::Model::detect) checks whether it is whole.
    ///
    /// # Errors
    /// A file that does not contain the part that it is given for, or one for a UNet of another kind.
    pub fn join(self) -> Result<JoinedModel, Error> {
        let Sources { model, unet, vae, text_encoders, parts_from } = self;
        let is_alone = unet.is_none() && vae.is_none() && text_encoders.is_empty() && parts_from.is_none();
        let (main, model) = match (unet, model) {
            (Some(unet), model) => (unet, model),
            (None, Some(model)) if is_alone => {
                return Ok(JoinedModel { checkpoint: model, doubts: Vec::new() });
            }
            (None, Some(model)) => (model, None),
            (None, None) => {
                let reason = "neither a model nor a UNet is given".to_owned();
                return Err(Error::setting(crate::Setting::Model, reason));
            }
        };
        let main = probe(main);
        let mut join = PartsJoin::of(&main)?;
        // The first piece has precedence; the UNet's file gives the label and the metadata.
        let rest = join.add_main(main);
        if let Some(vae) = vae {
            join.add_vae(probe(vae))?;
        }
        for encoder in text_encoders {
            join.add_text_encoder(probe(encoder))?;
        }
        // Next to a model, a file that is given for its UNet gives nothing else.
        if model.is_none() {
            join.keep(rest);
        }
        for other in [model, parts_from].into_iter().flatten() {
            join.add_rest(probe(other))?;
        }
        join.check_text_widths()?;
        Ok(JoinedModel { checkpoint: Checkpoint::joined(join.pieces), doubts: join.doubts })
    }
}

fn probe(checkpoint: Checkpoint) -> Probe {
    Probe::of(&Arc::new(checkpoint))
}

/// New names of what a checkpoint gives, and its names there.
type NameMap = BTreeMap<String, String>;

/// Pieces on their way to one checkpoint.
struct PartsJoin {
    family: &'static Family,
    /// Scopes of the family's text encoders, and the width that each must have where the network shows it.
    texts: Vec<(&'static str, Option<usize>)>,
    latent_channels: Option<usize>,
    pieces: Vec<CheckpointPart>,
    /// Scopes that a piece gives.
    taken: Vec<&'static str>,
    doubts: Vec<String>,
}

impl PartsJoin {
    /// Scopes that files besides the UNet's can give.
    const SCOPES: [&'static str; 5] = [TEXT, TEXT_2, T5, QWEN3, VAE];

    fn of(unet: &Probe) -> Result<PartsJoin, Error> {
        let family = unet.require_family()?;
        let by_unet = unet.index().dim(&format!("{UNET}conv_out.weight"), 0);
        Ok(PartsJoin {
            family,
            texts: texts(family, unet),
            latent_channels: by_unet.or(Some(family.latent_format.channels)),
            pieces: Vec::new(),
            taken: Vec::new(),
            doubts: Vec::new(),
        })
    }

    /// Adds the UNet of a checkpoint, with the markers and tables of its schedule. Gives the names of its other parts.
    fn add_main(&mut self, probe: Probe) -> NameMap {
        let is_other = |name: &String| PartsJoin::SCOPES.iter().any(|scope| name.starts_with(scope));
        let (rest, mut tensors): (NameMap, NameMap) =
            probe.index().names_in_file().into_iter().partition(|(name, _)| is_other(name));
        let is_kept = |part: &TensorPart| matches!(part, TensorPart::Schedule | TensorPart::Other);
        let unplaced = probe.index().unplaced().iter().filter(|(part, _)| is_kept(part));
        tensors.extend(unplaced.map(|(_, tensor)| (tensor.name.clone(), tensor.name.clone())));
        let mut configs: NameMap =
            ["unet", "vae", "scheduler", "model_index"].map(|name| (name.to_owned(), name.to_owned())).into();
        if probe.checkpoint().config("").is_some() {
            configs.insert("unet".to_owned(), String::new());
        }
        self.add(probe, tensors, configs);
        rest
    }

    fn add(&mut self, probe: Probe, tensors: NameMap, configs: NameMap) {
        let checkpoint = Arc::into_inner(probe.into_checkpoint()).expect("the probe alone held it");
        self.pieces.push(CheckpointPart { checkpoint, tensors, configs });
    }

    /// Adds the other parts of the UNet's file that no file replaces.
    fn keep(&mut self, mut rest: NameMap) {
        let scopes = self.untaken();
        rest.retain(|name, _| scopes.iter().any(|scope| name.starts_with(scope)));
        self.taken.extend(scopes.iter().filter(|scope| rest.keys().any(|name| name.starts_with(**scope))));
        self.pieces[0].tensors.extend(rest);
    }

    fn untaken(&self) -> Vec<&'static str> {
        PartsJoin::SCOPES.into_iter().filter(|scope| !self.taken.contains(scope)).collect()
    }

    fn add_vae(&mut self, probe: Probe) -> Result<(), Error> {
        if !probe.index().has(VAE) {
            return Err(probe.refuse("holds no VAE".into()));
        }
        let tensors = tensors_of(&probe, VAE, VAE);
        self.check_vae(&probe)?;
        self.taken.push(VAE);
        let configs = config_of(probe.checkpoint(), "vae");
        self.add(probe, tensors, configs);
        // The configuration is that of the file that gives the VAE.
        self.pieces[0].configs.remove("vae");
        Ok(())
    }

    /// Refuses a VAE of other latents than the UNet's, as far as its file shows.
    fn check_vae(&mut self, probe: &Probe) -> Result<(), Error> {
        let needed = self.family.label;
        // Those of packed latents, or else of the decoder.
        let channels = probe.index().dim("vae.bn.running_mean", 0);
        let channels = channels.or_else(|| probe.index().dim("vae.decoder.conv_in.weight", 1));
        if let (Some(channels), Some(wanted)) = (channels, self.latent_channels)
            && channels != wanted
        {
            return Err(probe.refuse(format!(
                "is a VAE of latents of {channels} channels, and the UNet's have {wanted}; give a VAE for {needed}"
            )));
        }
        let own = self.family.latent_format;
        let is_same = |family: &Family| own.has_scale(family.latent_format.scale);
        // The channels are the model's, as far as they show.
        let has_channels = |family: &&Family| family.latent_format.channels == own.channels;
        let config = named_scale(probe.checkpoint());
        let by_scale = |scale: f32| {
            registry::families().filter(has_channels).find(|family| family.latent_format.has_scale(scale))
        };
        let has_unet = probe.index().has(UNET);
        let proven = config.and_then(by_scale).or(probe.supported_family().filter(|_| has_unet));
        if let Some(family) = proven.filter(|family| !is_same(family)) {
            return Err(probe.refuse(format!(
                "holds the VAE of {}, whose latents have another scale; give a VAE for {needed}",
                family.label
            )));
        }
        if proven.is_none()
            && let Some((family, evidence)) = family_by_words(probe.checkpoint())
            && has_channels(&family)
            && !is_same(family)
        {
            self.doubts.push(format!(
                "{}: seems to be a VAE for {}, by {evidence}; the model is of {needed}, so colours may be wrong",
                probe.checkpoint().label(),
                family.label
            ));
        }
        Ok(())
    }

    fn add_text_encoder(&mut self, probe: Probe) -> Result<(), Error> {
        if !probe.index().has_text() {
            return Err(probe.refuse("holds no text encoder".into()));
        }
        let width = |scope: &str| probe.index().dim(&format!("{scope}{TOKEN_TABLE}"), 1);
        let found: Vec<_> =
            [TEXT, TEXT_2].into_iter().filter_map(|scope| Some((scope, width(scope)?))).collect();
        let mut tensors = NameMap::new();
        let mut taken = Vec::new();
        // What a large one is, its names show.
        for scope in [T5, QWEN3] {
            if probe.index().has(scope) && self.texts.iter().any(|(wanted, _)| *wanted == scope) {
                tensors.extend(tensors_of(&probe, scope, scope));
                taken.push(scope);
            }
        }
        for (scope, width) in &found {
            let fits = |(scope, wanted): &&(&'static str, Option<usize>)| {
                ![T5, QWEN3].contains(scope) && wanted.is_none_or(|wanted| wanted == *width)
            };
            // Where both encoders have the same width, or the network does not show it, the name decides.
            let same_name = self.texts.iter().filter(fits).find(|(wanted, _)| wanted == scope);
            let Some((wanted, _)) =
                same_name.or_else(|| self.texts.iter().filter(|(_, wanted)| wanted.is_some()).find(fits))
            else {
                continue;
            };
            tensors.extend(tensors_of(&probe, scope, wanted));
            taken.push(*wanted);
        }
        if taken.is_empty() {
            return Err(match found.first() {
                Some((_, width)) => self.wrong_width(probe.checkpoint().label(), *width),
                None => self.unknown_encoder(&probe),
            });
        }
        if let Some(twice) = taken.iter().find(|scope| self.taken.contains(scope)) {
            let which = match *twice {
                TEXT => "the first text encoder",
                TEXT_2 => "the second text encoder",
                T5 => "a T5",
                _ => "a Qwen3",
            };
            let reason = format!("is {which}, which another file gives already");
            return Err(probe.refuse(reason));
        }
        self.taken.extend(taken);
        self.add(probe, tensors, NameMap::new());
        Ok(())
    }

    /// The error of a file with a large text encoder that the family does not have.
    fn unknown_encoder(&self, probe: &Probe) -> Error {
        let what = if probe.index().has(T5) { "a T5" } else { "a Qwen3" };
        probe.refuse(format!(
            "holds {what}, a text encoder that {} does not have; leave it out",
            self.family.label
        ))
    }

    fn wrong_width(&self, file: &str, width: usize) -> Error {
        let widths: Vec<_> =
            self.texts.iter().filter_map(|(_, width)| Some(width.as_ref()?.to_string())).collect();
        let label = self.family.label;
        let reason = match &widths[..] {
            [] => format!("holds a text encoder that {label} does not have"),
            widths => {
                let widths = widths.join(" and ");
                format!("holds a text encoder of width {width}, and the UNet of {label} needs {widths}")
            }
        };
        Error::Unsupported { file: file.to_owned(), reason }
    }

    /// Adds what another model has of the parts that are still lacking.
    fn add_rest(&mut self, probe: Probe) -> Result<(), Error> {
        let mut tensors = NameMap::new();
        let mut configs = NameMap::new();
        for scope in self.untaken().into_iter().filter(|scope| probe.index().has(scope)) {
            if scope == VAE {
                self.check_vae(&probe)?;
                configs = config_of(probe.checkpoint(), "vae");
            } else if !self.texts.iter().any(|(wanted, _)| *wanted == scope) {
                continue;
            }
            tensors.extend(tensors_of(&probe, scope, scope));
            self.taken.push(scope);
        }
        self.add(probe, tensors, configs);
        Ok(())
    }

    /// Refuses text encoders of other models.
    fn check_text_widths(&self) -> Result<(), Error> {
        for piece in &self.pieces {
            for (scope, wanted) in &self.texts {
                let table = piece.tensors.get(&format!("{scope}{TOKEN_TABLE}"));
                let shape = table.and_then(|name| piece.checkpoint.get(name)).map(|tensor| &tensor.shape);
                let width = shape.and_then(|shape| shape.get(1).copied());
                if let Some(width) = width.filter(|width| wanted.is_some_and(|wanted| *width != wanted)) {
                    return Err(self.wrong_width(piece.checkpoint.label(), width));
                }
            }
        }
        Ok(())
    }
}

/// The scopes of a family's text encoders, and the width that each must have where the network shows it.
fn texts(family: &Family, network: &Probe) -> Vec<(&'static str, Option<usize>)> {
    let shape = network.unet_shape();
    if network.index().has_unet() {
        let widths =
            text_encoders::widths(family.text_encoders, shape.context_dim.unwrap_or(0), shape.added_dim);
        return widths.into_iter().map(|(scope, width)| (scope, Some(width))).collect();
    }
    let clip = family.text_encoders.iter().map(|role| role.scope_with_dot);
    let language = family.language_model.map(|role| match role {
        LanguageModelRole::T5 { .. } => T5,
        LanguageModelRole::Qwen3(_) => QWEN3,
    });
    clip.chain(language).map(|scope| (scope, None)).collect()
}

/// Names in the file of a scope's tensors, by canonical names of another scope.
fn tensors_of(probe: &Probe, scope: &str, wanted: &str) -> NameMap {
    let tensors = probe.index().below(scope);
    tensors.map(|(name, tensor)| (format!("{wanted}{name}"), tensor.name.clone())).collect()
}

/// A component's configuration: its own folder's, or the one in a model's folder.
fn config_of(checkpoint: &Checkpoint, component: &str) -> NameMap {
    let own = if checkpoint.config("").is_some() { "" } else { component };
    NameMap::from([(component.to_owned(), own.to_owned())])
}

/// The family that the words in a VAE's metadata or in its file's name mean.
fn family_by_words(checkpoint: &Checkpoint) -> Option<(&'static Family, Evidence)> {
    // From the last family to the first: names of the later ones are longer ("sdxl" contains "sd").
    let find =
        |is_meant: &dyn Fn(&Family) -> bool| registry::families().rev().find(|family| is_meant(family));
    let architecture = checkpoint.metadata().get("modelspec.architecture").map(|text| text.to_lowercase());
    if let Some(text) = architecture
        && let Some(family) =
            find(&|family| family.words.architectures.iter().any(|word| text.contains(word)))
    {
        return Some((family, Evidence::Metadata));
    }
    let words = file_name(checkpoint);
    let family = find(&|family| words.iter().any(|word| (family.words.is_vae_word)(word)))?;
    Some((family, Evidence::FileName))
}
