"use strict";
// Filters of the gallery, and a slider between an image and its mask. Without it, all is shown.
(() => {
  const form = document.querySelector(".filters");
  if (!form) return;
  const choices = [...form.querySelectorAll("select")];
  const cases = [...document.querySelectorAll(".gallery .sample")];
  const more = form.querySelector("button");
  const few = 8;
  let all = false;
  const words = (text) => new Set(text.split(" ").filter(Boolean));

  function fits(data, wanted) {
    if (wanted.label && data.label !== wanted.label) return false;
    if (wanted.model && data.model !== wanted.model) return false;
    if (wanted.outcome === "unstable" && !data.unstable) return false;
    if (wanted.outcome === "right" || wanted.outcome === "wrong") {
      const arms = words(data[wanted.outcome]);
      return wanted.arm ? arms.has(wanted.arm) : arms.size > 0;
    }
    return !wanted.arm || words(data.right + " " + data.wrong).has(wanted.arm);
  }

  function filter() {
    const wanted = Object.fromEntries(choices.map((one) => [one.name, one.value]));
    const fitting = cases.filter((one) => fits(one.dataset, wanted));
    const shown = new Set(all ? fitting : fitting.slice(0, few));
    for (const one of cases) one.hidden = !shown.has(one);
    form.querySelector("output").value = `${shown.size} shown of ${fitting.length}`;
    more.hidden = fitting.length <= few;
    more.textContent = all ? `Show ${few}` : `Show all ${fitting.length}`;
    document.querySelector(".nothing").hidden = fitting.length > 0;
  }

  function addSlider(one) {
    const image = one.querySelector('[data-panel="Original"] img');
    const mask = one.querySelector('[data-panel="LIME mask"] .frame');
    if (!image || !mask) return;
    const over = image.cloneNode();
    over.className = "over";
    over.alt = "";
    const range = document.createElement("input");
    Object.assign(range, { type: "range", min: 0, max: 100, value: 0 });
    range.setAttribute("aria-label", "From the LIME mask to the image");
    range.addEventListener("input", () => over.style.setProperty("--cut", `${range.value}%`));
    mask.append(over);
    mask.parentElement.append(range);
  }

  cases.forEach(addSlider);
  form.addEventListener("change", filter);
  more.addEventListener("click", () => {
    all = !all;
    filter();
  });
  form.hidden = false;
  filter(); // a page that is loaded again may have kept its choices
})();
