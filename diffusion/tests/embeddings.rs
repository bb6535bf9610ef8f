//! Textual inversion: the layouts of files, where words stand in a prompt, and what is refused.

use crate::made;
use latent_diffusion::embeddings::{LearnedEmbeddings, TextualInversion};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::prompt::{Chunk, encode, encode_with};
use latent_diffusion::text::{TextActivation, TextConfig, TextPart};
use latent_diffusion::tokenizer::{END, VOCABULARY};
use latent_diffusion::{Pipeline, Settings};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A file of tensors of ones: name and shape.
fn file(label: &str, tensors: &[(&str, &[usize])]) -> Checkpoint {
    let ones = |shape: &[usize]| vec![1.0; shape.iter().product()];
    let entries: Vec<_> = tensors.iter().map(|(name, shape)| (*name, *shape, ones(shape))).collect();
    made::file(label, &entries)
}

fn part(width: usize) -> TextPart {
    let config = TextConfig {
        vocabulary: 49408,
        width,
        layers: 2,
        mlp_width: 4 * width,
        activation: TextActivation::QuickGelu,
    };
    TextPart {
        scope: "text_encoder",
        config,
        padding: END,
        skip: 1,
        final_norm: true,
        pooled: false,
        projected: false,
    }
}

/// LearnedEmbeddings of this many vectors each, for a text encoder of width 4.
fn words(named: &[(&str, usize)]) -> LearnedEmbeddings {
    let open = |(name, n): &(&str, usize)| {
        Arc::new(TextualInversion::open(name, file(name, &[("emb_params", &[*n, 4])])).unwrap())
    };
    LearnedEmbeddings::new(&named.iter().map(open).collect::<Vec<_>>(), &[part(4)], "small").unwrap()
}

fn ids(chunk: &Chunk) -> Vec<u32> {
    chunk.ids[1..].iter().copied().take_while(|id| *id != END).collect()
}

/// The first chunk's ids of a prompt, learned ones counted from 0.
fn learned(prompt: &str, words: &LearnedEmbeddings) -> Vec<u32> {
    let chunks = encode_with(prompt, END, words);
    ids(&chunks[0]).iter().filter_map(|id| id.checked_sub(VOCABULARY)).collect()
}

#[test]
fn every_layout_of_one_encoder() {
    for name in ["emb_params", "<cat-toy>", "*", "string_to_param.*", "whatever"] {
        let file = TextualInversion::open("stem", file("f", &[(name, &[3, 4])])).unwrap();
        assert_eq!(file.vectors(), 3, "{name}");
        let words = LearnedEmbeddings::new(&[Arc::new(file)], &[part(4)], "small").unwrap();
        assert_eq!(words.table(0), [1.0; 12], "{name}");
        assert_eq!(learned("a stem", &words), [0, 1, 2], "{name}");
    }
    let flat = TextualInversion::open("stem", file("f", &[("<x>", &[4])])).unwrap();
    assert_eq!((flat.vectors(), flat.names()), (1, &["stem".to_owned(), "<x>".to_owned()][..]));
}

#[test]
fn two_encoders_take_a_table_each() {
    let xl = || file("xl", &[("clip_g", &[2, 6]), ("clip_l", &[2, 4])]);
    let open = |file| Arc::new(TextualInversion::open("xl", file).unwrap());
    let words = LearnedEmbeddings::new(&[open(xl())], &[part(4), part(6)], "SDXL").unwrap();
    assert_eq!((words.table(0).len(), words.table(1).len()), (8, 12));
    let message = |file, parts: &[TextPart]| {
        let line = LearnedEmbeddings::new(&[open(file)], parts, "big").unwrap_err().to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    };
    let line = message(xl(), &[part(4)]);
    assert!(
        line.starts_with("xl: ") && line.contains("width 6 and 4") && line.ends_with("the width 4"),
        "{line}"
    );
    let line = message(file("one", &[("emb_params", &[1, 4])]), &[part(4), part(6)]);
    assert!(line.contains("width 4") && line.contains("big model") && line.ends_with("4 and 6"), "{line}");
    let line = message(file("one", &[("emb_params", &[1, 5])]), &[part(4)]);
    assert!(line.contains("width 5") && line.ends_with("width 4"), "{line}");
}

#[test]
fn what_is_no_word_is_refused() {
    let error = |tensors: &[(&str, &[usize])]| {
        TextualInversion::open("x", file("bad", tensors)).unwrap_err().to_string()
    };
    assert!(error(&[("a", &[1, 4]), ("b", &[1, 4])]).contains("is not a textual inversion"));
    assert!(error(&[("<a>", &[1, 4]), ("<b>", &[1, 4])]).contains("several words"));
    assert!(error(&[("emb_params", &[0, 4])]).contains("not 1 to"));
    assert!(error(&[("emb_params", &[1, 1, 4])]).contains("[1, 1, 4]"));
    assert!(error(&[("clip_l", &[1, 4]), ("clip_g", &[2, 6])]).contains("different numbers"));
    let one = || Arc::new(TextualInversion::open("Same", file("one", &[("emb_params", &[1, 4])])).unwrap());
    let two = Arc::new(TextualInversion::open("same", file("two", &[("emb_params", &[1, 4])])).unwrap());
    let error = LearnedEmbeddings::new(&[one(), two], &[part(4)], "small").unwrap_err().to_string();
    assert!(error.starts_with("two: another"), "{error}");
}

#[test]
fn names_are_found_as_whole_words_the_longest_first() {
    let words = words(&[("bad", 1), ("bad-hands", 2), ("Bad-Hands-5", 1), ("<cat>", 1)]);
    assert_eq!(learned("bad", &words), [0]);
    assert_eq!(learned("BAD-hands, x", &words), [1, 2]);
    assert_eq!(learned("bad-hands-5 bad-hands", &words), [3, 1, 2]);
    assert!(learned("a badge, abad, catalogue", &words).is_empty());
    assert_eq!(learned("embedding:bad embedding:bad-hands-5.safetensors", &words), [0, 3]);
    assert_eq!(ids(&encode_with("embedding:bad", END, &words)[0]).len(), 1);
    assert_eq!(learned("a <cat>", &words), [4]);
    assert_eq!(encode_with("a cat", END, &words), encode("a cat", END));
}

#[test]
fn a_weight_is_that_of_all_vectors() {
    let chunk = &encode_with("a (word:1.5) b", END, &words(&[("word", 3)]))[0];
    assert_eq!(chunk.weights[1..7], [1.0, 1.5, 1.5, 1.5, 1.0, 1.0]);
}

#[test]
fn a_word_is_cut_only_if_no_chunk_holds_it() {
    let words = words(&[("ten", 10), ("vast", 80)]);
    let chunks = encode_with(&("cat ".repeat(70) + "ten dog"), END, &words);
    assert_eq!([ids(&chunks[0]).len(), ids(&chunks[1]).len()], [70, 11]);
    let chunks = encode_with(&("cat ".repeat(65) + "ten"), END, &words);
    assert_eq!((chunks.len(), ids(&chunks[0]).len()), (1, 75));
    let chunks = encode_with("cat vast", END, &words);
    assert_eq!([ids(&chunks[0]).len(), ids(&chunks[1]).len()], [75, 6]);
}

#[test]
fn an_image_follows_a_learned_word_in_both_prompts() {
    let mut pipeline =
        Pipeline::open(Checkpoint::from_bytes("demo", latent_demo::DEMO.unwrap()).unwrap()).unwrap();
    let width = pipeline.model().text[0].config.width;
    let word = TextualInversion::open("word", file("word", &[("emb_params", &[2, width])])).unwrap();
    let word = Arc::new(word);
    let settings = Settings::default().with_steps(2).with_seeds(vec![1]);
    let mut draw = |embeddings: &[Arc<TextualInversion>], prompt: &str, negative: &str| {
        pipeline.set_embeddings(embeddings).unwrap();
        pipeline.text_to_image(prompt, negative, &settings, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let with = std::slice::from_ref(&word);
    let without = draw(&[], "a word", "");
    assert_ne!(draw(with, "a word", ""), without);
    assert_ne!(draw(with, "a word", "word"), draw(with, "a word", ""));
    assert_eq!(draw(&[], "a word", ""), without);
    let wrong = TextualInversion::open("word", file("wrong", &[("emb_params", &[2, width + 1])])).unwrap();
    assert!(pipeline.set_embeddings(&[Arc::new(wrong)]).is_err());
}
