// What can be done with an image: the modes of the Change tab, each with its icon. Their names are the verbs of the server.
export const MODES = [
  ["img2img", "change"],
  ["inpaint", "brush"],
  ["outpaint", "fit"],
  ["edit", "draw"],
  ["upscale", "zoomIn"],
];
