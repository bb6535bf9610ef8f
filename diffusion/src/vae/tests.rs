//! Decoding and encoding in bands give the bytes of doing so whole.

use super::{VaeConfig, VaeDecoder, VaeEncoder};
use crate::blocks::BlockCount;
use crate::params::Params;
use crate::rng::RngKind;
use latent_kernels::parallel;
use latent_tensor::Tensor;

fn config(channels: &[usize]) -> VaeConfig {
    VaeConfig {
        packing: 1,
        block_out_channels: channels.to_vec(),
        layers_per_block: 1,
        latent_channels: 4,
        scaling_factor: 0.18215,
        shift_factor: 0.0,
        has_quant_conv: true,
        statistics: None,
    }
}

/// Latents with a shift, of a VAE whose networks meet them without convolutions in between.
#[test]
fn a_shift_is_added_before_decoding_and_taken_away_after_encoding() {
    let plain = VaeConfig { scaling_factor: 1.0, has_quant_conv: false, ..config(&[32, 64]) };
    let shifted = VaeConfig { scaling_factor: 2.0, shift_factor: 0.5, ..plain.clone() };
    let params = Params::synthetic(1, &|_| ());
    let scaled = latent([1, 4, 4]);
    let raw: Vec<f32> = scaled.f32s().unwrap().iter().map(|value| value / 2.0 + 0.5).collect();
    let raw = Tensor::from_f32(scaled.dims(), &raw).unwrap();
    let decode = |config: &VaeConfig, latent| VaeDecoder::load(&params, config).unwrap().decode(latent);
    let [a, b] = [decode(&plain, &raw).unwrap(), decode(&shifted, &scaled).unwrap()];
    assert_eq!(a.f32s().unwrap(), b.f32s().unwrap());
    let encode = |config: &VaeConfig| {
        let moments = VaeEncoder::load(&params, config).unwrap().encode(&image([1, 8, 8])).unwrap();
        moments.mode().unwrap()
    };
    let [a, b] = [encode(&plain), encode(&shifted)];
    for (a, b) in a.f32s().unwrap().iter().zip(b.f32s().unwrap()) {
        assert!(((a - 0.5) * 2.0 - b).abs() < 1e-6);
    }
}

fn decoder(channels: &[usize]) -> VaeDecoder {
    VaeDecoder::load(&Params::synthetic(1, &|_| ()), &config(channels)).unwrap()
}

fn encoder(channels: &[usize]) -> VaeEncoder {
    VaeEncoder::load(&Params::synthetic(1, &|_| ()), &config(channels)).unwrap()
}

fn image([batch, height, width]: [usize; 3]) -> Tensor {
    let mut values = vec![0.0; batch * height * width * 3];
    RngKind::Cpu.generator(8).normal(&mut values);
    Tensor::from_f32(&[batch, height, width, 3], &values).unwrap()
}

fn latent(dims: [usize; 3]) -> Tensor {
    let [batch, height, width] = dims;
    let mut values = vec![0.0; batch * height * width * 4];
    RngKind::Cpu.generator(7).normal(&mut values);
    Tensor::from_f32(&[batch, height, width, 4], &values).unwrap()
}

#[track_caller]
fn same_bytes(whole: &Tensor, bands: &Tensor, what: &str) {
    assert_eq!(whole.dims(), bands.dims(), "{what}");
    assert!(whole.f32s().unwrap().iter().all(|v| v.is_finite()), "{what}");
    assert!(whole.bytes().unwrap() == bands.bytes().unwrap(), "{what}");
}

/// From one band of four rows after the other to one that is larger than the image. No image here is whole bands; some
/// are no whole tiles.
#[test]
fn the_same_bytes_in_bands_of_any_height() {
    // With a shortcut at the finest level, without one, and without an upsampler.
    for channels in [&[32, 64][..], &[32, 32, 64], &[64]] {
        let decoder = decoder(channels);
        for size in [[1, 1, 1], [1, 5, 9], [2, 11, 6], [1, 23, 10]] {
            let latent = latent(size);
            let whole = decoder.decode(&latent).unwrap();
            let row = 4 * whole.dims()[2] * channels[channels.len().min(2) - 1];
            for rows in [1, 4, 12, 16, 1000] {
                let bands =
                    decoder.decode_in_bands_of(rows * row, &latent, &mut BlockCount::unwatched()).unwrap();
                same_bytes(&whole, &bands, &format!("{channels:?} {size:?} bands of {rows} rows"));
            }
        }
    }
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let (decoder, latent) = (decoder(&[64, 128]), latent([1, 31, 40]));
    let whole = decoder.decode(&latent).unwrap();
    for threads in [1, 3] {
        let decode =
            || decoder.decode_in_bands_of(8 * 4 * 80 * 128, &latent, &mut BlockCount::unwatched()).unwrap();
        same_bytes(&whole, &parallel::with_threads(threads, decode).unwrap(), &format!("{threads} threads"));
    }
}

/// An image of 2 1/2 bands.
#[test]
fn the_same_bytes_in_bands_of_the_usual_size() {
    let decoder = decoder(&[32, 64, 64]);
    let latent = latent([1, 100, 103]);
    let whole = decoder.decode(&latent).unwrap();
    assert!(4 * 64 * whole.dims()[1] * whole.dims()[2] > 2 * super::bands::BAND_BYTES);
    same_bytes(&whole, &decoder.decode_in_bands(&latent).unwrap(), "400x412");
}

#[test]
fn the_same_moments_in_bands_of_any_height() {
    for channels in [&[32, 64][..], &[32, 32, 64], &[64]] {
        let encoder = encoder(channels);
        // Sides that are no multiples of the factor are cut off the same way.
        for size in [[1, 4, 4], [1, 20, 36], [2, 44, 24], [1, 93, 41]] {
            let image = image(size);
            let whole = encoder.encode(&image).unwrap();
            for rows in [1, 4, 12, 16, 1000] {
                let bands = encoder
                    .encode_in_bands_of(
                        rows * 4 * size[2] * channels[0],
                        &image,
                        &mut BlockCount::unwatched(),
                    )
                    .unwrap();
                let what = format!("{channels:?} {size:?} bands of {rows} rows");
                same_bytes(whole.values(), bands.values(), &what);
            }
        }
    }
    let (encoder, image) = (encoder(&[32, 64, 64]), image([1, 400, 412]));
    let whole = encoder.encode(&image).unwrap();
    let bands =
        || encoder.encode_in_bands_of(64 * 4 * 412 * 32, &image, &mut BlockCount::unwatched()).unwrap();
    for threads in [1, 3] {
        let bands = parallel::with_threads(threads, bands).unwrap();
        same_bytes(whole.values(), bands.values(), &format!("{threads} threads"));
    }
}

#[test]
fn a_image_that_does_not_fit_is_refused_both_ways() {
    let encoder = encoder(&[32, 64]);
    for dims in [&[1, 4, 4, 4][..], &[4, 4, 3], &[1, 0, 4, 3]] {
        let image = Tensor::zeros(dims).unwrap();
        assert!(encoder.encode(&image).is_err() && encoder.encode_in_bands(&image).is_err(), "{dims:?}");
    }
}

#[test]
fn a_latent_that_does_not_fit_is_refused_both_ways() {
    let decoder = decoder(&[32, 64]);
    for dims in [&[1, 4, 4, 3][..], &[4, 4, 4]] {
        let latent = Tensor::zeros(dims).unwrap();
        assert!(decoder.decode(&latent).is_err() && decoder.decode_in_bands(&latent).is_err(), "{dims:?}");
    }
}
