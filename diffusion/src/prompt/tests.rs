//! What the golden rows do not show.

use super::*;
use latent_benches::growth::assert_linear;
use proptest::prelude::*;

fn text(text: &str, weight: f64) -> Segment {
    Segment::Text { text: text.to_owned(), weight }
}

#[test]
fn a_number_that_is_none_is_text() {
    assert_eq!(parse("(a:1.2.3)"), [text("a:1.2.3", 1.1)]);
    assert_eq!(parse("(a:.)"), [text("a:.", 1.1)]);
    assert_eq!(parse(&format!("(a:{})", "9".repeat(400)))[0], text(&format!("a:{}", "9".repeat(400)), 1.1));
}

#[test]
fn brackets_too_deep_still_pair() {
    let deep = format!("{}a{} b", "(".repeat(300), ")".repeat(300));
    let [Segment::Text { text: a, weight }, b] = &parse(&deep)[..] else { panic!("{:?}", parse(&deep)) };
    assert!(a == "a" && (weight / 1.1f64.powi(256) - 1.0).abs() < 1e-9, "{weight}");
    assert_eq!(*b, text(" b", 1.0));
}

#[test]
fn brackets_take_linear_time() {
    for hostile in ["(", "[", "(a", "[a", "(a)", ")", "BREAK ", ":", ": ", "\\", "(a:1"] {
        assert_linear(
            hostile,
            20_000,
            |bytes| hostile.repeat(bytes / hostile.len()),
            |text| assert!(!parse(text).is_empty()),
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_a_prompt(prompt in "[ab\\\\()\\[\\]:1. B]{0,40}|\\PC*") {
        prop_assert!(!parse(&prompt).is_empty());
        for chunk in encode(&prompt, END) {
            prop_assert!(chunk.ids.iter().all(|id| *id <= END) && chunk.ids[0] == START);
            prop_assert!(chunk.weights.iter().all(|weight| weight.is_finite()));
        }
    }
}

#[test]
fn a_long_prompt_is_cut_into_chunks_and_never_off() {
    let chunks = encode(&"cat ".repeat(160), 0);
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[0].ids[75..], [2368, END]);
    assert_eq!(
        chunks[2].ids[..13],
        [START, 2368, 2368, 2368, 2368, 2368, 2368, 2368, 2368, 2368, 2368, END, 0]
    );
    assert_eq!(encode("", 0), [Chunk::empty(0)]);
}

#[test]
fn emphasis_keeps_the_mean() {
    let mut states = [1.0, 2.0, 3.0, 4.0];
    emphasize(&mut states, &[1.0, 2.0]);
    // Weighted 1 2 6 8 of mean 4.25, brought back to 2.5.
    let k = 2.5 / 4.25;
    assert_eq!(states, [1.0, 2.0, 6.0, 8.0].map(|v: f32| v * k));
    let mut states = [1.0, 1.0];
    emphasize(&mut states, &[0.0, 0.0]);
    assert_eq!(states, [0.0, 0.0]);
}
