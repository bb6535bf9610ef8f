// Reads the header of a `.safetensors` file, and nothing else of it: 8 bytes give its length, then follows JSON. A file of
// 7 GB is answered as fast as one of 7 KB.
import { t } from "./i18n.js";

const MAX_HEADER = 100_000_000;
const DTYPE_BITS = { BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, I16: 16, U16: 16, F16: 16, BF16: 16 };
const WIDE_BITS = { I32: 32, U32: 32, F32: 32, F64: 64, I64: 64, U64: 64 };

/** @typedef {{name: string, dtype: string, shape: number[], bytes: number}} TensorInfo */

/**
 * @param {File} file
 * @returns {Promise<{header: Blob, tensors: TensorInfo[], metadata: Record<string, string>}>}
 */
export async function readHeader(file) {
  if (file.size < 8) throw new Error(t("inspect.tooShort"));
  const length = new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER) || length > BigInt(file.size - 8)) throw new Error(t("inspect.notSafetensors"));
  const header = file.slice(0, 8 + Number(length));
  let json;
  try {
    json = JSON.parse(await header.slice(8).text());
  } catch {
    throw new Error(t("inspect.notSafetensors"));
  }
  const { __metadata__: metadata = {}, ...entries } = json;
  const tensors = Object.entries(entries).map(([name, entry]) => ({
    name,
    dtype: entry.dtype,
    shape: entry.shape,
    bytes: entry.data_offsets[1] - entry.data_offsets[0],
  }));
  return { header, tensors, metadata };
}

/** The size of a tensor, from its dtype and shape. */
export function tensorBytes(dtype, shape) {
  const bits = DTYPE_BITS[dtype] ?? WIDE_BITS[dtype] ?? 8;
  return (shape.reduce((product, side) => product * side, 1) * bits) / 8;
}

/**
 * The tensors as a tree by the parts of their names.
 * @param {TensorInfo[]} tensors
 */
export function tensorTree(tensors) {
  const root = { name: "", path: "", children: new Map(), tensors: 0, bytes: 0, tensor: null };
  for (const tensor of tensors) {
    let node = root;
    node.tensors += 1;
    node.bytes += tensor.bytes;
    for (const part of tensor.name.split(".")) {
      let child = node.children.get(part);
      if (!child) {
        const path = node.path ? `${node.path}.${part}` : part;
        child = { name: part, path, children: new Map(), tensors: 0, bytes: 0, tensor: null };
        node.children.set(part, child);
      }
      child.tensors += 1;
      child.bytes += tensor.bytes;
      node = child;
    }
    node.tensor = tensor;
  }
  return root;
}
