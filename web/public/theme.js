/* Before the first paint: the theme that was chosen, else the system's. A file, as the Content-Security-Policy wants it. */
(function () {
  var chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem("finch-preferences") || "{}").state.theme;
  } catch (ignored) {}
  var dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.classList.toggle("dark", dark);
})();
