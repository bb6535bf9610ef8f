//! Weighted prompts: segments and chunks.

use latent_diffusion::prompt::{self, Segment};
use latent_diffusion::tokenizer::{END, Tokenizer};
use serde_json::Value;

use crate::machinery::case::Case;
use crate::machinery::compare::Outcome;
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| {
        let text = case.json["prompt"].as_str().ok_or("the row has no prompt")?;
        let segments = prompt::parse(text);
        let texts: Vec<String> = segments.iter().map(|segment| shown(segment).0).collect();
        let weights: Vec<f64> = segments.iter().map(|segment| shown(segment).1).collect();
        let rows = || case.json["segments"].as_array().into_iter().flatten();
        let expected: Vec<String> =
            rows().map(|row| row[0].as_str().unwrap_or_default().to_owned()).collect();
        comparison.equal("segments", &expected, &texts);
        comparison.values(
            "segment weights",
            &rows().filter_map(|row| row[1].as_f64()).collect::<Vec<_>>(),
            &weights,
        );
        let chunks = prompt::chunks(&segments, Tokenizer::clip(), END);
        let rows = || case.json["chunks"].as_array().into_iter().flatten();
        let expected: Vec<u32> = rows().flat_map(|row| super::ids(&row["ids"])).collect();
        comparison.equal("chunks", &expected, &chunks.iter().flat_map(|chunk| chunk.ids).collect());
        let expected: Vec<f64> = rows()
            .flat_map(|row| row["weights"].as_array().into_iter().flatten())
            .filter_map(Value::as_f64)
            .collect();
        let got: Vec<f64> = chunks.iter().flat_map(|chunk| chunk.weights).map(f64::from).collect();
        comparison.values("chunk weights", &expected, &got);
        Ok(())
    })
}

/// A segment as the goldens write it.
fn shown(segment: &Segment) -> (String, f64) {
    match segment {
        Segment::Text { text, weight } => (text.clone(), *weight),
        Segment::Break => ("BREAK".to_owned(), -1.0),
    }
}
