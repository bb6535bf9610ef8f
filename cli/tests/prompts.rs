//! The prompt language on the command line: wildcards, changing prompts, `latent tokens`.

use crate::common::{Room, read_png, synthetic};
use serde_json::{Value, json};

const SMALL: [&str; 6] = ["-W", "16", "-H", "16", "--steps", "2"];

fn room() -> Room {
    let room = Room::new();
    std::fs::create_dir(room.path("words")).unwrap();
    room.file("words/fruit.txt", b"# a comment\napple\n\npear :1\nplum AND sky\n__colour__ cherry\n");
    room.file("words/colour.txt", b"red\nblue\n");
    room
}

/// Draws; the pixels and the texts of each file.
fn draw(room: &Room, prompt: &str, flags: &[&str], files: &[&str]) -> Vec<(Vec<u8>, Value, String)> {
    room.succeeds(&[&["txt2img", prompt], &SMALL[..], flags].concat());
    let one = |file: &&str| {
        let (pixels, texts) = read_png(&room.path(file));
        let text = |keyword: &str| texts.iter().find(|(key, _)| key == keyword).unwrap().1.clone();
        (pixels, serde_json::from_str(&text("latent")).unwrap(), text("parameters"))
    };
    files.iter().map(one).collect()
}

#[test]
fn each_image_has_the_prompt_of_its_seed() {
    let room = room();
    let template = "a __fruit__ on {a table|the [floor:roof:1]}";
    let wild = ["--wildcards", "words", "-n", "{fog|rain}"];
    let names = ["a-10.png", "a-11.png", "a-12.png", "a-13.png"];
    let batch = ["-s", "10", "-b", "4", "--batch-size", "2", "-o", "a-{seed}.png"];
    let together = draw(&room, template, &[&wild[..], &batch].concat(), &names);
    let prompts: Vec<&str> = together.iter().map(|(_, json, _)| json["prompt"].as_str().unwrap()).collect();
    assert!(prompts.iter().any(|prompt| *prompt != prompts[0]), "{prompts:?}");
    for (i, (pixels, json, parameters)) in together.iter().enumerate() {
        let (prompt, seed) = (prompts[i], (10 + i).to_string());
        assert!(!prompt.contains(['_', '{']), "{prompt}");
        assert_eq!(json["prompt_template"], template);
        assert_eq!(json["negative_prompt_template"], "{fog|rain}");
        let negative = json["negative_prompt"].as_str().unwrap();
        assert!(["fog", "rain"].contains(&negative));
        assert!(parameters.starts_with(&format!("{prompt}\nNegative prompt: {negative}\n")), "{parameters}");
        let flags = [&wild[..], &["-s", &seed, "-o", "b.png"]].concat();
        let (alone, ..) = draw(&room, template, &flags, &["b.png"]).remove(0);
        assert!(alone == *pixels, "{prompt}");
        // What the file tells is the prompt that draws it.
        let (told, json, _) =
            draw(&room, prompt, &["-n", negative, "-s", &seed, "-o", "b.png"], &["b.png"]).remove(0);
        assert!(told == *pixels && json["prompt_template"].is_null(), "{prompt}");
    }
}

#[test]
fn without_the_flag_wildcards_are_text() {
    let room = room();
    let flags = ["-s", "1", "-o", "a.png"];
    let (_, json, _) = draw(&room, "a __fruit__ {b|c}", &flags, &["a.png"]).remove(0);
    assert_eq!((&json["prompt"], &json["prompt_template"]), (&json!("a __fruit__ {b|c}"), &Value::Null));
}

#[test]
fn every_verb_takes_a_prompt_that_changes() {
    let room = room();
    let flags = ["--steps", "2", "-s", "1"];
    room.succeeds(&[&["txt2img", "a cat", "-W", "16", "-H", "16", "-o", "in.png"], &flags[..]].concat());
    for verb in [&["img2img", "in.png"][..], &["outpaint", "in.png", "--left", "8"]] {
        let drawn = |prompt: &str| {
            room.succeeds(&[verb, &[prompt, "-o", "out.png"], &flags[..]].concat());
            read_png(&room.path("out.png")).0
        };
        assert!(drawn("a [cat:dog:0] AND sky :0") == drawn("a dog"), "{verb:?}");
        assert!(drawn("a [cat:dog:1]") != drawn("a cat"), "{verb:?}");
    }
}

#[test]
fn tokens_are_shown() {
    let room = room();
    let shown = room.succeeds(&["tokens", "a (cat:1.3) AND [dog:fox:2] :0.5", "--steps", "4"]);
    let expected = "prompt 1 of 2, weight 1\n\"a (cat:1.3)\"\n  chunk 1 of 1: 2 of 75 tokens\n      320  a</w>\n     2368  \
                    cat</w>  weight 1.3\nprompt 2 of 2, weight 0.5\nsteps 1-2 of 4: \" dog\"\n  chunk 1 of 1: 1 of 75 \
                    tokens\n     1929  dog</w>\nsteps 3-4 of 4: \" fox\"\n  chunk 1 of 1: 1 of 75 tokens\n     3240  \
                    fox</w>\n";
    assert_eq!(shown, expected);
    let shown = room.succeeds(&["tokens", "x BREAK <lora:ink:0.5> [a|b]", "--steps", "5"]);
    for part in
        ["LoRA \"ink\", weight 0.5", "steps 1, 3, 5 of 5", "steps 2, 4 of 5", "chunk 2 of 2: 1 of 75 tokens"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(room.succeeds(&["tokens", ""]).contains("0 of 75 tokens"));
    let many = room.succeeds(&["tokens", &"cat ".repeat(80)]);
    assert!(many.contains("chunk 1 of 2: 75 of 75") && many.contains("chunk 2 of 2: 5 of 75"), "{many}");
}

#[test]
fn tokens_as_json_of_a_model_with_learned_words() {
    let room = room();
    room.file("model.safetensors", &synthetic("sd15"));
    room.file("xl.safetensors", &synthetic("sdxl"));
    room.file("toy.safetensors", &synthetic("ti-sd15"));
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&room.succeeds(&[&["tokens", "--json"], args].concat())).unwrap()
    };
    let shown = json(&["a __fruit__", "--wildcards", "words", "-s", "3", "--steps", "2"]);
    assert_eq!((&shown["template"], &shown["steps"]), (&json!("a __fruit__"), &json!(2)));
    assert_eq!(shown["text_encoders"], json!([]));
    let shown = json(&["(a:1.5) toy", "-m", "model.safetensors", "--embedding", "toy.safetensors"]);
    let text = &shown["subprompts"][0]["texts"][0];
    assert_eq!(text["steps"], json!([[1, 20]]));
    let tokens = text["chunks"][0].as_array().unwrap();
    assert_eq!((&tokens[0], tokens.len()), (&json!({"id": 320, "piece": "a</w>", "weight": 1.5}), 4));
    assert_eq!(tokens[3], json!({"id": 49410, "piece": "\"toy\" vector 3", "weight": 1.0}));
    assert_eq!(shown["text_encoders"][0]["padding"], 49407);
    let shown = json(&["a !", "-m", "xl.safetensors"]);
    assert_eq!(shown["text_encoders"][1]["padding"], 0);
    assert_eq!(shown["subprompts"][0]["texts"][0]["chunks"][0].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_is_one_line() {
    let room = room();
    room.file("toy.safetensors", &synthetic("ti-sd15"));
    room.file("words/style.txt", b"<lora:a:1>\n<lora:b:1>\nx\n");
    let wild = ["--wildcards", "words"];
    let refuses = |args: &[&str], parts: &[&str]| room.refuses(args, parts);
    refuses(&["txt2img", "a", "--wildcards", "nowhere"], &["wildcards: nowhere"]);
    refuses(&["txt2img", "a", "--wildcards", "toy.safetensors"], &["is not a folder"]);
    refuses(&[&["txt2img", "__none__"], &wild[..]].concat(), &["none.txt does not exist"]);
    refuses(&[&["txt2img", "a", "-n", "__../words/fruit__"], &wild[..]].concat(), &["is not the name"]);
    refuses(&[&["txt2img", "__style__", "-b", "9", "-s", "1"], &wild[..]].concat(), &["different LoRAs"]);
    refuses(&["txt2img", &"a AND ".repeat(40)], &["AND joins more than 32 prompts"]);
    refuses(&["txt2img", "a :9999 AND b"], &["9999"]);
    refuses(&["tokens", "a", "--steps", "0"], &["steps: 0"]);
    refuses(&["tokens", "a", "--embedding", "toy.safetensors"], &["-m"]);
    refuses(&["tokens", "a <lora:../x:1>"], &["plain name"]);
    refuses(&["tokens"], &["PROMPT"]);
}
