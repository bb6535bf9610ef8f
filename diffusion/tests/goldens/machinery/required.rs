//! What `spec.json` asks for must be in the index: a list that is shorter than it should be must not pass.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::case::Case;
use super::folder::{read_json, reference};
use super::index::dims;

/// The families of the editing cases, which the spec does not name.
const EDIT_FAMILIES: [&str; 2] = ["sd15-inpaint", "sd15-pix2pix"];
/// The LoRA files of the add-on cases, which the spec does not name.
const LORAS: [&str; 2] = ["lora-sd15-kohya", "lora-sdxl-kohya"];
/// Groups of schedulers that every spec has.
const SCHEDULER_GROUPS: [&str; 6] =
    ["epsilon", "v_prediction", "k-epsilon", "k-v_prediction", "add_noise", "tables"];
/// How many of the VAE cases the tiny autoencoder has.
const TAESD_CASES: usize = 2;

/// Looks things up in the index and takes note of what is not there.
struct Checker<'a> {
    spec: &'a Value,
    cases: BTreeMap<String, &'a Case>,
    problems: Vec<String>,
}

/// Everything that the spec asks for and the index does not list: one line each.
pub(crate) fn missing(spec: &Value, cases: &[Case]) -> Vec<String> {
    let cases: BTreeMap<String, &Case> = cases.iter().map(|case| (case.id(), case)).collect();
    let mut checker = Checker { spec, cases, problems: Vec::new() };
    checker.prompts("tokenizer_prompts", "tokenizer");
    checker.prompts("weight_prompts", "prompt_weights");
    checker.rng();
    checker.time();
    checker.text();
    checker.unet();
    checker.vae();
    checker.edit();
    checker.addons();
    checker.schedulers();
    checker.pipelines();
    checker.other_scripts();
    checker.problems
}

impl<'a> Checker<'a> {
    /// The list at `pointer` of the spec; an absent one is a problem.
    fn list(&mut self, pointer: &str) -> &'a [Value] {
        match self.spec.pointer(pointer).and_then(Value::as_array) {
            Some(list) => list,
            None => {
                self.problems.push(format!("spec.json has no list {pointer}"));
                &[]
            }
        }
    }

    /// The case, or a problem.
    fn case(&mut self, id: &str) -> Option<&'a Case> {
        let found = self.cases.get(id).copied();
        if found.is_none() {
            self.problems.push(format!("spec.json asks for case {id}, index.json has none"));
        }
        found
    }

    /// The case must be there and have these tensors; sizes given as `None` may be anything.
    fn tensors(&mut self, id: &str, wanted: &[(String, Vec<Option<usize>>)]) {
        let Some(case) = self.case(id) else { return };
        for (name, shape) in wanted {
            let fits = |got: &Vec<usize>| {
                got.len() == shape.len() && got.iter().zip(shape).all(|(g, s)| s.is_none_or(|s| s == *g))
            };
            match case.tensors.get(name) {
                None => self.problems.push(format!("index.json: case {id} has no tensor {name}")),
                Some(got) if !fits(got) => self
                    .problems
                    .push(format!("index.json: {id}/{name} has shape {got:?}, spec.json asks for {shape:?}")),
                Some(_) => {}
            }
        }
    }

    /// The cases that scripts of this folder have added, which are listed one by one.
    fn other_scripts(&mut self) {
        for script in [
            "flow_samplers.py",
            "klein_pipelines.py",
            "large_text.py",
            "light_controls.py",
            "make_adapters.py",
            "make_transformers.py",
            "small_families.py",
            "tiny_autoencoders.py",
            "transformer_pipelines.py",
        ] {
            for id in texts(self.list(&format!("/other_scripts/{script}"))) {
                self.case(id);
            }
        }
    }

    fn prompts(&mut self, key: &str, kind: &str) {
        let listed: BTreeSet<&str> = self
            .cases
            .values()
            .filter(|c| c.kind() == kind)
            .filter_map(|c| c.json["prompt"].as_str())
            .collect();
        for prompt in self.list(&format!("/{key}")) {
            if !prompt.as_str().is_some_and(|p| listed.contains(p)) {
                self.problems
                    .push(format!("spec.json asks for {kind} of prompt {prompt}, {kind}.json has none"));
            }
        }
    }

    fn rng(&mut self) {
        let mut wanted = vec![vector("torch_cpu_rand_20", 20), vector("torch_cpu_double_20", 20)];
        for n in sizes(self.list("/rng/sizes")) {
            wanted.push(vector(&format!("torch_cpu_{n}"), n));
        }
        for (i, n) in sizes(self.list("/rng/sequence")).into_iter().enumerate() {
            wanted.push(vector(&format!("torch_cpu_seq{i}_{n}"), n));
        }
        for n in sizes(self.list("/rng/philox_sizes")) {
            (0..2).for_each(|call| wanted.push(vector(&format!("philox_call{call}_{n}"), n)));
        }
        for seed in self.list("/rng/seeds") {
            self.tensors(&format!("rng/seed{seed}"), &wanted);
        }
    }

    fn time(&mut self) {
        let count = self.list("/time/t").len();
        for dim in sizes(self.list("/time/dims")) {
            let wanted = [vector("t", count), shaped("emb", [Some(count), Some(dim)])];
            self.tensors(&format!("time/dim{dim}"), &wanted);
        }
    }

    fn text(&mut self) {
        let prompts = self.list("/text/prompts").len();
        let families = texts(self.list("/text/families"));
        for family in &families {
            for encoder in 0..self.text_encoders(family) {
                let ids = shaped("input_ids", [Some(prompts), Some(77)]);
                let states = ["embeddings", "skip1_raw", "skip1_ln", "skip2_raw", "skip2_ln", "skip3_ln"];
                let mut wanted = vec![ids, shaped("pooled_ln", [Some(prompts), None])];
                wanted.extend(states.map(|name| shaped(name, [Some(prompts), Some(77), None])));
                self.tensors(&format!("text/{family}/encoder{encoder}"), &wanted);
            }
        }
        let weighted = self.list("/text/weighted").len();
        for i in 0..weighted {
            // Weighted prompts are only computed for the first family.
            let family = families.first().copied().unwrap_or_default();
            let states = ["plain", "multiplied", "mean_restored"];
            let wanted = states.map(|name| shaped(name, [Some(1), None, None]));
            self.tensors(&format!("text/{family}/weighted{i}"), &wanted);
        }
    }

    /// How many text encoders a family has, by the manifest of its tiny model.
    fn text_encoders(&mut self, family: &str) -> usize {
        let base = if family == "sdxl-turbo" { "sdxl" } else { family };
        let path = reference().join("manifests").join(format!("{base}-tiny-single.json"));
        match read_json(&path).map(|json| json["clip"].as_array().map(Vec::len)) {
            Ok(Some(count)) => count,
            Ok(None) => {
                self.problems.push(format!("{} lists no text encoders", path.display()));
                0
            }
            Err(problem) => {
                self.problems.push(problem);
                0
            }
        }
    }

    fn unet(&mut self) {
        for family in texts(self.list("/unet/families")) {
            for (i, case) in self.list("/unet/cases").iter().enumerate() {
                let id = format!("unet/{family}/case{i}");
                let size = |at: usize| case[at].as_u64().and_then(|v| usize::try_from(v).ok());
                let (n, h, w, tokens) = (size(0), size(1), size(2), size(4));
                let wanted = [
                    shaped("x", [n, None, h, w]),
                    shaped("t", [n]),
                    shaped("context", [n, tokens, None]),
                    shaped("out", [n, None, h, w]),
                ];
                self.tensors(&id, &wanted);
            }
        }
    }

    fn vae(&mut self) {
        let cases = self.list("/vae/cases");
        let families = texts(self.list("/vae/families"));
        for (i, case) in cases.iter().enumerate() {
            let Some([n, h, w]) = triple(case) else {
                self.problems.push(format!("spec.json: /vae/cases/{i} is not [n, h, w]"));
                continue;
            };
            let image = |name| shaped(name, [Some(n), Some(3), Some(h), Some(w)]);
            let latent = |name, channels| shaped(name, [Some(n), Some(channels), Some(h / 8), Some(w / 8)]);
            let bytes = |name| shaped(name, [Some(n), Some(h), Some(w), Some(3)]);
            let wanted = [
                bytes("image_u8"),
                image("image"),
                latent("moments", 8),
                latent("latent", 4),
                image("decoded"),
                bytes("decoded_u8"),
            ];
            for family in &families {
                self.tensors(&format!("vae/{family}/case{i}"), &wanted);
            }
            if i < TAESD_CASES {
                let wanted =
                    [image("image"), latent("latent_of_image", 4), latent("latent", 4), image("decoded")];
                self.tensors(&format!("vae/taesd/case{i}"), &wanted);
            }
        }
    }

    fn edit(&mut self) {
        for (i, case) in self.list("/edit/cases").iter().enumerate() {
            let Some([h, w, _]) = triple(case) else {
                self.problems.push(format!("spec.json: /edit/cases/{i} is not [h, w, t]"));
                continue;
            };
            let latent = |name| shaped(name, [Some(1), None, Some(h / 8), Some(w / 8)]);
            let wanted =
                [shaped("image_u8", [Some(h), Some(w), Some(3)]), latent("unet_input"), latent("out")];
            for family in EDIT_FAMILIES {
                self.tensors(&format!("edit/{family}/{i}"), &wanted);
            }
        }
    }

    fn addons(&mut self) {
        for scale in self.list("/addons/lora_scales") {
            for lora in LORAS {
                self.case(&format!("addons/{lora}/scale{scale}"));
            }
        }
        for i in 0..self.list("/addons/control_cases").len() {
            self.case(&format!("addons/controlnet-sd15/{i}"));
        }
        for i in 0..self.list("/addons/ti_prompts").len() {
            self.case(&format!("addons/ti-sd15/{i}"));
        }
    }

    fn schedulers(&mut self) {
        for group in SCHEDULER_GROUPS {
            let group = format!("schedulers/{group}");
            if !self.cases.values().any(|case| case.group == group) {
                self.problems.push(format!("index.json has no case of {group}"));
            }
        }
        for part in texts(self.list("/schedulers/v_filter")) {
            let fits = |case: &&Case| case.group == "schedulers/v_prediction" && case.name.contains(part);
            if !self.cases.values().any(fits) {
                self.problems
                    .push(format!("spec.json asks for {part} in schedulers/v_prediction, there is none"));
            }
        }
        let shape = self.spec.pointer("/schedulers/shape").and_then(dims);
        let cases: Vec<&Case> = self.cases.values().copied().collect();
        for case in cases.iter().filter(|case| case.tensors.contains_key("trajectory")) {
            let trajectory = case.tensors["trajectory"].get(1..).map(<[usize]>::to_vec);
            if shape.is_none() || trajectory != shape || !case.tensors.contains_key("x0") {
                self.problems.push(format!("index.json: {} has no trajectory of shape {shape:?}", case.id()));
            }
        }
    }

    fn pipelines(&mut self) {
        for pipeline in self.list("/pipelines") {
            let name = pipeline["id"].as_str().unwrap_or_default();
            let Some(case) = self.case(&format!("pipelines/{name}")) else { continue };
            let mut asked = pipeline.clone();
            asked.as_object_mut().map(|fields| fields.remove("id"));
            if case.json["params"] != asked {
                self.problems
                    .push(format!("pipelines/{name}: index.json has other parameters than spec.json"));
            }
            self.tensors(
                &format!("pipelines/{name}"),
                &[
                    shaped("latents", [None; 4]),
                    shaped("output_u8", [None, None, None, Some(3)]),
                    shaped("timesteps", [None]),
                ],
            );
        }
    }
}

/// A tensor and its shape; `None` for sizes that the spec leaves open.
fn shaped<const N: usize>(name: &str, shape: [Option<usize>; N]) -> (String, Vec<Option<usize>>) {
    (name.to_owned(), shape.to_vec())
}

fn vector(name: &str, length: usize) -> (String, Vec<Option<usize>>) {
    shaped(name, [Some(length)])
}

fn sizes(list: &[Value]) -> Vec<usize> {
    list.iter().filter_map(|v| v.as_u64().and_then(|v| usize::try_from(v).ok())).collect()
}

fn texts(list: &[Value]) -> Vec<&str> {
    list.iter().filter_map(Value::as_str).collect()
}

fn triple(json: &Value) -> Option<[usize; 3]> {
    dims(json)?.try_into().ok()
}
