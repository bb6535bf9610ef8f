// Runs before anything is painted: sets the colour scheme and the language, and starts the first requests, so that they
// are under way while the modules load. A classic script, because modules run too late for the first paint.
(() => {
  const stored = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };
  const root = document.documentElement;
  root.dataset.theme = stored("latent-theme") || "auto";

  const languages = root.dataset.languages.split(" ");
  const wanted = [stored("latent-language"), ...(navigator.languages || [])].map((tag) => String(tag).slice(0, 2));
  const language = wanted.find((tag) => languages.includes(tag)) || languages[0];
  root.lang = language;

  const start = (path) => {
    const response = fetch(path);
    response.catch(() => {}); // Whoever waits for it says so; until then it is not an unhandled error.
    return response;
  };
  window.latentBoot = {
    language,
    texts: start(`i18n/${language}.json`),
    "api/v1/info": start("api/v1/info"),
    "api/v1/models": start("api/v1/models"),
    "api/v1/jobs?limit=40": start("api/v1/jobs?limit=40"),
  };
})();
