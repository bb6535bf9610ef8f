//! The specification: three loops, summed in `f64` so that it is the truth to compare with.

/// `out[i, j] = sum over p of x[i, p] * weight[j, p]` (`[m, k]` times `[n, k]` transposed).
#[must_use]
pub fn gemm(x: &[f32], weight: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let products = (0..k).map(|p| f64::from(x[i * k + p]) * f64::from(weight[j * k + p]));
            out.push(products.sum::<f64>() as f32);
        }
    }
    out
}
