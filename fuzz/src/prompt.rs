//! The prompt language: weights, breaks, chunks, LoRA tags.

use super::assert_one_line;
use latent_diffusion::lora::take_tags;
use latent_diffusion::prompt::{Segment, encode, parse};
use latent_diffusion::tokenizer::{CONTEXT, END, START};

/// The input as text.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let segments = parse(&text);
    assert!(!segments.is_empty());
    let mut length = 0;
    for segment in &segments {
        match segment {
            Segment::Text { text, weight } => {
                assert!((*weight as f32).is_finite(), "{weight}");
                length += text.len();
            }
            Segment::Break => length += "BREAK".len(),
        }
    }
    assert!(length <= text.len(), "a prompt does not grow");

    let chunks = encode(&text, END);
    assert!(!chunks.is_empty());
    for chunk in &chunks {
        assert_eq!(chunk.ids[0], START);
        assert!(chunk.ids[1..].contains(&END));
        assert!(chunk.ids.iter().all(|id| *id <= END));
        assert_eq!(chunk.weights.len(), CONTEXT);
        assert!(chunk.weights.iter().all(|weight| weight.is_finite()));
    }
    assert_eq!(encode(&text, END), chunks);

    // With its signs escaped, a text is itself.
    if !text.contains("BREAK") {
        let mut escaped = String::new();
        for c in text.chars() {
            if matches!(c, '(' | ')' | '[' | ']' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        let expected = Segment::Text { text: text.to_string(), weight: 1.0 };
        assert_eq!(parse(&escaped), [expected], "{escaped:?}");
    }

    match take_tags(&text) {
        Ok((words, tags)) => {
            assert!(words.len() <= text.len());
            for tag in tags {
                assert!(tag.weight.is_finite());
                let path = std::path::Path::new(&tag.name);
                assert_eq!(path.file_name(), Some(path.as_os_str()), "a plain name");
            }
        }
        Err(error) => assert_one_line(&error),
    }
}
