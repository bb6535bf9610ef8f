//! Drawing with image prompts (IP-Adapter).

use super::{entries, file, image, open, quiet};
use latent_diffusion::image_encoder::ImageEncoderFile;
use latent_diffusion::ip_adapter::IpAdapterFile;
use latent_diffusion::{Image, ImagePrompt, Pipeline, Settings, samplers};
use latent_kernels::parallel;
use std::sync::Arc;

fn prompt(adapter: &str) -> ImagePrompt {
    let adapter = IpAdapterFile::open(file("adapter", entries(adapter))).unwrap();
    let encoder = ImageEncoderFile::open(file("encoder", entries("image-encoder"))).unwrap();
    ImagePrompt::new(Arc::new(adapter), Arc::new(encoder), image(80, 60))
}

fn draw(pipeline: &mut Pipeline, prompts: Vec<ImagePrompt>, seeds: &[u64]) -> Vec<Image> {
    let (sampler, _) = samplers::parse("euler").unwrap();
    let settings = Settings::default()
        .with_width(Some(64))
        .with_height(Some(64))
        .with_steps(3)
        .with_sampler(sampler)
        .with_seeds(seeds.to_vec());
    pipeline.set_image_prompts(prompts).unwrap();
    pipeline.text_to_image("a bridge", "fog", &settings, &mut *quiet()).unwrap()
}

#[test]
fn image_prompts_act_alone_and_in_a_batch_and_on_any_number_of_threads() {
    let mut pipeline = open("sd15");
    let plain = draw(&mut pipeline, vec![], &[3]);
    let batch = draw(&mut pipeline, vec![prompt("ip-adapter-plus-sd15")], &[3, 4]);
    assert!(batch[0] != plain[0], "the image is not seen");
    for (image, seed) in batch.iter().zip(3..) {
        assert!(draw(&mut pipeline, vec![prompt("ip-adapter-plus-sd15")], &[seed])[0] == *image, "{seed}");
    }
    let alone =
        parallel::with_threads(1, || draw(&mut open("sd15"), vec![prompt("ip-adapter-plus-sd15")], &[3]));
    assert!(alone.unwrap()[0] == batch[0]);
    assert!(draw(&mut pipeline, vec![], &[3]) == plain, "the image is seen for ever");
}

#[test]
fn an_adapter_of_another_family_and_a_bad_image_are_refused() {
    let mut pipeline = open("sd15");
    let refused = |pipeline: &mut Pipeline, prompt: ImagePrompt| {
        let error = pipeline.set_image_prompts(vec![prompt]).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        error.to_string()
    };
    let line = refused(&mut pipeline, prompt("ip-adapter-plain-sdxl"));
    assert!(
        line.contains("is an IP-Adapter for") && line.contains("give one for Stable Diffusion 1.x"),
        "{line}"
    );
    let empty = Image { width: 0, height: 0, rgb: Vec::new() };
    let line = refused(&mut pipeline, ImagePrompt { image: empty, ..prompt("ip-adapter-plain-sd15") });
    assert!(line.contains("0x0"), "{line}");
    let line = refused(&mut pipeline, ImagePrompt { strength: 11.0, ..prompt("ip-adapter-plain-sd15") });
    assert!(line.contains("ip adapter strength"), "{line}");
}

#[test]
fn an_image_encoder_of_another_size_is_refused() {
    let mut wide = entries("image-encoder");
    for entry in wide.iter_mut().filter(|entry| entry["name"] == "visual_projection.weight") {
        entry["shape"] = serde_json::json!([96, 128]);
    }
    let other = file("wide.safetensors", wide);
    let encoder = Arc::new(ImageEncoderFile::open(other).unwrap());
    let prompt = ImagePrompt { encoder, ..prompt("ip-adapter-plain-sd15") };
    let line = open("sd15").set_image_prompts(vec![prompt]).unwrap_err().to_string();
    assert!(
        line.contains("wide.safetensors") && line.contains("of 96 values, and adapter takes 64"),
        "{line}"
    );
}
