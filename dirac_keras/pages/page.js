"use strict";
// Sorts tables by a click on a heading: upwards, downwards, as it was. Without this script they are plain tables.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], original = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column], told = cell.dataset.sort;
    return told === undefined ? cell.textContent : told === "inf" ? Infinity : told === "-inf" ? -Infinity : Number(told);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? (a < b ? -1 : a > b ? 1 : 0)
    : String(a).localeCompare(String(b), undefined, {numeric: true});
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = {ascending: "descending", descending: ""}[head.getAttribute("aria-sort")] ?? "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      let rows = original;
      if (next) {
        head.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1, numeric = head.classList.contains("number");
        const empty = row => numeric && row.cells[column].dataset.sort === undefined;  // last, either way
        rows = [...original].sort((a, b) => empty(a) - empty(b) || sign * compare(key(a, column), key(b, column)));
      }
      body.append(...rows);
    });
  });
}
// What is folded is opened for the printer, and for a link that leads into it.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach(part => { part.open = true; });
});
addEventListener("afterprint", () => folded.forEach(part => { part.open = false; }));
const unfold = () => {
  const part = document.getElementById(location.hash.slice(1))?.querySelector(":scope > details");
  if (part) part.open = true;
};
addEventListener("hashchange", unfold);
unfold();
