//! Flags of guidance beside the cfg scale.

/// Guidance beside the cfg scale.
#[derive(clap::Args)]
pub(crate) struct GuidanceArgs {
    /// Scale that a network was distilled with and takes as an input (Flux.1 dev, LCM); --cfg-scale then guides beside it, away from
    /// the negative prompt [default: the cfg scale is the input, and nothing guides beside it]
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// Perturbed-attention guidance: how far to move from what the UNet draws with its mid block perturbed; clearer structures
    /// for one evaluation more a step; 3 is usual
    #[arg(long, alias = "pag", value_name = "SCALE", default_value_t = 0.0, allow_negative_numbers = true)]
    pag_scale: f64,
    /// Skip-layer guidance of Stable Diffusion 3.5: how far to move from what the transformer draws without some of its blocks; better
    /// anatomy for one evaluation more in the first steps; 2.8 is usual
    #[arg(long, alias = "slg", value_name = "SCALE", default_value_t = 0.0, allow_negative_numbers = true)]
    slg_scale: f64,
    /// The blocks that are left out for it, counted from 0 [default: 7,8,9]
    #[arg(long, alias = "skip-layers", value_name = "NUMBERS", value_delimiter = ',')]
    slg_layers: Option<Vec<usize>>,
    /// Part of the steps, 0 to 1, after which it acts
    #[arg(
        long,
        alias = "skip-layer-start",
        value_name = "PART",
        default_value_t = 0.01,
        allow_negative_numbers = true
    )]
    slg_start: f64,
    /// Part of the steps, 0 to 1, after which it acts no longer
    #[arg(
        long,
        alias = "skip-layer-end",
        value_name = "PART",
        default_value_t = 0.2,
        allow_negative_numbers = true
    )]
    slg_end: f64,
}
