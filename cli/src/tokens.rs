//! `latent tokens`: what a prompt becomes before a text encoder sees it.

use crate::args::TokensArgs;
use crate::{model, print, words as learned};
use latent_app::AppError;
use latent_diffusion::embeddings::{LearnedEmbeddings, TextualInversion};
use latent_diffusion::families::Model;
use latent_diffusion::lora::{Tag, take_tags};
use latent_diffusion::prompt::{self, Chunk, PromptSchedule, Wildcards, subprompts};
use latent_diffusion::tokenizer::{END, Tokenizer, VOCABULARY};
use latent_loader::Access;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// Most steps of a run, as in [`latent_diffusion::Settings::steps`].
const MAX_STEPS: usize = 1000;

/// A prompt, taken apart.
struct Parts {
    prompt: String,
    /// Where wildcards made another one of it.
    template: Option<String>,
    loras: Vec<Tag>,
    subs: Vec<Sub>,
    encoders: Vec<Encoder>,
}

struct Sub {
    weight: f64,
    texts: Vec<Text>,
}

struct Text {
    text: String,
    /// The first and the last of the steps in a row in which it is.
    steps: Vec<[usize; 2]>,
    chunks: Vec<Vec<Token>>,
}

struct Token {
    id: u32,
    piece: String,
    weight: f32,
}

/// A text encoder of the model.
struct Encoder {
    width: usize,
    layers: usize,
    padding: u32,
}

/// Takes a prompt apart and prints it.
pub(crate) fn run(args: &TokensArgs) -> Result<(), AppError> {
    let parts = Parts::of(args)?;
    if args.json { print(&format!("{:#}\n", parts.json(args.steps))) } else { print(&parts.text(args.steps)) }
}

impl Parts {
    fn of(args: &TokensArgs) -> Result<Parts, AppError> {
        if args.steps == 0 || args.steps > MAX_STEPS {
            return Err(AppError::BadInput(format!("steps: {} is not in 1 to {MAX_STEPS}", args.steps)));
        }
        let given = args.prompt.as_ref().or(args.prompt_flag.as_ref()).map_or("", String::as_str);
        let (mut prompt, mut template) = (given.to_owned(), None);
        if let Some(folder) = &args.words.wildcards {
            [prompt] = Wildcards::open(folder)?.resolve([given], args.seed)?;
            template = Some(given.to_owned()).filter(|template| *template != prompt);
        }
        let (bare, loras) = take_tags(&prompt)?;
        let model = match &args.model {
            Some(path) => {
                let file = model::open(Some(path), args.models_dir.as_deref(), Access::Read)?;
                Some(Model::detect(&Arc::new(file.checkpoint))?)
            }
            None => None,
        };
        let files = learned::open(&args.words, &[&bare])?;
        let words = match (&model, &files[..]) {
            (_, []) => LearnedEmbeddings::default(),
            (Some(model), files) => LearnedEmbeddings::new(files, &model.text, model.family.label)?,
            (None, _) => {
                let line = "embedding: is for one kind of model; name the model with -m";
                return Err(AppError::BadInput(line.into()));
            }
        };
        let encoders = model.iter().flat_map(|model| &model.text).map(|part| Encoder {
            width: part.config.width,
            layers: part.config.layers,
            padding: part.padding,
        });
        let encoders: Vec<Encoder> = encoders.collect();
        let padding = encoders.first().map_or(END, |encoder| encoder.padding);
        let pieces = Pieces::new(&files);
        let mut subs = Vec::new();
        for sub in subprompts(&bare)? {
            let schedule = PromptSchedule::new(sub.text, args.steps)?;
            let text = |(place, text): (usize, &String)| Text {
                text: text.clone(),
                steps: rows((1..=args.steps).filter(|step| schedule.place(*step) == place)),
                chunks: prompt::encode_with(text, padding, &words)
                    .iter()
                    .map(|chunk| pieces.tokens(chunk, padding))
                    .collect(),
            };
            let texts = schedule.texts().iter().enumerate().map(text).collect();
            subs.push(Sub { weight: sub.weight, texts });
        }
        Ok(Parts { prompt, template, loras, subs, encoders })
    }

    fn text(&self, steps: usize) -> String {
        let mut out = String::new();
        if self.template.is_some() {
            let _ = writeln!(out, "prompt {:?}", self.prompt);
        }
        for Tag { name, weight, text_weight } in &self.loras {
            let _ = writeln!(
                out,
                "LoRA {name:?}, weight {weight} in the UNet, {text_weight} in the text encoders"
            );
        }
        for Encoder { width, layers, padding } in &self.encoders {
            let _ = writeln!(
                out,
                "text encoder of width {width} and {layers} layers, fills up with token {padding}"
            );
        }
        for (i, Sub { weight, texts }) in self.subs.iter().enumerate() {
            if self.subs.len() > 1 {
                let _ = writeln!(out, "prompt {} of {}, weight {weight}", i + 1, self.subs.len());
            }
            for Text { text, steps: rows, chunks } in texts {
                if texts.len() > 1 {
                    let rows = rows.iter().map(|[from, to]| match from == to {
                        true => from.to_string(),
                        false => format!("{from}-{to}"),
                    });
                    let _ =
                        writeln!(out, "steps {} of {steps}: {text:?}", rows.collect::<Vec<_>>().join(", "));
                } else {
                    let _ = writeln!(out, "{text:?}");
                }
                for (i, tokens) in chunks.iter().enumerate() {
                    let _ =
                        writeln!(out, "  chunk {} of {}: {} of 75 tokens", i + 1, chunks.len(), tokens.len());
                    for Token { id, piece, weight } in tokens {
                        let weight =
                            if *weight == 1.0 { String::new() } else { format!("  weight {weight}") };
                        let _ = writeln!(out, "    {id:>5}  {piece}{weight}");
                    }
                }
            }
        }
        out
    }

    fn json(&self, steps: usize) -> Value {
        let token = |Token { id, piece, weight }: &Token| json!({"id": id, "piece": piece, "weight": weight});
        let chunk = |tokens: &Vec<Token>| tokens.iter().map(token).collect::<Value>();
        let text = |Text { text, steps, chunks }: &Text| json!({"text": text, "steps": steps, "chunks": chunks.iter().map(chunk).collect::<Value>()});
        let sub = |Sub { weight, texts }: &Sub| json!({"weight": weight, "texts": texts.iter().map(text).collect::<Value>()});
        let lora = |Tag { name, weight, text_weight }: &Tag| json!({"name": name, "unet_weight": weight, "text_weight": text_weight});
        let encoder = |Encoder { width, layers, padding }: &Encoder| json!({"width": width, "layers": layers, "padding": padding});
        json!({
            "prompt": self.prompt,
            "template": self.template,
            "steps": steps,
            "loras": self.loras.iter().map(lora).collect::<Value>(),
            "text_encoders": self.encoders.iter().map(encoder).collect::<Value>(),
            "subprompts": self.subs.iter().map(sub).collect::<Value>(),
        })
    }
}

/// Steps as the first and last of those in a row.
fn rows(steps: impl Iterator<Item = usize>) -> Vec<[usize; 2]> {
    let mut rows: Vec<[usize; 2]> = Vec::new();
    for step in steps {
        match rows.last_mut() {
            Some([_, last]) if *last + 1 == step => *last = step,
            _ => rows.push([step, step]),
        }
    }
    rows
}

/// How tokens are written.
struct Pieces {
    vocabulary: Vec<String>,
    /// A name for each id of a learned word.
    learned: Vec<String>,
}

impl Pieces {
    fn new(files: &[Arc<TextualInversion>]) -> Pieces {
        let names = |file: &Arc<TextualInversion>| {
            let name = file.names().first().cloned().unwrap_or_default();
            (1..=file.vectors()).map(move |vector| format!("{name:?} vector {vector}"))
        };
        Pieces { vocabulary: Tokenizer::vocabulary(), learned: files.iter().flat_map(names).collect() }
    }

    /// The tokens of a chunk without start, end and what fills it up.
    fn tokens(&self, chunk: &Chunk, padding: u32) -> Vec<Token> {
        let is_last = |id: &u32| *id != padding;
        let end = chunk.ids.iter().rposition(is_last).unwrap_or(0);
        // Where the end's own token fills up, the last is one of the prompt.
        let end = if padding == END { end + 1 } else { end };
        let tokens = chunk.ids.iter().zip(&chunk.weights).take(end).skip(1);
        tokens.map(|(id, weight)| Token { id: *id, piece: self.piece(*id), weight: *weight }).collect()
    }

    fn piece(&self, id: u32) -> String {
        let learned = id.checked_sub(VOCABULARY).and_then(|place| self.learned.get(place as usize));
        learned.or(self.vocabulary.get(id as usize)).cloned().unwrap_or_default()
    }
}
