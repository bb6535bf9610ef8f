// Images for the mock server: small landscapes that a seed decides, drawn with noise that vanishes step by step, as PNG.
import { deflateSync, inflateSync } from "node:zlib";

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = CRC[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const frame = Buffer.alloc(body.length + 8);
  frame.writeUInt32BE(data.length, 0);
  body.copy(frame, 4);
  frame.writeUInt32BE(crc(body), body.length + 4);
  return frame;
}

/** RGB pixels as a PNG, with texts. */
export function png(width, height, rgb, texts = {}) {
  const rows = Buffer.alloc((width * 3 + 1) * height);
  for (let y = 0; y < height; y += 1) rgb.copy(rows, y * (width * 3 + 1) + 1, y * width * 3, (y + 1) * width * 3);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const notes = Object.entries(texts).map(([name, text]) => chunk("iTXt", Buffer.from(`${name}\0\0\0\0\0${text}`)));
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", header), ...notes, chunk("IDAT", deflateSync(rows, { level: 3 })), chunk("IEND", Buffer.alloc(0))]);
}

/** The texts and the size of a PNG. */
export function readPng(bytes) {
  if (bytes.toString("latin1", 1, 4) !== "PNG") return null;
  const texts = {};
  let at = 8;
  while (at + 8 <= bytes.length) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString("latin1", at + 4, at + 8);
    const data = bytes.subarray(at + 8, at + 8 + length);
    const end = data.indexOf(0);
    if (type === "tEXt") texts[data.toString("latin1", 0, end)] = data.toString("latin1", end + 1);
    if (type === "zTXt") texts[data.toString("latin1", 0, end)] = inflateSync(data.subarray(end + 2)).toString("latin1");
    if (type === "iTXt") texts[data.toString("latin1", 0, end)] = data.toString("utf8", end + 5);
    at += length + 12;
  }
  return { texts, width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

function random(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
}

function hsl(h, s, l) {
  const a = s * Math.min(l, 1 - l);
  const part = (n) => {
    const k = (n + h * 12) % 12;
    return 255 * (l - a * Math.max(-1, Math.min(k - 3, 9 - k, 1)));
  };
  return [part(0), part(8), part(4)];
}

/** A landscape: a sky, a sun, and hills one behind the other. `noise` from 1 to 0 hides it. */
export function landscape(width, height, seed, noise = 0) {
  const next = random(seed * 2654435761);
  for (let i = 0; i < 4; i += 1) next();
  const hue = next();
  const sun = [0.2 + next() * 0.6, 0.2 + next() * 0.3, 0.06 + next() * 0.08];
  const hills = Array.from({ length: 4 }, (_, i) => ({ base: 0.45 + i * 0.14, waves: [1 + next() * 2, 3 + next() * 4], phase: next() * 6, colour: hsl((hue + 0.45 + i * 0.03) % 1, 0.35, 0.52 - i * 0.12) }));
  const [top, low, light] = [hsl(hue, 0.55, 0.35), hsl((hue + 0.12) % 1, 0.75, 0.75), hsl((hue + 0.14) % 1, 0.9, 0.88)];
  const rgb = Buffer.alloc(width * height * 3);
  const grain = random(seed + 17);
  for (let y = 0; y < height; y += 1) {
    const v = y / height;
    for (let x = 0; x < width; x += 1) {
      const u = x / width;
      const far = Math.hypot((u - sun[0]) * (width / height), v - sun[1]);
      let colour = top.map((c, i) => c + (low[i] - c) * Math.min(1, v * 1.7));
      const glow = far < sun[2] ? 1 : Math.max(0, 0.5 - (far - sun[2]) * 2.2);
      colour = colour.map((c, i) => c + (light[i] - c) * glow);
      for (const hill of hills) {
        const line = hill.base + 0.05 * Math.sin(u * hill.waves[0] * 6.28 + hill.phase) + 0.02 * Math.sin(u * hill.waves[1] * 6.28);
        if (v > line) colour = hill.colour.map((c) => c * (1 - (v - line) * 0.5));
      }
      const at = (y * width + x) * 3;
      for (let i = 0; i < 3; i += 1) rgb[at + i] = Math.max(0, Math.min(255, colour[i] * (1 - noise) + grain() * 255 * noise));
    }
  }
  return rgb;
}
