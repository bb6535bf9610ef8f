//! The prompt language: weights, breaks, chunks, LoRA tags, schedules, `AND`, choices.

use super::assert_one_line;
use latent_diffusion::lora::take_tags;
use latent_diffusion::prompt::{PromptSchedule, Segment, Wildcards, encode, parse, subprompts};
use latent_diffusion::tokenizer::{CONTEXT, END, START};
use std::path::Path;

/// The input as text.
// Over 60 lines: one property after the other of the same input.
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

    for steps in [1, 7] {
        changes(&text, steps);
    }
    match subprompts(&text) {
        Ok(subs) => {
            for sub in &subs {
                assert!(sub.weight.abs() <= 1000.0 && text.contains(sub.text), "{sub:?}");
            }
            let split = subs.len() > 1;
            assert_eq!(split, text.contains("AND") && subs[0].text != text, "{subs:?}");
        }
        Err(error) => assert_one_line(&error),
    }
    resolved(&text);

    match take_tags(&text) {
        Ok((words, tags)) => {
            assert!(words.len() <= text.len());
            for tag in tags {
                assert!(tag.weight.is_finite());
                let path = Path::new(&tag.name);
                assert_eq!(path.file_name(), Some(path.as_os_str()), "a plain name");
            }
        }
        Err(error) => assert_one_line(&error),
    }
}

/// The texts of a prompt in a run of `steps`.
fn changes(prompt: &str, steps: usize) {
    let schedule = match PromptSchedule::new(prompt, steps) {
        Ok(schedule) => schedule,
        Err(error) => return assert_one_line(&error),
    };
    let mut first = 1;
    for (until, text) in schedule.spans() {
        assert!((first..=steps).contains(&until), "{until}");
        assert!(text.len() <= prompt.len() && schedule.texts().iter().any(|known| known == text));
        assert!((first..=until).all(|step| schedule.at(step) == text), "{text:?}");
        first = until + 1;
    }
    assert_eq!(first, steps + 1, "every step has a text");
    // Nothing changes but within square brackets.
    if !prompt.contains('[') {
        assert_eq!(schedule.texts(), [prompt]);
    }
}

/// What a template becomes beside a folder without files.
fn resolved(template: &str) {
    let mut wildcards = Wildcards::open(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a folder");
    match (wildcards.resolve([template], 1), wildcards.resolve([template], 1)) {
        (Ok([one]), Ok([again])) => {
            assert_eq!(one, again);
            assert!(template.contains('$') || one.len() <= template.len());
            if !template.contains('|') {
                assert_eq!(one, template);
            }
        }
        (Err(one), Err(again)) => {
            assert_one_line(&one);
            assert_eq!(one.to_string(), again.to_string());
        }
        (one, again) => panic!("{one:?} {again:?}"),
    }
}
