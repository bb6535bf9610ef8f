//! A model whose parts come from several files.

use super::contents::{Contents, TEXT, TEXT_2, UNET, VAE};
use super::identity::words;
use super::parts::named_scale;
use super::places::Part;
use super::{ALL, Base, Family, Model, text};
use crate::Error;
use latent_loader::{Checkpoint, Piece};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Table whose width is that of a text encoder, below its scope.
const TOKENS: &str = "text_model.embeddings.token_embedding.weight";

/// Where the parts of a model come from. Each checkpoint may be of any layout and hold more than is taken from it.
#[derive(Debug, Default)]
pub struct Sources {
    /// The model: whole, or with parts that are lacking or replaced.
    pub model: Option<Checkpoint>,
    /// Holds the UNet, in place of the model's.
    pub unet: Option<Checkpoint>,
    /// Holds the VAE, in place of the model's.
    pub vae: Option<Checkpoint>,
    /// Hold text encoders, in place of the model's. Their widths tell which is which.
    pub text_encoders: Vec<Checkpoint>,
    /// Another model, that gives what is still lacking.
    pub parts_from: Option<Checkpoint>,
}

/// A model's parts as one checkpoint.
#[derive(Debug)]
pub struct Joined {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Lines about files that seem to be of another family; nothing in them proves it.
    pub doubts: Vec<String>,
}

impl Model {
    /// Recognises a model of parts and reads their sizes. No weight is read.
    ///
    /// # Errors
    /// As [`Sources::join`] and [`Model::detect`].
    pub fn assemble(sources: Sources) -> Result<Model, Error> {
        Model::detect(&Arc::new(sources.join()?.checkpoint))
    }
}

impl Sources {
    /// Makes one checkpoint of the parts. Whether it is whole, [`Model::detect`] tells.
    ///
    /// # Errors
    /// A file that does not hold the part that it is given for, or one for a UNet of another kind.
    pub fn join(self) -> Result<Joined, Error> {
        let Sources { model, unet, vae, text_encoders, parts_from } = self;
        let is_alone = unet.is_none() && vae.is_none() && text_encoders.is_empty() && parts_from.is_none();
        let (main, model) = match (unet, model) {
            (Some(unet), model) => (unet, model),
            (None, Some(model)) if is_alone => return Ok(Joined { checkpoint: model, doubts: Vec::new() }),
            (None, Some(model)) => (model, None),
            (None, None) => {
                let reason = "neither a model nor a UNet is given".to_owned();
                return Err(Error::setting(crate::Setting::Model, reason));
            }
        };
        let mut join = Join::of(&main)?;
        // What comes first counts; the UNet's file gives the label and the metadata.
        let (piece, rest) = join.main(main);
        join.pieces.push(piece);
        if let Some(vae) = vae {
            join.add_vae(vae)?;
        }
        for encoder in text_encoders {
            join.add_text_encoder(encoder)?;
        }
        // Beside a model, a file that is given for its UNet gives nothing else.
        if model.is_none() {
            join.keep(rest);
        }
        for other in [model, parts_from].into_iter().flatten() {
            join.add_rest(other)?;
        }
        join.check_text_widths()?;
        Ok(Joined { checkpoint: Checkpoint::joined(join.pieces), doubts: join.doubts })
    }
}

/// New names of what a checkpoint gives, and its names there.
type Names = BTreeMap<String, String>;

/// Pieces on their way to one checkpoint.
struct Join {
    family: &'static Family,
    /// Scopes of the family's text encoders, and the width that each must have.
    texts: Vec<(String, usize)>,
    latent_channels: Option<usize>,
    pieces: Vec<Piece>,
    /// Scopes that a piece gives.
    taken: Vec<&'static str>,
    doubts: Vec<String>,
}

impl Join {
    /// Scopes that files beside the UNet's can give.
    const SCOPES: [&'static str; 3] = [TEXT, TEXT_2, VAE];

    fn of(unet: &Checkpoint) -> Result<Join, Error> {
        let family = Family::of(unet)?;
        let contents = Contents::of(unet);
        let dim = |name: &str, axis: usize| contents.shape(&format!("{UNET}{name}"))?.get(axis).copied();
        let context = contents.below(UNET).find(|(name, _)| name.ends_with(".attn2.to_k.weight"));
        let context = context.and_then(|(_, tensor)| tensor.shape.get(1).copied()).unwrap_or(0);
        Ok(Join {
            family,
            texts: text::widths(family.text, context, dim("add_embedding.linear_1.weight", 1)),
            latent_channels: dim("conv_out.weight", 0),
            pieces: Vec::new(),
            taken: Vec::new(),
            doubts: Vec::new(),
        })
    }

    /// The UNet of a checkpoint, with the marks and tables of its schedule; and the names of its other parts.
    fn main(&self, checkpoint: Checkpoint) -> (Piece, Names) {
        let contents = Contents::of(&checkpoint);
        let is_other = |name: &String| Join::SCOPES.iter().any(|scope| name.starts_with(scope));
        let (rest, mut tensors): (Names, Names) =
            contents.names().into_iter().partition(|(name, _)| is_other(name));
        let others = contents.others.iter().filter(|(part, _)| matches!(part, Part::Schedule | Part::Other));
        tensors.extend(others.map(|(_, tensor)| (tensor.name.clone(), tensor.name.clone())));
        let mut configs: Names =
            ["unet", "vae", "scheduler", "model_index"].map(|name| (name.to_owned(), name.to_owned())).into();
        if checkpoint.config("").is_some() {
            configs.insert("unet".to_owned(), String::new());
        }
        (Piece { checkpoint, tensors, configs }, rest)
    }

    /// Adds the other parts of the UNet's file that no file replaces.
    fn keep(&mut self, mut rest: Names) {
        let scopes = self.untaken();
        rest.retain(|name, _| scopes.iter().any(|scope| name.starts_with(scope)));
        self.taken.extend(scopes.iter().filter(|scope| rest.keys().any(|name| name.starts_with(**scope))));
        self.pieces[0].tensors.extend(rest);
    }

    fn untaken(&self) -> Vec<&'static str> {
        Join::SCOPES.into_iter().filter(|scope| !self.taken.contains(scope)).collect()
    }

    fn add_vae(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        let contents = Contents::of(&checkpoint);
        if !contents.has(VAE) {
            return Err(holds_no(&checkpoint, "VAE"));
        }
        let tensors = scope_of(&contents, VAE, VAE);
        self.check_vae(&contents)?;
        self.taken.push(VAE);
        self.pieces.push(Piece { tensors, configs: config_of(&checkpoint, "vae"), checkpoint });
        // The configuration is that of the file that gives the VAE.
        self.pieces[0].configs.remove("vae");
        Ok(())
    }

    /// Refuses a VAE of other latents than the UNet's, as far as its file tells.
    fn check_vae(&mut self, contents: &Contents<'_>) -> Result<(), Error> {
        let (checkpoint, needed) = (contents.checkpoint, self.family.label);
        let refuse = |reason| Err(Error::Unsupported { file: checkpoint.label().to_owned(), reason });
        let channels = contents.shape("vae.decoder.conv_in.weight").and_then(|shape| shape.get(1).copied());
        if let (Some(channels), Some(wanted)) = (channels, self.latent_channels)
            && channels != wanted
        {
            return refuse(format!(
                "is a VAE of latents of {channels} channels, and the UNet's have {wanted}; give a VAE for {needed}"
            ));
        }
        let same = |scale: f32| (scale - self.family.vae_scale).abs() < 1e-4;
        let beside = contents.has(UNET).then(|| Family::of(checkpoint).ok()).flatten();
        let config = named_scale(checkpoint);
        let known = |scale: f32| ALL.iter().find(|f| (f.vae_scale - scale).abs() < 1e-4);
        let proof = config.and_then(known).copied().or(beside);
        if let Some(family) = proof.filter(|family| !same(family.vae_scale)) {
            return refuse(format!(
                "holds the VAE of {}, whose latents have another scale; give a VAE for {needed}",
                family.label
            ));
        }
        if proof.is_none()
            && let Some((scale, by)) = seeming_scale(checkpoint)
            && !same(scale)
        {
            let of = if known(scale).is_some_and(|f| f.vae_scale < 0.15) { "SDXL" } else { "SD 1.x and 2.x" };
            self.doubts.push(format!(
                "{}: seems to be a VAE for {of}, told by {by}; the model is of {needed}, so colours may be wrong",
                checkpoint.label()
            ));
        }
        Ok(())
    }

    fn add_text_encoder(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        let contents = Contents::of(&checkpoint);
        if !contents.has_text() {
            return Err(holds_no(&checkpoint, "text encoder"));
        }
        let found: Vec<_> = [TEXT, TEXT_2]
            .into_iter()
            .filter_map(|scope| Some((scope, *contents.shape(&format!("{scope}{TOKENS}"))?.get(1)?)))
            .collect();
        let mut tensors = BTreeMap::new();
        let mut taken = Vec::new();
        for (scope, width) in &found {
            let fits = |(_, wanted): &&(String, usize)| wanted == width;
            // Where both encoders have the same width, the name tells.
            let same_name = self.texts.iter().filter(fits).find(|(wanted, _)| wanted == scope);
            let Some((wanted, _)) = same_name.or_else(|| self.texts.iter().find(fits)) else { continue };
            let wanted = if wanted == TEXT { TEXT } else { TEXT_2 };
            tensors.extend(scope_of(&contents, scope, wanted));
            taken.push(wanted);
        }
        if taken.is_empty() {
            return Err(self.wrong_width(checkpoint.label(), found.first().map_or(0, |(_, width)| *width)));
        }
        if let Some(twice) = taken.iter().find(|scope| self.taken.contains(scope)) {
            let which = if *twice == TEXT { "first" } else { "second" };
            let reason = format!("is the {which} text encoder, which another file gives already");
            return Err(Error::Unsupported { file: checkpoint.label().to_owned(), reason });
        }
        self.taken.extend(taken);
        self.pieces.push(Piece { checkpoint, tensors, configs: BTreeMap::new() });
        Ok(())
    }

    fn wrong_width(&self, file: &str, width: usize) -> Error {
        let widths: Vec<_> = self.texts.iter().map(|(_, width)| width.to_string()).collect();
        let reason = format!(
            "holds a text encoder of width {width}, and the UNet of {} needs {}",
            self.family.label,
            widths.join(" and ")
        );
        Error::Unsupported { file: file.to_owned(), reason }
    }

    /// What another model has of the parts that are still lacking.
    fn add_rest(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        let contents = Contents::of(&checkpoint);
        let mut tensors = BTreeMap::new();
        let mut configs = BTreeMap::new();
        for scope in self.untaken().into_iter().filter(|scope| contents.has(scope)) {
            if scope == VAE {
                self.check_vae(&contents)?;
                configs = config_of(&checkpoint, "vae");
            } else if !self.texts.iter().any(|(wanted, _)| wanted == scope) {
                continue;
            }
            tensors.extend(scope_of(&contents, scope, scope));
            self.taken.push(scope);
        }
        self.pieces.push(Piece { checkpoint, tensors, configs });
        Ok(())
    }

    /// Refuses text encoders of other models.
    fn check_text_widths(&self) -> Result<(), Error> {
        for piece in &self.pieces {
            for (scope, wanted) in &self.texts {
                let table = piece.tensors.get(&format!("{scope}{TOKENS}"));
                let shape = table.and_then(|name| piece.checkpoint.get(name)).map(|tensor| &tensor.shape);
                let width = shape.and_then(|shape| shape.get(1).copied());
                if let Some(width) = width.filter(|width| width != wanted) {
                    return Err(self.wrong_width(piece.checkpoint.label(), width));
                }
            }
        }
        Ok(())
    }
}

/// Names in the file of a scope's tensors, by canonical names of another scope.
fn scope_of(contents: &Contents<'_>, scope: &str, wanted: &str) -> Names {
    contents.below(scope).map(|(name, tensor)| (format!("{wanted}{name}"), tensor.name.clone())).collect()
}

/// A component's configuration: its own folder's, or the one in a model's folder.
fn config_of(checkpoint: &Checkpoint, component: &str) -> Names {
    let from = if checkpoint.config("").is_some() { "" } else { component };
    BTreeMap::from([(component.to_owned(), from.to_owned())])
}

fn holds_no(checkpoint: &Checkpoint, part: &str) -> Error {
    let reason = format!("holds no {part}");
    Error::Unsupported { file: checkpoint.label().to_owned(), reason }
}

/// The scale that the words in a VAE's metadata or in its file's name speak of.
fn seeming_scale(checkpoint: &Checkpoint) -> Option<(f32, &'static str)> {
    let scale = |base: Base| ALL.iter().find(|family| family.id == base.id()).map(|family| family.vae_scale);
    let told = checkpoint.metadata().get("modelspec.architecture").map(|text| text.to_lowercase());
    if let Some(base) = told.as_deref().and_then(|text| {
        let marks =
            [("xl", Base::Sdxl), ("stable-diffusion-v1", Base::Sd1), ("stable-diffusion-v2", Base::Sd2)];
        marks.into_iter().find(|(mark, _)| text.contains(mark)).map(|(_, base)| base)
    }) {
        return Some((scale(base)?, "the metadata"));
    }
    // The VAEs that were published for SD 1.x and 2.x, and others after them: vae-ft-mse-840000, kl-f8-anime2.
    const OLD: [&str; 5] = ["mse", "840000", "560000", "f8", "sd15"];
    let words = words(checkpoint);
    let by = "the file's name";
    if words.iter().any(|word| word.contains("sdxl") || word == "xl" || word == "pony") {
        return Some((scale(Base::Sdxl)?, by));
    }
    words.iter().any(|word| OLD.contains(&word.as_str())).then(|| Some((scale(Base::Sd1)?, by)))?
}
