//! How a GPU is opened.

use std::path::PathBuf;

/// How a GPU is opened.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Bytes of its memory that may be used; `None` for all.
    pub memory_limit: Option<u64>,
    /// Bytes of an array that a shader may see at once, if less than the adapter allows: larger arrays are split.
    pub binding_limit: Option<u64>,
    /// Folder for compiled pipelines, so that a later process need not compile them again; `None` to keep none.
    pub cache: Option<PathBuf>,
    /// Which features of the adapter are used.
    pub features: FeatureLevel,
}

/// How much of what an adapter offers is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeatureLevel {
    /// All features that make kernels faster.
    #[default]
    Full,
    /// Only what every adapter has: neither `f16` nor subgroups nor cooperative matrices, and the lowest limits. Each
    /// access to memory is checked. Slow; it shows whether a fault lies in an optional feature of a driver.
    Minimal,
}

/// Environment variable that chooses a [`FeatureLevel`], for bug reports: `full` or `minimal`.
pub const FEATURE_LEVEL_VARIABLE: &str = "LATENT_GPU";

impl FeatureLevel {
    /// The level that [`FEATURE_LEVEL_VARIABLE`] asks for, if it is set. Nothing in this crate reads the variable by
    /// itself: [`super::Gpu::open`] follows its options.
    ///
    /// # Errors
    /// One line, if the value is unknown.
    pub fn from_environment() -> Result<Option<FeatureLevel>, String> {
        FeatureLevel::parse(std::env::var(FEATURE_LEVEL_VARIABLE).ok().as_deref())
    }

    fn parse(value: Option<&str>) -> Result<Option<FeatureLevel>, String> {
        match value {
            None | Some("") => Ok(None),
            Some("full") => Ok(Some(FeatureLevel::Full)),
            Some("minimal") => Ok(Some(FeatureLevel::Minimal)),
            Some(other) => Err(format!("{FEATURE_LEVEL_VARIABLE}={other:?} is neither full nor minimal")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_levels_are_named_as_documented() {
        assert_eq!(FeatureLevel::parse(None), Ok(None));
        assert_eq!(FeatureLevel::parse(Some("full")), Ok(Some(FeatureLevel::Full)));
        assert_eq!(FeatureLevel::parse(Some("minimal")), Ok(Some(FeatureLevel::Minimal)));
        let error = FeatureLevel::parse(Some("fast")).unwrap_err();
        assert_eq!(error, "LATENT_GPU=\"fast\" is neither full nor minimal");
    }
}
