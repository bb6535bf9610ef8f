//! Makes the inputs from which the fuzzer starts: `cargo test -p latent-cli --test program fuzz_seeds -- --ignored` writes
//! `fuzz/corpus/*/seed-*` anew. What the fuzzer finds beside them is in `fuzz/corpus` too, under names of hashes.

use image::{DynamicImage, ImageFormat, RgbaImage};
use std::fs;
use std::io::Cursor;
use std::path::Path;

type Seeds = Vec<(String, Vec<u8>)>;

#[test]
#[ignore = "writes files into the repository"]
fn seeds_are_written() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, seeds) in [
        ("header", headers()),
        ("gguf", ggufs()),
        ("folder", folders()),
        ("lora", loras()),
        ("tokenizer", texts()),
        ("prompt", prompts()),
        ("image", images()),
        ("metadata", metadata()),
        ("pickle", pickles()),
    ] {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).unwrap();
        for old in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
            if old.file_name().to_string_lossy().starts_with("seed-") {
                fs::remove_file(old.path()).unwrap();
            }
        }
        assert!(seeds.len() >= 20, "{target}: {}", seeds.len());
        for (name, bytes) in seeds {
            assert!(bytes.len() <= 4096, "{target}: {name} has {} bytes", bytes.len());
            fs::write(folder.join(format!("seed-{name}")), bytes).unwrap();
        }
    }
}

/// A header of tensors of these names, formats and shapes.
fn header(tensors: &[(&str, &str, &[usize])]) -> Vec<u8> {
    let (mut table, mut end) = (serde_json::Map::new(), 0);
    for (name, dtype, shape) in tensors {
        let size = match *dtype {
            "F64" | "I64" | "U64" | "C64" => 8,
            "F32" | "I32" | "U32" => 4,
            "F16" | "BF16" | "I16" | "U16" => 2,
            _ => 1,
        };
        let start = end;
        end += size * shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        table.insert((*name).to_owned(), entry);
    }
    serde_json::to_vec(&table).unwrap()
}

/// A few of the tensors of a synthetic checkpoint, with sides of at most 4: what they are is told by the names.
fn some_of(manifest: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/reference/manifests");
    let text = fs::read_to_string(folder.join(format!("{manifest}-tiny-single.json"))).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list = json["files"].as_object().unwrap().values().next().unwrap().as_array().unwrap();
    let some: Vec<_> = list
        .iter()
        .step_by(list.len().div_ceil(20))
        .map(|entry| {
            let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).unwrap();
            (entry["name"].as_str().unwrap(), shape.iter().map(|side| *side.min(&4)).collect::<Vec<_>>())
        })
        .collect();
    header(&some.iter().map(|(name, shape)| (*name, "F16", &shape[..])).collect::<Vec<_>>())
}

/// The first byte is 1: the rest is a header.
fn headers() -> Seeds {
    let mut seeds: Seeds = Vec::new();
    let mut add = |name: &str, header: &[u8]| seeds.push((name.to_owned(), [&[1], header].concat()));
    for dtype in ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "U8", "BOOL", "F4", "C64"]
    {
        add(dtype, &header(&[("a", dtype, &[2, 2])]));
    }
    add("nothing", b"{}");
    add("metadata", br#"{"__metadata__":{"format":"pt","modelspec.resolution":"512x768","e":"\u00e9\n"}}"#);
    add("a-number", &header(&[("a", "F32", &[])]));
    add("no-elements", &header(&[("a", "F32", &[0, 9]), ("b", "U8", &[3])]));
    add("eight-dimensions", &header(&[("a", "U8", &[1, 1, 1, 2, 1, 1, 1, 2])]));
    add("an-escape", br#"{"\u0061\"\\":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#);
    add("spaces", b"{ \"a\" : {\"shape\":[ 1 ],\n\"data_offsets\":[0,1],\"dtype\":\"U8\"}}   ");
    for name in
        ["sd15", "sd21", "sdxl", "sdxl-refiner", "lora-sd15-kohya", "controlnet-sd15", "taesd", "ti-sd15"]
    {
        add(name, &some_of(name));
    }
    seeds.push(("a-file".into(), [&[0, 2, 0, 0, 0, 0, 0, 0, 0], &b"{}"[..]].concat()));
    seeds.push(("a-pointer".into(), b"\0version https://git-lfs.github.com/spec/v1\nsize 5\n".to_vec()));
    seeds
}

/// The first byte is 1: the rest follows magic and version.
fn ggufs() -> Seeds {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let entry = |key: &str, kind: u32, value: &[u8]| [&text(key)[..], &kind.to_le_bytes(), value].concat();
    let list = |key: &str, kind: u32, len: u64, values: &[u8]| {
        entry(key, 9, &[&kind.to_le_bytes()[..], &len.to_le_bytes(), values].concat())
    };
    let tensor = |name: &str, dims: &[u64], kind: u32, offset: u64| {
        let dims: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
        let rank = (dims.len() as u32 / 8).to_le_bytes();
        [&text(name)[..], &rank, &dims, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
    };
    let file = |tensors: &[Vec<u8>], entries: &[Vec<u8>]| {
        let counts = [tensors.len() as u64, entries.len() as u64].map(u64::to_le_bytes).concat();
        [&[1], &counts[..], &entries.concat(), &tensors.concat()].concat()
    };
    let mut seeds: Seeds = Vec::new();
    for kind in [0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 24, 27, 28, 30] {
        seeds.push((format!("type-{kind}"), file(&[tensor("a", &[256, 2], kind, 0)], &[])));
    }
    let shape: Vec<u8> = [4u32, 2, 2, 2].iter().flat_map(|dim| dim.to_le_bytes()).collect();
    let name = "input_blocks.0.0.weight";
    let comfy = [
        entry("general.architecture", 8, &text("sd1")),
        list(&format!("comfy.gguf.orig_shape.{name}"), 5, 4, &shape),
    ];
    seeds.push((
        "comfy".into(),
        file(&[tensor(name, &[32], 8, 0), tensor("out.0.bias", &[4], 0, 64)], &comfy),
    ));
    let scalars = [
        entry("general.alignment", 4, &[64, 0, 0, 0]),
        entry("a", 0, &[1]),
        entry("b", 3, &[1, 2]),
        entry("c", 6, &[0, 0, 0x80, 0x3F]),
        entry("d", 7, &[1]),
        entry("e", 12, &[0; 8]),
    ];
    seeds.push(("scalars".into(), file(&[tensor("a", &[], 0, 0), tensor("b", &[3], 1, 64)], &scalars)));
    let lists = [list("a", 8, 2, &[text("b"), text("cd")].concat()), list("b", 0, 20, &[7; 20])];
    seeds.push(("lists".into(), file(&[], &lists)));
    seeds.push(("nothing".into(), file(&[], &[])));
    seeds
        .push(("version-2".into(), [&[0, 2, 0, 0, 0], &file(&[tensor("a", &[1], 0, 0)], &[])[1..]].concat()));
    seeds
}

/// A folder's file: its number in the list, how it is made, half of its length, its contents.
fn put(out: &mut Vec<u8>, file: u8, how: u8, contents: &[u8]) {
    let padded = contents.len().next_multiple_of(2);
    out.extend([file, how, u8::try_from(padded / 2).unwrap()]);
    out.extend(contents);
    out.resize(out.len() + padded - contents.len(), b' ');
}

fn folders() -> Seeds {
    const HOLDS: u8 = 4;
    let (conv, norm) = ("conv_in.weight", "conv_norm_out.weight");
    let (one, other) = (header(&[(conv, "F16", &[4, 4])]), header(&[(norm, "F32", &[4])]));
    let map = |a: &str, b: &str| {
        let name = |n: &str| format!("diffusion_pytorch_model-0000{n}-of-00002.safetensors");
        format!(r#"{{"weight_map":{{"{conv}":"{}","{norm}":"{}"}}}}"#, name(a), name(b)).into_bytes()
    };
    let config = br#"{"sample_size":64,"in_channels":4}"#;
    type Files<'a> = Vec<(u8, u8, &'a [u8])>;
    let (both, gone) = (map("1", "2"), map("1", "3"));
    let plans: Vec<(&str, Files<'_>)> = vec![
        ("unet", vec![(1, 1, config), (2, HOLDS, &one)]),
        ("no-configuration", vec![(2, HOLDS, &one)]),
        ("whole", vec![(0, 1, b"{}"), (2, HOLDS, &one), (9, HOLDS, &other), (11, HOLDS, &other)]),
        ("shards", vec![(1, 1, config), (3, 1, &both), (4, HOLDS, &one), (5, HOLDS, &other)]),
        ("a-shard-lacks", vec![(1, 1, config), (3, 1, &both), (4, HOLDS, &one)]),
        ("a-shard-is-elsewhere", vec![(3, 1, &gone), (4, HOLDS, &one), (5, HOLDS, &other)]),
        ("two-precisions", vec![(1, 1, config), (2, HOLDS, &one), (6, HOLDS, &one)]),
        ("half-precision", vec![(1, 1, config), (6, HOLDS, &one)]),
        ("a-pickle", vec![(1, 1, config), (7, 1, b"PK\x03\x04")]),
        ("vae", vec![(8, 1, b"{\"scaling_factor\":0.13}"), (9, HOLDS, &other)]),
        ("text-encoder", vec![(10, 1, b"{\"hidden_act\":\"gelu\"}"), (11, HOLDS, &other)]),
        ("scheduler", vec![(13, 1, b"{\"prediction_type\":\"v_prediction\"}"), (2, HOLDS, &one)]),
        ("vocabulary", vec![(14, 1, b"{\"a</w>\":0}"), (2, HOLDS, &one)]),
        ("no-json", vec![(1, 1, b"{"), (2, HOLDS, &one)]),
        ("a-list", vec![(0, 1, b"[]"), (2, HOLDS, &one)]),
        ("a-pointer", vec![(1, 1, config), (2, 1, b"version https://git-lfs.github.com/spec/v1\n")]),
        ("cut-short", vec![(1, 1, config), (2, 1, b"\x10\0\0\0\0\0\0\0{")]),
        ("empty", vec![(1, 1, b""), (2, 1, b"")]),
        ("another-file", vec![(15, HOLDS, &one)]),
    ];
    let mut seeds: Seeds = Vec::new();
    for (name, files) in plans {
        let mut out = Vec::new();
        files.iter().for_each(|(file, how, contents)| put(&mut out, *file, *how, contents));
        seeds.push((name.to_owned(), out));
    }
    // Links: to each of the targets.
    for target in 0..6 {
        let mut out = vec![2, 0, 0, target];
        put(&mut out, 1, 1, config);
        put(&mut out, 15, HOLDS, &one);
        seeds.push((format!("link-{target}"), out));
    }
    seeds
}

/// A tensor of a LoRA: the number of its role in the target's list, and of each of its sides.
type Planned<'a> = (u8, &'a [u8]);

/// LoRAs of a matrix of 4x6, and of a convolution.
fn loras() -> Seeds {
    // Sides are numbers in the target's list of dimensions: 1, 2, 3, 4, 6, 0, 54, 5.
    let (up, down): (&[u8], &[u8]) = (&[3, 1], &[1, 4]);
    let plans: &[(&str, &[Planned<'_>])] = &[
        ("kohya", &[(0, up), (1, down)]),
        ("with-alpha", &[(0, up), (1, down), (3, &[])]),
        ("peft", &[(6, down), (7, up)]),
        ("diffusers", &[(8, up), (9, down)]),
        ("old-diffusers", &[(10, up), (11, down)]),
        ("difference", &[(4, &[3, 4])]),
        ("dora", &[(0, up), (1, down), (5, &[3, 0])]),
        ("dora-of-inputs", &[(0, up), (1, down), (5, &[0, 4])]),
        ("loha", &[(12, up), (13, down), (15, up), (16, down)]),
        ("loha-with-alpha", &[(12, up), (13, down), (15, up), (16, down), (3, &[])]),
        ("lokr", &[(18, &[1, 1]), (21, &[1, 2])]),
        ("lokr-of-factors", &[(19, &[1, 0]), (20, &[0, 1]), (21, &[1, 2])]),
        ("lokr-of-factors-of-both", &[(19, &[1, 0]), (20, &[0, 1]), (22, &[1, 0]), (23, &[0, 2])]),
        ("alone", &[(0, up)]),
        ("rank-0", &[(0, &[3, 5]), (1, &[5, 4])]),
        ("does-not-fit", &[(0, up), (1, &[2, 4])]),
        ("two-kinds", &[(0, up), (1, down), (4, &[3, 4])]),
    ];
    let mut seeds: Seeds = Vec::new();
    for (name, tensors) in plans {
        for module in [0u8, 4] {
            // A plan, by weight 1, of so many tensors; then each: module, role, rank, sides, format, pattern of numbers.
            let mut out = vec![1, 0, tensors.len() as u8];
            for (role, sides) in *tensors {
                out.extend([module, *role, sides.len() as u8]);
                out.extend(*sides);
                out.extend([1, 1, 0, 0]);
            }
            seeds.push((format!("{name}-{module}"), out));
        }
    }
    // A convolution of 2x3x3x3, and a header as it stands in a file.
    let sides: [Planned<'_>; 3] = [(0, &[1, 1, 0, 0]), (1, &[1, 2, 2, 2]), (3, &[])];
    let mut out = vec![1, 1, 3];
    for (role, sides) in sides {
        out.extend([3, role, sides.len() as u8]);
        out.extend(sides);
        out.extend([0, 0, 0, 0]);
    }
    seeds.push(("convolution".into(), out));
    let key = "lora_unet_down_blocks_0_attentions_0_attn2_to_k";
    let (up, down) = (format!("{key}.lora_up.weight"), format!("{key}.lora_down.weight"));
    let file = header(&[(&up, "F16", &[4, 2]), (&down, "F16", &[2, 6])]);
    seeds.push(("header".into(), [&[0, 0], &file[..]].concat()));
    seeds
}

const TEXTS: [(&str, &str); 24] = [
    ("nothing", ""),
    ("a-cat", "a photo of a cat, highly detailed, 4k"),
    ("capitals", "A CAT IN The Hat"),
    ("contractions", "it's we'll they've I'd you're 'tis don't"),
    ("digits", "1234 3.14 2nd 4x4"),
    ("signs", "!!! ... --- #@$%^&*() {}[]<>/\\|~`"),
    ("spaces", "  a \t b \n\r c\u{a0}d\u{3000}e "),
    ("accents", "cafe\u{301} na\u{ef}ve \u{c5}ngstr\u{f6}m"),
    ("chinese", "\u{732b}\u{548c}\u{72d7}"),
    ("korean", "\u{ace0}\u{c591}\u{c774} \u{1100}\u{1161}"),
    ("arabic", "\u{642}\u{637}\u{629} \u{200f}a\u{202e}b"),
    ("emoji", "\u{1f431}\u{200d}\u{1f469}\u{1f3fd} \u{2764}\u{fe0f}"),
    ("turkish", "\u{130}stanbul \u{131}"),
    ("ligatures", "\u{fb01}sh \u{fdfa} \u{1e9e}\u{df}"),
    ("roman", "\u{2167} \u{bd} \u{b2}"),
    ("combining", "a\u{300}\u{301}\u{302}\u{303}\u{304}"),
    ("marks", "<|startoftext|> a <|endoftext|>"),
    ("half-marks", "<|endoftext <|START|>"),
    ("html", "&lt;b&gt; &amp;amp; &#65;"),
    ("controls", "a\u{0}b\u{1b}[2J\u{7f}\u{85}"),
    ("last-characters", "\u{10ffff}\u{fffd}\u{feff}\u{e000}"),
    ("long-word", "antidisestablishmentarianismantidisestablishmentarianism"),
    ("repeated", "la la la la la la la la la la la la la la la la la la la la"),
    ("code", "fn main() { println!(\"{}\", 1_000u32); }"),
];

fn texts() -> Seeds {
    let mut seeds: Seeds =
        TEXTS.iter().map(|(n, text)| ((*n).to_owned(), text.as_bytes().to_vec())).collect();
    seeds.push(("no-utf-8".into(), b"a \xFF\xFE \xC3 \xED\xA0\x80 b".to_vec()));
    seeds
}

fn prompts() -> Seeds {
    let own = [
        ("weight", "a (cat:1.3) and a (dog:0.5)"),
        ("strong", "((very)) [weak] (((a))) [[b]]"),
        ("mixed", "([a (b:2)] c)"),
        ("escaped", r"a \(cat\) \[x\] \\ \: \n"),
        ("open", "(a [b (c"),
        ("closed", "a) b] c)"),
        ("break", "a BREAK b BREAK BREAK c break"),
        ("odd-weights", "(a:-1) (b:.5) (c:1e9) (d:nan) (e:inf) (f:) (g:1.2.3) (h: 2 )"),
        ("lora", "a <lora:style:0.8> b <lora:x>"),
        ("lora-parts", "<lora:a:0.5:1> <lora:b:te=0.5:unet=1>"),
        ("lora-paths", "<lora:/etc/passwd> <lora:../x:1> <lora:C:x>"),
        ("lora-open", "a <lora:x"),
        ("embedding", "embedding:bad-hands, (bad-hands:1.2)"),
        ("turns", "a [cat:dog:0.5] [b:3] [c::2] [x : y : 1]"),
        ("turns-within", "[a:[b:c:2]:1] ([d:(e:1.2):.5]:0.9) [[f|g]:h:4]"),
        ("turns-odd", "[a:b:-1] [a:b:1e9] [a:b:1.2.3] [a:b:nan] [a:b:c:1] [:1] [::1] [a:b:(1)] [a:b:\\1]"),
        ("turns-open", "((a][:b:c [d:3] [e (f] g:h:2)"),
        ("alternate", "[a|b|c] [fe|]male [|||] [a\\|b|c] [a|b:3] a | b"),
        ("and", "a cat :1.2 AND a dog :-0.5 AND [x|y] AND"),
        ("and-none", "SAND AND_ ANDY aAND a:1.2.3 AND b:1e9"),
        ("choices", "{a|b} {2$$a|b|c} {a|{b|c}} {[a|b]|c} {a} {a|b \\{c|d\\}"),
        ("wildcards", "__colour__ __../x__ __a__b__ ____ __ a __ <lora:a__b__c:1>"),
        (
            "chunks",
            "one two three four five six seven eight nine ten, one two three four five six seven eight nine ten, \
                    one two three four five six seven eight nine ten, one two three four five six seven eight nine ten, \
                    one two three four five six seven eight nine ten, one two three four five six seven eight nine ten, \
                    one two three four five six seven eight nine ten, one two three four five six seven eight nine ten",
        ),
    ];
    let mut seeds = texts();
    seeds.truncate(18);
    seeds.extend(own.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())));
    seeds.push(("deep".into(), b"((((((((((((((((((((((((((((((((a".to_vec()));
    seeds
}

/// The first byte tells the format that the file's name promises: 0 none, 1 TGA.
fn images() -> Seeds {
    let small =
        RgbaImage::from_fn(9, 5, |x, y| image::Rgba([(x * 28) as u8, (y * 50) as u8, 90, (x * y * 7) as u8]));
    let all = DynamicImage::from(small);
    let kinds = [
        ("rgb", DynamicImage::from(all.to_rgb8())),
        ("rgba", all.clone()),
        ("grey", all.to_luma8().into()),
        ("grey-alpha", all.to_luma_alpha8().into()),
        ("rgb16", all.to_rgb16().into()),
        ("rgba32f", all.to_rgba32f().into()),
    ];
    let formats = [
        ("png", ImageFormat::Png),
        ("jpeg", ImageFormat::Jpeg),
        ("webp", ImageFormat::WebP),
        ("gif", ImageFormat::Gif),
        ("bmp", ImageFormat::Bmp),
        ("tiff", ImageFormat::Tiff),
        ("qoi", ImageFormat::Qoi),
        ("pnm", ImageFormat::Pnm),
        ("tga", ImageFormat::Tga),
    ];
    let mut seeds: Seeds = Vec::new();
    for (format_name, format) in formats {
        for (kind_name, kind) in &kinds {
            let mut out = Cursor::new(vec![u8::from(format == ImageFormat::Tga)]);
            out.set_position(1);
            // Not every format holds every kind.
            if kind.write_to(&mut out, format).is_ok() {
                seeds.push((format!("{format_name}-{kind_name}"), out.into_inner()));
            }
        }
    }
    let (_, jpeg) = seeds.iter().find(|(name, _)| name == "jpeg-rgb").unwrap();
    let exif = b"\xFF\xE1\0\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = [&jpeg[..3], exif, &jpeg[3..]].concat();
    seeds.push(("jpeg-turned".into(), turned));
    seeds.push((
        "jpeg-inks".into(),
        [&[0], &include_bytes!("../../app/src/image_file/samples/cmyk.jpg")[..]].concat(),
    ));
    seeds
}

/// The first byte tells what the rest is: 0 a whole file, 1 texts of a PNG, 2 EXIF of a WebP, 3 segments of a JPEG. Each text
/// has a byte for its keyword, and 255 is between them.
fn metadata() -> Seeds {
    let webui = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 5, Size: 512x768, \
                 Model hash: 6ce0161689, Lora hashes: \"a: 1, b: 2\", Version: v1.10.1\nTemplate: {a|b}";
    let graph = r#"{"3":{"class_type":"KSampler","inputs":{"seed":["8",0],"steps":9,"cfg":8,"sampler_name":"euler",
        "scheduler":"simple","denoise":0.5,"positive":["6",0],"negative":["7",0],"latent_image":["5",0],"model":["4",0]}},
        "4":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"a.safetensors"}},
        "5":{"class_type":"EmptyLatentImage","inputs":{"width":64,"height":["8",0]}},
        "6":{"class_type":"CLIPTextEncode","inputs":{"text":["9",0],"is_changed":[NaN]}},
        "7":{"class_type":"ConditioningCombine","inputs":{"a":["6",0],"b":["10",0]}},
        "8":{"class_type":"PrimitiveInt","inputs":{"value":64}},
        "9":{"class_type":"StringConcatenate","inputs":{"string_a":"a","string_b":["11",0],"delimiter":", "}},
        "10":{"class_type":"ImpactSwitch","inputs":{"select":1,"input1":["6",0],"input2":["7",0]}},
        "11":{"class_type":"Text Concatenate","inputs":{"text_a":"b ","text_b":"c","clean_whitespace":"true"}},
        "12":{"class_type":"SaveImage","inputs":{"images":["3",0]}}}"#;
    let page = r#"{"nodes":[{"id":3,"type":"KSampler","widgets_values":[5,"fixed",20,8,"euler","normal",1],
        "inputs":[{"name":"positive","link":1}]},{"id":6,"type":"CLIPTextEncode","widgets_values":["a hat"]}],
        "links":[[1,6,0,3,0,"CONDITIONING"],{"id":2,"origin_id":6}]}"#;
    let texts: [(&str, u8, &str); 14] = [
        ("webui", 0, webui),
        (
            "latent",
            1,
            r#"{"version":"0.1.0","prompt":"a","seed":1,"files":[{"flag":"vae","name":"a","sha256":"0"}]}"#,
        ),
        ("prompt", 2, graph),
        ("workflow", 3, page),
        ("dream", 4, "\"a [dog] cat\" -s 50 -S 11 -W 640 -C7.5 -A k_euler"),
        (
            "sd-metadata",
            5,
            r#"{"app_version":"2","model_hash":"0","image":{"prompt":[{"prompt":"a [b]"}],"seed":1}}"#,
        ),
        (
            "invoke",
            6,
            r#"{"app_version":"4","positive_prompt":"a","seed":7,"model":{"name":"b","hash":"c"}}"#,
        ),
        (
            "fooocus",
            0,
            r#"{"base_model":"a","prompt":"a cat","seed":"5","resolution":"(896, 1152)","version":"Fooocus v2"}"#,
        ),
        ("swarm", 0, r#"{"sui_image_params":{"prompt":"a","seed":1,"swarm_version":"0.9"}}"#),
        ("old-fooocus", 7, r#"{"prompt":"a","base_model":"b","steps":30}"#),
        ("easy", 11, "dog"),
        ("easy-json", 9, r#"{"Prompt":"a","Negative Prompt":"b","Steps":25}"#),
        (
            "draw-things",
            10,
            "<exif:UserComment><rdf:li>{&quot;c&quot;:&quot;a &#x201c;&amp;&quot;,&quot;size&quot;:&quot;5x6&quot;}</rdf:li></exif:UserComment>",
        ),
        ("novel", 8, "NovelAI\u{ff}"),
    ];
    let mut seeds: Seeds = Vec::new();
    for (name, keyword, text) in texts {
        // As `tEXt` and as `iTXt`.
        seeds.push((format!("png-{name}"), [&[1, 48 + keyword], text.as_bytes()].concat()));
        seeds.push((format!("itxt-{name}"), [&[1, keyword], text.as_bytes()].concat()));
        // As `UserComment`, and as a comment.
        seeds.push((format!("webp-{name}"), [&[2, 4], text.as_bytes()].concat()));
        seeds.push((format!("jpeg-{name}"), [&[3, 0], text.as_bytes()].concat()));
    }
    let novel =
        [&b"\x01\x38NovelAI\xff\x37{\"uc\":\"a\",\"steps\":28}\xff\x3ca cat\xff\x3dModel 1D44"[..]].concat();
    seeds.push(("novel".into(), novel));
    seeds.push(("make".into(), [b"\x02\x01prompt:", graph.as_bytes()].concat()));
    seeds.push((
        "maker-note".into(),
        b"\x02\x05latent\0{\"version\":\"1\",\"seed\":3}\xff\x04UNICODE\0\0a".to_vec(),
    ));
    let mut whole = Cursor::new(vec![0]);
    whole.set_position(1);
    RgbaImage::new(2, 2).write_to(&mut whole, ImageFormat::Png).unwrap();
    seeds.push(("whole".into(), whole.into_inner()));
    seeds
}

/// Pickles of a tensor or two and the opcodes around them, and the files of `loader/tests/pickles` that are small enough.
fn pickles() -> Seeds {
    const STORAGE: &[u8] = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQ";
    let tensor = |offset: &[u8], shape: &[u8], strides: &[u8]| {
        let function: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n(";
        [function, STORAGE, offset, shape, strides, b"\x89ccollections\nOrderedDict\n)RtR"].concat()
    };
    let plain = tensor(b"K\0", b"K\x10\x85", b"K\x01\x85");
    let strided = tensor(b"K\x01", b"K\x03K\x04\x86", b"K\x01K\x03\x86");
    let dict = |items: &[u8]| [b"\x80\x02}", items, b"."].concat();
    let entry = |key: &str, value: &[u8]| {
        [b"X", &(key.len() as u32).to_le_bytes()[..], key.as_bytes(), value, b"s"].concat()
    };
    let nested = |key: &str| entry(key, &[b"}", &entry("w", &plain)[..]].concat());
    let pickles: Vec<(&str, Vec<u8>)> = vec![
        ("plain", dict(&entry("a", &plain))),
        ("strided", dict(&entry("a", &strided))),
        ("two", dict(&[entry("a", &plain), entry("b", &strided)].concat())),
        ("nested", dict(&[nested("state_dict"), nested("optimizer")].concat())),
        ("params", dict(&[nested("params"), nested("params_ema")].concat())),
        ("list", [b"\x80\x02]", &plain[..], b"a."].concat()),
        ("tuple", [b"\x80\x02", &plain[..], &strided, b"\x86."].concat()),
        ("alone", [b"\x80\x02", &plain[..], b"."].concat()),
        ("memo", dict(&[entry("a", &[&plain[..], b"q\x01"].concat()), entry("b", b"h\x01")].concat())),
        ("frame", [b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94", &entry("a", &plain)[..], b"."].concat()),
        (
            "parameter",
            dict(&entry("a", &[b"ctorch._utils\n_rebuild_parameter\n", &plain[..], b"\x88}\x87R"].concat())),
        ),
        ("ordered", [b"\x80\x02ccollections\nOrderedDict\n)R", &entry("a", &plain)[..], b"."].concat()),
        ("container", b"\x80\x02ctorch.nn.modules.container\nParameterDict\n)\x81}b.".to_vec()),
        (
            "numpy",
            dict(&entry(
                "n",
                b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n(X\x02\0\0\0f8\x89\x88tRB\0\0\0\0\x86R",
            )),
        ),
        ("evil", b"\x80\x02cposix\nsystem\n(X\x02\0\0\0idtR.".to_vec()),
        ("instance", b"\x80\x02(X\x02\0\0\0idiposix\nsystem\n.".to_vec()),
        ("object", b"\x80\x02(cposix\nsystem\nX\x02\0\0\0ido.".to_vec()),
        ("stack", b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.".to_vec()),
        ("circle", b"\x80\x02}q\0X\x01\0\0\0ah\0s.".to_vec()),
        (
            "numbers",
            b"\x80\x02(I01\nL7L\nF1.5\nG\0\0\0\0\0\0\0\0\x8a\x01\xff\x8b\x02\0\0\0\xff\xfft.".to_vec(),
        ),
        ("sets", b"\x80\x04\x8f(K\x01K\x02\x90(K\x03\x91\x86.".to_vec()),
    ];
    let mut seeds = Seeds::new();
    for (how, form) in [(1, "zip"), (2, "old")] {
        let with =
            |(name, pickle): &(&str, Vec<u8>)| (format!("{form}-{name}"), [&[how], &pickle[..]].concat());
        seeds.extend(pickles.iter().map(with));
    }
    for name in ["legacy-2.pt", "legacy-5.pt", "inversion.pt", "lightning.ckpt", "lightning-legacy.ckpt"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loader/tests/pickles").join(name);
        seeds.push((format!("file-{name}"), [&[0], &fs::read(path).unwrap()[..]].concat()));
    }
    seeds
}
