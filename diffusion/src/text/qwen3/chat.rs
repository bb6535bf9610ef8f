//! How families of models ask Qwen3: the text around a prompt, and which hidden states they take.

use crate::tokenizer::PaddedTokens;
use crate::tokenizer::qwen3::Qwen3Tokenizer;

/// A prompt as the message of a user, to which the model is about to answer (Qwen3's chat template).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    /// What is in front of the prompt.
    pub before: &'static str,
    /// What is after it.
    pub after: &'static str,
}

impl ChatTemplate {
    /// The template of an answer that begins with a thought (`enable_thinking=True`).
    pub const THINKING: ChatTemplate =
        ChatTemplate { before: "<|im_start|>user\n", after: "<|im_end|>\n<|im_start|>assistant\n" };

    /// The template of an answer that follows an empty thought (`enable_thinking=False`).
    pub const NOT_THINKING: ChatTemplate = ChatTemplate {
        before: "<|im_start|>user\n",
        after: "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    };

    /// The text of a prompt. The prompt's first byte is that after [`ChatTemplate::before`].
    #[must_use]
    pub fn apply(&self, prompt: &str) -> String {
        [self.before, prompt, self.after].concat()
    }
}

/// How a family of models encodes prompts with Qwen3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qwen3Prompting {
    /// The text around a prompt.
    pub template: ChatTemplate,
    /// The hidden states that the model takes, for [`Qwen3Encoder::load`](super::Qwen3Encoder::load).
    pub states: &'static [isize],
    /// The tokens of a text that the model takes at most (`max_sequence_length`).
    pub max_tokens: usize,
    /// Whether shorter texts are filled up to that length, and the states of their padding are used.
    pub is_padded: bool,
}

/// As `ZImagePipeline` encodes prompts: the states before the last layer, of the text alone.
pub const Z_IMAGE: Qwen3Prompting =
    Qwen3Prompting { template: ChatTemplate::THINKING, states: &[-2], max_tokens: 512, is_padded: false };

/// As `Flux2KleinPipeline` encodes prompts: the states of three layers side by side, of 512 tokens always.
pub const FLUX_2_KLEIN: Qwen3Prompting = Qwen3Prompting {
    template: ChatTemplate::NOT_THINKING,
    states: &[9, 18, 27],
    max_tokens: 512,
    is_padded: true,
};

impl Qwen3Prompting {
    /// The tokens of a prompt in its template, truncated and padded as the model wants them.
    ///
    /// ```
    /// use latent_diffusion::text::qwen3::{FLUX_2_KLEIN, Z_IMAGE};
    /// let tokens = Z_IMAGE.tokens("a red fox");
    /// assert_eq!(tokens.ids, [151644, 872, 198, 64, 2518, 38835, 151645, 198, 151644, 77091, 198]);
    /// let tokens = FLUX_2_KLEIN.tokens("a red fox");
    /// assert_eq!((tokens.ids.len(), tokens.count), (512, 15));
    /// ```
    #[must_use]
    pub fn tokens(&self, prompt: &str) -> PaddedTokens {
        let mut tokens =
            Qwen3Tokenizer::built_in().encode_padded(&self.template.apply(prompt), self.max_tokens);
        if !self.is_padded {
            tokens.ids.truncate(tokens.count);
        }
        tokens
    }
}
