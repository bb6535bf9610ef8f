//! Flags of samplers and schedules that few people change.

/// Numbers of a sampler and of its schedule that few people change.
#[derive(clap::Args)]
pub(crate) struct SamplerNumbers {
    /// How much noise samplers that add noise do add, 0 to 1 [default: 0 for ddim, 0.3 for tcd, 1 for the others]
    #[arg(long, value_name = "PART")]
    eta: Option<f64>,
    /// Noise that euler, heun and dpm2 add on the way
    #[arg(long, value_name = "AMOUNT", default_value_t = 0.0)]
    s_churn: f64,
    /// What all added noise is multiplied with
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    s_noise: f64,
    /// Exponent of the karras and the polyexponential schedule [default: 7 and 1]
    #[arg(long, value_name = "EXPONENT")]
    rho: Option<f64>,
    /// How far the noise levels of flow matching models (Stable Diffusion 3, Flux) are moved towards noise [default: the
    /// model's own]
    #[arg(long, value_name = "FACTOR")]
    shift: Option<f64>,
    /// Noise levels, from high to low, in place of steps and schedule: 14.6,7,2.9,0.8,0
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', conflicts_with_all = ["steps", "scheduler", "compat", "rho"])]
    sigmas: Option<Vec<f64>>,
}
