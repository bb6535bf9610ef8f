//! T2I-Adapters: names of the authors' files and of diffusers to canonical names, which are those of diffusers below
//! `adapter.`.

/// Beginnings of names that only T2I-Adapters have, in the authors' files and in diffusers.
const MARKS: [&str; 4] =
    ["body.0.block1.", "body.0.body.0.block1.", "body.0.resnets.0.block1.", "adapter.body.0."];
/// Levels of an adapter.
const LEVELS: usize = 4;

/// Whether a name is that of a layer which only T2I-Adapters have.
pub(crate) fn is_adapter(name: &str) -> bool {
    MARKS.iter().any(|mark| name.starts_with(mark))
}

/// Residual blocks of a level in an authors' file, which numbers them through all levels.
pub(crate) fn blocks_per_level<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    let number = |name: &str| name.strip_prefix("body.")?.split('.').next()?.parse::<usize>().ok();
    let last = names.filter_map(number).max().unwrap_or(0);
    (last.saturating_add(1) / LEVELS).max(1)
}

/// The canonical name of a tensor, below `adapter.`. `None` for what no adapter has.
pub(crate) fn to_canonical(name: &str, blocks_per_level: usize) -> Option<String> {
    let name = name.strip_prefix("adapter.").unwrap_or(name);
    if name.starts_with("conv_in.") {
        return Some(name.to_owned());
    }
    let (number, rest) = name.strip_prefix("body.")?.split_once('.')?;
    let number = number.parse::<usize>().ok()?;
    // Of the light one in the authors' file.
    if let Some(block) = rest.strip_prefix("body.") {
        return Some(format!("body.{number}.resnets.{block}"));
    }
    if rest.starts_with("resnets.") || rest.starts_with("out_conv.") {
        return Some(format!("body.{number}.{rest}"));
    }
    let (level, block) = (number / blocks_per_level, number % blocks_per_level);
    if rest.starts_with("in_conv.") {
        // In diffusers' file and in the light one, numbers are those of levels.
        return Some(format!("body.{level}.{rest}"));
    }
    rest.starts_with("block").then(|| format!("body.{level}.resnets.{block}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_origins() {
        let first = "body.0.resnets.0.block1.weight";
        for (name, per_level, expected) in [
            ("adapter.body.0.resnets.0.block1.weight", 1, first),
            ("body.0.block1.weight", 2, first),
            ("body.0.body.0.block1.weight", 1, first),
            ("body.3.block2.bias", 2, "body.1.resnets.1.block2.bias"),
            ("body.2.in_conv.weight", 2, "body.1.in_conv.weight"),
            ("adapter.body.1.in_conv.weight", 1, "body.1.in_conv.weight"),
            ("adapter.conv_in.weight", 1, "conv_in.weight"),
            ("body.1.out_conv.bias", 1, "body.1.out_conv.bias"),
        ] {
            assert_eq!(to_canonical(name, per_level).as_deref(), Some(expected), "{name}");
        }
        assert!(is_adapter(first) && is_adapter("adapter.body.0.resnets.0.block1.bias"));
        assert!(!is_adapter("body.0.weight") && !is_adapter("body.0.rdb1.conv1.weight"));
        assert_eq!(blocks_per_level(["body.7.block1.weight", "conv_in.weight"].into_iter()), 2);
        assert_eq!(blocks_per_level(["body.3.in_conv.weight"].into_iter()), 1);
        assert_eq!(to_canonical("body.0", 1), None);
    }
}
