//! How original files call the layers of a diffusion transformer, as a table, and the canonical names by it.

/// A network, told by names alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkKind {
    Sd3,
    /// Flux.1 and Chroma.
    Flux,
    Flux2,
    ZImage,
}

/// How an original file calls the layers of a network.
pub(crate) struct NetworkNames {
    pub(crate) kind: NetworkKind,
    /// Names that all of these files have, below the prefix.
    pub(crate) marks: &'static [&'static str],
    /// Names that all files of diffusers' layout have, and canonical ones of files of the original layout, too: so a model that was
    /// joined of several files is recognised again.
    pub(crate) canonical_marks: &'static [&'static str],
    /// Whole tensors, original name and canonical one.
    pub(crate) tensors: &'static [(&'static str, &'static str)],
    /// Layers, original name and canonical one.
    pub(crate) layers: &'static [(&'static str, &'static str)],
    /// Blocks in a row.
    pub(crate) blocks: &'static [BlockNames],
}

/// How an original file calls blocks in a row, and the layers of each.
pub(crate) struct BlockNames {
    pub(crate) original: &'static str,
    pub(crate) canonical: &'static str,
    /// A block that is one layer has that of no name.
    pub(crate) layers: &'static [(&'static str, &'static str)],
}

impl NetworkNames {
    /// The canonical name of a tensor, from its name below the prefix. `None` for what the network does not have.
    pub(crate) fn to_canonical(&self, name: &str) -> Option<String> {
        if let Some((_, canonical)) = self.tensors.iter().find(|(original, _)| *original == name) {
            return Some((*canonical).to_owned());
        }
        let (layer, leaf) = name.rsplit_once('.')?;
        let leaf = match leaf {
            "weight" | "bias" => leaf,
            // Of a norm.
            "scale" => "weight",
            _ => return None,
        };
        let canonical = |layers: &[(&str, &'static str)], layer: &str| {
            layers.iter().find(|(original, _)| *original == layer).map(|(_, canonical)| *canonical)
        };
        if let Some(layer) = canonical(self.layers, layer) {
            return Some(format!("{layer}.{leaf}"));
        }
        self.blocks.iter().find_map(|block| {
            let below = layer.strip_prefix(block.original)?.strip_prefix('.')?;
            let (number, layer) = below.split_once('.').unwrap_or((below, ""));
            let number: usize = number.parse().ok()?;
            Some(match canonical(block.layers, layer)? {
                "" => format!("{}.{number}.{leaf}", block.canonical),
                layer => format!("{}.{number}.{layer}.{leaf}", block.canonical),
            })
        })
    }
}
