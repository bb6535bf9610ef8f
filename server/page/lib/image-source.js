// An image that a request starts from: one of the gallery, named, or one that was dropped, sent along.
import { address, imagePath } from "./api.js";
import { t } from "./i18n.js";

/**
 * @typedef {object} ImageSource
 * @property {string} name
 * @property {string} url where the browser shows it from
 * @property {number} width
 * @property {number} height
 * @property {Blob|null} file the bytes, if it is not in the gallery
 */

/** An image of the gallery. @returns {ImageSource} */
export function galleryImage(info) {
  const url = address(info.url || `/api/v1/${imagePath(info.name)}`);
  return { name: info.name, url, width: info.width, height: info.height, file: null };
}

/** A file that was dropped, pasted or chosen. @returns {Promise<ImageSource>} */
export async function fileImage(file) {
  const url = URL.createObjectURL(file);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(t("error.notAnImage", { name: file.name || t("image.pasted") }));
  }
  return { name: file.name || "pasted.png", url, width: image.naturalWidth, height: image.naturalHeight, file };
}

/** Bytes in base64, without the address that the browser puts in front. */
export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",", 2)[1] || "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** What a request says for this image. @param {ImageSource} source */
export async function imageValue(source) {
  return source.file ? { base64: await base64(source.file), name: source.name } : { image: source.name };
}

export const isImageFile = (file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp|gif|bmp|tiff?)$/i.test(file.name);
export const isModelFile = (file) => /\.safetensors$/i.test(file.name);

/** Classes for an image that is shown large: few pixels are shown as such, and small images are enlarged. */
export const sizeClass = ({ width, height }) => `${Math.max(width, height) < 560 ? "small" : ""} ${width <= 160 ? "pixels" : ""}`;
