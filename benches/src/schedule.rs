//! The buffers of the DDPM noise schedule, which the original single-file checkpoints store next to the weights.
//!
//! Ho, Jain, Abbeel: "Denoising Diffusion Probabilistic Models" (2020), section 2, with the "scaled linear" betas of
//! Stable Diffusion: the square roots of the betas are equally spaced. Everything in `f64`, stored as `f32`.

/// The number of training steps.
const STEPS: usize = 1000;
/// The first beta.
const BETA_START: f64 = 0.00085;
/// The last beta.
const BETA_END: f64 = 0.0120;
/// The smallest posterior variance whose logarithm is taken (it is zero in step 0).
const MIN_VARIANCE: f64 = 1e-20;

/// The buffer called `name`, one value for each of the 1000 training steps, or `None` where there is no such buffer.
pub fn buffer(name: &str) -> Option<Vec<f32>> {
    let betas = betas();
    let mut product = 1.0;
    let mut previous = 1.0; // the cumulative product of the step before
    let mut values = Vec::with_capacity(STEPS);
    for beta in betas {
        product *= 1.0 - beta;
        values.push(value(name, beta, product, previous)? as f32);
        previous = product;
    }
    Some(values)
}

/// The betas: squares of an equally spaced sequence with both ends included.
fn betas() -> Vec<f64> {
    let (start, end) = (BETA_START.sqrt(), BETA_END.sqrt());
    let step = (end - start) / (STEPS - 1) as f64;
    (0..STEPS)
        .map(|i| if i + 1 == STEPS { end } else { i as f64 * step + start })
        .map(|root| root * root)
        .collect()
}

/// One step of a buffer: `cumulative` is the product of all `1 - beta` so far, `previous` that of the step before.
fn value(name: &str, beta: f64, cumulative: f64, previous: f64) -> Option<f64> {
    let posterior_variance = || beta * (1.0 - previous) / (1.0 - cumulative);
    Some(match name {
        "betas" => beta,
        "alphas_cumprod" => cumulative,
        "alphas_cumprod_prev" => previous,
        "sqrt_alphas_cumprod" => cumulative.sqrt(),
        "sqrt_one_minus_alphas_cumprod" => (1.0 - cumulative).sqrt(),
        "log_one_minus_alphas_cumprod" => (1.0 - cumulative).ln(),
        "sqrt_recip_alphas_cumprod" => (1.0 / cumulative).sqrt(),
        "sqrt_recipm1_alphas_cumprod" => (1.0 / cumulative - 1.0).sqrt(),
        "posterior_variance" => posterior_variance(),
        "posterior_log_variance_clipped" => posterior_variance().max(MIN_VARIANCE).ln(),
        "posterior_mean_coef1" => beta * previous.sqrt() / (1.0 - cumulative),
        "posterior_mean_coef2" => (1.0 - previous) * (1.0 - beta).sqrt() / (1.0 - cumulative),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_schedule() {
        let betas = buffer("betas").expect("a known buffer");
        assert_eq!(betas.len(), 1000);
        assert_eq!((betas[0], betas[999]), (0.00085, 0.012));
        let previous = buffer("alphas_cumprod_prev").expect("a known buffer");
        assert_eq!(previous[0], 1.0);
        assert_eq!(previous[1..], buffer("alphas_cumprod").expect("a known buffer")[..999]);
    }

    #[test]
    fn unknown_buffer() {
        assert_eq!(buffer("gammas"), None);
    }
}
