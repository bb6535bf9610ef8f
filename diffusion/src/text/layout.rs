//! How the hidden states of several text encoders become what a network reads.

use super::{LanguageStates, TextPart};

/// How the hidden states of a model's text encoders become what its network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextLayout {
    /// Those of CLIP side by side; the pooled text of the last one.
    SideBySide,
    /// Those of CLIP side by side and filled up with zeros, then those of the large encoder as further tokens; the pooled texts
    /// side by side. Zeros stand for what is missing (SD 3, section 3 of Esser et al. 2024).
    Sequence {
        /// Width of the hidden states.
        width: usize,
        /// Width of the pooled texts of CLIP-L and OpenCLIP bigG together.
        pooled: usize,
        /// Tokens of the large encoder's texts.
        tokens: usize,
    },
    /// Those of the large encoder alone; of CLIP, if there is one, the pooled text.
    Language {
        /// Width of the hidden states.
        width: usize,
    },
}

impl TextLayout {
    /// Width of the hidden states, for encoders of CLIP of that width together.
    pub(crate) fn width(self, clip_width: usize) -> usize {
        match self {
            TextLayout::SideBySide => clip_width,
            TextLayout::Sequence { width, .. } | TextLayout::Language { width } => width,
        }
    }

    /// Width of the large encoder's states, where the network reads those.
    pub(crate) fn language_width(self) -> Option<usize> {
        match self {
            TextLayout::SideBySide => None,
            TextLayout::Sequence { width, .. } | TextLayout::Language { width } => Some(width),
        }
    }

    /// Whether the network reads the hidden states of CLIP.
    pub(crate) fn has_clip_states(self) -> bool {
        !matches!(self, TextLayout::Language { .. })
    }

    /// The first column of an encoder of CLIP, where others may be missing before it.
    pub(crate) fn column(self, part: &TextPart) -> Option<usize> {
        match self {
            TextLayout::Sequence { pooled, .. } if part.scope == "text_encoder_2" => {
                Some(pooled.saturating_sub(part.config.width))
            }
            TextLayout::Sequence { .. } => Some(0),
            TextLayout::SideBySide | TextLayout::Language { .. } => None,
        }
    }

    /// Width of all pooled texts side by side, where there are several.
    pub(crate) fn pooled_width(self) -> Option<usize> {
        match self {
            TextLayout::Sequence { pooled, .. } => Some(pooled),
            TextLayout::SideBySide | TextLayout::Language { .. } => None,
        }
    }

    /// What stands for the states of a large encoder that a model lacks: zeros.
    pub(crate) fn missing_language(self) -> LanguageStates {
        match self {
            TextLayout::Sequence { width, tokens, .. } => {
                LanguageStates { values: vec![0.0; tokens * width], tokens, count: tokens }
            }
            TextLayout::SideBySide | TextLayout::Language { .. } => LanguageStates::default(),
        }
    }
}
