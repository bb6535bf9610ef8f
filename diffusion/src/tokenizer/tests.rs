//! What the golden rows do not show.

use super::*;
use latent_benches::growth::assert_linear;
use proptest::prelude::*;

/// Byte-pair encoding in its textbook form: find the best pair, merge it everywhere, repeat.
fn slow(bpe_ranks: impl Fn([u32; 2]) -> Option<u32>, mut ids: Vec<u32>) -> Vec<u32> {
    while let Some(rank) = ids.windows(2).filter_map(|pair| bpe_ranks([pair[0], pair[1]])).min() {
        let mut merged = Vec::new();
        let mut at = 0;
        while at < ids.len() {
            if at + 1 < ids.len() && bpe_ranks([ids[at], ids[at + 1]]) == Some(rank) {
                merged.push(512 + rank);
                at += 2;
            } else {
                merged.push(ids[at]);
                at += 1;
            }
        }
        ids = merged;
    }
    ids
}

proptest! {
    #[test]
    fn merging_by_a_queue_is_merging_from_the_start_again(word in "[a-zäé漢]{0,40}|[ab]{0,60}|[a-e]{1,30}") {
        let mut ids = Vec::new();
        let bpe = &Tokenizer::clip().bpe;
        bpe.encode(word.as_bytes(), &mut ids);
        let mut single: Vec<u32> = word.bytes().map(|byte| bpe.byte_id(byte)).collect();
        if let Some(last) = single.last_mut() {
            *last += 256;
        }
        prop_assert_eq!(ids, slow(|pair| bpe.rank(pair), single));
    }

    #[test]
    fn any_text_is_encoded_and_comes_back(text in "\\PC*") {
        let tokenizer = Tokenizer::clip();
        let ids = tokenizer.encode(&text);
        prop_assert!(ids.iter().all(|id| *id <= END));
        let letters = |text: &str| words::normalize(text).split_whitespace().collect::<String>();
        prop_assert_eq!(letters(&tokenizer.decode(&ids)), letters(&text));
    }
}

#[test]
fn a_text_fills_77_places() {
    let tokenizer = Tokenizer::clip();
    let ids = tokenizer.encode_padded("a cat", 0);
    assert_eq!(ids[..5], [START, 320, 2368, END, 0]);
    let long = tokenizer.encode_padded(&"cat ".repeat(100), END);
    assert_eq!((long[0], long[75], long[76]), (START, 2368, END));
}

#[test]
fn decoding_joins_words_and_skips_unknown_ids() {
    let tokenizer = Tokenizer::clip();
    let ids = tokenizer.encode("A red-haired <|endoftext|> woman's café");
    assert_eq!(tokenizer.decode(&ids), "a red - haired <|endoftext|> woman 's café");
    assert_eq!(tokenizer.decode(&[320, 50_000, u32::MAX]), "a");
    assert_eq!(tokenizer.decode(&[]), "");
}

#[test]
fn a_long_word_takes_linear_time() {
    let tokenizer = Tokenizer::clip();
    let encode = |word: &String| assert!(!tokenizer.encode(word).is_empty());
    assert_linear("one word", 20_000, |bytes| "ab".repeat(bytes / 2), encode);
}

/// Each was looked for to the end of the text.
#[test]
fn special_tokens_take_linear_time() {
    let encode = |text: &String| assert!(!Tokenizer::clip().encode(text).is_empty());
    for (special, _) in SPECIAL {
        assert_linear(special, 40_000, |bytes| special.repeat(bytes / special.len()), encode);
    }
    assert_linear("beginnings", 40_000, |bytes| "<|end".repeat(bytes / 5), encode);
    let ids = Tokenizer::clip().encode("<|<|endoftext|><|startoftext|>|>");
    assert_eq!(ids.iter().filter(|id| **id >= START).copied().collect::<Vec<_>>(), [END, START]);
}
