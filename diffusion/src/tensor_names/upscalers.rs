//! Which architecture an upscaler has, by the names of its tensors.

use super::esrgan::plain;
use latent_loader::Checkpoint;

/// An architecture that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpscalerArchitecture {
    Esrgan,
    Compact,
    Span,
    SwinIr,
}

impl UpscalerArchitecture {
    /// Its usual name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            UpscalerArchitecture::Esrgan => "ESRGAN",
            UpscalerArchitecture::Compact => "Compact",
            UpscalerArchitecture::Span => "SPAN",
            UpscalerArchitecture::SwinIr => "SwinIR",
        }
    }
}

/// Architectures that cannot be run, and a part of a name that they have and those that can be run do not.
const OTHERS: [(&str, &str); 15] = [
    ("Swin2SR", ".attn.cpb_mlp."),
    ("HAT", ".overlap_attn."),
    ("SRFormer", "aligned_relative_position"),
    ("ATD", ".attn_atd."),
    ("DRCT", ".swin1."),
    ("DAT", "before_RG."),
    ("GRL", ".blocks.0.attn.window_attn."),
    ("OmniSR", "residual_layer.0.residual_layer."),
    ("Real-CUGAN", "unet1.conv1.conv.0."),
    ("RealPLKSR", "feats.1.channe_mixer."),
    ("RealPLKSR", "feats.1.channel_mixer."),
    ("PLKSR", "feats.1.lk."),
    ("MoSR", "gblocks.0."),
    ("SAFMN", ".safm."),
    ("EDSR", "body.0.body.0."),
];

/// Whether a tensor of that name belongs to an upscaler.
pub(crate) fn is_upscaler(name: &str) -> bool {
    let name = plain(name);
    other(name).is_some()
        || is_of_esrgan(name)
        || is_of_compact(name)
        || is_of_span(name)
        || is_of_swinir(name)
}

fn other(name: &str) -> Option<&'static str> {
    OTHERS.iter().find(|(_, part)| name.contains(part)).map(|(architecture, _)| *architecture)
}

fn is_of_esrgan(name: &str) -> bool {
    name == "conv_first.weight" || name.starts_with("model.1.sub.") || name.starts_with("RRDB_trunk.")
}

fn is_of_compact(name: &str) -> bool {
    name == "body.0.weight"
}

fn is_of_swinir(name: &str) -> bool {
    name.contains(".residual_group.blocks.0.attn.relative_position")
}

fn is_of_span(name: &str) -> bool {
    name.starts_with("block_1.c1_r.")
}

/// The names of a file's tensors that are the network's: a trainer's file may hold a second set, the averages of the first.
pub(crate) fn own_names(checkpoint: &Checkpoint) -> Vec<&str> {
    let all = || checkpoint.tensors().map(|tensor| tensor.name.as_str());
    let averages = ["params_ema.", "params-ema."].into_iter();
    let averages = averages.map(|prefix| all().filter(|name| name.starts_with(prefix)).collect::<Vec<_>>());
    averages.into_iter().find(|names| !names.is_empty()).unwrap_or_else(|| all().collect())
}

/// The architecture of a network with these names, or the name of one that cannot be run.
pub(crate) fn architecture(names: &[&str]) -> Result<UpscalerArchitecture, &'static str> {
    let any = |test: fn(&str) -> bool| names.iter().any(|name| test(plain(name)));
    // In the order of the list, not of the file.
    let others = OTHERS.iter().find(|(_, part)| names.iter().any(|name| name.contains(part)));
    if let Some((other, _)) = others {
        return Err(other);
    }
    Ok(match () {
        () if any(is_of_swinir) => UpscalerArchitecture::SwinIr,
        () if any(is_of_span) => UpscalerArchitecture::Span,
        () if any(is_of_compact) => UpscalerArchitecture::Compact,
        () => UpscalerArchitecture::Esrgan,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_known_by_their_names() {
        for (name, expected) in [
            ("params_ema.body.0.weight", Ok(UpscalerArchitecture::Compact)),
            ("block_1.c1_r.sk.weight", Ok(UpscalerArchitecture::Span)),
            ("params.conv_first.weight", Ok(UpscalerArchitecture::Esrgan)),
            ("model.1.sub.0.RDB1.conv1.0.weight", Ok(UpscalerArchitecture::Esrgan)),
            (
                "layers.0.residual_group.blocks.0.attn.relative_position_bias_table",
                Ok(UpscalerArchitecture::SwinIr),
            ),
            ("layers.0.residual_group.overlap_attn.relative_position_bias_table", Err("HAT")),
            ("params.before_RG.1.weight", Err("DAT")),
            ("feats.1.channe_mixer.0.weight", Err("RealPLKSR")),
        ] {
            assert_eq!(architecture(&[name]), expected, "{name}");
            assert!(is_upscaler(name), "{name}");
        }
        // A HAT has a SwinIR's names too.
        let both = ["layers.0.residual_group.blocks.0.attn.relative_position_bias_table", "a.overlap_attn.b"];
        assert_eq!(architecture(&both), Err("HAT"));
        assert!(!is_upscaler("conv_in.weight") && !is_upscaler("body.0.block1.weight"));
    }
}
