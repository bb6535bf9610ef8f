// What the mock server has: its limits, models and samplers, as the real one would list them.

const GB = 1e9;
const sd = { width: 512, height: 512, steps: 20, cfg_scale: 7, sampler: "dpm++2m", scheduler: "karras", clip_skip: 1 };
const all = ["txt2img", "img2img", "inpaint", "outpaint"];

const model = (name, base, family_label, bytes, rest = {}) => ({
  name,
  path_in_folder: `${name}.safetensors`,
  bytes,
  kind: "model",
  base,
  family_label,
  variant: "base",
  problem: null,
  draws: true,
  verbs: all,
  defaults: sd,
  memory: { 512: bytes * 1.2, 1024: bytes * 1.9 },
  loaded: false,
  built_in: false,
  ...rest,
});

const part = (name, kind, bytes, rest = {}) => model(name, "sd1", "Stable Diffusion 1.x", bytes, { kind, draws: false, verbs: [], defaults: null, memory: null, ...rest });

export const models = [
  model("demo", "sd1", "Stable Diffusion 1.x", 39607558, { built_in: true, loaded: true, path_in_folder: null, defaults: { ...sd, width: 256, height: 256 }, memory: { 512: 187598600, 1024: 690915080 } }),
  model("dreamshaper_8", "sd1", "Stable Diffusion 1.x", 2.13 * GB),
  model("realisticVisionV51", "sd1", "Stable Diffusion 1.x", 2.13 * GB),
  model("sd-v1-5-inpainting", "sd1", "Stable Diffusion 1.x", 4.27 * GB, { variant: "inpainting", verbs: ["inpaint", "outpaint"] }),
  model("instruct-pix2pix", "sd1", "Stable Diffusion 1.x", 7.7 * GB, { variant: "instruction", verbs: ["edit"] }),
  model("v2-1_768-ema-pruned", "sd2", "Stable Diffusion 2.x", 5.21 * GB, { defaults: { ...sd, width: 768, height: 768 } }),
  model("sd_xl_base_1.0", "sdxl", "Stable Diffusion XL", 6.94 * GB, { defaults: { ...sd, width: 1024, height: 1024, cfg_scale: 6, steps: 25 } }),
  model("half-downloaded", null, null, 812345678, { kind: null, draws: false, verbs: [], defaults: null, memory: null, problem: "half-downloaded.safetensors: ends in the middle of a tensor; download the file again" }),
  part("add_detail", "lora", 37863000),
  part("watercolour_style", "lora", 151110000),
  part("pixel-art-xl", "lora", 170540000, { base: "sdxl", family_label: "Stable Diffusion XL" }),
  part("easynegative", "embedding", 24655),
  part("vae-ft-mse-840000", "vae", 334641164),
  part("taesd", "taesd", 4960000),
  part("control_canny", "controlnet", 722598642),
  part("RealESRGAN_x4plus", "upscaler", 66929456, { base: null, family_label: null }),
];

const samplers = ["Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ 2M SDE", "DDIM", "UniPC", "LCM"].map((name) => ({ id: name.toLowerCase().replaceAll(" ", "").replace("eulera", "euler_a"), name }));
const schedulers = ["Normal", "Karras", "Exponential", "SGM Uniform", "Beta"].map((name) => ({ id: name.toLowerCase().replaceAll(" ", "_"), name }));

export const info = {
  version: "0.1.0",
  auth_required: false,
  output_dir: "/home/anna/Pictures/latent",
  model_folders: [
    { path: "/home/anna/.local/share/latent", exists: true },
    { path: "/home/anna/stable-diffusion-webui/models", exists: true },
    { path: "/home/anna/ComfyUI/models", exists: false },
  ],
  default_model: models[0],
  devices: [{ id: "cpu", name: "CPU" }],
  limits: { max_width: 2048, max_height: 2048, max_steps: 150, max_batch: 16, max_body_bytes: 64e6, max_image_pixels: 64e6, queue: { max_jobs: 100, max_jobs_per_client: 50 } },
  samplers,
  schedulers,
  resize_modes: ["crop", "stretch", "fit"],
  fills: ["original", "nearest", "noise", "zero"],
  rngs: ["cuda", "cpu"],
  predictions: ["epsilon", "v"],
  upscalers: ["latent", "latent-nearest", "lanczos", "realesr-animevideov3"],
  options: [],
};

/** The workers of a queue that several machines share, and a job that was set aside. */
export const sharedQueue = {
  workers: [
    { schema: 2, name: "attic-4711", machine: "attic", instance: "a", version: "0.1.0", isa: "avx2", devices: ["cpu"], models: { demo: "00", "a-model-with-quite-a-long-name-of-its-own": "11" }, loaded: ["demo"], drawing: ["5f1c8a90b2d3.12.3"], done: 1234, heard_seconds_ago: 2 },
    { schema: 2, name: "cellar", machine: "cellar", instance: "b", version: "0.1.0", isa: "avx512", devices: ["vulkan", "cpu"], models: { demo: "00" }, loaded: [], drawing: [], done: 0, heard_seconds_ago: 0 },
  ],
  parked: [{ job: "5f1c8a90b2d3.7.0", reason: "the job was handed to workers 3 times, and none of them was heard of again: it may have ended them; it is set aside", deliveries: 4, time: "2026-11-29T08:15:00Z" }],
};

/** What inspecting a file says, from its header. */
export function inspect(name, bytes, header) {
  const { __metadata__: metadata = {}, ...entries } = header;
  const list = Object.entries(entries).map(([tensor, { dtype, shape }]) => ({ name: tensor, dtype, shape }));
  const isLora = list.some((tensor) => tensor.name.includes("lora"));
  const count = (shape) => shape.reduce((product, side) => product * side, 1);
  const component = { name: isLora ? "LoRA" : "UNet", bytes, dtypes: { F16: bytes }, parameters: list.reduce((sum, tensor) => sum + count(tensor.shape), 0), tensors: list.length };
  return {
    base: "sd1",
    bytes,
    kind: isLora ? "lora" : "model",
    purpose: isLora ? "is added to the weights of a model of its family" : "draws images",
    family_name: "Stable Diffusion 1.x",
    layout: "single file",
    lacks: [],
    components: [component],
    lora: isLora ? { kinds: { LoRA: 2 }, layers: 2, ranks: { 16: 2 } } : null,
    memory_estimate: isLora ? [] : [{ side: 512, bytes: bytes * 1.2 }, { side: 1024, bytes: bytes * 1.9 }],
    metadata,
    prediction: isLora ? null : "epsilon",
    tensors: list.length,
    tensor_list: list,
    draws: !isLora,
    verbs: isLora ? [] : all,
    advice: [isLora ? `put ${name} into /home/anna/.local/share/latent/lora, and name it in a prompt: <lora:${name.replace(/\.\w+$/, "")}:1>` : `put ${name} into /home/anna/.local/share/latent, and choose it as the model`],
  };
}

/** A header with the names of a whole model, about as many tensors as one has. */
export function modelHeader() {
  const header = { __metadata__: { format: "pt", "modelspec.title": "Dreamshaper", "modelspec.architecture": "stable-diffusion-v1", ss_base_model_version: "sd_1.5", ss_tag_frequency: JSON.stringify({ "10_style": Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`tag ${n}`, 60 - n])) }) } };
  let at = 0;
  const add = (name, shape) => {
    const bytes = shape.reduce((product, side) => product * side, 2);
    header[name] = { dtype: "F16", shape, data_offsets: [at, at + bytes] };
    at += bytes;
  };
  for (const side of ["input", "output"]) {
    for (let block = 0; block < 12; block += 1) {
      for (const layer of ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection"]) {
        add(`model.diffusion_model.${side}_blocks.${block}.0.${layer}.weight`, [320, 320, 3, 3]);
        add(`model.diffusion_model.${side}_blocks.${block}.0.${layer}.bias`, [320]);
      }
      for (const attention of ["attn1", "attn2"]) for (const to of ["to_q", "to_k", "to_v", "to_out.0"]) add(`model.diffusion_model.${side}_blocks.${block}.1.transformer_blocks.0.${attention}.${to}.weight`, [320, 320]);
    }
  }
  for (let layer = 0; layer < 12; layer += 1) for (const name of ["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "mlp.fc1", "mlp.fc2"]) add(`cond_stage_model.transformer.text_model.encoder.layers.${layer}.${name}.weight`, [768, 768]);
  for (const side of ["encoder", "decoder"]) for (let block = 0; block < 4; block += 1) add(`first_stage_model.${side}.down.${block}.block.0.conv1.weight`, [512, 512, 3, 3]);
  return header;
}
