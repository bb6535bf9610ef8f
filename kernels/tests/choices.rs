//! The choices of a whole process: what the program sets takes precedence over the environment. In a process of its own,
//! and in one test, because both are global.

use latent_kernels::conv2d::{Algorithm, ConvWeight, Padding, set_algorithm};
use latent_kernels::{DType, Isa, WeightBytes};

#[test]
fn what_the_program_sets_takes_precedence() {
    let fastest = Isa::available().last().unwrap();
    if std::env::var_os(latent_kernels::simd::isa::ISA_VARIABLE).is_none() {
        assert_eq!(Isa::best(), fastest, "the default");
    }
    for isa in Isa::available() {
        Isa::set(isa).unwrap();
        assert_eq!(Isa::best(), isa);
    }
    for isa in [Isa::Avx2, Isa::Avx512, Isa::Neon].into_iter().filter(|isa| !isa.is_available()) {
        let error = Isa::set(isa).unwrap_err().to_string();
        assert!(error.contains(isa.name()) && error.contains("available: scalar"), "{error}");
        assert_eq!(Isa::best(), fastest, "a refused choice changes nothing");
    }

    let bytes = vec![0; 4 * 16 * 9];
    let weight = |kernel, channels| {
        let bytes = &bytes[..4 * channels * kernel * kernel];
        ConvWeight::new(WeightBytes::new(DType::F32, bytes), 1, channels, kernel, 1, Padding::default())
    };
    let (large, pointwise) = (weight(3, 16), weight(1, 16));
    set_algorithm(Some(Algorithm::ImplicitGemm));
    assert_eq!(Algorithm::best(&large), Algorithm::ImplicitGemm);
    for choice in [None, Some(Algorithm::Winograd)] {
        set_algorithm(choice);
        assert_eq!(Algorithm::best(&large), Algorithm::Winograd);
        assert_eq!(Algorithm::best(&pointwise), Algorithm::ImplicitGemm, "where it does not apply");
    }
}
