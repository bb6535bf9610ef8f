// The mask of an image as a list of strokes: drawing one is an entry, undo takes the last away. What is painted is drawn anew.

/** How the mask looks on the image, in both colour schemes. */
const SHOWN = "#10b8a6";

/**
 * @typedef {{tool: "brush"|"eraser", size: number, points: [number, number][]}
 *   | {tool: "clear"|"invert"}} Stroke in pixels of the image
 */

/** A canvas as large as the image. */
function maskCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

function drawLine(context, { size, points }) {
  context.lineWidth = size;
  context.lineCap = "round";
  context.lineJoin = "round";
  context.beginPath();
  context.moveTo(...points[0]);
  for (const point of points.slice(1)) context.lineTo(...point);
  if (points.length === 1) context.lineTo(points[0][0] + 0.01, points[0][1]);
  context.stroke();
}

/** Adds a stroke to a mask, which is opaque where it is painted and clear elsewhere. */
export function applyStroke(context, stroke) {
  const { width, height } = context.canvas;
  context.fillStyle = SHOWN;
  context.strokeStyle = SHOWN;
  context.globalCompositeOperation = { eraser: "destination-out", clear: "destination-out", invert: "xor" }[stroke.tool] ?? "source-over";
  if (stroke.tool === "brush" || stroke.tool === "eraser") drawLine(context, stroke);
  else context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-over";
}

/** Draws a mask anew from its strokes. */
export function applyStrokes(context, strokes) {
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  const start = strokes.findLastIndex((stroke) => stroke.tool === "clear");
  for (const stroke of strokes.slice(Math.max(0, start))) applyStroke(context, stroke);
}

/** The mask as a PNG: white where the image is drawn anew, black elsewhere. @returns {Promise<Blob>} */
export function maskFile(strokes, width, height) {
  const mask = maskCanvas(width, height);
  const painted = mask.getContext("2d");
  applyStrokes(painted, strokes);
  painted.globalCompositeOperation = "source-in";
  painted.fillStyle = "#fff";
  painted.fillRect(0, 0, width, height);
  const whole = maskCanvas(width, height);
  const context = whole.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  context.drawImage(mask, 0, 0);
  return new Promise((resolve) => whole.toBlob(resolve, "image/png"));
}
