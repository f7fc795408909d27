/** Keeps the names at others' carets within their field, which clips what sticks out. */

/** Moves each name back by as much as it sticks out at a side. */
function keepWithin(mirror: HTMLElement): void {
  const { left, right } = mirror.getBoundingClientRect();
  for (const flag of mirror.querySelectorAll<HTMLElement>(".syncline-flag")) {
    flag.style.translate = "";
    const own = flag.getBoundingClientRect();
    const by = own.right > right ? right - own.right : own.left < left ? left - own.left : 0;
    if (by !== 0) flag.style.translate = `${by}px`;
  }
}

/** Does so at once and whenever the field gets another width, until it is told to stop. */
export function followWidth(mirror: HTMLElement): () => void {
  keepWithin(mirror);
  if (typeof ResizeObserver === "undefined") return () => {};
  const observer = new ResizeObserver(() => keepWithin(mirror));
  observer.observe(mirror);
  return () => observer.disconnect();
}
