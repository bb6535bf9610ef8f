//! Evaluations: layouts and ways of loading that must not change a bit, and inputs that do not fit.

use super::{Inputs, TIMESTEPS, TINY, manifest, params, tiny, values};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::network::{BatchInputs, StepPosition};
use latent_diffusion::tensor::Tensor;
use latent_diffusion::transformer::{TransformerFile, TransformerInputs};
use latent_diffusion::{BlockCount, Error, Event, Setting, Stage};
use std::ops::ControlFlow;
use std::sync::Arc;

#[test]
fn layouts_and_streamed_blocks_predict_the_same_bytes() {
    for family in TINY {
        let [single, folder] = ["single", "diffusers"].map(|layout| tiny(family, layout));
        let inputs = Inputs::of(single.config());
        let expected = inputs.predict(&single.config().load(&params(&single)).unwrap());
        assert!(expected.iter().all(|value| value.is_finite()), "{family}");
        let of_folder = inputs.predict(&folder.config().load(&params(&folder)).unwrap());
        assert!(of_folder == expected, "{family}: diffusers' layout");
        let streamed = single.config().load(&params(&single).streaming_blocks(true)).unwrap();
        assert!(inputs.predict(&streamed) == expected, "{family}: streamed blocks");
    }
}

/// A tiny original file whose matrices are of 8 bits, or of 16 with the same values: plus or minus 2^-4 to 2^-3.
fn of_bits(family: &str, bits: u32) -> TransformerFile {
    let manifest = manifest(family, "tiny", "single");
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for entry in manifest.files().values().flatten() {
        let (start, count) = (data.len(), entry.len() as u16);
        let (is_matrix, is_norm) = (entry.shape.len() > 1, !entry.name.ends_with("bias"));
        let parts = |i: u16| (i.wrapping_mul(40503) >> 15, i.wrapping_mul(25173) >> 13);
        let dtype = match (is_matrix, bits) {
            (true, 8) => {
                data.extend(
                    (0..entry.len()).map(|i| parts(i as u16)).map(|(s, m)| (s << 7 | 3 << 3 | m) as u8),
                );
                "F8_E4M3"
            }
            (true, _) => {
                let values = (0..entry.len()).map(|i| parts(i as u16));
                data.extend(values.flat_map(|(s, m)| (s << 15 | 11 << 10 | m << 7).to_le_bytes()));
                "F16"
            }
            // Norms of 1, biases of 0.
            (false, _) => {
                data.extend((0..count).flat_map(|_| if is_norm { [0, 0x3C] } else { [0, 0] }));
                "F16"
            }
        };
        let (name, shape, end) = (&entry.name, &entry.shape, data.len());
        header.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    TransformerFile::open(Checkpoint::from_bytes(family, bytes).unwrap()).unwrap()
}

#[test]
fn matrices_of_8_bits_predict_what_their_values_do() {
    for family in ["sd35-medium", "flux-dev", "chroma", "z-image", "flux2-klein"] {
        let [eight, sixteen] = [8, 16].map(|bits| of_bits(family, bits));
        eight.check_complete().unwrap();
        let inputs = Inputs::of(eight.config());
        let predict = |file: &TransformerFile| inputs.predict(&file.config().load(&params(file)).unwrap());
        let expected = predict(&sixteen);
        assert!(expected.iter().all(|value| value.is_finite()), "{family}");
        assert!(predict(&eight) == expected, "{family}");
    }
}

#[test]
fn images_of_a_batch_are_those_of_each_alone() {
    for family in ["sd35-medium", "flux-dev", "chroma", "z-image", "flux2-klein"] {
        let file = tiny(family, "single");
        let network = file.config().load(&params(&file)).unwrap();
        let inputs = Inputs::of(file.config());
        let both = inputs.predict(&network);
        let half = |x: &Tensor| {
            let mut dims = x.dims().to_vec();
            dims[0] = 1;
            let values = x.f32s().unwrap();
            Tensor::from_f32(&dims, &values[values.len() / 2..]).unwrap()
        };
        let (x, text, pooled) = (half(&inputs.x), half(&inputs.text), inputs.pooled.as_ref().map(half));
        let alone = TransformerInputs { pooled: pooled.as_ref(), ..TransformerInputs::of_text(&text) };
        let mut condition = network.condition(&alone).unwrap();
        let second = network.forward(&x, &TIMESTEPS[1..], &mut condition).unwrap();
        assert!(second.f32s().unwrap() == &both[both.len() / 2..], "{family}");
        // The positions of another size are not those that were kept.
        let small = values(&[1, 2, 4, x.dims()[3]]);
        let again = network.forward(&small, &TIMESTEPS[1..], &mut condition).unwrap();
        let mut fresh = network.condition(&alone).unwrap();
        let first = network.forward(&small, &TIMESTEPS[1..], &mut fresh).unwrap();
        assert!(again.f32s().unwrap() == first.f32s().unwrap(), "{family}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let refusal = |family: &str, change: &dyn Fn(&mut Inputs), text: &str| {
        let file = tiny(family, "single");
        let network = file.config().load(&params(&file)).unwrap();
        let mut inputs = Inputs::of(file.config());
        change(&mut inputs);
        let condition = network.condition(&inputs.inputs());
        let error = condition
            .and_then(|mut condition| network.forward(&inputs.x, &TIMESTEPS, &mut condition))
            .unwrap_err();
        assert!(
            matches!(error, Error::Setting { .. }) && error.to_string().contains(text),
            "{family}: {error}"
        );
    };
    for family in ["sd3-medium", "flux-dev", "z-image"] {
        refusal(family, &|inputs| inputs.x = values(&[2, 5, 6, 16]), "takes multiples of 2");
        refusal(family, &|inputs| inputs.x = values(&[2, 4, 6, 4]), "takes 16 channels");
        refusal(family, &|inputs| inputs.x = values(&[3, 4, 6, 16]), "do not agree");
        refusal(family, &|inputs| inputs.text = values(&[2, 5, 3]), "takes texts of");
    }
    refusal("sd3-medium", &|inputs| inputs.pooled = None, "takes a pooled text");
    refusal("flux-dev", &|inputs| inputs.pooled = Some(values(&[1, 40])), "a pooled text [1, 40]");
    refusal("flux2-klein", &|inputs| inputs.pooled = Some(values(&[2, 40])), "does not take a pooled text");
    refusal("sd3-medium", &|inputs| inputs.x = values(&[2, 26, 2, 16]), "sides of latents above 24");
    let file = tiny("sd35-medium", "single");
    let network = file.config().load(&params(&file)).unwrap();
    let inputs = Inputs::of(file.config());
    let skipped = TransformerInputs { skipped_blocks: &[3], ..inputs.inputs() };
    let error = network.condition(&skipped).unwrap_err().to_string();
    assert!(error.contains("block 3 cannot be left out of 3 blocks"), "{error}");
    let references = [values(&[1, 4, 4, 16])];
    let referring = TransformerInputs { references: &references, ..inputs.inputs() };
    let error = network.condition(&referring).unwrap_err().to_string();
    assert!(error.contains("does not take reference images"), "{error}");
}

/// What a pipeline conditions a batch on.
fn batch(inputs: &Inputs) -> BatchInputs<'static> {
    BatchInputs {
        text: inputs.text.clone(),
        text_lengths: &[],
        pooled: inputs.pooled.clone(),
        sizes: &[],
        guidance: 1.0,
        extra_channels: None,
        references: &[],
        skipped_blocks: &[],
        controls: &[],
        image_prompts: &[],
        sees_image_prompts: &[],
        cache_interval: 1,
        token_merging: 0.0,
        is_perturbed: false,
    }
}

#[test]
fn a_pipeline_gets_the_same_prediction_block_by_block() {
    let at = StepPosition { step: 0, steps: 1 };
    for (family, blocks) in [("sd3-medium", 3), ("flux-fill", 4), ("z-image", 4), ("flux2-klein", 4)] {
        let file = tiny(family, "single");
        let network = file.config().load_network(&params(&file)).unwrap();
        let inputs = Inputs::of(file.config());
        let mut conditioned = Arc::clone(&network).condition(&batch(&inputs)).unwrap();
        assert_eq!(conditioned.blocks(at), blocks, "{family}");
        let mut seen = 0;
        let mut listener = |_: Event<'_>| {
            seen += 1;
            ControlFlow::Continue(())
        };
        let mut count = BlockCount::new(Stage::Sampling, blocks, &mut listener);
        let out = conditioned.predict(&inputs.x, &TIMESTEPS, at, &mut count).unwrap();
        let expected = inputs.predict(&file.config().load(&params(&file)).unwrap());
        assert!(out.f32s().unwrap() == expected, "{family}");
        assert_eq!(seen, blocks, "{family}");
        let mut cancel = |_: Event<'_>| ControlFlow::Break(());
        let mut count = BlockCount::new(Stage::Sampling, blocks, &mut cancel);
        let cancelled = conditioned.predict(&inputs.x, &TIMESTEPS, at, &mut count);
        assert!(matches!(cancelled, Err(Error::Cancelled)), "{family}");
    }
}

#[test]
fn extra_channels_are_beside_the_latents() {
    let file = tiny("flux-fill", "single");
    let network = file.config().load_network(&params(&file)).unwrap();
    let inputs = Inputs::of(file.config());
    let whole = inputs.predict(&file.config().load(&params(&file)).unwrap());
    let part = |from: usize, to: usize| {
        let all = inputs.x.f32s().unwrap().chunks_exact(96);
        let some: Vec<f32> = all.flat_map(|pixel| pixel[from..to].to_vec()).collect();
        Tensor::from_f32(&[2, 4, 6, to - from], &some).unwrap()
    };
    let extra_channels = Some(part(16, 96));
    let mut conditioned = network.condition(&BatchInputs { extra_channels, ..batch(&inputs) }).unwrap();
    let at = StepPosition { step: 0, steps: 1 };
    let out = conditioned.predict(&part(0, 16), &TIMESTEPS, at, &mut BlockCount::unwatched()).unwrap();
    assert!(out.f32s().unwrap() == whole);
}

#[test]
fn what_only_unets_have_is_refused() {
    let file = tiny("sd3-medium", "single");
    let network = file.config().load_network(&params(&file)).unwrap();
    let inputs = Inputs::of(file.config());
    let asked = [
        (BatchInputs { cache_interval: 2, ..batch(&inputs) }, Setting::CacheInterval),
        (BatchInputs { token_merging: 0.5, ..batch(&inputs) }, Setting::TokenMerging),
        (BatchInputs { is_perturbed: true, ..batch(&inputs) }, Setting::PagScale),
    ];
    for (inputs, expected) in asked {
        let error = Arc::clone(&network).condition(&inputs).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Setting { setting, .. } if setting == expected), "{text}");
        assert!(text.contains("this model has a transformer; leave it out"), "{text}");
    }
}
