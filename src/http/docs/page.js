// Shows the document in the reader's language: the one chosen by ?lang=, else the browser's. All addresses are relative,
// so that the page works behind whatever name it was reached by.
const chosen = new URLSearchParams(location.search).get("lang") ?? navigator.language;
const lang = chosen.startsWith("zh") ? "zh" : "en";

document.documentElement.lang = lang;
document.querySelector(`nav a[lang=${lang}]`).setAttribute("aria-current", "page");

SwaggerUIBundle({
  url: lang === "zh" ? "openapi.zh.json" : "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
