//! Names of published files, there and back.

use super::{diffusers, ldm, open_clip};

/// Names of the tensors of a manifest below a prefix.
fn below(manifest: &str, prefix: &str) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/manifests/");
    let text = std::fs::read_to_string(format!("{folder}{manifest}-single.json")).unwrap();
    let manifest = latent_benches::Manifest::parse(&text).unwrap();
    let names = manifest.files().values().flatten().map(|entry| entry.name.as_str());
    names.filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
}

#[test]
fn every_published_name_survives_the_round_trip() {
    for (manifest, attending, encoder) in [
        ("sd15-full", 1..4, None),
        ("sd21-full", 1..4, Some("cond_stage_model.model.")),
        ("sdxl-full", 0..2, Some("conditioner.embedders.1.model.")),
        ("sdxl-refiner-tiny", 1..3, Some("conditioner.embedders.0.model.")),
    ] {
        let unet_names = below(manifest, "model.diffusion_model.");
        assert!(unet_names.len() > 600);
        for name in unet_names {
            let canonical = ldm::unet_to_canonical(&name, 2).unwrap();
            let back = ldm::unet_from_canonical(&canonical, 2, |level| attending.contains(&level));
            assert_eq!(back.as_deref(), Some(name.as_str()), "{manifest} {canonical}");
        }
        let vae_names = below(manifest, "first_stage_model.");
        assert_eq!(vae_names.len(), 248);
        for name in vae_names {
            let canonical = ldm::vae_to_canonical(&name, 4).unwrap();
            assert_eq!(ldm::vae_from_canonical(&canonical, 4).as_deref(), Some(name.as_str()), "{canonical}");
        }
        for name in encoder.map_or(Vec::new(), |prefix| below(manifest, prefix)) {
            let canonical = open_clip::to_canonical(&name);
            assert_eq!(canonical.is_none(), name == "logit_scale", "{name}");
            assert!(
                canonical
                    .is_none_or(|canonical| open_clip::from_canonical(&canonical).as_ref() == Some(&name))
            );
        }
    }
}

#[test]
fn foreign_names_have_no_original_name() {
    for name in ["", "a", "a.b", "up_blocks.x.resnets.0.conv1.weight", "up_blocks.9.resnets.0.conv1.weight"] {
        assert_eq!(ldm::vae_from_canonical(name, 4), None, "{name}");
        assert_eq!(open_clip::from_canonical(name), None, "{name}");
    }
    assert_eq!(ldm::unet_from_canonical("down_blocks.0.resnets.0.other.weight", 2, |_| true), None);
    assert_eq!(open_clip::from_canonical("text_model.encoder.layers.0.self_attn.q_proj.weight"), None);
}

#[test]
fn original_names_of_the_unet() {
    for (layer, expected) in [
        ("down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"),
        ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1"),
        ("mid_block.attentions.0.proj_out", "middle_block.1.proj_out"),
        ("up_blocks.1.attentions.2.proj_out", "output_blocks.5.1.proj_out"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("conv_in", "input_blocks.0.0"),
    ] {
        assert_eq!(ldm::unet_layer_from_canonical(layer, 2).as_deref(), Some(expected));
    }
    assert_eq!(ldm::unet_layer_from_canonical("down_blocks.x.resnets.0.conv1", 2), None);
    assert_eq!(ldm::unet_layer_from_canonical("", 2), None);
}

#[test]
fn unet_blocks() {
    for (original, canonical) in [
        ("time_embed.2.bias", "time_embedding.linear_2.bias"),
        ("time_embed.cond_proj.weight", "time_embedding.cond_proj.weight"),
        ("input_blocks.0.0.weight", "conv_in.weight"),
        ("input_blocks.1.0.in_layers.2.weight", "down_blocks.0.resnets.0.conv1.weight"),
        ("input_blocks.2.1.proj_in.weight", "down_blocks.0.attentions.1.proj_in.weight"),
        ("input_blocks.3.0.op.bias", "down_blocks.0.downsamplers.0.conv.bias"),
        ("input_blocks.4.0.skip_connection.weight", "down_blocks.1.resnets.0.conv_shortcut.weight"),
        ("middle_block.0.emb_layers.1.weight", "mid_block.resnets.0.time_emb_proj.weight"),
        ("middle_block.1.norm.weight", "mid_block.attentions.0.norm.weight"),
        ("middle_block.2.out_layers.3.bias", "mid_block.resnets.1.conv2.bias"),
        ("output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
        ("output_blocks.5.2.conv.weight", "up_blocks.1.upsamplers.0.conv.weight"),
        // SDXL: attention at the coarsest level too, and a vector added to the time.
        ("output_blocks.2.2.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
        ("label_emb.0.0.weight", "add_embedding.linear_1.weight"),
        ("label_emb.0.2.bias", "add_embedding.linear_2.bias"),
        (
            "output_blocks.11.1.transformer_blocks.0.attn1.to_out.0.bias",
            "up_blocks.3.attentions.2.transformer_blocks.0.attn1.to_out.0.bias",
        ),
        ("out.0.weight", "conv_norm_out.weight"),
        ("out.2.weight", "conv_out.weight"),
    ] {
        assert_eq!(ldm::unet_to_canonical(original, 2).as_deref(), Some(canonical));
    }
    for other in
        ["", "input_blocks", "input_blocks.x.0", "input_blocks.1.7.weight.a", "middle_block.0.9.x", "betas"]
    {
        assert_eq!(ldm::unet_to_canonical(other, 2), None, "{other}");
    }
}

#[test]
fn vae_blocks() {
    for (original, canonical) in [
        (
            "encoder.down.1.block.0.nin_shortcut.weight",
            "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
        ),
        ("encoder.down.0.downsample.conv.bias", "encoder.down_blocks.0.downsamplers.0.conv.bias"),
        ("decoder.up.3.block.2.norm1.weight", "decoder.up_blocks.0.resnets.2.norm1.weight"),
        ("decoder.up.1.upsample.conv.weight", "decoder.up_blocks.2.upsamplers.0.conv.weight"),
        ("decoder.mid.block_2.conv1.bias", "decoder.mid_block.resnets.1.conv1.bias"),
        ("encoder.mid.attn_1.proj_out.weight", "encoder.mid_block.attentions.0.to_out.0.weight"),
        ("decoder.norm_out.bias", "decoder.conv_norm_out.bias"),
        ("decoder.conv_in.weight", "decoder.conv_in.weight"),
        ("post_quant_conv.weight", "post_quant_conv.weight"),
    ] {
        assert_eq!(ldm::vae_to_canonical(original, 4).as_deref(), Some(canonical));
    }
    for other in ["", "decoder.up.4.block.0.norm1.weight", "decoder.mid.block_0.conv1.bias", "loss.logvar"] {
        assert_eq!(ldm::vae_to_canonical(other, 4), None, "{other}");
    }
    assert_eq!(
        diffusers::vae_to_canonical("encoder.mid_block.attentions.0.query.bias"),
        "encoder.mid_block.attentions.0.to_q.bias"
    );
    assert_eq!(
        diffusers::vae_to_canonical("encoder.mid_block.attentions.0.to_out.0.bias"),
        "encoder.mid_block.attentions.0.to_out.0.bias"
    );
}
