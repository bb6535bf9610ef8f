// Sizes that a model draws well: those of its family first, or else the usual aspect ratios with as many pixels as its own.

const SDXL = [[1024, 1024], [832, 1216], [1216, 832], [896, 1152], [1152, 896], [768, 1344], [1344, 768]];
const SD = [[512, 512], [512, 768], [768, 512], [512, 640], [640, 512], [448, 768], [768, 448]];
const RATIOS = [[1, 1], [2, 3], [3, 2], [4, 5], [5, 4], [9, 16], [16, 9]];
const NAMES = ["1:1", "2:3", "3:2", "4:5", "5:4", "9:16", "16:9"];

/** @typedef {{label: string, width: number, height: number}} Size */

/** @param {{base?: string, defaults?: {width: number, height: number}}|undefined} model @returns {Size[]} */
export function sizesFor(model) {
  const width = model?.defaults?.width ?? 512;
  const height = model?.defaults?.height ?? 512;
  const list = (sizes) => sizes.map(([w, h], index) => ({ label: NAMES[index], width: w, height: h }));
  if (model?.base?.startsWith("sdxl") && width === 1024) return list(SDXL);
  if (width === 512 && height === 512) return list(SD);
  const area = width * height;
  const multiple = area > 512 * 512 ? 64 : 8;
  const round = (value) => Math.max(multiple, Math.round(value / multiple) * multiple);
  return list(RATIOS.map(([x, y]) => [round(Math.sqrt((area * x) / y)), round(Math.sqrt((area * y) / x))]));
}

/** The nearest sides that models can draw, for an image to be redrawn: about as many pixels as the model's own. */
export function fitSize(image, model) {
  const own = (model?.defaults?.width ?? 512) * (model?.defaults?.height ?? 512);
  const multiple = own > 512 * 512 ? 64 : 8;
  const factor = Math.sqrt(own / (image.width * image.height));
  const scale = factor < 1 || factor > 1.6 ? factor : 1;
  const round = (value) => Math.max(multiple, Math.round((value * scale) / multiple) * multiple);
  return { width: round(image.width), height: round(image.height) };
}
