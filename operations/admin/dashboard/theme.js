// Before anything is painted: the theme that was chosen here the last time, if any.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("takedown.theme");
  } catch {
    // Storage may be forbidden: the system's theme it is.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
