//! Token ids of a prompt, and what is left of a long one in 77 places.

use latent_diffusion::tokenizer::{CONTEXT, END, START, Tokenizer};

use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    let mut comparison = Comparison::new(case, context);
    let Some(prompt) = case.json["prompt"].as_str() else {
        return Outcome::Failed("the row has no prompt".to_owned());
    };
    let tokenizer = Tokenizer::clip();
    let mut ids = vec![START];
    ids.extend(tokenizer.encode(prompt));
    ids.push(END);
    comparison.equal("ids", &super::ids(&case.json["ids"]), &ids);
    if case.json["truncated77"].is_array() {
        let padded = tokenizer.encode_padded(prompt, END);
        comparison.equal("truncated77", &super::ids(&case.json["truncated77"]), &padded.to_vec());
        comparison.equal("length", &CONTEXT, &padded.len());
    }
    comparison.finish()
}
