/** Light, dark, or as the system says. */
import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

const KEY = "syncline-demo-theme";
const order: readonly Theme[] = ["system", "light", "dark"];
const listeners = new Set<() => void>();

function read(): Theme {
  const theme = localStorage.getItem(KEY) as Theme | null;
  return theme !== null && order.includes(theme) ? theme : "system";
}

export function applyTheme(): void {
  const theme = read();
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}

export function useTheme(): readonly [Theme, () => void] {
  const theme = useSyncExternalStore(subscribe, read, () => "system" as const);
  return [theme, next];
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** What the theme comes to. */
export function useDark(): boolean {
  return useSyncExternalStore(subscribe, isDark, () => false);
}

function isDark(): boolean {
  const theme = read();
  return theme === "dark" || (theme === "system" && dark.matches);
}

function next(): void {
  const theme = order[(order.indexOf(read()) + 1) % order.length] ?? "system";
  localStorage.setItem(KEY, theme);
  applyTheme();
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  const elsewhere = () => {
    applyTheme();
    listener();
  };
  listeners.add(listener);
  addEventListener("storage", elsewhere);
  dark.addEventListener("change", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("storage", elsewhere);
    dark.removeEventListener("change", listener);
  };
}
