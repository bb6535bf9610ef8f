//! The layout of diffusers: a folder for each part, with a configuration next to its weights.

use super::planned::{PlannedTensor, WeightPiece};
use super::text_encoder::{self, EncoderNaming};
use super::{ConvertOptions, PlannedFile, TextFile, config, metadata};
use crate::Error;
use crate::families::{Model, Probe};
use crate::text::TextPart;
use crate::tokenizer::{self, CONTEXT, Tokenizer};
use latent_loader::Config;

/// The files of weights, and the other files.
pub(super) fn files(
    model: &Model,
    probe: &Probe,
    options: &ConvertOptions,
) -> Result<(Vec<PlannedFile>, Vec<TextFile>), Error> {
    let checkpoint = probe.checkpoint();
    let (scheduler, scheduler_config) = config::scheduler(model);
    let mut texts = vec![
        json_file("model_index.json", &config::index(model, scheduler)),
        json_file("scheduler/scheduler_config.json", &scheduler_config),
        json_file("unet/config.json", &config::unet(model)?),
        json_file("vae/config.json", &config::vae(model)),
    ];
    let mut files = vec![
        PlannedFile {
            path: "unet/diffusion_pytorch_model.safetensors".to_owned(),
            metadata: metadata::of_unet(model, probe, options),
            tensors: below(model, "unet.", options),
        },
        PlannedFile {
            path: "vae/diffusion_pytorch_model.safetensors".to_owned(),
            metadata: metadata::of_component(checkpoint, "vae"),
            tensors: vae(model, options),
        },
    ];
    for part in &model.text {
        let layers = layers(model, part);
        let scope = format!("{}.", part.scope);
        let kept = (layers, part.pooled);
        files.push(PlannedFile {
            path: format!("{}/model.safetensors", part.scope),
            metadata: metadata::of_component(checkpoint, part.scope),
            tensors: text_encoder::tensors(
                &model.weights,
                &scope,
                "",
                EncoderNaming::Transformers,
                kept,
                options.target(),
            ),
        });
        texts.push(json_file(&format!("{}/config.json", part.scope), &config::text(part, layers)));
        texts.extend(tokenizer_files(part));
    }
    Ok((files, texts))
}

fn json_file(path: &str, config: &Config) -> TextFile {
    TextFile { path: path.to_owned(), text: format!("{config:#}\n") }
}

/// Tensors below a scope under their canonical names, which are those of diffusers.
fn below(model: &Model, scope: &str, options: &ConvertOptions) -> Vec<PlannedTensor> {
    let names = model.weights.names().filter_map(|name| name.strip_prefix(scope));
    names
        .filter_map(|name| {
            let pieces = vec![WeightPiece::whole(&format!("{scope}{name}"))];
            PlannedTensor::weight(&model.weights, name.to_owned(), pieces, options.target())
        })
        .collect()
}

/// The VAE. Its attention's layers are linear there.
fn vae(model: &Model, options: &ConvertOptions) -> Vec<PlannedTensor> {
    let mut tensors = below(model, "vae.", options);
    for tensor in tensors.iter_mut().filter(|tensor| tensor.name.contains(".attentions.")) {
        tensor.shape.truncate(2);
    }
    tensors
}

/// Layers of an encoder in a folder. Where the hidden states go through the final norm, diffusers takes them after the last
/// layer: layers that the model leaves out are not there (SD 2.x).
fn layers(model: &Model, part: &TextPart) -> usize {
    if part.final_norm {
        return part.config.layers;
    }
    let below = model.weights.scope(part.scope);
    below.names().filter_map(text_encoder::layer).max().map_or(0, |last| last + 1)
}

/// `CLIPTokenizer`. All of Stable Diffusion shares its vocabulary, but not the token that fills up a prompt.
fn tokenizer_files(part: &TextPart) -> Vec<TextFile> {
    let folder = config::tokenizer(part);
    let vocabulary = Tokenizer::vocabulary();
    let piece = |id: u32| vocabulary[id as usize].as_str();
    let (start, end) = (piece(tokenizer::START), piece(tokenizer::END));
    let special = Config::from([
        ("bos_token", start.into()),
        ("eos_token", end.into()),
        ("unk_token", end.into()),
        ("pad_token", piece(part.padding).into()),
    ]);
    let mut config = special.clone();
    config.set("add_prefix_space", false);
    config.set("clean_up_tokenization_spaces", true);
    config.set("do_lower_case", true);
    config.set("model_max_length", CONTEXT);
    config.set("tokenizer_class", "CLIPTokenizer");
    let ids: Config = (0u32..).zip(&vocabulary).map(|(id, piece)| (piece.clone(), id.into())).collect();
    vec![
        json_file(&format!("{folder}/tokenizer_config.json"), &config),
        json_file(&format!("{folder}/special_tokens_map.json"), &special),
        TextFile { path: format!("{folder}/vocab.json"), text: ids.to_string() },
        TextFile { path: format!("{folder}/merges.txt"), text: Tokenizer::merges() },
    ]
}
