// What the program calls in its worker.

/** The file that is open: a Blob, whose bytes stay on the disk until they are asked for. */
let file = null;
let cancelled = false;

// What was asked of the program's file, for whoever wants to know how much of it is in memory at a time.
const reads = { count: 0, bytes: 0, largest: 0 };

const reader = new FileReaderSync();
const turns = new MessageChannel();

/** Suspends the program for a turn of the event loop. A message comes sooner than a timer, which browsers slow down. */
export const pause = new WebAssembly.Suspending(
  () =>
    new Promise((resolve) => {
      turns.port1.onmessage = resolve;
      turns.port2.postMessage(null);
    }),
);

export const isCancelled = () => cancelled;

export function readRange(offset, target) {
  try {
    const bytes = new Uint8Array(reader.readAsArrayBuffer(file.slice(offset, offset + target.length)));
    if (bytes.length < target.length) return false;
    target.set(bytes);
  } catch {
    return false;
  }
  reads.count += 1;
  reads.bytes += target.length;
  reads.largest = Math.max(reads.largest, target.length);
  return true;
}

export const log = (line) => console.error(line);

export function post(json, rgb) {
  const event = JSON.parse(json);
  if (event.kind === "done") event.reads = { ...reads };
  // `rgb` is a view of the program's memory.
  if (rgb.length > 0) event.rgb = rgb.slice();
  postMessage(event, event.rgb ? [event.rgb.buffer] : []);
}

export function setFile(blob) {
  file = blob;
  Object.assign(reads, { count: 0, bytes: 0, largest: 0 });
}

export function setCancelled(value) {
  cancelled = value;
}
