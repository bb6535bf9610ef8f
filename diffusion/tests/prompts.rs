//! Prompts that change from step to step, and prompts of several, in whole pipelines.

use latent_benches::{DType, Manifest, synth};
use latent_diffusion::controlnet::ControlFile;
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::schedule::ScheduleKind;
use latent_diffusion::{
    Conditioning, Control, Event, Image, Latents, Listener, Pipeline, Settings, Task, samplers,
};
use latent_kernels::parallel;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

fn file(name: &str) -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    let text = std::fs::read_to_string(folder.join(format!("{name}-tiny-single.json"))).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    let bytes = synth::bytes(manifest.files().values().next().unwrap(), 1234, DType::F16);
    Checkpoint::from_bytes(name, bytes).unwrap()
}

fn open(family: &str) -> Pipeline {
    Pipeline::open(file(family)).unwrap()
}

/// The model that is built into the program.
fn demo() -> Pipeline {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap()
}

fn quiet() -> Box<Listener<'static>> {
    Box::new(|_: Event<'_>| ControlFlow::Continue(()))
}

fn settings(steps: usize) -> Settings {
    let (sampler, _) = samplers::parse("euler").unwrap();
    let (width, height) = (Some(64), Some(64));
    Settings::default()
        .with_width(width)
        .with_height(height)
        .with_steps(steps)
        .with_sampler(sampler)
        .with_schedule(ScheduleKind::Normal)
}

/// The latents after each step.
fn steps(pipeline: &mut Pipeline, prompt: &str, negative: &str, settings: &Settings) -> Vec<Vec<f32>> {
    let negative: &[&str] = if negative.is_empty() { &[] } else { &[negative] };
    let conditioning = pipeline.encode(&[prompt], negative, settings, &mut *quiet()).unwrap();
    let mut steps = Vec::new();
    let mut listener = |event: Event<'_>| {
        if let Event::Step { step: 1.., latents, .. } = event {
            steps.push(Latents::from_channels_last(latents).unwrap().values);
        }
        ControlFlow::Continue(())
    };
    pipeline.sample(&conditioning, settings, &mut listener).unwrap();
    steps
}

/// Asserts that two prompts draw the same bytes.
#[track_caller]
fn same(pipeline: &mut Pipeline, settings: &Settings, one: &str, other: &str) {
    let drawn = |pipeline: &mut Pipeline, prompt: &str| {
        let drawn = pipeline.text_to_image(prompt, "a blue box", settings, &mut *quiet()).unwrap();
        drawn.into_iter().flat_map(|image| image.rgb).collect::<Vec<u8>>()
    };
    assert!(drawn(pipeline, one) == drawn(pipeline, other), "{one} is not {other}");
}

#[test]
fn a_prompt_that_does_not_change_is_its_text() {
    let settings = settings(3);
    let mut demo = demo();
    for (one, other) in [
        ("a [apple:cat:0]", "a cat"),
        ("a [apple:cat:1.0]", "a apple"),
        ("a [apple:cat:3]", "a apple"),
        ("a [cat|cat]", "a cat"),
        ("a ([apple:(cat:1.1):0]:1.2)", "a ((cat:1.1):1.2)"),
        ("a cat AND a dog :0", "a cat"),
        ("a dog :0 AND a cat :1.0", " a cat"),
        ("[a dog:a cat:0] AND a [x|y] :0", "a cat"),
    ] {
        same(&mut demo, &settings, one, other);
    }
}

#[test]
fn a_step_is_that_of_its_text() {
    for family in ["sd15", "sdxl"] {
        let mut pipeline = open(family);
        for guidance in [7.0, 1.0] {
            let settings = settings(4).with_guidance(guidance);
            let mut steps = |prompt: &str| steps(&mut pipeline, prompt, "", &settings);
            let (cat, dog) = (steps("a cat"), steps("a dog"));
            let changed = steps("a [cat:dog:0.5]");
            assert!(changed[..2] == cat[..2] && changed[2] != cat[2], "{family}");
            assert!(changed == steps("a [cat:dog:2]") && changed[3] != dog[3], "{family}");
            let turns = steps("a [dog|cat]");
            assert!(turns[0] == dog[0] && turns[1] != dog[1] && turns[1] != cat[1], "{family}");
            assert!(turns == steps("a [[dog:cat:1]:[dog:cat:3]:2]"), "{family}");
        }
    }
}

#[test]
fn a_negative_prompt_changes_too_and_knows_no_and() {
    for family in ["sd15", "sdxl"] {
        let mut pipeline = open(family);
        let settings = settings(3);
        let mut steps = |negative: &str| steps(&mut pipeline, "a cat", negative, &settings);
        let (fog, sea) = (steps("fog"), steps("sea"));
        let changed = steps("[fog:sea:2]");
        assert!(changed[..2] == fog[..2] && changed[2] != fog[2], "{family}");
        assert!(steps("[fog:sea:0]") == sea, "{family}");
        assert!(steps("fog AND sea :0") != fog, "{family}");
        let conditioning = pipeline.encode(&["a"], &["fog AND sea"], &settings, &mut *quiet()).unwrap();
        let (_, negative) = conditioning.at_step(0, 0).unwrap();
        let conditioning = pipeline.encode(&["fog and sea"], &[], &settings, &mut *quiet()).unwrap();
        let (positive, _) = conditioning.at_step(0, 0).unwrap();
        assert_eq!(
            negative.hidden_states.f32s().unwrap(),
            positive[0].hidden_states.f32s().unwrap(),
            "{family}"
        );
    }
}

/// `n + w1 (a - n) + w2 (b - n)` of latents, and whether others are that up to rounding.
fn is_sum(joined: &[f32], n: &[f32], parts: &[(&[f32], f32)]) -> bool {
    let largest = joined.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
    joined.iter().enumerate().all(|(i, joined)| {
        let sum: f32 = parts.iter().map(|(part, weight)| weight * (part[i] - n[i])).sum();
        (joined - n[i] - sum).abs() < 1e-4 * largest
    })
}

#[test]
fn and_adds_what_each_prompt_changes() {
    for family in ["sd15", "sdxl"] {
        let mut pipeline = open(family);
        // What one step of Euler's method to 0 predicts is linear in the UNet's answers.
        for guidance in [7.0, 1.0] {
            let settings = settings(1).with_guidance(guidance);
            let mut step = |prompt: &str| steps(&mut pipeline, prompt, "fog", &settings).remove(0);
            let (cat, dog) = (step("a cat"), step("a dog"));
            // Away from itself nothing is changed.
            let fog = step("fog");
            let joined = step("a cat :1.25 AND a dog :-0.5");
            assert!(is_sum(&joined, &fog, &[(&cat, 1.25), (&dog, -0.5)]), "{family} {guidance}");
            let joined = step("a cat AND a dog AND a cat");
            assert!(is_sum(&joined, &fog, &[(&cat, 2.0), (&dog, 1.0)]), "{family} {guidance}");
            assert!(is_sum(&step("a cat :0.5 AND a cat :0.5"), &fog, &[(&cat, 1.0)]), "{family} {guidance}");
            assert!(is_sum(&step("a cat :0 AND a dog :0"), &fog, &[]), "{family} {guidance}");
        }
    }
}

/// Prompts of several kinds and lengths.
fn mixed() -> [String; 4] {
    let long = format!("a {} [cat:dog:1]", "very ".repeat(80));
    ["a cat".into(), "a dog :0.7 AND [fog|sun] :0.4 AND a [car:boat:1]".into(), long, "x AND [y:z:1]".into()]
}

#[test]
fn bytes_are_the_same_alone_and_in_a_batch_and_on_any_number_of_threads() {
    for family in ["sd15", "sdxl"] {
        for guidance in [7.0, 1.0] {
            let seeds = vec![3, 4, 5, 6];
            let settings = settings(2).with_seeds(seeds.clone()).with_guidance(guidance);
            let mut pipeline = open(family);
            let prompts = mixed();
            let all: Vec<&str> = prompts.iter().map(String::as_str).collect();
            let conditioning = pipeline.encode(&all, &["fog"], &settings, &mut *quiet()).unwrap();
            let together = pipeline.sample(&conditioning, &settings, &mut *quiet()).unwrap();
            for (i, seed) in seeds.into_iter().enumerate() {
                let alone = settings.clone().with_seeds(vec![seed]);
                let last = steps(&mut pipeline, all[i], "fog", &alone).pop().unwrap();
                assert!(together.image(i) == last, "{family} {guidance} {:?}", all[i]);
                let part = conditioning.of_images(i..i + 1);
                let part = pipeline.sample(&part, &alone, &mut *quiet()).unwrap();
                assert!(part.values == last, "{family} {guidance} {:?}", all[i]);
            }
            let one = parallel::with_threads(1, || {
                open(family).sample(&conditioning, &settings, &mut *quiet()).unwrap()
            });
            assert!(one.unwrap() == together, "{family} {guidance}");
        }
    }
}

#[test]
fn other_verbs_and_control_nets_take_such_prompts() {
    let rgb: Vec<u8> = (0..64 * 64 * 3).map(|i| (i * 7 % 251) as u8).collect();
    let image = Image { width: 64, height: 64, rgb };
    let drawn = |pipeline: &mut Pipeline, task: &Task<'_>, prompt: &str| {
        let settings = task.sized(settings(3), pipeline.model());
        pipeline.draw(task, prompt, "fog", &settings, &mut *quiet()).unwrap().remove(0)
    };
    let check = |pipeline: &mut Pipeline, task: &Task<'_>, what: &str| {
        let cat = drawn(pipeline, task, "a cat");
        assert!(drawn(pipeline, task, "a [dog:cat:0] AND fog :0") == cat, "{what}");
        assert!(drawn(pipeline, task, "a [cat:dog:1]") != cat, "{what} does not change");
        assert!(drawn(pipeline, task, "a cat AND a dog :0.5") != cat, "{what} is not joined");
    };
    let redrawn = Task::ImageToImage { image: &image, strength: 1.0 };
    check(&mut open("sd15"), &redrawn, "img2img");
    let edit = Task::Edit { image: &image, guidance: 1.5 };
    check(&mut open("sd15-pix2pix"), &edit, "edit");
    let mut steered = open("sd15");
    let plain = drawn(&mut steered, &Task::TextToImage, "a cat AND a dog");
    let net = Arc::new(ControlFile::open(file("controlnet-sd15")).unwrap());
    steered.set_controls(vec![Control::new(net, image.clone())]).unwrap();
    check(&mut steered, &Task::TextToImage, "ControlNet");
    assert!(drawn(&mut steered, &Task::TextToImage, "a cat AND a dog") != plain, "it is not steered");
}

#[test]
fn a_refiner_goes_on_with_the_schedule() {
    let mut pipeline = open("sdxl");
    pipeline.set_refiner(Some((open("sdxl"), 0.5))).unwrap();
    let settings = settings(4);
    for prompt in ["a [cat:dog:3]", "[a|b] AND c :0.5"] {
        let refined = steps(&mut pipeline, prompt, "", &settings);
        assert!(refined == steps(&mut open("sdxl"), prompt, "", &settings), "{prompt}");
    }
}

#[test]
fn a_second_pass_goes_on_with_the_schedule() {
    let mut pipeline = open("sdxl");
    let told = |conditioning: &Conditioning, step: usize| {
        conditioning.at_step(0, step).unwrap().0[0].hidden_states.f32s().unwrap().to_vec()
    };
    let (settings, prompts) = (settings(4), ["[a:b:1.5] AND c"]);
    let both = pipeline.encode_passes(&prompts, &[], &settings, 2, &mut *quiet()).unwrap();
    let plain = pipeline.encode(&["a", "b"], &[], &settings, &mut *quiet()).unwrap();
    let (a, b) = (told(&plain, 0), told(&plain.of_images(1..2), 0));
    assert!(a != b && (0..4).all(|step| told(&both, step) == a));
    let second = both.second_pass();
    assert!(told(&second, 0) == a && told(&second, 1) == b);
    // One that was not encoded for two passes begins anew.
    let one = pipeline.encode(&["[a:b:1]"], &[], &settings, &mut *quiet()).unwrap().second_pass();
    assert!(told(&one, 0) == a && told(&one, 1) == b);
}

#[test]
fn what_cannot_be_is_one_line() {
    let mut pipeline = open("sd15");
    let wide = (0..300).map(|i| format!("[a{i}:{i}]")).collect::<String>() + &"b ".repeat(1500);
    for (prompts, settings, part) in [
        (vec!["a AND ".repeat(40)], settings(3), "32 prompts"),
        (vec!["a :2000 AND b".to_owned()], settings(3), "2000"),
        (vec![wide], settings(1000), "4096 chunks"),
        (vec!["a".to_owned(); 2], settings(3), "2 are given for 1 images"),
        (vec![], settings(3), "0 are given for 1 images"),
        (vec!["a".to_owned()], settings(0), "steps"),
    ] {
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let conditioning = pipeline.encode(&prompts, &[], &settings, &mut *quiet());
        let result = conditioning.and_then(|c| pipeline.sample(&c, &settings, &mut *quiet()));
        let error = result.unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        let error = error.to_string();
        assert!(error.contains(part) && error.lines().count() == 1, "{error}");
    }
}
