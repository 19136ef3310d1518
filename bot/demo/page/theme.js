// Use the system's light or dark colors, unless the person chose one here.
// A plain script in the head, so that the first paint already has the chosen colors.
(() => {
  const ORDER = ["system", "light", "dark"];
  const chosen = () => localStorage.getItem("theme") ?? "system";

  const apply = () => {
    document.documentElement.dataset.theme = chosen();
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.querySelector("span").textContent = `Colors: ${chosen()}`;
    }
  };

  apply();
  document.addEventListener("DOMContentLoaded", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    localStorage.setItem("theme", ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length]);
    apply();
  });
})();
