//! Composed prompts: `AND`.

use crate::Error;

/// Most subprompts: each is an evaluation of the UNet in every step.
const MAX_SUBPROMPTS: usize = 32;
/// Largest weight, as the largest guidance.
const MAX_WEIGHT: f64 = 1000.0;
const AND: &str = "AND";

/// A prompt of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subprompt<'a> {
    /// The prompt.
    pub text: &'a str,
    /// How strongly it steers.
    pub weight: f64,
}

/// Cuts a prompt at each `AND` that is a word of its own. Each subprompt may end with its weight behind a colon; without
/// one it has 1. The guidance then adds up what each of them changes (Liu et al., Compositional Visual Generation with
/// Composable Diffusion Models, 2022, equation 11). Without an `AND` all is the text.
///
/// ```
/// use latent_diffusion::prompt::{Subprompt, subprompts};
/// let [cat, forest] = subprompts("a cat :1.2 AND a forest")?[..] else { panic!() };
/// assert_eq!(cat, Subprompt { text: "a cat", weight: 1.2 });
/// assert_eq!(forest, Subprompt { text: " a forest", weight: 1.0 });
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`]: more than 32 subprompts, a weight beyond 1000.
pub fn subprompts(prompt: &str) -> Result<Vec<Subprompt<'_>>, Error> {
    let wrong = |reason| Err(Error::setting(crate::Setting::Prompt, reason));
    let parts: Vec<&str> = split(prompt).take(MAX_SUBPROMPTS + 1).collect();
    if parts.len() > MAX_SUBPROMPTS {
        return wrong(format!(
            "AND joins more than {MAX_SUBPROMPTS} prompts; each of them takes time in every step"
        ));
    }
    if parts.len() == 1 {
        return Ok(vec![Subprompt { text: prompt, weight: 1.0 }]);
    }
    let all: Vec<Subprompt<'_>> = parts.into_iter().map(weighted).collect();
    match all.iter().find(|subprompt| subprompt.weight.abs() > MAX_WEIGHT) {
        Some(Subprompt { weight, .. }) => {
            wrong(format!("the weight {weight} before an AND is not in -{MAX_WEIGHT} to {MAX_WEIGHT}"))
        }
        None => Ok(all),
    }
}

fn split(prompt: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(prompt);
    std::iter::from_fn(move || {
        let text = rest?;
        let (before, after) = match super::parse::split_word(text, AND) {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        rest = after;
        Some(before)
    })
}

/// A text with its weight behind it.
fn weighted(text: &str) -> Subprompt<'_> {
    let text = text.trim_end();
    let weight = text.rsplit_once(':').and_then(|(before, number)| {
        let number = number.trim_start();
        let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
        let is_number = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        let weight = is_number.then(|| number.parse().ok())??;
        Some(Subprompt { text: before.trim_end(), weight })
    });
    weight.filter(|subprompt| subprompt.weight.is_finite()).unwrap_or(Subprompt { text, weight: 1.0 })
}
