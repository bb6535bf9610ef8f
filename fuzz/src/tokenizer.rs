//! Text to tokens and back.

use latent_diffusion::tokenizer::{CONTEXT, END, START, Tokenizer};

/// The input as text.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let tokenizer = Tokenizer::clip();
    let ids = tokenizer.encode(&text);
    assert!(ids.iter().all(|id| *id <= END));
    // Characters that become longer in small letters or composed become at most some times longer.
    assert!(ids.len() <= 8 * text.len(), "{} tokens for {} bytes", ids.len(), text.len());

    let padded = tokenizer.encode_padded(&text, END);
    let kept = ids.len().min(CONTEXT - 2);
    assert_eq!((padded[0], padded[kept + 1]), (START, END));
    assert_eq!(padded[1..=kept], ids[..kept]);

    // The text of tokens gives them again, once it went that way: signs that a space came between stay apart.
    let decoded = tokenizer.decode(&ids);
    let ids = tokenizer.encode(&decoded);
    assert_eq!(tokenizer.encode(&tokenizer.decode(&ids)), ids, "{decoded:?}");
}
