//! What the golden rows do not show.

use super::*;
use latent_benches::growth::assert_linear;
use proptest::prelude::*;

proptest! {
    #[test]
    fn tokens_are_the_text(text in "\\PC{0,30}|[a-z'\\r\\n\t <>|é1🦊]{0,40}") {
        let tokens = Qwen3Tokenizer::built_in().encode(&text);
        prop_assert!(tokens.iter().all(|token| token.id < VOCABULARY));
        prop_assert!(tokens.windows(2).all(|pair| pair[0].bytes.start <= pair[1].bytes.start));
        if unicode_normalization::is_nfc(&text) {
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| text.as_bytes()[token.bytes.clone()].to_vec()).collect();
            prop_assert_eq!(bytes, text.as_bytes());
        }
    }

    #[test]
    fn words_are_the_text(text in "\\PC{0,30}|[a-z'\\r\\n\t\u{3000} .!1ſs]{0,40}") {
        prop_assert_eq!(words::split(&text).collect::<String>(), text);
    }
}

#[test]
fn words_are_split_as_the_pattern_does() {
    for (text, expected) in [
        ("don't", &["don", "'t"][..]),
        ("DON'T it'\u{17f}", &["DON", "'T", " it", "'\u{17f}"]),
        ("a  b", &["a", " ", " b"]),
        ("a \n b", &["a", " \n", " b"]),
        ("a\n\n  ", &["a", "\n\n", "  "]),
        ("x !?\n\ny", &["x", " !?\n\n", "y"]),
        ("12a", &["1", "2", "a"]),
        (" 1", &[" ", "1"]),
        ("(a_b)", &["(a", "_b", ")"]),
        ("\ta", &["\ta"]),
        ("\na", &["\n", "a"]),
        ("\t!", &["\t", "!"]),
    ] {
        assert_eq!(words::split(text).collect::<Vec<_>>(), expected, "{text:?}");
    }
}

#[test]
fn a_text_fills_its_places() {
    let tokenizer = Qwen3Tokenizer::built_in();
    let padded = tokenizer.encode_padded("a red fox", 5);
    assert_eq!((&padded.ids[..], padded.count), (&[64, 2518, 38_835, PADDING, PADDING][..], 3));
    let truncated = tokenizer.encode_padded("a red fox", 2);
    assert_eq!((&truncated.ids[..], truncated.count), (&[64, 2518][..], 2));
}

/// A character that was composed of two belongs to the token as a whole.
#[test]
fn tokens_know_their_bytes() {
    let text = "cafe\u{301} au lait";
    let tokens = Qwen3Tokenizer::built_in().encode(text);
    let parts: Vec<&str> = tokens.into_iter().map(|token| &text[token.bytes]).collect();
    assert_eq!(parts.concat(), text);
    assert!(parts.contains(&" au"), "{parts:?}");
}

#[test]
fn texts_take_linear_time() {
    let encode = |text: &String| assert!(!Qwen3Tokenizer::built_in().encode(text).is_empty());
    for part in ["ab", " ", "\n ", "'s", "!", "1", "e\u{301}", "\u{301}", "猫", "<|im_end|>", "<|im", "🦊"]
    {
        assert_linear(part, 4_000, |bytes| "a".to_owned() + &part.repeat(bytes / part.len()), encode);
    }
}
