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

impl NetworkKind {
    /// That of canonical names. `has` says whether there is a tensor of a name, below the scope.
    pub(crate) fn of_canonical(has: impl Fn(&str) -> bool) -> NetworkKind {
        if has("pos_embed.pos_embed") {
            NetworkKind::Sd3
        } else if has("double_stream_modulation_img.linear.weight") {
            NetworkKind::Flux2
        } else if has("all_x_embedder.2-1.weight") {
            NetworkKind::ZImage
        } else {
            NetworkKind::Flux
        }
    }
}

/// How an original file calls the layers of a network.
pub(crate) struct NetworkNames {
    pub(crate) kind: NetworkKind,
    /// Names that all of these files have, below the prefix.
    pub(crate) marks: &'static [&'static str],
    /// Names that all files of diffusers' layout have, and all canonical names of an original file too: a file that was joined from
    /// several has these.
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

    /// The original name of a layer, or of a tensor that is not one of a layer, from its canonical one. `None` for layers that original
    /// files have fused into others, or in another order.
    pub(crate) fn original_of(&self, layer: &str) -> Option<String> {
        let original = |layers: &[(&'static str, &str)], layer: &str| {
            layers.iter().find(|(_, canonical)| *canonical == layer).map(|(original, _)| *original)
        };
        if let Some(layer) = original(self.layers, layer).or_else(|| original(self.tensors, layer)) {
            return Some(layer.to_owned());
        }
        self.blocks.iter().find_map(|block| {
            let below = layer.strip_prefix(block.canonical)?.strip_prefix('.')?;
            let (number, layer) = below.split_once('.').unwrap_or((below, ""));
            let number: usize = number.parse().ok()?;
            Some(match original(block.layers, layer)? {
                "" => format!("{}.{number}", block.original),
                layer => format!("{}.{number}.{layer}", block.original),
            })
        })
    }
}
