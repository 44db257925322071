// Light or dark: as the system says, until the person chooses.

const chooseTheme = (theme) => { document.documentElement.dataset.theme = theme; };
const dark = matchMedia("(prefers-color-scheme: dark)");
let kept = null;
try { kept = localStorage.getItem("theme"); } catch { /* storage is blocked */ }
chooseTheme(kept ?? (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => { if (!kept) chooseTheme(dark.matches ? "dark" : "light"); });
document.querySelector("#theme").addEventListener("click", () => {
  kept = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  chooseTheme(kept);
  try { localStorage.setItem("theme", kept); } catch { /* the choice lasts until the page is closed */ }
});
