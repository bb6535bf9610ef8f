//! T2I-Adapters: names of the authors' files and of diffusers to canonical names, which are the authors'.

/// Beginnings of names that only T2I-Adapters have, in the authors' files and in diffusers.
const MARKS: [&str; 4] =
    ["body.0.block1.", "body.0.body.0.block1.", "body.0.resnets.0.block1.", "adapter.body.0."];

/// Whether a name is that of a layer which only T2I-Adapters have.
pub(crate) fn is_adapter(name: &str) -> bool {
    MARKS.iter().any(|mark| name.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_all_origins() {
        for name in [
            "body.0.block1.weight",
            "adapter.body.0.resnets.0.block1.bias",
            "body.0.resnets.0.block1.bias",
            "body.0.body.0.block1.weight",
        ] {
            assert!(is_adapter(name), "{name}");
        }
        assert!(!is_adapter("body.0.weight") && !is_adapter("body.0.rdb1.conv1.weight"));
    }
}
