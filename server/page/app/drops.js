// Files that are dropped anywhere on the page, and images that are pasted: a model file is inspected, an image becomes the one
// to change on the Change tab, and elsewhere its settings are shown.
import { useEffect } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { fileImage, isImageFile, isModelFile } from "../lib/image-source.js";
import { go, route } from "../lib/router.js";
import { inspected, readMetadata, sendToChange, takeSource } from "../state/actions.js";
import { toast, toastError } from "../state/toasts.js";

function take(file) {
  if (isModelFile(file)) {
    inspected.set({ name: file.name, file });
    if (route.value.tab !== "models") go("models");
  } else if (!isImageFile(file)) {
    toast(t("drop.unknown", { name: file.name }), { kind: "error" });
  } else if (route.value.tab === "change") {
    fileImage(file).then(takeSource, toastError);
  } else {
    readMetadata(file);
  }
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

function drag(event) {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dragging");
}

function leave(event) {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
}

function drop(event) {
  document.body.classList.remove("dragging");
  if (!hasFiles(event)) return;
  event.preventDefault();
  const file = event.dataTransfer.files[0];
  if (file) take(file);
}

function paste(event) {
  const file = [...(event.clipboardData?.files ?? [])].find(isImageFile);
  if (!file) return;
  event.preventDefault();
  fileImage(file).then((source) => sendToChange(source), toastError);
}

export function useDrops() {
  useEffect(() => {
    const all = { dragenter: drag, dragover: drag, dragleave: leave, drop, paste };
    for (const [name, listener] of Object.entries(all)) document.addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(all)) document.removeEventListener(name, listener);
    };
  }, []);
}
