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
        ("folder", folders()),
        ("lora", loras()),
        ("tokenizer", texts()),
        ("prompt", prompts()),
        ("image", images()),
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
