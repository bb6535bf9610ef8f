//! Alphas: numbers beside the factors of a layer, or in the metadata and the configuration of a file.

use latent_loader::{Checkpoint, Config};
use regex_lite::Regex;

/// Largest absolute value of an alpha; real ones are at most about the rank.
const MAX_ALPHA: f64 = 65536.0;
/// Maximum number of patterns that are no plain names: each is tried on every layer.
const MAX_PATTERNS: usize = 64;
/// The components that have a table of their own in the metadata that diffusers writes.
const COMPONENTS: [&str; 5] = ["unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3"];

/// The alpha in a tensor beside the factors of a layer.
pub(super) fn in_tensor(checkpoint: &Checkpoint, tensor: &str) -> Result<f32, String> {
    if checkpoint.get(tensor).is_none_or(|info| info.elements() != 1) {
        return Err(format!("{tensor} is not a single number"));
    }
    let raw = checkpoint.read(tensor).map_err(|error| error.to_string())?;
    let number = raw.to_number().ok_or_else(|| {
        format!("{tensor} is of the dtype {}, which is not one of numbers", raw.dtype.header_name())
    })?;
    checked(tensor, number)
}

fn checked(name: &str, alpha: f64) -> Result<f32, String> {
    if alpha.is_finite() && alpha.abs() <= MAX_ALPHA {
        return Ok(alpha as f32);
    }
    Err(format!("{name} is {alpha}; at most {MAX_ALPHA} is sensible, so the file is damaged"))
}

/// What a file says elsewhere about the strength of its layers.
#[derive(Debug, Default)]
pub(super) struct DeclaredAlphas {
    /// Of PEFT, each for the layers below a component's name, or for all.
    adapters: Vec<(&'static str, AdapterAlphas)>,
    /// Of kohya's metadata: of linear layers and 1x1 convolutions, and of other convolutions.
    network: Option<[f32; 2]>,
}

/// The configuration of a PEFT adapter.
#[derive(Debug)]
struct AdapterAlphas {
    /// Of layers that no pattern is for.
    usual: Option<f32>,
    /// Of layers of these names.
    patterns: Vec<(NamePattern, f32)>,
    /// Whether alpha is divided by the root of the rank (rsLoRA; Kalajdzievski 2023, <https://arxiv.org/abs/2312.03732>).
    by_root: bool,
}

/// What the end of a layer's name must be like.
#[derive(Debug)]
enum NamePattern {
    Plain(String),
    Expression(Box<Regex>),
}

impl DeclaredAlphas {
    /// Those of a file. `has_own`: whether any layer has an alpha beside its factors; then kohya's metadata only repeat it. The
    /// error is one line without the file's name.
    pub(super) fn of(checkpoint: &Checkpoint, has_own: bool) -> Result<DeclaredAlphas, String> {
        let metadata = checkpoint.metadata();
        let mut declared = DeclaredAlphas::default();
        // In a folder, the file's metadata have the component's name in front; an adapter's folder has none.
        if let Some(text) = metadata.get("lora_adapter_metadata") {
            let table = Config::parse(text.as_bytes())
                .map_err(|reason| format!("lora_adapter_metadata in its header {reason}"))?;
            for component in COMPONENTS {
                declared.add(component, &table, &format!("{component}."))?;
            }
            declared.add("", &table, "")?;
        }
        if let Some(config) = checkpoint.config("adapter_config") {
            declared.add("", config, "")?;
        }
        if !has_own {
            declared.network = network(metadata.get("ss_network_alpha"), metadata.get("ss_network_args"));
        }
        Ok(declared)
    }

    /// Adds the table whose keys begin with `prefix`, if there is one.
    fn add(&mut self, component: &'static str, table: &Config, prefix: &str) -> Result<(), String> {
        let key = |name: &str| format!("{prefix}{name}");
        // LoHa and LoKr of PEFT call it so.
        let usual = ["lora_alpha", "alpha"].iter().find_map(|name| Some((*name, table.get_f64(&key(name))?)));
        let usual = usual.map(|(name, alpha)| checked(name, alpha)).transpose()?;
        let mut patterns = Vec::new();
        for (name, alpha) in table.numbers(&key("alpha_pattern")) {
            patterns.push((NamePattern::new(name)?, checked("alpha_pattern", alpha)?));
        }
        let expressions =
            patterns.iter().filter(|(pattern, _)| matches!(pattern, NamePattern::Expression(_)));
        if expressions.count() > MAX_PATTERNS {
            return Err(format!("alpha_pattern has more than {MAX_PATTERNS} regular expressions"));
        }
        // The most specific name is meant, whatever the order.
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        if usual.is_some() || !patterns.is_empty() {
            let by_root = table.get_bool(&key("use_rslora")).unwrap_or(false);
            self.adapters.push((component, AdapterAlphas { usual, patterns, by_root }));
        }
        Ok(())
    }

    /// What the product of a layer of that name and rank is multiplied by; `None` if nothing is said about it.
    /// `is_convolution`: whether its kernel has more than one pixel.
    pub(super) fn scale(&self, module: &str, rank: usize, is_convolution: bool) -> Option<f32> {
        let module = module.strip_prefix("base_model.model.").unwrap_or(module);
        let fitting = self.adapters.iter().find_map(|(component, adapter)| {
            let layer = match *component {
                "" => module,
                component => module.strip_prefix(component)?.strip_prefix('.')?,
            };
            Some(adapter.scale(layer, rank))
        });
        let network = || self.network.map(|alphas| alphas[usize::from(is_convolution)] / rank as f32);
        fitting.flatten().or_else(network)
    }
}

impl AdapterAlphas {
    fn scale(&self, layer: &str, rank: usize) -> Option<f32> {
        let own = self.patterns.iter().find(|(pattern, _)| pattern.fits(layer));
        let alpha = own.map(|(_, alpha)| *alpha).or(self.usual)?;
        Some(alpha / if self.by_root { (rank as f32).sqrt() } else { rank as f32 })
    }
}

impl NamePattern {
    fn new(pattern: &str) -> Result<NamePattern, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if pattern.chars().all(is_plain) {
            return Ok(NamePattern::Plain(pattern.to_owned()));
        }
        // As PEFT matches them: the end of the name, from the start of one of its parts.
        let expression = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"))
            .map_err(|_| format!("alpha_pattern: {pattern:?} is not a regular expression"))?;
        Ok(NamePattern::Expression(Box::new(expression)))
    }

    fn len(&self) -> usize {
        match self {
            NamePattern::Plain(name) => name.len(),
            NamePattern::Expression(expression) => expression.as_str().len(),
        }
    }

    fn fits(&self, layer: &str) -> bool {
        match self {
            NamePattern::Plain(name) => {
                layer.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            NamePattern::Expression(expression) => expression.is_match(layer),
        }
    }
}

/// Kohya's alphas of linear layers and of convolutions, which may have one of their own.
fn network(alpha: Option<&String>, arguments: Option<&String>) -> Option<[f32; 2]> {
    let number = |text: &str| text.trim().parse::<f64>().ok().and_then(|alpha| checked("", alpha).ok());
    let linear = number(alpha?)?;
    let arguments = arguments.and_then(|text| Config::parse(text.as_bytes()).ok());
    let convolution = arguments.and_then(|table| match table.get_str("conv_alpha") {
        Some(text) => number(text),
        None => table.get_f64("conv_alpha").and_then(|alpha| checked("", alpha).ok()),
    });
    Some([linear, convolution.unwrap_or(linear)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_the_end_of_a_name() {
        let fits = |pattern: &str, layer: &str| NamePattern::new(pattern).unwrap().fits(layer);
        assert!(fits("to_q", "a.b.to_q") && fits("to_q", "to_q") && fits("b.to_q", "a.b.to_q"));
        assert!(!fits("to_q", "a.not_to_q") && !fits("to_q", "a.to_q.b"));
        assert!(fits(r"(down|mid).*\.to_[qk]", "down.0.to_k") && !fits(r"down.*\.to_[qk]", "up.down0.to_v"));
        assert!(NamePattern::new("(").is_err());
    }
}
