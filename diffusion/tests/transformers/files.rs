//! Names and shapes: what a file of full size is told by, and what it lacks.

use super::{manifest, tiny, tiny_checkpoint};
use latent_benches::Manifest;
use latent_diffusion::Error;
use latent_diffusion::families::Sources;
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::transformer::{FluxConditioning, TransformerConfig, TransformerFile};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Families with manifests of full size.
const FULL: [&str; 8] = [
    "sd3-medium",
    "sd35-medium",
    "sd35-large",
    "flux-schnell",
    "flux-dev",
    "chroma",
    "z-image",
    "flux2-klein",
];

/// A file of a manifest with a hole in place of its numbers, with names that begin with `prefix`, but for those that `drop` picks.
fn sparse(manifest: &Manifest, prefix: &str, drop: &dyn Fn(&str) -> bool) -> TransformerFile {
    let (mut header, mut end) = (Vec::new(), 0);
    for entry in manifest.files().values().flatten().filter(|entry| !drop(&entry.name)) {
        let start = end;
        end += 2 * entry.len() as u64;
        let (name, shape) = (&entry.name, &entry.shape);
        header.push(format!(
            r#""{prefix}{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    let name = format!("transformer-{}-{:x}.safetensors", std::process::id(), header.len());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
    let opened = TransformerFile::open(Checkpoint::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    opened.unwrap()
}

#[test]
fn both_layouts_of_all_full_sizes_are_told_and_complete() {
    for family in FULL {
        let [single, folder] = ["single", "diffusers"].map(|layout| manifest(family, "full", layout));
        let files = [
            sparse(&single, "", &|_| false),
            sparse(&single, "model.diffusion_model.", &|_| false),
            sparse(&folder, "", &|_| false),
            sparse(&folder, "transformer.", &|_| false),
        ];
        for file in &files {
            assert_eq!(file.config(), files[0].config(), "{family}");
            file.check_complete().unwrap_or_else(|error| panic!("{family}: {error}"));
        }
        check_sizes(family, files[0].config());
    }
}

/// The published sizes.
fn check_sizes(family: &str, config: &TransformerConfig) {
    let is_guided = family == "flux-dev";
    match config {
        TransformerConfig::Sd3(c) => {
            let sizes = (c.layers, c.heads, c.width, c.dual_layers, c.has_qk_norm, c.position_grid);
            let expected = [
                ("sd3-medium", (24, 24, 1536, 0, false, 192)),
                ("sd35-medium", (24, 24, 1536, 13, true, 384)),
                ("sd35-large", (38, 38, 2432, 0, true, 192)),
            ];
            assert!(expected.contains(&(family, sizes)), "{family}: {sizes:?}");
            assert_eq!((c.in_channels, c.out_channels, c.text_width, c.pooled_width), (16, 16, 4096, 2048));
        }
        TransformerConfig::Flux(c) => {
            let sizes = (c.layers, c.single_layers, c.heads, c.width, c.hidden, c.in_channels, c.text_width);
            assert_eq!(sizes, (19, 38, 24, 3072, 12288, 16, 4096), "{family}");
            match c.conditioning {
                FluxConditioning::Embedded { pooled_width, takes_guidance } => {
                    assert_eq!((pooled_width, takes_guidance), (768, is_guided), "{family}");
                }
                FluxConditioning::Approximated(sizes) => {
                    assert_eq!((sizes.inputs, sizes.width, sizes.layers), (64, 5120, 5), "{family}");
                }
            }
        }
        TransformerConfig::Flux2(c) => {
            let sizes = (c.layers, c.single_layers, c.heads, c.width, c.hidden, c.in_channels, c.text_width);
            assert_eq!(sizes, (5, 20, 24, 3072, 9216, 128, 7680), "{family}");
        }
        TransformerConfig::ZImage(c) => {
            let sizes =
                (c.layers, c.noise_refiners, c.context_refiners, c.heads, c.width, c.hidden, c.text_width);
            assert_eq!(sizes, (30, 2, 2, 30, 3840, 10240, 2560), "{family}");
        }
        other => panic!("{family}: {other:?}"),
    }
}

/// A model that is joined from files of its parts has canonical names.
#[test]
fn a_network_is_told_by_its_canonical_names() {
    for family in ["sd3-medium", "sd35-medium", "sd35-large", "flux-schnell", "flux-dev", "chroma", "z-image"]
    {
        for layout in ["single", "diffusers"] {
            let unet = Some(tiny_checkpoint(family, layout));
            let joined = Sources { unet, ..Sources::default() }.join().unwrap();
            let joined =
                TransformerFile::open(joined.checkpoint).unwrap_or_else(|error| panic!("{family}: {error}"));
            assert_eq!(joined.config(), tiny(family, layout).config(), "{family}");
        }
    }
}

#[test]
fn missing_and_superfluous_tensors_are_listed() {
    for (family, layout, tensor, listed) in [
        (
            "sd35-medium",
            "single",
            "joint_blocks.1.x_block.attn2.proj.bias",
            "transformer_blocks.1.attn2.to_out.0.bias",
        ),
        (
            "sd3-medium",
            "diffusers",
            "transformer_blocks.1.attn.to_q.weight",
            "transformer_blocks.1.attn.to_q.weight",
        ),
        ("flux-dev", "single", "single_blocks.1.linear2.bias", "single_transformer_blocks.1.proj_out.bias"),
        (
            "chroma",
            "single",
            "distilled_guidance_layer.norms.1.scale",
            "distilled_guidance_layer.norms.1.weight",
        ),
        (
            "flux2-klein",
            "single",
            "double_blocks.1.txt_mlp.2.weight",
            "transformer_blocks.1.ff_context.linear_out.weight",
        ),
        ("z-image", "single", "layers.1.feed_forward.w3.weight", "layers.1.feed_forward.w3.weight"),
    ] {
        let file = sparse(&manifest(family, "tiny", layout), "", &|name| name == tensor);
        let error = file.check_complete().unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("1 of ") && text.contains(&format!("transformer.{listed}")),
            "{family}: {text}"
        );
    }
    // Without a whole block, the ones behind it are not taken for nothing.
    let gap =
        sparse(&manifest("flux-dev", "tiny", "single"), "", &|name| name.starts_with("double_blocks.1."));
    assert_eq!(gap.config(), &shorter(tiny("flux-dev", "single").config()));
    gap.check_complete().unwrap();
    let gap =
        sparse(&manifest("flux-dev", "full", "single"), "", &|name| name.starts_with("double_blocks.3."));
    let text = gap.check_complete().unwrap_err().to_string();
    assert!(text.contains("no layer uses"), "{text}");
}

/// The sizes of a model that lacks its last double block.
fn shorter(config: &TransformerConfig) -> TransformerConfig {
    let TransformerConfig::Flux(config) = config else { panic!("{config:?}") };
    TransformerConfig::Flux(latent_diffusion::transformer::FluxConfig {
        layers: config.layers - 1,
        ..config.clone()
    })
}

#[test]
fn other_files_are_refused_by_name() {
    let header = br#"{"conv_in.weight":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header].concat();
    let error =
        TransformerFile::open(Checkpoint::from_bytes("unet.safetensors", bytes).unwrap()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("unet.safetensors: is not a file of a known diffusion transformer"), "{text}");
}
