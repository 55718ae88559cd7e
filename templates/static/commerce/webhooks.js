// Two conveniences; every page works without them.
"use strict";

// Ticking a group (or everything) shows what it covers as chosen.
for (const choices of document.querySelectorAll("[data-event-types]")) {
  const boxes = [...choices.querySelectorAll("input[type=checkbox]")];
  const covering = boxes.filter((box) => box.dataset.covers);
  const own = new Map(boxes.map((box) => [box, box.checked]));

  const covers = (whole, box) =>
    whole !== box && own.get(whole) && (whole.dataset.covers === "*" || box.value.startsWith(whole.dataset.covers));

  const show = () => {
    for (const box of boxes) {
      const covered = covering.some((whole) => covers(whole, box));
      box.disabled = covered;
      box.checked = covered || own.get(box);
    }
  };

  choices.addEventListener("change", (event) => {
    own.set(event.target, event.target.checked);
    show();
  });
  show();
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}
