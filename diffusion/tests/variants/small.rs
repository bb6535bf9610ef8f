//! Small models of SD 1.x and 2.x, a tiny VAE in place of the VAE, and models whose inputs nothing here makes.

use super::{bytes, checkpoint, entries, quiet};
use latent_diffusion::families::{Model, ModelVariant, Probe};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::{Pipeline, Seamless, Settings};
use serde_json::{Value, json};

/// The text encoder of a whole model, and a VAE or what stands for it.
fn with_text(family: &str, text: &str, keeps: impl Fn(&str) -> bool) -> Vec<Value> {
    let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
    let mut all = entries(family);
    all.retain(|entry| keeps(&name(entry)));
    all.extend(entries(text).into_iter().filter(|entry| name(entry).starts_with("cond_stage_model.")));
    all
}

/// The tensors of a tiny VAE below the prefix of a model's VAE, by the names of diffusers.
fn tiny_vae() -> Vec<Value> {
    let mut tensors = entries("taesd");
    for entry in &mut tensors {
        let name = entry["name"].as_str().unwrap().to_owned();
        entry["src"] = json!(name);
        entry["name"] = json!(format!("first_stage_model.{}", name.trim_start_matches("taesd_")));
    }
    tensors
}

#[test]
fn small_models_are_recognised_and_draw() {
    for (family, text, id, variant) in [
        ("bksdm-small", "sd15", "sd1", ModelVariant::BkSdm),
        ("bksdm-tiny", "sd15", "sd1", ModelVariant::BkSdm),
        ("sdxs-ds", "sd15", "sd1", ModelVariant::Sdxs),
    ] {
        let all = with_text(family, text, |_| true);
        let model = Model::detect(&checkpoint(all.clone())).unwrap();
        assert_eq!(
            (model.family.id, Probe::of(&checkpoint(all.clone())).identity().variant),
            (id, Some(variant))
        );
        let is_single = variant == ModelVariant::Sdxs;
        let usual = Settings::of(&model);
        assert_eq!((usual.steps == 1, usual.guidance == 1.0), (is_single, is_single), "{family}");
        let settings = usual.with_width(Some(64)).with_height(Some(64)).with_steps(1);
        let mut pipeline = Pipeline::open(Checkpoint::from_bytes("small", bytes(all)).unwrap()).unwrap();
        let images = pipeline.text_to_image("a cat", "", &settings, &mut *quiet()).unwrap();
        assert_eq!(images[0].rgb.len(), 64 * 64 * 3);
        // There is no mid block to perturb.
        let perturbed = settings.with_pag_scale(3.0);
        let refused = pipeline.text_to_image("a cat", "", &perturbed, &mut *quiet()).unwrap_err().to_string();
        assert!(refused.contains("pag scale") && refused.contains("mid block"), "{refused}");
    }
}

#[test]
fn the_text_alone_is_read_by_the_finest_attentions_of_sdxs() {
    let probe = Probe::of(&checkpoint(entries("sdxs-09")));
    let identity = probe.identity();
    assert_eq!(
        (identity.family.map(|family| family.id), identity.variant),
        (Some("sd2"), Some(ModelVariant::Sdxs))
    );
}

/// As in the published folders of SDXS.
#[test]
fn a_tiny_vae_in_place_of_the_vae_decodes() {
    let vae = |name: &str| name.starts_with("first_stage_model.");
    let mut all = with_text("sdxs-ds", "sd15", |name| !vae(name));
    all.extend(tiny_vae());
    let settings = Settings::default().with_width(Some(64)).with_height(Some(64)).with_steps(1);
    let model = Model::detect(&checkpoint(all.clone())).unwrap();
    assert!(model.has_tiny_vae);
    let mut pipeline = Pipeline::open(Checkpoint::from_bytes("small", bytes(all)).unwrap()).unwrap();
    let images = pipeline.text_to_image("a cat", "", &settings, &mut *quiet()).unwrap();
    assert_eq!(images[0].rgb.len(), 64 * 64 * 3);
    // Without another one it stays.
    pipeline.set_taesd(None).unwrap();
    assert_eq!(pipeline.text_to_image("a cat", "", &settings, &mut *quiet()).unwrap(), images);
    let cut = with_text("sdxs-ds", "sd15", |name| !vae(name));
    let missing =
        Pipeline::open(Checkpoint::from_bytes("small", bytes(cut)).unwrap()).unwrap_err().to_string();
    assert!(missing.contains("VAE"), "{missing}");
}

/// Moving a seamless image round and drawing is drawing and moving: so its convolutions know no edge.
#[test]
fn a_seamless_pipeline_draws_other_pixels_and_goes_back() {
    let file = || Checkpoint::from_bytes("small", bytes(with_text("bksdm-tiny", "sd15", |_| true))).unwrap();
    let mut pipeline = Pipeline::open(file()).unwrap();
    let settings = Settings::default().with_width(Some(64)).with_height(Some(64)).with_steps(2);
    let mut draw = |seamless| {
        pipeline.set_seamless(seamless);
        pipeline.text_to_image("a cat", "", &settings, &mut *quiet()).unwrap()
    };
    let plain = draw(Seamless::Off);
    let all = [Seamless::X, Seamless::Y, Seamless::Both].map(&mut draw);
    assert!(all.iter().all(|images| *images != plain) && all[0] != all[1] && all[1] != all[2]);
    assert_eq!(draw(Seamless::Off), plain);
}

#[test]
fn models_of_other_inputs_are_refused_by_their_names() {
    let conv_in = "model.diffusion_model.input_blocks.0.0.weight";
    for (channels, name) in [(5, "depth"), (7, "x4 upscaler")] {
        let mut all = entries("sd21");
        let entry = all.iter_mut().find(|entry| entry["name"] == conv_in).unwrap();
        entry["shape"][1] = json!(channels);
        let refused = Model::detect(&checkpoint(all)).unwrap_err().to_string();
        assert!(refused.contains(&format!("of the kind \"{name}\"")), "{refused}");
    }
    let mut all = entries("sd21");
    for (layer, shape) in [(0, [256, 320]), (2, [256, 256])] {
        all.push(json!({ "name": format!("model.diffusion_model.label_emb.0.{layer}.weight"), "dtype": "W", "shape": shape }));
        all.push(json!({ "name": format!("model.diffusion_model.label_emb.0.{layer}.bias"), "dtype": "W", "shape": [256] }));
    }
    let refused = Model::detect(&checkpoint(all)).unwrap_err().to_string();
    assert!(refused.contains("of the kind \"unCLIP\""), "{refused}");
}
