//! What the golden rows do not show.

use super::*;
use crate::tokenizer::words::CharClass;
use latent_benches::growth::assert_linear;
use proptest::prelude::*;

fn ids(text: &str) -> Vec<u32> {
    T5Tokenizer::built_in().encode(text).iter().map(|token| token.id).collect()
}

proptest! {
    #[test]
    fn any_text_has_tokens_in_order(text in "\\PC{0,30}|[a-z▁ <>/e\u{301}🦊]{0,40}") {
        let tokens = T5Tokenizer::built_in().encode(&text);
        prop_assert!(tokens.iter().all(|token| token.id < VOCABULARY));
        prop_assert!(tokens.iter().all(|token| text.is_char_boundary(token.bytes.start)));
        prop_assert!(tokens.iter().all(|token| text.get(token.bytes.clone()).is_some()));
        prop_assert!(tokens.windows(2).all(|pair| pair[0].bytes.start <= pair[1].bytes.start));
        // Every letter is in a token.
        for (at, _) in text.char_indices().filter(|(_, c)| CharClass::of(*c) == CharClass::Letter) {
            prop_assert!(tokens.iter().any(|token| token.bytes.contains(&at)), "{at}");
        }
    }
}

#[test]
fn tokens_know_their_bytes() {
    let spans = |text: &str| -> Vec<String> {
        let tokens = T5Tokenizer::built_in().encode(text);
        tokens.into_iter().map(|token| text[token.bytes].to_owned()).collect()
    };
    // The space in front of the first word is in no text.
    assert_eq!(spans("a cat"), ["", "a", " cat"]);
    assert_eq!(spans("A   lighthouse,</s> x"), ["A", "   light", "house", ",", "</s>", " ", "x"]);
    // Both letters of a ligature are all of it, and unknown characters one token.
    assert_eq!(ids("ﬁx 猫猫"), [2210, 3, 2]);
    assert_eq!(spans("ﬁx 猫猫"), ["ﬁx", " ", "猫猫"]);
}

#[test]
fn a_text_fills_its_places() {
    let tokenizer = T5Tokenizer::built_in();
    let padded = tokenizer.encode_padded("A lighthouse", 6);
    assert_eq!((&padded.ids[..], padded.count), (&[71, 659, 1840, END, PADDING, PADDING][..], 4));
    let truncated = tokenizer.encode_padded("A lighthouse", 3);
    assert_eq!((&truncated.ids[..], truncated.count), (&[71, 659, END][..], 3));
    assert!(tokenizer.encode_padded("A", 0).ids.is_empty());
}

#[test]
fn sentinels_are_the_last_tokens() {
    assert_eq!(special("<extra_id_0>"), Some((12, VOCABULARY - 1)));
    assert_eq!(special("<extra_id_99>x"), Some((13, VOCABULARY - 100)));
    for other in ["<extra_id_100>", "<extra_id_07>", "<extra_id_>", "<extra_id_1", "<PAD>", "<"] {
        assert_eq!(special(other), None, "{other}");
    }
}

#[test]
fn texts_take_linear_time() {
    let encode = |text: &String| assert!(!T5Tokenizer::built_in().encode(text).is_empty());
    for part in
        ["x", " ", "a ", "é", "e\u{301}", "\u{301}", "猫", "</s>", "<extra_id_", "<", "▁", "🦊\u{200d}"]
    {
        assert_linear(part, 2_000, |bytes| "a".to_owned() + &part.repeat(bytes / part.len()), encode);
    }
}
