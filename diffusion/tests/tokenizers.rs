//! Token ids of T5 and Qwen3 beside those of transformers (`reference/tokenizers/`).

use latent_diffusion::tokenizer::qwen3::Qwen3Tokenizer;
use latent_diffusion::tokenizer::t5::{END, T5Tokenizer};
use serde_json::Value;

fn assert_ids(name: &str, encode: impl Fn(&str) -> Vec<u32>) {
    let mut wrong = Vec::new();
    for file in ["goldens.json", "more_goldens.json"] {
        let path = format!("{}/tests/reference/tokenizers/{file}", env!("CARGO_MANIFEST_DIR"));
        let goldens: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let cases = goldens[name].as_array().unwrap();
        assert!(cases.len() >= 15, "{file}");
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<u64> = case["ids"].as_array().unwrap().iter().flat_map(Value::as_u64).collect();
            let found: Vec<u64> = encode(text).into_iter().map(u64::from).collect();
            if found != expected {
                wrong.push(format!("{text:?}\n  {expected:?}\n  {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} texts:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn ids_of_t5_are_those_of_transformers() {
    assert_ids("t5", |text| {
        let tokens = T5Tokenizer::built_in().encode(text);
        tokens.into_iter().map(|token| token.id).chain([END]).collect()
    });
}

#[test]
fn ids_of_qwen3_are_those_of_transformers() {
    assert_ids("qwen3", |text| {
        Qwen3Tokenizer::built_in().encode(text).into_iter().map(|token| token.id).collect()
    });
}
