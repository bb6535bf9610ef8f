// The page: sends commands to the worker, and shows what it tells.

const byId = (id) => document.getElementById(id);
const [form, drawButton, cancelButton] = ["form", "draw", "cancel"].map(byId);
const [model, status, progress, error, canvas] = ["model", "status", "progress", "error", "canvas"].map(byId);

/** The settings that a model has of its own, which empty fields stand for. */
const OWN = ["width", "height", "steps", "guidance"];

let worker = null;
let file = null;
let isOpen = false;
let isBusy = false;
let begun = 0;

function showBusy(busy) {
  isBusy = busy;
  drawButton.disabled = busy || !isOpen;
  for (const id of ["choose", "demo"]) byId(id).disabled = busy;
  progress.hidden = !busy;
  if (!busy) cancelButton.hidden = true;
}

function showError(message) {
  error.textContent = message;
  error.hidden = !message;
}

function showImage({ rgb, width, height }) {
  const pixels = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    pixels.data.set(rgb.subarray(from, from + 3), to);
    pixels.data[to + 3] = 255;
  }
  Object.assign(canvas, { width, height });
  canvas.classList.toggle("large", width >= 256);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  byId("figure").hidden = false;
}

const seconds = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`;

const told = {
  opened(event) {
    isOpen = true;
    const device = event.adapter === null ? "the CPU, as this browser gives no GPU: slow" : `${event.adapter || "the GPU"}, in ${event.dtype}`;
    model.textContent = `${file.name}: ${event.family}, on ${device}`;
    for (const id of OWN) byId(id).placeholder = String(event[id]);
    for (const id of ["width", "height"]) byId(id).step = byId(id).min = String(event.multiple);
  },
  loading({ read, total }) {
    status.textContent = `Loading: ${Math.round((100 * read) / total)} %`;
  },
  step({ step, total }) {
    Object.assign(progress, { value: step, max: total });
    status.textContent = `Step ${step} of ${total}, ${seconds()}`;
  },
  block({ block, total }) {
    progress.title = `Block ${block} of ${total}`;
  },
  preview(event) {
    showImage(event);
    byId("caption").textContent = "Preview";
  },
  drawn(event) {
    showImage(event);
    const caption = `Seed ${event.seed}, ${event.width}×${event.height}, ${seconds()}`;
    byId("caption").textContent = canvas.ariaLabel = caption;
    canvas.toBlob((blob) => {
      const save = byId("save");
      URL.revokeObjectURL(save.href);
      Object.assign(save, { href: URL.createObjectURL(blob), download: `${event.seed}.png`, hidden: false });
    });
    status.textContent = `Drawn in ${seconds()}.`;
  },
  done({ reads }) {
    Object.assign(document.body.dataset, { reads: reads.count, readBytes: reads.bytes, largestRead: reads.largest });
    showBusy(false);
  },
  failed({ message }) {
    status.textContent = "";
    showError(message);
    if (!isOpen) model.textContent = "No model is open.";
    showBusy(false);
  },
  crashed({ message }) {
    // A new program, with the same model.
    startWorker();
    told.failed({ message: `The program ended: ${message}. It has been started anew.` });
    if (file && isOpen) open(file);
  },
};

function startWorker() {
  worker?.terminate();
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => told[data.kind](data);
  worker.onerror = (event) => {
    worker = null;
    told.failed({ message: `The program could not be started: ${event.message ?? "the console says more"}` });
  };
}

function send(command, blob) {
  showError("");
  showBusy(true);
  progress.removeAttribute("value");
  begun = performance.now();
  worker.postMessage({ command, file: blob });
}

function open(blob) {
  if (isBusy || !worker) return;
  [file, isOpen] = [blob, false];
  model.textContent = `Opening ${file.name}…`;
  send({ open: { name: file.name, bytes: file.size } }, file);
}

async function openDemo() {
  if (!worker) return;
  model.textContent = "Fetching the built-in model…";
  const response = await fetch("demo.safetensors").catch(() => null);
  if (!response?.ok) return told.failed({ message: "The built-in model is not there." });
  open(new File([await response.blob()], "built-in model"));
}

const number = (id) => (byId(id).value === "" ? null : Number(byId(id).value));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (isBusy || !isOpen) return;
  const seed = number("seed") ?? Math.floor(Math.random() * 2 ** 32);
  const own = Object.fromEntries(OWN.map((id) => [id, number(id)]));
  cancelButton.hidden = false;
  send({ draw: { prompt: byId("prompt").value, negativePrompt: byId("negative").value, seed, ...own } });
});
cancelButton.addEventListener("click", () => worker.postMessage({ cancel: true }));
byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => target.files[0] && open(target.files[0]));
byId("demo").addEventListener("click", openDemo);

const drop = byId("drop");
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("dragging");
});
drop.addEventListener("dragleave", () => drop.classList.remove("dragging"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("dragging");
  if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
});

if ("Suspending" in WebAssembly) {
  startWorker();
  openDemo();
} else {
  model.textContent = "This browser cannot run it.";
  showError("It needs WebAssembly with JavaScript Promise Integration: Chrome or Edge from version 137 on.");
}
